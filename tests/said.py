"""What an answer says, read off the wire by hand: none of the gateway's own code, so that it can judge it.

`Said` is the same for both APIs and for whole and streamed answers.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

import msgspec

Object = dict[str, Any]

_CHAT_FINISH = {"tool_calls", "length", "content_filter"}
_TERMINAL = {"response.completed", "response.incomplete"}


class Call(msgspec.Struct, frozen=True):
    """One tool call. Without arguments they are `{}`; without an id it is `call_` and its number."""

    id: str
    name: str
    arguments: str


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """The content of one answer.

    reasoning  of several reasoning items the texts, an empty line between them; of one item the text, else its summaries.
    sealed     encrypted reasoning, and what signs reasoning, as their maker gave them. citations: URLs. tokens: the tokens that have a probability.
    finish     stop, tool_calls, length, content_filter. usage: input, output, total, cached, reasoning tokens.
    """

    text: str
    calls: tuple[Call, ...]
    reasoning: str
    refusal: str
    sealed: tuple[str, ...]
    citations: tuple[str, ...]
    tokens: tuple[str, ...]
    finish: str
    usage: tuple[int, ...] | None


def differences(heard: Said, expected: Said) -> Object:
    """The fields in which they differ: {name: (heard, expected)}."""
    pairs = {name: (getattr(heard, name), getattr(expected, name)) for name in Said.__struct_fields__}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def opened(text: str) -> tuple[str, ...]:
    """What a maker gave: a seal of the gateway's holds the encrypted thought, its signature, or both."""
    mark, dot, packed = text.partition(".")
    if (mark, dot) != ("aigw1", "."):
        return (text,)
    held = json.loads(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
    return tuple(held[key] for key in ("encrypted", "signature") if held.get(key))


# chat


def of_chat(body: Object) -> Said:
    """A chat completion, in any host's dialect."""
    choice = body["choices"][0]
    message = choice["message"]
    content = message.get("content")
    parts: list[Object] = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    thinking = [entry["text"] for part in parts if part["type"] == "thinking" for entry in part["thinking"]]
    details = message.get("reasoning_details") or []
    readable = [entry.get("text") or entry.get("summary") or "" for entry in details]
    calls = tuple(_chat_call(number, raw, body.get("id")) for number, raw in enumerate(message.get("tool_calls") or ()))
    return Said(
        text="".join(part["text"] for part in parts if part["type"] == "text"),
        calls=calls,
        reasoning=message.get("reasoning_content") or message.get("reasoning") or "".join(thinking or readable),
        refusal=message.get("refusal") or "",
        sealed=(
            *(
                one
                for entry in details
                for key in ("data", "signature")
                if entry.get(key)
                for one in opened(entry[key])
            ),
            *(google["thought_signature"] for call in message.get("tool_calls") or () if (google := _of_google(call))),
        ),
        citations=tuple(
            raw["url_citation"]["url"] for raw in message.get("annotations") or () if raw["type"] == "url_citation"
        ),
        tokens=tuple(token["token"] for token in (choice.get("logprobs") or {}).get("content") or ()),
        finish=_chat_finish(choice["finish_reason"], bool(calls)),
        usage=_usage(body.get("usage"), "prompt", "completion"),
    )


def _of_google(call: Object) -> Object:
    """What Google's own chat API has beside a call."""
    return (call.get("extra_content") or {}).get("google") or {}


def _chat_call(number: int, raw: Object, reply_id: Any) -> Call:
    function = raw["function"]
    letters = "".join(letter for letter in str(reply_id or "") if letter.isalnum())[-24:]
    made = f"call_{letters}_{number}" if len(letters) >= 8 else f"call_{number}"
    return Call(raw.get("id") or made, function["name"], function.get("arguments") or "{}")


def _chat_finish(reason: str, has_calls: bool) -> str:
    if reason in _CHAT_FINISH:
        return reason
    return "tool_calls" if has_calls else "stop"


def of_chat_stream(chunks: Iterable[Object]) -> Said:
    """The chunks of a chat stream."""
    return of_chat(chat_body(chunks))


def chat_body(chunks: Iterable[Object]) -> Object:
    """The chat completion that the chunks of a stream add up to."""
    message: Object = {"content": "", "refusal": ""}
    calls: dict[int, Object] = {}
    whole: Object = {"choices": [{"message": message, "finish_reason": "", "logprobs": {"content": []}}]}
    for chunk in chunks:
        usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage") or whole.get("usage")
        whole = {**chunk, "usage": usage, "choices": whole["choices"]}
        for choice in chunk["choices"]:
            whole["choices"][0]["finish_reason"] = choice.get("finish_reason") or whole["choices"][0]["finish_reason"]
            whole["choices"][0]["logprobs"]["content"] += (choice.get("logprobs") or {}).get("content") or []
            _grow_message(message, calls, choice["delta"])
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    return whole


def _grow_message(message: Object, calls: dict[int, Object], delta: Object) -> None:
    for key in ("content", "refusal", "reasoning", "reasoning_content"):
        if delta.get(key):
            message[key] = message.get(key, "") + delta[key]
    for key in ("annotations", "reasoning_details"):
        message.setdefault(key, []).extend(delta.get(key) or ())
    for piece in delta.get("tool_calls") or ():
        call = calls.setdefault(piece["index"], {"id": "", "function": {"name": "", "arguments": ""}})
        call["id"] = call["id"] or piece.get("id") or ""
        call |= {"extra_content": piece["extra_content"]} if piece.get("extra_content") else {}
        for key in ("name", "arguments"):
            call["function"][key] += (piece.get("function") or {}).get(key) or ""


# responses


def of_response(resource: Object) -> Said:
    """A response resource."""
    items = resource["output"]
    parts = [part for item in items if item["type"] == "message" for part in item["content"]]
    texts = [part for part in parts if part["type"] == "output_text"]
    thoughts = [_thought(item) for item in items if item["type"] == "reasoning"]
    calls = tuple(
        Call(item["call_id"], item["name"], item["arguments"] or "{}")
        for item in items
        if item["type"] == "function_call"
    )
    reason = (resource.get("incomplete_details") or {}).get("reason")
    finish = "tool_calls" if calls else "stop"
    if resource["status"] == "incomplete":
        finish = "content_filter" if reason == "content_filter" else "length"
    return Said(
        text="".join(part["text"] for part in texts),
        calls=calls,
        reasoning="\n\n".join(thought for thought in thoughts if thought),
        refusal="".join(part["refusal"] for part in parts if part["type"] == "refusal"),
        sealed=tuple(
            given
            for item in items
            if item.get("encrypted_content") and "summary" in item
            for given in opened(item["encrypted_content"])
        ),
        citations=tuple(
            raw["url"] for part in texts for raw in part.get("annotations") or () if raw["type"] == "url_citation"
        ),
        tokens=tuple(token["token"] for part in texts for token in part.get("logprobs") or ()),
        finish=finish,
        usage=_usage(resource.get("usage"), "input", "output"),
    )


def _thought(item: Object) -> str:
    content = "".join(part["text"] for part in item.get("content") or ())
    return content or "\n\n".join(part["text"] for part in item["summary"])


def of_response_stream(events: Iterable[Object]) -> Said:
    """The events of a Responses stream, told by its deltas; what no delta tells comes from the snapshots."""
    output: dict[int, Object] = {}
    places: dict[tuple[int, str, int], Object] = {}
    terminal: Object = {}
    for event in events:
        kind = event["type"]
        if kind in _TERMINAL:
            terminal = event["response"]
        elif kind == "response.output_item.added":
            empty: Object = {key: [] for key in ("content", "summary") if key in event["item"]}
            output[event["output_index"]] = event["item"] | empty
        elif kind == "response.output_item.done":
            sealed = event["item"].get("encrypted_content")
            output[event["output_index"]] |= {"encrypted_content": sealed} if sealed else {}
        elif kind in ("response.content_part.added", "response.reasoning_summary_part.added"):
            _add_part(output, places, event)
        elif kind == "response.output_text.annotation.added":
            places[event["output_index"], "content", event["content_index"]]["annotations"].append(event["annotation"])
        elif kind == "response.function_call_arguments.delta":
            output[event["output_index"]]["arguments"] += event["delta"]
        elif kind.endswith(".delta") and ("summary_index" in event or "content_index" in event):
            key = "summary" if "summary_index" in event else "content"
            _grow_part(places[event["output_index"], key, event[f"{key}_index"]], event)
    return of_response(terminal | {"output": [output[index] for index in sorted(output)]})


def _add_part(output: dict[int, Object], places: dict[tuple[int, str, int], Object], event: Object) -> None:
    key = "summary" if "summary_index" in event else "content"
    part = event["part"] | {"annotations": [], "logprobs": []}
    places[event["output_index"], key, event[f"{key}_index"]] = part
    output[event["output_index"]].setdefault(key, []).append(part)


def _grow_part(part: Object, event: Object) -> None:
    part["refusal" if part["type"] == "refusal" else "text"] += event["delta"]
    part["logprobs"] += event.get("logprobs") or []


# both


def _usage(raw: Object | None, kind_in: str, kind_out: str) -> tuple[int, ...] | None:
    if not raw:
        return None
    spent, made = raw[f"{kind_in}_tokens"], raw[f"{kind_out}_tokens"]
    of_input, of_output = raw.get(f"{kind_in}_tokens_details") or {}, raw.get(f"{kind_out}_tokens_details") or {}
    cached = of_input.get("cached_tokens") or raw.get("prompt_cache_hit_tokens") or 0
    made = max(made, raw["total_tokens"] - spent)  # Gemini counts what was thought in the total only
    return spent, made, raw["total_tokens"], cached, of_output.get("reasoning_tokens") or 0
