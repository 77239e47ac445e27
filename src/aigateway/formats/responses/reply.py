"""Whole replies: the response resource of an upstream -> canonical."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import UNSET, UnsetType

from aigateway import _json
from aigateway.canonical.types import Item, Reply, ToolCall
from aigateway.errors import InvalidRequestError, UpstreamProtocolError
from aigateway.formats.relay import stream_error
from aigateway.formats.responses.items import ROLES, decode_item
from aigateway.formats.usage import responses_usage

_DEFAULTS: dict[str, dict[str, Any]] = {
    "message": {"role": "assistant", "content": []},
    "function_call": {"call_id": "", "name": "", "arguments": ""},
    "custom_tool_call": {"call_id": "", "name": "", "input": ""},
    "reasoning": {},
}
"""What an upstream may leave out of an output item."""


def decode_reply(body: dict[str, Any]) -> Reply:
    """The reply in canonical form.

    Raises UpstreamError for a response that failed, UpstreamProtocolError for one that is not finished or not a response.
    """
    output, status = body.get("output"), body.get("status", "completed")
    if status == "failed" or (output is None and body.get("error") is not None):
        raise stream_error(body.get("error") or {})
    if not isinstance(output, list):
        raise UpstreamProtocolError("The upstream sent no response: it has no `output`.")
    if status in ("queued", "in_progress", "cancelled"):
        raise UpstreamProtocolError(f"The upstream sent a response that is not finished: its status is {status!r}.")
    items = tuple(decode_output_item(item, place) for place, item in enumerate(output))
    usage = responses_usage(body.get("usage"))
    return Reply(
        id=text_or_empty(body.get("id")),
        model=text_or_empty(body.get("model")),
        created_at=unix_seconds(body.get("created_at")),
        items=items,
        finish_reason=finish_reason(body, has_tool_calls=any_tool_calls(items)),
        usage=UNSET if usage is None else usage,
        service_tier=service_tier(body),
    )


def decode_output_item(raw: Any, place: int) -> Item:
    """One item that a model made, read leniently. Raises UpstreamProtocolError."""
    try:
        return decode_item(_filled(raw), f"output[{place}]")
    except InvalidRequestError as error:
        raise UpstreamProtocolError(f"The upstream sent an output item that cannot be read: {error.message}") from error


def _filled(raw: Any) -> Any:
    """The item with what the upstream left out, and without the keys that say nothing."""
    kind = text_or_empty(raw.get("type")) if isinstance(raw, dict) else ""
    defaults = _DEFAULTS.get(kind)
    if defaults is None:
        return raw
    item = defaults | {key: value for key, value in raw.items() if value is not None}
    if kind == "message" and text_or_empty(item["role"]) not in ROLES:
        item["role"] = "assistant"  # who else speaks in an answer
    if item.get("call_id") == "":
        item["call_id"] = text_or_empty(raw.get("id"))
    content, arguments = item.get("content"), item.get("arguments")
    if item["type"] == "reasoning":
        for key in ("content", "summary"):
            if isinstance(item.get(key), list):
                item[key] = [part for part in item[key] if _has_text(part)]
        content = item.get("content")
    if isinstance(content, list):
        item["content"] = [_without_nothing(part) for part in content if isinstance(part, dict)]
        if not content and item["type"] == "reasoning":
            del item["content"]
    if item["type"] == "function_call" and isinstance(arguments, dict):
        item["arguments"] = _json.encode(arguments).decode()
    return item


def _has_text(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)


def _without_nothing(part: dict[str, Any]) -> dict[str, Any]:
    """The part without the keys that say nothing, and with a type: what has none is a text, or unknown."""
    known = part if isinstance(part.get("type"), str) else {**part, "type": _untyped(part)}
    return {key: value for key, value in known.items() if value is not None and (key, value) != ("logprobs", [])}


def _untyped(part: dict[str, Any]) -> str:
    return "output_text" if isinstance(part.get("text"), str) else "unknown"


def any_tool_calls(items: Iterable[Item]) -> bool:
    """Whether the caller has to run something."""
    return any(isinstance(item, ToolCall) for item in items)


def finish_reason(response: dict[str, Any], *, has_tool_calls: bool) -> str:
    """Why a response that came to its end did so, in canonical words."""
    if response.get("status") == "incomplete":
        details = response.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        return "content_filter" if reason == "content_filter" else "length"
    return "tool_calls" if has_tool_calls else "stop"


def service_tier(response: dict[str, Any]) -> str | UnsetType:
    """The tier that a response names."""
    tier = response.get("service_tier")
    return tier if isinstance(tier, str) else UNSET


def text_or_empty(value: Any) -> str:
    """The value if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def unix_seconds(value: Any) -> int:
    """A time in whole seconds; 0 where there is none."""
    return int(value) if isinstance(value, int | float) and abs(value) < 1e12 else 0
