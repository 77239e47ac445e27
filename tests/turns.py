"""One turn of a model, spelled as a whole answer and as a stream of both APIs that an upstream may speak."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import msgspec

from aigateway.testing import ReceivedRequest, Script

Object = dict[str, Any]

UPSTREAM_MODEL = "up-model"
CHAT_USAGE: Object = {
    "prompt_tokens": 12,
    "completion_tokens": 8,
    "total_tokens": 20,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
RESPONSES_USAGE: Object = {
    "input_tokens": 12,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 8,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 20,
}


class Use(msgspec.Struct, frozen=True):
    """A function that the model wants called."""

    name: str
    arguments: str
    call_id: str = "call_1"


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What a model says in one answer.

    thoughts   its reasoning in pieces; summarized: told as a summary by the Responses API.
    text       in pieces, as it is streamed; refusal: the same for a refusal.
    uses       calls of functions.
    cut        whether it ended for want of tokens; filtered: by the content filter.
    logprobs   whether each piece of the text comes with its probability.
    sealed     the reasoning as the Responses API encrypts it, where the caller asked for that.
    serial     what the ids of the answer end with.
    """

    thoughts: tuple[str, ...] = ()
    summarized: bool = False
    text: tuple[str, ...] = ()
    refusal: tuple[str, ...] = ()
    uses: tuple[Use, ...] = ()
    cut: bool = False
    filtered: bool = False
    logprobs: bool = False
    sealed: str = ""
    serial: str = "1"

    @property
    def finish_reason(self) -> str:
        """In the words of chat."""
        if self.cut or self.filtered:
            return "length" if self.cut else "content_filter"
        return "tool_calls" if self.uses else "stop"

    @property
    def incomplete(self) -> str | None:
        """Why it is not complete, in the words of Responses."""
        return "max_output_tokens" if self.cut else "content_filter" if self.filtered else None


def said(turn: Turn, request: ReceivedRequest, echo: Object | None = None, **more: Any) -> Script:
    """The turn in the form that a request asks for. echo: fields of the response resource that tell of the request."""
    body = request.json()
    if request.path.endswith("/chat/completions"):
        if not body.get("stream"):
            return Script.of_json(chat_reply(turn), **more)
        usage = (body.get("stream_options") or {}).get("include_usage") is True
        return Script.of_events(chat_chunks(turn, usage=usage), **more)
    if not body.get("stream"):
        return Script.of_json(response(turn, echo), **more)
    return Script.of_events(response_events(turn, echo), named=True, **more)


# chat


def chat_reply(turn: Turn) -> Object:
    """A chat completion."""
    message: Object = {
        "role": "assistant",
        "content": "".join(turn.text) if turn.text else None,
        "refusal": "".join(turn.refusal) if turn.refusal else None,
    }
    if turn.thoughts:
        message["reasoning_content"] = "".join(turn.thoughts)
    if turn.uses:
        message["tool_calls"] = [_chat_call(use) for use in turn.uses]
    choice = {
        "index": 0,
        "message": message,
        "logprobs": _chat_logprobs(turn.text if turn.logprobs else ()),
        "finish_reason": turn.finish_reason,
    }
    return {**_chat_head("chat.completion", turn), "choices": [choice], "usage": CHAT_USAGE}


def chat_chunks(turn: Turn, *, usage: bool = False) -> list[Object]:
    """The chunks of its stream. The calls of several functions come one after another, as OpenAI's do."""
    head = _chat_head("chat.completion.chunk", turn)

    def chunk(delta: Object, finish_reason: str | None = None, logprobs: Object | None = None) -> Object:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return {**head, "choices": [choice]}

    chunks = [chunk({"role": "assistant", "content": "" if turn.text else None})]
    chunks += [chunk({"reasoning_content": piece}) for piece in turn.thoughts]
    chunks += [
        chunk({"content": piece}, logprobs=_chat_logprobs([piece] if turn.logprobs else ())) for piece in turn.text
    ]
    chunks += [chunk({"refusal": piece}) for piece in turn.refusal]
    for index, use in enumerate(turn.uses):
        call = _chat_call(msgspec.structs.replace(use, arguments=""))
        chunks.append(chunk({"tool_calls": [{"index": index, **call}]}))
        chunks += [
            chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
            for piece in _halves(use.arguments)
        ]
    chunks.append(chunk({}, turn.finish_reason))
    return [*chunks, {**head, "choices": [], "usage": CHAT_USAGE}] if usage else chunks


def _chat_head(kind: str, turn: Turn) -> Object:
    return {"id": f"chatcmpl-{turn.serial}", "object": kind, "created": 1_700_000_000, "model": UPSTREAM_MODEL}


def _chat_call(use: Use) -> Object:
    return {"id": use.call_id, "type": "function", "function": {"name": use.name, "arguments": use.arguments}}


def _chat_logprobs(pieces: Iterable[str]) -> Object | None:
    tokens = [token(piece) for piece in pieces]
    return {"content": tokens, "refusal": None} if tokens else None


def token(piece: str) -> Object:
    """A token's probability; both APIs spell it alike."""
    probability = {"token": piece, "logprob": -0.5, "bytes": list(piece.encode())}
    return {**probability, "top_logprobs": [probability]}


def _halves(text: str) -> list[str]:
    middle = len(text) // 2
    return [piece for piece in (text[:middle], text[middle:]) if piece]


# responses


def response(turn: Turn, echo: Object | None = None) -> Object:
    """A response resource that has ended."""
    return _resource("incomplete" if turn.incomplete else "completed", turn, echo)


def response_events(turn: Turn, echo: Object | None = None) -> list[Object]:
    """The events of its stream."""
    started = _resource("in_progress", turn, echo)
    events: list[Object] = [
        {"type": "response.created", "response": started},
        {"type": "response.in_progress", "response": started},
    ]
    for index, item in enumerate(_items(turn)):
        bare = {**item, "status": "in_progress"}
        bare |= {key: [] for key in ("content", "summary") if key in item}
        bare |= {"arguments": ""} if "arguments" in item else {}
        events.append({"type": "response.output_item.added", "output_index": index, "item": bare})
        events += [{**event, "item_id": item["id"], "output_index": index} for event in _inside(item, turn)]
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    ended = response(turn, echo)
    events.append({"type": f"response.{ended['status']}", "response": ended})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def _resource(status: str, turn: Turn, echo: Object | None) -> Object:
    ended = status != "in_progress"
    return {
        "id": f"resp_{turn.serial}",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "model": UPSTREAM_MODEL,
        "output": _items(turn) if ended else [],
        "usage": RESPONSES_USAGE if ended else None,
        "error": None,
        "incomplete_details": {"reason": turn.incomplete} if ended and turn.incomplete else None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        **(echo or {}),
    }


def _items(turn: Turn) -> list[Object]:
    ending = "incomplete" if turn.incomplete else "completed"
    items: list[Object] = []
    if turn.thoughts or turn.sealed:
        thought = "".join(turn.thoughts)
        reasoning: Object = {"id": f"rs_{turn.serial}", "type": "reasoning", "status": "completed", "summary": []}
        reasoning |= {"encrypted_content": turn.sealed} if turn.sealed else {}
        if not thought:
            items.append(reasoning)
        elif turn.summarized:
            items.append({**reasoning, "summary": [{"type": "summary_text", "text": thought}]})
        else:
            items.append({**reasoning, "content": [{"type": "reasoning_text", "text": thought}]})
    parts: list[Object] = []
    if turn.text:
        probabilities = [token(piece) for piece in turn.text] if turn.logprobs else []
        said_ = "".join(turn.text)
        parts.append({"type": "output_text", "text": said_, "annotations": [], "logprobs": probabilities})
    if turn.refusal:
        parts.append({"type": "refusal", "refusal": "".join(turn.refusal)})
    if parts:
        message = {"id": f"msg_{turn.serial}", "type": "message", "role": "assistant"}
        items.append({**message, "status": ending, "content": parts})
    items += [
        {
            "id": f"fc_{turn.serial}_{number}",
            "type": "function_call",
            "status": "completed",
            "call_id": use.call_id,
            "name": use.name,
            "arguments": use.arguments,
        }
        for number, use in enumerate(turn.uses, 1)
    ]
    return items


def _inside(item: Object, turn: Turn) -> list[Object]:
    """The events between `added` and `done` of an item."""
    if item["type"] == "function_call":
        name = "response.function_call_arguments"
        deltas: list[Object] = [{"type": f"{name}.delta", "delta": piece} for piece in _halves(item["arguments"])]
        return [*deltas, {"type": f"{name}.done", "name": item["name"], "arguments": item["arguments"]}]
    summary = enumerate(item.get("summary", []))
    content = enumerate(item.get("content", []))
    return list(
        itertools.chain(
            *(_part_events(part, {"summary_index": number}, turn) for number, part in summary),
            *(_part_events(part, {"content_index": number}, turn) for number, part in content),
        )
    )


_STEMS = {
    "summary_text": ("response.reasoning_summary_part", "response.reasoning_summary_text", "text"),
    "reasoning_text": ("response.content_part", "response.reasoning_text", "text"),
    "output_text": ("response.content_part", "response.output_text", "text"),
    "refusal": ("response.content_part", "response.refusal", "refusal"),
}


def _part_events(part: Object, place: Object, turn: Turn) -> list[Object]:
    part_stem, stem, field = _STEMS[part["type"]]
    is_text = part["type"] == "output_text"
    pieces = turn.text if is_text else turn.refusal if part["type"] == "refusal" else turn.thoughts
    empty = {**part, field: "", **({"logprobs": []} if is_text else {})}
    deltas = [
        {"delta": piece, **({"logprobs": [token(piece)] if turn.logprobs else []} if is_text else {})}
        for piece in pieces
    ]
    whole: Object = {field: part[field], **({"logprobs": part["logprobs"]} if is_text else {})}
    return [
        {"type": f"{part_stem}.added", **place, "part": empty},
        *({"type": f"{stem}.delta", **place, **delta} for delta in deltas),
        {"type": f"{stem}.done", **place, **whole},
        {"type": f"{part_stem}.done", **place, "part": part},
    ]
