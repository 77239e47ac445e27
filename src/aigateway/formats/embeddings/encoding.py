"""Embedding vectors as arrays of numbers or as base64 of little-endian float32, from one to the other."""

from __future__ import annotations

import base64
import binascii
import struct
import sys
from array import array
from typing import Any

import msgspec

from aigateway import _json
from aigateway.errors import UpstreamProtocolError


class _Item(msgspec.Struct):
    embedding: msgspec.Raw


class _List(msgspec.Struct):
    data: list[_Item]


_LIST: msgspec.json.Decoder[_List] = msgspec.json.Decoder(_List)


def decode_base64(text: str) -> list[float]:
    """The numbers of a base64 vector. Raises UpstreamProtocolError."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UpstreamProtocolError("The upstream sent an embedding that is not valid base64.") from error
    if len(raw) % 4:
        raise UpstreamProtocolError("The upstream sent an embedding whose bytes are not whole float32 numbers.")
    numbers = array("f", raw)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def encode_base64(numbers: list[float]) -> str:
    """Numbers as base64 of little-endian float32."""
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode("ascii")


def in_encoding(body: bytes, encoding_format: str) -> bytes:
    """A reply whose vectors are in the format asked for (`float` or `base64`); the same bytes where they are already.

    Raises UpstreamProtocolError for what is no list of embeddings.
    """
    try:
        items = _LIST.decode(body).data
    except msgspec.DecodeError as error:
        raise UpstreamProtocolError("The upstream sent no list of embeddings.") from error
    wanted = b'"' if encoding_format == "base64" else b"["
    if all(bytes(item.embedding)[:1] == wanted for item in items):
        return body
    reply = _json.decode(body)
    for item in reply["data"]:
        item["embedding"] = _converted(item["embedding"], encoding_format)
    return _json.encode(reply)


def _converted(vector: Any, encoding_format: str) -> Any:
    if encoding_format == "base64" and isinstance(vector, list):
        try:
            return encode_base64(vector)
        except (struct.error, OverflowError) as error:
            raise UpstreamProtocolError("The upstream sent an embedding that holds no float32 numbers.") from error
    if encoding_format != "base64" and isinstance(vector, str):
        return decode_base64(vector)
    return vector
