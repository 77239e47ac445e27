"""The laws of a stream of chat chunks, as the encoder writes them: what debug builds assert."""

from __future__ import annotations

from typing import Any

from aigateway.canonical.laws import law


class ChunkLaws:
    """State of one stream. `feed` every chunk's data; raises LawError at the first that breaks a law."""

    def __init__(self) -> None:
        self._head: tuple[Any, ...] | None = None
        self._finished = False
        self._calls = 0

    def feed(self, chunk: dict[str, Any]) -> None:
        """One more chunk. An error ends the stream, and is no chunk."""
        if "error" in chunk:
            return
        head = chunk.get("id"), chunk.get("object"), chunk.get("created"), chunk.get("model")
        law(self._head in (None, head), "every chunk has one id, time and model", chunk)
        choices = chunk["choices"]
        law(bool(choices) is not self._finished, "after the finish comes usage and nothing else", chunk)
        for choice in choices:
            delta = choice["delta"]
            law(("role" in delta) is (self._head is None), "the role comes first, once", chunk)
            for call in delta.get("tool_calls") or ():
                self._call(call)
            self._finished = choice["finish_reason"] is not None
        self._head = head

    def _call(self, call: dict[str, Any]) -> None:
        law(call["index"] <= self._calls, "tool calls are numbered without holes", call)
        law(("id" in call) is (call["index"] == self._calls), "a tool call has its id in its first chunk only", call)
        self._calls = max(self._calls, call["index"] + 1)
