"""A request of another format made to fit the Responses API: what it lacks is dropped and listed, or refused."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from aigateway.canonical.effort import effort_of
from aigateway.canonical.filenames import named
from aigateway.canonical.types import (
    Audio,
    Change,
    File,
    Item,
    Message,
    Opaque,
    Part,
    Reasoning,
    Request,
    Text,
    ToolCall,
    ToolResult,
    WebSearch,
)
from aigateway.canonical.uncarried import UncarriedError, foreign_keys, is_record, kind_of
from aigateway.errors import UnsupportedError
from aigateway.formats.responses.fields import FORMAT, given
from aigateway.formats.responses.items import ENCRYPTED, ORIGIN

LOGPROBS = "message.output_text.logprobs"
MIN_OUTPUT_TOKENS = 16

_LACKING = ("stop", "seed", "logit_bias", "prediction", "audio", "presence_penalty", "frequency_penalty", "top_k")


def fitted(request: Request, changes: list[Change]) -> Request:
    """The request with only what the Responses API has. UnsupportedError for several choices, and for audio.

    Nothing is stored at the upstream unless the caller asked for it: other APIs keep nothing by default.
    """
    _refuse(request)
    without: dict[str, Any] = {}
    lacking = [field for field in _LACKING if getattr(request, field) is not UNSET]
    without |= dict.fromkeys(lacking, UNSET)
    unknown = () if request.extra is UNSET else request.extra.fields
    for field in (*lacking, *unknown, *foreign_keys(request, FORMAT)):
        _note(changes, Change(field=field, action="dropped", reason=f"The Responses API has no {field}."))
    if request.reasoning_budget is not UNSET:
        without["reasoning_effort"] = effort = effort_of(request)
        if request.reasoning_budget == 0 and effort is UNSET:
            reason = "The Responses API has no word that every model takes for no reasoning at all."
            _note(changes, Change(field="reasoning_budget", action="dropped", reason=reason))
    without |= _fitted_tools(request, changes)
    if request.web_search is not UNSET:
        offered = without.get("tools", request.tools)
        without["tools"] = (*(() if offered is UNSET else offered), _search_tool(request.web_search))
    wanted = () if request.include is UNSET else request.include
    if effort_of(request) not in (UNSET, "none") and ENCRYPTED not in wanted:
        wanted = (*wanted, ENCRYPTED)
    if request.logprobs is True and LOGPROBS not in wanted:
        wanted = (*wanted, LOGPROBS)
    if wanted:
        without["include"] = wanted
    if request.store is UNSET:
        without["store"] = False
    items = tuple(item for item in (_fitted_item(item, changes) for item in request.items) if item is not None)
    if request.items and not items:
        raise UncarriedError("The Responses API cannot carry a conversation in which nobody says anything.", None)
    return msgspec.structs.replace(
        request,
        items=items,
        max_output_tokens=_fitted_limit(request, changes),
        **without,
    )


def _fitted_tools(request: Request, changes: list[Change]) -> dict[str, Any]:
    """The tools without those that only another maker runs; the choice goes where none is left.

    Raises UnsupportedError where one of them is demanded.
    """
    tools = () if request.tools is UNSET else request.tools
    kept = tuple(tool for tool in tools if not (isinstance(tool, Opaque) and tool.format != FORMAT))
    if len(kept) == len(tools):
        return {}
    choice = request.tool_choice
    if (isinstance(choice, Opaque) and choice.format != FORMAT) or (choice == "required" and not kept):
        raise UnsupportedError("tool_choice demands a tool that the target cannot offer.", param="tool_choice")
    for tool in tools:
        if isinstance(tool, Opaque) and tool.format != FORMAT:
            reason = f"The Responses API has no tool of type {kind_of(tool)}."
            _note(changes, Change(field="tools", action="dropped", reason=reason))
    return {"tools": kept} if kept else {"tools": UNSET, "tool_choice": UNSET, "parallel_tool_calls": UNSET}


def _search_tool(search: WebSearch) -> Opaque:
    """The tool that searches the web, as the Responses API has it."""
    where = UNSET if search.location is UNSET else {"type": "approximate", **search.location}
    facts = given(search_context_size=search.context_size, user_location=where)
    return Opaque(format=FORMAT, raw={"type": "web_search", **facts})


def _refuse(request: Request) -> None:
    if request.n is not UNSET and request.n > 1:
        raise UnsupportedError(
            "This model is served by the Responses API, which gives one choice. Send `n` requests, or leave `n` out.",
            param="n",
        )
    if request.modalities is not UNSET and set(request.modalities) - {"text"}:
        raise UnsupportedError(
            "This model is served by the Responses API, which answers in text only. Leave `modalities` out.",
            param="modalities",
        )


def _fitted_limit(request: Request, changes: list[Change]) -> int | msgspec.UnsetType:
    limit = request.max_output_tokens
    if limit is UNSET or limit >= MIN_OUTPUT_TOKENS:
        return limit
    changes.append(
        Change(
            field="max_output_tokens",
            action="changed",
            reason=f"The Responses API takes no limit below {MIN_OUTPUT_TOKENS}.",
        )
    )
    return MIN_OUTPUT_TOKENS


def _fitted_item(item: Item, changes: list[Change]) -> Item | None:
    """The item without what the Responses API would refuse; None where nothing is left of it."""
    if isinstance(item, Message):
        _refuse_audio(item.content)
        if item.name is not UNSET:
            _note(
                changes,
                Change(field="name", action="dropped", reason="The Responses API has no names of participants."),
            )
        return _with_names(_without_breakpoints(item, changes)) if item.content else None
    if isinstance(item, ToolCall) and item.signature is not UNSET:
        reason = "Only its maker takes back what it has signed."
        _note(changes, Change(field="tool_calls.signature", action="dropped", reason=reason))
    if isinstance(item, ToolResult):
        if item.is_error is True:
            _note(changes, Change(field="is_error", action="dropped", reason="The Responses API has no is_error."))
        if not isinstance(item.output, str):
            _refuse_audio(item.output)
            return msgspec.structs.replace(item, output=_named_files(item.output))
    if isinstance(item, Opaque) and item.format != FORMAT and is_record(item):
        reason = "The Responses API has no record of what another maker's tool did."
        _note(changes, Change(field="messages", action="dropped", reason=reason))
        return None
    if isinstance(item, Reasoning) and (item.origin not in (UNSET, ORIGIN) or item.signature is not UNSET):
        field = "reasoning.encrypted_content" if item.encrypted is not UNSET else "reasoning.signature"
        _note(changes, Change(field=field, action="dropped", reason="Only its maker can use it, who is another."))
        return None
    if isinstance(item, Reasoning) and item.id is UNSET and item.encrypted is UNSET:
        reason = "The Responses API takes back only reasoning of its own, with its id or encrypted content."
        _note(changes, Change(field="reasoning", action="dropped", reason=reason))
        return None
    return item


def _without_breakpoints(message: Message, changes: list[Change]) -> Message:
    """What the assistant said has no cache breakpoints in this API."""
    if message.role != "assistant" or not any(_is_breakpoint(part) for part in message.content):
        return message
    reason = "The Responses API has no cache breakpoints in what the assistant said."
    _note(changes, Change(field="prompt_cache_breakpoint", action="dropped", reason=reason))
    parts = (
        msgspec.structs.replace(part, prompt_cache_breakpoint=UNSET) if isinstance(part, Text) else part
        for part in message.content
    )
    return msgspec.structs.replace(message, content=tuple(parts))


def _with_names(message: Message) -> Message:
    if File not in set(map(type, message.content)):
        return message
    return msgspec.structs.replace(message, content=_named_files(message.content))


def _named_files(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    return tuple(named(part) if isinstance(part, File) else part for part in parts)


def _is_breakpoint(part: Part) -> bool:
    return isinstance(part, Text) and part.prompt_cache_breakpoint is not UNSET


def _refuse_audio(parts: tuple[Part, ...]) -> None:
    if any(isinstance(part, Audio) for part in parts):
        raise UnsupportedError(
            "This model is served by the Responses API, which takes no audio. Send the words as text, or use a model "
            "served by the chat API.",
            param="messages",
            code="unsupported_content",
        )


def _note(changes: list[Change], change: Change) -> None:
    """List a change once, however many items it befell."""
    if change not in changes:
        changes.append(change)
