"""Providers over HTTP: where they are, how they are entered, what they speak."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aigateway
from aigateway import (
    Attempt,
    Call,
    Gateway,
    Provider,
    ProviderRequest,
    Quirks,
    Secret,
    UpstreamConnectionError,
    UpstreamError,
)
from aigateway.providers.catalog import CATALOG
from aigateway.providers.provider import USER_AGENT, join_base
from aigateway.providers.secret import reveal
from aigateway.surface import APIS
from aigateway.testing import Script, ScriptedUpstream
from aigateway.transport.protocol import HTTPRequest

# base_url, base_path, where operations stand
BASES: dict[str, tuple[str, str | None, str]] = {
    "no path": ("https://api.openai.com", None, "https://api.openai.com/v1"),
    "no path, slash": ("https://api.openai.com/", None, "https://api.openai.com/v1"),
    "v1": ("https://api.openai.com/v1", None, "https://api.openai.com/v1"),
    "v1, slash": ("https://api.openai.com/v1/", None, "https://api.openai.com/v1"),
    "v1, slashes": ("https://api.openai.com/v1//", None, "https://api.openai.com/v1"),
    "v1 and base_path v1, as in the seed": ("https://api.openai.com/v1", "/v1", "https://api.openai.com/v1"),
    "base_path v1": ("https://api.openai.com", "/v1", "https://api.openai.com/v1"),
    "base_path without slashes": ("https://api.openai.com/", "v1", "https://api.openai.com/v1"),
    "base_path with slashes": ("https://api.openai.com/v1/", "/v1/", "https://api.openai.com/v1"),
    "base_path empty": ("https://api.deepseek.com", "", "https://api.deepseek.com"),
    "base_path a slash": ("https://api.deepseek.com/", "/", "https://api.deepseek.com"),
    "deep path": ("https://api.groq.com/openai/v1", None, "https://api.groq.com/openai/v1"),
    "deep path of another version": ("https://api.z.ai/api/paas/v4/", None, "https://api.z.ai/api/paas/v4"),
    "deep path by base_path": ("https://api.groq.com", "/openai/v1", "https://api.groq.com/openai/v1"),
    "deep path by half": ("https://api.groq.com/openai", "/v1", "https://api.groq.com/openai/v1"),
    "deep base_path that is there": ("https://api.groq.com/openai/v1", "/openai/v1", "https://api.groq.com/openai/v1"),
    "a name that only ends like it": ("https://h/apiv1", "/v1", "https://h/apiv1/v1"),
    "port": ("http://127.0.0.1:9000", None, "http://127.0.0.1:9000/v1"),
    "IPv6": ("http://[::1]:9000/v1/", None, "http://[::1]:9000/v1"),
    "an operation's name as a folder": ("https://h/responses/v1", None, "https://h/responses/v1"),
}


@pytest.mark.parametrize(("base_url", "base_path", "expected"), BASES.values(), ids=BASES.keys())
def test_operations_stand_under_the_base(base_url: str, base_path: str | None, expected: str) -> None:
    assert join_base(base_url, base_path) == expected
    assert Provider("p", base_url, base_path=base_path).base_url == expected


@given(st.sampled_from([None, "/v1", "v1/"]), st.integers(0, 3), st.sampled_from(["", "/v1", "/openai/v1"]))
def test_v1_is_never_doubled(base_path: str | None, slashes: int, path: str) -> None:
    joined = join_base(f"https://h.example{path}{'/' * slashes}", base_path)
    assert joined == f"https://h.example{path or '/v1'}"
    assert join_base(joined, base_path) == joined


REFUSED = {
    "empty": "",
    "no scheme": "api.openai.com/v1",
    "another scheme": "ftp://api.openai.com",
    "no host": "https:///v1",
    "credentials": "https://me:secret@api.openai.com/v1",
    "user alone": "https://secret@api.openai.com/v1",
    "empty credentials": "https://@api.openai.com/v1",
    "query": "https://api.openai.com/v1?api-version=secret",
    "fragment": "https://api.openai.com/v1#secret",
    "port that is none": "https://api.openai.com:99999/v1",
    "port that is no number": "https://api.openai.com:http/v1",
    "port 0": "https://api.openai.com:0/v1",
    "chat operation": "https://api.openai.com/v1/chat/completions",
    "responses operation": "https://api.openai.com/v1/responses/",
    "embeddings operation": "https://api.openai.com/v1/embeddings",
    "images operation": "https://api.openai.com/v1/images/generations",
}


@pytest.mark.parametrize("base_url", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_a_base_url_is_refused(base_url: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - each has its own words
        join_base(base_url, None)
    assert "secret" not in str(caught.value)


# one request, and what arrives


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as server:
        server.script(Script.of_json({"ok": True}))
        yield server


async def headers_sent(
    upstream: ScriptedUpstream, api_key: Any = None, *, asked: dict[str, Any] | None = None, **more: Any
) -> dict[str, str]:
    """What arrives of one request. asked: facts of the request itself."""
    provider = Provider("up", upstream.base_url, api_key, **more)
    request = ProviderRequest(api="chat", path="/chat/completions", model="m", body=b"{}", **(asked or {}))
    try:
        reply = await provider.send(request)
        assert await reply.read() == b'{"ok":true}'
        await reply.aclose()
    finally:
        await provider.aclose()
    return upstream.requests[-1].headers


async def later(key: str | Secret) -> str | Secret:
    return key


KEYS: dict[str, tuple[Any, str | None]] = {
    "text": ("sk-1", "Bearer sk-1"),
    "secret": (Secret("sk-1"), "Bearer sk-1"),
    "function": (lambda: "sk-1", "Bearer sk-1"),
    "function that gives a secret": (lambda: Secret("sk-1"), "Bearer sk-1"),
    "async function": (lambda: later("sk-1"), "Bearer sk-1"),
    "async function that gives a secret": (lambda: later(Secret("sk-1")), "Bearer sk-1"),
    "nothing": (None, None),
    "empty": ("", None),
    "the word none": ("none", None),
    "function that gives nothing": (lambda: None, None),
    "function that gives the word none": (lambda: "none", None),
}


@pytest.mark.parametrize(("key", "sent"), KEYS.values(), ids=KEYS.keys())
async def test_the_key_is_sent_as_a_bearer(upstream: ScriptedUpstream, key: Any, sent: str | None) -> None:
    assert (await headers_sent(upstream, key)).get("authorization") == sent


async def test_a_function_is_asked_for_its_key_at_every_request(upstream: ScriptedUpstream) -> None:
    keys = iter(["first", "second"])
    provider = Provider("up", upstream.base_url, lambda: next(keys))
    for _ in range(2):
        reply = await provider.send(ProviderRequest(api="chat", path="/x", model="m", body=b"{}"))
        await reply.read()
        await reply.aclose()
    await provider.aclose()
    assert [request.headers["authorization"] for request in upstream.requests] == ["Bearer first", "Bearer second"]


@given(st.text(min_size=5).filter(lambda text: text not in "Secret('***')"))
def test_a_secret_shows_itself_only_when_asked(value: str) -> None:
    secret = Secret(value)
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r}", "%s %r" % (secret, secret), f"{[secret]}"):  # noqa: UP031
        assert value not in shown
    assert secret.reveal() == value
    assert (secret, hash(secret)) == (Secret(value), hash(Secret(value)))
    assert secret != value
    assert not hasattr(secret, "__dict__")


async def test_no_key_shows_in_a_provider_or_a_log(
    upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for key in ("sk-very-secret", Secret("sk-very-secret")):
        provider = Provider("up", upstream.base_url, key)
        logging.getLogger("test").info("%s %r %s", provider, provider, vars(provider))
        assert "sk-very-secret" not in f"{provider}{provider!r}{vars(provider)}"
        await headers_sent(upstream, key)
    assert "sk-very-secret" not in caplog.text
    assert upstream.requests[-1].headers["authorization"] == "Bearer sk-very-secret"


async def test_nothing_is_the_key_of_no_source() -> None:
    assert await reveal(None) is None


async def test_the_provider_sets_its_own_headers(upstream: ScriptedUpstream) -> None:
    sent = await headers_sent(upstream)
    assert sent["content-type"] == sent["accept"] == "application/json"
    assert sent["user-agent"] == USER_AGENT
    assert sent["accept-encoding"] == "identity"
    assert sent["content-length"] == "2"
    streamed = await headers_sent(upstream, asked={"stream": True, "content_type": "multipart/form-data; boundary=b"})
    assert (streamed["accept"], streamed["content-type"]) == ("text/event-stream", "multipart/form-data; boundary=b")


@pytest.mark.parametrize("spelled", [str.lower, str.title], ids=["lower case", "title case"])
async def test_later_headers_win_whatever_their_case(upstream: ScriptedUpstream, spelled: Callable[[str], str]) -> None:
    own = {spelled("user-agent"): "mine", spelled("authorization"): "Basic abc", spelled("x-org"): "o"}
    sent = await headers_sent(upstream, "sk-1", headers=own)
    assert (sent["user-agent"], sent["authorization"], sent["x-org"]) == ("mine", "Basic abc", "o")
    asked = {"headers": {spelled("authorization"): "Bearer other", spelled("x-org"): "p"}}
    last = await headers_sent(upstream, "sk-1", headers=own, asked=asked)
    assert (last["user-agent"], last["authorization"], last["x-org"]) == ("mine", "Bearer other", "p")


async def test_the_key_of_one_request_takes_the_place_of_the_provider_s(upstream: ScriptedUpstream) -> None:
    sent = await headers_sent(upstream, lambda: 1 / 0, asked={"api_key": "sk-tenant"})
    assert sent["authorization"] == "Bearer sk-tenant"


async def test_each_header_is_sent_once_when_a_hook_sets_it() -> None:
    lines: list[list[tuple[str, str]]] = []
    gateway = Gateway(providers=[Provider("up", "http://h", "sk-1", transport=Recording(lines))])

    @gateway.hook.before_attempt
    def own_key(call: Call, attempt: Attempt) -> None:
        attempt.headers["Authorization"] = "Bearer tenant"

    with pytest.raises(UpstreamError):
        await gateway.embeddings(model="m", input="a")
    assert [value for name, value in lines[0] if name == "authorization"] == ["Bearer tenant"]


class Recording:
    """A transport that notes the headers and answers nothing."""

    def __init__(self, lines: list[list[tuple[str, str]]]) -> None:
        self._lines = lines

    async def send(self, request: Any) -> Any:
        self._lines.append([(name.lower(), value) for name, value in request.headers])
        raise UpstreamError("The upstream was not asked.")

    async def aclose(self) -> None:
        raise AssertionError("a shared transport is closed by its owner")


async def test_a_transport_of_somebody_else_is_left_open() -> None:
    await Provider("up", "http://h", transport=Recording([])).aclose()


# the catalog


def test_a_provider_named_like_a_vendor_is_that_vendor() -> None:
    groq = Provider("groq")
    assert groq.base_url == CATALOG["groq"].base_url == "https://api.groq.com/openai/v1"
    assert groq.apis == CATALOG["groq"].apis
    assert groq.quirks == CATALOG["groq"].quirks


def test_a_provider_of_a_type_has_what_the_row_says_unless_it_says_so_itself() -> None:
    mine = Provider("mine", type="groq", apis=["chat"], quirks=Quirks(strict_fields=True))
    assert (mine.name, mine.base_url) == ("mine", "https://api.groq.com/openai/v1")
    assert (mine.apis, mine.quirks) == (frozenset({"chat"}), Quirks(strict_fields=True))
    moved = Provider("mine", "http://proxy.example/groq", type="groq")
    assert (moved.base_url, moved.apis) == ("http://proxy.example/groq", CATALOG["groq"].apis)


def test_a_base_url_of_its_own_makes_a_name_no_vendor() -> None:
    other = Provider("groq", "http://127.0.0.1:9000")
    assert other.apis == APIS | {"rerank"}
    assert "administration" not in other.apis
    assert other.quirks == Quirks()


def test_a_known_host_brings_its_quirks() -> None:
    row = CATALOG["cerebras"]
    assert row.base_url is not None
    assert row.quirks != Quirks()
    assert Provider("mine", row.base_url).quirks == row.quirks
    assert Provider("mine", row.base_url, type="openai").quirks == row.quirks
    assert Provider("mine", "http://127.0.0.1:9000", type="openai").quirks == Quirks()


def test_a_local_server_keeps_its_quirks_at_any_address() -> None:
    for row in CATALOG.values():
        if row.base_url is not None and row.base_url.startswith("http://"):
            assert Provider("mine", "http://gpu-box:1234/v1", type=row.name).quirks == row.quirks


def test_an_unknown_type_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown provider type 'opena'; known: .*openai"):
        Provider("x", "http://h", type="opena")


@pytest.mark.parametrize(
    "arguments", [{"name": "mine"}, {"name": "x", "type": "cloudflare"}], ids=["unknown", "no URL"]
)
def test_a_provider_without_any_base_url_is_an_error(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs a base_url"):
        Provider(**arguments)


def test_the_apis_are_those_given() -> None:
    assert Provider("p", "http://h", apis=("chat", "messages")).apis == {"chat", "messages"}
    assert repr(Provider("p", "http://h", "sk-1")) == "Provider('p', 'http://h/v1')"


@pytest.mark.parametrize(
    ("api", "base_url", "headers"),
    [
        ("chat", "https://api.anthropic.com/v1", {"authorization": "Bearer sk-12345678"}),
        (
            "messages",
            "https://api.anthropic.com/v1",
            {"x-api-key": "sk-12345678", "anthropic-version": "2023-06-01"},
        ),
        (
            "messages",
            "https://api.anthropic.com.example/v1",
            {
                "x-api-key": "sk-12345678",
                "authorization": "Bearer sk-12345678",
                "anthropic-version": "2023-06-01",
            },
        ),
    ],
    ids=["bearer", "anthropic", "an imitation"],
)
async def test_a_key_goes_where_the_api_looks_for_it(api: str, base_url: str, headers: dict[str, str]) -> None:
    class Noting:
        sent: HTTPRequest

        async def send(self, request: HTTPRequest) -> Any:
            self.sent = request
            raise UpstreamConnectionError("noted")

        async def aclose(self) -> None:
            """Nothing is open."""

    transport = Noting()
    provider = Provider("p", base_url, "sk-12345678", apis=[api], transport=transport)
    with pytest.raises(UpstreamConnectionError):
        await provider.send(ProviderRequest(api=api, path="/x", model="m", body=b"{}"))
    given = dict(transport.sent.headers)
    names = ("authorization", "x-api-key", "anthropic-version")
    assert {name: given[name] for name in names if name in given} == headers


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ({"name": "mine", "base_url": "https://eu.api.openai.com/v1"}, "openai"),
        ({"name": "xai"}, "xai"),
        ({"name": "openai", "base_url": "https://proxy.example/v1", "type": "openai"}, "host-"),
        ({"name": "mine", "base_url": "http://gpu-box:1234/v1"}, "host-"),
        ({"name": "mine", "base_url": "http://gpu-box:1234/v1", "quirks": Quirks(origin="openai")}, "openai"),
    ],
)
def test_the_origin_of_what_it_encrypts_is_the_vendor_or_made_of_the_host(given: Any, origin: str) -> None:
    provider = Provider(**given)
    assert provider.origin == origin or (provider.origin.startswith(origin) and origin == "host-")
    assert "gpu-box" not in provider.origin


@pytest.mark.parametrize(
    ("option", "kind"),
    [
        *(("timeout", "Timeout"), ("pool", "Pool"), ("quirks", "Quirks"), ("tls", "TLS")),
        *(("retry", "Retry"), ("breaker", "Breaker"), ("queue", "Queue")),
    ],
)
def test_a_setting_that_is_a_dict_is_refused_when_it_is_given(option: str, kind: str) -> None:
    options: Any = {option: {}}
    with pytest.raises(TypeError, match=f"provider 'up': {option} is a {kind}"):
        Provider("up", "http://host", **options)
    assert hasattr(aigateway, kind)
