"""Waiting for the next piece of a journal: told at once by a writer in this process, found by looking elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

_T = TypeVar("_T")


class Waiters:
    """Who waits for what. interval: seconds between two looks for what another process wrote; None = there is none."""

    def __init__(self, interval: float | None) -> None:
        self._interval = interval
        self._events: dict[object, tuple[asyncio.Event, int]] = {}

    def tell(self, key: object) -> None:
        """Something was written."""
        found = self._events.get(key)
        if found is not None:
            found[0].set()

    async def until(self, key: object, look: Callable[[], Awaitable[list[_T]]], seconds: float) -> list[_T]:
        """What `look` finds, as soon as it finds something; an empty list once the time is over."""
        if seconds <= 0:
            return await look()
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        event, count = self._events.get(key) or (asyncio.Event(), 0)
        self._events[key] = event, count + 1
        try:
            while True:
                event.clear()
                found = await look()
                left = end - loop.time()
                if found or left <= 0:
                    return found
                try:
                    async with asyncio.timeout(left if self._interval is None else min(left, self._interval)):
                        await event.wait()
                except TimeoutError:
                    continue
        finally:
            event, count = self._events[key]
            if count == 1:
                del self._events[key]
            else:
                self._events[key] = event, count - 1
