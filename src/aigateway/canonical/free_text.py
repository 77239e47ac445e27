"""A free text as the arguments of a function: for hosts whose tools take JSON only, both ways, also piece by piece."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import UNSET

from aigateway import _json
from aigateway.canonical.types import CustomTool, FunctionTool

FIELD = "input"

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {FIELD: {"type": "string", "description": "The whole input of the tool, as raw text."}},
    "required": [FIELD],
    "additionalProperties": False,
}
_HEAD = re.compile(rf'\s*\{{\s*"{FIELD}"\s*:\s*"')
_HEAD_BARE = f'{{"{FIELD}":"'
_SPACE = re.compile(r"\s+")
_HIGH = r"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW = r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_TOKEN = re.compile(rf'[^"\\]+|{_HIGH}{_LOW}|\\u[0-9a-fA-F]{{4}}|\\.|"', re.DOTALL)
_UNFINISHED = re.compile(rf"(?:\\(?:u[0-9a-fA-F]{{0,3}})?|{_HIGH}(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?)\Z")
_PLAIN = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def as_function(tool: CustomTool) -> FunctionTool:
    """A function that takes the tool's input as its one text; a grammar is told in the description."""
    told = [tool.description] if tool.description else []
    rule = {} if tool.format is UNSET else tool.format
    if rule.get("type") == "grammar":
        told.append(f"The input must match this {rule.get('syntax', '')} grammar:\n{rule.get('definition', '')}")
    description = "\n\n".join(told)
    return FunctionTool(name=tool.name, description=description or UNSET, parameters=_SCHEMA)


def wrapped(text: str) -> str:
    """The arguments that hold a text."""
    return _json.encode({FIELD: text}).decode()


class FreeText:
    """The text in the arguments of one call, as they come. Where they are no such arguments, they are the text.

    is_cut  after `finish`: whether the arguments ended before the text did.
    """

    def __init__(self) -> None:
        self.is_cut = False
        self._held = ""
        self._inside = False
        self._over = False

    def feed(self, piece: str) -> str:
        """What of the text is known now and was not before."""
        if self._over:
            return ""
        self._held += piece
        if not self._inside:
            head = _HEAD.match(self._held)
            if head is None:
                return ""
            self._inside = True
            self._held = self._held[head.end() :]
        return self._unescaped()

    def finish(self) -> str:
        """The rest of the text, when nothing more comes."""
        held, self._held = self._held, ""
        if self._inside:
            self.is_cut = not self._over
            return ""
        if held and _HEAD_BARE.startswith(_SPACE.sub("", held)):
            self.is_cut = True
            return ""
        return _text_of(held)

    def _unescaped(self) -> str:
        text, at = self._held, 0
        found: list[str] = []
        while at < len(text) and not _UNFINISHED.match(text, at):
            token = _TOKEN.match(text, at)
            if token is None:
                break
            at = token.end()
            if token.group() == '"':
                self._over = True
                break
            found.append(_meant(token.group()))
        self._held = text[at:]
        return "".join(found)


def _meant(token: str) -> str:
    if not token.startswith("\\"):
        return token
    if token[1] == "u" and len(token) > 2:
        code: str = _json.decode(f'"{token}"'.encode())
        return code
    if token[1] in '"\\/':
        return token[1]
    return _PLAIN.get(token[1], token)  # an escape that JSON has not is what the model meant to write


def _text_of(arguments: str) -> str:
    """The text of arguments that are not simply one field: another spelling, or no JSON at all."""
    try:
        value = _json.decode(arguments.encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):
        return arguments
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return arguments
    inner = value.get(FIELD) if FIELD in value or len(value) != 1 else next(iter(value.values()))
    if isinstance(inner, str):
        return inner
    return arguments if inner is None else _json.encode(inner).decode()
