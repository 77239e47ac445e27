"""Who may come in: asked once, before anything else, on every path but /health, whichever way a call comes."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from aigateway import (
    APIKeyAuthenticator,
    AuthenticationError,
    Call,
    FunctionProvider,
    Gateway,
    GatewayError,
    Hook,
    Models,
    PermissionDeniedError,
    Principal,
)
from tests.answers import CHAT_REQUEST
from tests.asking import ROWS
from tests.faults import plain_error
from tests.serving import served

PATHS = [
    *[("POST", row.path) for row in ROWS if not row.stream and row.api == row.upstream],
    ("POST", "/v1/images/variations"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/gpt"),
    ("GET", "/v1/nowhere"),
    ("POST", "/nowhere"),
    ("GET", "/"),
    ("DELETE", "/v1/chat/completions"),
    ("POST", "/health"),
]


class Authenticator(Hook):
    """Answers what a table says; notes the keys it was asked about."""

    def __init__(self, table: dict[str | None, Any]) -> None:
        self.table = table
        self.asked: list[str | None] = []
        self.tenants: list[str | None] = []
        self.outcomes: list[str | None] = []

    async def authenticate(self, call: Call, key: str | None) -> Any:
        self.asked.append(key)
        assert not call.has_request
        found = self.table.get(key)
        if isinstance(found, Exception):
            raise found
        return found

    def on_complete(self, call: Call) -> None:
        self.tenants.append(call.tenant)
        self.outcomes.append(call.outcome)


def gateway_with(*hooks: object) -> Gateway:
    return Gateway(models={"gpt": FunctionProvider("f", lambda body: "hi")}, hooks=hooks)


async def ask(gateway: Gateway, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], Any]:
    async with (
        served(gateway) as url,
        aiohttp.ClientSession() as session,
        session.request(method, url + path, headers=headers, data=b"{") as response,
    ):
        shown = {name.lower(): value for name, value in response.headers.items()}
        return response.status, shown, await response.json()


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize(("method", "path"), PATHS, ids=[f"{method} {path}" for method, path in PATHS])
@pytest.mark.parametrize(
    "headers", [{}, bearer("sk-wrong"), {"authorization": "Basic abc"}], ids=["no", "bad", "basic"]
)
async def test_without_a_known_key_every_path_is_401(method: str, path: str, headers: dict[str, str]) -> None:
    first, second = Authenticator({}), APIKeyAuthenticator({"sk-right": "team"})
    status, shown, body = await ask(gateway_with(first, second), method, path, **headers)
    assert status == 401
    assert shown["www-authenticate"] == "Bearer"
    assert shown["x-request-id"]
    error = plain_error(body["error"])
    kind = "UNAUTHENTICATED" if path.startswith("/v1beta/") else "authentication_error"
    assert (error["type"], error["param"], error["code"]) == (kind, None, "invalid_api_key")
    assert "sk-wrong" not in error["message"]
    assert first.asked == ["sk-wrong" if headers == bearer("sk-wrong") else None]
    assert first.outcomes == ["refused"]


async def test_health_is_open() -> None:
    status, _, body = await ask(gateway_with(APIKeyAuthenticator({"sk-right": "team"})), "GET", "/health")
    assert (status, body) == (200, {"status": "ok"})


EXPECTED = {"/v1/models": 200, "/v1/models/gpt": 200, "/v1/nowhere": 404, "/nowhere": 404, "/": 404, "/health": 405}


@pytest.mark.parametrize(("method", "path"), PATHS, ids=[f"{method} {path}" for method, path in PATHS])
async def test_with_a_known_key_every_path_is_itself(method: str, path: str) -> None:
    last = Authenticator({"sk-right": None})
    gateway = gateway_with(APIKeyAuthenticator({"sk-right": "team"}), last)
    status, _, _ = await ask(gateway, method, path, **bearer("sk-right"))
    assert status == {"DELETE": 405}.get(method, EXPECTED.get(path, 400))
    assert (last.asked, last.tenants) == (["sk-right"], ["team"])


@pytest.mark.parametrize("header", ["Bearer sk-right", "bearer sk-right", "BEARER   sk-right "])
async def test_the_scheme_is_read_in_any_case_and_the_key_without_it(header: str) -> None:
    first = Authenticator({"sk-right": "team"})
    status, _, _ = await ask(gateway_with(first), "GET", "/v1/models", authorization=header)
    assert (status, first.asked) == (200, ["sk-right"])


async def test_of_several_authenticators_all_are_asked_and_the_first_answer_counts() -> None:
    authenticators = [
        Authenticator({}),
        Authenticator({"k": Principal("second", {"plan": "pro"})}),
        Authenticator({"k": "third"}),
    ]
    gateway = gateway_with(*authenticators)
    calls: list[Call] = []
    gateway.hook.on_complete(calls.append)
    await gateway.chat(CHAT_REQUEST, api_key="k")
    assert [one.asked for one in authenticators] == [["k"]] * 3
    assert calls[0].principal == Principal("second", {"plan": "pro"})
    assert calls[0].tenant == "second"


async def test_a_tenants_name_is_a_principal() -> None:
    door = Authenticator({"k": "team"})
    await gateway_with(door).chat(CHAT_REQUEST, api_key="k")
    assert door.tenants == ["team"]


@pytest.mark.parametrize("found", [None, False, "", 0], ids=repr)
async def test_an_answer_that_says_no_lets_nobody_in(found: Any) -> None:
    with pytest.raises(AuthenticationError):
        await gateway_with(Authenticator({"k": found})).chat(CHAT_REQUEST, api_key="k")


@pytest.mark.parametrize("found", [True, 7, {"tenant": "x"}], ids=repr)
async def test_an_answer_that_names_nobody_is_a_fault_of_the_hook(found: Any) -> None:
    with pytest.raises(GatewayError) as failure:
        await gateway_with(Authenticator({"k": found})).chat(CHAT_REQUEST, api_key="k")
    assert (failure.value.status, failure.value.code) == (500, "hook_failed")


@pytest.mark.parametrize(
    "error", [AuthenticationError("expired"), PermissionDeniedError("not you")], ids=["401", "403"]
)
async def test_an_authenticator_that_raises_refuses_at_once(error: GatewayError) -> None:
    last = Authenticator({"k": "team"})
    status, _, body = await ask(gateway_with(Authenticator({"k": error}), last), "GET", "/v1/models", **bearer("k"))
    assert (status, body["error"]["message"]) == (error.status, error.message)
    assert last.asked == []


async def test_in_process_calls_authenticate_too() -> None:
    gateway = gateway_with(APIKeyAuthenticator({"sk-right": "team"}))
    with pytest.raises(AuthenticationError) as failure:
        await gateway.chat(CHAT_REQUEST)
    assert failure.value.headers["WWW-Authenticate"] == "Bearer"
    with pytest.raises(AuthenticationError):
        await gateway.chat(CHAT_REQUEST, api_key="sk-wrong")
    assert (await gateway.chat(CHAT_REQUEST, api_key="sk-right")).texts() == ["hi"]


async def test_a_gateway_without_authenticators_is_open() -> None:
    assert not gateway_with().authenticates
    status, _, _ = await ask(gateway_with(), "GET", "/v1/models")
    assert status == 200


async def test_the_models_listed_are_those_of_the_tenant() -> None:
    provider = FunctionProvider("f", lambda body: "hi")
    models = Models({"open": provider})
    models.register("red-only", provider, tenants=["red"])
    keys = {"k-red": "red", "k-blue": "blue"}
    seen = {}
    for key, tenant in keys.items():
        gateway = Gateway(models=models, hooks=[APIKeyAuthenticator(keys)])
        _, _, body = await ask(gateway, "GET", "/v1/models", **bearer(key))
        seen[tenant] = [model["id"] for model in body["data"]]
        status, _, _ = await ask(gateway, "GET", "/v1/models/red-only", **bearer(key))
        assert status == {"red": 200, "blue": 404}[tenant]
    assert seen == {"red": ["open", "red-only"], "blue": ["open"]}


# the table of keys


def call() -> Call:
    return Gateway().exchange("chat", {}).call


def test_a_key_of_the_table_is_its_tenant() -> None:
    door = APIKeyAuthenticator({"sk-a": "a", "sk-\u00e9\ud800": "b"})
    assert door.authenticate(call(), "sk-a") == Principal("a")
    assert door.authenticate(call(), "sk-\u00e9\ud800") == Principal("b")


@pytest.mark.parametrize("key", [None, "", "sk", "sk-a ", "SK-A", "sk-ab"], ids=repr)
def test_any_other_key_is_nobody(key: str | None) -> None:
    assert APIKeyAuthenticator({"sk-a": "a"}).authenticate(call(), key) is None


def test_an_empty_key_is_refused_at_construction() -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        APIKeyAuthenticator({"sk-a": "a", "": "b"})


def test_the_table_shows_no_key() -> None:
    door = APIKeyAuthenticator({"sk-a-secret-one": "a"})
    assert "sk-a-secret-one" not in repr(door) + repr(vars(door))
