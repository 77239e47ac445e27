"""The code does what each row of the table says: a document with the field is sent across, and looked at there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from msgspec import UNSET

from aigateway.fidelity import TABLE, Direction, Row, row_for
from tests.fidelity.answers import TEXT_STREAM, numbered
from tests.fidelity.crossing import Crossed, beside, cross
from tests.fidelity.documents import SAMPLES
from tests.fidelity.fields import published
from tests.fidelity.paths import altered, steps, values, with_value, without

BESIDE = [beside(f"{api}.{kind}") for kind in ("request", "reply", "stream") for api in ("chat", "responses")]


class Case(NamedTuple):
    """One field and its row."""

    name: Direction
    path: str
    row: Row

    @property
    def document(self) -> Any:
        """A document that has it."""
        return _document_with(self.name, self.path, self.row)

    @property
    def id(self) -> str:
        """For pytest."""
        host = "" if self.row.host == "openai" else f"@{self.row.host}"
        return f"{self.name}:{self.path}{host}"


def _fields_of(name: Direction, row: Row) -> list[str]:
    """The fields that a row is about: one with `*` is about each that has no row of its own."""
    if "*" not in row.path:
        return [row.path]
    exact = [path for path in sorted(published(name.document)) if Row(path=row.path, verdict="carried").covers(path)]
    return [path for path in exact if row.host != "openai" or row_for(TABLE[name], path) is row]


def _document_with(name: Direction, path: str, row: Row) -> Any:
    """The first sample that has the field, else the first one that can be given it."""
    samples = SAMPLES[name.document]
    having = [sample for sample in samples if values(sample, path)]
    if row.example is UNSET:
        if having:
            return next((sample for sample in having if _shows(name, sample, row)), having[0])
        if row.whole and steps(path)[-1].way != "key":
            return with_thing(name, path)
        raise LookupError(f"no sample of {name} has {path}, and its row has no example")
    return with_value([*having, samples[0]][0], path, row.example)


def _shows(name: Direction, sample: Any, row: Row) -> bool:
    """Whether a sample becomes what the row says: an item or response of an event may tell of one thing or another."""
    return row.result is UNSET or row.result in values(cross(name, sample, row.host).document, row.to)


def with_thing(name: Direction, path: str) -> Any:
    """A document with an item, part, tool or event that its own format alone knows: any object of that type."""
    thing = {"type": steps(path)[-1].name, "id": "x_1"}
    if name.document == "responses.stream":
        return numbered(*TEXT_STREAM[:3], {**thing, "item_id": "x_1", "output_index": 0}, *TEXT_STREAM[3:])
    if name.document == "responses.request" and path.startswith("input["):
        return {**SAMPLES[name.document][0], "input": [thing, *SAMPLES[name.document][0]["input"]]}
    return with_value(SAMPLES[name.document][0], path, thing)


def _cases() -> Iterator[Case]:
    for name in BESIDE:
        for row in TABLE[name]:
            for path in _fields_of(name, row):
                yield Case(name, path, row)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in _cases()])
def test_the_code_does_what_the_row_says(case: Case) -> None:
    crossed = cross(case.name, case.document, case.row.host)
    if case.row.verdict == "refused":
        _check_refused(case, crossed)
        return
    assert crossed.error is None, crossed.error
    if case.row.code:
        assert case.row.code in crossed.codes
    if case.row.verdict == "dropped":
        _check_dropped(case, crossed)
        return
    given = values(case.document, case.path)
    heard = values(crossed.document, case.row.to)
    expected = given if case.row.verdict == "carried" else [] if case.row.result is UNSET else [case.row.result]
    assert heard, f"nothing at {case.row.to} in {json.dumps(crossed.document)}"
    assert [value for value in expected if value not in heard] == [], f"{heard} in {json.dumps(crossed.document)}"
    if case.row.verdict == "carried":
        assert [code for code in crossed.codes if code.endswith(f":{_name(case.path)}")] == []


def _check_refused(case: Case, crossed: Crossed) -> None:
    assert crossed.error is not None, crossed.document
    assert (crossed.error.status, crossed.error.code) == (400, case.row.code)
    assert crossed.error.param == case.row.param
    rest = cross(case.name, without(case.document, case.path), case.row.host)
    assert rest.error is None or rest.error.message != crossed.error.message, "refused without the field too"


def _check_dropped(case: Case, crossed: Crossed) -> None:
    """Without the field the other side gets the same, and less is listed."""
    rest = cross(case.name, without(case.document, case.path), case.row.host)
    if rest.error is not None:  # the field must be there: another value makes no difference
        rest = cross(case.name, altered(case.document, case.path), case.row.host)
    else:
        assert (case.row.code in rest.codes) is False
        assert bool(case.row.code) == (crossed.codes != rest.codes)
    assert crossed.document == rest.document


def _name(path: str) -> str:
    return path.rpartition(".")[2]
