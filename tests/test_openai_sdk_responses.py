"""Responses by the official SDK, before upstreams that speak chat, only Responses, or both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import OpenAI, pydantic_responses_function_tool
from openai.types.responses import ParsedResponse
from pydantic import BaseModel

from tests.formats.responses_law import check_stream
from tests.sdk_rig import MODEL, UPSTREAMS, Rig, rigged
from tests.turns import Turn, Use, token

QUESTION = "the question"
HELLO = Turn(text=("Hel", "lo ", "there"))
THOUGHT = Turn(thoughts=("Let me ", "think."), text=("Hello",))
IMAGE = "data:image/png;base64,iVBORw0KGgo="


class Step(BaseModel):
    """A step of a plan."""

    title: str
    minutes: int


PLAN = Turn(text=('{"title":', '"stir",', '"minutes":3}'))
STIR = Step(title="stir", minutes=3)


class GetWeather(BaseModel):
    """Tell the weather."""

    city: str


class GetTime(BaseModel):
    """Tell the time."""

    zone: str


TOOLS: list[Any] = [pydantic_responses_function_tool(GetWeather), pydantic_responses_function_tool(GetTime)]
BOTH_USES = Turn(
    text=("One ", "moment."),
    uses=(Use("GetWeather", '{"city":"Oslo"}', "call_1"), Use("GetTime", '{"zone":"CET"}', "call_2")),
)


@pytest.fixture(params=list(UPSTREAMS.values()), ids=list(UPSTREAMS))
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with rigged(*request.param) as made:
        yield made


@pytest.fixture
async def chat_rig() -> AsyncIterator[Rig]:
    async with rigged("chat") as made:
        yield made


async def test_answer_has_its_text_its_usage_and_the_name_asked_for(rig: Rig) -> None:
    rig.says(HELLO)
    reply = await rig.client.responses.create(model=MODEL, input=QUESTION, instructions="be brief")
    assert (reply.model, reply.object, reply.status, reply.error) == (MODEL, "response", "completed", None)
    assert reply.id.startswith("resp_")
    assert reply.output_text == "Hello there"
    assert [item.type for item in reply.output] == ["message"]
    assert reply.usage is not None
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.total_tokens) == (12, 8, 20)
    assert reply.usage.input_tokens_details.cached_tokens == 4
    assert reply.usage.output_tokens_details.reasoning_tokens == 2
    if rig.spoken("responses") == "chat":
        assert reply.instructions == "be brief"
        system, user = rig.sent["messages"]
        assert (system["role"], system["content"]) in {("developer", "be brief"), ("system", "be brief")}
        assert user == {"role": "user", "content": QUESTION}
    else:
        assert (rig.sent["instructions"], rig.sent["input"]) == ("be brief", QUESTION)


async def test_stream_has_every_event_in_lawful_order(rig: Rig) -> None:
    rig.says(HELLO)
    stream = await rig.client.responses.create(model=MODEL, input=QUESTION, stream=True)
    events = [event async for event in stream]
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * 3,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(11))
    last = events[-1]
    assert last.type == "response.completed"
    assert (last.response.model, last.response.output_text) == (MODEL, "Hello there")
    assert last.response.usage is not None
    assert last.response.usage.total_tokens == 20
    if rig.spoken("responses") == "chat":
        check_stream([event.to_dict() for event in events])
        assert rig.sent["stream_options"] == {"include_usage": True}


async def test_stream_helper_gives_deltas_with_snapshots_and_the_final_response(rig: Rig) -> None:
    rig.says(HELLO)
    async with rig.client.responses.stream(model=MODEL, input=QUESTION) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    assert [(event.delta, event.snapshot) for event in events if event.type == "response.output_text.delta"] == [
        ("Hel", "Hel"),
        ("lo ", "Hello "),
        ("there", "Hello there"),
    ]
    assert [event.text for event in events if event.type == "response.output_text.done"] == ["Hello there"]
    completed = events[-1]
    assert completed.type == "response.completed"
    assert completed.response.output_text == final.output_text == "Hello there"
    assert final.usage is not None
    assert final.usage.total_tokens == 20


async def test_parse_gives_the_model_and_sends_its_schema(rig: Rig) -> None:
    rig.says(PLAN)
    reply = await rig.client.responses.parse(model=MODEL, input=QUESTION, text_format=Step)
    assert reply.output_parsed == STIR
    if rig.spoken("responses") == "chat":
        assert rig.sent["response_format"]["type"] == "json_schema"
        sent = rig.sent["response_format"]["json_schema"]
        assert reply.text is not None
        assert reply.text.format is not None
        assert reply.text.format.type == "json_schema"
    else:
        sent = rig.sent["text"]["format"]
    assert (sent["name"], sent["strict"], sent["schema"]["required"]) == ("Step", True, ["title", "minutes"])


async def test_stream_helper_parses_the_whole_text(rig: Rig) -> None:
    rig.says(PLAN)
    async with rig.client.responses.stream(model=MODEL, input=QUESTION, text_format=Step) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    assert [event.parsed for event in events if event.type == "response.output_text.done"] == [STIR]
    assert final.output_parsed == STIR


async def test_refusal_is_a_part_of_its_own(rig: Rig) -> None:
    rig.says(Turn(refusal=("I ", "will not.")))
    reply = await rig.client.responses.parse(model=MODEL, input=QUESTION, text_format=Step)
    assert reply.output_parsed is None
    assert content_of(reply) == [{"type": "refusal", "refusal": "I will not."}]
    async with rig.client.responses.stream(model=MODEL, input=QUESTION, text_format=Step) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    assert [event.delta for event in events if event.type == "response.refusal.delta"] == ["I ", "will not."]
    assert [event.refusal for event in events if event.type == "response.refusal.done"] == ["I will not."]
    assert content_of(final) == [{"type": "refusal", "refusal": "I will not."}]


def content_of(reply: ParsedResponse[Any]) -> list[dict[str, Any]]:
    """The parts of the one message."""
    (item,) = reply.output
    assert item.type == "message"
    return [part.to_dict() for part in item.content]


async def test_parse_gives_the_arguments_of_parallel_calls(rig: Rig) -> None:
    rig.says(BOTH_USES)
    reply = await rig.client.responses.parse(
        model=MODEL, input=QUESTION, tools=TOOLS, tool_choice="required", parallel_tool_calls=True
    )
    calls = [item for item in reply.output if item.type == "function_call"]
    assert reply.output_text == "One moment."
    assert [(call.call_id, call.name, call.status) for call in calls] == [
        ("call_1", "GetWeather", "completed"),
        ("call_2", "GetTime", "completed"),
    ]
    assert [call.parsed_arguments for call in calls] == [GetWeather(city="Oslo"), GetTime(zone="CET")]
    assert len({item.to_dict()["id"] for item in reply.output}) == 3
    tools = rig.sent["tools"]
    told = [tool["function"] for tool in tools] if rig.spoken("responses") == "chat" else tools
    assert [(tool["name"], tool["strict"], tool["parameters"]["required"]) for tool in told] == [
        ("GetWeather", True, ["city"]),
        ("GetTime", True, ["zone"]),
    ]
    assert (rig.sent["tool_choice"], rig.sent["parallel_tool_calls"]) == ("required", True)


async def test_stream_helper_gives_the_arguments_of_parallel_calls(rig: Rig) -> None:
    rig.says(BOTH_USES)
    async with rig.client.responses.stream(model=MODEL, input=QUESTION, tools=TOOLS) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    deltas = [event for event in events if event.type == "response.function_call_arguments.delta"]
    assert [(event.output_index, event.snapshot) for event in deltas] == [
        (1, '{"city"'),
        (1, '{"city":"Oslo"}'),
        (2, '{"zone"'),
        (2, '{"zone":"CET"}'),
    ]
    done = [event for event in events if event.type == "response.function_call_arguments.done"]
    assert [event.arguments for event in done] == ['{"city":"Oslo"}', '{"zone":"CET"}']
    assert [item.type for item in final.output] == ["message", "function_call", "function_call"]


@pytest.mark.parametrize("streamed", [False, True], ids=["unary", "stream"])
async def test_tool_loop_with_the_output_items_sent_back(rig: Rig, *, streamed: bool) -> None:
    rig.says(Turn(thoughts=("Hm.",), text=BOTH_USES.text, uses=BOTH_USES.uses), HELLO)
    history: list[Any] = [{"role": "user", "content": QUESTION}]
    first = await ask(rig, history, streamed=streamed)
    history += first.output
    history += [
        {"type": "function_call_output", "call_id": item.call_id, "output": f"result of {item.call_id}"}
        for item in first.output
        if item.type == "function_call"
    ]
    final = await ask(rig, history, streamed=streamed)
    assert final.output_text == "Hello there"
    if rig.spoken("responses") == "responses":
        kinds = [item.get("type") for item in rig.sent["input"]]
        assert kinds == [None, "reasoning", "message", *["function_call"] * 2, *["function_call_output"] * 2]
        return
    user, assistant, *results = rig.sent["messages"]
    assert user == history[0]
    assert assistant == {
        "role": "assistant",
        "content": "One moment.",
        "tool_calls": [
            {"id": use.call_id, "type": "function", "function": {"name": use.name, "arguments": use.arguments}}
            for use in BOTH_USES.uses
        ],
        "reasoning_content": "Hm.",
    }
    assert results == [
        {"role": "tool", "tool_call_id": call_id, "content": f"result of {call_id}"} for call_id in ("call_1", "call_2")
    ]


async def ask(rig: Rig, history: list[Any], *, streamed: bool) -> Any:
    """A whole response, either way."""
    if not streamed:
        return await rig.client.responses.create(model=MODEL, input=history, tools=TOOLS)
    async with rig.client.responses.stream(model=MODEL, input=history, tools=TOOLS) as stream:
        return await stream.get_final_response()


@pytest.mark.parametrize("streamed", [False, True], ids=["unary", "stream"])
async def test_reasoning_is_an_item_before_the_message(rig: Rig, *, streamed: bool) -> None:
    rig.says(THOUGHT)
    reply = await ask(rig, [{"role": "user", "content": QUESTION}], streamed=streamed)
    assert [item.type for item in reply.output] == ["reasoning", "message"]
    assert reply.output[0].summary == []
    assert [(part.type, part.text) for part in reply.output[0].content] == [("reasoning_text", "Let me think.")]
    assert reply.output_text == "Hello"


async def test_reasoning_is_streamed(rig: Rig) -> None:
    rig.says(THOUGHT)
    async with rig.client.responses.stream(model=MODEL, input=QUESTION) as stream:
        events = [event async for event in stream]
    assert [event.delta for event in events if event.type == "response.reasoning_text.delta"] == ["Let me ", "think."]
    assert [event.text for event in events if event.type == "response.reasoning_text.done"] == ["Let me think."]


async def test_reasoning_summaries_of_a_responses_upstream() -> None:
    async with rigged("responses") as rig:
        rig.says(Turn(thoughts=("Let me ", "think."), summarized=True, text=("Hello",)))
        options: Any = {"reasoning": {"effort": "low", "summary": "auto"}}
        async with rig.client.responses.stream(model=MODEL, input=QUESTION, **options) as stream:
            events = [event async for event in stream]
            final = await stream.get_final_response()
        pieces = [event.delta for event in events if event.type == "response.reasoning_summary_text.delta"]
        assert pieces == ["Let me ", "think."]
        assert final.output[0].type == "reasoning"
        assert [part.text for part in final.output[0].summary] == ["Let me think."]
        chat = await rig.client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": QUESTION}])
        message: Any = chat.choices[0].message
        assert (message.reasoning_content, message.content) == ("Let me think.", "Hello")


async def test_images_files_and_knobs_reach_the_upstream(rig: Rig) -> None:
    rig.says(HELLO)
    content: list[Any] = [
        {"type": "input_text", "text": "what is this"},
        {"type": "input_image", "image_url": IMAGE, "detail": "low"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"},
    ]
    await rig.client.responses.create(
        model=MODEL,
        input=[{"role": "user", "content": content}],
        max_output_tokens=99,
        temperature=0,
        reasoning={"effort": "low"},
        metadata={"a": "b"},
    )
    assert rig.sent["temperature"] == 0
    if rig.spoken("responses") == "responses":
        assert rig.sent["input"] == [{"role": "user", "content": content}]
        return
    assert rig.sent["reasoning_effort"] == "low"
    assert 99 in {rig.sent.get("max_tokens"), rig.sent.get("max_completion_tokens")}
    (message,) = rig.sent["messages"]
    assert message["content"] == [
        {"type": "text", "text": "what is this"},
        {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
    ]


async def test_stop_of_open_responses_reaches_a_chat_upstream(chat_rig: Rig) -> None:
    chat_rig.says(HELLO)
    await chat_rig.client.responses.create(model=MODEL, input=QUESTION, extra_body={"stop": ["END"]})
    assert chat_rig.sent["stop"] == ["END"]


@pytest.mark.parametrize("streamed", [False, True], ids=["unary", "stream"])
async def test_probabilities_come_with_the_tokens(rig: Rig, *, streamed: bool) -> None:
    rig.says(Turn(text=("Hel", "lo"), logprobs=True))
    options: Any = {"model": MODEL, "input": QUESTION, "include": ["message.output_text.logprobs"], "top_logprobs": 1}
    if streamed:
        async with rig.client.responses.stream(**options) as stream:
            events = [event async for event in stream]
            reply: Any = await stream.get_final_response()
        deltas = [event.logprobs for event in events if event.type == "response.output_text.delta"]
        assert [[entry.token for entry in probabilities] for probabilities in deltas] == [["Hel"], ["lo"]]
    else:
        reply = await rig.client.responses.create(**options)
    assert [entry.to_dict() for entry in reply.output[0].content[0].logprobs] == [token("Hel"), token("lo")]
    assert rig.sent["top_logprobs"] == 1


@pytest.mark.parametrize("streamed", [False, True], ids=["unary", "stream"])
async def test_answer_that_was_cut_is_incomplete(rig: Rig, *, streamed: bool) -> None:
    rig.says(Turn(text=("Hel", "lo"), cut=True))
    if streamed:
        stream = await rig.client.responses.create(model=MODEL, input=QUESTION, stream=True)
        last = [event async for event in stream][-1]
        assert last.type == "response.incomplete"
        reply = last.response
    else:
        reply = await rig.client.responses.create(model=MODEL, input=QUESTION)
    assert (reply.status, reply.output_text) == ("incomplete", "Hello")
    assert reply.incomplete_details is not None
    assert reply.incomplete_details.reason == "max_output_tokens"
    assert reply.output[0].type == "message"
    assert reply.output[0].status == "incomplete"


async def test_state_that_nobody_keeps_is_refused_where_only_chat_is_spoken(chat_rig: Rig) -> None:
    chat_rig.says(HELLO)
    refused: dict[str, Any] = {"previous_response_id": "resp_1", "conversation": "conv_1"}
    for param, value in refused.items():
        with pytest.raises(openai.APIStatusError, match="not found") as caught:
            await chat_rig.client.responses.create(model=MODEL, input=QUESTION, **{param: value})
        assert caught.value.body is not None
        assert caught.value.body["param"] == param  # type: ignore[index]
    assert not chat_rig.upstream.requests


async def test_stored_state_reaches_a_responses_upstream() -> None:
    async with rigged("chat", "responses") as rig:
        rig.says(HELLO)
        await rig.client.responses.create(model=MODEL, input=QUESTION, previous_response_id="resp_1", store=True)
        assert (rig.sent["previous_response_id"], rig.sent["store"]) == ("resp_1", True)


async def test_synchronous_client_does_the_same(rig: Rig) -> None:
    rig.says(HELLO, HELLO, PLAN, BOTH_USES)

    def use(client: OpenAI) -> None:
        responses = client.responses
        assert responses.create(model=MODEL, input=QUESTION).output_text == "Hello there"
        events = list(responses.create(model=MODEL, input=QUESTION, stream=True))
        pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
        assert pieces == ["Hel", "lo ", "there"]
        assert responses.parse(model=MODEL, input=QUESTION, text_format=Step).output_parsed == STIR
        with responses.stream(model=MODEL, input=QUESTION, tools=TOOLS) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_response()
        assert kinds.count("response.function_call_arguments.done") == 2
        assert [item.parsed_arguments for item in final.output if item.type == "function_call"] == [
            GetWeather(city="Oslo"),
            GetTime(zone="CET"),
        ]

    await rig.in_thread(use)
