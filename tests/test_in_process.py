"""The gateway called by its own methods: the same journey without HTTP, errors raised, and streams that can be left."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aigateway import (
    Call,
    EventStream,
    FunctionProvider,
    Gateway,
    GatewayError,
    Hook,
    InvalidRequestError,
    Limits,
    ModelNotFoundError,
    Provider,
    UpstreamConnectionError,
    UpstreamError,
    UpstreamProtocolError,
)
from aigateway.testing import Script, ScriptedUpstream
from tests.answers import CHAT_CHUNKS, REPLIES, REQUESTS, TEXT, TO_TEXT, USAGE, stream, whole
from tests.asking import ROWS, Row
from tests.serving import no_task_left

UNARY = [row for row in ROWS if not row.stream and not row.form]
STREAMS = [row for row in ROWS if row.stream and not row.form]

each_stream = pytest.mark.parametrize("row", STREAMS, ids=lambda row: row.id)


class Witness(Hook):
    """Keeps the call at its end."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def on_complete(self, call: Call) -> None:
        self.calls.append(call)


def gateway_on(upstream: ScriptedUpstream, row: Row, *hooks: object, **more: Any) -> Gateway:
    provider = Provider("up", upstream.base_url, "k", apis={row.upstream})
    return Gateway(models={"gpt": provider}, hooks=hooks, **more)


TEXTUAL = ("chat", "completions", "responses", "messages", "generate_content")


async def ask(gateway: Gateway, row: Row, **more: Any) -> Any:
    method: Callable[..., Awaitable[Any]] = getattr(gateway, row.api)
    return await method(REQUESTS[row.api], **({"stream": True} if row.stream else {}), **more)


@pytest.mark.parametrize("row", UNARY, ids=lambda row: row.id)
async def test_a_reply_is_a_lens(row: Row) -> None:
    async with no_task_left(), ScriptedUpstream() as upstream:
        upstream.script(whole(row.upstream))
        async with gateway_on(upstream, row) as gateway:
            reply = await ask(gateway, row)
    assert reply.texts() == ([] if row.api == "embeddings" else [TEXT])
    assert reply.usage.input_tokens == USAGE["input_tokens"]
    assert reply.model == ("" if row.api == "images" else "gpt")
    assert reply.finish_reason == ("stop" if row.api in TEXTUAL else None)


@each_stream
async def test_a_stream_gives_events_as_lenses(row: Row) -> None:
    async with no_task_left(), ScriptedUpstream() as upstream:
        upstream.script(stream(row.upstream))
        async with gateway_on(upstream, row) as gateway:
            events = await ask(gateway, row)
            assert isinstance(events, EventStream)
            assert events.call.stream
            seen = [event async for event in events]
            assert events.call.outcome == "completed"
    assert "".join(event.text for event in seen) == ("" if row.api == "images" else TEXT)
    assert all(event.type for event in seen)


async def test_fields_and_a_body_are_put_together_and_fields_win() -> None:
    bodies: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> str:
        bodies.append(body)
        return "hi"

    gateway = Gateway(providers=[FunctionProvider("f", answer)])
    messages = [{"role": "user", "content": "q"}]
    await gateway.chat({"model": "a", "messages": messages, "stream": True}, model="b", temperature=0.5)
    await gateway.chat(model="c", messages=messages)
    assert bodies == [
        {"model": "b", "messages": messages, "temperature": 0.5},
        {"model": "c", "messages": messages},
    ]


async def test_headers_key_and_request_id_are_those_of_the_call() -> None:
    witness = Witness()
    gateway = Gateway(providers=[FunctionProvider("f", lambda body: "hi")], hooks=[witness])
    await ask(gateway, UNARY[0], headers={"X-Request-ID": "mine-1", "X-Size": "large"}, api_key="k")
    await ask(gateway, UNARY[0], headers={"x-request-id": "not sane\n"})
    assert witness.calls[0].id == "mine-1"
    assert witness.calls[0].headers["x-size"] == "large"
    assert witness.calls[1].id.startswith("req_")


@pytest.mark.parametrize("row", [*UNARY, *STREAMS], ids=lambda row: row.id)
async def test_an_upstream_error_is_raised_with_its_facts(row: Row) -> None:
    error = {"error": {"message": "slow down", "type": "tokens", "param": "n", "code": "too_fast"}}
    async with no_task_left(), ScriptedUpstream() as upstream:
        upstream.script(Script.of_json(error, 429, {"retry-after": "7"}))
        async with gateway_on(upstream, row) as gateway:
            with pytest.raises(UpstreamError) as failure:
                await ask(gateway, row)
    raised = failure.value
    assert (raised.status, raised.message, raised.type) == (429, "slow down", "tokens")
    assert (raised.code, raised.param, raised.provider, raised.retryable) == ("too_fast", "n", "up", True)
    assert raised.headers["retry-after"] == "7"


async def test_an_upstream_that_is_not_there_is_a_connection_error() -> None:
    async with Gateway(models={"gpt": Provider("up", "http://127.0.0.1:9")}) as gateway:
        with pytest.raises(UpstreamConnectionError, match="Provider 'up' could not be reached"):
            await ask(gateway, UNARY[0])


async def test_what_cannot_be_asked_is_raised_as_http_would_answer_it() -> None:
    gateway = Gateway(models={"gpt": FunctionProvider("f", lambda body: "hi")})
    with pytest.raises(ModelNotFoundError):
        await gateway.chat(model="other", messages=[{"role": "user", "content": "q"}])
    with pytest.raises(InvalidRequestError) as failure:
        await gateway.chat(model="gpt")
    assert failure.value.param == "messages"
    with pytest.raises(InvalidRequestError, match="cannot be written as JSON"):
        await gateway.chat(model="gpt", messages=[{"role": "user", "content": object()}])


@each_stream
async def test_a_stream_that_breaks_ends_as_over_http_and_then_raises(row: Row) -> None:
    events = [event async for event in _broken_events(row)]
    *seen, raised = events
    assert isinstance(raised, (UpstreamProtocolError, UpstreamConnectionError))
    last = "response.failed" if row.api == "responses" else "error"
    assert seen[-1].type == last


async def _broken_events(row: Row) -> Any:
    """The events of a stream that is cut, and the error that it ends in."""
    script = stream(row.upstream)
    script.pieces = (script.pieces or [])[: TO_TEXT[row.upstream] + 1]
    script.fault = "cut"
    async with no_task_left(), ScriptedUpstream() as upstream:
        upstream.script(script)
        async with gateway_on(upstream, row) as gateway:
            try:
                async for event in await ask(gateway, row):
                    yield event
            except GatewayError as error:
                yield error


# leaving early


async def _aclose(events: EventStream) -> None:
    await anext(aiter(events))
    await events.aclose()
    await events.aclose()


async def _leave_the_block(events: EventStream) -> None:
    async with events:
        async for _ in events:
            return


async def _break(events: EventStream) -> None:
    async for _ in events:
        break


async def _cancel(events: EventStream) -> None:
    first = asyncio.Event()

    async def read() -> None:
        async for _ in events:
            first.set()

    reading = asyncio.create_task(read())
    await first.wait()
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading


async def _never_read(events: EventStream) -> None:
    await events.aclose()


LEAVING = {
    "aclose": _aclose,
    "async-with": _leave_the_block,
    "break": _break,
    "cancelled": _cancel,
    "never-read": _never_read,
}


@each_stream
@pytest.mark.parametrize("leave", LEAVING.values(), ids=LEAVING)
async def test_leaving_a_stream_early_closes_the_upstream(
    row: Row, leave: Callable[[EventStream], Awaitable[None]]
) -> None:
    witness = Witness()
    async with no_task_left(), ScriptedUpstream() as upstream:
        upstream.script(stream(row.upstream, hold_after=(TO_TEXT[row.upstream], asyncio.Event())))
        async with gateway_on(upstream, row, witness) as gateway:
            await leave(await ask(gateway, row))
            await asyncio.wait_for(upstream.left.wait(), 1)
            for _ in range(100):
                if not witness.calls:
                    await asyncio.sleep(0.001)
    assert upstream.gone == 1
    assert [(call.outcome, call.error) for call in witness.calls] == [("abandoned", None)]


@pytest.mark.parametrize("row", [*UNARY, *STREAMS], ids=lambda row: row.id)
async def test_a_task_cancelled_while_the_upstream_is_silent_closes_it(row: Row) -> None:
    witness = Witness()
    async with no_task_left(), ScriptedUpstream() as upstream:
        upstream.script(whole(row.upstream, hold=asyncio.Event()))
        async with gateway_on(upstream, row, witness) as gateway:
            asking = asyncio.ensure_future(ask(gateway, row))
            await upstream.arrived.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await asyncio.wait_for(upstream.left.wait(), 1)
    assert [call.outcome for call in witness.calls] == ["abandoned"]


@pytest.mark.parametrize("leave", [_never_read, _cancel], ids=["never-read", "cancelled"])
async def test_a_stream_that_is_still_silent_can_be_left(leave: Callable[[EventStream], Awaitable[None]]) -> None:
    witness = Witness()
    row = Row("chat", "chat", stream=True)
    async with no_task_left(), ScriptedUpstream() as upstream:
        held = 0 if leave is _never_read else 1
        upstream.script(stream("chat", hold_after=(held, asyncio.Event())))
        async with gateway_on(upstream, row, witness, limits=Limits(keepalive=0.02)) as gateway:
            await leave(await ask(gateway, row))
            await asyncio.wait_for(upstream.left.wait(), 1)
    assert [call.outcome for call in witness.calls] == ["abandoned"]


# gateways side by side


async def test_many_gateways_in_one_process_know_nothing_of_each_other() -> None:
    witnesses = [Witness() for _ in range(20)]
    gateways = [
        Gateway(models={f"m{number}": FunctionProvider(f"p{number}", _says(f"hi {number}"))}, hooks=[witness])
        for number, witness in enumerate(witnesses)
    ]
    messages = [{"role": "user", "content": "q"}]
    replies = await asyncio.gather(
        *[gateway.chat(model=f"m{number}", messages=messages) for number, gateway in enumerate(gateways)]
    )
    assert [reply.texts() for reply in replies] == [[f"hi {number}"] for number in range(20)]
    assert [witness.calls[0].attempts[0].provider for witness in witnesses] == [f"p{number}" for number in range(20)]
    assert all(len(witness.calls) == 1 for witness in witnesses)
    with pytest.raises(ModelNotFoundError):
        await gateways[0].chat(model="m1", messages=messages)


def _says(text: str) -> Callable[[dict[str, Any]], str]:
    return lambda body: text


async def test_streams_side_by_side_stay_apart() -> None:
    async with no_task_left(), ScriptedUpstream() as upstream:
        upstream.answer_with(
            lambda request: Script.of_events(
                [
                    {**CHAT_CHUNKS[0], "choices": [{"index": 0, "delta": {"content": request.json()["user"]}}]},
                    {**CHAT_CHUNKS[3]},
                ],
                piece_delay=0.002,
            )
        )
        async with gateway_on(upstream, Row("chat", "chat")) as gateway:

            async def text_for(user: str) -> str:
                events = await gateway.chat(REQUESTS["chat"], stream=True, user=user)
                return "".join([event.text async for event in events])

            users = [f"user-{number}" for number in range(30)]
            assert await asyncio.gather(*map(text_for, users)) == users


async def test_a_closed_gateway_can_be_used_again() -> None:
    async with no_task_left(), ScriptedUpstream() as upstream:
        upstream.script(whole("chat"))
        gateway = gateway_on(upstream, Row("chat", "chat"))
        for _ in range(2):
            async with gateway:
                assert (await gateway.chat(REQUESTS["chat"])).body["choices"] == REPLIES["chat"]["choices"]
