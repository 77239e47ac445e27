"""Fuzzes the wire: any bytes, split anywhere, on a connection that asked for something.

`python -m tests.fuzz_wire --minutes 10` runs for long, with atheris (guided by coverage) where it is installed, and else by
chance from lawful and unlawful answers; `tests/test_transport_fuzz.py` runs for a moment. What must hold is in `check`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from aigateway.errors import UpstreamError
from aigateway.transport.protocol import HTTPRequest
from aigateway.transport.response import MAX_WHOLE, Response, failure
from aigateway.transport.wire import HIGH_WATER, MAX_HEAD, Wire

_HEAD = b"HTTP/1.1 200 OK\r\n"
SEEDS = [
    _HEAD + b"content-length: 5\r\n\r\nhello",
    _HEAD + b"transfer-encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nx-t: 1\r\n\r\n",
    _HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    _HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
    _HEAD + b"content-encoding: gzip\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
    _HEAD + b"content-encoding: br\r\ncontent-length: 3\r\n\r\n\x0b\x02\x80",
    _HEAD + b"keep-alive: timeout=5, max=100\r\nconnection: close\r\n\r\nrest",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n" + _HEAD + b"\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\ncontent-length: 500\r\n\r\n",
]
WORDS = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\0",
    b": ",
    b";",
    b"0\r\n\r\n",
    b"ffffffffffffffff",
    b"-1",
    b"\xff",
    b" ",
]
WORDS += [
    b"content-length: ",
    b"transfer-encoding: chunked\r\n",
    b"content-encoding: zstd\r\n",
    b"HTTP/1.1 100 C\r\n\r\n",
]


class Pipe:
    """The transport of a connection that leads nowhere."""

    def __init__(self) -> None:
        self.closing = False
        self.paused = False

    def write(self, data: bytes) -> None:
        """It is lost."""

    def abort(self) -> None:
        """Close."""
        self.closing = True

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self.closing

    def get_write_buffer_size(self) -> int:
        """Nothing is kept."""
        return 0

    def pause_reading(self) -> None:
        """No more data may come."""
        self.paused = True

    def resume_reading(self) -> None:
        """Data may come again."""
        self.paused = False


class Lent:
    """Takes a connection back."""

    def give_back(self, wire: Wire) -> None:
        """Nothing is done with it."""


def check(data: bytes, cuts: Sequence[int], method: str = "POST") -> bytes | UpstreamError:
    """The body that comes of these bytes, or the error; fails where it is neither, or something is kept that must not be."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(_exchange(data, cuts, method))
    finally:
        loop.close()


async def _exchange(data: bytes, cuts: Sequence[int], method: str) -> bytes | UpstreamError:
    wire, pipe = Wire(asyncio.get_running_loop()), Pipe()
    wire.connection_made(cast("asyncio.Transport", pipe))
    wire.begin(b"", b"", None, bodiless=method == "HEAD")
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    reading = asyncio.ensure_future(_read(wire, HTTPRequest(method=method, url="", headers=[])))
    for start, end in pairwise(bounds):
        if pipe.closing or (reading.done() and not wire.is_done):
            break  # a caller who is gone has cut the connection
        if end > start:
            wire.data_received(data[start:end])
            assert wire._held <= HIGH_WATER + end - start
            assert wire.is_done or wire._overhead <= MAX_HEAD or pipe.closing
        await asyncio.sleep(0)
        while pipe.paused and not reading.done():  # noqa: ASYNC110 - there is nothing to wait for but the loop
            await asyncio.sleep(0)
    if wire.is_reusable:
        wire.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
        assert not wire.is_reusable
    wire.connection_lost(None)
    assert not wire.is_reusable
    await asyncio.wait((reading,), timeout=5)
    error = reading.exception()
    if error is None:
        return reading.result()
    shown = failure(error, "P", begun=False)
    if not isinstance(shown, UpstreamError):
        raise error
    return shown


async def _read(wire: Wire, request: HTTPRequest) -> bytes:
    await wire.head(None)
    response = Response(Lent(), wire, request)
    response.learn()
    assert 200 <= response.status <= 999
    assert not any(char in text for pair in response.headers for text in pair for char in "\r\n\0")
    body = await response.read()
    assert len(body) <= MAX_WHOLE
    await response.aclose()
    return body


def mutated(chance: random.Random) -> tuple[bytes, list[int]]:
    """An answer with a few faults, and where it is split."""
    data = bytearray(chance.choice(SEEDS))
    if chance.random() < 0.3:
        data += chance.choice(SEEDS)
    for _ in range(chance.choice([0, 1, 1, 2, 3, 8])):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[at:at] = chance.choice(WORDS)
            case 1:
                del data[at : at + chance.randrange(1, 9)]
            case 2:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 3:
                data[at:at] = data[at : at + chance.randrange(30)]
            case _:
                data[at:at] = chance.choice(WORDS) * chance.choice([1, 50, 5_000])
    return bytes(data), [chance.randrange(len(data) + 1) for _ in range(chance.choice([0, 1, 3, 40]))]


def _one_input(data: bytes) -> None:
    """For atheris: the first bytes say where to split."""
    count = data[0] % 8 if data else 0
    check(data[1 + count :], list(data[1 : 1 + count]), "HEAD" if data[:1] > b"\xf0" else "POST")


def main() -> None:
    """Fuzz until the time is over or something fails; say how many inputs there were."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    asked = parser.parse_args()
    try:
        import atheris  # noqa: PLC0415 - it may be missing
    except ImportError:
        _by_chance(asked.minutes, asked.seed)
        return
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(SEEDS):
            (Path(folder) / f"{number}").write_bytes(b"\0" + seed)
        (words := Path(folder) / "words").write_text(
            "".join(f'"{_escaped(word)}"\n' for word in WORDS), encoding="ascii"
        )
        atheris.instrument_all()
        limits = [f"-max_total_time={round(asked.minutes * 60)}", "-max_len=4096", f"-dict={words}"]
        atheris.Setup([sys.argv[0], *limits, folder], _one_input)
        atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _by_chance(minutes: float, seed: int) -> None:
    chance = random.Random(seed)
    until = time.monotonic() + minutes * 60
    outcomes: dict[str, int] = {}
    print(f"seed {seed}", flush=True)
    while time.monotonic() < until:
        data, cuts = mutated(chance)
        method = chance.choice(["POST", "POST", "POST", "HEAD"])
        try:
            outcome: Any = check(data, cuts, method)
        except BaseException:
            print(f"failed: {method} {data[:2_000]!r} split at {cuts}", flush=True)
            raise
        kind = "a body" if isinstance(outcome, bytes) else outcome.message
        outcomes[kind] = outcomes.get(kind, 0) + 1
    print(f"{sum(outcomes.values()):,} answers")
    for kind, count in sorted(outcomes.items(), key=lambda pair: -pair[1]):
        print(f"{count:>12,}  {kind}")


if __name__ == "__main__":
    main()
