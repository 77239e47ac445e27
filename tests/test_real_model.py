"""The official SDK before the real model in this process, with a gateway between them that is served for real."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator
from typing import Any, Literal

import msgspec
import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from aigateway import Gateway
from aigateway.local.engine import SLOTS
from aigateway.local.llama import LocalModel
from tests.formats.responses_law import check_stream
from tests.serving import served

pytestmark = pytest.mark.asyncio(loop_scope="module")

# In these words: with others this small model is easily put off.
FRANCE = "what is the capital of france"
ASKED: list[Any] = [{"role": "user", "content": FRANCE}]
STORY = "Write a very long story about a dragon."


def at_work(model: LocalModel) -> bool:
    return model._slots._value < SLOTS


class Stage(msgspec.Struct):
    """The model behind a served gateway, and a client of it."""

    model: LocalModel
    url: str
    client: AsyncOpenAI

    async def rests(self) -> None:
        """Wait until nothing is asked of the model any more. Fails after two seconds."""
        for _ in range(200):
            if not at_work(self.model):
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the model is still at work for somebody who left")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    model = LocalModel()
    await model.open()  # fetches it where it is not in the cache yet
    async with (
        served(Gateway(models={"local": model})) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield Stage(model, url, client)


async def chat(stage: Stage, **options: Any) -> Any:
    body: dict[str, Any] = {"model": "local", "messages": ASKED, "temperature": 0, "max_tokens": 40}
    create: Any = stage.client.chat.completions.create
    return await create(**body | options)


async def respond(stage: Stage, **options: Any) -> Any:
    body: dict[str, Any] = {"model": "local", "input": FRANCE, "temperature": 0, "max_output_tokens": 40}
    create: Any = stage.client.responses.create
    return await create(**body | options)


async def test_chat_knows_the_capital_of_france(stage: Stage) -> None:
    reply = await chat(stage)
    assert reply.model == "local"
    assert "Paris" in reply.choices[0].message.content
    assert reply.choices[0].finish_reason in {"stop", "length"}
    assert reply.usage.prompt_tokens > 0
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


async def test_chat_stream_says_it_in_pieces(stage: Stage) -> None:
    chunks = [chunk async for chunk in await chat(stage, stream=True, stream_options={"include_usage": True})]
    pieces = [choice.delta.content for chunk in chunks for choice in chunk.choices if choice.delta.content]
    assert "Paris" in "".join(pieces)
    assert len(pieces) > 2
    assert {chunk.model for chunk in chunks} == {"local"}
    assert [chunk.usage.completion_tokens > 2 for chunk in chunks if chunk.usage] == [True]
    plain = [chunk async for chunk in await chat(stage, stream=True)]
    assert all(chunk.choices and chunk.usage is None for chunk in plain)


async def test_completion_goes_on_where_the_prompt_ends(stage: Stage) -> None:
    options: dict[str, Any] = {"model": "local", "temperature": 0, "max_tokens": 12}
    create: Any = stage.client.completions.create
    reply = await create(**options, prompt=["The capital of France is", "One, two, three,"])
    assert (reply.model, reply.object) == ("local", "text_completion")
    assert "Paris" in reply.choices[0].text
    assert "four" in reply.choices[1].text
    assert reply.usage.completion_tokens <= 24
    stream = await create(
        **options, prompt="The capital of France is", stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == reply.choices[0].text
    assert {chunk.model for chunk in chunks} == {"local"}
    assert [chunk.usage.completion_tokens > 2 for chunk in chunks if chunk.usage] == [True]


async def test_response_knows_it_too(stage: Stage) -> None:
    reply = await respond(stage, metadata={"a": "b"})
    assert (reply.model, reply.object, reply.metadata) == ("local", "response", {"a": "b"})
    assert "Paris" in reply.output_text
    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens > 0


async def test_response_stream_is_lawful(stage: Stage) -> None:
    events = [event async for event in await respond(stage, stream=True)]
    check_stream([event.to_dict() for event in events])
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    final = events[-1].response
    assert "Paris" in final.output_text
    assert "".join(pieces) == final.output_text
    assert final.usage.output_tokens > 2


async def test_response_stream_helper_gives_the_final_response(stage: Stage) -> None:
    async with stage.client.responses.stream(model="local", input=FRANCE, temperature=0) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert "Paris" in final.output_text


async def test_conversation_is_carried_on_with_the_output_sent_back(stage: Stage) -> None:
    first = await respond(stage)
    history = [{"role": "user", "content": FRANCE}, *first.output, {"role": "user", "content": FRANCE}]
    second = await respond(stage, input=history)
    assert second.usage.input_tokens > first.usage.input_tokens + first.usage.output_tokens
    assert second.output_text


async def test_embeddings_agree_in_both_forms(stage: Stage) -> None:
    create = stage.client.embeddings.create
    default = await create(model="local", input=["a cat", "a dog"])
    floats = await create(model="local", input=["a cat", "a dog"], encoding_format="float")
    packed: Any = await create(model="local", input=["a cat", "a dog"], encoding_format="base64")
    assert [len(item.embedding) for item in floats.data] == [576, 576]
    assert floats.data[0].embedding != pytest.approx(floats.data[1].embedding, abs=1e-3)
    assert floats.usage.prompt_tokens > 0
    for one, other, raw in zip(floats.data, default.data, packed.data, strict=True):
        unpacked = struct.unpack("<576f", base64.b64decode(raw.embedding))
        assert other.embedding == pytest.approx(one.embedding, abs=1e-3)
        assert unpacked == pytest.approx(one.embedding, abs=1e-3)


class Person(BaseModel):
    """What the model has to fill in."""

    name: Literal["Ann", "Bob"]  # whatever a small model thinks of, it cannot ramble
    age: Literal[10, 20]


async def test_schema_of_a_response_is_kept(stage: Stage) -> None:
    schema = {
        "type": "object",
        "properties": {"answer": {"enum": ["Paris", "Rome"]}, "sure": {"type": "boolean"}},
        "required": ["answer", "sure"],
        "additionalProperties": False,
    }
    wanted = {"format": {"type": "json_schema", "name": "capital", "schema": schema, "strict": True}}
    reply = await respond(stage, text=wanted, max_output_tokens=80)
    value = json.loads(reply.output_text)
    assert set(value) == {"answer", "sure"}
    assert value["answer"] in {"Paris", "Rome"}
    assert isinstance(value["sure"], bool)
    assert reply.text.format.type == "json_schema"


async def test_parse_gives_the_pydantic_model(stage: Stage) -> None:
    question = "Make up a person: a name and an age."
    options: Any = {"model": "local", "temperature": 0}
    response = await stage.client.responses.parse(input=question, text_format=Person, max_output_tokens=200, **options)
    assert isinstance(response.output_parsed, Person)
    chat_reply = await stage.client.chat.completions.parse(
        messages=[{"role": "user", "content": question}], response_format=Person, max_tokens=200, **options
    )
    assert isinstance(chat_reply.choices[0].message.parsed, Person)


async def test_few_tokens_make_an_incomplete_response(stage: Stage) -> None:
    reply = await respond(stage, input=STORY, max_output_tokens=3)
    assert (reply.status, reply.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert reply.usage.output_tokens == 3
    events = [event async for event in await respond(stage, input=STORY, max_output_tokens=3, stream=True)]
    check_stream([event.to_dict() for event in events])
    assert events[-1].type == "response.incomplete"
    cut = await chat(stage, messages=[{"role": "user", "content": STORY}], max_tokens=3)
    assert cut.choices[0].finish_reason == "length"


@pytest.mark.parametrize("caller", ["chat", "responses"])
async def test_leaving_a_stream_lets_the_model_rest(stage: Stage, caller: str) -> None:
    if caller == "chat":
        stream = await chat(stage, messages=[{"role": "user", "content": STORY}], max_tokens=4000, stream=True)
    else:
        stream = await respond(stage, input=STORY, max_output_tokens=4000, stream=True)
    seen = 0
    async for _ in stream:
        seen += 1
        if seen == 8:
            break
    assert at_work(stage.model)
    await stream.close()
    await stage.rests()
    assert "Paris" in (await chat(stage)).choices[0].message.content


@pytest.mark.parametrize("caller", ["chat", "responses"])
async def test_cancelling_a_call_lets_the_model_rest(stage: Stage, caller: str) -> None:
    if caller == "chat":
        call = chat(stage, messages=[{"role": "user", "content": STORY}], max_tokens=4000)
    else:
        call = respond(stage, input=STORY, max_output_tokens=4000)
    asking = asyncio.create_task(call)
    await asyncio.wait((asking,), timeout=0.4)
    assert at_work(stage.model)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await stage.rests()


async def test_two_calls_at_once_are_answered_side_by_side(stage: Stage) -> None:
    order: list[str] = []

    async def read(name: str, stream: Any) -> None:
        async for _ in stream:
            order.append(name)  # noqa: PERF401 - both write to it

    told = [{"role": "user", "content": STORY}]
    await asyncio.gather(
        read("chat", await chat(stage, messages=told, max_tokens=100, stream=True)),
        read("responses", await respond(stage, input=STORY, max_output_tokens=100, stream=True)),
    )
    assert min(order.count("chat"), order.count("responses")) > 50
    assert "chat" in order[order.index("responses") :], "one waited for the other"


async def test_synchronous_client_gets_an_answer(stage: Stage) -> None:
    def use() -> str:
        with OpenAI(base_url=f"{stage.url}/v1", api_key="none", max_retries=0) as client:
            return client.responses.create(model="local", input=FRANCE, temperature=0, max_output_tokens=40).output_text

    assert "Paris" in await asyncio.to_thread(use)


async def test_refusals_of_the_model_are_clear(stage: Stage) -> None:
    tool = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False}
    with pytest.raises(openai.BadRequestError) as forced:
        await respond(stage, tools=[tool], tool_choice="required")
    assert forced.value.param == "tool_choice"
    with pytest.raises(openai.BadRequestError, match="tokens"):
        await respond(stage, input="hi " * 9000, stream=True)
    with pytest.raises(openai.BadRequestError):
        await stage.client.images.generate(model="local", prompt="a cat")
    with pytest.raises(openai.NotFoundError):
        await respond(stage, model="other")
    listed = await stage.client.models.list()
    assert [model.id for model in listed.data] == ["local"]


async def test_state_works_on_it_as_on_any_other(stage: Stage) -> None:
    first = await stage.client.responses.create(model="local", input=FRANCE, temperature=0)
    assert "Paris" in first.output_text
    second = await stage.client.responses.create(
        model="local", input="what did i ask?", previous_response_id=first.id, max_output_tokens=16
    )
    assert second.usage is not None
    assert first.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens + first.usage.output_tokens  # it was told all of it
    queued = await stage.client.responses.create(model="local", input=FRANCE, temperature=0, background=True)
    seen = [event async for event in await stage.client.responses.retrieve(queued.id, stream=True)]
    assert seen[-1].type == "response.completed"
    assert "Paris" in seen[-1].response.output_text
    conversation = await stage.client.conversations.create()
    for _ in range(2):
        await stage.client.responses.create(
            model="local", input="hi", conversation=conversation.id, max_output_tokens=8
        )
    items = [item async for item in stage.client.conversations.items.list(conversation.id)]
    assert [item.type for item in items] == ["message"] * 4
