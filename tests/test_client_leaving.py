"""Callers that leave: the upstream is let go within a second, the hooks are told, and no task stays behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from aigateway import Gateway, Limits, Provider
from aigateway.app.protocol import HeadFirstProtocol
from aigateway.testing import Script, ScriptedUpstream
from tests.answers import EVENTS, REQUESTS, stream, whole
from tests.faults import PATHS, STREAMED, SURFACES, Outcomes, Stage, Surface, gateway_is_idle, staged
from tests.serving import no_task_left

Message = MutableMapping[str, Any]

EACH = [
    pytest.param(surface, streams, id=f"{name}, {'streamed' if streams else 'whole'}")
    for name, surface in SURFACES.items()
    for streams in ((False, True) if surface.streams else (False,))
]
each_surface = pytest.mark.parametrize(("surface", "streams"), EACH)
each_stream = pytest.mark.parametrize("surface", STREAMED.values(), ids=STREAMED.keys())


@pytest.fixture(params=["httptools", HeadFirstProtocol], ids=["any server", "our server"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with staged(request.param) as stage:
        yield stage


class Caller:
    """A connection of which every byte is ours."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, url: str) -> Caller:
        host, port = url.removeprefix("http://").split("/")[0].split(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    def send(self, stage: Stage, surface: Surface, *, streams: bool, missing: int = 0) -> None:
        """A request; `missing` bytes of its body do not follow."""
        prefix = urlsplit(stage.urls[surface.edits]).path
        body = msgspec.json.encode(surface.request(stream=streams))
        head = f"POST {prefix}{PATHS[surface.api]} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body[: len(body) - missing])

    async def leave(self, *, reset: bool = False) -> None:
        if reset:
            self.writer.transport.abort()
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)


async def told_as_abandoned(stage: Stage) -> None:
    await asyncio.wait_for(stage.outcomes.one.wait(), 1)
    await gateway_is_idle()
    call = stage.call
    assert call.outcome == "abandoned"
    assert call.error is None
    assert call.ended_at is not None


@each_surface
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_leaving_before_the_first_byte_lets_the_upstream_go(
    stage: Stage, surface: Surface, streams: bool, reset: bool
) -> None:
    stage.upstream.script(Script(hold=asyncio.Event()))
    caller = await Caller.to(stage.urls[surface.edits])
    caller.send(stage, surface, streams=streams)
    await asyncio.wait_for(stage.upstream.arrived.wait(), 2)
    await caller.leave(reset=reset)
    await asyncio.wait_for(stage.upstream.left.wait(), 1)
    await told_as_abandoned(stage)
    assert stage.call.attempts[-1].ended_at is not None


@each_surface
async def test_leaving_between_head_and_body_lets_the_upstream_go(
    stage: Stage, surface: Surface, streams: bool
) -> None:
    headers = {"content-type": "text/event-stream" if streams else "application/json"}
    script = Script(headers=headers, pieces=[b": hello\n\n" if streams else b'{"id":', b""])
    script.hold_after = (1, asyncio.Event())
    stage.upstream.script(script)
    caller = await Caller.to(stage.urls[surface.edits])
    caller.send(stage, surface, streams=streams)
    await asyncio.wait_for(stage.upstream.arrived.wait(), 2)
    await asyncio.sleep(0.05)
    await caller.leave()
    await asyncio.wait_for(stage.upstream.left.wait(), 1)
    await told_as_abandoned(stage)


@each_stream
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_leaving_in_mid_stream_lets_the_upstream_go(stage: Stage, surface: Surface, reset: bool) -> None:
    script = stream(surface.upstream)
    script.hold_after = (len(EVENTS[surface.upstream]) - 1, asyncio.Event())
    stage.upstream.script(script)
    caller = await Caller.to(stage.urls[surface.edits])
    caller.send(stage, surface, streams=True)
    mark = b"partial_image" if surface.api == "images" else b"Hello"
    await asyncio.wait_for(caller.reader.readuntil(mark), 2)
    await caller.leave(reset=reset)
    await asyncio.wait_for(stage.upstream.left.wait(), 1)
    assert stage.upstream.gone == 1
    await told_as_abandoned(stage)
    assert stage.call.status == 200


@each_stream
async def test_leaving_while_nobody_reads_lets_the_upstream_go(stage: Stage, surface: Surface) -> None:
    """The caller does not read, all buffers fill, then it goes."""
    event = EVENTS[surface.upstream][
        {"chat": 1, "completions": 1, "responses": 4, "messages": 3, "images": 0}[surface.upstream]
    ]
    padding = msgspec.json.encode({**event, "padding": "x" * 65536}) if surface.api == surface.upstream else None
    text = {
        "chat": {"choices": [{"index": 0, "delta": {"content": "x" * 65536}}]},
        "responses": {**event, "delta": "x" * 65536},
        "messages": {**event, "delta": {"type": "text_delta", "text": "x" * 65536}},
    }
    frame = b"data: " + (padding or msgspec.json.encode(text[surface.upstream])) + b"\n\n"
    events: list[Any] = EVENTS[surface.upstream][
        : {"chat": 1, "completions": 1, "responses": 4, "messages": 3, "images": 1}[surface.upstream]
    ]
    stage.upstream.script(stream(surface.upstream, events + [frame] * 400))
    caller = await Caller.to(stage.urls[surface.edits])
    caller.send(stage, surface, streams=True)
    await asyncio.sleep(0.4)
    assert not stage.outcomes.calls
    await caller.leave(reset=True)
    await asyncio.wait_for(stage.upstream.left.wait(), 1)
    await told_as_abandoned(stage)


@each_surface
async def test_leaving_while_uploading_asks_no_upstream(stage: Stage, surface: Surface, streams: bool) -> None:
    caller = await Caller.to(stage.urls[surface.edits])
    caller.send(stage, surface, streams=streams, missing=5)
    await asyncio.sleep(0.05)
    await caller.leave()
    await told_as_abandoned(stage)
    assert stage.upstream.requests == []
    assert stage.call.attempts == []


async def test_caller_that_closes_right_after_the_answer_has_not_left(stage: Stage) -> None:
    for surface in (SURFACES["chat relay"], SURFACES["responses on chat"]):
        for streams in (False, True):
            stage.upstream.script(stream("chat") if streams else whole("chat"))
            stage.outcomes.one.clear()
            caller = await Caller.to(stage.urls[surface.edits])
            caller.send(stage, surface, streams=streams)
            await asyncio.wait_for(caller.reader.readuntil(b"[DONE]" if streams else b"Hello there"), 2)
            await caller.leave(reset=True)
            await asyncio.wait_for(stage.outcomes.one.wait(), 1)
    assert [call.outcome for call in stage.outcomes.calls] == ["completed"] * 4


async def test_one_caller_leaving_leaves_the_others_alone(stage: Stage) -> None:
    surface = SURFACES["responses on chat"]
    go_on = asyncio.Event()
    script = stream("chat")
    script.hold_after = (2, go_on)
    stage.upstream.script(script)
    stays, goes = await Caller.to(stage.urls[False]), await Caller.to(stage.urls[False])
    for caller in (stays, goes):
        caller.send(stage, surface, streams=True)
        await asyncio.wait_for(caller.reader.readuntil(b"Hello"), 2)
    await goes.leave()
    await asyncio.wait_for(stage.upstream.left.wait(), 1)
    go_on.set()
    await asyncio.wait_for(stays.reader.readuntil(b"response.completed"), 2)
    await stays.leave()
    await asyncio.wait_for(gateway_is_idle(), 1)
    assert sorted(str(call.outcome) for call in stage.outcomes.calls) == ["abandoned", "completed"]


@pytest.mark.parametrize("begun", [False, True], ids=["before the first event", "in mid-stream"])
async def test_leaving_as_the_head_is_sent_leaves_nothing_behind(begun: bool) -> None:
    """The server learns that the caller has gone while it sends the head: the frames are never asked for."""
    outcomes = Outcomes()
    async with ScriptedUpstream() as upstream:
        script = stream("chat")
        script.hold_after = (2 if begun else 0, asyncio.Event())
        upstream.script(script)
        provider = Provider("acme", upstream.base_url, apis=["chat"])
        async with (
            no_task_left(),
            Gateway(providers=[provider], hooks=[outcomes], limits=Limits(keepalive=0.05)) as gateway,
        ):
            left = asyncio.Event()
            inbox = [{"type": "http.request", "body": msgspec.json.encode({**REQUESTS["chat"], "stream": True})}]

            async def receive() -> Message:
                if inbox:
                    return inbox.pop()
                await left.wait()
                return {"type": "http.disconnect"}

            async def send(message: Message) -> None:
                left.set()
                await asyncio.sleep(5)

            scope = {"type": "http", "method": "POST", "path": PATHS["chat"], "headers": []}
            await asyncio.wait_for(gateway(scope, receive, send), 2)
            await asyncio.wait_for(upstream.left.wait(), 1)
    assert [call.outcome for call in outcomes.calls] == ["abandoned"]


async def test_server_that_raises_on_a_closed_connection_is_a_caller_that_left() -> None:
    """ASGI servers raise OSError from send() once the caller has gone."""
    outcomes = Outcomes()
    async with ScriptedUpstream() as upstream:
        script = stream("chat")
        script.hold_after = (2, asyncio.Event())
        upstream.script(script)
        provider = Provider("acme", upstream.base_url, apis=["chat"])
        async with no_task_left(), Gateway(providers=[provider], hooks=[outcomes]) as gateway:
            inbox = [{"type": "http.request", "body": msgspec.json.encode({**REQUESTS["chat"], "stream": True})}]

            async def receive() -> Message:
                if inbox:
                    return inbox.pop()
                await asyncio.sleep(5)
                raise AssertionError

            async def send(message: Message) -> None:
                if message["type"] == "http.response.body":
                    raise OSError("gone")

            scope = {"type": "http", "method": "POST", "path": PATHS["chat"], "headers": []}
            await asyncio.wait_for(gateway(scope, receive, send), 2)
            await asyncio.wait_for(upstream.left.wait(), 1)
    assert [call.outcome for call in outcomes.calls] == ["abandoned"]
