"""`POST /v1/rerank` over real HTTP: relayed to hosts that have it as everybody, told to those that do not."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway import Call, Gateway, Hook, InvalidRequestError, Provider, ReplyLens, Target, UpstreamProtocolError
from aigateway.assembly import build
from aigateway.config import ConfigError, Source, parse
from aigateway.formats.rerank import dialects
from aigateway.formats.rerank.lens import RerankReply, RerankRequest, rerank_usage
from aigateway.providers.catalog import CATALOG
from aigateway.providers.dialects import DIALECTS
from aigateway.testing import Script, ScriptedUpstream
from tests.passing import Got
from tests.serving import served

ASKED: dict[str, Any] = {
    "model": "ours",
    "query": "what is a panda?",
    "documents": ["hi", {"text": "a bear"}, "a car"],
    "top_n": 2,
    "return_documents": True,
}
EVERYBODY_S: dict[str, Any] = {
    "model": "theirs",
    "object": "list",
    "usage": {"prompt_tokens": 30, "total_tokens": 30},
    "results": [
        {"index": 1, "relevance_score": 0.9, "document": {"text": "a bear"}},
        {"index": 0, "relevance_score": 0.1, "document": {"text": "hi"}},
    ],
}


class Told(Hook):
    """Notes the usage and what the model is given to read."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.texts: list[str] = []

    async def after_response(self, call: Call, reply: ReplyLens) -> None:
        self.texts = reply.texts()

    async def on_complete(self, call: Call) -> None:
        self.calls.append(call)


async def ask(url: str, body: dict[str, Any], path: str = "/v1/rerank") -> Got:
    async with aiohttp.ClientSession() as session, session.post(url + path, json=body) as response:
        return Got(response.status, response.headers, await response.read())


async def through(
    reply: Any, body: dict[str, Any] = ASKED, status: int = 200, hooks: tuple[object, ...] = (), **settings: Any
) -> tuple[Got, dict[str, Any], str]:
    """What the caller gets, what the upstream got, and where."""
    async with ScriptedUpstream() as upstream:
        upstream.script(Script.of_json(reply, status))
        provider = Provider("up", upstream.base_url, "key", **settings)
        async with served(Gateway(models={"ours": Target(provider, "theirs")}, hooks=hooks)) as url:
            got = await ask(url, body)
        sent = upstream.requests[-1] if upstream.requests else None
        return got, sent.json() if sent else {}, sent.path if sent else ""


@pytest.mark.parametrize("type", ["jina", "vllm", "localai", "siliconflow", "together", None])
async def test_hosts_that_have_it_as_everybody_get_the_caller_s_own_body(type: str | None) -> None:
    told = Told()
    got, sent, path = await through(EVERYBODY_S, hooks=(told,), type=type)
    assert path == "/v1/rerank"
    assert sent == ASKED | {"model": "theirs"}
    assert got.json() == EVERYBODY_S | {"model": "ours"}
    assert told.calls[0].usage is not None
    assert (told.calls[0].usage.input_tokens, told.calls[0].usage.output_tokens) == (30, 0)
    assert told.texts == ["a bear", "hi"]


DOCUMENTS = ["hi", "a bear", "a car"]
COHERE_S = {
    "id": "r1",
    "results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}],
    "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
}
VOYAGE_S = {
    "object": "list",
    "data": [{"index": 1, "relevance_score": 0.9, "document": "a bear"}, {"index": 0, "relevance_score": 0.1}],
    "model": "theirs",
    "usage": {"total_tokens": 30},
}
SGLANG_S = [
    {"score": 0.1, "document": "hi", "index": 0, "meta_info": {"id": "x"}},
    {"score": -3.5, "document": "a car", "index": 2},
    {"score": 0.9, "document": "a bear", "index": 1},
]


async def test_cohere_s_newer_clients_ask_below_v2() -> None:
    async with ScriptedUpstream() as upstream:
        upstream.script(Script.of_json(COHERE_S))
        provider = Provider("up", upstream.base_url.replace("/v1", "/v2"), "key", type="cohere")
        async with served(Gateway(models={"ours": Target(provider, "theirs")})) as url:
            got = await ask(url, ASKED, "/v2/rerank")
        assert (got.status, upstream.requests[-1].path) == (200, "/v2/rerank")


@pytest.mark.parametrize("type", ["cohere", "llamacpp"])
async def test_hosts_that_take_texts_only_get_texts_and_the_documents_come_back(type: str) -> None:
    got, sent, _ = await through(COHERE_S, type=type)
    wanted = {name: value for name, value in ASKED.items() if name != "return_documents"}
    assert sent == wanted | {"model": "theirs", "documents": DOCUMENTS}
    assert got.json() == COHERE_S | {"results": EVERYBODY_S["results"]}


async def test_what_a_host_tells_beside_the_score_comes_back() -> None:
    spans = [{"start": 0, "end": 2, "score": 0.5}]
    documents = [{"text": "hi", "title": "A greeting"}, "a bear"]
    reply = {"results": [{"index": 0, "relevance_score": 0.9, "relevant_spans": spans}]}
    asked = {"documents": documents, "return_documents": True, "relevant_spans": {"max_spans": 2}, "priority": 1}
    got, sent, _ = await through(reply, ASKED | asked, type="cohere")
    assert (sent["documents"], sent["relevant_spans"], sent["priority"]) == (["hi", "a bear"], {"max_spans": 2}, 1)
    assert got.json()["results"] == [
        {"index": 0, "relevance_score": 0.9, "relevant_spans": spans, "document": documents[0]}
    ]


async def test_documents_that_nobody_asked_for_do_not_come_back() -> None:
    body = {name: value for name, value in ASKED.items() if name != "return_documents"}
    got, _, _ = await through(COHERE_S, body, type="cohere")
    assert got.json()["results"] == COHERE_S["results"]


async def test_voyage_reads_top_k_and_says_data() -> None:
    told = Told()
    got, sent, _ = await through(VOYAGE_S, type="voyage", hooks=(told,))
    assert "top_n" not in sent
    assert (sent["top_k"], sent["documents"], sent["return_documents"]) == (2, DOCUMENTS, True)
    assert got.json()["results"] == EVERYBODY_S["results"]
    assert "data" not in got.json()
    assert got.json()["model"] == "ours"
    assert told.calls[0].usage is not None
    assert told.calls[0].usage.input_tokens == 30


async def test_sglang_s_array_becomes_a_reply_best_first() -> None:
    got, sent, _ = await through(SGLANG_S, type="sglang")
    assert sent["documents"] == DOCUMENTS
    best, second = EVERYBODY_S["results"]
    assert got.json()["results"] == [best, second | {"meta_info": {"id": "x"}}]
    assert got.json()["model"] == "ours"


async def test_an_unknown_host_may_be_told_in_a_dialect_by_name() -> None:
    got, sent, _ = await through(VOYAGE_S, dialects={"rerank": "voyage"})
    assert sent["top_k"] == 2
    assert got.json()["results"] == EVERYBODY_S["results"]


@pytest.mark.parametrize(
    ("documents", "place"),
    [("a", "documents"), (None, "documents"), (["a", 3], "documents[1]"), ([{"image": "u"}], "documents[0]")],
    ids=["text", "null", "number", "image"],
)
async def test_documents_that_a_host_of_texts_cannot_read_are_named(documents: Any, place: str) -> None:
    got, sent, _ = await through(COHERE_S, ASKED | {"documents": documents}, type="cohere")
    assert (got.status, got.error["param"], got.error["type"]) == (400, place, "invalid_request_error")
    assert not sent


ERRORS: dict[str, tuple[Any, int]] = {
    "cohere": ({"id": "x", "message": "invalid request: query must be present"}, 400),
    "voyage": ({"detail": "invalid request: query must be present"}, 400),
    "jina": ({"detail": "invalid request: query must be present"}, 422),
}


@pytest.mark.parametrize(("type", "said"), ERRORS.items(), ids=ERRORS.keys())
async def test_a_refusal_keeps_its_status_and_words(type: str, said: tuple[Any, int]) -> None:
    got, _, _ = await through(said[0], status=said[1], type=type)
    assert (got.status, got.error["message"]) == (said[1], "invalid request: query must be present")


@pytest.mark.parametrize("type", ["cohere", "voyage", "sglang"])
@pytest.mark.parametrize(
    "reply",
    [{}, [], 3, {"results": 3, "data": 3}, {"results": [{}], "data": [{}]}, [{"index": 0}]],
    ids=["empty", "array", "number", "no list", "no score", "no score in an array"],
)
async def test_a_reply_that_is_none_is_the_upstream_s_fault(type: str, reply: Any) -> None:
    if (type, reply) == ("sglang", []):
        return  # nothing was found: that is one
    got, _, _ = await through(reply, type=type)
    assert (got.status, got.error["code"]) == (502, "upstream_protocol_error")


async def test_a_result_for_a_document_that_was_not_sent_is_the_upstream_s_fault() -> None:
    reply = {"results": [{"index": 3, "relevance_score": 1}]}
    got, _, _ = await through(reply, type="cohere")
    assert got.status == 502


async def test_the_next_target_is_tried_where_a_host_fails() -> None:
    async with ScriptedUpstream() as broken, ScriptedUpstream() as well:
        broken.script(Script.of_json({}, 503))
        well.script(Script.of_json(EVERYBODY_S))
        targets = [Target(Provider(name, up.base_url, "k"), "theirs") for name, up in (("a", broken), ("b", well))]
        async with served(Gateway(models={"ours": targets})) as url:
            got = await ask(url, ASKED)
        assert (got.status, len(well.requests)) == (200, 1)


async def test_a_provider_that_has_no_rerank_is_not_asked() -> None:
    async with ScriptedUpstream() as upstream:
        provider = Provider("up", upstream.base_url, "k", type="openai")
        async with served(Gateway(models={"ours": provider})) as url:
            got = await ask(url, ASKED)
        assert (got.status, got.error["code"]) == (404, "unsupported_api")
        assert not upstream.requests


async def test_a_configured_dialect_is_spoken() -> None:
    async with ScriptedUpstream() as upstream:
        upstream.script(Script.of_json(VOYAGE_S))
        text = f"""
            providers: {{up: {{base_url: "{upstream.base_url}", dialects: {{rerank: voyage}}}}}}
            models: {{ours: {{provider: up, model: theirs}}}}
            """
        async with served(build(parse(Source("gateway.yaml", text), {}), {})) as url:
            assert (await ask(url, ASKED)).json()["results"] == EVERYBODY_S["results"]


def test_a_dialect_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match="there are sglang, texts, voyage"):
        parse(Source("g.yaml", "providers: {p: {base_url: 'http://h', dialects: {rerank: klingon}}}"), {})
    with pytest.raises(ValueError, match="known: none"):
        Provider("p", "http://h", dialects={"chat": "klingon"})


def test_every_dialect_of_the_catalog_is_one() -> None:
    for row in CATALOG.values():
        for api, name in row.dialects.items():
            assert api in row.apis
            assert name in DIALECTS[api]


# laws

FIELDS = ["results", "data", "index", "relevance_score", "score", "document", "text", "query", "documents", "top_n"]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=12,
)


@given(json_values, st.lists(st.text(), max_size=3), st.sampled_from(["texts", "voyage", "sglang"]))
def test_any_reply_is_decoded_or_refused(reply: Any, documents: list[str], name: str) -> None:
    decode = getattr(dialects, f"decode_{name}")
    try:
        answer = decode(reply, {"documents": documents, "return_documents": True, "top_n": 2})
    except UpstreamProtocolError:
        return
    for result in answer["results"]:
        assert result["document"]["text"] == documents[result["index"]]


@given(st.dictionaries(st.sampled_from(FIELDS), json_values), st.sampled_from(["texts", "voyage", "sglang"]))
def test_any_request_is_encoded_or_refused(body: dict[str, Any], name: str) -> None:
    before = msgspec.json.encode(body)
    try:
        sent = getattr(dialects, f"encode_{name}")(body)
    except InvalidRequestError:
        sent = None
    assert msgspec.json.encode(body) == before
    assert sent is None or all(isinstance(document, str) for document in sent["documents"])


@given(st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_lenses_take_any_body(body: dict[str, Any]) -> None:
    for lens in (RerankRequest(body), RerankReply(body)):
        texts = lens.texts()
        lens.map_texts(str.upper)
        assert lens.texts() == [text.upper() for text in texts]


@pytest.mark.parametrize("raw", [None, {}, 3, {"total_tokens": "3"}, {"total_tokens": 0}], ids=str)
def test_usage_that_is_none_is_none(raw: Any) -> None:
    assert rerank_usage(raw) is None


async def test_a_list_of_mistakes_is_told_by_its_first() -> None:
    detail = [{"type": "missing", "loc": ["body", "query"], "msg": "Field required"}, {"loc": [], "msg": "x"}]
    got, _, _ = await through({"detail": detail}, status=422, type="vllm")
    assert (got.status, got.error["message"], got.error["param"]) == (422, "query: Field required", "query")
