"""Answers as ASGI messages: heads, whole events, and comments that fill silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import msgspec
import pytest

from aigateway import Gateway, Limits, Provider
from aigateway.testing import Script, ScriptedUpstream
from tests.answers import EVENTS, REPLIES, data_of, stream, whole
from tests.faults import PATHS, STREAMED, SURFACES, Outcomes, Surface, own_headers
from tests.serving import no_task_left

Message = MutableMapping[str, Any]
KEEPALIVE = b": keep-alive\n\n"

each_stream = pytest.mark.parametrize("surface", STREAMED.values(), ids=STREAMED.keys())
each_surface = pytest.mark.parametrize("surface", SURFACES.values(), ids=SURFACES.keys())
TRANSLATED = {name: surface for name, surface in STREAMED.items() if surface.api != surface.upstream}


class Server:
    """As much of an ASGI server as one request needs."""

    def __init__(self, surface: Surface, *, streams: bool, method: str = "POST") -> None:
        self.sent: list[Message] = []
        self.news = asyncio.Event()
        self.left = asyncio.Event()
        self.slow = 0.0
        body = msgspec.json.encode(surface.request(stream=streams, model="m"))
        self._inbox: list[Message] = [{"type": "http.request", "body": body}]
        self.scope: Message = {"type": "http", "method": method, "path": PATHS[surface.api], "headers": []}

    async def receive(self) -> Message:
        if self._inbox:
            return self._inbox.pop()
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        self.news.set()
        await asyncio.sleep(self.slow)

    async def until(self, mark: bytes) -> None:
        """Wait until the caller has got these bytes."""
        async with asyncio.timeout(2):
            while mark not in self.body:
                self.news.clear()
                await self.news.wait()

    @property
    def head(self) -> Message:
        return self.sent[0]

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return list(self.head["headers"])

    @property
    def bodies(self) -> list[bytes]:
        """The body messages that say something."""
        return [message["body"] for message in self.sent[1:] if message["body"]]

    @property
    def body(self) -> bytes:
        return b"".join(self.bodies)

    def is_complete(self) -> None:
        """One head, then bodies, of which only the last says that it is the last."""
        assert [message["type"] for message in self.sent] == ["http.response.start"] + ["http.response.body"] * (
            len(self.sent) - 1
        )
        assert [message.get("more_body", False) for message in self.sent[1:]] == [True] * (len(self.sent) - 2) + [False]


class Rig:
    """A gateway in front of a scripted upstream, asked without a server."""

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self.upstream = upstream
        self.outcomes = Outcomes()

    async def ask(
        self, surface: Surface, script: Script, *, streams: bool = True, keepalive: float = 15, during: Any = None
    ) -> Server:
        self.upstream.script(script)
        provider = Provider("acme", self.upstream.base_url, apis=[surface.upstream])
        hooks: list[object] = [self.outcomes]
        server = Server(surface, streams=streams)
        async with (
            no_task_left(),
            Gateway(providers=[provider], hooks=hooks, limits=Limits(keepalive=keepalive)) as gateway,
        ):
            if surface.edits:
                gateway.hook.on_event(lambda call, event: event)
            task = asyncio.ensure_future(gateway(server.scope, server.receive, server.send))
            if during is not None:
                await during(server)
            await asyncio.wait_for(task, 5)
        return server


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with ScriptedUpstream() as upstream:
        yield Rig(upstream)


# heads

LIMITS = {
    "x-ratelimit-limit-requests": "100",
    "x-ratelimit-remaining-tokens": "9",
    "retry-after": "1",
    "openai-processing-ms": "12",
}
HIDDEN = {
    "set-cookie": "a=b",
    "server": "inner",
    "x-internal": "1",
    "cf-ray": "x",
    "content-language": "en",
    "x-request-id": "theirs",
}


@each_stream
async def test_head_of_a_stream(rig: Rig, surface: Surface) -> None:
    script = stream(surface.upstream)
    script.headers = {"content-type": "text/event-stream; charset=utf-8", **LIMITS, **HIDDEN}
    server = await rig.ask(surface, script)
    assert server.head["status"] == 200
    names = [name for name, _ in server.headers]
    assert len(names) == len(set(names)), "no header twice"
    headers = {name.decode(): value.decode() for name, value in server.headers}
    own = own_headers(surface, headers)
    request_id = headers.pop("x-request-id")
    assert request_id.startswith("req_")
    assert headers == {
        "content-type": "text/event-stream",
        "cache-control": "no-cache",
        "x-accel-buffering": "no",
        **LIMITS,
        **own,
    }
    server.is_complete()


@each_surface
async def test_head_of_a_whole_answer(rig: Rig, surface: Surface) -> None:
    script = whole(surface.upstream, headers={**LIMITS, **HIDDEN, "content-type": "application/json; charset=utf-8"})
    server = await rig.ask(surface, script, streams=False)
    headers = {name.decode(): value.decode() for name, value in server.headers}
    own = own_headers(surface, headers)
    assert headers.pop("x-request-id").startswith("req_")
    assert int(headers.pop("content-length")) == len(server.body)
    assert headers == {"content-type": "application/json", **LIMITS, **own}
    server.is_complete()


async def test_header_of_an_upstream_cannot_break_out(rig: Rig) -> None:
    headers = {"retry-after": "1\tb", "x-ratelimit-reset": "naïve"}
    server = await rig.ask(SURFACES["chat relay"], whole("chat", headers=headers), streams=False)
    assert all(b"\n" not in value and b"\r" not in value for _, value in server.headers)


# events


@pytest.mark.parametrize("surface", TRANSLATED.values(), ids=TRANSLATED.keys())
async def test_each_event_is_one_message(rig: Rig, surface: Surface) -> None:
    server = await rig.ask(surface, stream(surface.upstream))
    assert len(server.bodies) > 4
    for body in server.bodies:
        assert body.count(b"\n\n") == 1
        assert body.endswith(b"\n\n")
        assert body.count(b"data: ") == 1
    last = {"messages": b'event: message_stop\ndata: {"type":"message_stop"}\n\n'}
    assert server.bodies[-1] == last.get(surface.api, b"data: [DONE]\n\n")


@pytest.mark.parametrize("name", ["responses edit", "chat edit"])
async def test_each_event_that_a_hook_has_seen_is_one_message(rig: Rig, name: str) -> None:
    server = await rig.ask(SURFACES[name], stream(SURFACES[name].upstream))
    assert [body.count(b"\n\n") for body in server.bodies] == [1] * len(server.bodies)


@each_stream
@pytest.mark.parametrize("size", [1, 7, 100])
async def test_messages_hold_whole_events_however_the_upstream_cuts_them(rig: Rig, surface: Surface, size: int) -> None:
    pieces = stream(surface.upstream).pieces
    assert pieces is not None
    data = b"".join(pieces)
    cut = [data[at : at + size] for at in range(0, len(data), size)]
    server = await rig.ask(surface, Script(headers={"content-type": "text/event-stream"}, pieces=cut))
    assert all(body.endswith(b"\n\n") for body in server.bodies)
    told = str(data_of(server.body))
    assert surface.api == "images" or "there" in told
    assert [call.outcome for call in rig.outcomes.calls] == ["completed"]


async def test_relayed_stream_is_the_upstreams_bytes(rig: Rig) -> None:
    script = stream("images")
    assert script.pieces is not None
    server = await rig.ask(SURFACES["images"], script)
    assert server.body == b"".join(script.pieces)


# silence


@each_stream
async def test_silence_before_the_first_event_is_filled_with_comments(rig: Rig, surface: Surface) -> None:
    go_on = asyncio.Event()
    script = stream(surface.upstream)
    script.hold_after = (0, go_on)

    async def during(server: Server) -> None:
        await server.until(KEEPALIVE * 2)
        go_on.set()

    server = await rig.ask(surface, script, keepalive=0.05, during=during)
    server.is_complete()
    assert server.head["status"] == 200
    assert server.body.startswith(KEEPALIVE * 2)
    assert KEEPALIVE not in server.body.lstrip(KEEPALIVE)
    assert rig.outcomes.calls[0].outcome == "completed"


@each_stream
async def test_silence_between_events_is_filled_with_comments(rig: Rig, surface: Surface) -> None:
    go_on = asyncio.Event()
    script = stream(surface.upstream)
    script.hold_after = (2, go_on)

    async def during(server: Server) -> None:
        await server.until(KEEPALIVE * 2)
        go_on.set()

    server = await rig.ask(surface, script, keepalive=0.05, during=during)
    server.is_complete()
    assert all(body == KEEPALIVE or KEEPALIVE not in body for body in server.bodies), "never within an event"
    assert data_of(server.body) == data_of(server.body.replace(KEEPALIVE, b""))
    assert rig.outcomes.calls[0].outcome == "completed"


@each_stream
async def test_error_after_a_silence_is_told_within_the_stream(rig: Rig, surface: Surface) -> None:
    """The head is out by then: the status can no longer say it."""
    go_on = asyncio.Event()
    script = stream(surface.upstream, [], done=False)
    script.pieces = [b"data: {"]
    script.fault = "cut"
    script.hold_after = (0, go_on)

    async def during(server: Server) -> None:
        await server.until(KEEPALIVE)
        go_on.set()

    server = await rig.ask(surface, script, keepalive=0.05, during=during)
    server.is_complete()
    assert server.head["status"] == 200
    events = data_of(server.body)
    if surface.api in ("chat", "completions"):
        assert [event["error"]["code"] for event in events] == ["upstream_connection_error"]
    elif surface.api in ("images", "messages"):
        assert [event["type"] for event in events] == ["error"]
    else:
        assert [event["type"] for event in events[-3:-1]] == ["error", "response.failed"]
        assert events[-1] == "[DONE]"
        assert events[-2]["response"]["model"] == "m"
        assert [event["sequence_number"] for event in events[:-1]] == list(range(len(events) - 1))
    assert (rig.outcomes.calls[0].outcome, rig.outcomes.calls[0].status) == ("failed", 200)


async def test_error_within_the_first_silence_keeps_its_status(rig: Rig) -> None:
    script = Script.of_json({"error": {"message": "slow down"}}, 429, delay=0.1)
    server = await rig.ask(SURFACES["responses on chat"], script, keepalive=0.03)
    assert server.head["status"] == 429


async def test_busy_stream_needs_no_comments(rig: Rig) -> None:
    events = [EVENTS["chat"][0], *[EVENTS["chat"][1]] * 30, *EVENTS["chat"][-2:]]
    server = await rig.ask(SURFACES["responses on chat"], stream("chat", events, piece_delay=0.01), keepalive=0.25)
    assert KEEPALIVE not in server.body


async def test_caller_that_reads_slowly_gets_no_comments_into_its_queue(rig: Rig) -> None:
    async def during(server: Server) -> None:
        server.slow = 0.12

    server = await rig.ask(SURFACES["chat edit"], stream("chat"), keepalive=0.05, during=during)
    assert KEEPALIVE not in server.body
    server.is_complete()


async def test_whole_answers_get_no_comments(rig: Rig) -> None:
    server = await rig.ask(SURFACES["chat relay"], whole("chat", delay=0.2), streams=False, keepalive=0.05)
    assert msgspec.json.decode(server.body) == {**REPLIES["chat"], "model": "m"}


@each_stream
async def test_caller_that_leaves_in_a_silence_leaves_no_timer_behind(rig: Rig, surface: Surface) -> None:
    script = stream(surface.upstream)
    script.hold_after = (1, asyncio.Event())

    async def during(server: Server) -> None:
        await server.until(KEEPALIVE)
        server.left.set()

    server = await rig.ask(surface, script, keepalive=0.05, during=during)
    count = len(server.sent)
    await asyncio.sleep(0.12)
    assert len(server.sent) == count
    assert rig.outcomes.calls[0].outcome == "abandoned"
    await asyncio.wait_for(rig.upstream.left.wait(), 1)
