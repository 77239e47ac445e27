"""What callers write that is no lawful HTTP, or lawful and odd: one outcome each, and no upstream is asked for nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest

from aigateway import FunctionProvider, Gateway
from tests.serving import served

PATIENCE = 20.0
BODY = b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}'
START = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
LENGTH = b"content-length: %d\r\n" % len(BODY)
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAA\r\nUpgrade: h2c\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def plain(*headers: bytes) -> bytes:
    return START + b"".join(headers) + LENGTH + b"\r\n" + BODY


class Stage:
    """A served gateway, and how often its provider was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.port = 0

    def answer(self, _: object) -> str:
        self.asked += 1
        return "Hello"

    async def say(self, *pieces: bytes) -> tuple[bytes, bytes]:
        """Head and body of what a gateway answers to these bytes before it closes the connection, or waits for more."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        sending = asyncio.create_task(self._send(writer, pieces))
        try:
            async with asyncio.timeout(PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                body = await reader.readexactly(int(length.partition(b":")[2]))
                if b"connection: close" in head.lower():
                    with contextlib.suppress(ConnectionError):
                        assert await reader.read() == b""
                return head, body
        finally:
            sending.cancel()
            writer.close()

    @staticmethod
    async def _send(writer: asyncio.StreamWriter, pieces: tuple[bytes, ...]) -> None:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    async with served(Gateway(models={"m": FunctionProvider("own", stage.answer)})) as url:
        stage.port = int(url.rpartition(":")[2])
        yield stage


UNLAWFUL = {
    "no HTTP": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an unknown method": b"BREW /v1/models HTTP/1.1\r\nhost: x\r\n\r\n",
    "a tunnel": b"CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n",
    "a path that is not ASCII": b"GET /v1/mod\xffels HTTP/1.1\r\nhost: x\r\n\r\n",
    "both lengths": START + LENGTH + CHUNKED + chunk(BODY) + b"0\r\n\r\n",
    "two lengths": plain(b"content-length: 5\r\n"),
    "the same length twice": plain(LENGTH),
    "a negative length": START + b"content-length: -1\r\n\r\n" + BODY,
    "a chunk size that is none": START + CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n",
    "a chunk longer than it says": START + CHUNKED + b"2\r\nhello\r\n0\r\n\r\n",
    "a coding other than chunked": START + b"transfer-encoding: gzip\r\n\r\n" + BODY,
    "a line folded": plain(b"a: b\r\n c\r\n"),
    "a bare CR": plain(b"a: b\rc\r\n"),
    "bare LFs": plain().replace(b"\r\n", b"\n"),
    "a NUL": plain(b"a: b\0c\r\n"),
    "a space before the colon": plain(b"a : b\r\n"),
}


@pytest.mark.parametrize("second", [False, True], ids=["first", "after a good one"])
@pytest.mark.parametrize("raw", UNLAWFUL.values(), ids=UNLAWFUL)
async def test_what_is_no_http_is_a_400_in_our_form_and_the_end_of_the_connection(
    stage: Stage, raw: bytes, second: bool
) -> None:
    if second:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(plain())
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b"}]}")
            writer.write(raw)
            answer = await reader.read()
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
    else:
        head, body = await stage.say(raw)
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"x-request-id: req_" in head
    error = msgspec.json.decode(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == "invalid_http"
    assert stage.asked == second


TOO_LARGE = {
    "a header of a megabyte": plain(b"x: " + b"a" * 1_000_000 + b"\r\n"),
    "a megabyte of headers": plain(b"x: y\r\n" * 170_000),
    "a path of a megabyte": b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    "a head without end": START + b"x: " + b"a" * 3_000_000,
}


@pytest.mark.parametrize("raw", TOO_LARGE.values(), ids=TOO_LARGE)
async def test_a_head_that_is_too_large_is_a_431_that_its_sender_can_read(stage: Stage, raw: bytes) -> None:
    head, body = await stage.say(raw)
    assert head.startswith(b"HTTP/1.1 431 ")
    assert msgspec.json.decode(body)["error"]["code"] == "request_head_too_large"
    assert stage.asked == 0


async def test_a_head_without_end_in_small_pieces_is_refused_as_well(stage: Stage) -> None:
    head, _ = await stage.say(START, *[b"x: " + b"a" * 1000 + b"\r\n"] * 100)
    assert head.startswith(b"HTTP/1.1 431 ")


LAWFUL = {
    "plain": [plain()],
    "byte by byte": [bytes([byte]) for byte in plain()],
    "a head of 60 KB": [plain(b"x: " + b"a" * 60_000 + b"\r\n")],
    "HTTP/1.0": [plain().replace(b"HTTP/1.1", b"HTTP/1.0", 1)],
    "no Host": [plain().replace(b"host: x\r\n", b"", 1)],
    "a whole URL": [plain().replace(b"/v1/", b"http://x/v1/", 1)],
    "chunks": [START + CHUNKED, *(chunk(bytes([byte])) for byte in BODY), b"0\r\n\r\n"],
    "an upgrade to HTTP/2, as Java's client asks for": [plain(H2C)],
    "an upgrade, and its body later": [START + H2C + LENGTH + b"\r\n", BODY],
    "an upgrade, byte by byte": [bytes([byte]) for byte in plain(H2C)],
    "an upgrade of chunks": [START + H2C + CHUNKED + chunk(BODY[:9]), chunk(BODY[9:]) + b"0\r\n\r\n"],
    "a POST that asks for a WebSocket": [plain(b"connection: upgrade\r\nupgrade: websocket\r\n")],
    "a chunk extension and trailers": [START + CHUNKED + b"%x;a=b\r\n%b\r\n0\r\nx: y\r\n\r\n" % (len(BODY), BODY)],
}


@pytest.mark.parametrize("pieces", LAWFUL.values(), ids=LAWFUL)
async def test_what_is_lawful_is_answered(stage: Stage, pieces: list[bytes]) -> None:
    head, body = await stage.say(*pieces)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"Hello" in body
    assert stage.asked == 1


async def test_who_asks_before_sending_a_body_is_told_to_go_on(stage: Stage) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.write(START + LENGTH + b"expect: 100-continue\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(BODY)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    writer.close()


@pytest.mark.parametrize("upgrade", [H2C, b"connection: upgrade\r\nupgrade: websocket\r\n"], ids=["h2c", "websocket"])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_the_body_of_a_request_to_upgrade_is_never_read_as_the_next_request(
    stage: Stage, upgrade: bytes, method: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    hidden = plain()
    writer.write(method + b" /health HTTP/1.1\r\nhost: x\r\n" + upgrade + b"content-length: %d\r\n\r\n" % len(hidden))
    await asyncio.sleep(0.02)
    writer.write(hidden + b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        answers = await reader.read()
    writer.close()
    assert answers.count(b"HTTP/1.1 ") == 2
    assert b'"list"' in answers
    assert stage.asked == 0


async def test_garbage_behind_a_request_does_not_get_into_its_answer() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def answer(_: object) -> AsyncIterator[str]:
        yield "first"
        begun.set()
        await go_on.wait()
        yield "last"

    async with served(Gateway(models={"m": FunctionProvider("own", answer)})) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        body = BODY.replace(b"{", b'{"stream":true,', 1)
        writer.write(START + b"content-length: %d\r\n\r\n" % len(body) + body)
        async with asyncio.timeout(PATIENCE):
            seen = await reader.readuntil(b"first")
            writer.write(b"garbage\r\n\r\n")
            seen += await reader.read()
        writer.close()
    assert seen.count(b"HTTP/1.1 ") == 1
    assert b"[DONE]" not in seen
