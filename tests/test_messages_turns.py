"""Conversations over several turns whose makers differ: what is signed goes back to who signed it, and to nobody else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aigateway import Call, Gateway
from tests.answers import CHAT_REPLY, MESSAGES_REPLY, RESPONSES_REPLY
from tests.messages_said import message_events
from tests.playback import Object, Pieces, ask, sse
from tests.playback import streamed as chat_stream

THOUGHT: Object = {"type": "thinking", "thinking": "Let me see.", "signature": "c2lnbmVk"}
HIDDEN: Object = {"type": "redacted_thinking", "data": "aGlkZGVu"}
USE: Object = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris"}}
REPLY: Object = {
    **MESSAGES_REPLY,
    "content": [THOUGHT, HIDDEN, {"type": "text", "text": "I look."}, {**THOUGHT, "signature": "c2Vjb25k"}, USE],
    "stop_reason": "tool_use",
}
CHAT_TOOL: Object = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
RESPONSES_TOOL: Object = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
HI: Object = {"role": "user", "content": "hi"}

both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


class Changes:
    """Notes what was not carried."""

    def __init__(self) -> None:
        self.codes: list[str] = []

    def on_complete(self, call: Call) -> None:
        self.codes = [change.code for change in call.changes]


async def first_of_chat(streamed: bool) -> Object:
    """The assistant's message as a chat caller keeps it."""
    gateway = Gateway(models={"claude": Pieces("messages", _bytes(streamed))})
    body = {"model": "claude", "messages": [HI], "tools": [CHAT_TOOL], "stream": streamed}
    heard = await ask(gateway, "chat", body)
    if not streamed:
        message: Object = heard.json()["choices"][0]["message"]
        return message
    kept: Object = {"role": "assistant", "content": "", "reasoning_details": [], "tool_calls": []}
    for event in heard.events():
        delta = event["choices"][0]["delta"] if event["choices"] else {}
        kept["content"] += delta.get("content") or ""
        kept["reasoning_details"] += delta.get("reasoning_details") or []
        for call in delta.get("tool_calls") or ():
            if "id" in call:
                kept["tool_calls"].append(call)
            else:
                kept["tool_calls"][-1]["function"]["arguments"] += call["function"]["arguments"]
    return kept


def _bytes(streamed: bool) -> Any:
    return [sse(message_events(REPLY), named=True)] if streamed else json.dumps(REPLY).encode()


async def first_of_responses(streamed: bool) -> list[Object]:
    """The output as a caller of Responses keeps it."""
    gateway = Gateway(models={"claude": Pieces("messages", _bytes(streamed))})
    heard = await ask(
        gateway, "responses", {"model": "claude", "input": "hi", "tools": [RESPONSES_TOOL], "stream": streamed}
    )
    output: list[Object] = heard.events()[-1]["response"]["output"] if streamed else heard.json()["output"]
    return output


async def sent_by(api: str, to: str, body: Object, answer: Object) -> tuple[Object, list[str]]:
    """What an upstream gets, and what was not carried."""
    provider, changes = Pieces(to, json.dumps(answer).encode()), Changes()
    heard = await ask(Gateway(models={"m": provider}, hooks=[changes]), api, body | {"model": "m"})
    assert heard.status == 200, heard.body
    return provider.requests[0], changes.codes


@both_ways
async def test_a_chat_caller_brings_every_signature_back(streamed: bool) -> None:
    message = await first_of_chat(streamed)
    history = [HI, message, {"role": "tool", "tool_call_id": "toolu_1", "content": "rain"}]
    sent, _ = await sent_by("chat", "messages", {"messages": history, "tools": [CHAT_TOOL]}, MESSAGES_REPLY)
    blocks = sent["messages"][1]["content"]
    signed = [block for block in blocks if block["type"] in ("thinking", "redacted_thinking")]
    assert signed == [THOUGHT, HIDDEN, {**THOUGHT, "signature": "c2Vjb25k"}]
    assert blocks[-1] == USE
    assert sent["messages"][2]["content"][0]["tool_use_id"] == "toolu_1"


@both_ways
async def test_a_caller_of_responses_brings_every_signature_back(streamed: bool) -> None:
    output = await first_of_responses(streamed)
    history = [{"role": "user", "content": "hi"}, *output]
    history.append({"type": "function_call_output", "call_id": "toolu_1", "output": "rain"})
    sent, _ = await sent_by("responses", "messages", {"input": history, "tools": [RESPONSES_TOOL]}, MESSAGES_REPLY)
    assert sent["messages"][1]["content"] == REPLY["content"]
    assert sent["messages"][2]["content"][0]["content"] == "rain"


@pytest.mark.parametrize("asks", [True, False], ids=["asked for", "not asked for"])
@both_ways
async def test_thoughts_told_in_the_open_come_back_sealed_to_who_asks(asks: bool, streamed: bool) -> None:
    """Codex brings back encrypted reasoning only, and hosts as DeepSeek want to hear the thoughts behind their calls."""
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    message: Object = {"role": "assistant", "content": None, "reasoning_content": "Let me see.", "tool_calls": [call]}
    reply = {**CHAT_REPLY, "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    answer: Any = [sse(chat_stream("chat", reply), named=False)] if streamed else _json(reply)
    wanted = {"include": ["reasoning.encrypted_content"]} if asks else {}
    body = {"model": "m", "input": "hi", "tools": [RESPONSES_TOOL], "stream": streamed, **wanted}
    heard = await ask(Gateway(models={"m": Pieces("chat", answer)}), "responses", body)
    output: list[Object] = heard.events()[-1]["response"]["output"] if streamed else heard.json()["output"]
    assert output[0]["content"] == [{"type": "reasoning_text", "text": "Let me see."}]
    kept = [{key: value for key, value in item.items() if key != "content"} for item in output]
    history = [HI, *kept, {"type": "function_call_output", "call_id": "call_1", "output": "rain"}]
    sent, changes = await sent_by("responses", "chat", {"input": history, "tools": [RESPONSES_TOOL]}, CHAT_REPLY)
    assert sent["messages"][1].get("reasoning_content") == ("Let me see." if asks else None)
    assert sent["messages"][1]["tool_calls"] == [call]
    assert changes == []
    sent, changes = await sent_by("responses", "responses", {"input": history, "store": False}, RESPONSES_REPLY)
    assert [item.get("type") for item in sent["input"]] == [None, "function_call", "function_call_output"]
    assert changes == ["dropped:reasoning.encrypted_content"]


async def test_a_conversation_goes_on_at_openai_without_anthropics_seals() -> None:
    output = await first_of_responses(streamed=False)
    history = [{"role": "user", "content": "hi"}, *output]
    history.append({"type": "function_call_output", "call_id": "toolu_1", "output": "rain"})
    sent, changes = await sent_by("responses", "responses", {"input": history}, RESPONSES_REPLY)
    assert [item.get("type", "message") for item in sent["input"]] == [
        "message",
        "message",
        "function_call",
        "function_call_output",
    ]
    assert changes == ["dropped:reasoning.encrypted_content"]
    sent, changes = await sent_by("responses", "chat", {"input": history}, CHAT_REPLY)
    assert "aigw1." not in str(sent)


async def test_a_conversation_comes_to_anthropic_without_the_seals_of_others() -> None:
    reasoning: Object = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
    provider = Pieces("responses", _json({**RESPONSES_REPLY, "output": [reasoning, *RESPONSES_REPLY["output"]]}))
    ask_it = {"model": "m", "max_tokens": 9, "messages": [HI]}
    first = (await ask(Gateway(models={"m": provider}), "messages", ask_it)).json()
    assert first["content"][0]["type"] == "redacted_thinking"
    history = [HI, {"role": "assistant", "content": first["content"]}, HI]
    sent, changes = await sent_by("messages", "messages", {**ask_it, "messages": history}, MESSAGES_REPLY)
    assert [block["type"] for block in sent["messages"][1]["content"]] == ["text"]
    assert changes == ["dropped:messages.data"]
    sent, _ = await sent_by("messages", "responses", {**ask_it, "messages": history}, RESPONSES_REPLY)
    assert [item["encrypted_content"] for item in sent["input"] if item["type"] == "reasoning"] == ["gAAA"]


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
