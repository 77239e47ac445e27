"""Upstreams that let one wait: each of the four limits is a 504, told in time, and the upstream is let go."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest

from aigateway import Gateway, Provider, Timeout, UpstreamTimeoutError
from aigateway.testing import Script
from tests.answers import EVENTS, stream, whole
from tests.faults import SURFACES, Stage, Surface, leaks_nothing, staged, type_for

EACH = [
    pytest.param(surface, streams, id=f"{name}, {'streamed' if streams else 'whole'}")
    for name, surface in SURFACES.items()
    for streams in ((False, True) if surface.streams else (False,))
    if not surface.edits
]
each_surface = pytest.mark.parametrize(("surface", "streams"), EACH)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as stage:
        yield stage


def took(stage: Stage) -> float:
    call = stage.call
    assert call.ended_at is not None
    return call.ended_at - call.started_at


@each_surface
async def test_no_answer_in_time_is_a_504(stage: Stage, surface: Surface, streams: bool) -> None:
    script = Script(hold=asyncio.Event())
    answered = await stage.ask(surface, script, stream=streams, model=f"hasty-{surface.upstream}")
    assert answered.status == 504
    assert answered.headers["content-type"] == "application/json"
    assert answered.error() == {
        "message": "Provider 'acme' did not answer in time.",
        "type": type_for(surface, 504, "upstream_error"),
        "param": None,
        "code": "upstream_timeout",
    }
    leaks_nothing(stage, answered.body)
    assert (stage.call.outcome, stage.call.status) == ("failed", 504)
    assert took(stage) < 2
    await asyncio.wait_for(stage.upstream.left.wait(), 1)


@each_surface
async def test_head_without_a_body_in_time_is_a_504(stage: Stage, surface: Surface, streams: bool) -> None:
    headers = {"content-type": "text/event-stream" if streams else "application/json"}
    script = Script(headers=headers, pieces=[b": never sent\n\n"], hold_after=(0, asyncio.Event()))
    answered = await stage.ask(surface, script, stream=streams, model=f"hasty-{surface.upstream}")
    assert answered.status == 504
    assert answered.error()["code"] == "upstream_timeout"
    assert answered.error()["message"] == "Provider 'acme' stopped sending in the middle of its answer."
    await asyncio.wait_for(stage.upstream.left.wait(), 1)


async def test_silence_in_a_whole_answer_is_a_504(stage: Stage) -> None:
    body = whole("chat").body
    script = Script(pieces=[body[:20], body[20:]], hold_after=(1, asyncio.Event()))
    answered = await stage.ask(SURFACES["chat relay"], script, stream=False, model="hasty-chat")
    assert answered.status == 504
    assert answered.error()["code"] == "upstream_timeout"


async def test_slow_whole_answer_that_never_falls_silent_is_taken(stage: Stage) -> None:
    body = whole("chat").body
    pieces = [body[at : at + 40] for at in range(0, len(body), 40)]
    script = Script(pieces=pieces, piece_delay=0.6 / len(pieces))
    answered = await stage.ask(SURFACES["chat relay"], script, stream=False, model="hasty-chat")
    assert answered.status == 200
    assert took(stage) > 0.5


async def test_total_time_covers_the_wait_for_the_head_too(stage: Stage) -> None:
    body = whole("chat").body
    script = Script(pieces=[body[:20], body[20:]], delay=0.25, piece_delay=0.25)
    answered = await stage.ask(SURFACES["chat relay"], script, stream=False, model="short-chat")
    assert answered.status == 504
    assert 0.4 <= took(stage) < 0.65


@pytest.mark.parametrize("name", ["chat relay", "chat edit"])
async def test_caller_that_reads_slowly_does_not_count_as_silence_of_the_upstream(stage: Stage, name: str) -> None:
    chunk = {**EVENTS["chat"][1], "choices": [{"index": 0, "delta": {"content": "x" * 65536}, "finish_reason": None}]}
    events = [EVENTS["chat"][0], *[chunk] * 300, *EVENTS["chat"][-2:]]
    surface = SURFACES[name]
    stage.upstream.script(stream("chat", events))
    url = f"{stage.urls[surface.edits]}/v1/chat/completions"
    async with stage.session.post(url, json=surface.request(stream=True, model="hasty-chat")) as reply:
        await asyncio.sleep(0.8)
        assert not stage.outcomes.calls, "more than all buffers on the way hold"
        body = await reply.read()
    assert body.count(b"x" * 65536) == 300
    assert body.endswith(b"data: [DONE]\n\n")
    await asyncio.wait_for(stage.outcomes.one.wait(), 1)
    assert stage.call.outcome == "completed"


async def test_host_that_accepts_no_connection_is_a_504() -> None:
    """A listener whose queue is full lets new connections wait."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address: tuple[str, int] = listener.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(address)
            await asyncio.sleep(0.05)
            provider = Provider("acme", f"http://127.0.0.1:{address[1]}", timeout=Timeout(connect=0.2, first_byte=5))
            started = time.monotonic()
            async with Gateway(providers=[provider]) as gateway:
                with pytest.raises(
                    UpstreamTimeoutError, match="Provider 'acme' did not accept a connection in time"
                ) as caught:
                    await gateway.chat(model="m", messages=[{"role": "user", "content": "hi"}])
            assert caught.value.status == 504
            assert time.monotonic() - started < 2
        finally:
            for one in waiting:
                one.close()
