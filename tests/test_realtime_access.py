"""Who may open sessions, and what hooks see and change of them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from aigateway import (
    CORS,
    APIKeyAuthenticator,
    Attempt,
    Call,
    EventLens,
    GatewayError,
    LoggingHook,
    Models,
    PermissionDeniedError,
    Provider,
    RateLimitError,
    Target,
    UpstreamError,
)
from aigateway.testing import Script, ScriptedSession, ScriptedWebSocket
from tests.realtime import KEY, PATIENCE, error_of, event, goodbye, staged

CALLER = "sk-caller-0123456789"
BROWSER = ["realtime", f"openai-insecure-api-key.{CALLER}", "openai-beta.realtime-v1"]


def keys() -> APIKeyAuthenticator:
    return APIKeyAuthenticator({CALLER: "team"})


async def say(session: ScriptedSession) -> None:
    """Two deltas and the end of a response, then whatever the caller does."""
    for delta in ("one", "two"):
        await session.send({"type": "response.output_text.delta", "delta": delta})
    await session.send({"type": "response.done", "response": {"usage": {"input_tokens": 1, "output_tokens": 2}}})
    await session.receive()


# keys


@pytest.mark.parametrize("key", [None, "sk-other"], ids=["no key", "unknown key"])
@pytest.mark.parametrize("browser", [False, True])
async def test_no_session_without_a_good_key(key: str | None, browser: bool) -> None:
    offered = ["realtime", *([f"openai-insecure-api-key.{key}"] if key else [])] if browser else []
    async with staged(keys()) as stage:
        answer = await stage.refused(key=None if browser else key, subprotocols=offered)
        call = await stage.kept.one()
        assert stage.upstream.handshakes == 0
    status, error = error_of(answer)
    assert (status, error["code"]) == (401, "invalid_api_key")
    assert answer.response.headers["www-authenticate"] == "Bearer"
    assert (call.outcome, call.status, call.principal) == ("refused", 401, None)


async def test_key_lets_its_tenant_in() -> None:
    async with staged(keys()) as stage:
        async with stage.client(key=CALLER) as client:
            await event(client)
        assert (await stage.kept.one()).tenant == "team"


async def test_key_of_a_browser_lets_in_and_goes_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("websockets.client").setLevel(logging.WARNING)  # the test's own
    logging.getLogger("websockets.server").setLevel(logging.WARNING)
    async with staged(keys(), LoggingHook()) as stage:
        async with stage.client(subprotocols=BROWSER) as client:
            assert client.subprotocol == "realtime"
            await event(client)
        call = await stage.kept.one()
        session = stage.upstream.sessions[0]
    assert call.tenant == "team"
    assert CALLER not in f"{session.headers} {session.path} {session.query} {call.headers} {call.request.body}"
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("aigateway")]
    assert any("operation=realtime outcome=completed status=101 tenant=team model=gpt" in line for line in ours)
    assert not any(CALLER in line or KEY in line for line in ours)


async def test_two_keys_among_the_subprotocols_are_none() -> None:
    async with staged(keys()) as stage:
        answer = await stage.refused(subprotocols=[*BROWSER, "openai-insecure-api-key.other"])
    assert error_of(answer)[0] == 401


async def test_model_of_another_tenant_is_not_found() -> None:
    async with ScriptedWebSocket() as upstream:
        models = Models()
        models.register("theirs", Provider("up", upstream.base_url, apis={"realtime"}), tenants=["others"])
        async with staged(keys(), models=models) as stage:
            status, error = error_of(await stage.refused("model=theirs", key=CALLER))
    assert (status, error["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("origin", "cors", "locked", "status"),
    [
        ("https://evil.example", None, False, 403),
        ("https://evil.example", CORS(origins=("https://app.example",)), False, 403),
        ("null", None, False, 403),
        ("https://app.example", CORS(origins=("https://app.example",)), False, 101),
        ("https://any.example", CORS(), False, 101),
        ("https://app.example", None, True, 101),
        ("http://{host}", None, False, 101),
    ],
)
async def test_pages_of_other_origins_need_a_key_or_cors(
    origin: str, cors: CORS | None, locked: bool, status: int
) -> None:
    async with staged(*([keys()] if locked else []), cors=cors) as stage:
        headers = {"origin": origin.format(host=stage.url.removeprefix("ws://"))}
        if status == 101:
            async with stage.client(headers=headers, subprotocols=BROWSER) as client:
                await event(client)
        else:
            assert error_of(await stage.refused(headers=headers))[0] == status


# hooks


class Journal:
    """Writes every stage down."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def authenticate(self, call: Call, key: str | None) -> str:
        self.stages.append(f"authenticate {key}")
        return "team"

    def before_request(self, call: Call) -> None:
        self.stages.append(f"before_request {call.request.body} {call.request.texts()} {call.request.stream}")

    async def on_route(self, call: Call, targets: list[Target]) -> None:
        self.stages.append(f"on_route {len(targets)}")

    def before_attempt(self, call: Call, attempt: Attempt) -> None:
        self.stages.append(f"before_attempt {attempt.provider} {attempt.model}")

    def on_event(self, call: Call, event: EventLens) -> EventLens:
        self.stages.append(f"on_event {event.type} {event.text!r} {event.usage is not None}")
        return event

    def on_error(self, call: Call, error: GatewayError) -> None:
        self.stages.append(f"on_error {error.code}")

    def on_complete(self, call: Call) -> None:
        self.stages.append(f"on_complete {call.outcome}")


async def test_hooks_run_in_order_and_see_what_there_is() -> None:
    journal = Journal()
    async with staged(journal, model="gpt-up") as stage:
        stage.upstream.converse(say)
        async with stage.client("model=gpt&intent=x&a=1&a=2", key=CALLER) as client:
            for _ in range(3):
                await event(client)
        await stage.kept.one()
    assert journal.stages == [
        f"authenticate {CALLER}",
        "before_request {'model': 'gpt', 'intent': 'x', 'a': ['1', '2']} [] True",
        "on_route 1",
        "before_attempt up gpt-up",
        "on_event response.output_text.delta 'one' False",
        "on_event response.output_text.delta 'two' False",
        "on_event response.done '' True",
        "on_complete completed",
    ]


async def test_events_that_a_hook_leaves_alone_keep_their_bytes() -> None:
    odd = '{ "type":"response.output_text.delta",\t"delta":"\\u00e9" , "x":1.0 }'

    async def converse(session: ScriptedSession) -> None:
        await session.send(odd)
        await session.send(b"\x00")
        await session.receive()

    async with staged(Journal()) as stage:
        stage.upstream.converse(converse)
        async with stage.client() as client:
            assert [await client.recv(), await client.recv()] == [odd, b"\x00"]


async def test_hooks_edit_drop_and_add_events() -> None:
    class Edit:
        def on_event(self, call: Call, event: EventLens) -> Any:
            if event.type == "response.done":
                return None
            if event.text == "two":
                return [event, {"type": "added"}]
            event.map_texts(str.upper)
            return event

    async with staged(Edit()) as stage:
        stage.upstream.converse(say)
        async with stage.client() as client:
            got = [await event(client) for _ in range(3)]
            await client.send("done")
            assert await goodbye(client) == (1000, "")
        call = await stage.kept.one()
    assert [one.get("delta", one["type"]) for one in got] == ["ONE", "two", "added"]
    assert call.usage is not None
    assert call.usage.total_tokens == 3


async def test_hooks_edit_the_opening() -> None:
    class Edit:
        def before_request(self, call: Call) -> None:
            call.request.model = "gpt"
            call.request.body["tracing"] = "auto"
            del call.request.body["intent"]

        def before_attempt(self, call: Call, attempt: Attempt) -> None:
            attempt.api_key = "sk-other-0123456789"
            attempt.headers["X-Extra"] = "1"

    async with staged(Edit(), model="gpt-up") as stage:
        async with stage.client("model=alias&intent=x") as client:
            assert (await event(client))["session"]["model"] == "alias"
        session = stage.upstream.sessions[0]
    assert session.query == {"model": "gpt-up", "tracing": "auto"}
    assert (session.headers["authorization"], session.headers["x-extra"]) == ("Bearer sk-other-0123456789", "1")


async def test_hook_refuses_with_its_own_error() -> None:
    class Refuse:
        def before_request(self, call: Call) -> None:
            raise RateLimitError("Too many sessions.", headers={"Retry-After": "3"})

    journal = Journal()
    async with staged(Refuse(), journal) as stage:
        answer = await stage.refused()
        assert stage.upstream.handshakes == 0
    status, error = error_of(answer)
    assert (status, error["message"]) == (429, "Too many sessions.")
    assert answer.response.headers["retry-after"] == "3"
    assert journal.stages == ["authenticate None", "on_error rate_limit_exceeded", "on_complete refused"]


async def test_hook_changes_the_error_of_a_refusal() -> None:
    class Change:
        def on_error(self, call: Call, error: GatewayError) -> GatewayError:
            assert isinstance(error, UpstreamError)
            assert error.provider == "up"
            return PermissionDeniedError("Not today.")

    async with staged(Change()) as stage:
        stage.upstream.refuse(Script.of_json({"error": {"message": "m"}}, 401))
        status, error = error_of(await stage.refused())
    assert (status, error["message"]) == (403, "Not today.")


@pytest.mark.parametrize("stage_name", ["before_request", "on_route", "before_attempt"])
async def test_hook_that_fails_is_a_500_that_tells_nothing(stage_name: str) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("secret")

    async with staged(type("Broken", (), {stage_name: staticmethod(fail)})()) as stage:
        answer = await stage.refused()
        assert (await stage.kept.one()).outcome == "failed"
    status, error = error_of(answer)
    assert (status, error["code"]) == (500, "hook_failed")
    assert b"secret" not in answer.response.body


async def test_reply_of_a_hook_does_not_fit_a_session() -> None:
    class Reply:
        def before_request(self, call: Call) -> str:
            return "a text"

    async with staged(Reply()) as stage:
        status, error = error_of(await stage.refused())
    assert (status, error["code"]) == (500, "hook_failed")


@pytest.mark.parametrize(
    ("raised", "code", "close"),
    [(PermissionDeniedError("Enough."), "permission_denied", 1008), (ZeroDivisionError("secret"), "hook_failed", 1011)],
    ids=["refuses", "fails"],
)
async def test_hook_ends_a_session_that_runs(raised: Exception, code: str, close: int) -> None:
    class End:
        def on_event(self, call: Call, event: EventLens) -> EventLens:
            if event.text == "two":
                raise raised
            return event

    async with staged(End()) as stage:
        stage.upstream.converse(say)
        async with stage.client() as client:
            assert (await event(client))["delta"] == "one"
            told = await event(client)
            assert await goodbye(client) == (close, code)
        call = await stage.kept.one()
        await asyncio.wait_for(stage.upstream.sessions[0].closed.wait(), PATIENCE)
    assert (told["type"], told["error"]["code"]) == ("error", code)
    assert "secret" not in str(told)
    assert (call.outcome, stage.upstream.sessions[0].close_code) == ("failed", 1001)


async def test_error_in_mid_session_passes_the_hooks() -> None:
    class Change:
        def on_error(self, call: Call, error: GatewayError) -> GatewayError:
            return UpstreamError("The model left.", code="left")

        def on_event(self, call: Call, event: EventLens) -> EventLens:
            event.data["seen"] = True
            return event

    async def converse(session: ScriptedSession) -> None:
        session.reset()

    async with staged(Change()) as stage:
        stage.upstream.converse(converse)
        async with stage.client() as client:
            told = await event(client)
            assert await goodbye(client) == (1011, "left")
        call = await stage.kept.one()
    assert (told["error"]["message"], told["seen"]) == ("The model left.", True)
    assert call.error is not None
    assert call.error.code == "left"
