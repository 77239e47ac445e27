"""The journey of a call that is to be remembered, or goes on from what was: the same stages, with state among them.

What a call goes on from is found once its hooks have shaped it, and put in front of its input as each target needs it.
What comes back is kept before the caller has all of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aigateway.call import Attempt, Call, Target
from aigateway.canonical.types import Change
from aigateway.errors import UpstreamError
from aigateway.exchange import Answer, Exchange
from aigateway.formats import FORMATS
from aigateway.models import Model
from aigateway.routing.course import Course
from aigateway.state.items import REFERENCE
from aigateway.state.protocol import StoreUnavailableError
from aigateway.state.record import Upstream
from aigateway.state.state import State
from aigateway.state.tape import Tape
from aigateway.state.turn import WISHES, Turn, Wishes
from aigateway.translation import Translation
from aigateway.upstream import plan_for, quirks_of

logger = logging.getLogger("aigateway")

_UNKNOWN_ID: Final = frozenset({"previous_response_not_found", "item_not_found"})
_NOT_STORED: Final = Change(
    field="store", action="dropped", reason="The store of state is down; this response is not kept."
)
_REFERENCE: Final = REFERENCE.encode()


Submit = Callable[[Call, Turn], Awaitable[Answer]]


class StatefulExchange(Exchange):
    """Runs one call of Responses: see `Exchange`.

    state   what the gateway keeps.
    submit  begins a response in the background.
    """

    _turn: Turn | None = None
    _tape: Tape | None = None

    def __init__(self, *arguments: Any, state: State, submit: Submit, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._state = state
        self._submit = submit

    # before

    async def _routed(self) -> tuple[list[Target], Model | None]:
        body = self.call.request.raw
        wishes = WISHES.decode(body)
        if wishes.stores or wishes.is_stateful or _REFERENCE in body:
            await self._open(wishes, body)
        return await super()._routed()

    async def _open(self, wishes: Wishes, body: bytes) -> None:
        turn = Turn(self._state, self.call.tenant, wishes, body)
        if wishes.stores and not await self._state.is_up():
            self._go_on_unstored(turn)
        self._turn = turn
        try:
            await turn.open()
        except StoreUnavailableError:
            self._state.note_failure()
            raise

    def _go_on_unstored(self, turn: Turn) -> None:
        """Raises StoreUnavailableError where the gateway is to fail then."""
        if self._state.settings.on_outage == "fail" or turn.wishes.background:
            raise StoreUnavailableError
        turn.wishes.store = False

    def _is_queued(self, turn: Turn) -> bool:
        """Whether the response is to be made in the background."""
        return bool(turn.wishes.background)

    async def _try_targets(self, targets: list[Target], entry: Model | None) -> Answer:
        turn = self._turn
        if turn is None or not self._is_queued(turn):
            return await super()._try_targets(targets, entry)
        answer = await self._submit(self.call, turn)
        self._turn = None
        return answer

    # towards a target

    def _is_quick(self, course: Course) -> bool:
        turn, target = self._turn, course.target
        if turn is None:
            return super()._is_quick(course)
        if turn.is_changed or quirks_of(target.provider).keeps_responses or not super()._is_quick(course):
            return False
        turn.upstream = None
        return True

    async def _attempt(self, course: Course) -> Answer:
        turn = self._turn
        if turn is None or not turn.is_changed:
            return await super()._attempt(course)
        target = course.target
        relays = plan_for(self.call, target).upstream_api == "responses"
        if turn.is_foreign and relays:
            return await super()._attempt(course)
        native = relays and quirks_of(target.provider).keeps_responses and turn.is_known_at(target.provider.name)
        if not native or course.hedges or (turn.refers and not turn.is_trusted):
            await turn.load()
        try:
            return await super()._attempt(course)
        except UpstreamError as error:
            if not native or (error.code not in _UNKNOWN_ID and error.status != 404):
                raise
            logger.info("call %s: provider %s no longer keeps what it is to go on from", self.call.id, error.provider)
            await self._release()
            turn.replays = True
            await turn.load()
            return await super()._attempt(course)

    def _prepared(self, target: Target, why: str) -> tuple[Attempt, Translation | None, bool]:
        turn, call = self._turn, self.call
        if turn is None:
            return super()._prepared(target, why)
        keeps = quirks_of(target.provider).keeps_responses
        relays = plan_for(call, target).upstream_api == "responses"
        turn.upstream = (
            Upstream(target.provider.name, "") if keeps and relays and turn.wishes.store is not False else None
        )
        if not turn.is_changed:
            return super()._prepared(target, why)
        own = call.request
        call.request = FORMATS["responses"].request(
            turn.body_for(target.provider.name, keeps=keeps and relays, speaks_responses=relays)
        )
        try:
            return super()._prepared(target, why)
        finally:
            call.request = own

    # what comes back

    async def _generate(self, body: Any) -> Answer:
        answer = await super()._generate(body)
        turn = self._turn
        if turn is None or answer.status >= 300:
            return answer
        if not turn.wishes.stores and WISHES.decode(turn.body).stores:
            self.call.changes.append(_NOT_STORED)
        if not turn.wishes.stores and not turn.echo():
            return answer
        self._tape = tape = self._new_tape(turn)
        if answer.frames is None:
            await self._keep_whole(tape, answer)
        else:
            answer.frames = tape.frames(answer.frames)
            answer.pipe = None
        return answer

    def _new_tape(self, turn: Turn) -> Tape:
        return Tape(turn)

    async def _keep_whole(self, tape: Tape, answer: Answer) -> None:
        try:
            answer.body = await tape.whole(answer.body)
        except StoreUnavailableError:
            self._state.note_failure()
            if self._state.settings.on_outage == "fail":
                raise
            self.call.changes.append(_NOT_STORED)

    async def aclose(self) -> None:
        """See Exchange; state is left as it shall stay."""
        if self.call.ended_at is not None:
            return
        try:
            await super().aclose()
        finally:
            if self._tape is not None or self._turn is not None:
                await asyncio.shield(self._leave())

    async def _leave(self) -> None:
        try:
            if self._tape is not None:
                await self._tape.abandon()
                await self._tape.aclose()
            if self._turn is not None:
                await self._turn.close()
        except StoreUnavailableError:
            self._state.note_failure()
        except Exception:
            logger.exception("call %s: leaving the store of state failed", self.call.id)
