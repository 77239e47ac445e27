"""What Claude's models take, told from their names, wherever they are asked.

https://platform.claude.com/docs/en/about-claude/models/migration-guide
"""

from __future__ import annotations

import re
from typing import Final

import msgspec
from msgspec import UNSET

from aigateway.canonical.types import Change, Request

_NAME = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2})(?!\d))?")
_ONE_SAMPLER: Final = (4, 1)
_NO_SAMPLERS: Final = (4, 7)
_HIDES: Final = (4, 7)
_SAMPLERS: Final = ("temperature", "top_p", "top_k")


def version_of(model: str) -> tuple[int, int] | None:
    """4.5 of `claude-sonnet-4-5-20250929`, 3.7 of `claude-3-7-sonnet`; None for a name that is none of Claude's."""
    found = _NAME.search(model)
    return None if found is None else (int(found[1]), int(found[2] or 0))


def hides_thoughts(model: str) -> bool:
    """Whether it tells its thoughts only to who asks for it by `display: summarized`: from 4.7 on."""
    return (version_of(model) or (0, 0)) >= _HIDES


def sampled(request: Request, model: str, changes: list[Change]) -> Request:
    """The request with only the knobs of sampling that the model takes: from 4.1 on one of two, from 4.7 on none."""
    version = version_of(model) or (0, 0)
    given = [name for name in _SAMPLERS if getattr(request, name) is not UNSET]
    if version < _NO_SAMPLERS:
        both = version >= _ONE_SAMPLER and {"temperature", "top_p"} <= {*given}
        given = ["top_p"] if both else []
        reason = "The model takes either a temperature or top_p."
    else:
        reason = "The model takes no knobs of sampling."
    if not given:
        return request
    changes += [Change(field=name, action="dropped", reason=reason) for name in given]
    return msgspec.structs.replace(request, **dict.fromkeys(given, UNSET))
