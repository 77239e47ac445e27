"""A stage for sessions: a scripted realtime upstream, and a gateway in front of it over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from aigateway import Call, Gateway, Provider, Target
from aigateway.app.protocol import HeadFirstProtocol
from aigateway.testing import ScriptedWebSocket
from tests.serving import served

KEY = "sk-upstream-0123456789"
PATIENCE = 10.0
"""Seconds after which something does not come any more."""

SERVERS: Mapping[str, Mapping[str, Any]] = {"ours": {"http": HeadFirstProtocol}, "uvicorn": {"ws": "websockets-sansio"}}
"""How a gateway may be served: as `aigateway serve` does it, and by uvicorn as it is."""


class Kept:
    """Keeps every call that is over."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.came = asyncio.Event()

    def on_complete(self, call: Call) -> None:
        self.calls.append(call)
        self.came.set()

    async def one(self) -> Call:
        """The first of them, once it is there."""
        await asyncio.wait_for(self.came.wait(), PATIENCE)
        assert len(self.calls) == 1
        return self.calls[0]


class Stage:
    """What a test has in hand. `kept.calls` are the sessions that are over."""

    def __init__(self, url: str, upstream: ScriptedWebSocket, kept: Kept) -> None:
        self.url = f"ws{url.removeprefix('http')}"
        self.upstream = upstream
        self.kept = kept

    def client(
        self,
        query: str = "model=gpt",
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        subprotocols: Iterable[str] = (),
        path: str = "/v1/realtime",
        **options: Any,
    ) -> connect:
        """A client of this gateway: `async with stage.client() as client`."""
        given = dict(headers or {}) | ({"authorization": f"Bearer {key}"} if key else {})
        return connect(
            f"{self.url}{path}{'?' if query else ''}{query}",
            additional_headers=given,
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            **{"max_size": None, "proxy": None, "close_timeout": 2} | options,
        )

    async def refused(self, query: str = "model=gpt", **options: Any) -> InvalidStatus:
        """The answer to a handshake that fails."""
        try:
            async with self.client(query, **options):
                raise AssertionError("it was accepted")
        except InvalidStatus as refusal:
            return refusal


def error_of(refusal: InvalidStatus) -> tuple[int, dict[str, Any]]:
    """The status and the error object of a refusal."""
    assert refusal.response.headers["content-type"] == "application/json"
    assert refusal.response.headers["x-request-id"]
    error: dict[str, Any] = msgspec.json.decode(refusal.response.body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return refusal.response.status_code, error


async def event(client: ClientConnection) -> Any:
    """The next message, decoded."""
    return msgspec.json.decode(await asyncio.wait_for(client.recv(), PATIENCE))


async def goodbye(client: ClientConnection) -> tuple[int, str]:
    """How the gateway closes, once every message before it was read."""

    async def read() -> None:
        while True:
            await client.recv()

    with pytest.raises(ConnectionClosed) as closed:
        await asyncio.wait_for(read(), PATIENCE)
    assert closed.value.rcvd is not None, "the gateway closed without saying so"
    return closed.value.rcvd.code, closed.value.rcvd.reason


@asynccontextmanager
async def staged(
    *hooks: object,
    model: str | None = None,
    server: str = "ours",
    options: Mapping[str, Any] | None = None,
    **gateway: Any,
) -> AsyncIterator[Stage]:
    """A gateway whose model `gpt` is the upstream's `model`. options: of the server."""
    kept = Kept()
    async with ScriptedWebSocket() as upstream:
        provider = Provider("up", upstream.base_url, KEY, apis={"realtime"})
        models = gateway.pop("models", None) or {"gpt": Target(provider, model)}
        app = Gateway(models=models, hooks=[*hooks, kept], **gateway)
        async with served(app, **SERVERS[server], **(options or {})) as url:
            yield Stage(url, upstream, kept)
