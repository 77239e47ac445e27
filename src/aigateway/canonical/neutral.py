"""What asks for nothing: a value that means the same as its absence is not lost where a target lacks it.

The defaults are those of the callers' APIs: https://platform.openai.com/docs/api-reference,
https://platform.claude.com/docs/en/api/messages, https://ai.google.dev/api/generate-content.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET

from aigateway.canonical.types import Change, Request

_DEFAULTS: Final[Mapping[str, Any]] = {
    "frequency_penalty": 0,
    "include_obfuscation": True,
    "logprobs": False,
    "modalities": ("text",),
    "n": 1,
    "parallel_tool_calls": True,
    "presence_penalty": 0,
    "service_tier": "auto",
    "store": False,
    "temperature": 1,
    "top_logprobs": 0,
    "top_p": 1,
    "truncation": "disabled",
    "verbosity": "medium",
}
"""Field of a canonical request -> what is done unasked."""

_DEFAULTS_OF: Final[Mapping[str, Mapping[str, Any]]] = {
    "messages": {"reasoning_budget": 0, "speed": "standard"},
    "responses": {"store": True, "reasoning.mode": "standard"},
    "generate_content": {
        "generationConfig.audioTimestamp": False,
        "generationConfig.enableAffectiveDialog": False,
        "generationConfig.enableEnhancedCivicAnswers": False,
        "toolConfig.includeServerSideToolInvocations": False,
    },
}
"""The same for callers of one API, and what that API alone has."""

_DEFAULTS_WITHIN: Final[Mapping[str, Any]] = {
    "allowed_callers": ["direct"],
    "async": False,
    "caller": {"type": "direct"},
    "citations": {"enabled": False},
    "defer_loading": False,
    "detail": "auto",
    "eager_input_streaming": False,
    "is_error": False,
    "willContinue": False,
}
"""Key of an item, part or tool -> what holds without it."""

_SAID_BY_BEING_THERE: Final = frozenset({"diagnostics"})
_OF_ITEMS_TOO: Final = frozenset({"audio", "tools"})
"""Fields that may be about what stands in the conversation, whatever the request says under that name."""

_UNSPECIFIED: Final = "unspecified"  # how every enumeration of Google's calls its default

_THINKING: Final = ("reasoning_effort", "reasoning_budget")
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "reasoning_budget": _THINKING,
    "reasoning_effort": _THINKING,
    "stream_options.include_obfuscation": ("include_obfuscation",),
}
"""How a change names what a request has under other names."""


def without_neutral(changes: list[Change], request: Request, caller: str, foreign: list[str]) -> list[Change]:
    """The changes but for what asked for nothing. foreign: the keys that were found within items, parts and tools."""
    return [
        change
        for change in changes
        if change.action != "dropped" or change.field in foreign or not _is_neutral(change.field, request, caller)
    ]


def says_nothing(key: str, value: Any) -> bool:
    """Whether a key of an item, part or tool might as well be absent."""
    return _is_empty(value) or _is_same(value, _DEFAULTS_WITHIN.get(key.rpartition(".")[2], UNSET))


def _is_neutral(field: str, request: Request, caller: str) -> bool:
    own = _DEFAULTS_OF.get(caller, {})
    given = [(name, getattr(request, name, UNSET)) for name in _FIELDS.get(field, (field,))]
    if request.extra is not UNSET and field in request.extra.fields:
        given.append((field, request.extra.fields[field]))
    given = [(name, value) for name, value in given if value is not UNSET]
    return (
        field not in _OF_ITEMS_TOO
        and bool(given)
        and all(
            (_is_empty(value) and name not in _SAID_BY_BEING_THERE)
            or _is_same(value, _DEFAULTS.get(name, UNSET))
            or _is_same(value, own.get(name, UNSET))
            for name, value in given
        )
    )


def _is_same(value: Any, default: Any) -> bool:
    """Whether they are equal; false is no 0."""
    return bool(value == default) and isinstance(value, bool) == isinstance(default, bool)


def _is_empty(value: Any) -> bool:
    """Whether there is nothing in it, however deep."""
    if isinstance(value, str):
        return not value or value.lower().endswith(_UNSPECIFIED)
    if isinstance(value, Mapping):
        return all(_is_empty(entry) for entry in value.values())
    return value is None or (isinstance(value, list | tuple) and not value)
