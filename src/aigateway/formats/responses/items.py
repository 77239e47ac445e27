"""Items and content parts, both ways: https://platform.openai.com/docs/api-reference/responses and Open Responses.

Decoding keeps everything: what the canonical form does not name goes along as `extra` or as Opaque, so that encoding
gives the same item again. A string in place of parts becomes one text part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET, UnsetType

from aigateway.canonical.seal import Sealed, seal, unseal
from aigateway.canonical.types import (
    AdditionalTools,
    Annotation,
    Audio,
    Extra,
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
    UrlCitation,
)
from aigateway.errors import UnsupportedError
from aigateway.formats.responses.fields import (
    FORMAT,
    given,
    integer,
    missing,
    optional,
    own,
    record,
    records,
    required,
    rest,
    string,
    without_slug,
    wrong_type,
    wrong_value,
)
from aigateway.formats.responses.tools import decode_tools, encode_tool

INPUT_TEXT = "input_text"
OUTPUT_TEXT = "output_text"
ORIGIN = "openai"
"""Whose encrypted reasoning this API takes back."""

ENCRYPTED = "reasoning.encrypted_content"
"""The entry of `include` for what a caller who keeps the conversation itself must bring back for the model to think on."""

ROLES = frozenset({"user", "assistant", "system", "developer"})

_MESSAGE = frozenset({"type", "role", "content", "id", "status", "phase"})
_SAID = frozenset({"type", "role", "content"})
_CALL = frozenset({"type", "id", "call_id", "name", "namespace", "status"})
_CALLS = {field: _CALL | {field} for field in ("arguments", "input")}
_RESULT = frozenset({"type", "id", "call_id", "output", "status"})
_REASONING = frozenset({"type", "id", "summary", "content", "encrypted_content", "status"})
_TOOLS = frozenset({"type", "id", "tools"})
_BREAKPOINT = "prompt_cache_breakpoint"
_TEXT = frozenset({"type", "text", "annotations", "logprobs", _BREAKPOINT})
_IMAGE = frozenset({"type", "image_url", "file_id", "detail", _BREAKPOINT})
_FILE = frozenset({"type", "file_data", "file_url", "file_id", "filename", _BREAKPOINT})
_CITATION = frozenset({"type", "url", "title", "start_index", "end_index"})


# --- decoding ---


def plain_message(raw: Any) -> Message | None:
    """A message with nothing but a role and texts, as most are, read quickly; None for anything else."""
    if type(raw) is not dict or not _SAID.issuperset(raw) or raw.get("type", "message") != "message":
        return None
    role, content = raw.get("role"), raw.get("content")
    if type(role) is not str or role not in ROLES:
        return None
    if type(content) is str:
        return Message(role=role, content=(Text(text=content),))
    if type(content) is not list:
        return None
    text_type = OUTPUT_TEXT if role == "assistant" else INPUT_TEXT
    texts: list[Text] = []
    for part in content:
        if type(part) is not dict or len(part) != 2 or part.get("type") != text_type:
            return None
        text = part.get("text")
        if type(text) is not str:
            return None
        texts.append(Text(text=text))
    return Message(role=role, content=tuple(texts))


def decode_item(raw: Any, path: str) -> Item:
    """One item of a request's input or of a reply's output. Raises InvalidRequestError naming the place."""
    item = without_slug(record(raw, path))
    kind = item.get("type")
    if kind is None:
        if "role" in item:
            return _decode_message(item, path)
        if "id" in item:
            return Opaque(format=FORMAT, raw=item)
        raise missing(f"{path}.type")
    decode = _ITEMS.get(string(kind, f"{path}.type"))
    return Opaque(format=FORMAT, raw=item) if decode is None else decode(item, path)


def decode_part(raw: Any, path: str, text_type: str) -> Part:
    """One content part; `text_type` is what a text is called in its place."""
    part = without_slug(record(raw, path))
    kind = required(part, "type", string, path)
    if kind in (INPUT_TEXT, OUTPUT_TEXT, "text", "summary_text"):
        return _decode_text(part, path, text_type)
    decode = _PARTS.get(kind)
    return Opaque(format=FORMAT, raw=part) if decode is None else decode(part, path)


def decode_annotation(raw: Any, path: str) -> Annotation:
    """One annotation of a text."""
    annotation = without_slug(record(raw, path))
    if annotation.get("type") != "url_citation" or not isinstance(annotation.get("url"), str):
        return Opaque(format=FORMAT, raw=annotation)
    return UrlCitation(
        url=annotation["url"],
        title=optional(annotation, "title", string, path) or "",
        start_index=optional(annotation, "start_index", integer, path) or 0,
        end_index=optional(annotation, "end_index", integer, path) or 0,
    )


def _decode_message(item: dict[str, Any], path: str) -> Message:
    role = required(item, "role", string, path)
    if role not in ROLES:
        raise wrong_value(f"{path}.role", role, ROLES)
    return Message(
        role=role,
        content=_decode_content(required(item, "content", _anything, path), f"{path}.content", text_type_of(role)),
        id=optional(item, "id", string, path),
        status=optional(item, "status", string, path),
        phase=optional(item, "phase", string, path),
        extra=rest(item, _MESSAGE),
    )


def _anything(value: Any, _: str) -> Any:
    return value


def text_type_of(role: str) -> str:
    """What a text part is called in a message of this role."""
    return OUTPUT_TEXT if role == "assistant" else INPUT_TEXT


def _decode_content(content: Any, path: str, text_type: str) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(text=content),)
    if not isinstance(content, list):
        raise wrong_type(path, "a string or an array of content parts", content)
    return tuple(decode_part(part, f"{path}[{place}]", text_type) for place, part in enumerate(content))


def _decode_text(part: dict[str, Any], path: str, text_type: str) -> Text:
    raw = [without_slug(entry) for entry in optional(part, "annotations", records, path) or ()]
    annotations = tuple(decode_annotation(entry, f"{path}.annotations[{place}]") for place, entry in enumerate(raw))
    odd: dict[str, Any] = {}
    if part["type"] != text_type:
        odd["type"] = part["type"]
    if [encode_annotation(annotation) for annotation in annotations] != raw:
        odd["annotations"] = raw
    if part.get("logprobs") == []:
        odd["logprobs"] = []
    return Text(
        text=required(part, "text", string, path),
        annotations=annotations,
        logprobs=optional(part, "logprobs", records, path) or (),
        prompt_cache_breakpoint=optional(part, _BREAKPOINT, record, path),
        extra=rest(part, _TEXT, **odd),
    )


def _decode_refusal(part: dict[str, Any], path: str) -> Refusal:
    return Refusal(text=required(part, "refusal", string, path))


def _decode_image(part: dict[str, Any], path: str) -> Image:
    return Image(
        url=optional(part, "image_url", string, path),
        file_id=optional(part, "file_id", string, path),
        detail=optional(part, "detail", string, path),
        prompt_cache_breakpoint=optional(part, _BREAKPOINT, record, path),
        extra=rest(part, _IMAGE),
    )


def _decode_file(part: dict[str, Any], path: str) -> File:
    return File(
        data=optional(part, "file_data", string, path),
        url=optional(part, "file_url", string, path),
        file_id=optional(part, "file_id", string, path),
        filename=optional(part, "filename", string, path),
        prompt_cache_breakpoint=optional(part, _BREAKPOINT, record, path),
        extra=rest(part, _FILE),
    )


def _decode_audio(part: dict[str, Any], path: str) -> Audio:
    audio = required(part, "input_audio", record, path)
    return Audio(
        data=required(audio, "data", string, f"{path}.input_audio"),
        format=required(audio, "format", string, f"{path}.input_audio"),
    )


def _decode_function_call(item: dict[str, Any], path: str) -> ToolCall:
    return _decode_call(item, path, "function", "arguments")


def _decode_custom_call(item: dict[str, Any], path: str) -> ToolCall:
    return _decode_call(item, path, "custom", "input")


def _decode_call(item: dict[str, Any], path: str, kind: str, field: str) -> ToolCall:
    return ToolCall(
        call_id=required(item, "call_id", string, path),
        name=required(item, "name", string, path),
        arguments=required(item, field, string, path),
        kind=kind,
        namespace=optional(item, "namespace", string, path),
        id=optional(item, "id", string, path),
        status=optional(item, "status", string, path),
        extra=rest(item, _CALLS[field]),
    )


def _decode_function_result(item: dict[str, Any], path: str) -> ToolResult:
    return _decode_result(item, path, "function")


def _decode_custom_result(item: dict[str, Any], path: str) -> ToolResult:
    return _decode_result(item, path, "custom")


def _decode_result(item: dict[str, Any], path: str, kind: str) -> ToolResult:
    output = required(item, "output", _anything, path)
    return ToolResult(
        call_id=required(item, "call_id", string, path),
        output=output if isinstance(output, str) else _decode_content(output, f"{path}.output", INPUT_TEXT),
        kind=kind,
        id=optional(item, "id", string, path),
        status=optional(item, "status", string, path),
        extra=rest(item, _RESULT),
    )


def _decode_reasoning(item: dict[str, Any], path: str) -> Reasoning:
    odd: dict[str, Any] = {}
    texts: dict[str, tuple[str, ...]] = {}
    for key, part_type in (("summary", "summary_text"), ("content", "reasoning_text")):
        raw = optional(item, key, records, path) or ()
        texts[key] = tuple(required(part, "text", string, f"{path}.{key}[{place}]") for place, part in enumerate(raw))
        if item.get(key) is not None and (
            _text_parts(texts[key], part_type) != list(raw) or (key, raw) == ("content", ())
        ):
            odd[key] = item[key]
    encrypted = optional(item, "encrypted_content", string, path)
    sealed = None if encrypted is UNSET else unseal(encrypted)
    if sealed is not None:
        return _unsealed(sealed, texts, item, path)
    return Reasoning(
        summary=texts["summary"],
        content=texts["content"],
        encrypted=encrypted,
        origin=UNSET if encrypted is UNSET else ORIGIN,
        id=optional(item, "id", string, path),
        status=optional(item, "status", string, path),
        extra=rest(item, _REASONING, **odd),
    )


def _unsealed(sealed: Sealed, texts: dict[str, tuple[str, ...]], item: dict[str, Any], path: str) -> Reasoning:
    """Reasoning that another maker's API gave, which this one could show only in parts."""
    return Reasoning(
        summary=texts["summary"],
        content=sealed.content or texts["content"],
        encrypted=UNSET if sealed.encrypted is None else sealed.encrypted,
        signature=UNSET if sealed.signature is None else sealed.signature,
        origin=sealed.origin or UNSET,
        id=optional(item, "id", string, path) if sealed.id is None else sealed.id,
        status=optional(item, "status", string, path),
    )


def encrypted_of(reasoning: Reasoning) -> str | UnsetType:
    """What a caller brings back of reasoning: OpenAI's own as it is, what others gave in a seal."""
    if reasoning.signature is UNSET and reasoning.origin in (UNSET, ORIGIN):
        return reasoning.encrypted
    return seal(
        Sealed(
            origin=reasoning.origin or "",
            encrypted=None if reasoning.encrypted is UNSET else reasoning.encrypted,
            signature=None if reasoning.signature is UNSET else reasoning.signature,
            content=reasoning.content,
            id=None if reasoning.id is UNSET or reasoning.id.startswith("rs_") else reasoning.id,
        )
    )


def _decode_additional_tools(item: dict[str, Any], path: str) -> AdditionalTools:
    return AdditionalTools(
        tools=required(item, "tools", decode_tools, path),
        id=optional(item, "id", string, path),
        extra=rest(item, _TOOLS),
    )


_ITEMS: dict[str, Callable[[dict[str, Any], str], Item]] = {
    "message": _decode_message,
    "function_call": _decode_function_call,
    "custom_tool_call": _decode_custom_call,
    "function_call_output": _decode_function_result,
    "custom_tool_call_output": _decode_custom_result,
    "reasoning": _decode_reasoning,
    "additional_tools": _decode_additional_tools,
}

_PARTS: dict[str, Callable[[dict[str, Any], str], Part]] = {
    "refusal": _decode_refusal,
    "input_image": _decode_image,
    "input_file": _decode_file,
    "input_audio": _decode_audio,
}


# --- encoding ---


def encode_item(item: Item) -> dict[str, Any]:
    """The wire object of an item, with its id and status where it has them. UnsupportedError for a foreign Opaque."""
    if isinstance(item, Opaque):
        return _own_raw(item, "item")
    if isinstance(item, Message):
        text_type = text_type_of(item.role)
        raw = {"type": "message", "role": item.role, "content": [encode_part(part, text_type) for part in item.content]}
        return _with_facts(raw, item.id, item.status, item.extra, phase=item.phase)
    if isinstance(item, Reasoning):
        raw = {"type": "reasoning", "summary": _text_parts(item.summary, "summary_text")}
        if item.content:
            raw["content"] = _text_parts(item.content, "reasoning_text")
        return _with_facts(raw, item.id, item.status, item.extra, encrypted_content=encrypted_of(item))
    if isinstance(item, ToolCall):
        function = item.kind == "function"
        raw = {
            "type": "function_call" if function else "custom_tool_call",
            "call_id": item.call_id,
            "name": item.name,
            "arguments" if function else "input": item.arguments,
        }
        return _with_facts(raw, item.id, item.status, item.extra, namespace=item.namespace)
    if isinstance(item, AdditionalTools):
        raw = {"type": "additional_tools", "tools": [encode_tool(tool, strict=UNSET) for tool in item.tools]}
        return _with_facts(raw, item.id, item.status, item.extra)
    output: Any = item.output
    if not isinstance(output, str):
        output = [encode_part(part, INPUT_TEXT) for part in output]
    kind = "function_call_output" if item.kind == "function" else "custom_tool_call_output"
    return _with_facts({"type": kind, "call_id": item.call_id, "output": output}, item.id, item.status, item.extra)


def encode_part(part: Part, text_type: str) -> dict[str, Any]:
    """The wire object of a content part; `text_type` is what a text is called in its place."""
    if isinstance(part, Text):
        raw: dict[str, Any] = {"type": text_type, "text": part.text}
        if text_type == OUTPUT_TEXT:
            raw["annotations"] = encode_annotations(part.annotations)
        if part.logprobs:
            raw["logprobs"] = list(part.logprobs)
        return raw | given(prompt_cache_breakpoint=part.prompt_cache_breakpoint) | own(part.extra)
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    if isinstance(part, Image):
        raw = {"type": "input_image"} | given(
            image_url=part.url,
            file_id=part.file_id,
            detail=part.detail,
            prompt_cache_breakpoint=part.prompt_cache_breakpoint,
        )
        return raw | own(part.extra)
    if isinstance(part, File):
        raw = {"type": "input_file"} | given(
            file_data=part.data,
            file_url=part.url,
            file_id=part.file_id,
            filename=part.filename,
            prompt_cache_breakpoint=part.prompt_cache_breakpoint,
        )
        return raw | own(part.extra)
    if isinstance(part, Audio):
        return {"type": "input_audio", "input_audio": given(data=part.data, format=part.format)}
    return _own_raw(part, "content part")


def encode_annotations(annotations: tuple[Annotation, ...]) -> list[dict[str, Any]]:
    """The annotations that this format has: citations, and its own."""
    return [
        encode_annotation(annotation)
        for annotation in annotations
        if isinstance(annotation, UrlCitation) or annotation.format == FORMAT
    ]


def encode_annotation(annotation: Annotation) -> dict[str, Any]:
    """The wire object of one annotation."""
    if isinstance(annotation, Opaque):
        return annotation.raw
    return {
        "type": "url_citation",
        "url": annotation.url,
        "title": annotation.title,
        "start_index": annotation.start_index,
        "end_index": annotation.end_index,
    }


def _own_raw(value: Opaque, what: str) -> dict[str, Any]:
    if value.format != FORMAT:
        kind = value.raw.get("type", "unknown")
        raise UnsupportedError(
            f"The Responses API has no {what} of type '{kind}'. Leave it out, or use a model served by the API that it is of.",
            param="messages",
            code="unsupported_content",
        )
    return value.raw


def _text_parts(texts: tuple[str, ...], part_type: str) -> list[dict[str, Any]]:
    return [{"type": part_type, "text": text} for text in texts]


def _with_facts(
    raw: dict[str, Any],
    id: str | UnsetType,
    status: str | UnsetType,
    extra: Extra | UnsetType,
    **facts: Any,
) -> dict[str, Any]:
    return raw | given(id=id, status=status, **facts) | own(extra)
