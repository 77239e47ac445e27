"""What a strict chat host refuses in a request: agents send much that only the Responses API has."""

from __future__ import annotations

import json
import re
from typing import Any, get_type_hints

from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming

Object = dict[str, Any]

_FIELDS = get_type_hints(CompletionCreateParamsStreaming).keys()
_MESSAGE_KEYS = {
    "system": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "refusal", "tool_calls", "reasoning_content"},
    "tool": {"role", "content", "tool_call_id"},
}
_PARTS = {"text": {"type", "text"}, "image_url": {"type", "image_url"}}
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def faults(body: Object) -> list[str]:
    """What is unlawful in a request of Chat Completions, in words."""
    found = [f"unknown field {key}" for key in sorted(body.keys() - _FIELDS)]
    return found + _faults_of_tools(body) + _faults_of_messages(body["messages"])


def _faults_of_tools(body: Object) -> list[str]:
    if "tools" not in body:
        return [f"{key} without tools" for key in ("tool_choice", "parallel_tool_calls") if key in body]
    functions = [tool["function"] for tool in body["tools"] if tool.keys() == {"type", "function"}]
    names = [function["name"] for function in functions]
    found = [] if body["tools"] else ["tools is empty"]
    if len(functions) < len(body["tools"]):
        found.append("a tool that is no function")
    if len(set(names)) < len(names):
        found.append("two tools of one name")
    found += [f"the name of tool {name}" for name in names if not _NAME.fullmatch(name)]
    found += [f"a field of tool {one['name']}" for one in functions if one.keys() - _FUNCTION_KEYS]
    return found + [f"the schema of tool {one['name']}" for one in functions if one["parameters"]["type"] != "object"]


_FUNCTION_KEYS = {"name", "description", "parameters", "strict"}


def _faults_of_messages(messages: list[Object]) -> list[str]:
    found: list[str] = []
    open_calls: set[str] = set()
    for place, message in enumerate(messages):
        role = message["role"]
        if message.keys() - _MESSAGE_KEYS.get(role, set()):
            found.append(f"message {place}: role {role} with {sorted(message)}")
        if role == "tool":
            if message["tool_call_id"] not in open_calls:
                found.append(f"message {place}: a result without its call")
            open_calls.discard(message["tool_call_id"])
            continue
        if open_calls:
            found.append(f"message {place}: calls before it have no result")
        found += _faults_of_content(place, message)
        calls = message.get("tool_calls", ())
        found += [f"message {place}: arguments" for call in calls if not _is_object(call["function"]["arguments"])]
        open_calls = {call["id"] for call in calls}
    return found + (["the last calls have no result"] if open_calls else [])


def _faults_of_content(place: int, message: Object) -> list[str]:
    content = message.get("content")
    if content is None:
        return [] if message.get("tool_calls") else [f"message {place}: no content"]
    parts = [] if isinstance(content, str) else content
    return [f"message {place}: a part {part}" for part in parts if part.keys() != _PARTS.get(part["type"])]


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
