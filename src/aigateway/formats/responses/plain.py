"""Requests as most are, read straight from their bytes, quickly: what is read here is what the codec would read."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from aigateway.canonical.types import Extra, Item, Message, Request, Text
from aigateway.formats.responses.fields import FORMAT

_ODD = b'"tools":'
"""A key of requests that are not plain, mostly: to look for it costs less than to fail."""


class _InputText(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    type: Literal["input_text"]


class _Said(msgspec.Struct, forbid_unknown_fields=True):
    content: str | list[_InputText]
    role: Literal["user", "assistant", "system", "developer"]
    type: Literal["message"] = "message"


class _Plain(msgspec.Struct, forbid_unknown_fields=True):
    """The fields that the canonical request takes over as they are. No more of them than a call can name one by one."""

    model: str
    input: str | list[_Said]
    stream: bool = False
    instructions: str | UnsetType = UNSET
    parallel_tool_calls: bool | UnsetType = UNSET
    max_output_tokens: int | UnsetType = UNSET
    temperature: int | float | UnsetType = UNSET
    top_p: int | float | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET
    store: bool | UnsetType = UNSET
    service_tier: str | UnsetType = UNSET
    user: str | UnsetType = UNSET
    safety_identifier: str | UnsetType = UNSET
    prompt_cache_key: str | UnsetType = UNSET


_DECODER: msgspec.json.Decoder[_Plain] = msgspec.json.Decoder(_Plain)


def decode_plain_request(body: bytes) -> Request | None:
    """A request of messages and knobs; None for any other, for one with a null, and for what is wrong."""
    if body.find(_ODD) >= 0:
        return None
    try:
        told = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    items = _items(told.input)
    if items is None:
        return None
    return Request(
        model=told.model,
        items=items,
        stream=told.stream,
        instructions=told.instructions,
        parallel_tool_calls=told.parallel_tool_calls,
        max_output_tokens=told.max_output_tokens,
        temperature=told.temperature,
        top_p=told.top_p,
        metadata=told.metadata,
        store=told.store,
        service_tier=told.service_tier,
        user=told.user,
        safety_identifier=told.safety_identifier,
        prompt_cache_key=told.prompt_cache_key,
        extra=Extra(format=FORMAT, fields={}),
    )


def _items(said: str | list[_Said]) -> tuple[Item, ...] | None:
    if isinstance(said, str):
        return (Message(role="user", content=(Text(text=said),)),)
    items: list[Item] = []
    for one in said:
        content = one.content
        if isinstance(content, str):
            items.append(Message(role=one.role, content=(Text(text=content),)))
        elif one.role != "assistant":
            items.append(Message(role=one.role, content=tuple([Text(text=part.text) for part in content])))
        else:
            return None
    return tuple(items) or None
