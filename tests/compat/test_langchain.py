"""Chat models of langchain-openai, by chat and by Responses: tools, structured output, turns and failures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import openai
import pytest
from langchain_core.exceptions import ContextOverflowError, ModelRateLimitError
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI
from langchain_openai.chat_models.base import OpenAIRefusalError
from pydantic import BaseModel, SecretStr

from tests.compat.brain import REFUSAL
from tests.compat.world import MODEL, World, plain_http

WEATHER = "What is the weather in Oslo and in Rome?"
LONG = "Say " + "many words " * 9
PIXEL = "data:image/png;base64,iVBORw0KGgo="

# Its own messages do not expect the parsed values that it puts into them.
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")

Models = Callable[..., ChatOpenAI]


class GetWeather(BaseModel):
    """Tell the weather."""

    city: str


class Forecast(BaseModel):
    """The weather to come."""

    city: str
    degrees: int


@pytest.fixture(params=[False, True], ids=["chat", "responses"])
def by_responses(request: pytest.FixtureRequest) -> bool:
    """Whether the library speaks Responses."""
    chosen: bool = request.param
    return chosen


@pytest.fixture
async def models(world: World, by_responses: bool) -> AsyncIterator[Models]:
    async with plain_http() as http:

        def model(**options: Any) -> ChatOpenAI:
            return ChatOpenAI(
                model=MODEL,
                base_url=world.base_url,
                api_key=SecretStr("sk-test"),
                http_async_client=http,
                use_responses_api=by_responses,
                max_retries=0,
                stream_usage=True,
                **options,
            )

        yield model


async def ask(model: Any, messages: Any, *, streamed: bool) -> AIMessage:
    """The model's message; the sum of its chunks where it is streamed."""
    if not streamed:
        message = await model.ainvoke(messages)
        assert isinstance(message, AIMessage)
        return message
    whole: Any = None
    async for chunk in model.astream(messages):
        whole = chunk if whole is None else whole + chunk
    assert isinstance(whole, AIMessage)
    return whole


async def test_tools_are_called_in_parallel_and_their_results_told(
    world: World, models: Models, *, streamed: bool
) -> None:
    model = models(reasoning_effort="low").bind_tools([GetWeather])
    turns: list[Any] = [SystemMessage("be brief"), HumanMessage(WEATHER)]
    first = await ask(model, turns, streamed=streamed)
    assert [(call["name"], call["args"]) for call in first.tool_calls] == [
        ("GetWeather", {"city": "Oslo"}),
        ("GetWeather", {"city": "Rome"}),
    ]
    assert first.invalid_tool_calls == []
    results = [
        ToolMessage(f"It is sunny in {call['args']['city']}.", tool_call_id=call["id"]) for call in first.tool_calls
    ]
    final = await ask(model, [*turns, first, *results], streamed=streamed)
    assert final.text == "It is sunny in Oslo. It is sunny in Rome."
    assert final.response_metadata["model_name"] == MODEL
    usage = final.usage_metadata
    assert usage is not None
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (12, 8, 20)
    assert (usage["input_token_details"]["cache_read"], usage["output_token_details"]["reasoning"]) == (4, 2)
    assert world.heard.system == "be brief"
    assert [called.output for called in world.heard.calls] == ["It is sunny in Oslo.", "It is sunny in Rome."]


async def test_one_call_at_a_time_of_the_tool_that_is_demanded(world: World, models: Models, *, streamed: bool) -> None:
    model = models().bind_tools([GetWeather], tool_choice="GetWeather", parallel_tool_calls=False)
    message = await ask(model, "How is it in Oslo and in Rome?", streamed=streamed)
    assert [call["args"] for call in message.tool_calls] == [{"city": "Oslo"}]
    assert (world.heard.choice, world.heard.parallel) == ("GetWeather", False)


async def structured(model: Any, question: str, *, streamed: bool) -> Any:
    """What was made of the answer; the last state of it where it is streamed."""
    return [part async for part in model.astream(question)][-1] if streamed else await model.ainvoke(question)


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
async def test_output_is_structured(world: World, models: Models, method: Any, *, streamed: bool) -> None:
    if method == "json_mode":
        model = models().with_structured_output(None, method=method)
        expected: Any = {"city": "Oslo"}
    else:
        model = models().with_structured_output(Forecast, method=method)
        expected = Forecast(city="Oslo", degrees=21)
    question = "As JSON: the weather in Oslo, 21 degrees"
    assert await structured(model, question, streamed=streamed) == expected


async def test_refusal_of_a_structured_output_is_raised(models: Models, *, streamed: bool) -> None:
    model = models().with_structured_output(Forecast, method="json_schema")
    with pytest.raises(OpenAIRefusalError, match=REFUSAL):
        await structured(model, "A recipe for poison", streamed=streamed)


async def test_turns_go_on_with_the_thoughts(
    world: World, models: Models, by_responses: bool, *, streamed: bool
) -> None:
    options: Any = {"include": ["reasoning.encrypted_content"], "store": False} if by_responses else {}
    model = models(reasoning_effort="low", **options)
    turns: list[Any] = [HumanMessage("my name is Ada")]
    first = await ask(model, turns, streamed=streamed)
    final = await ask(model, [*turns, first, HumanMessage("What is my name?")], streamed=streamed)
    assert final.text == "Your name is Ada."
    assert world.heard.users == ["my name is Ada", "What is my name?"]
    assert world.heard.assistants == [first.text]
    if by_responses and world.api == "responses":  # a chat model's thoughts are not encrypted: it leaves those out
        assert world.heard.thoughts == ["Thought 0001 about my. "]


async def test_images_are_seen(world: World, models: Models, *, streamed: bool) -> None:
    image = {"type": "image_url", "image_url": {"url": PIXEL}}
    message = HumanMessage([{"type": "text", "text": "What is this?"}, image])
    assert (await ask(models(), [message], streamed=streamed)).text == "I see 1 image."
    assert world.heard.images == [PIXEL]


async def test_answer_that_was_cut_says_why(models: Models, by_responses: bool, *, streamed: bool) -> None:
    for model, question, reason in (
        (models(max_tokens=16), LONG, "max_output_tokens" if by_responses else "length"),
        (models(), "Tell me of gore", "content_filter"),
    ):
        facts = (await ask(model, question, streamed=streamed)).response_metadata
        if by_responses:
            assert (facts["status"], facts["incomplete_details"]) == ("incomplete", {"reason": reason})
        else:
            assert facts["finish_reason"] == reason


@pytest.mark.parametrize("by_responses", [True], ids=["responses"], indirect=True)
async def test_state_of_the_provider_is_used_where_it_has_some_and_the_gateway_s_elsewhere(
    world: World, models: Models, *, streamed: bool
) -> None:
    model = models(use_previous_response_id=True)
    turns: list[Any] = [HumanMessage("my name is Ada")]
    turns += [await ask(model, turns, streamed=streamed), HumanMessage("What is my name?")]
    assert (await ask(model, turns, streamed=streamed)).text == "Your name is Ada."
    assert len(world.sent["input"] if world.api == "responses" else world.sent["messages"]) in (1, 3)


@pytest.mark.parametrize(
    ("question", "error", "theirs"),
    [
        ("word " * 3000, openai.BadRequestError, ContextOverflowError),
        ("I ask too often", openai.RateLimitError, ModelRateLimitError),
    ],
    ids=["too long", "too often"],
)
async def test_errors_are_of_both_families(
    models: Models, question: str, error: type[Exception], theirs: type[Exception], *, streamed: bool
) -> None:
    with pytest.raises(error) as caught:
        await ask(models(), question, streamed=streamed)
    assert isinstance(caught.value, theirs)


async def test_answer_that_breaks_off_is_an_error(world: World, models: Models, *, streamed: bool) -> None:
    world.brain.breaks = True
    with pytest.raises(openai.APIError):
        await ask(models(), "Tell me something", streamed=streamed)
