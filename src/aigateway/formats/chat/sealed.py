"""What other makers signed in a chat request that goes on as it came: hosts refuse it, so it is taken out and listed."""

from __future__ import annotations

from typing import Any, Final

from aigateway import _json
from aigateway.canonical.quirks import Quirks
from aigateway.canonical.seal import unseal
from aigateway.canonical.types import Change
from aigateway.formats.chat.wire import is_of_maker, origin_of

_MARKS: Final = (b'"reasoning_details"', b'"extra_content"')
"""What stands in a body that may hold any."""


def is_signed(body: bytes) -> bool:
    """Whether there may be anything in it that a maker has signed."""
    return any(mark in body for mark in _MARKS)


def without_foreign(body: bytes, model: str, quirks: Quirks, changes: list[Change]) -> bytes:
    """The body without what the host, or its model, would refuse; the same bytes where there is nothing of it.

    Of `reasoning_details` stays what the model's own maker gave, where the host takes them; of the signatures of calls
    all, where it takes those.
    """
    if not is_signed(body):
        return body
    request = _json.decode_object(body)
    lost: set[str] = set()
    messages = request.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict) and message.get("role") == "assistant":
            if message.get("reasoning_details") is not None:
                _sift_details(message, model, quirks, lost)
            if not quirks.call_signatures:
                _drop_signatures(message, lost)
    reason = "Only its maker takes back what it has signed."
    changes += [Change(field=field, action="dropped", reason=reason) for field in sorted(lost)]
    return _json.encode(request) if lost else body


def _sift_details(message: dict[str, Any], model: str, quirks: Quirks, lost: set[str]) -> None:
    details = message["reasoning_details"]
    kept: list[Any] = []
    if quirks.signed_reasoning == "taken" and isinstance(details, list):
        kept = [entry for entry in details if not isinstance(entry, dict) or _stays(entry, model)]
        if len(kept) == len(details):
            return
    lost.add("messages.reasoning_details")
    message["reasoning_details"] = kept
    if not kept:
        del message["reasoning_details"]


def _stays(entry: dict[str, Any], model: str) -> bool:
    """Whether the model's own maker gave it, through this host: what it tells a chat caller is never sealed."""
    data = entry.get("data")
    return is_of_maker(origin_of([entry]), model) and not (isinstance(data, str) and unseal(data) is not None)


def _drop_signatures(message: dict[str, Any], lost: set[str]) -> None:
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, dict) and call.pop("extra_content", None):
            lost.add("messages.tool_calls.extra_content")
