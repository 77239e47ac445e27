"""Which streamed tool call a piece belongs to, whatever the upstream does with `index` and `id`."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from aigateway.canonical.accumulator import is_json
from aigateway.formats.call_ids import made_call_id
from aigateway.formats.chat.wire import call_signature, decode_arguments


class StreamedCall:
    """One tool call as it grows.

    number  its place among the calls of the reply.
    item    its index among the items once it was announced, else -1.
    """

    __slots__ = ("ended", "id", "item", "kind", "name", "number", "pieces", "reply_id", "signature")

    def __init__(self, number: int, reply_id: str) -> None:
        self.number = number
        self.reply_id = reply_id
        self.id = ""
        self.name = ""
        self.kind = "function"
        self.signature: str | UnsetType = UNSET
        self.pieces: list[str] = []
        self.item = -1
        self.ended = False

    @property
    def call_id(self) -> str:
        """The upstream's id, else one made from its place."""
        return self.id or made_call_id(self.reply_id, self.number)

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)

    @property
    def is_whole(self) -> bool:
        """Whether nothing can follow: its arguments are one JSON value."""
        return self.kind == "function" and bool(self.pieces) and is_json(self.arguments)

    @property
    def is_void(self) -> bool:
        """Whether it holds nothing at all: some hosts open calls that they never make."""
        return not (self.id or self.name or self.pieces)

    def learn(self, call_id: str, name: str, kind: str) -> None:
        """Take over what a piece says. A name comes whole, again and again, or in pieces; an id stays."""
        self.id = self.id or call_id
        self.kind = kind or self.kind
        if not name or self.item >= 0:
            return
        if name.startswith(self.name):
            self.name = name
        elif not self.pieces:
            self.name += name


class StreamedCalls:
    """All tool calls of one streamed reply, in the order of their first pieces. `reply_id` is the reply's, once known."""

    __slots__ = ("_by_id", "_by_index", "all", "reply_id")

    def __init__(self) -> None:
        self.all: list[StreamedCall] = []
        self.reply_id = ""
        self._by_index: dict[int, StreamedCall] = {}
        self._by_id: dict[str, StreamedCall] = {}

    def feed(self, entry: dict[str, Any]) -> tuple[StreamedCall, str]:
        """The call that a piece belongs to, and the arguments it adds."""
        index, call_id = entry.get("index"), entry.get("id")
        body, kind = _body(entry)
        name = body.get("name")
        arguments = decode_arguments(body.get("input" if kind == "custom" else "arguments"))
        known_index = index if isinstance(index, int) else None
        if not name and not call_id and known_index in self._by_index:
            return self._by_index[known_index], arguments
        known_id = call_id if isinstance(call_id, str) else ""
        known_name = name if isinstance(name, str) else ""
        call = self._find(known_index, known_id, known_name, arguments) or self._open()
        call.learn(known_id, known_name, kind)
        if "extra_content" in entry:
            call.signature = call_signature(entry)
        if known_index is not None:
            self._by_index[known_index] = call
        if known_id:
            self._by_id[known_id] = call
        if known_name and arguments and call.is_whole:
            return call, ""  # the same call once more, as a summary
        return call, arguments

    def _open(self) -> StreamedCall:
        call = StreamedCall(len(self.all), self.reply_id)
        self.all.append(call)
        return call

    def _find(self, index: int | None, call_id: str, name: str, arguments: str) -> StreamedCall | None:
        """The call that is meant, None for a new one."""
        known = self._by_id.get(call_id)
        if index is None:
            last = self.all[-1] if self.all else None
            call = known or (None if last and call_id and last.id and name else last)
        else:
            call = self._by_index.get(index)
            if call is None:
                call = None if name else known
            elif call_id and call.id and call_id != call.id:
                call = known or (None if name else call)
        return None if call is None or _is_another(call, name, arguments) else call


def _body(entry: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """What stands under `function` or `custom`, and the kind as far as it is told."""
    custom = entry.get("custom")
    if isinstance(custom, dict):
        return custom, "custom"
    function = entry.get("function")
    return (function, "") if isinstance(function, dict) else ({}, "")


def _is_another(call: StreamedCall, name: str, arguments: str) -> bool:
    """Whether a named piece with arguments begins a new call, since the one that it seems to belong to is whole."""
    return bool(name and arguments) and call.is_whole and (name, arguments) != (call.name, call.arguments)
