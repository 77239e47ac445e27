"""What an upstream's reply becomes for the caller: a whole answer, or a stream that ends lawfully whatever happens."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from aigateway import _json, _sse
from aigateway.answer import JSON_TYPE, STREAM_HEADERS, Answer, Pipe
from aigateway.call import Attempt, Call
from aigateway.canonical.lens import EventLens
from aigateway.errors import (
    GatewayError,
    InvalidRequestError,
    ServerError,
    UpstreamError,
    UpstreamProtocolError,
)
from aigateway.formats import CALLER_CODECS, Format
from aigateway.formats.generate_content.array import as_array
from aigateway.formats.numbering import Numbering, without_content
from aigateway.formats.opening import Opening, held_back
from aigateway.formats.protocol import WireEvent
from aigateway.hooks.chain import Chain
from aigateway.intake import Limits
from aigateway.providers.protocol import ProviderReply
from aigateway.translation import Translation
from aigateway.upstream import is_shown, relay_for, shown_headers, unary_head

logger = logging.getLogger("aigateway")


class Answering:
    """The way back of a call: `Exchange` is its way in, and sets all that stands here."""

    call: Call
    _chain: Chain
    _limits: Limits
    _new_id: Callable[[str], str]
    _format: Format
    _asked: str
    _frames: AsyncIterator[bytes] | None
    _first: asyncio.Future[bytes | None] | None
    _pipe: Pipe | None
    _opening: Opening | None
    _numbering: Numbering | None
    _opened: bool
    _asked_usage: bool
    _refused = False

    async def _told(self, error: GatewayError) -> GatewayError:
        """The error of a stream that has begun, as the hooks want it."""
        raise NotImplementedError

    @property
    def _numbers(self) -> Numbering:
        numbering = self._numbering
        if numbering is None:
            self._numbering = numbering = Numbering(self.call.api)
        return numbering

    # the whole answer at once

    async def _whole(self, translation: Translation | None, reply: ProviderReply, body: bytes | None = None) -> Answer:
        headers = [JSON_TYPE]
        for pair in reply.headers:
            name = pair[0]
            if name == "content-type":
                if pair[1].lower().startswith("text/event-stream"):
                    raise UpstreamProtocolError("The upstream answered with a stream where none was asked for.")
            elif name != "content-length" and is_shown(name):
                headers.append(pair)
        if body is None:
            body = await reply.read()
        if translation is not None:
            body = translation.reply(body)
            if not self._chain.has_after_response:
                return Answer(200, headers, body)
            return await self._answer_document(self._translated(body), headers)
        body, self.call.usage = unary_head(self.call, body, self._asked)
        if not self._chain.has_after_response:
            return Answer(200, headers, body)
        return await self._answer_document(body, headers)

    def _translated(self, document: bytes) -> bytes | dict[str, Any]:
        """An answer that was made here: as an object of its own where hooks will look into it."""
        return cast("dict[str, Any]", _json.decode(document)) if self._chain.has_after_response else document

    async def _answer_document(self, document: bytes | dict[str, Any], headers: list[tuple[str, str]]) -> Answer:
        if isinstance(document, bytes) and not self._chain.has_after_response:
            return Answer(200, headers, document)
        lens = self._format.reply(document)
        if self._chain.has_after_response:
            await self._chain.after_response(self.call, lens)
        return Answer(200, headers, lens.raw)

    # the answer as a stream

    async def _stream(self, attempt: Attempt, translation: Translation | None, reply: ProviderReply) -> Answer:
        headers = [*STREAM_HEADERS, *shown_headers(reply)]
        content_type = _content_type(reply)
        is_whole = content_type.startswith("application/json")
        if content_type.startswith("text/html"):
            raise UpstreamProtocolError(f"Provider '{attempt.provider}' answered with a web page.")
        if is_whole and self.call.api not in CALLER_CODECS:
            unary_head(self.call, await reply.read(), self._asked)
            raise UpstreamProtocolError("The upstream gave a whole answer where a stream was asked for.")
        if translation is None and not is_whole:
            relay = relay_for(self.call, attempt.plan, self._asked, hide_usage=self._asked_usage)
            edits = self._chain.has_on_event
            self._pipe = pipe_of(reply, edits=edits)
            frames, fail = self._relayed(reply, relay, self._pipe), relay.fail
            if edits:
                frames = self._edited(frames)
        elif translation is not None and not is_whole and not self._chain.has_on_event:
            self._pipe = pipe_of(reply, edits=False)
            frames = _apart(self._relayed(reply, translation.relay(done=self._format.done), self._pipe), self._pipe)
            fail = translation.encoder.fail
        else:
            translation = translation or Translation(self.call, attempt.plan, self._asked, self._new_id)
            source = translation.stream(reply, whole=is_whole)
            held = source if self._opening is None else held_back(source, self._opening)
            frames, fail = self._encoded(held), translation.encoder.fail
        return await self._answer_stream(frames, fail, headers)

    async def _answer_stream(
        self,
        frames: AsyncIterator[bytes],
        fail: Callable[[GatewayError], list[WireEvent]],
        headers: list[tuple[str, str]],
    ) -> Answer:
        """Hold the head back until the upstream has begun to answer well, or has been silent for a while."""
        self._numbering = None
        self._frames = guarded = self._guarded(frames, fail)
        self._first = first = asyncio.ensure_future(_next(guarded))
        await asyncio.wait((first,), timeout=self._limits.keepalive)
        if first.done():
            first.result()
        self._opened = True
        if self._opening is not None:
            self._opening.is_over = True
        shown = self._from(first, guarded)
        if self.call.api == "generate_content" and "alt=sse" not in self.call.query.split("&"):
            headers = [JSON_TYPE, *(pair for pair in headers if pair[0] != "content-type")]
            return Answer(200, headers, frames=as_array(shown), ready=first.done(), is_events=False)
        return Answer(200, headers, frames=shown, ready=first.done(), pipe=self._pipe)

    async def _from(self, first: asyncio.Future[bytes | None], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        frame = await first
        self.call.first_byte_at = time.monotonic()
        if frame is not None:
            yield frame
            async for frame in rest:
                yield frame

    async def _guarded(
        self, frames: AsyncIterator[bytes], fail: Callable[[GatewayError], list[WireEvent]]
    ) -> AsyncIterator[bytes]:
        """The frames; from the moment the caller has seen some, an error becomes the lawful end of the stream."""
        try:
            async for frame in frames:
                yield frame
        except GatewayError as error:
            if not self._opened:
                raise
            final = await self._told(error)
        except Exception as error:
            if not self._opened:
                raise
            logger.exception("call %s failed inside the gateway", self.call.id)
            final = await self._told(server_error(error))
        else:
            return
        finally:
            await frames.aclose()  # type: ignore[attr-defined]  # always one of our own generators
        for frame in await self._ending(fail(final)):
            yield frame
        if self._format.done_on_error:
            yield _sse.DONE_FRAME

    async def _ending(self, events: list[WireEvent]) -> list[bytes]:
        """The frames that end a broken stream, through the hooks, for they may tell again what was said so far.

        Where a hook refused an event, or fails on these, they tell the error and nothing else.
        """
        at = self._numbers.next
        if self._chain.has_on_event:
            if self._refused:
                events = without_content(events)
            lenses = [self._format.event(wire.data, wire.name) for wire in self._numbers.continued(events)]
            try:
                return [frame for lens in lenses for frame in await self._through_hooks(lens)]
            except GatewayError:
                self._numbers.next = at
                events = self._numbers.continued(without_content(events))
        return [_sse.encode(_json.encode(wire.data), wire.name) for wire in events]

    async def _relayed(self, reply: ProviderReply, relay: Any, pipe: Pipe | None) -> AsyncIterator[bytes]:
        """Same format in and out. What comes before the first output is held back while another attempt may follow.

        Once it has begun, and where there is a pipe, the frames go there; here comes what is left at the end.
        """
        held = b""
        begun = False
        opening = self._opening
        source = reply.stream()
        try:
            async for chunk in source:
                out = relay.feed(chunk)
                if not begun:
                    held += out
                    begun = relay.saw_event and (opening is None or opening.ends_in(out))
                    out, held = (held, b"") if begun else (b"", held)
                if out:
                    yield out
                if relay.failure is not None:
                    raise relay.failure
                if begun and pipe is not None and pipe.write is not None:
                    break
            if begun and pipe is not None and pipe.write is not None:
                await source.aclose()  # type: ignore[attr-defined]  # the stream of a reply is a generator
                chunk = out = b""  # or they would be held as long as the stream is open
                await _pour(reply, relay, pipe, pipe.write)
            out = held + relay.flush()
            held = b""
            if relay.failure is not None and opening is not None and not opening.is_over:
                raise relay.failure
            if out:
                yield out
            if relay.failure is not None:
                raise relay.failure
        except UpstreamError:
            if held and self._opened:
                yield held
            raise
        finally:
            self.call.usage = relay.usage or self.call.usage
            await source.aclose()  # type: ignore[attr-defined]  # the stream of a reply is a generator

    async def _edited(self, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Relayed frames, through the hooks: one event each."""
        decoder = _sse.SSEDecoder()
        event_lens = self._format.event
        try:
            async for whole in frames:
                for event in decoder.feed(whole):
                    if event.data == _sse.DONE:
                        yield _sse.DONE_FRAME
                        continue
                    for frame in await self._through_hooks(event_lens(event.data, event.event)):
                        yield frame
        finally:
            await frames.aclose()  # type: ignore[attr-defined]  # a generator of our own

    async def _through_hooks(self, lens: EventLens) -> list[bytes]:
        self._numbers.begin(lens)
        try:
            events = await self._chain.on_event(self.call, lens)
        except GatewayError:
            self._refused = True
            raise
        return [_sse.encode(shown.raw, shown.name) for shown in self._numbers.renumbered(lens, events)]

    async def _encoded(self, events: AsyncIterator[WireEvent]) -> AsyncIterator[bytes]:
        """Translated events, through the hooks, as frames: one event each."""
        edits = self._chain.has_on_event
        event_lens = self._format.event
        async for wire in events:
            if not edits:
                yield _sse.encode(_json.encode(wire.data), wire.name)
                continue
            for frame in await self._through_hooks(event_lens(wire.data, wire.name)):
                yield frame
        if self._format.done:
            yield _sse.DONE_FRAME


def pipe_of(reply: ProviderReply, *, edits: bool) -> Pipe | None:
    """The short way for the frames of a reply, where its provider has one and nobody edits them."""
    return None if edits or not getattr(reply, "pours", False) else Pipe()


async def _apart(frames: AsyncIterator[bytes], pipe: Pipe | None) -> AsyncIterator[bytes]:
    """Frames that were made here: one at a time, but where a pipe would take many."""
    try:
        async for some in frames:
            at = 0
            while at < len(some):
                end = len(some) if pipe is not None and pipe.write is not None else some.index(b"\n\n", at) + 2
                yield some[at:end]
                at = end
    finally:
        await frames.aclose()  # type: ignore[attr-defined]  # a generator of our own


async def _pour(reply: Any, relay: Any, pipe: Pipe, write: Callable[[bytes], bool]) -> None:
    feed = relay.feed

    def pass_on(chunk: bytes) -> bool:
        out = feed(chunk)
        has_room = write(out) if out else True
        if relay.failure is not None:
            raise relay.failure
        return has_room

    pipe.reply = reply
    try:
        await reply.pour(pass_on)
    finally:
        pipe.reply = None


def _content_type(reply: ProviderReply) -> str:
    for name, value in reply.headers:
        if name == "content-type":
            return value.lower()
    return ""


async def _next(frames: AsyncIterator[bytes]) -> bytes | None:
    return await anext(frames, None)


def server_error(error: Exception) -> GatewayError:
    """What an error that is none of ours means to a caller."""
    if isinstance(error, RecursionError):
        return InvalidRequestError("The request body is nested too deeply.", code="invalid_json")
    return ServerError("The gateway failed on this request. Its log says why.")
