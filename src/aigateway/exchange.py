"""One call's whole way: authenticate, understand, hooks, route, attempt, and the answer brought back.

The only file that knows the order of the stages. It ends in an `Answer`: head and body for HTTP or for a caller in
process. An error before the answer began is answered with its status; one after it ends the stream lawfully.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar, Literal, cast

import msgspec

from aigateway import _json, _sse
from aigateway.call import Attempt, Call, OnUnsupported, Plan, Target
from aigateway.canonical.changes import listed
from aigateway.canonical.lens import EventLens
from aigateway.errors import (
    GatewayError,
    InvalidRequestError,
    ServerError,
    UnsupportedError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
)
from aigateway.formats import CALLER_CODECS, FORMATS, Format, render_error, spoken
from aigateway.formats.generate_content.array import as_array
from aigateway.formats.numbering import Numbering, without_content
from aigateway.formats.opening import Opening, held_back
from aigateway.formats.protocol import WireEvent
from aigateway.hedged import Runner, hedged
from aigateway.hooks.chain import Chain
from aigateway.intake import Limits, read_wishes, understand
from aigateway.models import Model, Models
from aigateway.providers.protocol import Posting, ProviderReply, ProviderRequest
from aigateway.providers.secret import reveal
from aigateway.routing.course import Course
from aigateway.routing.failures import was_not_sent
from aigateway.routing.traffic import Lane, Traffic
from aigateway.translation import Translation
from aigateway.upstream import (
    POSTED,
    forwarded_headers,
    has_forwarded_headers,
    is_shown,
    is_sifted,
    may_be_sifted,
    plan_for,
    quirks_of,
    relay_for,
    reply_error,
    shown_headers,
    unary_head,
    upstream_path,
    upstream_request,
)

logger = logging.getLogger("aigateway")

BodyReader = Callable[[], Awaitable[Any]]
"""Gives the body: bytes, or for an operation that `uploads` an iterator of them."""

CHANGES_HEADER = "x-aigateway-changes"
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


class Exchange:
    """Runs one call. Use: `answer()` once, deliver it, note `delivered()`, and always `aclose()`."""

    keep: Callable[[Call, Answer], Awaitable[Answer]] | None = None
    """Keeps the answer to a call that may ask for it."""

    _may_hedge = True
    _routes_plainly: ClassVar[bool] = True
    """Whether nothing but the registry of models has a say in `_routed`."""

    _warned = False
    _asked = ""
    _refused = False
    _error_told = False

    def __init__(
        self,
        call: Call,
        chain: Chain,
        models: Models,
        limits: Limits,
        new_id: Callable[[str], str],
        *,
        traffic: Traffic,
        on_unsupported: OnUnsupported = "warn",
    ) -> None:
        self.call = call
        self._chain = chain
        self._models = models
        self._limits = limits
        self._new_id = new_id
        self._traffic = traffic
        self._on_unsupported = on_unsupported
        self._lane: Lane | None = None
        self._reply: ProviderReply | None = None
        # what only streams have too: a name that comes late to one of many instances gives it a dict of its own
        self._frames: AsyncIterator[bytes] | None = None
        self._first: asyncio.Future[bytes | None] | None = None
        self._pipe: Pipe | None = None
        self._opening: Opening | None = None
        self._numbering: Numbering | None = None
        self._opened = self._asked_usage = self._delivered = False
        self._since = 0.0
        self._format: Format = FORMATS.get(call.api) or FORMATS["chat"]

    @property
    def _numbers(self) -> Numbering:
        numbering = self._numbering
        if numbering is None:
            self._numbering = numbering = Numbering(self.call.api)
        return numbering

    # the way in

    async def answer(
        self,
        read_body: BodyReader,
        served: Callable[[], dict[str, Any] | Answer] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """The answer, whatever happens: errors are rendered. `served` answers operations of the gateway itself.

        body: what `read_body` would give, where it is known.
        """
        call = self.call
        try:
            if self._chain.has_authenticate:
                await self._chain.authenticate(call, call._api_key)  # noqa: SLF001 - the key is nobody else's business
            if served is not None:
                made = served()
                answer = made if isinstance(made, Answer) else Answer(200, [JSON_TYPE], _json.encode(made))
            else:
                answer = await self._generate(await read_body() if body is None else body)
        except GatewayError as error:
            answer = await self._failure(error)
        except Exception as error:
            logger.exception("call %s failed inside the gateway", call.id)
            answer = await self._failure(_server_error(error))
        if call.changes:
            answer.headers.append((CHANGES_HEADER, listed(call.changes)))
        call.status = answer.status
        if call.first_byte_at is None:
            call.first_byte_at = time.monotonic()
        return answer

    def delivered(self) -> None:
        """The caller has the whole answer."""
        self._delivered = True

    async def aclose(self) -> None:
        """End the call: close what is open upstream, settle the outcome, tell the hooks. Once; later calls do nothing."""
        call = self.call
        if call.ended_at is not None:
            return
        call.ended_at = now = time.monotonic()
        try:
            if self._frames is not None or self._lane is not None:
                await self._release()
            elif self._reply is not None:
                await self._reply.aclose()
        finally:
            if call.outcome is None:
                call.outcome = "completed" if self._delivered else "abandoned"
            attempts = call.attempts
            if attempts and attempts[-1].ended_at is None:
                attempts[-1].ended_at = now
            if self._chain.has_on_complete:
                await self._chain.on_complete(call)

    async def _release(self) -> None:
        if self._frames is None:
            self._leave_lane()
            reply, self._reply = self._reply, None
            if reply is not None:
                await reply.aclose()
            return
        first, self._first = self._first, None
        frames, self._frames = self._frames, None
        reply, self._reply = self._reply, None
        if first is not None and not first.done():  # nobody has begun to read the frames
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
        try:
            closer = getattr(frames, "aclose", None)
            if closer is not None:
                await closer()
        finally:
            self._leave_lane()
            if reply is not None:
                await reply.aclose()

    def _leave_lane(self) -> None:
        lane = self._lane
        if lane is not None:
            self._lane = None
            lane.leave(self._since)

    async def _generate(self, body: bytes) -> Answer:
        call = self.call
        read_wishes(call)
        understand(call, body, self._limits)
        self._asked = call.model
        if self._chain.has_before_request:
            made = await self._chain.before_request(call)
            if call.request.touched:
                understand(call, call.request.raw, self._limits, lens=call.request)
            if made is not None:
                return await self._answer_made(made)
        entry = self._models.plain_route(call) if self._routes_plainly else None
        if entry is not None:
            targets = list(entry.targets)
        else:
            targets, entry = await self._routed()
        if self._chain.has_on_route:
            targets = await self._chain.on_route(call, targets)
        answer = await self._try_targets(targets, entry)
        if self.keep is not None and call.request.raw.find(b'"store"') >= 0:
            return await self.keep(call, answer)
        return answer

    async def _routed(self) -> tuple[list[Target], Model | None]:
        targets, entry = await self._models.route(self.call)
        if entry is not None and entry.balance != "ordered" and len(targets) > 1:
            targets = self._traffic.balanced(entry, targets)
        return targets, entry

    async def _try_targets(self, targets: list[Target], entry: Model | None) -> Answer:
        if not targets:
            raise ServerError("No target is left for this request.", code="no_target")
        target = targets[0]
        lane = self._traffic.lane(target)
        course = None if self._is_quick(target, lane, entry) else Course(self._traffic, targets, entry)
        while True:
            try:
                if course is None:  # nothing of it is needed before something fails
                    return await self._quick_attempt(target, lane)
                if self._is_quick(course.target, course.lane, entry):
                    return await self._quick_attempt(course.target, course.lane, course.why)
                return await self._attempt(course)
            except UpstreamError as error:
                await self._release()
                if course is None:
                    course = Course(self._traffic, targets, entry, since=self.call.attempts[-1].started_at)
                delay = course.after(error)
                if delay is None or not (was_not_sent(error) or self._may_repeat(self.call.attempts[-1])):
                    raise
                self.call.usage = None
                logger.info("call %s: provider %s failed; %s", self.call.id, error.provider, course.why)
                if delay:
                    await asyncio.sleep(delay)

    # one attempt

    def _is_quick(self, target: Target, lane: Lane, entry: Model | None) -> bool:
        """Whether the next attempt is as most are: a JSON document up and down, without anything special."""
        call = self.call
        if call.stream or call.query or target.prefer is not None or (entry is not None and entry.hedge is not None):
            return False
        known = lane.quick.get(call.operation.name)
        if known is None:
            known = lane.quick[call.operation.name] = quickness(call, lane)
        if known == "no" or has_forwarded_headers(call):
            return False
        return known == "yes" or not is_sifted(call, quirks_of(lane.provider))

    async def _quick_attempt(self, target: Target, lane: Lane, why: str = "") -> Answer:
        """As `_attempt`, where `_is_quick`."""
        call, chain = self.call, self._chain
        provider: Posting = target.provider  # type: ignore[assignment]  # it is one, or this is not quick
        if call.api in provider.apis:
            api = call.api
            plan = Plan(target, target.model or call.model, api, api)
            if call.changes:
                call.changes.clear()
            body = call.request.raw
            if plan.model != call.model:
                body = _json.replace_top_level(body, plan.model, "model")
            attempt = Attempt(len(call.attempts) + 1, plan, body, started_at=time.monotonic(), why=why)
            call.attempts.append(attempt)
            translation, path = None, call.operation.path
        else:
            attempt, translation, _ = self._prepared(target, why)
            api = attempt.plan.upstream_api
            path = POSTED[False].get(api, "")
        try:
            if chain.has_before_attempt:
                await chain.before_attempt(call, attempt)
            lane.count()
            self._lane = lane
            whole = None
            if attempt.headers or attempt.api_key is not None or not path:
                self._reply = reply = await self._send(attempt)
            else:
                self._reply = reply = posted = await provider.post(api, path, attempt.body)
                whole = posted.whole
            attempt.status = status = reply.status
            attempt.first_byte_at = time.monotonic()
            if status >= 300:
                raise await reply_error(await provider.guarded(reply), provider.name)
            answer = await self._whole(translation, reply, whole)
            self._lane = self._reply = None
            lane.leave(0.0)
            if whole is None:
                await reply.aclose()
        except GatewayError as error:
            self._failed(attempt, error)
            if self._lane is not None:
                lane.note_failure(error)
            raise
        lane.note_answer(attempt, time.monotonic() - attempt.started_at)
        return answer

    async def _attempt(self, course: Course) -> Answer:
        call, lane = self.call, course.lane
        attempt, translation, self._asked_usage = self._prepared(course.target, course.why)
        attempt.api_key = course.key
        try:
            if self._chain.has_before_attempt:
                await self._chain.before_attempt(call, attempt)
                if attempt.api_key is not course.key:
                    course.key = None  # what becomes of a hook's own key says nothing of the provider's
            if lane.is_guarded:
                self._since = await lane.enter(call.tenant)
            else:
                lane.count()
            self._lane = lane
            delay = course.hedge_delay() if course.hedges and self._may_hedge else None
            if delay is None:
                self._reply = reply = await self._send(attempt)
            else:
                self._lane = None
                first = Runner(attempt, translation, self._asked_usage, lane, self._since, list(call.changes))
                won = await hedged(
                    call, course, first, delay, chain=self._chain, prepare=self._prepared, send=self._send
                )
                attempt, translation, self._asked_usage = won.attempt, won.translation, won.asked_usage
                lane, self._lane, self._since = won.lane, won.lane, won.since
                self._reply = reply = won.answered
            attempt.status = reply.status
            attempt.first_byte_at = time.monotonic()
            if call.stream:
                self._opening = Opening(call.api) if course.may_go_on else None
            answer = await self._answer_of(attempt, translation, reply)
            if answer.frames is None:
                self._lane = None
                lane.leave(self._since)
        except GatewayError as error:
            self._failed(attempt, error)
            if self._lane is not None:
                self._lane.note_failure(error)
            raise
        lane.note_answer(attempt, time.monotonic() - attempt.started_at)
        return answer

    def _may_repeat(self, attempt: Attempt) -> bool:
        """Whether the same may be asked again, for all that the call itself says."""
        return True

    def _prepared(self, target: Target, why: str) -> tuple[Attempt, Translation | None, bool]:
        """A new attempt with the body that this target gets; whether usage was asked for on the gateway's account."""
        call, asked_usage = self.call, False
        plan = plan_for(call, target)
        if call.changes:
            call.changes.clear()
        translation = None
        if plan.translates:
            translation = Translation(call, plan, self._asked, self._new_id)
            body = translation.request_body()
            if call.changes:
                self._weigh_changes(target)
        else:
            body, asked_usage = upstream_request(call, plan, wants_usage=self._chain.has_on_complete)
        attempt = Attempt(len(call.attempts) + 1, plan, body, started_at=time.monotonic(), why=why)
        call.attempts.append(attempt)
        return attempt, translation, asked_usage

    async def _answer_of(self, attempt: Attempt, translation: Translation | None, reply: ProviderReply) -> Answer:
        """What the caller gets for an upstream's answer. Raises UpstreamError where that is a refusal."""
        if reply.status >= 300:
            raise await reply_error(reply, attempt.provider)
        if self.call.stream:
            return await self._stream(attempt, translation, reply)
        return await self._whole(translation, reply)

    def _failed(self, attempt: Attempt, error: GatewayError) -> None:
        _name(error, attempt)
        attempt.error = error
        attempt.ended_at = time.monotonic()

    def _weigh_changes(self, target: Target) -> None:
        """What becomes of a call of which something is lost: the call's own word counts before others.

        What is only told in another way (`changed`) is listed, and no reason to refuse or to warn.
        """
        call = self.call
        lost = [change for change in call.changes if change.action == "dropped"]
        if not lost:
            return
        wanted = call.on_unsupported or target.on_unsupported or self._on_unsupported
        if wanted == "reject":
            raise UnsupportedError(
                f"Provider '{target.provider.name}' cannot be told all of this request: {listed(call.changes)}. Leave "
                "it out, or let the gateway do so (on_unsupported: warn or drop).",
                param=lost[0].field,
            )
        if wanted == "warn" and not self._warned:
            self._warned = True
            name = target.provider.name
            logger.warning("call %s: provider %s is not told all of it: %s", call.id, name, listed(call.changes))

    def _request(self, attempt: Attempt, key: str | None) -> ProviderRequest:
        call, plan = self.call, attempt.plan
        headers = forwarded_headers(call, plan.upstream_api)
        if attempt.headers:
            headers |= {name.lower(): value for name, value in attempt.headers.items()}
        return ProviderRequest(
            api=plan.upstream_api,
            path=upstream_path(call, plan),
            model=attempt.model,
            body=attempt.body,
            content_type=call.headers.get("content-type", "") if call.operation.form == "multipart" else JSON_TYPE[1],
            stream=call.stream,
            headers=headers,
            api_key=key,
            request_id=call.id,
        )

    def _stream_path(self, attempt: Attempt) -> str:
        """Where a stream is asked for that needs nothing but its body, as most do; "" for every other request."""
        call, plan = self.call, attempt.plan
        if not call.stream or call.api not in CALLER_CODECS or attempt.headers or attempt.api_key is not None:
            return ""
        if call.query or not getattr(plan.target.provider, "posts", False) or has_forwarded_headers(call):
            return ""
        if plan.translates:
            return POSTED[True].get(plan.upstream_api, "")
        return "" if "{" in call.operation.path else call.operation.path

    async def _send(self, attempt: Attempt) -> ProviderReply:
        key = None if attempt.api_key is None else await reveal(attempt.api_key)
        provider, path = attempt.plan.target.provider, self._stream_path(attempt)
        request = None if path else self._request(attempt, key)
        try:
            if request is not None:
                return await provider.send(request)
            posting: Posting = provider  # type: ignore[assignment]  # it is one, or there is no such path
            reply = await posting.post(attempt.plan.upstream_api, path, attempt.body, stream=True)
            return reply if reply.status < 300 else await posting.guarded(reply)
        except GatewayError:
            raise
        except TimeoutError as error:
            raise UpstreamTimeoutError(f"Provider '{attempt.provider}' did not answer in time.") from error
        except Exception as error:
            logger.exception("call %s: provider %s raised", self.call.id, attempt.provider)
            raise UpstreamError(f"Provider '{attempt.provider}' failed.") from error

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
            final = await self._told(_server_error(error))
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

    # answers that no upstream gave

    async def _answer_made(self, made: Any) -> Answer:
        """A reply that a hook gave: a dict in the caller's format, or a text."""
        call = self.call
        if not isinstance(made, str | dict):
            made = getattr(made, "body", made)
        codec = CALLER_CODECS.get(call.api)
        if isinstance(made, dict) and not (call.stream and codec):
            return await self._answer_document(made, [JSON_TYPE])
        if codec is None or not isinstance(made, str | dict) or not call.has_request:
            logger.error("a hook answered call %s with something that is no reply of %s", call.id, call.api)
            raise ServerError("A hook of the gateway gave a reply that does not fit.", code="hook_failed")
        plan = Plan(Target(_NOBODY), call.model, call.api, call.api)
        translation = Translation(call, plan, self._asked, self._new_id)
        reply = translation.made(made)
        if not call.stream:
            return await self._answer_document(self._translated(translation.encoded(reply)), [JSON_TYPE])
        return await self._answer_stream(
            self._encoded(translation.replay(reply)), translation.encoder.fail, list(STREAM_HEADERS)
        )

    async def _failure(self, error: GatewayError) -> Answer:
        """The answer to an error, or what a hook put in its place."""
        try:
            result = await self._chain.on_error(self.call, error) if not self._error_told else error
            self._error_told = True
            if not isinstance(result, GatewayError):
                self._asked = self._asked or self.call.model
                answer = await self._answer_made(result)
                self.call.error = None
                return answer
        except GatewayError as raised:
            result = raised
        self._note(result)
        headers = [JSON_TYPE, *result.headers.items()]
        status, body = render_error(spoken_by(self.call), result, self.call.id)
        return Answer(status, headers, _json.encode(body))

    async def _told(self, error: GatewayError) -> GatewayError:
        """The error of a stream that has begun, as the hooks want it; a reply in its place comes too late."""
        if self.call.attempts:
            _name(error, self.call.attempts[-1])
            self.call.attempts[-1].error = error
        if self._lane is not None:
            self._lane.note_failure(error, was_answered=True)
        result = await self._chain.on_error(self.call, error) if not self._error_told else error
        self._error_told = True
        final = result if isinstance(result, GatewayError) else error
        self._note(final)
        return final

    def _note(self, error: GatewayError) -> None:
        call = self.call
        call.error = error
        refused = not call.attempts and error.status < 500
        call.outcome = "refused" if refused else "failed"


def quickness(call: Call, lane: Lane) -> Literal["yes", "no", "sifted"]:
    """Whether documents of this operation go the quick way to a target; `sifted`: where nothing is to be taken out."""
    operation, provider = call.operation, lane.provider
    if not (lane.is_plain and operation.form == "json" and "{" not in operation.path):
        return "no"
    if not getattr(provider, "posts", False):
        return "no"
    if call.api not in provider.apis:
        return "yes" if call.api in CALLER_CODECS else "no"
    return "sifted" if may_be_sifted(call.api, quirks_of(provider)) else "yes"


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


class _Nobody:
    """Stands for the provider of a reply that a hook made."""

    name = "hook"
    apis: frozenset[str] = frozenset()

    async def send(self, request: ProviderRequest) -> ProviderReply:
        """Never called."""
        raise UnsupportedError(f"nothing answers {request.api}")


_NOBODY = _Nobody()


def spoken_by(call: Call) -> str:
    """The API that the caller of a call speaks: its errors and its models are told in that."""
    return spoken(call.api, call.headers)


def _content_type(reply: ProviderReply) -> str:
    for name, value in reply.headers:
        if name == "content-type":
            return value.lower()
    return ""


def _name(error: GatewayError, attempt: Attempt) -> None:
    """Let an error of the wire say which provider it is about."""
    if isinstance(error, UpstreamError):
        error.provider = attempt.provider
        if error.message.startswith("The upstream"):
            error.message = f"Provider '{attempt.provider}'{error.message[len('The upstream') :]}"


async def _next(frames: AsyncIterator[bytes]) -> bytes | None:
    return await anext(frames, None)


def _server_error(error: Exception) -> GatewayError:
    if isinstance(error, RecursionError):
        return InvalidRequestError("The request body is nested too deeply.", code="invalid_json")
    return ServerError("The gateway failed on this request. Its log says why.")
