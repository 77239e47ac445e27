"""`tool_choice` as a hard limit: calls of tools that may not be called never reach the caller."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from aigateway.canonical.events import Finished, ItemStarted, StreamEvent
from aigateway.canonical.types import AllowedTools, Change, NamedTool, Reply, Request, ToolCall, ToolChoice


def limit_of(request: Request, changes: list[Change]) -> CallLimit | None:
    """The limit that a request sets; None where it sets none. What is held back is listed in `changes`."""
    allowed = None if request.tool_choice is UNSET else _allowed(request.tool_choice)
    return None if allowed is None else CallLimit(allowed, changes)


class CallLimit:
    """Lets through the calls that are allowed. State of one reply."""

    def __init__(self, allowed: tuple[NamedTool, ...], changes: list[Change]) -> None:
        self._allowed = allowed
        self._changes = changes
        self._held: set[int] = set()
        self._passed = 0

    def filter_reply(self, reply: Reply) -> Reply:
        """The reply without forbidden calls."""
        items = tuple(item for item in reply.items if not (isinstance(item, ToolCall) and self._forbids(item)))
        if len(items) == len(reply.items):
            return reply
        return msgspec.structs.replace(
            reply, items=items, finish_reason=self._reason(reply.finish_reason, self._passed)
        )

    def filter_event(self, event: StreamEvent) -> StreamEvent | None:
        """The event; None where it belongs to a forbidden call."""
        if isinstance(event, ItemStarted) and isinstance(event.item, ToolCall) and self._forbids(event.item):
            self._held.add(event.index)
        if getattr(event, "index", None) in self._held:
            return None
        if isinstance(event, Finished) and self._held:
            return Finished(self._reason(event.reason, self._passed), event.service_tier)
        return event

    def _forbids(self, call: ToolCall) -> bool:
        if any(_names(tool, call) for tool in self._allowed):
            self._passed += 1
            return False
        self._changes.append(Change(field="tool_choice", action="dropped", reason="a call that is not allowed"))
        return True

    @staticmethod
    def _reason(reason: str, calls: int) -> str:
        return "stop" if reason == "tool_calls" and not calls else reason


def _allowed(choice: ToolChoice) -> tuple[NamedTool, ...] | None:
    if choice == "none":
        return ()
    if isinstance(choice, NamedTool):
        return (choice,)
    if isinstance(choice, AllowedTools):
        return tuple(tool for tool in choice.tools if isinstance(tool, NamedTool))
    return None


def _names(tool: NamedTool, call: ToolCall) -> bool:
    if tool.kind == "namespace":
        return call.namespace == tool.name
    return call.name == tool.name and tool.namespace in (UNSET, call.namespace)
