"""What requests, replies and streams of generateContent spell alike.

https://ai.google.dev/api/caching#Content. The host reads every key in camelCase and in snake_case; so do we. What it
writes, and what we write, is camelCase.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime
from typing import Any, Final

from msgspec import UNSET, UnsetType

from aigateway import _json
from aigateway.canonical.seal import SEAL, Sealed, seal, unseal
from aigateway.canonical.types import Extra, Reasoning

FORMAT: Final = "generate_content"
ORIGIN: Final = "google"
"""Whose thoughts and signatures these are, in the canonical form."""

SIGNATURE: Final = "thoughtSignature"
NO_SIGNATURE: Final = base64.b64encode(b"skip_thought_signature_validator").decode()
"""What stands for the signature of a call that another maker's model made: newer models refuse calls without one.
https://ai.google.dev/gemini-api/docs/thought-signatures"""

SEALED: Final = base64.b64encode(SEAL)
"""What stands in a body that holds a seal: a signature is base64 in this API."""

_PLACEHOLDERS: Final = frozenset({NO_SIGNATURE, "skip_thought_signature_validator"})
_SNAKE: Final = re.compile(r"_([a-z0-9])")
_NEWEST: Final = re.compile(r"gemini-(?:[3-9]|\d\d)")
_THOUGHTLESS: Final = re.compile(r"gemini-(?:1|2\.0)|embedding|imagen")


def camel(raw: dict[str, Any]) -> dict[str, Any]:
    """An object with its own keys in camelCase; what stands under them is left alone."""
    if not any("_" in key for key in raw):
        return raw
    return {_SNAKE.sub(lambda match: match[1].upper(), key): value for key, value in raw.items()}


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of an array, each in camelCase; nothing where it is none."""
    return [camel(entry) for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def word(value: Any) -> str:
    """A string; "" where it is none."""
    return value if isinstance(value, str) else ""


def is_newest(model: str) -> bool:
    """Whether a model is of the third generation or later: these take thinking levels, and media in tool results."""
    return _NEWEST.search(model) is not None


def can_think(model: str) -> bool:
    """Whether a model takes a thinkingConfig at all; one that nobody knows does."""
    return _THOUGHTLESS.search(model) is None


def kept(fields: dict[str, Any], told: dict[str, Any] | None = None) -> Extra | UnsetType:
    """Keys that only this format knows, for its own encoder, and what it wants back as it came."""
    return Extra(format=FORMAT, fields=fields, told=told or {}) if fields or told else UNSET


def told_of(extra: Extra | UnsetType) -> dict[str, Any]:
    """What came from this format, and the canonical form tells too."""
    return extra.told if extra is not UNSET and extra.format == FORMAT else {}


def own(extra: Extra | UnsetType) -> dict[str, Any]:
    """The keys that came from this format."""
    return extra.fields if extra is not UNSET and extra.format == FORMAT else {}


def call_signature(part: dict[str, Any]) -> str | UnsetType:
    """The signature of a call, unless it only stands for one."""
    signature = word(part.get(SIGNATURE))
    return signature if signature and signature not in _PLACEHOLDERS else UNSET


def json_object(text: str) -> dict[str, Any] | None:
    """The object that a JSON text holds; None where it holds something else."""
    try:
        value = _json.decode(text.encode("utf-8", "replace"))
    except (_json.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def json_text(value: Any) -> str:
    """A value as a JSON text."""
    return _json.encode(value).decode()


def unix_seconds(time: Any) -> int:
    """A time as RFC 3339 writes it, in whole seconds; 0 where it is none."""
    try:
        return int(datetime.fromisoformat(word(time)).timestamp())
    except ValueError:
        return 0


def signature_of(item: Reasoning) -> str:
    """The signature that a caller brings back: the host's own, or what another maker wants back, packed as one; or "".

    Callers read signatures as base64.
    """
    if item.origin == ORIGIN and item.signature is not UNSET:
        return item.signature
    if item.signature is UNSET and item.encrypted is UNSET:
        return ""
    sealed = Sealed(
        origin=item.origin or "",
        encrypted=item.encrypted or None,
        signature=item.signature or None,
        content=item.content if item.signature else (),
        id=item.id or None,
    )
    return base64.b64encode(seal(sealed).encode()).decode()


def signed(text: str, signature: str) -> Reasoning:
    """A thought, or none, under a signature that the host or this gateway gave."""
    summary = (text,) if text else ()
    packed = unpacked(signature) if signature else None
    if packed is None:
        return Reasoning(summary=summary, signature=signature or UNSET, origin=ORIGIN)
    return Reasoning(
        summary=() if packed.content else summary,
        content=packed.content,
        encrypted=packed.encrypted or UNSET,
        signature=packed.signature or UNSET,
        origin=packed.origin or UNSET,
        id=packed.id or UNSET,
    )


def unpacked(signature: str) -> Sealed | None:
    """What a signature of ours holds; None for any other."""
    if not signature.startswith(SEALED.decode()):
        return None
    try:
        return unseal(base64.b64decode(signature + "=" * (-len(signature) % 4), altchars=b"-_").decode())
    except (binascii.Error, ValueError):
        return None
