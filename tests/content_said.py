"""What a reply of Gemini's says, read off the wire by hand: none of the gateway's own code, so that it can judge it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

from tests.said import Call, Said, opened

Object = dict[str, Any]

_FINISH = {"MAX_TOKENS": "length", "STOP": "stop"}


def of_content(body: Object) -> Said:
    """A whole reply. Calls without an id are told by an empty one."""
    candidate = body["candidates"][0] if body.get("candidates") else {}
    parts = candidate.get("content", {}).get("parts") or []
    said = [part["text"] for part in parts if "text" in part and not part.get("thought")]
    thoughts = [part["text"] for part in parts if part.get("thought")]
    calls = tuple(_call(part["functionCall"]) for part in parts if "functionCall" in part)
    chunks = candidate.get("groundingMetadata", {}).get("groundingChunks") or []
    finish = _FINISH.get(candidate.get("finishReason", "SAFETY"), "content_filter")
    return Said(
        text="".join(said),
        calls=calls,
        reasoning="".join(thoughts),
        refusal="",
        sealed=tuple(given for part in parts if _is_signed(part) for given in _opened(part)),
        citations=tuple(chunk["web"]["uri"] for chunk in chunks if "web" in chunk),
        tokens=(),
        finish="tool_calls" if calls and finish == "stop" else finish,
        usage=_usage(body.get("usageMetadata")),
    )


def _call(call: Object) -> Call:
    arguments = json.dumps(call.get("args") or {}, ensure_ascii=False, separators=(",", ":"))
    return Call(call.get("id") or "", call["name"], arguments)


def _is_signed(part: Object) -> bool:
    """Whether it is signed, and something that every API has: not what a tool of the host's own did."""
    return bool(part.get("thoughtSignature")) and ("text" in part or "functionCall" in part)


def _opened(part: Object) -> tuple[str, ...]:
    """What a maker gave: signatures are base64 here, also where they hold a seal."""
    signature: str = part["thoughtSignature"]
    text = base64.b64decode(signature + "=" * (-len(signature) % 4), altchars=b"-_")
    return opened(text.decode()) if text.startswith(b"aigw1.") else (signature,)


def _usage(raw: Object | None) -> tuple[int, ...] | None:
    if not raw:
        return None
    spent = raw.get("promptTokenCount", 0) + raw.get("toolUsePromptTokenCount", 0)
    thought = raw.get("thoughtsTokenCount", 0)
    made = raw.get("candidatesTokenCount", 0) + thought
    return spent, made, raw.get("totalTokenCount", spent + made), raw.get("cachedContentTokenCount", 0), thought


def content_body(pieces: Iterable[Object]) -> Object:
    """The whole reply that the pieces of a stream add up to; texts of one kind are one."""
    parts: list[Object] = []
    whole: Object = {}
    candidate: Object = {}
    for piece in pieces:
        whole |= piece
        for told in piece.get("candidates") or ():
            candidate |= told
            for part in told.get("content", {}).get("parts") or ():
                _grow(parts, part)
    return whole | {"candidates": [candidate | {"content": {"role": "model", "parts": parts}}]}


def _grow(parts: list[Object], part: Object) -> None:
    last = parts[-1] if parts else {}
    joins = "text" in part and "text" in last and bool(part.get("thought")) == bool(last.get("thought"))
    if joins and "thoughtSignature" not in last:
        last["text"] += part["text"]
        if "thoughtSignature" in part:
            last["thoughtSignature"] = part["thoughtSignature"]
    elif part != {"text": ""}:
        parts.append(dict(part))


def content_pieces(body: Object) -> list[Object]:
    """A whole reply as the pieces that its host could have streamed: texts are cut, calls come whole."""
    candidate = body["candidates"][0]
    parts = [cut for part in candidate.get("content", {}).get("parts") or () for cut in _cut(part)]
    ending = {key: value for key, value in candidate.items() if key not in ("content", "finishReason")}
    head = {key: value for key, value in body.items() if key not in ("candidates", "usageMetadata")}
    pieces = [{**head, "candidates": [{"content": {"role": "model", "parts": [part]}}]} for part in parts]
    last = {**ending, "finishReason": candidate.get("finishReason", "STOP"), "content": {"role": "model", "parts": []}}
    usage = {"usageMetadata": body["usageMetadata"]} if "usageMetadata" in body else {}
    return [*pieces, {**head, **usage, "candidates": [last]}]


def _cut(part: Object) -> list[Object]:
    if "text" not in part or len(part) - ("thought" in part) - ("thoughtSignature" in part) > 1:
        return [part]
    text, thought = part["text"], {"thought": True} if part.get("thought") else {}
    cuts: list[Object] = [{"text": text[at : at + 9], **thought} for at in range(0, len(text), 9)] or [{"text": ""}]
    if "thoughtSignature" in part:
        cuts[-1] |= {"thoughtSignature": part["thoughtSignature"]}
    return cuts
