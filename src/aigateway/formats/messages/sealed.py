"""Sealed signatures in a request that goes on as it came: what is another maker's must not reach this API."""

from __future__ import annotations

from typing import Any

from aigateway.canonical.seal import unseal
from aigateway.canonical.types import Change
from aigateway.formats.messages.wire import ORIGIN

_FIELDS = {"thinking": "signature", "redacted_thinking": "data"}


def without_seals(body: dict[str, Any], _: str, _host: str, changes: list[Change]) -> None:
    """Put back what is Anthropic's own, and leave out thoughts that it did not sign."""
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            message["content"] = [block for block in content if _stays(block, changes)]
    if isinstance(messages, list):
        body["messages"] = [one for one in messages if not (isinstance(one, dict) and one.get("content") == [])]


def _stays(block: Any, changes: list[Change]) -> bool:
    field = _FIELDS.get(str(block.get("type"))) if isinstance(block, dict) else None
    text = block.get(field) if field is not None else None
    sealed = unseal(text) if isinstance(text, str) else None
    if field is None or sealed is None:
        return True
    own = sealed.signature if field == "signature" else sealed.encrypted
    if sealed.origin == ORIGIN and own is not None:
        block[field] = own
        return True
    change = Change(field=f"messages.{field}", action="dropped", reason="Anthropic takes back only what it has signed.")
    if change not in changes:
        changes.append(change)
    return False
