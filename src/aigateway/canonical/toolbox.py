"""The tools of one request as one flat list of names, for a format or host that has no groups or no custom tools.

Derived from the request alone: the same request always gives the same names, so that a conversation's calls are called
the same in every turn. A tool that stands alone keeps its name; one of a group gets the group's name before its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import msgspec
from msgspec import UNSET, UnsetType

from aigateway.canonical.events import Delta, ItemEnded, ItemStarted, StreamEvent
from aigateway.canonical.free_text import FreeText, as_function, wrapped
from aigateway.canonical.types import (
    AdditionalTools,
    AllowedTools,
    Change,
    CustomTool,
    FunctionTool,
    Item,
    NamedTool,
    Opaque,
    Reply,
    Request,
    Tool,
    ToolCall,
    ToolChoice,
    ToolGroup,
    ToolResult,
)

NAME_MAX = 64

_FORBIDDEN = re.compile(r"[^a-zA-Z0-9_-]")
_CUSTOM = "The target has no custom tools: they are sent as functions with one text."
_GROUPS = "The target has no namespaces: their tools are sent under names that hold both."
_PLACES = "The target takes tools in one place only: these are sent among the others."


class _Key(msgspec.Struct, frozen=True):
    """What the caller calls a tool."""

    kind: str
    namespace: str
    name: str


class Toolbox:
    """Names for a target, and back. custom: whether the target takes custom tools."""

    def __init__(self, request: Request, *, custom: bool) -> None:
        self._request = request
        self._custom = custom
        self._flat: dict[_Key, str] = {}
        self._keys: dict[str, _Key] = {}
        self.needed = _is_needed(request, custom=custom)
        if self.needed:
            self._name_all()

    def flattened(self, changes: list[Change]) -> Request:
        """The request with its tools, choice and calls as the target knows them."""
        if not self.needed:
            return self._request
        tools = self._tools()
        choice = self._request.tool_choice
        items = [item for item in self._request.items if not isinstance(item, AdditionalTools)]
        for change in self._changes():
            if change not in changes:
                changes.append(change)
        return msgspec.structs.replace(
            self._request,
            tools=tuple(tools) if tools or self._request.tools is not UNSET else UNSET,
            tool_choice=UNSET if choice is UNSET else self._choice(choice),
            items=tuple(self._item(item) for item in items),
        )

    def restored(self, call: ToolCall) -> ToolCall:
        """A call that the target made, whole, as the caller knows its tool."""
        text = self.free_text_of(call)
        if text is None:
            return self.renamed(call)
        arguments = text.feed(call.arguments) + text.finish()
        return msgspec.structs.replace(
            self.renamed(call), arguments=arguments, status=call.status if text.is_cut else UNSET
        )

    def renamed(self, call: ToolCall) -> ToolCall:
        """The call under the caller's name, its arguments as they are."""
        key = self._keys.get(call.name)
        if key is None:
            return call
        return msgspec.structs.replace(call, name=key.name, namespace=key.namespace or UNSET, kind=key.kind)

    def free_text_of(self, call: ToolCall) -> FreeText | None:
        """For the arguments of a call whose tool is a custom one, sent as a function."""
        key = self._keys.get(call.name)
        return FreeText() if key is not None and key.kind == "custom" and call.kind == "function" else None

    # names

    def _name_all(self) -> None:
        """Tools that stand alone first: nothing takes their names from them."""
        keys = [key for group, tool in _offered(self._request) if (key := _key_of(group, tool)) is not None]
        calls = [item for item in self._request.items if isinstance(item, ToolCall)]
        keys += [_Key(call.kind, call.namespace or "", call.name) for call in calls]
        for key in sorted(keys, key=lambda key: bool(key.namespace)):
            self._name(key)

    def _name(self, key: _Key) -> str:
        known = self._flat.get(key)
        if known is not None:
            return known
        wanted = f"{key.namespace}__{key.name}" if key.namespace else key.name
        flat = _FORBIDDEN.sub("_", wanted) if key.namespace else wanted
        if flat in self._keys or (key.namespace and (flat != wanted or len(flat) > NAME_MAX)):
            mark = hashlib.sha256(f"{key.kind}/{key.namespace}/{key.name}".encode()).hexdigest()[:8]
            flat = f"{_FORBIDDEN.sub('_', wanted)[: NAME_MAX - 9]}_{mark}"
        self._flat[key] = flat
        self._keys[flat] = key
        return flat

    # the way up

    def _tools(self) -> list[Tool]:
        """All tools once; of a tool that is offered again the last definition counts."""
        hosted: list[Tool] = []
        found: dict[_Key, Tool] = {}
        introduced: set[str] = set()
        for group, tool in _offered(self._request):
            key = _key_of(group, tool)
            if key is None or isinstance(tool, Opaque | ToolGroup):
                hosted.append(tool)
                continue
            plain = as_function(tool) if isinstance(tool, CustomTool) and not self._custom else tool
            if group is not None and group.description and group.name not in introduced:
                introduced.add(group.name)
                plain = _introduced(plain, group.description)
            found[key] = msgspec.structs.replace(plain, name=self._name(key))
        return [*found.values(), *hosted]

    def _choice(self, choice: ToolChoice) -> ToolChoice:
        if isinstance(choice, NamedTool) and choice.kind == "namespace":
            return AllowedTools(tools=tuple(self._named(choice)), mode="required")
        if isinstance(choice, NamedTool):
            return next(iter(self._named(choice)), choice)
        if isinstance(choice, AllowedTools):
            tools: list[NamedTool | Opaque] = []
            for tool in choice.tools:
                tools += [tool] if isinstance(tool, Opaque) else self._named(tool)
            return AllowedTools(tools=tuple(tools), mode=choice.mode)
        return choice

    def _named(self, tool: NamedTool) -> list[NamedTool]:
        """The offered tools that are meant. A bare name means the tool that stands alone, else those in groups."""
        offered = [key for group, one in _offered(self._request) if (key := _key_of(group, one)) is not None]
        if tool.kind == "namespace":
            meant = [key for key in offered if key.namespace == tool.name]
        else:
            meant = [key for key in offered if (key.kind, key.name) == (tool.kind, tool.name)]
            if tool.namespace is not UNSET:
                meant = [key for key in meant if key.namespace == tool.namespace]
            meant = [key for key in meant if not key.namespace] or meant
        return [NamedTool(name=self._name(key), kind=self._kind(key.kind)) for key in dict.fromkeys(meant)]

    def _item(self, item: Item) -> Item:
        if isinstance(item, ToolCall):
            name = self._name(_Key(item.kind, item.namespace or "", item.name))
            kind = self._kind(item.kind)
            arguments = item.arguments if kind == item.kind else wrapped(item.arguments)
            return msgspec.structs.replace(item, name=name, namespace=UNSET, kind=kind, arguments=arguments)
        if isinstance(item, ToolResult) and item.kind == "custom":
            return msgspec.structs.replace(item, kind=self._kind(item.kind))
        return item

    def _kind(self, kind: str) -> str:
        return "function" if kind == "custom" and not self._custom else kind

    def _changes(self) -> Iterator[Change]:
        offered = list(_offered(self._request))
        if not self._custom and any(isinstance(tool, CustomTool) for _, tool in offered):
            yield Change(field="tools", action="changed", reason=_CUSTOM)
        if any(group is not None for group, _ in offered):
            yield Change(field="tools", action="changed", reason=_GROUPS)
        if any(isinstance(item, AdditionalTools) for item in self._request.items):
            yield Change(field="input", action="changed", reason=_PLACES)


class CallRestorer:
    """Gives the calls of one reply back as the caller knows their tools. State of one stream."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox
        self._texts: dict[int, FreeText] = {}
        self._given: dict[int, list[str]] = {}

    def reply(self, reply: Reply) -> Reply:
        """A whole reply."""
        items = (self._toolbox.restored(item) if isinstance(item, ToolCall) else item for item in reply.items)
        return msgspec.structs.replace(reply, items=tuple(items))

    def event(self, event: StreamEvent) -> list[StreamEvent]:
        """What one event becomes."""
        if isinstance(event, ItemStarted) and isinstance(event.item, ToolCall):
            return self._started(event.index, event.item)
        if isinstance(event, Delta) and event.index in self._texts:
            return self._more(event.index, self._texts[event.index].feed(event.text))
        if isinstance(event, ItemEnded) and isinstance(event.item, ToolCall):
            return self._ended(event.index, event.item)
        return [event]

    def _started(self, index: int, call: ToolCall) -> list[StreamEvent]:
        text = self._toolbox.free_text_of(call)
        renamed = self._toolbox.renamed(call)
        if text is None:
            return [ItemStarted(index, renamed)]
        self._texts[index] = text
        self._given[index] = []
        started = ItemStarted(index, msgspec.structs.replace(renamed, arguments=""))
        return [started, *self._more(index, text.feed(call.arguments))]

    def _more(self, index: int, text: str) -> list[StreamEvent]:
        if not text:
            return []
        self._given[index].append(text)
        return [Delta(index, 0, text)]

    def _ended(self, index: int, call: ToolCall) -> list[StreamEvent]:
        text = self._texts.pop(index, None)
        renamed = self._toolbox.renamed(call)
        if text is None:
            return [ItemEnded(index, renamed)]
        rest = self._more(index, text.finish())
        status: str | UnsetType = call.status if text.is_cut else UNSET
        arguments = "".join(self._given.pop(index))
        return [*rest, ItemEnded(index, msgspec.structs.replace(renamed, arguments=arguments, status=status))]


def _is_needed(request: Request, *, custom: bool) -> bool:
    """Whether any tool has another name or kind at the target."""
    tools = set() if request.tools is UNSET else set(map(type, request.tools))
    if ToolGroup in tools or (not custom and CustomTool in tools):
        return True
    items = set(map(type, request.items))
    if ToolCall in items:
        for item in request.items:
            if isinstance(item, ToolCall) and (item.namespace is not UNSET or (not custom and item.kind == "custom")):
                return True
    return AdditionalTools in items


def _offered(request: Request) -> Iterator[tuple[ToolGroup | None, Tool]]:
    """Every tool with its group, wherever the request holds it."""
    places = [() if request.tools is UNSET else request.tools]
    places += [item.tools for item in request.items if isinstance(item, AdditionalTools)]
    for tools in places:
        for tool in tools:
            yield from _within(tool, None)


def _within(tool: Tool, group: ToolGroup | None) -> Iterator[tuple[ToolGroup | None, Tool]]:
    if isinstance(tool, ToolGroup):
        for one in () if tool.tools is UNSET else tool.tools:
            yield from _within(one, tool)
    else:
        yield group, tool


def _key_of(group: ToolGroup | None, tool: Tool) -> _Key | None:
    """None for a tool that only its own format knows."""
    if isinstance(tool, Opaque | ToolGroup):
        return None
    return _Key("custom" if isinstance(tool, CustomTool) else "function", group.name if group else "", tool.name)


def _introduced(tool: FunctionTool | CustomTool, words: str) -> FunctionTool | CustomTool:
    """The first tool of a group tells what the group is for."""
    return msgspec.structs.replace(tool, description=f"{words}\n\n{tool.description}" if tool.description else words)
