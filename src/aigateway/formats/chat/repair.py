"""Chat replies of hosts whose dialect breaks strict clients, put right on the way; `quirks.REPAIRS` says what there is.

What needs no repair goes on byte for byte.
"""

from __future__ import annotations

import re
from typing import Any

from aigateway import _json, _sse
from aigateway.formats.choices import ChoicesRelay
from aigateway.formats.relay import events_in, frames_in, object_in

_SIGNS = {
    "empty_choices": re.compile(rb'"choices"\s*:\s*\[\s*\]'),
    "reasoning_content": re.compile(rb'"reasoning"\s*:\s*"'),
    "tool_call_type": re.compile(rb'"tool_calls"\s*:\s*\['),
}
"""What stands in the bytes of a frame or reply that may need this repair."""

_HEAD = frozenset({"id", "object", "created", "model", "choices", "usage", "service_tier", "system_fingerprint"})


class RepairingRelay(ChoicesRelay):
    """The relay for one stream of a host with quirks. A usage chunk nobody asked for is kept back by `hide_usage`."""

    is_plain = False

    def __init__(self, model: str, *, repairs: frozenset[str], hide_usage: bool = False) -> None:
        super().__init__(model, hide_usage=hide_usage)
        self._repairs = repairs
        self._signs = [sign for name, sign in _SIGNS.items() if name in repairs]
        self._carried: dict[str, Any] = {}
        self._saw_done = False

    def flush(self) -> bytes:
        """What is left at the end, and `[DONE]` where a finished stream forgot it."""
        out = super().flush()
        forgotten = "done" in self._repairs and self.finished and self.failure is None and not self._saw_done
        return out + _sse.DONE_FRAME if forgotten else out

    def _frames(self, data: bytes) -> bytes:
        return super()._frames(b"".join([self._repaired(frame) for frame in frames_in(data)]))

    def _repaired(self, frame: bytes) -> bytes:
        if "lines" in self._repairs and (frame.find(b"\r") >= 0 or frame.startswith(b":") or frame.find(b"\n:") >= 0):
            frame = b"".join([_sse.encode(event.data, event.event) for event in events_in(frame)])
        if not (self._carried or any(sign.search(frame) for sign in self._signs)):
            self._saw_done = self._saw_done or (frame.find(b"[DONE]") >= 0 and _is_done(frame))
            return frame
        out = b""
        for event in events_in(frame):
            self._saw_done = self._saw_done or event.data == _sse.DONE
            body = object_in(event.data)
            repaired = event.data if body is None else self._chunk(event.data, body)
            out += _sse.encode(repaired, event.event) if repaired else b""
        return out

    def _chunk(self, raw: bytes, body: dict[str, Any]) -> bytes:
        """One chunk as it goes on; nothing where it waits for the next."""
        choices = body.get("choices")
        if "empty_choices" in self._repairs and choices == [] and not body.get("usage") and not body.get("error"):
            self._carried |= {key: value for key, value in body.items() if key not in _HEAD}
            return b""
        carried, self._carried = self._carried, {}
        changed = [_repair(choice, "delta", self._repairs) for choice in choices or () if isinstance(choice, dict)]
        return _json.encode(carried | body) if carried or any(changed) else raw


def repaired_reply(body: bytes, repairs: frozenset[str]) -> bytes:
    """A whole reply, the same bytes where nothing is to repair."""
    if not any(_SIGNS[name].search(body) for name in repairs & _SIGNS.keys()):
        return body
    reply = object_in(body)
    choices = reply.get("choices") if reply is not None else None
    if not isinstance(choices, list):
        return body
    changed = [_repair(choice, "message", repairs) for choice in choices if isinstance(choice, dict)]
    return _json.encode(reply) if any(changed) else body


def _is_done(frame: bytes) -> bool:
    return any(event.data == _sse.DONE for event in events_in(frame))


def _repair(choice: dict[str, Any], key: str, repairs: frozenset[str]) -> bool:
    """Whether something was put right in the message or delta of a choice."""
    message = choice.get(key)
    if not isinstance(message, dict):
        return False
    changed = False
    if "reasoning_content" in repairs and message.get("reasoning_content") is None:
        thoughts = message.get("reasoning")
        if isinstance(thoughts, str) and thoughts:
            message["reasoning_content"] = thoughts
            changed = True
    calls = message.get("tool_calls") if "tool_call_type" in repairs else None
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, dict) and call.get("type") is None and _begins(call):
            call["type"] = "custom" if "custom" in call else "function"
            changed = True
    return changed


def _begins(call: dict[str, Any]) -> bool:
    """Whether a piece of a call is its first one: only that carries the type."""
    function = call.get("function")
    return bool(call.get("id") or "custom" in call or (isinstance(function, dict) and function.get("name")))
