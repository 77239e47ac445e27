"""Both edges of an attempt in one format: the body that goes up, and what a unary answer or an error says."""

from __future__ import annotations

import functools
import re
from typing import Any, Final

import msgspec

from aigateway import _json
from aigateway.call import Call, Plan, Target
from aigateway.canonical.origins import is_home
from aigateway.canonical.quirks import Quirks
from aigateway.canonical.types import Change, Usage
from aigateway.errors import (
    UnsupportedError,
    UpstreamError,
    UpstreamOverloadedError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
)
from aigateway.formats import CALLER_CODECS, FORMATS, UPSTREAM_CODECS
from aigateway.formats.chat.repair import RepairingRelay, repaired_reply
from aigateway.formats.chat.sealed import is_signed, without_foreign
from aigateway.formats.chat.strict import strict_body
from aigateway.formats.embeddings.encoding import in_encoding
from aigateway.formats.messages.request import refuse_thread
from aigateway.formats.multipart import FormRequest
from aigateway.formats.relay import StreamRelay, code_of
from aigateway.formats.responses.sealed import ENCRYPTED_KEY, SealingRelay, sealed_reply
from aigateway.formats.usage import ChatCounts, chat_usage, usage_of
from aigateway.providers.protocol import ProviderLike, ProviderReply
from aigateway.surface.routes import query_for

SHOWN_HEADERS = frozenset({"retry-after", "retry-after-ms", "x-should-retry", "openai-processing-ms", "openai-version"})
_LIMITS = ("x-ratelimit-", "anthropic-ratelimit-")

_KEY = re.compile(r"\b(?:(?:sk|pk|rk|gsk|xai|hf|csk|nvapi)[-_]|AIza)[A-Za-z0-9*._-]{5,}[A-Za-z0-9*]")
_DEFAULT_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_RETRYABLE = frozenset({401, 403, 408, 409, 429})
_KINDS: dict[int, type[UpstreamError]] = {504: UpstreamTimeoutError, 529: UpstreamOverloadedError}
_MESSAGE_MAX = 4000

_NO_QUIRKS = Quirks()
_THREAD: Final = b'"thread"'


def quirks_of(provider: ProviderLike) -> Quirks:
    """A provider's quirks; those of an unknown host where it names none."""
    quirks = getattr(provider, "quirks", None)
    return quirks if isinstance(quirks, Quirks) else _NO_QUIRKS


POSTED: Final = tuple(
    {
        name: row.path("one", stream)
        for name, row in FORMATS.items()
        if row.path is not None and row.path("one", stream) == row.path("another", stream)
    }
    for stream in (False, True)
)
"""API -> where it is asked, of those where that is the same for all models: for whole answers, and for streams."""

_TRANSLATED_INTO = ("generate_content", *(name for name in UPSTREAM_CODECS if name != "generate_content"))
"""The order in which APIs are translated into: Google's own tells more than its likeness of OpenAI's chat."""


def plan_for(call: Call, target: Target) -> Plan:
    """Which API is spoken upstream.

    The one the target prefers, else the caller's own, else one that it can be translated into; in each case only if
    the provider speaks it. Raises UnsupportedError where there is none.
    """
    apis = target.provider.apis
    if target.prefer is None and call.api in apis:
        return Plan(target, target.model or call.model, call.api, call.api)
    spoken = _spoken(call.api, target.prefer, frozenset(apis))
    if spoken is not None:
        return Plan(target, target.model or call.model, call.api, spoken)
    raise UnsupportedError(
        f"Provider '{target.provider.name}' does not offer the '{call.api}' API, and it cannot be translated into "
        "one that it offers.",
        param="model",
        code="unsupported_api",
    )


@functools.lru_cache(256)
def _spoken(api: str, prefer: str | None, apis: frozenset[str]) -> str | None:
    wanted: tuple[str, ...] = (api,)
    if api in CALLER_CODECS:
        wanted = _TRANSLATED_INTO
        if prefer is not None:
            wanted = (prefer if prefer in UPSTREAM_CODECS else api, api, *wanted)
    return next((one for one in wanted if one in apis), None)


def upstream_path(call: Call, plan: Plan) -> str:
    """Where an attempt goes, below the provider's base URL, with its query."""
    path_of = FORMATS[plan.upstream_api].path
    if not plan.translates and (path_of is None or "{" not in call.operation.path):
        return f"{call.operation.path}?{query_for(call.query)}" if call.query else call.operation.path
    if path_of is None:
        raise TypeError(f"nothing is translated into {plan.upstream_api}")
    return path_of(plan.model, call.stream)


_FORWARDED = ("openai-beta", "idempotency-key", "traceparent", "tracestate", "x-client-request-id")
_FORWARDED_TO = {"messages": ("anthropic-beta", "anthropic-version", *_FORWARDED)}
"""By the API that is spoken upstream, where that has headers of its own."""
_FORWARDED_SET = frozenset(name for names in (_FORWARDED, *_FORWARDED_TO.values()) for name in names)


def forwarded_headers(call: Call, api: str) -> dict[str, str]:
    """The caller's headers that go on to an upstream of this API: none that carries a key or a cookie."""
    headers = call.headers
    if _FORWARDED_SET.isdisjoint(headers):
        return {}
    return {name: headers[name] for name in _FORWARDED_TO.get(api, _FORWARDED) if name in headers}


def has_forwarded_headers(call: Call) -> bool:
    """Whether the caller sent any of these."""
    return not _FORWARDED_SET.isdisjoint(call.headers)


def is_shown(name: str) -> bool:
    """Whether the caller sees an upstream's header of this name."""
    return name in SHOWN_HEADERS or name.startswith(_LIMITS)


def shown_headers(reply: ProviderReply) -> list[tuple[str, str]]:
    """The upstream's headers that the caller sees."""
    return [pair for pair in reply.headers if is_shown(pair[0])]


def may_be_sifted(api: str, quirks: Quirks) -> bool:
    """Whether anything is ever taken out of bodies that are relayed in JSON."""
    if FORMATS[api].without_seals is not None:
        return True
    return api == "chat" and (quirks.strict_fields or quirks.signed_reasoning != "")


def is_sifted(call: Call, quirks: Quirks) -> bool:
    """Whether there may be anything to take out of a body that is relayed in JSON."""
    form = FORMATS[call.api]
    if form.without_seals is not None:
        return _may_be_refused(call.api, call.request.raw, quirks)
    if call.api != "chat":
        return False
    return quirks.strict_fields or (quirks.signed_reasoning != "" and is_signed(call.request.raw))


def _may_be_refused(api: str, body: bytes, quirks: Quirks) -> bool:
    """Whether a body that is relayed may hold what its host does not take: reasoning of others, a thread."""
    if api == "messages" and body.find(_THREAD) >= 0 and not quirks.threads:
        return True
    return body.find(FORMATS[api].seal) >= 0 or (
        api == "responses" and not is_home(quirks.origin) and body.find(ENCRYPTED_KEY) >= 0
    )


def upstream_request(call: Call, plan: Plan, *, wants_usage: bool) -> tuple[bytes, bool]:
    """The caller's own bytes with the model renamed; and whether usage was asked for on the gateway's account."""
    request = call.request
    if isinstance(request, FormRequest):
        return request.raw if request.model == plan.model else request.sent_with("model", plan.model), False
    body = request.raw
    if plan.model != call.model and "{" not in call.operation.model:
        body = _json.replace_top_level(body, plan.model, "model")
    form = FORMATS[call.api]
    quirks = quirks_of(plan.target.provider)
    if form.without_seals is not None and _may_be_refused(call.api, body, quirks):
        document = _json.decode_object(body)
        if call.api == "messages" and not quirks.threads:
            refuse_thread(document)
        form.without_seals(document, plan.model, quirks.origin, call.changes)
        body = _json.encode(document)
    if call.api == "chat" and (quirks.signed_reasoning or quirks.strict_fields):
        body = without_foreign(body, plan.model, quirks, call.changes)
    if quirks.strict_fields and call.api == "chat":
        body, lost = strict_body(body, quirks)
        if lost:
            reason = "The target refuses keys of replies in the assistant's messages."
            call.changes.append(Change(field="messages", action="dropped", reason=reason))
    if not (wants_usage and call.stream and FORMATS[call.api].asks_usage and quirks.stream_usage):
        return body, False
    return _with_usage(body)


class _StreamOptions(msgspec.Struct):
    stream_options: dict[str, Any] | None = None


_STREAM_OPTIONS: msgspec.json.Decoder[_StreamOptions] = msgspec.json.Decoder(_StreamOptions)


def _with_usage(body: bytes) -> tuple[bytes, bool]:
    if body.find(b'"stream_options"') < 0:
        at = body.index(b"{") + 1
        return body[:at] + b'"stream_options":{"include_usage":true},' + body[at:], True
    options = _STREAM_OPTIONS.decode(body).stream_options or {}
    if options.get("include_usage") is True:
        return body, False
    return _json.set_value(body, {**options, "include_usage": True}, "stream_options"), True


def relay_for(call: Call, plan: Plan, asked: str, *, hide_usage: bool) -> StreamRelay:
    """For a stream in the caller's own format: it repairs what the host's quirks name."""
    form = FORMATS.get(call.api, FORMATS["chat"])
    quirks = quirks_of(plan.target.provider)
    repairs = quirks.repairs
    if call.api == "responses" and not is_home(quirks.origin):
        return SealingRelay(asked, host=quirks.origin, hide_usage=hide_usage)
    if call.api != "chat" or not repairs:
        return form.relay(asked, hide_usage=hide_usage)
    if "usage" in repairs and not hide_usage:
        options = call.request.snapshot().get("stream_options")
        hide_usage = not (isinstance(options, dict) and options.get("include_usage") is True)
    return RepairingRelay(asked, repairs=repairs, hide_usage=hide_usage)


class _ReplyHead(msgspec.Struct):
    model: Any = None
    error: Any = None
    object: Any = None
    usage: Any = None
    model_version: Any = msgspec.field(name="modelVersion", default=None)
    usage_metadata: Any = msgspec.field(name="usageMetadata", default=None)


_REPLY_HEAD: msgspec.json.Decoder[_ReplyHead] = msgspec.json.Decoder(_ReplyHead)


def unary_head(call: Call, body: bytes, asked: str) -> tuple[bytes, Usage | None]:
    """An answer with the model's name as the caller knows it, and its usage. Raises UpstreamProtocolError."""
    if call.api == "chat" and call.attempts:
        found = _chat_head(call, body, asked)
        if found is not None:
            return found
    try:
        head = _REPLY_HEAD.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UpstreamProtocolError("The upstream answered with something that is not its API's JSON.") from error
    if head.error and (call.api != "responses" or head.object != "response"):
        raise error_of({"error": head.error}, 502, "")
    if call.api == "generate_content":
        if isinstance(head.model_version, str) and head.model_version != asked:
            body = _json.replace_top_level(body, asked, "modelVersion")
        return body, FORMATS[call.api].usage(head.usage_metadata)
    if isinstance(head.model, str) and head.model != asked:
        body = _json.replace_top_level(body, asked, "model")
    if call.api == "chat" and call.attempts:
        repairs = quirks_of(call.attempts[-1].plan.target.provider).repairs
        return (repaired_reply(body, repairs) if repairs else body), chat_usage(head.usage)
    if call.api == "responses" and call.attempts:
        body = sealed_reply(body, quirks_of(call.attempts[-1].plan.target.provider).origin)
    if call.api == "embeddings":
        body = in_encoding(body, _encoding_format(call))
    return body, FORMATS[call.api].usage(head.usage)


class _ChatHead(msgspec.Struct):
    model: str
    usage: ChatCounts
    error: Any = None


_CHAT_HEAD: msgspec.json.Decoder[_ChatHead] = msgspec.json.Decoder(_ChatHead)


def _chat_head(call: Call, body: bytes, asked: str) -> tuple[bytes, Usage] | None:
    """The same for an answer of chat as most are, read quickly; None for any other."""
    try:
        head = _CHAT_HEAD.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    usage = usage_of(head.usage)
    if usage is None or head.error:
        return None
    if head.model != asked:
        body = _json.replace_top_level(body, asked, "model")
    repairs = quirks_of(call.attempts[-1].plan.target.provider).repairs
    return (repaired_reply(body, repairs) if repairs else body), usage


def _encoding_format(call: Call) -> str:
    wanted = _ENCODING.decode(call.request.raw).encoding_format
    return "base64" if wanted == "base64" else "float"


class _Encoding(msgspec.Struct):
    encoding_format: Any = None


_ENCODING: msgspec.json.Decoder[_Encoding] = msgspec.json.Decoder(_Encoding)


async def reply_error(reply: ProviderReply, provider: str) -> UpstreamError:
    """The error that an upstream's answer of status 300 and more stands for."""
    try:
        body = await reply.read()
    except UpstreamError:
        body = b""
    try:
        value = _json.decode(body)
    except (_json.DecodeError, UnicodeDecodeError, RecursionError):
        value = None
    if isinstance(value, list) and value:
        value = value[0]
    error = error_of(value, reply.status, provider)
    for name, header in reply.headers:
        if is_shown(name):
            error.headers[name] = header
    return error


def error_of(value: Any, status: int, provider: str) -> UpstreamError:
    """An upstream's error body as an error of ours.

    A 4xx keeps its status, message, type, code and param; a 5xx (and a redirect, which is never followed) is a 502,
    a 504 stays one, and neither shows what the upstream wrote.
    """
    peer = f"Provider '{provider}'" if provider else "The upstream"
    if status >= 500 or status < 400:
        kind = _KINDS.get(status, UpstreamError)
        said = "reported an error in its answer" if not provider else f"answered with HTTP {status}"
        return kind(f"{peer} {said}.", provider=provider)
    facts = _facts(value)
    message = facts.get("message")
    param, type_ = facts.get("param"), facts.get("type")
    text = message[:_MESSAGE_MAX] if isinstance(message, str) and message else f"{peer} answered with HTTP {status}."
    text = _KEY.sub("***", text)
    return UpstreamError(
        text,
        provider=provider,
        status=status,
        type=type_ if isinstance(type_, str) and type_ else _DEFAULT_TYPES.get(status, "invalid_request_error"),
        code=code_of(facts, status) or _default_code(status),
        param=param if isinstance(param, str) else None,
        retryable=status in _RETRYABLE,
    )


def _default_code(status: int) -> str:
    return {401: "invalid_api_key", 404: "not_found", 429: "rate_limit_exceeded"}.get(status, "upstream_error")


def _facts(value: Any) -> dict[str, Any]:
    """The error object, wherever a host puts it."""
    if not isinstance(value, dict):
        return {}
    error = value.get("error")
    if isinstance(error, dict):
        return error
    if isinstance(error, str):
        return {**value, "message": error}
    detail = value.get("detail")
    if isinstance(detail, str):
        return {"message": detail, "code": value.get("code")}
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        return _first_mistake(detail[0])
    return value


def _first_mistake(detail: dict[str, Any]) -> dict[str, Any]:
    """What FastAPI's servers (Mistral, vLLM, ...) say of a body that does not fit: {loc: [body, field, ...], msg}."""
    place = detail.get("loc")
    names = [str(name) for name in place if name != "body"] if isinstance(place, list) else []
    message = str(detail.get("msg") or "")
    return {"message": ": ".join(filter(None, [".".join(names), message])), "param": ".".join(names) or None}
