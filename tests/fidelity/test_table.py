"""The table knows every field that is published, and none that is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aigateway.fidelity import DIRECTIONS, PAIRS, TABLE, Direction, Row, docs, row_for
from aigateway.fidelity.row import below
from tests.fidelity.crossing import beside
from tests.fidelity.fields import published
from tests.schemas import REFERENCE

_ROWS = {**TABLE, **PAIRS}
each_pair = pytest.mark.parametrize("direction", _ROWS, ids=str)
each_direction = pytest.mark.parametrize("direction", DIRECTIONS, ids=str)


def _is_covered(rows: tuple[Row, ...], path: str) -> bool:
    return row_for(rows, path) is not None or any(True for _ in below(rows, path))


@each_direction
def test_every_published_field_has_a_row(direction: Direction) -> None:
    assert [path for path in sorted(published(direction.document)) if not _is_covered(TABLE[direction], path)] == []


@pytest.mark.skipif(not REFERENCE.exists(), reason="some fields stand only in the API descriptions")
@each_pair
def test_every_row_is_of_a_published_field_or_a_named_extension(direction: Direction) -> None:
    known = published(direction.document)
    rows = [row for row in _ROWS[direction] if not row.extension]
    assert [row.path for row in rows if not any(row.covers(path) for path in known)] == []


@each_pair
def test_an_extension_is_no_published_field(direction: Direction) -> None:
    known = published(direction.document)
    assert [row.path for row in _ROWS[direction] if row.extension and any(map(row.covers, known))] == []


@each_pair
def test_each_field_has_one_row_for_each_host(direction: Direction) -> None:
    places = [(row.path, row.host) for row in _ROWS[direction]]
    assert len(places) == len(set(places))


@each_pair
def test_a_row_says_what_its_verdict_needs(direction: Direction) -> None:
    for row in _ROWS[direction]:
        if row.verdict in ("carried", "changed"):
            assert row.to, row
        else:
            assert not row.to, row
        if row.verdict != "carried":
            assert row.why, row
        if row.verdict == "refused":
            assert row.param, row
            assert row.code, row
        elif row.code:
            assert row.code.startswith(f"{row.verdict}:"), row


def test_the_documents_are_made_of_the_table(tmp_path: Path) -> None:
    docs.write(tmp_path)
    here = Path(__file__).parents[2] / "docs"
    written = {
        path.relative_to(here).as_posix(): path for path in [here / "translation.md", *here.glob("translation/*")]
    }
    made = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*.md")}
    assert written.keys() == made.keys()
    for name, path in made.items():
        assert written[name].read_text("utf-8") == path.read_text("utf-8"), "python -m aigateway.fidelity.docs docs"


def test_every_direction_stands_on_the_page_of_its_pair(tmp_path: Path) -> None:
    docs.write(tmp_path)
    texts = [path.read_text("utf-8") for path in (tmp_path / "translation").glob("*.md")]
    for direction in _ROWS:
        heading = f"\n## {docs.title(direction)}\n"
        assert sum(heading in text for text in texts) == 1, direction
    index = (tmp_path / "translation.md").read_text("utf-8")
    assert all(f"](translation/{page.name})" in index for page in (tmp_path / "translation").iterdir())


def test_who_only_uses_the_gateway_never_loads_the_table() -> None:
    script = "import sys, aigateway, aigateway.translation; print(any('fidelity' in name for name in sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "False\n"
    )


def test_a_new_field_would_be_missed() -> None:
    assert not _is_covered(TABLE[beside("chat.request")], "telepathy")
    assert not _is_covered(TABLE[beside("chat.request")], "messages[user].content[smell]")
    assert not _is_covered(TABLE[beside("responses.request")], "input[dream]")
