"""Ids: of requests, and of what a gateway makes."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Mapping

_random = random.Random(os.urandom(32))  # noqa: S311 - request ids are no secrets
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _random.seed(os.urandom(32)))
_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_DASHED = frozenset({"chatcmpl", "cmpl"})


def request_id(headers: Mapping[str, str]) -> str:
    """The caller's own id of a request where it sent a sane one, else a fresh one."""
    asked = headers.get("x-request-id", "")
    return asked if asked and _SANE_ID.fullmatch(asked) else f"req_{_random.getrandbits(128):032x}"


def new_id(prefix: str) -> str:
    """A fresh id such as `resp_4f1c...` (128 random bits); ids of completions join with a dash, as OpenAI's do."""
    return f"{prefix}{'-' if prefix in _DASHED else '_'}{_entropy.take()}"


class _Entropy:
    """Random digits of the system, read in stock: to ask it for every id costs as much as to write one."""

    def __init__(self) -> None:
        self._stock: list[str] = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._stock.clear)  # or two processes would make the same ids

    def take(self) -> str:
        """32 hexadecimal digits that nobody has had."""
        try:
            return self._stock.pop()
        except IndexError:
            read = os.urandom(16 * 256).hex()
            self._stock += [read[at : at + 32] for at in range(32, len(read), 32)]
            return read[:32]


_entropy = _Entropy()
