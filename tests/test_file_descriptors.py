"""A gateway that has no file descriptor left: it stays quiet, says so, and serves again when there are some."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aigateway import FunctionProvider, Gateway, serving
from aigateway.serving import Stop
from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from tests.answers import whole
from tests.asking import Row, post
from tests.test_cli import LINUX, PATIENCE, Served
from tests.test_serving import serving_process

pytestmark = LINUX
CHAT = Row("chat", "chat")
MORE = 12
"""File descriptors that a gateway gets on top of those that it has when it is ready."""


class Scarce:
    """A served gateway with few file descriptors, and idle callers that take them."""

    def __init__(self, gateway: Served, url: str) -> None:
        self.url = url
        self.pid = gateway.process.pid
        self._files = Path(f"/proc/{self.pid}/fd")
        self._callers: list[asyncio.StreamWriter] = []
        import resource  # noqa: PLC0415 - there is none on Windows

        self.limit = self.open + MORE
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (self.limit, self.limit))

    @property
    def open(self) -> int:
        return len(list(self._files.iterdir()))

    async def fill(self) -> None:
        """Connect until no file descriptor is left, and some more."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        for _ in range(3 * MORE):
            _, writer = await asyncio.open_connection(host, int(port))
            self._callers.append(writer)
        await until(lambda: self.open == self.limit)

    async def leave(self) -> None:
        """The idle callers go."""
        for writer in self._callers:
            writer.transport.abort()
        self._callers.clear()
        await until(lambda: self.open < self.limit - MORE // 2)

    def cpu(self) -> float:
        """Seconds that the gateway has worked."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.01)


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as upstream:
        upstream.script(whole("chat"))
        yield upstream


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[ScriptedUpstream], Served]]:
    started: list[Served] = []

    def start(upstream: ScriptedUpstream) -> Served:
        provider = f"{{base_url: '{upstream.base_url}', api_key: none, apis: [chat]}}"
        config = f"providers: {{first: {provider}, second: {provider}}}\nmodels: {{gpt: first, other: second}}\n"
        (tmp_path / "gateway.yaml").write_text(config)
        started.append(Served(tmp_path, "--port", "0"))
        return started[-1]

    yield start
    for served in started:
        served.process.kill()
        served.ended()


async def ask(session: aiohttp.ClientSession, url: str, model: str = "gpt") -> tuple[int, Any, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
    async with session.post(f"{url}/v1/chat/completions", json=body) as reply:
        return reply.status, reply.headers.get("retry-after"), await reply.json()


async def test_callers_who_find_no_descriptor_cost_nothing_and_others_are_served_when_there_are_some(
    serve: Callable[[ScriptedUpstream], Served], upstream: ScriptedUpstream
) -> None:
    gateway = serve(upstream)
    scarce = Scarce(gateway, await asyncio.to_thread(gateway.url))
    await scarce.fill()
    before = scarce.cpu()
    await asyncio.sleep(1.0)  # one that tries again and again would use all of it
    assert scarce.cpu() - before < 0.5
    await scarce.leave()
    assert (await post(scarce.url, CHAT)).status == 200
    assert gateway.process.poll() is None


async def test_a_call_that_finds_no_descriptor_is_a_503_that_says_so_and_the_next_one_is_answered(
    serve: Callable[[ScriptedUpstream], Served], upstream: ScriptedUpstream
) -> None:
    gateway = serve(upstream)
    scarce = Scarce(gateway, await asyncio.to_thread(gateway.url))
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{scarce.url}/health") as reply:  # has its connection before the others come
            assert reply.status == 200
        await scarce.fill()
        status, retry_after, body = await ask(session, scarce.url)
        assert (status, retry_after) == (503, "1")
        assert body["error"]["code"] == "upstream_overloaded"
        assert body["error"]["message"] == (
            "The gateway has no file descriptor left for a connection to provider 'first'."
        )
        assert upstream.requests == []
        await scarce.leave()
        assert (await ask(session, scarce.url))[0] == 200


async def test_connections_that_nobody_uses_are_given_back_to_make_room(
    serve: Callable[[ScriptedUpstream], Served], upstream: ScriptedUpstream
) -> None:
    together = asyncio.Event()
    upstream.answer_with(lambda asked: held(asked, together))
    gateway = serve(upstream)
    scarce = Scarce(gateway, await asyncio.to_thread(gateway.url))
    async with aiohttp.ClientSession() as session:
        asking = [asyncio.create_task(ask(session, scarce.url)) for _ in range(3)]
        await until(lambda: len(upstream.requests) == 3)
        together.set()  # so there are three connections to the first provider
        assert {status for status, _, _ in await asyncio.gather(*asking)} == {200}
        await scarce.fill()
        assert (await ask(session, scarce.url, "other"))[0] == 200
        await scarce.leave()


def held(asked: ReceivedRequest, event: asyncio.Event) -> Script:
    script = whole("chat")
    script.hold = event
    return script


async def test_a_socket_that_the_event_loop_gave_up_is_listened_to_again(monkeypatch: pytest.MonkeyPatch) -> None:
    servers: list[Any] = []

    class Kept(serving._Server):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            servers.append(self)

    monkeypatch.setattr(serving, "_Server", Kept)
    gateway = Gateway(models={"gpt": FunctionProvider("f", lambda body: "hi")})
    async with serving_process(gateway, Stop()) as (url, _):
        for listening in servers[0].servers:
            listening.close()
        fault = {"exception": OSError(errno.EMFILE, "Too many open files")}
        asyncio.get_running_loop().call_exception_handler(fault)
        assert (await post(url, CHAT)).status == 200


def test_a_served_gateway_may_open_as_many_files_as_the_system_allows() -> None:
    code = """if True:
        import resource
        from aigateway.serving import raise_file_limit

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE)
