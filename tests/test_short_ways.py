"""Calls that go the short ways lose nothing there: what is special about one sends it the way of all others."""

from __future__ import annotations

from typing import Any

import pytest

from aigateway import Call, Gateway, Provider, Retry
from aigateway.errors import UpstreamError
from aigateway.testing import Script, ScriptedUpstream
from tests.state.rig import rigged

BOTH_WAYS = pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
QUESTION = {"messages": [{"role": "user", "content": "Hi"}]}


@BOTH_WAYS
@pytest.mark.parametrize("path", ["/chat/completions", "/responses"])
async def test_headers_of_a_caller_go_on_with_its_own_request_and_no_other(path: str, stream: bool) -> None:
    async with rigged("chat") as rig:
        asked = QUESTION if path.startswith("/chat") else {"input": "Hi", "store": False}
        for sent in ({}, {}, {"openai-beta": "one"}, {}, {"traceparent": "00-1"}, {}):
            headers = {name.replace("-", "_"): value for name, value in sent.items()}
            reply = await rig.ask("POST", path, {"model": "m", "stream": stream, **asked}, **headers)
            assert reply.status == 200, reply.body
        seen = [
            {name: got.headers[name] for name in ("openai-beta", "traceparent") if name in got.headers}
            for got in rig.upstream.requests
        ]
        assert seen == [{}, {}, {"openai-beta": "one"}, {}, {"traceparent": "00-1"}, {}]
        accepted = {got.headers["accept"] for got in rig.upstream.requests}
        assert accepted == {"text/event-stream" if stream else "application/json"}


class Keeps:
    """A hook that has everything kept."""

    def before_request(self, call: Call) -> None:
        call.request.body["store"] = True


@BOTH_WAYS
async def test_what_a_hook_has_kept_is_kept(stream: bool) -> None:
    async with rigged("chat", hooks=[Keeps()]) as rig:
        reply = await rig.ask("POST", "/responses", {"model": "m", "input": "Hi", "store": False, "stream": stream})
        made: Any = reply.events[-1]["response"] if stream else reply.json
        assert (await rig.ask("GET", f"/responses/{made['id']}")).json["id"] == made["id"]


async def test_the_first_attempt_is_part_of_the_budget_of_all() -> None:
    retry = Retry(attempts=9, backoff=0.001, max_delay=0.001, budget=0.2)
    async with ScriptedUpstream() as upstream:
        upstream.script(*[Script.of_json({"error": {"message": "busy"}}, status=503, delay=0.25)] * 9)
        async with Gateway(
            models={"m": Provider("up", upstream.base_url, "none", apis={"chat"}, retry=retry)}
        ) as gateway:
            with pytest.raises(UpstreamError):
                await gateway.chat(model="m", messages=QUESTION["messages"])
        assert len(upstream.requests) == 1
