"""A body poured into a sink in the turn in which it is read: whole, in order, with room to wait, and with every fault told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway import Call, Gateway, Hook, Provider, Target
from aigateway.errors import UpstreamConnectionError, UpstreamProtocolError, UpstreamTimeoutError
from aigateway.testing import Script, ScriptedUpstream
from aigateway.transport.pool import PooledTransport
from aigateway.transport.protocol import HTTPRequest, Timeout
from aigateway.transport.response import Response
from aigateway.transport.wire import GarbledError, Wire
from tests.answers import stream
from tests.serving import served
from tests.test_wire import Answerer, raw_server, saying

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def framed(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


@asynccontextmanager
async def opened(answer: Answerer, limits: Timeout | None = None) -> AsyncIterator[tuple[Response, PooledTransport]]:
    transport = PooledTransport()
    async with raw_server(answer) as (url, _):
        request = HTTPRequest(method="POST", url=url, headers=[], body=b"{}", timeout=limits or Timeout())
        response = await transport.send(request)
        assert isinstance(response, Response)
        assert response.pours
        try:
            yield response, transport
        finally:
            await response.aclose()
            await transport.aclose()


@settings(max_examples=25)
@given(pieces=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=8), cuts=st.data())
async def test_all_of_a_body_arrives_in_order_however_it_is_cut(pieces: list[bytes], cuts: st.DataObject) -> None:
    body = HEAD + b"".join(map(framed, pieces)) + END
    places = sorted(cuts.draw(st.sets(st.integers(1, len(body) - 1), max_size=6)))
    parts = [body[start:end] for start, end in zip([0, *places], [*places, len(body)], strict=True)]
    seen: list[bytes] = []

    def sink(piece: bytes) -> bool:
        seen.append(piece)
        return True

    async with opened(saying(*parts)) as (response, _):
        await response.pour(sink)
        await response.pour(sink)  # at the end there is nothing more
    assert b"".join(seen) == b"".join(pieces)


async def test_a_sink_without_room_is_given_nothing_until_it_has_some() -> None:
    total = 4_000_000

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        for _count in range(total // 1000):
            writer.write(framed(b"x" * 1000))
            await writer.drain()
        writer.write(END)

    async with opened(answer, Timeout(idle=0.2)) as (response, _):
        seen: list[int] = []

        def sink(piece: bytes) -> bool:
            seen.append(len(piece))
            return False

        pouring = asyncio.create_task(response.pour(sink))
        rounds = 0
        while not pouring.done():
            before = len(seen)
            await asyncio.sleep(0.3 if rounds == 3 else 0.001)  # no limit runs while the caller is the slow one
            assert len(seen) - before <= 1
            response.resume()
            rounds += 1
        await pouring
        assert sum(seen) == total
        assert max(seen) < 600_000


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (saying(HEAD, framed(b"a"), close=True), UpstreamConnectionError),
        (saying(HEAD, framed(b"a"), b"zz\r\n"), UpstreamProtocolError),
        (saying(HEAD, framed(b"a")), UpstreamTimeoutError),
    ],
    ids=["cut", "garbled", "silent"],
)
async def test_what_goes_wrong_is_raised_after_what_came(answer: Answerer, error: type[Exception]) -> None:
    seen: list[bytes] = []

    def sink(piece: bytes) -> bool:
        seen.append(piece)
        return True

    async with opened(answer, Timeout(idle=0.2)) as (response, _):
        with pytest.raises(error):
            await response.pour(sink)
    assert seen == [b"a"]


def refusing(error: BaseException) -> Callable[[bytes], bool]:
    def sink(_: bytes) -> bool:
        raise error

    return sink


async def test_what_the_sink_raises_is_raised_and_the_connection_is_not_used_again() -> None:
    async with opened(saying(HEAD, framed(b"a"), framed(b"b"))) as (response, transport):
        with pytest.raises(KeyError, match="mine"):
            await response.pour(refusing(KeyError("mine")))
        await response.aclose()
        await response.pour(refusing(KeyError("never")))  # a closed response has nothing more
        assert [origin.idle for origin in transport._origins.values()] == [[]]


async def test_a_pour_that_is_cancelled_lets_go_of_its_sink() -> None:
    async with opened(saying(HEAD, framed(b"a"))) as (response, _):
        arrived = asyncio.Event()

        def sink(_: bytes) -> bool:
            arrived.set()
            return True

        pouring = asyncio.create_task(response.pour(sink))
        await arrived.wait()
        pouring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pouring
        response.resume()  # somebody may say so late


# from one socket to the other, over HTTP: the server of `aigateway serve`, with nothing between it and the gateway


class Kept(Hook):
    """Keeps the call that was completed."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def on_complete(self, call: Call) -> None:
        self.calls.append(call)


async def relayed(api: str, path: str, script: Script, poured: list[bytes], monkeypatch: pytest.MonkeyPatch) -> bytes:
    """What a caller gets of a stream in its own API; `poured` gets what went past the iterator."""
    pour = Response.pour

    async def watched(self: Response, sink: Callable[[bytes], bool]) -> None:
        def watching(piece: bytes) -> bool:
            poured.append(piece)
            return sink(piece)

        await pour(self, watching)

    monkeypatch.setattr(Response, "pour", watched)
    kept = Kept()
    async with ScriptedUpstream() as upstream:
        upstream.script(script)
        target = Target(Provider("up", upstream.base_url, "k", apis={api}), "up-model")
        body: dict[str, object] = {"model": "asked", "stream": True, "input": "Hi"}
        if api == "chat":  # who asks for the usage is shown all chunks
            messages = [{"role": "user", "content": "Hi"}]
            body = {"model": "asked", "stream": True, "messages": messages, "stream_options": {"include_usage": True}}
        async with (
            served(Gateway(models={"asked": target}, hooks=[kept], state=None)) as url,
            aiohttp.ClientSession() as session,
            session.post(url + path, json=body) as reply,
        ):
            assert reply.status == 200
            answer = await reply.read()
    assert len(kept.calls) == 1
    assert kept.calls[0].usage is not None or script.fault is not None
    return answer


@pytest.mark.parametrize(
    ("api", "path"), [("chat", "/v1/chat/completions"), ("responses", "/v1/responses")], ids=["chat", "responses"]
)
async def test_a_relayed_stream_is_poured_byte_for_byte(api: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script = stream(api)
    poured: list[bytes] = []
    answer = await relayed(api, path, script, poured, monkeypatch)
    assert script.pieces is not None
    sent = b"".join(script.pieces)
    names = (b'"model":"', b'"model": "')
    assert [line for line in answer.split(b"\n") if not any(name in line for name in names)] == [
        line for line in sent.split(b"\n") if not any(name in line for name in names)
    ]
    assert answer.count(b"data:") == sent.count(b"data:")
    assert answer.endswith(sent[-2:])
    assert sum(map(len, poured)) > 0


async def test_a_poured_stream_that_is_cut_ends_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    script = stream("chat")
    assert script.pieces is not None
    script.pieces = script.pieces[:3]
    script.fault = "cut"
    poured: list[bytes] = []
    answer = await relayed("chat", "/v1/chat/completions", script, poured, monkeypatch)
    assert b'"error"' in answer.rstrip().rpartition(b"\n")[2]
    assert b"[DONE]" not in answer


class _Still:
    """A transport that nothing comes from."""

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def abort(self) -> None: ...

    def write(self, _: bytes) -> None: ...


@pytest.mark.parametrize("broken", [b"", b"zz\r\n"], ids=["whole", "and what is no chunk"])
async def test_what_one_read_brought_comes_together_and_before_the_fault_behind_it(broken: bytes) -> None:
    wire = Wire(asyncio.get_running_loop())
    wire.connection_made(cast("asyncio.Transport", _Still()))
    wire.begin(b"GET / HTTP/1.1\r\n\r\n", None, None)
    wire.data_received(HEAD)
    seen: list[bytes] = []

    def sink(piece: bytes) -> bool:
        seen.append(piece)
        return True

    pouring = asyncio.ensure_future(wire.pour(sink, None))
    await asyncio.sleep(0)
    wire.data_received(framed(b"a"))
    wire.data_received(framed(b"b") + framed(b"c" * 100) + framed(b"d")[:-3])
    assert seen == [b"a", b"b" + b"c" * 100]
    wire.data_received(framed(b"d")[-3:] + framed(b"e") + (broken or END))
    if broken:
        with pytest.raises(GarbledError):
            await pouring
    else:
        await pouring
    assert b"".join(seen) == b"ab" + b"c" * 100 + b"de"
