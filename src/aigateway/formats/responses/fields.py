"""Reading the fields of a request with their types checked; what is wrong is named as the caller spelled it."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar

from msgspec import UNSET, UnsetType

from aigateway import _json
from aigateway.canonical.types import Extra
from aigateway.errors import InvalidRequestError

T = TypeVar("T")

FORMAT = "responses"
"""The name under which this format's own things (Opaque, Extra) travel."""

SLUG = "openai:"
"""What Open Responses puts before the types that only OpenAI has."""


def without_slug(raw: dict[str, Any]) -> dict[str, Any]:
    """An object with OpenAI's own name of its type."""
    kind = raw.get("type")
    return raw | {"type": kind.removeprefix(SLUG)} if isinstance(kind, str) and kind.startswith(SLUG) else raw


def wrong_type(param: str, expected: str, value: Any) -> InvalidRequestError:
    """The error for a value of another type than the field has."""
    return InvalidRequestError(
        f"Invalid type for '{param}': expected {expected}, but got {_json.json_type(value)} instead.",
        param=param,
        code="invalid_type",
    )


def wrong_value(param: str, value: str, allowed: AbstractSet[str]) -> InvalidRequestError:
    """The error for a word that the field does not know."""
    known = ", ".join(f"'{word}'" for word in sorted(allowed))
    return InvalidRequestError(
        f"Invalid value '{value}' for '{param}': expected one of {known}.", param=param, code="invalid_value"
    )


def missing(param: str) -> InvalidRequestError:
    """The error for a field that must be there."""
    return InvalidRequestError(
        f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
    )


def string(value: Any, param: str) -> str:
    """The value, if it is a string; InvalidRequestError if not."""
    if not isinstance(value, str):
        raise wrong_type(param, "a string", value)
    return value


def integer(value: Any, param: str) -> int:
    """The value, if it is an integer; InvalidRequestError if not."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(param, "an integer", value)
    return value


def number(value: Any, param: str) -> float:
    """The value, if it is a number; InvalidRequestError if not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(param, "a number", value)
    return value


def boolean(value: Any, param: str) -> bool:
    """The value, if it is a boolean; InvalidRequestError if not."""
    if not isinstance(value, bool):
        raise wrong_type(param, "a boolean", value)
    return value


def array(value: Any, param: str) -> list[Any]:
    """The value, if it is an array; InvalidRequestError if not."""
    if not isinstance(value, list):
        raise wrong_type(param, "an array", value)
    return value


def record(value: Any, param: str) -> dict[str, Any]:
    """The value, if it is an object; InvalidRequestError if not."""
    if not isinstance(value, dict):
        raise wrong_type(param, "an object", value)
    return value


def strings(value: Any, param: str) -> tuple[str, ...]:
    """The value, if it is an array of strings; InvalidRequestError if not."""
    return tuple(string(entry, f"{param}[{place}]") for place, entry in enumerate(array(value, param)))


def records(value: Any, param: str) -> tuple[dict[str, Any], ...]:
    """The value, if it is an array of objects; InvalidRequestError if not."""
    return tuple(record(entry, f"{param}[{place}]") for place, entry in enumerate(array(value, param)))


def optional(owner: dict[str, Any], key: str, read: Callable[[Any, str], T], path: str = "") -> T | UnsetType:
    """A field that may be absent or null."""
    value = owner.get(key)
    return UNSET if value is None else read(value, f"{path}.{key}" if path else key)


def required(owner: dict[str, Any], key: str, read: Callable[[Any, str], T], path: str = "") -> T:
    """A field that must be there."""
    if key not in owner:
        raise missing(joined(path, key))
    return read(owner[key], f"{path}.{key}" if path else key)


def joined(path: str, key: str) -> str:
    """The place of a key below a path."""
    return f"{path}.{key}" if path else key


def rest(owner: dict[str, Any], known: frozenset[str], **odd: Any) -> Extra | UnsetType:
    """What decoding would lose: unknown keys, explicit nulls, and the `odd` ones that encoding would write otherwise."""
    if not odd and known.issuperset(owner) and None not in owner.values():
        return UNSET
    fields = {key: value for key, value in owner.items() if value is None or key not in known}
    fields.update(odd)
    return Extra(format=FORMAT, fields=fields) if fields else UNSET


def own(extra: Extra | UnsetType) -> dict[str, Any]:
    """What `rest` kept, if it was kept by this format."""
    return {} if extra is UNSET or extra.format != FORMAT else extra.fields


def given(**fields: Any) -> dict[str, Any]:
    """The fields that are set."""
    return {key: value for key, value in fields.items() if value is not UNSET}
