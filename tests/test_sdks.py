"""Every official SDK on an upstream of every other kind: what its user sees, and what the upstream hears."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from aigateway import Gateway, Provider, Target
from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from tests.compat.world import plain_http
from tests.sdk_callers import CALLERS, CITY
from tests.serving import served
from tests.turns import UPSTREAM_MODEL, Turn, Use
from tests.turns_everywhere import SIGNATURE, UPSTREAMS, broken, results_in, schema_in, spoken

pytestmark = pytest.mark.asyncio(loop_scope="module")

CELLS = [(caller, upstream) for caller in CALLERS for upstream in UPSTREAMS if caller != upstream]
every_cell = pytest.mark.parametrize(("api", "upstream"), CELLS, ids=[f"{one} on {two}" for one, two in CELLS])
both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["unary", "stream"])

TEXT = Turn(text=("Hello there", " and", " good morning"))
CALLS = Turn(
    text=("I will look.",),
    uses=(Use("weather", '{"city":"Oslo"}', "call_1"), Use("weather", '{"city":"Rome"}', "call_2")),
)
THOUGHT = Turn(thoughts=("Let me", " see."), summarized=True, sealed="gAAAsealed", text=("Four.",))
SIGNED = {"chat": "Let me see.", "responses": "gAAAsealed"}
"""What an upstream must get back of its thoughts; the others their signature."""
NAMES = {
    "converse": "anthropic.claude-sonnet-4-5-v1:0",
    "messages": "claude-sonnet-4-5",
    "generate_content": "gemini-2.5-pro",
}
"""The models upstream, where their names count: what they can depends on them."""
FILLED = Turn(text=('{"city"', ':"Oslo"}'))


class Stage(msgspec.Struct):
    """A gateway with a model for each kind of upstream, all of them one scripted host."""

    upstream: ScriptedUpstream
    url: str
    clients: dict[str, Any]

    def caller(self, api: str, upstream: str) -> Any:
        """An SDK that speaks this API, and wants a model that is served by that one."""
        return CALLERS[api](self.url, self.clients[api], f"on-{upstream.replace('_', '-')}")

    def says(self, turn: Turn) -> None:
        self.upstream.requests.clear()
        self.upstream.answer_with(lambda request: spoken(turn, request))

    @property
    def last(self) -> ReceivedRequest:
        return self.upstream.requests[-1]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with ScriptedUpstream() as upstream, plain_http() as http2, httpx.AsyncClient() as http:
        models = {
            f"on-{api.replace('_', '-')}": Target(
                Provider("acme", upstream.base_url, "sk-upstream", apis=[api]), NAMES.get(api, UPSTREAM_MODEL)
            )
            for api in UPSTREAMS
        }
        async with served(Gateway(models=models)) as url:
            yield Stage(upstream, url, {api: http if api == "generate_content" else http2 for api in CALLERS})


@every_cell
@both_ways
async def test_a_text_is_told_with_its_usage(stage: Stage, api: str, upstream: str, *, streamed: bool) -> None:
    caller = stage.caller(api, upstream)
    caller.says("the question")
    stage.says(TEXT)
    told = await caller.ask(streamed=streamed)
    assert (told.text, told.calls, told.finish, told.usage) == ("Hello there and good morning", [], "stop", (12, 8))
    assert told.pieces >= (3 if streamed else 1)
    sent = stage.last.body.decode()
    assert "Be brief." in sent
    assert "the question" in sent
    stage.says(msgspec.structs.replace(TEXT, cut=True))
    told = await caller.ask(
        streamed=streamed and api in ("messages", "generate_content")
    )  # OpenAI's helper would raise
    assert told.finish == "length"
    assert "Hello" in stage.last.body.decode(), "what was said comes back"


@every_cell
@both_ways
async def test_parallel_calls_get_their_results(stage: Stage, api: str, upstream: str, *, streamed: bool) -> None:
    caller = stage.caller(api, upstream)
    caller.says("the weather in Oslo and in Rome")
    stage.says(CALLS)
    told = await caller.ask(streamed=streamed, tools=True)
    assert (told.text, told.finish) == ("I will look.", "tool_calls")
    assert told.calls == [("call_1", "weather", {"city": "Oslo"}), ("call_2", "weather", {"city": "Rome"})]
    caller.gives([("call_1", "weather", "snow"), ("call_2", "weather", "sun")])
    stage.says(TEXT)
    assert (await caller.ask(streamed=streamed, tools=True)).text == "Hello there and good morning"
    assert results_in(upstream, stage.last.json()) == [("call_1", "snow"), ("call_2", "sun")]


@every_cell
@both_ways
async def test_thoughts_are_told_and_come_back_signed(stage: Stage, api: str, upstream: str, *, streamed: bool) -> None:
    caller = stage.caller(api, upstream)
    caller.says("two and two")
    stage.says(THOUGHT)
    told = await caller.ask(streamed=streamed)
    assert (told.text, told.thoughts) == ("Four.", "Let me see.")
    caller.says("sure?")
    stage.says(TEXT)
    await caller.ask(streamed=streamed)
    sent = stage.last.body.decode()
    assert SIGNED.get(upstream, SIGNATURE) in sent


@every_cell
@both_ways
async def test_a_schema_reaches_the_upstream(stage: Stage, api: str, upstream: str, *, streamed: bool) -> None:
    caller = stage.caller(api, upstream)
    caller.says("a city")
    stage.says(FILLED)
    told = await caller.ask(streamed=streamed, schema=CITY)
    assert json.loads(told.text) == {"city": "Oslo"}
    assert schema_in(upstream, stage.last.json()) == CITY


@every_cell
@both_ways
async def test_refusals_of_the_upstream_are_the_sdks_own_errors(
    stage: Stage, api: str, upstream: str, *, streamed: bool
) -> None:
    caller = stage.caller(api, upstream)
    caller.says("the question")
    for status, wanted in ((429, caller.limited), (400, caller.wrong)):
        error = {"error": {"message": "Not now.", "type": "x", "code": status, "status": "X"}, "message": "Not now."}
        stage.upstream.script(Script.of_json(error, status, {"retry-after": "1"}))
        with pytest.raises(wanted, match=r"Not now\.") as caught:
            await caller.ask(streamed=streamed)
        assert getattr(caught.value, "status_code", None) or caught.value.code == status


@every_cell
@pytest.mark.parametrize("cut", [False, True], ids=["error", "cut"])
async def test_a_stream_that_breaks_raises_in_the_sdk(stage: Stage, api: str, upstream: str, *, cut: bool) -> None:
    caller = stage.caller(api, upstream)
    caller.says("the question")
    stage.upstream.answer_with(lambda request: broken(TEXT, request, cut=cut))
    wanted = "broke off its answer" if cut else "reported an error in its stream"
    with pytest.raises(caller.errors, match=wanted):
        await caller.ask(streamed=True)
