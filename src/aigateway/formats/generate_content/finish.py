"""Why a candidate ended, and why a prompt got none.

https://ai.google.dev/api/generate-content#FinishReason
"""

from __future__ import annotations

from typing import Any, Final

from aigateway.errors import UpstreamError
from aigateway.formats.generate_content.wire import camel

_REASONS: Final = {
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
}
_BROKEN: Final = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "MALFORMED_RESPONSE",
        "LANGUAGE",
    }
)
_WORDS: Final = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}


def decode_finish_reason(raw: Any, *, has_tool_calls: bool) -> str:
    """The finish reason in our words: every word that is not known is a stop."""
    reason = _REASONS.get(raw, "stop") if isinstance(raw, str) else "stop"
    return "tool_calls" if reason == "stop" and has_tool_calls else reason


def broken_finish(raw: Any) -> UpstreamError | None:
    """The error behind a finish reason that tells of one: the model's answer was no answer, and another try may be."""
    if isinstance(raw, str) and raw in _BROKEN:
        return UpstreamError(f"The upstream broke off its answer (finishReason {raw}).")
    return None


def block_reason(body: dict[str, Any]) -> str:
    """Why the prompt was blocked; "" where it was not."""
    feedback = body.get("promptFeedback")
    reason = camel(feedback).get("blockReason") if isinstance(feedback, dict) else None
    return reason if isinstance(reason, str) else ""


def encode_finish_reason(reason: str) -> str:
    """Ours in the host's words."""
    return _WORDS.get(reason, "STOP")
