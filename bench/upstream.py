"""A cheap mock upstream: fixed Chat Completions answers from a raw asyncio protocol.

It reads what the clients under test send and no more: HTTP/1.1, keep-alive, bodies with a Content-Length, one request
at a time on a connection. Every GET is answered with the list of models. After `POST /hold` streams stop behind their
first event, until `POST /release`.
"""

import argparse
import asyncio
import json
import re
from collections.abc import Callable, Iterator
from typing import cast

import uvloop

from bench import payload

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_ROUTE = b"POST /v1/chat/completions "
_CONTROLS = (b"POST /hold ", b"POST /release ")


def _plain(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Answers:
    """Every answer as the bytes of its writes, made once at the start."""

    def __init__(self, events: int) -> None:
        self.unary = _plain("200 OK", payload.completion())
        self.models = _plain("200 OK", payload.model_list())
        self.not_found = _plain("404 Not Found", b'{"error":{"message":"no such path"}}')
        self.no_length = _plain("411 Length Required", b'{"error":{"message":"no content-length"}}')
        end = _framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"
        first, *rest = [_framed(event) for event in payload.stream_events(events)]
        self.stream = [_STREAM_HEAD + first, *rest, end]
        self.stream_with_usage = [*self.stream[:-1], _framed(payload.usage_event()), end]


class Gate:
    """What streams wait at behind their first event, while it is shut."""

    def __init__(self) -> None:
        self.is_shut = False
        self.waiting: list[Callable[[], None]] = []

    def open(self) -> None:
        """Let them all go on, and the coming ones too."""
        self.is_shut = False
        waiting, self.waiting = self.waiting, []
        for go_on in waiting:
            go_on()


class ChatUpstream(asyncio.Protocol):
    """One connection. The events of a stream leave `gap` seconds apart, so that each arrives as a read of its own."""

    _transport: asyncio.Transport

    def __init__(self, answers: Answers, gap: float, gate: Gate) -> None:
        self._answers = answers
        self._gate = gate
        self._streaming = False
        self._lost = False
        self._gap = gap
        self._buffer = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one without being a subclass

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._streaming:
            self._answer_request()

    def _answer_request(self) -> None:
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        if not self._buffer.startswith(_ROUTE):
            self._answer_other(head_end + 4)
            return
        length = _CONTENT_LENGTH.search(self._buffer, 0, head_end)
        if length is None:
            self._transport.write(self._answers.no_length)
            self._transport.close()
            return
        body_end = head_end + 4 + int(length[1])
        if len(self._buffer) < body_end:
            return
        body = json.loads(self._buffer[head_end + 4 : body_end])
        self._buffer = self._buffer[body_end:]
        if not body.get("stream"):
            self._transport.write(self._answers.unary)
            return
        with_usage = (body.get("stream_options") or {}).get("include_usage")
        first, *rest = self._answers.stream_with_usage if with_usage else self._answers.stream
        self._streaming = True
        self._transport.write(first)
        if self._gate.is_shut:
            self._gate.waiting.append(lambda: self._write_next(iter(rest)))
        else:
            self._later(iter(rest))

    def _answer_other(self, end: int) -> None:
        """Controls and GETs, which have no body."""
        head, self._buffer = self._buffer[:end], self._buffer[end:]
        if head.startswith(_CONTROLS):
            if head.startswith(b"POST /hold "):
                self._gate.is_shut = True
            else:
                self._gate.open()
        elif not head.startswith(b"GET "):
            self._transport.write(self._answers.not_found)
            self._transport.close()
            return
        self._transport.write(self._answers.models)

    def _write_next(self, writes: Iterator[bytes]) -> None:
        data = next(writes, None)
        if self._lost:
            return
        if data is None:
            self._timer = None
            self._streaming = False
            self._answer_request()  # the next one may have come since the last write
            return
        self._transport.write(data)
        self._later(writes)

    def _later(self, writes: Iterator[bytes]) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._gap, self._write_next, writes)


async def serve(port: int, *, events: int, gap: float) -> None:
    """Listen on 127.0.0.1 until cancelled."""
    answers, gate = Answers(events), Gate()
    server = await asyncio.get_running_loop().create_server(
        lambda: ChatUpstream(answers, gap, gate), "127.0.0.1", port, backlog=4096
    )
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.upstream", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--events", type=int, default=200, help="SSE events of a stream (default: %(default)s)")
    parser.add_argument("--gap", type=float, default=0.002, help="seconds between two events (default: %(default)s)")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(options.port, events=options.events, gap=options.gap))


if __name__ == "__main__":
    main()
