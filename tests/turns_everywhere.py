"""A turn of a model in each of the APIs that upstreams speak; an error and a break in the middle of one; what was asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from aigateway import _json, _sse
from aigateway.testing import ReceivedRequest, Script
from tests import bedrock
from tests.answers import ERROR_EVENTS, NAMED
from tests.content_said import content_pieces
from tests.messages_said import message_events
from tests.turns import UPSTREAM_MODEL, Turn, chat_chunks, chat_reply, response, response_events

Object = dict[str, Any]

UPSTREAMS = ("chat", "responses", "messages", "generate_content", "converse")
SIGNATURE = "c2lnbmVkIGJ5IGl0cyBtYWtlcg=="
"""What messages, generateContent and Converse sign thoughts with."""
MESSAGES_USAGE: Object = {"input_tokens": 8, "cache_read_input_tokens": 4, "output_tokens": 8}
CONTENT_USAGE: Object = {
    "promptTokenCount": 12,
    "cachedContentTokenCount": 4,
    "candidatesTokenCount": 6,
    "thoughtsTokenCount": 2,
    "totalTokenCount": 20,
}
CONVERSE_USAGE: Object = {"inputTokens": 8, "cacheReadInputTokens": 4, "outputTokens": 8, "totalTokens": 20}
BROKEN: Mapping[str, Object] = {
    **ERROR_EVENTS,
    "converse": {"message": "the model fell over"},
}
"""An error in a stream."""


def api_of(request: ReceivedRequest) -> str:
    """The API that a request is of, by its path."""
    path = request.path.split("?")[0]
    ends = {"/chat/completions": "chat", "/responses": "responses", "/messages": "messages"}
    if "/models/" in path:
        return "generate_content"
    return next((api for end, api in ends.items() if path.endswith(end)), "converse")


def streams(request: ReceivedRequest) -> bool:
    """Whether it asks for a stream."""
    if any(mark in request.path for mark in ("streamGenerateContent", "converse-stream")):
        return True
    return request.json().get("stream") is True


def spoken(turn: Turn, request: ReceivedRequest) -> Script:
    """The turn as the upstream that was asked says it."""
    api = api_of(request)
    if not streams(request):
        return Script.of_json(_WHOLE[api](turn))
    pieces = events_of(api, turn)
    kind = bedrock.STREAM_TYPE if api == "converse" else "text/event-stream"
    return Script(headers={"content-type": kind}, pieces=pieces)


def broken(turn: Turn, request: ReceivedRequest, *, cut: bool = False) -> Script:
    """Its stream up to the end of its first text; then an error, or with `cut` nothing more."""
    api = api_of(request)
    pieces = [piece for piece in events_of(api, turn) if not _ends(piece)]
    error = bedrock.frame("modelStreamErrorException", BROKEN[api]) if api == "converse" else _frame(api, BROKEN[api])
    kind = bedrock.STREAM_TYPE if api == "converse" else "text/event-stream"
    if cut:
        return Script(headers={"content-type": kind}, pieces=pieces, fault="cut")
    return Script(headers={"content-type": kind}, pieces=[*pieces, error])


_ENDS = (b'finish_reason":"', b"output_text.done", b"content_part.done", b"output_item.done", b"response.completed",
         b"message_delta", b"message_stop", b"finishReason", b"messageStop", b"metadata", b"[DONE]", b'"choices":[]',
         b"content_block_stop", b"contentBlockStop")  # fmt: skip


def _ends(piece: bytes) -> bool:
    return any(mark in piece for mark in _ENDS)


def events_of(api: str, turn: Turn) -> list[bytes]:
    """The frames of its stream."""
    if api == "converse":
        return [bedrock.frame(kind, data) for kind, data in bedrock.events_of(converse_reply(turn))]
    events: dict[str, Any] = {
        "chat": lambda: chat_chunks(turn, usage=True),
        "responses": lambda: response_events(turn),
        "messages": lambda: message_events(message(turn)),
        "generate_content": lambda: content_pieces(content(turn)),
    }
    frames = [_frame(api, event) for event in events[api]()]
    return [*frames, _sse.DONE_FRAME] if api in ("chat", "responses") else frames


def _frame(api: str, event: Object) -> bytes:
    return _sse.encode(_json.encode(event), event["type"] if api in NAMED else "")


def message(turn: Turn) -> Object:
    """An Anthropic message."""
    thought = "".join(turn.thoughts)
    blocks: list[Object] = [{"type": "thinking", "thinking": thought, "signature": SIGNATURE}] if thought else []
    blocks += [{"type": "text", "text": "".join(turn.text)}] if turn.text else []
    blocks += [
        {"type": "tool_use", "id": use.call_id, "name": use.name, "input": json.loads(use.arguments)}
        for use in turn.uses
    ]
    reason = "max_tokens" if turn.cut else "refusal" if turn.filtered else "tool_use" if turn.uses else "end_turn"
    head: Object = {"id": f"msg_{turn.serial}", "type": "message", "role": "assistant", "model": UPSTREAM_MODEL}
    return {**head, "content": blocks, "stop_reason": reason, "stop_sequence": None, "usage": MESSAGES_USAGE}


def content(turn: Turn) -> Object:
    """A reply of Gemini's."""
    thought = "".join(turn.thoughts)
    parts: list[Object] = [{"text": thought, "thought": True}] if thought else []
    parts += [{"text": "".join(turn.text)}] if turn.text else []
    parts += [
        {"functionCall": {"id": use.call_id, "name": use.name, "args": json.loads(use.arguments)}} for use in turn.uses
    ]
    if thought:
        parts[-1] = {**parts[-1], "thoughtSignature": SIGNATURE}
    reason = "MAX_TOKENS" if turn.cut else "SAFETY" if turn.filtered else "STOP"
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": reason, "index": 0}
    head = {"modelVersion": UPSTREAM_MODEL, "responseId": f"r{turn.serial}"}
    return {"candidates": [candidate], "usageMetadata": CONTENT_USAGE, **head}


def converse_reply(turn: Turn) -> Object:
    """An answer of Bedrock's Converse."""
    thought = "".join(turn.thoughts)
    told: Object = {"reasoningText": {"text": thought, "signature": SIGNATURE}}
    blocks: list[Object] = [{"reasoningContent": told}] if thought else []
    blocks += [{"text": "".join(turn.text)}] if turn.text else []
    blocks += [
        {"toolUse": {"toolUseId": use.call_id, "name": use.name, "input": json.loads(use.arguments)}}
        for use in turn.uses
    ]
    reason = "max_tokens" if turn.cut else "content_filtered" if turn.filtered else "tool_use"
    reason = reason if turn.uses or turn.cut or turn.filtered else "end_turn"
    said = {"message": {"role": "assistant", "content": blocks}}
    return {"output": said, "stopReason": reason, "usage": CONVERSE_USAGE, "metrics": {"latencyMs": 1}}


_WHOLE: Mapping[str, Any] = {
    "chat": chat_reply,
    "responses": response,
    "messages": message,
    "generate_content": content,
    "converse": converse_reply,
}


# what was asked, read off the wire by hand


def results_in(api: str, body: Object) -> list[tuple[str, str]]:
    """The results of tools that a request tells: the id of each call and the text."""
    return list(_RESULTS[api](body))


def _of_chat(body: Object) -> Iterator[tuple[str, str]]:
    for said in body["messages"]:
        if said["role"] == "tool":
            yield said["tool_call_id"], _text(said["content"])


def _of_responses(body: Object) -> Iterator[tuple[str, str]]:
    for item in body["input"]:
        if item.get("type") == "function_call_output":
            yield item["call_id"], _text(item["output"])


def _of_messages(body: Object) -> Iterator[tuple[str, str]]:
    for block in _blocks(body["messages"], "content"):
        if block.get("type") == "tool_result":
            yield block["tool_use_id"], _text(block["content"])


def _of_content(body: Object) -> Iterator[tuple[str, str]]:
    for part in _blocks(body["contents"], "parts"):
        if "functionResponse" in part:
            yield part["functionResponse"]["id"], " ".join(map(str, part["functionResponse"]["response"].values()))


def _of_converse(body: Object) -> Iterator[tuple[str, str]]:
    for block in _blocks(body["messages"], "content"):
        if "toolResult" in block:
            yield block["toolResult"]["toolUseId"], _text(block["toolResult"]["content"])


def _blocks(messages: list[Object], key: str) -> Iterator[Object]:
    for said in messages:
        yield from (block for block in said[key] if isinstance(block, dict))


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


_RESULTS: Mapping[str, Any] = {
    "chat": _of_chat,
    "responses": _of_responses,
    "messages": _of_messages,
    "generate_content": _of_content,
    "converse": _of_converse,
}


def schema_in(api: str, body: Object) -> Any:
    """The schema of the answer that a request asks for."""
    if api == "chat":
        return body["response_format"]["json_schema"]["schema"]
    if api == "responses":
        return body["text"]["format"]["schema"]
    if api == "messages":
        return body["output_config"]["format"]["schema"]
    if api == "generate_content":
        return body["generationConfig"]["responseJsonSchema"]
    return json.loads(body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"])
