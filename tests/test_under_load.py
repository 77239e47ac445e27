"""`aigateway serve --workers 2` while callers keep asking: a worker is killed, or all are told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families as read

from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from tests.answers import EVENTS, whole
from tests.test_cli import LINUX, PATIENCE, Served, workers_of

CLIENTS = 8


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(upstream: ScriptedUpstream, more: str = "") -> Served:
        (tmp_path / "gateway.yaml").write_text(
            f"providers: {{mock: {{base_url: '{upstream.base_url}', api_key: none, apis: [chat]}}}}\nmodels: {{m: mock}}\n{more}"
        )
        started.append(Served(tmp_path, "--port", "0", "--workers", "2"))
        return started[-1]

    yield start
    for served in started:
        served.process.kill()
        served.ended()


def answer(asked: ReceivedRequest) -> Script:
    """A stream takes its time: some are running at any moment."""
    if asked.json().get("stream"):
        return Script.of_events(EVENTS["chat"], piece_delay=0.01)
    return whole("chat")


class Load:
    """Callers that ask one request after the other, about every second one for a stream, until they are told to stop.

    outcomes  how the requests ended. Nobody answers where `refused` counts.
    """

    def __init__(self, url: str, clients: int = CLIENTS) -> None:
        self.outcomes: Counter[str] = Counter()
        self._url = url
        self._clients = clients
        self._stop = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._one(number)) for number in range(self._clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()
        await asyncio.wait_for(asyncio.gather(*self._tasks), PATIENCE)

    def stop(self) -> None:
        """No caller asks once more."""
        self._stop = True

    async def more(self, count: int, outcome: str = "answered") -> None:
        """Wait until so many more have ended so."""
        wanted = self.outcomes[outcome] + count
        await until(lambda: self.outcomes[outcome] >= wanted)

    async def _one(self, number: int) -> None:
        # of every second caller each request has a connection of its own, which the system gives to any worker that lives
        connector = aiohttp.TCPConnector(force_close=number % 2 == 0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(PATIENCE)) as session:
            while not self._stop:
                self.outcomes[await self._ask(session, stream=self.outcomes.total() % 2 == 0)] += 1

    async def _ask(self, session: aiohttp.ClientSession, *, stream: bool) -> str:
        body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": stream}
        try:
            async with session.post(f"{self._url}/v1/chat/completions", json=body) as reply:
                text = await reply.text()
        except aiohttp.ClientConnectorError:
            await asyncio.sleep(0.005)
            return "refused"
        except (aiohttp.ClientError, ConnectionError):
            return "broken off"
        is_whole = reply.status == 200 and ("data: [DONE]" in text if stream else '"choices"' in text)
        return "answered" if is_whole else f"{reply.status} {text[:200]}"


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.01)


async def counted(url: str) -> float:
    """How many chat requests the metrics of the port know of."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as reply:
        text = await reply.text()
    return sum(
        sample.value
        for family in read(text)
        for sample in family.samples
        if sample.name == "aigateway_requests_total" and sample.labels["operation"] == "chat"
    )


@LINUX
async def test_a_worker_killed_under_load_costs_no_more_than_what_it_held(
    serve: Callable[..., Served],
) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.answer_with(answer)
        gateway = serve(upstream)
        url = await asyncio.to_thread(gateway.url)
        before = workers_of(gateway.process.pid)
        async with Load(url) as load:
            await load.more(50)
            os.kill(min(before), signal.SIGKILL)
            await until(lambda: len(workers_of(gateway.process.pid) - before) == 1)
            await load.more(100)
        outcomes = load.outcomes
        assert set(outcomes) <= {"answered", "broken off"}, outcomes  # the port never refuses: the other one listens
        assert outcomes["broken off"] <= CLIENTS  # those that the killed one had taken
        assert len(workers_of(gateway.process.pid)) == 2
        assert max(before) in workers_of(gateway.process.pid)


@LINUX
async def test_a_stop_under_load_loses_no_request(serve: Callable[..., Served]) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.answer_with(answer)
        gateway = serve(upstream)
        url = await asyncio.to_thread(gateway.url)
        async with Load(url) as load:
            await load.more(50)
            gateway.process.terminate()
            await load.more(CLIENTS, "refused")
        assert set(load.outcomes) == {"answered", "refused"}, load.outcomes
    assert await asyncio.to_thread(gateway.ended) == 0


@LINUX
async def test_open_streams_and_idle_callers_hold_together(serve: Callable[..., Served]) -> None:
    """A tenth and less of what `make bench` holds: 2,000 streams, 10,000 callers."""
    streams, idle = 120, 250
    go_on = asyncio.Event()
    async with ScriptedUpstream() as upstream:
        upstream.answer_with(lambda asked: Script.of_events(EVENTS["chat"], hold_after=(2, go_on)))
        gateway = serve(upstream)
        url = await asyncio.to_thread(gateway.url)
        host, _, port = url.removeprefix("http://").partition(":")

        async def healthy(caller: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bool:
            reader, writer = caller
            writer.write(f"GET /health HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            return b" 200 " in head and b"ok" in await reader.readuntil(b"}")

        async with Load(url, clients=streams) as load:
            await until(lambda: len(upstream.requests) == streams)
            callers = [await asyncio.open_connection(host, int(port)) for _ in range(idle)]
            assert all([await healthy(caller) for caller in callers])
            assert load.outcomes.total() == 0
            load.stop()
            go_on.set()
        assert load.outcomes == {"answered": streams}
        assert all([await healthy(caller) for caller in callers])
        for _, writer in callers:
            writer.close()


async def until_all_tell(url: str, total: int) -> None:
    async with asyncio.timeout(PATIENCE):
        # each is answered by one or the other
        while {await counted(url) for _ in range(8)} != {total}:  # noqa: ASYNC110 - it is asked over HTTP
            await asyncio.sleep(0.1)


async def test_metrics_that_are_turned_on_while_it_serves_are_told_by_every_worker(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.answer_with(answer)
        config = tmp_path / "gateway.yaml"
        gateway = serve(upstream, "metrics: {enabled: false}\n")
        url = await asyncio.to_thread(gateway.url)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:

            async def statuses() -> set[int]:
                found = set()
                for _ in range(8):
                    async with session.get(f"{url}/metrics") as reply:
                        found.add(reply.status)
                return found

            assert await statuses() == {404}
            text = config.read_text().replace("enabled: false", "enabled: true")
            config.write_text(text)
            async with asyncio.timeout(PATIENCE):
                while await statuses() != {200}:  # noqa: ASYNC110 - it is asked over HTTP
                    await asyncio.sleep(0.1)
        async with Load(url) as load:
            await load.more(10)
        await until_all_tell(url, load.outcomes["answered"])


@LINUX
async def test_any_worker_tells_the_numbers_of_all(serve: Callable[..., Served]) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.answer_with(answer)
        gateway = serve(upstream)
        url = await asyncio.to_thread(gateway.url)
        async with Load(url) as load:
            await load.more(40)
        total = load.outcomes["answered"]
        assert set(load.outcomes) == {"answered"}
        await until_all_tell(url, total)
        before = workers_of(gateway.process.pid)
        os.kill(min(before), signal.SIGKILL)
        await until(lambda: len(workers_of(gateway.process.pid) - before) == 1)
        await until_all_tell(url, total)
