"""Chat messages -> items.

An assistant message becomes up to three kinds of items, in this order: reasoning, message, tool calls. System and
developer messages stay in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from aigateway.canonical.types import (
    Audio,
    File,
    Image,
    Item,
    Message,
    Opaque,
    Part,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from aigateway.errors import InvalidRequestError
from aigateway.formats.chat.fields import extra_of, read_array, read_object, read_string, refuse
from aigateway.formats.chat.wire import (
    FORMAT,
    call_signature,
    decode_annotations,
    decode_arguments,
    decode_audio,
    decode_reasoning,
    details_text,
    is_signed,
    reasoning_details,
    reasoning_text,
    thinking_text,
)

_BREAKPOINT = "prompt_cache_breakpoint"
_TEXT_KEYS = frozenset({"type", "text", _BREAKPOINT})
_AUDIO_KEYS = frozenset({"type", "input_audio"})
_IMAGE_KEYS = frozenset({"type", "image_url", _BREAKPOINT})
_FILE_KEYS = frozenset({"type", "file", _BREAKPOINT})
_PLAIN_KEYS = frozenset({"role", "content", "name"})
_TOOL_KEYS = frozenset({"role", "content", "tool_call_id"})
_CALL_KEYS = frozenset({"id", "type", "function", "custom", "index"})
_ASSISTANT_KEYS = frozenset(
    {
        "role",
        "content",
        "name",
        "refusal",
        "audio",
        "tool_calls",
        "function_call",
        "reasoning_content",
        "reasoning",
        "reasoning_details",
        "annotations",
        "logprobs",
    }
)


_ROUTER = "openrouter"
"""Whose `reasoning_details` reach callers unsealed."""


class _Calls:
    """What the messages so far have called: a result does not say itself of what kind its call was."""

    def __init__(self) -> None:
        self.kinds: dict[str, str] = {}
        self.legacy: dict[str, str] = {}
        self.legacy_count = 0


def decode_messages(raw: Any) -> tuple[Item, ...]:
    """The conversation. Raises InvalidRequestError that names the place."""
    if not isinstance(raw, list) or not raw:
        raise InvalidRequestError("messages must be an array of at least one message.", param="messages")
    calls = _Calls()
    items: list[Item] = []
    for number, message in enumerate(raw):
        place = f"messages[{number}]"
        role = read_object(message, place).get("role")
        decode = _ROLES.get(role) if isinstance(role, str) else None
        if decode is None:
            raise InvalidRequestError(f"{place}.role must be one of {', '.join(_ROLES)}.", param=f"{place}.role")
        items += decode(message, place, calls)
    return tuple(items)


def _plain(message: dict[str, Any], place: str, _: _Calls) -> list[Item]:
    content = message.get("content")
    parts = (Text(text=content),) if isinstance(content, str) else _parts(content, f"{place}.content")
    return [
        Message(
            role=message["role"],
            content=parts,
            name=_name(message, place),
            extra=extra_of(message, _PLAIN_KEYS),
        )
    ]


def _assistant(message: dict[str, Any], place: str, calls: _Calls) -> list[Item]:
    items: list[Item] = []
    thinking, parts = _assistant_content(message, place)
    details = reasoning_details(message)
    thoughts = reasoning_text(message) or thinking or details_text(details)
    if len(details) > 1 and all(is_signed(entry) for entry in details):
        items += [decode_reasoning(details_text([entry]), [entry], _ROUTER) for entry in details]
    elif thoughts or details:
        items.append(decode_reasoning(details_text(details) or thoughts if details else thoughts, details, _ROUTER))
    called = _called(message, place, calls)
    if parts or not (items or called):
        items.append(
            Message(
                role="assistant",
                content=parts,
                name=_name(message, place),
                extra=extra_of(message, _ASSISTANT_KEYS),
            )
        )
    return items + called


def _assistant_content(message: dict[str, Any], place: str) -> tuple[str, tuple[Part, ...]]:
    """The thinking among the content, and the parts."""
    thinking, content = "", message.get("content")
    parts: list[Part] = []
    if isinstance(content, str):
        parts = [Text(text=content)] if content else []
    elif content is not None:
        for part in _parts(content, f"{place}.content"):
            if isinstance(part, Opaque) and part.raw.get("type") == "thinking":
                thinking += thinking_text(part.raw)
            else:
                parts.append(part)
    annotations = decode_annotations(message.get("annotations"))
    if annotations and parts and isinstance(parts[0], Text):
        parts[0] = msgspec.structs.replace(parts[0], annotations=annotations)
    refusal, audio = message.get("refusal"), message.get("audio")
    if refusal is not None:
        parts.append(Refusal(text=read_string(refusal, f"{place}.refusal")))
    if audio is not None:
        parts.append(decode_audio(read_object(audio, f"{place}.audio")))
    return thinking, tuple(parts)


def _called(message: dict[str, Any], place: str, calls: _Calls) -> list[Item]:
    found: list[Item] = []
    raw_calls, legacy = message.get("tool_calls"), message.get("function_call")
    if raw_calls is not None:
        for number, raw in enumerate(read_array(raw_calls, f"{place}.tool_calls")):
            call = _tool_call(raw, f"{place}.tool_calls[{number}]")
            calls.kinds[call.call_id] = call.kind
            found.append(call)
    if legacy is not None:
        name, arguments = _function(legacy, f"{place}.function_call")
        calls.legacy[name] = call_id = f"call_function_{calls.legacy_count}"
        calls.legacy_count += 1
        found.append(ToolCall(call_id=call_id, name=name, arguments=arguments))
    return found


def _tool_call(raw: Any, place: str) -> ToolCall:
    call = read_object(raw, place)
    call_id = read_string(call.get("id"), f"{place}.id")
    kind = call.get("type", "function")
    if kind == "custom":
        custom = read_object(call.get("custom"), f"{place}.custom")
        name = read_string(custom.get("name"), f"{place}.custom.name")
        arguments = read_string(custom.get("input"), f"{place}.custom.input")
    elif kind == "function":
        name, arguments = _function(call.get("function"), f"{place}.function")
    else:
        raise InvalidRequestError(f"{place}.type must be function or custom.", param=f"{place}.type")
    return ToolCall(
        call_id=call_id,
        name=name,
        arguments=arguments,
        kind=kind,
        signature=call_signature(call),
        extra=extra_of(call, _CALL_KEYS),
    )


def _function(raw: Any, place: str) -> tuple[str, str]:
    function = read_object(raw, place)
    arguments = function.get("arguments")
    if not isinstance(arguments, str | dict):
        refuse(arguments, f"{place}.arguments", "a string of JSON")
    return read_string(function.get("name"), f"{place}.name"), decode_arguments(arguments)


def _tool(message: dict[str, Any], place: str, calls: _Calls) -> list[Item]:
    call_id = read_string(message.get("tool_call_id"), f"{place}.tool_call_id")
    content = message.get("content")
    output = content or "" if content is None or isinstance(content, str) else _parts(content, f"{place}.content")
    kind = calls.kinds.get(call_id, "function")
    return [ToolResult(call_id=call_id, output=output, kind=kind, extra=extra_of(message, _TOOL_KEYS))]


def _function_result(message: dict[str, Any], place: str, calls: _Calls) -> list[Item]:
    name = read_string(message.get("name"), f"{place}.name")
    content = message.get("content")
    output = "" if content is None else read_string(content, f"{place}.content")
    return [ToolResult(call_id=calls.legacy.get(name, name), output=output)]


_ROLES: dict[str, Callable[[dict[str, Any], str, _Calls], list[Item]]] = {
    "system": _plain,
    "developer": _plain,
    "user": _plain,
    "assistant": _assistant,
    "tool": _tool,
    "function": _function_result,
}


def _name(message: dict[str, Any], place: str) -> Any:
    name = message.get("name")
    return (None if name is None else read_string(name, f"{place}.name")) or UNSET


def _parts(content: Any, place: str) -> tuple[Part, ...]:
    if not isinstance(content, list):
        refuse(content, place, "a string or an array of content parts")
    return tuple(_part(part, f"{place}[{number}]") for number, part in enumerate(content))


def _part(raw: Any, place: str) -> Part:
    part = read_object(raw, place)
    kind = read_string(part.get("type"), f"{place}.type")
    decode = _PARTS.get(kind)
    return decode(part, place) if decode else Opaque(format=FORMAT, raw=part)


def _text(part: dict[str, Any], place: str) -> Part:
    text = read_string(part.get("text"), f"{place}.text")
    return Text(text=text, prompt_cache_breakpoint=_breakpoint(part, place), extra=extra_of(part, _TEXT_KEYS))


def _image(part: dict[str, Any], place: str) -> Part:
    given = part.get("image_url")
    image = {"url": given} if isinstance(given, str) else read_object(given, f"{place}.image_url")
    detail = image.get("detail")
    return Image(
        url=read_string(image.get("url"), f"{place}.image_url.url"),
        detail=UNSET if detail is None else read_string(detail, f"{place}.image_url.detail"),
        prompt_cache_breakpoint=_breakpoint(part, place),
        extra=extra_of(part, _IMAGE_KEYS),
    )


def _audio(part: dict[str, Any], place: str) -> Part:
    audio = read_object(part.get("input_audio"), f"{place}.input_audio")
    return Audio(
        data=read_string(audio.get("data"), f"{place}.input_audio.data"),
        format=read_string(audio.get("format"), f"{place}.input_audio.format"),
        extra=extra_of(part, _AUDIO_KEYS),
    )


def _file(part: dict[str, Any], place: str) -> Part:
    file = read_object(part.get("file"), f"{place}.file")
    fields: dict[str, Any] = {}
    for key, name in (("file_data", "data"), ("file_id", "file_id"), ("filename", "filename")):
        if file.get(key) is not None:
            fields[name] = read_string(file[key], f"{place}.file.{key}")
    return File(**fields, prompt_cache_breakpoint=_breakpoint(part, place), extra=extra_of(part, _FILE_KEYS))


def _breakpoint(part: dict[str, Any], place: str) -> Any:
    value = part.get(_BREAKPOINT)
    return UNSET if value is None else read_object(value, f"{place}.{_BREAKPOINT}")


def _refusal(part: dict[str, Any], place: str) -> Part:
    return Refusal(text=read_string(part.get("refusal"), f"{place}.refusal"))


_PARTS: dict[str, Callable[[dict[str, Any], str], Part]] = {
    "text": _text,
    "image_url": _image,
    "input_audio": _audio,
    "file": _file,
    "refusal": _refusal,
}
