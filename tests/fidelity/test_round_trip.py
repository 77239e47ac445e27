"""There and back: what a Responses request says is the same again after it was told in chat, up to the marked rows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway.fidelity import TABLE, Row, row_for
from tests.fidelity.crossing import beside, cross
from tests.fidelity.documents import SAMPLES
from tests.fidelity.paths import values, with_value
from tests.playback import Object

_THERE, _BACK = TABLE[beside("responses.request")], TABLE[beside("chat.request")]


def _returns(row: Row) -> bool:
    """Whether a field is carried to a field that is carried back to it."""
    if row.verdict != "carried" or row.host != "openai" or "*" in row.path:
        return False
    back = row_for(_BACK, row.to)
    return back is not None and back.verdict == "carried" and back.to == row.path


@pytest.mark.parametrize("row", [pytest.param(row, id=row.path) for row in _THERE if _returns(row)])
def test_a_field_that_is_carried_both_ways_comes_back_the_same(row: Row) -> None:
    samples = [sample for sample in SAMPLES["responses.request"] if values(sample, row.path)]
    document = samples[0] if samples else with_value(SAMPLES["responses.request"][0], row.path, row.example)
    given_values = values(document, row.path)
    assert given_values
    there = cross(beside("responses.request"), document)
    assert values(cross(beside("chat.request"), there.document).document, row.path) == given_values


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=12)
names = st.text("abcdefgh_", min_size=1, max_size=8)
texts = words.map(lambda text: {"type": "input_text", "text": text})
images = st.builds(
    lambda url, detail: {"type": "input_image", "image_url": url, **({"detail": detail} if detail else {})},
    words,
    st.sampled_from(["", "low", "high", "auto"]),
)
files = st.builds(lambda data, name: {"type": "input_file", "file_data": data, "filename": name}, words, names)
by_id = names.map(lambda file_id: {"type": "input_file", "file_id": file_id})
asked = st.builds(
    lambda role, parts: {"type": "message", "role": role, "content": parts},
    st.sampled_from(["user", "system", "developer"]),
    st.lists(texts | images | files | by_id, min_size=1, max_size=3),
)
outputs = words | st.lists(texts, min_size=1, max_size=2)
arguments = st.dictionaries(names, st.integers() | words, max_size=2).map(json.dumps)


@st.composite
def turns(draw: st.DrawFn) -> list[Object]:
    """What the assistant did in one turn, in any order, and the results of its calls."""
    calls: list[Object] = []
    results: list[Object] = []
    for call_id in draw(st.lists(names, max_size=3, unique=True)):
        free = draw(st.booleans())
        kind, field = ("custom_tool_call", "input") if free else ("function_call", "arguments")
        made = draw(words if free else arguments)
        calls.append({"type": kind, "call_id": call_id, "name": draw(names), field: made, "id": f"x_{call_id}"})
        if draw(st.booleans()):
            results.append({"type": f"{kind}_output", "call_id": call_id, "output": draw(outputs)})
    spoken = [
        {
            "type": "message",
            "role": "assistant",
            "id": "msg_1",
            "status": "completed",
            "content": [{"type": "output_text", "text": draw(words), "annotations": []}]
            if draw(st.booleans())
            else [{"type": "refusal", "refusal": draw(words)}],
        }
        for _ in range(draw(st.integers(0 if calls else 1, 2)))
    ]
    thought: list[Object] = [
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": draw(words)}]}
    ]
    did = [*(thought if draw(st.booleans()) else []), *spoken, *calls]
    return [*draw(st.permutations(did)), *results]


@st.composite
def conversations(draw: st.DrawFn) -> list[Object]:
    """Items of an input."""
    items = [draw(asked)]
    for _ in range(draw(st.integers(0, 3))):
        items += draw(turns())
        items.append(draw(asked))
    return items


def told(items: list[Object]) -> list[Any]:
    """What items say, without what the table marks: ids, states, reasoning, and the order within one turn."""
    found: list[Any] = []
    turn: tuple[list[str], list[str], list[Object]] | None = None
    for item in items:
        kind, role = item["type"], item.get("role")
        if kind == "reasoning":
            continue
        if role != "assistant" and kind not in ("function_call", "custom_tool_call"):
            turn = None
            found.append(_result(item) if kind.endswith("_output") else (role, item["content"]))
            continue
        if turn is None:
            turn = [], [], []
            found.append(turn)
        if kind == "message":
            turn[0].extend(part["text"] for part in item["content"] if part["type"] == "output_text")
            turn[1].extend(part["refusal"] for part in item["content"] if part["type"] == "refusal")
        else:
            turn[2].append({key: value for key, value in item.items() if key != "id"})
    return [(one[0], "".join(one[1]), one[2]) if isinstance(one, tuple) and len(one) == 3 else one for one in found]


def _result(item: Object) -> Object:
    output = item["output"]
    return item | {"output": output if isinstance(output, str) else "\n".join(part["text"] for part in output)}


@given(conversations())
def test_every_item_comes_back(items: list[Object]) -> None:
    there = cross(beside("responses.request"), {"model": "m", "input": items})
    assert there.error is None
    back = cross(beside("chat.request"), there.document)
    assert back.error is None
    assert told(back.document["input"]) == told(items)
    assert set(back.codes) <= {"dropped:reasoning"}
    assert there.codes == []
