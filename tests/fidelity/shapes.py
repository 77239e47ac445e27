"""What the types of official SDKs publish, as one kind of tree: the fields of a document, and documents that have them all.

`anthropic` has TypedDicts and pydantic models, `google-genai` pydantic models, botocore the shapes of AWS's own description.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import pydantic
import typing_extensions

Object = dict[str, Any]


class Leaf(NamedTuple):
    """A value of which no parts are published. words: those it can be; of a `word` they say what the object is."""

    kind: str
    words: tuple[str, ...] = ()


class Listed(NamedTuple):
    """An array."""

    of: Shape


class Either(NamedTuple):
    """One of several."""

    of: tuple[Shape, ...]


class Fields(NamedTuple):
    """An object. alone: the fields of which one at a time is given."""

    of: Mapping[str, Shape]
    alone: frozenset[str] = frozenset()


Shape = Leaf | Listed | Either | Fields

_SAYS_WHAT = ("type", "role")


# from Python types


def shape_of(
    hint: Any, leaves: frozenset[str], alone: Mapping[str, frozenset[str]], depth: tuple[Any, ...] = ()
) -> Shape:
    """The shape of a type hint. leaves: types that are not looked into. alone: Fields.alone of types, by name."""
    hint = _bare(hint)
    origin, args = get_origin(hint), get_args(hint)
    if origin is Union or getattr(origin, "__name__", "") == "UnionType":
        found = [
            shape_of(one, leaves, alone, depth) for one in args if one is not type(None) and _bare(one) not in depth
        ]
        return found[0] if len(found) == 1 else Either(tuple(found))
    if origin is Literal:
        return Leaf("word", tuple(str(word) for word in args))
    if origin is not None and origin is not dict and args:
        return Leaf("list") if _bare(args[0]) in depth else Listed(shape_of(args[0], leaves, alone, depth))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        words = tuple(str(word.value) for word in hint if "unspecified" not in str(word.value).lower())
        return Leaf("choice", words)
    hints = None if getattr(hint, "__name__", "") in leaves or hint in depth else _hints(hint)
    if hints is None:
        return Leaf(_KINDS.get(hint, "object" if origin is dict or hint not in (Any, object) else "any"))
    fields = {key: shape_of(value, leaves, alone, (*depth, hint)) for key, value in hints.items()}
    return Fields(fields, alone.get(hint.__name__, frozenset()))


def _is_file(hint: Any) -> bool:
    """Whether a hint is what an SDK takes in the place of data: it reads that itself."""
    hint = _bare(hint)
    if getattr(get_origin(hint), "__name__", "") in ("Union", "UnionType") or get_origin(hint) is Union:
        return all(map(_is_file, get_args(hint)))
    return getattr(get_origin(hint) or hint, "__name__", "") in ("IO", "PathLike")


_KINDS: Mapping[Any, str] = {
    str: "text",
    int: "number",
    float: "fraction",
    bool: "truth",
    bytes: "bytes",
    datetime: "time",
}


def _bare(value: Any) -> Any:
    while get_origin(value) in (Annotated, typing_extensions.Required, typing_extensions.NotRequired):
        value = get_args(value)[0]
    return getattr(value, "__value__", value)


def _hints(value: Any) -> dict[str, Any] | None:
    if isinstance(value, type) and issubclass(value, pydantic.BaseModel):
        return {field.alias or name: field.annotation for name, field in value.model_fields.items()}
    if typing_extensions.is_typeddict(value):
        return typing_extensions.get_type_hints(value, include_extras=True)
    return None


# from AWS's description


def shape_of_aws(shape: Any, alone: Mapping[str, frozenset[str]], depth: tuple[str, ...] = ()) -> Shape:
    """A shape of botocore's. One that a union is has its members alone."""
    if shape.type_name == "list":
        return Listed(shape_of_aws(shape.member, alone, depth))
    if shape.type_name == "structure" and not getattr(shape, "is_document_type", False) and shape.name not in depth:
        fields = {key: shape_of_aws(one, alone, (*depth, shape.name)) for key, one in shape.members.items()}
        return Fields(
            fields,
            frozenset(fields) if getattr(shape, "is_tagged_union", False) else alone.get(shape.name, frozenset()),
        )
    kinds = {"string": "text", "integer": "number", "long": "number", "float": "fraction", "double": "fraction"}
    kind = kinds.get(shape.type_name, {"boolean": "truth", "blob": "bytes"}.get(shape.type_name, "object"))
    words = tuple(getattr(shape, "enum", ()) or ())
    return Leaf("choice", words) if words else Leaf(kind)


# paths


def paths(shape: Shape, *, listed: bool = False) -> frozenset[str]:
    """The fields, in the grammar of `aigateway.fidelity.row`. An object that is always of one type has none in its path."""
    return frozenset(path for path in _paths(shape, "", listed=listed, several=False) if path)


def _paths(shape: Shape, path: str, *, listed: bool, several: bool) -> Iterator[str]:
    if isinstance(shape, Either):
        for one in shape.of:
            yield from _paths(one, path, listed=listed, several=True)
    elif isinstance(shape, Listed):
        yield from _paths(shape.of, path, listed=True, several=False)
    elif isinstance(shape, Fields):
        says = [key for key in _SAYS_WHAT if _words(shape.of.get(key, Fields({})))]
        kinds = _words(shape.of[says[0]]) if says and (listed or several) else ()
        left, right = "[]" if listed else "()"
        for place in [f"{path}{left}{kind}{right}" for kind in kinds] or [f"{path}[]" if listed else path]:
            if kinds:
                yield place
            for key, below in shape.of.items():
                if key not in says:
                    at = f"{place}.{key}" if place else key
                    yield at
                    yield from _paths(below, at, listed=False, several=False)


def _words(shape: Shape) -> tuple[str, ...]:
    if isinstance(shape, Either):
        return tuple(word for one in shape.of for word in _words(one))
    return shape.words if isinstance(shape, Leaf) and shape.kind == "word" else ()


# documents

Values = Callable[[str, Leaf], Any]


def specimens(shape: Shape, values: Values, key: str = "") -> list[Any]:
    """Values that together have every field and every kind of what it can hold; the first one has the most."""
    if isinstance(shape, Leaf):
        return [values(key, shape)]
    if isinstance(shape, Listed):
        return [[one] for one in specimens(shape.of, values, key)]
    if isinstance(shape, Either):
        return [one for below in shape.of for one in specimens(below, values, key)]
    says = [name for name in _SAYS_WHAT if name in shape.of and len(_words(shape.of[name])) > 0][:1]
    tags = [{says[0]: word} for word in _words(shape.of[says[0]])] if says else [{}]
    return [tag | one for tag in tags for one in _objects(shape, says, values)]


def _objects(shape: Fields, says: list[str], values: Values) -> Iterator[Object]:
    each = {name: specimens(below, values, name) for name, below in shape.of.items() if name not in says}
    common = {name: found[0] for name, found in each.items() if name not in shape.alone}
    if not shape.alone:
        yield dict(common)
    for name, found in each.items():
        for one in found if name in shape.alone else found[1:]:
            yield {**common, name: one}
