"""What requests, replies and streams of Converse spell alike.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from __future__ import annotations

import re
from typing import Any, Final

from aigateway.canonical.types import Annotation, Opaque, UrlCitation, Usage
from aigateway.errors import UpstreamError
from aigateway.formats.relay import stream_error

FORMAT: Final = "converse"
ANTHROPIC: Final = "anthropic"
"""The maker of the signatures and of the sealed thoughts that Converse carries."""

_OPAQUE_MODELS: Final = re.compile(
    r":(?:application-inference-profile|provisioned-model|imported-model|custom-model|custom-model-deployment"
    r"|prompt-router|default-prompt-router|prompt|endpoint)/"
)
_MAKER: Final = re.compile(
    r"(?:^|[./])(ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|moonshot"
    r"|nvidia|openai|qwen|writer)\."
)

_FINISH_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "refusal": "content_filter",
}

STATUSES: Final = {
    "AccessDeniedException": 403,
    "InternalServerException": 500,
    "ModelErrorException": 502,
    "ModelNotReadyException": 429,
    "ModelStreamErrorException": 502,
    "ModelTimeoutException": 504,
    "ResourceNotFoundException": 404,
    "ServiceQuotaExceededException": 429,
    "ServiceUnavailableException": 503,
    "ThrottlingException": 429,
    "ValidationException": 400,
}
"""Of the exceptions of Bedrock's runtime, the HTTP status that says whose fault it was. A model that failed is theirs."""


def maker_of(model: str) -> str:
    """Who made a model, as far as its id or ARN tells; "" where it does not (an inference profile of one's own)."""
    if _OPAQUE_MODELS.search(model):
        return ""
    found = _MAKER.search(model)
    return found.group(1) if found is not None else ("anthropic" if "claude" in model else "other")


def exception_error(name: str, message: Any) -> UpstreamError:
    """The error that an exception in a stream stands for."""
    status = STATUSES.get(name[:1].upper() + name[1:], 500)
    return stream_error({"message": message if isinstance(message, str) else "", "status": status})


def decode_finish_reason(raw: Any, *, has_tool_calls: bool) -> str:
    """The finish reason in our words."""
    reason = _FINISH_REASONS.get(raw, "stop") if isinstance(raw, str) else "stop"
    if reason in ("stop", "tool_calls"):
        return "tool_calls" if has_tool_calls else "stop"
    return reason


def broken_stop(raw: Any) -> UpstreamError | None:
    """The error behind a stop reason that tells of one (`malformed_model_output`, `malformed_tool_use`)."""
    if isinstance(raw, str) and raw.startswith("malformed_"):
        return UpstreamError(f"The upstream's model made an answer that cannot be read (stopReason {raw}).")
    return None


def decode_usage(raw: Any) -> Usage | None:
    """`Usage` of a usage object; None where it is none.

    `inputTokens` are those that the cache had nothing to do with: what was read from it and written to it comes on top.
    """
    if not isinstance(raw, dict) or all(raw.get(key) is None for key in ("inputTokens", "outputTokens")):
        return None
    fresh, made = _count(raw, "inputTokens"), _count(raw, "outputTokens")
    read, written = _count(raw, "cacheReadInputTokens"), _count(raw, "cacheWriteInputTokens")
    spent = fresh + read + written
    return Usage(
        input_tokens=spent,
        output_tokens=made,
        total_tokens=spent + made,
        cached_tokens=read,
        cache_write_tokens=written,
    )


def _count(raw: dict[str, Any], key: str) -> int:
    value = raw.get(key)
    return max(0, value) if type(value) is int else 0


def decode_citation(raw: dict[str, Any], text: str) -> Annotation:
    """A citation that stands on the whole of a text."""
    location = raw.get("location")
    web = location.get("web") if isinstance(location, dict) else None
    if not isinstance(web, dict) or not isinstance(web.get("url"), str):
        return Opaque(format=FORMAT, raw=raw)
    title = raw.get("title")
    return UrlCitation(
        url=web["url"], title=title if isinstance(title, str) else "", start_index=0, end_index=len(text)
    )


def decode_service_tier(raw: Any) -> str | None:
    """The tier that served, None where none is told."""
    kind = raw.get("type") if isinstance(raw, dict) else None
    return kind if isinstance(kind, str) else None
