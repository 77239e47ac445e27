"""Providers in Python: one function, or any object with a name, APIs and `send`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from aigateway import Answer, FunctionProvider, Gateway, GatewayError, ProviderRequest, UpstreamError
from aigateway.providers.protocol import ProviderLike

MESSAGES = [{"role": "user", "content": "hi"}]


def document(body: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": "Hello"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice]}


def chunks(body: dict[str, Any]) -> list[dict[str, Any]]:
    facts = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
    deltas: list[tuple[dict[str, Any], str | None]] = [
        ({"content": "Hel"}, None),
        ({"content": "lo"}, None),
        ({}, "stop"),
    ]
    return [facts | {"choices": [{"index": 0, "delta": delta, "finish_reason": end}]} for delta, end in deltas]


def generator(body: dict[str, Any]) -> Iterator[str]:
    yield "Hel"
    yield "lo"


async def async_generator(body: dict[str, Any]) -> AsyncIterator[str]:
    yield "Hel"
    await asyncio.sleep(0)
    yield "lo"


async def gives_text(body: dict[str, Any]) -> str:
    await asyncio.sleep(0)
    return "Hello"


async def gives_document(body: dict[str, Any]) -> dict[str, Any]:
    return document(body)


async def gives_generator(body: dict[str, Any]) -> AsyncIterator[str]:
    return async_generator(body)


async def async_chunks(body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    for chunk in chunks(body):
        yield chunk


FORMS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "text": lambda body: "Hello",
    "document": document,
    "generator": generator,
    "list of pieces": lambda body: ["Hel", "lo"],
    "async generator": async_generator,
    "async text": gives_text,
    "async document": gives_document,
    "async function that gives a generator": gives_generator,
}
EVENTS: dict[str, Callable[[dict[str, Any]], Any]] = {"events": chunks, "async events": async_chunks}


@pytest.mark.parametrize("function", FORMS.values(), ids=FORMS.keys())
async def test_every_form_answers_without_a_stream(function: Callable[[dict[str, Any]], Any]) -> None:
    gateway = Gateway(providers=[FunctionProvider("mine", function)])
    reply = await gateway.chat(model="m", messages=MESSAGES)
    assert (reply.texts(), reply.finish_reason, reply.model) == (["Hello"], "stop", "m")


@pytest.mark.parametrize("function", [*FORMS.values(), *EVENTS.values()], ids=[*FORMS, *EVENTS])
async def test_every_form_answers_as_a_stream(function: Callable[[dict[str, Any]], Any]) -> None:
    gateway = Gateway(providers=[FunctionProvider("mine", function)])
    async with await gateway.chat(model="m", messages=MESSAGES, stream=True) as stream:
        assert "".join([event.text async for event in stream]) == "Hello"
    assert stream.call.outcome == "completed"


@pytest.mark.parametrize("function", [*FORMS.values(), *EVENTS.values()], ids=[*FORMS, *EVENTS])
async def test_every_form_answers_as_a_stream_of_responses(function: Callable[[dict[str, Any]], Any]) -> None:
    gateway = Gateway(providers=[FunctionProvider("mine", function)])
    async with await gateway.responses(model="m", input="hi", stream=True) as stream:
        events = [event.data async for event in stream]
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "Hello"


async def test_the_function_gets_the_request_in_the_api_s_own_form() -> None:
    bodies: list[dict[str, Any]] = []

    def note(body: dict[str, Any]) -> dict[str, Any]:
        bodies.append(body)
        return {"object": "list", "data": [{"index": 0, "embedding": [1.0]}], "model": body["model"]}

    gateway = Gateway(providers=[FunctionProvider("mine", note, apis=["embeddings"])])
    await gateway.embeddings(model="m", input=["a"], x_new=1)
    assert bodies == [{"model": "m", "input": ["a"], "x_new": 1}]


def broken(body: dict[str, Any]) -> str:
    raise RuntimeError("secret text")


async def broken_later(body: dict[str, Any]) -> str:
    raise RuntimeError("secret text")


def broken_generator(body: dict[str, Any]) -> Iterator[str]:
    yield broken(body)


async def broken_async_generator(body: dict[str, Any]) -> AsyncIterator[str]:
    yield broken(body)


BROKEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "function": broken,
    "async function": broken_later,
    "generator": broken_generator,
    "async generator": broken_async_generator,
    "gives nothing": lambda body: None,
    "gives a number": lambda body: 7,
    "gives what is no JSON": lambda body: {"x": object()},
}


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize("function", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.filterwarnings("ignore:coroutine")
async def test_a_function_that_fails_is_a_502_that_names_the_provider_without_its_text(
    function: Callable[[dict[str, Any]], Any], stream: bool
) -> None:
    gateway = Gateway(providers=[FunctionProvider("mine", function)])
    with pytest.raises(GatewayError) as caught:
        await gateway.chat({"model": "m", "messages": MESSAGES}, stream=stream)  # type: ignore[call-overload]
    assert caught.value.status == 502
    assert "'mine'" in caught.value.message
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_a_function_that_fails_in_mid_stream_ends_it_with_its_name(api: str) -> None:
    async def half(body: dict[str, Any]) -> AsyncIterator[str]:
        yield "Hel"
        raise RuntimeError("secret text")

    gateway = Gateway(providers=[FunctionProvider("mine", half)])
    request: dict[str, Any] = {"model": "m", "messages": MESSAGES} if api == "chat" else {"model": "m", "input": "hi"}
    stream = await getattr(gateway, api)(request, stream=True)
    events: list[dict[str, Any]] = []

    async def read() -> None:
        async for event in stream:
            events.append(event.data)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(UpstreamError, match="'mine'") as caught:
        await read()
    assert caught.value.status == 502
    assert "secret" not in str(events)
    error = events[-1]["error"] if api == "chat" else events[-1]["response"]["error"]
    assert "'mine'" in error["message"]
    assert stream.call.outcome == "failed"


async def test_an_error_of_ours_keeps_what_it_says() -> None:
    def full(body: dict[str, Any]) -> str:
        raise UpstreamError("The machine room is full.", status=429, code="full", headers={"retry-after": "3"})

    gateway = Gateway(providers=[FunctionProvider("mine", full)])
    with pytest.raises(UpstreamError, match="machine room") as caught:
        await gateway.chat(model="m", messages=MESSAGES)
    assert (caught.value.status, caught.value.code, caught.value.provider) == (429, "full", "mine")


async def test_events_without_a_stream_are_an_error_that_says_so() -> None:
    gateway = Gateway(providers=[FunctionProvider("mine", chunks)])
    with pytest.raises(UpstreamError, match="no stream was asked for"):
        await gateway.chat(model="m", messages=MESSAGES)


async def test_leaving_a_stream_closes_the_generator() -> None:
    closed = asyncio.Event()

    async def endless(body: dict[str, Any]) -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
                await asyncio.sleep(0)
        finally:
            closed.set()

    gateway = Gateway(providers=[FunctionProvider("mine", endless)])
    async with await gateway.chat(model="m", messages=MESSAGES, stream=True) as stream:
        async for event in stream:
            if event.text:
                break
    await asyncio.wait_for(closed.wait(), 1)
    assert stream.call.outcome == "abandoned"


class Handmade:
    """The least that a provider can be."""

    name = "handmade"
    apis = ("embeddings",)

    def __init__(self, answer: Answer) -> None:
        self.requests: list[ProviderRequest] = []
        self._answer = answer

    async def send(self, request: ProviderRequest) -> Answer:
        self.requests.append(request)
        return self._answer


async def test_any_object_with_name_apis_and_send_is_a_provider() -> None:
    body = b'{"data":[{"embedding":[1.0]}],"model":"m"}'
    provider = Handmade(Answer(body, headers={"x-ratelimit-remaining-requests": "7"}))
    assert isinstance(provider, ProviderLike)
    async with Gateway(models={"m": provider}) as gateway:
        reply = await gateway.embeddings(model="m", input="a", headers={"x-request-id": "id-1"})
    assert reply.raw == body
    (request,) = provider.requests
    assert (request.api, request.path, request.model, request.stream) == ("embeddings", "/embeddings", "m", False)
    assert (request.request_id, request.content_type, request.api_key) == ("id-1", "application/json", None)
    assert request.json() == {"model": "m", "input": "a"}


async def test_a_provider_of_one_s_own_may_answer_with_an_error_status() -> None:
    error = b'{"error":{"message":"slow down","type":"rate_limit_error","code":"rate_limit_exceeded"}}'
    gateway = Gateway(models={"m": Handmade(Answer(error, status=429, headers={"retry-after": "3"}))})
    with pytest.raises(UpstreamError, match="slow down") as caught:
        await gateway.embeddings(model="m", input="a")
    assert (caught.value.status, caught.value.headers["retry-after"]) == (429, "3")


async def test_an_answer_can_be_read_or_streamed() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    assert await Answer(pieces()).read() == b"ab"
    assert [piece async for piece in Answer(pieces()).stream()] == [b"a", b"b"]
    assert [piece async for piece in Answer(b"ab").stream()] == [b"ab"]
    assert dict(Answer(b"").headers) == {"content-type": "application/json"}
    assert dict(Answer(pieces()).headers) == {"content-type": "text/event-stream"}
    await Answer(b"").aclose()


async def test_a_request_for_what_the_provider_does_not_speak_is_a_clear_error() -> None:
    gateway = Gateway(models={"m": Handmade(Answer(b""))})
    with pytest.raises(GatewayError, match="'handmade' does not offer the 'chat' API") as caught:
        await gateway.chat(model="m", messages=MESSAGES)
    assert (caught.value.status, caught.value.code) == (400, "unsupported_api")
