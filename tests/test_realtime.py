"""Sessions over WebSocket: messages both ways, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from aigateway import Limits, UpstreamConnectionError, Usage
from aigateway.testing import ScriptedSession
from tests.realtime import KEY, PATIENCE, SERVERS, event, goodbye, staged

ODD = (
    '{ "type":"response.output_text.delta",\t"delta":"\\u00e9é \\"response.done\\" session.created", "model":"gpt-up" }'
)
"""A message whose bytes no encoder would give again."""

servers = pytest.mark.parametrize("server", SERVERS)


async def echo(session: ScriptedSession) -> None:
    while True:
        await session.send(await session.receive())


async def closed(session: ScriptedSession) -> tuple[int | None, str | None]:
    await asyncio.wait_for(session.closed.wait(), PATIENCE)
    return session.close_code, session.close_reason


def sending(*messages: Any) -> Callable[[ScriptedSession], Any]:
    """Send these, then listen."""

    async def converse(session: ScriptedSession) -> None:
        for message in messages:
            await session.send(message)
        while True:
            await session.receive()

    return converse


# messages


@servers
async def test_text_and_binary_pass_both_ways_as_they_are(server: str) -> None:
    sent: list[str | bytes] = [
        ODD,
        "no JSON",
        b"\x00\xff bytes",
        "",
        b"",
        b"{\xff",
        b'{"type":"session.update"}',
        "é" * 100_000,
    ]

    async def converse(session: ScriptedSession) -> None:
        while True:
            await session._connection.send(await session._connection.recv())

    async with staged(server=server) as stage:
        stage.upstream.converse(converse)
        async with stage.client() as client:
            for message in sent:
                await client.send(message)
            assert [await asyncio.wait_for(client.recv(), PATIENCE) for _ in sent] == sent
        call = await stage.kept.one()
    assert (call.outcome, call.status, call.model, call.stream) == ("completed", 101, "gpt", True)
    assert [(attempt.status, attempt.provider) for attempt in call.attempts] == [(101, "up")]


async def test_upstream_is_asked_with_its_own_key_and_model() -> None:
    async with staged(model="gpt-up") as stage:
        query = "intent=conversation&model=gpt&include%5B%5D=a%20b&include%5B%5D=c&empty="
        headers = {"openai-beta": "realtime=v1", "cookie": "secret", "x-own": "1", "openai-safety-identifier": "user"}
        async with stage.client(query, key="sk-caller-123456", headers=headers) as client:
            await event(client)
    (session,) = stage.upstream.sessions
    assert session._connection.request is not None
    path = session._connection.request.path
    assert path == "/v1/realtime?intent=conversation&model=gpt-up&include%5B%5D=a+b&include%5B%5D=c&empty="
    assert session.headers["authorization"] == f"Bearer {KEY}"
    assert session.headers["openai-beta"] == "realtime=v1"
    assert session.headers["openai-safety-identifier"] == "user"
    assert session.headers["user-agent"].startswith("aigateway/")
    assert "sk-caller" not in str(session.headers)
    assert not {"cookie", "x-own", "sec-websocket-extensions"} & set(session.headers)


async def test_model_is_named_as_the_caller_knows_it_and_back() -> None:
    created = '{"type" : "session.created","session":{ "voice":"a","model" : "gpt-up-2026-01-01" , "x":1.50}}'
    updated = '{"session":{"model":"gpt-up"},"type":"session.updated"}'
    untold = '{"type":"session.updated","session":{"audio":{"input":{"transcription":{"model":"asr"}}}}}'
    update = '{"type": "session.update", "session": {"model":"gpt", "instructions": "model gpt"}}'
    async with staged(model="gpt-up") as stage:
        stage.upstream.converse(sending(created, updated, untold))
        async with stage.client() as client:
            got = [await client.recv() for _ in range(3)]
            await client.send(update)
            await client.send('{"type":"session.update","session":{"voice":"b"}}')
    assert got == [created.replace("gpt-up-2026-01-01", "gpt"), updated.replace("gpt-up", "gpt"), untold]
    await asyncio.wait_for(stage.upstream.sessions[0].closed.wait(), PATIENCE)
    first, second = stage.upstream.sessions[0].received
    assert first == {"type": "session.update", "session": {"model": "gpt-up", "instructions": "model gpt"}}
    assert second == {"type": "session.update", "session": {"voice": "b"}}


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("kind", ["session.update", "session\\u002eupdate"], ids=["plain", "escaped"])
async def test_another_model_in_mid_session_is_refused_and_the_session_goes_on(kind: str, *, binary: bool) -> None:
    async with staged(model="gpt-up") as stage:
        stage.upstream.converse(echo)
        async with stage.client() as client:
            update = f' {{"type":"{kind}","event_id":"mine","session":{{"model":"dearer"}}}}'
            await client.send(update.encode() if binary else update)
            told = await event(client)
            await client.send('"on"')
            assert await client.recv() == "on"
    assert told["type"] == "error"
    assert told["event_id"].startswith("event_")
    assert set(told["error"]) == {"type", "code", "message", "param", "event_id"}
    assert (told["error"]["param"], told["error"]["event_id"]) == ("session.model", "mine")
    assert stage.upstream.sessions[0].received == ["on"]
    assert (await stage.kept.one()).outcome == "completed"


async def test_usage_of_all_responses_and_transcriptions_adds_up() -> None:
    done = {
        "type": "response.done",
        "response": {
            "usage": {
                "total_tokens": 253,
                "input_tokens": 132,
                "output_tokens": 121,
                "input_token_details": {"text_tokens": 119, "audio_tokens": 13, "cached_tokens": 64},
                "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
            }
        },
    }
    heard = {"type": "conversation.item.input_audio_transcription.completed"}
    tokens = {"type": "tokens", "total_tokens": 22, "input_tokens": 13, "output_tokens": 9}
    details = {"input_token_details": {"text_tokens": 0, "audio_tokens": 13}}
    messages = [
        done,
        {**heard, "usage": {**tokens, **details}},
        {**heard, "usage": {"type": "duration", "seconds": 3}},
        {"type": "response.output_text.delta", "delta": '"response.done"', "usage": tokens},
        '{"type":"response.done" and no JSON',
        done,
    ]
    async with staged() as stage:
        stage.upstream.converse(sending(*messages))
        async with stage.client() as client:
            for _ in messages:
                await client.recv()
        call = await stage.kept.one()
    assert call.usage == Usage(
        input_tokens=277,
        output_tokens=251,
        total_tokens=528,
        cached_tokens=128,
        input_audio_tokens=39,
        output_audio_tokens=182,
    )


# closing


@servers
@pytest.mark.parametrize(
    ("code", "outcome"),
    [(1000, "completed"), (1001, "completed"), (1008, "failed"), (1011, "failed"), (4001, "failed")],
)
async def test_upstreams_close_reaches_the_caller_behind_all_messages(server: str, code: int, outcome: str) -> None:
    async def converse(session: ScriptedSession) -> None:
        for number in range(300):
            await session.send(str(number))
        await session.close(code, "that is why")

    async with staged(server=server) as stage:
        stage.upstream.converse(converse)
        async with stage.client() as client:
            got = [await client.recv() for _ in range(300)]
            assert await goodbye(client) == (code, "that is why")
        call = await stage.kept.one()
    assert got == [str(number) for number in range(300)]
    assert call.outcome == outcome
    assert (call.error is not None) == (outcome == "failed")


async def test_upstreams_close_without_a_code_is_a_normal_one() -> None:
    async def converse(session: ScriptedSession) -> None:
        session._connection.protocol.send_close()
        session._connection.send_data()
        await session._connection.wait_closed()

    async with staged() as stage:
        stage.upstream.converse(converse)
        async with stage.client() as client:
            assert await goodbye(client) == (1000, "")
        assert (await stage.kept.one()).outcome == "completed"


@servers
@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
async def test_callers_close_reaches_the_upstream_behind_all_messages(server: str, code: int) -> None:
    async with staged(server=server) as stage:
        async with stage.client() as client:
            for number in range(300):
                await client.send(str(number))
            await client.close(code, "that is why")
        (session,) = stage.upstream.sessions
        assert await closed(session) == (code, "that is why")
        call = await stage.kept.one()
    assert session.received == list(range(300))
    assert call.outcome == "completed"


@servers
async def test_caller_that_vanishes_closes_the_upstream(server: str) -> None:
    async with staged(server=server) as stage:
        async with stage.client() as client:
            await event(client)
            client.transport.abort()
            assert await closed(stage.upstream.sessions[0]) == (1001, "")
        assert (await stage.kept.one()).outcome == "abandoned"


@servers
async def test_upstream_that_dies_is_told_and_closed_with_1011(server: str) -> None:
    async def converse(session: ScriptedSession) -> None:
        await session.send("first")
        await session.receive()
        session.reset()

    async with staged(server=server) as stage:
        stage.upstream.converse(converse)
        async with stage.client() as client:
            assert await client.recv() == "first"
            await client.send("go")
            told = await event(client)
            code, reason = await goodbye(client)
        call = await stage.kept.one()
    assert told["type"] == "error"
    assert set(told) == {"type", "event_id", "error"}
    assert told["error"] == {
        "type": "upstream_error",
        "code": "upstream_connection_error",
        "message": "Provider 'up' broke off the session.",
        "param": None,
        "event_id": None,
    }
    assert (code, reason) == (1011, "upstream_connection_error")
    assert call.outcome == "failed"
    assert isinstance(call.attempts[0].error, UpstreamConnectionError)
    assert call.attempts[0].error.provider == "up"


@servers
async def test_message_of_the_caller_over_the_limit_is_closed_with_1009(server: str) -> None:
    async with staged(server=server, options={"ws_max_size": 10_000}) as stage:
        stage.upstream.converse(echo)
        async with stage.client(compression=None) as client:
            await client.send("x" * 10_000)
            assert await client.recv() == "x" * 10_000
            await client.send("x" * 10_001)
            assert (await goodbye(client))[0] == 1009
        (session,) = stage.upstream.sessions
        assert (await closed(session))[0] == 1009
        await stage.kept.one()
    assert [len(message) for message in session.received] == [10_000]


async def test_message_of_the_upstream_over_the_limit_ends_the_session_with_an_error() -> None:
    async with staged(limits=Limits(max_body=10_000)) as stage:
        stage.upstream.converse(sending("x" * 10_000, "x" * 10_001))
        async with stage.client() as client:
            assert await client.recv() == "x" * 10_000
            assert (await event(client))["error"]["code"] == "upstream_protocol_error"
            assert (await goodbye(client))[0] == 1011
        assert (await stage.kept.one()).outcome == "failed"


# flow


async def test_both_directions_run_at_once() -> None:
    count, size = 100, 50_000

    async def converse(session: ScriptedSession) -> None:
        async def pour() -> None:
            for _ in range(count):
                await session.send(b"d" * size)

        pouring = asyncio.create_task(pour())
        for _ in range(count):
            await session.receive()
        await pouring
        await session.send("all")
        await session.receive()

    async with staged() as stage:
        stage.upstream.converse(converse)
        async with stage.client(compression=None) as client:

            async def pour() -> None:
                for _ in range(count):
                    await client.send(b"u" * size)

            pouring = asyncio.create_task(pour())
            assert [len(await client.recv()) for _ in range(count)] == [size] * count
            assert await asyncio.wait_for(client.recv(), PATIENCE) == "all"
            await pouring


async def stalled(count: Callable[[], int]) -> int:
    """A count, once it has stood still for a while."""
    while True:
        before = count()
        await asyncio.sleep(0.3)
        if before == count() > 0:
            return before


async def test_slow_caller_slows_the_upstream_down_and_loses_nothing() -> None:
    many, size, sent = 100, 1_000_000, 0

    async def converse(session: ScriptedSession) -> None:
        nonlocal sent
        for _ in range(many):
            await session.send(b"x" * size)
            sent += 1
        await session.receive()

    async with staged() as stage:
        stage.upstream.converse(converse)
        async with stage.client(compression=None, max_queue=1) as client:
            assert await stalled(lambda: sent) < many - 10
            assert [len(await client.recv()) for _ in range(many)] == [size] * many


async def test_slow_upstream_slows_the_caller_down_and_loses_nothing() -> None:
    many, size, sent, go = 100, 1_000_000, 0, asyncio.Event()

    async def converse(session: ScriptedSession) -> None:
        await go.wait()
        for _ in range(many):
            await session.receive()
        await session.close(1000, "all")

    async with staged() as stage:
        stage.upstream.converse(converse)
        async with stage.client(compression=None) as client:

            async def pour() -> None:
                nonlocal sent
                for _ in range(many):
                    await client.send(b"x" * size)
                    sent += 1

            pouring = asyncio.create_task(pour())
            assert await stalled(lambda: sent) < many - 10
            go.set()
            await pouring
            assert await goodbye(client) == (1000, "all")
        assert [len(message) for message in stage.upstream.sessions[0].received] == [size] * many


async def test_slow_caller_still_gets_what_the_upstream_said_before_it_left() -> None:
    said = asyncio.Event()

    async def converse(session: ScriptedSession) -> None:
        for number in range(20):
            await session.send(f"{number:0100000}")
        said.set()
        await session.close(4000, "done")

    async with staged() as stage:
        stage.upstream.converse(converse)
        async with stage.client(compression=None, max_queue=1) as client:
            await asyncio.wait_for(said.wait(), PATIENCE)
            got = [int((await client.recv())[-9:]) for _ in range(20)]
            assert await goodbye(client) == (4000, "done")
    assert got == list(range(20))


async def test_caller_that_vanishes_while_its_upstream_does_not_read_ends_the_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aigateway.app.websocket._FLUSH", 0.05)
    monkeypatch.setattr("aigateway.transport.websocket.CLOSE_TIMEOUT", 0.05)
    sent, never = 0, asyncio.Event()

    async def converse(session: ScriptedSession) -> None:
        await never.wait()

    async with staged(options={"ws_ping_interval": 0.1, "ws_ping_timeout": 0.2}) as stage:
        stage.upstream.converse(converse)
        async with stage.client(compression=None) as client:

            async def pour() -> None:
                nonlocal sent
                while True:
                    await client.send(b"x" * 1_000_000)
                    sent += 1

            pouring = asyncio.create_task(pour())
            await stalled(lambda: sent)
            client.transport.abort()
            await asyncio.gather(pouring, return_exceptions=True)
            call = await stage.kept.one()
        never.set()
    assert call.outcome == "abandoned"


# the server's end


async def test_sessions_are_closed_with_1012_when_the_server_stops() -> None:
    async with staged() as stage:
        client: ClientConnection = await stage.client()
        await event(client)
    with pytest.raises(ConnectionClosed) as stopped:
        await asyncio.wait_for(client.recv(), PATIENCE)
    assert stopped.value.rcvd is not None
    assert stopped.value.rcvd.code == 1012
    assert (stage.upstream.sessions[0].close_code, (await stage.kept.one()).outcome) == (1001, "abandoned")
    await client.close()


async def test_handshake_under_way_is_answered_when_the_server_stops() -> None:
    async with staged() as stage:
        stage.upstream.hold = asyncio.Event()
        asking = asyncio.create_task(stage.refused())
        await asyncio.wait_for(stage.upstream.arrived.wait(), PATIENCE)
    assert (await asking).response.status_code == 503
    assert (await stage.kept.one()).outcome == "abandoned"


async def test_caller_that_leaves_before_the_answer_leaves_nothing_behind() -> None:
    async with staged() as stage:
        stage.upstream.hold = asyncio.Event()
        asking = asyncio.create_task(stage.refused())
        await asyncio.wait_for(stage.upstream.arrived.wait(), PATIENCE)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        call = await stage.kept.one()
        stage.upstream.hold.set()
    assert (call.outcome, call.attempts[0].status) == ("abandoned", None)
    assert stage.upstream.sessions == []
