"""The journey of a call that is to be remembered, or goes on from what was: the same stages, with state among them.

What a call goes on from is found once its hooks have shaped it, and put in front of its input as each target needs it.
What comes back is kept before the caller has all of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, Final

from aigateway import _json
from aigateway.announced import AnnouncedExchange
from aigateway.answer import Answer
from aigateway.call import Attempt, Call, Target
from aigateway.canonical.types import Change
from aigateway.errors import UpstreamError, UpstreamProtocolError
from aigateway.formats import FORMATS
from aigateway.formats.responses.count import estimated_tokens
from aigateway.formats.responses.resource import encode_usage
from aigateway.intake import top_of
from aigateway.models import Model
from aigateway.routing.course import Course
from aigateway.routing.traffic import Lane
from aigateway.state.compaction import PROMPT, transcript
from aigateway.state.protocol import StoreUnavailableError
from aigateway.state.record import Upstream
from aigateway.state.state import State
from aigateway.state.tape import Tape
from aigateway.state.turn import WISHES, Turn, Wishes, needs_state
from aigateway.surface import OPERATIONS
from aigateway.translation import Translation
from aigateway.upstream import plan_for, quirks_of

logger = logging.getLogger("aigateway")

_UNKNOWN_ID: Final = frozenset({"previous_response_not_found", "item_not_found"})
_NOT_STORED: Final = Change(
    field="store", action="dropped", reason="The store of state is down; this response is not kept."
)


def compacts(targets: list[Target]) -> bool:
    """Whether the first of these is one that keeps responses itself, and so makes compactions too."""
    provider = targets[0].provider if targets else None
    return provider is not None and "responses" in provider.apis and quirks_of(provider).keeps_responses


Local = MutableMapping[str, list[bytes] | None]
Submit = Callable[[Call, Turn], Awaitable[Answer]]


class StatefulExchange(AnnouncedExchange):
    """Runs one call of Responses: see `Exchange`.

    state   what the gateway keeps.
    submit  begins a response in the background.
    """

    _routes_plainly = False

    local: Local | None = None
    """What the connection of this call remembers; None where there is none."""

    _records = True
    _turn: Turn | None = None
    _tape: Tape | None = None

    def __init__(self, *arguments: Any, state: State, submit: Submit, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._state = state
        self._submit = submit

    # before

    async def _routed(self) -> tuple[list[Target], Model | None]:
        body = self.call.request.raw
        wishes = top_of(body, WISHES)
        if self.local is not None or needs_state(wishes, body):
            await self._open(wishes, body)
        entry = self._models.plain_route(self.call)
        return await super()._routed() if entry is None else (list(entry.targets), entry)

    async def _open(self, wishes: Wishes, body: bytes) -> None:
        turn = Turn(self._state, self.call.tenant, wishes, body)
        if wishes.stores and not await self._state.is_up():
            self._go_on_unstored(turn)
        if self.local is not None:
            turn.local = self.local
            turn.remembers_only = not wishes.stores
        self._turn = turn
        turn.lock_owner = self._lock_owner()
        try:
            await turn.open()
            if self.local is not None:
                await turn.load()
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

    def _try_targets(self, targets: list[Target], entry: Model | None) -> Coroutine[Any, Any, Answer]:
        turn = self._turn
        return super()._try_targets(targets, entry) if turn is None else self._try_in_turn(turn, targets, entry)

    async def _try_in_turn(self, turn: Turn, targets: list[Target], entry: Model | None) -> Answer:
        if turn.wishes.generate is False:
            return await self._warmed_up()
        if turn.triggers and not compacts(targets):
            return await self._compacted(turn, targets, entry)
        if not self._is_queued(turn):
            if turn.wishes.compact_threshold is not None:
                await self._make_short(turn, targets, entry)
            return await super()._try_targets(targets, entry)
        answer = await self._submit(self.call, turn)
        self._turn = None
        return answer

    async def _warmed_up(self) -> Answer:
        """A response without output, of which no provider knows: it can be gone on from."""
        usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
        return await self._answer_made({"object": "response", "status": "completed", "output": [], "usage": usage})

    # compaction

    async def _compacted(self, turn: Turn, targets: list[Target], entry: Model | None) -> Answer:
        """The answer to a `compaction_trigger`: exactly one compaction item."""
        await turn.load()
        item = await self._state.seals.item(turn.tenant, await self._summary_of(turn.context, targets, entry))
        usage = self.call.usage
        made = {"object": "response", "status": "completed", "output": [item]}
        return await self._answer_made(made | ({} if usage is None else {"usage": encode_usage(usage)}))

    async def _make_short(self, turn: Turn, targets: list[Target], entry: Model | None) -> None:
        """Put a summary in place of what came before, where it is longer than the caller wants."""
        if compacts(targets) or turn.is_foreign:
            return
        await turn.load()
        older, newer = turn.to_compact()
        length = estimated_tokens({"input": [_json.decode(item) for item in turn.context]})
        if older and length >= (turn.wishes.compact_threshold or 0):
            summary = await self._summary_of(older, targets, entry)
            self._spent, self.call.usage = self.call.usage, None
            await turn.compact(summary, older, newer)

    async def _summary_of(self, items: list[bytes], targets: list[Target], entry: Model | None) -> str:
        """What the model that is asked makes of a conversation."""
        call = self.call
        own = call.request, call.stream, call.operation, self._turn
        text = f"{transcript(items)}\n\n{PROMPT}"
        body = {"model": call.model, "input": [{"role": "user", "content": text}], "store": False}
        call.request, call.stream, call.operation = (
            FORMATS["responses"].request(_json.encode(body)),
            False,
            OPERATIONS["responses"],
        )
        self._turn, self._summarises = None, True
        try:
            answer = await super()._try_targets(targets, entry)
        finally:
            self._summarises = False
            call.request, call.stream, call.operation, self._turn = own
        await self._release()
        summary = "\n".join(FORMATS["responses"].reply(answer.body).texts())
        if not summary.strip():
            raise UpstreamProtocolError("The model that was asked for a summary gave none.")
        return summary

    # towards a target

    def _is_quick(self, target: Target, lane: Lane, entry: Model | None) -> bool:
        turn = self._turn
        if turn is None:
            return super()._is_quick(target, lane, entry)
        if (
            turn.is_changed
            or turn.wishes.truncation == "auto"
            or quirks_of(target.provider).keeps_responses
            or not super()._is_quick(target, lane, entry)
        ):
            return False
        turn.upstream = None
        return True

    async def _attempt(self, course: Course) -> Answer:
        turn = self._turn
        if turn is None:
            return await super()._attempt(course)
        while True:
            try:
                return await self._attempt_of(turn, course)
            except UpstreamError as error:
                if error.code != "context_length_exceeded" or turn.wishes.truncation != "auto":
                    raise
                await self._release()
                await turn.load()
                turn.replays = True
                if not turn.shorten():
                    raise

    async def _attempt_of(self, turn: Turn, course: Course) -> Answer:
        if not turn.is_changed:
            return await super()._attempt(course)
        target = course.target
        relays = plan_for(self.call, target).upstream_api == "responses"
        if turn.is_foreign and relays:
            return await super()._attempt(course)
        native = relays and quirks_of(target.provider).keeps_responses and turn.is_known_at(target.provider.name)
        if not native or course.hedges or turn.is_sealed or (turn.refers and not turn.is_trusted):
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
        if turn is None or answer.status >= 300 or not self._records:
            return answer
        if turn.left_out:
            reason = f"The {turn.left_out} oldest items of the conversation were left out: it was too long."
            self.call.changes.append(Change(field="truncation", action="changed", reason=reason))
        if not turn.wishes.stores and WISHES.decode(turn.body).stores:
            self.call.changes.append(_NOT_STORED)
        if not turn.wishes.stores and not turn.echo() and self.local is None:
            return answer
        self._tape = tape = self._new_tape(turn)
        if answer.frames is None:
            await self._keep_whole(tape, answer)
        else:
            answer.frames = tape.frames(answer.frames)
            answer.pipe = None
        return answer

    def _made_on_the_way(self) -> bytes | None:
        return None if self._turn is None else self._turn.compaction

    def _lock_owner(self) -> str | None:
        """Who has the right to write to the conversation already."""
        return None

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

    def conversation(self) -> tuple[str, list[bytes] | None] | None:
        """Of a call that was completed: its response's id, and all items of its conversation (None = they are kept)."""
        turn, tape = self._turn, self._tape
        if turn is None or tape is None or not tape.id or tape.status not in ("completed", "incomplete"):
            return None
        return tape.id, None if tape.kept and turn.conversation is not None else [*turn.items, *tape.output]

    def aclose(self) -> Coroutine[Any, Any, None]:
        """See Exchange; state is left as it shall stay."""
        closing = super().aclose()
        if (self._tape is None and self._turn is None) or self.call.ended_at is not None:
            return closing
        return self._close_turn(closing)

    async def _close_turn(self, closing: Coroutine[Any, Any, None]) -> None:
        try:
            await closing
        finally:
            tape, turn = self._tape, self._turn
            if (tape is not None and tape.is_open) or (turn is not None and turn.lock is not None):
                await asyncio.shield(self._leave())

    async def _leave(self) -> None:
        if self._tape is not None and self._tape.is_open:
            try:
                await self._leave_tape(self._tape)
            except Exception as error:  # noqa: BLE001 - it is judged there
                self._tape.leave()
                self._failed_to_leave(error)
        if self._turn is not None:
            try:
                await self._leave_turn(self._turn)
            except Exception as error:  # noqa: BLE001 - the same
                self._failed_to_leave(error)

    async def _leave_tape(self, tape: Tape) -> None:
        await tape.abandon()
        await tape.aclose()

    async def _leave_turn(self, turn: Turn) -> None:
        await turn.close()

    def _failed_to_leave(self, error: Exception) -> None:
        if isinstance(error, StoreUnavailableError):
            self._state.note_failure()
        else:
            logger.error("call %s: leaving the store of state failed", self.call.id, exc_info=error)
