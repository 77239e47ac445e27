"""Responses made in the background: they go on when their caller has left, and are looked after when their process is gone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from aigateway import _json, _sse
from aigateway.answer import JSON_TYPE, STREAM_HEADERS, Answer
from aigateway.call import Call, Principal
from aigateway.errors import GatewayError, ServerError
from aigateway.formats.protocol import WireEvent
from aigateway.formats.responses.encoder import failure_events
from aigateway.formats.responses.resource import queued_resource
from aigateway.state.conversations import run_owner
from aigateway.state.ending import end_early
from aigateway.state.following import follow
from aigateway.state.items import entries_of, listed
from aigateway.state.protocol import Piece, StoreUnavailableError
from aigateway.state.record import Record, Run
from aigateway.state.responses import Stored
from aigateway.state.state import RUN, State
from aigateway.state.tape import Tape
from aigateway.state.turn import TOP, Turn
from aigateway.stateful import StatefulExchange

logger = logging.getLogger("aigateway")

_HEADERS: Final = ("content-type", "x-aigateway-on-unsupported", "x-aigateway-profile", "openai-beta", "traceparent")

MakeRun = Callable[[Run], "RunExchange"]


class RunExchange(StatefulExchange):
    """The journey of a response in the background: who asked, and what hooks made of it, is settled already."""

    stored: Stored

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._chain = self._chain.settled()

    def _is_queued(self, turn: Turn) -> bool:
        return False

    def _new_tape(self, turn: Turn) -> Tape:
        return Tape(turn, stored=self.stored)

    def _lock_owner(self) -> str | None:
        return run_owner(self.stored.id)

    @property
    def ended(self) -> bool:
        """Whether the response was kept to its end."""
        return self._tape is not None and self._tape.kept

    async def keep_late(self) -> None:
        """Try again to keep what came to its end while the store was down."""
        if self._tape is not None:
            await self._tape.keep_late()

    # what was not ended is nobody's mistake: `Runs` settles it, or another process does

    async def _leave_tape(self, tape: Tape) -> None:
        await tape.close_journal()

    async def _leave_turn(self, turn: Turn) -> None:
        if turn.lock is not None:
            turn.lock.leave()  # it is given back by `Runs`, unless another process goes on


class Runs:
    """The responses that this process makes in the background. make: a journey for one of them."""

    def __init__(self, state: State, make: MakeRun) -> None:
        self._state = state
        self._make = make
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._stopping = False
        state.recover = self.recover

    async def submit(self, call: Call, turn: Turn) -> Answer:
        """Begin one; the answer to its caller: the queued response, or its events as they come."""
        state, tenant = self._state, turn.tenant
        response_id = state.responses.new_id("resp")
        top = TOP.decode(turn.body)
        top["stream"] = msgspec.Raw(b"true")
        run = Run(
            request_id=call.id,
            body=_json.encode(top),
            headers={name: call.headers[name] for name in _HEADERS if name in call.headers},
            tenant=call.tenant,
            facts=_kept(call.principal.facts) if call.principal is not None else {},
        )
        resource = queued_resource(_json.decode(turn.body), id=response_id, model=call.model, now=int(time.time()))
        record = Record(
            status="queued",
            body=_json.encode(resource | turn.echo()),
            conversation=turn.conversation,
            input=listed(data for _, data in entries_of(turn.new, self._state.responses.new_id)),
            run=run,
            background=True,
        )
        if turn.lock is not None:
            await turn.lock.pass_to(run_owner(response_id))
            turn.lock = None
        await state.hold(
            tenant, response_id, lambda: self._lost(tenant, response_id)
        )  # first: nobody may find it without an owner
        try:
            await state.responses.begin(tenant, response_id, record)
        except BaseException:
            state.leave(tenant, response_id)
            raise
        self._start(tenant, Stored(response_id, record, 1))
        if call.stream:
            frames = follow(state, tenant, response_id, -1)
            return Answer(200, list(STREAM_HEADERS), frames=frames, ready=False)
        return Answer(200, [JSON_TYPE], record.body)

    def _start(self, tenant: str, stored: Stored) -> None:
        task = asyncio.create_task(self._run(tenant, stored))
        self._tasks[tenant, stored.id] = task
        task.add_done_callback(lambda _: self._tasks.pop((tenant, stored.id), None))

    def _lost(self, tenant: str, id: str) -> None:
        """Somebody cancelled it, or took it over."""
        task = self._tasks.get((tenant, id))
        if task is not None:
            task.cancel()

    async def _run(self, tenant: str, stored: Stored) -> None:
        run = stored.record.run
        if run is None:
            raise RuntimeError("only what has a request can be made")
        exchange = self._make(run)
        exchange.stored = stored
        try:
            await self._settled(exchange, run, tenant, stored)
        except asyncio.CancelledError:
            if self._stopping:  # another process goes on with it at once
                await self._state.store.renew(RUN, tenant, stored.id, self._state.owner, 0.0)
            raise
        except StoreUnavailableError:
            logger.warning("response %s in the background cannot be kept: the store of state is down", stored.id)
            self._state.note_failure()
            self._state.leave(tenant, stored.id)
        finally:
            await exchange.aclose()
            if not self._stopping:
                with contextlib.suppress(StoreUnavailableError):  # then the lock ends by itself
                    await self._state.conversations.free(tenant, stored)

    async def _settled(self, exchange: RunExchange, run: Run, tenant: str, stored: Stored) -> None:
        try:
            await self._made(exchange, run, tenant, stored)
        except StoreUnavailableError:
            raise
        except Exception:
            logger.exception("response %s failed in the background", stored.id)
            await self._failed(tenant, stored.id, ServerError("The gateway failed on this response. Its log says why."))
        await self._state.let_go(tenant, stored.id)

    async def _made(self, exchange: RunExchange, run: Run, tenant: str, stored: Stored) -> None:
        async def read() -> bytes:
            return run.body

        answer = await exchange.answer(read)
        if answer.frames is None:
            error = exchange.call.error or ServerError("The provider gave no stream.")
            await self._failed(tenant, stored.id, error)
            return
        async for _ in answer.frames:
            pass
        await exchange.keep_late()
        if exchange.ended:
            exchange.delivered()
        else:
            await self._failed(tenant, stored.id, exchange.call.error or ServerError("The response was not completed."))

    async def _failed(self, tenant: str, id: str, error: GatewayError) -> None:
        """Mark one as failed, unless it has ended: in its stream, then in its record."""
        responses = self._state.responses
        for _ in range(8):
            stored = await responses.find(tenant, id)
            if stored is None or stored.record.is_over:
                return
            record = stored.record
            pieces = await self._state.store.read_journal(tenant, id, -1)
            number = pieces[-1].last + 1 if pieces else 0
            events = failure_events(error, response=record.resource(), sequence_number=number)
            if not pieces:
                created = {"type": "response.created", "sequence_number": 0, "response": record.resource()}
                events = [WireEvent("response.created", created), *_moved(events)]
            data = b"".join(_sse.encode(_json.encode(event.data), event.name) for event in events)
            piece = Piece(number, number + len(events) - 1, data)
            until = self._state.clock() + self._state.settings.journal.seconds
            await self._state.store.write_journal(tenant, id, piece, expires_at=until)
            if await end_early(self._state, tenant, stored, events[-1].data["response"], first=record.first or 0):
                return

    async def recover(self, tenant: str, id: str) -> None:
        """Go on with what another process left behind: make it anew if nobody saw any of it, else call it failed."""
        stored = await self._state.responses.find(tenant, id)
        if stored is None or stored.record.is_over:
            await self._state.store.release(RUN, tenant, id, self._state.owner)
            return
        run = stored.record.run
        if run is not None and not run.began:
            logger.warning("response %s was left behind by its process; it is made anew", id)
            await self._state.hold(tenant, id, lambda: self._lost(tenant, id))
            self._start(tenant, stored)
            return
        logger.warning("response %s was left behind by its process in the middle; it has failed", id)
        await self._failed(
            tenant,
            id,
            ServerError("The process that made this response ended before it was complete.", code="interrupted"),
        )
        await self._state.store.release(RUN, tenant, id, self._state.owner)

    async def ended(self) -> None:
        """Wait until none runs."""
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def aclose(self) -> None:
        """Leave what is running to other processes."""
        self._stopping = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def principal_of(run: Run) -> Principal | None:
    """Who asked."""
    return None if run.tenant is None else Principal(run.tenant, run.facts)


def _kept(facts: dict[str, Any]) -> dict[str, Any]:
    """Those that can be written down."""
    kept = {}
    for name, fact in facts.items():
        try:
            kept[name] = _json.decode(_json.encode(fact))
        except (TypeError, ValueError):
            logger.debug("the fact %r of a principal is not kept for a run in the background", name)
    return kept


def _moved(events: list[WireEvent]) -> list[WireEvent]:
    for event in events:
        event.data["sequence_number"] += 1
    return events
