"""The linter: every rule has a stream or a response that breaks only it, and what is lawful has no finding."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigateway.lint import PROFILES, RULES, Finding, Profile, lint_response, lint_sse, lint_stream
from tests import lint_streams as made
from tests.lint_breaks import BROKEN, BROKEN_BYTES, MORE, arguments_that_are_cut
from tests.lint_streams import Break, Events, Object, broken, items_of, set_all, snapshots, sse
from tests.recordings import Recording, recordings
from tests.schemas import _event_faults

ROOT = Path(__file__).resolve().parent.parent
SCHEMA_RULES = {"required-key", "wrong-type", "not-nullable", "unknown-value", "unknown-type", "unknown-event"}


def rules(findings: list[Finding]) -> set[str]:
    return {finding.rule for finding in findings}


# every rule, broken alone


ONLY_WHOLE = {"final-status"}
"""Rules of responses that were not streamed."""
ONLY_OPENAI = {"full-snapshot"}
"""Rules whose breach is a missing key too in Open Responses, which requires them all."""
ONLY_SERVER = {"content-type"}


@pytest.mark.parametrize(("rule", "change"), MORE, ids=[f"{number}-{rule}" for number, (rule, _) in enumerate(MORE)])
def test_other_ways_to_break_a_rule(rule: str, change: Break) -> None:
    assert rule in rules(lint_stream(broken(made.whole(), change)))


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
