"""Answers as hosts may give them that nobody has seen yet: recorded ones, changed in one place at random.

What is added must change nothing of what is said; what is taken away or spoilt may, but breaks nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

Object = dict[str, Any]
Path = tuple[str | int, ...]

_WRONG: tuple[Any, ...] = (None, None, "", "odd", 7, -1, 1.5, True, False, [], {}, [None], ["odd"], {"odd": 1}, [[]])
_TYPED: tuple[Object, ...] = (
    {"type": "not_yet_invented", "id": "x_1", "content": [{"type": "odd", "text": "?"}]},
    {"type": "not_yet_invented"},
)
_UNTYPED: tuple[Object, ...] = ({"notYetInvented": {"a": 1}}, {"notYetInvented": "odd"})
_OPEN = {"parts", "content", "output", "annotations", "citations", "reasoning_details"}
"""Lists that may hold a thing of a new kind."""
_WORDS = {"finish_reason", "stop_reason", "finishReason", "stopReason", "service_tier", "object", "role"}
"""Words of which there may be new ones."""
_IDS = {"id", "call_id", "toolUseId", "responseId"}
"""Where they are missing some are made, others each time."""
_CARRIED = {"arguments", "input", "args", "logprobs", "tokens", "metadata", "logprobsResult"}
"""What is only carried: whatever stands in it goes on."""


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """The path of everything in a document but its root."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield (*path, key)
        yield from places(entry, (*path, key))


def at(value: Any, path: Path) -> Any:
    """What stands there."""
    for key in path:
        value = value[key]
    return value


def spoilt(document: Object, random: Random) -> tuple[Object, str]:
    """The document with one thing taken away, renamed or of another type; and in words what was done."""
    made = copy.deepcopy(document)
    path = random.choice([path for path in places(made) if _CARRIED.isdisjoint(path[:-1])])
    holder, key = at(made, path[:-1]), path[-1]
    deed = random.choice(["drop", "wrong", "wrong", "rename", "twice"])
    if deed == "drop":
        del holder[key]
    elif deed == "rename" and isinstance(holder, dict):
        holder[f"{key}_x"] = holder.pop(key)
    elif deed == "twice" and isinstance(holder, list):
        holder.insert(int(key), copy.deepcopy(holder[int(key)]))
    else:
        wrong = copy.deepcopy(random.choice(_WRONG))
        holder[key] = wrong
        deed = f"set {wrong!r}"
    return made, f"{deed} at {path}"


def spots(document: Object) -> list[Path]:
    """The places that null may stand at: keys, but those of ids, and of what is only carried."""
    found = [path for path in places(document) if isinstance(path[-1], str) and _CARRIED.isdisjoint(path[:-1])]
    return [path for path in found if path[-1] not in _IDS]


def nulled(document: Object, path: Path) -> Object:
    """The document with null at a place."""
    made = copy.deepcopy(document)
    at(made, path[:-1])[path[-1]] = None
    return made


def without(document: Object, path: Path) -> Object:
    """The document without what stands at a place."""
    made = copy.deepcopy(document)
    del at(made, path[:-1])[path[-1]]
    return made


def grown(document: Object, random: Random) -> tuple[Object, str]:
    """The document with something of tomorrow in it, which changes nothing of what it says; and in words what that is."""
    made = copy.deepcopy(document)
    found = [path for path in [(), *places(made)] if _CARRIED.isdisjoint(path)]
    kinds: list[Callable[[], str | None]] = [
        lambda: _new_key(made, found, random),
        lambda: _new_thing(made, found, random),
        lambda: _new_word(made, found, random),
    ]
    deed = random.choice(kinds)() or _new_key(made, found, random)
    return made, deed


def _new_key(made: Object, found: list[Path], random: Random) -> str:
    path = random.choice([path for path in found if isinstance(at(made, path), dict)])
    value = copy.deepcopy(random.choice(_WRONG))
    at(made, path)["not_yet_invented"] = value
    return f"a new key {value!r} at {path}"


def _new_thing(made: Object, found: list[Path], random: Random) -> str | None:
    lists = [path for path in found if path and path[-1] in _OPEN and isinstance(at(made, path), list)]
    if not lists:
        return None
    path = random.choice(lists)
    is_untyped = path[-1] == "parts" or path[:2] == ("output", "message")
    thing = copy.deepcopy(random.choice(_UNTYPED if is_untyped else _TYPED))
    holder = at(made, path)
    holder.insert(random.randint(0, len(holder)), thing)
    return f"a new thing {thing} at {path}"


def _new_word(made: Object, found: list[Path], random: Random) -> str | None:
    words = [path for path in found if path and path[-1] in _WORDS and isinstance(at(made, path), str)]
    if not words:
        return None
    path = random.choice(words)
    at(made, path[:-1])[path[-1]] = "not_yet_invented"
    return f"a new word at {path}"


def spoilt_stream(events: list[Object], random: Random) -> tuple[list[Object], str]:
    """The events with one of them spoilt, missing, told twice, or in the wrong place."""
    made = list(events)
    place = random.randrange(len(made))
    deed = random.choice(["spoil", "spoil", "spoil", "drop", "twice", "swap", "cut"])
    if deed == "spoil" and made[place]:
        made[place], what = spoilt(made[place], random)
        return made, f"event {place}: {what}"
    if deed == "drop":
        del made[place]
    elif deed == "cut":
        del made[place:]
    elif deed == "swap":
        other = random.randrange(len(made))
        made[place], made[other] = made[other], made[place]
    else:
        made.insert(place, made[place])
    return made, f"{deed} event {place}"


def grown_stream(events: list[Object], random: Random, *, api: str) -> tuple[list[Object], str]:
    """The events with one of tomorrow among them, or with a new key in one of them."""
    made = list(events)
    place = random.randrange(len(made))
    if random.random() < 0.3:
        new: Object = (
            {"type": "not_yet_invented.happened", "note": {"a": 1}} if api != "generate_content" else {"note": 1}
        )
        made.insert(place, new)
        return made, f"a new event at {place}"
    made[place] = copy.deepcopy(made[place])
    found = [path for path in [(), *places(made[place])] if _CARRIED.isdisjoint(path)]
    return made, f"event {place}: {_new_key(made[place], found, random)}"
