"""Streams of Cohere's chat, as https://docs.cohere.com/docs/streaming tells them: events -> canonical ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from aigateway import _json, _sse
from aigateway._sse import SSEEvent
from aigateway.canonical.accumulator import Accumulator
from aigateway.canonical.events import (
    Failed,
    ReasoningText,
    Started,
    StreamEvent,
    StreamPart,
    SummaryText,
    UsageReported,
)
from aigateway.canonical.types import Message, Opaque, Reasoning, Text
from aigateway.errors import GatewayError, UpstreamProtocolError
from aigateway.formats.call_ids import made_call_id
from aigateway.formats.cohere_chat.reply import decode_call
from aigateway.formats.cohere_chat.wire import (
    FORMAT,
    ORIGIN,
    broken_finish,
    citations_item,
    cites_text,
    decode_citation,
    decode_finish_reason,
    decode_usage,
    is_unknown,
)
from aigateway.formats.relay import stream_error


class CohereChatStreamDecoder:
    """Events of one upstream -> canonical ones. A stream without `message-end` was cut."""

    def __init__(self) -> None:
        self._acc = Accumulator()
        self._item = -1
        self._kind: type[Message | Reasoning] | None = None
        self._part = -1
        self._part_kind: type[StreamPart] | None = None
        self._calls: dict[Any, int] = {}
        self._has_arguments: set[int] = set()
        self._started = False
        self._told = False
        self._over = False
        self._id = ""
        self._made = 0
        self._others: list[Opaque] = []
        self._unplaced: list[dict[str, Any]] = []
        self._handlers: dict[Any, Callable[[dict[str, Any], Any], list[StreamEvent]]] = {
            "content-start": self._content,
            "content-delta": self._content,
            "content-end": self._content_end,
            "tool-plan-delta": self._plan,
            "tool-call-start": self._call_start,
            "tool-call-delta": self._call_delta,
            "tool-call-end": self._call_end,
            "citation-start": self._citation,
            "message-end": self._message_end,
        }

    def feed(self, event: SSEEvent) -> list[StreamEvent]:
        """What follows from one event."""
        if self._over or event.data == _sse.DONE:
            return []
        try:
            body = _json.decode(event.data)
        except (_json.DecodeError, UnicodeDecodeError, RecursionError):
            body = None
        if not isinstance(body, dict):
            return self._fail(UpstreamProtocolError("The upstream sent an event that is no JSON object."))
        kind, delta = body.get("type"), body.get("delta")
        if kind is None and ("message" in body or "error" in body):
            return self._fail(stream_error(body.get("error", body)))
        events: list[StreamEvent] = []
        if not self._started:
            self._started = True
            told_id = body.get("id")
            self._id = told_id if isinstance(told_id, str) else ""
            events.append(Started(self._id, "", 0))
        handler = self._handlers.get(kind)
        if handler is not None:
            message = delta.get("message") if isinstance(delta, dict) else None
            told = delta if kind == "message-end" else message
            events += handler(body, told if isinstance(told, dict) else {})
        return events

    def flush(self) -> list[StreamEvent]:
        """The end of the bytes."""
        if self._over:
            return []
        return self._fail(UpstreamProtocolError("The upstream's stream was cut before it was finished."))

    def _fail(self, error: GatewayError) -> list[StreamEvent]:
        self._over = True
        return [Failed(error)]

    # what is said, thought and planned

    def _content(self, _: dict[str, Any], message: dict[str, Any]) -> list[StreamEvent]:
        content = message.get("content")
        if not isinstance(content, dict):
            return []
        if is_unknown(content):
            self._others.append(Opaque(format=FORMAT, raw=content))
            return []
        thought, text = content.get("thinking"), content.get("text")
        if isinstance(thought, str) and thought:
            return self._write(Reasoning, ReasoningText, thought)
        return self._write(Message, Text, text) if isinstance(text, str) and text else []

    def _content_end(self, *_: Any) -> list[StreamEvent]:
        """Another block is another part. A text stays open: its citations may come behind it."""
        return [] if self._part_kind is Text else self._end_part()

    def _plan(self, _: dict[str, Any], message: dict[str, Any]) -> list[StreamEvent]:
        plan = message.get("tool_plan")
        return self._write(Reasoning, SummaryText, plan) if isinstance(plan, str) and plan else []

    def _citation(self, _: dict[str, Any], message: dict[str, Any]) -> list[StreamEvent]:
        raw = message.get("citations")
        if not isinstance(raw, dict):
            return []
        if self._part_kind is not Text or not cites_text(raw):
            self._unplaced.append(raw)
            return []
        return self._acc.annotate(self._item, self._part, decode_citation(raw))

    def _write(self, kind: type[Message | Reasoning], part: type[StreamPart], text: str) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        if self._kind is not kind:
            events += self._end_item()
            self._item, started = self._acc.start_item(
                Message(role="assistant") if kind is Message else Reasoning(origin=ORIGIN)
            )
            self._kind = kind
            self._told = True
            events += started
        if self._part_kind is not part:
            events += self._end_part()
            self._part, started = self._acc.start_part(self._item, part)
            self._part_kind = part
            events += started
        return events + self._acc.delta(self._item, self._part, text)

    def _end_part(self) -> list[StreamEvent]:
        if self._part_kind is None:
            return []
        self._part_kind = None
        return self._acc.end_part(self._item, self._part)

    def _end_item(self) -> list[StreamEvent]:
        if self._kind is None:
            return []
        self._kind = self._part_kind = None
        return self._acc.end_item(self._item)

    # calls

    def _call_start(self, body: dict[str, Any], message: dict[str, Any]) -> list[StreamEvent]:
        raw = message.get("tool_calls")
        events = self._end_item() + self._call_end(body, message)
        call = decode_call(raw if isinstance(raw, dict) else {})
        call_id = call.call_id or made_call_id(self._id, self._made)
        self._made += 1
        index, started = self._acc.start_item(msgspec.structs.replace(call, call_id=call_id, arguments=""))
        self._calls[body.get("index")] = index
        if call.arguments:
            self._has_arguments.add(index)
        self._told = True
        return events + started + self._acc.delta(index, 0, call.arguments)

    def _call_delta(self, body: dict[str, Any], message: dict[str, Any]) -> list[StreamEvent]:
        index = self._calls.get(body.get("index"))
        raw = message.get("tool_calls")
        if index is None or not isinstance(raw, dict):
            return []
        arguments = decode_call(raw).arguments
        if arguments:
            self._has_arguments.add(index)
        return self._acc.delta(index, 0, arguments)

    def _call_end(self, body: dict[str, Any], _: Any) -> list[StreamEvent]:
        index = self._calls.pop(body.get("index"), None)
        if index is None:
            return []
        missing = [] if index in self._has_arguments else self._acc.delta(index, 0, "{}")
        return missing + self._acc.end_item(index)

    # the end

    def _message_end(self, _: dict[str, Any], delta: dict[str, Any]) -> list[StreamEvent]:
        reason = delta.get("finish_reason")
        broken = broken_finish(reason, delta.get("error"))
        if broken is not None:
            return self._fail(broken)
        self._over = True
        events = self._end_item()
        for number in list(self._calls):
            events += self._call_end({"index": number}, None)
        if not self._told:
            index, started = self._acc.start_item(Message(role="assistant"))
            events += started
            events += self._acc.start_part(index, Text)[1]
            events += self._acc.end_item(index)
        for other in [*self._others, *([citations_item(self._unplaced)] if self._unplaced else [])]:
            index, started = self._acc.start_item(other)
            events += started + self._acc.end_item(index)
        usage = decode_usage(delta.get("usage"))
        if usage is not None:
            events.append(UsageReported(usage))
        return events + self._acc.finish(decode_finish_reason(reason, has_tool_calls=self._acc.has_tool_calls))
