"""Upstreams that fail before the first event: the caller gets a status and an error of its own format."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import pytest

from aigateway import Gateway, Provider, UpstreamError
from aigateway.testing import Script, ScriptedUpstream
from tests.answers import EVENTS, stream, whole
from tests.faults import (
    INNER,
    STREAMED,
    SURFACES,
    UPSTREAM_KEY,
    Stage,
    Surface,
    gateway_is_idle,
    leaks_nothing,
    staged,
    type_for,
)
from tests.sampling import spread

EACH = [
    pytest.param(surface, streams, id=f"{name}, {'streamed' if streams else 'whole'}")
    for name, surface in SURFACES.items()
    for streams in ((False, True) if surface.streams and not surface.edits else (surface.streams,))
]
each_surface = pytest.mark.parametrize(("surface", "streams"), EACH)
each_stream = pytest.mark.parametrize("surface", STREAMED.values(), ids=STREAMED.keys())

HTML = f"<html><body>nginx {INNER}</body></html>".encode()
EVENT_STREAM = {"content-type": "text/event-stream"}
JSON_ERROR = {
    "error": {"message": f"{INNER} at http://10.0.0.1", "type": "server_error", "code": INNER, "param": INNER}
}


def html(status: int) -> Script:
    return Script(status=status, headers={"content-type": "text/html; charset=utf-8"}, body=HTML)


class Fault(NamedTuple):
    """What an upstream does, and the answer to it."""

    script: Script
    status: int
    code: str
    says: str


FAULTS: Mapping[str, Fault] = {
    "500": Fault(Script.of_json(JSON_ERROR, 500), 502, "upstream_error", "answered with HTTP 500"),
    "503": Fault(Script.of_json(JSON_ERROR, 503), 502, "upstream_error", "answered with HTTP 503"),
    "504": Fault(Script.of_json(JSON_ERROR, 504), 504, "upstream_timeout", "answered with HTTP 504"),
    "529": Fault(Script.of_json(JSON_ERROR, 529), 502, "upstream_error", "answered with HTTP 529"),
    "HTML with 200": Fault(html(200), 502, "upstream_protocol_error", ""),
    "HTML with 502": Fault(html(502), 502, "upstream_error", "answered with HTTP 502"),
    "empty body": Fault(Script(), 502, "upstream_protocol_error", ""),
    "empty body without a type": Fault(Script(headers={}), 502, "upstream_protocol_error", ""),
    "null": Fault(Script(body=b"null"), 502, "upstream_protocol_error", ""),
    "list": Fault(Script.of_json([{"choices": [], "data": []}]), 502, "upstream_protocol_error", ""),
    "string": Fault(Script.of_json(INNER), 502, "upstream_protocol_error", ""),
    "half a document": Fault(Script(body=b'{"id":"x","model":"' + INNER.encode()), 502, "upstream_protocol_error", ""),
    "error with 200": Fault(Script.of_json(JSON_ERROR), 502, "", "reported an error"),
    "redirect": Fault(
        Script(status=307, headers={"location": "/v1/elsewhere", "content-type": "text/plain"}, body=INNER.encode()),
        502,
        "upstream_error",
        "answered with HTTP 307",
    ),
    "closed before the head": Fault(Script(fault="refuse"), 502, "upstream_connection_error", ""),
    "reset before the head": Fault(Script(fault="reset"), 502, "upstream_connection_error", ""),
    "cut in the body": Fault(
        Script.of_json({"id": "x", "choices": [], "data": [], "filler": "x" * 5000}, fault="cut"),
        502,
        "upstream_connection_error",
        "",
    ),
    "reset in the body": Fault(
        Script.of_json({"id": "x", "choices": [], "data": [], "filler": "x" * 5000}, fault="reset_body"),
        502,
        "upstream_connection_error",
        "",
    ),
}


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as stage:
        yield stage


def told_as_failed(stage: Stage, status: int, code: str, *, attempts: int = 1, shown: int | None = None) -> None:
    call = stage.call
    assert call.outcome == "failed"
    assert call.status == (shown or status)
    assert call.error is not None
    assert (call.error.status, call.error.code) == (status, code)
    assert isinstance(call.error, UpstreamError)
    assert call.error.provider == "acme"
    assert call.attempts[-1].error is call.error
    assert [attempt.why for attempt in call.attempts] == ["", "retry after connection"][:attempts]


@pytest.mark.parametrize(
    ("fault", "surface", "streams"),
    [
        pytest.param(fault, *cell.values, id=f"{name}-{cell.id}")
        for (name, fault), cell in spread(FAULTS.items(), EACH, every=3)
    ],
)
async def test_fault_before_the_first_byte_is_an_error_that_names_the_provider_and_leaks_nothing(
    stage: Stage, fault: Fault, surface: Surface, streams: bool
) -> None:
    answered = await stage.ask(surface, fault.script, stream=streams)
    status = 529 if surface.api == "messages" and fault.script.status == 529 else fault.status
    assert answered.status == status
    assert answered.headers["content-type"] == "application/json"
    error = answered.error()
    assert "Provider 'acme'" in error["message"]
    assert fault.says in error["message"]
    assert error["type"] == type_for(surface, status, "upstream_error")
    assert error["code"] == fault.code or not fault.code
    assert error["param"] is None
    leaks_nothing(stage, answered.body)
    told_as_failed(stage, fault.status, error["code"], shown=status)
    assert len(stage.upstream.requests) == 1
    await gateway_is_idle()


@each_surface
async def test_connection_refused_is_a_502(stage: Stage, surface: Surface, streams: bool) -> None:
    answered = await stage.ask(surface, Script(), stream=streams, model=f"nowhere-{surface.upstream}")
    assert answered.status == 502
    assert answered.error() == {
        "message": "Provider 'acme' could not be reached.",
        "type": type_for(surface, 502, "upstream_error"),
        "param": None,
        "code": "upstream_connection_error",
    }
    told_as_failed(stage, 502, "upstream_connection_error", attempts=2)


REFUSALS: Mapping[str, tuple[int, dict[str, Any]]] = {
    "400": (400, {"message": "Bad 'n'.", "type": "invalid_request_error", "param": "n", "code": "bad_n"}),
    "401": (
        401,
        {"message": "No such key.", "type": "invalid_request_error", "param": None, "code": "invalid_api_key"},
    ),
    "403": (403, {"message": "Not here.", "type": "permission_error", "param": None, "code": "region"}),
    "404": (404, {"message": "No such model.", "type": "not_found", "param": "model", "code": "model_not_found"}),
    "413": (413, {"message": "Too long.", "type": "invalid_request_error", "param": None, "code": "too_long"}),
    "422": (422, {"message": "No.", "type": "invalid_request_error", "param": None, "code": "unprocessable"}),
    "429": (429, {"message": "Slow down.", "type": "tokens", "param": None, "code": "rate_limit_exceeded"}),
    "context": (
        400,
        {
            "message": "This model's maximum context length is 8 tokens.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        },
    ),
}


@pytest.mark.parametrize(
    ("status", "error", "surface", "streams"),
    [
        pytest.param(*refusal, *cell.values, id=f"{name}-{cell.id}")
        for (name, refusal), cell in spread(REFUSALS.items(), EACH, every=2)
    ],
)
async def test_refusal_of_the_upstream_keeps_status_words_and_limits(
    stage: Stage, status: int, error: dict[str, Any], surface: Surface, streams: bool
) -> None:
    headers = {"retry-after": "7", "x-ratelimit-remaining-requests": "0", "set-cookie": "a=b", "server": INNER}
    script = Script.of_json({"error": error}, status, headers)
    answered = await stage.ask(surface, script, stream=streams)
    assert answered.status == status
    shown = error | {"type": type_for(surface, status, error["type"])}
    if surface.api == "messages" and error["code"] == "context_length_exceeded":
        shown["message"] = f"prompt is too long: {error['message']}"
    assert answered.error() == shown
    assert answered.headers["retry-after"] == "7"
    assert answered.headers["x-ratelimit-remaining-requests"] == "0"
    assert "set-cookie" not in answered.headers
    leaks_nothing(stage, answered.body + str(answered.headers).replace("http:", "").encode())
    told_as_failed(stage, status, error["code"])


BODIES: Mapping[str, tuple[bytes, str]] = {
    "string": (b'{"error":"model is loading"}', "model is loading"),
    "detail": (b'{"detail":"Not Found"}', "Not Found"),
    "flat": (b'{"object":"error","message":"bad thing","code":400}', "bad thing"),
    "in a list": (b'[{"error":{"code":400,"message":"key not valid","status":"INVALID_ARGUMENT"}}]', "key not valid"),
    "HTML": (HTML, "Provider 'acme' answered with HTTP 400."),
    "empty": (b"", "Provider 'acme' answered with HTTP 400."),
    "null": (b"null", "Provider 'acme' answered with HTTP 400."),
    "list of nothing": (b"[]", "Provider 'acme' answered with HTTP 400."),
    "message that is no text": (
        b'{"error":{"message":{"a":1},"code":[1],"type":2}}',
        "Provider 'acme' answered with HTTP 400.",
    ),
}


@pytest.mark.parametrize(("body", "message"), BODIES.values(), ids=BODIES.keys())
async def test_error_bodies_of_all_shapes_become_ours(stage: Stage, body: bytes, message: str) -> None:
    answered = await stage.ask(SURFACES["responses on chat"], Script(status=400, body=body), stream=False)
    assert answered.status == 400
    error = answered.error()
    assert error["message"] == message
    assert isinstance(error["type"], str)
    assert isinstance(error["code"], str)


@pytest.mark.parametrize("status", [400, 401, 403, 429])
@pytest.mark.parametrize(
    ("key", "own"),
    [(UPSTREAM_KEY, True), ("no-known-prefix-0123", True), ("sk-of-somebody-else-1", False), ("AIzaSyD-0123", False)],
    ids=["ours", "ours, of any form", "another's", "another's of Google"],
)
async def test_refusal_that_repeats_a_key_does_not_pass_it_on(key: str, own: bool, status: int) -> None:
    refusal = {"error": {"message": f"Incorrect API key provided: {key}. Skeleton keys?"}}
    async with ScriptedUpstream() as upstream:
        upstream.script(Script.of_json(refusal, status))
        async with Gateway(providers=[Provider("acme", upstream.base_url, key if own else "none")]) as gateway:
            with pytest.raises(UpstreamError) as caught:
                await gateway.chat(model="m", messages=[{"role": "user", "content": "hi"}])
    assert caught.value.status == status
    assert caught.value.message == "Incorrect API key provided: ***. Skeleton keys?"


@each_stream
async def test_error_as_the_first_event_keeps_its_http_status(stage: Stage, surface: Surface) -> None:
    facts = {"message": "Slow down.", "type": "tokens", "param": None, "code": "rate_limit_exceeded"}
    event: dict[str, Any] = (
        {"error": facts} if surface.upstream in ("chat", "completions") else {"type": "error", "error": facts}
    )
    answered = await stage.ask(surface, stream(surface.upstream, [event], done=True), stream=True)
    assert answered.status == 429
    assert answered.headers["content-type"] == "application/json"
    assert answered.error() == facts | {"type": type_for(surface, 429, "tokens")}
    told_as_failed(stage, 429, "rate_limit_exceeded")


@each_stream
async def test_failure_of_the_upstream_as_the_first_event_is_a_502_that_leaks_nothing(
    stage: Stage, surface: Surface
) -> None:
    event = {**JSON_ERROR, "type": "error"} if surface.upstream != "chat" else JSON_ERROR
    answered = await stage.ask(surface, stream(surface.upstream, [event], done=True), stream=True)
    assert answered.status == 502
    assert answered.error()["message"] == "Provider 'acme' reported an error in its stream."
    leaks_nothing(stage, answered.body)


@each_stream
@pytest.mark.parametrize(
    "first", [b"data: <html>\n\n", b"data: null\n\n", b"data: [1]\n\n"], ids=["html", "null", "list"]
)
async def test_stream_that_begins_with_garbage_is_a_502(stage: Stage, surface: Surface, first: bytes) -> None:
    answered = await stage.ask(surface, Script(headers=EVENT_STREAM, pieces=[first]), stream=True)
    assert answered.status == 502
    assert answered.error()["code"] == "upstream_protocol_error"
    assert "Provider 'acme'" in answered.error()["message"]
    told_as_failed(stage, 502, "upstream_protocol_error")


@each_stream
@pytest.mark.parametrize(
    "pieces", [[], [b": hello\n\n"], [b"data: [DONE]\n\n"]], ids=["nothing", "a comment", "only [DONE]"]
)
async def test_stream_without_any_event_is_a_502(stage: Stage, surface: Surface, pieces: list[bytes]) -> None:
    answered = await stage.ask(surface, Script(headers=EVENT_STREAM, pieces=pieces), stream=True)
    assert answered.status == 502
    assert answered.error()["code"] == "upstream_protocol_error"


@pytest.mark.parametrize("surface", SURFACES.values(), ids=SURFACES.keys())
async def test_stream_where_none_was_asked_for_is_a_502_at_once(stage: Stage, surface: Surface) -> None:
    events = EVENTS.get(surface.upstream, EVENTS["images"])
    script = stream(surface.upstream, events, piece_delay=0.5)
    answered = await stage.ask(surface, script, stream=False)
    assert answered.status == 502
    assert answered.error()["code"] == "upstream_protocol_error"
    assert "Provider 'acme'" in answered.error()["message"]
    call = stage.call
    assert call.ended_at is not None
    assert call.ended_at - call.started_at < 1


@pytest.mark.parametrize(
    "name", ["chat relay", "chat edit", "responses relay", "responses edit", "responses on chat", "chat on responses"]
)
async def test_whole_answer_to_a_stream_request_is_told_as_a_stream(stage: Stage, name: str) -> None:
    surface = SURFACES[name]
    answered = await stage.ask(surface, whole(surface.upstream), stream=True)
    assert answered.status == 200
    assert answered.headers["content-type"] == "text/event-stream"
    events = answered.events()
    assert events[-1] == "[DONE]"
    assert "Hello there" in str(events)
    assert stage.call.outcome == "completed"


async def test_whole_answer_to_a_stream_of_images_is_a_502(stage: Stage) -> None:
    answered = await stage.ask(SURFACES["images"], whole("images"), stream=True)
    assert answered.status == 502
    assert answered.error()["code"] == "upstream_protocol_error"


async def test_embeddings_have_no_stream(stage: Stage) -> None:
    answered = await stage.ask(SURFACES["embeddings"], whole("embeddings"), stream=True)
    assert answered.status == 200
    assert answered.headers["content-type"] == "application/json"
    assert stage.call.outcome == "completed"


async def test_redirect_is_not_followed(stage: Stage) -> None:
    stage.upstream.answer_with(
        lambda request: (
            whole("chat") if "elsewhere" in request.path else Script(status=302, headers={"location": "/elsewhere"})
        )
    )
    answered = await stage.post(
        f"{stage.urls[False]}/v1/chat/completions", SURFACES["chat relay"].request(stream=False)
    )
    assert answered.status == 502
    assert "location" not in answered.headers
    assert [request.path for request in stage.upstream.requests] == ["/v1/chat/completions"]


@each_surface
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_survives_every_status(stage: Stage, surface: Surface, streams: bool, status: int) -> None:
    answered = await stage.ask(surface, Script.of_json(JSON_ERROR, status, {"retry-after": "30"}), stream=streams)
    assert answered.headers["retry-after"] == "30"
