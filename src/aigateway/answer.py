"""What goes back to a caller: head and body, or frames."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

JSON_TYPE = ("content-type", "application/json")
STREAM_HEADERS = (("content-type", "text/event-stream"), ("cache-control", "no-cache"), ("x-accel-buffering", "no"))


class Pipe:
    """The short way of relayed frames: from the upstream's socket to the caller's in one turn of the loop.

    write  takes frames, and gives whether there is room for more; None = there is no such way.
    room   to be called when there is none (False), or some again.
    """

    __slots__ = ("reply", "write")

    def __init__(self) -> None:
        self.write: Callable[[bytes], bool] | None = None
        self.reply: Any = None

    def room(self, some: bool) -> None:  # noqa: FBT001 - a callback
        """The caller has caught up, or has fallen behind."""
        if self.reply is not None:
            (self.reply.resume if some else self.reply.hold)()


class Answer(msgspec.Struct):
    """What goes back to the caller: a body, or `frames` (whole server-sent events, already encoded).

    ready      whether there is something to send after the head at once.
    is_events  whether the frames are events; else they are bytes of any type, which nothing may be put between.
    pipe       where frames may go past the iterator, once it has begun: set its `write` to take them.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    frames: AsyncIterator[bytes] | None = None
    ready: bool = True
    is_events: bool = True
    pipe: Pipe | None = None


class CutShortError(Exception):
    """Bytes that broke off in the middle, where nothing can be said anymore: the caller's connection must be cut."""
