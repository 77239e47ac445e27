"""Vertex AI over real HTTP: hosts, paths, bodies, and tokens of service accounts and machines."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from aigateway import InvalidRequestError, ProviderRequest, UnsupportedError
from aigateway.assembly import build
from aigateway.config import ConfigError, Source, parse
from aigateway.providers.google import metadata_token, service_account_token
from aigateway.providers.secret import reveal
from aigateway.providers.token import TokenError
from aigateway.providers.vertex import VertexProvider, host_of
from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from tests.answers import REPLIES
from tests.asking import Row, post
from tests.serving import served
from tests.token_server import TokenServer, refused

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: Any = KEY) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def account(token_uri: str, **more: Any) -> dict[str, Any]:
    facts = {"type": "service_account", "client_email": "me@p.iam.gserviceaccount.com", "private_key_id": "k1"}
    return facts | {"private_key": pem(), "token_uri": token_uri} | more


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as server:
        server.script(Script.of_json({"ok": True}))
        yield server


@pytest.fixture
async def tokens() -> AsyncIterator[TokenServer]:
    async with TokenServer() as server:
        yield server


# where


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("us-central1", "us-central1-aiplatform.googleapis.com"),
        ("global", "aiplatform.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
    ],
    ids=["region", "global", "multi-region"],
)
def test_each_location_has_its_host(location: str, host: str) -> None:
    assert host_of(location) == host
    provider = VertexProvider("v", "proj", location, "token")
    assert provider.base_url == f"https://{host}/v1/projects/proj/locations/{location}"


RECORDED = "https://aiplatform.googleapis.com/v1beta1/projects/pydantic-ai/locations/global/publishers/google/models/"


@pytest.mark.parametrize("verb", ["gemini-2.0-flash:generateContent", "gemini-2.5-flash:countTokens"])
def test_the_path_of_generate_content_is_that_of_the_recordings(verb: str) -> None:
    provider = VertexProvider("v", "pydantic-ai", "global", "token")
    request = ProviderRequest(api="generate_content", path=f"/models/{verb}", model="", body=b"{}")
    assert provider.base_url + provider._located(request).path == RECORDED.replace("v1beta1", "v1") + verb


@pytest.mark.parametrize(
    "place", [("", "us"), ("a/b", "us"), ("p", "us/../x"), ("p", "US"), ("p", "evil.example#")], ids=str
)
def test_what_is_no_place_is_refused(place: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="must be the name of one"):
        VertexProvider("v", *place, "token")


async def sent(upstream: ScriptedUpstream, **asked: Any) -> ReceivedRequest:
    base = f"http://127.0.0.1:{upstream.port}"
    provider = VertexProvider("v", "proj", "global", lambda: "token-1", base_url=base, apis=[asked["api"]])
    try:
        reply = await provider.send(ProviderRequest(**asked))
        await reply.read()
        await reply.aclose()
    finally:
        await provider.aclose()
    request = upstream.requests[-1]
    assert request.headers["authorization"] == "Bearer token-1"
    assert "x-api-key" not in request.headers
    assert "x-goog-api-key" not in request.headers
    assert request.path.startswith("/v1/projects/proj/locations/global/")
    return request


CLAUDE = (
    b'{"model":"claude-sonnet-4@20250514","max_tokens":10,"messages":[{"role":"user","content":"a"}],"stream":true}'
)


@pytest.mark.parametrize(
    ("stream", "verb"), [(False, "rawPredict"), (True, "streamRawPredict")], ids=["unary", "stream"]
)
async def test_claude_has_its_model_in_the_path_and_the_version_in_the_body(
    upstream: ScriptedUpstream, stream: bool, verb: str
) -> None:
    model = "claude-sonnet-4@20250514"
    request = await sent(upstream, api="messages", path="/messages", model=model, body=CLAUDE, stream=stream)
    assert request.path.endswith(f"/publishers/anthropic/models/claude-sonnet-4@20250514:{verb}")
    body = request.json()
    assert body.pop("anthropic_version") == "vertex-2023-10-16"
    assert "model" not in body
    assert body == {name: value for name, value in json.loads(CLAUDE).items() if name != "model"}


async def test_a_version_that_the_caller_put_in_the_body_stays(upstream: ScriptedUpstream) -> None:
    body = b'{"anthropic_version":"vertex-2099-01-01","messages":[]}'
    request = await sent(upstream, api="messages", path="/messages", model="claude", body=body)
    assert request.json()["anthropic_version"] == "vertex-2099-01-01"


async def test_claude_s_tokens_are_counted_at_a_model_of_their_own(upstream: ScriptedUpstream) -> None:
    asked = {"api": "messages", "path": "/messages/count_tokens", "model": "claude", "body": b'{"model":"claude"}'}
    request = await sent(upstream, **asked)
    assert request.path.endswith("/publishers/anthropic/models/count-tokens:rawPredict")
    assert request.json() == {"model": "claude"}


async def test_what_vertex_has_not_of_anthropic_s_api_is_refused(upstream: ScriptedUpstream) -> None:
    with pytest.raises(UnsupportedError):
        await sent(upstream, api="messages", path="/messages/batches", model="", body=b"{}")
    for model in ("../x", "a/b", "", ".."):
        with pytest.raises(InvalidRequestError):
            await sent(upstream, api="messages", path="/messages", model=model, body=b"{}")
    assert not upstream.requests


async def test_gemini_streams_at_the_verb_it_was_asked_at(upstream: ScriptedUpstream) -> None:
    path = "/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    request = await sent(upstream, api="generate_content", path=path, model="gemini-2.5-flash", body=b"{}", stream=True)
    assert request.path.endswith(f"/publishers/google{path}")


@pytest.mark.parametrize(
    ("model", "named"), [("gemini-2.5-flash", "google/gemini-2.5-flash"), ("meta/llama", "meta/llama")]
)
async def test_openai_s_api_names_the_publisher(upstream: ScriptedUpstream, model: str, named: str) -> None:
    body = msgspec.json.encode({"model": model, "messages": []})
    request = await sent(upstream, api="chat", path="/chat/completions", model=model, body=body)
    assert request.path.endswith("/endpoints/openapi/chat/completions")
    assert request.json()["model"] == named


# tokens


def decoded(part: str) -> Any:
    return json.loads(unpadded(part))


def unpadded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


async def test_a_service_account_signs_for_its_token(tokens: TokenServer) -> None:
    source = service_account_token(account(f"{tokens.url}/token"), now=lambda: 1_700_000_000.9)
    assert await reveal(source) == "token-1"
    assert await reveal(source) == "token-1"
    assert [request.path for request in tokens.requests] == ["/token"]
    form = tokens.form()
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    head, claims, signature = form["assertion"].split(".")
    assert decoded(head) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    assert decoded(claims) == {
        "iss": "me@p.iam.gserviceaccount.com",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "aud": f"{tokens.url}/token",
        "iat": 1_700_000_000,
        "exp": 1_700_003_600,
    }
    KEY.public_key().verify(unpadded(signature), f"{head}.{claims}".encode(), PKCS1v15(), SHA256())


async def test_a_machine_of_google_s_asks_its_metadata_server(tokens: TokenServer) -> None:
    assert await reveal(metadata_token(f"127.0.0.1:{tokens.port}")) == "token-1"
    request = tokens.requests[0]
    assert (request.method, request.path) == (
        "GET",
        "/computeMetadata/v1/instance/service-accounts/default/token",
    )
    assert request.headers["metadata-flavor"] == "Google"


async def test_a_machine_without_an_account_is_told_of(tokens: TokenServer) -> None:
    tokens.script(refused(404))
    with pytest.raises(TokenError, match="metadata server answered with HTTP 404"):
        await reveal(metadata_token(f"127.0.0.1:{tokens.port}"))


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "a user's": ({"type": "authorized_user"}, "must be the key of a service account"),
    "no type": ({"type": None}, "must be the key of a service account"),
    "no key": ({"private_key": ""}, "lack 'private_key'"),
    "no mail": ({"client_email": 3}, "lack 'client_email'"),
    "no PEM": ({"private_key": "secret-but-no-pem"}, "not a PEM key"),
    "another kind of key": ({"private_key": pem(ec.generate_private_key(ec.SECP256R1()))}, "not an RSA key"),
    "no URL": ({"token_uri": "oauth2.googleapis.com"}, "token_uri"),
}


@pytest.mark.parametrize(("facts", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_credentials_that_are_none_are_refused_without_showing_them(facts: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        service_account_token(account("https://h.example/token") | facts)
    assert "secret-but-no-pem" not in str(caught.value)


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.rsa", None)
    with pytest.raises(ImportError, match=r"aigateway\[vertex\]"):
        service_account_token(account("https://h.example/token"))


# by configuration


def configured(upstream: ScriptedUpstream, credentials: Path | None = None) -> Source:
    keys = f"credentials: '{credentials}', " if credentials else ""
    base = f"http://127.0.0.1:{upstream.port}"
    settings = f"{{{keys}project: proj, location: global, base_url: '{base}'}}"
    return Source("gateway.yaml", f"providers: {{vertex: {settings}}}\nmodels: {{gpt: {{provider: vertex, model: g}}}}")


async def test_a_configured_account_reaches_gemini(
    upstream: ScriptedUpstream, tokens: TokenServer, tmp_path: Path
) -> None:
    upstream.script(Script.of_json(REPLIES["chat"]))
    path = tmp_path / "account.json"
    path.write_text(json.dumps(account(f"{tokens.url}/token")), encoding="utf-8")
    for source, environ in ((configured(upstream, path), {}), (configured(upstream), env(path))):
        async with served(build(parse(source, environ), environ)) as url:
            assert (await post(url, Row("chat", "chat"))).status == 200
        assert upstream.requests[-1].path == "/v1/projects/proj/locations/global/endpoints/openapi/chat/completions"
        assert upstream.requests[-1].json()["model"] == "google/g"
        assert upstream.requests[-1].headers["authorization"] == f"Bearer token-{len(tokens.requests)}"


def env(path: Path) -> dict[str, str]:
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(path)}


async def test_without_credentials_the_machine_s_own_account_is_taken(
    upstream: ScriptedUpstream, tokens: TokenServer
) -> None:
    upstream.script(Script.of_json(REPLIES["chat"]))
    environ = {"GCE_METADATA_HOST": f"127.0.0.1:{tokens.port}"}
    async with served(build(parse(configured(upstream), environ), environ)) as url:
        assert (await post(url, Row("chat", "chat"))).status == 200
    assert upstream.requests[0].headers["authorization"] == "Bearer token-1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"type": "x"}', "key of a service account"),
        (None, "cannot be read"),
    ],
    ids=["no JSON", "array", "another type", "no file"],
)
def test_a_credentials_file_that_is_none_is_an_error_of_the_configuration(
    tmp_path: Path, text: str | None, words: str
) -> None:
    if text is not None:
        (tmp_path / "a.json").write_text(text, encoding="utf-8")
    source = "providers: {vertex: {credentials: a.json, project: p, location: global}}"
    config = parse(Source(str(tmp_path / "gateway.yaml"), source), {})
    with pytest.raises(ConfigError, match=f"providers.vertex.credentials: .*{words}"):
        build(config, {})


def test_a_project_and_a_location_must_be_given() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Source("gateway.yaml", "providers: {vertex: {}}"), {})
    assert ["project" in line or "location" in line for line in caught.value.errors] == [True, True]
