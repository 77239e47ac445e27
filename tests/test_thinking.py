"""How hard to think, and whether that is shown, across APIs: what a caller says in its words, the upstream reads in its own."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from aigateway import Gateway, Provider, Target
from aigateway.canonical.quirks import Quirks
from aigateway.providers.catalog import CATALOG
from aigateway.testing import ScriptedUpstream
from tests.answers import path_of, whole
from tests.conversing import question
from tests.serving import served

Object = dict[str, Any]

FLASH, PRO, LITE, NEW, NEW_PRO = (
    "gemini-2.5-flash",
    "gemini-2.5-pro",
    "gemini-2.5-flash-lite",
    "gemini-3-flash-preview",
    "gemini-3.1-pro-preview",
)
SHOWN = {"includeThoughts": True}
ENABLED = {"type": "enabled", "budget_tokens": 4000}
ADAPTIVE = {"type": "adaptive"}


async def sent(
    caller: str, upstream: str, model: str, quirks: Quirks | None = None, **asked: Any
) -> tuple[Object, list[str]]:
    """The body that goes up for a question of this caller's, and the changes that the caller is told of."""
    async with ScriptedUpstream() as host, aiohttp.ClientSession() as session:
        provider = Provider("acme", host.base_url, "k", apis=[upstream], quirks=quirks)
        async with served(Gateway(models={"m": Target(provider, model)})) as url:
            host.script(whole(upstream))
            body = question(caller, [], model="m") | asked
            if caller == "generate_content":
                body = {key: value for key, value in body.items() if key not in ("model", "stream")}
            path = path_of(caller, stream=False, model="m")
            async with session.post(url + path, json=body) as reply:
                assert reply.status == 200, await reply.text()
                told = reply.headers.get("x-aigateway-changes", "")
        return host.requests[-1].json(), told.split(",")


MESSAGES_TO_GEMINI: list[Any] = [
    (FLASH, {"thinking": ENABLED}, {"thinkingBudget": 4000, **SHOWN}, ""),
    (FLASH, {"thinking": ENABLED | {"display": "omitted"}}, {"thinkingBudget": 4000}, ""),
    (FLASH, {"thinking": ENABLED | {"budget_tokens": 31_999}}, {"thinkingBudget": 24_576, **SHOWN}, "reasoning_budget"),
    (PRO, {"thinking": ENABLED | {"budget_tokens": 31_999}}, {"thinkingBudget": 31_999, **SHOWN}, ""),
    (PRO, {"thinking": ENABLED | {"budget_tokens": 64_000}}, {"thinkingBudget": 32_768, **SHOWN}, "reasoning_budget"),
    (PRO, {"thinking": {"type": "disabled"}}, {"thinkingBudget": 128}, "reasoning_budget"),
    (LITE, {"thinking": {"type": "disabled"}}, {"thinkingBudget": 0}, ""),
    (FLASH, {"thinking": ADAPTIVE}, {"thinkingBudget": -1, **SHOWN}, ""),
    (FLASH, {"thinking": ADAPTIVE, "output_config": {"effort": "low"}}, {"thinkingBudget": 1024, **SHOWN}, ""),
    (FLASH, {"output_config": {"effort": "low"}}, {"thinkingBudget": 1024}, ""),
    (NEW, {"thinking": ADAPTIVE}, SHOWN, ""),
    (NEW, {"thinking": ADAPTIVE, "output_config": {"effort": "medium"}}, {"thinkingLevel": "medium", **SHOWN}, ""),
    (NEW, {"thinking": ENABLED}, {"thinkingLevel": "low", **SHOWN}, ""),
    (NEW, {"thinking": ENABLED | {"budget_tokens": 1024}}, {"thinkingLevel": "low", **SHOWN}, ""),
    (NEW, {"thinking": ENABLED | {"budget_tokens": 16_000}}, {"thinkingLevel": "high", **SHOWN}, ""),
    (NEW, {"thinking": {"type": "disabled"}}, {"thinkingLevel": "minimal"}, "reasoning_budget"),
    (NEW_PRO, {"thinking": {"type": "disabled"}}, {"thinkingLevel": "low"}, "reasoning_budget"),
    ("gemini-2.0-flash", {"thinking": ENABLED}, None, ""),
]


@pytest.mark.parametrize(("model", "asked", "config", "changed"), MESSAGES_TO_GEMINI)
async def test_a_caller_of_messages_who_has_thinking_on_sees_geminis_thoughts(
    model: str, asked: Object, config: Object | None, changed: str
) -> None:
    body, changes = await sent("messages", "generate_content", model, max_tokens=70_000, **asked)
    assert body["generationConfig"].get("thinkingConfig") == config
    told = [code for code in changes if code.startswith("changed:reasoning")]
    assert told == ([f"changed:{changed}"] if changed else [])


@pytest.mark.parametrize(
    ("effort", "model", "config"),
    [
        ("low", FLASH, {"thinkingBudget": 1024, **SHOWN}),
        ("minimal", NEW_PRO, {"thinkingLevel": "low", **SHOWN}),
        ("medium", "gemini-3-pro-preview", {"thinkingLevel": "high", **SHOWN}),
        ("xhigh", NEW, {"thinkingLevel": "high", **SHOWN}),
        ("none", FLASH, {"thinkingBudget": 0}),
        ("none", PRO, {"thinkingBudget": 128}),
    ],
)
async def test_a_caller_of_chat_who_asks_for_an_effort_sees_geminis_thoughts(
    effort: str, model: str, config: Object
) -> None:
    body, _ = await sent("chat", "generate_content", model, reasoning_effort=effort)
    assert body["generationConfig"]["thinkingConfig"] == config


async def test_a_caller_of_responses_sees_geminis_thoughts_where_it_asks_for_a_summary() -> None:
    for summary, config in (({}, {}), ({"summary": "auto"}, SHOWN)):
        body, _ = await sent("responses", "generate_content", FLASH, reasoning={"effort": "low", **summary})
        assert body["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 1024, **config}


@pytest.mark.parametrize(
    ("config", "thinking", "output"),
    [
        ({"thinkingLevel": "LOW"}, {"type": "adaptive"}, {"effort": "low"}),
        ({"thinkingBudget": 1024, **SHOWN}, {"type": "adaptive", "display": "summarized"}, {"effort": "low"}),
        ({"thinkingBudget": 20_000}, {"type": "adaptive"}, {"effort": "high"}),
        ({"thinkingBudget": -1, **SHOWN}, {"type": "adaptive", "display": "summarized"}, None),
        ({"thinkingBudget": 0}, {"type": "disabled"}, None),
    ],
)
async def test_what_a_caller_of_gemini_says_of_thinking_is_told_a_claude_that_thinks_adaptively(
    config: Object, thinking: Object, output: Object | None
) -> None:
    asked: Object = {"thinkingConfig": config}
    body, _ = await sent("generate_content", "messages", "claude-opus-4-7", generationConfig=asked)
    assert (body["thinking"], body.get("output_config")) == (thinking, output)


async def test_claude_that_hides_its_thoughts_shows_them_to_callers_who_would_see_them() -> None:
    shown = {"type": "adaptive", "display": "summarized"}
    for model, thinking in (("claude-opus-4-6", ADAPTIVE), ("claude-opus-4-7", shown)):
        body, _ = await sent("chat", "messages", model, reasoning_effort="high")
        assert body["thinking"] == thinking
        body, _ = await sent("responses", "messages", model, reasoning={"effort": "high", "summary": "auto"})
        assert body["thinking"] == thinking
        body, _ = await sent("responses", "messages", model, reasoning={"effort": "high"})
        assert body["thinking"] == ADAPTIVE


async def test_a_caller_of_messages_who_wants_summaries_gets_them_of_gpt() -> None:
    for thinking, summary in ((ENABLED, None), (ENABLED | {"display": "summarized"}, "auto")):
        body, _ = await sent("messages", "responses", "gpt-5", max_tokens=9000, thinking=thinking)
        assert (body["reasoning"]["effort"], body["reasoning"].get("summary")) == ("low", summary)


THOUGHT: Object = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [],
    "content": [{"type": "reasoning_text", "text": "Hm."}],
}
THOUGHTFUL: dict[str, list[Object]] = {
    "responses": [{"role": "user", "content": "q"}, THOUGHT, {"role": "assistant", "content": "a"}],
    "messages": [
        {"role": "user", "content": "q"},
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "Hm.", "signature": ""}, {"type": "text", "text": "a"}],
        },
        {"role": "user", "content": "q"},
    ],
}


@pytest.mark.parametrize("caller", THOUGHTFUL)
@pytest.mark.parametrize(
    ("row", "field"),
    [
        ("openai", ""),
        ("azure", ""),
        ("mistral", ""),
        ("gemini", ""),
        ("github", ""),
        ("deepseek", "reasoning_content"),
        ("moonshot", "reasoning_content"),
        ("groq", "reasoning"),
        ("vllm", "reasoning"),
        ("openrouter", "reasoning"),
        (None, "reasoning_content"),
    ],
)
async def test_reasoning_goes_back_to_who_takes_it_and_is_listed_for_who_does_not(
    caller: str, row: str | None, field: str
) -> None:
    turns = {"input" if caller == "responses" else "messages": THOUGHTFUL[caller]}
    quirks = CATALOG[row].quirks if row is not None else None
    body, changes = await sent(caller, "chat", "m", quirks, **turns)
    assistant = next(message for message in body["messages"] if message["role"] == "assistant")
    assert {key: value for key, value in assistant.items() if key not in ("role", "content")} == (
        {field: "Hm."} if field else {}
    )
    assert ("dropped:reasoning" in changes) is (not field)
