"""One call whose two sides speak different formats: requests, replies and streams through the canonical form."""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from aigateway import _json, _sse
from aigateway.call import Call, Plan
from aigateway.canonical.accumulator import unfold
from aigateway.canonical.allowed import limit_of
from aigateway.canonical.events import Delta, Failed, ItemEnded, StreamEvent, UsageReported
from aigateway.canonical.laws import debug_build
from aigateway.canonical.neutral import without_neutral
from aigateway.canonical.origins import event_placed, items_placed, items_seen_at
from aigateway.canonical.quirks import Quirks
from aigateway.canonical.signed_calls import SignedCalls
from aigateway.canonical.toolbox import CallRestorer
from aigateway.canonical.types import Message, Reply, Request, Text, ToolCall
from aigateway.canonical.uncarried import UncarriedError, foreign_keys
from aigateway.errors import GatewayError, UpstreamProtocolError
from aigateway.formats import CALLER_CODECS, FORMATS, UPSTREAM_CODECS
from aigateway.formats.call_ids import made_call_id
from aigateway.formats.protocol import (
    Profile,
    ReplyContext,
    StreamEncoder,
    UpstreamCodec,
    WireEvent,
)
from aigateway.providers.protocol import ProviderReply
from aigateway.upstream import quirks_of

if TYPE_CHECKING:
    from aigateway.checks import StreamChecks

DEBUG = debug_build()

_NAMELESS = "The upstream sent a tool call without the name of a tool."
_UNSIGNED = frozenset({"responses", "messages"})
"""The APIs of callers whose calls have no place for a signature."""


class Translation:
    """The two codecs of a plan, and what they need to know of the call."""

    def __init__(self, call: Call, plan: Plan, asked: str, new_id: Callable[[str], str]) -> None:
        self._call = call
        self._plan = plan
        self._ours = CALLER_CODECS[plan.caller_api]
        translates = plan.translates
        self._request = (_request_of if translates else _understood)(call, plan.caller_api)
        if self._request.stream is not call.stream:  # where the path says so, and not the body
            self._request = msgspec.structs.replace(self._request, model=call.model, stream=call.stream)
        self._quirks = quirks = quirks_of(plan.target.provider)
        if translates:
            items = items_seen_at(self._request.items, quirks.origin)
            if items is not self._request.items:
                self._request = msgspec.structs.replace(self._request, items=items)
        self._limit = limit_of(self._request, call.changes)
        self._context = ReplyContext(
            model=asked,
            document=call.request,
            request=self._request,
            new_id=new_id,
            now=_now,
            profile=call.profile,
            translated=translates,
            changes=call.changes,
        )
        self._encoder: StreamEncoder | None = None
        self._checks = _checks(plan.caller_api, call.profile) if DEBUG else None
        self._signed = SignedCalls() if _lose_signatures(plan, quirks) else None

    @property
    def _theirs(self) -> UpstreamCodec:
        """The upstream's, where it differs from the caller's."""
        return UPSTREAM_CODECS[self._plan.upstream_api]

    @functools.cached_property
    def _calls(self) -> CallRestorer | None:
        """Gives calls back under the caller's names, where the upstream has others."""
        toolbox = self._theirs.toolbox(self._request, self._quirks) if self._plan.translates else None
        return CallRestorer(toolbox) if toolbox is not None and toolbox.needed else None

    @property
    def upstream_api(self) -> str:
        """The API that is spoken upstream."""
        return self._plan.upstream_api

    @property
    def delta_frame(self) -> Callable[[Delta], bytes | None] | None:
        """The short way of a delta, where the encoder has one and nothing stands between."""
        if self._checks is not None or self._calls is not None or self._signed is not None or self._limit is not None:
            return None
        return getattr(self.encoder, "delta_frame", None)

    @property
    def encoder(self) -> StreamEncoder:
        """The one that makes this call's events."""
        if self._encoder is None:
            self._encoder = self._ours.stream_encoder(self._context)
        return self._encoder

    def request_body(self) -> bytes:
        """The body for the upstream. What it cannot carry is listed in `call.changes`, or raises UnsupportedError."""
        try:
            body = self._theirs.encode_request(
                self._request, model=self._plan.model, quirks=self._quirks, changes=self._call.changes
            )
        except UncarriedError as error:
            error.param = self._ours.place_of(self._request, error.content)
            raise
        if self._call.changes:
            self._forget_neutral()
        return _json.encode(body)

    def _forget_neutral(self) -> None:
        """Take from the list what asked for nothing."""
        changes, plan = self._call.changes, self._plan
        if all(change.action != "dropped" for change in changes):
            return
        foreign = foreign_keys(self._request, plan.upstream_api)
        changes[:] = without_neutral(changes, self._request, plan.caller_api, foreign)

    def reply(self, body: bytes) -> bytes:
        """An upstream's whole answer in the caller's format."""
        return self.encoded(self._decoded(body))

    def encoded(self, reply: Reply) -> bytes:
        """A reply in the caller's format."""
        return self._ours.reply_document(reply, self._context)

    def made(self, answer: str | dict[str, Any]) -> Reply:
        """A reply that a hook gave: a text, or a body in the caller's format."""
        if isinstance(answer, dict):
            return self._ours.decode_reply(answer)
        message = Message(role="assistant", content=(Text(text=answer),))
        return Reply(id="", model=self._context.model, created_at=_now(), items=(message,))

    async def replay(self, reply: Reply) -> AsyncIterator[WireEvent]:
        """A whole reply as events."""
        for wire in self.events(unfold(reply)):
            yield wire

    def relay(self, *, done: bool) -> TranslatedStream:
        """For an upstream's stream that nobody edits. done: a finished one ends with `[DONE]`."""
        return TranslatedStream(self, done=done)

    async def stream(self, reply: ProviderReply, *, whole: bool) -> AsyncIterator[WireEvent]:
        """An upstream's stream (or its whole answer, where it gave one) as events of the caller's format.

        Raises the error that the stream ended in.
        """
        if whole:
            for wire in self.events(unfold(self._decoded(await reply.read()))):
                yield wire
            return
        frames = FORMATS[self._plan.upstream_api].framing()
        decoder = self._theirs.stream_decoder()
        source = reply.stream()
        try:
            async for chunk in source:
                for event in frames.feed(chunk):
                    for wire in self.events(decoder.feed(event)):
                        yield wire
            for event in frames.flush():
                for wire in self.events(decoder.feed(event)):
                    yield wire
            for wire in self.events(decoder.flush()):
                yield wire
        finally:
            await source.aclose()  # type: ignore[attr-defined]  # the stream of a reply is a generator

    def events(self, events: Iterable[StreamEvent]) -> Iterable[WireEvent]:
        """Canonical events in the caller's format. Raises the error of a stream that failed."""
        if self._checks is not None:
            return self._checks.output(self._encoded(self._checks.input(events)))
        return self._encoded(events)

    def _encoded(self, events: Iterable[StreamEvent]) -> Iterable[WireEvent]:
        encoder = self.encoder
        for event in events:
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, UsageReported):
                self._call.usage = event.usage
            elif isinstance(event, ItemEnded) and isinstance(event.item, ToolCall) and not event.item.name:
                raise UpstreamProtocolError(_NAMELESS)
            for told in self._told(event):
                shown = told if self._limit is None else self._limit.filter_event(told)
                if shown is not None:
                    yield from encoder.feed(shown)

    def _told(self, event: StreamEvent) -> Iterable[StreamEvent]:
        """What an event becomes for the caller: tools by their own names, signatures where they can be carried."""
        event = event_placed(event, self._quirks.origin)
        known = (event,) if self._calls is None else self._calls.event(event)
        if self._signed is None:
            return known
        return [one for event in known for one in self._signed.event(event)]

    def _decoded(self, body: bytes) -> Reply:
        plain = FORMATS[self._plan.upstream_api].plain_reply
        reply = None if plain is None else plain(body)
        if reply is None:
            reply = (self._theirs if self._plan.translates else self._ours).decode_reply(_object(body))
        if reply.usage is not msgspec.UNSET:
            self._call.usage = reply.usage
        items = items_placed(reply.items, self._quirks.origin)
        if items is not reply.items:
            reply = msgspec.structs.replace(reply, items=items)
        if ToolCall in set(map(type, reply.items)):
            reply = _callable(reply)
            if self._calls is not None:
                reply = self._calls.reply(reply)
        if self._signed is not None:
            reply = self._signed.reply(reply)
        return reply if self._limit is None else self._limit.filter_reply(reply)


class TranslatedStream:
    """An upstream's stream, fed as its bytes come, as frames of the caller's format.

    It is used as a StreamRelay is. Its usage is noted in the call.

    saw_event  whether there was a frame yet.
    failure    the error that the stream ended in; what stood before it was given.
    """

    usage = None
    saw_event = False
    failure: GatewayError | None = None

    def __init__(self, translation: Translation, *, done: bool) -> None:
        self._translation = translation
        self._frames = FORMATS[translation.upstream_api].framing()
        self._decoder = UPSTREAM_CODECS[translation.upstream_api].stream_decoder()
        self._delta_frame = translation.delta_frame
        self._done = done

    def feed(self, chunk: bytes) -> bytes:
        """The frames that follow from these bytes."""
        out: list[bytes] = []
        for event in self._frames.feed(chunk):
            self._add(self._decoder.feed(event), out)
            if self.failure is not None:
                break
        self.saw_event = self.saw_event or bool(out)
        return b"".join(out)

    def flush(self) -> bytes:
        """The frames that follow from the end of the bytes."""
        out: list[bytes] = []
        for event in self._frames.flush():
            if self.failure is None:
                self._add(self._decoder.feed(event), out)
        if self.failure is None:
            self._add(self._decoder.flush(), out)
        if self.failure is None and self._done:
            out.append(_sse.DONE_FRAME)
        return b"".join(out)

    def _add(self, events: list[StreamEvent], out: list[bytes]) -> None:
        delta_frame = self._delta_frame
        if delta_frame is not None and len(events) == 1:
            event = events[0]
            frame = delta_frame(event) if type(event) is Delta else None
            if frame is not None:
                if frame:
                    out.append(frame)
                return
        try:
            for wire in self._translation.events(events):
                frame = _sse.encode(_json.encode(wire.data), wire.name)
                out.append(frame)
        except GatewayError as error:
            self.failure = error


def _object(body: bytes) -> dict[str, Any]:
    """An upstream's JSON object."""
    try:
        value = _json.decode(body)
    except (_json.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UpstreamProtocolError("The upstream answered with something that is not JSON.") from error
    if not isinstance(value, dict):
        raise UpstreamProtocolError("The upstream answered with something that is not a JSON object.")
    return value


def _lose_signatures(plan: Plan, quirks: Quirks) -> bool:
    """Whether calls may be signed, and the caller's API has no place for that."""
    signs = plan.upstream_api == "generate_content" or quirks.call_signatures
    return signs and plan.caller_api in _UNSIGNED


def _callable(reply: Reply) -> Reply:
    """The reply with an id for each call. Raises UpstreamProtocolError for a call of no tool."""
    calls = [item for item in reply.items if isinstance(item, ToolCall)]
    if all(call.call_id and call.name for call in calls):
        return reply
    if not all(call.name for call in calls):
        raise UpstreamProtocolError(_NAMELESS)
    items = [
        msgspec.structs.replace(item, call_id=made_call_id(reply.id, number))
        if isinstance(item, ToolCall) and not item.call_id
        else item
        for number, item in enumerate(reply.items)
    ]
    return msgspec.structs.replace(reply, items=tuple(items))


def _checks(api: str, profile: Profile) -> StreamChecks:
    from aigateway.checks import StreamChecks  # noqa: PLC0415 - only debug builds pay for it

    return StreamChecks(api, profile)


def _request_of(call: Call, api: str) -> Request:
    """What a caller of an API asks for. Raises InvalidRequestError naming the field that is wrong."""
    document, plain = call.request, FORMATS[api].plain_request
    request = None if plain is None or document.touched else plain(document.raw)
    return CALLER_CODECS[api].decode_request(document.snapshot()) if request is None else request


def _understood(call: Call, api: str) -> Request:
    """A request that has gone out in its own API already: what no other API could ask is no reason to refuse it now."""
    try:
        return _request_of(call, api)
    except GatewayError:
        return Request(model="", items=())


def _now() -> int:
    return int(time.time())
