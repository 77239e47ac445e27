"""JSON in and out: one set of coders, and the patching of a raw body without decoding all of it."""

from __future__ import annotations

import json as _stdlib
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from aigateway.errors import InvalidRequestError

encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode
_decode: Callable[[bytes], Any] = msgspec.json.Decoder().decode

DecodeError = msgspec.DecodeError

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_LONG = 4096
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")
_VALUE_END = re.compile(rb"[,}\]\s]")
_SPACE = re.compile(rb"[ \t\r\n]*")


def decode(data: bytes) -> Any:
    """The value of a JSON text. Raises msgspec.DecodeError, UnicodeDecodeError or RecursionError.

    A lone surrogate escape (half an emoji, cut by a tokenizer) becomes U+FFFD, as a lenient reader would have it.
    """
    try:
        return _decode(data)
    except msgspec.DecodeError:
        if data.find(rb"\ud") < 0 and data.find(rb"\uD") < 0:
            raise
    try:
        return _without_surrogates(_stdlib.loads(data, parse_constant=_no_constant))
    except ValueError as error:
        raise msgspec.DecodeError(str(error)) from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value


def decode_object(data: bytes) -> dict[str, Any]:
    """A request body as a dict. Raises InvalidRequestError that says what is wrong with it."""
    try:
        value = decode(data)
    except UnicodeDecodeError as error:
        raise InvalidRequestError("The request body is not valid UTF-8.", code="invalid_json") from error
    except RecursionError as error:
        raise InvalidRequestError("The request body is nested too deeply.", code="invalid_json") from error
    except msgspec.DecodeError as error:
        raise InvalidRequestError(f"The request body is not valid JSON: {error}", code="invalid_json") from error
    if not isinstance(value, dict):
        raise InvalidRequestError(
            f"The request body must be a JSON object, not {json_type(value)}.", code="invalid_json"
        )
    return value


def json_type(value: Any) -> str:
    """The JSON name of a value's type, with its article: for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names: dict[type, str] = {str: "a string", int: "an integer", float: "a number", list: "an array"}
    return names.get(type(value), "an object")


def deeper_than(data: bytes, limit: int) -> bool:
    """Whether the brackets of a JSON text nest deeper than `limit`."""
    if not _has_more(data, limit):
        return False
    brackets = _STRING.sub(b"", data).translate(_ONE_KIND, _NOT_BRACKETS)
    for _ in range(limit):
        inner = brackets.replace(b"[]", b"")
        if len(inner) == len(brackets):
            break
        brackets = inner
    return bool(brackets)


def _has_more(data: bytes, limit: int) -> bool:
    """Whether it has more opening brackets than that. To look for each is quicker than to count, where they are far apart."""
    left, find = min(limit, len(data) // 64) if len(data) > _LONG else 0, data.find
    for bracket in (b"[", b"{"):
        at = find(bracket)
        while at >= 0:
            if not left:
                return data.count(b"[") + data.count(b"{") > limit
            left -= 1
            at = find(bracket, at + 1)
    return False


def find_value(data: bytes, *path: str) -> tuple[int, int] | None:
    """Where the value at a path of object keys stands in a JSON object's text: (start, end), or None.

    Of a repeated key the last one counts, as it does for decoders.
    """
    start, end = 0, len(data)
    for key in path:
        span = _find_key(data, start, end, key)
        if span is None:
            return None
        start, end = span
    return start, end


def _find_key(data: bytes, start: int, end: int, key: str) -> tuple[int, int] | None:
    """The span of one key's value in the object that begins at the first `{` of data[start:end]."""
    found: tuple[int, int] | None = None
    depth = 0
    for token in _TOKEN.finditer(data, start, end):
        char = data[token.start()]
        if char in b"{[":
            depth += 1
        elif char in b"}]":
            depth -= 1
            if depth == 0:
                break
        elif depth == 1:
            colon = _skip_space(data, token.end())
            if data[colon : colon + 1] == b":" and _is_key(token.group(), key):
                value = _skip_space(data, colon + 1)
                found = value, _value_end(data, value)
    return found


def _is_key(token: bytes, key: str) -> bool:
    if b"\\" not in token:
        return token[1:-1] == key.encode()
    return bool(decode(token) == key)


def _skip_space(data: bytes, at: int) -> int:
    match = _SPACE.match(data, at)
    return match.end() if match else at


def _value_end(data: bytes, start: int) -> int:
    first = data[start : start + 1]
    if first == b'"':
        match = _STRING.match(data, start)
        return match.end() if match else len(data)
    if first in (b"{", b"["):
        depth = 0
        for token in _TOKEN.finditer(data, start):
            char = data[token.start()]
            if char in b"{[":
                depth += 1
            elif char in b"}]":
                depth -= 1
                if depth == 0:
                    return token.end()
        return len(data)
    end = _VALUE_END.search(data, start)
    return end.start() if end else len(data)


def replace_value(data: bytes, value: Any, *path: str) -> bytes:
    """The same text with the value at `path` replaced, every other byte as it was; unchanged if there is no such key."""
    span = find_value(data, *path)
    if span is None:
        return data
    return data[: span[0]] + encode(value) + data[span[1] :]


def replace_top_level(data: bytes, value: Any, key: str) -> bytes:
    """As `replace_value` for a key that is there, quick where its name stands only once in the text."""
    name, text = _key_patterns(key)
    if data.count(name) == 1 and data.find(b"\\u00") < 0:
        match = text.search(data)
        if match is not None:
            return data[: match.start(1)] + encode(value) + data[match.end(1) :]
    at = data.find(name)
    if at < 0 or data.find(name, at + 1) >= 0 or _ESCAPED_LETTER.search(data):
        return replace_value(data, value, key)
    colon = _skip_space(data, at + len(name))
    if data[colon : colon + 1] != b":":
        return replace_value(data, value, key)
    start = _skip_space(data, colon + 1)
    return data[:start] + encode(value) + data[_value_end(data, start) :]


@lru_cache(16)
def _key_patterns(key: str) -> tuple[bytes, re.Pattern[bytes]]:
    """A key as it is usually written; and the key with a text behind it that has no escapes, which is its group 1."""
    name = b'"%b"' % key.encode()
    return name, re.compile(name + rb'\s*:\s*("[^"\\]*")')


def set_value(data: bytes, value: Any, key: str) -> bytes:
    """The same object text with a top-level key set: replaced where it stands, else put first."""
    span = find_value(data, key)
    if span is not None:
        return data[: span[0]] + encode(value) + data[span[1] :]
    brace = data.index(b"{") + 1
    rest = data[brace:]
    comma = b"" if rest.lstrip().startswith(b"}") else b","
    return data[:brace] + encode(key) + b":" + encode(value) + comma + rest
