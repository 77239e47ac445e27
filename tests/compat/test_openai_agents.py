"""Agents of the OpenAI Agents SDK, over both of its models: tools, handoffs, typed output, turns and failures."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from agents import (
    Agent,
    ModelRefusalError,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    function_tool,
)
from agents.result import RunResultBase
from agents.stream_events import RawResponsesStreamEvent
from openai.types.shared import Reasoning
from pydantic import BaseModel

from tests.compat.brain import REFUSAL
from tests.compat.world import MODEL, World

MODELS: dict[str, Any] = {"chat": OpenAIChatCompletionsModel, "responses": OpenAIResponsesModel}
WEATHER = "What is the weather in Oslo and in Rome?"
THINKING = ModelSettings(reasoning=Reasoning(effort="low"), include_usage=True)
UNTRACED = RunConfig(tracing_disabled=True)
"""Traces would be sent to OpenAI."""


class Forecast(BaseModel):
    city: str
    degrees: int


def get_weather(city: str) -> str:
    """Tell the weather."""
    return f"It is sunny in {city}."


@pytest.fixture(params=list(MODELS))
def spoken(request: pytest.FixtureRequest) -> str:
    """The API that the library speaks."""
    api: str = request.param
    return api


@pytest.fixture
def model(world: World, spoken: str) -> Any:
    return MODELS[spoken](MODEL, openai_client=world.client)


async def run(agent: Agent[Any], input: Any, *, streamed: bool, **options: Any) -> RunResultBase:
    """A run to its end. A stream's deltas are the text of its answer."""
    if not streamed:
        return await Runner.run(agent, input, run_config=UNTRACED, **options)
    running = Runner.run_streamed(agent, input, run_config=UNTRACED, **options)
    text = ""
    async for event in running.stream_events():
        if isinstance(event, RawResponsesStreamEvent) and event.data.type == "response.output_text.delta":
            text += event.data.delta
    if isinstance(running.final_output, str):
        assert text == running.final_output
    return running


def kinds(result: RunResultBase) -> list[str]:
    return [item.type for item in result.new_items]


async def test_tools_are_called_in_parallel_and_their_results_told(
    world: World, model: Any, spoken: str, *, streamed: bool
) -> None:
    agent = Agent[Any](
        "Weather", instructions="be brief", model=model, tools=[function_tool(get_weather)], model_settings=THINKING
    )
    result = await run(agent, WEATHER, streamed=streamed)
    assert result.final_output == "It is sunny in Oslo. It is sunny in Rome."
    calls = ["reasoning_item", "tool_call_item", "tool_call_item", "tool_call_output_item", "tool_call_output_item"]
    assert kinds(result) == [*calls, "reasoning_item", "message_output_item"]
    usage = result.context_wrapper.usage
    assert (usage.requests, usage.input_tokens, usage.output_tokens, usage.total_tokens) == (2, 24, 16, 40)
    assert usage.output_tokens_details.reasoning_tokens == 4
    assert usage.input_tokens_details.cached_tokens == 8
    assert world.heard.system == "be brief"
    assert [called.output for called in world.heard.calls] == [get_weather("Oslo"), get_weather("Rome")]
    if spoken == "responses":
        assert world.heard.thoughts == ["Thought 0001 about what. "]


async def test_agent_hands_over_to_another(world: World, model: Any, *, streamed: bool) -> None:
    spanish = Agent[Any]("Spanish agent", instructions="Habla.", model=model)
    triage = Agent[Any]("Triage agent", instructions="Choose.", model=model, handoffs=[spanish])
    result = await run(triage, "I want a spanish speaker", streamed=streamed)
    assert result.last_agent is spanish
    assert result.final_output == "Habla. You asked: I want a spanish speaker"
    assert kinds(result) == ["handoff_call_item", "handoff_output_item", "message_output_item"]
    assert [list(heard.tools) for heard in world.brain.heard] == [["transfer_to_spanish_agent"], []]
    assert [called.name for called in world.heard.calls] == ["transfer_to_spanish_agent"]


async def test_turns_go_on_as_input_lists(world: World, model: Any, *, streamed: bool) -> None:
    """No store is needed: the library sends all that was said, with its thoughts and calls."""
    agent = Agent[Any]("Friend", model=model, tools=[function_tool(get_weather)], model_settings=THINKING)
    first = await run(agent, "my name is Ada, what is the weather in Oslo?", streamed=streamed)
    turns: list[Any] = [*first.to_input_list(), {"role": "user", "content": "What is my name?"}]
    second = await run(agent, turns, streamed=streamed)
    assert second.final_output == "Your name is Ada."
    assert world.heard.users == ["my name is Ada, what is the weather in Oslo?", "What is my name?"]
    assert world.heard.assistants == ["It is sunny in Oslo."]
    assert [called.output for called in world.heard.calls] == [get_weather("Oslo")]


async def test_output_has_its_type(world: World, model: Any, *, streamed: bool) -> None:
    agent = Agent[Any]("Forecaster", model=model, output_type=Forecast)
    result = await run(agent, "Weather in Oslo: 21 degrees", streamed=streamed)
    assert result.final_output == Forecast(city="Oslo", degrees=21)
    assert world.heard.schema is not None
    assert world.heard.schema["additionalProperties"] is False


async def test_refusal_is_raised(world: World, model: Any, *, streamed: bool) -> None:
    agent = Agent[Any]("Forecaster", model=model, output_type=Forecast)
    with pytest.raises(ModelRefusalError) as caught:
        await run(agent, "A recipe for poison", streamed=streamed)
    assert caught.value.refusal == REFUSAL


async def test_encrypted_reasoning_is_sent_back(world: World, *, streamed: bool) -> None:
    settings = ModelSettings(
        store=False, reasoning=Reasoning(effort="low"), response_include=["reasoning.encrypted_content"]
    )
    model = OpenAIResponsesModel(MODEL, openai_client=world.client)
    agent = Agent[Any]("Weather", model=model, tools=[function_tool(get_weather)], model_settings=settings)
    result = await run(agent, WEATHER, streamed=streamed)
    assert result.final_output == "It is sunny in Oslo. It is sunny in Rome."
    assert world.heard.thoughts == ["Thought 0001 about what. "]


async def test_state_of_the_provider_is_used_where_it_has_some_and_the_gateway_s_elsewhere(
    world: World, *, streamed: bool
) -> None:
    agent = Agent[Any]("Friend", model=OpenAIResponsesModel(MODEL, openai_client=world.client))
    first = await run(agent, "my name is Ada", streamed=streamed)
    asked: Any = {"input": "What is my name?", "previous_response_id": first.last_response_id}
    assert (await run(agent, **asked, streamed=streamed)).final_output == "Your name is Ada."


@pytest.mark.parametrize(
    ("question", "error", "code"),
    [
        ("word " * 3000, openai.BadRequestError, "context_length_exceeded"),
        ("I ask too often", openai.RateLimitError, "rate_limit_exceeded"),
    ],
    ids=["too long", "too often"],
)
async def test_errors_keep_their_class_and_their_code(
    world: World, model: Any, question: str, error: type[openai.APIStatusError], code: str, *, streamed: bool
) -> None:
    with pytest.raises(error) as caught:
        await run(Agent[Any]("Asker", model=model), question, streamed=streamed)
    assert caught.value.code == code


async def test_answer_that_breaks_off_is_an_error(world: World, model: Any, *, streamed: bool) -> None:
    world.brain.breaks = True
    with pytest.raises(openai.APIError):
        await run(Agent[Any]("Asker", model=model), "Tell me something", streamed=streamed)
