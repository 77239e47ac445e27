"""Sealed reasoning in a request that goes on as it came: what is another maker's must not reach this API."""

from __future__ import annotations

from typing import Any

from aigateway.canonical.seal import unseal
from aigateway.canonical.types import Change
from aigateway.formats.responses.items import ORIGIN


def without_seals(body: dict[str, Any], _: str, changes: list[Change]) -> None:
    """Put back what is this API's own, and leave out reasoning items that hold anything else."""
    items = body.get("input")
    if isinstance(items, list):
        body["input"] = [item for item in items if _stays(item, changes)]


def _stays(item: Any, changes: list[Change]) -> bool:
    text = item.get("encrypted_content") if isinstance(item, dict) else None
    sealed = unseal(text) if isinstance(text, str) else None
    if sealed is None:
        return True
    if sealed.origin in ("", ORIGIN) and sealed.encrypted is not None:
        item["encrypted_content"] = sealed.encrypted
        return True
    change = Change(field="reasoning.encrypted_content", action="dropped", reason="Its maker is another.")
    if change not in changes:
        changes.append(change)
    return False
