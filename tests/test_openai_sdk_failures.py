"""What the official SDK raises when an upstream fails or the gateway refuses, and what happens when it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import openai
import pytest
from openai import OpenAI

from aigateway import Call, Hook, PermissionDeniedError, RateLimitError
from aigateway.hooks.api_keys import APIKeyAuthenticator
from aigateway.testing import Script
from tests.sdk_rig import MODEL, UPSTREAMS, Rig, read_until_error, rigged
from tests.turns import Turn, Use, chat_chunks, chat_reply, response_events

LONG = Turn(text=("Hel", "lo ", "there"))
CALLING = Turn(uses=(Use("get_weather", '{"city":"Oslo"}'),))
EACH = [
    pytest.param(apis, caller, id=f"{caller} before {name}")
    for name, apis in UPSTREAMS.items()
    for caller in ("chat", "responses")
]
each_way = pytest.mark.parametrize(("rig", "caller"), EACH, indirect=["rig"])
each_mode = pytest.mark.parametrize("streamed", [False, True], ids=["unary", "stream"])


@pytest.fixture
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with rigged(*request.param) as made:
        yield made


async def ask(client: openai.AsyncOpenAI, caller: str, **options: Any) -> Any:
    """A reply, or with `stream=True` a stream."""
    create: Any = client.chat.completions.create if caller == "chat" else client.responses.create
    question = (
        {"messages": [{"role": "user", "content": "the question"}]} if caller == "chat" else {"input": "the question"}
    )
    return await create(**{"model": MODEL} | question | options)


# refused by the upstream, before the first byte


class Refusal(NamedTuple):
    """An upstream's answer, and what the SDK makes of it."""

    status: int
    error: dict[str, Any]
    raised: type[openai.APIStatusError]


REFUSALS = {
    "400": Refusal(
        400,
        {
            "message": "Too long.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        },
        openai.BadRequestError,
    ),
    "401": Refusal(
        401,
        {"message": "Bad key.", "type": "authentication_error", "code": "invalid_api_key"},
        openai.AuthenticationError,
    ),
    "403": Refusal(
        403, {"message": "Not here.", "type": "permission_error", "code": "region"}, openai.PermissionDeniedError
    ),
    "404": Refusal(
        404,
        {"message": "No such model.", "type": "not_found", "param": "model", "code": "model_not_found"},
        openai.NotFoundError,
    ),
    "409": Refusal(409, {"message": "Busy.", "type": "conflict", "code": "conflict"}, openai.ConflictError),
    "422": Refusal(
        422, {"message": "No.", "type": "invalid_request_error", "code": "bad"}, openai.UnprocessableEntityError
    ),
    "429": Refusal(
        429, {"message": "Slow down.", "type": "rate_limit_error", "code": "rate_limit_exceeded"}, openai.RateLimitError
    ),
}


@each_mode
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
@each_way
async def test_refusal_of_the_upstream_is_raised_as_its_class(
    rig: Rig, caller: str, refusal: Refusal, *, streamed: bool
) -> None:
    headers = {"retry-after": "7"} if refusal.status == 429 else {}
    rig.upstream.script(Script.of_json({"error": refusal.error}, refusal.status, headers))
    with pytest.raises(refusal.raised, match=refusal.error["message"]) as caught:
        await ask(rig.client, caller, stream=streamed)
    error = caught.value
    assert type(error) is refusal.raised
    assert (error.status_code, error.code, error.type) == (
        refusal.status,
        refusal.error["code"],
        refusal.error["type"],
    )
    assert error.param == refusal.error.get("param")
    assert error.request_id == error.response.headers["x-request-id"]
    assert error.response.headers.get("retry-after") == headers.get("retry-after")


@each_mode
@pytest.mark.parametrize(("status", "expected"), [(500, 502), (503, 502), (529, 502), (504, 504)])
@each_way
async def test_failure_of_the_upstream_is_an_internal_server_error_that_names_the_provider(
    rig: Rig, caller: str, status: int, expected: int, *, streamed: bool
) -> None:
    rig.upstream.script(Script.of_json({"error": {"message": "inner detail", "type": "x", "code": "y"}}, status))
    with pytest.raises(openai.InternalServerError, match="Provider 'acme'") as caught:
        await ask(rig.client, caller, stream=streamed)
    assert caught.value.status_code == expected
    assert "inner detail" not in str(caught.value)


async def test_retry_after_is_kept_and_makes_the_sdk_try_again() -> None:
    async with rigged("chat") as rig:
        busy = Script.of_json({"error": {"message": "Slow down."}}, 429, {"retry-after-ms": "1"})
        rig.upstream.script(busy, busy, Script.of_json(chat_reply(LONG)))
        reply = await ask(rig.client.with_options(max_retries=2), "chat")
        assert reply.choices[0].message.content == "Hello there"
        assert len(rig.upstream.requests) == 3


# refused by the gateway


@pytest.mark.parametrize("caller", ["chat", "responses", "embeddings", "images", "models"])
async def test_key_that_nobody_knows_is_an_authentication_error(caller: str) -> None:
    async with rigged("chat", hooks=(APIKeyAuthenticator({"sk-good": "team"}),), key="sk-bad") as rig:
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "chat": lambda: ask(rig.client, "chat"),
            "responses": lambda: ask(rig.client, "responses", stream=True),
            "embeddings": lambda: rig.client.embeddings.create(model=MODEL, input="a"),
            "images": lambda: rig.client.images.generate(model=MODEL, prompt="a"),
            "models": lambda: rig.client.models.retrieve(MODEL),
        }
        with pytest.raises(openai.AuthenticationError) as caught:
            await calls[caller]()
        assert (caught.value.status_code, caught.value.code) == (401, "invalid_api_key")
        assert not rig.upstream.requests


class Guard(Hook):
    """Refuses by what the caller asks for."""

    def before_request(self, call: Call) -> None:
        """By a word in the prompt."""
        text = call.request.raw
        if b"forbidden" in text:
            raise PermissionDeniedError("Not for you.")
        if b"often" in text:
            raise RateLimitError("Too often.", headers={"Retry-After": "9"})


@each_mode
async def test_refusals_of_hooks_are_raised_as_their_class(*, streamed: bool) -> None:
    async with rigged("chat", hooks=(Guard(),)) as rig:
        with pytest.raises(openai.PermissionDeniedError, match="Not for you") as denied:
            await ask(rig.client, "responses", stream=streamed, input="forbidden")
        assert denied.value.code == "permission_denied"
        with pytest.raises(openai.RateLimitError, match="Too often") as limited:
            await ask(rig.client, "responses", stream=streamed, input="often")
        assert limited.value.response.headers["retry-after"] == "9"
        assert not rig.upstream.requests


@each_mode
@pytest.mark.parametrize("caller", ["chat", "responses"])
async def test_unknown_model_is_a_not_found_error(caller: str, *, streamed: bool) -> None:
    async with rigged("chat") as rig:
        with pytest.raises(openai.NotFoundError) as caught:
            await ask(rig.client, caller, stream=streamed, model="nobody")
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
        with pytest.raises(openai.NotFoundError) as unlisted:
            await rig.client.models.retrieve("nobody")
        assert unlisted.value.code == "model_not_found"


@each_way
async def test_bad_field_is_a_bad_request_error_that_names_it(rig: Rig, caller: str) -> None:
    field = "messages" if caller == "chat" else "input"
    with pytest.raises(openai.BadRequestError) as caught:
        await ask(rig.client, caller, **{field: 3})
    assert caught.value.param == field
    assert not rig.upstream.requests


async def test_path_that_is_not_served_is_a_not_found_error() -> None:
    async with rigged("chat") as rig:
        with pytest.raises(openai.NotFoundError) as caught:
            await rig.client.moderations.create(model=MODEL, input="a")
        assert caught.value.code == "unsupported_api"


# a stream that breaks


def broken_stream(api: str, turn: Turn, how: str) -> Script:
    """A stream that fails after its fifth event."""
    events = chat_chunks(turn)[:3] if api == "chat" else response_events(turn)[:5]
    if how == "cut":
        return Script.of_events(events, named=api == "responses", done=False, fault="cut")
    if how == "ends":
        return Script.of_events(events, named=api == "responses", done=False)
    error: dict[str, Any] = {"code": "overloaded", "message": "inner detail", "param": None}
    told = {"error": {"type": "server_error", **error}} if api == "chat" else {"type": "error", **error}
    return Script.of_events([*events, told], named=api == "responses", done=False)


@pytest.mark.parametrize("how", ["cut", "ends", "error"])
@pytest.mark.parametrize("turn", [LONG, CALLING], ids=["text", "call"])
@each_way
async def test_stream_that_breaks_in_the_middle_raises(rig: Rig, caller: str, turn: Turn, how: str) -> None:
    rig.upstream.script(broken_stream(rig.spoken(caller), turn, how))
    stream = await ask(rig.client, caller, stream=True)
    seen, error = await read_until_error(stream)
    assert seen
    assert "Provider 'acme'" in error.message
    assert not isinstance(error, openai.APIStatusError | openai.APIConnectionError)
    assert isinstance(error.body, dict)
    assert set(error.body) == {"message", "type", "param", "code"}
    assert "inner detail" not in str(error.body)
    if how == "error":
        assert error.code == "overloaded"


@pytest.mark.parametrize("how", ["cut", "error"])
@each_way
async def test_stream_that_breaks_raises_in_the_helpers_too(rig: Rig, caller: str, how: str) -> None:
    rig.upstream.script(broken_stream(rig.spoken(caller), LONG, how))

    def use(client: OpenAI) -> object:
        if caller == "chat":
            question: list[Any] = [{"role": "user", "content": "the question"}]
            with client.chat.completions.stream(model=MODEL, messages=question) as chat:
                return chat.get_final_completion()
        with client.responses.stream(model=MODEL, input="the question") as responses:
            return responses.get_final_response()

    with pytest.raises(openai.APIError, match="Provider 'acme'"):
        await rig.in_thread(use)


# leaving


@each_way
async def test_leaving_a_stream_closes_the_upstream(rig: Rig, caller: str) -> None:
    rig.says(LONG, hold_after=(4, asyncio.Event()))
    stream = await ask(rig.client, caller, stream=True)
    async for event in stream:
        assert event
        break
    await stream.close()
    await asyncio.wait_for(rig.upstream.left.wait(), 1)
    assert rig.upstream.gone == 1


@each_mode
@each_way
async def test_cancelling_before_the_answer_closes_the_upstream(rig: Rig, caller: str, *, streamed: bool) -> None:
    rig.says(LONG, hold=asyncio.Event())
    asking = asyncio.create_task(ask(rig.client, caller, stream=streamed))
    await asyncio.wait_for(rig.upstream.arrived.wait(), 2)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.wait_for(rig.upstream.left.wait(), 1)


@each_way
async def test_cancelling_a_reader_in_mid_stream_closes_the_upstream(rig: Rig, caller: str) -> None:
    rig.says(LONG, hold_after=(4, asyncio.Event()))
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in await ask(rig.client, caller, stream=True):
            begun.set()

    reading = asyncio.create_task(read())
    await asyncio.wait_for(begun.wait(), 2)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await asyncio.wait_for(rig.upstream.left.wait(), 1)


@each_way
async def test_synchronous_client_that_leaves_closes_the_upstream(rig: Rig, caller: str) -> None:
    rig.says(LONG, hold_after=(4, asyncio.Event()))

    def use(client: OpenAI) -> None:
        if caller == "chat":
            with client.chat.completions.stream(
                model=MODEL, messages=[{"role": "user", "content": "the question"}]
            ) as chat:
                next(chat)
        else:
            with client.responses.stream(model=MODEL, input="the question") as responses:
                next(responses)

    await rig.in_thread(use)
    await asyncio.wait_for(rig.upstream.left.wait(), 1)
