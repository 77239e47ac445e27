"""Chat by the official SDK, before upstreams that speak chat, only Responses, or both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import OpenAI, pydantic_function_tool
from pydantic import BaseModel, Field

from aigateway.testing import Script
from tests.sdk_rig import MODEL, UPSTREAMS, Rig, rigged
from tests.turns import CHAT_USAGE, UPSTREAM_MODEL, Turn, Use, chat_reply, token

QUESTION: list[Any] = [{"role": "user", "content": "the question"}]
HELLO = Turn(text=("Hel", "lo ", "there"))
IMAGE = "data:image/png;base64,iVBORw0KGgo="


class Step(BaseModel):
    """A step of a plan."""

    title: str
    minutes: int = Field(description="how long it takes")


PLAN = Turn(text=('{"title":', '"stir",', '"minutes":3}'))
STIR = Step(title="stir", minutes=3)


class GetWeather(BaseModel):
    """Tell the weather."""

    city: str


class GetTime(BaseModel):
    """Tell the time."""

    zone: str


TOOLS: list[Any] = [pydantic_function_tool(GetWeather, name="get_weather"), pydantic_function_tool(GetTime)]
BOTH_USES = Turn(
    text=("One ", "moment."),
    uses=(Use("get_weather", '{"city":"Oslo"}', "call_1"), Use("GetTime", '{"zone":"CET"}', "call_2")),
)


@pytest.fixture(params=list(UPSTREAMS.values()), ids=list(UPSTREAMS))
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with rigged(*request.param) as made:
        yield made


async def test_answer_has_its_text_its_finish_its_usage_and_the_name_asked_for(rig: Rig) -> None:
    rig.says(HELLO)
    reply = await rig.client.chat.completions.create(model=MODEL, messages=QUESTION)
    assert (reply.model, reply.object, reply.choices[0].finish_reason) == (MODEL, "chat.completion", "stop")
    assert reply.id.startswith("chatcmpl-")
    assert reply.choices[0].message.content == "Hello there"
    assert (reply.choices[0].message.refusal, reply.choices[0].message.tool_calls) == (None, None)
    assert reply.usage is not None
    usage = reply.usage.to_dict()
    assert {key: usage[key] for key in ("prompt_tokens", "completion_tokens", "total_tokens")} == {
        key: CHAT_USAGE[key] for key in ("prompt_tokens", "completion_tokens", "total_tokens")
    }
    assert reply.usage.prompt_tokens_details is not None
    assert reply.usage.completion_tokens_details is not None
    assert reply.usage.prompt_tokens_details.cached_tokens == 4
    assert reply.usage.completion_tokens_details.reasoning_tokens == 2
    if rig.spoken("chat") == "chat":
        assert reply.to_dict() == {**chat_reply(HELLO), "model": MODEL}
        assert rig.sent == {"model": UPSTREAM_MODEL, "messages": QUESTION}


@pytest.mark.parametrize("usage", [False, True], ids=["plain", "with-usage"])
async def test_stream_has_the_text_in_pieces_and_usage_only_where_asked_for(rig: Rig, *, usage: bool) -> None:
    rig.says(HELLO)
    options: Any = {"stream_options": {"include_usage": True}} if usage else {}
    stream = await rig.client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True, **options)
    chunks = [chunk async for chunk in stream]
    assert {(chunk.id, chunk.model, chunk.object, chunk.created) for chunk in chunks} == {
        (chunks[0].id, MODEL, "chat.completion.chunk", chunks[0].created)
    }
    spoken = [chunk for chunk in chunks if chunk.choices]
    assert [piece for chunk in spoken if (piece := chunk.choices[0].delta.content)] == ["Hel", "lo ", "there"]
    assert spoken[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in spoken if chunk.choices[0].finish_reason] == ["stop"]
    told = [chunk.usage.total_tokens for chunk in chunks if chunk.usage]
    assert told == ([20] if usage else [])
    assert len(chunks) - len(spoken) == len(told)


async def test_stream_helper_gives_deltas_with_snapshots_and_the_whole_answer(rig: Rig) -> None:
    rig.says(HELLO)
    deltas, done = [], []
    async with rig.client.chat.completions.stream(
        model=MODEL, messages=QUESTION, stream_options={"include_usage": True}
    ) as stream:
        async for event in stream:
            if event.type == "content.delta" and event.delta:
                deltas.append((event.delta, event.snapshot))
            elif event.type == "content.done":
                done.append(event.content)
        final = await stream.get_final_completion()
    assert deltas == [("Hel", "Hel"), ("lo ", "Hello "), ("there", "Hello there")]
    assert done == ["Hello there"]
    assert (final.model, final.choices[0].finish_reason) == (MODEL, "stop")
    assert final.choices[0].message.content == "Hello there"
    assert final.usage is not None
    assert final.usage.total_tokens == 20


async def test_parse_gives_the_model_and_sends_its_schema(rig: Rig) -> None:
    rig.says(PLAN)
    reply = await rig.client.chat.completions.parse(model=MODEL, messages=QUESTION, response_format=Step)
    assert reply.choices[0].message.parsed == STIR
    sent = rig.sent["response_format"]["json_schema"] if rig.spoken("chat") == "chat" else rig.sent["text"]["format"]
    assert (sent["name"], sent["strict"]) == ("Step", True)
    assert sent["schema"]["required"] == ["title", "minutes"]
    assert sent["schema"]["additionalProperties"] is False


async def test_stream_helper_parses_on_the_way(rig: Rig) -> None:
    rig.says(PLAN)
    partial: list[Any] = []
    async with rig.client.chat.completions.stream(model=MODEL, messages=QUESTION, response_format=Step) as stream:
        async for event in stream:
            if event.type == "content.delta" and event.delta:
                partial.append(event.parsed)
            elif event.type == "content.done":
                assert event.parsed == STIR
        final = await stream.get_final_completion()
    assert partial == [{}, {"title": "stir"}, {"title": "stir", "minutes": 3}]
    assert final.choices[0].message.parsed == STIR


async def test_parse_of_an_answer_that_was_cut_is_a_length_error(rig: Rig) -> None:
    rig.says(Turn(text=('{"title":',), cut=True))
    with pytest.raises(openai.LengthFinishReasonError):
        await rig.client.chat.completions.parse(model=MODEL, messages=QUESTION, response_format=Step)
    async with rig.client.chat.completions.stream(model=MODEL, messages=QUESTION, response_format=Step) as stream:
        with pytest.raises(openai.LengthFinishReasonError):
            await stream.until_done()


async def test_refusal_is_no_content_and_nothing_is_parsed(rig: Rig) -> None:
    rig.says(Turn(refusal=("I ", "will not.")))
    reply = await rig.client.chat.completions.parse(model=MODEL, messages=QUESTION, response_format=Step)
    message = reply.choices[0].message
    assert (message.refusal, message.content, message.parsed) == ("I will not.", None, None)


async def test_stream_helper_gives_the_refusal(rig: Rig) -> None:
    rig.says(Turn(refusal=("I ", "will not.")))
    async with rig.client.chat.completions.stream(model=MODEL, messages=QUESTION, response_format=Step) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_completion()
    assert [event.delta for event in events if event.type == "refusal.delta" and event.delta] == ["I ", "will not."]
    assert final.choices[0].message.refusal == "I will not."
    assert final.choices[0].message.parsed is None


def names_of_tools(rig: Rig) -> list[tuple[str, bool]]:
    """The functions that the upstream was told of, with their strictness."""
    tools = rig.sent["tools"]
    functions = [tool["function"] for tool in tools] if rig.spoken("chat") == "chat" else tools
    assert all(function["parameters"]["additionalProperties"] is False for function in functions)
    return [(function["name"], function["strict"]) for function in functions]


async def test_parallel_calls_of_pydantic_tools_are_parsed(rig: Rig) -> None:
    rig.says(BOTH_USES)
    reply = await rig.client.chat.completions.parse(
        model=MODEL, messages=QUESTION, tools=TOOLS, tool_choice="required", parallel_tool_calls=True
    )
    assert reply.choices[0].finish_reason == "tool_calls"
    assert reply.choices[0].message.content == "One moment."
    calls = reply.choices[0].message.tool_calls or []
    assert [(call.id, call.type, call.function.name) for call in calls] == [
        ("call_1", "function", "get_weather"),
        ("call_2", "function", "GetTime"),
    ]
    assert [call.function.parsed_arguments for call in calls] == [GetWeather(city="Oslo"), GetTime(zone="CET")]
    assert names_of_tools(rig) == [("get_weather", True), ("GetTime", True)]
    assert (rig.sent["tool_choice"], rig.sent["parallel_tool_calls"]) == ("required", True)


async def test_stream_helper_gives_the_arguments_of_parallel_calls(rig: Rig) -> None:
    rig.says(BOTH_USES)
    async with rig.client.chat.completions.stream(model=MODEL, messages=QUESTION, tools=TOOLS) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_completion()
    deltas = [event for event in events if event.type == "tool_calls.function.arguments.delta"]
    done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
    for index, arguments in enumerate(('{"city":"Oslo"}', '{"zone":"CET"}')):
        pieces = [event.arguments_delta for event in deltas if event.index == index and event.arguments_delta]
        assert "".join(pieces) == arguments
        assert len(pieces) == 2
    assert [(event.name, event.index, event.parsed_arguments) for event in done] == [
        ("get_weather", 0, GetWeather(city="Oslo")),
        ("GetTime", 1, GetTime(zone="CET")),
    ]
    calls = final.choices[0].message.tool_calls or []
    assert [(call.id, call.function.arguments) for call in calls] == [
        ("call_1", '{"city":"Oslo"}'),
        ("call_2", '{"zone":"CET"}'),
    ]


async def test_tool_named_by_the_caller_is_named_to_the_upstream(rig: Rig) -> None:
    rig.says(Turn(uses=(Use("GetTime", '{"zone":"CET"}'),)))
    reply = await rig.client.chat.completions.create(
        model=MODEL, messages=QUESTION, tools=TOOLS, tool_choice={"type": "function", "function": {"name": "GetTime"}}
    )
    assert reply.choices[0].message.content is None
    chosen = rig.sent["tool_choice"]
    assert (chosen.get("function") or chosen)["name"] == "GetTime"


async def test_tool_loop_goes_to_the_upstream_as_its_own_history(rig: Rig) -> None:
    rig.says(BOTH_USES, HELLO)
    first = await rig.client.chat.completions.create(model=MODEL, messages=QUESTION, tools=TOOLS)
    message = first.choices[0].message
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f"result of {call.id}"}
        for call in message.tool_calls or []
    ]
    history = [*QUESTION, message.model_dump(exclude_none=True), *results]
    final = await rig.client.chat.completions.create(model=MODEL, messages=history, tools=TOOLS)
    assert final.choices[0].message.content == "Hello there"
    if rig.spoken("chat") == "chat":
        assert rig.sent["messages"] == history
    else:
        assert [_essence(item) for item in rig.sent["input"]] == [
            ("user", "the question"),
            ("assistant", "One moment."),
            ("function_call", "call_1", "get_weather", '{"city":"Oslo"}'),
            ("function_call", "call_2", "GetTime", '{"zone":"CET"}'),
            ("function_call_output", "call_1", "result of call_1"),
            ("function_call_output", "call_2", "result of call_2"),
        ]


def _essence(item: dict[str, Any]) -> tuple[str, ...]:
    """What an input item says."""
    kind = item.get("type", "message")
    if kind == "function_call":
        return (kind, item["call_id"], item["name"], item["arguments"])
    if kind == "function_call_output":
        return (kind, item["call_id"], item["output"])
    content = item["content"]
    text = content if isinstance(content, str) else "".join(part["text"] for part in content)
    return (item["role"], text)


@pytest.mark.parametrize("streamed", [False, True], ids=["unary", "stream"])
async def test_probabilities_come_with_the_tokens(rig: Rig, *, streamed: bool) -> None:
    rig.says(Turn(text=("Hel", "lo"), logprobs=True))
    options: Any = {"model": MODEL, "messages": QUESTION, "logprobs": True, "top_logprobs": 1}
    if streamed:
        async with rig.client.chat.completions.stream(**options) as stream:
            reply: Any = await stream.get_final_completion()
    else:
        reply = await rig.client.chat.completions.create(**options)
    assert [entry.to_dict() for entry in reply.choices[0].logprobs.content] == [token("Hel"), token("lo")]
    assert rig.sent["top_logprobs"] == 1
    if rig.spoken("chat") == "chat":
        assert rig.sent["logprobs"] is True
    else:
        assert rig.sent["include"] == ["message.output_text.logprobs"]


@pytest.mark.parametrize("stop", ["END", ["END", "STOP"]], ids=["one", "two"])
async def test_stop_reaches_upstreams_that_have_it(rig: Rig, stop: Any) -> None:
    rig.says(HELLO)
    await rig.client.chat.completions.create(model=MODEL, messages=QUESTION, stop=stop)
    assert rig.sent.get("stop") == (stop if rig.spoken("chat") == "chat" else None)


async def test_several_choices_where_the_upstream_gives_them(rig: Rig) -> None:
    if rig.spoken("chat") == "responses":
        rig.says(HELLO)
        with pytest.raises(openai.BadRequestError) as caught:
            await rig.client.chat.completions.create(model=MODEL, messages=QUESTION, n=2)
        assert caught.value.param == "n"
        assert not rig.upstream.requests
        return
    two = chat_reply(HELLO)
    two["choices"].append({**chat_reply(PLAN)["choices"][0], "index": 1})
    rig.upstream.script(Script.of_json(two))
    reply = await rig.client.chat.completions.create(model=MODEL, messages=QUESTION, n=2)
    assert [(choice.index, choice.message.content) for choice in reply.choices] == [
        (0, "Hello there"),
        (1, "".join(PLAN.text)),
    ]
    assert rig.sent["n"] == 2


async def test_knobs_and_images_reach_the_upstream_in_its_words(rig: Rig) -> None:
    rig.says(HELLO)
    content = [
        {"type": "text", "text": "what is this"},
        {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
    ]
    messages: list[Any] = [{"role": "developer", "content": "be brief"}, {"role": "user", "content": content}]
    await rig.client.chat.completions.create(
        model=MODEL, messages=messages, max_completion_tokens=99, temperature=0, reasoning_effort="low", verbosity="low"
    )
    assert rig.sent["temperature"] == 0
    if rig.spoken("chat") == "chat":
        assert rig.sent["messages"] == messages
        assert (rig.sent["max_completion_tokens"], rig.sent["reasoning_effort"]) == (99, "low")
        return
    assert (rig.sent["max_output_tokens"], rig.sent["reasoning"]) == (99, {"effort": "low"})
    assert rig.sent["text"] == {"verbosity": "low"}
    assert rig.sent["store"] is False
    developer, user = rig.sent["input"]
    assert _essence(developer) == ("developer", "be brief")
    assert user["content"] == [
        {"type": "input_text", "text": "what is this"},
        {"type": "input_image", "image_url": IMAGE, "detail": "low"},
    ]


@pytest.mark.parametrize("streamed", [False, True], ids=["unary", "stream"])
async def test_reasoning_is_beside_the_text(rig: Rig, *, streamed: bool) -> None:
    rig.says(Turn(thoughts=("Let me ", "think."), text=("Hello",)))
    if streamed:
        async with rig.client.chat.completions.stream(model=MODEL, messages=QUESTION) as stream:
            message: Any = (await stream.get_final_completion()).choices[0].message
    else:
        message = (await rig.client.chat.completions.create(model=MODEL, messages=QUESTION)).choices[0].message
    assert (message.reasoning_content, message.content) == ("Let me think.", "Hello")


async def test_synchronous_client_does_the_same(rig: Rig) -> None:
    rig.says(HELLO, HELLO, PLAN, BOTH_USES)

    def use(client: OpenAI) -> None:
        chat = client.chat.completions
        assert chat.create(model=MODEL, messages=QUESTION).choices[0].message.content == "Hello there"
        chunks = list(chat.create(model=MODEL, messages=QUESTION, stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello there"
        parsed = chat.parse(model=MODEL, messages=QUESTION, response_format=Step)
        assert parsed.choices[0].message.parsed == STIR
        with chat.stream(model=MODEL, messages=QUESTION, tools=TOOLS) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_completion()
        assert kinds.count("tool_calls.function.arguments.done") == 2
        assert [call.function.parsed_arguments for call in final.choices[0].message.tool_calls or []] == [
            GetWeather(city="Oslo"),
            GetTime(zone="CET"),
        ]

    await rig.in_thread(use)
