"""Anthropic's own client on upstreams of every API: texts, tools, thoughts, streams, counts, models, failures."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import Message

from aigateway import Gateway, Provider, Target
from aigateway.canonical.quirks import Quirks
from aigateway.hooks.api_keys import APIKeyAuthenticator
from aigateway.testing import Script, ScriptedUpstream
from tests.answers import MESSAGES_REPLY
from tests.serving import served
from tests.turns import Turn, Use, said

Object = dict[str, Any]

UP = "up-model"
ASK: Any = {"model": "claude", "max_tokens": 500, "messages": [{"role": "user", "content": "the question"}]}
TOOL: Any = {
    "name": "weather",
    "description": "Tells the weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}

each_upstream = pytest.mark.parametrize("api", ["chat", "responses"])
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


class Rig:
    """The client, and the upstream."""

    def __init__(self, upstream: ScriptedUpstream, client: AsyncAnthropic) -> None:
        self.upstream = upstream
        self.client = client

    async def ask(self, *, streamed: bool = False, **more: Any) -> Message:
        """One message, whole or put together by the client from its events."""
        if not streamed:
            whole: Message = await self.client.messages.create(**{**ASK, **more})
            return whole
        async with self.client.messages.stream(**{**ASK, **more}) as stream:
            final: Message = await stream.get_final_message()
            return final

    @property
    def sent(self) -> Object:
        return self.upstream.requests[-1].json()


@asynccontextmanager
async def rigged(
    *apis: str, hooks: tuple[object, ...] = (), quirks: Quirks | None = None, **client: Any
) -> AsyncIterator[Rig]:
    async with ScriptedUpstream() as upstream:
        target = Target(Provider("acme", upstream.base_url, "sk-upstream", apis=apis, quirks=quirks), UP)
        async with (
            served(Gateway(models={"claude": target}, hooks=hooks)) as url,
            AsyncAnthropic(base_url=url, **{"api_key": "sk-caller", "max_retries": 0, **client}) as sdk,
        ):
            yield Rig(upstream, sdk)


def saying(rig: Rig, turn: Turn, **more: Any) -> None:
    rig.upstream.answer_with(lambda request: said(turn, request, **more))


@each_upstream
@both_ways
async def test_a_text_of_another_api_is_a_message(api: str, streamed: bool) -> None:
    async with rigged(api) as rig:
        saying(rig, Turn(text=("Hello", " there")))
        message = await rig.ask(streamed=streamed, system=[{"type": "text", "text": "Be brief."}], stop_sequences=["x"])
    assert (message.role, message.model, message.stop_reason) == ("assistant", "claude", "end_turn")
    assert message.id.startswith("msg_")
    assert [block.model_dump(exclude_none=True) for block in message.content] == [
        {"type": "text", "text": "Hello there"}
    ]
    assert message.usage.output_tokens > 0
    assert "Be brief." in json.dumps(rig.sent)


@each_upstream
@both_ways
async def test_the_tool_runner_tells_the_whole_conversation_where_no_threads_are_held(api: str, streamed: bool) -> None:
    @anthropic.beta_async_tool
    async def weather(city: str) -> str:
        """Tells the weather."""
        return f"rain in {city}"

    async with rigged(api) as rig:
        turns = [Turn(uses=(Use("weather", '{"city":"Paris"}', "call_1"),)), Turn(text=("It rains.",))]
        rig.upstream.answer_with(lambda request: said(turns.pop(0) if len(turns) > 1 else turns[0], request))
        asked = {**ASK, "system": "Be brief.", "tools": [weather]}
        finals: list[Any] = []
        if streamed:
            runner = rig.client.beta.messages.tool_runner(**asked, stream=True)
            finals += [await stream.get_final_message() async for stream in runner]
        else:
            finals.append(await rig.client.beta.messages.tool_runner(**asked).until_done())
        assert finals[-1].content[0].text == "It rains."
        assert len(rig.upstream.requests) == 2
        assert all(text in json.dumps(rig.sent) for text in ("Be brief.", "the question", "call_1", "rain in Paris"))


@each_upstream
async def test_a_thread_is_refused_in_the_words_that_make_the_client_go_on_without(api: str) -> None:
    async with rigged(api) as rig:
        saying(rig, Turn(text=("Hello.",)))
        thread = rig.client.beta.messages.thread(
            model="claude", max_tokens=500, unsupported_request_behavior="continue_unthreaded"
        )
        for text in ("one", "two"):
            await thread.send({"role": "user", "content": text})
        assert all(text in json.dumps(rig.sent) for text in ("one", "Hello.", "two"))
        with pytest.raises(anthropic.BadRequestError, match="holds no threads"):
            await rig.client.beta.messages.create(**ASK, thread={"type": "create"})


@pytest.mark.parametrize("holds", [False, True])
async def test_a_thread_goes_on_to_a_host_of_messages_that_holds_threads(holds: bool) -> None:
    async with rigged("messages", quirks=Quirks(threads=holds)) as rig:
        rig.upstream.script(Script.of_json(MESSAGES_REPLY))
        thread = rig.client.beta.messages.thread(
            model="claude", max_tokens=500, unsupported_request_behavior="continue_unthreaded"
        )
        for text in ("one", "two"):
            await thread.send({"role": "user", "content": text})
        assert ("one" in json.dumps(rig.sent)) is not holds
        assert rig.sent.get("thread", {}).get("type") == ("continue" if holds else None)


@each_upstream
@both_ways
async def test_tools_are_called_and_their_results_go_back(api: str, streamed: bool) -> None:
    async with rigged(api) as rig:
        saying(
            rig, Turn(uses=(Use("weather", '{"city":"Paris"}', "call_1"), Use("weather", '{"city":"Rome"}', "call_2")))
        )
        first = await rig.ask(streamed=streamed, tools=[TOOL], tool_choice={"type": "any"})
        assert first.stop_reason == "tool_use"
        assert [block.type for block in first.content] == ["tool_use", "tool_use"], "no empty text stands before them"
        calls = [block for block in first.content if block.type == "tool_use"]
        assert [call.input for call in calls] == [{"city": "Paris"}, {"city": "Rome"}]
        saying(rig, Turn(text=("It rains.",)))
        results = [
            {"type": "tool_result", "tool_use_id": calls[0].id, "content": "rain"},
            {
                "type": "tool_result",
                "tool_use_id": calls[1].id,
                "content": [{"type": "text", "text": "sun"}],
                "is_error": True,
            },
            {"type": "text", "text": "and so?"},
        ]
        history = [
            *ASK["messages"],
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": results},
        ]
        second = await rig.ask(streamed=streamed, messages=history, tools=[TOOL])
    assert second.content[0].text == "It rains."  # type: ignore[union-attr]
    if api == "chat":
        assert [message["role"] for message in rig.sent["messages"]] == ["user", "assistant", "tool", "tool", "user"]
        assert [message.get("tool_call_id") for message in rig.sent["messages"]][2:4] == ["call_1", "call_2"]
    else:
        kinds = [item["type"] for item in rig.sent["input"]]
        assert kinds == ["message", "function_call", "function_call", *["function_call_output"] * 2, "message"]


@both_ways
async def test_a_thought_of_a_chat_host_is_signed_and_comes_back(streamed: bool) -> None:
    async with rigged("chat") as rig:
        saying(rig, Turn(thoughts=("Let me", " see."), text=("Four.",)))
        first = await rig.ask(streamed=streamed)
        thinking = first.content[0]
        assert thinking.type == "thinking"
        assert (thinking.thinking, bool(thinking.signature)) == ("Let me see.", True)
        history = [
            *ASK["messages"],
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": "sure?"},
        ]
        await rig.ask(streamed=streamed, messages=history)
    assert rig.sent["messages"][1]["reasoning_content"] == "Let me see."
    assert rig.sent["messages"][1]["content"] == "Four."


@both_ways
async def test_sealed_reasoning_of_a_response_comes_back_as_it_was(streamed: bool) -> None:
    async with rigged("responses") as rig:
        saying(rig, Turn(thoughts=("Counting.",), summarized=True, sealed="gAAA", text=("Four.",)))
        first = await rig.ask(streamed=streamed, thinking={"type": "enabled", "budget_tokens": 2000})
        assert rig.sent["reasoning"]["effort"] == "low"
        assert [block.type for block in first.content] == ["thinking", "text"]
        history = [
            *ASK["messages"],
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": "sure?"},
        ]
        await rig.ask(streamed=streamed, messages=history)
    reasoning = [item for item in rig.sent["input"] if item["type"] == "reasoning"]
    assert [item["encrypted_content"] for item in reasoning] == ["gAAA"]


async def test_an_image_in_a_result_stands_behind_the_tool_messages_of_chat() -> None:
    image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    call: Any = {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {}}
    messages = [
        *ASK["messages"],
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [image]}]},
        {"role": "system", "content": "Skills: none."},
    ]
    async with rigged("chat") as rig:
        saying(rig, Turn(text=("A dot.",)))
        await rig.ask(
            messages=messages,
            thinking={"type": "adaptive"},
            extra_body={"context_management": {"edits": []}, "output_config": {"effort": "high"}},
            extra_headers={"anthropic-beta": "not-yet-invented-2027-01-01"},
        )
    roles = [message["role"] for message in rig.sent["messages"]]
    assert roles == ["user", "assistant", "tool", "user", "system"]
    assert rig.sent["messages"][3]["content"][1]["image_url"]["url"] == "data:image/png;base64,AAAA"
    assert rig.sent["reasoning_effort"] == "high"


async def test_what_anthropic_runs_itself_is_set_aside_or_refused_elsewhere() -> None:
    search: Any = {"type": "web_search_20250305", "name": "web_search"}
    async with rigged("chat") as rig:
        saying(rig, Turn(text=("Hello",)))
        reply = await rig.client.messages.with_raw_response.create(**{**ASK, "tools": [TOOL, search]})
        assert "dropped:tools" in reply.headers["x-aigateway-changes"]
        assert [tool["function"]["name"] for tool in rig.sent["tools"]] == ["weather"]
        with pytest.raises(anthropic.BadRequestError, match="demands a tool"):
            await rig.ask(tools=[TOOL, search], tool_choice={"type": "tool", "name": "web_search"})


async def test_anthropic_s_own_api_gets_the_callers_bytes_and_headers() -> None:
    async with rigged("messages") as rig:
        rig.upstream.script(Script.of_json(MESSAGES_REPLY, headers={"anthropic-ratelimit-requests-remaining": "9"}))
        raw = await rig.client.beta.messages.with_raw_response.create(
            **ASK, betas=["context-management-2025-06-27"], extra_query={"beta": "true"}
        )
    request = rig.upstream.requests[-1]
    assert request.path == "/v1/messages?beta=true"
    assert (request.headers["x-api-key"], request.headers["authorization"]) == ("sk-upstream", "Bearer sk-upstream")
    assert request.headers["anthropic-version"] == raw.http_request.headers["anthropic-version"]
    assert request.headers["anthropic-beta"] == "context-management-2025-06-27"
    assert rig.sent["model"] == UP
    assert raw.headers["anthropic-ratelimit-requests-remaining"] == "9"
    assert raw.headers["request-id"] == raw.headers["x-request-id"]
    message = await raw.parse()
    assert (message.model, message.content[0].text) == ("claude", "Hello there")


FAILURES: Any = {
    400: (anthropic.BadRequestError, "invalid_request_error"),
    401: (anthropic.AuthenticationError, "authentication_error"),
    404: (anthropic.NotFoundError, "not_found_error"),
    429: (anthropic.RateLimitError, "rate_limit_error"),
    529: (anthropic.APIStatusError, "overloaded_error"),
}


@pytest.mark.parametrize("status", FAILURES)
@pytest.mark.parametrize("api", ["messages", "chat"])
async def test_failures_are_told_in_anthropics_shape(api: str, status: int) -> None:
    kind, name = FAILURES[status]
    async with rigged(api) as rig:
        rig.upstream.script(Script.of_json({"type": "error", "error": {"type": "x", "message": "No."}}, status))
        with pytest.raises(kind) as caught:
            await rig.ask()
    assert caught.value.status_code == status
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["type"] == name
    assert caught.value.request_id == caught.value.body["request_id"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "This model's maximum context length is 8192 tokens. However, you requested 9001 tokens.",
            "9001 tokens > 8192",
        ),
        (
            "request (5018 tokens) exceeds the available context size (4096 tokens), try increasing it",
            "5018 tokens > 4096",
        ),
        ("prompt is too long: 210000 tokens > 200000 maximum", "prompt is too long: 210000 tokens > 200000 maximum"),
    ],
    ids=["openai", "llamacpp", "anthropic"],
)
async def test_an_overflow_is_worded_as_agents_look_for_it(words: str, told: str) -> None:
    async with rigged("chat") as rig:
        rig.upstream.script(Script.of_json({"error": {"message": words, "type": "invalid_request_error"}}, 400))
        with pytest.raises(anthropic.BadRequestError) as caught:
            await rig.ask()
    message = caught.value.body["error"]["message"]  # type: ignore[index]
    assert message.startswith("prompt is too long")
    assert told in message


async def test_a_stream_that_breaks_raises_in_the_client() -> None:
    error: Object = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    start: Object = {"type": "message_start", "message": {**MESSAGES_REPLY, "content": []}}
    block: Object = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    delta: Object = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}}
    async with rigged("messages") as rig:
        rig.upstream.script(Script.of_events([start, block, delta, error], named=True, done=False))
        with pytest.raises(anthropic.APIStatusError) as caught:
            await rig.ask(streamed=True)
    assert caught.value.body["error"]["type"] == "overloaded_error"  # type: ignore[index]


async def test_counting_is_asked_of_who_can_and_estimated_elsewhere() -> None:
    async with rigged("messages") as rig:
        rig.upstream.script(Script.of_json({"input_tokens": 4711}))
        counted = await rig.client.messages.count_tokens(model="claude", messages=ASK["messages"])
        assert counted.input_tokens == 4711
        assert (rig.upstream.requests[-1].path, rig.sent["model"]) == ("/v1/messages/count_tokens", UP)
        rig.upstream.script(Script.of_json({"error": {"message": "no such path"}}, 404))
        assert 0 < (await rig.client.messages.count_tokens(model="claude", messages=ASK["messages"])).input_tokens < 100
    async with rigged("chat") as rig:
        text = "A quarter of the bytes of all texts. " * 100
        messages: Any = [{"role": "user", "content": text}]
        reply = await rig.client.messages.with_raw_response.count_tokens(
            model="claude", messages=messages, system="Be brief.", tools=[TOOL]
        )
        assert reply.headers["x-aigateway-estimate"] == "true"
        assert 700 < (await reply.parse()).input_tokens < 1200
        assert not rig.upstream.requests


async def test_models_are_listed_as_anthropic_lists_them() -> None:
    async with rigged("chat") as rig:
        page = await rig.client.models.list(limit=1000)
        assert [(model.id, model.type, model.display_name) for model in page.data] == [("claude", "model", "claude")]
        assert (await rig.client.models.retrieve("claude")).created_at.year >= 1970
        with pytest.raises(anthropic.NotFoundError) as caught:
            await rig.client.models.retrieve("gpt")
    assert caught.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]


@pytest.mark.parametrize(
    ("client", "allowed"),
    [
        ({"api_key": "sk-caller"}, True),
        ({"api_key": None, "auth_token": "sk-caller"}, True),
        ({"api_key": "sk-caller", "default_headers": {"authorization": "Bearer sk-caller"}}, True),
        ({"api_key": "sk-caller", "default_headers": {"authorization": "Bearer sk-other"}}, False),
        ({"api_key": "sk-other"}, False),
    ],
    ids=["x-api-key", "bearer", "the same in both", "two different ones", "unknown"],
)
async def test_the_callers_key_is_read_from_either_header(client: Object, allowed: bool) -> None:
    async with rigged("messages", hooks=(APIKeyAuthenticator({"sk-caller": "tenant"}),), **client) as rig:
        rig.upstream.script(Script.of_json(MESSAGES_REPLY))
        if allowed:
            await rig.ask()
            assert [model.id for model in (await rig.client.models.list()).data] == ["claude"]
        else:
            with pytest.raises(anthropic.AuthenticationError):
                await rig.ask()
