"""No more requests run at a provider than there are places, over real HTTP."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Any

import pytest

from aigateway import (
    APIKeyAuthenticator,
    Call,
    Fallback,
    FunctionProvider,
    Gateway,
    Queue,
)
from tests.answers import stream, whole
from tests.routing.rig import (
    STREAM,
    serving,
    stand_in_line,
)


async def test_no_more_requests_run_than_there_are_places_and_all_are_answered() -> None:
    running: Counter[str] = Counter()

    async def answer(body: dict[str, Any]) -> str:
        running["now"] += 1
        running["most"] = max(running["most"], running["now"])
        await asyncio.sleep(0.01)
        running["now"] -= 1
        return "ok"

    provider = FunctionProvider("slow", answer)
    provider.max_concurrent = 2  # type: ignore[attr-defined]  # any provider may have it
    gateway = Gateway(models={"gpt": provider})
    message = [{"role": "user", "content": "q"}]
    await asyncio.gather(*(gateway.chat(model="gpt", messages=message) for _ in range(9)))
    assert running["most"] == 2


async def test_overload_is_answered_at_once_with_a_time_to_come_back() -> None:
    hold = asyncio.Event()
    async with serving(provider={"max_concurrent": 1, "queue": Queue(size=1)}) as gateway:
        gateway.up.script(whole("chat", hold=hold))
        first = asyncio.ensure_future(gateway.ask())
        await gateway.up.arrived.wait()
        second = asyncio.ensure_future(gateway.ask())
        await gateway.until(lambda shown: shown["waiting"] == 1)
        third = await gateway.ask()
        assert third.status == 503
        assert int(third.headers["retry-after"]) >= 1
        assert third.json()["error"]["code"] == "upstream_overloaded"
        shown = await gateway.shown()
        assert {key: shown[key] for key in ("max_concurrent", "running", "waiting", "refused")} == {
            "max_concurrent": 1, "running": 1, "waiting": 1, "refused": 1}  # fmt: skip
        hold.set()
        assert [(await first).status, (await second).status] == [200, 200]


async def test_overload_leads_to_the_next_target() -> None:
    hold = asyncio.Event()
    async with serving(2, provider={"max_concurrent": 1, "queue": Queue(size=0)}) as gateway:
        gateway.up.script(whole("chat", hold=hold))
        first = asyncio.ensure_future(gateway.ask())
        await gateway.up.arrived.wait()
        assert (await gateway.ask()).status == 200
        [call] = await gateway.over(1)
        assert [attempt.why for attempt in call.attempts] == ["", "fallback after overload"]
        hold.set()
        assert (await first).status == 200


async def test_overload_leads_nowhere_where_its_switch_is_off() -> None:
    hold = asyncio.Event()
    fallback = Fallback(on=("rate_limit", "server_error", "timeout", "connection", "auth"))
    async with serving(2, provider={"max_concurrent": 1, "queue": Queue(size=0)}, fallback=fallback) as gateway:
        gateway.up.script(whole("chat", hold=hold))
        first = asyncio.ensure_future(gateway.ask())
        await gateway.up.arrived.wait()
        assert (await gateway.ask()).status == 503
        assert gateway.counts() == [1, 0]
        hold.set()
        assert (await first).status == 200


async def test_the_wait_for_a_place_has_an_end() -> None:
    hold = asyncio.Event()
    async with serving(provider={"max_concurrent": 1, "queue": Queue(timeout=0.05)}) as gateway:
        gateway.up.script(whole("chat", hold=hold))
        first = asyncio.ensure_future(gateway.ask())
        await gateway.up.arrived.wait()
        assert (await gateway.ask()).status == 503
        hold.set()
        assert (await first).status == 200


async def test_a_stream_holds_its_place_until_it_ends() -> None:
    hold = asyncio.Event()
    async with serving(provider={"max_concurrent": 1}) as gateway:
        gateway.up.script(stream("chat", hold_after=(3, hold)), whole("chat"))
        first = asyncio.ensure_future(gateway.ask(STREAM))
        await gateway.up.arrived.wait()
        second = asyncio.ensure_future(gateway.ask())
        await gateway.until(lambda shown: shown["waiting"] == 1)
        assert gateway.counts() == [1]
        hold.set()
        assert [(await first).status, (await second).status] == [200, 200]


@pytest.mark.parametrize("who", ["runs", "waits"])
async def test_a_caller_who_leaves_gives_the_place_back(who: str) -> None:
    never = asyncio.Event()
    async with serving(provider={"max_concurrent": 1}) as gateway:
        gateway.up.script(stream("chat", hold_after=(2, never)), whole("chat"))
        first = asyncio.ensure_future(gateway.ask(STREAM))
        await gateway.up.arrived.wait()
        second = asyncio.ensure_future(gateway.ask())
        await gateway.until(lambda shown: shown["waiting"] == 1)
        if who == "waits":
            second.cancel()
            await gateway.until(lambda shown: not shown["waiting"])
            assert (await gateway.shown())["running"] == 1
            second = asyncio.ensure_future(gateway.ask())
        first.cancel()
        assert (await asyncio.wait_for(second, 5)).status == 200
        await gateway.over(3 if who == "waits" else 2)
        shown = await gateway.shown()
        assert (shown["running"], shown["waiting"], shown["in_flight"]) == (0, 0, 0)


async def test_tenants_take_turns() -> None:
    order: list[str] = []
    hold = asyncio.Event()
    auth = APIKeyAuthenticator({"sk-a": "a", "sk-b": "b"})

    class Watch:
        def after_response(self, call: Call, reply: Any) -> None:
            order.append(call.tenant or "")

    async with serving(provider={"max_concurrent": 1}, hooks=(auth, Watch())) as gateway:
        gateway.up.script(whole("chat", hold=hold))
        asking = []
        for number, tenant in enumerate("aaaab"):
            asking.append(asyncio.ensure_future(gateway.ask(authorization=f"Bearer sk-{tenant}")))
            await gateway.until(partial(stand_in_line, count=number))
        hold.set()
        await asyncio.gather(*asking)
        assert "".join(order) == "aabaa"
