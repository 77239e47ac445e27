"""What upstreams of each API answer in the tests of the journey, and what is asked of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from aigateway.testing import Script

Object = dict[str, Any]

BOUNDARY = "x-form-x"
TEXT = "Hello there"
USAGE = {"input_tokens": 11, "output_tokens": 7}

CHAT_REQUEST: Object = {"model": "gpt", "messages": [{"role": "user", "content": "the question"}]}
RESPONSES_REQUEST: Object = {"model": "gpt", "input": "the question"}
MESSAGES_REQUEST: Object = {
    "model": "gpt",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "the question"}],
}
COMPLETIONS_REQUEST: Object = {"model": "gpt", "prompt": "the question"}
EMBEDDINGS_REQUEST: Object = {"model": "gpt", "input": ["the question"]}
GENERATE_CONTENT_REQUEST: Object = {"model": "gpt", "contents": [{"role": "user", "parts": [{"text": "the question"}]}]}
IMAGES_REQUEST: Object = {"model": "gpt", "prompt": "the question"}

REQUESTS: Mapping[str, Object] = {
    "chat": CHAT_REQUEST,
    "completions": COMPLETIONS_REQUEST,
    "responses": RESPONSES_REQUEST,
    "messages": MESSAGES_REQUEST,
    "generate_content": GENERATE_CONTENT_REQUEST,
    "embeddings": EMBEDDINGS_REQUEST,
    "images": IMAGES_REQUEST,
}

_CHAT_USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
_USAGE = {
    "input_tokens": 11,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 18,
}
_CHAT_FACTS = {"id": "chatcmpl-1", "created": 1, "model": "up-model"}

_COMPLETIONS_FACTS = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "up-model"}


def _chunk(delta: Object, finish: str | None = None) -> Object:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {**_CHAT_FACTS, "object": "chat.completion.chunk", "choices": [choice]}


CHAT_REPLY: Object = {
    **_CHAT_FACTS,
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
    "usage": _CHAT_USAGE,
}
CHAT_CHUNKS: list[Object] = [
    _chunk({"role": "assistant", "content": ""}),
    _chunk({"content": "Hello"}),
    _chunk({"content": " there"}),
    _chunk({}, "stop"),
    {**_CHAT_FACTS, "object": "chat.completion.chunk", "choices": [], "usage": _CHAT_USAGE},
]


def _piece(text: str, finish: str | None = None) -> Object:
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
    return {**_COMPLETIONS_FACTS, "choices": [choice]}


COMPLETIONS_REPLY: Object = {**_piece(TEXT, "stop"), "usage": _CHAT_USAGE}
COMPLETIONS_CHUNKS: list[Object] = [
    _piece(""),
    _piece("Hello"),
    _piece(" there"),
    _piece("", "stop"),
    {**_COMPLETIONS_FACTS, "choices": [], "usage": _CHAT_USAGE},
]


def _resource(status: str, output: list[Object], usage: Object | None = None) -> Object:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": "up-model",
        "output": output,
        "usage": usage,
        "error": None,
        "incomplete_details": None,
    }


_PART: Object = {"type": "output_text", "text": TEXT, "annotations": [], "logprobs": []}
_ITEM: Object = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [_PART]}
_PLACE = {"item_id": "msg_1", "output_index": 0, "content_index": 0}

RESPONSES_REPLY: Object = _resource("completed", [_ITEM], _USAGE)
_UNNUMBERED: list[Object] = [
    {"type": "response.created", "response": _resource("in_progress", [])},
    {"type": "response.in_progress", "response": _resource("in_progress", [])},
    {
        "type": "response.output_item.added",
        "output_index": 0,
        "item": {**_ITEM, "status": "in_progress", "content": []},
    },
    {"type": "response.content_part.added", **_PLACE, "part": {**_PART, "text": ""}},
    {"type": "response.output_text.delta", **_PLACE, "delta": "Hello", "logprobs": []},
    {"type": "response.output_text.delta", **_PLACE, "delta": " there", "logprobs": []},
    {"type": "response.output_text.done", **_PLACE, "text": TEXT, "logprobs": []},
    {"type": "response.content_part.done", **_PLACE, "part": _PART},
    {"type": "response.output_item.done", "output_index": 0, "item": _ITEM},
    {"type": "response.completed", "response": RESPONSES_REPLY},
]
RESPONSES_EVENTS: list[Object] = [{**event, "sequence_number": number} for number, event in enumerate(_UNNUMBERED)]

MESSAGES_REPLY: Object = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "up-model",
    "content": [{"type": "text", "text": TEXT}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 11,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 7,
    },
}
MESSAGES_EVENTS: list[Object] = [
    {
        "type": "message_start",
        "message": {
            **MESSAGES_REPLY,
            "content": [],
            "stop_reason": None,
            "usage": {**MESSAGES_REPLY["usage"], "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " there"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"input_tokens": 11, "output_tokens": 7},
    },
    {"type": "message_stop"},
]
_CONTENT_FACTS = {"modelVersion": "up-model", "responseId": "resp1"}
_CONTENT_USAGE = {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18}


def _content(text: str, **more: Any) -> Object:
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **more}
    return {"candidates": [candidate], "usageMetadata": _CONTENT_USAGE, **_CONTENT_FACTS}


GENERATE_CONTENT_REPLY: Object = _content(TEXT, finishReason="STOP")
GENERATE_CONTENT_EVENTS: list[Object] = [
    _content("Hello"),
    _content(" there"),
    _content("", finishReason="STOP"),
]

EMBEDDINGS_REPLY: Object = {
    "object": "list",
    "model": "up-model",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}],
    "usage": {"prompt_tokens": 11, "total_tokens": 11},
}
IMAGES_REPLY: Object = {"created": 1, "data": [{"b64_json": "AAAA", "revised_prompt": TEXT}], "usage": _USAGE}
IMAGES_EVENTS: list[Object] = [
    {"type": "image_generation.partial_image", "partial_image_index": 0, "b64_json": "AA"},
    {"type": "image_generation.partial_image", "partial_image_index": 1, "b64_json": "AAA"},
    {"type": "image_generation.completed", "b64_json": "AAAA", "usage": _USAGE},
]

REPLIES: Mapping[str, Object] = {
    "chat": CHAT_REPLY,
    "completions": COMPLETIONS_REPLY,
    "responses": RESPONSES_REPLY,
    "messages": MESSAGES_REPLY,
    "generate_content": GENERATE_CONTENT_REPLY,
    "embeddings": EMBEDDINGS_REPLY,
    "images": IMAGES_REPLY,
}
EVENTS: Mapping[str, list[Object]] = {
    "chat": CHAT_CHUNKS,
    "completions": COMPLETIONS_CHUNKS,
    "responses": RESPONSES_EVENTS,
    "messages": MESSAGES_EVENTS,
    "generate_content": GENERATE_CONTENT_EVENTS,
    "images": IMAGES_EVENTS,
}
_ERROR_CHUNK: Object = {
    "error": {"message": "the model fell over", "type": "server_error", "param": None, "code": "overloaded"}
}
ERROR_EVENTS: Mapping[str, Object] = {
    "chat": _ERROR_CHUNK,
    "completions": _ERROR_CHUNK,
    "responses": {
        "type": "error",
        "sequence_number": 5,
        "code": "overloaded",
        "message": "the model fell over",
        "param": None,
    },
    "messages": {
        "type": "error",
        "error": {"type": "api_error", "message": "the model fell over", "code": "overloaded"},
    },
    "generate_content": {"error": {"code": 503, "message": "the model fell over", "status": "UNAVAILABLE"}},
    "images": {
        "type": "error",
        "error": {"type": "server_error", "code": "overloaded", "message": "the model fell over", "param": None},
    },
}
"""An error that an upstream puts into its stream."""

NAMED = {"responses", "messages", "images"}
"""The APIs whose streams name their events in `event:` lines."""


UNMARKED = {"images", "messages", "generate_content"}
"""The APIs whose streams end without `[DONE]`."""

TO_TEXT: Mapping[str, int] = {
    "chat": 2,
    "completions": 2,
    "responses": 5,
    "messages": 4,
    "generate_content": 1,
    "images": 1,
}
"""How many events of a stream come up to and with the first text (or image)."""


def path_of(api: str, *, stream: bool = False, model: str = "gpt") -> str:
    """Where a request of this API is posted."""
    if api == "generate_content":
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"/v1beta/models/{model}:{verb}"
    return {"chat": "/v1/chat/completions", "images": "/v1/images/generations"}.get(api, f"/v1/{api}")


def whole(api: str, **more: Any) -> Script:
    """A good answer."""
    return Script.of_json(REPLIES[api], **more)


def stream(api: str, events: list[Object] | None = None, *, done: bool | None = None, **more: Any) -> Script:
    """A good stream, or these events."""
    return Script.of_events(
        EVENTS[api] if events is None else events,
        named=api in NAMED,
        done=api not in UNMARKED if done is None else done,
        **more,
    )


def form(fields: Mapping[str, str]) -> bytes:
    """A multipart body with a file in it."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    file = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    return b"".join([*parts, file.encode(), b"\x89PNG\r\n\x1a\n\x00\xff", f"\r\n--{BOUNDARY}--\r\n".encode()])


def data_of(body: bytes) -> list[Any]:
    """The JSON events of a stream, `[DONE]` as that word."""
    lines = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]
    return ["[DONE]" if line == b"[DONE]" else msgspec.json.decode(line) for line in lines]
