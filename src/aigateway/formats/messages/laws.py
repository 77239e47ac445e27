"""The laws of a stream of message events, as the encoder writes them: what debug builds assert."""

from __future__ import annotations

from typing import Any

from aigateway.canonical.laws import law

_DELTAS = {
    "text_delta": "text",
    "citations_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "thinking",
    "input_json_delta": "tool_use",
}


class MessageLaws:
    """State of one stream. `feed` every event's data; raises LawError at the first that breaks a law."""

    def __init__(self) -> None:
        self._begun = False
        self._delta = False
        self._over = False
        self._open: dict[str, Any] | None = None
        self._filled = False
        self._signed = False
        self._next = 0

    def feed(self, event: dict[str, Any]) -> None:
        """One more event. An error ends the stream."""
        kind = event["type"]
        law(not self._over, "nothing follows the end", event)
        if kind == "error":
            self._over = True
            return
        law((kind == "message_start") is not self._begun, "message_start is first, once", event)
        if kind == "message_start":
            self._begun = True
            law(event["message"]["content"] == [], "a message begins empty", event)
            law("usage" in event["message"], "message_start tells usage", event)
        elif kind.startswith("content_block"):
            law(not self._delta, "blocks come before message_delta", event)
            self._block(kind, event)
        elif kind == "message_delta":
            law(self._open is None and not self._delta, "blocks close before the one message_delta", event)
            law(bool(event["delta"]["stop_reason"]) and "usage" in event, "message_delta tells reason and usage", event)
            self._delta = True
        elif kind == "message_stop":
            law(self._delta, "message_stop follows message_delta", event)
            self._over = True

    def _block(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "content_block_start":
            law(self._open is None, "one block at a time is open", event)
            law(event["index"] == self._next, "blocks are numbered without holes", event)
            self._open, self._filled, self._signed = event["content_block"], False, False
            self._next += 1
            return
        law(self._open is not None and event["index"] == self._next - 1, "only the open block goes on", event)
        open_kind = "" if self._open is None else self._open["type"]
        if kind == "content_block_delta":
            delta = event["delta"]
            law(_DELTAS.get(delta["type"]) == open_kind, "a delta fits its block", event)
            law(
                not (self._signed and delta["type"] == "thinking_delta"),
                "nothing is thought after the signature",
                event,
            )
            self._filled = self._filled or delta["type"] == "text_delta"
            self._signed = self._signed or delta["type"] == "signature_delta"
            return
        law(self._filled or open_kind != "text", "no text is empty", event)
        law(self._signed or open_kind != "thinking", "every thought is signed", event)
        self._open = None
