"""What real clients demand of a gateway, as they were seen on the wire: agents that speak Responses to a chat upstream.

Each demand is named by its number in the project's study of clients. Every one is asked for whole and as a stream.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway import Gateway, Provider, Quirks
from aigateway.canonical.free_text import FreeText
from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from tests.asking import Row, Seen, post
from tests.serving import served

Object = dict[str, Any]

HI: Object = {"type": "message", "role": "user", "content": "go on"}
FACTS: Object = {"id": "chatcmpl-abcdefgh", "created": 1, "model": "up"}
GRAMMAR = 'start: "*** Begin Patch" LF hunk+'
PATCH = '*** Begin Patch\n*** Add File: a "b" \\ é 😀\n+x\n*** End Patch'
APPLY_PATCH: Object = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edit files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": GRAMMAR},
}
SPAWN: Object = {
    "type": "function",
    "name": "spawn_agent",
    "description": "Start an agent.",
    "strict": False,
    "parameters": {"type": "object", "properties": {"task": {"type": "string"}}},
}
EXEC: Object = {"type": "custom", "name": "exec", "description": "Run JavaScript."}
AGENTS: Object = {"type": "namespace", "name": "multi_agent_v1", "description": "Agents.", "tools": [SPAWN, EXEC]}
SHELL: Object = {"type": "function", "name": "exec_command", "parameters": {"type": "object"}}
ADDITIONAL: Object = {"type": "additional_tools", "role": "developer", "tools": [AGENTS, SHELL]}

BOTH_WAYS = pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
NATIVE = Quirks(custom_tools=True)


# the upstream


def calling(*calls: Object, size: int = 7) -> Any:
    """An upstream that makes these chat calls; in a stream their arguments come in pieces."""

    def answer(request: ReceivedRequest) -> Script:
        if not request.json().get("stream"):
            message = {"role": "assistant", "content": None, "tool_calls": list(calls)}
            return Script.of_json({**FACTS, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
        chunks = [piece for number, call in enumerate(calls) for piece in _pieces(number, call, size)]
        return Script.of_events([*chunks, _chunk({}, "tool_calls")])

    return answer


def _pieces(number: int, call: Object, size: int) -> list[Object]:
    kind = call["type"]
    field = "input" if kind == "custom" else "arguments"
    text = call[kind][field]
    head = {"index": number, "id": call["id"], "type": kind, kind: {"name": call[kind]["name"], field: ""}}
    rest = [text[at : at + size] for at in range(0, len(text), size)]
    return [_chunk({"tool_calls": [head]})] + [
        _chunk({"tool_calls": [{"index": number, kind: {field: piece}}]}) for piece in rest
    ]


def _chunk(delta: Object, finish: str | None = None) -> Object:
    return {
        **FACTS,
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def function(name: str, arguments: str, call_id: str = "call_1") -> Object:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def wrapped(text: str) -> str:
    return msgspec.json.encode({"input": text}).decode()


# the caller


class Told(msgspec.Struct):
    """What the caller got, and what the upstream."""

    seen: Seen
    sent: Object

    @property
    def response(self) -> Object:
        """The final response, however it was asked for."""
        if not self.seen.events:
            found: Object = self.seen.json()
            return found
        last: Object = self.seen.events[-1]["response"]
        return last

    @property
    def calls(self) -> list[Object]:
        return [{key: item[key] for key in item if key != "id"} for item in self.response["output"]]

    @property
    def names(self) -> list[str]:
        return [tool[tool["type"]]["name"] for tool in self.sent.get("tools", [])]

    @property
    def changes(self) -> str:
        return self.seen.headers.get("x-aigateway-changes", "")


async def ask(
    fields: Object, answer: Any, *, stream: bool, quirks: Quirks | None = None, api: str = "responses"
) -> Told:
    """Ask a gateway whose upstream speaks chat only."""
    usual: Object = {"input": [HI]} if api == "responses" else {"messages": [{"role": "user", "content": "go on"}]}
    raw = msgspec.json.encode({"model": "gpt", "stream": stream} | usual | fields)
    async with ScriptedUpstream() as upstream:
        if isinstance(answer, Script):
            upstream.script(answer)
        else:
            upstream.answer_with(answer)
        provider = Provider("up", upstream.base_url, "none", apis={"chat"}, quirks=quirks)
        async with served(Gateway(models={"*": provider})) as url:
            seen = await post(url, Row(api, "chat", stream=stream, raw=raw))
        return Told(seen, upstream.requests[0].json() if upstream.requests else {})


def deltas(events: Sequence[Object], name: str) -> list[str]:
    return [event["delta"] for event in events if event["type"] == f"{name}.delta"]


def saying(text: str = "ok") -> Any:
    def answer(request: ReceivedRequest) -> Script:
        if not request.json().get("stream"):
            message = {"role": "assistant", "content": text}
            return Script.of_json({**FACTS, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
        return Script.of_events([_chunk({"role": "assistant", "content": text}), _chunk({}, "stop")])

    return answer


# 4


@BOTH_WAYS
@pytest.mark.parametrize("place", ["tools", "additional_tools"])
async def test_4_tools_in_groups_are_flattened_and_their_calls_come_back_with_their_namespace(
    place: str, stream: bool
) -> None:
    fields = {"tools": [AGENTS, SHELL]} if place == "tools" else {"input": [ADDITIONAL, HI]}
    answer = calling(
        function("multi_agent_v1__spawn_agent", '{"task":"t"}', "call_1"),
        function("multi_agent_v1__exec", wrapped("1 + 1"), "call_2"),
        function("exec_command", "{}", "call_3"),
    )
    told = await ask(fields, answer, stream=stream)
    assert told.names == ["multi_agent_v1__spawn_agent", "multi_agent_v1__exec", "exec_command"]
    assert told.sent["tools"][0]["function"]["description"] == "Agents.\n\nStart an agent."
    assert told.sent["tools"][0]["function"]["parameters"] == SPAWN["parameters"]
    assert [message["role"] for message in told.sent["messages"]] == ["user"]
    done = {"status": "completed", "namespace": "multi_agent_v1"}
    assert told.calls == [
        {"type": "function_call", "call_id": "call_1", "name": "spawn_agent", "arguments": '{"task":"t"}'} | done,
        {"type": "custom_tool_call", "call_id": "call_2", "name": "exec", "input": "1 + 1"} | done,
        {
            "type": "function_call",
            "call_id": "call_3",
            "name": "exec_command",
            "arguments": "{}",
            "status": "completed",
        },
    ]
    if stream:
        added = [event["item"] for event in told.seen.events if event["type"] == "response.output_item.added"]
        assert [item.get("namespace") for item in added] == ["multi_agent_v1", "multi_agent_v1", None]
        assert [item["name"] for item in added] == ["spawn_agent", "exec", "exec_command"]


@BOTH_WAYS
async def test_4_replayed_calls_go_up_under_the_same_names(stream: bool) -> None:
    items = [
        ADDITIONAL,
        HI,
        {
            "type": "function_call",
            "call_id": "c1",
            "name": "spawn_agent",
            "namespace": "multi_agent_v1",
            "arguments": "{}",
        },
        {"type": "function_call_output", "call_id": "c1", "output": "started"},
        {"type": "custom_tool_call", "call_id": "c2", "name": "exec", "namespace": "multi_agent_v1", "input": "a\n"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "2"}]},
        {"type": "function_call", "call_id": "c3", "name": "gone", "namespace": "other", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c3", "output": "x"},
    ]
    told = await ask({"input": items}, saying(), stream=stream)
    made = [call for message in told.sent["messages"] for call in message.get("tool_calls", ())]
    assert made == [
        function("multi_agent_v1__spawn_agent", "{}", "c1"),
        function("multi_agent_v1__exec", wrapped("a\n"), "c2"),
        function("other__gone", "{}", "c3"),
    ]
    outputs = [message["content"] for message in told.sent["messages"] if message["role"] == "tool"]
    assert outputs == ["started", "2", "x"]


async def test_4_flat_names_are_unique_and_fit_for_any_host_and_the_same_in_every_turn() -> None:
    def group(name: str, *tools: str) -> Object:
        return {"type": "namespace", "name": name, "description": "", "tools": [SHELL | {"name": one} for one in tools]}

    tools = [
        group("a", "b__c", "x" * 64, "é"),
        group("a__b", "c"),
        SHELL | {"name": "a__b__c"},
        group("a.b", "c"),
        {"type": "namespace", "name": "a", "description": "", "tools": [EXEC | {"name": "b__c"}]},
    ]
    told = await ask({"tools": tools}, saying(), stream=False)
    assert len(set(told.names)) == len(told.names) == 7
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in told.names)
    assert "a__b__c" in told.names
    again = await ask({"tools": [*tools[::-1], group("z", "y")]}, saying(), stream=False)
    assert sum(name in again.names for name in told.names) >= 5
    [call] = (await ask({"tools": tools}, calling(function(told.names[1], "{}")), stream=False)).calls
    assert (call["namespace"], call["name"]) == ("a", "x" * 64)


@BOTH_WAYS
@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ({"type": "function", "name": "spawn_agent"}, "multi_agent_v1__spawn_agent"),
        ({"type": "custom", "name": "exec"}, "multi_agent_v1__exec"),
        ({"type": "function", "name": "exec_command"}, "exec_command"),
    ],
    ids=["function-in-group", "custom-in-group", "plain"],
)
async def test_4_tool_choice_names_the_flat_tool(choice: Object, sent: str, stream: bool) -> None:
    answer = calling(function(sent, wrapped("x")), function("other", "{}", "call_2"))
    told = await ask({"tools": [AGENTS, SHELL], "tool_choice": choice}, answer, stream=stream)
    assert told.sent["tool_choice"] == {"type": "function", "function": {"name": sent}}
    assert [call["name"] for call in told.calls] == [choice["name"]]


@BOTH_WAYS
async def test_4_allowed_tools_may_name_a_group(stream: bool) -> None:
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "namespace", "name": "multi_agent_v1"}]}
    answer = calling(function("multi_agent_v1__spawn_agent", "{}"), function("exec_command", "{}", "call_2"))
    told = await ask({"tools": [AGENTS, SHELL], "tool_choice": allowed}, answer, stream=stream)
    assert told.names == ["multi_agent_v1__spawn_agent", "multi_agent_v1__exec"]
    assert told.sent["tool_choice"] == "required"
    assert [call["name"] for call in told.calls] == ["spawn_agent"]


# 5


@BOTH_WAYS
async def test_5_a_custom_tool_is_a_function_of_one_text_and_its_call_comes_back_raw(stream: bool) -> None:
    answer = calling(function("apply_patch", wrapped(PATCH)))
    told = await ask({"tools": [APPLY_PATCH]}, answer, stream=stream)
    [tool] = told.sent["tools"]
    assert tool["type"] == "function"
    assert tool["function"]["parameters"]["required"] == ["input"]
    assert GRAMMAR in tool["function"]["description"]
    assert tool["function"]["description"].startswith("Edit files.")
    expected = {"type": "custom_tool_call", "call_id": "call_1", "name": "apply_patch", "status": "completed"}
    assert told.calls == [expected | {"input": PATCH}]
    assert "changed:tools" in told.changes
    if stream:
        pieces = deltas(told.seen.events, "response.custom_tool_call_input")
        assert "".join(pieces) == PATCH
        assert len(pieces) > 5
        [done] = [event for event in told.seen.events if event["type"] == "response.custom_tool_call_input.done"]
        assert done["input"] == PATCH
        assert not [event for event in told.seen.events if "function_call_arguments" in event["type"]]


@BOTH_WAYS
async def test_5_a_host_that_takes_custom_tools_gets_them(stream: bool) -> None:
    call = {"id": "call_1", "type": "custom", "custom": {"name": "apply_patch", "input": PATCH}}
    items = [
        HI,
        {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": "old"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "done"},
    ]
    told = await ask({"tools": [APPLY_PATCH], "input": items}, calling(call), stream=stream, quirks=NATIVE)
    assert told.sent["tools"][0]["type"] == "custom"
    assert told.sent["messages"][1]["tool_calls"][0]["custom"] == {"name": "apply_patch", "input": "old"}
    assert [item["input"] for item in told.calls] == [PATCH]
    assert told.changes == ""
    if stream:
        assert "".join(deltas(told.seen.events, "response.custom_tool_call_input")) == PATCH


@BOTH_WAYS
async def test_5_tool_choice_of_a_custom_tool_names_the_function(stream: bool) -> None:
    fields = {"tools": [APPLY_PATCH], "tool_choice": {"type": "custom", "name": "apply_patch"}}
    told = await ask(fields, calling(function("apply_patch", wrapped("x"))), stream=stream)
    assert told.sent["tool_choice"] == {"type": "function", "function": {"name": "apply_patch"}}
    assert [call["input"] for call in told.calls] == ["x"]


@BOTH_WAYS
@pytest.mark.parametrize(
    ("arguments", "text", "status"),
    [
        ('{"input": "a\\ud83d\\ude00\\u00e9\\n\\/"}', "a😀é\n/", "completed"),
        ('{ "input" : "a\nb" }', "a\nb", "completed"),
        ('{"other": 1, "input": "x"}', "x", "completed"),
        ('{"patch": "x"}', "x", "completed"),
        ('{"input": ["a"]}', '["a"]', "completed"),
        ("*** Begin Patch", "*** Begin Patch", "completed"),
        ('"quoted"', "quoted", "completed"),
        ("", "", "completed"),
        ('{"input": "abc\\u00', "abc", "incomplete"),
        ('{"in', "", "incomplete"),
    ],
    ids=["escapes", "spaces", "not-first", "other-field", "no-text", "raw", "a-string", "nothing", "cut", "cut-head"],
)
async def test_5_the_input_is_read_however_the_model_wrote_it(
    arguments: str, text: str, status: str, stream: bool
) -> None:
    answer = calling(function("apply_patch", arguments), size=1)
    [call] = (await ask({"tools": [APPLY_PATCH]}, answer, stream=stream)).calls
    assert (call["input"], call["status"]) == (text, status)


@given(text=st.text(), cuts=st.lists(st.integers(0, 60)))
def test_5_the_input_is_the_same_wherever_the_arguments_are_cut(text: str, cuts: list[int]) -> None:
    for arguments in (wrapped(text), json.dumps({"input": text}, indent=1)):
        places = [0, *sorted(min(cut, len(arguments)) for cut in cuts), len(arguments)]
        free = FreeText()
        pieces = [arguments[start:end] for start, end in itertools.pairwise(places)]
        assert "".join([*map(free.feed, pieces), free.finish()]) == text
        assert not free.is_cut


# 6


@BOTH_WAYS
async def test_6_what_means_nothing_without_tools_is_dropped(stream: bool) -> None:
    fields = {"tools": [], "tool_choice": "auto", "parallel_tool_calls": False, "include": []}
    told = await ask(fields, saying(), stream=stream)
    assert told.seen.status == 200
    assert not told.sent.keys() & {"tools", "tool_choice", "parallel_tool_calls", "include"}
    assert told.changes == ""


@BOTH_WAYS
async def test_6_replayed_items_leave_their_other_keys_behind(stream: bool) -> None:
    said = {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "hm", "annotations": [], "logprobs": []}],
        "provider_specific_fields": {},
    }
    told = await ask({"input": [HI, said, HI]}, saying(), stream=stream)
    assert told.sent["messages"][1] == {"role": "assistant", "content": "hm"}


@BOTH_WAYS
async def test_6_a_strict_host_gets_chat_requests_without_what_it_refuses(stream: bool) -> None:
    call = function("f", "{}")
    messages = [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": "",
            "annotations": [],
            "refusal": None,
            "audio": None,
            "function_call": None,
            "provider_specific_fields": {"a": 1},
            "reasoning_content": "hm",
            "tool_calls": [call],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "1"},
    ]
    fields = {"messages": messages, "tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "odd": [1]}
    strict = Quirks(strict_fields=True, reasoning_field="reasoning")
    told = await ask(fields, saying(), stream=stream, quirks=strict, api="chat")
    cleaned = {"role": "assistant", "content": "", "tool_calls": [call], "reasoning": "hm"}
    assert told.sent == {"model": "gpt", "stream": stream, "messages": [messages[0], cleaned, messages[2]], "odd": [1]}
    assert told.changes == "dropped:messages"
    told = await ask(fields, saying(), stream=stream, api="chat")
    assert told.sent == {"model": "gpt", "stream": stream} | fields
    assert told.changes == ""


# 7


@BOTH_WAYS
async def test_7_fields_and_hosted_tools_that_the_upstream_lacks_are_no_reason_to_refuse(stream: bool) -> None:
    group = {"type": "namespace", "name": "n", "description": "", "tools": [SHELL, {"type": "web_search"}]}
    fields = {
        "client_metadata": {"x-codex-turn-metadata": "{}"},
        "prompt_cache_key": "k",
        "reasoning": {"effort": "low", "context": "all_turns"},
        "include": ["reasoning.encrypted_content"],
        "text": {"verbosity": "low"},
        "tools": [{"type": "web_search", "external_web_access": True}, {"type": "tool_search"}, group],
        "tool_choice": "auto",
        "input": [
            {"type": "additional_tools", "role": "developer", "tools": [{"type": "tool_search"}, SHELL]},
            HI,
            {
                "type": "web_search_call",
                "id": "ws_1",
                "status": "completed",
                "action": {"type": "search", "query": "q"},
            },
            {"type": "tool_search_call", "id": "ts_1", "call_id": "c", "execution": "server", "arguments": {}},
            {"type": "tool_search_output", "id": "tso_1", "call_id": "c", "execution": "server", "tools": []},
        ],
    }
    told = await ask(fields, saying(), stream=stream)
    assert told.response["status"] == "completed"
    assert told.names == ["n__exec_command", "exec_command"]
    assert told.sent["tool_choice"] == "auto"
    assert {"dropped:tools", "dropped:client_metadata", "dropped:reasoning.context", "dropped:input"} <= set(
        told.changes.split(",")
    )


@BOTH_WAYS
async def test_7_hosted_tools_alone_leave_no_tools_behind(stream: bool) -> None:
    fields = {"tools": [{"type": "web_search"}], "tool_choice": "auto", "parallel_tool_calls": True}
    told = await ask(fields, saying(), stream=stream)
    assert told.seen.status == 200
    assert not told.sent.keys() & {"tools", "tool_choice", "parallel_tool_calls"}


@BOTH_WAYS
@pytest.mark.parametrize("choice", [{"type": "web_search"}, "required"], ids=["named", "required"])
@pytest.mark.parametrize("place", ["tools", "additional_tools"])
async def test_7_a_hosted_tool_that_is_demanded_is_refused(place: str, choice: Any, stream: bool) -> None:
    hosted = [{"type": "web_search"}]
    fields: Object = {"tools": hosted}
    if place == "additional_tools":
        fields = {"input": [{"type": "additional_tools", "role": "developer", "tools": hosted}, HI]}
    told = await ask(fields | {"tool_choice": choice}, saying(), stream=stream)
    assert told.seen.status == 400
    assert told.seen.json()["error"]["param"] == "tool_choice"


# 8

TOO_LONG: Object = {
    "message": "This model's maximum context length is 8192 tokens.",
    "type": "invalid_request_error",
    "param": "messages",
    "code": "context_length_exceeded",
}
IN_WORDS = TOO_LONG | {"type": "BadRequestError", "code": 400}


@BOTH_WAYS
@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("error", [TOO_LONG, IN_WORDS], ids=["code", "words"])
async def test_8_context_length_exceeded_keeps_its_code(error: Object, api: str, stream: bool) -> None:
    told = await ask({}, Script.of_json({"error": error}, 400), stream=stream, api=api)
    assert told.seen.status == 400
    assert told.seen.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    "code", ["context_length_exceeded", "insufficient_quota", "rate_limit_exceeded", "invalid_prompt"]
)
async def test_8_codes_are_kept_in_the_middle_of_a_stream(code: str) -> None:
    events = [_chunk({"role": "assistant", "content": "Hel"}), {"error": TOO_LONG | {"code": code}}]
    told = await ask({}, Script.of_events(events, done=False), stream=True)
    error, failed = told.seen.events[-2:]
    assert (error["type"], error["code"], error["error"]["code"]) == ("error", code, code)
    assert failed["type"] == "response.failed"
    assert failed["response"]["error"]["code"] == code
    told = await ask({}, Script.of_events(events, done=False), stream=True, api="chat")
    assert told.seen.events[-1]["error"]["code"] == code


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_8_a_stream_that_begins_with_the_error_is_answered_with_its_status(api: str) -> None:
    told = await ask({}, Script.of_events([{"error": TOO_LONG}]), stream=True, api=api)
    assert told.seen.status == 400
    assert told.seen.json()["error"]["code"] == "context_length_exceeded"


# 9


@BOTH_WAYS
async def test_9_a_reference_to_an_item_that_nobody_keeps_is_refused_with_a_way_out(stream: bool) -> None:
    items = [HI, {"type": "item_reference", "id": "msg_1"}, HI]
    told = await ask({"input": items}, saying(), stream=stream)
    error = told.seen.json()["error"]
    assert (told.seen.status, error["param"], error["code"]) == (400, "input[1]", "unsupported_content")
    assert "item_reference" in error["message"]
    assert "`store: false`" in error["message"]
    assert not told.sent
