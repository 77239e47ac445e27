"""A store that is down: what is to be stored fails clearly or goes on unstored, and nothing else notices."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aigateway.state import MemoryStore, StoreUnavailableError, conversations, open_store
from aigateway.state.state import StateSettings
from aigateway.testing import ReceivedRequest, Script
from tests.state.rig import Reply, Rig, rigged


class Failing:
    """A store that fails while `down`: all of it, or the method that is named."""

    def __init__(self, store: Any = None) -> None:
        self._store = store or MemoryStore()
        self.down = False
        self.fails = ""
        self.failed = asyncio.Event()
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found) or name == "aclose":
            return found

        async def asked(*arguments: Any, **named: Any) -> Any:
            self.asked += 1
            if self.down and self.fails in ("", name):
                self.failed.set()
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


async def test_background_response_that_cannot_be_kept_is_refused_and_left_to_nobody(tmp_path: Path) -> None:
    store: Any = Failing(open_store(f"sqlite:///{tmp_path}/s.db"))
    async with rigged("chat", state=store) as rig:
        await rig.turn("x")
        store.fails = "commit"
        store.down = True
        for stream in (False, True):
            body = {"model": "m", "input": "x", "background": True, "stream": stream}
            refused = await rig.ask("POST", "/responses", body)
            assert (refused.status, refused.json["error"]["code"]) == (503, "state_unavailable")
        assert rig.gateway.keeping.state._held == {}
        assert len(rig.upstream.requests) == 1


class Middle:
    """An upstream that waits in the middle of its answers until it is told to go on."""

    def __init__(self, rig: Rig) -> None:
        self._known = rig.upstream._answerer
        self.goes_on = asyncio.Event()
        rig.upstream.answer_with(self.answer)

    def answer(self, request: ReceivedRequest) -> Script:
        assert self._known is not None
        script = self._known(request)
        return msgspec.structs.replace(script, hold_after=(1, self.goes_on)) if script.pieces else script


async def settled(rig: Rig, id: str) -> str:
    """The status of a response once it is neither queued nor in progress."""
    for _ in range(1000):
        reply = await rig.ask("GET", f"/responses/{id}")
        if reply.status == 200 and reply.json["status"] not in ("queued", "in_progress"):
            return str(reply.json["status"])
        await asyncio.sleep(0.02)
    raise AssertionError("it never ended")


@pytest.mark.parametrize("way", ["stream", "background"])
@pytest.mark.parametrize("back", ["at once", "later"])
@pytest.mark.parametrize("on_outage", ["fail", "continue"])
async def test_outage_in_the_middle_leaves_nothing_in_progress_for_ever(
    way: str, back: str, on_outage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor a conversation locked."""
    monkeypatch.setattr(conversations, "_LOCK_SECONDS", 0.6)
    store: Any = Failing(open_store(f"sqlite:///{tmp_path}/s.db"))
    told = StateSettings(lease=0.4, on_outage=on_outage)
    async with rigged("chat", state=store, state_settings=told) as rig:
        middle = Middle(rig)
        talk = (await rig.ask("POST", "/conversations", {})).json["id"]
        body = {"model": "m", "input": "x", "conversation": talk, "stream": True, "background": way == "background"}
        async with rig.session.post(f"{rig.url}/v1/responses", json=body) as response:
            first = await response.content.readuntil(b"\n\n")
            id = Reply(200, first, {}).events[0]["response"]["id"]  # noqa: A001
            assert await rig.upstream.arrived.wait()
            if way == "background":
                await eventually_in_progress(rig, id)
            store.down = True
            middle.goes_on.set()
            if back == "at once":
                failed = store.failed
                await asyncio.wait_for(failed.wait(), 10)
                store.down = False
            if way == "stream":
                await response.content.read()
        if back == "later":
            if way == "background":
                await asyncio.wait_for(store.failed.wait(), 10)
                await asyncio.sleep(0.1)
            store.down = False
        assert await settled(rig, id) in ("completed", "failed")
        middle.goes_on.set()
        statuses = [409]
        while statuses[-1] == 409 and len(statuses) < 500:
            again = await rig.ask("POST", "/responses", {"model": "m", "input": "y", "conversation": talk})
            statuses.append(again.status)
            await asyncio.sleep(0.02)
        assert statuses[-1] == 200


async def eventually_in_progress(rig: Rig, id: str) -> None:
    for _ in range(500):
        if (await rig.ask("GET", f"/responses/{id}")).json["status"] == "in_progress":
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never began")
