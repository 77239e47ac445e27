"""The official SDK in conversations: tools, thoughts, schemas and state over several turns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import openai
import pytest
from openai import pydantic_function_tool, pydantic_responses_function_tool
from openai.types.chat import ParsedChatCompletion
from openai.types.responses import ParsedResponse
from pydantic import BaseModel

from tests.compat.brain import REFUSAL
from tests.compat.heard import unseal
from tests.compat.world import MODEL, World

WEATHER = "What is the weather in Oslo and in Rome?"
LONG = "Say " + "many words " * 9
PIXEL = "data:image/png;base64,iVBORw0KGgo="


class GetWeather(BaseModel):
    """Tell the weather."""

    city: str


class Forecast(BaseModel):
    """The weather to come."""

    city: str
    degrees: int


def weather(city: str) -> str:
    return f"It is sunny in {city}."


SUNNY = f"{weather('Oslo')} {weather('Rome')}"


# responses


async def respond(world: World, *, streamed: bool, **fields: Any) -> ParsedResponse[Any]:
    if not streamed:
        return await world.client.responses.parse(model=MODEL, **fields)
    async with world.client.responses.stream(model=MODEL, **fields) as stream:
        text = "".join([event.delta async for event in stream if event.type == "response.output_text.delta"])
        final = await stream.get_final_response()
    assert final.output_text == text
    return final


def replayed(question: str, response: ParsedResponse[Any]) -> list[Any]:
    """The question, the output of a response and the results of its calls: the next input."""
    calls = [item for item in response.output if item.type == "function_call"]
    results = [
        {"type": "function_call_output", "call_id": call.call_id, "output": weather(call.parsed_arguments.city)}
        for call in calls
        if isinstance(call.parsed_arguments, GetWeather)
    ]
    return [{"role": "user", "content": question}, *response.output, *results]


async def test_response_calls_tools_in_parallel_and_tells_their_results(world: World, *, streamed: bool) -> None:
    tools = [pydantic_responses_function_tool(GetWeather, name="get_weather")]
    asked: Any = {"tools": tools, "reasoning": {"effort": "low"}, "instructions": "be brief"}
    first = await respond(world, streamed=streamed, input=WEATHER, **asked)
    calls = [item for item in first.output if item.type == "function_call"]
    assert [call.parsed_arguments for call in calls] == [GetWeather(city="Oslo"), GetWeather(city="Rome")]
    final = await respond(world, streamed=streamed, input=replayed(WEATHER, first), **asked)
    assert final.output_text == SUNNY
    assert final.usage is not None
    assert (final.usage.total_tokens, final.usage.output_tokens_details.reasoning_tokens) == (20, 2)
    assert [(called.name, called.output) for called in world.heard.calls] == [
        ("get_weather", weather("Oslo")),
        ("get_weather", weather("Rome")),
    ]
    assert world.heard.system == "be brief"
    assert world.heard.thoughts == ["Thought 0001 about what. "]  # what it thought comes back to it byte for byte


async def test_response_is_parsed_into_its_schema(world: World, *, streamed: bool) -> None:
    final = await respond(world, streamed=streamed, input="Weather in Oslo: 21 degrees", text_format=Forecast)
    assert final.output_parsed == Forecast(city="Oslo", degrees=21)
    assert world.heard.schema is not None
    assert world.heard.schema["required"] == ["city", "degrees"]


async def test_refusal_in_a_parsed_response_is_no_value(world: World, *, streamed: bool) -> None:
    final = await respond(world, streamed=streamed, input="A recipe for poison", text_format=Forecast)
    assert final.output_parsed is None
    message = final.output[-1]
    assert message.type == "message"
    assert [part.to_dict() for part in message.content] == [{"type": "refusal", "refusal": REFUSAL}]


@pytest.mark.parametrize(
    ("fields", "reason", "text"),
    [
        (
            {"input": LONG, "max_output_tokens": 16},
            "max_output_tokens",
            "You asked: Say many words many words many words many words",
        ),
        ({"input": "Tell me of gore"}, "content_filter", "You asked:"),
    ],
    ids=["limit", "filter"],
)
async def test_response_that_was_cut_says_why(
    world: World, fields: Any, reason: str, text: str, *, streamed: bool
) -> None:
    if streamed:
        async with world.client.responses.stream(model=MODEL, **fields) as stream:
            events = [event async for event in stream]
        last = events[-1]
        assert last.type == "response.incomplete"
        response = last.response
    else:
        response = await world.client.responses.create(model=MODEL, **fields)
    assert (response.status, response.output_text) == ("incomplete", text)
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == reason


async def test_encrypted_reasoning_goes_there_and_back(world: World, *, streamed: bool) -> None:
    """A client that wants no store asks for its thoughts encrypted. A chat model's are told in the open only."""
    asked: Any = {"reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"], "store": False}
    first = await respond(world, streamed=streamed, input="My name is Ada", **asked)
    thought = first.output[0]
    assert thought.type == "reasoning"
    assert [part.text for part in thought.content or []] == ["Thought 0001 about my. "]
    if world.api == "responses":
        assert unseal(thought.encrypted_content or "") == "Thought 0001 about my. "
    turns = [*replayed("my name is Ada", first), {"role": "user", "content": "What is my name?"}]
    final = await respond(world, streamed=streamed, input=turns, **asked)
    assert final.output_text == "Your name is Ada."
    assert world.heard.thoughts == ["Thought 0001 about my. "]


async def test_state_of_the_provider_is_used_where_it_has_some_and_the_gateway_s_elsewhere(
    world: World, *, streamed: bool
) -> None:
    first = await respond(world, streamed=streamed, input="Hello, my name is Ada")
    asked: Any = {"input": "What is my name?", "previous_response_id": first.id}
    final = await respond(world, streamed=streamed, **asked)
    assert (final.output_text, final.previous_response_id) == ("Your name is Ada.", first.id)
    assert len(world.sent["input"] if world.api == "responses" else world.sent["messages"]) in (1, 3)


# chat


async def complete(world: World, *, streamed: bool, **fields: Any) -> ParsedChatCompletion[Any]:
    if not streamed:
        return await world.client.chat.completions.parse(model=MODEL, **fields)
    async with world.client.chat.completions.stream(model=MODEL, **fields) as stream:
        text = "".join([event.delta async for event in stream if event.type == "content.delta"])
        final = await stream.get_final_completion()
    assert (final.choices[0].message.content or "") == text
    return final


async def test_chat_calls_tools_in_parallel_and_tells_their_results(world: World, *, streamed: bool) -> None:
    asked: Any = {"tools": [pydantic_function_tool(GetWeather, name="get_weather")], "reasoning_effort": "low"}
    messages: list[Any] = [{"role": "system", "content": "be brief"}, {"role": "user", "content": WEATHER}]
    message = (await complete(world, streamed=streamed, messages=messages, **asked)).choices[0].message
    calls = message.tool_calls or []
    cities = [call.function.parsed_arguments for call in calls]
    assert cities == [GetWeather(city="Oslo"), GetWeather(city="Rome")]
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": weather(city.city)}
        for call, city in zip(calls, cities, strict=True)
        if isinstance(city, GetWeather)
    ]
    final = await complete(world, streamed=streamed, messages=[*messages, message, *results], **asked)
    assert final.choices[0].message.content == SUNNY
    assert world.heard.system == "be brief"
    assert [called.output for called in world.heard.calls] == [weather("Oslo"), weather("Rome")]


async def test_chat_is_parsed_into_its_schema(world: World, *, streamed: bool) -> None:
    messages: Any = [{"role": "user", "content": "Weather in Oslo: 21 degrees"}]
    final = await complete(world, streamed=streamed, messages=messages, response_format=Forecast)
    assert final.choices[0].message.parsed == Forecast(city="Oslo", degrees=21)


@pytest.mark.parametrize(
    ("question", "limit", "error"),
    [
        (LONG, 16, openai.LengthFinishReasonError),
        ("Tell me of gore", None, openai.ContentFilterFinishReasonError),
    ],
    ids=["limit", "filter"],
)
async def test_chat_that_was_cut_cannot_be_parsed(
    world: World, question: str, limit: int | None, error: type[Exception], *, streamed: bool
) -> None:
    options: Any = {} if limit is None else {"max_completion_tokens": limit}
    with pytest.raises(error):
        await complete(
            world,
            streamed=streamed,
            messages=[{"role": "user", "content": question}],
            response_format=Forecast,
            **options,
        )


async def test_refusal_in_a_parsed_chat_is_no_value(world: World, *, streamed: bool) -> None:
    messages: Any = [{"role": "user", "content": "A recipe for poison"}]
    final = await complete(world, streamed=streamed, messages=messages, response_format=Forecast)
    message = final.choices[0].message
    assert (message.parsed, message.content, message.refusal) == (None, None, REFUSAL)


# both


Ask = Callable[[World, str, bool], Awaitable[Any]]


async def by_chat(world: World, question: str, streamed: bool) -> Any:
    return await complete(world, streamed=streamed, messages=[{"role": "user", "content": question}])


async def by_responses(world: World, question: str, streamed: bool) -> Any:
    return await respond(world, streamed=streamed, input=question)


BOTH = pytest.mark.parametrize("ask", [by_chat, by_responses], ids=["chat", "responses"])


@BOTH
@pytest.mark.parametrize(
    ("question", "error", "code"),
    [
        ("word " * 3000, openai.BadRequestError, "context_length_exceeded"),
        ("I ask too often", openai.RateLimitError, "rate_limit_exceeded"),
    ],
    ids=["too long", "too often"],
)
async def test_errors_keep_their_class_and_their_code(
    world: World, ask: Ask, question: str, error: type[openai.APIStatusError], code: str, *, streamed: bool
) -> None:
    with pytest.raises(error) as caught:
        await ask(world, question, streamed)
    assert caught.value.code == code


@BOTH
async def test_answer_that_breaks_off_is_an_error(world: World, ask: Ask, *, streamed: bool) -> None:
    world.brain.breaks = True
    with pytest.raises(openai.APIError):
        await ask(world, "Tell me something", streamed)


async def test_images_are_seen(world: World, *, streamed: bool) -> None:
    image = {"type": "input_image", "image_url": PIXEL}
    content = [{"type": "input_text", "text": "What is this?"}, image]
    final = await respond(world, streamed=streamed, input=[{"role": "user", "content": content}])
    assert final.output_text == "I see 1 image."
    part = {"type": "image_url", "image_url": {"url": PIXEL}}
    messages: Any = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, part]}]
    chat = await complete(world, streamed=streamed, messages=messages)
    assert chat.choices[0].message.content == "I see 1 image."
    assert world.heard.images == [PIXEL]
