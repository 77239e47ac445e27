"""The embeddings API: what reaches the upstream, and vectors in the encoding that was asked for."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway import Gateway, GatewayError, InvalidRequestError, Provider, Target, UpstreamProtocolError
from aigateway.formats.embeddings.encoding import decode_base64, encode_base64, in_encoding
from aigateway.testing import Script, ScriptedUpstream
from tests.serving import served

# 0.1, -0.2, 0.3, -0.4 as little-endian float32
PACKED = "zczMPc3MTL6amZk+zczMvg=="
NUMBERS = [0.1, -0.2, 0.3, -0.4]

Ask = Callable[[dict[str, Any]], Awaitable[tuple[int, Any]]]


def reply(*vectors: Any, **more: Any) -> dict[str, Any]:
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    usage = {"prompt_tokens": 5, "total_tokens": 5}
    return {"object": "list", "data": data, "model": "up-model", "usage": usage} | more


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as server:
        server.script(Script.of_json(reply(NUMBERS)))
        yield server


@pytest.fixture(params=["in process", "over HTTP"])
async def ask(request: pytest.FixtureRequest, upstream: ScriptedUpstream) -> AsyncIterator[Ask]:
    """Asks a gateway in front of the upstream: gives the status and the document."""
    gateway = Gateway(models={"embed": Target(Provider("up", upstream.base_url, "none"), "up-model")})
    if request.param == "in process":
        async with gateway:
            yield lambda body: _in_process(gateway, body)
        return
    async with served(gateway) as url, aiohttp.ClientSession() as session:
        yield lambda body: _over_http(session, url, body)


async def _in_process(gateway: Gateway, body: dict[str, Any]) -> tuple[int, Any]:
    try:
        return 200, (await gateway.embeddings(body)).body
    except GatewayError as error:
        return error.status, {"error": {"message": error.message, "code": error.code, "param": error.param}}


async def _over_http(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> tuple[int, Any]:
    async with session.post(f"{url}/v1/embeddings", json=body) as response:
        return response.status, await response.json()


INPUTS = {
    "text": "hello",
    "texts": ["a", "b"],
    "tokens": [1, 2, 3],
    "lists of tokens": [[1, 2], [3]],
    "odd text": 'quotes " and \\ and \u2028 and 😀',
}


@pytest.mark.parametrize("source", INPUTS.values(), ids=INPUTS.keys())
async def test_every_kind_of_input_reaches_the_upstream(ask: Ask, upstream: ScriptedUpstream, source: Any) -> None:
    status, _ = await ask({"model": "embed", "input": source})
    assert status == 200
    assert upstream.requests[0].path == "/v1/embeddings"
    assert upstream.requests[0].json() == {"model": "up-model", "input": source}


async def test_every_field_reaches_the_upstream(ask: Ask, upstream: ScriptedUpstream) -> None:
    fields = {"dimensions": 256, "user": "u-1", "encoding_format": "float", "input_type": "query", "x_new": [1.5, None]}
    assert (await ask({"model": "embed", "input": "a", **fields}))[0] == 200
    assert upstream.requests[0].json() == {"model": "up-model", "input": "a", **fields}


async def test_the_answer_comes_back_with_the_name_asked_for(ask: Ask, upstream: ScriptedUpstream) -> None:
    upstream.script(Script.of_json(reply([0.5], [0.25], x_new={"model": "up-model"})))
    _, document = await ask({"model": "embed", "input": ["a", "b"]})
    assert document == reply([0.5], [0.25], x_new={"model": "up-model"}) | {"model": "embed"}


@pytest.mark.parametrize("asked", [None, "float", "base64"], ids=["nothing asked", "float asked", "base64 asked"])
@pytest.mark.parametrize("sent", [NUMBERS, PACKED], ids=["float sent", "base64 sent"])
async def test_vectors_come_in_the_encoding_asked_for(
    ask: Ask, upstream: ScriptedUpstream, asked: str | None, sent: Any
) -> None:
    upstream.script(Script.of_json(reply(sent, sent, x_new=1)))
    encoding = {} if asked is None else {"encoding_format": asked}
    _, document = await ask({"model": "embed", "input": ["a", "b"], **encoding})
    for item in document["data"]:
        if asked == "base64":
            assert item["embedding"] == PACKED
        else:
            assert item["embedding"] == pytest.approx(NUMBERS)
    assert [item["index"] for item in document["data"]] == [0, 1]
    assert (document["model"], document["x_new"], document["usage"]["prompt_tokens"]) == ("embed", 1, 5)


async def test_an_upstream_that_mixes_both_encodings_is_evened_out(ask: Ask, upstream: ScriptedUpstream) -> None:
    upstream.script(Script.of_json(reply(NUMBERS, PACKED)))
    _, document = await ask({"model": "embed", "input": ["a", "b"], "encoding_format": "base64"})
    assert [item["embedding"] for item in document["data"]] == [PACKED, PACKED]


async def test_a_reply_in_the_right_encoding_passes_byte_for_byte(upstream: ScriptedUpstream) -> None:
    body = b'{ "data":[{"embedding":[1.0, 1e-05,-0.0]} ], "model" : "embed", "x":1.50 }'
    upstream.script(Script(body=body))
    async with Gateway(providers=[Provider("up", upstream.base_url, "none")]) as gateway:
        assert (await gateway.embeddings(model="embed", input="a")).raw == body


BAD = {
    "base64 that is none": reply("not base64!"),
    "base64 of the wrong length": reply("AAAAA"),
    "bytes that are not whole numbers": reply(base64.b64encode(b"12345").decode()),
    "one bad vector of two": reply(PACKED, "!!!"),
    "no data": {"object": "list"},
    "data that is no list": {"data": {"embedding": [1]}},
    "items that are no objects": {"data": [[1.0]]},
    "an item without a vector": {"data": [{"index": 0}]},
    "a list": [],
}


@pytest.mark.parametrize("document", BAD.values(), ids=BAD.keys())
async def test_a_broken_answer_is_a_502_that_names_the_provider(
    ask: Ask, upstream: ScriptedUpstream, document: Any
) -> None:
    upstream.script(Script.of_json(document))
    status, shown = await ask({"model": "embed", "input": "a"})
    assert (status, shown["error"]["code"]) == (502, "upstream_protocol_error")
    assert "'up'" in shown["error"]["message"]


@pytest.mark.parametrize("value", ["x", None, [1.0], {}, 1e300, 10**400], ids=repr)
async def test_vectors_that_hold_no_float32_numbers_are_a_502(ask: Ask, upstream: ScriptedUpstream, value: Any) -> None:
    upstream.script(Script.of_json(reply([0.5, value])) if value != 10**400 else huge())
    status, shown = await ask({"model": "embed", "input": "a", "encoding_format": "base64"})
    assert (status, shown["error"]["code"]) == (502, "upstream_protocol_error")


def huge() -> Script:
    return Script(body=json.dumps(reply([10**400])).encode())


WRONG = {
    "no input": ({"model": "embed"}, "input", "missing_required_parameter"),
    "null input": ({"model": "embed", "input": None}, "input", "missing_required_parameter"),
    "empty text": ({"model": "embed", "input": ""}, "input", "missing_required_parameter"),
    "empty list": ({"model": "embed", "input": []}, "input", "missing_required_parameter"),
    "object": ({"model": "embed", "input": {}}, "input", "invalid_type"),
    "number": ({"model": "embed", "input": 7}, "input", "invalid_type"),
    "no model": ({"input": "a"}, "model", "missing_required_parameter"),
    "encoding that is no text": (
        {"model": "embed", "input": "a", "encoding_format": 1},
        "encoding_format",
        "invalid_type",
    ),
}


@pytest.mark.parametrize(("body", "param", "code"), WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_request_is_a_400_that_names_the_field(
    ask: Ask, upstream: ScriptedUpstream, body: dict[str, Any], param: str, code: str
) -> None:
    status, shown = await ask(body)
    assert (status, shown["error"]["param"], shown["error"]["code"]) == (400, param, code)
    assert upstream.requests == []


async def test_hooks_read_and_edit_the_texts_and_see_the_usage(upstream: ScriptedUpstream) -> None:
    gateway = Gateway(providers=[Provider("up", upstream.base_url, "none")])
    seen: list[Any] = []

    @gateway.hook.before_request
    def shout(call: Any) -> None:
        seen.append(call.request.texts())
        call.request.map_texts(str.upper)

    @gateway.hook.on_complete
    def count(call: Any) -> None:
        seen.append(call.usage.input_tokens)

    async with gateway:
        answer = await gateway.embeddings(model="m", input=["a", "b"])
        await gateway.embeddings(model="m", input="c")
        await gateway.embeddings(model="m", input=[1, 2])
    assert answer.texts() == []
    assert [request.json()["input"] for request in upstream.requests] == [["A", "B"], "C", [1, 2]]
    assert seen == [["a", "b"], 5, ["c"], 5, [], 5]


async def test_a_request_that_is_no_json_is_a_400(upstream: ScriptedUpstream) -> None:
    async with Gateway(providers=[Provider("up", upstream.base_url, "none")]) as gateway:
        with pytest.raises(InvalidRequestError, match="JSON"):
            await gateway.embeddings(model="m", input=object())


def test_the_example_of_the_seed_decodes() -> None:
    assert decode_base64(PACKED) == pytest.approx(NUMBERS)
    assert encode_base64(NUMBERS) == PACKED
    assert decode_base64("") == []


floats = st.floats(width=32, allow_nan=False)


@given(st.lists(floats))
def test_base64_and_back_is_the_same_vector(numbers: list[float]) -> None:
    packed = encode_base64(numbers)
    assert base64.b64decode(packed) == b"".join(struct.pack("<f", number) for number in numbers)
    back = decode_base64(packed)
    assert back == numbers
    assert [math.copysign(1, number) for number in back] == [math.copysign(1, number) for number in numbers]


@given(st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)), min_size=1))
def test_a_reply_there_and_back_holds_the_same_vectors(vectors: list[list[float]]) -> None:
    sent = json.dumps(reply(*vectors)).encode()
    packed = in_encoding(sent, "base64")
    assert all(isinstance(item["embedding"], str) for item in json.loads(packed)["data"])
    assert json.loads(in_encoding(packed, "float")) == json.loads(sent)
    assert in_encoding(packed, "base64") is packed
    assert in_encoding(sent, "float") is sent


@given(st.binary(max_size=40) | st.text(max_size=20).map(lambda text: json.dumps(reply(text)).encode()))
def test_any_bytes_convert_or_are_a_protocol_error(body: bytes) -> None:
    try:
        converted = in_encoding(body, "float")
    except UpstreamProtocolError:
        return
    assert isinstance(json.loads(converted)["data"], list)
