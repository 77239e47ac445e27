"""What the table says of single values: words that pass, words that are told otherwise, and those that ask for nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aigateway import Gateway
from tests.fidelity.answers import CITATIONS, SPOKEN, completion, message, response
from tests.fidelity.crossing import beside, cross
from tests.fidelity.paths import values
from tests.fidelity.requests import GREETING, ask, chat, said
from tests.playback import Pieces

EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh", "max"]
TIERS = ["auto", "default", "flex", "scale", "priority"]


@pytest.mark.parametrize("effort", EFFORTS)
def test_every_reasoning_effort_passes(effort: str) -> None:
    there = cross(beside("responses.request"), ask(GREETING, reasoning={"effort": effort}))
    assert (there.document["reasoning_effort"], there.codes) == (effort, [])
    back = cross(beside("chat.request"), chat(reasoning_effort=effort))
    assert (back.document["reasoning"], back.codes) == ({"effort": effort}, [])


@pytest.mark.parametrize("tier", TIERS)
def test_every_service_tier_passes(tier: str) -> None:
    assert cross(beside("responses.request"), ask(GREETING, service_tier=tier)).document["service_tier"] == tier
    assert cross(beside("chat.request"), chat(service_tier=tier)).document["service_tier"] == tier


@pytest.mark.parametrize("detail", ["low", "high", "auto"])
def test_every_detail_that_both_know_passes(detail: str) -> None:
    part = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": detail}
    there = cross(beside("responses.request"), ask(said(part)))
    assert values(there.document, "messages[user].content[image_url].image_url.detail") == [detail]
    assert there.codes == []


def test_the_original_detail_becomes_high() -> None:
    part = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "original"}
    there = cross(beside("responses.request"), ask(said(part)))
    assert values(there.document, "messages[user].content[image_url].image_url.detail") == ["high"]
    assert there.codes == ["changed:detail"]


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("responses.request", ask(GREETING, background=False)),
        ("responses.request", ask(GREETING, truncation="disabled")),
        ("responses.request", ask(GREETING, include=[])),
        ("responses.request", ask(GREETING, tools=[])),
        ("responses.request", ask(GREETING, parallel_tool_calls=True)),
        ("responses.request", ask(GREETING, previous_response_id=None, prompt=None, conversation=None)),
        ("chat.request", chat(n=1)),
        ("chat.request", chat(modalities=["text"])),
        ("chat.request", chat(logprobs=False)),
        ("chat.request", chat(web_search_options={})),
    ],
)
def test_what_asks_for_nothing_is_no_loss(name: str, document: Any) -> None:
    crossed = cross(beside(name), document)
    assert crossed.error is None
    assert crossed.codes == []


@pytest.mark.parametrize(
    ("include", "codes"),
    [
        (["message.output_text.logprobs"], []),
        (["reasoning.encrypted_content"], []),
        (["file_search_call.results", "web_search_call.action.sources"], ["dropped:include"]),
    ],
)
def test_what_is_to_be_included_and_cannot_be_is_listed(include: list[str], codes: list[str]) -> None:
    assert cross(beside("responses.request"), ask(GREETING, include=include)).codes == codes


@pytest.mark.parametrize("field", ["top_k", "client_metadata", "vendor_extra"])
def test_an_unknown_field_never_fails_a_call_and_is_listed(field: str) -> None:
    asked: dict[str, Any] = {
        "chat.request": chat(**{field: 7}),
        "responses.request": ask(GREETING, **{field: 7}),
    }
    for name, document in asked.items():
        crossed = cross(beside(name), document)
        assert crossed.codes == [f"dropped:{field}"]
        assert field not in crossed.document


@pytest.mark.parametrize(
    ("item", "codes"),
    [
        (
            {"role": "user", "content": [{"type": "text", "text": "?", "cache_control": {"type": "ephemeral"}}]},
            ["dropped:cache_control"],
        ),
        ({"role": "user", "content": "?", "mood": "good"}, ["dropped:mood"]),
    ],
)
def test_unknown_keys_of_messages_and_parts_are_listed(item: Any, codes: list[str]) -> None:
    assert cross(beside("chat.request"), chat(item)).codes == codes


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)
def test_every_end_of_an_answer_is_told(finish: str, status: str, reason: str | None) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said_or_called = {"tool_calls": [call]} if finish == "tool_calls" else {"content": "Hi"}
    there = cross(beside("chat.reply"), completion(said_or_called, finish)).document
    assert there["status"] == status
    assert (there["incomplete_details"] or {}).get("reason") == reason
    assert cross(beside("responses.reply"), there).document["choices"][0]["finish_reason"] == finish


async def test_what_a_whole_answer_loses_stands_in_the_header() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}}
    cited = SPOKEN | {"annotations": [CITATIONS[1]]}
    body = response(search, message(cited), usage=None)
    gateway = Gateway(models={"m": Pieces("responses", json.dumps(body).encode())})
    reply = await gateway.chat(model="m", messages=[{"role": "user", "content": "?"}])
    assert reply.texts() == ["Hi"]
    exchange = gateway.exchange("chat", {})

    async def read() -> bytes:
        return json.dumps({"model": "m", "messages": [{"role": "user", "content": "?"}]}).encode()

    try:
        answer = await exchange.answer(read)
        assert dict(answer.headers)["x-aigateway-changes"] == "dropped:output,dropped:annotations"
    finally:
        await exchange.aclose()
