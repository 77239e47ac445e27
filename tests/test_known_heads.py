"""Requests of a connection that is kept: a head that is the last one's again is not parsed, and nobody may notice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway import Call, FunctionProvider, Gateway
from aigateway.app.head import KnownHead, known_head
from aigateway.app.protocol import CHANCES, HeadFirstProtocol
from aigateway.hooks import APIKeyAuthenticator, Hook
from aigateway.surface import OPERATIONS
from tests.serving import served

PATIENCE = 20.0
URL = b"/v1/chat/completions"
OTHERS = [b"host: x", b"Authorization: Bearer one", b"content-type: application/json", b"User-Agent: a/1 (b; c)"]


def head_of(
    length: int | bytes, others: Iterable[bytes] = OTHERS, name: bytes = b"content-length", at: int = 1
) -> bytes:
    lines = [*others]
    lines.insert(at, b"%b: %b" % (name, b"%d" % length if isinstance(length, int) else length))
    return b"\r\n".join([b"POST %b HTTP/1.1" % URL, *lines, b"", b""])


def known(data: bytes, body: bytes) -> KnownHead | None:
    return known_head(data, body, URL, OPERATIONS["chat"], [])


class Parsed:
    """What httptools reads in some bytes."""

    def __init__(self, data: bytes) -> None:
        self.url, self.body = b"", b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.begun = self.ended = 0
        httptools.HttpRequestParser(self).feed_data(data)

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.ended += 1

    @property
    def others(self) -> list[tuple[bytes, bytes]]:
        return [pair for pair in self.headers if pair[0].lower() != b"content-length"]


@given(
    st.binary(max_size=200),
    st.binary(max_size=2000),
    st.integers(0, len(OTHERS)),
    st.sampled_from([b"content-length", b"Content-Length", b"CONTENT-LENGTH"]),
)
def test_a_body_of_any_length_is_read_under_a_known_head(first: bytes, second: bytes, at: int, name: bytes) -> None:
    head = known(head_of(len(first), name=name, at=at) + first, first)
    assert head is not None
    assert head.body_of(head_of(len(second), name=name, at=at) + second) == second


@st.composite
def almost_the_same(draw: st.DrawFn) -> bytes:
    body = draw(st.binary(max_size=20))
    data = bytearray(head_of(draw(st.one_of(st.just(len(body)), st.integers(0, 30)))) + body)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(
            st.one_of(st.binary(max_size=2), st.sampled_from([b"\r\n", b"0", b"+", b" ", b"_", b"1", b"x: y\r\n"]))
        )
    return bytes(data)


@given(almost_the_same())
def test_what_is_taken_for_a_known_head_is_what_a_parser_reads_there(data: bytes) -> None:
    head = known(head_of(5) + b"12345", b"12345")
    assert head is not None
    body = head.body_of(data)
    if body is not None:
        parsed = Parsed(data)
        assert (parsed.begun, parsed.ended, parsed.url, parsed.body) == (1, 1, URL, body)
        assert parsed.others == Parsed(head_of(5) + b"12345").others


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (head_of(5, [b"Transfer-Encoding: chunked"]) + b"12345", b"12345"),
        (head_of(b"05") + b"12345", b"12345"),
        (head_of(b" 5") + b"12345", b"12345"),
        (head_of(5, [b"Content-Length: 5"]) + b"12345", b"12345"),
        (head_of(5) + b"12345" + head_of(5), b"12345"),
        (head_of(5) + b"123", b"12345"),
        (b"POST / HTTP/1.1\r\ncontent-type: x\r\n\r\n", b""),
        (b"12345", b"12345"),
    ],
    ids=["chunked", "zero first", "two spaces", "twice", "another request behind", "cut", "no length", "no head"],
)
def test_a_head_that_tells_its_length_in_another_way_is_not_remembered(data: bytes, body: bytes) -> None:
    assert known(data, body) is None


# over HTTP


class Caller:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            if len(pieces) > 1:
                await asyncio.sleep(0.002)

    async def answer(self) -> tuple[int, Any]:
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE)
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        body = await self.reader.readexactly(int(length.partition(b":")[2]))
        return int(head.split(b" ")[1]), json.loads(body)

    async def said(self) -> str:
        status, body = await self.answer()
        assert status == 200, body
        return str(body["choices"][0]["message"]["content"])


class Marks(Hook):
    """Says who calls and what a header of the request was, and writes into the headers, which are this call's own."""

    def before_request(self, call: Call) -> str:
        headers: Any = call.headers
        seen = headers.get("x-seen", "")
        headers["x-seen"] = "yes"
        text = call.request.body["messages"][0]["content"]
        return f"{call.tenant} {headers.get('user-agent', '')} {seen}{text}"


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    gateway = Gateway(
        models={"m": FunctionProvider("own", lambda _: "never")},
        hooks=[APIKeyAuthenticator({"one": "first", "two": "second"}), Marks()],
    )
    async with served(gateway) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        yield Caller(reader, writer)
        writer.close()
        await writer.wait_closed()


@pytest.fixture
def hits(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The requests that were not parsed."""
    found: list[bytes] = []
    really = HeadFirstProtocol._is_known

    def is_known(self: HeadFirstProtocol, data: bytes) -> bool:
        known = really(self, data)
        if known:
            found.append(data)
        return known

    monkeypatch.setattr(HeadFirstProtocol, "_is_known", is_known)
    return found


def request(text: str, *, key: str = "one", agent: str = "a/1", extra: Iterable[bytes] = ()) -> bytes:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
    others = [b"host: x", b"Authorization: Bearer %b" % key.encode(), b"User-Agent: %b" % agent.encode(), *extra]
    return head_of(len(body), others) + body


async def test_the_same_head_is_read_once_and_every_body_is_answered(caller: Caller, hits: list[bytes]) -> None:
    for text in ["a", "b", "c" * 300, "", "ü" * 5]:
        await caller.send(request(text))
        assert await caller.said() == f"first a/1 {text}"
    assert len(hits) == 3


async def test_whoever_calls_is_asked_every_time(caller: Caller, hits: list[bytes]) -> None:
    for text in "abc":
        await caller.send(request(text))
        assert await caller.said() == f"first a/1 {text}"
    await caller.send(request("d", key="two"))
    assert await caller.said() == "second a/1 d"
    await caller.send(request("e", key="three"))
    assert (await caller.answer())[0] == 401
    await caller.send(request("f", agent="b/2"))
    assert await caller.said() == "first b/2 f"
    assert len(hits) == 1


async def test_a_key_that_is_withdrawn_opens_nothing_anymore(hits: list[bytes]) -> None:
    keys = {"one": "first"}

    class Table(Hook):
        def authenticate(self, call: Call, key: str | None) -> Any:
            return keys.get(key or "")

    gateway = Gateway(models={"m": FunctionProvider("own", lambda _: "Hello")}, hooks=[Table()])
    async with served(gateway) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        caller = Caller(reader, writer)
        for text in "abc":
            await caller.send(request(text))
            assert await caller.said() == "Hello"
        keys.clear()
        await caller.send(request("d"))
        assert (await caller.answer())[0] == 401
        writer.close()
        await writer.wait_closed()
    assert len(hits) == 2


async def test_a_request_in_two_pieces_is_the_same_wherever_it_is_cut(caller: Caller, hits: list[bytes]) -> None:
    for text in "ab":
        await caller.send(request(text))
        await caller.said()
    whole = request("cut")
    for at in range(1, len(whole), 3):
        await caller.send(whole[:at], whole[at:])
        assert await caller.said() == "first a/1 cut"
        await caller.send(whole)
        assert await caller.said() == "first a/1 cut"
    assert hits


async def test_two_requests_at_once_are_answered_in_their_order(caller: Caller, hits: list[bytes]) -> None:
    for text in "ab":
        await caller.send(request(text))
        await caller.said()
    await caller.send(request("c") + request("d"))
    assert [await caller.said() for _ in range(2)] == ["first a/1 c", "first a/1 d"]
    await caller.send(request("e"))
    await caller.send(request("f"))
    assert [await caller.said() for _ in range(2)] == ["first a/1 e", "first a/1 f"]


async def test_a_body_that_looks_like_a_request_stays_a_body(caller: Caller, hits: list[bytes]) -> None:
    """The head of a request whose answer comes before its body: what follows is that body, whatever it looks like."""
    for text in "ab":
        await caller.send(request(text))
        await caller.said()
    inner = request("smuggled")
    await caller.send(b"POST /v1/nothing HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(inner))
    await asyncio.sleep(0.05)
    await caller.send(inner)
    assert (await caller.answer())[0] in (401, 404)
    await caller.send(request("c", agent="b/2"))
    assert await caller.said() == "first b/2 c"
    assert not hits


async def test_heads_that_are_never_the_same_are_not_remembered_for_ever(
    caller: Caller, hits: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered: list[bytes] = []
    really = HeadFirstProtocol._remember

    def remember(self: HeadFirstProtocol, data: bytes, turn: Any) -> None:
        remembered.append(data)
        really(self, data, turn)

    monkeypatch.setattr(HeadFirstProtocol, "_remember", remember)
    for number in range(CHANCES + 3):
        await caller.send(request("x", extra=[b"traceparent: 00-%032d-%016d-01" % (number, number)]))
        await caller.said()
    assert len(remembered) == CHANCES
    assert not hits
