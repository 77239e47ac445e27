"""A request body that comes in pieces: framed, sent as fast as the upstream takes it, and its iterator closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from aigateway.errors import ServerError
from aigateway.transport.wire import Wire


class BodyError(Exception):
    """The iterator of a body raised an OSError: `cause`, which is no fault of the wire."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Upload:
    """The sending of a body that comes in pieces, beside the waiting for the answer.

    length  bytes that the iterator has to give; None = chunked.
    trailers  lines that end a chunked body.
    limit   seconds for the upstream to take a piece.
    """

    def __init__(
        self, wire: Wire, pieces: AsyncIterator[bytes], length: int | None, trailers: bytes, limit: float | None
    ) -> None:
        self._wire = wire
        self._pieces = pieces
        self._length = length
        self._trailers = trailers
        self._limit = limit
        self._closed = False
        self._task = asyncio.get_running_loop().create_task(self._send())
        self._task.add_done_callback(self._ended)

    async def aclose(self) -> None:
        """Stop it where it still runs. The iterator is closed when this returns."""
        self._task.cancel()
        await asyncio.wait((self._task,))
        await self._close()  # a task that is cancelled before it begins runs no `finally`

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._wire.sent(task.exception())

    async def _send(self) -> None:
        try:
            if self._length is None:
                await self._send_chunked()
            else:
                await self._send_counted(self._length)
        finally:
            await self._close()

    async def _close(self) -> None:
        if not self._closed:
            self._closed = True
            await close(self._pieces)

    async def _send_chunked(self) -> None:
        while piece := await self._next():
            await self._wire.write(b"%x\r\n%b\r\n" % (len(piece), piece), self._limit)
        await self._wire.write(b"0\r\n%b\r\n" % self._trailers, self._limit)

    async def _send_counted(self, length: int) -> None:
        left = length
        while piece := await self._next():
            left -= len(piece)
            if left < 0:
                break
            await self._wire.write(piece, self._limit)
        if left:
            than = "more" if left < 0 else "fewer"
            raise ServerError(f"The body for the upstream has {than} bytes than its Content-Length.", code="bad_body")

    async def _next(self) -> bytes:
        """The next piece that is not empty; b"" after the last one."""
        try:
            async for piece in self._pieces:
                if piece:
                    return piece
        except OSError as error:
            raise BodyError(error) from error
        return b""


async def close(pieces: object) -> None:
    """Close an iterator that can be closed, begun or not."""
    if (aclose := getattr(pieces, "aclose", None)) is not None:
        await aclose()


def trailer_lines(trailers: Sequence[tuple[str, str]]) -> bytes:
    """The trailers of a chunked body as they are sent. Raises ServerError for one that cannot be."""
    lines = [f"{name}: {value}\r\n" for name, value in trailers]
    text = "".join(lines)
    if text.count("\n") != len(lines) or text.count("\r") != len(lines):
        raise ServerError("A trailer for the upstream holds a line break.", code="bad_header")
    return text.encode("latin-1", "replace")
