"""The rows of the vendor catalog: well-formed, and true to the exchanges that were recorded."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from aigateway.providers import catalog
from aigateway.providers.catalog import CATALOG, CatalogRow
from aigateway.surface import APIS, OPERATIONS

LOCAL = {"litellm", "llamacpp", "lmstudio", "localai", "ollama", "sglang", "tgi", "vllm"}
WITHOUT_BASE_URL = {"azure", "bedrock", "cloudflare", "databricks", "heroku"}
BY_PLACE = {"vertex", "vertex-anthropic"}
"""A project and a location say where these are, and an account how they are entered."""

KNOWN = APIS | {row.api for row in OPERATIONS.values()} | {"cohere_chat", "converse", "generate_content", "messages"}

each_row = pytest.mark.parametrize("row", CATALOG.values(), ids=CATALOG.keys())


class Recorded(NamedTuple):
    """What a recorded exchange shows of one vendor; `url` is where its chat requests went."""

    name: str
    url: str
    reasoning_field: str | None = None


RECORDED = (
    Recorded("cerebras", "https://api.cerebras.ai/v1/chat/completions", "reasoning"),
    Recorded("deepseek", "https://api.deepseek.com/chat/completions", "reasoning_content"),
    Recorded("gemini", "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions", ""),
    Recorded("groq", "https://api.groq.com/openai/v1/chat/completions", "reasoning"),
    Recorded("mistral", "https://api.mistral.ai/v1/chat/completions", ""),
    Recorded("ollama-cloud", "https://ollama.com/v1/chat/completions", "reasoning"),
    Recorded("openai", "https://api.openai.com/v1/chat/completions", ""),
    Recorded("openrouter", "https://openrouter.ai/api/v1/chat/completions", "reasoning"),
    Recorded("zai", "https://api.z.ai/api/paas/v4/chat/completions", "reasoning_content"),
)


def declared_names() -> Sequence[str]:
    """The `name=` of every row in the source, so that a duplicate, which a dict would swallow, is seen."""
    tree = ast.parse(Path(catalog.__file__).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "CatalogRow"]
    return [ast.literal_eval(kw.value) for call in calls for kw in call.keywords if kw.arg == "name"]


def test_names_are_unique_sorted_and_many() -> None:
    assert list(CATALOG) == sorted(declared_names())
    assert len(CATALOG) >= 50


def test_catalog_is_read_only() -> None:
    assert isinstance(CATALOG, MappingProxyType)


@each_row
def test_name_is_the_key_and_lower_case(row: CatalogRow) -> None:
    assert CATALOG[row.name] is row
    assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", row.name)


@each_row
def test_base_url_is_https_when_hosted_and_loopback_when_local(row: CatalogRow) -> None:
    if row.name in BY_PLACE:
        assert row.base_url is None
        return
    if row.base_url is None:
        assert row.name in WITHOUT_BASE_URL
        assert "base URL is https://" in row.notes
        return
    assert row.name not in WITHOUT_BASE_URL
    url = urlsplit(row.base_url)
    if row.name in LOCAL:
        assert (url.scheme, url.hostname, url.path) == ("http", "localhost", "/v1")
        assert url.port is not None
    else:
        assert url.scheme == "https"
        assert url.hostname
        assert "." in url.hostname
        assert url.port is None


@each_row
def test_base_url_is_ready_for_an_operation_path(row: CatalogRow) -> None:
    base_url = row.base_url or "https://example.com"
    assert not base_url.endswith("/")
    assert not re.search(r"[\s{}<>?#]", base_url)
    assert not base_url.endswith(("/completions", "/responses", "/embeddings", "/generations"))


@each_row
def test_apis_are_known_ones(row: CatalogRow) -> None:
    assert row.apis
    assert row.apis <= KNOWN


@each_row
def test_key_variable_is_named_like_one(row: CatalogRow) -> None:
    if row.api_key_env is None:
        assert row.name in LOCAL | BY_PLACE
    else:
        assert re.fullmatch(r"[A-Z][A-Z0-9_]*_(KEY|TOKEN|TOKEN_BEDROCK)", row.api_key_env)
    if row.base_url_env is not None:
        assert re.fullmatch(r"[A-Z][A-Z0-9_]*_(BASE_URL|ENDPOINT)", row.base_url_env)


@each_row
def test_docs_is_an_https_page_of_its_own(row: CatalogRow) -> None:
    url = urlsplit(row.docs)
    assert url.scheme == "https"
    assert url.hostname
    assert len(url.path) > 1


@each_row
def test_quirks_name_fields_that_exist(row: CatalogRow) -> None:
    assert row.quirks.max_tokens in {"max_tokens", "max_completion_tokens"}
    assert row.quirks.reasoning_field in {"reasoning_content", "reasoning", ""}


@each_row
def test_notes_are_one_short_sentence(row: CatalogRow) -> None:
    assert row.notes == row.notes.strip()
    assert not row.notes or row.notes.endswith(".")
    assert ". " not in row.notes
    assert len(row.notes) <= 120


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded.name)
def test_row_agrees_with_the_recorded_exchange(recorded: Recorded) -> None:
    row = CATALOG[recorded.name]
    assert f"{row.base_url}/chat/completions" == recorded.url
    assert "chat" in row.apis
    if recorded.reasoning_field is not None:
        assert row.quirks.reasoning_field == recorded.reasoning_field


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("deepseek", "https://api.deepseek.com/responses"),
        ("openai", "https://api.openai.com/v1/responses"),
        ("openrouter", "https://openrouter.ai/api/v1/responses"),
    ],
    ids=["deepseek", "openai", "openrouter"],
)
def test_recorded_responses_exchange_is_listed(name: str, url: str) -> None:
    assert f"{CATALOG[name].base_url}/responses" == url
    assert "responses" in CATALOG[name].apis


@pytest.mark.parametrize(
    ("name", "host"),
    [("anthropic", "api.anthropic.com"), ("huggingface", "router.huggingface.co")],
    ids=["anthropic", "huggingface"],
)
def test_host_agrees_where_the_recorded_path_is_another_one(name: str, host: str) -> None:
    assert urlsplit(CATALOG[name].base_url).hostname == host


def test_openai_row_speaks_the_full_dialect() -> None:
    row = CATALOG["openai"]
    assert row.apis == APIS
    assert row.base_url_env == "OPENAI_BASE_URL"
    assert row.quirks.max_tokens == "max_completion_tokens"
    assert row.quirks.developer_role
    assert row.quirks.allowed_tools
    assert [other.name for other in CATALOG.values() if other.quirks.allowed_tools] == ["openai"]


def test_mistral_is_asked_for_nothing_it_refuses() -> None:
    quirks = CATALOG["mistral"].quirks
    assert quirks.strict_fields
    assert not quirks.stream_usage
    assert quirks.max_tokens == "max_tokens"


def test_llamacpp_responses_are_left_to_translation() -> None:
    assert CATALOG["llamacpp"].apis == {"chat", "messages", "embeddings", "completions", "rerank"}
