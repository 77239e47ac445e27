"""A gateway that is served with its upstreams, for what routing does over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from aigateway import (
    Breaker,
    Call,
    Gateway,
    Limits,
    Models,
    Provider,
    Retry,
    Target,
)
from aigateway.routing.traffic import Traffic
from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from tests.answers import stream, whole
from tests.asking import Row, Seen, post
from tests.faults import Outcomes
from tests.serving import served

CHAT = Row("chat", "chat")
STREAM = Row("chat", "chat", stream=True)
QUICK = Retry(attempts=3, backoff=0.001, max_delay=0.002, budget=5.0)


class Served:
    """A gateway that is served, its upstreams, and the calls that are over."""

    def __init__(self, url: str, gateway: Gateway, upstreams: list[ScriptedUpstream], calls: Outcomes) -> None:
        self.url = url
        self.gateway = gateway
        self.upstreams = upstreams
        self.up = upstreams[0]
        self.outcomes = calls

    async def ask(self, row: Row = CHAT, **headers: str) -> Seen:
        return await post(self.url, row, **headers)

    async def over(self, count: int) -> list[Call]:
        """So many calls, once they are over."""
        async with asyncio.timeout(5):
            while len(self.outcomes.calls) < count:
                self.outcomes.one.clear()
                await self.outcomes.one.wait()
        return self.outcomes.calls

    def counts(self) -> list[int]:
        """Requests that arrived at each upstream."""
        return [len(upstream.requests) for upstream in self.upstreams]

    async def health(self, **headers: str) -> tuple[int, Any]:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/health?full", headers=headers) as reply:
            return reply.status, msgspec.json.decode(await reply.read())

    async def until(self, check: Callable[[Any], Any], name: str = "p0") -> None:
        """Wait until a provider's state is so. Fails after five seconds."""
        for _ in range(500):
            if check(self.state(name)):
                return
            await asyncio.sleep(0.01)
        raise AssertionError(self.state(name))

    def state(self, name: str) -> Any:
        [found] = [one for one in self.gateway.traffic.state(self.gateway.providers()) if one["name"] == name]
        return found

    async def shown(self, name: str = "p0") -> Any:
        """What the health says of a provider."""
        status, body = await self.health()
        assert status == 200
        [found] = [one for one in body["providers"] if one["name"] == name]
        return found


@asynccontextmanager
async def serving(
    count: int = 1,
    *,
    hooks: tuple[object, ...] = (),
    clock: Callable[[], float] | None = None,
    weights: tuple[float, ...] = (),
    provider: dict[str, Any] | None = None,
    **model: Any,
) -> AsyncIterator[Served]:
    """Providers p0, p1, ... behind the model `gpt`. provider, model: their settings; clock: what circuits go by."""
    upstreams = [ScriptedUpstream() for _ in range(count)]
    async with upstreams[0], upstreams[-1] if count > 1 else _nothing(), upstreams[1] if count > 2 else _nothing():
        settings = {"api_key": "k", "apis": {"chat"}} | (provider or {})
        if "api_keys" in settings:
            del settings["api_key"]
        targets = []
        for number, upstream in enumerate(upstreams):
            upstream.answer_with(lambda request: (stream if b'"stream":true' in request.body else whole)("chat"))
            weight = weights[number] if weights else 1.0
            targets.append(Target(Provider(f"p{number}", upstream.base_url, **settings), weight=weight))
        models, calls = Models(), Outcomes()
        models.register("gpt", targets, **model)
        gateway = Gateway(models=models, hooks=[*hooks, calls], limits=Limits(keepalive=30))
        if clock is not None:
            gateway.traffic = Traffic(clock=clock)
        async with served(gateway) as url:
            yield Served(url, gateway, upstreams, calls)


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


def refusal(status: int, **headers: str) -> Script:
    shown = {name.replace("_", "-"): value for name, value in headers.items()}
    return Script.of_json({"error": {"message": "no", "type": "t"}}, status, shown)


def stand_in_line(shown: Any, count: int) -> bool:
    return bool(shown.get("running")) and shown["waiting"] == count


def has_failed(shown: Any) -> bool:
    return any(target["failed"] for target in shown["targets"])


def by_key(answers: dict[str, Script]) -> Callable[[ReceivedRequest], Script]:
    """Answers as the key says; a good one for those not named."""
    return lambda request: answers.get(request.headers["authorization"].removeprefix("Bearer "), whole("chat"))


KEYS = ["key-aaaa-1111", "key-bbbb-2222", "key-cccc-3333"]


BREAKER = Breaker(min_requests=3, cooldown=10.0)
