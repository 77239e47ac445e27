"""The law that requests are held against here knows what strict hosts refuse."""

from __future__ import annotations

from typing import Any

import pytest

from clients.chat_law import faults

Object = dict[str, Any]

TOOL: Object = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
CALL: Object = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
HI: Object = {"role": "user", "content": "hi"}
CALLED: Object = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT: Object = {"role": "tool", "tool_call_id": "c1", "content": "seen"}
LAWFUL: Object = {
    "model": "m",
    "stream": True,
    "messages": [HI, CALLED, RESULT],
    "tools": [TOOL],
    "tool_choice": "auto",
}


def named(name: str) -> Object:
    return {"type": "function", "function": TOOL["function"] | {"name": name}}


def test_a_lawful_request_has_no_faults() -> None:
    assert faults(LAWFUL) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"client_metadata": {}}, "unknown field client_metadata"),
        ({"tools": []}, "tools is empty"),
        ({"tools": [TOOL, TOOL]}, "two tools of one name"),
        ({"tools": [named("a.b")]}, "the name of tool a.b"),
        ({"tools": [{"type": "web_search"}]}, "a tool that is no function"),
        ({"messages": [HI, RESULT]}, "message 1: a result without its call"),
        ({"messages": [HI, CALLED]}, "the last calls have no result"),
        ({"messages": [HI, CALLED, HI, RESULT]}, "message 2: calls before it have no result"),
        ({"messages": [HI | {"status": "completed"}]}, "message 0: role user with ['content', 'role', 'status']"),
        ({"messages": [{"role": "assistant", "content": None}]}, "message 0: no content"),
        ({"messages": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]}, "message 0: a part"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_strict_host_refuses_is_found(change: Object, fault: str) -> None:
    assert any(found.startswith(fault) for found in faults(LAWFUL | change))


def test_a_choice_of_tools_needs_tools() -> None:
    assert faults({key: LAWFUL[key] for key in LAWFUL if key != "tools"}) == ["tool_choice without tools"]
