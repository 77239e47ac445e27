"""What the seed system promised or tested, each item in its stronger form, by the official SDK over a served gateway.

The seed's cache, quota, rate limits, load balancer and Gemini are no part of this gateway yet.
"""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import httpx2
import msgspec
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from starlette.applications import Starlette
from starlette.routing import Mount

from aigateway import (
    AuthenticationError,
    Call,
    FunctionProvider,
    Gateway,
    GatewayError,
    Hook,
    InvalidRequestError,
    Models,
    Principal,
    Provider,
    Target,
    UpstreamError,
)
from aigateway._sse import SSEDecoder
from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from tests.serving import served

Object = dict[str, Any]

ANSWER = "This is a test response from the mock provider."
REPLY: Object = {
    "id": "chatcmpl-test123",
    "object": "chat.completion",
    "created": 1677652288,
    "model": "gpt-4",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": ANSWER}, "logprobs": None, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 10, "completion_tokens": 9, "total_tokens": 19},
}
QUESTION: list[Any] = [{"role": "user", "content": "Hello!"}]
WEATHER: Object = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ENDPOINTS: Mapping[str, Object] = {
    "/v1/chat/completions": {"model": "gpt-4", "messages": QUESTION},
    "/v1/responses": {"model": "gpt-4", "input": "Hello!"},
    "/v1/embeddings": {"model": "text-embedding-3-small", "input": "Hello!"},
    "/v1/images/generations": {"model": "dall-e-3", "prompt": "a cat"},
}


def chunk(delta: Object, finish: str | None = None) -> Object:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {
        "id": "chatcmpl-stream1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4",
        "choices": [choice],
    }


PIECES = ["Hello", " from", " streaming", " response"]
CHUNKS = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": piece}) for piece in PIECES)]
CHUNKS.append(chunk({}, "stop"))
USAGE_CHUNK = {**chunk({}), "choices": [], "usage": REPLY["usage"]}


def vectors(request: ReceivedRequest) -> Object:
    """An embeddings reply that obeys the request: as many vectors, as long, in the form asked for."""
    body = request.json()
    count = 1 if isinstance(body["input"], str) else len(body["input"])
    values = [number / 4096 for number in range(body.get("dimensions") or 1536)]
    shown: Any = values
    if body.get("encoding_format") == "base64":
        shown = base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
    data = [{"object": "embedding", "index": index, "embedding": shown} for index in range(count)]
    usage = {"prompt_tokens": 5, "total_tokens": 5}
    return {"object": "list", "model": body["model"], "data": data, "usage": usage}


def pictures(request: ReceivedRequest) -> Object:
    body = request.json()
    if body.get("response_format") == "b64_json":
        return {"created": 1, "data": [{"b64_json": "aGVsbG8="}]}
    return {"created": 1, "data": [{"url": f"https://images.test/{n}.png"} for n in range(body.get("n") or 1)]}


def mock(request: ReceivedRequest) -> Script:
    """An upstream that answers every API as the seed's mock provider did."""
    if request.path == "/v1/embeddings":
        return Script.of_json(vectors(request))
    if request.path == "/v1/images/generations":
        return Script.of_json(pictures(request))
    if not request.json().get("stream"):
        return Script.of_json(REPLY)
    asked = (request.json().get("stream_options") or {}).get("include_usage")
    return Script.of_events([*CHUNKS, USAGE_CHUNK] if asked else CHUNKS)


NAMES = ("gpt-4", "gpt-3.5-turbo", "text-embedding-3-small", "dall-e-3")


class Rig(msgspec.Struct):
    """A served gateway between the SDK and a scripted upstream that speaks chat, embeddings and images."""

    upstream: ScriptedUpstream
    gateway: Gateway
    url: str
    client: AsyncOpenAI

    @property
    def sent(self) -> Object:
        """What the upstream got last."""
        return self.upstream.requests[-1].json()

    async def post(self, path: str, body: bytes, key: str = "sk-test") -> tuple[int, Object]:
        """A request that no SDK would send."""
        headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url + path, data=body, headers=headers) as response,
        ):
            return response.status, await response.json()


@asynccontextmanager
async def rigged(*hooks: object, key: str = "sk-test") -> AsyncIterator[Rig]:
    async with ScriptedUpstream() as upstream:
        upstream.answer_with(mock)
        provider = Provider("mock", upstream.base_url, "sk-upstream", apis=["chat", "embeddings", "images"])
        gateway = Gateway(models=dict.fromkeys(NAMES, provider), hooks=hooks)
        async with served(gateway) as url, AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
            yield Rig(upstream, gateway, url, client)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with rigged() as made:
        yield made


def error_of(raised: pytest.ExceptionInfo[openai.APIStatusError]) -> Object:
    """The error object of the answer; its four keys are always there."""
    error = raised.value.response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return dict(error)


# the seed's tests with an OpenAI client


async def test_chat_answer_comes_back_unchanged(rig: Rig) -> None:
    reply = await rig.client.chat.completions.create(model="gpt-4", messages=QUESTION)
    assert reply.to_dict() == REPLY


def test_chat_answer_comes_back_to_the_synchronous_client() -> None:
    async def main() -> str | None:
        async with rigged() as rig:
            with OpenAI(base_url=f"{rig.url}/v1", api_key="sk-test", max_retries=0) as client:
                reply = await asyncio.to_thread(client.chat.completions.create, model="gpt-4", messages=QUESTION)
                return reply.choices[0].message.content

    assert asyncio.run(main()) == ANSWER


async def test_every_chat_parameter_reaches_the_upstream(rig: Rig) -> None:
    parameters: Object = {
        "temperature": 0.7,
        "top_p": 0.5,
        "n": 1,
        "max_tokens": 100,
        "max_completion_tokens": 100,
        "stop": ["END", "STOP"],
        "presence_penalty": 0.1,
        "frequency_penalty": -0.1,
        "logit_bias": {"50256": -100},
        "logprobs": True,
        "top_logprobs": 2,
        "seed": 7,
        "user": "user-1",
        "response_format": {"type": "json_object"},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": WEATHER, "strict": True}}],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "reasoning_effort": "low",
        "metadata": {"a": "b"},
        "store": False,
        "service_tier": "auto",
    }
    reply = await rig.client.chat.completions.create(model="gpt-4", messages=QUESTION, **parameters)
    assert (reply.id, reply.object, reply.choices[0].message.content) == (REPLY["id"], REPLY["object"], ANSWER)
    assert rig.sent == {"model": "gpt-4", "messages": QUESTION, **parameters}


async def test_zero_is_a_value_that_reaches_the_upstream(rig: Rig) -> None:
    await rig.client.chat.completions.create(model="gpt-4", messages=QUESTION, temperature=0, top_p=0, max_tokens=0)
    assert (rig.sent["temperature"], rig.sent["top_p"], rig.sent["max_tokens"]) == (0, 0, 0)


async def test_conversation_reaches_the_upstream_in_order(rig: Rig) -> None:
    messages: list[Any] = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is 2+2?"},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": "What is 3+3?"},
    ]
    reply = await rig.client.chat.completions.create(model="gpt-4", messages=messages)
    assert reply.id == REPLY["id"]
    assert rig.sent["messages"] == messages


@pytest.mark.parametrize("path", [*ENDPOINTS])
async def test_unknown_model_is_404_model_not_found(rig: Rig, path: str) -> None:
    status, body = await rig.post(path, msgspec.json.encode({**ENDPOINTS[path], "model": "unknown-model"}))
    assert status == 404
    assert "model not found" in body["error"].pop("message")
    kind = "not_found" if path == "/v1/responses" else "invalid_request_error"
    assert body == {"error": {"type": kind, "param": "model", "code": "model_not_found"}}


async def test_unknown_model_is_the_not_found_error_of_the_sdk(rig: Rig) -> None:
    with pytest.raises(openai.NotFoundError, match="model not found"):
        await rig.client.chat.completions.create(model="unknown-model", messages=QUESTION)


@pytest.mark.parametrize("usage", [False, True], ids=["plain", "with-usage"])
async def test_chat_stream_has_whole_chunks_and_ends(rig: Rig, *, usage: bool) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if usage else {}
    stream = await rig.client.chat.completions.create(model="gpt-4", messages=QUESTION, stream=True, **options)
    chunks = [chunk async for chunk in stream]
    assert {(chunk.id, chunk.object, chunk.model) for chunk in chunks} == {
        ("chatcmpl-stream1", "chat.completion.chunk", "gpt-4")
    }
    told = [chunk for chunk in chunks if not chunk.choices]
    assert [chunk.usage.to_dict() for chunk in told if chunk.usage] == ([REPLY["usage"]] if usage else [])
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "".join(PIECES)


async def test_last_finish_reason_of_a_chat_stream_is_stop(rig: Rig) -> None:
    stream = await rig.client.chat.completions.create(model="gpt-4", messages=QUESTION, stream=True)
    reasons = [chunk.choices[0].finish_reason async for chunk in stream]
    assert reasons == [None] * 5 + ["stop"]


async def test_leaving_after_the_first_chunk_closes_everything() -> None:
    ended: asyncio.Queue[Call] = asyncio.Queue()

    class Watch(Hook):
        def on_complete(self, call: Call) -> None:
            ended.put_nowait(call)

    async with rigged(Watch()) as rig:  # which fails where a task is left
        rig.upstream.script(Script.of_events(CHUNKS, hold_after=(2, asyncio.Event())))
        stream = await rig.client.chat.completions.create(model="gpt-4", messages=QUESTION, stream=True)
        await anext(aiter(stream))
        await stream.close()
        call = await asyncio.wait_for(ended.get(), 2)
        await asyncio.wait_for(rig.upstream.left.wait(), 2)
    assert (call.outcome, rig.upstream.gone, ended.empty()) == ("abandoned", 1, True)


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
async def test_embedding_of_one_text(rig: Rig, encoding: Any) -> None:
    options: Any = {} if encoding is None else {"encoding_format": encoding}
    reply = await rig.client.embeddings.create(model="text-embedding-3-small", input="Hello", **options)
    assert (reply.object, reply.model) == ("list", "text-embedding-3-small")
    (item,) = reply.data
    assert (item.object, item.index) == ("embedding", 0)
    vector: Any = item.embedding
    values = list(struct.unpack("<1536f", base64.b64decode(vector))) if encoding == "base64" else vector
    assert values == [number / 4096 for number in range(1536)]
    assert (reply.usage.prompt_tokens, reply.usage.total_tokens) == (5, 5)


async def test_embeddings_of_two_texts(rig: Rig) -> None:
    reply = await rig.client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
    assert [(item.index, len(item.embedding)) for item in reply.data] == [(0, 1536), (1, 1536)]
    assert rig.sent["input"] == ["one", "two"]


async def test_embeddings_of_other_dimensions(rig: Rig) -> None:
    reply = await rig.client.embeddings.create(model="text-embedding-3-small", input="Hello", dimensions=768, user="u")
    assert len(reply.data[0].embedding) == 768
    assert (rig.sent["dimensions"], rig.sent["user"]) == (768, "u")


async def test_image_comes_back_with_its_url(rig: Rig) -> None:
    reply = await rig.client.images.generate(model="dall-e-3", prompt="a cat")
    assert [image.url for image in reply.data or []] == ["https://images.test/0.png"]


async def test_two_images_with_every_option(rig: Rig) -> None:
    options: Any = {"n": 2, "size": "1024x1024", "quality": "hd", "style": "vivid", "user": "u"}
    reply = await rig.client.images.generate(model="dall-e-3", prompt="a cat", **options)
    assert [image.url for image in reply.data or []] == ["https://images.test/0.png", "https://images.test/1.png"]
    assert rig.sent == {"model": "dall-e-3", "prompt": "a cat", **options}


async def test_image_comes_back_as_base64(rig: Rig) -> None:
    reply = await rig.client.images.generate(model="dall-e-3", prompt="a cat", response_format="b64_json")
    assert [image.b64_json for image in reply.data or []] == ["aGVsbG8="]


async def test_models_are_listed(rig: Rig) -> None:
    listed = [model async for model in rig.client.models.list()]
    assert [model.id for model in listed] == sorted(NAMES)
    assert {(model.object, model.owned_by) for model in listed} == {("model", "aigateway")}
    assert len({model.created for model in listed}) == 1
    assert (await rig.client.models.retrieve("gpt-4")).id == "gpt-4"


async def test_empty_messages_are_a_400_naming_the_field(rig: Rig) -> None:
    with pytest.raises(openai.BadRequestError, match="messages is required") as raised:
        await rig.client.chat.completions.create(model="gpt-4", messages=[])
    assert error_of(raised)["param"] == "messages"
    assert rig.upstream.requests == []


@pytest.mark.parametrize("path", [*ENDPOINTS])
@pytest.mark.parametrize("body", [b'{"model": "gpt-4", "mess', b"", b"{} {}", b"[]", b"null", b"\xff{}"])
async def test_malformed_json_is_a_400(rig: Rig, path: str, body: bytes) -> None:
    status, answer = await rig.post(path, body)
    error = answer["error"]
    assert (status, error["type"], error["code"]) == (400, "invalid_request_error", "invalid_json")
    assert rig.upstream.requests == []


@pytest.mark.parametrize("path", [path for path in ENDPOINTS if "images" not in path])
@pytest.mark.parametrize("model", [{"model": ""}, {"model": None}, {}], ids=["empty", "null", "missing"])
async def test_no_model_is_a_400_naming_the_field(rig: Rig, path: str, model: Object) -> None:
    body = {key: value for key, value in ENDPOINTS[path].items() if key != "model"} | model
    status, answer = await rig.post(path, msgspec.json.encode(body))
    assert (status, answer["error"]["param"]) == (400, "model")
    assert "model is required" in answer["error"]["message"]


@pytest.mark.parametrize("raised", [RuntimeError("secret text"), UpstreamError("Out of order."), ValueError()])
async def test_provider_that_raises_is_a_502_without_its_text(raised: Exception) -> None:
    def broken(_: Object) -> str:
        raise raised

    gateway = Gateway(models={"gpt-4": FunctionProvider("broken", broken)})
    async with served(gateway) as url, AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client:
        for stream in (False, True):
            with pytest.raises(openai.InternalServerError) as told:
                await client.chat.completions.create(model="gpt-4", messages=QUESTION, stream=stream)
            assert (told.value.status_code, error_of(told)["type"]) == (502, "upstream_error")
            assert "secret text" not in told.value.response.text


@pytest.mark.parametrize("path", [*ENDPOINTS])
async def test_rate_limit_of_the_upstream_stays_a_429_with_retry_after(rig: Rig, path: str) -> None:
    error = {"message": "rate limit exceeded", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}
    rig.upstream.script(Script.of_json({"error": error}, 429, {"retry-after": "7"}))
    with pytest.raises(openai.RateLimitError, match="rate limit exceeded") as raised:
        await rig.client.post(path[3:], body=ENDPOINTS[path], cast_to=httpx2.Response)
    assert raised.value.response.headers["retry-after"] == "7"
    assert error_of(raised) == error


class ValidKey(Hook):
    """The seed's authentication hook."""

    def authenticate(self, call: Call, key: str | None) -> Principal | None:
        return Principal("tenant-1") if key == "valid-key" else None


@pytest.mark.parametrize("path", [*ENDPOINTS])
async def test_valid_key_is_let_in_and_an_invalid_one_is_a_401_everywhere(path: str) -> None:
    async with rigged(ValidKey()) as rig:
        body = msgspec.json.encode(ENDPOINTS[path])
        status, answer = await rig.post(path, body, key="invalid-key")
        assert status == 401
        assert "authentication failed" in answer["error"].pop("message")
        assert answer["error"] == {"type": "authentication_error", "param": None, "code": "invalid_api_key"}
        assert rig.upstream.requests == []
        status, _ = await rig.post(path, body, key="valid-key")
        assert status == 200


async def test_models_are_behind_the_key_too() -> None:
    async with rigged(ValidKey(), key="invalid-key") as rig:
        with pytest.raises(openai.AuthenticationError, match="authentication failed"):
            await rig.client.models.list()


# the seed's tests of Open Responses


async def test_response_to_a_string(rig: Rig) -> None:
    response = await rig.client.responses.create(model="gpt-4", input="Hello!")
    assert response.id.startswith("resp_")
    assert (response.object, response.status, response.model) == ("response", "completed", "gpt-4")
    assert response.output_text == ANSWER
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (10, 9, 19)
    assert response.completed_at is not None


async def test_response_stream_in_full_order_with_unique_numbers(rig: Rig) -> None:
    stream = await rig.client.responses.create(model="gpt-4", input="Hello!", stream=True)
    events: list[Any] = [event async for event in stream]
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * len(PIECES),
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    final = events[-1].response
    assert (final.output_text, final.status, final.usage.total_tokens) == ("".join(PIECES), "completed", 19)
    assert events[-4].text == events[-3].part.text == events[-2].item.content[0].text == "".join(PIECES)


async def test_response_stream_on_the_wire(rig: Rig) -> None:
    body = msgspec.json.encode({"model": "gpt-4", "input": "Hello!", "stream": True})
    async with aiohttp.ClientSession() as session, session.post(f"{rig.url}/v1/responses", data=body) as response:
        assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")
        frames = (await response.read()).split(b"\n\n")
    assert frames[-2:] == [b"data: [DONE]", b""]
    for frame in frames[:-2]:
        name, _, data = frame.partition(b"\ndata: ")
        assert name == b"event: " + msgspec.json.decode(data)["type"].encode()


CALLED = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}


def calls_a_tool(request: ReceivedRequest) -> Script:
    if not request.json().get("stream"):
        message = {"role": "assistant", "content": None, "tool_calls": [CALLED]}
        return Script.of_json({**REPLY, "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]})
    first = {"index": 0, **CALLED, "function": {"name": "weather", "arguments": ""}}
    rest = [{"index": 0, "function": {"arguments": piece}} for piece in ('{"city": ', '"Paris"}')]
    deltas = [chunk({"tool_calls": [delta]}) for delta in [first, *rest]]
    return Script.of_events([*deltas, chunk({}, "tool_calls"), USAGE_CHUNK])


async def test_response_with_a_function_tool(rig: Rig) -> None:
    rig.upstream.answer_with(calls_a_tool)
    tool: Any = {"type": "function", "name": "weather", "parameters": WEATHER, "strict": True}
    response = await rig.client.responses.create(model="gpt-4", input="Weather in Paris?", tools=[tool])
    assert (response.id[:5], response.object) == ("resp_", "response")
    (sent,) = rig.sent["tools"]
    assert (sent["type"], sent["function"]["name"], sent["function"]["parameters"]) == ("function", "weather", WEATHER)
    item: Any = response.output[0]
    assert (item.type, item.call_id, item.name, item.arguments) == (
        "function_call",
        "call_1",
        "weather",
        '{"city": "Paris"}',
    )


async def test_response_stream_with_a_function_tool(rig: Rig) -> None:
    rig.upstream.answer_with(calls_a_tool)
    tool: Any = {"type": "function", "name": "weather", "parameters": WEATHER, "strict": True}
    stream = await rig.client.responses.create(model="gpt-4", input="Weather?", tools=[tool], stream=True)
    events: list[Any] = [event async for event in stream]
    kinds = [event.type.removeprefix("response.") for event in events]
    assert kinds == [
        "created",
        "in_progress",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert events[5].arguments == events[6].item.arguments == '{"city": "Paris"}'
    assert events[-1].response.output[0].name == "weather"


async def test_response_of_an_unknown_model_has_type_not_found(rig: Rig) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        await rig.client.responses.create(model="unknown-model", input="Hello!")
    assert error_of(raised)["type"] == "not_found"


# the seed's unit tests, where the thing tested has its equal here


def test_call_knows_its_facts_and_keeps_the_state_of_hooks() -> None:
    call = Gateway().exchange("chat", {"x-request-id": "mine", "a": "b"}).call
    assert (call.id, call.headers["a"], call.state, call.outcome) == ("mine", "b", {}, None)
    assert call.created_at > 0
    call.state["key"] = "value"
    assert (call.state["key"], call.state.get("missing")) == ("value", None)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (AuthenticationError("no"), 401, "authentication_error"),
        (InvalidRequestError("no", param="model"), 400, "invalid_request_error"),
    ],
    ids=["authentication", "validation"],
)
def test_error_has_its_status_and_type_and_a_text(error: GatewayError, status: int, kind: str) -> None:
    assert (error.status, error.type, str(error)) == (status, kind, f"{kind}: no")


async def test_gateway_without_options_answers_its_own_paths() -> None:
    async with served(Gateway()) as url, aiohttp.ClientSession() as session:
        for path, status in [("/health", 200), ("/v1/models", 200), ("/unknown", 404), ("/v1/unknown", 404)]:
            async with session.get(url + path) as response:
                assert response.status == status
                assert response.headers["content-type"] == "application/json"
        for path, body in ENDPOINTS.items():
            async with session.post(url + path, json=body) as response:
                assert (response.status, (await response.json())["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("prefix", ["/v1", "/ai", "/ai/v1"])
async def test_gateway_mounts_in_another_application(prefix: str) -> None:
    gateway = Gateway(models={"gpt-4": FunctionProvider("mock", lambda _: ANSWER)})
    base_url = prefix if prefix.endswith("/v1") else f"{prefix}/v1"
    async with (
        served(Starlette(routes=[Mount(prefix, gateway)])) as url,
        AsyncOpenAI(base_url=url + base_url, api_key="k", max_retries=0) as client,
    ):
        response = await client.responses.create(model="gpt-4", input="Hello!")
        assert response.output_text == ANSWER
        assert [model.id async for model in client.models.list()] == ["gpt-4"]


async def test_chat_stream_has_exactly_the_content_type_of_event_streams(rig: Rig) -> None:
    body = {**ENDPOINTS["/v1/chat/completions"], "stream": True}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{rig.url}/v1/chat/completions", json=body) as response,
    ):
        assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")
        assert (await response.read()).endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("path", "name"),
    [("/v1/embeddings", "input"), ("/v1/images/generations", "prompt"), ("/v1/responses", "input")],
)
@pytest.mark.parametrize("empty", [[], [None], [""], [[]]], ids=["missing", "null", "empty", "no-items"])
async def test_request_without_its_main_field_is_a_400(rig: Rig, path: str, name: str, empty: list[Any]) -> None:
    body = {"model": ENDPOINTS[path]["model"], **dict(zip([name], empty, strict=False))}
    status, answer = await rig.post(path, msgspec.json.encode(body))
    assert (status, answer["error"]["param"]) == (400, name)
    assert rig.upstream.requests == []


async def test_image_without_a_model_goes_to_dall_e_3(rig: Rig) -> None:
    reply = await rig.client.images.generate(prompt="a cat")
    assert [image.url for image in reply.data or []] == ["https://images.test/0.png"]
    assert rig.sent == {"model": "dall-e-3", "prompt": "a cat"}


async def test_empty_registry_lists_no_models_and_only_get_is_allowed() -> None:
    async with served(Gateway()) as url, aiohttp.ClientSession() as session:
        async with session.get(f"{url}/v1/models") as response:
            assert await response.json() == {"object": "list", "data": []}
        async with session.post(f"{url}/v1/models", json={}) as response:
            assert (response.status, response.headers["allow"]) == (405, "GET, HEAD")


async def test_every_hook_given_is_kept_and_a_changed_model_reaches_the_upstream() -> None:
    class Rename(Hook):
        def before_request(self, call: Call) -> None:
            call.request.model = "gpt-3.5-turbo"
            call.request.body["temperature"] = 0.5

    class Watch(Hook):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def on_complete(self, call: Call) -> None:
            self.seen.append(call.attempts[0].model)

    watch = Watch()
    async with rigged(ValidKey(), Rename(), watch, key="valid-key") as rig:
        reply = await rig.client.chat.completions.create(model="gpt-4", messages=QUESTION)
        assert (rig.sent["model"], rig.sent["temperature"]) == ("gpt-3.5-turbo", 0.5)
    assert (reply.model, watch.seen) == ("gpt-4", ["gpt-3.5-turbo"])


async def test_registry_resolves_to_the_provider_the_rewrite_and_the_preferred_api() -> None:
    one, two = (FunctionProvider(name, lambda _: "hi") for name in ("one", "two"))
    models = Models({"plain": one})
    models.register("rewritten", two, model="upstream-name")
    models.register("preferring", two, prefer="chat")
    gateway = Gateway(models=models)

    async def resolved(name: str) -> list[Target]:
        call = gateway.exchange("chat", {}).call
        call.model = name
        return await models.resolve(call)

    assert await resolved("plain") == [Target(one)]
    assert await resolved("rewritten") == [Target(two, "upstream-name")]
    assert await resolved("preferring") == [Target(two, None, "chat")]
    with pytest.raises(GatewayError, match="model not found"):
        await resolved("unknown")


async def test_answer_of_a_rewritten_model_carries_the_name_asked_for(rig: Rig) -> None:
    rig.gateway.models.register("alias", rig.gateway.providers()[0], model="gpt-4")
    reply = await rig.client.chat.completions.create(model="alias", messages=QUESTION)
    assert (reply.model, rig.sent["model"]) == ("alias", "gpt-4")


@pytest.mark.parametrize("end", [b"data: [DONE]\n", b"data: [DONE]\n\n", b"data:[DONE]"])
async def test_provider_stream_with_event_lines_and_any_last_newline(rig: Rig, end: bytes) -> None:
    pieces = [b"event: chunk\ndata: " + msgspec.json.encode(event) + b"\n\n" for event in CHUNKS] + [end]
    rig.upstream.script(Script(headers={"content-type": "text/event-stream"}, pieces=pieces))
    stream = await rig.client.chat.completions.create(model="gpt-4", messages=QUESTION, stream=True)
    assert len([chunk async for chunk in stream]) == len(CHUNKS)


@pytest.mark.parametrize(
    ("lines", "data"),
    [
        (b'data: {"a": 1}\n\n', b'{"a": 1}'),
        (b"data: [DONE]\n\n", b"[DONE]"),
        (b"event: message\ndata: x\n\n", b"x"),
        (b": a comment\ndata: x\n\n", b"x"),
        (b"data:  two spaces\n\n", b" two spaces"),
    ],
    ids=["data", "done", "event", "comment", "two-spaces"],
)
def test_lines_of_an_event_stream(lines: bytes, data: bytes) -> None:
    assert [event.data for event in SSEDecoder().feed(lines)] == [data]


def test_lines_without_data_are_no_event() -> None:
    assert SSEDecoder().feed(b"\n\n: comment\n\nevent: lonely\n\n") == []


@pytest.mark.parametrize("asked", ["float", "base64"])
@pytest.mark.parametrize("sent", ["float", "base64"])
async def test_embeddings_are_read_in_either_form_and_answered_in_the_one_asked_for(
    rig: Rig, asked: Any, sent: str
) -> None:
    forms: Object = {"float": [0.1, -0.2, 0.3, -0.4], "base64": "zczMPc3MTL6amZk+zczMvg=="}
    item = {"object": "embedding", "index": 0, "embedding": forms[sent]}
    rig.upstream.script(Script.of_json({"object": "list", "model": "m", "data": [item], "usage": REPLY["usage"]}))
    reply = await rig.client.embeddings.create(model="text-embedding-3-small", input="x", encoding_format=asked)
    vector: Any = reply.data[0].embedding
    if asked == "base64":
        assert vector == forms["base64"]
    else:
        assert vector == pytest.approx(forms["float"])


INPUTS: Mapping[str, tuple[Any, list[Object]]] = {
    "string": ("Hi", [{"role": "user", "content": "Hi"}]),
    "typed-message": (
        [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
        [{"role": "user", "content": "Hi"}],
    ),
    "conversation": (
        [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": "2+2?"},
            {"role": "assistant", "content": "4"},
            {"role": "user", "content": "3+3?"},
        ],
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "2+2?"},
            {"role": "assistant", "content": "4"},
            {"role": "user", "content": "3+3?"},
        ],
    ),
}


@pytest.mark.parametrize("name", [*INPUTS])
async def test_input_of_a_response_becomes_messages_in_order(rig: Rig, name: str) -> None:
    given, expected = INPUTS[name]
    await rig.client.responses.create(model="gpt-4", input=given, temperature=0.7)
    assert (rig.sent["model"], rig.sent["temperature"]) == ("gpt-4", 0.7)
    assert [_plain(message) for message in rig.sent["messages"]] == expected


def _plain(message: Object) -> Object:
    """A message with a list of one text part as its text: the two say the same."""
    content = message["content"]
    return {**message, "content": content[0]["text"] if isinstance(content, list) else content}


NULLABLE = (
    "incomplete_details",
    "previous_response_id",
    "instructions",
    "error",
    "max_output_tokens",
    "max_tool_calls",
    "safety_identifier",
    "prompt_cache_key",
)
DEFAULTS: Object = {
    "tools": [],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "text": {"format": {"type": "text"}},
    "reasoning": {"effort": None, "summary": None},
    "top_p": 1,
    "temperature": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "top_logprobs": 0,
    "store": True,
    "background": False,
    "service_tier": "default",
    "metadata": {},
    "truncation": "disabled",
}


async def test_response_has_every_key_with_explicit_nulls_and_defaults(rig: Rig) -> None:
    _, body = await rig.post("/v1/responses", msgspec.json.encode(ENDPOINTS["/v1/responses"]))
    facts = {"id", "object", "created_at", "completed_at", "status", "model", "output", "usage"}
    assert set(body) >= facts | set(NULLABLE) | set(DEFAULTS)
    assert {name: body[name] for name in NULLABLE} == dict.fromkeys(NULLABLE)
    assert {name: body[name] for name in DEFAULTS} == DEFAULTS
    assert body["output"][0]["content"] == [{"type": "output_text", "text": ANSWER, "annotations": [], "logprobs": []}]


async def test_response_repeats_what_was_asked(rig: Rig) -> None:
    asked: Object = {"temperature": 0.2, "metadata": {"a": "b"}, "instructions": "Be brief.", "max_output_tokens": 99}
    response = await rig.client.responses.create(model="gpt-4", input="Hello!", **asked)
    assert {name: getattr(response, name) for name in asked} == asked


async def test_broken_response_stream_ends_with_an_error_and_then_failed(rig: Rig) -> None:
    rig.upstream.script(Script.of_events(CHUNKS[:3], done=False, fault="cut"))
    body = msgspec.json.encode({"model": "gpt-4", "input": "Hello!", "stream": True})
    async with aiohttp.ClientSession() as session, session.post(f"{rig.url}/v1/responses", data=body) as response:
        frames = (await response.read()).decode().split("\n\n")
    assert [frame.splitlines()[0] for frame in frames[-4:-2]] == ["event: error", "event: response.failed"]
    error = msgspec.json.decode(frames[-4].splitlines()[1][6:])
    assert set(error["error"]) == {"message", "type", "param", "code"}
    assert frames[-2:] == ["data: [DONE]", ""]
