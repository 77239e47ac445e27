"""OpenAI's SDK and Agents SDK with state, over a model that only speaks chat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import openai
import pytest
from agents import (
    Agent,
    ModelBehaviorError,
    ModelSettings,
    OpenAIConversationsSession,
    OpenAIResponsesModel,
    RawResponsesStreamEvent,
    RunConfig,
    Runner,
)
from openai import AsyncOpenAI
from openai.types.responses import ResponseIncompleteEvent

from tests.state.rig import Rig, rigged


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with rigged("chat") as made:
        yield made


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{rig.url}/v1", api_key="none", max_retries=0) as made:
        yield made


async def test_responses_are_kept_listed_and_deleted(rig: Rig, client: AsyncOpenAI) -> None:
    one = await client.responses.create(model="m", input="first")
    two = await client.responses.create(model="m", input="second", previous_response_id=one.id)
    assert (two.output_text, two.previous_response_id) == ("saw 3", one.id)
    got = await client.responses.retrieve(two.id)
    assert got.output_text == "saw 3"
    asked = await client.responses.retrieve(
        two.id, include=["reasoning.encrypted_content", "message.output_text.logprobs"]
    )
    assert asked == got
    items = [
        item async for item in client.responses.input_items.list(one.id, include=["message.input_image.image_url"])
    ]
    assert [item.type for item in items] == ["message"]
    await client.responses.delete(one.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(one.id)


async def test_background_response_is_followed_and_resumed(client: AsyncOpenAI) -> None:
    queued = await client.responses.create(model="m", input="first", background=True)
    assert queued.status == "queued"
    seen = [event async for event in await client.responses.retrieve(queued.id, stream=True)]
    assert seen[-1].type == "response.completed"
    rest = [event async for event in await client.responses.retrieve(queued.id, stream=True, starting_after=3)]
    assert [event.type for event in rest] == [event.type for event in seen[4:]]
    assert (await client.responses.retrieve(queued.id)).status == "completed"
    assert (await client.responses.cancel(queued.id)).status == "completed"


async def test_stream_of_a_cancelled_response_ends_for_the_sdk(rig: Rig, client: AsyncOpenAI) -> None:
    holding(rig)
    async with client.responses.stream(model="m", input="first", background=True) as stream:
        seen = []
        async for event in stream:
            seen.append(event)
            if event.type == "response.created":
                assert (await client.responses.cancel(event.response.id)).status == "cancelled"
        assert isinstance(seen[-1], ResponseIncompleteEvent)
        assert seen[-1].response.status == "cancelled"
        with pytest.raises(RuntimeError, match=r"response\.completed"):
            await stream.get_final_response()
    raw = await client.responses.retrieve(seen[-1].response.id, stream=True)
    assert [event async for event in raw][-1].type == "response.incomplete"


async def test_agents_tell_of_a_response_that_was_cancelled(rig: Rig, client: AsyncOpenAI) -> None:
    holding(rig)
    settings = ModelSettings(store=True, extra_body={"background": True})
    agent = Agent(name="a", model=OpenAIResponsesModel("m", client), model_settings=settings)
    run = Runner.run_streamed(agent, "one", run_config=RunConfig(tracing_disabled=True))

    async def watch() -> None:
        async for event in run.stream_events():
            if isinstance(event, RawResponsesStreamEvent) and event.data.type == "response.created":
                await client.responses.cancel(event.data.response.id)

    with pytest.raises(ModelBehaviorError, match="incomplete"):
        await watch()


def holding(rig: Rig) -> None:
    """Let the upstream stop in the middle of its answers."""
    known = rig.upstream._answerer
    assert known is not None
    held = asyncio.Event()
    rig.upstream.answer_with(lambda request: msgspec.structs.replace(known(request), hold_after=(1, held)))


async def test_conversations_and_their_items(rig: Rig, client: AsyncOpenAI) -> None:
    made = await client.conversations.create(metadata={"a": "b"}, items=[{"role": "user", "content": "zero"}])
    reply = await client.responses.create(model="m", input="one", conversation=made.id)
    assert reply.output_text == "saw 2"
    assert reply.conversation is not None
    assert reply.conversation.id == made.id
    items = [item async for item in client.conversations.items.list(made.id, limit=1, order="asc")]
    assert len(items) == 3
    added = await client.conversations.items.create(made.id, items=[{"role": "user", "content": "two"}])
    assert added.data[0].id
    await client.conversations.items.delete(str(added.data[0].id), conversation_id=made.id)
    changed = await client.conversations.update(made.id, metadata={"c": "d"})
    assert changed.metadata == {"c": "d"}
    assert (await client.conversations.delete(made.id)).deleted


async def test_stored_completions(client: AsyncOpenAI) -> None:
    question: openai.types.chat.ChatCompletionUserMessageParam = {"role": "user", "content": "hi"}
    made = await client.chat.completions.create(model="m", messages=[question], store=True, metadata={"a": "1"})
    stream = await client.chat.completions.create(
        model="m", messages=[question], store=True, metadata={"a": "2"}, stream=True
    )
    chunks = [chunk async for chunk in stream]
    await client.chat.completions.create(model="m", messages=[question])
    kept = [one async for one in client.chat.completions.list(limit=1)]
    assert {one.id for one in kept} >= {made.id}
    assert (await client.chat.completions.retrieve(made.id)).choices[0].message.content == "saw 1"
    messages = [one async for one in client.chat.completions.messages.list(made.id)]
    assert [message.content for message in messages] == ["hi"]
    assert [one.id async for one in client.chat.completions.list(metadata={"a": "1"})] == [made.id]
    assert (await client.chat.completions.update(made.id, metadata={"a": "3"})).id == made.id
    assert [one.id async for one in client.chat.completions.list(metadata={"a": "1"})] == []
    assert (await client.chat.completions.delete(made.id)).deleted
    assert chunks[0].id


async def test_compaction_by_the_sdk(client: AsyncOpenAI) -> None:
    compacted = await client.responses.compact(model="m", input="hello")
    assert [item.type for item in compacted.output] == ["message", "compaction"]
    counted = await client.responses.input_tokens.count(model="m", input="hello")
    assert counted.input_tokens > 0


async def test_agents_go_on_by_previous_response_and_by_conversation(rig: Rig, client: AsyncOpenAI) -> None:
    agent = Agent(name="a", model=OpenAIResponsesModel("m", client))
    quiet = RunConfig(tracing_disabled=True)
    first = await Runner.run(agent, "one", run_config=quiet)
    await Runner.run(agent, "two", previous_response_id=first.last_response_id, run_config=quiet)
    assert rig.told == ["user: one", "assistant: saw 1", "user: two"]
    session = OpenAIConversationsSession(openai_client=client)
    for text in ("three", "four"):
        await Runner.run(agent, text, session=session, run_config=quiet)
    assert rig.told == ["user: three", "assistant: saw 1", "user: four"]
    assert len(await session.get_items()) == 4
