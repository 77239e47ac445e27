"""Chat requests for hosts that refuse what they do not know, where the body is otherwise sent on as it came."""

from __future__ import annotations

from typing import Any

from aigateway import _json
from aigateway.canonical.quirks import Quirks

_SIGNS = (b'"assistant"', b'"tools"', b'"tool_choice"', b'"parallel_tool_calls"')
_OF_REPLIES = frozenset(
    {"annotations", "logprobs", "parsed", "provider_specific_fields", "reasoning_details", "thinking_blocks"}
)
"""Keys of replies, of hosts and of client libraries, that clients send back with what the assistant said."""

_EMPTY = frozenset({"audio", "function_call", "name", "refusal", "tool_calls"})
"""Keys that clients send back without anything in them."""

_REASONING = ("reasoning_content", "reasoning")


def strict_body(body: bytes, quirks: Quirks) -> tuple[bytes, bool]:
    """The body without what such a host refuses, and whether the assistant's messages lost something.

    Away go an empty list of tools with the knobs that then mean nothing, and keys that stood in replies only. The same
    bytes where there is none of it, or where the body is not one that can be understood.
    """
    if not any(sign in body for sign in _SIGNS):
        return body, False
    request = _json.decode_object(body)
    changed = _drop_tools(request)
    lost = False
    messages = request.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict) and message.get("role") == "assistant":
            emptied, dropped = _drop_keys(message, quirks)
            changed, lost = changed or emptied or dropped, lost or dropped
    return (_json.encode(request) if changed else body), lost


def _drop_tools(request: dict[str, Any]) -> bool:
    if request.get("tools") or request.get("functions"):
        return False
    needless = [key for key in ("tools", "tool_choice", "parallel_tool_calls") if key in request]
    for key in needless:
        del request[key]
    return bool(needless)


def _drop_keys(message: dict[str, Any], quirks: Quirks) -> tuple[bool, bool]:
    """Whether empty keys went, and whether others did; reasoning goes under the host's own name for it."""
    before = len(message)
    for key in _EMPTY & message.keys():
        if not message[key]:
            del message[key]
    emptied = len(message) < before
    dropped = False
    for key in (_OF_REPLIES | {*_REASONING}) & message.keys() - {quirks.reasoning_field}:
        value = message.pop(key)
        if key in _REASONING and quirks.reasoning_field and value:
            message.setdefault(quirks.reasoning_field, value)
            emptied = True
        else:
            emptied, dropped = emptied or not value, dropped or bool(value)
    return emptied, dropped
