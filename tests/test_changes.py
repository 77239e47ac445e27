"""What a translation dropped or changed shows: in the call, a header, the log; and the call may be refused for it."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import msgspec
import pytest

from aigateway import (
    Call,
    FunctionProvider,
    Gateway,
    GatewayError,
    Hook,
    LoggingHook,
    Models,
    Provider,
    Quirks,
    Target,
    UnsupportedError,
)
from aigateway.canonical.changes import listed
from aigateway.canonical.types import Change
from aigateway.providers.protocol import ProviderLike
from aigateway.testing import Script, ScriptedUpstream
from tests.answers import CHAT_REPLY, RESPONSES_EVENTS, RESPONSES_REPLY
from tests.asking import Row, Seen, post
from tests.playback import Pieces
from tests.serving import served

CHANGES = "x-aigateway-changes"
WISH = "x-aigateway-on-unsupported"
ASKED = b'{"model":"gpt","messages":[{"role":"user","content":"q"}],"seed":1,"stop":"x","max_tokens":3}'
CODES = "dropped:stop,dropped:seed,changed:max_output_tokens"
OVER = {
    "unary": Row("chat", "responses", raw=ASKED),
    "stream": Row("chat", "responses", stream=True, raw=ASKED[:-1] + b',"stream":true}'),
}
each_row = pytest.mark.parametrize("row", OVER.values(), ids=OVER.keys())


class Last(Hook):
    """Keeps the call, and may set its wish."""

    def __init__(self, wish: Any = None) -> None:
        self.call: Call | None = None
        self.wish = wish

    def before_request(self, call: Call) -> None:
        if self.wish is not None:
            call.on_unsupported = self.wish

    def on_complete(self, call: Call) -> None:
        self.call = call


def answer_of(row: Row) -> Script:
    if row.stream:
        return Script.of_events(RESPONSES_EVENTS, named=True, done=True)
    return Script.of_json(RESPONSES_REPLY if row.upstream == "responses" else CHAT_REPLY)


async def asked(row: Row, script: Script | None = None, *hooks: object, **headers: str) -> Seen:
    async with ScriptedUpstream() as upstream:
        upstream.script(script or answer_of(row))
        gateway = Gateway(models={"gpt": Provider("up", upstream.base_url, "k", apis={row.upstream})}, hooks=hooks)
        async with served(gateway) as url:
            return await post(url, row, **headers)


def upstream_of(api: str) -> Pieces:
    return Pieces(api, msgspec.json.encode(RESPONSES_REPLY if api == "responses" else CHAT_REPLY))


def wanted(where: ProviderLike | None = None, **settings: Any) -> Models:
    models = Models()
    models.register("gpt", where or upstream_of("responses"), **settings)
    return models


REQUEST: dict[str, Any] = {"model": "gpt", "messages": [{"role": "user", "content": "q"}], "seed": 1, "stop": "x"}


# seen


@each_row
async def test_the_header_the_call_and_the_log_tell_the_same_codes(row: Row, caplog: pytest.LogCaptureFixture) -> None:
    last = Last()
    with caplog.at_level(logging.INFO):
        seen = await asked(row, None, last, LoggingHook())
    assert (seen.status, seen.headers[CHANGES]) == (200, CODES)
    assert last.call is not None
    assert ",".join(change.code for change in last.call.changes) == CODES
    [line] = [record.getMessage() for record in caplog.records if record.name == "aigateway.calls"]
    assert f" changes={CODES} " in line


@each_row
async def test_an_error_after_the_translation_tells_them_too(row: Row) -> None:
    seen = await asked(row, Script.of_json({"error": {"message": "no"}}, 400))
    assert (seen.status, seen.headers[CHANGES]) == (400, CODES)


@pytest.mark.parametrize(
    "row",
    [
        Row("chat", "chat", raw=ASKED),
        Row("chat", "responses"),
        Row("responses", "chat"),
        Row("embeddings", "embeddings"),
    ],
    ids=lambda row: row.id,
)
async def test_where_nothing_was_changed_there_is_no_header(row: Row) -> None:
    assert CHANGES not in (await asked(row, Script.of_json({"data": []}) if row.api == "embeddings" else None)).headers


async def test_only_what_the_last_target_was_not_told_is_listed() -> None:
    async with ScriptedUpstream() as upstream:
        upstream.script(Script.of_json({"error": {"message": "busy"}}, 429), Script.of_json(CHAT_REPLY))
        targets = [Provider(api, upstream.base_url, "k", apis={api}) for api in ("responses", "chat")]
        last = Last()
        async with served(Gateway(models={"gpt": targets}, hooks=[last])) as url:
            seen = await post(url, OVER["unary"])
    assert seen.status == 200
    assert CHANGES not in seen.headers
    assert last.call is not None
    assert (len(last.call.attempts), last.call.changes) == (2, [])


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("seed", "dropped:seed"),
        ("text.verbosity", "dropped:text.verbosity"),
        ("tools[0]", "dropped:tools[0]"),
        ("a, b\r\nx: ö", "dropped:a__b__x___"),
        ("x" * 99, "dropped:" + "x" * 56),
    ],
    ids=["plain", "nested", "indexed", "what fits no header", "long"],
)
def test_a_code_fits_a_header_whatever_the_caller_called_the_field(field: str, code: str) -> None:
    assert Change(field=field, action="dropped", reason="r").code == code


def test_codes_are_listed_once_and_not_without_end() -> None:
    seed = Change(field="seed", action="dropped", reason="r")
    assert listed([seed, Change(field="seed", action="changed", reason="r"), seed]) == "dropped:seed,changed:seed"
    codes = listed(Change(field=f"f{number}", action="dropped", reason="r") for number in range(40)).split(",")
    assert (len(codes), codes[31], codes[32]) == (33, "dropped:f31", "+8")


# on_unsupported


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_warning_is_logged_once_per_call_by_default(caplog: pytest.LogCaptureFixture) -> None:
    busy = Provider("busy", "http://127.0.0.1:1", "k", apis={"responses"})  # nobody listens: the next target is tried
    gateway = Gateway(models={"gpt": [busy, upstream_of("responses")]})
    async with gateway:
        await gateway.chat(REQUEST, headers={"x-request-id": "r1"})
        assert warnings_of(caplog) == ["call r1: provider busy is not told all of it: dropped:stop,dropped:seed"]
        await gateway.chat(REQUEST, headers={"x-request-id": "r2"})
    assert len(warnings_of(caplog)) == 2


async def test_drop_goes_on_without_a_word_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    last = Last()
    await Gateway(models=wanted(), on_unsupported="drop", hooks=[last]).chat(REQUEST)
    assert warnings_of(caplog) == []
    assert last.call is not None
    assert listed(last.call.changes) == "dropped:stop,dropped:seed"


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
async def test_reject_names_the_first_field_and_all_codes_and_asks_nobody(*, stream: bool) -> None:
    provider, last = upstream_of("responses"), Last()
    gateway = Gateway(models={"gpt": provider}, on_unsupported="reject", hooks=[last])
    with pytest.raises(UnsupportedError) as caught:
        await (gateway.chat(REQUEST, stream=True) if stream else gateway.chat(REQUEST))
    error = caught.value
    assert (error.status, error.code, error.param) == (400, "unsupported_parameter", "stop")
    assert "dropped:stop,dropped:seed" in error.message
    assert "'acme'" in error.message
    assert provider.requests == []
    assert last.call is not None
    assert (last.call.outcome, last.call.status) == ("refused", 400)


async def test_reject_lets_a_call_pass_that_is_told_in_full() -> None:
    gateway = Gateway(models=wanted(), on_unsupported="reject")
    plain = {key: value for key, value in REQUEST.items() if key not in ("seed", "stop")}
    assert (await gateway.chat(plain)).texts() == ["Hello there"]


async def test_a_rejected_call_s_header_tells_the_codes() -> None:
    seen = await asked(OVER["unary"], None, **{WISH: "reject"})
    assert (seen.status, seen.json()["error"]["param"], seen.headers[CHANGES]) == (400, "stop", CODES)


@pytest.mark.parametrize(
    ("gateway", "model", "target", "header", "hook", "outcome"),
    [
        ("reject", None, None, None, None, "refused"),
        ("reject", "drop", None, None, None, "completed"),
        ("drop", "reject", None, None, None, "refused"),
        ("reject", "reject", "warn", None, None, "completed"),
        ("drop", "drop", "reject", None, None, "refused"),
        ("drop", "drop", "drop", "reject", None, "refused"),
        ("reject", "reject", "reject", "drop", None, "completed"),
        ("drop", "drop", "drop", "drop", "reject", "refused"),
        ("reject", "reject", "reject", "reject", "warn", "completed"),
    ],
)
async def test_what_is_nearest_to_the_call_counts(
    gateway: Any, model: Any, target: Any, header: Any, hook: Any, outcome: str
) -> None:
    last = Last(hook)
    models = Models()
    models.register("gpt", Target(upstream_of("responses"), on_unsupported=target), on_unsupported=model)
    calls = Gateway(models=models, on_unsupported=gateway, hooks=[last])
    headers = {} if header is None else {WISH.upper(): f" {header} "}
    with contextlib.suppress(GatewayError):
        await calls.chat(REQUEST, headers=headers)
    assert last.call is not None
    assert last.call.outcome == outcome


@pytest.mark.parametrize("header", [WISH, "x-aigateway-profile"])
@pytest.mark.parametrize("row", [OVER["unary"], OVER["stream"], Row("responses", "chat"), Row("images", "images")])
async def test_a_header_with_another_word_is_a_400_that_names_it(header: str, row: Row) -> None:
    seen = await asked(row, None, **{header: "maybe"})
    assert seen.status == 400
    error = seen.json()["error"]
    assert (error["param"], error["code"], error["type"]) == (header, "invalid_value", "invalid_request_error")
    assert header in error["message"]


async def test_a_hook_s_other_word_is_a_fault_of_the_hook() -> None:
    with pytest.raises(GatewayError) as caught:
        await Gateway(models=wanted(), hooks=[Last("maybe")]).chat(REQUEST)
    assert (caught.value.status, caught.value.code) == (500, "hook_failed")


def test_another_word_is_refused_where_it_is_written() -> None:
    word: Any = "maybe"
    with pytest.raises(ValueError, match="on_unsupported must be one of warn, drop, reject, not 'maybe'"):
        Gateway(on_unsupported=word)
    with pytest.raises(ValueError, match="profile must be one of openai, open_responses"):
        Gateway(profile=word)
    with pytest.raises(ValueError, match="on_unsupported"):
        Target(upstream_of("chat"), on_unsupported=word)
    with pytest.raises(ValueError, match="on_unsupported"):
        wanted(on_unsupported=word)


# content


IMAGE = {"type": "input_image", "file_id": "file_1"}
HI = {"type": "input_text", "text": "hi"}
CONTENT: dict[str, tuple[dict[str, Any], str]] = {
    "image by file id": ({"role": "user", "content": [HI, IMAGE]}, "input[1].content[1]"),
    "file by URL": (
        {"role": "user", "content": [{"type": "input_file", "file_url": "https://x"}]},
        "input[1].content[0]",
    ),
    "video": ({"role": "user", "content": [HI, HI, {"type": "input_video"}]}, "input[1].content[2]"),
    "part of the assistant": (
        {"role": "assistant", "content": [{"type": "output_text", "text": "a"}, {"type": "input_video"}]},
        "input[1].content[1]",
    ),
    "result of a tool": (
        {"type": "function_call_output", "call_id": "c", "output": [HI, IMAGE]},
        "input[1].output[1]",
    ),
    "item": ({"type": "item_reference", "id": "msg_1"}, "input[1]"),
}


@pytest.mark.parametrize(("item", "param"), CONTENT.values(), ids=CONTENT.keys())
@pytest.mark.parametrize("wish", ["warn", "drop", "reject"])
async def test_content_that_chat_cannot_carry_is_always_a_400_that_names_it(
    item: dict[str, Any], param: str, wish: Any
) -> None:
    provider = upstream_of("chat")
    with pytest.raises(UnsupportedError) as caught:
        await Gateway(models={"gpt": provider}, on_unsupported=wish).responses(
            model="gpt", input=[{"role": "user", "content": "q"}, item]
        )
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "unsupported_content", param)
    assert provider.requests == []


@pytest.mark.parametrize(
    "part",
    [{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}, {"type": "video_url", "video_url": {}}],
    ids=["audio", "video"],
)
async def test_content_that_responses_cannot_carry_is_a_400_that_names_it(part: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError) as caught:
        await Gateway(models=wanted()).chat(model="gpt", messages=[{"role": "user", "content": [part]}])
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "unsupported_content", "messages")


async def test_the_place_is_told_right_where_tools_stand_among_the_items() -> None:
    tools = {"type": "additional_tools", "tools": [{"type": "function", "name": "f", "parameters": {}}]}
    with pytest.raises(UnsupportedError) as caught:
        await Gateway(models={"gpt": upstream_of("chat")}).responses(
            model="gpt", input=[tools, {"role": "user", "content": [IMAGE]}]
        )
    assert caught.value.param == "input[1].content[0]"


async def test_what_is_only_told_in_another_way_refuses_no_call() -> None:
    provider = FunctionProvider("p", lambda body: "done")
    provider.quirks = Quirks()  # a host that takes no custom tools: they go up as functions
    gateway = Gateway(models={"m": provider}, on_unsupported="reject")
    tools = [{"type": "custom", "name": "patch"}]
    reply = await gateway.responses(model="m", input="x", tools=tools)
    assert reply.texts() == ["done"]
