"""What a translation did not carry as it was, told in one line: for a header, a log, a message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aigateway.canonical.types import Change

_SHOWN: Final = 32


def listed(changes: Iterable[Change]) -> str:
    """The codes, each once, in order, with commas between: `dropped:seed,changed:max_output_tokens`.

    A caller may send any number of fields that nobody knows: after 32 codes `+N` stands for the rest.
    """
    codes = list(dict.fromkeys(change.code for change in changes))
    return ",".join(codes if len(codes) <= _SHOWN else [*codes[:_SHOWN], f"+{len(codes) - _SHOWN}"])
