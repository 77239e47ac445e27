"""Why a choice of chat or completions ended, in our words and in the many that hosts have."""

from __future__ import annotations

from typing import Any

from aigateway.errors import UpstreamError

_FINISH_REASONS = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "tool_call": "tool_calls",
    "max_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "MAX_TOKENS": "length",
    "safety": "content_filter",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "sensitive": "content_filter",
}
_BROKEN = frozenset(
    {"error", "abort", "aborted", "cancelled", "canceled", "insufficient_system_resource", "network_error"}
)


def decode_finish_reason(raw: Any, *, has_tool_calls: bool) -> str:
    """The finish reason in our words; hosts say `stop`, or words of their own, also after tool calls."""
    reason = _FINISH_REASONS.get(raw, "stop") if isinstance(raw, str) else "stop"
    return "tool_calls" if reason == "stop" and has_tool_calls else reason


def broken_finish(raw: Any) -> UpstreamError | None:
    """The error behind a finish reason that tells of one: such an answer is no success."""
    if isinstance(raw, str) and raw in _BROKEN:
        return UpstreamError(f"The upstream broke off its answer (finish_reason {raw}).")
    return None
