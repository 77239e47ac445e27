"""Conversations made short: on request, by a trigger, by a threshold, and where they no longer fit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.asyncio.client import connect

from aigateway.hooks.api_keys import APIKeyAuthenticator
from aigateway.testing import ReceivedRequest, Script
from tests.state.rig import Object, Rig, answer, rigged
from tests.state.test_websocket import answered

APIS = pytest.mark.parametrize("api", ["chat", "responses"])
LONG = "word " * 2000


def summarising(rig: Rig) -> None:
    """Let the upstream answer requests for a summary with one."""

    def answer_to(request: ReceivedRequest) -> Script:
        body = request.json()
        if "Summarise it" not in request.body.decode():
            return answer(request)
        if "messages" in body:
            message = {"role": "assistant", "content": "THE SUMMARY"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 50, "completion_tokens": 5, "total_tokens": 55}
            return Script.of_json(
                {
                    "id": "c",
                    "object": "chat.completion",
                    "created": 1,
                    "model": "m",
                    "choices": [choice],
                    "usage": usage,
                }
            )
        part = {"type": "output_text", "text": "THE SUMMARY", "annotations": []}
        item = {"id": "msg_s", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
        return Script.of_json(
            {"id": "resp_s", "object": "response", "status": "completed", "model": "m", "output": [item]}
        )

    rig.upstream.answer_with(answer_to)


def summaries(rig: Rig) -> int:
    return sum(b"Summarise it" in request.body for request in rig.upstream.requests)


@APIS
async def test_compacted_conversation_is_taken_as_input_by_any_later_turn(api: str) -> None:
    async with rigged(api) as rig:
        summarising(rig)
        one = await rig.turn("first")
        two = await rig.turn("second", previous_response_id=one["id"])
        reply = await rig.ask("POST", "/responses/compact", {"model": "m", "previous_response_id": two["id"]})
        compacted = reply.json
        assert (reply.status, compacted["object"]) == (200, "response.compaction")
        assert [item["type"] for item in compacted["output"]] == ["message", "message", "compaction"]
        assert [item["content"][0]["text"] for item in compacted["output"][:2]] == ["first", "second"]
        assert "SUMMARY" not in compacted["output"][2]["encrypted_content"]
        after = await rig.turn([*compacted["output"], {"role": "user", "content": "go on"}])
        told = rig.told
        assert (told[:2], told[-1]) == (["user: first", "user: second"], "user: go on")
        assert told[2].endswith("THE SUMMARY")
        await rig.turn("and on", previous_response_id=after["id"])
        assert rig.told[0].endswith("THE SUMMARY")
        assert rig.told[-3:] == ["user: go on", "assistant: saw 4", "user: and on"]


@APIS
@pytest.mark.parametrize("stream", [False, True])
async def test_trigger_is_answered_with_exactly_one_compaction_item(api: str, stream: bool) -> None:
    async with rigged(api) as rig:
        summarising(rig)
        items: list[Object] = [{"role": "user", "content": "hi"}, {"type": "compaction_trigger"}]
        reply = await rig.ask("POST", "/responses", {"model": "m", "input": items, "stream": stream, "store": False})
        assert reply.status == 200, reply.body
        response = reply.events[-1]["response"] if stream else reply.json
        (item,) = response["output"]
        assert item["type"] == "compaction"
        if stream:
            kinds = [event["type"] for event in reply.events]
            assert kinds == [
                "response.created",
                "response.in_progress",
                "response.output_item.added",
                "response.output_item.done",
                "response.completed",
            ]
            assert reply.events[3]["item"] == item
        await rig.turn([item, {"role": "user", "content": "go on"}], store=False)
        assert rig.told[0].endswith("THE SUMMARY")
        assert rig.told[1:] == ["user: go on"]


async def test_codex_compacts_over_its_connection() -> None:
    async with rigged("chat") as rig:
        summarising(rig)
        async with connect(rig.url.replace("http", "ws") + "/v1/responses", proxy=None) as socket:

            async def turn(input: Any, **more: Any) -> Object:
                await socket.send(
                    json.dumps({"type": "response.create", "model": "m", "input": input, "store": False, **more})
                )
                frames = await answered(socket)
                response: Object = frames[-1]["response"]
                return response

            one = await turn([{"role": "user", "content": "hi"}])
            two = await turn([{"type": "compaction_trigger"}], previous_response_id=one["id"])
            (item,) = two["output"]
            await turn([item, {"role": "user", "content": "go on"}])
            assert len(rig.told) == 2
            assert rig.told[0].endswith("THE SUMMARY")


async def test_compaction_of_another_or_a_changed_one_is_refused() -> None:
    async with rigged("chat", hooks=[APIKeyAuthenticator({"sk-a": "a", "sk-b": "b"})]) as rig:
        summarising(rig)
        rig.key = "sk-a"
        made = (await rig.ask("POST", "/responses/compact", {"model": "m", "input": "hi"})).json["output"][-1]
        changed = made | {"encrypted_content": made["encrypted_content"][:-6] + "AAAAAA"}
        for key, item in (("sk-b", made), ("sk-a", changed)):
            rig.key = key
            reply = await rig.ask(
                "POST", "/responses", {"model": "m", "input": [item, {"role": "user", "content": "x"}]}
            )
            assert (reply.status, reply.json["error"]["code"]) == (400, "invalid_compaction")


async def test_provider_that_keeps_responses_compacts_itself() -> None:
    async with rigged("responses", keeps=True) as rig:
        one = await rig.turn("first")
        native = {"id": "resp_c", "object": "response.compaction", "created_at": 1, "output": [], "usage": None}
        rig.upstream.script(Script.of_json(native))
        reply = await rig.ask("POST", "/responses/compact", {"model": "m", "previous_response_id": one["id"]})
        assert reply.json == native
        assert rig.upstream.requests[-1].path == "/v1/responses/compact"
        assert rig.upstream.requests[-1].json()["previous_response_id"] == one["id"]


@APIS
async def test_conversation_over_the_threshold_is_made_short_once(api: str) -> None:
    wanted = [{"type": "compaction", "compact_threshold": 2000}]
    async with rigged(api) as rig:
        summarising(rig)
        one = await rig.turn([{"role": "developer", "content": "be brief"}, {"role": "user", "content": LONG}])
        two = await rig.turn("second", previous_response_id=one["id"], context_management=wanted)
        assert summaries(rig) == 1
        assert len(rig.told) == 3
        assert rig.told[0].endswith("be brief")
        assert rig.told[1].endswith("THE SUMMARY")
        assert rig.told[2] == "user: second"
        await rig.turn("third", previous_response_id=two["id"], context_management=wanted)
        assert summaries(rig) == 1
        assert rig.told[-1] == "user: third"
        assert LONG not in str(rig.told)
        await rig.turn("other", previous_response_id=one["id"])
        assert any(LONG.strip() in text for text in rig.told)


@APIS
async def test_truncation_auto_leaves_the_oldest_out_until_it_fits_and_disabled_fails(api: str) -> None:
    def small(request: ReceivedRequest) -> Script:
        body = request.json()
        if len(body.get("messages") or body["input"]) > 4:
            error = {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}
            return Script.of_json({"error": error}, 400)
        return answer(request)

    items = [{"role": "system", "content": "rule"}] + [{"role": "user", "content": str(n)} for n in range(9)]
    async with rigged(api) as rig:
        rig.upstream.answer_with(small)
        for truncation in ({}, {"truncation": "disabled"}):
            refused = await rig.ask("POST", "/responses", {"model": "m", "input": items, **truncation})
            assert (refused.status, refused.json["error"]["code"]) == (400, "context_length_exceeded")
        for store in (True, False):
            body = {"model": "m", "input": items, "truncation": "auto", "store": store}
            reply = await rig.ask("POST", "/responses", body)
            assert reply.status == 200, reply.body
            assert rig.told[0].endswith("rule")
            assert rig.told[-1] == "user: 8"
            assert len(rig.told) <= 4
            assert "truncation" in reply.headers["x-aigateway-changes"]


@APIS
async def test_input_tokens_are_counted_with_what_came_before(api: str) -> None:
    async with rigged(api) as rig:
        rig_answer = rig.upstream._answerer
        assert rig_answer is not None
        one = await rig.turn(LONG)
        if api == "responses":
            rig.upstream.script(Script.of_json({"object": "response.input_tokens", "input_tokens": 7}))
            reply = await rig.ask(
                "POST", "/responses/input_tokens", {"model": "m", "input": "x", "previous_response_id": one["id"]}
            )
            assert reply.json == {"object": "response.input_tokens", "input_tokens": 7}
            assert LONG.strip() in str(rig.upstream.requests[-1].json()["input"])
            rig.upstream.script(Script.of_json({"error": {"message": "no such path"}}, 404))
        for previous, low, high in ((None, 1, 20), (one["id"], 2000, 3000)):
            body = {"model": "m", "input": "x", "previous_response_id": previous}
            reply = await rig.ask("POST", "/responses/input_tokens", body)
            assert reply.headers["x-aigateway-estimate"] == "true"
            assert low <= reply.json["input_tokens"] <= high
