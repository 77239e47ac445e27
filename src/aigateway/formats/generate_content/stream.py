"""Replies -> events. A stream is a row of replies, each a piece; a whole reply is a stream of one."""

from __future__ import annotations

from typing import Any

from aigateway import _json
from aigateway._sse import DONE, SSEEvent
from aigateway.canonical.accumulator import Accumulator
from aigateway.canonical.events import Failed, Started, StreamEvent, UsageReported
from aigateway.canonical.types import Message, Text, Usage
from aigateway.errors import GatewayError, UpstreamProtocolError
from aigateway.formats.generate_content.errors import error_in
from aigateway.formats.generate_content.finish import block_reason, broken_finish, decode_finish_reason
from aigateway.formats.generate_content.grounding import has_citations
from aigateway.formats.generate_content.logprobs import decode_logprobs
from aigateway.formats.generate_content.parts import Parts
from aigateway.formats.generate_content.usage import decode_usage
from aigateway.formats.generate_content.wire import camel, objects, unix_seconds, word


class GenerateContentStreamDecoder:
    """Pieces of one upstream -> events. Of several candidates the first one counts.

    Usage is told once, the last one that came, right before the end. A blocked prompt is an empty answer that a content
    filter ended. whole: what is fed is one whole reply, which need not say why it ended.
    """

    def __init__(self, *, whole: bool = False) -> None:
        self._whole = whole
        self._acc = Accumulator()
        self._parts = Parts(self._acc)
        self._started = False
        self._over = False
        self._finish = ""
        self._usage: Usage | None = None

    def feed(self, event: SSEEvent) -> list[StreamEvent]:
        """What follows from one event."""
        if self._over or not event.data or event.data == DONE:
            return []
        try:
            body = _json.decode(event.data)
        except (_json.DecodeError, UnicodeDecodeError, RecursionError):
            body = None
        if not isinstance(body, dict):
            return self._fail(UpstreamProtocolError("The upstream sent an event that is no JSON object."))
        return self.piece(body)

    def piece(self, body: dict[str, Any]) -> list[StreamEvent]:
        """What follows from one reply, whole or a piece."""
        told = camel(body)
        if told.get("error"):
            return self._fail(error_in(told))
        events: list[StreamEvent] = []
        self._usage = decode_usage(told.get("usageMetadata")) or self._usage
        if not self._started and ("candidates" in told or "promptFeedback" in told or told.get("responseId")):
            self._started = True
            self._parts.reply_id = word(told.get("responseId"))
            created = unix_seconds(told.get("createTime"))
            events.append(Started(self._parts.reply_id, word(told.get("modelVersion")), created))
        if block_reason(told):
            self._finish = "PROHIBITED_CONTENT"
        for candidate in objects(told.get("candidates")):
            if not candidate.get("index"):
                broken = self._candidate(candidate, events)
                if broken is not None:
                    return events + self._fail(broken)
        return events

    def flush(self) -> list[StreamEvent]:
        """The end of the bytes: an answer without a finishReason was cut."""
        if self._over:
            return []
        if not self._finish and not self._whole:
            return self._fail(UpstreamProtocolError("The upstream ended its stream before the answer was complete."))
        self._over = True
        events = self._parts.close()
        if self._parts.is_empty:
            events += self._nothing()
        if self._usage is not None:
            events.append(UsageReported(self._usage))
        reason = decode_finish_reason(self._finish, has_tool_calls=self._acc.has_tool_calls)
        return events + self._acc.finish(reason)

    def _candidate(self, candidate: dict[str, Any], events: list[StreamEvent]) -> GatewayError | None:
        """Read one candidate. Gives the error that it tells of, if any."""
        content = candidate.get("content")
        held = objects(camel(content).get("parts")) if isinstance(content, dict) else []
        parts = [{key: value for key, value in part.items() if value is not None} for part in held]
        tokens = decode_logprobs(candidate)
        if tokens and not any(_is_said(part) for part in parts):
            parts = [*parts, {"text": ""}]
        cited = has_citations(candidate)
        last = max((number for number, part in enumerate(parts) if _is_said(part)), default=len(parts))
        for number, part in enumerate(parts):
            if cited and number == last:
                self._parts.sources = candidate  # what follows the text may close it
            said = _is_said(part)
            events += self._parts.feed(part, tokens if said else ())
            tokens = () if said else tokens
        if cited and last == len(parts):
            self._parts.sources = candidate
        finish = candidate.get("finishReason")
        if not finish or not isinstance(finish, str) or finish == "FINISH_REASON_UNSPECIFIED":
            return None
        self._finish = finish
        return broken_finish(finish)

    def _nothing(self) -> list[StreamEvent]:
        """An empty text: every answer says something."""
        index, events = self._acc.start_item(Message(role="assistant"))
        _, started = self._acc.start_part(index, Text)
        return events + started + self._acc.end_item(index)

    def _fail(self, error: GatewayError) -> list[StreamEvent]:
        self._over = True
        usage: list[StreamEvent] = [] if self._usage is None else [UsageReported(self._usage)]
        return [*usage, Failed(error)]


def _is_said(part: dict[str, Any]) -> bool:
    return "text" in part and part.get("thought") is not True
