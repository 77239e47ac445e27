"""Responses in the background, and streams that are read again: from any number, by several readers, on every store."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from aigateway.call import Principal
from aigateway.hooks.api_keys import APIKeyAuthenticator
from aigateway.lint.stream import lint_sse
from aigateway.state import open_store
from aigateway.state.journal import JournalLimits
from aigateway.state.state import StateSettings
from aigateway.testing import ReceivedRequest, Script
from tests.state.conftest import BACKENDS, StoreURL, eventually
from tests.state.rig import Object, Rig, answer, rigged

KEYS = {"sk-1": "t"}


@pytest.fixture(params=BACKENDS)
async def rig(request: pytest.FixtureRequest, own_store_url: StoreURL, tenant: str) -> AsyncIterator[Rig]:
    hooks = [APIKeyAuthenticator({"sk-1": tenant})]
    async with rigged("chat", state=open_store(own_store_url(request.param)), hooks=hooks) as made:
        made.key = "sk-1"
        yield made


def holding(rig: Rig, held: asyncio.Event, *, after: int | None = None) -> None:
    """Let the upstream wait before its answer, or behind so many pieces of it."""

    def slowly(request: ReceivedRequest) -> Script:
        script = answer(request)
        if after is None:
            script.hold = held
        else:
            script.hold_after = (after, held)
        return script

    rig.upstream.answer_with(slowly)


async def until(rig: Rig, id: str, check: Callable[[Object], object]) -> Object:
    found: Object = {}
    for _ in range(2000):
        found = (await rig.ask("GET", f"/responses/{id}")).json
        if check(found):
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(found)


async def begin(rig: Rig, **fields: Any) -> Object:
    reply = await rig.ask("POST", "/responses", {"model": "m", "input": "first", "background": True, **fields})
    assert reply.status == 200, reply.body
    value: Object = reply.json
    return value


async def test_background_response_is_queued_at_once_and_completed_later(rig: Rig) -> None:
    held = asyncio.Event()
    holding(rig, held)
    queued = await begin(rig, metadata={"a": "b"})
    assert (queued["status"], queued["background"], queued["output"], queued["metadata"]) == (
        "queued",
        True,
        [],
        {"a": "b"},
    )
    assert (await rig.ask("GET", f"/responses/{queued['id']}")).json == queued
    (item,) = (await rig.ask("GET", f"/responses/{queued['id']}/input_items")).json["data"]
    assert item["content"][0]["text"] == "first"
    early = await rig.ask("POST", "/responses", {"model": "m", "input": "x", "previous_response_id": queued["id"]})
    assert (early.status, early.json["error"]["code"]) == (400, "response_not_completed")
    held.set()
    done = await until(rig, queued["id"], lambda found: found["status"] == "completed")
    assert (done["id"], done["background"]) == (queued["id"], True)
    assert done["output"][0]["content"][0]["text"] == "saw 1"
    (item,) = (await rig.ask("GET", f"/responses/{queued['id']}/input_items")).json["data"]
    assert item["content"][0]["text"] == "first"
    after = await rig.turn("second", previous_response_id=done["id"])
    assert rig.told == ["user: first", "assistant: saw 1", "user: second"]
    behind = await begin(rig, input="third", previous_response_id=after["id"])
    done = await until(rig, behind["id"], lambda found: found["status"] == "completed")
    assert (done["output"][0]["content"][0]["text"], done["previous_response_id"]) == ("saw 5", after["id"])


async def test_cancelled_response_stops_upstream_and_stays_cancelled(rig: Rig) -> None:
    held = asyncio.Event()
    holding(rig, held, after=2)
    queued = await begin(rig)
    await asyncio.wait_for(rig.upstream.arrived.wait(), 10)
    cancelled = await rig.ask("POST", f"/responses/{queued['id']}/cancel")
    assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")
    await asyncio.wait_for(rig.upstream.left.wait(), 10)
    again = await rig.ask("POST", f"/responses/{queued['id']}/cancel")
    assert again.json["status"] == "cancelled"
    assert (await rig.ask("GET", f"/responses/{queued['id']}")).json["status"] == "cancelled"
    rig.upstream.answer_with(answer)
    plain = await rig.ask("POST", "/responses", {"model": "m", "input": "x"})
    refused = await rig.ask("POST", f"/responses/{plain.json['id']}/cancel")
    assert refused.status == 400
    assert "background" in refused.json["error"]["message"]


async def test_stream_of_a_cancelled_response_ends_in_an_event_that_clients_know(rig: Rig) -> None:
    held = asyncio.Event()
    holding(rig, held, after=2)
    queued = await begin(rig)
    path = f"/responses/{queued['id']}"
    reading = asyncio.create_task(rig.ask("GET", f"{path}?stream=true"))
    await asyncio.wait_for(rig.upstream.arrived.wait(), 10)
    await rig.ask("POST", f"{path}/cancel")
    seen = await reading
    assert seen.events[-1]["type"] == "response.incomplete"
    assert seen.events[-1]["response"] == (await rig.ask("GET", path)).json
    assert seen.events[-1]["response"]["status"] == "cancelled"
    assert [event["sequence_number"] for event in seen.events] == list(range(len(seen.events)))
    assert [str(finding) for finding in lint_sse(seen.body)] == []
    assert (await rig.ask("GET", f"{path}?stream=true")).events[-1] == seen.events[-1]


async def test_failure_of_the_upstream_is_kept(rig: Rig) -> None:
    rig.upstream.script(Script.of_json({"error": {"message": "no such thing", "type": "invalid_request_error"}}, 400))
    queued = await begin(rig)
    failed = await until(rig, queued["id"], lambda found: found["status"] == "failed")
    assert failed["error"]["message"] == "no such thing"
    events = (await rig.ask("GET", f"/responses/{queued['id']}?stream=true")).events
    assert [event["type"] for event in events] == ["response.created", "error", "response.failed"]
    assert [event["sequence_number"] for event in events] == [0, 1, 2]
    (item,) = (await rig.ask("GET", f"/responses/{queued['id']}/input_items")).json["data"]
    assert item["content"][0]["text"] == "first"


@pytest.mark.parametrize("background", [False, True])
async def test_stream_is_told_again_from_any_number_on(rig: Rig, background: bool) -> None:
    body = {"model": "m", "input": "first", "stream": True, "background": background}
    seen = await rig.ask("POST", "/responses", body)
    events = seen.events
    assert events[-1]["type"] == "response.completed"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    id = events[0]["response"]["id"]  # noqa: A001
    assert events[-1]["response"]["background"] is background
    whole = await rig.ask("GET", f"/responses/{id}?stream=true")
    assert whole.body == seen.body
    assert whole.headers["content-type"] == "text/event-stream"
    for after in (0, 3, len(events) - 2):
        rest = await rig.ask("GET", f"/responses/{id}?stream=true&starting_after={after}")
        assert rest.events == events[after + 1 :]
        assert rest.body.endswith(b"data: [DONE]\n\n")
        by_header = await rig.ask("GET", f"/responses/{id}?stream=true", last_event_id=str(after))
        assert by_header.body == rest.body
    at_its_end = await rig.ask("GET", f"/responses/{id}?stream=true&starting_after={len(events) - 1}")
    assert at_its_end.body == b"data: [DONE]\n\n"
    assert (await rig.ask("GET", f"/responses/{id}?stream=true&starting_after=x")).status == 400
    assert (await rig.ask("GET", "/responses/resp_none?stream=true")).status == 404


async def test_several_readers_follow_a_stream_that_is_still_made(rig: Rig) -> None:
    held = asyncio.Event()
    holding(rig, held, after=2)
    async with aiohttp.ClientSession() as session:
        body = {"model": "m", "input": "first", "stream": True, "background": True}
        headers = {"authorization": "Bearer sk-1"}
        first = await session.post(f"{rig.url}/v1/responses", json=body, headers=headers)
        begun = await first.content.readuntil(b"\n\n")
        id = begun.partition(b'"id":"')[2].partition(b'"')[0].decode()  # noqa: A001
        first.close()  # the caller leaves: the response is made all the same
        readers = [
            asyncio.ensure_future(rig.ask("GET", f"/responses/{id}?stream=true{query}"))
            for query in ("", "&starting_after=1", "&starting_after=2")
        ]
        await asyncio.sleep(0.1)
        assert not any(reader.done() for reader in readers)
        held.set()
        whole, *parts = await asyncio.gather(*readers)
    assert whole.events[-1]["type"] == "response.completed"
    assert [part.events for part in parts] == [whole.events[2:], whole.events[3:]]
    assert (await rig.ask("GET", f"/responses/{id}?stream=true")).body == whole.body


async def test_what_is_gone_of_a_stream_says_so() -> None:
    settings = StateSettings(journal=JournalLimits(max_bytes=10))
    async with rigged("chat", state_settings=settings) as rig:
        plain = await rig.turn("x")
        gone = await rig.ask("GET", f"/responses/{plain['id']}?stream=true")
        assert (gone.status, gone.json["error"]["code"]) == (410, "stream_expired")
        held = asyncio.Event()
        holding(rig, held, after=2)
        asking = asyncio.ensure_future(rig.ask("POST", "/responses", {"model": "m", "input": "x", "stream": True}))
        await asyncio.sleep(0.2)
        held.set()
        events = (await asking).events
        path = f"/responses/{events[0]['response']['id']}?stream=true"
        gone = await rig.ask("GET", path)
        assert (gone.status, gone.json["error"]["code"]) == (410, "stream_expired")
        last = events[-1]["sequence_number"]
        rest = await rig.ask("GET", f"{path}&starting_after={last - 1}")
        assert rest.events == events[-1:], rest.body


@pytest.mark.parametrize("cut", [7, 100, 1000, 100_000])
async def test_stream_with_other_line_ends_and_without_numbers_is_kept_too(cut: int) -> None:
    async with rigged("responses") as rig:
        told = answer(ReceivedRequest("POST", "", {}, b'{"input":"x","stream":true}'))
        whole = b"".join(told.pieces or ()).replace(b"\n", b"\r\n")
        whole = re.sub(rb',"sequence_number":\d+', b"", whole)
        pieces = [whole[at : at + cut] for at in range(0, len(whole), cut)]
        rig.upstream.script(Script(headers={"content-type": "text/event-stream"}, pieces=pieces))
        seen = await rig.ask("POST", "/responses", {"model": "m", "input": "x", "stream": True})
        final = seen.events[-1]["response"]
        assert (await rig.ask("GET", f"/responses/{final['id']}")).json == final
        again = await rig.ask("GET", f"/responses/{final['id']}?stream=true")
        assert again.events == seen.events
        rest = await rig.ask("GET", f"/responses/{final['id']}?stream=true&starting_after=3")
        assert rest.events == seen.events[4:]


async def test_run_of_a_gateway_that_is_stopped_is_gone_on_with_by_the_next(own_store_url: StoreURL) -> None:
    url = own_store_url("sqlite")
    settings = StateSettings(lease=0.2)
    held = asyncio.Event()
    async with rigged("chat", state=open_store(url), state_settings=settings) as rig:
        holding(rig, held)
        early = await begin(rig, input="early")
        await asyncio.wait_for(rig.upstream.arrived.wait(), 10)
    async with rigged("chat", state=open_store(url), state_settings=settings) as rig:
        found = await until(rig, early["id"], lambda one: one["status"] not in ("queued", "in_progress"))
        assert (found["status"], found["output"][0]["content"][0]["text"]) == ("completed", "saw 1")
        assert rig.told == ["user: early"]


async def test_run_that_was_seen_is_called_failed_by_the_next(own_store_url: StoreURL) -> None:
    url = own_store_url("sqlite")
    settings = StateSettings(lease=0.2)
    held = asyncio.Event()
    async with rigged("chat", state=open_store(url), state_settings=settings) as rig:
        holding(rig, held, after=2)
        late = await begin(rig, input="late")
        await until(rig, late["id"], lambda one: one["status"] == "in_progress")
    async with rigged("chat", state=open_store(url), state_settings=settings) as rig:
        found = await until(rig, late["id"], lambda one: one["status"] not in ("queued", "in_progress"))
        assert (found["status"], found["error"]["code"]) == ("failed", "interrupted")
        assert not rig.upstream.requests
        (item,) = (await rig.ask("GET", f"/responses/{late['id']}/input_items")).json["data"]
        assert item["content"][0]["text"] == "late"


async def test_principal_of_a_run_has_the_facts_that_can_be_written_down() -> None:
    seen: list[Any] = []

    class Asks:
        def authenticate(self, call: Any, key: str | None) -> Principal:
            return Principal("t", {"plan": "gold", "socket": object()})

        def on_complete(self, call: Any) -> None:
            seen.append((call.tenant, call.principal.facts.get("plan"), call.usage is not None))

    async with rigged("chat", hooks=[Asks()]) as rig:
        queued = await begin(rig)
        await until(rig, queued["id"], lambda found: found["status"] == "completed")
        await eventually(lambda: ("t", "gold", True) in seen)


async def test_background_needs_a_store() -> None:
    async with rigged("chat") as rig:
        reply = await rig.ask("POST", "/responses", {"model": "m", "input": "x", "background": True, "store": False})
        assert (reply.status, reply.json["error"]["param"]) == (400, "background")


async def test_hooks_see_a_background_response_through() -> None:
    seen: list[str] = []

    class Watcher:
        def before_request(self, call: Any) -> None:
            seen.append("before_request")
            call.request.body["input"] = "edited"

        def on_event(self, call: Any, event: Any) -> Any:
            if event.text:
                seen.append(event.text)
            return event

        def on_complete(self, call: Any) -> None:
            seen.append(f"{call.outcome} {call.usage.input_tokens if call.usage else None}")

    async with rigged("chat", hooks=[Watcher()]) as rig:
        queued = await begin(rig)
        await until(rig, queued["id"], lambda found: found["status"] == "completed")
        assert rig.told == ["user: edited"]
        await eventually(lambda: "completed 3" in seen)
    assert seen[:2] == ["before_request", "completed None"]
    assert [word for word in seen if word.startswith("saw")] == ["saw "]
