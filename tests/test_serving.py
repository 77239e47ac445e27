from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from aigateway import Answer, Call, Gateway, Limits, Provider, ProviderReply, ProviderRequest, serving
from aigateway.app.protocol import HeadFirstProtocol
from aigateway.serving import Address, Signals, Stop
from aigateway.testing import ScriptedWebSocket


class Waiting:
    """A provider whose answers never come. stubborn: it also takes no notice of being cancelled, once."""

    name = "waiting"
    apis = frozenset({"chat"})

    def __init__(self, *, stubborn: bool = False) -> None:
        self.stubborn = stubborn
        self.asked = asyncio.Event()
        self.closed = False

    async def send(self, request: ProviderRequest) -> ProviderReply:
        self.asked.set()
        if self.stubborn:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        await asyncio.Event().wait()
        return Answer(b"{}")

    async def aclose(self) -> None:
        self.closed = True


class Outcomes:
    def __init__(self) -> None:
        self.seen: list[str | None] = []

    def on_complete(self, call: Call) -> None:
        self.seen.append(call.outcome)


@contextlib.asynccontextmanager
async def serving_process(gateway: Gateway, stop: Stop) -> AsyncIterator[tuple[str, asyncio.Task[None]]]:
    """What a process that serves does, in our own event loop."""
    address, ready = Address("127.0.0.1", 0), asyncio.Event()
    sock = address.bind()
    url = address.url(sock)
    task = asyncio.create_task(serving.serve(gateway, address, sock, stop, ready.set))
    try:
        await asyncio.wait((task, asyncio.ensure_future(ready.wait())), return_when=asyncio.FIRST_COMPLETED)
        yield url, task
    finally:
        stop.cut_off()
        await task


def ask(url: str) -> Any:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    with contextlib.closing(connection):
        connection.request(
            "POST", "/v1/chat/completions", json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]})
        )
        return json.loads(connection.getresponse().read())


@pytest.mark.parametrize("stubborn", [False, True], ids=["obedient", "stubborn"])
async def test_requests_that_do_not_finish_in_time_are_cut(stubborn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "GRACE", 0.05)
    monkeypatch.setattr(serving, "_CUT", 0.2)
    provider, outcomes, stop = Waiting(stubborn=stubborn), Outcomes(), Stop()
    async with serving_process(Gateway(providers=[provider], hooks=[outcomes]), stop) as (url, served):
        asking = asyncio.create_task(asyncio.to_thread(ask, url))
        await provider.asked.wait()
        stop.finish()
        await served
        with pytest.raises((OSError, http.client.HTTPException)):
            await asking
    assert outcomes.seen == ["abandoned"]
    assert provider.closed


def test_a_process_that_serves_runs_on_uvloop_and_httptools_and_collects_nothing_of_its_start() -> None:
    async def main() -> None:
        stop = Stop()
        gc.unfreeze()
        async with serving_process(Gateway(providers=[Waiting()]), stop):
            assert type(asyncio.get_running_loop()).__module__.partition(".")[0] == "uvloop"
            assert gc.get_freeze_count() > 10_000

    try:
        serving.run(main())
    finally:
        gc.unfreeze()
    assert issubclass(HeadFirstProtocol, HttpToolsProtocol)


async def test_an_idle_connection_does_not_hold_the_end_up() -> None:
    stop = Stop()
    async with serving_process(Gateway(providers=[Waiting()]), stop) as (url, served):
        host, _, port = url.removeprefix("http://").partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        stop.finish()
        await served
        writer.close()


async def test_a_connection_that_comes_up_late_does_not_hold_the_end_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serving, "GRACE", 1.0)
    ours, theirs = socket.socketpair()
    shutdown, loop, late = HeadFirstProtocol.shutdown, asyncio.get_running_loop(), asyncio.Event()

    def told(self: HeadFirstProtocol) -> None:
        shutdown(self)
        if not late.is_set():
            late.set()
            another = HeadFirstProtocol(self.config, self.server_state, {})
            loop.call_soon(lambda: asyncio.ensure_future(loop.connect_accepted_socket(lambda: another, ours)))

    monkeypatch.setattr(HeadFirstProtocol, "shutdown", told)
    stop = Stop()
    async with serving_process(Gateway(providers=[Waiting()]), stop) as (url, served):
        host, _, port = url.removeprefix("http://").partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        stop.finish()
        await served
        assert late.is_set()
        assert "cutting" not in caplog.text
        writer.close()
        theirs.close()


class Opening(Waiting):
    async def open(self) -> None:
        self.asked.set()
        await asyncio.Event().wait()


async def test_a_stop_while_a_model_is_opened_ends_at_once() -> None:
    provider, stop = Opening(), Stop()
    address = Address("127.0.0.1", 0)
    with address.bind() as sock:
        served = asyncio.create_task(
            serving.serve(Gateway(providers=[provider]), address, sock, stop, lambda: pytest.fail("it never answers"))
        )
        await provider.asked.wait()
        stop.finish()
        await served
    assert provider.closed


async def test_closing_that_hangs_does_not_hold_the_end_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(Waiting):
        async def aclose(self) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(serving, "_CLOSE", 0.05)
    stop = Stop()
    async with serving_process(Gateway(providers=[Hanging()]), stop) as (_, served):
        stop.finish()
        await served


@pytest.mark.parametrize(
    ("heard", "called"),
    [
        ([(signal.SIGTERM, 0.0)], ["first"]),
        ([(signal.SIGTERM, 0.0), (signal.SIGTERM, 0.1)], ["first"]),
        ([(signal.SIGTERM, 0.0), (signal.SIGTERM, 5.0)], ["first", "again"]),
        ([(signal.SIGINT, 0.0), (signal.SIGINT, 0.1)], ["first", "again"]),
        ([(signal.SIGTERM, 0.0), (signal.SIGINT, 0.1)], ["first", "again"]),
    ],
    ids=["once", "a SIGTERM and its echo", "twice", "Ctrl-C twice", "both"],
)
def test_the_second_signal_means_more_than_the_first(
    heard: list[tuple[signal.Signals, float]], called: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    before = signal.getsignal(signal.SIGTERM)
    signals = Signals(lambda: told.append("first"), lambda: told.append("again"))
    with signals.caught():
        handler: Callable[..., object] = signals._hear
        assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGINT) == handler
        for signum, moment in heard:
            monkeypatch.setattr("aigateway.serving.time.monotonic", lambda moment=moment: moment)
            handler(signum, None)
    assert told == called
    assert signal.getsignal(signal.SIGTERM) == before


# sessions over WebSocket


async def test_websocket_is_loaded_by_the_first_who_asks_for_one() -> None:
    code = """if True:
        import asyncio, sys, urllib.error, urllib.request
        from aigateway import Gateway
        from aigateway.serving import Address, Stop, serve

        async def main():
            address, stop, ready = Address("127.0.0.1", 0), Stop(), asyncio.Event()
            sock = address.bind()
            serving = asyncio.create_task(serve(Gateway(), address, sock, stop, ready.set))
            await ready.wait()
            await asyncio.to_thread(urllib.request.urlopen, address.url(sock) + "/health")
            print("websockets" in sys.modules)
            key = {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version": "13"}
            upgrade = {"connection": "upgrade", "upgrade": "websocket", **key}
            reader, writer = await asyncio.open_connection("127.0.0.1", sock.getsockname()[1])
            head = "".join(f"{name}: {value}\\r\\n" for name, value in upgrade.items())
            writer.write(f"GET /v1/embeddings HTTP/1.1\\r\\nhost: x\\r\\n{head}\\r\\n".encode())
            print((await reader.readline()).decode().strip(), "websockets" in sys.modules)
            stop.finish()
            await serving
            writer.close()

        asyncio.run(main())
    """
    program = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    output, _ = await program.communicate()
    assert output.decode().splitlines() == ["False", "HTTP/1.1 426 Upgrade Required True"]


async def test_stop_closes_sessions_at_once_and_waits_for_no_answer() -> None:
    outcomes, stop = Outcomes(), Stop()
    async with ScriptedWebSocket() as upstream:
        gateway = Gateway(models={"gpt": Provider("up", upstream.base_url, apis={"realtime"})}, hooks=[outcomes])
        async with serving_process(gateway, stop) as (url, task):
            client = await connect(f"ws{url.removeprefix('http')}/v1/realtime?model=gpt", proxy=None)
            assert "session.created" in str(await client.recv())
            stop.finish()
            await asyncio.wait_for(task, 10)
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, upstream.sessions[0].close_code) == (1012, 1001)
    assert outcomes.seen == ["abandoned"]


async def test_message_limit_of_sessions_is_that_of_bodies() -> None:
    async with ScriptedWebSocket() as upstream:
        provider = Provider("up", upstream.base_url, apis={"realtime"})
        gateway = Gateway(models={"gpt": provider}, limits=Limits(max_body=2000))
        async with (
            serving_process(gateway, Stop()) as (url, _),
            connect(f"ws{url.removeprefix('http')}/v1/realtime?model=gpt", proxy=None) as client,
        ):
            await client.recv()
            await client.send("x" * 2001)
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1009
