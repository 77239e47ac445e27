"""The `openai` package of Node."""

from __future__ import annotations

import asyncio
import base64
import struct
from typing import Any

import pytest

from aigateway.testing import Script
from clients.node import Node
from tests.answers import IMAGES_EVENTS, IMAGES_REPLY
from tests.formats.responses_law import check_stream
from tests.sdk_rig import Rig, rigged
from tests.turns import UPSTREAM_MODEL, Turn, Use, chat_chunks, response_events, said

LIBRARY = "openai_node"
MODEL = "gpt"
HELLO = Turn(text=("Hel", "lo ", "there"))
PLAN = Turn(text=('{"title":', '"stir",', '"minutes":3}'))
STIR = {"title": "stir", "minutes": 3}
ASKING = Turn(
    text=("One ", "moment."),
    uses=(Use("get_weather", '{"city":"Oslo"}', "call_1"), Use("get_weather", '{"city":"Bergen"}', "call_2")),
)
THINKING = Turn(thoughts=("Let me ", "think."), uses=ASKING.uses)
RAIN = Turn(text=("Rain.",))
VECTOR = [0.5, -0.25, 1.0]
PACKED = base64.b64encode(struct.pack("<3f", *VECTOR)).decode()

BOTH_WAYS = pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
BOTH_APIS = pytest.mark.parametrize("use", ["chat", "respond"])


# chat


async def test_chat_completion(node: Node, rig: Rig) -> None:
    rig.says(HELLO)
    reply = await node.use(LIBRARY, "chat", rig.url)
    assert reply["choices"][0]["message"]["content"] == "Hello there"
    assert (reply["model"], reply["choices"][0]["finish_reason"]) == (MODEL, "stop")
    assert reply["usage"]["total_tokens"] == 20
    assert reply["request_id"].startswith("req_")


async def test_chat_chunks(node: Node, rig: Rig) -> None:
    rig.says(HELLO)
    *chunks, last = await node.use(LIBRARY, "chatChunks", rig.url)
    deltas = [chunk["choices"][0]["delta"].get("content") for chunk in chunks]
    assert [delta for delta in deltas if delta] == ["Hel", "lo ", "there"]
    assert {chunk["model"] for chunk in chunks} == {MODEL}
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 20)


async def test_chat_stream_helper(node: Node, rig: Rig) -> None:
    rig.says(HELLO)
    told = await node.use(LIBRARY, "chatStreamHelper", rig.url)
    assert told["deltas"] == ["Hel", "lo ", "there"]
    assert told["snapshots"] == ["Hel", "Hello ", "Hello there"]
    assert told["completion"]["choices"][0]["message"]["content"] == "Hello there"
    assert told["completion"]["usage"]["total_tokens"] == 20


async def test_chat_parses_a_zod_schema(node: Node, rig: Rig) -> None:
    rig.says(PLAN)
    assert await node.use(LIBRARY, "chatParse", rig.url) == STIR


@BOTH_WAYS
async def test_run_tools_calls_what_the_model_asks_for_and_tells_it(node: Node, rig: Rig, *, stream: bool) -> None:
    rig.says(ASKING, RAIN)
    told = await node.use(LIBRARY, "runTools", rig.url, stream=stream)
    assert (told["asked"], told["text"]) == (["Oslo", "Bergen"], "Rain.")
    assert told["roles"] == ["user", "assistant", "tool", "tool", "assistant"]
    assert outputs_of(rig) == {"call_1": "rain in Oslo", "call_2": "rain in Bergen"}


def outputs_of(rig: Rig) -> dict[str, Any]:
    """What the upstream was told last that the tools gave, by call."""
    if "messages" in rig.sent:
        results = [message for message in rig.sent["messages"] if message["role"] == "tool"]
        return {result["tool_call_id"]: result["content"] for result in results}
    return {item["call_id"]: item["output"] for item in rig.sent["input"] if item.get("type") == "function_call_output"}


# responses


async def test_response(node: Node, rig: Rig) -> None:
    rig.says(HELLO)
    response = await node.use(LIBRARY, "respond", rig.url)
    assert (response["output_text"], response["model"], response["status"]) == ("Hello there", MODEL, "completed")
    assert response["usage"]["input_tokens_details"]["cached_tokens"] == 4


async def test_response_events(node: Node, rig: Rig) -> None:
    rig.says(HELLO)
    events = await node.use(LIBRARY, "respondEvents", rig.url)
    assert events[-1]["response"]["model"] == MODEL
    assert [event["delta"] for event in events if event["type"] == "response.output_text.delta"] == [*HELLO.text]
    if rig.apis == ("chat",):
        check_stream(events)


async def test_response_stream_helper(node: Node, rig: Rig) -> None:
    rig.says(HELLO)
    told = await node.use(LIBRARY, "respondHelper", rig.url)
    assert (told["types"][0], told["types"][-1]) == ("response.created", "response.completed")
    assert told["snapshots"] == ["Hel", "Hello ", "Hello there"]
    assert told["text"] == "Hello there"
    assert told["final"]["usage"]["total_tokens"] == 20


async def test_response_stream_helper_parses_a_zod_schema(node: Node, rig: Rig) -> None:
    rig.says(PLAN)
    told = await node.use(LIBRARY, "respondHelper", rig.url, schema=True)
    assert told["final"]["output_parsed"] == STIR


async def test_response_parses_a_zod_schema(node: Node, rig: Rig) -> None:
    rig.says(PLAN)
    assert await node.use(LIBRARY, "respondParse", rig.url) == STIR


@BOTH_WAYS
@pytest.mark.parametrize("turn", [ASKING, THINKING], ids=["text", "reasoning"])
async def test_a_loop_of_tools_replays_the_output_as_it_came(node: Node, rig: Rig, turn: Turn, *, stream: bool) -> None:
    rig.says(turn, RAIN)
    told = await node.use(LIBRARY, "respondTools", rig.url, stream=stream)
    assert told == {"asked": ["Oslo", "Bergen"], "text": "Rain."}
    assert outputs_of(rig) == {"call_1": "rain in Oslo", "call_2": "rain in Bergen"}


# the others


@pytest.mark.parametrize("shown", [VECTOR, PACKED], ids=["floats-upstream", "base64-upstream"])
async def test_embeddings_come_as_numbers(node: Node, shown: Any) -> None:
    async with rigged("embeddings", model="*") as rig:
        data = [{"object": "embedding", "index": index, "embedding": shown} for index in range(2)]
        usage = {"prompt_tokens": 4, "total_tokens": 4}
        rig.upstream.script(Script.of_json({"object": "list", "model": UPSTREAM_MODEL, "data": data, "usage": usage}))
        for body in ({}, {"encoding_format": "float"}):  # left to itself the package asks for base64 and unpacks it
            told = await node.use(LIBRARY, "embeddings", rig.url, body=body)
            assert told == {"vectors": [VECTOR, VECTOR], "usage": usage, "model": MODEL}
        asked = [request.json()["encoding_format"] for request in rig.upstream.requests]
        assert asked == ["base64", "float"]


async def test_images(node: Node) -> None:
    async with rigged("images", model="*") as rig:
        rig.upstream.script(Script.of_json(IMAGES_REPLY))
        for use in ("images", "imageEdit"):
            assert (await node.use(LIBRARY, use, rig.url))["data"] == IMAGES_REPLY["data"]
        assert [request.path for request in rig.upstream.requests] == ["/v1/images/generations", "/v1/images/edits"]
        assert UPSTREAM_MODEL.encode() in rig.upstream.requests[-1].body


async def test_image_stream(node: Node) -> None:
    async with rigged("images", model="*") as rig:
        rig.upstream.script(Script.of_events(IMAGES_EVENTS, named=True, done=False))
        events = await node.use(LIBRARY, "imageStream", rig.url)
        assert [event["b64_json"] for event in events] == ["AA", "AAA", "AAAA"]


async def test_models(node: Node) -> None:
    async with rigged("chat") as rig:
        assert await node.use(LIBRARY, "models", rig.url) == [MODEL]


# errors


@BOTH_APIS
@pytest.mark.parametrize(
    ("status", "kind", "type", "code"),
    [
        (400, "BadRequestError", "invalid_request_error", "context_length_exceeded"),
        (401, "AuthenticationError", "authentication_error", "invalid_api_key"),
        (403, "PermissionDeniedError", "permission_error", "region"),
        (404, "NotFoundError", "not_found", "model_not_found"),
        (422, "UnprocessableEntityError", "invalid_request_error", "bad"),
        (429, "RateLimitError", "rate_limit_error", "rate_limit_exceeded"),
    ],
)
async def test_a_refusal_of_the_upstream_is_raised_as_its_class(
    node: Node, rig: Rig, use: str, status: int, kind: str, type: str, code: str
) -> None:
    error = {"message": "No, and why.", "type": type, "param": "model", "code": code}
    rig.upstream.script(Script.of_json({"error": error}, status))
    raised = await node.fails(LIBRARY, use, rig.url)
    assert raised.kinds[0] == kind
    assert (raised.status, raised.code, raised.param, raised.type) == (status, code, "model", type)
    assert "No, and why." in raised.message
    assert (raised.request_id or "").startswith("req_")


@BOTH_APIS
async def test_a_failure_of_the_upstream_is_an_internal_server_error(node: Node, rig: Rig, use: str) -> None:
    rig.upstream.script(Script.of_json({"error": {"message": "inner detail"}}, 500))
    raised = await node.fails(LIBRARY, use, rig.url)
    assert (raised.kinds[0], raised.status) == ("InternalServerError", 502)
    assert "acme" in raised.message


@BOTH_APIS
async def test_a_busy_upstream_is_asked_again(node: Node, rig: Rig, use: str) -> None:
    busy = Script.of_json({"error": {"message": "Slow down."}}, 429, {"retry-after-ms": "1"})
    first = iter([busy, busy])
    rig.upstream.answer_with(lambda request: next(first, None) or said(HELLO, request))
    await node.use(LIBRARY, use, rig.url, maxRetries=2)
    assert len(rig.upstream.requests) == 3


@BOTH_APIS
async def test_a_bad_field_is_named(node: Node, chat_rig: Rig, use: str) -> None:
    field = "messages" if use == "chat" else "input"
    raised = await node.fails(LIBRARY, use, chat_rig.url, body={field: 3})
    assert (raised.kinds[0], raised.param) == ("BadRequestError", field)
    assert not chat_rig.upstream.requests


async def test_an_unknown_model_is_a_not_found_error(node: Node) -> None:
    async with rigged("chat") as rig:
        raised = await node.fails(LIBRARY, "chat", rig.url, body={"model": "nobody"})
        assert (raised.kinds[0], raised.code, raised.param) == ("NotFoundError", "model_not_found", "model")


@pytest.mark.parametrize("use", ["chatChunks", "chatStreamHelper", "respondEvents", "respondHelper"])
async def test_a_stream_that_is_cut_raises(node: Node, rig: Rig, use: str) -> None:
    events = chat_chunks(HELLO)[:3] if rig.apis == ("chat",) else response_events(HELLO)[:6]
    script = Script.of_events(events, named=rig.apis == ("responses",), done=False, fault="cut")
    rig.upstream.script(script)
    raised = await node.fails(LIBRARY, use, rig.url)
    assert "APIError" in raised.kinds, raised
    assert "acme" in raised.message


# leaving in the middle


@pytest.mark.parametrize("use", ["abortChat", "abortRespond"])
async def test_aborting_a_stream_stops_the_upstream(node: Node, rig: Rig, use: str) -> None:
    rig.says(Turn(text=("Hel", *["x"] * 50)), hold_after=(8, asyncio.Event()))
    seen = await node.use(LIBRARY, use, rig.url)
    assert seen[0] == "Hel"
    await asyncio.wait_for(rig.upstream.left.wait(), 10)
    assert rig.upstream.gone == 1
