"""A small notation for the shapes of JSON objects, and the check of a value against it.

An object is one line, `name str; status 'a'|'b'; note? str|null`: `?` marks a key that may be missing. A shape is made
of `str int num bool obj any null`, words in quotes, `[Shape]` for an array, and names of other shapes, with `|` between
alternatives. A text that begins with a quote is a set of words; a mapping is an object whose `type` says which it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from aigateway.lint.rules import Finding

Table = str | Mapping[str, str]
Fields = Mapping[str, tuple[bool, str]]
"""Key -> (whether it is required, its shape)."""

_NAMES: Mapping[type, str] = {
    type(None): "null",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}
_SCALARS: Mapping[str, str] = {
    "str": "a string",
    "int": "an integer",
    "num": "a number",
    "bool": "a boolean",
    "obj": "an object",
    "null": "null",
}


class Vocabulary:
    """The shapes of one profile, by name."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self._tables = tables

    def knows(self, name: str, type: str) -> bool:
        """Whether the shape `name`, told apart by `type`, has this type."""
        table = self._tables[name]
        return not isinstance(table, str) and type in table

    def faults(self, value: Any, shape: str, place: str) -> Iterator[Finding]:
        """What is wrong with a value."""
        alternatives = self._flat(shape)
        if "any" in alternatives:
            return
        for alternative in alternatives:
            if self._takes(alternative, value):
                yield from self._inside(value, alternative, place)
                return
        yield _misfit(value, alternatives, place)

    def _flat(self, shape: str) -> list[str]:
        """The alternatives, sets of words written out."""
        found: list[str] = []
        for alternative in shape.split("|"):
            table = self._tables.get(alternative)
            found += self._flat(table) if isinstance(table, str) and table.startswith("'") else [alternative]
        return found

    def _takes(self, alternative: str, value: Any) -> bool:
        """Whether a value is meant for this alternative, whatever is inside it."""
        if alternative.startswith("'"):
            return bool(value == alternative[1:-1])
        if alternative.startswith("["):
            return isinstance(value, list)
        if alternative in self._tables or alternative == "obj":
            return isinstance(value, dict)
        if isinstance(value, bool):
            return alternative == "bool"
        if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
            return alternative in ("int", "num")
        names: Mapping[type, str] = {str: "str", float: "num", type(None): "null"}
        return names.get(type(value)) == alternative

    def _inside(self, value: Any, alternative: str, place: str) -> Iterator[Finding]:
        if alternative.startswith("["):
            for number, entry in enumerate(value):
                yield from self.faults(entry, alternative[1:-1], f"{place}[{number}]")
        elif alternative in self._tables:
            table = self._tables[alternative]
            if isinstance(table, str):
                yield from self._fields(value, table, place)
            else:
                yield from self._variant(value, table, place)

    def _variant(self, value: dict[str, Any], table: Mapping[str, str], place: str) -> Iterator[Finding]:
        type_ = value.get("type")
        if isinstance(type_, str) and type_ not in table:
            if not is_extension(type_):
                yield Finding("unknown-type", join(place, "type"), f"`{type_}` is not one of {_listed(table)}")
            return
        fields = table[type_] if isinstance(type_, str) else ""
        yield from self._fields(value, f"type str; {fields}" if fields else "type str", place)

    def _fields(self, value: dict[str, Any], table: str, place: str) -> Iterator[Finding]:
        for key, (required, shape) in fields_of(table).items():
            if key in value:
                yield from self.faults(value[key], shape, join(place, key))
            elif required:
                yield Finding("required-key", join(place, key), f"the key `{key}` is missing")


@cache
def fields_of(table: str) -> Fields:
    """The keys of an object's line."""
    found: dict[str, tuple[bool, str]] = {}
    for field in table.split(";"):
        key, _, shape = field.strip().partition(" ")
        found[key.removesuffix("?")] = not key.endswith("?"), shape.strip()
    return found


def join(place: str, key: str) -> str:
    """The place of a key."""
    return f"{place}.{key}" if place else key


def is_extension(type: str) -> bool:
    """Whether a type has a prefix, as everything must have that only one implementation knows."""
    prefix, colon, rest = type.partition(":")
    return bool(prefix and colon and rest)


def type_of(value: Any) -> str | None:
    """The `type` of an object, without the prefix that Open Responses wants before what only OpenAI has."""
    type_ = value.get("type") if isinstance(value, dict) else None
    return type_.removeprefix("openai:") if isinstance(type_, str) else None


def json_name(value: Any) -> str:
    """What kind of JSON value this is, with its article."""
    return _NAMES[type(value)]


def _misfit(value: Any, alternatives: list[str], place: str) -> Finding:
    words = [alternative[1:-1] for alternative in alternatives if alternative.startswith("'")]
    kinds = [_SCALARS.get(alternative) or _kind(alternative) for alternative in alternatives if alternative[0] != "'"]
    wanted = [*kinds, *([f"one of {_listed(words)}"] if words else [])]
    if value is None:
        return Finding("not-nullable", place, f"null, where only {' or '.join(wanted)} may stand")
    if words and isinstance(value, str):
        return Finding("unknown-value", place, f"`{value}` is not {' or '.join(wanted)}")
    return Finding("wrong-type", place, f"{json_name(value)}, not {' or '.join(wanted)}")


def _kind(alternative: str) -> str:
    return "an array" if alternative.startswith("[") else "an object"


def _listed(words: Any) -> str:
    return ", ".join(f"`{word}`" for word in words)
