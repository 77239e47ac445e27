"""Azure OpenAI over real HTTP: where each operation goes, how it is entered, and what its filter says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from aigateway import Gateway, InvalidRequestError, Target, UpstreamError
from aigateway.assembly import build
from aigateway.config import ConfigError, Source, parse
from aigateway.providers.azure import AzureProvider
from aigateway.testing import Script, ScriptedUpstream, ScriptedWebSocket
from tests.answers import REPLIES
from tests.asking import Row, post
from tests.serving import served
from tests.token_server import TokenServer


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as server:
        server.script(Script.of_json(REPLIES["chat"]))
        yield server


def root(upstream: ScriptedUpstream) -> str:
    return f"http://127.0.0.1:{upstream.port}"


async def asked(upstream: ScriptedUpstream, row: Row, **settings: Any) -> Any:
    provider = AzureProvider("azure", settings.pop("base_url", root(upstream)), **settings)
    async with served(Gateway(models={"gpt": Target(provider, "my deployment")})) as url:
        await post(url, row)
    return upstream.requests[-1]


BASES = {
    "resource": "https://r.openai.azure.com",
    "slash": "https://r.openai.azure.com/",
    "openai": "https://r.openai.azure.com/openai",
    "v1": "https://r.openai.azure.com/openai/v1/",
}


@pytest.mark.parametrize("base_url", BASES.values(), ids=BASES.keys())
def test_the_base_may_be_written_in_any_length(base_url: str) -> None:
    assert AzureProvider("a", base_url, "k").base_url == "https://r.openai.azure.com/openai/v1"
    dated = AzureProvider("a", base_url, "k", api_version="2024-10-21")
    assert dated.base_url == "https://r.openai.azure.com/openai"


def test_a_front_of_one_s_own_keeps_its_path() -> None:
    assert AzureProvider("a", "https://apim.example/team/ai", "k").base_url == "https://apim.example/team/ai"
    dated = AzureProvider("a", "https://apim.example/team/openai", "k", api_version="2024-10-21")
    assert dated.base_url == "https://apim.example/team/openai"


PATHS = {
    "chat": (Row("chat", "chat"), "/openai/deployments/my%20deployment/chat/completions"),
    "embeddings": (Row("embeddings", "embeddings"), "/openai/deployments/my%20deployment/embeddings"),
    "images": (Row("images", "images"), "/openai/deployments/my%20deployment/images/generations"),
    "responses": (Row("responses", "responses"), "/openai/responses"),
}


@pytest.mark.parametrize(("row", "path"), PATHS.values(), ids=PATHS.keys())
async def test_a_dated_version_has_the_deployment_in_the_path(upstream: ScriptedUpstream, row: Row, path: str) -> None:
    raw = b'{"model":"gpt","messages":[{"role":"user","content":"a"}],"input":"a","prompt":"a"}'
    sent = await asked(upstream, Row(row.api, row.upstream, raw=raw), api_key="key-12345", api_version="2024-10-21")
    assert sent.path == f"{path}?api-version=2024-10-21"
    assert sent.json()["model"] == "my deployment"
    assert sent.headers["api-key"] == "key-12345"
    assert "authorization" not in sent.headers


async def test_v1_has_the_deployment_in_the_body_and_no_version(upstream: ScriptedUpstream) -> None:
    sent = await asked(upstream, Row("chat", "chat"), api_key="key-12345")
    assert sent.path == "/openai/v1/chat/completions"
    assert sent.json()["model"] == "my deployment"
    preview = await asked(upstream, Row("chat", "chat"), api_key="key-12345", api_version="preview")
    assert preview.path == "/openai/v1/chat/completions?api-version=preview"


async def test_a_query_of_the_caller_s_stays_before_the_version(upstream: ScriptedUpstream) -> None:
    provider = AzureProvider("azure", root(upstream), "key-12345", api_version="2025-04-01-preview")
    async with Gateway(providers=[provider]) as gateway:
        await gateway.request("files.list", query={"limit": "2"})
    assert upstream.requests[-1].path == "/openai/files?limit=2&api-version=2025-04-01-preview"


async def test_a_token_of_one_s_own_is_a_bearer(upstream: ScriptedUpstream) -> None:
    sent = await asked(upstream, Row("chat", "chat"), token=lambda: "entra-token")
    assert sent.headers["authorization"] == "Bearer entra-token"
    assert "api-key" not in sent.headers


def test_a_key_beside_a_token_is_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        AzureProvider("a", "https://r.openai.azure.com", "key", token=lambda: "token")


async def test_a_deployment_with_a_slash_is_refused(upstream: ScriptedUpstream) -> None:
    provider = AzureProvider("azure", root(upstream), "key-12345", api_version="2024-10-21")
    async with Gateway(models={"gpt": Target(provider, "../admin")}) as gateway:
        with pytest.raises(InvalidRequestError, match="deployment"):
            await gateway.chat(model="gpt", messages=[{"role": "user", "content": "a"}])
    assert not upstream.requests


FILTERED = {
    "error": {
        "message": "The response was filtered due to the prompt triggering the content management policy.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True}}},
    }
}


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_what_the_content_filter_refused_keeps_its_code(upstream: ScriptedUpstream, api: str) -> None:
    upstream.script(Script.of_json(FILTERED, 400))
    provider = AzureProvider("azure", root(upstream), "key-12345", apis={"chat"})
    async with served(Gateway(models={"gpt": provider})) as url:
        seen = await post(url, Row(api, "chat"))
    error = seen.json()["error"]
    assert (seen.status, error["code"], error["param"]) == (400, "content_filter", "prompt")
    assert "content management policy" in error["message"]


async def test_the_filter_s_first_chunk_without_choices_breaks_no_client(upstream: ScriptedUpstream) -> None:
    head = {"id": "", "object": "", "created": 0, "model": "", "choices": []}
    filtered = {"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}}}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    choice = {"index": 0, "delta": {"role": "assistant", "content": "hi"}, "finish_reason": None}
    end = {"index": 0, "delta": {}, "finish_reason": "stop", "content_filter_results": {"hate": {"filtered": False}}}
    events = [head | {"prompt_filter_results": [filtered]}, chunk | {"choices": [choice]}, chunk | {"choices": [end]}]
    upstream.script(Script.of_events(events))
    provider = AzureProvider("azure", root(upstream), "key-12345")
    async with served(Gateway(models={"gpt": provider})) as url:
        seen = await post(url, Row("chat", "chat", stream=True))
    assert all(event["choices"] for event in seen.events)
    assert seen.events[0]["prompt_filter_results"] == [filtered]
    assert seen.events[-1]["choices"][0]["content_filter_results"] == {"hate": {"filtered": False}}


async def test_a_session_names_the_deployment_where_the_version_wants_it() -> None:
    async with ScriptedWebSocket() as socket:
        base = socket.base_url.removesuffix("/v1")
        for version, query in (
            (None, "model=rt"),
            ("2024-10-01-preview", "api-version=2024-10-01-preview&deployment=rt"),
        ):
            provider = AzureProvider("azure", base, "key-12345", api_version=version)
            assert provider._session_path(_connect()).partition("?")[2] == query


def _connect() -> Any:
    from aigateway import ConnectRequest  # noqa: PLC0415

    return ConnectRequest(api="realtime", path="/realtime", model="rt", query=[("model", "rt")])


# by configuration


async def test_a_configured_application_of_entra_reaches_its_resource(upstream: ScriptedUpstream) -> None:
    async with TokenServer() as tokens:
        text = f"""
            providers:
              work:
                type: azure
                base_url: {root(upstream)}
                api_version: "2024-10-21"
                entra: {{tenant_id: t, client_id: c, client_secret: "${{SECRET}}", authority: "{tokens.url}"}}
            models:
              gpt: {{provider: work, model: d}}
            """
        config = parse(Source("gateway.yaml", text), {"SECRET": "s3cret-s3cret"})
        assert "s3cret" not in repr(config)
        async with served(build(config, {})) as url:
            for _ in range(3):
                assert (await post(url, Row("chat", "chat"))).status == 200
        assert tokens.form()["client_secret"] == "s3cret-s3cret"
        assert len(tokens.requests) == 1
    assert {request.headers["authorization"] for request in upstream.requests} == {"Bearer token-1"}
    assert upstream.requests[0].path == "/openai/deployments/d/chat/completions?api-version=2024-10-21"


async def test_without_a_token_the_caller_hears_of_the_gateway_s_credentials(upstream: ScriptedUpstream) -> None:
    async with TokenServer() as tokens:
        tokens.script(Script.of_json({"error": "invalid_client", "error_description": "app c in tenant t"}, 401))
        text = f"""
            providers: {{azure: {{base_url: "{root(upstream)}", entra: {{tenant_id: t, client_id: c, client_secret: s,
              authority: "{tokens.url}"}}}}}}
            """
        async with served(build(parse(Source("gateway.yaml", text), {}), {})) as url:
            seen = await post(url, Row("chat", "chat"))
    error = seen.json()["error"]
    assert (seen.status, error["code"]) == (502, "upstream_token_error")
    assert "invalid_client" in error["message"]
    assert "tenant t" not in error["message"]
    assert not upstream.requests


async def test_the_environment_of_azure_s_own_clients_makes_it_known(upstream: ScriptedUpstream) -> None:
    environ = {"AZURE_OPENAI_ENDPOINT": root(upstream), "AZURE_OPENAI_API_KEY": "key-12345"}
    async with served(build(parse(Source("gateway.yaml", ""), environ), environ)) as url:
        assert (await post(url, Row("chat", "chat"))).status == 200
    assert upstream.requests[0].path == "/openai/v1/chat/completions"
    assert upstream.requests[0].headers["api-key"] == "key-12345"


WRONG = {
    "a key beside entra": (
        "type: azure, api_key: k, entra: {tenant_id: t, client_id: c, client_secret: s}",
        "not both",
    ),
    "an empty tenant": ("type: azure, entra: {tenant_id: '', client_id: c, client_secret: s}", "must not be empty"),
    "a version elsewhere": ("type: openai, api_version: v1", "only a provider of type azure has one"),
    "a project elsewhere": ("type: azure, project: p", "only a provider of type vertex or vertex-anthropic has one"),
}


@pytest.mark.parametrize(("settings", "words"), WRONG.values(), ids=WRONG.keys())
def test_settings_that_do_not_fit_are_refused(settings: str, words: str) -> None:
    text = f"providers: {{p: {{base_url: 'https://h.example', {settings}}}}}"
    with pytest.raises(ConfigError, match=words):
        parse(Source("gateway.yaml", text), {})


async def test_an_error_of_the_resource_shows_no_token(upstream: ScriptedUpstream) -> None:
    upstream.script(Script.of_json({"error": {"code": "401", "message": "bad token entra-token-1234"}}, 401))
    provider = AzureProvider("azure", root(upstream), token=lambda: "entra-token-1234")
    async with Gateway(models={"gpt": provider}) as gateway:
        with pytest.raises(UpstreamError) as caught:
            await gateway.chat(model="gpt", messages=[{"role": "user", "content": "a"}])
    assert "entra-token-1234" not in caught.value.message


async def test_explain_shows_the_place_and_a_deployment_that_is_none() -> None:
    provider = AzureProvider("azure", "https://r.openai.azure.com", "key", api_version="2024-10-21")
    targets = [Target(provider, "d"), Target(provider, "../x")]
    async with Gateway(models={"gpt": targets}) as gateway:
        explained = await gateway.explain("chat", {"model": "gpt", "messages": [{"role": "user", "content": "a"}]})
    url = "https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21"
    assert explained.targets[0].url == url
    assert "deployment" in explained.targets[1].error
