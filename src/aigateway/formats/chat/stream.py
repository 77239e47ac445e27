"""Streams of chat: chunks -> events."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from aigateway import _json
from aigateway._sse import DONE, SSEEvent
from aigateway.canonical.accumulator import Accumulator
from aigateway.canonical.events import Failed, ReasoningText, Started, StreamEvent, UsageReported
from aigateway.canonical.types import Message, Reasoning, Refusal, Text, ToolCall, Usage
from aigateway.errors import GatewayError, UpstreamProtocolError
from aigateway.formats.chat.calls import StreamedCall, StreamedCalls
from aigateway.formats.chat.encoder import ChatStreamEncoder
from aigateway.formats.chat.wire import (
    decode_annotations,
    decode_audio,
    decode_reasoning,
    details_text,
    reasoning_details,
    reasoning_text,
    settled,
    thinking_text,
)
from aigateway.formats.finish import broken_finish, decode_finish_reason
from aigateway.formats.relay import stream_error
from aigateway.formats.usage import chat_usage

__all__ = ["ChatStreamDecoder", "ChatStreamEncoder"]

_Holder = type[Message] | type[Reasoning]
_Kind = type[Text] | type[Refusal] | type[ReasoningText]
_Tokens = tuple[dict[str, Any], ...]


_Nothing = Annotated[str, msgspec.Meta(max_length=0)] | Annotated[list[None], msgspec.Meta(max_length=0)] | None


class _TextDelta(msgspec.Struct, gc=False):
    content: str
    reasoning_content: _Nothing = None
    reasoning: _Nothing = None
    reasoning_details: _Nothing = None
    refusal: _Nothing = None
    tool_calls: _Nothing = None
    function_call: _Nothing = None
    annotations: _Nothing = None
    audio: _Nothing = None


class _TextChoice(msgspec.Struct, gc=False):
    delta: _TextDelta
    index: Literal[0] = 0
    logprobs: _Nothing = None
    usage: None = None
    error: _Nothing = None
    finish_reason: _Nothing = None


class _TextChunk(msgspec.Struct, gc=False):
    """A chunk of nothing but more text, as most are."""

    choices: Annotated[tuple[_TextChoice, ...], msgspec.Meta(min_length=1, max_length=1)]
    service_tier: str | None = None
    usage: None = None
    error: _Nothing = None
    x_groq: None = None


_TEXT_CHUNK: msgspec.json.Decoder[_TextChunk] = msgspec.json.Decoder(_TextChunk)
_ODD_MAX: Final = 16
"""Who sends so many others within a text sends them always: then the quick look is only lost time."""


class ChatStreamDecoder:
    """Chunks of one upstream -> events. Of several choices the first one counts.

    Usage is told once, the last one that came, right before the end. An answer without a finish_reason was cut, also if
    `[DONE]` follows it.
    """

    def __init__(self) -> None:
        self._acc = Accumulator()
        self._calls = StreamedCalls()
        self._announced = 0
        self._started = False
        self._over = False
        self._finish = ""
        self._tier: str | UnsetType = UNSET
        self._usage: Usage | None = None
        # The open message or reasoning item and its open part.
        self._item = -1
        self._holder: _Holder | None = None
        self._part = 0
        self._kind: _Kind | None = None
        # How many chunks within a text were more than that.
        self._odd = 0
        # Whether reasoning came as a text; the texts of reasoning_details then only repeat it.
        self._thinks_aloud = False
        self._details: dict[tuple[int | None, str | None], dict[str, Any]] = {}
        self._audio: dict[str, Any] = {}

    def feed(self, event: SSEEvent) -> list[StreamEvent]:
        """What follows from one chunk."""
        data = event.data
        if self._over or not data:
            return []
        if self._kind is Text and self._odd < _ODD_MAX and not event.event:
            try:
                plain = _TEXT_CHUNK.decode(data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._odd += 1
            else:
                if plain.service_tier is not None:
                    self._tier = plain.service_tier
                return self._acc.delta(self._item, self._part, plain.choices[0].delta.content)
        return self._end() if data == DONE else self._chunk(event)

    def _chunk(self, event: SSEEvent) -> list[StreamEvent]:
        try:
            chunk = _json.decode(event.data)
        except (_json.DecodeError, UnicodeDecodeError, RecursionError):
            chunk = None
        if not isinstance(chunk, dict):
            return self._fail(UpstreamProtocolError("The upstream sent an event that is no JSON object."))
        events: list[StreamEvent] = []
        self._note(chunk, events)
        error = chunk.get("error") or (event.event == "error" and chunk)
        if error:
            return events + self._fail(stream_error(error))
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and not choice.get("index"):
                broken = self._choice(choice, events)
                if broken is not None:
                    return events + self._fail(broken)
        return events

    def flush(self) -> list[StreamEvent]:
        """The end of the bytes; hosts forget `[DONE]`."""
        return [] if self._over else self._end()

    def _note(self, chunk: dict[str, Any], events: list[StreamEvent]) -> None:
        """What stands beside the choices."""
        if not self._started and (chunk.get("choices") or chunk.get("id")):
            self._started = True
            events.append(_started(chunk))
            self._calls.reply_id = str(chunk.get("id") or "")
        tier = chunk.get("service_tier")
        if tier is not None and isinstance(tier, str):
            self._tier = tier
        raw = chunk.get("usage")
        if raw is None and "x_groq" in chunk and isinstance(chunk["x_groq"], dict):
            raw = chunk["x_groq"].get("usage")
        if raw is not None:
            self._usage = chat_usage(raw) or self._usage

    def _choice(self, choice: dict[str, Any], events: list[StreamEvent]) -> GatewayError | None:
        """Read one choice. Gives the error that it tells of, if any."""
        delta = choice.get("delta")
        if isinstance(delta, dict):
            self._delta(delta, choice.get("logprobs"), events)
        if choice.get("usage") is not None:
            self._usage = chat_usage(choice["usage"]) or self._usage
        if choice.get("error"):
            return stream_error(choice["error"])
        finish = choice.get("finish_reason")
        if not finish or not isinstance(finish, str):
            return None
        if self._finish in ("", "stop"):
            self._finish = finish
        return broken_finish(finish)

    def _delta(self, delta: dict[str, Any], logprobs: Any, events: list[StreamEvent]) -> None:
        content = delta.get("content")
        if len(delta) > 1 or content is None:
            self._thoughts(delta, events)
        tokens = _tokens(logprobs, "content") if logprobs else ()
        if isinstance(content, str):
            if content or (tokens and self._kind is Text):
                self._write(Text, content, tokens, events)
        elif isinstance(content, list):
            self._pieces(content, tokens, events)
        if len(delta) > 1 or content is None:
            self._rest(delta, logprobs, events)

    def _thoughts(self, delta: dict[str, Any], events: list[StreamEvent]) -> None:
        text = reasoning_text(delta)
        self._thinks_aloud = self._thinks_aloud or bool(text)
        if delta.get("reasoning_details"):
            details = reasoning_details(delta)
            self._merge(details, events)
            if not self._thinks_aloud:
                text = details_text(details)
        if text:
            self._write(ReasoningText, text, (), events)

    def _pieces(self, content: list[Any], tokens: _Tokens, events: list[StreamEvent]) -> None:
        """Mistral's content lists."""
        for part in content:
            if not isinstance(part, dict):
                continue
            is_thinking = part.get("type") == "thinking"
            text = thinking_text(part) if is_thinking else part.get("text")
            if isinstance(text, str) and text:
                self._write(ReasoningText if is_thinking else Text, text, () if is_thinking else tokens, events)

    def _rest(self, delta: dict[str, Any], logprobs: Any, events: list[StreamEvent]) -> None:
        """All that is neither reasoning nor content."""
        refusal, calls = delta.get("refusal"), delta.get("tool_calls")
        if refusal and isinstance(refusal, str):
            self._write(Refusal, refusal, _tokens(logprobs, "refusal") if logprobs else (), events)
        if calls and isinstance(calls, list):
            for entry in calls:
                if isinstance(entry, dict):
                    self._call(entry, events)
        if isinstance(delta.get("function_call"), dict):
            self._call({"index": -1, "function": delta["function_call"]}, events)
        for annotation in decode_annotations(delta.get("annotations")):
            if self._kind is not Text:
                self._open_part(Text, events)
            events += self._acc.annotate(self._item, self._part, annotation)
        if isinstance(delta.get("audio"), dict):
            self._hear(delta["audio"], events)

    def _write(self, kind: _Kind, text: str, tokens: _Tokens, events: list[StreamEvent]) -> None:
        if kind is not self._kind:
            self._open_part(kind, events)
        events += self._acc.delta(self._item, self._part, text, tokens)

    def _open_part(self, kind: _Kind, events: list[StreamEvent]) -> None:
        holder: _Holder = Reasoning if kind is ReasoningText else Message
        if self._holder is not holder:
            self._open_item(holder, events)
        elif self._kind is not None:
            events += self._acc.end_part(self._item, self._part)
        self._part, new = self._acc.start_part(self._item, kind)
        self._kind = kind
        events += new

    def _open_item(self, holder: _Holder, events: list[StreamEvent]) -> None:
        self._close_item(events)
        self._announce(events, everything=True)
        self._end_whole_calls(events)
        item = Message(role="assistant") if holder is Message else Reasoning()
        self._item, new = self._acc.start_item(item)
        self._holder = holder
        events += new

    def _close_item(self, events: list[StreamEvent]) -> None:
        if self._holder is None:
            return
        if self._details and self._holder is Reasoning:
            self._acc.update_item(self._item, decode_reasoning("", list(self._details.values())))
            self._details = {}
        if self._audio and self._holder is Message:
            self._acc.update_item(self._item, Message(role="assistant", content=(decode_audio(self._audio),)))
            self._audio = {}
        events += self._acc.end_item(self._item)
        self._holder = self._kind = None

    def _merge(self, details: list[dict[str, Any]], events: list[StreamEvent]) -> None:
        """Put pieces of `reasoning_details` together: those of one index and type are one."""
        if details and self._holder is not Reasoning:
            self._open_item(Reasoning, events)
        for entry in details:
            index, kind = entry.get("index"), entry.get("type")
            place = index if isinstance(index, int) else None, kind if isinstance(kind, str) else None
            _grow(self._details.setdefault(place, {}), entry, ("text", "summary", "data"))

    def _hear(self, audio: dict[str, Any], events: list[StreamEvent]) -> None:
        """Audio comes whole in the end: the canonical form has no deltas of it."""
        if self._holder is not Message:
            self._open_item(Message, events)
        _grow(self._audio, audio, ("data", "transcript"))

    def _call(self, entry: dict[str, Any], events: list[StreamEvent]) -> None:
        count = len(self._calls.all)
        call, arguments = self._calls.feed(entry)
        if len(self._calls.all) > count:
            self._close_item(events)
        if arguments and not call.ended:
            call.pieces.append(arguments)
            if call.item >= 0:
                events += self._acc.delta(call.item, 0, arguments)
        if self._announced < len(self._calls.all):
            self._announce(events, everything=False)

    def _announce(self, events: list[StreamEvent], *, everything: bool) -> None:
        """Start the items of calls in order, each once its id and its whole name are known, or at last anyway."""
        calls = self._calls.all
        while self._announced < len(calls):
            call = calls[self._announced]
            is_known = call.id and call.name and (call.pieces or self._announced + 1 < len(calls))
            if not (is_known or everything):
                return
            self._announced += 1
            if not call.is_void:
                self._start_call(call, events)

    def _start_call(self, call: StreamedCall, events: list[StreamEvent]) -> None:
        self._end_whole_calls(events)
        item = ToolCall(call_id=call.call_id, name=call.name, kind=call.kind, signature=call.signature)
        call.item, new = self._acc.start_item(item)
        events += new
        if call.pieces:
            events += self._acc.delta(call.item, 0, call.arguments)

    def _end_whole_calls(self, events: list[StreamEvent]) -> None:
        for call in self._calls.all[: self._announced]:
            if call.item >= 0 and not call.ended and call.is_whole:
                call.ended = True
                events += self._acc.end_item(call.item)

    def _end(self) -> list[StreamEvent]:
        if not self._finish:
            return self._fail(UpstreamProtocolError("The upstream ended its stream before the answer was complete."))
        self._over = True
        events: list[StreamEvent] = []
        self._close_item(events)
        self._announce(events, everything=True)
        for index in self._acc.open_indexes:
            self._settle(index)
        if self._item < 0 and not self._acc.has_tool_calls:
            self._open_part(Text, events)
        events += self._acc.end_all()
        if self._usage is not None:
            events.append(UsageReported(self._usage))
        reason = decode_finish_reason(self._finish, has_tool_calls=self._acc.has_tool_calls)
        return events + self._acc.finish(reason, self._tier)

    def _settle(self, index: int) -> None:
        """Mark a call whose arguments were cut."""
        item = self._acc.item_of(index)
        if isinstance(item, ToolCall):
            status = settled(item).status
            if status is not UNSET:
                self._acc.update_item(index, msgspec.structs.replace(item, status=status))

    def _fail(self, error: GatewayError) -> list[StreamEvent]:
        self._over = True
        usage: list[StreamEvent] = [] if self._usage is None else [UsageReported(self._usage)]
        return [*usage, Failed(error)]


def _started(chunk: dict[str, Any]) -> Started:
    created, tier, fingerprint = chunk.get("created"), chunk.get("service_tier"), chunk.get("system_fingerprint")
    return Started(
        id=str(chunk.get("id") or ""),
        model=str(chunk.get("model") or ""),
        created_at=int(created) if isinstance(created, int | float) else 0,
        service_tier=tier if isinstance(tier, str) else UNSET,
        system_fingerprint=fingerprint if isinstance(fingerprint, str) else UNSET,
    )


def _tokens(logprobs: Any, key: str) -> _Tokens:
    found = logprobs.get(key) if isinstance(logprobs, dict) else None
    return tuple(token for token in found if isinstance(token, dict)) if isinstance(found, list) else ()


def _grow(known: dict[str, Any], piece: dict[str, Any], growing: tuple[str, ...]) -> None:
    """Add a piece to an object: the texts that grow are joined, of the rest the last one counts."""
    for key, value in piece.items():
        before = known.get(key)
        if key in growing and isinstance(value, str) and isinstance(before, str):
            known[key] = before + value
        elif value is not None or key not in known:
            known[key] = value
