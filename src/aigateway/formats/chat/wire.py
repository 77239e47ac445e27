"""What messages, replies and streams of chat spell alike.

https://platform.openai.com/docs/api-reference/chat, and the dialects of the hosts that imitate it.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from aigateway import _json
from aigateway.canonical.accumulator import is_json
from aigateway.canonical.origins import is_bound, placed
from aigateway.canonical.seal import Sealed, seal, unseal
from aigateway.canonical.types import (
    AdditionalTools,
    Annotation,
    Audio,
    Extra,
    File,
    Image,
    Opaque,
    Reasoning,
    ToolCall,
    ToolResult,
    UrlCitation,
)

FORMAT = "chat"
LACKING = (AdditionalTools, File, Image, ToolResult)
"""What an answer of chat cannot hold."""

_FORMATS = {
    "anthropic": "anthropic-claude-v1",
    "azure": "azure-openai-responses-v1",
    "google": "google-gemini-v1",
    "xai": "xai-responses-v1",
}


def reasoning_text(message: dict[str, Any]) -> str:
    """The reasoning of a message or delta, under whichever name the host has for it."""
    for key in ("reasoning_content", "reasoning"):
        text = message.get(key)
        if isinstance(text, str) and text:
            return text
    return ""


def thinking_text(part: dict[str, Any]) -> str:
    """The text of Mistral's `{type: thinking, thinking: [{type: text, text}]}`."""
    thinking = part.get("thinking")
    if isinstance(thinking, str):
        return thinking
    if not isinstance(thinking, list):
        return ""
    texts = [entry.get("text") for entry in thinking if isinstance(entry, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def reasoning_details(message: dict[str, Any]) -> list[dict[str, Any]]:
    """OpenRouter's `reasoning_details`: what must come back with the next request for the reasoning to go on."""
    details = message.get("reasoning_details")
    return [entry for entry in details if isinstance(entry, dict)] if isinstance(details, list) else []


def details_text(details: list[dict[str, Any]]) -> str:
    """The readable part of `reasoning_details`, for hosts that send nothing else."""
    texts = [entry.get("text") or entry.get("summary") for entry in details]
    return "".join(text for text in texts if isinstance(text, str))


def decode_reasoning(text: str, details: list[dict[str, Any]], host: str = "") -> Reasoning:
    """One reasoning item. Of the details it knows the encrypted form, the signature and the id; all are kept raw.

    host: whose details these are, where a caller brings them.
    """
    content = (text,) if text else ()
    if not details:
        return Reasoning(content=content)
    encrypted, known = _first(details, "data"), _first(details, "id")
    sealed = None if encrypted is UNSET else unseal(encrypted)
    if sealed is not None:
        encrypted = UNSET if sealed.encrypted is None else sealed.encrypted
    return Reasoning(
        content=content,
        encrypted=encrypted,
        signature=_first(details, "signature"),
        origin=placed(origin_of(details), host) if sealed is None else sealed.origin,
        id=known,
        extra=Extra(format=FORMAT, fields={"reasoning_details": details}),
    )


_ORIGINS = {name: name for name in ("anthropic", "azure", "google", "openai", "xai")}
_MAKERS = {"anthropic": {"anthropic"}, "google": {"google"}, "openai": {"openai", "azure"}, "x-ai": {"xai"}}
"""What a model's name begins with at OpenRouter -> who may have signed what it takes back."""


def origin_of(details: list[dict[str, Any]]) -> Any:
    """Who made the reasoning, as far as a `format` says it: `anthropic-claude-v1`, `openai-responses-v1`; or a seal of ours."""
    encrypted = _first(details, "data")
    sealed = None if encrypted is UNSET else unseal(encrypted)
    if sealed is not None:
        return sealed.origin
    return _ORIGINS.get(str(_first(details, "format")).partition("-")[0], UNSET)


def is_of_maker(origin: Any, model: str) -> bool:
    """Whether a model takes back what this maker signed: its own; what nobody claims is nobody else's."""
    return origin in (UNSET, "") or origin in _MAKERS.get(model.lstrip("~").partition("/")[0], ())


def is_signed(entry: dict[str, Any]) -> bool:
    """Whether an entry of the details stands for itself: its signature or its seal is that of one thought."""
    return bool(entry.get("signature") or entry.get("data"))


def _first(details: list[dict[str, Any]], key: str) -> Any:
    for entry in details:
        value = entry.get(key)
        if isinstance(value, str) and value:
            return value
    return UNSET


def encode_reasoning(reasoning: Reasoning) -> str:
    """The reasoning as one text: the reasoning itself, else its summaries."""
    return "".join(reasoning.content) or "\n\n".join(text for text in reasoning.summary if text)


def encode_reasoning_details(reasoning: Reasoning, *, sealed: bool = False) -> list[dict[str, Any]]:
    """The details as they came, else the encrypted form in OpenRouter's dress: a caller that sends it back keeps it.

    sealed: for a caller, who must not take what another host than OpenRouter encrypted for OpenRouter's.
    """
    if reasoning.extra is not UNSET and reasoning.extra.format == FORMAT:
        return list(reasoning.extra.fields.get("reasoning_details", ()))
    entries: list[dict[str, Any]] = []
    if reasoning.signature is not UNSET:
        text = encode_reasoning(reasoning)
        entries.append({"type": "reasoning.text", "text": text, "signature": reasoning.signature})
    if reasoning.encrypted is not UNSET:
        data = reasoning.encrypted
        if sealed and is_bound(reasoning.origin):
            data = seal(Sealed(origin=reasoning.origin or "", encrypted=data))
        entries.append({"type": "reasoning.encrypted", "data": data})
    known = {} if reasoning.id is UNSET else {"id": reasoning.id}
    form = _FORMATS.get((reasoning.origin or "").rpartition("/")[2], "openai-responses-v1")
    return [{"format": form, "index": number, **entry, **known} for number, entry in enumerate(entries)]


def decode_annotations(raw: Any) -> tuple[Annotation, ...]:
    """The annotations of a message or delta."""
    if not isinstance(raw, list):
        return ()
    return tuple(_decode_annotation(entry) for entry in raw if isinstance(entry, dict))


def _decode_annotation(raw: dict[str, Any]) -> Annotation:
    citation = raw.get("url_citation")
    if not isinstance(citation, dict) or not isinstance(citation.get("url"), str):
        return Opaque(format=FORMAT, raw=raw)
    title, start, end = citation.get("title"), citation.get("start_index"), citation.get("end_index")
    return UrlCitation(
        url=citation["url"],
        title=title if isinstance(title, str) else "",
        start_index=start if isinstance(start, int) else 0,
        end_index=end if isinstance(end, int) else 0,
    )


def encode_annotation(annotation: Annotation, offset: int) -> dict[str, Any] | None:
    """The annotation of a text that stands `offset` characters into the message; None if it is another format's."""
    if isinstance(annotation, Opaque):
        return annotation.raw if annotation.format == FORMAT else None
    citation = {
        "url": annotation.url,
        "title": annotation.title,
        "start_index": annotation.start_index + offset,
        "end_index": annotation.end_index + offset,
    }
    return {"type": "url_citation", "url_citation": citation}


def decode_audio(raw: dict[str, Any]) -> Audio:
    """The audio of an assistant message, whole or by id."""
    fields: dict[str, Any] = {}
    for key in ("id", "data", "transcript"):
        if isinstance(raw.get(key), str):
            fields[key] = raw[key]
    if isinstance(raw.get("expires_at"), int):
        fields["expires_at"] = raw["expires_at"]
    return Audio(**fields)


def encode_audio(audio: Audio) -> dict[str, Any]:
    """The audio of a reply, with all the keys that a chat reply has."""
    return {
        "id": audio.id or "",
        "data": audio.data or "",
        "transcript": audio.transcript or "",
        "expires_at": audio.expires_at or 0,
    }


def decode_arguments(raw: Any) -> str:
    """Arguments as text; hosts give them as an object too."""
    if isinstance(raw, str):
        return raw
    return "" if raw is None else _json.encode(raw).decode()


def settled(call: ToolCall) -> ToolCall:
    """A call that gets no more arguments: marked incomplete where they were cut."""
    if call.kind != "function" or not call.arguments or is_json(call.arguments):
        return call
    return msgspec.structs.replace(call, status="incomplete")


def call_signature(entry: dict[str, Any]) -> Any:
    """What a call is signed with, where Google's own chat API has it; UNSET where it is not signed."""
    content = entry.get("extra_content")
    google = content.get("google") if isinstance(content, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) and signature else UNSET


def signature_fields(call: ToolCall) -> dict[str, Any]:
    """The same the other way."""
    return {} if call.signature is UNSET else {"extra_content": {"google": {"thought_signature": call.signature}}}


def encode_tool_call(call: ToolCall) -> dict[str, Any]:
    """One entry of `tool_calls`."""
    if call.kind == "custom":
        return {"id": call.call_id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    return {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
