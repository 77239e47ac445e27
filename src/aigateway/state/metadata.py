"""The `metadata` of stored objects."""

from __future__ import annotations

from typing import Any, Final

from aigateway.errors import InvalidRequestError

_PAIRS: Final = 16
_KEY: Final = 64
_VALUE: Final = 512


def metadata_of(value: Any) -> dict[str, str]:
    """Up to 16 pairs of strings; None is none. Raises InvalidRequestError."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise InvalidRequestError(
            "Invalid 'metadata': expected an object of strings.", param="metadata", code="invalid_type"
        )
    if len(value) > _PAIRS or any(len(key) > _KEY or len(text) > _VALUE for key, text in value.items()):
        raise InvalidRequestError(
            f"Invalid 'metadata': at most {_PAIRS} pairs, keys of at most {_KEY} and values of at most {_VALUE} characters.",
            param="metadata",
            code="invalid_value",
        )
    return value
