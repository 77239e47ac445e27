"""The response resource as the caller gets it: all the keys that Open Responses requires and those of OpenAI's schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from aigateway import _json
from aigateway.canonical.accumulator import is_json
from aigateway.canonical.lens import Document
from aigateway.canonical.seal import Sealed, seal
from aigateway.canonical.types import (
    Audio,
    Item,
    Message,
    Opaque,
    Part,
    Reasoning,
    Reply,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from aigateway.canonical.uncarried import note_lost
from aigateway.formats.protocol import ReplyContext
from aigateway.formats.responses.fields import FORMAT
from aigateway.formats.responses.items import ENCRYPTED, encode_item
from aigateway.formats.responses.open_responses import adapt_echo, adapt_item
from aigateway.formats.responses.tools import echoed_text, echoed_tool_choice, echoed_tools

T = TypeVar("T")

LACKING = (Audio,)
"""What a response cannot hold."""

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_IF_GIVEN = ("user", "prompt_cache_retention")


def _echoed_reasoning(value: Any) -> dict[str, Any]:
    wanted = value if isinstance(value, dict) else {}
    return {"effort": wanted.get("effort"), "summary": wanted.get("summary") or wanted.get("generate_summary")}


_ECHOED: dict[str, Callable[[Any], Any]] = {
    "tools": echoed_tools,
    "tool_choice": echoed_tool_choice,
    "text": echoed_text,
    "reasoning": _echoed_reasoning,
}
"""What a response repeats in another form than its request has it."""


def _unsaid(name: str) -> msgspec.Raw:
    return msgspec.Raw(_json.encode(_ECHOED[name](None)))


class _Echo(msgspec.Struct):
    """What a response repeats of its request, with what it says where that is silent."""

    id: Any = ""
    object: Any = "response"
    created_at: Any = 0
    model: Any = ""
    previous_response_id: str | None = None
    instructions: str | None = None
    truncation: str = "disabled"
    parallel_tool_calls: bool = True
    temperature: int | float = 1.0
    top_p: int | float = 1.0
    presence_penalty: int | float = 0.0
    frequency_penalty: int | float = 0.0
    top_logprobs: int = 0
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    store: bool = True
    background: bool = False
    metadata: dict[str, str] = {}
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    tools: msgspec.Raw = _unsaid("tools")
    tool_choice: msgspec.Raw = _unsaid("tool_choice")
    text: msgspec.Raw = _unsaid("text")
    reasoning: msgspec.Raw = _unsaid("reasoning")
    user: str | UnsetType = UNSET
    prompt_cache_retention: str | UnsetType = UNSET


class _Resource(_Echo):
    """The rest of it, to be filled in."""

    status: Any = None
    completed_at: Any = None
    error: Any = None
    incomplete_details: Any = None
    output: Any = None
    service_tier: Any = None
    usage: Any = None


_REQUEST: msgspec.json.Decoder[_Resource] = msgspec.json.Decoder(_Resource)
_SILENT = _Echo()
_ECHO: dict[str, Any] = _json.decode(_json.encode(_SILENT))
for _name in ("id", "object", "created_at", "model"):
    del _ECHO[_name]
_DEFAULT_ECHO = _json.encode(_ECHO)
_DEFAULTS = {name: value for name, value in _ECHO.items() if name not in _ECHOED}


class ResourceWriter:
    """Writes one response's snapshots. Every one is a copy of its own, which its reader may change, if there are several."""

    __slots__ = ("_adapts", "_echo", "_head", "_now", "service_tier")

    def __init__(self, context: ReplyContext) -> None:
        now = context.now()
        self._now = context.now
        self._adapts = context.profile == "open_responses"
        echo = _echoed(context.body)
        if self._adapts:
            echo = copied(echo)
            adapt_echo(echo)
        self._head: dict[str, Any] = {
            "id": context.new_id("resp"),
            "object": "response",
            "created_at": now,
            "model": context.model,
            **echo,
        }
        self._echo = b""
        self.service_tier: str | UnsetType = UNSET

    def write(
        self,
        status: str,
        output: list[dict[str, Any]],
        *,
        usage: Usage | UnsetType = UNSET,
        reason: str | None = None,
        error: dict[str, Any] | None = None,
        only: bool = False,
    ) -> dict[str, Any]:
        """The resource as it stands: in_progress, completed, incomplete (for a finish `reason`) or failed.

        only: it is the first and the last one, and may share with the request and the output.
        """
        if only:
            resource = self._head
        else:
            self._echo = self._echo or _json.encode(self._head)
            resource = _json.decode(self._echo)
        resource["status"] = status
        resource["completed_at"] = self._now() if status == "completed" else None
        resource["error"] = error
        resource["incomplete_details"] = {"reason": reason} if reason else None
        resource["output"] = output = output if only and not self._adapts else copied(output)
        if self._adapts:
            for item in output:
                adapt_item(item)
        resource["service_tier"] = "default" if self.service_tier is UNSET else self.service_tier
        resource["usage"] = None if usage is UNSET else encode_usage(usage)
        return resource


def encode_reply(reply: Reply, context: ReplyContext) -> dict[str, Any]:
    """The whole resource of a finished reply. It may share with the request's body."""
    writer = ResourceWriter(context)
    writer.service_tier = reply.service_tier
    status, reason = ending(reply.finish_reason)
    return writer.write(status, _output(reply, status, context), usage=reply.usage, reason=reason, only=True)


def reply_document(reply: Reply, context: ReplyContext) -> bytes:
    """The same as text. Most of what a response repeats, most requests say as it is repeated, or not at all."""
    resource = _repeating(context.document) if context.profile == "openai" else None
    if resource is None:
        return _json.encode(encode_reply(reply, context))
    status, reason = ending(reply.finish_reason)
    resource.created_at = now = context.now()
    resource.id = context.new_id("resp")
    resource.object = "response"
    resource.model = context.model
    resource.status = status
    resource.completed_at = now if status == "completed" else None
    resource.error = None
    resource.incomplete_details = {"reason": reason} if reason else None
    resource.output = _output(reply, status, context)
    resource.service_tier = "default" if reply.service_tier is UNSET else reply.service_tier
    resource.usage = None if reply.usage is UNSET else encode_usage(reply.usage)
    return _json.encode(resource)


def _repeating(document: Document) -> _Resource | None:
    """A resource with what it repeats of this request; None where that is not simply a copy."""
    if document.touched:
        return None
    try:
        resource = _REQUEST.decode(document.raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if resource.tools is not _SILENT.tools or resource.tool_choice is not _SILENT.tool_choice:
        return None
    return resource if resource.text is _SILENT.text and resource.reasoning is _SILENT.reasoning else None


def _output(reply: Reply, status: str, context: ReplyContext) -> list[dict[str, Any]]:
    if len(reply.items) == 1 and isinstance(reply.items[0], Message):  # as mostly
        plain = _plain_output(reply.items[0], context, status)
        if plain is not None:
            return [plain]
    for item in reply.items:
        note_lost(item, FORMAT, LACKING, context.changes)
    wanted = seal_of(context)
    items = [whole_item(item, wanted) for item in reply.items if is_ours(item)]
    ids = ItemIds(context)
    last = len(items) - 1
    return [
        output_item(item, ids.take(item), "completed" if place < last else status) for place, item in enumerate(items)
    ]


def empty_resource() -> dict[str, Any]:
    """The resource of a response of which nothing is known."""
    head = {"id": "", "object": "response", "created_at": 0, "model": "", "output": [], "usage": None}
    return head | copied(_echoed({})) | {"service_tier": "default"}


def queued_resource(body: dict[str, Any], *, id: str, model: str, now: int) -> dict[str, Any]:
    """The resource of a response that nobody has begun to make. body: its request."""
    head = {"id": id, "object": "response", "created_at": now, "model": model, "status": "queued", "output": []}
    told = {"completed_at": None, "error": None, "incomplete_details": None, "usage": None, "service_tier": "default"}
    return head | copied(_echoed(body)) | told


def ending(finish_reason: str) -> tuple[str, str | None]:
    """The status of a response that finished for this reason, and what its incomplete_details say."""
    reason = _INCOMPLETE.get(finish_reason)
    return ("completed" if reason is None else "incomplete"), reason


def _echoed(body: dict[str, Any]) -> dict[str, Any]:
    """What a response repeats of its request."""
    echo: dict[str, Any] = _json.decode(_DEFAULT_ECHO)
    for name in _DEFAULTS.keys() & body.keys():
        value = body[name]
        if value is not None:
            echo[name] = value
    for name in _ECHOED.keys() & body.keys():
        echo[name] = _ECHOED[name](body[name])
    for name in _IF_GIVEN:
        if body.get(name) is not None:
            echo[name] = body[name]
    return echo


def encode_usage(usage: Usage) -> dict[str, Any]:
    """The usage object, with all its details."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens or usage.input_tokens + usage.output_tokens,
    }


# --- output items ---


def is_ours(value: object) -> bool:
    """Whether this format can show an item, part or annotation: all but what only another format understands."""
    return not isinstance(value, Opaque) or value.format == FORMAT


class ItemIds:
    """The ids under which the items of one response go out, each only once.

    An item keeps its own id if it looks like one of this format's, and gets a new one if not.
    """

    __slots__ = ("_context", "_taken")

    def __init__(self, context: ReplyContext) -> None:
        self._context = context
        self._taken: set[str] = set()

    def take(self, item: Item) -> str:
        """The id of the next item."""
        prefix = _prefix(item)
        known = item.raw.get("id") if isinstance(item, Opaque) else item.id
        ours = isinstance(known, str) and (isinstance(item, Opaque) or known.startswith(f"{prefix}_"))
        chosen = known if ours and known and known not in self._taken else self._context.new_id(prefix)
        self._taken.add(chosen)
        return chosen


def _prefix(item: Item) -> str:
    if isinstance(item, Message):
        return "msg"
    if isinstance(item, Reasoning):
        return "rs"
    if isinstance(item, ToolCall):
        return "fc" if item.kind == "function" else "ctc"
    if isinstance(item, ToolResult):
        return "fco" if item.kind == "function" else "ctco"
    return "item"


def output_item(item: Item, id: str, status: str) -> dict[str, Any]:
    """An item as a response shows it; `status` is in_progress, completed or incomplete."""
    if isinstance(item, Message):
        plain = _plain_output(item, id, status)
        if plain is not None:
            return plain
    if isinstance(item, Opaque):
        announced = status == "in_progress" and "status" in item.raw
        told = {"status": status} if announced or item.raw.get("status") == "in_progress" else {}
        return copied(item.raw) | {"id": id} | told
    if isinstance(item, Message):
        item = msgspec.structs.replace(item, role="assistant", content=output_parts(item))
    elif isinstance(item, ToolCall) and status == "completed" and is_broken(item):
        status = "incomplete"
    raw = copied(encode_item(item))
    if isinstance(item, Message):
        for part in raw["content"]:
            if part["type"] == "output_text":
                part["logprobs"] = encode_logprobs(part.get("logprobs"))
    raw["id"] = id
    raw["status"] = status
    return raw


def _plain_output(item: Message, id: str | ReplyContext, status: str) -> dict[str, Any] | None:
    """The same of a message with nothing but bare texts, as most are; None of any other. id: or who makes one."""
    if item.id is not UNSET or item.status is not UNSET or item.phase is not UNSET or item.extra is not UNSET:
        return None
    content: list[dict[str, Any]] = []
    for part in item.content:
        if type(part) is not Text or part.annotations or part.logprobs:
            return None
        if part.extra is not UNSET or part.prompt_cache_breakpoint is not UNSET:
            return None
        content.append({"type": "output_text", "text": part.text, "annotations": [], "logprobs": []})
    known = id if isinstance(id, str) else id.new_id("msg")
    return {"type": "message", "role": "assistant", "content": content, "id": known, "status": status}


def output_parts(message: Message) -> tuple[Part, ...]:
    """The parts of a message that this format can show: what was spoken is shown as text."""
    return tuple(_spoken(part) for part in message.content if is_ours(part))


def _spoken(part: Part) -> Part:
    return Text(text=part.transcript or "") if isinstance(part, Audio) else part


Seal = Literal["none", "mark", "content"]
"""What is sealed of a thought that was told in the open."""


def seal_of(context: ReplyContext) -> Seal:
    """A mark on what came from another API, for OpenAI must not look for its id; all for who asked for it encrypted.

    Some of these bring back only that.
    """
    include = context.request.include
    if not context.translated:
        return "none"
    return "content" if include is not UNSET and ENCRYPTED in include else "mark"


def whole_item(item: Item, wanted: Seal) -> Item:
    """An item that has ended: a function without arguments has the arguments `{}`, an open thought its seal."""
    if isinstance(item, Reasoning) and wanted != "none" and item.encrypted is UNSET and item.signature is UNSET:
        sealed = Sealed(origin=item.origin or "", content=item.content if wanted == "content" else ())
        return msgspec.structs.replace(item, encrypted=seal(sealed), origin=UNSET)
    if isinstance(item, ToolCall) and item.kind == "function" and not item.arguments:
        return msgspec.structs.replace(item, arguments="{}")
    return item


def is_broken(call: ToolCall) -> bool:
    """Whether a function's arguments are not JSON, as when they were cut, or a custom call is known to be cut."""
    return call.status == "incomplete" if call.kind == "custom" else not is_json(call.arguments)


def encode_logprobs(logprobs: list[dict[str, Any]] | tuple[dict[str, Any], ...] | None) -> list[dict[str, Any]]:
    """Token objects with all their keys: hosts leave out the bytes and the alternatives, or give null for them."""
    return [
        _token(entry) | {"top_logprobs": [_token(other) for other in entry.get("top_logprobs") or ()]}
        for entry in logprobs or ()
    ]


def _token(entry: dict[str, Any]) -> dict[str, Any]:
    token = entry.get("token") or ""
    known = entry.get("bytes")
    return {
        "token": token,
        "logprob": entry.get("logprob"),
        "bytes": list(token.encode("utf-8", "replace")) if known is None else list(known),
    }


def copied(value: T) -> T:
    """A copy of a JSON value that shares nothing with the original."""
    copy: T = _json.decode(_json.encode(value))
    return copy
