"""Reading the fields of a request: each reader gives the value, or an error that names the place and what belongs there."""

from __future__ import annotations

from typing import Any, NoReturn

from aigateway import _json
from aigateway.errors import InvalidRequestError


def refuse(value: Any, place: str, expected: str) -> NoReturn:
    """Raise the error of a value that does not fit."""
    raise InvalidRequestError(f"{place} must be {expected}, not {_json.json_type(value)}.", param=place)


def read_string(value: Any, place: str) -> str:
    """A string."""
    if not isinstance(value, str):
        refuse(value, place, "a string")
    return value


def read_boolean(value: Any, place: str) -> bool:
    """A boolean."""
    if not isinstance(value, bool):
        refuse(value, place, "a boolean")
    return value


def read_integer(value: Any, place: str) -> int:
    """An integer."""
    if not isinstance(value, int) or isinstance(value, bool):
        refuse(value, place, "an integer")
    return value


def read_number(value: Any, place: str) -> float:
    """A number; true and false are none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        refuse(value, place, "a number")
    return value


def read_object(value: Any, place: str) -> dict[str, Any]:
    """An object."""
    if not isinstance(value, dict):
        refuse(value, place, "an object")
    return value


def read_array(value: Any, place: str) -> list[Any]:
    """An array."""
    if not isinstance(value, list):
        refuse(value, place, "an array")
    return value


def read_strings(value: Any, place: str) -> tuple[str, ...]:
    """An array of strings."""
    entries = read_array(value, place)
    return tuple(read_string(entry, f"{place}[{number}]") for number, entry in enumerate(entries))


def read_string_map(value: Any, place: str) -> dict[str, str]:
    """An object of strings."""
    return {key: read_string(entry, f"{place}.{key}") for key, entry in read_object(value, place).items()}


def read_number_map(value: Any, place: str) -> dict[str, float]:
    """An object of numbers."""
    return {key: read_number(entry, f"{place}.{key}") for key, entry in read_object(value, place).items()}


def read_stop(value: Any, place: str) -> str | tuple[str, ...]:
    """One stop text or several."""
    if not isinstance(value, str | list):
        refuse(value, place, "a string or an array of strings")
    return value if isinstance(value, str) else read_strings(value, place)
