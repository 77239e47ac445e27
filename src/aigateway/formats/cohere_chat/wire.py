"""What requests, replies and streams of Cohere's chat have in common."""

from __future__ import annotations

from typing import Any, Final

from aigateway.canonical.types import Annotation, Opaque, Usage
from aigateway.errors import UpstreamError

FORMAT: Final = "cohere_chat"
ORIGIN: Final = "cohere"

_FINISH_REASONS: Final = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_TOXIC": "content_filter",
    "ERROR_LIMIT": "length",
}
_BROKEN: Final = frozenset({"ERROR", "TIMEOUT"})


def decode_finish_reason(raw: Any, *, has_tool_calls: bool) -> str:
    """The finish reason in our words."""
    reason = _FINISH_REASONS.get(raw, "stop") if isinstance(raw, str) else "stop"
    if reason in ("stop", "tool_calls"):
        return "tool_calls" if has_tool_calls else "stop"
    return reason


def broken_finish(raw: Any, told: Any = None) -> UpstreamError | None:
    """The error behind a finish reason that tells of one; `told` is what was said of it."""
    if isinstance(told, str) and told:
        return UpstreamError(f"The upstream broke off its answer: {told}")
    if isinstance(raw, str) and raw in _BROKEN:
        return UpstreamError(f"The upstream broke off its answer (finish_reason {raw}).")
    return None


def decode_usage(raw: Any) -> Usage | None:
    """`Usage` of a usage object: the tokens that the model read and wrote, not those that are billed. None where none."""
    if not isinstance(raw, dict):
        return None
    counts = raw.get("tokens")
    if not isinstance(counts, dict):
        counts = raw.get("billed_units")
    if not isinstance(counts, dict):
        return None
    spent, made = _count(counts.get("input_tokens")), _count(counts.get("output_tokens"))
    return Usage(
        input_tokens=spent,
        output_tokens=made,
        total_tokens=spent + made,
        cached_tokens=min(_count(raw.get("cached_tokens")), spent),
    )


def _count(raw: Any) -> int:
    return max(0, int(raw)) if isinstance(raw, int | float) and not isinstance(raw, bool) else 0


def decode_citation(raw: dict[str, Any]) -> Annotation:
    """A citation: of a document or of a tool's result, which no other format has."""
    return Opaque(format=FORMAT, raw=raw)


def cites_text(raw: dict[str, Any]) -> bool:
    """Whether a citation is one of the answer, and not of the plan or of the thoughts behind it."""
    return raw.get("type") not in ("PLAN", "THINKING_CONTENT")


def citations_item(cited: list[dict[str, Any]]) -> Opaque:
    """Citations of what no text of the answer says."""
    return Opaque(format=FORMAT, raw={"type": "citations", "citations": cited})


def is_unknown(block: dict[str, Any]) -> bool:
    """Whether a block of content is neither text nor thought."""
    return block.get("type") not in (None, "text", "thinking")
