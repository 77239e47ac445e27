"""A gateway's state: one store, and everything that is built on it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import msgspec

from aigateway.state.compaction import Seals
from aigateway.state.completions import Completions
from aigateway.state.conversations import Conversations
from aigateway.state.items import NewId
from aigateway.state.journal import JournalLimits, JournalWriter
from aigateway.state.protocol import ResponseStore, StoreUnavailableError
from aigateway.state.responses import Responses

logger = logging.getLogger("aigateway")

RUN: Final = "run"
"""The kind of the leases on responses that are being made."""

_DAY: Final = 86_400.0
_CAUTION: Final = 5.0  # seconds after a failure in which the store is asked before a model is
_SWEEP: Final = 60.0
_AT_ONCE: Final = 1000  # rows that a sweep removes; where there are more, the next one follows soon

OnOutage = Literal["fail", "continue"]
"""What becomes of calls that are to be stored while the store is down: they fail, or go on unstored."""


class StateSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How state is kept.

    ttl        seconds that responses, conversations and completions are kept after their last use; None = for ever.
    on_outage  see OnOutage.
    journal    how much of streams can be read again.
    lease      seconds after which another process takes over what one has left behind.
    keys       of compactions, 32 bytes each, the newest first; without any one is made and kept in the store.
    """

    ttl: float | None = 30 * _DAY
    on_outage: OnOutage = "fail"
    journal: JournalLimits = JournalLimits()
    lease: float = 15.0
    keys: tuple[bytes, ...] = ()


class State:
    """What a gateway keeps. `aclose()` closes the store too."""

    def __init__(
        self,
        store: ResponseStore,
        settings: StateSettings | None = None,
        *,
        new_id: NewId,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.settings = settings or StateSettings()
        self.clock = clock
        self.owner = new_id("worker")
        self.responses = Responses(store, new_id, ttl=self.settings.ttl, clock=clock)
        self.conversations = Conversations(self.responses, self.owner)
        self.completions = Completions(self.responses)
        self.seals = Seals(store, self.settings.keys, new_id)
        self.recover: Callable[[str, str], Awaitable[None]] | None = None
        self._held: dict[tuple[str, str], Callable[[], None]] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._failed_at = -_CAUTION

    def journal(self, tenant: str, id: str) -> JournalWriter:
        """For the events of one response."""
        return JournalWriter(self.store, tenant, id, self.settings.journal, self.clock)

    # outages

    def note_failure(self) -> None:
        """The store has failed."""
        self._failed_at = time.monotonic()

    async def is_up(self) -> bool:
        """Whether the store can be used, as far as is known; shortly after a failure it is asked."""
        if time.monotonic() - self._failed_at >= _CAUTION:
            return True
        try:
            await self.store.ping()
        except StoreUnavailableError:
            self.note_failure()
            return False
        self._failed_at = -_CAUTION
        return True

    # leases, renewed while they are held

    async def hold(self, tenant: str, id: str, lost: Callable[[], None]) -> bool:
        """Be the one who makes a response; False where another one is. lost: called where it no longer is."""
        if self.store.shared and not await self.store.claim(RUN, tenant, id, self.owner, self.settings.lease):
            return False
        self._held[tenant, id] = lost
        self.start()
        return True

    async def let_go(self, tenant: str, id: str) -> None:
        """It is made."""
        if self._held.pop((tenant, id), None) is not None and self.store.shared:
            await self.store.release(RUN, tenant, id, self.owner)

    def leave(self, tenant: str, id: str) -> None:
        """Renew it no more, as where the store is down: whoever looks after what ran out settles what becomes of it."""
        self._held.pop((tenant, id), None)

    async def stop(self, tenant: str, id: str) -> None:
        """Take the right from whoever makes it."""
        if self.store.shared:
            await self.store.release(RUN, tenant, id)
        lost = self._held.pop((tenant, id), None)
        if lost is not None:
            lost()

    def start(self) -> None:
        """Begin to look after what others have left behind, once; nobody does in a store of one process."""
        if self._keeper is None and self.store.shared:
            self._keeper = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        due = time.monotonic() + _SWEEP
        while True:
            try:
                await self._renew()
                await self._take_over()
                if time.monotonic() >= due:
                    is_all = await self.store.sweep(_AT_ONCE) < _AT_ONCE
                    due = time.monotonic() + (_SWEEP if is_all else 0.0)
            except StoreUnavailableError:
                self.note_failure()
            except Exception:
                logger.exception("looking after the store of state failed")
            await asyncio.sleep(self.settings.lease / 4)

    async def _renew(self) -> None:
        for key, lost in list(self._held.items()):
            if not await self.store.renew(RUN, *key, self.owner, self.settings.lease) and key in self._held:
                del self._held[key]
                lost()

    async def _take_over(self) -> None:
        if self.recover is None:
            return
        for key in await self.store.run_out(RUN):
            if key not in self._held and await self.store.claim(RUN, *key, self.owner, self.settings.lease):
                await self.recover(*key)

    async def aclose(self, *, closes: bool = True) -> None:
        """Stop looking after things, and close the store, unless it is somebody else's too."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
        if closes:
            await self.store.aclose()
