"""Sealed signatures in a request that goes on as it came: what is another maker's must not reach this API."""

from __future__ import annotations

from typing import Any, Final

from aigateway.canonical.types import Change
from aigateway.formats.generate_content.wire import NO_SIGNATURE, ORIGIN, SIGNATURE, is_newest, unpacked

_KEYS: Final = (SIGNATURE, "thought_signature")


def without_seals(body: dict[str, Any], model: str, _: str, changes: list[Change]) -> None:
    """Put back what is Google's own, and leave out thoughts and signatures of others.

    Calls of other makers' models get the word that newer models want in place of a signature.
    """
    contents = body.get("contents")
    for content in contents if isinstance(contents, list) else ():
        parts = content.get("parts") if isinstance(content, dict) else None
        if isinstance(parts, list):
            content["parts"] = [part for part in parts if not isinstance(part, dict) or _stays(part, changes)]
            if is_newest(model):
                _settle_first_call(content["parts"])
    if isinstance(contents, list):
        body["contents"] = [one for one in contents if not (isinstance(one, dict) and one.get("parts") == [])]


def _stays(part: dict[str, Any], changes: list[Change]) -> bool:
    key = next((key for key in _KEYS if isinstance(part.get(key), str)), "")
    sealed = unpacked(part[key]) if key else None
    if sealed is None:
        return True
    if sealed.origin == ORIGIN and sealed.signature is not None:
        part[key] = sealed.signature
        return True
    change = Change(field="contents.thoughtSignature", action="dropped", reason="Its maker is another.")
    if change not in changes:
        changes.append(change)
    del part[key]
    return not (part.get("thought") is True or part == {"text": ""})


def _settle_first_call(parts: list[Any]) -> None:
    """The first call of a turn is the one that must be signed."""
    for part in parts:
        if isinstance(part, dict) and ("functionCall" in part or "function_call" in part):
            if not any(part.get(key) for key in _KEYS):
                part[SIGNATURE] = NO_SIGNATURE
            return
