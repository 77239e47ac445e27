"""No field of an answer is lost in silence, in whatever two APIs speak: the caller sees it, or it is listed, or documented.

test_rows and test_crossings say the same, more sharply, of the pairs that have rows of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from aigateway.fidelity import DIRECTIONS, PAIRS, TABLE, Direction, row_for
from tests.fidelity.crossing import Crossed, cross
from tests.fidelity.documents import SAMPLES
from tests.fidelity.paths import altered, steps, values, without
from tests.fidelity.test_rows import with_thing

_PAIRS = [
    Direction(api, kind, other)
    for kind in ("reply", "stream")
    for api in ("chat", "responses", "messages", "generate_content", "converse", "cohere_chat")
    for other in ("chat", "responses", "messages", "generate_content")
    if api != other and Direction(api, kind, other) not in DIRECTIONS
]

_WORDS = {
    "finishReason": "MAX_TOKENS",
    "incomplete_details.reason": "content_filter",
    "metadata.serviceTier.type": "default",
    "service_tier": "priority",
    "stopReason": "max_tokens",
    "stop_reason": "max_tokens",
}
"""The end of a path -> a word that says another thing there than the samples say, or than is meant where there is none."""

_NO_LOSS = {
    "[error].error.type": "the code says it too, and the caller's API has words of its own",
    "[message_start].message.model": "the caller is told the name that it asked for",
    "[response.custom_tool_call_input.delta].delta": "the whole input comes with the end of the call",
    "[response.output_item.added].item": "the item comes whole when it is done",
    "[response.output_item.done].item": "its parts were told one by one",
    "[response.output_text.annotation.added].annotation": "the part has it too",
    "[message-start].id": "messages and responses have ids of another form",
    "[tool-call-end].index": "the next call, or the end, says it too",
    "contentBlockStart.start.toolUse.toolUseId": "what is no JSON is no call of Gemini's, and a hosted tool's is listed",
    "error.type": "the code says it too, and the caller's API has words of its own",
    "id": "messages have ids of another form",
    "model": "the caller is told the name that it asked for",
    "output[custom_tool_call].call_id": "what is no JSON is no call of Gemini's: it ends as malformed",
    "candidates[].groundingMetadata.groundingSupports[].segment.endIndex": "the words of the segment say it too",
    "candidates[].groundingMetadata.groundingSupports[].segment.startIndex": "the words of the segment say it too",
}
"""What makes no difference in some pair of APIs, as it stands in the samples, and why that is no loss."""


@cache
def _crossed(direction: Direction, text: str) -> Crossed:
    return cross(direction, json.loads(text))


def _told(direction: Direction, document: Any) -> tuple[Any, list[str]]:
    there = _crossed(direction, json.dumps(document))
    return there.document, there.codes


def _silent(direction: Direction) -> Iterator[str]:
    """The fields that the caller does not hear of, that are not listed, and that no row says to be dropped."""
    to_chat = Direction(direction.api, direction.kind, "chat")
    for path in sorted({row.path for row in TABLE[to_chat]}):
        if _is_documented(direction, path):
            continue
        found = [sample for sample in SAMPLES[direction.document] if values(sample, path)]
        if not any(_is_heard(direction, path, one) for one in found or [with_thing(to_chat, path)]):
            yield path


def _is_documented(direction: Direction, path: str) -> bool:
    """Whether the table says that it goes nowhere and is not listed, itself or what it is told as in chat."""
    rows = (
        row_for(PAIRS.get(direction, ()), path),
        there := row_for(TABLE[Direction(direction.api, direction.kind, "chat")], path),
        row_for(TABLE[Direction("chat", direction.kind, direction.other)], there.to if there else ""),
    )
    return any(row is not None and row.verdict == "dropped" and not row.code for row in rows)


def _is_heard(direction: Direction, path: str, document: Any) -> bool:
    """Whether something there, or in the list, is not as it would be without the field or with another value of it."""
    there = _told(direction, document)
    if _told(direction, _without(document, path)) != there:
        return True
    word = next((word for end, word in _WORDS.items() if path.endswith(end)), None)
    way = steps(path)
    is_other = way[-1].way == "key" and _told(direction, altered(document, path, word)) != there
    row = row_for(TABLE[Direction(direction.api, direction.kind, "chat")], path)
    codes = {f"dropped:{step.name}" for step in way if step.way == "key"} | {row.code if row else ""}
    return is_other or not codes.isdisjoint(there[1])


def _without(document: Any, path: str) -> Any:
    """The document without the field; a stream without the event that is, or holds, a thing of that kind."""
    if isinstance(document, list) and steps(path)[-1].way == "is":
        return [event for event in document if not values([event], path)]
    return without(document, path)


@pytest.mark.parametrize("direction", _PAIRS, ids=str)
def test_no_field_of_an_answer_is_lost_in_silence(direction: Direction) -> None:
    assert sorted(set(_silent(direction)) - _NO_LOSS.keys()) == []


def test_nothing_is_excused_in_vain() -> None:
    silent = {path for direction in _PAIRS for path in _silent(direction)}
    assert sorted(_NO_LOSS.keys() - silent) == []
