"""Items -> system prompt and messages.

Neighbouring blocks of one side are one message: what the assistant thought, said and called, or what the user sent
after the results of the calls, which stand first. Roles take turns by themselves so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from aigateway.canonical.types import (
    Audio,
    Change,
    File,
    Image,
    Item,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from aigateway.canonical.uncarried import UncarriedError, is_record, kind_of
from aigateway.formats.messages.models import takes_system_turns
from aigateway.formats.messages.wire import FORMAT, input_of, is_own, own_fields, safe_id, thought_of

_DATA_URL = re.compile(r"data:([^;,]*)(?:;[^,]*)?,", re.DOTALL)
_TTLS = {"30m": "5m", "12h": "1h"}
_EMPTY_RESULT = "(no output)"


def encode_messages(
    instructions: Any, items: Sequence[Item], model: str, changes: list[Change]
) -> tuple[Any, list[dict[str, Any]]]:
    """`system` (UNSET where there is none) and `messages`. Raises UncarriedError for content that this API cannot hold."""
    writer = _Writer(model, changes)
    system: list[dict[str, Any]] = []
    opening = 0
    for item in items:
        if not (isinstance(item, Message) and item.role in ("system", "developer")):
            break
        opening += 1
        system += writer.blocks(item.content)
    writer.write(items[opening:])
    if not writer.messages:
        raise _unsupported("a conversation in which neither the user nor the assistant says anything", None)
    if not system:
        return (instructions or UNSET), writer.messages
    if instructions:
        system.insert(0, {"type": "text", "text": instructions})
    return system, writer.messages


class _Writer:
    def __init__(self, model: str, changes: list[Change]) -> None:
        self.messages: list[dict[str, Any]] = []
        self._model = model
        self._changes = changes
        self._open_results = False

    def write(self, items: Sequence[Item]) -> None:
        """All items of the conversation."""
        for item in items:
            if isinstance(item, Reasoning):
                self._reasoning(item)
            elif isinstance(item, ToolCall):
                if item.signature is not UNSET:
                    self._note("tool_calls.signature", "dropped", "Only its maker takes back what it has signed.")
                call = {"type": "tool_use", "id": safe_id(item.call_id), "name": item.name}
                self._add("assistant", [{**call, "input": input_of(item.arguments), **own_fields(item)}])
            elif isinstance(item, ToolResult):
                self._result(item)
            elif isinstance(item, Message):
                self._message(item)
            elif isinstance(item, Opaque):
                self._opaque(item)

    def blocks(self, parts: Sequence[Part]) -> list[dict[str, Any]]:
        """The blocks of parts: no text is empty, for Anthropic refuses that."""
        return [self._block(part) for part in parts if not (isinstance(part, Text | Refusal) and not part.text)]

    def _add(self, role: str, blocks: list[dict[str, Any]], *, anew: bool = False) -> None:
        if not blocks:
            return
        last = self.messages[-1] if self.messages else None
        if last is not None and last["role"] == role and not anew:
            last["content"] += blocks
        else:
            self.messages.append({"role": role, "content": blocks})

    def _message(self, item: Message) -> None:
        if item.name is not UNSET:
            self._note("name", "dropped", "Anthropic's API has no names of participants.")
        if item.phase is not UNSET:
            self._note("phase", "dropped", "Anthropic's API has no phases of what the assistant says.")
        blocks = self.blocks(item.content)
        if item.role == "assistant":
            self._add("assistant", blocks)
            return
        if item.role == "user":
            self._add("user", blocks, anew=not self._open_results)
            self._open_results = False
            return
        follows_user = bool(self.messages) and self.messages[-1]["role"] == "user"
        if follows_user and takes_system_turns(self._model):
            self._add("system", blocks, anew=True)
        else:
            self._note("messages", "changed", "A system message in the conversation is sent as the user's words.")
            self._add("user", blocks, anew=not self._open_results)

    def _result(self, item: ToolResult) -> None:
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": safe_id(item.call_id)}
        if isinstance(item.output, str):
            block["content"] = item.output
        else:
            block["content"] = self.blocks(item.output)
        if item.is_error is not UNSET:
            block["is_error"] = item.is_error
            if item.is_error and not block["content"]:
                block["content"] = _EMPTY_RESULT  # an error must say something
        self._add("user", [{**block, **own_fields(item)}], anew=not self._open_results)
        self._open_results = True

    def _reasoning(self, item: Reasoning) -> None:
        if not is_own(item):
            foreign = item.origin is not UNSET or item.encrypted is not UNSET
            reason = "Anthropic takes back only thoughts that it has signed."
            self._note("reasoning.encrypted_content" if foreign else "reasoning", "dropped", reason)
            return
        if item.signature is UNSET:
            self._add("assistant", [{"type": "redacted_thinking", "data": item.encrypted}])
        else:
            block = {"type": "thinking", "thinking": thought_of(item), "signature": item.signature}
            self._add("assistant", [block])

    def _opaque(self, item: Opaque) -> None:
        kind = kind_of(item)
        if item.format == FORMAT:
            self._add("assistant", [item.raw])
        elif is_record(item):
            self._note("input", "dropped", f"Anthropic's API has no item of type {kind}.")
        else:
            raise _unsupported(f"an input item of type {kind}", item)

    # parts

    def _block(self, part: Part) -> dict[str, Any]:
        if isinstance(part, Opaque):
            if part.format != FORMAT:
                raise _unsupported(f"content of type {kind_of(part)}", part)
            return part.raw
        if isinstance(part, Refusal):
            return {"type": "text", "text": part.text}
        if isinstance(part, Audio):
            if not part.transcript:
                raise _unsupported("audio", part)
            self._note("audio", "changed", "Audio of the assistant is sent as its transcript.")
            return {"type": "text", "text": part.transcript}
        if isinstance(part, Text) and part.extra is not UNSET and part.extra.format == FORMAT and part.extra.told:
            return part.extra.told
        return {**self._media_or_text(part), **self._cached(part), **own_fields(part)}

    def _media_or_text(self, part: Text | Image | File) -> dict[str, Any]:
        if isinstance(part, Text):
            return {"type": "text", "text": part.text}
        if isinstance(part, Image):
            if part.detail is not UNSET and part.detail != "auto":
                self._note("detail", "dropped", "Anthropic's API has no detail of images.")
            return {"type": "image", "source": _image_source(part)}
        titled = {} if part.filename is UNSET else {"title": part.filename}
        return {"type": "document", "source": _file_source(part), **titled}

    def _cached(self, part: Text | Image | File) -> dict[str, Any]:
        """A cache breakpoint of OpenAI's, as Anthropic says it."""
        if part.prompt_cache_breakpoint is UNSET:
            return {}
        wanted = part.prompt_cache_breakpoint.get("ttl")
        ttl = _TTLS.get(str(wanted))
        if wanted is not None and wanted != ttl:
            self._note("prompt_cache_breakpoint.ttl", "changed", "Anthropic keeps a prompt for 5 minutes or an hour.")
        return {"cache_control": {"type": "ephemeral", **({"ttl": ttl} if ttl else {})}}

    def _note(self, field: str, action: str, reason: str) -> None:
        change = Change(field=field, action=action, reason=reason)
        if change not in self._changes:
            self._changes.append(change)


def _unsupported(what: str, content: object) -> UncarriedError:
    return UncarriedError(f"The target's Messages API cannot carry {what}.", content)


def _image_source(part: Image) -> dict[str, Any]:
    if part.file_id is not UNSET:
        return {"type": "file", "file_id": part.file_id}
    if part.url is UNSET:
        raise _unsupported("an image without a URL or file id", part)
    found = _DATA_URL.match(part.url)
    if found is None:
        return {"type": "url", "url": part.url}
    return {"type": "base64", "media_type": found[1] or "image/png", "data": part.url[found.end() :]}


def _file_source(part: File) -> dict[str, Any]:
    if part.file_id is not UNSET:
        return {"type": "file", "file_id": part.file_id}
    if part.url is not UNSET:
        return {"type": "url", "url": part.url}
    if part.data is UNSET:
        raise _unsupported("a file without data, URL or id", part)
    found = _DATA_URL.match(part.data)
    data, media = (part.data, "application/pdf") if found is None else (part.data[found.end() :], found[1])
    if media.startswith("text/"):
        return {"type": "text", "media_type": "text/plain", "data": _decoded(data, part)}
    return {"type": "base64", "media_type": media or "application/pdf", "data": data}


def _decoded(data: str, part: File) -> str:
    import base64  # noqa: PLC0415 - few requests hold a text as base64
    import binascii  # noqa: PLC0415

    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise _unsupported("a text file whose data is no base64 of UTF-8", part) from error
