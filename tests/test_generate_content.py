"""Gemini's API at the edge: paths, keys, the array form, relay byte for byte, crossings with signatures, counting."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import pytest

from aigateway import Call, Gateway, Provider, Target
from aigateway.canonical.quirks import Quirks
from aigateway.hooks.api_keys import APIKeyAuthenticator
from aigateway.testing import Script, ScriptedUpstream
from tests.answers import GENERATE_CONTENT_EVENTS, GENERATE_CONTENT_REPLY, TEXT, data_of, stream, whole
from tests.serving import served

pytestmark = pytest.mark.asyncio

Object = dict[str, Any]
ASK: Object = {"contents": [{"role": "user", "parts": [{"text": "the question"}]}]}
SIGNATURE = "c2lnbmVkIQ=="
CALL: Object = {
    "candidates": [
        {
            "content": {
                "role": "model",
                "parts": [
                    {"text": "thinking", "thought": True},
                    {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": SIGNATURE},
                    {"functionCall": {"name": "f", "args": {"a": 2}}},
                ],
            },
            "finishReason": "STOP",
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 11,
        "candidatesTokenCount": 4,
        "thoughtsTokenCount": 3,
        "cachedContentTokenCount": 2,
        "totalTokenCount": 18,
    },
    "modelVersion": "gemini-3-pro",
    "responseId": "abcdefgh",
}


class Heard(NamedTuple):
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Rig(NamedTuple):
    """A served gateway whose model `gemini` is `gemini-3-pro` of one upstream."""

    upstream: ScriptedUpstream
    session: aiohttp.ClientSession
    url: str

    async def post(self, path: str, body: Any, **headers: str) -> Heard:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.post(self.url + path, json=body, headers=named) as reply:
            return Heard(reply.status, {k.lower(): v for k, v in reply.headers.items()}, await reply.read())


@asynccontextmanager
async def rigged(api: str, *hooks: object, model: str = "gemini-3-pro", **settings: Any) -> AsyncIterator[Rig]:
    async with ScriptedUpstream() as upstream, aiohttp.ClientSession() as session:
        provider = Provider("acme", upstream.base_url, "sk-upstream-0123456789", apis=[api], **settings)
        gateway = Gateway(models={"gemini": Target(provider, model)}, hooks=hooks)
        async with served(gateway) as url:
            yield Rig(upstream, session, url)


async def test_both_versions_are_served_and_the_model_stands_in_the_path_upstream() -> None:
    async with rigged("generate_content") as rig:
        rig.upstream.script(whole("generate_content"))
        for version in ("v1beta", "v1"):
            heard = await rig.post(f"/{version}/models/gemini:generateContent", ASK)
            assert heard.status == 200
            assert heard.json() == GENERATE_CONTENT_REPLY | {"modelVersion": "gemini"}
        for request in rig.upstream.requests:
            assert request.path == "/v1/models/gemini-3-pro:generateContent"
            assert request.json() == ASK
            assert request.headers["x-goog-api-key"] == "sk-upstream-0123456789"
            assert "authorization" not in request.headers


async def test_a_stream_is_events_where_asked_for_and_else_an_array() -> None:
    async with rigged("generate_content") as rig:
        rig.upstream.script(stream("generate_content"))
        told = [event | {"modelVersion": "gemini"} for event in GENERATE_CONTENT_EVENTS]
        events = await rig.post("/v1beta/models/gemini:streamGenerateContent?alt=sse", ASK)
        assert events.headers["content-type"] == "text/event-stream"
        assert data_of(events.body) == told
        array = await rig.post("/v1beta/models/gemini:streamGenerateContent", ASK)
        assert array.headers["content-type"] == "application/json"
        assert array.json() == told
        assert {request.path for request in rig.upstream.requests} == {
            "/v1/models/gemini-3-pro:streamGenerateContent?alt=sse"
        }


async def test_a_stream_that_breaks_tells_the_error_in_its_array() -> None:
    async with rigged("generate_content") as rig:
        rig.upstream.script(stream("generate_content", GENERATE_CONTENT_EVENTS[:1], fault="cut"))
        array = await rig.post("/v1beta/models/gemini:streamGenerateContent", ASK)
        first, error = array.json()
        assert first["candidates"][0]["content"]["parts"] == [{"text": "Hello"}]
        assert error["error"]["status"] == "UNAVAILABLE"


@pytest.mark.parametrize("place", ["query", "x-goog-api-key", "authorization"])
async def test_the_callers_key_is_taken_from_where_google_has_it_and_goes_no_further(place: str) -> None:
    seen: list[str] = []

    class Watch:
        def before_request(self, call: Call) -> None:
            seen.append(call.query)

    key = "caller-key-123"
    async with rigged("generate_content", APIKeyAuthenticator({key: "team"}), Watch()) as rig:
        rig.upstream.script(stream("generate_content"))
        path = "/v1beta/models/gemini:streamGenerateContent?alt=sse"
        headers = {"x-goog-api-key": {"x_goog_api_key": key}, "authorization": {"authorization": f"Bearer {key}"}}
        asked = f"{path}&key={key}" if place == "query" else path
        assert (await rig.post(asked, ASK, **headers.get(place, {}))).status == 200
        assert seen == ["alt=sse"]
        (request,) = rig.upstream.requests
        assert key not in request.path + str(request.headers)
        refused = await rig.post(f"{path}&key=wrong-key-456", ASK)
        assert (refused.status, refused.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
        assert b"wrong-key-456" not in refused.body


async def test_a_signed_call_reaches_a_caller_of_chat_and_comes_back_on_the_call() -> None:
    async with rigged("generate_content") as rig:
        rig.upstream.script(Script.of_json(CALL), whole("generate_content"))
        first = await rig.post(
            "/v1/chat/completions", {"model": "gemini", "messages": [{"role": "user", "content": "q"}]}
        )
        message = first.json()["choices"][0]["message"]
        one, two = message["tool_calls"]
        assert one["extra_content"] == {"google": {"thought_signature": SIGNATURE}}
        assert "extra_content" not in two
        assert message["reasoning_content"] == "thinking"
        assert first.json()["choices"][0]["finish_reason"] == "tool_calls"
        assert first.json()["usage"]["completion_tokens"] == 7
        assert first.json()["usage"]["completion_tokens_details"]["reasoning_tokens"] == 3
        assert first.json()["usage"]["prompt_tokens_details"]["cached_tokens"] == 2
        results = [{"role": "tool", "tool_call_id": call["id"], "content": "done"} for call in (two, one)]
        asked = {"model": "gemini", "messages": [{"role": "user", "content": "q"}, message, *results]}
        assert (await rig.post("/v1/chat/completions", asked)).status == 200
        _, model, answer = rig.upstream.requests[-1].json()["contents"]
        called = [part for part in model["parts"] if "functionCall" in part]
        assert [part.get("thoughtSignature") for part in called] == [SIGNATURE, None]
        ids = [part["functionResponse"]["id"] for part in answer["parts"]]
        assert ids == [one["id"], two["id"]]
        assert {part["functionResponse"]["name"] for part in answer["parts"]} == {"f"}


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_signed_call_reaches_a_caller_of_responses_and_comes_back_on_the_call(streamed: bool) -> None:
    async with rigged("generate_content") as rig:
        first = stream("generate_content", [CALL]) if streamed else Script.of_json(CALL)
        rig.upstream.script(first, whole("generate_content"))
        asked: Object = {"model": "gemini", "input": "q", "include": ["reasoning.encrypted_content"]}
        heard = await rig.post("/v1/responses", asked | {"stream": streamed})
        output = data_of(heard.body)[-2]["response"]["output"] if streamed else heard.json()["output"]
        calls = [item for item in output if item["type"] == "function_call"]
        results = [{"type": "function_call_output", "call_id": item["call_id"], "output": "done"} for item in calls]
        again = [{"role": "user", "content": "q"}, *output, *results]
        assert (await rig.post("/v1/responses", {"model": "gemini", "input": again})).status == 200
        model = rig.upstream.requests[-1].json()["contents"][1]
        called = [part for part in model["parts"] if "functionCall" in part]
        assert [part.get("thoughtSignature") for part in called] == [SIGNATURE, None]


async def test_a_call_that_another_model_made_gets_the_word_that_stands_for_a_signature() -> None:
    called = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
    ]
    for model, signed in (("gemini-3-pro", True), ("gemini-2.5-pro", False)):
        async with rigged("generate_content", model=model) as rig:
            rig.upstream.script(whole("generate_content"))
            await rig.post("/v1/chat/completions", {"model": "gemini", "messages": messages})
            (part,) = rig.upstream.requests[0].json()["contents"][1]["parts"]
            assert ("thoughtSignature" in part) is signed


async def test_a_blocked_prompt_is_an_answer_that_a_filter_ended() -> None:
    async with rigged("generate_content") as rig:
        blocked = {
            "promptFeedback": {"blockReason": "SAFETY"},
            "usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 3},
        }
        rig.upstream.script(Script.of_json(blocked))
        heard = await rig.post(
            "/v1/chat/completions", {"model": "gemini", "messages": [{"role": "user", "content": "q"}]}
        )
        assert heard.json()["choices"][0]["finish_reason"] == "content_filter"
        relayed = await rig.post("/v1beta/models/gemini:generateContent", ASK)
        assert relayed.json() == blocked


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"])
async def test_an_answer_that_is_none_is_an_error_which_another_target_may_mend(reason: str) -> None:
    broken = {"candidates": [{"content": {}, "finishReason": reason}], "modelVersion": "m"}
    async with ScriptedUpstream() as one, ScriptedUpstream() as other, aiohttp.ClientSession() as session:
        one.script(Script.of_json(broken))
        other.script(whole("chat"))
        providers = [
            Provider("one", one.base_url, "k", apis=["generate_content"]),
            Provider("other", other.base_url, "k", apis=["chat"]),
        ]
        async with served(Gateway(models={"gemini": providers})) as url:
            rig = Rig(other, session, url)
            heard = await rig.post(
                "/v1/chat/completions", {"model": "gemini", "messages": [{"role": "user", "content": "q"}]}
            )
            assert heard.json()["choices"][0]["message"]["content"] == TEXT


async def test_what_chat_lacks_is_told_and_left_out() -> None:
    async with rigged("chat") as rig:
        rig.upstream.script(whole("chat"))
        asked = ASK | {
            "tools": [{"googleSearch": {}}],
            "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
            "generationConfig": {
                "topK": 3,
                "responseSchema": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}},
            },
        }
        heard = await rig.post("/v1beta/models/gemini:generateContent", asked)
        assert heard.status == 200
        assert {"dropped:tools", "dropped:safetySettings"} <= set(heard.headers["x-aigateway-changes"].split(","))
        sent = rig.upstream.requests[0].json()
        schema = sent["response_format"]["json_schema"]["schema"]
        assert schema == {"type": "object", "properties": {"a": {"type": "string"}}}


async def test_a_host_without_json_schema_gets_the_subset_and_the_caller_is_told_what_it_lacks() -> None:
    tool = {
        "type": "function",
        "function": {
            "name": "f",
            "parameters": {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False},
        },
    }
    asked = {
        "model": "gemini",
        "messages": [{"role": "user", "content": "q"}],
        "tools": [tool],
        "reasoning_effort": "low",
    }
    for quirks, key in ((Quirks(), "parametersJsonSchema"), (Quirks(json_schema=False), "parameters")):
        async with rigged("generate_content", quirks=quirks) as rig:
            rig.upstream.script(whole("generate_content"))
            heard = await rig.post("/v1/chat/completions", asked)
            sent = rig.upstream.requests[0].json()
            (declared,) = sent["tools"][0]["functionDeclarations"]
            assert set(declared) == {"name", key}
            assert sent["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "low", "includeThoughts": True}
            assert ("changed:tools" in heard.headers.get("x-aigateway-changes", "")) is (key == "parameters")


@pytest.mark.parametrize(("api", "total"), [("generate_content", 42), ("chat", 7)])
async def test_tokens_are_counted_by_who_can_and_else_estimated(api: str, total: int) -> None:
    async with rigged(api) as rig:
        rig.upstream.script(Script.of_json({"totalTokens": 42}))
        heard = await rig.post("/v1beta/models/gemini:countTokens", ASK)
        assert heard.json() == {"totalTokens": total}
        assert len(rig.upstream.requests) == (1 if api == "generate_content" else 0)


async def test_embeddings_of_a_provider_that_speaks_the_api_are_passed_on() -> None:
    async with rigged("generate_content") as rig:
        rig.upstream.script(Script.of_json({"embedding": {"values": [0.5]}}))
        heard = await rig.post("/v1beta/models/gemini:embedContent", {"content": {"parts": [{"text": "q"}]}})
        assert heard.json() == {"embedding": {"values": [0.5]}}
        assert rig.upstream.requests[0].path == "/v1/models/gemini-3-pro:embedContent"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": [{"role": "system", "parts": []}]}, "contents[0].role"),
        (
            {"contents": [{"parts": [{"functionCall": {"name": "f", "args": []}}]}]},
            "contents[0].parts[0].functionCall.args",
        ),
        (ASK | {"generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
    ],
)
async def test_a_bad_field_is_named(body: Object, param: str) -> None:
    async with rigged("chat") as rig:
        heard = await rig.post("/v1beta/models/gemini:generateContent", body)
        error = heard.json()["error"]
        assert (heard.status, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
        assert error["details"][1]["fieldViolations"][0]["field"] == param
        assert rig.upstream.requests == []


async def test_the_catalogs_gemini_speaks_its_own_api_beside_the_one_that_imitates_openais() -> None:
    async with ScriptedUpstream() as upstream, aiohttp.ClientSession() as session:
        base = upstream.base_url.removesuffix("/v1") + "/v1beta/openai"
        provider = Provider("gemini", base, "AIza-key-of-the-gateway", type="gemini")
        async with served(Gateway(models={"gemini": provider})) as url:
            rig = Rig(upstream, session, url)
            upstream.script(whole("chat"))
            await rig.post("/v1/chat/completions", {"model": "gemini", "messages": [{"role": "user", "content": "q"}]})
            upstream.script(whole("generate_content"))
            await rig.post("/v1beta/models/gemini:generateContent", ASK)
            heard = await rig.post("/v1/responses", {"model": "gemini", "input": "q"})
            assert heard.json()["output"][0]["content"][0]["text"] == TEXT
    paths = [request.path for request in upstream.requests]
    native = "/v1beta/models/gemini:generateContent"
    assert paths == ["/v1beta/openai/chat/completions", native, native]
