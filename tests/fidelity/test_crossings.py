"""The rows of Messages, generateContent and Converse are true: what each field becomes is looked at on the other side.

Every document is sent across once, and once without each field that a row is about.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from msgspec import UNSET

from aigateway.fidelity import PAIRS, TABLE, Direction, Row
from tests.fidelity.crossing import Crossed, beside, cross
from tests.fidelity.documents import SAMPLES
from tests.fidelity.paths import altered, steps, values, with_value, without
from tests.fidelity.test_rows import BESIDE

_ROWS = {**{direction: rows for direction, rows in TABLE.items() if direction not in BESIDE}, **PAIRS}


@cache
def _crossed(direction: Direction, text: str) -> Crossed:
    return cross(direction, json.loads(text))


def _across(direction: Direction, document: Any) -> Crossed:
    return _crossed(direction, json.dumps(document))


def _documents(direction: Direction, row: Row) -> Iterator[Any]:
    """Those that have the field: of the samples, or made with the example of the row or of the field's own row."""
    samples = SAMPLES[direction.document]
    if row.example is not UNSET:
        yield from _given(samples, row)
        return
    found = [sample for sample in samples if values(sample, row.path)]
    yield from found
    if not found:
        of_field = TABLE[beside(direction.document)] if direction.document == "chat.request" else ()
        known = [one.example for one in of_field if one.path == row.path and one.example is not UNSET]
        assert known, f"no document has {row.path}, and no row an example"
        yield with_value(samples[0], row.path, known[0])


def _given(samples: list[Any], row: Row) -> Iterator[Any]:
    """The first sample that can hold the example of a row; of a stream every event."""
    for sample in samples:
        try:
            if isinstance(sample, list):
                yield [with_value(event, row.path, row.example) for event in sample]
            else:
                yield with_value(sample, row.path, row.example)
        except LookupError:
            continue
        return


def _faults(direction: Direction, row: Row) -> Iterator[str]:
    """What is not as the row says: a field is told in one document at least, and dropped in all that are not refused."""
    found = [(document, _across(direction, document)) for document in _documents(direction, row)]
    if row.verdict == "refused":
        if not any(_is_refused(row, there) for _, there in found):
            yield f"{row.path} is not refused"
        return
    found = [(document, there) for document, there in found if there.error is None]
    if row.verdict == "dropped":
        wrong = [there for document, there in found if not _is_dropped(direction, row, document, there)]
        if wrong or not found:
            yield f"{row.path} goes somewhere, or is not listed: {wrong[:1]}"
    elif not any(_is_told(row, document, there) for document, there in found):
        yield f"{row.path} is not {row.verdict} to {row.to}: {found[:1]}"


def _is_refused(row: Row, there: Crossed) -> bool:
    error = there.error
    return error is not None and (error.status, error.code, error.param) == (400, row.code, row.param)


def _is_told(row: Row, document: Any, there: Crossed) -> bool:
    """Whether its value, or what the row makes of it, stands in its place there, and what the row lists is listed."""
    if row.code and row.code not in there.codes:
        return False
    heard = values(there.document, row.to)
    if row.verdict == "carried":
        return any(value in heard for value in values(document, row.path))
    return bool(heard) if row.result is UNSET else row.result in heard


def _is_dropped(direction: Direction, row: Row, document: Any, there: Crossed) -> bool:
    """Whether it is the same there without the field, and listed where the row says so."""
    rest = _across(direction, _without(document, row.path))
    if rest.error is not None:  # the field must be there: another value makes no difference
        rest = _across(direction, altered(document, row.path))
    same = rest.error is None and rest.document == there.document
    listed = any(code in there.codes for code in row.code.split(", "))
    return same and (listed if row.code else rest.codes == there.codes)


def _without(document: Any, path: str) -> Any:
    """The document without the field; a stream without the event that is, or holds, a thing of that kind."""
    if isinstance(document, list) and steps(path)[-1].way == "is":
        return [event for event in document if not values([event], path)]
    return without(document, path)


@pytest.mark.parametrize("direction", _ROWS, ids=str)
def test_the_code_does_what_the_rows_say(direction: Direction) -> None:
    assert [fault for row in _ROWS[direction] for fault in _faults(direction, row)] == []
