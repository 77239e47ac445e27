"""Google's own SDK as the caller: generate, stream, tools, over upstreams of each API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pydantic
import pytest
from google import genai
from google.genai import errors, types

from aigateway import Gateway, Provider, Target
from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from tests.answers import REPLIES, TEXT, stream, whole
from tests.serving import served
from tests.turns import Turn, said

pytestmark = pytest.mark.asyncio

KEY = "AIza-a-key-of-the-caller"
APIS = ("generate_content", "chat", "responses")
every_upstream = pytest.mark.parametrize("api", APIS)

WEATHER = {
    "name": "weather",
    "description": "The weather of a city.",
    "parametersJsonSchema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class Rig(msgspec.Struct):
    """A client of the SDK, the gateway before an upstream of one API, and what that got."""

    client: Any
    upstream: ScriptedUpstream
    api: str

    @property
    def last(self) -> ReceivedRequest:
        return self.upstream.requests[-1]


@asynccontextmanager
async def rigged(api: str, *hooks: object) -> AsyncIterator[Rig]:
    async with ScriptedUpstream() as upstream:
        provider = Provider("acme", upstream.base_url, "sk-upstream-0123456789", apis=[api])
        gateway = Gateway(models={"gemini": Target(provider, "up-model")}, hooks=hooks)
        # the SDK's own choice, aiohttp, warns of how it is used there
        async with served(gateway) as url, httpx.AsyncClient() as session:
            options = types.HttpOptions(base_url=url, api_version="v1beta", httpx_async_client=session)
            yield Rig(genai.Client(api_key=KEY, http_options=options).aio, upstream, api)


@every_upstream
async def test_a_question_is_answered(api: str) -> None:
    async with rigged(api) as rig:
        rig.upstream.script(whole(api))
        answer = await rig.client.models.generate_content(
            model="gemini",
            contents="the question",
            config=types.GenerateContentConfig(system_instruction="Be brief.", temperature=0.5, max_output_tokens=64),
        )
        assert answer.text == TEXT
        assert answer.model_version == "gemini"
        assert answer.candidates[0].finish_reason == types.FinishReason.STOP
        assert answer.usage_metadata.prompt_token_count == 11
        assert answer.usage_metadata.total_token_count == 18
        sent = rig.last.body.decode()
        assert "Be brief." in sent
        assert "the question" in sent
        assert KEY not in sent + rig.last.path + str(rig.last.headers)


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_a_file_gets_the_name_that_openai_wants_of_one(api: str) -> None:
    async with rigged(api) as rig:
        rig.upstream.script(whole(api))
        pdf = types.Part.from_bytes(data=b"%PDF-1.7", mime_type="application/pdf")
        text = types.Part.from_bytes(data=b"abc", mime_type="text/plain")
        odd = types.Part.from_bytes(data=b"abc", mime_type="application/vnd.odd+x")
        await rig.client.models.generate_content(model="gemini", contents=[pdf, text, odd, "q"])
        (turn,) = rig.last.json()["messages" if api == "chat" else "input"]
        files = [part.get("file", part) for part in turn["content"][:3]]
        assert [file["filename"] for file in files] == ["document.pdf", "document.txt", "document"]


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_a_pydantic_model_is_the_schema_of_an_answer(api: str) -> None:
    class City(pydantic.BaseModel):
        name: str
        people: int | None = None

    async with rigged(api) as rig:
        rig.upstream.answer_with(lambda request: said(Turn(text=('[{"name": "Oslo", "people": 7}]',)), request))
        config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=list[City])
        answer = await rig.client.models.generate_content(model="gemini", contents="q", config=config)
        assert answer.parsed == [City(name="Oslo", people=7)]
        sent = rig.last.json()
        form = sent["response_format"]["json_schema"] if api == "chat" else sent["text"]["format"]
        assert form["schema"]["type"] == "array"
        items = form["schema"]["items"]
        assert items["properties"]["name"] == {"title": "Name", "type": "string"}
        assert not {"propertyOrdering", "property_ordering"} & items.keys()


@every_upstream
async def test_a_stream_says_the_same_in_pieces(api: str) -> None:
    async with rigged(api) as rig:
        rig.upstream.script(stream(api))
        pieces = [
            piece
            async for piece in await rig.client.models.generate_content_stream(model="gemini", contents="the question")
        ]
        assert [piece.text for piece in pieces if piece.text] == ["Hello", " there"]
        assert pieces[-1].candidates[0].finish_reason == types.FinishReason.STOP
        assert pieces[-1].usage_metadata.total_token_count == 18
        assert {piece.model_version for piece in pieces} == {"gemini"}


CALLS: dict[str, dict[str, Any]] = {
    "generate_content": {
        "candidates": [
            {
                "content": {
                    "role": "model",
                    "parts": [
                        {
                            "functionCall": {"name": "weather", "args": {"city": "Paris"}, "id": "call_1"},
                            "thoughtSignature": "c2lnbmF0dXJl",
                        },
                    ],
                },
                "finishReason": "STOP",
            }
        ],
        "modelVersion": "up-model",
        "responseId": "r1",
    },
    "chat": {
        **REPLIES["chat"],
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "call_1",
                            "type": "function",
                            "function": {"name": "weather", "arguments": '{"city":"Paris"}'},
                        }
                    ],
                },
            }
        ],
    },
    "responses": {
        **REPLIES["responses"],
        "output": [
            {
                "id": "fc_1",
                "type": "function_call",
                "status": "completed",
                "call_id": "call_1",
                "name": "weather",
                "arguments": '{"city":"Paris"}',
            }
        ],
    },
}


@every_upstream
async def test_a_tool_is_called_and_its_result_comes_back_under_its_id(api: str) -> None:
    async with rigged(api) as rig:
        rig.upstream.script(Script.of_json(CALLS[api]), whole(api))
        config = types.GenerateContentConfig(
            tools=[types.Tool(function_declarations=[types.FunctionDeclaration.model_validate(WEATHER)])],
            tool_config=types.ToolConfig(
                function_calling_config=types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode.ANY)
            ),
        )
        chat = rig.client.chats.create(model="gemini", config=config)
        answer = await chat.send_message("the question")
        (call,) = answer.function_calls
        assert (call.name, call.args, call.id) == ("weather", {"city": "Paris"}, "call_1")
        result = types.Part(
            function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": "Rain"})
        )
        assert (await chat.send_message(result)).text == TEXT
        sent = json.loads(rig.last.body)
        if api == "generate_content":
            assert sent["contents"][1]["parts"][0]["thoughtSignature"] == "c2lnbmF0dXJl"
        elif api == "chat":
            assert sent["tool_choice"] == "required"
            assert sent["messages"][-1] == {"role": "tool", "tool_call_id": "call_1", "content": "Rain"}
            assert sent["tools"][0]["function"]["parameters"] == WEATHER["parametersJsonSchema"]
        else:
            assert sent["input"][-1]["call_id"] == "call_1"
            assert sent["input"][-1]["output"] == "Rain"


@every_upstream
async def test_an_upstreams_refusal_is_told_in_googles_words(api: str) -> None:
    async with rigged(api) as rig:
        refusal = {"message": "Too many requests", "code": 429, "status": "RESOURCE_EXHAUSTED", "type": "x"}
        rig.upstream.script(Script.of_json({"error": refusal}, status=429, headers={"retry-after": "1"}))
        with pytest.raises(errors.ClientError) as caught:
            await rig.client.models.generate_content(model="gemini", contents="the question")
        assert caught.value.code == 429
        assert caught.value.status == "RESOURCE_EXHAUSTED"
        assert caught.value.message == "Too many requests"


async def test_an_unknown_model_is_not_found() -> None:
    async with rigged("chat") as rig:
        with pytest.raises(errors.ClientError) as caught:
            await rig.client.models.generate_content(model="nobody", contents="the question")
        assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


async def test_the_models_are_listed() -> None:
    async with rigged("chat") as rig:
        listed = [model async for model in await rig.client.models.list()]
        assert [model.name for model in listed] == ["models/gemini"]
        assert (await rig.client.models.get(model="gemini")).name == "models/gemini"
        with pytest.raises(errors.ClientError, match="nobody"):
            await rig.client.models.get(model="nobody")


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_the_pieces_of_a_stream_come_back_as_one_turn(api: str) -> None:
    """The SDK's chats keep every piece as a content of its own."""
    async with rigged(api) as rig:
        rig.upstream.answer_with(lambda request: said(Turn(thoughts=("Let me", " see."), text=("Hel", "lo")), request))
        chat = rig.client.chats.create(model="gemini")
        assert "".join([piece.text or "" async for piece in await chat.send_message_stream("one")]) == "Hello"
        await chat.send_message("two")
        sent = json.loads(rig.last.body)
    if api == "chat":
        assert sent["messages"] == [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "Hello", "reasoning_content": "Let me see."},
            {"role": "user", "content": "two"},
        ]
    else:
        messages = [item for item in sent["input"] if item["type"] == "message"]
        assert [(item["role"], item["content"][0]["text"]) for item in messages] == [
            ("user", "one"),
            ("assistant", "Hello"),
            ("user", "two"),
        ]


async def test_tokens_are_counted_by_who_can_and_estimated_elsewhere() -> None:
    async with rigged("generate_content") as rig:
        rig.upstream.script(Script.of_json({"totalTokens": 4711}))
        assert (await rig.client.models.count_tokens(model="gemini", contents="the question")).total_tokens == 4711
        assert rig.last.path.endswith("/models/up-model:countTokens")
    async with rigged("chat") as rig:
        text = "A quarter of the bytes of all texts. " * 100
        assert 700 < (await rig.client.models.count_tokens(model="gemini", contents=text)).total_tokens < 1200
        assert not rig.upstream.requests
