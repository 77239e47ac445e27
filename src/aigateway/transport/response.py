"""An answer: its head, and the body still to come, decoded of its Content-Encoding."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from aigateway.errors import UpstreamConnectionError, UpstreamProtocolError, UpstreamTimeoutError
from aigateway.transport import tls
from aigateway.transport.body import BodyError, Upload
from aigateway.transport.encodings import Decoder, EncodingError, decoder_for
from aigateway.transport.protocol import HTTPRequest
from aigateway.transport.wire import GarbledError, LateError, Sink, Wire

MAX_WHOLE = 256 * 1024 * 1024
"""Bytes of a body that is read as a whole, decoded; a stream may be longer."""

_HIDDEN = frozenset({"content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive"})
_NO_ANSWER = "did not answer in time"
_STOPPED = "stopped sending in the middle of its answer"
FAULTS = (OSError, GarbledError, LateError, EncodingError, BodyError)
"""What failure() puts into words."""


class Lender(Protocol):
    """Whose connection it is."""

    def give_back(self, wire: Wire) -> None:
        """The exchange is over."""
        ...


class Whole:
    """An answer that came whole: an HTTPResponse whose connection was given back. `whole` is its body."""

    __slots__ = ("headers", "status", "whole")

    def __init__(self, status: int, headers: Sequence[tuple[str, str]], whole: bytes) -> None:
        self.status = status
        self.headers = headers
        self.whole = whole

    async def read(self) -> bytes:
        """The whole body."""
        return self.whole

    async def stream(self) -> AsyncIterator[bytes]:
        """The same, in one piece."""
        if self.whole:
            yield self.whole

    async def aclose(self) -> None:
        """Nothing is open."""


class Response:
    """A response of the pool: an HTTPResponse."""

    status = 0
    headers: Sequence[tuple[str, str]] = ()
    whole: None = None
    upload: Upload | None = None
    _decoder: Decoder | None = None
    _whole: bytes | None = None

    def __init__(self, lender: Lender, wire: Wire, request: HTTPRequest) -> None:
        self._lender = lender
        self._wire: Wire | None = wire
        self._idle = request.timeout.idle
        self._peer = request.peer

    @property
    def trailers(self) -> Sequence[tuple[str, str]]:
        """What came after a chunked body that was read to its end, before the response is closed."""
        return () if self._wire is None else self._wire.trailers

    def learn(self) -> None:
        """Take over what the head says. Raises GarbledError or EncodingError."""
        wire = self._wire
        if wire is None:
            return
        self.status = wire.status
        self.headers = headers = wire.headers
        if not wire.is_special:  # as most are
            if wire.is_done and not wire.trailers and self.upload is None:
                self._whole = wire.taken()
                self._wire = None
                self._lender.give_back(wire)
            return
        hidden = [pair for pair in headers if pair[0] in _HIDDEN]
        shown = [pair for pair in headers if pair[0] not in _HIDDEN]
        self.headers = shown
        encoding = ""
        length = None
        codings = 0
        for pair in hidden:
            name, value = pair
            if name == "transfer-encoding":
                codings += 1
                if codings > 1 or value.lower() != "chunked":
                    wire.close()
                    raise GarbledError("a Transfer-Encoding that is not `chunked`")
            elif name == "content-encoding":
                encoding = f"{encoding},{value}"
            elif name == "content-length":
                length = pair
            elif name == "keep-alive":
                wire.keepalive = _timeout_in(value)
        if encoding:
            self._decoder = decoder_for(encoding)
        if length is not None and self._decoder is None:
            shown.append(length)

    async def read(self) -> bytes:
        """The whole body."""
        whole = self._whole
        if whole is not None:
            self._whole = b""
            return whole
        wire = self._wire
        if wire is None:
            return b""
        first = b""
        if self._decoder is None:
            try:
                first = await wire.read(self._idle)
            except FAULTS as error:
                raise failure(error, self._peer, begun=True) from error
            if wire.is_done:
                return first
        pieces = [first]
        size = len(first)
        async for piece in self.stream():
            pieces.append(piece)
            size += len(piece)
            if size > MAX_WHOLE:
                raise UpstreamProtocolError(f"{self._peer} answered with more than {MAX_WHOLE >> 20} MiB.")
        return b"".join(pieces)

    async def stream(self) -> AsyncIterator[bytes]:
        """The body in pieces as they arrive."""
        decoder = self._decoder
        if self._whole:
            whole, self._whole = self._whole, b""
            yield whole
        try:
            while self._wire is not None:
                piece = await self._wire.read(self._idle)
                if not piece:
                    if decoder is not None:
                        decoder.finish()
                    return
                if decoder is None:
                    yield piece
                else:
                    for number, plain in enumerate(decoder.feed(piece)):
                        if number:  # a bomb stops nobody else
                            await asyncio.sleep(0)
                        yield plain
        except FAULTS as error:
            raise failure(error, self._peer, begun=True) from error

    @property
    def pours(self) -> bool:
        """Whether pour() may be called: its pieces need no decoding."""
        return self._decoder is None

    async def pour(self, sink: Sink) -> None:
        """The rest of the body: each piece is given to `sink` in the turn in which it was read, which saves a switch of tasks.

        A sink that gives False gets nothing more until resume(). What it raises is raised here. Not after stream() was
        begun, but for one that was closed.
        """
        if self._whole:
            whole, self._whole = self._whole, b""
            sink(whole)
        if self._wire is None:
            return
        try:
            await self._wire.pour(sink, self._idle)
        except FAULTS as error:
            raise failure(error, self._peer, begun=True) from error

    def hold(self) -> None:
        """The sink of pour() has no room, which it learnt after it had taken a piece."""
        if self._wire is not None:
            self._wire.hold()

    def resume(self) -> None:
        """The sink of pour() has room again."""
        if self._wire is not None:
            self._wire.resume()

    async def aclose(self) -> None:
        """Give the connection back, or cut it where the body was not read to its end."""
        upload, self.upload = self.upload, None
        if upload is not None:
            await upload.aclose()
        wire, self._wire = self._wire, None
        if wire is not None:
            self._lender.give_back(wire)


def failure(error: BaseException, peer: str, *, begun: bool) -> BaseException:
    """What went wrong on the wire, in words that show no address. What is no fault of the wire stays as it is."""
    if isinstance(error, BodyError):
        return error.cause
    if isinstance(error, LateError):
        return UpstreamTimeoutError(f"{peer} {error.args[0] if error.args else _STOPPED if begun else _NO_ANSWER}.")
    if isinstance(error, GarbledError):
        return UpstreamProtocolError(f"{peer} answered with {error}.")
    if isinstance(error, EncodingError):
        return UpstreamProtocolError(f"{peer} answered {error}.")
    if isinstance(error, ssl.SSLError) and not begun:
        return UpstreamConnectionError(f"{peer} failed the TLS handshake: {tls.fault(error)}.")
    if not isinstance(error, OSError):
        return error
    if begun:
        return UpstreamConnectionError(f"{peer} broke off its answer.")
    return UpstreamConnectionError(f"{peer} closed the connection without a valid answer.")


def _timeout_in(value: str) -> float | None:
    """Seconds that the upstream keeps an idle connection, of a Keep-Alive header."""
    for part in value.split(","):
        name, _, number = part.strip().partition("=")
        if name.lower() == "timeout" and number.isascii() and number.isdigit():
            return float(number)
    return None
