"""What only one maker can read or check, packed into one opaque text that any caller's API carries and brings back.

A caller of Responses brings `encrypted_content` back as it got it, whatever it holds: so signatures, sealed thoughts and
reasoning of other makers stay whole over the turns. It is no secret and proves nothing: what is in there came from the
caller's own conversation, and goes back into it.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

import msgspec

_MARK: Final = "aigw1."
SEAL: Final = _MARK.encode()
"""What stands in a body that holds any."""


class Sealed(msgspec.Struct, frozen=True, omit_defaults=True, rename={"origin": "o"}):
    """What a text holds.

    origin     who made it: `openai`, `anthropic`, `google`, ...; "" where nobody said.
    encrypted, signature  as the maker gave them. content: the thought itself, part by part. id: its maker's for it.
    """

    origin: str = ""
    encrypted: str | None = None
    signature: str | None = None
    content: tuple[str, ...] = ()
    id: str | None = None


_DECODER: msgspec.json.Decoder[Sealed] = msgspec.json.Decoder(Sealed)


def seal(sealed: Sealed) -> str:
    """The text that stands for it: letters, digits, `-`, `_` and one dot."""
    return _MARK + base64.urlsafe_b64encode(msgspec.json.encode(sealed)).decode().rstrip("=")


def unseal(text: str) -> Sealed | None:
    """What a text of ours holds; None for any other text."""
    if not text.startswith(_MARK):
        return None
    packed = text[len(_MARK) :]
    try:
        return _DECODER.decode(base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
