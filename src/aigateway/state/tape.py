"""A response on its way to the caller: noted, kept, and told as the caller knows it. Whole ones, and streams."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from aigateway import _json, _sse
from aigateway.errors import GatewayError, UpstreamProtocolError
from aigateway.formats.relay import events_in, frames_in
from aigateway.formats.responses.encoder import failure_events
from aigateway.formats.responses.resource import empty_resource
from aigateway.state.items import entries_of, items_of, listed
from aigateway.state.journal import JournalWriter, number_in
from aigateway.state.protocol import StoreUnavailableError
from aigateway.state.record import Record
from aigateway.state.responses import Stored
from aigateway.state.turn import TOP, Turn

logger = logging.getLogger("aigateway")

_RESPONSE: Final = b'"response"'
_SNAPSHOTS: Final = tuple(
    b"response." + name for name in (b"created", b"queued", b"in_progress", b"completed", b"incomplete", b"failed")
)
_TERMINAL: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_ITEM_DONE: Final = b"response.output_item.done"
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])


class _Event(msgspec.Struct):
    type: str = ""
    response: msgspec.Raw = msgspec.Raw()


class _Whole(msgspec.Struct):
    id: str | None = None
    status: str | None = None
    output: msgspec.Raw = msgspec.Raw(b"[]")


_WHOLE: Final = msgspec.json.Decoder(_Whole)
_EVENT: Final = msgspec.json.Decoder(_Event)


class Tape:
    """Keeps what goes by of one turn.

    id       of the response as the caller knows it; "" until it is known.
    status, output  of a stream that has ended.
    stored   its record where there is one already, as of a run in the background.
    """

    def __init__(self, turn: Turn, *, stored: Stored | None = None) -> None:
        self.turn = turn
        self.id = "" if stored is None else stored.id
        self.ended = False
        self.kept = False
        self.status = ""
        self.output: list[bytes] = []
        self._stored = stored
        self._version = 0 if stored is None else stored.version
        self._begun = False
        self._journal: JournalWriter | None = None
        self._snapshot: dict[str, Any] = {}
        self._items: list[bytes] = []
        self._input = turn.new if stored is None else items_of(stored.record.input)
        self._echo = turn.echo()
        self._their_id = ""
        self._unkept: tuple[str, bytes] | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is anything to leave behind."""
        return self._stored is not None or self._journal is not None

    # whole responses

    async def whole(self, body: bytes) -> bytes:
        """The response as the caller gets it, kept. Raises StoreUnavailableError."""
        try:
            head = _WHOLE.decode(body)
            output = [bytes(raw) for raw in _LIST.decode(head.output)]
        except (msgspec.DecodeError, RecursionError) as error:
            raise UpstreamProtocolError("The upstream answered with something that is not a response.") from error
        self._their_id = head.id or ""
        self.id = self.id or self._their_id
        if not self.id:
            return body  # nobody could ask for it
        answer = body
        for _ in range(2):
            told = self._echo if self.id == self._their_id else self._echo | {"id": self.id}
            answer = _with(body, told) if told else body
            if not self.turn.wishes.stores:
                break
            if await self._finish(head.status or "completed", _without_output(answer, head.output), output):
                break
            self.id = self.turn.state.responses.new_id("resp")
        self.ended = True
        await self._let_others_write()
        return answer

    async def _finish(self, status: str, body: bytes, output: list[bytes]) -> bool:
        """Keep the response, whose `output` is empty in the body, with its items; False where another one has its id."""
        turn = self.turn
        record = self._record(status, body)
        previous = None if turn.previous is None else turn.previous.record
        items = self._input
        if turn.refers and turn.conversation is not None:  # its items are its own, wherever they came from
            items = await turn.state.responses.copied(turn.tenant, items)
        kept = await turn.state.responses.finish(
            turn.tenant,
            self.id,
            record,
            items,
            output,
            previous=previous,
            conversation_log=turn.conversation,
            expect=self._version,
        )
        self.kept = kept
        return kept

    def _record(self, status: str, body: bytes) -> Record:
        turn = self.turn
        record = Record(status=status, body=body, conversation=turn.conversation, upstream=self._upstream())
        if self._stored is not None:
            record.background = self._stored.record.background
            record.run = self._stored.record.run if not record.is_over else None
            record.first = self._stored.record.first
        return record

    def _upstream(self) -> Any:
        upstream = self.turn.upstream
        return None if upstream is None else msgspec.structs.replace(upstream, id=self._their_id)

    # streams

    async def frames(self, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The frames as the caller gets them. What is kept is written before the event that ends the stream leaves.

        Where the store fails, the stream ends with that error.
        """
        try:
            async for data in frames:
                if self._begun and data.find(_RESPONSE) < 0 and data.find(_ITEM_DONE) < 0:
                    self._note(data)
                    yield data
                    continue
                for frame in frames_in(data):
                    for told in await self._frame(frame):
                        yield told
        except StoreUnavailableError as error:
            self.turn.state.note_failure()
            self.ended = True
            number = self._journal.next if self._journal is not None else 0
            for event in failure_events(error, response=empty_resource() | self._snapshot, sequence_number=number):
                yield _sse.encode(_json.encode(event.data), event.name)
            yield _sse.DONE_FRAME

    def _note(self, data: bytes) -> None:
        if self._journal is not None and not (self.ended and data.find(_sse.DONE_FRAME) >= 0):
            self._journal.add(data)

    async def _frame(self, frame: bytes) -> list[bytes]:
        if frame.find(_ITEM_DONE) >= 0:
            self._items.append(frame)
        if not self.ended and frame.find(_RESPONSE) >= 0 and any(name in frame for name in _SNAPSHOTS):
            events = events_in(frame)
            if events and events[0].data != _sse.DONE:
                return await self._snapshot_frame(frame, events[0])
        if frame.startswith((b"data: [DONE]", b":")):
            return [frame]
        self._note(frame)
        return [frame]

    async def _snapshot_frame(self, frame: bytes, event: _sse.SSEEvent) -> list[bytes]:
        try:
            value = _EVENT.decode(event.data)
            top = TOP.decode(value.response)
        except (msgspec.DecodeError, RecursionError):
            self._note(frame)
            return [frame]
        if not self._begun:
            self._begun = True
            try:
                await self._begin(top, number_in(frame))
            except StoreUnavailableError:
                self._go_on_unstored()
        told = self._echo if self.id == self._their_id else self._echo | {"id": self.id}
        if told:
            for name, field in told.items():
                top[name] = msgspec.Raw(_json.encode(field))
            whole = TOP.decode(event.data)
            whole["response"] = msgspec.Raw(_json.encode(top))
            frame = _sse.encode(_json.encode(whole), event.event)
        if value.type in _TERMINAL:
            self.ended = True
            self._note(frame)
            self.status = value.type.removeprefix("response.")
            self.output = [bytes(raw) for raw in _LIST.decode(top.get("output") or b"[]")]
            if self._stored is not None:
                try:
                    await self._end(top)
                except StoreUnavailableError:
                    self._go_on_unstored()
            await self._let_others_write()
        else:
            self._note(frame)
        return [frame]

    def _go_on_unstored(self) -> None:
        """The store is down. Raises what is being handled where that is to end the stream."""
        state = self.turn.state
        state.note_failure()
        if state.settings.on_outage == "fail" or (self._stored is not None and self._stored.record.background):
            raise  # noqa: PLE0704 - called from where it is handled
        logger.warning("response %s is not kept: the store of state is down", self.id)
        self.leave()
        self._stored = self._journal = self._unkept = None
        self._echo["store"] = False

    async def _begin(self, top: dict[str, msgspec.Raw], number: int | None) -> None:
        """Settle the response's id, and keep that it has begun before the caller learns of it."""
        try:
            await self._keep_begun(top, number)
        except BaseException:
            if self._stored is None and self.id:
                self.turn.state.leave(self.turn.tenant, self.id)
            raise

    async def _keep_begun(self, top: dict[str, msgspec.Raw], number: int | None) -> None:
        turn = self.turn
        their_id = _json.decode(bytes(top.get("id") or b'""'))
        self._their_id = their_id if isinstance(their_id, str) else ""
        self._snapshot = _json.decode(_json.encode(top))
        responses = turn.state.responses
        self.id = self.id or self._their_id
        if not turn.wishes.stores or not self.id:
            return
        if self._stored is not None:
            record = self._stored.record
            record.status, record.first = "in_progress", number or 0
            if record.run is not None:
                record.run.began = True
            if not await responses.rewrite(turn.tenant, self._stored, record):
                raise StoreUnavailableError("This response was taken over or cancelled.")
            self._version += 1
        else:
            body = _json.encode(top | {"output": msgspec.Raw(b"[]")})
            record = Record(status="in_progress", body=body, conversation=turn.conversation, first=number or 0)
            self._input = [data for _, data in entries_of(turn.new, responses.new_id)]
            record.input = listed(self._input)
            await turn.state.hold(turn.tenant, self.id, _nothing)  # first: nobody may find it without an owner
            if not await responses.begin(turn.tenant, self.id, record):
                await turn.state.let_go(turn.tenant, self.id)
                self.id = responses.new_id("resp")
                await turn.state.hold(turn.tenant, self.id, _nothing)
                await responses.begin(turn.tenant, self.id, record)
            self._version = 1
            self._stored = Stored(self.id, record, 1)
        self._journal = turn.state.journal(turn.tenant, self.id)
        self._journal.next = number or 0

    async def _let_others_write(self) -> None:
        """Who has the whole answer may ask again at once."""
        if self.turn.lock is None:
            return
        with contextlib.suppress(StoreUnavailableError):  # then the lock ends by itself
            await self.turn.close()

    async def _end(self, top: dict[str, msgspec.Raw]) -> None:
        if self._journal is not None:
            await self._journal.flush()
        status = _json.decode(bytes(top.get("status") or b'"completed"'))
        body = _json.encode(top | {"output": msgspec.Raw(b"[]")})
        self._unkept = str(status), body
        kept = await self._finish(*self._unkept, self.output)
        self._unkept = None
        if not kept:
            raise StoreUnavailableError("This response was cancelled or deleted while it was made.")

    async def keep_late(self) -> None:
        """Keep what came to its end, and could not be kept then."""
        if self._unkept is not None:
            await self._finish(*self._unkept, self.output)
            self._unkept = None

    async def abandon(self, error: GatewayError | None = None, status: str = "cancelled") -> None:
        """The stream ended before its end: keep what there is of it, with this status."""
        await self.keep_late()
        if self.ended or not self._begun or self._stored is None:
            return
        self.ended = True
        items = []
        for frame in self._items:
            for event in events_in(frame):
                item = TOP.decode(event.data).get("item")
                if item is not None:
                    items.append(bytes(item))
        body = self._snapshot | self._echo | {"id": self.id, "status": status, "output": []}
        if error is not None:
            body["error"] = {"code": error.code or "server_error", "message": error.message}
        if self._journal is not None:
            await self._journal.flush()
        await self._finish(status, _json.encode(body), items)

    async def close_journal(self) -> None:
        """Write what is left of the events, unless others have ended or deleted the response meanwhile."""
        journal, turn = self._journal, self.turn
        if journal is None:
            return
        found = None if self.kept else await turn.state.responses.find(turn.tenant, self.id)
        if not self.kept and (found is None or found.record.is_over):
            journal.drop()
        await journal.aclose()
        if not self.kept and found is None:
            await turn.state.store.delete_journal(turn.tenant, self.id)

    async def aclose(self) -> None:
        """The same, and let others have the response."""
        await self.close_journal()
        if self._stored is not None:
            await self.turn.state.let_go(self.turn.tenant, self.id)

    def leave(self) -> None:
        """Leave the response as it is, for others to settle."""
        if self._stored is not None:
            self.turn.state.leave(self.turn.tenant, self.id)


def _nothing() -> None:
    """Nobody needs to know: what is made goes to its caller anyway."""


def _with(body: bytes, fields: dict[str, Any]) -> bytes:
    """A response that says these of itself."""
    top = TOP.decode(body)
    for name, value in fields.items():
        top[name] = msgspec.Raw(_json.encode(value))
    return _json.encode(top)


def _without_output(body: bytes, output: msgspec.Raw) -> bytes:
    """A response whose output is empty: it was this."""
    raw = bytes(output)
    if raw == b"[]":
        return body
    at = body.find(raw)
    if at >= 0 and body.find(raw, at + 1) < 0:  # it stands there and nowhere else
        return body[:at] + b"[]" + body[at + len(raw) :]
    return _json.encode(TOP.decode(body) | {"output": msgspec.Raw(b"[]")})
