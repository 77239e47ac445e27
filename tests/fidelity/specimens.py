"""Documents of the APIs that have SDKs with types: together they have every field of their types, one thing at a time.

A document says one thing beside the least that it must: one knob, one kind of block, part or tool, with all its fields.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import anthropic.types as anthropic_types
import botocore.session
from anthropic.types import message_create_params
from google.genai import types as google_types

from tests.fidelity import cohere
from tests.fidelity.shapes import Fields, Leaf, Listed, Object, Shape, paths, shape_of, shape_of_aws, specimens

_NONE: frozenset[str] = frozenset()
_SCHEMA: Object = {"type": "object", "properties": {}}
_GIVEN: dict[str, Any] = {
    "data": "SGk=",
    "bytes": "SGk=",
    "url": "https://pages.example/1",
    "uri": "https://pages.example/1",
    "fileUri": "https://pages.example/1.png",
    "mimeType": "image/png",
    "id": "toolu_1",
    "name": "f",
    "tool_use_id": "toolu_1",
    "toolUseId": "toolu_1",
    "stream": True,
    "temperature": 0.5,
    "top_p": 0.9,
    "topP": 0.9,
    "topK": 40,
    "budget_tokens": 2048,
    "n": 1,
    "candidateCount": 1,
    "input_schema": _SCHEMA,
    "schema": _SCHEMA,
    "parameters": _SCHEMA,
    "parametersJsonSchema": _SCHEMA,
    "responseSchema": _SCHEMA,
    "responseJsonSchema": _SCHEMA,
    "responseMimeType": "application/json",
    "thoughtSignature": "c2lnbmVk",
    "signature": "c2lnbmVk",
    "redactedContent": "c2VhbGVk",
    "text": "Hello.",
    "startIndex": 0,
    "endIndex": 2,
    "groundingChunkIndices": 0,
    "allowedFunctionNames": "f",
    "index": 0,
    "response": {"temperature": 7},
    "allowed_callers": "code_execution_20260120",
    "speed": "fast",
}
"""What stands under a key, where it must be of some form."""


def _value(key: str, leaf: Leaf) -> Any:
    number = zlib.crc32(key.encode()) % 900 + 100
    if key in _GIVEN:
        return _GIVEN[key]
    if leaf.words:
        return leaf.words[0]
    others = {
        "number": number,
        "fraction": number / 1000,
        "truth": True,
        "bytes": "SGk=",
        "list": [f"{key} words"],
        "time": "2026-01-02T03:04:05Z",
    }
    return others.get(leaf.kind, {"a": key} if leaf.kind == "object" else f"{key} words")


def _of(shape: Shape, key: str = "") -> list[Any]:
    return specimens(shape, _value, key)


# Messages

HELLO: Object = {"role": "user", "content": "Hello."}
TOOL: Object = {"name": "f", "input_schema": _SCHEMA}
_BY_USERS = frozenset({"text", "image", "document", "search_result", "tool_result", "container_upload"})


def _python(root: Any) -> Fields:
    found = shape_of(root, frozenset({"Schema", "JSONSchema"}), _ALONE)
    assert isinstance(found, Fields)
    return found


def _names(model: Any) -> frozenset[str]:
    return frozenset(field.alias or name for name, field in model.model_fields.items())


_ALONE = {
    "Part": _names(google_types.Part),
    "Tool": _names(google_types.Tool),
    "FunctionResponsePart": frozenset({"inlineData", "fileData"}),
    "FunctionDeclaration": frozenset({"parameters", "parametersJsonSchema"}),
    "ThinkingConfig": _names(google_types.ThinkingConfig),
    "GroundingChunk": _names(google_types.GroundingChunk),
}
"""Of these types only one field is given at a time."""


def _messages_requests() -> Iterator[Object]:
    shape = _python(message_create_params.MessageCreateParamsStreaming)
    base: Object = {"model": "asked-for", "max_tokens": 99, "messages": [HELLO]}
    yield base
    for key, below in shape.of.items():
        if key == "tool_choice":
            yield from ({**base, "tools": [TOOL], key: one} for one in _of(below, key))
        elif key not in ("messages", "model"):
            yield from ({**base, key: one} for one in _of(below, key))
    for [message] in _of(shape.of["messages"]):
        content = message["content"]
        kinds = {block["type"] for block in content} if isinstance(content, list) else _NONE
        role = message["role"]
        if role == "system" and not kinds <= {"text"}:
            continue
        if kinds and role != "system" and (role == "user") != (kinds <= _BY_USERS) and kinds != {"text"}:
            continue
        beside = [{"type": "text", "text": "Hi."}] if kinds and role == "assistant" else []
        told = [*beside, *content] if isinstance(content, list) else content
        yield {**base, "messages": [HELLO, {"role": role, "content": _called(told)}]}


def _called(value: Any) -> Any:
    """The same with calls that another tool makes: those that the model makes are what is meant unasked."""
    if isinstance(value, list):
        return [_called(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    by_tool = {"caller": {"type": "code_execution_20260120", "tool_id": "toolu_2"}} if "caller" in value else {}
    return {key: _called(entry) for key, entry in value.items()} | by_tool


def _reply_base() -> Object:
    usage = {"input_tokens": 501, "output_tokens": 302}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "upstream-model",
        "content": [{"type": "text", "text": "Hello."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }


def _messages_replies() -> Iterator[Object]:
    base = _reply_base()
    yield base
    shape = _python(anthropic_types.Message)
    for key, below in shape.of.items():
        if key == "content":
            yield from ({**base, key: [*base[key], *one]} for one in _of(below, key))
        elif key not in ("type", "role"):
            yield from ({**base, key: one} for one in _of(below, key))


def _messages_streams() -> Iterator[list[Object]]:
    base = {**_reply_base(), "content": []}
    shape = _python(anthropic_types.Message)
    start = _python(anthropic_types.RawContentBlockStartEvent)
    delta = _python(anthropic_types.RawMessageDeltaEvent)
    end: Object = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 302}}
    hello = [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello."}},
        {"type": "content_block_stop", "index": 0},
    ]

    def stream(*events: Object, head: Object = base, last: Object = end) -> list[Object]:
        return [{"type": "message_start", "message": head}, *events, last, {"type": "message_stop"}]

    for key, below in shape.of.items():
        if key not in ("type", "role", "content"):
            yield from (stream(*hello, head={**base, key: one}) for one in _of(below, key))
    for block in _of(start.of["content_block"]):
        opened = {"type": "content_block_start", "index": 0, "content_block": block}
        yield stream(opened, {"type": "content_block_stop", "index": 0})
    for one in _of(_python(anthropic_types.RawContentBlockDeltaEvent).of["delta"]):
        block = _OPENS[one["type"]]
        begun = {"type": "content_block_start", "index": 0, "content_block": block}
        told = {"type": "content_block_delta", "index": 0, "delta": one}
        before = [hello[1]] if one["type"] == "citations_delta" else []
        yield stream(begun, *before, told, {"type": "content_block_stop", "index": 0})
    for key, below in delta.of.items():
        if key != "type":
            yield from (stream(*hello, last={**end, key: one}) for one in _of(below, key))


_OPENS: dict[str, Object] = {
    "text_delta": {"type": "text", "text": ""},
    "citations_delta": {"type": "text", "text": ""},
    "input_json_delta": {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
    "thinking_delta": {"type": "thinking", "thinking": "", "signature": ""},
    "signature_delta": {"type": "thinking", "thinking": "Hm.", "signature": ""},
    "compaction_delta": {"type": "compaction", "content": None},
}


# generateContent

_ABOVE = ("systemInstruction", "safetySettings", "tools", "toolConfig", "labels", "cachedContent", "modelArmorConfig",
          "serviceTier", "store", "continuationToken")  # fmt: skip
"""What of the SDK's config stands in the body itself."""

_OF_THE_SDK = frozenset(
    {"httpOptions", "shouldReturnHttpResponse", "automaticFunctionCalling", "automaticContinuation", "sdkHttpResponse",
     "automaticFunctionCallingHistory", "parsed"}
)  # fmt: skip
"""What never goes over the wire."""

_SAID = frozenset({"codeExecutionResult", "executableCode", "fileData", "functionCall", "functionResponse", "inlineData",
                   "text", "toolCall", "toolResponse"})  # fmt: skip
_BY_MODELS = frozenset({"functionCall", "executableCode", "toolCall", "toolResponse", "thought", "codeExecutionResult"})
_BESIDE_MEDIA = frozenset({"videoMetadata", "mediaResolution", "mediaProcessing", "documentMetadata",
                           "spreadsheetMetadata", "audioMetadata", "audioTranscription"})  # fmt: skip


def _google_request() -> Fields:
    config = _python(google_types.GenerateContentConfig).of
    above = {key: shape for key, shape in config.items() if key in _ABOVE}
    within = {key: shape for key, shape in config.items() if key not in _ABOVE and key not in _OF_THE_SDK}
    within |= _python(google_types.GenerationConfig).of
    instruction = _python(google_types.Content)
    above["systemInstruction"] = instruction
    above["tools"] = Listed(_python(google_types.Tool))
    contents = Listed(_python(google_types.Content))
    return Fields({"contents": contents, **above, "generationConfig": Fields(within)})


def _google_response() -> Fields:
    found = _python(google_types.GenerateContentResponse).of
    return Fields({key: shape for key, shape in found.items() if key not in _OF_THE_SDK})


def _parts(content: Shape) -> Iterator[Object]:
    assert isinstance(content, Fields)
    listed = content.of["parts"]
    assert isinstance(listed, Listed)
    for part in _of(listed.of):
        [key] = part
        if key in _SAID:
            yield part
        else:
            held: Object = {"inlineData": {"data": "SGk=", "mimeType": "image/png"}}
            yield {**(held if key in _BESIDE_MEDIA else {"text": "Hello."}), **part}
    yield {"text": "Hello.", "thought": True, "thoughtSignature": "c2lnbmVk"}
    yield {"functionCall": {"id": "toolu_1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "c2lnbmVk"}
    yield {"inlineData": {"data": "SGk=", "mimeType": "audio/wav", "displayName": "a.wav"}}
    yield {"inlineData": {"data": "SGk=", "mimeType": "application/pdf", "displayName": "a.pdf"}}
    yield {"fileData": {"fileUri": "files/1", "mimeType": "application/pdf", "displayName": "a.pdf"}}


def _google_requests() -> Iterator[Object]:
    shape = _google_request()
    hello = {"role": "user", "parts": [{"text": "Hello."}]}
    base: Object = {"contents": [hello]}
    yield base
    declared = {"functionDeclarations": [{"name": "f"}]}
    contents = shape.of["contents"]
    assert isinstance(contents, Listed)
    for part in _parts(contents.of):
        role = "model" if _BY_MODELS & {*part} else "user"
        yield {"contents": [hello, {"role": role, "parts": [{"text": "Hi."}, part] if role == "model" else [part]}]}
    for key, below in shape.of.items():
        if key == "systemInstruction":
            yield from ({**base, key: {"role": "user", "parts": [part]}} for part in _parts(below))
        elif key == "generationConfig":
            assert isinstance(below, Fields)
            for name, one in below.of.items():
                yield from ({**base, key: {name: value}} for value in _of(one, name))
        elif key == "toolConfig":
            any_of_them = {"functionCallingConfig": {"mode": "ANY"}}
            yield from ({**base, "tools": [declared], key: one} for one in [*_of(below, key), any_of_them])
        elif key != "contents":
            yield from ({**base, key: one} for one in _of(below, key))


def _google_replies() -> Iterator[Object]:
    usage = {"promptTokenCount": 501, "candidatesTokenCount": 302, "totalTokenCount": 803}
    candidate: Object = {
        "content": {"role": "model", "parts": [{"text": "Hello."}]},
        "finishReason": "STOP",
        "index": 0,
    }
    base: Object = {
        "responseId": "r1",
        "modelVersion": "upstream-model",
        "candidates": [candidate],
        "usageMetadata": usage,
    }
    yield base
    shape = _google_response()
    listed = shape.of["candidates"]
    assert isinstance(listed, Listed)
    assert isinstance(listed.of, Fields)
    for key, below in listed.of.of.items():
        if key == "content":
            for part in _parts(below):
                parts = [{"text": "Hi. "}, part]
                yield {**base, "candidates": [{**candidate, "content": {"role": "model", "parts": parts}}]}
        else:
            yield from ({**base, "candidates": [{**candidate, key: one}]} for one in _of(below, key))
    for key, below in shape.of.items():
        if key == "promptFeedback":
            yield from ({"responseId": "r1", "usageMetadata": usage, key: one} for one in _of(below, key))
        elif key != "candidates":
            yield from ({**base, key: one} for one in _of(below, key))


# Converse


@cache
def _aws(operation: str, side: str) -> Fields:
    model = botocore.session.get_session().get_service_model("bedrock-runtime").operation_model(operation)
    found = shape_of_aws(getattr(model, f"{side}_shape"), {})
    assert isinstance(found, Fields)
    return found


def _converse_replies() -> Iterator[Object]:
    usage = {"inputTokens": 501, "outputTokens": 302, "totalTokens": 803}
    base: Object = {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hello."}]}},
        "stopReason": "end_turn",
        "usage": usage,
    }
    yield base
    for key, below in _aws("Converse", "output").of.items():
        if key == "output":
            for one in _of(below, key):
                [block] = one["message"]["content"]
                said = [] if "text" in block else [{"text": "Hi. "}]
                if "toolUse" in block:  # without a type it is one of the caller's
                    call = {key: value for key, value in block["toolUse"].items() if key != "type"}
                    yield {**base, key: {"message": {"role": "assistant", "content": [{"toolUse": call}]}}}
                yield {**base, key: {"message": {"role": "assistant", "content": [*said, block]}}}
        else:
            yield from ({**base, key: one} for one in _of(below, key))


def _converse_streams() -> Iterator[list[Object]]:
    stream = _aws("ConverseStream", "output").of["stream"]
    assert isinstance(stream, Fields)
    head: Object = {"messageStart": {"role": "assistant"}}
    stop: Object = {"messageStop": {"stopReason": "end_turn"}}
    last: Object = {"metadata": {"usage": {"inputTokens": 501, "outputTokens": 302, "totalTokens": 803}}}
    ended: Object = {"contentBlockStop": {"contentBlockIndex": 0}}
    for name, below in stream.of.items():
        for one in _of(below, name):
            event = {name: one | ({"contentBlockIndex": 0} if "contentBlockIndex" in one else {})}
            if name == "messageStart":
                yield [event, stop, last]
            elif name == "contentBlockStart":
                yield [head, event, ended, stop, last]
            elif name == "contentBlockDelta":
                call = {"toolUse": {"toolUseId": "toolu_1", "name": "f"}}
                opened = (
                    [{"contentBlockStart": {"start": call, "contentBlockIndex": 0}}]
                    if "toolUse" in one["delta"]
                    else []
                )
                said = [{"contentBlockDelta": {"delta": {"text": "Hi"}, "contentBlockIndex": 0}}]
                yield [head, *opened, *(said if "citation" in one["delta"] else []), event, ended, stop, last]
            elif name == "contentBlockStop":
                yield [
                    head,
                    {"contentBlockDelta": {"delta": {"text": "Hi"}, "contentBlockIndex": 0}},
                    event,
                    stop,
                    last,
                ]
            elif name == "messageStop":
                yield [head, event, last]
            elif name == "metadata":
                yield [head, stop, event]
            else:
                yield [head, event]


@cache
def found(document: str) -> list[Any]:
    """The documents of that name."""
    return list(_MADE[document]())


_MADE: dict[str, Any] = {
    "messages.request": _messages_requests,
    "messages.reply": _messages_replies,
    "messages.stream": _messages_streams,
    "generate_content.request": _google_requests,
    "generate_content.reply": _google_replies,
    "generate_content.stream": lambda: ([one] for one in _google_replies()),
    "converse.reply": _converse_replies,
    "converse.stream": _converse_streams,
    "cohere_chat.reply": lambda: iter(cohere.REPLIES),
    "cohere_chat.stream": lambda: iter(cohere.STREAMS),
}
DOCUMENTS = tuple(_MADE)


@cache
def published(document: str) -> frozenset[str]:
    """The fields of a document, as the types have them."""
    shape, listed = _SHAPES[document]()
    return frozenset(path for path in paths(shape, listed=listed) if not path.startswith(_ELSEWHERE))


_ELSEWHERE = "[message_start].message.content["
"""What is not looked into: where it stands it is always empty."""

_SHAPES: dict[str, Callable[[], tuple[Shape, bool]]] = {
    "messages.request": lambda: (_python(message_create_params.MessageCreateParamsStreaming), False),
    "messages.reply": lambda: (_python(anthropic_types.Message), False),
    "messages.stream": lambda: (shape_of(anthropic_types.RawMessageStreamEvent, _NONE, {}), True),
    "generate_content.request": lambda: (_google_request(), False),
    "generate_content.reply": lambda: (_google_response(), False),
    "generate_content.stream": lambda: (_google_response(), False),
    "converse.reply": lambda: (_aws("Converse", "output"), False),
    "converse.stream": lambda: (_aws("ConverseStream", "output").of["stream"], False),
    "cohere_chat.reply": lambda: (cohere.REPLY, False),
    "cohere_chat.stream": lambda: (cohere.STREAM, True),
}
