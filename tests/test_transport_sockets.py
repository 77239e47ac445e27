"""Names, addresses and Unix sockets: how a connection comes about."""

from __future__ import annotations

import asyncio
import socket
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aigateway import Provider, ProviderRequest
from aigateway.errors import UpstreamConnectionError, UpstreamTimeoutError
from aigateway.transport import sockets
from aigateway.transport.pool import PooledTransport
from aigateway.transport.protocol import Timeout
from tests.raw_peer import OK, answering, fetch, pooled, raw_peer
from tests.test_transport_proxy import clear


def addresses(*hosts: str, port: int) -> list[sockets.Address]:
    return [
        (socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, (host, port))
        for host in hosts
    ]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What the system's look-up finds."""
    known: dict[str, list[Any]] = {}
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, *more: Any, **named: Any) -> Any:
        if host not in known:
            return real(host, port, *more, **named)
        if named.get("flags"):  # it is no address
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        return [(*one[:3], "", one[3]) for one in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


class Attempts:
    """Connects to what it knows, and waits for ever where it does not."""

    def __init__(self, good: set[str], refused: set[str] = frozenset()) -> None:  # type: ignore[assignment]  # never changed
        self.good = good
        self.refused = refused
        self.tried: list[str] = []
        self.made: list[socket.socket] = []

    async def __call__(self, address: sockets.Address) -> socket.socket:
        host = address[3][0]
        self.tried.append(host)
        if host in self.refused:
            raise ConnectionRefusedError(host)
        if host not in self.good:
            await asyncio.Event().wait()
        made = socket.socket()
        self.made.append(made)
        return made


async def test_families_are_tried_by_turns_and_the_first_that_connects_wins(
    names: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "ATTEMPT_DELAY", 0.01)
    names["up.example"] = addresses("::a", "::b", "10.0.0.1", "10.0.0.2", port=80)
    attempts = Attempts({"10.0.0.2"})
    monkeypatch.setattr(sockets, "_connect", attempts)
    connection = await asyncio.wait_for(sockets.connected("up.example", 80), 5)
    assert attempts.tried == ["::a", "10.0.0.1", "::b", "10.0.0.2"]
    assert connection is attempts.made[0]
    connection.close()
    assert len(asyncio.all_tasks()) == 1


async def test_after_a_refusal_the_next_address_is_tried_at_once(
    names: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "ATTEMPT_DELAY", 3600)
    names["up.example"] = addresses("::a", "10.0.0.1", port=80)
    attempts = Attempts({"10.0.0.1"}, {"::a"})
    monkeypatch.setattr(sockets, "_connect", attempts)
    connection = await asyncio.wait_for(sockets.connected("up.example", 80), 5)
    assert attempts.tried == ["::a", "10.0.0.1"]
    connection.close()


async def test_where_every_address_refuses_the_first_refusal_is_told(
    names: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    names["up.example"] = addresses("::a", "10.0.0.1", port=80)
    monkeypatch.setattr(sockets, "_connect", Attempts(set(), {"::a", "10.0.0.1"}))
    with pytest.raises(ConnectionRefusedError, match="::a"):
        await asyncio.wait_for(sockets.connected("up.example", 80), 5)


async def test_who_gives_up_leaves_no_attempt_behind(
    names: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "ATTEMPT_DELAY", 0.01)
    names["up.example"] = addresses("::a", "10.0.0.1", port=80)
    monkeypatch.setattr(sockets, "_connect", Attempts(set()))
    async with pooled() as transport:
        with pytest.raises(UpstreamTimeoutError, match="did not accept a connection in time"):
            await fetch(transport, "http://up.example/", limits=Timeout(connect=0.1))
    assert len(asyncio.all_tasks()) == 1


async def test_a_name_with_a_dead_address_is_reached_at_the_other(names: dict[str, list[Any]]) -> None:
    async with raw_peer(answering(OK)) as peer, pooled(PooledTransport(proxy="none")) as transport:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            dead = listener.getsockname()[1]
        names["up.example"] = [*addresses("127.0.0.1", port=dead), *addresses("127.0.0.1", port=peer.port)]
        assert await fetch(transport, "http://up.example/") == (200, b"ok")


async def test_what_is_written_goes_out_at_once_and_a_dead_peer_is_noticed() -> None:
    async with raw_peer(answering(OK)) as peer:
        with await sockets.connected("127.0.0.1", peer.port) as connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_a_look_up_holds_up_nobody_else_and_counts_against_the_connect_limit(
    names: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    real = socket.getaddrinfo

    def slow(host: Any, *more: Any, **named: Any) -> Any:
        if host == "slow.example" and not named.get("flags"):
            release.wait(30)
        return real(host, *more, **named) if host != "slow.example" else _raise()

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    async with raw_peer(answering(OK)) as peer, pooled(PooledTransport(proxy="none")) as transport:
        asking = asyncio.ensure_future(fetch(transport, "http://slow.example/", limits=Timeout(connect=0.3)))
        assert await fetch(transport, peer.url) == (200, b"ok")
        with pytest.raises(UpstreamTimeoutError, match="did not accept a connection in time"):
            await asking
        release.set()


async def test_a_name_that_takes_long_is_looked_up_once_for_all_who_wait_and_in_nobody_s_way(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    release = threading.Event()
    looked_up: list[Any] = []

    def slow(host: Any, port: Any, *more: Any, **named: Any) -> Any:
        if named.get("flags"):  # it is no address
            return _raise() if str(host).endswith(".example") else real(host, port, *more, **named)
        looked_up.append(host)
        if host == "slow.example":
            release.wait(30)
            _raise()
        return real("127.0.0.1", port, *more, **named)

    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", slow)
    async with raw_peer(answering(OK)) as peer, pooled(PooledTransport(proxy="none")) as transport:
        asking = [asyncio.ensure_future(fetch(transport, "http://slow.example/")) for _ in range(100)]
        await asyncio.sleep(0)
        gone = asyncio.ensure_future(fetch(transport, "http://slow.example/", limits=Timeout(connect=0.05)))
        assert isinstance((await asyncio.gather(gone, return_exceptions=True))[0], UpstreamTimeoutError)
        assert await fetch(transport, f"http://good.example:{peer.port}/") == (200, b"ok")
        asking[0].cancel()
        release.set()
        cancelled, *others = await asyncio.gather(*asking, return_exceptions=True)
        assert isinstance(cancelled, asyncio.CancelledError)
        assert {getattr(one, "message", one) for one in others} == {
            "The host name of provider 'p' could not be resolved."
        }
    assert looked_up == ["slow.example", "good.example"]
    assert not sockets._LOOKING
    assert not caplog.records


def _raise() -> None:
    raise socket.gaierror(socket.EAI_NONAME, "unknown")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".example", "a..b"])
async def test_a_name_that_stands_for_no_host_is_named_as_that(host: str) -> None:
    async with pooled(PooledTransport(proxy="none")) as transport:
        with pytest.raises(UpstreamConnectionError) as caught:
            await fetch(transport, f"http://{host}/")
        assert caught.value.message == "The host name of provider 'p' could not be resolved."


# Unix sockets


async def test_a_provider_is_reached_at_a_unix_socket_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clear(monkeypatch)
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    path = str(tmp_path / "up.sock")
    async with raw_peer(answering(OK), path=path) as peer:
        provider = Provider("p", "http://llama.example", socket=path)
        for _ in range(2):
            reply = await provider.send(ProviderRequest(api="chat", path="/x", model="m", body=b"{}"))
            assert await reply.read() == b"ok"
            await reply.aclose()
        await provider.aclose()
        assert peer.connections == 1


def test_a_proxy_and_a_socket_go_not_together() -> None:
    for make in (PooledTransport, partial(Provider, "p", "http://h")):
        with pytest.raises(ValueError, match="through no proxy"):
            make(proxy="http://proxy", socket="/run/up.sock")


async def test_a_unix_socket_that_is_not_there_is_a_connection_error(tmp_path: Path) -> None:
    async with pooled(PooledTransport(socket=str(tmp_path / "none.sock"))) as transport:
        with pytest.raises(UpstreamConnectionError, match="Provider 'p' could not be reached") as caught:
            await fetch(transport, "http://localhost/")
        assert "sock" not in caught.value.message
