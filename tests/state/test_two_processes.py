"""Two processes that serve one store: what one makes the other knows, and what one leaves behind by dying the other settles."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from tests.state.conftest import SHARED, StoreURL
from tests.state.rig import Object, Reply, answer

CONFIG = """
providers:
  up: {{base_url: "{upstream}", api_key: none, apis: [chat]}}
models: {{"*": up}}
auth: {{keys: {{sk-1: "{tenant}"}}}}
state: {{url: "{store}", lease: 1}}
"""


class Process:
    """One that serves."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, session: aiohttp.ClientSession) -> None:
        self._process = process
        self.url = url
        self._session = session

    async def ask(self, method: str, path: str, body: Any = None) -> Reply:
        headers = {"authorization": "Bearer sk-1"}
        async with self._session.request(method, f"{self.url}/v1{path}", json=body, headers=headers) as response:
            return Reply(response.status, await response.read(), {})

    async def begin(self, input: str, **fields: Any) -> str:
        body = {"model": "m", "input": input, "background": True, **fields}
        reply = await self.ask("POST", "/responses", body)
        assert reply.status == 200, reply.body
        return str(reply.json["id"])

    async def until_over(self, id: str) -> Object:
        found: Object = {}
        for _ in range(3000):
            reply = await self.ask("GET", f"/responses/{id}")
            found = reply.json
            if found.get("status") not in ("queued", "in_progress"):
                return found
            await asyncio.sleep(0.02)
        raise AssertionError(found)

    async def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()


@asynccontextmanager
async def processes(upstream: ScriptedUpstream, store: str, tenant: str, folder: Path) -> AsyncIterator[list[Process]]:
    config = folder / "gateway.yaml"
    config.write_text(CONFIG.format(upstream=upstream.base_url, tenant=tenant, store=store))
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        started = []
        for _ in range(2):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "aigateway", "serve", "--config", str(config), "--port", "0"),
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "COVERAGE_PROCESS_START": os.environ.get("COVERAGE_PROCESS_START", "")},
            )
            started.append(process)
        serving = []
        for process in started:
            assert process.stdout is not None
            line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
            assert line.startswith("ready: "), line
            made = Process(process, line.removeprefix("ready: ").strip(), session)
            stack.push_async_callback(made.stop)
            serving.append(made)
        yield serving


class Holding:
    """An upstream's answers, held by what they are asked: `early` before the head, `late` in the middle."""

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self.held = asyncio.Event()
        self.asked: list[str] = []
        upstream.answer_with(self)

    def __call__(self, request: ReceivedRequest) -> Script:
        text = str(request.json()["messages"][-1]["content"])
        self.asked.append(text)
        script = answer(request)
        if text.startswith("early"):
            script.hold = self.held
        elif text.startswith("late"):
            script.hold_after = (2, self.held)
        return script

    async def until(self, count: int) -> None:
        for _ in range(3000):
            if len(self.asked) >= count:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(self.asked)


@pytest.mark.parametrize("backend", SHARED)
async def test_what_one_process_keeps_the_other_goes_on_from(
    backend: str, own_store_url: StoreURL, tenant: str, tmp_path: Path
) -> None:
    async with ScriptedUpstream() as upstream, processes(upstream, own_store_url(backend), tenant, tmp_path) as (a, b):
        holding = Holding(upstream)
        one = (await a.ask("POST", "/responses", {"model": "m", "input": "first"})).json
        two = (await b.ask("POST", "/responses", {"model": "m", "input": "x", "previous_response_id": one["id"]})).json
        assert two["output"][0]["content"][0]["text"] == "saw 3"
        conversation = (await a.ask("POST", "/conversations", {})).json["id"]
        for process in (a, b, a):
            body = {"model": "m", "input": "x", "conversation": conversation}
            assert (await process.ask("POST", "/responses", body)).status == 200
        assert len((await b.ask("GET", f"/conversations/{conversation}/items")).json["data"]) == 6
        running = await a.begin("late one")
        reading = asyncio.ensure_future(b.ask("GET", f"/responses/{running}?stream=true"))
        cancelled = await a.begin("early two")
        await holding.until(7)
        assert (await b.ask("POST", f"/responses/{cancelled}/cancel")).json["status"] == "cancelled"
        await asyncio.wait_for(upstream.left.wait(), 20)
        holding.held.set()
        events = (await asyncio.wait_for(reading, 30)).events
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert events[-1]["type"] == "response.completed"
        assert (await b.ask("GET", f"/responses/{cancelled}")).json["status"] == "cancelled"


@pytest.mark.parametrize("backend", SHARED)
async def test_nothing_is_lost_or_made_twice_where_one_is_killed(
    backend: str, own_store_url: StoreURL, tenant: str, tmp_path: Path
) -> None:
    async with ScriptedUpstream() as upstream, processes(upstream, own_store_url(backend), tenant, tmp_path) as (a, b):
        holding = Holding(upstream)
        early = [await a.begin(f"early {number}") for number in range(3)]
        late = [await a.begin(f"late {number}") for number in range(3)]
        done = await a.begin("done")
        await a.until_over(done)
        async with aiohttp.ClientSession() as session:
            body = {"model": "m", "input": "late in the foreground", "stream": True}
            response = await session.post(f"{a.url}/v1/responses", json=body, headers={"authorization": "Bearer sk-1"})
            begun = await response.content.readuntil(b"\n\n")
            foreground = begun.partition(b'"id":"')[2].partition(b'"')[0].decode()
            await holding.until(8)
            for id in late:  # noqa: A001 - output of each was seen
                for _ in range(500):
                    if (await b.ask("GET", f"/responses/{id}")).json["status"] == "in_progress":
                        break
                    await asyncio.sleep(0.02)
            reading = asyncio.ensure_future(b.ask("GET", f"/responses/{late[0]}?stream=true"))
            await a.kill()
            response.close()
        holding.held.set()
        for id in early:  # noqa: A001
            found = await b.until_over(id)
            assert (found["status"], found["output"][0]["content"][0]["text"]) == ("completed", "saw 1")
            events = (await b.ask("GET", f"/responses/{id}?stream=true")).events
            assert [event["sequence_number"] for event in events] == list(range(len(events)))
            assert [event["type"] for event in events].count("response.created") == 1
            assert events[-1]["type"] == "response.completed"
        for id in [*late, foreground]:  # noqa: A001
            found = await b.until_over(id)
            assert (found["status"], found["error"]["code"]) == ("failed", "interrupted")
        events = (await asyncio.wait_for(reading, 30)).events
        assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert (await b.ask("GET", f"/responses/{done}")).json["status"] == "completed"
        assert sorted(holding.asked) == sorted(
            [*(f"early {number}" for number in range(3)), *(f"early {number}" for number in range(3))]
            + [f"late {number}" for number in range(3)]
            + ["done", "late in the foreground"]
        )
