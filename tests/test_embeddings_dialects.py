"""Embeddings at vendors that have them in a form of their own, over real HTTP."""

from __future__ import annotations

import base64
import struct
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway import Gateway, Provider, Target, UnsupportedError, UpstreamProtocolError
from aigateway.formats.embeddings import cohere, voyage
from aigateway.testing import Script, ScriptedUpstream
from tests.passing import Got
from tests.serving import served

COHERE_S = {
    "id": "da6e531f",
    "embeddings": {"float": [[0.5, -1.0], [0.25, 2.0]]},
    "texts": ["a", "b"],
    "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 7}},
    "response_type": "embeddings_by_type",
}
VOYAGE_S = {
    "object": "list",
    "data": [{"object": "embedding", "embedding": [0.5, -1.0], "index": 0}],
    "model": "theirs",
    "usage": {"total_tokens": 7},
}


async def through(type: str, reply: Any, body: dict[str, Any], status: int = 200) -> tuple[Got, dict[str, Any], str]:
    async with ScriptedUpstream() as upstream, aiohttp.ClientSession() as session:
        upstream.script(Script.of_json(reply, status))
        provider = Provider("up", upstream.base_url, "key", type=type)
        async with (
            served(Gateway(models={"ours": Target(provider, "theirs")})) as url,
            session.post(f"{url}/v1/embeddings", json={"model": "ours"} | body) as response,
        ):
            got = Got(response.status, response.headers, await response.read())
        sent = upstream.requests[-1] if upstream.requests else None
        return got, sent.json() if sent else {}, sent.path if sent else ""


async def test_cohere_is_asked_in_its_own_form() -> None:
    got, sent, path = await through("cohere", COHERE_S, {"input": ["a", "b"], "dimensions": 2, "user": "u"})
    assert path == "/v1/embed"
    assert sent == {
        "model": "theirs",
        "texts": ["a", "b"],
        "input_type": "search_document",
        "embedding_types": ["float"],
        "output_dimension": 2,
    }
    assert got.json() == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, -1.0]},
            {"object": "embedding", "index": 1, "embedding": [0.25, 2.0]},
        ],
        "model": "ours",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
        "id": COHERE_S["id"],
        "meta": COHERE_S["meta"],
    }


async def test_what_only_cohere_reads_may_be_added() -> None:
    more = {"input_type": "search_query", "truncate": "END", "max_tokens": 9, "priority": 1, "of_tomorrow": True}
    _, sent, _ = await through("cohere", COHERE_S, {"input": "a", "embedding_types": ["float"], **more})
    assert sent == {"model": "theirs", "texts": ["a"], "embedding_types": ["float"], **more}


async def test_vectors_that_the_caller_s_api_cannot_hold_are_refused() -> None:
    got, sent, _ = await through("cohere", COHERE_S, {"input": "a", "embedding_types": ["int8"]})
    assert (got.status, got.json()["error"]["param"], sent) == (400, "embedding_types", {})


@pytest.mark.parametrize(("type", "reply"), [("cohere", COHERE_S), ("voyage", VOYAGE_S)], ids=["cohere", "voyage"])
async def test_base64_is_made_of_numbers_for_who_asks_for_it(type: str, reply: Any) -> None:
    got, sent, _ = await through(type, reply, {"input": ["a", "b"], "encoding_format": "base64"})
    assert "encoding_format" not in sent
    vector = got.json()["data"][0]["embedding"]
    assert struct.unpack("<2f", base64.b64decode(vector)) == (0.5, -1.0)


async def test_voyage_is_told_of_dimensions_in_its_own_word() -> None:
    got, sent, path = await through("voyage", VOYAGE_S, {"input": "a", "dimensions": 2, "input_type": "query"})
    assert path == "/v1/embeddings"
    assert sent == {"model": "theirs", "input": "a", "output_dimension": 2, "input_type": "query"}
    assert got.json()["usage"] == {"prompt_tokens": 7, "total_tokens": 7}


async def test_tokens_are_refused_where_only_texts_are_read() -> None:
    got, sent, _ = await through("cohere", COHERE_S, {"input": [1, 2]})
    assert (got.status, got.error["param"], got.error["code"]) == (400, "input", "unsupported_content")
    assert not sent


async def test_a_refusal_of_cohere_s_keeps_its_words() -> None:
    got, _, _ = await through("cohere", {"id": "x", "message": "invalid model"}, {"input": "a"}, 404)
    assert (got.status, got.error["message"]) == (404, "invalid model")


@pytest.mark.parametrize("reply", [{}, [], {"embeddings": []}, {"embeddings": {"int8": [[1]]}}], ids=str)
async def test_a_reply_without_vectors_is_the_upstream_s_fault(reply: Any) -> None:
    got, _, _ = await through("cohere", reply, {"input": "a"})
    assert (got.status, got.error["code"]) == (502, "upstream_protocol_error")


values = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["embeddings", "float", "meta", "tokens", "input_tokens", "usage"]), inner)
    ),
    max_leaves=8,
)


@given(values, st.dictionaries(st.sampled_from(["input", "dimensions", "input_type"]), values))
def test_anything_is_translated_or_refused(reply: Any, body: dict[str, Any]) -> None:
    for dialect in (cohere, voyage):
        name = dialect.__name__.rpartition(".")[2]
        try:
            getattr(dialect, f"encode_{name}")(body)
            getattr(dialect, f"decode_{name}")(reply, body)
        except (UnsupportedError, UpstreamProtocolError):
            continue
