"""The AI SDK (`ai`), by each of its provider packages that speak an API of OpenAI's shape."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from aigateway.testing import Script
from clients.node import Node
from tests.answers import IMAGES_REPLY
from tests.sdk_rig import Rig, rigged
from tests.turns import UPSTREAM_MODEL, Turn, Use, chat_chunks, response_events, said

LIBRARY = "ai_sdk"
HELLO = Turn(text=("Hel", "lo ", "there"))
PLAN = Turn(text=('{"title":', '"stir",', '"minutes":3}'))
STIR = {"title": "stir", "minutes": 3}
THOUGHT = Turn(thoughts=("Let me ", "think."), text=("Hello",))
SUMMARIZED = Turn(thoughts=THOUGHT.thoughts, summarized=True, text=THOUGHT.text)
FIRST_USE = Turn(
    uses=(Use("get_weather", '{"city":"Oslo"}', "call_1"), Use("get_weather", '{"city":"Rome"}', "call_2"))
)
SECOND_USE = Turn(uses=(Use("get_weather", '{"city":"Bergen"}', "call_3"),))
TALKING_USE = Turn(text=("One ", "moment."), uses=SECOND_USE.uses)
RAIN = Turn(text=("Rain.",))
VECTOR = [0.5, -0.25, 1.0]

PROVIDERS = ["openai", "openai.chat", "openai-compatible", "open-responses"]
EVERY_PROVIDER = pytest.mark.parametrize("provider", PROVIDERS)
BOTH_WAYS = pytest.mark.parametrize("streamed", [False, True], ids=["unary", "stream"])
STATELESS: dict[str, Any] = {"openai": {"store": False}}
"""What users of the package `@ai-sdk/openai` say where nothing is stored: `providerOptions: {openai: {store: false}}`."""


@EVERY_PROVIDER
async def test_generate_text(node: Node, rig: Rig, provider: str) -> None:
    rig.says(HELLO)
    told = await node.use(LIBRARY, "generate", rig.url, provider=provider)
    assert (told["text"], told["finishReason"], told["model"]) == ("Hello there", "stop", "gpt")
    assert (told["usage"]["inputTokens"], told["usage"]["outputTokens"]) == (12, 8)
    assert told["usage"]["inputTokenDetails"]["cacheReadTokens"] == 4


@EVERY_PROVIDER
async def test_stream_text(node: Node, rig: Rig, provider: str) -> None:
    rig.says(HELLO)
    told = await node.use(LIBRARY, "stream", rig.url, provider=provider)
    assert told["pieces"] == ["Hel", "lo ", "there"]
    assert (told["text"], told["finishReason"]) == ("Hello there", "stop")
    assert (told["usage"]["inputTokens"], told["usage"]["outputTokens"]) == (12, 8)


@BOTH_WAYS
@EVERY_PROVIDER
async def test_an_answer_that_was_cut_says_so(node: Node, rig: Rig, provider: str, *, streamed: bool) -> None:
    rig.says(Turn(text=("Hel",), cut=True))
    told = await node.use(LIBRARY, "stream" if streamed else "generate", rig.url, provider=provider)
    assert (told["text"], told["finishReason"]) == ("Hel", "length")


@BOTH_WAYS
@EVERY_PROVIDER
async def test_tools_in_several_steps(node: Node, rig: Rig, provider: str, *, streamed: bool) -> None:
    rig.says(FIRST_USE, SECOND_USE, RAIN)
    told = await node.use(LIBRARY, "useTools", rig.url, provider=provider, streamed=streamed)
    assert told["asked"] == ["Oslo", "Rome", "Bergen"]
    assert (told["text"], told["steps"], told["finishReason"]) == ("Rain.", ["", "", "Rain."], "stop")
    assert outputs_of(rig) == {"call_1": "rain in Oslo", "call_2": "rain in Rome", "call_3": "rain in Bergen"}


def outputs_of(rig: Rig) -> dict[str, Any]:
    """What the upstream was told last that the tools gave, by call."""
    if "messages" in rig.sent:
        results = [message for message in rig.sent["messages"] if message["role"] == "tool"]
        return {result["tool_call_id"]: result["content"] for result in results}
    return {item["call_id"]: item["output"] for item in rig.sent["input"] if item.get("type") == "function_call_output"}


@BOTH_WAYS
@EVERY_PROVIDER
async def test_what_was_said_beside_a_call_goes_up_again(
    node: Node, rig: Rig, provider: str, *, streamed: bool
) -> None:
    rig.says(TALKING_USE, RAIN)
    told = await node.use(LIBRARY, "useTools", rig.url, provider=provider, streamed=streamed, **STATELESS)
    assert (told["asked"], told["steps"]) == (["Bergen"], ["One moment.", "Rain."])
    assert said_before(rig) == ["One moment."]


def said_before(rig: Rig) -> list[str]:
    """The assistant's words among what the upstream was sent last."""
    if "messages" in rig.sent:
        contents = [one["content"] for one in rig.sent["messages"] if one["role"] == "assistant"]
    else:
        contents = [item["content"] for item in rig.sent["input"] if item.get("role") == "assistant"]
    return [text if isinstance(text, str) else "".join(part["text"] for part in text) for text in contents if text]


@EVERY_PROVIDER
async def test_a_conversation(node: Node, rig: Rig, provider: str) -> None:
    rig.says(HELLO, RAIN)
    told = await node.use(LIBRARY, "converse", rig.url, provider=provider, **STATELESS)
    assert told == ["Hello there", "Rain."]
    assert said_before(rig) == ["Hello there"]


@EVERY_PROVIDER
async def test_generate_object(node: Node, rig: Rig, provider: str) -> None:
    rig.says(PLAN)
    assert await node.use(LIBRARY, "object", rig.url, provider=provider) == STIR
    assert "minutes" in schema_of(rig)["properties"]


@BOTH_WAYS
@EVERY_PROVIDER
async def test_output_object(node: Node, rig: Rig, provider: str, *, streamed: bool) -> None:
    rig.says(PLAN)
    told = await node.use(LIBRARY, "output", rig.url, provider=provider, streamed=streamed)
    assert (told["whole"] if streamed else told) == STIR
    if streamed:
        assert told["partial"][-1] == STIR
    assert "minutes" in schema_of(rig)["properties"]


def schema_of(rig: Rig) -> dict[str, Any]:
    """The schema that the upstream was sent last."""
    if "messages" in rig.sent:
        schema: dict[str, Any] = rig.sent["response_format"]["json_schema"]["schema"]
    else:
        schema = rig.sent["text"]["format"]["schema"]
    return schema


@EVERY_PROVIDER
async def test_image_input(node: Node, rig: Rig, provider: str) -> None:
    rig.says(HELLO)
    assert (await node.use(LIBRARY, "see", rig.url, provider=provider))["text"] == "Hello there"
    if "messages" in rig.sent:
        image = rig.sent["messages"][-1]["content"][1]["image_url"]["url"]
    else:
        image = rig.sent["input"][-1]["content"][1]["image_url"]
    assert image == "data:image/png;base64,iVBORw0KGgo="


@BOTH_WAYS
@pytest.mark.parametrize("provider", ["openai-compatible", "open-responses"])
async def test_reasoning(node: Node, rig: Rig, provider: str, *, streamed: bool) -> None:
    rig.says(THOUGHT)
    told = await node.use(LIBRARY, "stream" if streamed else "generate", rig.url, provider=provider)
    assert (told["text"], told["reasoning"]) == ("Hello", "Let me think.")


@BOTH_WAYS
async def test_reasoning_of_the_default_provider(node: Node, rig: Rig, *, streamed: bool) -> None:
    """`@ai-sdk/openai` shows summaries only; the text of a chat model's reasoning passes it by and does no harm."""
    rig.says(SUMMARIZED)
    told = await node.use(LIBRARY, "stream" if streamed else "generate", rig.url, provider="openai")
    assert told["text"] == "Hello"
    assert told.get("reasoning") == (None if rig.apis == ("chat",) else "Let me think.")


@pytest.mark.parametrize("provider", ["openai", "openai-compatible"])
async def test_embed(node: Node, provider: str) -> None:
    async with rigged("embeddings", model="*") as rig:
        data = [{"object": "embedding", "index": index, "embedding": VECTOR} for index in range(2)]
        usage = {"prompt_tokens": 4, "total_tokens": 4}
        rig.upstream.script(Script.of_json({"object": "list", "model": UPSTREAM_MODEL, "data": data, "usage": usage}))
        told = await node.use(LIBRARY, "embedding", rig.url, provider=provider)
        assert told == {"vectors": [VECTOR, VECTOR], "usage": {"tokens": 4}}


@pytest.mark.parametrize("provider", ["openai", "openai-compatible"])
async def test_generate_image(node: Node, provider: str) -> None:
    async with rigged("images", model="*") as rig:
        rig.upstream.script(Script.of_json(IMAGES_REPLY))
        assert await node.use(LIBRARY, "image", rig.url, provider=provider) == "AAAA"


# state


@BOTH_WAYS
async def test_a_reference_to_what_was_said_is_put_in_its_place(node: Node, rig: Rig, *, streamed: bool) -> None:
    rig.says(TALKING_USE, RAIN)
    told = await node.use(LIBRARY, "useTools", rig.url, provider="openai", streamed=streamed)
    assert told["text"] == "Rain."
    assert "item_reference" not in json.dumps(rig.sent)
    assert "".join(TALKING_USE.text) in json.dumps(rig.sent)


async def test_an_earlier_response_that_nobody_keeps_is_refused(node: Node, chat_rig: Rig) -> None:
    earlier = {"previousResponseId": "resp_1"}
    raised = await node.fails(LIBRARY, "generate", chat_rig.url, provider="openai", openai=earlier)
    assert (raised.kinds[0], raised.status) == ("APICallError", 400)
    assert "not found" in raised.message
    assert not chat_rig.upstream.requests


# errors


@BOTH_WAYS
@EVERY_PROVIDER
async def test_a_refusal_of_the_upstream_keeps_its_status_and_words(
    node: Node, rig: Rig, provider: str, *, streamed: bool
) -> None:
    error = {
        "message": "Too long.",
        "type": "invalid_request_error",
        "param": "input",  # @ai-sdk/open-responses reads only errors that have all four as strings
        "code": "context_length_exceeded",
    }
    rig.upstream.script(Script.of_json({"error": error}, 400))
    raised = await node.fails(LIBRARY, "stream" if streamed else "generate", rig.url, provider=provider)
    assert (raised.kinds[0], raised.status, raised.message) == ("APICallError", 400, "Too long.")


@EVERY_PROVIDER
async def test_a_busy_upstream_is_asked_again(node: Node, rig: Rig, provider: str) -> None:
    busy = Script.of_json({"error": {"message": "Slow down."}}, 429, {"retry-after-ms": "1"})
    first = iter([busy])
    rig.upstream.answer_with(lambda request: next(first, None) or said(HELLO, request))
    told = await node.use(LIBRARY, "generate", rig.url, provider=provider, maxRetries=1)
    assert told["text"] == "Hello there"
    assert len(rig.upstream.requests) == 2


@EVERY_PROVIDER
async def test_a_stream_that_is_cut_raises(node: Node, rig: Rig, provider: str) -> None:
    events = chat_chunks(HELLO)[:3] if rig.apis == ("chat",) else response_events(HELLO)[:6]
    rig.upstream.script(Script.of_events(events, named=rig.apis == ("responses",), done=False, fault="cut"))
    raised = await node.fails(LIBRARY, "stream", rig.url, provider=provider)
    assert "acme" in raised.message


@EVERY_PROVIDER
async def test_aborting_a_stream_stops_the_upstream(node: Node, rig: Rig, provider: str) -> None:
    rig.says(Turn(text=("Hel", *["x"] * 50)), hold_after=(8, asyncio.Event()))
    seen = await node.use(LIBRARY, "abort", rig.url, provider=provider)
    assert seen[0] == "Hel"
    await asyncio.wait_for(rig.upstream.left.wait(), 10)
    assert rig.upstream.gone == 1
