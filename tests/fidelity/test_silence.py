"""No field of a request is lost in silence, in whatever two APIs speak: it makes a difference there, or is listed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from aigateway.fidelity import DIRECTIONS, TABLE, Direction, Row
from tests.fidelity.crossing import Crossed, cross
from tests.fidelity.documents import SAMPLES
from tests.fidelity.paths import altered, steps, values, without

_PAIRS = [
    Direction(api, "request", other)
    for api in ("chat", "responses", "messages", "generate_content")
    for other in ("chat", "responses", "messages", "generate_content", "converse", "cohere_chat")
    if api != other and Direction(api, "request", other) not in DIRECTIONS
]

_NO_LOSS = {
    "contents[].role": "the user's is what stands there unasked",
    "generationConfig.candidateCount": "one is what is given unasked",
    "input[reasoning].content[reasoning_text].text": "the whole item is listed",
    "input[reasoning].encrypted_content": "the whole item is listed",
    "input[reasoning].summary[summary_text].text": "the whole item is listed",
    "messages[*].content[document].source(content).content[text].cache_control": "the block has a mark too",
    "messages[*].content[search_result].cache_control": "its text has a mark too",
    "messages[*].content[search_result].content[text].cache_control": "the block has a mark too",
    "messages[*].content[redacted_thinking].data": "the whole block is listed",
    "messages[*].content[thinking].thinking": "the whole block is listed",
    "messages[*].content[thinking].signature": "the whole block is listed",
    "model": "the path says it, or the target",
    "reasoning.summary": "thoughts are told as they are",
    "service_tier": "auto is what is done unasked",
    "thinking(disabled)": "it is what is done unasked",
    "stream": "the path says it",
    "stream_options.include_obfuscation": "false is what is done unasked",
    "text.format(json_schema).name": "needed by OpenAI alone",
    "text.format(json_schema).strict": "schemas are always held to",
    "thinking(enabled).budget_tokens": "the nearest effort is the same",
    "tool_choice(allowed_tools).mode": "auto is what is done unasked",
    "toolConfig.functionCallingConfig.allowedFunctionNames": "it is the only tool",
    "toolConfig.functionCallingConfig.mode": "AUTO is what is done unasked",
    "tools[].functionDeclarations[].parameters": "no parameters are an empty object",
    "tools[].functionDeclarations[].parametersJsonSchema": "no parameters are an empty object",
    "tools[function].parameters": "no parameters are an empty object",
}
"""What makes no difference in some pair of APIs, as it stands in the samples, and why that is no loss."""


def _silent(direction: Direction) -> Iterator[str]:
    """The fields without which the other side gets the same, and as much is listed."""
    heard: dict[str, Crossed] = {}
    for row in TABLE[Direction(direction.api, "request", "chat")]:
        if row.host != "openai" or steps(row.path)[-1].way != "key" or not _matters(row):
            continue
        for sample in SAMPLES[direction.document]:
            if not values(sample, row.path):
                continue
            text = json.dumps(sample)
            there = heard[text] if text in heard else heard.setdefault(text, cross(direction, sample))
            if there.error is None:
                if not _makes_a_difference(direction, row, sample, there):
                    yield row.path
                break


def _matters(row: Row) -> bool:
    """Whether it is more than what one API tells of a thing of its own."""
    return row.verdict != "dropped" or bool(row.code)


def _makes_a_difference(direction: Direction, row: Row, sample: Any, there: Crossed) -> bool:
    rest = cross(direction, without(sample, row.path))
    if rest.error is not None:
        rest = cross(direction, altered(sample, row.path))
    if rest.error is not None or (rest.document, rest.codes) != (there.document, there.codes):
        return True
    around = [step.name for step in steps(row.path) if step.way == "key"]
    return any(f"dropped:{key}" in there.codes for key in around)


@pytest.mark.parametrize("direction", _PAIRS, ids=str)
def test_no_field_is_lost_in_silence(direction: Direction) -> None:
    assert sorted(set(_silent(direction)) - _NO_LOSS.keys()) == []
