"""Responses over WebSocket: Open Responses' rules 8 to 17, and what Codex does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from aigateway import _json, turns_session
from aigateway.hooks.api_keys import APIKeyAuthenticator
from aigateway.testing import ReceivedRequest, Script
from tests.state.rig import Object, Rig, answer, rigged

pytestmark = pytest.mark.usefixtures("registered")

CREATE = {"type": "response.create", "model": "m"}


@asynccontextmanager
async def opened(rig: Rig, **headers: str) -> AsyncIterator[ClientConnection]:
    url = rig.url.replace("http://", "ws://") + "/v1/responses"
    async with connect(url, additional_headers=headers, proxy=None) as socket:
        yield socket


async def turn(socket: ClientConnection, input: Any, **fields: Any) -> list[Object]:
    """The frames that answer one turn."""
    await socket.send(_json.encode({**CREATE, "input": input, **fields}).decode())
    return await answered(socket)


async def answered(socket: ClientConnection) -> list[Object]:
    frames: list[Object] = []
    while True:
        frame = json.loads(await asyncio.wait_for(socket.recv(), 20))
        frames.append(frame)
        if frame["type"] in ("response.completed", "response.failed", "response.incomplete", "error"):
            return frames


def id_of(frames: list[Object]) -> str:
    assert frames[-1]["type"] == "response.completed", frames[-1]
    return str(frames[-1]["response"]["id"])


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("stream", [None, True])
async def test_turns_are_answered_in_events_as_over_http(api: str, stream: bool | None) -> None:
    async with rigged(api) as rig, opened(rig) as socket:
        more = {} if stream is None else {"stream": stream}
        frames = await turn(socket, "first", **more)
        over_http = (await rig.ask("POST", "/responses", {"model": "m", "input": "first", "stream": True})).events
        assert [frame["type"] for frame in frames] == [event["type"] for event in over_http]
        assert [frame["sequence_number"] for frame in frames] == list(range(len(frames)))
        assert frames[-1]["response"]["output"][0]["content"][0]["text"] == "saw 1"


async def test_chain_with_store_false_lives_on_the_connection_alone() -> None:
    async with rigged("chat") as rig, opened(rig) as socket:
        one = id_of(await turn(socket, "first", store=False))
        two = await turn(socket, "second", store=False, previous_response_id=one)
        assert rig.told == ["user: first", "assistant: saw 1", "user: second"]
        assert two[-1]["response"]["previous_response_id"] == one
        await turn(socket, "third", store=False, previous_response_id=id_of(two))
        assert rig.told == ["user: first", "assistant: saw 1", "user: second", "assistant: saw 3", "user: third"]
        assert rig.gateway.keeping.state.store.size == 0  # type: ignore[attr-defined]
        assert (await rig.ask("GET", f"/responses/{one}")).status == 404
        async with opened(rig) as other:
            (frame,) = await turn(other, "x", store=False, previous_response_id=one)
            assert (frame["status"], frame["error"]["code"]) == (400, "previous_response_not_found")
            assert id_of(await turn(other, "goes on"))


async def test_stored_response_is_gone_on_from_on_any_connection_where_the_turn_is_stored() -> None:
    async with rigged("chat") as rig:
        stored = (await rig.turn("first"))["id"]
        async with opened(rig) as socket:
            (refused,) = await turn(socket, "x", store=False, previous_response_id=stored)
            assert refused["error"]["code"] == "previous_response_not_found"
            one = await turn(socket, "second", previous_response_id=stored)
            assert rig.told == ["user: first", "assistant: saw 1", "user: second"]
            await turn(socket, "third", store=False, previous_response_id=id_of(one))
            assert rig.told == ["user: first", "assistant: saw 1", "user: second", "assistant: saw 3", "user: third"]
        assert (await rig.ask("GET", f"/responses/{id_of(one)}")).json == one[-1]["response"]


async def test_failed_continuation_forgets_what_it_went_on_from() -> None:
    async with rigged("chat") as rig, opened(rig) as socket:
        one = id_of(await turn(socket, "first", store=False))
        rig.upstream.script(Script.of_json({"error": {"message": "no", "type": "invalid_request_error"}}, 400))
        (failed,) = await turn(socket, "second", store=False, previous_response_id=one)
        assert (failed["type"], failed["status"], failed["error"]["message"]) == ("error", 400, "no")
        rig.upstream.answer_with(answer)
        (gone,) = await turn(socket, "third", store=False, previous_response_id=one)
        assert gone["error"]["code"] == "previous_response_not_found"
        assert id_of(await turn(socket, "anew", store=False))


async def test_stream_that_breaks_ends_in_one_terminal_frame_and_the_connection_goes_on() -> None:
    async with rigged("chat") as rig, opened(rig) as socket:
        script = answer(ReceivedRequest("POST", "", {}, b'{"messages":[{"role":"user","content":"x"}],"stream":true}'))
        script.pieces = list(script.pieces or ())[:2]
        script.fault = "cut"
        rig.upstream.script(script)
        frames = await turn(socket, "first", store=False)
        assert frames[-1]["type"] == "response.failed"
        assert "error" not in [frame["type"] for frame in frames]
        rig.upstream.answer_with(answer)
        assert id_of(await turn(socket, "second"))


async def test_warm_up_asks_nobody_and_can_be_gone_on_from() -> None:
    """Codex: `generate: false`, then only new items with the id of the warm-up."""
    async with rigged("chat") as rig, opened(rig) as socket:
        items = [{"role": "developer", "content": "be brief"}, {"role": "user", "content": "hi"}]
        frames = await turn(socket, items, store=False, generate=False, stream=True)
        assert [frame["type"] for frame in frames] == ["response.created", "response.in_progress", "response.completed"]
        assert frames[-1]["response"]["output"] == []
        assert not rig.upstream.requests
        await turn(socket, [{"role": "user", "content": "go"}], store=False, previous_response_id=id_of(frames))
        assert len(rig.told) == 3
        assert rig.told[1:] == ["user: hi", "user: go"]
        assert "generate" not in rig.upstream.requests[-1].json()


async def test_frames_that_come_early_wait_for_their_turn() -> None:
    async with rigged("chat") as rig, opened(rig) as socket:
        held = asyncio.Event()

        def slowly(request: ReceivedRequest) -> Script:
            script = answer(request)
            script.hold = held
            return script

        rig.upstream.answer_with(slowly)
        for name in ("first", "second", "third"):
            await socket.send(_json.encode({**CREATE, "input": name}).decode())
        await rig.upstream.arrived.wait()
        await asyncio.sleep(0.05)
        assert len(rig.upstream.requests) == 1
        held.set()
        ids = {id_of(await answered(socket)) for _ in range(3)}
        assert len(ids) == 3
        assert [request.json()["messages"][-1]["content"] for request in rig.upstream.requests] == [
            "first",
            "second",
            "third",
        ]


@pytest.mark.parametrize(
    "frame",
    [
        "no json",
        "[]",
        '{"type":"response.stop"}',
        '{"type":"response.create"}',
        '{"type":"response.create","model":"m","input":"x","background":true}',
        '{"type":"response.create","model":"m","input":"x","previous_response_id":{}}',
        '{"type":"response.create","model":"m","input":"x","previous_response_id":["a"],"store":false}',
    ],
)
async def test_bad_frame_is_told_and_the_connection_goes_on(frame: str) -> None:
    async with rigged("chat") as rig, opened(rig) as socket:
        await socket.send(frame)
        (told,) = await answered(socket)
        assert (told["type"], told["status"]) == ("error", 400)
        assert told["error"]["message"]
        assert told["error"]["type"] == "invalid_request_error"
        assert id_of(await turn(socket, "x"))


async def test_client_that_leaves_cancels_the_turn() -> None:
    async with rigged("chat") as rig:
        held = asyncio.Event()

        def slowly(request: ReceivedRequest) -> Script:
            script = answer(request)
            script.hold = held
            return script

        rig.upstream.answer_with(slowly)
        async with opened(rig) as socket:
            await socket.send(_json.encode({**CREATE, "input": "x"}).decode())
            await rig.upstream.arrived.wait()
        await asyncio.wait_for(rig.upstream.left.wait(), 10)


async def test_connection_that_is_too_old_is_told_so_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_session.TurnsSession.__init__, "__kwdefaults__", {"max_age": 0.3})
    async with rigged("chat") as rig, opened(rig) as socket:
        assert id_of(await turn(socket, "x"))
        (told,) = await answered(socket)
        assert told["error"]["code"] == "websocket_connection_limit_reached"
        with pytest.raises(ConnectionClosed):
            await socket.recv()


async def test_connection_that_is_never_idle_ends_too() -> None:
    told: list[str] = []

    class Busy:
        """A client that has always sent another frame already."""

        async def receive(self) -> str:
            return "no json"

        async def send(self, frame: str) -> None:
            told.append(json.loads(frame)["error"]["code"])
            await asyncio.sleep(0)

        async def close(self, code: int = 1000, reason: str = "") -> None:
            told.append(reason)

    client: Any = Busy()
    async with rigged("chat") as rig:
        call = rig.gateway.exchange("responses", {}).call
        chain: Any = rig.gateway._chain
        session = turns_session.TurnsSession(call, chain, lambda: None, max_age=0.05)  # type: ignore[arg-type, return-value]
        async with asyncio.timeout(20):
            await session.run(client)
        await session.aclose()
    assert told[-2:] == ["websocket_connection_limit_reached"] * 2
    assert set(told[:-2]) == {"invalid_json"}


async def test_key_is_asked_for_at_the_handshake_and_hooks_run_for_every_turn() -> None:
    seen: list[str] = []

    class Watcher:
        def before_request(self, call: Any) -> None:
            seen.append(f"{call.tenant} {call.request.body['input']}")

        def on_complete(self, call: Any) -> None:
            seen.append(f"{call.outcome} {call.status}")

    auth = APIKeyAuthenticator({"sk-a": "a", "sk-b": "b"})
    async with rigged("chat", hooks=[auth, Watcher()]) as rig:
        with pytest.raises(InvalidStatus) as refused:
            async with opened(rig, authorization="Bearer no"):
                pass
        assert refused.value.response.status_code == 401
        assert json.loads(refused.value.response.body or b"")["error"]["code"] == "invalid_api_key"
        seen.clear()
        async with opened(rig, authorization="Bearer sk-a") as socket:
            one = id_of(await turn(socket, "first"))
            await turn(socket, "second", previous_response_id=one)
        assert seen[:3] == ["a first", "completed 200", "a second"]
        async with opened(rig, authorization="Bearer sk-b") as socket:
            for store in (True, False):
                (refusal,) = await turn(socket, "x", previous_response_id=one, store=store)
                assert refusal["error"]["code"] == "previous_response_not_found"


async def test_messages_may_be_compressed() -> None:
    async with rigged("chat") as rig, opened(rig) as socket:
        assert [type(extension).__name__ for extension in socket.protocol.extensions] == ["PerMessageDeflate"]


async def test_gateway_that_keeps_nothing_speaks_http_only() -> None:
    async with rigged("chat", state=None) as rig:
        with pytest.raises(InvalidStatus) as refused:
            async with opened(rig):
                pass
        assert refused.value.response.status_code == 426
