"""Conversations made short: on request, by a trigger, by a threshold, and where they no longer fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect

from aigateway import Call, EventLens, Hook, PermissionDeniedError, ReplyLens, _json
from aigateway.hooks.api_keys import APIKeyAuthenticator
from aigateway.lint.stream import lint_sse
from aigateway.state.compaction import without_oldest
from aigateway.testing import ReceivedRequest, Script
from tests.state.conftest import eventually
from tests.state.rig import Object, Rig, answer, rigged
from tests.state.test_websocket import answered, opened, turn

pytestmark = pytest.mark.usefixtures("registered")

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
        details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        counts: Object = {"input_tokens": 50, "output_tokens": 5, "total_tokens": 55} | details
        made = {"id": "resp_s", "object": "response", "status": "completed", "model": "m", "output": [item]}
        return Script.of_json(made | {"usage": counts})

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
        assert compacted["usage"]["total_tokens"] == 55
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
        assert response["usage"]["total_tokens"] == 55
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


async def test_calls_and_results_are_told_to_whoever_summarises_and_stay_together() -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at":"x"}'}
    result = {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "seen"}]}
    items = [{"role": "user", "content": "hi"}, call, result, {"role": "user", "content": "go"}]
    async with rigged("chat") as rig:
        summarising(rig)
        await rig.ask("POST", "/responses/compact", {"model": "m", "input": items})
        asked = rig.upstream.requests[-1].json()["messages"][-1]["content"]
        assert 'call: look({"at":"x"})' in str(asked)
        assert "result: seen" in str(asked)
    encoded = [_json.encode(item) for item in [{"role": "system", "content": "s"}, *items]]
    shorter = [_json.decode(item) for item in without_oldest(encoded)]
    assert [item.get("role") for item in shorter][:1] == ["system"]
    kinds = [item.get("type") for item in shorter]
    assert ("function_call_output" in kinds) <= ("function_call" in kinds)
    open_call = [_json.encode(item) for item in (items[0], call, items[3])]
    assert call in [_json.decode(item) for item in without_oldest(open_call)]
    assert without_oldest(encoded[:1]) == encoded[:1]


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
        assert [item["type"] for item in two["output"]] == ["compaction", "message"]
        assert "SUMMARY" not in two["output"][0]["encrypted_content"]
        assert (await rig.ask("GET", f"/responses/{two['id']}")).json == two
        items = (await rig.ask("GET", f"/responses/{two['id']}/input_items")).json["data"]
        assert [item["content"][0]["text"] for item in items] == ["second"]
        await rig.turn("third", previous_response_id=two["id"], context_management=wanted)
        assert rig.told[1].endswith("THE SUMMARY")
        assert rig.told[2:] == ["user: second", "assistant: saw 3", "user: third"]
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


SAID: Object = {"role": "assistant", "content": "yes"}
WANTED: Object = {"context_management": [{"type": "compaction", "compact_threshold": 1000}]}


@APIS
async def test_compaction_on_the_way_is_told_in_the_stream_and_in_front_of_the_output(api: str) -> None:
    async with rigged(api) as rig:
        summarising(rig)
        one = await rig.turn(LONG)
        body = {"model": "m", "input": "second", "previous_response_id": one["id"], "stream": True, **WANTED}
        reply = await rig.ask("POST", "/responses", body)
        events = reply.events
        final = events[-1]["response"]
        assert [item["type"] for item in final["output"]] == ["compaction", "message"]
        assert [event["type"] for event in events[:5]] == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.output_item.done",
            "response.output_item.added",
        ]
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert [(event["output_index"], event["item"]) for event in events[2:4]] == [(0, final["output"][0])] * 2
        assert {event["output_index"] for event in events[4:] if "output_index" in event} == {1}
        if api == "chat":  # what the test's own upstream of Responses says is not all of a response
            assert [str(finding) for finding in lint_sse(reply.body)] == []
        path = f"/responses/{final['id']}"
        assert (await rig.ask("GET", path)).json == final
        assert (await rig.ask("GET", f"{path}?stream=true")).events == events
        assert (await rig.ask("GET", f"{path}?stream=true&starting_after=2")).events == events[3:]
        assert "context_management" not in rig.upstream.requests[-1].json()


@APIS
@pytest.mark.parametrize("stream", [False, True])
async def test_caller_who_keeps_the_conversation_himself_goes_on_from_the_compaction(api: str, stream: bool) -> None:
    """He appends the output to his input, and need not drop what stands before the compaction."""

    async def ask(items: list[Object]) -> Object:
        body = {"model": "m", "input": items, "store": False, "stream": stream, **WANTED}
        reply = await rig.ask("POST", "/responses", body)
        assert reply.status == 200, reply.body
        response: Object = reply.events[-1]["response"] if stream else reply.json
        return response

    async with rigged(api) as rig:
        summarising(rig)
        call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
        items: list[Object] = [
            {"role": "system", "content": "rule"},
            {"role": "user", "content": LONG},
            call,
            {"type": "function_call_output", "call_id": "c1", "output": "42"},
        ]
        made = await ask(items)
        assert [item["type"] for item in made["output"]] == ["compaction", "message"]
        told = ["system: rule", "c1()", "c1 = 42"]
        assert summaries(rig) == 1
        assert rig.told[0].endswith("rule")
        assert rig.told[1].endswith("THE SUMMARY")
        assert rig.told[2:] == told[1:]
        items += made["output"]
        items += [{"role": "user", "content": "and?"}]
        after = await ask(items)
        assert [item["type"] for item in after["output"]] == ["message"]
        assert summaries(rig) == 1
        assert rig.told[1].endswith("THE SUMMARY")
        assert rig.told[2:] == ["c1()", "c1 = 42", "assistant: saw 4", "user: and?"]
        alone = await ask([{"role": "user", "content": LONG}])  # there is nothing that a summary could stand for
        assert [item["type"] for item in alone["output"]] == ["message"]
        items += [*after["output"], {"role": "user", "content": LONG}]
        again = await ask(items)
        assert [item["type"] for item in again["output"]] == ["compaction", "message"]
        assert summaries(rig) == 2
        assert len(rig.told) == 3
        assert rig.told[1].endswith("THE SUMMARY")


class Watcher(Hook):
    """Notes what hooks are told. edit: of each event; None = none is looked at."""

    def __init__(self, edit: Callable[[EventLens], Any] | None = None) -> None:
        self.kinds: list[str] = []
        self.replies: list[list[str]] = []
        self.used: list[Any] = []
        self.edit = edit

    def on_event(self, call: Call, event: EventLens) -> Any:
        self.kinds.append(event.snapshot()["type"])
        return self.edit(event) if self.edit is not None else event

    def after_response(self, call: Call, reply: ReplyLens) -> None:
        self.replies.append([item["type"] for item in reply.body["output"]])
        self.used.append(call.usage.total_tokens if call.usage else None)

    def on_complete(self, call: Call) -> None:
        self.used.append(call.usage.total_tokens if call.usage else None)


class Counter(Hook):
    """Notes what a call has used at its end."""

    def __init__(self) -> None:
        self.used: list[Any] = []

    def on_complete(self, call: Call) -> None:
        self.used.append(call.usage)


@APIS
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("edits", [False, True], ids=["nobody edits", "somebody edits"])
async def test_what_a_summary_used_is_counted_once(api: str, stream: bool, edits: bool) -> None:
    hook = Watcher() if edits else Counter()
    async with rigged(api, hooks=[hook]) as rig:
        summarising(rig)
        body = {"model": "m", "input": [{"role": "user", "content": LONG}, SAID, {"role": "user", "content": "go on"}]}
        plain = await rig.ask("POST", "/responses", body | {"stream": stream, "store": False})
        usage = (plain.events[-1]["response"] if stream else plain.json)["usage"]
        hook.used.clear()
        reply = await rig.ask("POST", "/responses", body | WANTED | {"stream": stream, "store": False})
        response = reply.events[-1]["response"] if stream else reply.json
        for name, spent in (("input_tokens", 50), ("output_tokens", 5), ("total_tokens", 55)):
            assert response["usage"][name] == usage[name] + spent
        await eventually(lambda: hook.used)
        if isinstance(hook, Watcher):
            assert hook.used == [response["usage"]["total_tokens"]] * (1 if stream else 2)
        else:
            (used,) = hook.used
            assert (used.input_tokens, used.total_tokens) == (usage["input_tokens"] + 50, usage["total_tokens"] + 55)


@APIS
@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_summary_used_is_counted_where_the_turn_itself_fails(api: str, stream: bool) -> None:
    hook = Counter()
    async with rigged(api, hooks=[hook]) as rig:
        summarising(rig)
        known = rig.upstream._answerer
        assert known is not None

        def failing(request: ReceivedRequest) -> Script:
            is_asked_for_summary = "Summarise it" in request.body.decode()
            return known(request) if is_asked_for_summary else Script.of_json({"error": {"message": "no"}}, 400)

        rig.upstream.answer_with(failing)
        items = [{"role": "user", "content": LONG}, SAID, {"role": "user", "content": "go on"}]
        body = {"model": "m", "input": items, "stream": stream, **WANTED}
        assert (await rig.ask("POST", "/responses", body)).status == 400
        await eventually(lambda: hook.used)
        assert [used.total_tokens for used in hook.used] == [55]


@APIS
async def test_what_a_summary_used_is_counted_once_where_a_hook_refuses_the_answer(api: str) -> None:
    class Refusing(Counter):
        def after_response(self, call: Call, reply: ReplyLens) -> None:
            raise PermissionDeniedError(f"not {reply.body['output'][0]['type']}")

    hook = Refusing()
    async with rigged(api, hooks=[hook]) as rig:
        summarising(rig)
        items = [{"role": "user", "content": LONG}, SAID, {"role": "user", "content": "go on"}]
        reply = await rig.ask("POST", "/responses", {"model": "m", "input": items, **WANTED})
        assert (reply.status, reply.json["error"]["message"]) == (403, "not compaction")
        await eventually(lambda: hook.used)
        assert [used.total_tokens for used in hook.used] == [60]


@APIS
async def test_hooks_see_a_compaction_as_any_other_part_of_an_answer(api: str) -> None:
    watcher = Watcher()
    async with rigged(api, hooks=[watcher]) as rig:
        summarising(rig)
        items = [{"role": "user", "content": LONG}, SAID, {"role": "user", "content": "go on"}]
        await rig.ask("POST", "/responses", {"model": "m", "input": items, "store": False, **WANTED})
        assert watcher.replies == [["compaction", "message"]]
        reply = await rig.ask("POST", "/responses", {"model": "m", "input": items, "stream": True, **WANTED})
        assert watcher.kinds == [event["type"] for event in reply.events]
        assert watcher.kinds.count("response.output_item.added") == 2
        assert [event["sequence_number"] for event in reply.events] == list(range(len(reply.events)))
        final = reply.events[-1]["response"]
        assert [item["type"] for item in final["output"]] == ["compaction", "message"]
        assert (await rig.ask("GET", f"/responses/{final['id']}?stream=true")).events == reply.events


def _is_of_compaction(event: EventLens) -> bool:
    return "item" in event.snapshot() and event.snapshot()["item"]["type"] == "compaction"


@APIS
async def test_hooks_may_edit_drop_and_refuse_the_events_of_a_compaction(api: str) -> None:
    def tagged(event: EventLens) -> EventLens:
        if _is_of_compaction(event):
            event.data["item"]["created_by"] = "us"
        return event

    def refused(event: EventLens) -> EventLens:
        if _is_of_compaction(event) and event.snapshot()["type"] == "response.output_item.done":
            raise PermissionDeniedError("no compaction here")
        return event

    async def asked(edit: Callable[[EventLens], Any]) -> list[Object]:
        async with rigged(api, hooks=[Watcher(edit)]) as rig:
            summarising(rig)
            items = [{"role": "user", "content": LONG}, SAID, {"role": "user", "content": "go on"}]
            body = {"model": "m", "input": items, "stream": True, "store": False, **WANTED}
            events: list[Object] = (await rig.ask("POST", "/responses", body)).events
            assert [event["sequence_number"] for event in events] == list(range(len(events)))
            return events

    events = await asked(tagged)
    assert [event["item"].get("created_by") for event in events if event.get("output_index") == 0] == ["us", "us"]
    events = await asked(lambda event: None if _is_of_compaction(event) else event)
    assert [event for event in events if event.get("output_index") == 0] == []
    events = await asked(refused)
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-1]["response"]["error"]["message"] == "no compaction here"
    assert events[-1]["response"]["output"] == []


@APIS
@pytest.mark.parametrize("edits", [False, True], ids=["nobody edits", "somebody edits"])
async def test_stream_that_breaks_after_a_compaction_ends_lawfully(api: str, edits: bool) -> None:
    async with rigged(api, hooks=[Watcher()] if edits else []) as rig:
        summarising(rig)
        known = rig.upstream._answerer
        assert known is not None

        broken_after = 2 if api == "chat" else 5

        def breaking(request: ReceivedRequest) -> Script:
            script = known(request)
            if "Summarise it" in request.body.decode():
                return script
            return msgspec.structs.replace(script, pieces=(script.pieces or ())[:broken_after], fault="reset_body")

        rig.upstream.answer_with(breaking)
        items = [{"role": "user", "content": LONG}, SAID, {"role": "user", "content": "go on"}]
        body = {"model": "m", "input": items, "stream": True, "store": False, **WANTED}
        events = (await rig.ask("POST", "/responses", body)).events
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert events[-1]["type"] == "response.failed"
        output = [item["type"] for item in events[-1]["response"]["output"]]
        assert output == (["compaction", "message"] if api == "chat" else ["compaction"])
        assert events[-1]["response"]["usage"]["total_tokens"] == 55
        assert {event["output_index"] for event in events[4:] if "output_index" in event} == {1}


async def test_compaction_on_the_way_goes_on_over_a_connection() -> None:
    async with rigged("chat") as rig, opened(rig) as socket:
        summarising(rig)
        one = await turn(socket, LONG, store=False)
        two = await turn(socket, "second", store=False, previous_response_id=one[-1]["response"]["id"], **WANTED)
        final = two[-1]["response"]
        assert [item["type"] for item in final["output"]] == ["compaction", "message"]
        assert [frame["sequence_number"] for frame in two] == list(range(len(two)))
        await turn(socket, "third", store=False, previous_response_id=final["id"])
        assert rig.told[0].endswith("THE SUMMARY")
        assert rig.told[1:] == ["user: second", "assistant: saw 2", "user: third"]


async def test_provider_that_compacts_itself_is_asked_to() -> None:
    async with rigged("responses", keeps=True) as rig:
        one = await rig.turn(LONG)
        await rig.turn("second", previous_response_id=one["id"], **WANTED)
        assert rig.upstream.requests[-1].json()["context_management"] == WANTED["context_management"]
        assert summaries(rig) == 0
