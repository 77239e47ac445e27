"""One call's whole way: authenticate, understand, hooks, route, attempt, and the answer brought back.

The only file that knows the order of the stages. It ends in an `Answer`: head and body for HTTP or for a caller in
process. An error before the answer began is answered with its status; one after it ends the stream lawfully.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, ClassVar, Literal

from aigateway import _json
from aigateway.answer import JSON_TYPE, STREAM_HEADERS, Answer, Pipe
from aigateway.answering import Answering, server_error
from aigateway.call import Attempt, Call, OnUnsupported, Plan, Target
from aigateway.canonical.changes import listed
from aigateway.errors import (
    GatewayError,
    ServerError,
    UnsupportedError,
    UpstreamError,
    UpstreamTimeoutError,
)
from aigateway.formats import CALLER_CODECS, FORMATS, Format, render_error, spoken
from aigateway.formats.numbering import Numbering
from aigateway.formats.opening import Opening
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
    is_sifted,
    may_be_sifted,
    plan_for,
    quirks_of,
    reply_error,
    upstream_path,
    upstream_request,
)

logger = logging.getLogger("aigateway")

BodyReader = Callable[[], Awaitable[Any]]
"""Gives the body: bytes, or for an operation that `uploads` an iterator of them."""

CHANGES_HEADER = "x-aigateway-changes"


class Exchange(Answering):
    """Runs one call. Use: `answer()` once, deliver it, note `delivered()`, and always `aclose()`."""

    keep: Callable[[Call, Answer], Awaitable[Answer]] | None = None
    """Keeps the answer to a call that may ask for it."""

    _may_hedge = True
    _routes_plainly: ClassVar[bool] = True
    """Whether nothing but the registry of models has a say in `_routed`."""

    _warned = False
    _asked = ""
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
            answer = await self._failure(server_error(error))
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
            attempt = self.call.attempts[-1]
            if not self._opened and attempt.error is None:
                lane.note_unanswered(time.monotonic() - attempt.started_at)

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
                changes = list(call.changes)
                first = Runner(attempt, translation, self._asked_usage, lane, self._since, changes, course.key)
                won = await hedged(
                    call, course, first, delay, chain=self._chain, prepare=self._prepared, send=self._send
                )
                if won is not first:
                    course.key = None  # of which nothing is known yet
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


def _name(error: GatewayError, attempt: Attempt) -> None:
    """Let an error of the wire say which provider it is about."""
    if isinstance(error, UpstreamError):
        error.provider = attempt.provider
        if error.message.startswith("The upstream"):
            error.message = f"Provider '{attempt.provider}'{error.message[len('The upstream') :]}"
