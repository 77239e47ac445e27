"""The keys of one provider take turns, over real HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aigateway import (
    Call,
)
from aigateway.testing import ScriptedUpstream
from tests.answers import EVENTS, stream
from tests.routing.rig import (
    KEYS,
    STREAM,
    by_key,
    refusal,
    serving,
)


def keys_seen(upstream: ScriptedUpstream) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in upstream.requests]


@pytest.mark.parametrize(("status", "kind"), [(401, "auth"), (402, "auth"), (429, "rate_limit")])
async def test_a_refused_key_is_set_aside_and_the_next_one_used_at_once(status: int, kind: str) -> None:
    async with serving(provider={"api_keys": KEYS}) as gateway:
        gateway.up.answer_with(by_key({KEYS[0]: refusal(status, retry_after="300")}))
        for _ in range(4):
            assert (await gateway.ask()).status == 200
        assert keys_seen(gateway.up) == [KEYS[0], KEYS[1], KEYS[2], KEYS[1], KEYS[2]]
        call = (await gateway.over(4))[0]
        assert [attempt.why for attempt in call.attempts] == ["", f"another key after {kind}"]
        shown = await gateway.shown()
        assert (shown["keys"], shown["keys_usable"]) == (3, 2)


async def test_a_key_whose_limit_is_told_inside_the_stream_is_set_aside_too() -> None:
    async with serving(provider={"api_keys": KEYS}) as gateway:
        limit = {"error": {"message": "Slow down.", "type": "tokens", "code": "rate_limit_exceeded"}}
        gateway.up.script(stream("chat", [EVENTS["chat"][0], limit], done=False), stream("chat"))
        seen = await gateway.ask(STREAM)
        assert [event["choices"][0]["delta"].get("role") for event in seen.events[:2]] == ["assistant", None]
        assert keys_seen(gateway.up) == KEYS[:2]


async def test_the_next_target_s_keys_take_turns_too() -> None:
    async with serving(2, provider={"api_keys": KEYS}) as gateway:
        gateway.up.script(refusal(503))
        gateway.upstreams[1].answer_with(by_key({KEYS[0]: refusal(401)}))
        for _ in range(2):
            assert (await gateway.ask()).status == 200
        assert keys_seen(gateway.upstreams[1]) == KEYS
        call = (await gateway.over(2))[0]
        whys = ["", "fallback after server_error", "another key after auth"]
        assert [attempt.why for attempt in call.attempts] == whys


async def test_a_key_at_its_limit_comes_back_when_the_provider_said() -> None:
    async with serving(provider={"api_keys": KEYS[:2]}) as gateway:
        gateway.up.answer_with(by_key({KEYS[0]: refusal(429, retry_after_ms="1")}))
        assert (await gateway.ask()).status == 200
        gateway.up.answer_with(by_key({}))
        await asyncio.sleep(0.01)
        for _ in range(2):
            await gateway.ask()
        assert set(keys_seen(gateway.up)[2:]) == set(KEYS[:2])


async def test_where_every_key_is_refused_the_caller_is_told_once() -> None:
    async with serving(provider={"api_keys": KEYS}) as gateway:
        gateway.up.script(refusal(401))
        seen = await gateway.ask()
        assert (seen.status, keys_seen(gateway.up)) == (401, KEYS)
        assert (await gateway.ask()).status == 401
        assert len(gateway.up.requests) == 4  # the least bad one, once


async def test_a_403_or_a_caller_s_fault_rotates_nothing() -> None:
    async with serving(provider={"api_keys": KEYS}) as gateway:
        for status in (403, 400):
            gateway.up.script(refusal(status))
            assert (await gateway.ask()).status == status
        assert gateway.counts() == [2]


async def test_a_hook_s_own_key_is_used_and_its_refusal_sets_no_other_aside() -> None:
    class Own:
        def before_attempt(self, call: Call, attempt: Any) -> None:
            attempt.api_key = "key-of-the-hook"

    async with serving(provider={"api_keys": KEYS}, hooks=(Own(),)) as gateway:
        gateway.up.script(refusal(401))
        await gateway.ask()
        assert keys_seen(gateway.up) == ["key-of-the-hook"]
        assert (await gateway.shown())["keys_usable"] == 3
