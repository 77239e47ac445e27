"""Agents of pydantic-ai, over its chat model and its Responses model: tools, typed output, turns and failures."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, ModelSettings, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.exceptions import (
    ContentFilterError,
    ModelAPIError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelRateLimitError,
    UnexpectedModelBehavior,
)
from pydantic_ai.messages import ModelMessage, ThinkingPart
from pydantic_ai.models.openai import (
    OpenAIChatModel,
    OpenAIChatModelSettings,
    OpenAIResponsesModel,
    OpenAIResponsesModelSettings,
)
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.usage import RunUsage

from tests.compat.brain import REFUSAL
from tests.compat.world import MODEL, World

WEATHER = "What is the weather in Oslo and in Rome?"
LONG = "Say " + "many words " * 9
THINKING = OpenAIChatModelSettings(openai_reasoning_effort="low")
MODELS: dict[str, Any] = {"chat": OpenAIChatModel, "responses": OpenAIResponsesModel}


class Forecast(BaseModel):
    """The weather to come."""

    city: str
    degrees: int


def get_weather(city: str) -> str:
    """Tell the weather."""
    return f"It is sunny in {city}."


class Told(msgspec.Struct):
    """What a run gave."""

    output: Any
    messages: list[ModelMessage]
    usage: RunUsage

    @property
    def thoughts(self) -> list[str]:
        return [part.content for message in self.messages for part in message.parts if isinstance(part, ThinkingPart)]


@pytest.fixture(params=list(MODELS))
def spoken(request: pytest.FixtureRequest) -> str:
    """The API that the library speaks."""
    api: str = request.param
    return api


@pytest.fixture
def model(world: World, spoken: str) -> Any:
    return MODELS[spoken](MODEL, provider=OpenAIProvider(openai_client=world.client))


async def run(agent: Agent[None, Any], question: Any, *, streamed: bool, **options: Any) -> Told:
    if not streamed:
        result = await agent.run(question, **options)
        return Told(result.output, result.all_messages(), result.usage)
    async with agent.run_stream(question, **options) as running:
        output = await running.get_output()
        return Told(output, running.all_messages(), running.usage)


async def test_tools_are_called_in_parallel_and_their_results_told(
    world: World, model: Any, spoken: str, *, streamed: bool
) -> None:
    agent = Agent(model, instructions="be brief", tools=[get_weather], model_settings=THINKING)
    told = await run(agent, WEATHER, streamed=streamed)
    assert told.output == "It is sunny in Oslo. It is sunny in Rome."
    usage = told.usage
    assert (usage.requests, usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (2, 24, 16, 8)
    assert world.heard.system == "be brief"
    assert [called.output for called in world.heard.calls] == [get_weather("Oslo"), get_weather("Rome")]
    if not (spoken == "chat" and world.api == "responses"):
        assert world.heard.thoughts == ["Thought 0001 about what. "]


@pytest.mark.parametrize("how", [NativeOutput, PromptedOutput, ToolOutput], ids=["native", "prompted", "tool"])
async def test_output_has_its_type(world: World, model: Any, how: Any, *, streamed: bool) -> None:
    agent = Agent(model, output_type=how(Forecast))
    told = await run(agent, "As JSON: what is it like in Oslo, 21 degrees?", streamed=streamed)
    assert told.output == Forecast(city="Oslo", degrees=21)


async def test_tool_then_typed_output(world: World, model: Any, *, streamed: bool) -> None:
    agent = Agent(model, tools=[get_weather], output_type=Forecast)
    told = await run(agent, "What is the weather in Oslo, 21 degrees?", streamed=streamed)
    assert told.output == Forecast(city="Oslo", degrees=21)
    assert world.heard.choice == "required"
    assert [called.output for called in world.heard.calls] == [get_weather("Oslo")]


async def test_turns_go_on_with_the_history(world: World, model: Any, *, streamed: bool) -> None:
    agent = Agent(model, tools=[get_weather], model_settings=THINKING)
    first = await run(agent, "my name is Ada, what is the weather in Oslo?", streamed=streamed)
    second = await run(agent, "What is my name?", streamed=streamed, message_history=first.messages)
    assert second.output == "Your name is Ada."
    assert world.heard.users == ["my name is Ada, what is the weather in Oslo?", "What is my name?"]
    assert world.heard.assistants == ["It is sunny in Oslo."]


async def test_state_of_the_provider_is_used_where_it_has_some_and_the_gateway_s_elsewhere(
    world: World, *, streamed: bool
) -> None:
    agent: Agent[None, str] = Agent(
        OpenAIResponsesModel(MODEL, provider=OpenAIProvider(openai_client=world.client)),
        model_settings=OpenAIResponsesModelSettings(openai_previous_response_id="auto"),
    )
    first = await run(agent, "my name is Ada", streamed=streamed)
    second = await run(agent, "What is my name?", streamed=streamed, message_history=first.messages)
    assert second.output == "Your name is Ada."
    assert len(world.sent["input"] if world.api == "responses" else world.sent["messages"]) in (1, 3)


async def test_images_are_seen(world: World, model: Any, *, streamed: bool) -> None:
    image = BinaryContent(b"\x89PNG\r\n", media_type="image/png")
    told = await run(Agent(model), ["What is this?", image], streamed=streamed)
    assert told.output == "I see 1 image."
    assert world.heard.images == ["data:image/png;base64,iVBORw0K"]


async def test_refusal_is_raised(model: Any, *, streamed: bool) -> None:
    with pytest.raises(ContentFilterError, match=REFUSAL):
        await run(Agent(model, output_type=NativeOutput(Forecast)), "A recipe for poison", streamed=streamed)


async def test_answer_that_was_cut_says_why(model: Any, *, streamed: bool) -> None:
    agent = Agent(model, model_settings=ModelSettings(max_tokens=16))
    told = await run(agent, LONG, streamed=streamed)
    last = told.messages[-1]
    assert last.kind == "response"
    assert last.finish_reason == "length"
    told = await run(Agent(model), "Tell me of gore", streamed=streamed)
    last = told.messages[-1]
    assert last.kind == "response"
    assert last.finish_reason == "content_filter"


@pytest.mark.parametrize(
    ("question", "status", "theirs"),
    [("word " * 3000, 400, ModelContextWindowExceededError), ("I ask too often", 429, ModelRateLimitError)],
    ids=["too long", "too often"],
)
async def test_errors_keep_their_status_and_their_kind(
    model: Any, question: str, status: int, theirs: type[Exception], *, streamed: bool
) -> None:
    with pytest.raises(ModelHTTPError) as caught:
        await run(Agent(model), question, streamed=streamed)
    assert caught.value.status_code == status
    assert isinstance(caught.value, theirs)


async def test_answer_that_breaks_off_is_an_error(world: World, model: Any, *, streamed: bool) -> None:
    world.brain.breaks = True
    with pytest.raises((ModelAPIError, UnexpectedModelBehavior)):
        await run(Agent(model), "Tell me something", streamed=streamed)
