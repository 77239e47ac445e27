"""Reading and writing what a path of the table names."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

_STEP = re.compile(r"\.?([^.\[(]+)|\[([^\]]*)\]|\(([^)]*)\)")
_NOTHING: tuple[Any, ...] = (None, [], {})


class Step(NamedTuple):
    """One step down. way: `key` of an object, `entry` of a list, `is` an object of that kind."""

    way: str
    name: str


def steps(path: str) -> list[Step]:
    """The steps of a path."""
    found: list[Step] = []
    for match in _STEP.finditer(path):
        way = "key" if match[1] is not None else "entry" if match[2] is not None else "is"
        found.append(Step(way, match[1] or match[2] or match[3] or ""))
    return found


def values(document: Any, path: str) -> list[Any]:
    """All that stands at a path. A path that begins with a key is looked for in every event of a stream."""
    way = steps(path)
    if isinstance(document, list) and way[0].way == "key":
        way = [Step("entry", ""), *way]
    found = [document]
    for step in way:
        found = [below for value in found for below in _below(value, step)]
    return found


def _below(value: Any, step: Step) -> Iterator[Any]:
    if step.way == "key":
        if isinstance(value, dict) and value.get(step.name) is not None:
            yield value[step.name]
    elif step.way == "is":
        if is_of(value, step.name):
            yield value
    elif isinstance(value, list):
        yield from (entry for entry in value if not step.name or is_of(entry, step.name))


def is_of(value: Any, kind: str) -> bool:
    """Whether an object is of a type, or of a role."""
    return isinstance(value, dict) and (kind == "*" or kind in (value.get("type"), value.get("role")))


def without(document: Any, path: str) -> Any:
    """A copy of a document without what stands at a path."""
    shortened = copy.deepcopy(document)
    way = steps(path)
    while way[-1].way == "is":  # an object of a kind goes with the key that holds it
        way = way[:-1]
    if isinstance(document, list) and way[0].way == "key":
        way = [Step("entry", ""), *way]
    holders = [shortened]
    for step in way[:-1]:
        holders = [below for holder in holders for below in _below(holder, step)]
    for holder in holders:
        if way[-1].way == "key" and isinstance(holder, dict):
            holder.pop(way[-1].name, None)
        elif isinstance(holder, list):
            holder[:] = [entry for entry in holder if not is_of(entry, way[-1].name)]
    return shortened


def altered(document: Any, path: str, value: Any = None) -> Any:
    """A copy of a document with another value (or this one) wherever something stands at a path that ends with a key."""
    changed = copy.deepcopy(document)
    way = steps(path)
    if isinstance(document, list) and way[0].way == "key":
        way = [Step("entry", ""), *way]
    holders = [changed]
    for step in way[:-1]:
        holders = [below for holder in holders for below in _below(holder, step)]
    for holder in holders:
        if isinstance(holder, dict) and way[-1].name in holder:
            holder[way[-1].name] = _another(holder[way[-1].name]) if value is None else value
    return changed


def _another(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return f"{value}x" if isinstance(value, str) else [value]


def with_value(document: Any, path: str, value: Any) -> Any:
    """A copy of a document with a value at a path; an entry of a list is added to it."""
    changed = copy.deepcopy(document)
    way = steps(path)
    if way[-1].way == "is":
        way = way[:-1]
    if way[-1].way == "entry":
        holder = _held(changed, way[:-1], [])
        holder.append(value)
        return changed
    _held(changed, way[:-1], {})[way[-1].name] = value
    return changed


def _held(document: Any, way: list[Step], last: Any) -> Any:
    """The first thing on a way, objects being made where there are none; `last` where the end of it is missing."""
    found = document
    for number, step in enumerate(way):
        below = next(_below(found, step), None)
        fits = isinstance(below, type(last)) or number < len(way) - 1
        if below is None or below in _NOTHING or not fits:
            if step.way != "key":
                raise LookupError(f"no document has {way}")
            below = found[step.name] = copy.deepcopy(last) if number == len(way) - 1 else {}
        found = below
    return found
