"""Callers whose requests are wrong: refused with the status and the field at fault, before any upstream is asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import msgspec
import pytest

from aigateway import APIKeyAuthenticator, Gateway, Limits, Provider
from aigateway.testing import ReceivedRequest, ScriptedUpstream
from tests.answers import REQUESTS, whole
from tests.faults import ERROR_KEYS, PATHS, Outcomes
from tests.serving import served

APIS = ["chat", "responses", "embeddings", "images"]
each_api = pytest.mark.parametrize("api", APIS)

MAX_BODY = 20_000


class Front:
    """A gateway with small limits, keys, and a model of each kind."""

    def __init__(
        self, url: str, upstream: ScriptedUpstream, outcomes: Outcomes, session: aiohttp.ClientSession
    ) -> None:
        self.url = url
        self.upstream = upstream
        self.outcomes = outcomes
        self.session = session

    async def post(self, path: str, body: bytes, **headers: str) -> tuple[int, Mapping[str, str], dict[str, Any]]:
        """Status, headers and error object."""
        sent = {"content-type": "application/json", "authorization": "Bearer key-a"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.post(self.url + path, data=body, headers=sent) as reply:
            return reply.status, reply.headers, error_in(await reply.read())

    def refused(self) -> None:
        """The upstream was not asked, and the hooks were told."""
        assert self.upstream.requests == []
        assert [call.outcome for call in self.outcomes.calls] == ["refused"]


def error_in(body: bytes) -> dict[str, Any]:
    value = msgspec.json.decode(body)
    assert set(value) == {"error"}, value
    assert set(value["error"]) == ERROR_KEYS
    return dict(value["error"])


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    outcomes = Outcomes()
    async with ScriptedUpstream() as upstream:
        upstream.answer_with(lambda request: whole(_api_of(request)))
        one = {
            "gpt": Provider("acme", upstream.base_url),
            "on-chat": Provider("bmce", upstream.base_url, apis=["chat"]),
        }
        gateway = Gateway(
            models=one | {"on-responses": Provider("cmce", upstream.base_url, apis=["responses"])},
            hooks=[APIKeyAuthenticator({"key-a": "a", "key-b": "b"}), outcomes],
            limits=Limits(max_body=MAX_BODY, max_depth=20),
        )
        async with served(gateway) as url, aiohttp.ClientSession() as session:
            yield Front(url, upstream, outcomes, session)


def _api_of(request: ReceivedRequest) -> str:
    return next(api for api, path in PATHS.items() if path == request.path)


NOT_JSON: Mapping[str, bytes] = {
    "empty": b"",
    "blank": b" \n",
    "half": b'{"model": "gpt", "messages": [',
    "words": b"model=gpt",
    "trailing garbage": b'{"model":"gpt","messages":[{"role":"user","content":"hi"}],"input":"hi","prompt":"hi"} x',
    "two documents": b'{"model":"gpt"}{"model":"gpt"}',
    "array": b'[{"model":"gpt"}]',
    "string": b'"gpt"',
    "number": b"5",
    "null": b"null",
    "single quotes": b"{'model':'gpt'}",
    "NaN": b'{"model":"gpt","temperature":NaN,"messages":[{}],"input":"hi","prompt":"hi"}',
    "invalid UTF-8": b'{"model":"gpt","user":"\xff\xfe","messages":[{}],"input":"hi","prompt":"hi"}',
    "byte order mark": b'\xef\xbb\xbf{"model":"gpt","messages":[{}],"input":"hi","prompt":"hi"}',
    "too deep": b'{"model":"gpt","input":"hi","prompt":"hi","messages":' + b"[" * 20 + b"]" * 20 + b"}",
    "far too deep": b"[" * 9000 + b"]" * 9000,
    "deep and never closed": b'{"model":"gpt","messages":' + b'[{"a":' * 2000,
}


@each_api
@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
async def test_body_that_is_no_json_object_is_a_400(front: Front, body: bytes, api: str) -> None:
    status, headers, error = await front.post(PATHS[api], body)
    assert status == 400
    assert headers["content-type"] == "application/json"
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "invalid_json", None)
    front.refused()


WRONG: list[tuple[str, str, Any, str]] = [
    ("chat", "model", 5, "invalid_type"),
    ("chat", "model", None, "missing_required_parameter"),
    ("chat", "model", "", "missing_required_parameter"),
    ("chat", "model", ["gpt"], "invalid_type"),
    ("chat", "messages", "x", "invalid_type"),
    ("chat", "messages", {}, "invalid_type"),
    ("chat", "messages", 7, "invalid_type"),
    ("chat", "messages", [], "missing_required_parameter"),
    ("chat", "messages", None, "missing_required_parameter"),
    ("chat", "stream", "yes", "invalid_type"),
    ("chat", "stream", 1, "invalid_type"),
    ("chat", "stream_options", "x", "invalid_type"),
    ("responses", "model", 5, "invalid_type"),
    ("responses", "model", None, "missing_required_parameter"),
    ("responses", "input", None, "missing_required_parameter"),
    ("responses", "input", 5, "invalid_type"),
    ("responses", "input", {}, "invalid_type"),
    ("responses", "input", [], "missing_required_parameter"),
    ("responses", "stream", "true", "invalid_type"),
    ("embeddings", "model", 1.5, "invalid_type"),
    ("embeddings", "input", None, "missing_required_parameter"),
    ("embeddings", "input", 5, "invalid_type"),
    ("embeddings", "input", [], "missing_required_parameter"),
    ("embeddings", "encoding_format", 5, "invalid_type"),
    ("images", "model", {}, "invalid_type"),
    ("images", "prompt", None, "missing_required_parameter"),
    ("images", "prompt", ["a"], "invalid_type"),
    ("images", "prompt", "", "missing_required_parameter"),
    ("images", "stream", "on", "invalid_type"),
]


@pytest.mark.parametrize(
    ("api", "field", "value", "code"),
    WRONG,
    ids=[f"{api} {field} {json.dumps(value)}" for api, field, value, _ in WRONG],
)
async def test_wrong_field_is_a_400_that_names_it(front: Front, api: str, field: str, value: Any, code: str) -> None:
    status, _, error = await front.post(PATHS[api], msgspec.json.encode({**REQUESTS[api], field: value}))
    assert status == 400
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", field, code)
    assert field in error["message"]
    front.refused()


@each_api
@pytest.mark.parametrize("field", ["model", "messages", "input", "prompt"])
async def test_field_that_is_not_there_is_missing(front: Front, api: str, field: str) -> None:
    body = {key: value for key, value in REQUESTS[api].items() if key != field}
    needed = field in REQUESTS[api] and not (api == "images" and field == "model")
    if not needed:
        return
    status, _, error = await front.post(PATHS[api], msgspec.json.encode(body))
    assert (status, error["param"], error["code"]) == (400, field, "missing_required_parameter")
    front.refused()


TRANSLATED: list[tuple[str, dict[str, Any], str]] = [
    ("responses", {"temperature": "hot"}, "temperature"),
    ("responses", {"tools": "x"}, "tools"),
    ("responses", {"input": [5]}, "input[0]"),
    ("responses", {"input": [{"role": "user", "content": 5}]}, "input[0].content"),
    ("responses", {"max_output_tokens": "many"}, "max_output_tokens"),
    ("responses", {"metadata": 5}, "metadata"),
    ("chat", {"temperature": "hot"}, "temperature"),
    ("chat", {"messages": [5]}, "messages[0]"),
    ("chat", {"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ("chat", {"messages": [{"content": "hi"}]}, "messages[0].role"),
    ("chat", {"tools": {}}, "tools"),
    ("chat", {"max_tokens": []}, "max_tokens"),
]


@pytest.mark.parametrize(("api", "fields", "param"), TRANSLATED, ids=[f"{api} {param}" for api, _, param in TRANSLATED])
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_wrong_type_that_a_translation_meets_is_a_400_that_names_it(
    front: Front, api: str, fields: dict[str, Any], param: str, streams: bool
) -> None:
    model = "on-chat" if api == "responses" else "on-responses"
    body = {**REQUESTS[api], **fields, "model": model} | ({"stream": True} if streams else {})
    status, _, error = await front.post(PATHS[api], msgspec.json.encode(body))
    assert status == 400, error
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert front.upstream.requests == []


@each_api
async def test_unknown_model_is_a_404_that_repeats_the_name(front: Front, api: str) -> None:
    status, _, error = await front.post(PATHS[api], msgspec.json.encode({**REQUESTS[api], "model": "nobody/knows"}))
    assert status == 404
    assert error["code"] == "model_not_found"
    assert error["type"] == ("not_found" if api == "responses" else "invalid_request_error")
    assert error["param"] == "model"
    assert "nobody/knows" in error["message"]
    front.refused()


@pytest.mark.parametrize("api", ["embeddings", "images"])
async def test_model_whose_provider_lacks_the_api_is_a_clear_400(front: Front, api: str) -> None:
    body = msgspec.json.encode({**REQUESTS[api], "model": "on-chat"})
    status, _, error = await front.post(PATHS[api], body)
    assert (status, error["code"], error["param"]) == (400, "unsupported_api", "model")
    assert "'bmce'" in error["message"]
    front.refused()


LONE = rb'"\ud83d half an emoji"'


@pytest.mark.parametrize("model", ["gpt", "on-chat", "on-responses"])
@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_lone_surrogates_in_a_text_are_no_fault(front: Front, api: str, model: str) -> None:
    place = b'"messages":[{"role":"user","content":' + LONE + b"}]" if api == "chat" else b'"input":' + LONE
    body = b'{"model":"' + model.encode() + b'",' + place + b"}"
    headers = {"authorization": "Bearer key-a"}
    async with front.session.post(front.url + PATHS[api], data=body, headers=headers) as reply:
        assert reply.status == 200
    assert b"half an emoji" in front.upstream.requests[0].body
    front.upstream.requests[0].body.decode()


LONE_AND_WRONG: Mapping[str, tuple[bytes, int, str | None]] = {
    "no end": (rb'{"user":"\ud83d","model":"gpt"', 400, None),
    "wrong type after it": (rb'{"user":"\ud83d","model":5}', 400, "model"),
    "no object": (rb'["\ud83d"]', 400, None),
    "in the model's name": (rb'{"model":"\ud83d","messages":[{"role":"user","content":"x"}]}', 404, "model"),
}


@pytest.mark.parametrize(("body", "expected", "param"), LONE_AND_WRONG.values(), ids=LONE_AND_WRONG.keys())
async def test_lone_surrogates_hide_no_other_fault(front: Front, body: bytes, expected: int, param: str | None) -> None:
    status, _, error = await front.post(PATHS["chat"], body)
    assert (status, error["param"]) == (expected, param)
    front.refused()


@each_api
async def test_body_announced_too_large_is_refused_before_it_is_read(front: Front, api: str) -> None:
    host, port = front.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        head = f"POST {PATHS[api]} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key-a\r\nContent-Length: {MAX_BODY + 1}\r\n\r\n"
        writer.write(head.encode())
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2)
        rest = await asyncio.wait_for(reader.read(), 2)
    finally:
        writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()
    error = error_in(rest)
    assert (error["type"], error["code"]) == ("invalid_request_error", "request_too_large")
    assert str(MAX_BODY) in error["message"]
    front.refused()


@each_api
async def test_chunked_body_that_grows_too_large_is_refused(front: Front, api: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"model":"gpt","padding":"'
        for _ in range(30):
            yield b"x" * 1000
            await asyncio.sleep(0)

    headers = {"authorization": "Bearer key-a"}
    async with front.session.post(front.url + PATHS[api], data=pieces(), headers=headers) as reply:
        assert reply.status == 413
        assert error_in(await reply.read())["code"] == "request_too_large"
    front.refused()


async def test_body_of_exactly_the_limit_is_taken(front: Front) -> None:
    body = msgspec.json.encode({**REQUESTS["chat"], "user": ""})
    body = body.replace(b'"user":""', b'"user":"' + b"x" * (MAX_BODY - len(body)) + b'"')
    assert len(body) == MAX_BODY
    async with front.session.post(
        front.url + PATHS["chat"], data=body, headers={"authorization": "Bearer key-a"}
    ) as reply:
        assert reply.status == 200


async def test_body_as_deep_as_allowed_is_taken(front: Front) -> None:
    deep = json.loads("[" * 18 + "]" * 18)
    body = msgspec.json.encode({**REQUESTS["chat"], "deep": [deep]})
    async with front.session.post(
        front.url + PATHS["chat"], data=body, headers={"authorization": "Bearer key-a"}
    ) as reply:
        assert reply.status == 200


async def test_brackets_within_strings_are_not_depth(front: Front) -> None:
    body = msgspec.json.encode({**REQUESTS["chat"], "user": '\\"' + "[{" * 500})
    async with front.session.post(
        front.url + PATHS["chat"], data=body, headers={"authorization": "Bearer key-a"}
    ) as reply:
        assert reply.status == 200


@each_api
async def test_compressed_body_is_a_415(front: Front, api: str) -> None:
    status, _, error = await front.post(PATHS[api], b"\x1f\x8b\x08", content_encoding="gzip")
    assert (status, error["code"]) == (415, "unsupported_content_encoding")
    front.refused()


async def test_form_without_a_boundary_is_a_400(front: Front) -> None:
    status, _, error = await front.post("/v1/images/edits", b"--x--", content_type="multipart/form-data")
    assert status == 400
    assert error["type"] == "invalid_request_error"
    front.refused()


async def test_upstream_is_asked_once_a_request_is_right(front: Front) -> None:
    for api in APIS:
        body = msgspec.json.encode(REQUESTS[api])
        async with front.session.post(
            front.url + PATHS[api], data=body, headers={"authorization": "Bearer key-b"}
        ) as reply:
            assert reply.status == 200
    assert [call.outcome for call in front.outcomes.calls] == ["completed"] * 4
    assert [call.tenant for call in front.outcomes.calls] == ["b"] * 4
    assert len(front.upstream.requests) == 4
