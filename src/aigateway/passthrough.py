"""The way of an operation that the gateway does not understand: the same stages, and bytes on both sides of them."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from aigateway import _json
from aigateway.answer import JSON_TYPE, STREAM_HEADERS, Answer, CutShortError
from aigateway.answering import pipe_of
from aigateway.call import Attempt, Call, Plan, Target
from aigateway.default_provider import DefaultProvider, offering
from aigateway.errors import GatewayError, ServerError, UpstreamProtocolError
from aigateway.exchange import Exchange
from aigateway.formats import FORMATS, PASSING
from aigateway.formats.passing import OpaqueReply, PassingRelay, TextReply
from aigateway.hooks.chain import Chain
from aigateway.intake import Limits, read_wishes
from aigateway.models import Model, Models
from aigateway.naming import body_for, named_as, parameters_naming, query_naming, understand_passing
from aigateway.providers.protocol import ProviderReply, ProviderRequest
from aigateway.routing.traffic import Lane
from aigateway.surface.routes import path_for, query_for
from aigateway.translation import Translation
from aigateway.upstream import error_of, forwarded_headers, reply_error, shown_headers

logger = logging.getLogger("aigateway")

_FORWARDED = ("accept", "range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
_UPLOADED = ("content-length", "content-encoding")
_SHOWN = frozenset(
    {
        "content-type",
        "content-disposition",
        "content-language",
        "content-range",
        "accept-ranges",
        "etag",
        "last-modified",
        "cache-control",
        "location",
    }
)
_TERMINALS = {"audio": (b"speech.audio.done", b"transcript.text.done", b"[DONE]")}
_MAKES_NOTHING = frozenset({"audio", "decisions", "moderations", "rerank"})
"""The APIs whose calls leave nothing behind at the provider, so that another one may be asked the same."""

_NOT_MODIFIED = 304


class _ReplyHead(msgspec.Struct):
    model: Any = None
    error: Any = None
    usage: Any = None
    usage_metadata: Any = msgspec.field(name="usageMetadata", default=None)
    id: Any = None
    object: Any = None


_REPLY_HEAD: msgspec.json.Decoder[_ReplyHead] = msgspec.json.Decoder(_ReplyHead)


class PassThrough(Exchange):
    """Runs one call of a relayed operation: see `Exchange`. default: where it goes if it names no model."""

    _may_hedge = False

    def __init__(
        self,
        call: Call,
        chain: Chain,
        models: Models,
        limits: Limits,
        new_id: Callable[[str], str],
        *,
        default: DefaultProvider,
        **settings: Any,
    ) -> None:
        super().__init__(call, chain, models, limits, new_id, **settings)
        self._default = default
        self._format = FORMATS.get(call.api, PASSING)
        self._upload: AsyncIterator[bytes] | None = None

    async def _generate(self, body: bytes | AsyncIterator[bytes]) -> Answer:
        call = self.call
        read_wishes(call)
        path_for(call.operation, call.parameters)
        whole = body if isinstance(body, bytes) else None
        if not isinstance(body, bytes):
            self._upload = body
        understand_passing(call, whole, self._limits)
        self._asked = call.model
        made = await self._chain.before_request(call)
        if self._chain.has_before_request:  # what they edited counts
            raw = call.request.raw if whole is not None else None
            understand_passing(call, raw, self._limits, lens=call.request)
        if made is not None:
            return await self._answer_made(made)
        answer = await self._served()
        if answer is not None:
            return answer
        targets, entry = await self._routed() if call.model else (self._default.targets(call.operation), None)
        targets = await self._chain.on_route(call, targets)
        return await self._ask(targets, entry)

    async def _ask(self, targets: list[Target], entry: Model | None) -> Answer:
        return await self._try_targets(offering(self.call.operation, targets), entry)

    async def _served(self) -> Answer | None:
        """The gateway's own answer, where it has one."""
        return None

    # one attempt

    def _is_quick(self, target: Target, lane: Lane, entry: Model | None) -> bool:
        return False

    def _prepared(self, target: Target, why: str) -> tuple[Attempt, None, bool]:
        call = self.call
        plan = Plan(target, target.model or call.model, call.api, call.api)
        body = body_for(call, plan.model)
        attempt = Attempt(len(call.attempts) + 1, plan, body, started_at=time.monotonic(), why=why)
        call.attempts.append(attempt)
        return attempt, None, False

    async def _answer_of(self, attempt: Attempt, translation: Translation | None, reply: ProviderReply) -> Answer:
        if reply.status >= 300 and reply.status != _NOT_MODIFIED:
            raise await reply_error(reply, attempt.provider)
        return await self._passed(attempt, reply)

    def _failed(self, attempt: Attempt, error: GatewayError) -> None:
        super()._failed(attempt, error)
        error.retryable = error.retryable and self._may_repeat(attempt)

    def _may_repeat(self, attempt: Attempt) -> bool:
        """Whether the same may be asked again: not what has gone by, nor what may have been made twice then."""
        if self._upload is not None:
            return False
        refused = attempt.status is not None and attempt.status < 500
        return refused or self.call.operation.method == "GET" or self.call.api in _MAKES_NOTHING

    def _request(self, attempt: Attempt, key: str | None) -> ProviderRequest:
        call, model = self.call, attempt.plan.model
        path = path_for(call.operation, parameters_naming(call, model))
        query = query_for(query_naming(call, model))
        wanted = _FORWARDED if self._upload is None else _FORWARDED + _UPLOADED
        headers = forwarded_headers(call, call.api) | {
            name: call.headers[name] for name in wanted if name in call.headers
        }
        has_body = self._upload is not None or attempt.body
        return ProviderRequest(
            api=call.api,
            path=f"{path}?{query}" if query else path,
            model=model,
            method=call.operation.method,
            body=attempt.body,
            upload=self._upload,
            content_type=call.headers.get("content-type", JSON_TYPE[1]) if has_body else "",
            stream=call.stream,
            headers=headers | {name.lower(): value for name, value in attempt.headers.items()},
            api_key=key,
            request_id=call.id,
        )

    # the answer

    async def _passed(self, attempt: Attempt, reply: ProviderReply) -> Answer:
        """The answer by its type: events, a JSON document, or bytes."""
        given = dict(reply.headers)
        kind = given.get("content-type", "").lower()
        headers = [(name, value) for name, value in reply.headers if name in _SHOWN] + shown_headers(reply)
        if kind.startswith("text/event-stream"):
            return await self._events(reply)
        if reply.status in (204, _NOT_MODIFIED):
            return Answer(reply.status, headers)
        if self.call.operation.answer == "json":
            if "json" in kind:
                return await self._document(reply, headers)
            if kind.startswith("text/html"):
                raise UpstreamProtocolError(f"Provider '{attempt.provider}' answered with a web page.")
            if kind.startswith("text/") and self._chain.has_after_response:
                return await self._shown(TextReply(await reply.read()), reply.status, headers)
        if self._chain.has_after_response:
            await self._chain.after_response(self.call, OpaqueReply(kind))
        return await self._bytes(reply, headers, given)

    async def _events(self, reply: ProviderReply) -> Answer:
        call = self.call
        relay = PassingRelay(
            self._asked,
            self._format.usage if call.operation.counts else None,
            _TERMINALS.get(call.api, ()),
        )
        edits = self._chain.has_on_event
        self._pipe = pipe_of(reply, edits=edits)
        frames = self._relayed(reply, relay, self._pipe)
        if edits:
            frames = self._edited(frames)
        return await self._answer_stream(frames, relay.fail, [*STREAM_HEADERS, *shown_headers(reply)])

    async def _document(self, reply: ProviderReply, headers: list[tuple[str, str]]) -> Answer:
        call = self.call
        body = await reply.read()
        try:
            head = _REPLY_HEAD.decode(body)
        except msgspec.ValidationError:
            head = _ReplyHead()
        except (msgspec.DecodeError, RecursionError) as error:
            raise UpstreamProtocolError("The upstream answered with something that is not its API's JSON.") from error
        if head.error and head.id is None and head.object is None:
            raise error_of({"error": head.error}, 502, "")
        body = named_as(call, self._asked, body, head.model)
        if call.operation.counts:
            call.usage = self._format.usage(head.usage or head.usage_metadata)
        if not self._chain.has_after_response:
            return Answer(reply.status, headers, body)
        return await self._shown(self._format.reply(body), reply.status, headers)

    async def _shown(self, lens: Any, status: int, headers: list[tuple[str, str]]) -> Answer:
        await self._chain.after_response(self.call, lens)
        return Answer(status, headers, lens.raw)

    async def _bytes(self, reply: ProviderReply, headers: list[tuple[str, str]], given: dict[str, str]) -> Answer:
        """Bytes as they come. The head waits for the first of them, so that an upstream's early end is an error."""
        if "content-length" in given:
            headers.append(("content-length", given["content-length"]))
        self._frames = frames = self._pieces(reply)
        first = await anext(frames, b"")
        if not first:
            return Answer(reply.status, [pair for pair in headers if pair[0] != "content-length"])
        self._opened = True
        return Answer(reply.status, headers, frames=_joined(first, frames), is_events=False)

    async def _pieces(self, reply: ProviderReply) -> AsyncIterator[bytes]:
        source = reply.stream()
        try:
            async for piece in source:
                if piece:
                    yield piece
        except GatewayError as error:
            if not self._opened:
                raise
            await self._told(error)
            raise CutShortError from error
        finally:
            await source.aclose()  # type: ignore[attr-defined]  # the stream of a reply is a generator

    async def _answer_made(self, made: Any) -> Answer:
        """A reply that a hook gave: only it knows which form it must have."""
        made = getattr(made, "body", made)
        if not isinstance(made, dict):
            logger.error("a hook answered call %s with something that is no reply of %s", self.call.id, self.call.api)
            raise ServerError("A hook of the gateway gave a reply that does not fit.", code="hook_failed")
        return await self._answer_document(_json.encode(made), [JSON_TYPE])


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
