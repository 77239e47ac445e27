"""What asks for nothing is not lost: no request is refused for it where `on_unsupported` is `reject`."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from aigateway import Gateway, Target
from aigateway.fidelity import Direction
from aigateway.fidelity.row import Host
from aigateway.formats import CALLER_CODECS, UPSTREAM_CODECS
from tests.answers import REPLIES, TEXT, path_of
from tests.fidelity.crossing import MODELS, QUIRKS, cross
from tests.fidelity.fields import published
from tests.fidelity.neutral import NEUTRAL
from tests.playback import Pieces
from tests.serving import served
from tests.turns import Turn
from tests.turns_everywhere import converse_reply

_PAIRS = [
    (caller, upstream, host)
    for caller in CALLER_CODECS
    for upstream in UPSTREAM_CODECS
    for host in QUIRKS
    if caller != upstream and (upstream == "chat" or host == "openai")
]
every_pair = pytest.mark.parametrize(
    ("caller", "upstream", "host"), _PAIRS, ids=[f"{caller}-{upstream}-{host}" for caller, upstream, host in _PAIRS]
)


@every_pair
def test_what_asks_for_nothing_is_not_listed_as_lost(caller: str, upstream: str, host: Host) -> None:
    for kind, request in NEUTRAL[caller].items():
        there = cross(Direction(caller, "request", upstream), request, host)
        assert there.error is None, kind
        assert [code for code in there.codes if code.startswith("dropped")] == [], kind


_REPLIES: dict[str, Any] = {
    **REPLIES,
    "converse": converse_reply(Turn(text=(TEXT,))),
    "cohere_chat": {"id": "c", "finish_reason": "COMPLETE", "message": {"role": "assistant", "content": []}},
}


@every_pair
async def test_what_asks_for_nothing_is_answered_where_losses_are_refused(
    caller: str, upstream: str, host: Host
) -> None:
    provider = Pieces(upstream, json.dumps(_REPLIES[upstream]).encode())
    provider.quirks = QUIRKS[host]
    target = Target(provider, MODELS.get(upstream, "upstream-model"))
    gateway = Gateway(models={"asked-for": target}, on_unsupported="reject")
    async with served(gateway) as url, aiohttp.ClientSession() as session:
        for kind, request in NEUTRAL[caller].items():
            body = dict(request)
            if caller == "generate_content":  # it stands in the path
                del body["model"]
            async with session.post(url + path_of(caller, model="asked-for"), json=body) as reply:
                assert reply.status == 200, (kind, await reply.text())


def test_every_field_of_a_request_is_asked_for_nothing() -> None:
    for caller in ("chat", "responses", "messages", "generate_content"):
        outer = {path for path in published(f"{caller}.request") if not {"(", "[", "."} & set(path)}
        assert outer <= NEUTRAL[caller]["null"].keys(), caller


@pytest.mark.parametrize(
    ("caller", "body", "code"),
    [
        ("messages", {"thinking": {"type": "enabled", "budget_tokens": 2048}, "speed": "fast"}, "dropped:speed"),
        ("messages", {"diagnostics": {"previous_message_id": None}}, "dropped:diagnostics"),
        ("responses", {"truncation": "auto", "top_p": 1}, "dropped:truncation"),
        ("generate_content", {"safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT"}]}, "dropped:safetySettings"),
        ("completions", {"best_of": 3}, "dropped:best_of"),
    ],
)
def test_what_asks_for_something_is_listed(caller: str, body: Any, code: str) -> None:
    request = NEUTRAL[caller]["default"] | body
    assert cross(Direction(caller, "request", "chat"), request).codes == [code]


def test_a_key_within_an_item_is_listed_beside_a_neutral_field_of_that_name() -> None:
    item = {"role": "user", "content": [{"type": "text", "text": "?", "metadata": {"a": "b"}}]}
    request = {"model": "m", "messages": [item], "metadata": {}}
    assert cross(Direction("chat", "request", "messages"), request).codes == [
        "changed:max_output_tokens",
        "dropped:metadata",
    ]


_THOUGHT = [
    {"role": "user", "content": "?"},
    {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}]},
    {"role": "user", "content": "?"},
]
_HOSTED = [
    {"type": "additional_tools", "role": "developer", "tools": [{"type": "web_search"}]},
    {"role": "user", "content": "?"},
]


@pytest.mark.parametrize(
    ("caller", "upstream", "body", "code"),
    [
        ("messages", "cohere_chat", {"messages": _THOUGHT, "thinking": {"type": "disabled"}}, "dropped:reasoning"),
        ("responses", "chat", {"input": _HOSTED, "tools": []}, "dropped:tools"),
    ],
)
def test_what_a_conversation_loses_is_listed_beside_a_neutral_field(
    caller: str, upstream: str, body: Any, code: str
) -> None:
    request = NEUTRAL[caller]["default"] | body
    assert code in cross(Direction(caller, "request", upstream), request).codes


@pytest.mark.parametrize(
    ("upstream", "model"),
    [
        ("generate_content", "gemini-2.0-flash"),
        ("generate_content", "gemini-2.5-flash"),
        ("messages", "claude-3-5-haiku-latest"),
        ("messages", "claude-opus-4-8"),
        ("converse", "amazon.nova-pro-v1:0"),
        ("converse", "openai.gpt-oss-120b-1:0"),
        ("converse", "meta.llama3-70b-instruct-v1:0"),
    ],
)
@pytest.mark.parametrize("caller", CALLER_CODECS)
def test_no_model_makes_a_loss_of_it(caller: str, upstream: str, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, upstream, model)
    for kind, request in NEUTRAL[caller].items() if caller != upstream else ():
        there = cross(Direction(caller, "request", upstream), request)
        assert [code for code in there.codes if code.startswith("dropped")] == [], kind
