"""From one target to the next: which failures lead there, and that the caller sees nothing of it in a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest

from aigateway import EventLens, Fallback, Gateway, Limits, Models, Provider, Retry, Target, Timeout
from aigateway.formats.opening import MOST_BYTES, Opening, held_back
from aigateway.formats.protocol import WireEvent
from aigateway.testing import Script, ScriptedUpstream
from tests.answers import ERROR_EVENTS, EVENTS, REPLIES, TEXT, data_of, stream, whole
from tests.asking import Row, Seen, post
from tests.faults import Outcomes, Reader
from tests.serving import served

TEXT_STREAMS = [
    pytest.param(Row(caller, upstream, stream=True), edits, id=f"{caller} on {upstream}{', edited' if edits else ''}")
    for caller in ("chat", "responses")
    for upstream in ("chat", "responses")
    for edits in (False, True)
]
OPENINGS = {"chat": 1, "responses": 4}
"""How many events of the scripted streams stand before the first output."""

HASTY = Timeout(connect=0.2, first_byte=0.2, idle=0.2)


class Two:
    """A gateway with one model on two upstreams; `calls` are those that are over."""

    def __init__(self, first: ScriptedUpstream, second: ScriptedUpstream, gateway: Gateway, calls: Outcomes) -> None:
        self.first = first
        self.second = second
        self.gateway = gateway
        self.calls = calls
        self.url = ""

    async def ask(self, row: Row, *scripts: Script, second: Script | None = None) -> Seen:
        """One answer, where the first upstream follows the scripts and the second gives a good answer or this."""
        self.first.script(*scripts)
        good = stream(row.upstream) if row.stream else whole(row.upstream)
        self.second.script(second or good)
        seen = await post(self.url, row)
        await asyncio.wait_for(self.calls.one.wait(), 5)
        return seen

    def counts(self) -> tuple[int, int]:
        """Requests that arrived at each."""
        return len(self.first.requests), len(self.second.requests)


@asynccontextmanager
async def two(row: Row, *hooks: object, limits: Timeout | None = None, **model: Any) -> AsyncIterator[Two]:
    """Served. model: how the model is registered."""
    async with ScriptedUpstream() as first, ScriptedUpstream() as second:
        providers = [
            Provider(name, upstream.base_url, "k", apis={row.upstream}, timeout=limits)
            for name, upstream in (("one", first), ("two", second))
        ]
        models, calls = Models(), Outcomes()
        models.register("gpt", [Target(providers[0], "m1"), Target(providers[1], "m2")], **model)
        gateway = Gateway(models=models, hooks=[calls, *hooks], limits=Limits(keepalive=30))
        stage = Two(first, second, gateway, calls)
        async with served(gateway) as url:
            stage.url = url
            yield stage


def refusal(status: int, code: str | None = None, headers: dict[str, str] | None = None) -> Script:
    return Script.of_json({"error": {"message": "no", "type": "t", "code": code}}, status, headers)


FAILURES: dict[str, tuple[Script, str, bool]] = {
    "429": (refusal(429), "rate_limit", True),
    "500": (refusal(500), "server_error", True),
    "503": (refusal(503), "server_error", True),
    "529": (refusal(529), "server_error", True),
    "a web page": (Script(headers={"content-type": "text/html"}, body=b"<html>"), "server_error", True),
    "401": (refusal(401), "auth", True),
    "402": (refusal(402), "auth", True),
    "403": (refusal(403), "auth", True),
    "a reset": (Script(fault="reset"), "connection", True),
    "cut in the middle": (whole("chat", fault="cut"), "connection", True),
    "silence": (Script(delay=5), "timeout", True),
    "408": (refusal(408), "timeout", True),
    "too long": (refusal(400, "context_length_exceeded"), "context_length", False),
    "filtered": (refusal(400, "content_filter"), "content_filter", False),
}
CHAT = Row("chat", "chat")


@pytest.mark.parametrize(("script", "kind", "usual"), FAILURES.values(), ids=FAILURES.keys())
async def test_each_failure_leads_on_where_its_switch_is_on(script: Script, kind: Any, usual: bool) -> None:
    others: Any = tuple(
        word
        for word in ("rate_limit", "server_error", "timeout", "connection", "auth", "context_length", "content_filter")
        if word != kind
    )
    for fallback, leads in ((Fallback(on=(kind,)), True), (Fallback(on=others), False), (None, usual)):
        async with two(CHAT, limits=HASTY, fallback=fallback) as stage:
            seen = await stage.ask(CHAT, script)
            assert (seen.status == 200) is leads
            assert stage.counts() == (1, int(leads))
            [call] = stage.calls.calls
            assert [attempt.why for attempt in call.attempts] == ["", f"fallback after {kind}"][: 1 + leads]
            assert call.attempts[0].error is not None
            assert call.attempts[0].ended_at is not None


@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_the_request_s_own_fault_leads_nowhere(status: int) -> None:
    async with two(CHAT) as stage:
        seen = await stage.ask(CHAT, refusal(status))
        assert seen.status == status
        assert stage.counts() == (1, 0)


async def test_the_last_target_s_error_is_the_answer_and_hooks_are_told_once() -> None:
    told: list[int] = []
    tries: list[str] = []

    class Watch:
        def on_error(self, call: Any, error: Any) -> None:
            told.append(error.status)

        def before_attempt(self, call: Any, attempt: Any) -> None:
            tries.append(attempt.provider)

    async with two(CHAT, Watch()) as stage:
        seen = await stage.ask(CHAT, refusal(503), second=refusal(429, headers={"retry-after": "9"}))
        assert (seen.status, seen.headers["retry-after"]) == (429, "9")
        assert (told, tries) == ([429], ["one", "two"])


async def test_a_reset_time_is_told_as_a_retry_after() -> None:
    async with two(CHAT) as stage:
        late = {"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "0"}
        seen = await stage.ask(CHAT, refusal(429), second=refusal(429, headers=late))
        assert (seen.status, seen.headers["retry-after"]) == (429, "360")


@pytest.mark.parametrize("caller", ["chat", "responses"])
async def test_what_a_failed_attempt_said_of_tokens_is_forgotten(caller: str) -> None:
    row = Row(caller, "chat", stream=True)
    spent = EVENTS["chat"][0] | {
        "choices": [],
        "usage": {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8},
    }
    unsaid = stream(
        "chat", [{key: value for key, value in event.items() if key != "usage"} for event in EVENTS["chat"]]
    )
    async with two(row) as stage:
        seen = await stage.ask(row, stream("chat", [spent, ERROR_EVENTS["chat"]]), second=unsaid)
        assert (seen.status, stage.counts()) == (200, (1, 1))
        assert stage.calls.calls[0].usage is None


async def test_the_changes_listed_are_those_of_the_attempt_that_answered() -> None:
    async with ScriptedUpstream() as first, ScriptedUpstream() as second:
        first.script(refusal(503))
        second.script(whole("responses"))
        lossy = Provider("lossy", first.base_url, "k", apis={"chat"})
        native = Provider("native", second.base_url, "k", apis={"responses"})
        body = msgspec.json.encode({"model": "gpt", "input": "q", "truncation": "auto", "include": []})
        row = Row("responses", "chat", raw=body)
        async with served(Gateway(models={"gpt": [lossy, native]})) as url:
            seen = await post(url, row)
        assert seen.status == 200
        assert "x-aigateway-changes" not in seen.headers


# streams


def text_of(row: Row, events: list[Any]) -> str:
    """The text that a caller makes of a stream."""
    if row.api == "chat":
        return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


def lawful(row: Row, events: list[Any]) -> None:
    """One beginning, numbered without a gap, one end."""
    if row.api == "chat":
        assert sum(1 for event in events for choice in event["choices"] if choice["delta"].get("role")) == 1
        return
    kinds = [event["type"] for event in events]
    assert (kinds[0], kinds.count("response.created")) == ("response.created", 1)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert kinds[-1] == "response.completed"


@pytest.mark.parametrize(("row", "edits"), TEXT_STREAMS)
@pytest.mark.parametrize("end", ["cut", "error event", "closed early", "silent"])
async def test_a_stream_that_fails_before_its_first_output_is_replaced_unseen(row: Row, edits: bool, end: str) -> None:
    opening = EVENTS[row.upstream][: OPENINGS[row.upstream]]
    script = {
        "cut": stream(row.upstream, opening, done=False, fault="reset_body"),
        "error event": stream(row.upstream, [*opening, ERROR_EVENTS[row.upstream]], done=False),
        "closed early": stream(row.upstream, opening, done=False),
        "silent": stream(row.upstream, [*opening, opening[-1]], hold_after=(len(opening), asyncio.Event())),
    }[end]
    async with two(row, *([Reader()] if edits else []), limits=HASTY) as stage:
        seen = await stage.ask(row, script)
        assert seen.status == 200
        assert text_of(row, seen.events) == TEXT
        lawful(row, seen.events)
        assert stage.counts() == (1, 1)
        [call] = stage.calls.calls
        assert call.outcome == "completed"
        assert [attempt.provider for attempt in call.attempts] == ["one", "two"]
        assert call.attempts[0].error is not None
        assert call.attempts[1].error is None


@pytest.mark.parametrize(("row", "edits"), TEXT_STREAMS)
async def test_a_stream_that_fails_after_its_first_output_ends_lawfully_with_an_error(row: Row, edits: bool) -> None:
    shown = EVENTS[row.upstream][: OPENINGS[row.upstream] + 1]
    async with two(row, *([Reader()] if edits else [])) as stage:
        seen = await stage.ask(row, stream(row.upstream, shown, done=False, fault="cut"))
        assert seen.status == 200
        assert stage.counts() == (1, 0)
        events = seen.events
        if row.api == "chat":
            assert text_of(row, events[:-1]) == "Hello"
            assert events[-1]["error"]["code"] == "upstream_connection_error"
        else:
            assert text_of(row, events) == "Hello"
            assert [event["sequence_number"] for event in events] == list(range(len(events)))
            assert events[-1]["type"] == "response.failed"
        [call] = stage.calls.calls
        assert call.outcome == "failed"


@pytest.mark.parametrize(("row", "edits"), TEXT_STREAMS)
async def test_where_every_stream_fails_in_its_opening_the_error_has_its_status(row: Row, edits: bool) -> None:
    opening = EVENTS[row.upstream][: OPENINGS[row.upstream]]
    broken = stream(row.upstream, opening, done=False)
    async with two(row, *([Reader()] if edits else []), retry=Retry(attempts=2, backoff=0.001)) as stage:
        seen = await stage.ask(row, broken, second=broken)
        assert stage.counts() == (2, 2)
        assert seen.status == 200  # the very last attempt is not held back
        assert "error" in (seen.events[-1].get("response") or seen.events[-1])
        [call] = stage.calls.calls
        assert [attempt.why for attempt in call.attempts][1:] == [
            "retry after server_error",
            "fallback after server_error",
            "retry after server_error",
        ]
        assert call.outcome == "failed"


@pytest.mark.parametrize("row", [Row("chat", "chat", stream=True), Row("chat", "responses", stream=True)], ids=str)
async def test_hooks_see_no_event_of_an_attempt_that_was_replaced(row: Row) -> None:
    seen_by_hook: list[Any] = []

    class Watch:
        def on_event(self, call: Any, event: EventLens) -> EventLens:
            seen_by_hook.append(event.snapshot())
            return event

    opening = EVENTS[row.upstream][: OPENINGS[row.upstream]]
    async with two(row, Watch()) as stage:
        seen = await stage.ask(row, stream(row.upstream, opening, done=False))
        assert seen_by_hook == seen.events


async def test_a_stream_with_one_target_is_not_held_back() -> None:
    row = Row("responses", "responses", stream=True)
    go_on = asyncio.Event()
    async with ScriptedUpstream() as upstream:
        upstream.script(stream("responses", hold_after=(1, go_on)))
        gateway = Gateway(models={"gpt": Provider("up", upstream.base_url, "k", apis={"responses"})})
        async with gateway, await gateway.responses(model="gpt", input="q", stream=True) as events:
            first = await anext(aiter(events))
            assert first.snapshot()["type"] == "response.created"
            go_on.set()
    assert row.stream


@pytest.mark.parametrize(("row", "edits"), TEXT_STREAMS)
@pytest.mark.parametrize("ends", ["well", "badly"])
async def test_after_a_silence_the_head_is_sent_and_what_was_held_back_still_comes(
    row: Row, edits: bool, ends: str
) -> None:
    opening = EVENTS[row.upstream][: OPENINGS[row.upstream]]
    go_on = asyncio.Event()
    if ends == "well":
        script = stream(row.upstream, hold_after=(len(opening), go_on))
    else:
        script = stream(row.upstream, opening, done=False, hold_after=(len(opening) - 1, go_on), fault="cut")
    async with ScriptedUpstream() as first, ScriptedUpstream() as second:
        first.script(script)
        second.script(stream(row.upstream))
        providers = [Provider("up", upstream.base_url, "k", apis={row.upstream}) for upstream in (first, second)]
        hooks = [Reader()] if edits else []
        gateway = Gateway(models={"gpt": providers}, hooks=hooks, limits=Limits(keepalive=0.05))
        async with (
            served(gateway) as url,
            aiohttp.ClientSession() as session,
            session.post(url + row.path, data=row.body, headers=row.headers) as response,
        ):
            go_on.set()  # the head is there
            body = await response.read()
        seen = Seen(response.status, [event for event in data_of(body) if event != "[DONE]"])
        assert seen.status == 200
        assert not second.requests
        if ends == "well":
            assert text_of(row, seen.events) == TEXT
            lawful(row, seen.events)
        elif row.api == "responses":
            kinds = [event["type"] for event in seen.events]
            assert (kinds[0], kinds[-1]) == ("response.created", "response.failed")
            assert [event["sequence_number"] for event in seen.events] == list(range(len(seen.events)))
        else:
            assert "error" in seen.events[-1]


async def test_an_opening_without_end_is_let_go_after_64_events() -> None:
    row = Row("chat", "chat", stream=True)
    empty = EVENTS["chat"][0]
    async with two(row) as stage:
        seen = await stage.ask(row, stream("chat", [empty] * 70, done=False))
        assert stage.counts() == (1, 0)
        assert len(seen.events) == 71
        assert "error" in seen.events[-1]


def test_an_opening_is_over_after_256_kib() -> None:
    opening = Opening("responses")
    frame = b'event: response.created\ndata: {"type":"response.created","x":"%b"}\n\n' % (b"x" * 100_000)
    assert [opening.ends_in(frame) for _ in range(3)] == [False, False, True]
    assert 2 * len(frame) < MOST_BYTES < 3 * len(frame)


async def test_translated_events_are_let_go_after_256_kib_too() -> None:
    asked: list[int] = []

    async def events() -> AsyncIterator[WireEvent]:
        for number in range(10):
            asked.append(number)
            yield WireEvent("response.in_progress", {"type": "response.in_progress", "x": "x" * 100_000})

    source = held_back(events(), Opening("responses"))
    await anext(source)
    assert asked == [0, 1, 2]
    await source.aclose()  # type: ignore[attr-defined]  # a generator


OPEN: dict[str, tuple[str, Any, bool]] = {
    "a role": ("chat", {"choices": [{"delta": {"role": "assistant", "content": ""}}]}, False),
    "Azure's filter results": ("chat", {"choices": [], "prompt_filter_results": []}, False),
    "a text": ("chat", {"choices": [{"delta": {"content": "x"}}]}, True),
    "reasoning": ("chat", {"choices": [{"delta": {"reasoning_content": "x"}}]}, True),
    "a call": ("chat", {"choices": [{"delta": {"tool_calls": [{"index": 0}]}}]}, True),
    "a finish": ("chat", {"choices": [{"delta": {}, "finish_reason": "stop"}]}, True),
    "something else": ("chat", {"object": "new"}, True),
    "an item": ("responses", {"type": "response.output_item.added"}, False),
    "a delta": ("responses", {"type": "response.function_call_arguments.delta"}, True),
    "an event of tomorrow": ("responses", {"type": "response.dance.started"}, True),
    "the start of a message": ("messages", {"type": "message_start"}, False),
    "a ping": ("messages", {"type": "ping"}, False),
    "the start of a block": ("messages", {"type": "content_block_start"}, False),
    "a delta of a block": ("messages", {"type": "content_block_delta"}, True),
    "the end of a message": ("messages", {"type": "message_delta"}, True),
    "a queue": ("responses", {"type": "response.queued"}, False),
    "progress": ("responses", {"type": "response.in_progress"}, False),
    "a part of an item": ("responses", {"type": "response.content_part.added"}, False),
    "a part of a summary": ("responses", {"type": "response.reasoning_summary_part.added"}, False),
    "the end of an answer": ("responses", {"type": "response.completed"}, True),
    "a picture": ("images", {"type": "image_generation.partial_image"}, True),
}


@pytest.mark.parametrize(("api", "body", "over"), OPEN.values(), ids=OPEN.keys())
def test_what_is_output_and_what_is_not(api: str, body: Any, over: bool) -> None:
    assert Opening(api).ends_with(body) is over
    assert Opening(api).ends_in(b"data: " + msgspec.json.encode(body) + b"\n\n") is over


async def test_a_whole_answer_to_a_stream_is_replaced_too() -> None:
    row = Row("chat", "chat", stream=True)
    async with two(row) as stage:
        seen = await stage.ask(row, Script.of_json({"error": {"message": "boom", "type": "server_error"}}))
        assert text_of(row, seen.events) == TEXT
        assert stage.counts() == (1, 1)


async def test_an_answer_of_the_second_target_names_the_model_asked_for() -> None:
    async with two(CHAT) as stage:
        seen = await stage.ask(CHAT, refusal(503))
        assert seen.json() == REPLIES["chat"] | {"model": "gpt"}
        assert stage.second.requests[0].json()["model"] == "m2"
