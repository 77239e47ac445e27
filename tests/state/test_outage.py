"""A store that is down: what is to be stored fails clearly or goes on unstored, and nothing else notices."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from aigateway.state import MemoryStore, StoreUnavailableError
from aigateway.state.state import StateSettings
from aigateway.testing import ReceivedRequest, Script
from tests.state.rig import rigged

pytestmark = pytest.mark.usefixtures("registered")


class Failing:
    """A store that fails while `down`."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        self.down = False
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found) or name == "aclose":
            return found

        async def asked(*arguments: Any, **named: Any) -> Any:
            self.asked += 1
            if self.down:
                raise StoreUnavailableError
            return await found(*arguments, **named)

        return asked


CHAT = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
STREAMS = pytest.mark.parametrize("stream", [False, True])


@STREAMS
async def test_calls_that_are_to_be_stored_fail_clearly(stream: bool) -> None:
    store: Any = Failing()
    async with rigged("chat", state=store) as rig:
        stored = await rig.turn("first")
        store.down = True
        body = {"model": "m", "input": "x", "stream": stream}
        first = await rig.ask("POST", "/responses", body)
        if stream:
            assert [event["type"] for event in first.events[-2:]] == ["error", "response.failed"]
            assert first.events[-2]["code"] == "state_unavailable"
        else:
            assert (first.status, first.json["error"]["code"]) == (503, "state_unavailable")
        sent = len(rig.upstream.requests)
        again = await rig.ask("POST", "/responses", body)
        assert (again.status, again.json["error"]["code"]) == (503, "state_unavailable")
        assert again.headers["retry-after"] == "1"
        assert len(rig.upstream.requests) == sent  # no model is asked for what cannot be kept
        for method, path, sends in (
            ("GET", f"/responses/{stored['id']}", None),
            ("POST", "/responses", body | {"previous_response_id": stored["id"], "store": False}),
            ("POST", "/conversations", {}),
        ):
            assert (await rig.ask(method, path, sends)).status == 503
        store.down = False
        assert (await rig.turn("second", previous_response_id=stored["id"]))["status"] == "completed"


@STREAMS
async def test_chat_calls_that_are_to_be_stored_fail_clearly(stream: bool) -> None:
    store: Any = Failing()
    async with rigged("chat", state=store) as rig:
        body = CHAT | {"store": True, "stream": stream}
        store.down = True
        first = await rig.ask("POST", "/chat/completions", body)
        if stream:
            assert first.events[-1]["error"]["code"] == "state_unavailable"
            assert b"[DONE]" not in first.body
        else:
            assert (first.status, first.json["error"]["code"]) == (503, "state_unavailable")
        again = await rig.ask("POST", "/chat/completions", body)
        assert (again.status, again.json["error"]["code"]) == (503, "state_unavailable")
        store.down = False
        assert (await rig.ask("POST", "/chat/completions", body)).status == 200


async def test_streamed_completion_that_cannot_be_kept_at_its_end_ends_in_an_error() -> None:
    store: Any = Failing()
    async with rigged("chat", state=store) as rig:
        known = rig.upstream._answerer
        assert known is not None
        held = asyncio.Event()

        def in_the_middle(request: ReceivedRequest) -> Script:
            return msgspec.structs.replace(known(request), hold_after=(1, held))

        rig.upstream.answer_with(in_the_middle)
        body = CHAT | {"store": True, "stream": True}
        async with rig.session.post(f"{rig.url}/v1/chat/completions", json=body) as response:
            assert response.status == 200
            await response.content.readuntil(b"\n\n")
            store.down = True
            held.set()
            rest = await response.content.read()
        assert b"state_unavailable" in rest
        assert b"[DONE]" not in rest


@STREAMS
async def test_calls_go_on_unstored_where_that_is_wanted(stream: bool) -> None:
    store: Any = Failing()
    async with rigged("chat", state=store, state_settings=StateSettings(on_outage="continue")) as rig:
        store.down = True
        body = {"model": "m", "input": "x", "stream": stream}
        replies = [await rig.ask("POST", "/responses", body) for _ in range(2)]
        for reply in replies:
            assert reply.status == 200
            last = reply.events[-1]["response"] if stream else reply.json
            assert last["status"] == "completed"
        assert "store" in replies[1].headers["x-aigateway-changes"]
        chat = await rig.ask("POST", "/chat/completions", CHAT | {"store": True, "stream": stream})
        assert chat.status == 200
        assert "store" in chat.headers["x-aigateway-changes"]
        background = await rig.ask("POST", "/responses", body | {"background": True})
        assert background.status == 503


async def test_nothing_else_touches_the_store() -> None:
    store: Any = Failing()
    async with rigged("chat", state=store) as rig:
        store.down = True
        for stream in (False, True):
            assert (await rig.ask("POST", "/chat/completions", CHAT | {"stream": stream})).status == 200
            body = {"model": "m", "input": "x", "stream": stream, "store": False}
            assert (await rig.ask("POST", "/responses", body)).status == 200
        assert (await rig.ask("GET", "/models")).status == 200
        assert store.asked == 0
