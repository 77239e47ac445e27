"""The table of OpenAI's surface: nothing is missing in it, and every path finds its row."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway.coverage import document
from aigateway.errors import InvalidRequestError
from aigateway.surface import ADMINISTRATION, APIS, OPERATIONS, Operation, routes
from aigateway.surface.administration import ROWS as ADMINISTRATION_ROWS
from aigateway.surface.openai import ROWS
from aigateway.surface.routes import EXACT, match, parameters_of, path_for, query_for

DESCRIPTION = Path("../shared/reference/openai/openapi.json")
VERBS = {"_get": "GET", "_post": "POST", "_delete": "DELETE", "_put": "PUT", "_patch": "PATCH", "_get_api_list": "GET"}
PATHS = [row for row in OPERATIONS.values() if row.path]
TEMPLATES = [row for row in PATHS if "{" in row.path]


def shape(path: str) -> str:
    """A path without the names of its parameters."""
    return re.sub(r"\{[^}]*\}", "{}", path.partition("?")[0])


KNOWN = {(row.method, shape(row.path)) for row in PATHS}


def test_no_name_and_no_method_of_a_path_stands_twice() -> None:
    rows = [*ROWS, *ADMINISTRATION_ROWS]
    assert len({row.name for row in rows}) == len(rows)
    assert len({(row.method, shape(row.path)) for row in rows}) == len(rows)


@pytest.mark.skipif(not DESCRIPTION.exists(), reason="OpenAI's description is not beside this project")
def test_every_operation_of_openai_s_description_has_a_row() -> None:
    paths = json.loads(DESCRIPTION.read_text(encoding="utf-8"))["paths"]
    described = {
        (method.upper(), shape(path))
        for path, methods in paths.items()
        for method in methods
        if method.upper() in VERBS.values()
    }
    assert len(described) > 250
    assert described - KNOWN == set()


def requests_of_the_client() -> Iterator[tuple[str, str]]:
    """Every method and path that the official client asks."""
    for file in sorted((Path(openai.__file__).parent / "resources").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
                continue
            verb, path = VERBS.get(node.func.attr), node.args[0]
            if isinstance(path, ast.Call) and path.args:
                path = path.args[0]
            if verb is None or not isinstance(path, ast.Constant) or not str(path.value).startswith("/"):
                continue
            named = [word.value.value for word in node.keywords if word.arg == "method"]  # type: ignore[attr-defined]
            yield (named[0].upper() if named else verb), shape(str(path.value))


def test_every_request_of_the_official_client_has_a_row() -> None:
    asked = set(requests_of_the_client())
    assert len(asked) > 250
    assert asked - KNOWN == set()


def test_what_manages_the_account_is_an_api_of_its_own() -> None:
    assert ADMINISTRATION not in APIS
    private = ("/organization", "/projects", "/webhook", "/safety")
    assert {row.name for row in PATHS if row.path.startswith(private)} == {row.name for row in ADMINISTRATION_ROWS}


def test_a_row_names_the_model_where_its_form_has_one() -> None:
    for row in PATHS:
        assert row.model in ("", "model", "{model}", "?model") or row.model.endswith(".model")
        assert (row.model == "{model}") == ("{model}" in row.path)
        assert row.form == "none" or row.method == "POST"


def test_exact_paths_are_found_without_the_tree() -> None:
    assert EXACT["/chat/completions"]["POST"].name == "chat"
    assert all(EXACT[row.route][row.method] is row for row in PATHS if "{" not in row.path)


segments = st.text(min_size=1, max_size=12).filter(lambda text: not re.search(r"[/\\%\x00-\x1f\x7f]|^\.\.?$", text))


@given(st.sampled_from(TEMPLATES), st.data())
def test_a_path_made_of_a_template_finds_its_row_and_is_sent_on_as_it_is(row: Operation, data: st.DataObject) -> None:
    names = re.findall(r"\{(\w+)\}", row.path)
    literals = {part for other in PATHS for part in other.path.split("/")}
    values = {name: data.draw(segments.filter(lambda text: text not in literals), label=name) for name in names}
    path = path_for(row, values)
    asked = [*row.route.removesuffix(row.path).split("/")[1:], *(unquote(part) for part in path.split("/")[1:])]
    found = match(asked)
    assert found is not None
    assert found[row.method] is row
    assert parameters_of(row, asked) == values


@given(st.sampled_from(TEMPLATES), st.text(max_size=30) | st.text("./\\%2eE2fF?#&\r\nab", max_size=12))
def test_no_parameter_makes_another_path_of_a_request(row: Operation, value: str) -> None:
    names = re.findall(r"\{(\w+)\}", row.path)
    try:
        path = path_for(row, dict.fromkeys(names, value))
    except InvalidRequestError:
        return
    assert shape(row.path).count("/") == path.count("/")
    assert re.fullmatch(r"[!-~]+", path)
    assert not set("?#\\") & set(path)
    once = unquote(path)
    assert unquote(once) == once
    for part in re.split(r"[/\\]", once):
        assert part not in (".", "..")


@given(st.text(max_size=40))
def test_a_query_stays_one(query: str) -> None:
    sent = query_for(query)
    assert re.fullmatch(r"[!-~]*", sent)
    assert "#" not in sent
    if re.fullmatch(r"[\w=&%.+-]*", query, re.ASCII):
        assert sent == query


def test_the_document_is_what_the_table_says() -> None:
    written = Path("docs/coverage.md").read_text(encoding="utf-8")
    assert written == document(), "write it anew: python -m aigateway.coverage > docs/coverage.md"


@pytest.mark.parametrize(
    "path",
    ["", "files", "files/", "/files", "files//content", "files/a/content/b", "models", "chat", "nothing/at/all"],
)
def test_what_openai_does_not_know_has_no_row(path: str) -> None:
    assert match(path.split("/")) is None


def test_a_verb_stands_behind_the_rest_of_a_path_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Operation("x.generate", "x", "/models/{model}:generate", model="{model}", version="/v9")
    monkeypatch.setattr(routes, "OPERATIONS", {**OPERATIONS, row.name: row})
    routes._tree.cache_clear()
    try:
        for name in ("a", "llama3:8b", "team/a"):
            asked = ["?", "v9", "models", *f"{name}:generate".split("/")]
            assert match(asked) == {"POST": row}
            assert parameters_of(row, asked) == {"model": name}
        assert match(["?", "v9", "models", ":generate"]) is None
        assert match(["?", "v9", "models", "a:other"]) is None
        assert match(["?", "v8", "models", "a:generate"]) is None
        assert path_for(row, {"model": "llama3:8b"}) == "/models/llama3:8b:generate"
    finally:
        routes._tree.cache_clear()
