"""A gateway in front of scripted upstreams, for the operations that it passes through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from openai import AsyncOpenAI
from yarl import URL

from aigateway import Call, Gateway, Hook, Provider, Target
from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from tests.answers import BOUNDARY
from tests.serving import served

ASKED, KNOWN = "ours", "theirs-1"
"""The model as callers name it, and as the upstream does."""

FORM = f"multipart/form-data; boundary={BOUNDARY}"


class Got(msgspec.Struct):
    """What a caller got."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body decoded."""
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error in it, which has all four keys."""
        error: dict[str, Any] = self.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error


class House(msgspec.Struct):
    """One gateway, one upstream of the whole surface, and the official client of the gateway."""

    url: str
    upstream: ScriptedUpstream
    gateway: Gateway
    session: aiohttp.ClientSession
    client: AsyncOpenAI

    @property
    def sent(self) -> ReceivedRequest:
        """What the upstream got last."""
        return self.upstream.requests[-1]

    def answers(self, *scripts: Script) -> None:
        """What the upstream says, in order; the last one goes on for ever."""
        self.upstream.script(*scripts)

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Got:
        """One request; the path goes out as it is written."""
        data = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        kind = {"content-type": "application/json"} if data is not None and not isinstance(body, bytes) else {}
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return await ask(self.session, self.url, method, path, data, kind | names)


async def ask(
    session: aiohttp.ClientSession, url: str, method: str, path: str, data: bytes | None, headers: Mapping[str, str]
) -> Got:
    """One request; the path goes out as it is written."""
    target = URL(f"{url}/v1{path}", encoded=True)
    async with session.request(method, target, data=data, headers=headers, allow_redirects=False) as response:
        shown = {name.lower(): value for name, value in response.headers.items()}
        return Got(response.status, shown, await response.read())


@asynccontextmanager
async def house(*hooks: object, key: str = "sk-caller", **settings: Any) -> AsyncIterator[House]:
    """Everything served; no task may be left afterwards."""
    async with ScriptedUpstream() as upstream:
        provider = Provider("acme", upstream.base_url, "sk-upstream-key", type="openai")
        gateway = Gateway(models={ASKED: Target(provider, KNOWN)}, hooks=hooks, state=None, **settings)
        async with (
            served(gateway) as url,
            aiohttp.ClientSession(auto_decompress=False) as session,
            AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client,
        ):
            yield House(url, upstream, gateway, session, client)


class Stages(Hook):
    """Writes down every stage that it sees."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.calls: list[Call] = []
        self.attempted = asyncio.Event()
        self.completed = asyncio.Event()

    def authenticate(self, call: Call, key: str | None) -> str:
        self.seen.append("authenticate")
        return "team"

    def before_request(self, call: Call) -> None:
        self.seen.append("before_request")

    def on_route(self, call: Call, targets: list[Target]) -> None:
        self.seen.append("on_route")

    def before_attempt(self, call: Call, attempt: Any) -> None:
        self.seen.append("before_attempt")
        self.attempted.set()

    def on_event(self, call: Call, event: Any) -> Any:
        self.seen.append("on_event")
        return event

    def after_response(self, call: Call, reply: Any) -> None:
        self.seen.append("after_response")

    def on_error(self, call: Call, error: Any) -> None:
        self.seen.append("on_error")

    def on_complete(self, call: Call) -> None:
        self.seen.append("on_complete")
        self.calls.append(call)
        self.completed.set()
