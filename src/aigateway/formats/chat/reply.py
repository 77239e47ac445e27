"""Whole replies, both ways."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from aigateway.canonical.types import (
    Annotation,
    Audio,
    Item,
    Message,
    Part,
    Reasoning,
    Refusal,
    Reply,
    Text,
    ToolCall,
)
from aigateway.canonical.uncarried import note_lost
from aigateway.errors import UpstreamProtocolError
from aigateway.formats.call_ids import made_call_id
from aigateway.formats.chat.wire import (
    FORMAT,
    LACKING,
    call_signature,
    decode_annotations,
    decode_arguments,
    decode_audio,
    decode_reasoning,
    details_text,
    encode_annotation,
    encode_audio,
    encode_reasoning,
    encode_reasoning_details,
    encode_tool_call,
    reasoning_details,
    reasoning_text,
    settled,
    signature_fields,
    thinking_text,
)
from aigateway.formats.finish import broken_finish, decode_finish_reason
from aigateway.formats.protocol import ReplyContext
from aigateway.formats.relay import stream_error
from aigateway.formats.usage import ChatCounts, chat_usage, encode_chat_usage, usage_of


def decode_reply(body: dict[str, Any]) -> Reply:
    """The first choice of a chat completion. Raises UpstreamError or UpstreamProtocolError as the contract says."""
    if body.get("error"):
        raise stream_error(body["error"])
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise UpstreamProtocolError("The upstream sent no chat completion: it has no choices[0].message.")
    if choice.get("error"):
        raise stream_error(choice["error"])
    broken = broken_finish(choice.get("finish_reason"))
    if broken is not None:
        raise broken
    calls = _decode_calls(message, body.get("id"))
    items = (*_decode_content(message, choice), *calls)
    created = body.get("created")
    return Reply(
        id=_string(body, "id") or "",
        model=_string(body, "model") or "",
        created_at=int(created) if isinstance(created, int | float) else 0,
        items=items or (Message(role="assistant", content=(Text(text=""),)),),
        finish_reason=decode_finish_reason(choice.get("finish_reason"), has_tool_calls=bool(calls)),
        usage=chat_usage(body.get("usage")) or UNSET,
        service_tier=_string(body, "service_tier"),
        system_fingerprint=_string(body, "system_fingerprint"),
    )


_Nothing = Annotated[str, msgspec.Meta(max_length=0)] | Annotated[list[None], msgspec.Meta(max_length=0)] | None


class _CalledFunction(msgspec.Struct):
    name: str
    arguments: str


class _Call(msgspec.Struct):
    id: Annotated[str, msgspec.Meta(min_length=1)]
    function: _CalledFunction
    custom: None = None
    extra_content: None = None


class _Said(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None
    refusal: _Nothing = None
    annotations: _Nothing = None
    function_call: _Nothing = None
    reasoning_details: _Nothing = None
    audio: _Nothing = None


class _Choice(msgspec.Struct):
    message: _Said
    finish_reason: str | None = None
    logprobs: _Nothing = None
    error: _Nothing = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    id: str = ""
    model: str = ""
    created: int = 0
    usage: ChatCounts | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    error: _Nothing = None


_COMPLETION: msgspec.json.Decoder[_Completion] = msgspec.json.Decoder(_Completion)


def decode_plain_reply(body: bytes) -> Reply | None:
    """As `decode_reply` of a completion as most are, read quickly; None for any other, and for what is none."""
    try:
        completion = _COMPLETION.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    usage = None if completion.usage is None else usage_of(completion.usage)
    if not completion.choices or (usage is None and completion.usage is not None):
        return None
    choice = completion.choices[0]
    said, finish = choice.message, choice.finish_reason
    if broken_finish(finish) is not None:
        return None
    items: list[Item] = []
    thoughts = said.reasoning_content or said.reasoning
    if thoughts:
        items.append(decode_reasoning(thoughts, []))
    if said.content:
        items.append(Message(role="assistant", content=(Text(text=said.content),)))
    if said.tool_calls:
        items += [_plain_call(call) for call in said.tool_calls]
    tier, fingerprint = completion.service_tier, completion.system_fingerprint
    return Reply(
        id=completion.id,
        model=completion.model,
        created_at=completion.created,
        items=tuple(items) or (Message(role="assistant", content=(Text(text=""),)),),
        finish_reason=decode_finish_reason(finish, has_tool_calls=bool(said.tool_calls)),
        usage=UNSET if usage is None else usage,
        service_tier=UNSET if tier is None else tier,
        system_fingerprint=UNSET if fingerprint is None else fingerprint,
    )


def _plain_call(call: _Call) -> ToolCall:
    function = call.function
    return settled(ToolCall(call_id=call.id, name=function.name, arguments=function.arguments))


def _string(body: dict[str, Any], key: str) -> str | UnsetType:
    value = body.get(key)
    return value if isinstance(value, str) else UNSET


def _decode_content(message: dict[str, Any], choice: dict[str, Any]) -> list[Item]:
    """Reasoning and messages, in the order of the content where the host gives it as a list."""
    items: list[Item] = []
    details = reasoning_details(message)
    thoughts = reasoning_text(message) or details_text(details)
    if thoughts or details:
        items.append(decode_reasoning(thoughts, details))
    for kind, text in _pieces(message.get("content")):
        _append(items, kind, text)
    refusal, audio = message.get("refusal"), message.get("audio")
    if isinstance(refusal, str) and refusal:
        _append_part(items, Refusal(text=refusal))
    if isinstance(audio, dict):
        _append_part(items, decode_audio(audio))
    _adorn(items, decode_annotations(message.get("annotations")), _tokens(choice))
    return items


def _pieces(content: Any) -> list[tuple[str, str]]:
    """("text" | "thinking", text) of a content, without empty ones."""
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [("text", content)]
    if not isinstance(content, list):
        raise UpstreamProtocolError("The upstream sent no chat completion: its content is no text.")
    pieces: list[tuple[str, str]] = []
    for part in content:
        if isinstance(part, dict) and part.get("type") == "thinking":
            pieces.append(("thinking", thinking_text(part)))
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            pieces.append(("text", part["text"]))
    return [piece for piece in pieces if piece[1]]


def _append(items: list[Item], kind: str, text: str) -> None:
    last = items[-1] if items else None
    if kind == "text":
        part = last.content[-1] if isinstance(last, Message) else None
        if isinstance(last, Message) and isinstance(part, Text):
            whole = Text(text=part.text + text)
            items[-1] = msgspec.structs.replace(last, content=(*last.content[:-1], whole))
        else:
            _append_part(items, Text(text=text))
    elif isinstance(last, Reasoning):
        items[-1] = msgspec.structs.replace(last, content=("".join(last.content) + text,))
    else:
        items.append(Reasoning(content=(text,)))


def _append_part(items: list[Item], part: Part) -> None:
    last = items[-1] if items else None
    if isinstance(last, Message):
        items[-1] = msgspec.structs.replace(last, content=(*last.content, part))
    else:
        items.append(Message(role="assistant", content=(part,)))


def _adorn(items: list[Item], annotations: tuple[Annotation, ...], logprobs: tuple[dict[str, Any], ...]) -> None:
    """Put annotations and token probabilities on the first text."""
    if not annotations and not logprobs:
        return
    for number, item in enumerate(items):
        if isinstance(item, Message) and isinstance(item.content[0], Text):
            text = msgspec.structs.replace(item.content[0], annotations=annotations, logprobs=logprobs)
            items[number] = msgspec.structs.replace(item, content=(text, *item.content[1:]))
            return


def _tokens(choice: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    return tuple(token for token in content if isinstance(token, dict)) if isinstance(content, list) else ()


def _decode_calls(message: dict[str, Any], reply_id: Any) -> list[ToolCall]:
    calls: list[ToolCall] = []
    raw_calls, legacy = message.get("tool_calls"), message.get("function_call")
    for raw in raw_calls if isinstance(raw_calls, list) else ():
        if isinstance(raw, dict):
            calls.append(_decode_call(raw, len(calls), reply_id))
    if isinstance(legacy, dict) and not calls:
        calls.append(_decode_call({"function": legacy}, 0, reply_id))
    return calls


def _decode_call(raw: dict[str, Any], number: int, reply_id: Any) -> ToolCall:
    custom, function, call_id = raw.get("custom"), raw.get("function"), raw.get("id")
    is_custom = isinstance(custom, dict)
    body = custom if isinstance(custom, dict) else function if isinstance(function, dict) else {}
    name = body.get("name")
    return settled(
        ToolCall(
            call_id=call_id if isinstance(call_id, str) and call_id else made_call_id(reply_id, number),
            name=name if isinstance(name, str) else "",
            arguments=decode_arguments(body.get("input" if is_custom else "arguments")),
            kind="custom" if is_custom else "function",
            signature=call_signature(raw),
        )
    )


def encode_reply(reply: Reply, context: ReplyContext) -> dict[str, Any]:
    """A chat completion. What chat has no place for (hosted tool calls) is passed over, and listed."""
    for item in reply.items:
        note_lost(item, FORMAT, LACKING, context.changes)
    choice = {
        "index": 0,
        "message": _encode_message(reply.items),
        "logprobs": _encode_logprobs(reply.items),
        "finish_reason": reply.finish_reason,
    }
    body: dict[str, Any] = {
        "id": reply.id if reply.id.startswith("chatcmpl") else context.new_id("chatcmpl"),
        "object": "chat.completion",
        "created": reply.created_at or context.now(),
        "model": context.model,
        "choices": [choice],
    }
    if reply.usage is not UNSET:
        body["usage"] = encode_chat_usage(reply.usage)
    if reply.service_tier is not UNSET:
        body["service_tier"] = reply.service_tier
    if reply.system_fingerprint is not UNSET:
        body["system_fingerprint"] = reply.system_fingerprint
    return body


def _encode_message(items: tuple[Item, ...]) -> dict[str, Any]:
    parts = [part for item in items if isinstance(item, Message) for part in item.content]
    texts = [part for part in parts if isinstance(part, Text)]
    refusals = [part.text for part in parts if isinstance(part, Refusal)]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(part.text for part in texts) if texts else None,
        "refusal": "".join(refusals) if refusals else None,
    }
    annotations = _encode_annotations(texts)
    if annotations:
        message["annotations"] = annotations
    thoughts = [item for item in items if isinstance(item, Reasoning)]
    reasoning = "\n\n".join(text for text in map(encode_reasoning, thoughts) if text)
    if reasoning:
        message["reasoning_content"] = reasoning
    details = [entry for item in thoughts for entry in encode_reasoning_details(item, sealed=True)]
    if details:
        message["reasoning_details"] = details
    audio = [part for part in parts if isinstance(part, Audio)]
    if audio:
        message["audio"] = encode_audio(audio[0])
    calls = [encode_tool_call(item) | signature_fields(item) for item in items if isinstance(item, ToolCall)]
    if calls:
        message["tool_calls"] = calls
    return message


def _encode_annotations(texts: list[Text]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    offset = 0
    for text in texts:
        for annotation in text.annotations:
            raw = encode_annotation(annotation, offset)
            if raw is not None:
                found.append(raw)
        offset += len(text.text)
    return found


def _encode_logprobs(items: tuple[Item, ...]) -> dict[str, Any] | None:
    texts = [part for item in items if isinstance(item, Message) for part in item.content if isinstance(part, Text)]
    tokens = [token for text in texts for token in text.logprobs]
    return {"content": tokens, "refusal": None} if tokens else None
