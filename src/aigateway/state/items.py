"""Items as they are kept: JSON bytes in the Responses API's own form, each with an id. Nothing else in them is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from aigateway import _json
from aigateway.errors import InvalidRequestError

NewId = Callable[[str], str]

_PREFIXES: Final = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "compaction": "cmp",
}
_CALLS: Final = {
    "function_call_output": "function_call",
    "custom_tool_call_output": "custom_tool_call",
    "computer_call_output": "computer_call",
    "local_shell_call_output": "local_shell_call",
    "shell_call_output": "shell_call",
    "apply_patch_call_output": "apply_patch_call",
    "tool_search_output": "tool_search_call",
}
"""The type of a result -> that of the call it answers."""

_OUTPUT: Final = b"_output"
REFERENCE: Final = "item_reference"
_REFERENCE: Final = b'"item_reference"'


class ItemHead(msgspec.Struct):
    """What is read of an item."""

    type: str | None = None
    id: str | None = None
    role: str | None = None
    call_id: str | None = None

    @property
    def is_reference(self) -> bool:
        """Whether it only names another item: `{"type": "item_reference", "id"}`, or an id alone."""
        return self.type == REFERENCE or (self.type is None and self.role is None and self.id is not None)


_HEAD: Final = msgspec.json.Decoder(ItemHead)
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])


def head_of(item: bytes) -> ItemHead:
    """An empty one for what is no item: whoever has to understand it will say so."""
    try:
        return _HEAD.decode(item)
    except (msgspec.DecodeError, RecursionError):
        return ItemHead()


def items_of(value: bytes, param: str = "input") -> list[bytes]:
    """The items of an `input`: a string is one message of the user. Raises InvalidRequestError."""
    if value in (b"", b"null"):
        return []
    if value[:1] == b'"':
        return [b'{"type":"message","role":"user","content":[{"type":"input_text","text":%b}]}' % value]
    try:
        return [bytes(raw) for raw in _LIST.decode(value)]
    except msgspec.DecodeError as error:
        raise InvalidRequestError(
            f"Invalid type for '{param}': expected a string or an array of items.", param=param, code="invalid_type"
        ) from error


def listed(items: Iterable[bytes]) -> bytes:
    """A JSON array of items."""
    return b"[%b]" % b",".join(items)


def entry_of(item: bytes, new_id: NewId) -> tuple[str, bytes]:
    """An item as an entry of a log: its id, a new one where it has none, and the item with it. References have none."""
    head = head_of(item)
    if head.is_reference:
        return "", item
    if head.id:
        return head.id, item
    name = new_id(_PREFIXES.get(head.type or "message", "item"))
    if not item.startswith(b"{"):
        return name, item
    if b'"id"' in item:
        value = _json.decode(item)
        return name, _json.encode({"id": name} | {key: entry for key, entry in value.items() if key != "id"})
    rest = item[1:].lstrip()
    return name, b'{"id":"%b"%b%b' % (name.encode(), b"" if rest.startswith(b"}") else b",", rest)


def entries_of(items: Iterable[bytes], new_id: NewId) -> tuple[tuple[str, bytes], ...]:
    """Items as entries."""
    return tuple(entry_of(item, new_id) for item in items)


def references(items: Iterable[bytes]) -> list[str]:
    """The ids that items refer to, as far as they are references."""
    heads = [head_of(item) for item in items if _REFERENCE in item or b'"type"' not in item]
    return [head.id or "" for head in heads if head.is_reference]


def without_id(item: bytes) -> bytes:
    """An item without its id: what is kept of it gets another one."""
    value = _json.decode(item)
    return _json.encode({name: field for name, field in value.items() if name != "id"})


def without_references(items: Iterable[bytes]) -> list[bytes]:
    """Items but for those that only name another one."""
    return [item for item in items if not references([item])]


def require_calls(new: Sequence[bytes], earlier: Sequence[bytes]) -> None:
    """Raise InvalidRequestError where a result among the new items answers no call of the whole conversation."""
    results: list[tuple[str, str]] = []
    called: set[tuple[str, str]] = set()
    for item in new:
        head = head_of(item)
        if head.call_id and head.type in _CALLS:
            results.append((_CALLS[head.type], head.call_id))
        elif head.call_id and head.type:
            called.add((head.type, head.call_id))
    missing = [result for result in results if result not in called]
    if not missing:
        return
    for item in earlier:
        if b'"call_id"' in item:
            head = head_of(item)
            called.add((head.type or "", head.call_id or ""))
    for kind, call_id in missing:
        if (kind, call_id) not in called:
            what = "tool" if kind != "function_call" else "function"
            raise InvalidRequestError(
                f"No {what} call found for {what} call output with call_id {call_id}.", param="input"
            )


def shown(item: bytes) -> dict[str, Any]:
    """An item as listings show it: its type and status said, a text as one part."""
    value: dict[str, Any] = _json.decode(item)
    kind = value.setdefault("type", "message")
    if kind == "message":
        text_type = "output_text" if value.get("role") == "assistant" else "input_text"
        content = value.get("content")
        if isinstance(content, str):
            part: dict[str, Any] = {"type": text_type, "text": content}
            value["content"] = [part | ({"annotations": []} if text_type == "output_text" else {})]
    if kind in _PREFIXES and kind not in ("compaction", "reasoning"):
        value.setdefault("status", "completed")
    return value
