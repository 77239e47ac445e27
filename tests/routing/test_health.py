"""What `/health?full` shows of all that."""

from __future__ import annotations

import aiohttp
import msgspec
import pytest

from aigateway import (
    APIKeyAuthenticator,
    FunctionProvider,
    Gateway,
)
from tests.routing.rig import (
    BREAKER,
    KEYS,
    refusal,
    serving,
)


async def test_the_full_health_shows_counters_and_neither_keys_nor_addresses() -> None:
    async with serving(2, provider={"api_keys": KEYS, "breaker": BREAKER, "max_concurrent": 5}) as gateway:
        gateway.up.script(refusal(503))
        await gateway.ask()
        await gateway.over(1)
        status, body = await gateway.health()
        assert (status, body["status"]) == (200, "ok")
        shown, other = body["providers"]
        assert (shown["name"], other["name"]) == ("p0", "p1")
        assert (shown["in_flight"], shown["running"], shown["waiting"], shown["max_concurrent"]) == (0, 0, 0, 5)
        [target] = shown["targets"]
        assert (target["requests"], target["answered"], target["failed"], target["circuit"]) == (1, 0, 1, "closed")
        [target] = other["targets"]
        assert (target["requests"], target["answered"], target["failed"]) == (1, 1, 0)
        assert target["seconds"] > 0
        text = msgspec.json.encode(body).decode()
        assert not any(secret in text for secret in (*KEYS, "127.0.0.1", "http"))


async def test_the_full_health_needs_a_key_where_the_gateway_does_and_the_plain_one_never() -> None:
    async with serving(hooks=(APIKeyAuthenticator({"sk-a": "a"}),)) as gateway:
        assert (await gateway.health())[0] == 401
        assert (await gateway.health(authorization="Bearer sk-a"))[0] == 200
        async with aiohttp.ClientSession() as session:
            for query in ("", "?", "?fuller=1", "?x=full"):
                async with session.get(f"{gateway.url}/health{query}") as reply:
                    assert (reply.status, await reply.json()) == (200, {"status": "ok"})
            for query in ("?full=1", "?a=b&full"):
                async with session.get(f"{gateway.url}/health{query}") as reply:
                    assert reply.status == 401


async def test_providers_made_anew_for_every_call_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aigateway.routing.traffic._MOST", 10)
    gateway = Gateway(resolver=lambda call: FunctionProvider("new", lambda body: "ok"))
    message = [{"role": "user", "content": "q"}]
    for _ in range(50):
        await gateway.chat(model="gpt", messages=message)
    assert len(gateway.traffic.state()) <= 10
