"""What hooks do in place of a provider: refuse, answer, replace errors; and what becomes of hooks that fail."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from aigateway import Call, FunctionProvider, Gateway, GatewayError, Hook, Principal
from aigateway.hooks.chain import STAGES
from aigateway.testing import Script
from tests.answers import REPLIES, stream, whole
from tests.asking import ROWS, Row, Seen, post, through
from tests.faults import plain_error
from tests.sampling import spread
from tests.serving import served

TEXTUAL = [row for row in ROWS if row.api in ("chat", "completions", "responses", "messages", "generate_content")]
CHAT = Row("chat", "chat")

each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)


def some_rows(name: str, values: Sequence[Any]) -> pytest.MarkDecorator:
    """Every value with a third of the rows, each row among them."""
    cells = [pytest.param(value, row, id=f"{value}-{row.id}") for value, row in spread(values, ROWS, every=3)]
    return pytest.mark.parametrize((name, "row"), cells)


each_textual = pytest.mark.parametrize("row", TEXTUAL, ids=lambda row: row.id)


async def asked(row: Row, *hooks: object) -> Seen:
    """What the caller gets where no upstream may be reached."""

    def unreachable(body: dict[str, Any]) -> Any:
        raise AssertionError("an upstream was asked")

    provider = FunctionProvider("none", unreachable, apis={row.upstream})
    async with served(Gateway(models={"gpt": provider}, hooks=hooks)) as url:
        return await post(url, row)


def hook(**methods: Any) -> SimpleNamespace:
    """An object with some of the methods, which knows nothing of Hook."""
    return SimpleNamespace(**methods)


def answer_of(row: Row) -> Script:
    return stream(row.upstream) if row.stream else whole(row.upstream)


def text_of(seen: Seen, row: Row) -> str:
    """The answer's text, streamed or not."""
    if not row.stream:
        body = seen.json()
        if row.api == "chat":
            return str(body["choices"][0]["message"]["content"])
        if row.api == "completions":
            return str(body["choices"][0]["text"])
        if row.api == "messages":
            return str(body["content"][0]["text"])
        if row.api == "generate_content":
            return str(body["candidates"][0]["content"]["parts"][0]["text"])
        return str(body["output"][0]["content"][0]["text"])
    if row.api == "chat":
        return "".join(event["choices"][0]["delta"].get("content") or "" for event in seen.events if event["choices"])
    if row.api == "completions":
        return "".join(event["choices"][0]["text"] for event in seen.events if event["choices"])
    if row.api == "messages":
        return "".join(event.get("delta", {}).get("text", "") for event in seen.events)
    if row.api == "generate_content":
        parts = [part for event in seen.events for part in event["candidates"][0]["content"]["parts"]]
        return "".join(part["text"] for part in parts)
    return "".join(event.get("delta", "") for event in seen.events)


@some_rows("status", [400, 402, 403, 429, 451, 503])
async def test_a_hook_refuses_with_any_status(row: Row, status: int) -> None:
    def refuse(call: Call) -> None:
        raise GatewayError("no", status=status, type="t", code="c", param="p", headers={"Retry-After": "7"})

    seen = await asked(row, hook(before_request=refuse))
    assert seen.status == status
    shown = {"message": "no", "type": "t", "code": "c", "param": "p"}
    if row.api in ("messages", "generate_content"):
        shown["type"] = plain_error(seen.json()["error"])["type"]
    assert plain_error(seen.json()["error"]) == shown
    assert seen.headers["retry-after"] == "7"
    assert seen.headers["x-request-id"].startswith("req_")


@each_textual
async def test_a_text_is_an_answer(row: Row) -> None:
    seen = await asked(row, hook(before_request=lambda call: "made by a hook"))
    assert seen.status == 200
    assert text_of(seen, row) == "made by a hook"
    if row.stream:
        last = {"messages": b'{"type":"message_stop"}\n\n', "generate_content": b"}\n\n"}
        assert seen.body.endswith(last.get(row.api, b"data: [DONE]\n\n"))
    else:
        assert seen.json()["modelVersion" if row.api == "generate_content" else "model"] == "gpt"


@each_textual
async def test_a_dict_in_the_callers_format_is_an_answer(row: Row) -> None:
    seen = await asked(row, hook(before_request=lambda call: REPLIES[row.api] | {"model": "gpt", "z_new": 1}))
    assert seen.status == 200
    assert text_of(seen, row) == "Hello there"
    if not row.stream:
        assert seen.json() == REPLIES[row.api] | {"model": "gpt", "z_new": 1}


@pytest.mark.parametrize("row", [row for row in ROWS if row not in TEXTUAL], ids=lambda row: row.id)
async def test_a_dict_answers_apis_without_text_as_it_is(row: Row) -> None:
    seen = await asked(row, hook(before_request=lambda call: REPLIES[row.api]))
    assert (seen.status, seen.headers["content-type"]) == (200, "application/json")
    assert seen.json() == REPLIES[row.api]


@each_row
@pytest.mark.parametrize("reply", [7, ["text"], object()], ids=["number", "list", "object"])
async def test_what_is_no_reply_is_a_fault_of_the_hook(row: Row, reply: object) -> None:
    seen = await asked(row, hook(before_request=lambda call: reply))
    assert (seen.status, seen.code()) == (500, "hook_failed")


@pytest.mark.parametrize("row", [row for row in ROWS if row not in TEXTUAL], ids=lambda row: row.id)
async def test_a_text_is_no_answer_of_an_api_without_text(row: Row) -> None:
    seen = await asked(row, hook(before_request=lambda call: "made by a hook"))
    assert (seen.status, seen.code()) == (500, "hook_failed")


@each_row
async def test_the_first_hook_that_answers_is_the_last_that_is_asked(row: Row) -> None:
    called: list[Call] = []
    first = hook(before_request=lambda call: REPLIES[row.api])
    assert (await asked(row, first, hook(before_request=called.append))).status == 200
    assert called == []


@each_row
async def test_on_error_puts_another_error_in_its_place(row: Row) -> None:
    def soften(call: Call, error: GatewayError) -> GatewayError:
        return GatewayError(f"it was {error.status}", status=418, code="teapot")

    script = Script.of_json({"error": {"message": "inner"}}, 400)
    seen, _ = await through(row, script, hook(on_error=soften))
    assert (seen.status, seen.code()) == (418, "teapot")
    assert seen.json()["error"]["message"] == "it was 400"


@each_row
async def test_on_error_may_raise_the_other_error(row: Row) -> None:
    def harden(call: Call, error: GatewayError) -> None:
        raise GatewayError("raised", status=418, code="teapot")

    seen, _ = await through(row, Script.of_json({}, 400), hook(on_error=harden))
    assert (seen.status, seen.json()["error"]["message"]) == (418, "raised")


@each_row
async def test_on_error_answers_in_place_of_the_error(row: Row) -> None:
    calls: list[Call] = []
    doing = hook(on_error=lambda call, error: REPLIES[row.api], on_complete=calls.append)
    seen, _ = await through(row, Script.of_json({}, 503), doing)
    assert seen.status == 200
    assert seen.events if row.stream and row in TEXTUAL else seen.json() == REPLIES[row.api]
    assert [(call.outcome, call.error, call.status) for call in calls] == [("completed", None, 200)]
    assert calls[0].attempts[0].error is not None


@each_textual
async def test_on_error_answers_with_a_text(row: Row) -> None:
    seen, _ = await through(row, Script.of_json({}, 503), hook(on_error=lambda call, error: "sorry"))
    assert (seen.status, text_of(seen, row)) == (200, "sorry")


@each_row
async def test_errors_go_through_the_hooks_from_the_last_to_the_first(row: Row) -> None:
    def adds(text: str) -> SimpleNamespace:
        return hook(on_error=lambda call, error: GatewayError(f"{error.message} {text}", status=418))

    script = Script.of_json({"error": {"message": "inner"}}, 400)
    seen, _ = await through(row, script, adds("first"), adds("second"))
    assert seen.json()["error"]["message"] == "inner second first"


EARLY: dict[str, tuple[bytes, Callable[..., Any] | None]] = {
    "bad-json": (b"{", None),
    "refused-key": (CHAT.body, lambda call, key: None),
}


@pytest.mark.parametrize(("body", "authenticate"), EARLY.values(), ids=EARLY)
@pytest.mark.parametrize("reply", ["a text", REPLIES["chat"]], ids=["text", "dict"])
async def test_on_error_may_answer_before_the_body_was_understood(
    body: bytes, authenticate: Callable[..., Any] | None, reply: Any
) -> None:
    methods = {"on_error": lambda call, error: reply}
    row = Row("chat", "chat", raw=body)
    seen = await asked(row, hook(**methods | ({"authenticate": authenticate} if authenticate else {})))
    if isinstance(reply, dict):
        assert (seen.status, seen.json()) == (200, reply)
    else:  # nothing is known of the request that a text could be put in the form of an answer to
        assert (seen.status, seen.code()) == (500, "hook_failed")


def _fails(*arguments: Any) -> None:
    raise ValueError("sk-secret of the hook")


FAILING = [stage for stage in STAGES if stage not in ("on_event", "on_error", "on_complete")]


@some_rows("stage", FAILING)
async def test_a_hook_that_fails_is_a_500_without_its_text(
    row: Row, stage: str, caplog: pytest.LogCaptureFixture
) -> None:
    if stage == "after_response" and row.stream:
        stage = "on_event"
    with caplog.at_level(logging.ERROR):
        doing = hook(**{stage: _fails})
        refused = stage in ("authenticate", "before_request", "on_route", "before_attempt")
        seen = await asked(row, doing) if refused else (await through(row, answer_of(row), doing))[0]
    assert seen.status == 500
    assert seen.code() == "hook_failed"
    assert b"secret" not in seen.body
    assert "sk-secret of the hook" in caplog.text


@each_row
@pytest.mark.parametrize("stage", ["on_error", "on_complete"])
async def test_a_hook_that_fails_at_the_end_changes_nothing(
    row: Row, stage: str, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[str] = []
    other = hook(**{stage: lambda *arguments: called.append(stage)})
    seen, _ = await through(row, Script.of_json({}, 429), other, hook(**{stage: _fails}))
    assert seen.status == 429
    assert called == [stage]
    assert "sk-secret of the hook" in caplog.text


@some_rows("stage", [stage for stage in STAGES if stage != "authenticate"])
async def test_a_hook_that_fails_open_lets_the_call_go_on(
    row: Row, stage: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        seen, _ = await through(row, answer_of(row), hook(fail_open=True, **{stage: _fails}))
    assert seen.status == 200
    assert len(seen.events) > 2 if row.stream else seen.json()
    unused = stage in ("on_error", "after_response" if row.stream else "on_event")
    assert ("the call goes on" in caplog.text) is not unused


async def test_fail_open_does_not_open_the_door() -> None:
    seen = await asked(CHAT, hook(fail_open=True, authenticate=_fails))
    assert seen.status == 401


async def test_a_refusal_is_no_failure_that_fail_open_passes_over() -> None:
    def refuse(call: Call) -> None:
        raise GatewayError("no", status=451)

    assert (await asked(CHAT, hook(fail_open=True, before_request=refuse))).status == 451


# forms of hooks


async def test_decorated_functions_are_hooks_in_the_order_they_are_written() -> None:
    gateway = Gateway(models={"gpt": FunctionProvider("f", lambda body: "hi")})
    log: list[str] = []

    @gateway.hook.before_request
    def first(call: Call) -> None:
        log.append("first")

    @gateway.hook.before_request
    async def second(call: Call) -> None:
        log.append("second")

    @gateway.hook.on_complete
    async def last(call: Call) -> None:
        log.append("complete")

    @gateway.hook.on_complete
    def before_last(call: Call) -> None:
        log.append("before complete")

    await gateway.chat({"model": "gpt", "messages": [{"role": "user", "content": "q"}]})
    assert log == ["first", "second", "before complete", "complete"]
    assert first.__name__ == "first"


def test_a_decorator_of_no_stage_is_a_mistake() -> None:
    gateway = Gateway()
    with pytest.raises(TypeError, match=r"no such stage: 'before_requests'.*before_request"):
        gateway.hook.before_requests(lambda call: None)


def test_a_class_in_place_of_an_instance_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="an instance of Hook"):
        Gateway(hooks=[Hook])


@pytest.mark.parametrize("empty", [object(), Hook(), "text"], ids=["object", "base", "text"])
def test_an_object_with_none_of_the_methods_is_a_mistake(empty: object) -> None:
    with pytest.raises(TypeError, match="none of the hook methods"):
        Gateway().add_hook(empty)


async def test_a_hook_added_later_is_the_last_in_the_list() -> None:
    log: list[str] = []
    gateway = Gateway(
        models={"gpt": FunctionProvider("f", lambda body: "hi")},
        hooks=[hook(before_request=lambda call: log.append("first"))],
    )
    gateway.add_hook(hook(before_request=lambda call: log.append("added")))
    await gateway.chat({"model": "gpt", "messages": [{"role": "user", "content": "q"}]})
    assert log == ["first", "added"]


async def test_the_tenant_is_there_for_every_later_stage() -> None:
    tenants: dict[str, str | None] = {}

    def note(stage: str) -> Callable[..., Any]:
        def noting(call: Call, *rest: Any) -> Any:
            tenants[stage] = call.tenant
            assert call.principal is not None
            assert call.principal.facts == {"plan": "pro"}
            return rest[0] if stage == "on_event" else None

        return noting

    later = [stage for stage in STAGES if stage not in ("authenticate", "on_error")]
    door = hook(authenticate=lambda call, key: Principal("team", {"plan": "pro"}))
    for row in (CHAT, Row("chat", "chat", stream=True)):
        await through(row, answer_of(row), door, hook(**{stage: note(stage) for stage in later}))
    assert tenants == dict.fromkeys(later, "team")
