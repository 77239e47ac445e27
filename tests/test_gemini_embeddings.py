"""Google's embeddings for callers and hosts of either form: Google's own, and OpenAI's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
from google import genai
from google.genai import errors, types
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI

from aigateway import Call, Gateway, GatewayError, Provider, Target
from aigateway.formats.embeddings.gemini import decode_contents, decode_gemini, encode_gemini, encode_vectors
from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from tests.answers import EMBEDDINGS_REPLY
from tests.compat.world import plain_http
from tests.serving import served

VECTORS: Any = {
    "embeddings": [{"values": [0.5, -0.25]}, {"values": [1.0, 2.0]}],
    "usageMetadata": {"promptTokenCount": 7},
}
TWO: Any = {**EMBEDDINGS_REPLY, "data": [{"embedding": [0.5, -0.25]}, {"embedding": "AACAPwAAAEA="}]}


class Usages:
    """Notes the usage of each call, and edits what is asked."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.shown: list[int | None] = []

    def before_request(self, call: Call) -> None:
        call.request.map_texts(str.upper)

    def after_response(self, call: Call, response: Any) -> None:
        self.shown.append(response.usage and response.usage.input_tokens)

    def on_complete(self, call: Call) -> None:
        self.tokens.append(call.usage.input_tokens if call.usage else -1)


class Rig(msgspec.Struct):
    google: Any
    openai: AsyncOpenAI
    upstream: ScriptedUpstream
    url: str

    @property
    def last(self) -> ReceivedRequest:
        return self.upstream.requests[-1]


@asynccontextmanager
async def rigged(api: str, *hooks: object, **provider: Any) -> AsyncIterator[Rig]:
    async with ScriptedUpstream() as upstream, httpx.AsyncClient() as session, plain_http() as http:
        target = Target(Provider("acme", upstream.base_url, "sk-upstream-0123456789", apis=[api], **provider), "theirs")
        async with served(Gateway(models={"ours": target}, hooks=hooks)) as url:
            options = types.HttpOptions(base_url=url, api_version="v1beta", httpx_async_client=session)
            google = genai.Client(api_key="AIza", http_options=options).aio
            client = AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-test", max_retries=0, http_client=http)
            yield Rig(google, client, upstream, url)


async def test_googles_sdk_embeds_at_a_host_of_openais_form() -> None:
    usages = Usages()
    async with rigged("embeddings", usages) as rig:
        rig.upstream.script(Script.of_json(TWO))
        answer = await rig.google.models.embed_content(
            model="ours", contents=["a", "b"], config=types.EmbedContentConfig(output_dimensionality=2)
        )
        assert [embedding.values for embedding in answer.embeddings] == [[0.5, -0.25], [1.0, 2.0]]
        assert rig.last.path == "/v1/embeddings"
        assert rig.last.json() == {"model": "theirs", "input": ["A", "B"], "dimensions": 2}
        assert rig.last.headers["authorization"] == "Bearer sk-upstream-0123456789"
    assert (usages.tokens, usages.shown) == ([11], [11])


async def test_one_content_gets_one_embedding_and_its_usage() -> None:
    async with rigged("embeddings") as rig, httpx.AsyncClient() as http:
        rig.upstream.script(Script.of_json(EMBEDDINGS_REPLY))
        body = {"content": {"parts": [{"text": "a"}, {"text": "b"}]}, "taskType": "RETRIEVAL_QUERY"}
        reply = await http.post(f"{rig.url}/v1beta/models/ours:embedContent", json=body)
        assert rig.last.json() == {"model": "theirs", "input": "a\nb"}
        assert reply.json()["embedding"] == {"values": [0.5, -0.25]}
        assert reply.json()["usageMetadata"]["promptTokenCount"] == 11
        assert reply.headers["x-aigateway-changes"] == "dropped:taskType"


async def test_openais_sdk_embeds_at_a_host_of_googles_form() -> None:
    usages = Usages()
    async with rigged("generate_content", usages) as rig:
        rig.upstream.script(Script.of_json(VECTORS))
        answer = await rig.openai.embeddings.create(
            model="ours", input=["a", "b"], dimensions=2, extra_body={"task_type": "RETRIEVAL_QUERY"}
        )
        assert [entry.embedding for entry in answer.data] == [[0.5, -0.25], [1.0, 2.0]], "base64, as the SDK asks for"
        assert (answer.model, answer.usage.prompt_tokens) == ("ours", 7)
        assert rig.last.path == "/v1/models/theirs:batchEmbedContents"
        assert rig.last.headers["x-goog-api-key"] == "sk-upstream-0123456789"
        assert "authorization" not in rig.last.headers
        more = {"taskType": "RETRIEVAL_QUERY", "outputDimensionality": 2, "model": "models/theirs"}
        assert rig.last.json() == {"requests": [{"content": {"parts": [{"text": text}]}, **more} for text in "AB"]}
    assert (usages.tokens, usages.shown) == ([7], [7])


async def test_googles_form_on_both_sides_is_passed_on_with_the_models_name_anew() -> None:
    usages = Usages()
    async with rigged("generate_content", usages) as rig:
        rig.upstream.script(Script.of_json(VECTORS))
        answer = await rig.google.models.embed_content(model="ours", contents=["a", "b"])
        assert [embedding.values for embedding in answer.embeddings] == [[0.5, -0.25], [1.0, 2.0]]
        assert rig.last.path == "/v1/models/theirs:batchEmbedContents"
        assert {request["model"] for request in rig.last.json()["requests"]} == {"models/theirs"}
        assert [request["content"]["parts"][0]["text"] for request in rig.last.json()["requests"]] == ["A", "B"]
    assert (usages.tokens, usages.shown) == ([7], [7])


@pytest.mark.parametrize("api", ["embeddings", "generate_content"])
async def test_refusals_are_told_in_the_callers_form(api: str) -> None:
    async with rigged(api) as rig:
        rig.upstream.script(Script.of_json({"error": {"message": "Slow down.", "code": 429}}, 429))
        with pytest.raises(errors.ClientError, match=r"Slow down\.") as caught:
            await rig.google.models.embed_content(model="ours", contents="a")
        assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")


async def test_a_provider_of_neither_is_named() -> None:
    async with rigged("chat") as rig:
        with pytest.raises(errors.ClientError, match="acme") as caught:
            await rig.google.models.embed_content(model="ours", contents="a")
        assert caught.value.code == 404
        assert not rig.upstream.requests


BAD: list[tuple[Any, str]] = [
    ({}, "content.parts"),
    ({"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "AA=="}}]}}, "content.parts"),
    ({"requests": []}, "requests"),
    ({"requests": [5]}, "requests[0]"),
    ({"requests": [{"content": {}}]}, "requests[0].content.parts"),
]


@pytest.mark.parametrize(("body", "param"), BAD, ids=["nothing", "an image", "no requests", "no request", "no parts"])
async def test_what_cannot_be_embedded_is_refused_by_its_place(body: Any, param: str) -> None:
    async with rigged("embeddings") as rig, httpx.AsyncClient() as http:
        reply = await http.post(f"{rig.url}/v1beta/models/ours:batchEmbedContents", json=body)
        assert reply.status_code == 400
        assert reply.json()["error"]["details"][1]["fieldViolations"][0]["field"] == param
        assert not rig.upstream.requests


values = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["embeddings", "values", "content", "parts", "text", "requests", "data", "embedding", "usageMetadata"]
            ),
            inner,
        )
    ),
    max_leaves=8,
)


@given(values, st.dictionaries(st.sampled_from(["input", "content", "requests", "dimensions"]), values))
def test_anything_is_translated_or_refused(reply: Any, body: dict[str, Any]) -> None:
    uses: list[Callable[[], Any]] = [
        lambda: encode_gemini(body),
        lambda: decode_gemini(reply, body),
        lambda: decode_contents(body, "m", []),
        lambda: encode_vectors(reply, batch=False),
    ]
    for use in uses:
        try:
            json.dumps(use())
        except GatewayError:
            continue
