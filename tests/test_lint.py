"""The linter: every rule has a stream or a response that breaks only it, and what is lawful has no finding."""

from __future__ import annotations

import asyncio
import copy
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import aigateway
from aigateway import Gateway, Provider
from aigateway.cli import main
from aigateway.lint import PROFILES, RULES, Finding, Profile, lint_response, lint_sse, lint_stream
from aigateway.lint.docs import document
from aigateway.lint.sources import Checked, LintError, Server, lint_bytes
from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from aigateway.transport.pool import PooledTransport
from tests import lint_streams as made
from tests.answers import CHAT_CHUNKS, CHAT_REPLY
from tests.lint_streams import Break, Events, Object, broken, items_of, nth, set_all, snapshots, sse, without
from tests.recordings import Recording, recordings
from tests.schemas import _event_faults
from tests.serving import served

ROOT = Path(__file__).resolve().parent.parent
SCHEMA_RULES = {"required-key", "wrong-type", "not-nullable", "unknown-value", "unknown-type", "unknown-event"}


def rules(findings: list[Finding]) -> set[str]:
    return {finding.rule for finding in findings}


# every rule, broken alone


def swapped(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """Replaces the first place of some bytes, which must be there."""

    def change(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new, 1)

    return change


BROKEN_BYTES: Mapping[str, Callable[[bytes], bytes]] = {
    "event-name": swapped(b"event: response.in_progress\n", b"event: response.progress\n"),
    "data-is-json": swapped(
        b"event: response.in_progress\n", b"event: odd\ndata: {odd\n\nevent: response.in_progress\n"
    ),
    "one-data-line": swapped(b',"sequence_number":0', b',\ndata: "sequence_number":0'),
    "line-ends": lambda data: data.replace(b"\n", b"\r\n"),
    "frame-closed": lambda data: data[:-1],
    "done-last": lambda data: data + b"data: [DONE]\n\n",
    "no-event-ids": swapped(b"event: ", b"id: 1\nevent: "),
}


def put(name: str, number: int = 0, /, **values: Any) -> Break:
    """Sets keys of one event."""
    return lambda events: nth(events, name, number).update(values)


def in_snapshots(**values: Any) -> Break:
    return lambda events: set_all(snapshots(events), **values)


def in_item(index: int, **values: Any) -> Break:
    """Sets keys of an item in all its snapshots."""
    return lambda events: set_all(items_of(events, index), **values)


def unknown_event(events: Events) -> Events:
    return [*events[:3], {"type": "response.magic", "sequence_number": 3}, *events[3:]]


def in_error(events: Events) -> Events:
    error = {"code": None, "message": "m", "param": None}
    return [*events[:2], {"type": "error", "sequence_number": 2, **error, "error": {"type": "t", **error}}]


def output_index_3_is_4(events: Events) -> None:
    set_all((event for event in events if event.get("output_index") == 3), output_index=4)


def one_id_twice(events: Events) -> None:
    first = items_of(events, 2)[0]["id"]
    set_all(items_of(events, 3), id=first)
    set_all((event for event in events if event.get("output_index") == 3 and "item_id" in event), item_id=first)


def content_index_1_is_2(events: Events) -> None:
    set_all((event for event in events if event.get("content_index") == 1), content_index=2)


def delta_of_another_kind(events: Events) -> None:
    event = nth(events, "output_text.delta")
    event["type"] = "response.refusal.delta"
    del event["logprobs"]


def late_delta(events: Events) -> Events:
    done = next(n for n, e in enumerate(events) if e["type"].endswith("item.done") and e["output_index"] == 1)
    return [*events[: done + 1], nth(events, "output_text.delta"), *events[done + 1 :]]


def arguments_that_are_cut(events: Events) -> None:
    for number, piece in ((-2, '{"b'), (-1, '": 2')):
        nth(events, "function_call_arguments.delta", number)["delta"] = piece
    nth(events, "function_call_arguments.done", -1)["arguments"] = '{"b": 2'
    set_all(items_of(events, 3)[1:], arguments='{"b": 2')


def said_otherwise(name: str, *path: Any) -> Break:
    """Changes a text in one event."""

    def change(events: Events) -> None:
        found: Any = nth(events, name)
        for key in path[:-1]:
            found = found[key]
        found[path[-1]] += "!"

    return change


def without_top_p(events: Events) -> None:
    for snapshot in snapshots(events):
        del snapshot["top_p"]


def without_store(events: Events) -> None:
    for snapshot in snapshots(events)[:-1]:
        del snapshot["store"]


def more_tokens(events: Events) -> None:
    snapshots(events)[-1]["usage"]["total_tokens"] += 1


BROKEN: Mapping[str, Break] = {
    "required-key": without_top_p,
    "wrong-type": in_snapshots(top_p="1"),
    "not-nullable": in_snapshots(parallel_tool_calls=None),
    "unknown-value": in_snapshots(truncation="maybe"),
    "unknown-type": in_snapshots(tools=[{"type": "magic"}]),
    "unknown-event": unknown_event,
    "created-first": lambda events: events[1:],
    "in-progress-next": without("in_progress"),
    "sequence-number": put("output_text.done", sequence_number=99),
    "terminal-event": lambda events: events[:-1],
    "after-terminal": lambda events: [*events, nth(events, "output_text.delta")],
    "error-then-failed": in_error,
    "item-added-first": without("output_item.added", 1),
    "output-index": output_index_3_is_4,
    "item-id": one_id_twice,
    "item-identity": put("output_text.delta", item_id="msg_other"),
    "announced-state": lambda events: nth(events, "output_item.added")["item"].update(status="completed"),
    "after-done": late_delta,
    "item-closed": without("output_item.done", -1),
    "part-added-first": without("content_part.added"),
    "part-index": content_index_1_is_2,
    "part-kind": delta_of_another_kind,
    "text-done": without("output_text.done"),
    "part-closed": without("content_part.done"),
    "annotation-index": put("output_text.annotation.added", annotation_index=1),
    "deltas-add-up": without("output_text.delta"),
    "part-adds-up": said_otherwise("content_part.done", "part", "text"),
    "item-adds-up": said_otherwise("output_item.done", "item", "summary", 0, "text"),
    "final-snapshot": said_otherwise("completed", "response", "output", 1, "content", 0, "text"),
    "usage-adds-up": more_tokens,
    "arguments-done": without("function_call_arguments.done"),
    "call-id": in_item(3, call_id="call_1"),
    "call-arguments": arguments_that_are_cut,
    "response-id": in_snapshots(id=""),
    "event-status": lambda events: nth(events, "in_progress")["response"].update(status="queued"),
    "status-details": lambda events: snapshots(events)[-1].update(error={"code": "c", "message": "m"}),
    "item-status": lambda events: set_all(items_of(events, 0)[1:], status="in_progress"),
    "incomplete-item": lambda events: set_all(items_of(events, 1)[1:], status="incomplete"),
    "early-snapshot": lambda events: snapshots(events)[0].update(usage=snapshots(events)[-1]["usage"]),
    "full-snapshot": without_store,
    "stable-snapshot": lambda events: snapshots(events)[1].update(metadata={"a": "b"}),
}


def doubled(name: str, number: int = 0) -> Break:
    """Sends an event twice."""

    def change(events: Events) -> Events:
        again = nth(events, name, number)
        return [copy for event in events for copy in ((event, event) if event is again else (event,))]

    return change


def moved_behind(name: str, other: str) -> Break:
    """Sends an event after another one."""

    def change(events: Events) -> Events:
        late, early = nth(events, name), nth(events, other)
        kept = [event for event in events if event is not late]
        place = kept.index(early) + 1
        order = [*kept[:place], late, *kept[place:]]
        return [{**event, "sequence_number": number} for number, event in enumerate(order)]

    return change


def another_error(events: Events) -> Events:
    """Something comes between an error and the end."""
    error = {"code": None, "message": "m", "param": None}
    failing = {"type": "error", "sequence_number": 0, **error, "error": {"type": "t", **error}}
    return [*events[:2], failing, failing, *events[2:]]


def item_without_id(events: Events) -> None:
    set_all(items_of(events, 1), id="")
    set_all((event for event in events if event.get("output_index") == 1 and "item_id" in event), item_id="")


def part_of_another_type(events: Events) -> None:
    nth(events, "content_part.done")["part"] = {"type": "refusal", "refusal": "Hello"}


MORE: list[tuple[str, Break]] = [
    ("announced-state", put("content_part.added", part={"type": "output_text", "text": "x", "annotations": []})),
    (
        "announced-state",
        lambda events: nth(events, "output_item.added", 2)["item"].update(arguments="{"),
    ),
    ("after-done", doubled("output_text.done")),
    ("after-done", doubled("content_part.done")),
    ("after-done", doubled("function_call_arguments.done")),
    ("after-done", doubled("output_item.done", 1)),
    ("after-done", moved_behind("output_text.annotation.added", "content_part.done")),
    ("annotation-index", doubled("output_text.annotation.added")),
    ("created-first", doubled("created")),
    ("error-then-failed", another_error),
    ("in-progress-next", doubled("in_progress")),
    ("item-id", item_without_id),
    ("output-index", doubled("output_item.added", 2)),
    ("part-index", doubled("content_part.added")),
    ("part-kind", part_of_another_type),
    ("call-id", in_item(2, name="")),
    ("deltas-add-up", without("function_call_arguments.delta")),
    ("final-snapshot", lambda events: snapshots(events)[-1].update(output=[])),
    ("item-identity", lambda events: items_of(events, 2)[0].update(name="lo")),
    ("stable-snapshot", lambda events: snapshots(events)[-1].update(model="other")),
]
"""Other ways to break a rule: what else breaks with it is no matter."""


@pytest.mark.parametrize(("rule", "change"), MORE, ids=[f"{number}-{rule}" for number, (rule, _) in enumerate(MORE)])
def test_other_ways_to_break_a_rule(rule: str, change: Break) -> None:
    assert rule in rules(lint_stream(broken(made.whole(), change)))


ONLY_WHOLE = {"final-status"}
"""Rules of responses that were not streamed."""
ONLY_OPENAI = {"full-snapshot"}
"""Rules whose breach is a missing key too in Open Responses, which requires them all."""
ONLY_SERVER = {"content-type"}


def test_every_rule_has_something_that_breaks_only_it() -> None:
    assert {*BROKEN, *BROKEN_BYTES, *ONLY_WHOLE, *ONLY_SERVER} == set(RULES)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("rule", BROKEN)
def test_a_stream_that_breaks_only_one_rule(rule: str, profile: Profile) -> None:
    if profile == "open_responses" and rule in ONLY_OPENAI:
        pytest.skip("a missing key there")
    findings = lint_stream(broken(made.whole(), BROKEN[rule]), profile=profile)
    assert rules(findings) == {rule}, findings
    assert all(finding.place and finding.message for finding in findings)


@pytest.mark.parametrize("rule", BROKEN_BYTES)
def test_bytes_that_break_only_one_rule(rule: str) -> None:
    data = BROKEN_BYTES[rule](sse(made.whole()))
    assert rules(lint_sse(data, profile="open_responses")) == {rule}
    assert rules(lint_sse(data)) == ({rule} if not RULES[rule].only else set())


USAGE = made.text()[-1]["response"]["usage"]
CACHED = {"input_tokens_details": {"cached_tokens": 10}}


@pytest.mark.parametrize(
    ("rule", "place", "change"),
    [
        ("final-status", "status", {"status": "in_progress", "completed_at": None}),
        ("required-key", "model", {"model": ...}),
        ("not-nullable", "tools", {"tools": None}),
        ("response-id", "id", {"id": ""}),
        ("status-details", "incomplete_details", {"status": "incomplete", "completed_at": None}),
        ("status-details", "completed_at", {"status": "failed", "error": {"code": "c", "message": "m"}}),
        ("usage-adds-up", "usage.input_tokens_details.cached_tokens", {"usage": {**USAGE, **CACHED}}),
    ],
)
@pytest.mark.parametrize("profile", PROFILES)
def test_a_response_that_breaks_only_one_rule(profile: Profile, rule: str, place: str, change: Object) -> None:
    response = snapshots(made.whole())[-1]
    response = {key: value for key, value in {**response, **change}.items() if value is not ...}
    assert [(finding.rule, finding.place) for finding in lint_response(response, profile=profile)] == [(rule, place)]


@pytest.mark.parametrize(
    "place", ["output[1].content[0].annotations", "output[2].arguments", "output[0].summary[0].text"]
)
def test_a_place_leads_to_what_is_wrong(place: str) -> None:
    response = snapshots(made.whole())[-1]
    found: Any = response
    *path, last = place.replace("[", ".").replace("]", "").split(".")
    for key in path:
        found = found[int(key) if key.isdigit() else key]
    found[last] = 7
    assert ("wrong-type", place) in [(finding.rule, finding.place) for finding in lint_response(response)]
    events = made.whole()
    events[-1]["response"] = response
    full = f"event {len(events) - 1} (response.completed).response.{place}"
    assert ("wrong-type", full) in [(finding.rule, finding.place) for finding in lint_stream(events)]


def test_a_stream_without_done_is_lawful_for_openai_alone() -> None:
    data = sse(made.text()).removesuffix(b"data: [DONE]\n\n")
    assert lint_sse(data) == []
    assert rules(lint_sse(data, profile="open_responses")) == {"done-last"}


def test_comments_and_a_byte_order_mark_are_no_faults() -> None:
    assert lint_sse(b"\xef\xbb\xbf: hello\n\n" + sse(made.text()) + b": bye\n\n", profile="open_responses") == []


def test_what_has_a_prefix_is_let_be() -> None:
    def with_extension(events: Events) -> Events:
        return [*events[:3], {"type": "acme:thinking", "sequence_number": 3}, *events[3:]]

    events = broken(made.whole(), with_extension)
    set_all(snapshots(events), tools=[{"type": "acme:search", "any": "thing"}])
    for profile in PROFILES:
        assert lint_stream(events, profile=profile) == []
    del events[3]["sequence_number"]
    assert rules(lint_stream(events)) == {"required-key"}


def test_a_call_that_was_cut_is_incomplete_wherever_it_stands_for_openai_alone() -> None:
    events = broken(made.whole(), arguments_that_are_cut)
    set_all(items_of(events, 3)[1:], status="incomplete")
    assert lint_stream(events) == []
    assert rules(lint_stream(events, profile="open_responses")) == {"incomplete-item"}


# what is lawful


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    "stream", [made.whole, made.text, made.calls, made.refusal, made.failed], ids=lambda f: f.__name__
)
def test_lawful_in_both_profiles(stream: Callable[[], Events], profile: Profile) -> None:
    assert lint_stream(stream(), profile=profile) == []
    assert lint_sse(sse(stream()), profile=profile) == []
    assert lint_response(stream()[-1]["response"], profile=profile) == []


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_a_stream_that_was_cut_is_lawful_in_both_profiles(reason: str, profile: Profile) -> None:
    assert lint_stream(made.text(reason), profile=profile) == []


@pytest.mark.parametrize(
    ("stream", "strictly"),
    [
        (made.thoughts, {"unknown-event"}),
        (made.custom_call, {"unknown-event", "unknown-type"}),
        (made.hosted, {"unknown-type"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_lawful_for_openai_alone(stream: Callable[[], Events], strictly: set[str]) -> None:
    assert lint_stream(stream()) == []
    assert rules(lint_stream(stream(), profile="open_responses")) == strictly


def test_a_stream_that_fails_before_it_begins_is_lawful() -> None:
    events = made.failed()[-2:]
    assert lint_stream(events) == []


@pytest.mark.parametrize("file", sorted((ROOT / "tests/fixtures/responses").glob("openai_*.sse")), ids=lambda f: f.stem)
def test_openai_s_own_streams_are_lawful(file: Path) -> None:
    assert lint_sse(file.read_bytes()) == []


ODD: Mapping[str, set[str]] = {
    "responses_overlapping_items": {"event-name", "final-snapshot"},
    "responses_status_complete": {"unknown-value", "required-key"},
}
"""Recordings of hosts that break rules."""


@pytest.mark.parametrize(
    "recording",
    [one for one in recordings() if one.api == "responses" and one.status == 200 and one.name.startswith("responses_")],
    ids=lambda one: one.name,
)
def test_recorded_answers(recording: Recording) -> None:
    found = lint_sse(recording.body()) if recording.streamed else lint_response(recording.whole)
    assert rules(found) == ODD.get(recording.name, set())


# against the official schemas


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in a JSON value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, entry in entries for place in ((*path, key), *places(entry, (*path, key)))]


@given(data=st.data())
def test_the_shapes_agree_with_the_official_schemas(data: st.DataObject) -> None:
    event = copy.deepcopy(data.draw(st.sampled_from(made.whole())))
    path = data.draw(st.sampled_from([path for path in places(event) if path != ("type",)]))
    value: Any = data.draw(st.sampled_from([..., None, 7, 1.5, "odd", True, [], {}, [7]]))
    found: Any = event
    for key in path[:-1]:
        found = found[key]
    if value is ... and isinstance(found, dict):
        del found[path[-1]]
    else:
        found[path[-1]] = None if value is ... else value
    strict = bool(SCHEMA_RULES & rules(lint_stream([event], profile="open_responses")))
    assert strict == bool(_event_faults("openresponses", event))
    if SCHEMA_RULES & rules(lint_stream([event])):
        assert _event_faults("openai", event)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "output", "id"]), inner),
        max_leaves=5,
    )
)
def test_nothing_that_is_json_upsets_it(value: Any) -> None:
    assert lint_response(value) != []
    assert lint_stream([value]) != []


@given(data=st.data())
def test_nothing_in_an_event_upsets_it(data: st.DataObject) -> None:
    events = made.whole()
    number = data.draw(st.integers(0, len(events) - 1))
    path = data.draw(st.sampled_from(places(events[number])))
    found: Any = events[number]
    for key in path[:-1]:
        found = found[key]
    found[path[-1]] = data.draw(st.sampled_from([None, 7, -1, "odd", [], {}, [None], True]))
    lint_stream(events)


# the command


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["lint", *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_files_of_every_kind(tmp_path: Path) -> None:
    events = made.whole()
    contents = {
        "stream.sse": sse(events),
        "lines.jsonl": "\n".join(map(json.dumps, events)).encode(),
        "list.json": json.dumps(events).encode(),
        "response.json": json.dumps(events[-1]["response"], indent=2).encode(),
    }
    for name, content in contents.items():
        file = tmp_path / name
        file.write_bytes(content)
        assert run(str(file), "--profile", "open_responses") == (0, f"{file}: ok\n", "")


def test_findings_are_told_with_their_rules_and_places_each_kind_once(tmp_path: Path) -> None:
    events = made.text()
    for event in events:
        event.pop("logprobs", None)
    file = tmp_path / "stream.sse"
    file.write_bytes(sse(events))
    code, told, _ = run(str(file))
    assert code == 1
    assert told.splitlines() == [
        f"{file}: 3 findings",
        "  required-key at event 4 (response.output_text.delta).logprobs: the key `logprobs` is missing (and 1 more like it)",
        "  required-key at event 7 (response.output_text.done).logprobs: the key `logprobs` is missing",
    ]
    code, told, _ = run(str(file), "--json")
    assert code == 1
    (checked,) = msgspec.json.decode(told, type=list[Checked])
    assert checked == Checked(str(file), lint_stream(events))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, "No such file or directory"),
        (b"", "neither server-sent events nor JSON"),
        (b"hello", "neither server-sent events nor JSON"),
        (b'{"type":"a"}\n{"type":', "line 2 is no JSON"),
    ],
)
def test_what_cannot_be_linted_is_told_with_exit_2(tmp_path: Path, content: bytes | None, error: str) -> None:
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
    code, told, errors = run(str(file))
    assert (code, told) == (2, f"{file}: could not be linted\n")
    assert error in errors
    if content is not None:
        with pytest.raises(LintError, match=error):
            lint_bytes(content)


# servers

CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}


def chat_host(request: ReceivedRequest) -> Script:
    """Answers chat as it should be answered: a call where there are tools."""
    body = request.json()
    reply, chunks = copy.deepcopy(CHAT_REPLY), copy.deepcopy(CHAT_CHUNKS)
    if body.get("tools"):
        reply["choices"][0] |= {"message": {"role": "assistant", "tool_calls": [CALL]}, "finish_reason": "tool_calls"}
        del chunks[2]
        chunks[1]["choices"][0]["delta"] = {"tool_calls": [{"index": 0, **CALL}]}
        chunks[2]["choices"][0]["finish_reason"] = "tool_calls"
    return Script.of_events(chunks) if body.get("stream") else Script.of_json(reply)


@pytest.mark.parametrize("profile", PROFILES)
async def test_our_own_server_is_lawful(profile: Profile) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.answer_with(chat_host)
        provider = Provider("host", upstream.base_url, api_key="k", apis=["chat"])
        async with served(Gateway(models={"m": provider})) as url:
            command = [sys.executable, "-m", "aigateway", "lint", url, "--profile", profile]
            running = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            told, errors = await running.communicate()
    assert (told.decode().splitlines(), errors) == (
        ["text: ok", "text, streamed: ok", "tool: ok", "tool, streamed: ok"],
        b"",
    )
    assert running.returncode == 0
    assert [request.json().get("tool_choice") for request in upstream.requests] == [None, None, "required", "required"]


async def checked_by(*scripts: Script, url: str = "", **more: Any) -> tuple[list[Checked], list[ReceivedRequest]]:
    """What comes of linting a server that answers like this."""
    transport = PooledTransport()
    async with ScriptedUpstream() as upstream:
        upstream.script(*scripts)
        try:
            checked = await Server(upstream.base_url + url, transport, **more).lint(model="m", input="hi")
        finally:
            await transport.aclose()
    return checked, upstream.requests


async def test_a_broken_server_is_told_so() -> None:
    events = made.text()
    whole = Script.of_json(events[-1]["response"] | {"status": "in_progress"})
    cut = Script(headers={"content-type": "text/event-stream"}, pieces=[sse(events)[:900]], fault="cut")
    html = Script(headers={"content-type": "text/html"}, body=b"<html>")
    json_stream = Script.of_json(events[-1]["response"])
    checked, requests = await checked_by(whole, cut, html, json_stream, url="/responses", api_key="k-1")
    assert [rules(one.findings) for one in checked] == [
        {"final-status", "status-details"},
        {"data-is-json", "frame-closed", "terminal-event"},
        {"content-type", "data-is-json"},
        {"content-type"},
    ]
    assert {request.path for request in requests} == {"/v1/responses"}
    assert {request.headers["authorization"] for request in requests} == {"Bearer k-1"}
    bodies = [request.json() for request in requests]
    assert [(body.get("stream", False), "tools" in body) for body in bodies] == [
        (False, False),
        (True, False),
        (False, True),
        (True, True),
    ]
    assert {(body["model"], body["input"]) for body in bodies} == {("m", "hi")}


async def test_a_server_that_refuses_could_not_be_linted() -> None:
    refusing = Script.of_json({"error": {"message": "no such model"}}, 404)
    checked, _ = await checked_by(refusing)
    assert [one.findings for one in checked] == [[]] * 4
    assert all("404" in one.error and "no such model" in one.error for one in checked)


async def test_a_server_that_cannot_be_made_to_call_a_tool_is_left_to_choose() -> None:
    reply = Script.of_json(made.calls()[-1]["response"])
    refusal = Script.of_json({"error": {"message": "not required"}}, 400)
    stream = Script.of_events(made.calls(), named=True)
    checked, requests = await checked_by(reply, Script.of_events(made.text(), named=True), refusal, reply, stream)
    assert [(one.findings, one.error) for one in checked] == [([], "")] * 4
    choices = [request.json().get("tool_choice") for request in requests]
    assert choices == [None, None, "required", "auto", "required"]


async def test_the_first_model_that_the_server_lists_is_asked_for() -> None:
    transport = PooledTransport()
    async with ScriptedUpstream() as upstream:
        upstream.script(Script.of_json({"data": [{"id": "one"}, {"id": "two"}]}), Script.of_json({"data": []}))
        server = Server(upstream.base_url.removesuffix("/v1"), transport)
        assert await server.first_model() == "one"
        with pytest.raises(LintError, match="--model"):
            await server.first_model()
    with pytest.raises(LintError):
        await server.first_model()
    await transport.aclose()
    assert [request.path for request in upstream.requests] == ["/v1/models"] * 2


def test_a_server_that_is_not_there_is_told_with_exit_2() -> None:
    code, told, errors = run("http://127.0.0.1:9/v1")
    assert (code, told) == (2, "http://127.0.0.1:9/v1: could not be linted\n")
    assert "The server could not be reached" in errors


# the package


def test_the_document_is_the_one_that_the_rules_make() -> None:
    assert (ROOT / "docs" / "lint.md").read_text("utf-8") == document(), "python -m aigateway.lint.docs > docs/lint.md"


def test_importing_the_gateway_does_not_import_the_linter() -> None:
    code = "import aigateway, sys; print([name for name in sys.modules if name.startswith('aigateway.lint')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert aigateway.__name__ == "aigateway"
