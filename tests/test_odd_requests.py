"""Requests that are JSON but odd, of callers of every API: each goes up as a lawful request, or is refused in the caller's words.

`AIGATEWAY_ODD=100000 pytest tests/test_odd_requests.py` tries that many, new ones each time.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from random import Random
from typing import Any

import aiohttp
import pytest

from aigateway import Gateway, Target
from aigateway.canonical.quirks import Quirks
from aigateway.formats.responses.open_responses import adapt_item
from tests.conversing import CALLERS
from tests.golden.cases import ANSWERED
from tests.odd_requests import requests_of, shape_faults, spoilt_request
from tests.playback import Heard, Object, Pieces
from tests.serving import served

COUNT = int(os.environ.get("AIGATEWAY_ODD", "2000"))
COHERE: Object = {
    "id": "c",
    "message": {"role": "assistant", "content": [{"type": "text", "text": "a"}]},
    "finish_reason": "COMPLETE",
    "usage": {"tokens": {"input_tokens": 1, "output_tokens": 1}},
}
ANSWERS: Object = {**ANSWERED["text"], "cohere_chat": COHERE}
MODELS = {
    "chat": ("gpt-5",),
    "responses": ("gpt-5",),
    "messages": ("claude-sonnet-4-5", "claude-opus-4-8"),
    "generate_content": ("gemini-2.5-pro", "gemini-3-pro"),
    "converse": ("anthropic.claude-sonnet-4-5-v1:0", "amazon.nova-2-lite-v1:0", "openai.gpt-oss-120b"),
    "cohere_chat": ("command-a",),
}
QUIRKS = (Quirks(), Quirks(strict_fields=True, text_parts=False, reasoning_field="", json_schema=False))


@pytest.fixture(autouse=True)
def nothing_is_raised(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No exception but the gateway's own: it logs the others."""
    with caplog.at_level(logging.ERROR, logger="aigateway"):
        yield
    assert [record.getMessage() + str(record.exc_info) for record in caplog.records] == []


async def asked(upstream: str, caller: str, body: Object, random: Random) -> tuple[Heard, list[Object]]:
    """What the caller hears, and what its upstream was asked."""
    host = Pieces(upstream, json.dumps(ANSWERS[upstream]).encode())
    host.quirks = random.choice(QUIRKS)
    headers = {"x-aigateway-profile": "open_responses"} if random.random() < 0.3 else {}
    exchange = Gateway(models={"m": Target(host, random.choice(MODELS[upstream]))}).exchange(caller, headers)

    async def read() -> bytes:
        return json.dumps({**body, "model": "m"}).encode()

    try:
        answer = await exchange.answer(read)
        heard = answer.body if answer.frames is None else b"".join([frame async for frame in answer.frames])
        exchange.delivered()
        return Heard(answer.status, heard), host.requests
    finally:
        await exchange.aclose()


def faults(caller: str, upstream: str, heard: Heard, sent: list[Object]) -> list[str]:
    """What is wrong with what became of a request."""
    if heard.status == 200:
        found = list(shape_faults(upstream, sent[-1])) if caller != upstream else []
        return [*found, *(["nothing was asked"] if not sent else [])]
    return [*refusal_faults(caller, heard), *(["it was asked, and refused"] if sent else [])]


def refusal_faults(caller: str, heard: Heard) -> list[str]:
    """A refusal is a 4xx in the caller's own form that says what is wrong, and where."""
    body: Any = heard.json()
    error = body.get("error") if isinstance(body, dict) else None
    if heard.status not in (400, 413, 422) or not isinstance(error, dict) or not error.get("message"):
        return [f"{heard.status}: {heard.body[:300]!r}"]
    if caller in ("chat", "responses"):
        return [] if error.get("param") or error.get("code") else [f"no place: {error}"]
    if caller == "messages":
        return [] if body.get("type") == "error" and error.get("type") else [f"not Anthropic's form: {body}"]
    return [] if error.get("code") == heard.status and error.get("status") else [f"not Google's form: {body}"]


@pytest.mark.parametrize("caller", CALLERS)
async def test_an_odd_request_goes_up_lawfully_or_is_refused_clearly(caller: str) -> None:
    seed = f"{caller} {os.urandom(8).hex() if 'AIGATEWAY_ODD' in os.environ else ''}"
    random, found = Random(seed), dict[str, str]()
    for _ in range(COUNT // len(CALLERS)):
        body, deed = spoilt_request(random.choice(requests_of(caller)), random)
        upstream = random.choice([api for api in MODELS if api != caller])
        try:
            heard, sent = await asked(upstream, caller, body, random)
        except Exception as error:  # noqa: BLE001  whatever comes out of the gateway is a fault of its
            found.setdefault(f"{upstream}: {type(error).__name__}: {error}", deed)
            continue
        for fault in faults(caller, upstream, heard, sent):
            found.setdefault(f"{upstream}: {fault}", deed)
    assert found == {}, seed


USER: Object = {"role": "user", "content": "q"}
SEARCH: Object = {"messages": [USER], "tools": [{"type": "text"}], "web_search_options": {}}
NAMED: list[Any] = [
    ("/v1/messages", "chat", {"max_tokens": 9, "messages": [{"role": [], "content": "q"}]}, "messages[0].role"),
    ("/v1beta/models/m:generateContent", "chat", {"contents": [{"role": ["x"], "parts": []}]}, "contents[0].role"),
    ("/v1/responses", "chat", {"input": "q", "store": 7}, "store"),
    ("/v1/responses", "chat", {"input": "q", "background": {}}, "background"),
    ("/v1/responses/compact", "chat", {"input": [USER, {"type": ["odd"]}]}, None),
    ("/v1/chat/completions", "messages", {"messages": [{"role": "system", "content": "s"}]}, "messages"),
    ("/v1/chat/completions", "responses", {"messages": [{"role": "user", "content": []}]}, "messages"),
    ("/v1/chat/completions", "responses", SEARCH, None),
]


@pytest.mark.parametrize(("path", "upstream", "body", "place"), NAMED)
async def test_what_broke_the_gateway_once_is_refused_with_its_place(
    path: str, upstream: str, body: Object, place: str | None
) -> None:
    host = Pieces(upstream, json.dumps(ANSWERS[upstream]).encode())
    async with (
        served(Gateway(models={"m": Target(host, "up")})) as url,
        aiohttp.ClientSession() as session,
        session.post(url + path, json=body if "models" in path else {"model": "m", **body}) as reply,
    ):
        heard = await reply.text()
    assert reply.status == (200 if place is None else 400), heard
    assert place is None or f'"{place}"' in heard
    assert len(host.requests) == (1 if place is None else 0)


@pytest.mark.parametrize("detail", [None, 7, [], {}, "odd", ""])
async def test_an_odd_detail_of_an_image_is_told_or_tolerated_in_every_profile(detail: Any) -> None:
    image = {"type": "input_image", "image_url": "https://a.example/x.png", "detail": detail}
    turns = [{"role": "user", "content": [image]}, {"type": "function_call_output", "call_id": "c", "output": [image]}]
    for upstream in ("chat", "responses"):
        host = Pieces(upstream, json.dumps(ANSWERS[upstream]).encode())
        async with served(Gateway(models={"m": Target(host, "up")})) as url, aiohttp.ClientSession() as session:
            for profile in ("openai", "open_responses"):
                async with session.post(
                    f"{url}/v1/responses",
                    json={"model": "m", "input": turns, "store": False},
                    headers={"x-aigateway-profile": profile},
                ) as reply:
                    heard = await reply.text()
                is_odd = detail is not None and not isinstance(detail, str)
                assert reply.status == (400 if is_odd and upstream == "chat" else 200), heard
                assert reply.status == 200 or "detail" in json.loads(heard)["error"]["param"]


def test_an_odd_detail_in_an_answer_is_the_usual_one_in_the_strict_profile() -> None:
    details: list[Any] = [7, [], {}, "odd"]
    for detail in details:
        item: Object = {"type": "function_call_output", "output": [{"type": "input_image", "detail": detail}]}
        adapt_item(item)
        assert item["output"][0]["detail"] == "auto"
