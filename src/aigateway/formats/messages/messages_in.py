"""System prompt and messages -> items.

A message becomes one item after another, in the order of its blocks: neighbouring texts, images and documents are one
message, each thought, call and result an item of its own. What only this API has (server tools, containers) is Opaque.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from aigateway import _json
from aigateway.canonical.types import (
    Annotation,
    Extra,
    File,
    Image,
    Item,
    Message,
    Opaque,
    Part,
    Text,
    ToolCall,
    ToolResult,
)
from aigateway.errors import InvalidRequestError
from aigateway.formats.fields import read_array, read_boolean, read_object, read_string, refuse
from aigateway.formats.messages.wire import FORMAT, decode_citation, decode_redacted, decode_thinking, extra_of

_TEXT = frozenset({"type", "text"})
_MEDIA = frozenset({"type", "source"})
_CONTENT = frozenset({"type", "content"})
_CALL = frozenset({"type", "id", "name", "input"})
_RESULT = frozenset({"type", "tool_use_id", "content", "is_error"})
_ROLES = frozenset({"user", "assistant", "system"})


def decode_system(raw: Any) -> tuple[str | Any, list[Item]]:
    """The system prompt: a text as instructions, blocks as a message of the system that opens the conversation."""
    if raw is None:
        return UNSET, []
    if isinstance(raw, str):
        return raw, []
    parts = tuple(_part(block, f"system[{number}]") for number, block in enumerate(read_array(raw, "system")))
    return UNSET, [Message(role="system", content=parts)] if parts else []


def decode_messages(raw: Any) -> list[Item]:
    """The conversation. Raises InvalidRequestError that names the place."""
    if not isinstance(raw, list) or not raw:
        raise InvalidRequestError("messages must be an array of at least one message.", param="messages")
    items: list[Item] = []
    for number, entry in enumerate(raw):
        place = f"messages[{number}]"
        message = read_object(entry, place)
        role = message.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise InvalidRequestError(f"{place}.role must be user, assistant or system.", param=f"{place}.role")
        items += _decode_message(role, message.get("content"), f"{place}.content")
    return items


def _decode_message(role: str, content: Any, place: str) -> list[Item]:
    if isinstance(content, str):
        return [Message(role=role, content=(Text(text=content),))]
    if not isinstance(content, list):
        refuse(content, place, "a string or an array of content blocks")
    items: list[Item] = []
    parts: list[Part] = []
    for number, raw in enumerate(content):
        at = f"{place}[{number}]"
        block = read_object(raw, at)
        kind = read_string(block.get("type"), f"{at}.type")
        decode = _ITEMS.get(kind)
        if decode is None and (role != "assistant" or kind in _PARTS):
            parts.append(_part(block, at))
            continue
        if parts:
            items.append(Message(role=role, content=tuple(parts)))
            parts = []
        items.append(Opaque(format=FORMAT, raw=block) if decode is None else decode(block, at))
    if parts or not items:
        items.append(Message(role=role, content=tuple(parts)))
    return items


# items


def _thinking(block: dict[str, Any], place: str) -> Item:
    return decode_thinking(read_string(block.get("thinking"), f"{place}.thinking"), block.get("signature"))


def _redacted(block: dict[str, Any], place: str) -> Item:
    return decode_redacted(read_string(block.get("data"), f"{place}.data"))


def _call(block: dict[str, Any], place: str) -> Item:
    return ToolCall(
        call_id=read_string(block.get("id"), f"{place}.id"),
        name=read_string(block.get("name"), f"{place}.name"),
        arguments=_json.encode(read_object(block.get("input"), f"{place}.input")).decode(),
        extra=extra_of(block, _CALL),
    )


def _result(block: dict[str, Any], place: str) -> Item:
    content, is_error = block.get("content"), block.get("is_error")
    output: str | tuple[Part, ...] = ""
    if isinstance(content, str):
        output = content
    elif content is not None:
        entries = read_array(content, f"{place}.content")
        output = tuple(_part(entry, f"{place}.content[{number}]") for number, entry in enumerate(entries))
    return ToolResult(
        call_id=read_string(block.get("tool_use_id"), f"{place}.tool_use_id"),
        output=output,
        is_error=UNSET if is_error is None else read_boolean(is_error, f"{place}.is_error"),
        extra=extra_of(block, _RESULT),
    )


_ITEMS: dict[str, Callable[[dict[str, Any], str], Item]] = {
    "thinking": _thinking,
    "redacted_thinking": _redacted,
    "tool_use": _call,
    "tool_result": _result,
}


# parts


def _part(raw: Any, place: str) -> Part:
    block = read_object(raw, place)
    decode = _PARTS.get(read_string(block.get("type"), f"{place}.type"))
    return Opaque(format=FORMAT, raw=block) if decode is None else decode(block, place)


def _text(block: dict[str, Any], place: str) -> Part:
    text = read_string(block.get("text"), f"{place}.text")
    citations = block.get("citations")
    found = [decode_citation(raw, len(text)) for raw in citations] if isinstance(citations, list) else []
    annotations: tuple[Annotation, ...] = tuple(one for one in found if one is not None)
    return Text(text=text, annotations=annotations, extra=extra_of(block, _TEXT))


def _image(block: dict[str, Any], place: str) -> Part:
    source = read_object(block.get("source"), f"{place}.source")
    extra = extra_of(block, _MEDIA)
    kind = source.get("type")
    if kind == "base64":
        return Image(url=_data_url(source, place), extra=extra)
    if kind == "url":
        return Image(url=read_string(source.get("url"), f"{place}.source.url"), extra=extra)
    if kind == "file":
        return Image(file_id=read_string(source.get("file_id"), f"{place}.source.file_id"), extra=extra)
    return Opaque(format=FORMAT, raw=block)


def _document(block: dict[str, Any], place: str) -> Part:
    """A document; one of plain text is a text, which every model can read."""
    source = read_object(block.get("source"), f"{place}.source")
    title = block.get("title")
    filename = title if isinstance(title, str) else UNSET
    extra = extra_of(block, _MEDIA if filename is UNSET else _MEDIA | {"title"})
    kind = source.get("type")
    if kind == "base64":
        return File(data=_data_url(source, place), filename=filename, extra=extra)
    if kind == "url":
        return File(url=read_string(source.get("url"), f"{place}.source.url"), filename=filename, extra=extra)
    if kind == "file":
        return File(
            file_id=read_string(source.get("file_id"), f"{place}.source.file_id"), filename=filename, extra=extra
        )
    inner = source.get("content")
    words = source.get("data") if kind == "text" else _words(inner)
    return _told(block, words, ("title",), held=inner, known=_MEDIA)


def _search_result(block: dict[str, Any], _: str) -> Part:
    inner = block.get("content")
    return _told(block, _words(inner), ("title", "source"), held=inner, known=_CONTENT)


def _compaction(block: dict[str, Any], _: str) -> Part:
    return _told(block, block.get("content"), known=_CONTENT)


def _tool_reference(block: dict[str, Any], _: str) -> Part:
    return _told(block, block.get("tool_name"), known=frozenset({"type", "tool_name"}))


_PARTS: dict[str, Callable[[dict[str, Any], str], Part]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
    "compaction": _compaction,
    "tool_reference": _tool_reference,
}


def _told(
    block: dict[str, Any], words: Any, heads: tuple[str, ...] = (), *, held: Any = None, known: frozenset[str]
) -> Part:
    """A block whose words are all that another API can be told of it; here it is written again as it came.

    heads: the keys whose words stand before it. held: the texts that it is made of, which have keys of their own.
    """
    if not isinstance(words, str):
        return Opaque(format=FORMAT, raw=block)
    told = [head for key in heads if isinstance(head := block.get(key), str) and head]
    unknown: dict[str, Any] = {}
    for text in held if isinstance(held, list) else ():
        unknown |= {key: value for key, value in text.items() if key not in _TEXT}
    unknown |= {key: value for key, value in block.items() if key not in known and key not in heads}
    return Text(text="\n\n".join([*told, words]), extra=Extra(format=FORMAT, fields=unknown, told=block))


def _words(content: Any) -> str | None:
    """The texts of a content; None where it holds anything else."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts = [block.get("text") for block in content if isinstance(block, dict) and block.get("type") == "text"]
    known = [text for text in texts if isinstance(text, str)]
    return "\n\n".join(known) if len(known) == len(content) else None


def _data_url(source: dict[str, Any], place: str) -> str:
    media = read_string(source.get("media_type"), f"{place}.source.media_type")
    return f"data:{media};base64,{read_string(source.get('data'), f'{place}.source.data')}"
