"""Amazon Bedrock as a provider: a host that checks every signature, callers of Chat Completions and Responses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any, NamedTuple

import aiohttp
import pytest
import pytest_asyncio

from aigateway import Gateway
from aigateway.assembly import build, found_in
from aigateway.config import ConfigError, Source, parse
from aigateway.providers.bedrock import AWSCredentials, BedrockProvider, endpoint_of
from aigateway.providers.protocol import ProviderRequest
from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from tests.bedrock import (
    KEY_ID,
    REGION,
    SECRET,
    STREAM_TYPE,
    TOKEN,
    Object,
    Recorded,
    faults_of,
    frame,
    frames,
    guarded,
    recordings,
)
from tests.faults import PATHS
from tests.formats.responses_law import check_stream
from tests.playback import Heard, cut
from tests.said import Said, differences, of_chat, of_chat_stream, of_response, of_response_stream
from tests.schemas import chunk_faults, completion_faults, event_faults, resource_faults
from tests.serving import served

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALIAS = "claude"
MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
QUESTIONS: dict[str, Object] = {
    "chat": {"model": ALIAS, "messages": [{"role": "user", "content": "?"}]},
    "responses": {"model": ALIAS, "input": "?"},
}
USAGE = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 25, "cacheReadInputTokens": 20}
REPLY = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello"}]}},
    "stopReason": "end_turn",
    "usage": USAGE,
}
EVENTS: list[tuple[str, Object]] = [
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hel"}}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "lo"}}),
    ("contentBlockStop", {"contentBlockIndex": 0}),
    ("messageStop", {"stopReason": "end_turn"}),
    ("metadata", {"usage": USAGE}),
]


class Stage(NamedTuple):
    """A gateway served over HTTP in front of a Bedrock that checks signatures."""

    upstream: ScriptedUpstream
    session: aiohttp.ClientSession
    gateway: Gateway
    provider: BedrockProvider
    url: str

    async def ask(
        self, api: str, body: Object, answer: Callable[[ReceivedRequest], Script], model: str = MODEL
    ) -> Heard:
        """Ask in this API."""
        self.upstream.requests.clear()
        self.upstream.answer_with(guarded(answer))
        self.gateway.models.register(ALIAS, self.provider, model=model, replace=True)
        async with self.session.post(self.url + PATHS[api], json=body) as response:
            return Heard(response.status, await response.read())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with aiohttp.ClientSession() as session, ScriptedUpstream() as upstream:
        provider = BedrockProvider(
            region=REGION,
            credentials=AWSCredentials(KEY_ID, SECRET, TOKEN),
            base_url=f"http://127.0.0.1:{upstream.port}",
        )
        gateway = Gateway(providers=[provider])
        async with served(gateway) as url:
            yield Stage(upstream, session, gateway, provider, url)


def whole(_: ReceivedRequest) -> Script:
    return Script.of_json(REPLY)


def stream_of(raw: bytes, cuts: list[int] | None = None) -> Callable[[ReceivedRequest], Script]:
    """Answers with these bytes, in pieces."""
    return lambda _: Script(headers={"content-type": STREAM_TYPE}, pieces=cut(raw, cuts or []))


def refusal(status: int, kind: str, message: str) -> Callable[[ReceivedRequest], Script]:
    headers = {"x-amzn-errortype": f"{kind}:http://internal.amazon.com/coral/com.amazon.bedrock/"}
    return lambda _: Script.of_json({"message": message}, status, headers)


# signed, and asked as Converse wants it


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_a_whole_answer(stage: Stage, api: str) -> None:
    heard = await stage.ask(api, QUESTIONS[api], whole)
    assert heard.status == 200, heard.body
    said = (of_chat if api == "chat" else of_response)(heard.json())
    assert (said.text, said.finish, said.usage) == ("Hello", "stop", (23, 2, 25, 20, 0))
    (request,) = stage.upstream.requests
    assert (request.method, request.path) == ("POST", "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse")
    assert request.json() == {"messages": [{"role": "user", "content": [{"text": "?"}]}]}
    assert request.headers["accept"] == "application/json"
    assert request.headers["x-amz-security-token"] == TOKEN


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_a_stream(stage: Stage, api: str) -> None:
    heard = await stage.ask(api, {**QUESTIONS[api], "stream": True}, stream_of(frames(EVENTS), [5, 40, 133]))
    assert heard.status == 200, heard.body
    assert heard.done
    said = (of_chat_stream if api == "chat" else of_response_stream)(heard.events())
    assert (said.text, said.finish) == ("Hello", "stop")
    assert stage.upstream.requests[0].path.endswith("/converse-stream")
    assert stage.upstream.requests[0].headers["accept"] == STREAM_TYPE


async def test_the_arn_of_an_inference_profile_is_one_segment_of_the_path(stage: Stage) -> None:
    arn = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/a1b2"
    heard = await stage.ask("chat", QUESTIONS["chat"], whole, model=arn)
    assert heard.status == 200
    assert stage.upstream.requests[0].path == f"/model/{arn.replace(':', '%3A').replace('/', '%2F')}/converse"


async def test_one_connection_serves_several_calls(stage: Stage) -> None:
    for _ in range(3):
        assert (await stage.ask("chat", QUESTIONS["chat"], whole)).status == 200
    assert len(stage.upstream._connections) == 1


# recordings


def _translated(recorded: Recorded, api: str, heard: Heard) -> Said:
    if recorded.streamed:
        assert heard.done
        events = heard.events()
        if api == "chat":
            assert [fault for chunk in events for fault in chunk_faults(chunk)] == []
            return of_chat_stream(events)
        check_stream(events)
        assert [fault for event in events for fault in event_faults(event)] == []
        return of_response_stream(events)
    body = heard.json()
    assert (completion_faults(body) if api == "chat" else resource_faults(body)) == []
    return (of_chat if api == "chat" else of_response)(body)


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("recorded", [one for one in recordings() if one.status == 200], ids=lambda one: one.name)
async def test_a_recorded_answer_reaches_callers(stage: Stage, recorded: Recorded, api: str) -> None:
    random = Random(recorded.name)
    cuts = [random.randrange(len(recorded.body)) for _ in range(12)]
    kind = {"content-type": recorded.content_type}
    more: Object = {"stream": True} | ({"stream_options": {"include_usage": True}} if api == "chat" else {})
    heard = await stage.ask(
        api,
        QUESTIONS[api] | (more if recorded.streamed else {}),
        lambda _: Script(headers=kind, pieces=cut(recorded.body, cuts)),
        model=recorded.model,
    )
    assert heard.status == 200, heard.body
    found = differences(_translated(recorded, api, heard), recorded.said)
    found.pop("sealed", None)  # whether a caller's API has a place for signatures is its own matter
    assert found == {}


@pytest.mark.parametrize("recorded", [one for one in recordings() if one.status >= 400], ids=lambda one: one.name)
async def test_a_recorded_refusal_keeps_its_status_and_words(stage: Stage, recorded: Recorded) -> None:
    answer = Script(status=recorded.status, headers={"content-type": "application/json"}, body=recorded.body)
    heard = await stage.ask("chat", QUESTIONS["chat"], lambda _: answer)
    assert heard.status == recorded.status
    assert heard.json()["error"]["message"] == json.loads(recorded.body)["message"]


# errors


@pytest.mark.parametrize(
    ("status", "kind", "message", "expected"),
    [
        (429, "ThrottlingException", "Too many requests", (429, "rate_limit_error", "rate_limit_exceeded", True)),
        (429, "ModelNotReadyException", "not ready", (429, "rate_limit_error", "rate_limit_exceeded", True)),
        (400, "ServiceQuotaExceededException", "quota", (429, "rate_limit_error", "rate_limit_exceeded", True)),
        (400, "ValidationException", "no such field", (400, "invalid_request_error", "upstream_error", True)),
        (400, "ValidationException", "Input is too long for requested model.",
         (400, "invalid_request_error", "context_length_exceeded", True)),
        (400, "ValidationException", "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
         (400, "invalid_request_error", "context_length_exceeded", True)),
        (403, "AccessDeniedException", "no access", (403, "permission_error", "upstream_error", True)),
        (404, "ResourceNotFoundException", "no model", (404, "invalid_request_error", "not_found", True)),
        (408, "ModelTimeoutException", "too slow", (504, "upstream_error", "upstream_timeout", False)),
        (424, "ModelErrorException", "inner trouble", (502, "upstream_error", "upstream_error", False)),
        (500, "InternalServerException", "inner trouble", (502, "upstream_error", "upstream_error", False)),
        (503, "ServiceUnavailableException", "inner trouble", (502, "upstream_error", "upstream_error", False)),
    ],
    ids=lambda value: value.replace(" ", "-")[:30] if isinstance(value, str) else "",
)  # fmt: skip
async def test_a_refusal_has_the_status_of_its_exception(
    stage: Stage, status: int, kind: str, message: str, expected: tuple[int, str, str, bool]
) -> None:
    heard = await stage.ask("chat", QUESTIONS["chat"], refusal(status, kind, message))
    error = heard.json()["error"]
    assert (heard.status, error["type"], error["code"], message in error["message"]) == expected


async def test_an_exception_before_the_first_event_is_a_status(stage: Stage) -> None:
    raw = frame("throttlingException", {"message": "slow down"})
    heard = await stage.ask("chat", {**QUESTIONS["chat"], "stream": True}, stream_of(raw))
    assert (heard.status, heard.json()["error"]["message"]) == (429, "slow down")


@pytest.mark.parametrize("end", ["exception", "cut", "corrupt", "web page"])
async def test_a_stream_that_breaks_is_no_success(stage: Stage, end: str) -> None:
    begun = frames(EVENTS[:3])
    corrupt = bytearray(frame(*EVENTS[3]))
    corrupt[-9] ^= 1
    tails = {
        "exception": frame("modelStreamErrorException", {"message": "inner trouble"}),
        "cut": frame(*EVENTS[3])[:-2],
        "corrupt": bytes(corrupt),
        "web page": b"<html>bad gateway</html>",
    }
    heard = await stage.ask(
        "responses", {**QUESTIONS["responses"], "stream": True}, stream_of(begun + tails[end], [9, 200])
    )
    assert heard.status == 200
    assert [event["type"] for event in heard.events()][-2:] == ["error", "response.failed"]
    assert "Hello" not in str(heard.events()[-2])
    assert b"inner trouble" not in heard.body


async def test_a_bad_signature_is_told_without_what_amazon_repeats(stage: Stage) -> None:
    words = f"The Canonical String for this request should have been 'POST\nx-amz-security-token:{TOKEN}'"
    for kind in ("InvalidSignatureException", "AccessDeniedException"):
        heard = await stage.ask("chat", QUESTIONS["chat"], refusal(403, kind, words))
        assert heard.status == 403
        assert "refused the gateway's credentials" in heard.json()["error"]["message"]
        assert TOKEN.encode() not in heard.body


async def test_no_secret_and_no_principal_is_repeated(stage: Stage) -> None:
    words = f"User: arn:aws:iam::123456789012:user/gw ({KEY_ID}) with {TOKEN} may not do bedrock:InvokeModel"
    heard = await stage.ask("chat", QUESTIONS["chat"], refusal(403, "AccessDeniedException", words))
    assert heard.json()["error"]["message"] == "User: *** (***) with *** may not do bedrock:InvokeModel"


# the way in


class Kept:
    """A transport that keeps what is sent."""

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self.upstream = upstream

    async def ask(
        self, provider: BedrockProvider, headers: dict[str, str] | None = None, **more: Any
    ) -> ReceivedRequest:
        """One request straight to a provider; gives what arrived."""
        self.upstream.requests.clear()
        self.upstream.script(Script.of_json(REPLY))
        request = ProviderRequest(api="converse", path="/model/m%3A1/converse", model="m:1", body=b"{}", **more)
        request.headers = headers or {}
        reply = await provider.send(request)
        await reply.read()
        await reply.aclose()
        await provider.aclose()
        return self.upstream.requests[0]


@pytest_asyncio.fixture(loop_scope="module")
async def kept() -> AsyncIterator[Kept]:
    async with ScriptedUpstream() as upstream:
        yield Kept(upstream)


def provider_at(kept: Kept, **settings: Any) -> BedrockProvider:
    return BedrockProvider(region=REGION, base_url=f"http://127.0.0.1:{kept.upstream.port}", **settings)


async def test_an_api_key_is_sent_as_a_bearer(kept: Kept) -> None:
    for settings in (
        {"api_key": "bedrock-api-key-abc"},
        {"environ": {"AWS_BEARER_TOKEN_BEDROCK": "bedrock-api-key-abc"}},
    ):
        request = await kept.ask(provider_at(kept, **settings))
        assert request.headers["authorization"] == "Bearer bedrock-api-key-abc"
        assert not [name for name in request.headers if name.startswith("x-amz-")]


async def test_a_key_for_one_request_wins_over_the_credentials(kept: Kept) -> None:
    provider = provider_at(kept, credentials=AWSCredentials(KEY_ID, SECRET))
    assert (await kept.ask(provider, api_key="other-key")).headers["authorization"] == "Bearer other-key"


async def test_credentials_of_the_environment_sign(kept: Kept) -> None:
    environ = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
    request = await kept.ask(provider_at(kept, environ=environ), {"X-Amz-Custom": "one", "traceparent": "00-1"})
    assert faults_of(request) == []
    assert "x-amz-custom" in request.headers["authorization"]
    assert "traceparent" not in request.headers["authorization"]


async def test_a_function_is_asked_for_credentials_at_every_request(kept: Kept) -> None:
    given = iter([AWSCredentials(KEY_ID, SECRET, "first-token"), AWSCredentials(KEY_ID, SECRET, "second-token")])

    async def renew() -> AWSCredentials:
        await asyncio.sleep(0)
        return next(given)

    provider = provider_at(kept, credentials=renew)
    for token in ("first-token", "second-token"):
        request = await kept.ask(provider)
        assert (request.headers["x-amz-security-token"], faults_of(request)) == (token, [])


async def test_an_authorization_header_of_ones_own_is_left_alone(kept: Kept) -> None:
    provider = provider_at(kept, credentials=AWSCredentials(KEY_ID, SECRET), headers={"Authorization": "Proxy abc"})
    request = await kept.ask(provider)
    assert request.headers["authorization"] == "Proxy abc"
    assert "x-amz-date" not in request.headers


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"region": REGION}, "needs an api_key, or an access_key_id"),
        ({"api_key": "k"}, "needs a region"),
        ({"region": "evil.com/#", "api_key": "k"}, "must be one of AWS's"),
        ({"region": REGION, "api_key": "k", "credentials": AWSCredentials("a", "b")}, "not both"),
        ({"region": REGION, "environ": {"AWS_ACCESS_KEY_ID": "a"}}, "secret_access_key"),
    ],
)
async def test_a_provider_that_cannot_work_says_what_is_missing(settings: Object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BedrockProvider(**{"environ": {}, **settings})


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({"region": "us-west-2"}, "https://bedrock-runtime.us-west-2.amazonaws.com"),
        ({"environ": {"AWS_DEFAULT_REGION": "ap-south-1"}}, "https://bedrock-runtime.ap-south-1.amazonaws.com"),
        ({"region": "cn-north-1"}, "https://bedrock-runtime.cn-north-1.amazonaws.com.cn"),
        ({"base_url": "https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com/"},
         "https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com"),
    ],
)  # fmt: skip
async def test_the_region_says_where_it_is(settings: Object, url: str) -> None:
    provider = BedrockProvider(api_key="k", **{"environ": {}, **settings})
    assert provider.base_url == url
    assert "k" not in repr(provider).removeprefix("BedrockProvider('bedrock'")
    assert endpoint_of(provider.region).startswith("https://bedrock-runtime.")


# embeddings

EMBED = {"model": "embed", "input": ["one", "two"]}


async def embed(stage: Stage, body: Object, model: str, answer: Callable[[ReceivedRequest], Script]) -> Heard:
    stage.gateway.models.register("embed", stage.provider, model=model, replace=True)
    return await stage.ask("embeddings", body, answer)


def titan(request: ReceivedRequest) -> Script:
    text = request.json()["inputText"]
    return Script.of_json({"embedding": [len(text), 0.5], "inputTextTokenCount": 4})


def cohere(request: ReceivedRequest) -> Script:
    vectors = [[len(text), 0.25] for text in request.json()["texts"]]
    shape: Any = {"float": vectors} if len(vectors) == 1 else vectors
    return Script.of_json({"embeddings": shape}, headers={"x-amzn-bedrock-input-token-count": "6"})


async def test_titan_is_asked_once_for_each_text(stage: Stage) -> None:
    texts = [f"{'x' * number}" for number in range(1, 21)]
    heard = await embed(
        stage, {"model": "embed", "input": texts, "dimensions": 256}, "amazon.titan-embed-text-v2:0", titan
    )
    assert heard.status == 200, heard.body
    body = heard.json()
    assert [(one["index"], one["embedding"]) for one in body["data"]] == [(n, [n + 1, 0.5]) for n in range(20)]
    assert (body["model"], body["usage"]) == ("embed", {"prompt_tokens": 80, "total_tokens": 80})
    assert {request.path for request in stage.upstream.requests} == {"/model/amazon.titan-embed-text-v2%3A0/invoke"}
    assert all(request.json()["dimensions"] == 256 for request in stage.upstream.requests)


async def test_cohere_is_asked_for_many_texts_at_once(stage: Stage) -> None:
    texts = ["x"] * 97
    heard = await embed(
        stage, {"model": "embed", "input": texts, "encoding_format": "base64"}, "cohere.embed-english-v3", cohere
    )
    assert heard.status == 200, heard.body
    assert [len(request.json()["texts"]) for request in stage.upstream.requests] in ([96, 1], [1, 96])
    assert {request.json()["input_type"] for request in stage.upstream.requests} == {"search_document"}
    body = heard.json()
    assert len(body["data"]) == 97
    assert (body["data"][96]["embedding"], body["usage"]["total_tokens"]) == ("AACAPwAAgD4=", 12)


@pytest.mark.parametrize(
    ("model", "body", "param"),
    [
        ("anthropic.claude-v2", EMBED, "model"),
        ("amazon.titan-embed-text-v1", {**EMBED, "dimensions": 256}, "dimensions"),
        ("cohere.embed-english-v3", {**EMBED, "dimensions": 256}, "dimensions"),
        ("amazon.titan-embed-text-v2:0", {**EMBED, "input": [[1, 2]]}, "input"),
    ],
)
async def test_embeddings_that_a_model_cannot_make_are_refused(
    stage: Stage, model: str, body: Object, param: str
) -> None:
    heard = await embed(stage, body, model, titan)
    assert (heard.status, heard.json()["error"]["param"], stage.upstream.requests) == (400, param, [])


async def test_a_refused_embedding_is_the_answer(stage: Stage) -> None:
    answer = refusal(429, "ThrottlingException", "Too many requests")
    heard = await embed(stage, EMBED, "amazon.titan-embed-text-v2:0", answer)
    assert (heard.status, heard.json()["error"]["message"]) == (429, "Too many requests")


@pytest.mark.parametrize("reply", [{}, [], {"embedding": None}, {"embeddings": 1}])
async def test_what_is_no_embedding_is_an_error(stage: Stage, reply: Any) -> None:
    heard = await embed(stage, EMBED, "cohere.embed-english-v3", lambda _: Script.of_json(reply))
    assert heard.status == 502


# configuration


def configured(text: str, environ: dict[str, str] | None = None) -> Gateway:
    return build(parse(Source("gateway.yaml", text), environ or {}), environ or {})


FILE = f"""
providers:
  aws: {{type: bedrock, region: {REGION}, access_key_id: {KEY_ID}, secret_access_key: "${{SECRET}}", session_token: t}}
models:
  {ALIAS}: {{provider: aws, model: "{MODEL}", prefer: converse}}
"""


async def test_a_configuration_makes_one() -> None:
    gateway = configured(FILE, {"SECRET": SECRET})
    (target,) = gateway.models.find(ALIAS, None).targets  # type: ignore[union-attr]
    assert isinstance(target.provider, BedrockProvider)
    assert target.provider.base_url == f"https://bedrock-runtime.{REGION}.amazonaws.com"
    explained = await gateway.explain("chat", QUESTIONS["chat"])
    assert (explained.targets[0].mode, explained.targets[0].api) == ("translate", "converse")
    assert explained.targets[0].url == f"{target.provider.base_url}/model/{MODEL.replace(':', '%3A')}/converse"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            "type: bedrock, region: nowhere, api_key: k",
            "providers.aws.region: must be one of AWS's regions, like us-east-1",
        ),
        ("type: bedrock, access_key_id: a", "providers.aws.access_key_id: needs a secret_access_key beside it"),
        (
            "type: bedrock, secret_access_key: s3cret",
            "providers.aws.secret_access_key: needs a access_key_id beside it",
        ),
        ("type: bedrock, session_token: t, api_key: k", "providers.aws.session_token: needs a access_key_id beside it"),
        (
            "type: bedrock, access_key_id: a, secret_access_key: s3cret, api_key: k",
            "providers.aws.api_key: give a key or AWS",
        ),
        (
            "type: bedrock, base_path: /v1, api_key: k",
            "providers.aws.base_path: a provider of type bedrock has no such setting",
        ),
        ("type: openai, region: us-east-1", "providers.aws.region: only a provider of type bedrock has one"),
    ],
)
async def test_mistakes_in_a_configuration_are_told_by_their_place(settings: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(f"providers: {{aws: {{{settings}}}}}")
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)


async def test_a_configuration_without_a_way_in_says_so() -> None:
    with pytest.raises(ConfigError, match=r"environment: providers\.aws: .*AWS_BEARER_TOKEN_BEDROCK"):
        configured("providers: {aws: {type: bedrock, region: us-east-1}}")


async def test_the_environment_alone_makes_one() -> None:
    environ = {"AWS_BEARER_TOKEN_BEDROCK": "k", "AWS_REGION": REGION}
    assert list(found_in(environ)) == ["bedrock"]
    assert (
        found_in({"AWS_BEARER_TOKEN_BEDROCK": "k"}) == found_in({"AWS_ACCESS_KEY_ID": "a", "AWS_REGION": REGION}) == {}
    )
    gateway = configured("", environ)
    explained = await gateway.explain("chat", {**QUESTIONS["chat"], "model": MODEL})
    assert explained.targets[0].provider == "bedrock"


# what is not carried


async def test_what_a_caller_loses_is_listed_and_may_be_refused(stage: Stage) -> None:
    body = {**QUESTIONS["chat"], "seed": 1}
    stage.upstream.answer_with(guarded(whole))
    stage.gateway.models.register(ALIAS, stage.provider, model=MODEL, replace=True)
    async with stage.session.post(stage.url + PATHS["chat"], json=body) as response:
        assert (response.status, response.headers["x-aigateway-changes"]) == (200, "dropped:seed")
    headers = {"x-aigateway-on-unsupported": "reject"}
    async with stage.session.post(stage.url + PATHS["chat"], json=body, headers=headers) as response:
        assert (response.status, (await response.json())["error"]["param"]) == (400, "seed")


async def test_an_image_by_its_url_is_refused_with_its_place(stage: Stage) -> None:
    part = {"type": "input_image", "image_url": "https://example.com/cat.png", "detail": "auto"}
    body = {"model": ALIAS, "input": [{"role": "user", "content": [part]}]}
    heard = await stage.ask("responses", body, whole)
    error = heard.json()["error"]
    assert (heard.status, error["code"], error["param"]) == (400, "unsupported_content", "input[0].content[0]")
    assert stage.upstream.requests == []


async def test_a_call_of_a_forbidden_tool_is_held_back(stage: Stage) -> None:
    use = {"toolUseId": "t", "name": "weather", "input": {}}
    reply = {
        **REPLY,
        "output": {"message": {"role": "assistant", "content": [{"toolUse": use}]}},
        "stopReason": "tool_use",
    }
    function = {"name": "weather", "parameters": {"type": "object", "properties": {}}}
    past = [
        {"role": "user", "content": "?"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "a", "content": "warm"},
    ]
    body = {
        "model": ALIAS,
        "messages": past,
        "tools": [{"type": "function", "function": function}],
        "tool_choice": "none",
    }
    heard = await stage.ask("chat", body, lambda _: Script.of_json(reply))
    assert of_chat(heard.json()).calls == ()
    assert "toolConfig" in stage.upstream.requests[0].json()
