"""The doors of the linter: a stream as events or as bytes, and a response that was not streamed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from aigateway import _json
from aigateway.lint import open_responses, openai, resource
from aigateway.lint.framing import frames_of
from aigateway.lint.lifecycle import Lifecycle
from aigateway.lint.rules import Finding, Profile
from aigateway.lint.shapes import Vocabulary, is_extension, join, json_name


def lint_stream(events: Iterable[Any], *, profile: Profile = "openai") -> list[Finding]:
    """What is unlawful in the events of one whole Responses stream: the decoded `data` objects, without `[DONE]`."""
    return _lint([(f"event {number}", event) for number, event in enumerate(events)], profile)


def lint_sse(data: bytes, *, profile: Profile = "openai") -> list[Finding]:
    """What is unlawful in one whole Responses stream as it came over HTTP, its framing included."""
    frames, found = frames_of(data, profile)
    events: list[tuple[str, Any]] = []
    for place, frame in frames:
        try:
            event = _json.decode(frame.data)
        except (_json.DecodeError, UnicodeDecodeError, RecursionError) as error:
            found.append(Finding("data-is-json", place, f"the data is no JSON: {error}"))
            continue
        if not isinstance(event, dict):
            found.append(Finding("data-is-json", place, f"the data is {json_name(event)}, not an object"))
            continue
        events.append((place, event))
        if frame.event != event.get("type") and "type" in event:
            message = (
                f"the frame is called `{frame.event}`, its data `{event['type']}`" if frame.event else "no `event` line"
            )
            found.append(Finding("event-name", _named(place, event), message))
    return found + _lint(events, profile)


def lint_response(response: Any, *, profile: Profile = "openai") -> list[Finding]:
    """What is unlawful in a response that was not streamed: the decoded body."""
    found = list(_vocabulary(profile).faults(response, "Response", ""))
    if isinstance(response, dict):
        found += resource.id_faults(response, "")
        found += resource.ended(response, "")
        found += resource.faults_of(response, "", profile)
    return [Finding(one.rule, one.place or "response", one.message) for one in found]


def _lint(events: list[tuple[str, Any]], profile: Profile) -> list[Finding]:
    found: list[Finding] = []
    lifecycle = Lifecycle(profile)
    for place, event in events:
        if not isinstance(event, dict):
            found.append(Finding("wrong-type", place, f"{json_name(event)}, not an object"))
            continue
        named = _named(place, event)
        found += _schema_faults(event, named, profile)
        found += lifecycle.feed(event, named)
    return found + lifecycle.finish()


def _schema_faults(event: dict[str, Any], place: str, profile: Profile) -> list[Finding]:
    vocabulary, name = _vocabulary(profile), event.get("type")
    if isinstance(name, str) and not vocabulary.knows("Event", name):
        if is_extension(name):
            return list(vocabulary.faults(event, "Extension", place))
        return [Finding("unknown-event", join(place, "type"), f"there is no event `{name}` in the profile {profile}")]
    return list(vocabulary.faults(event, "Event", place))


def _named(place: str, event: dict[str, Any]) -> str:
    return f"{place} ({event['type']})" if isinstance(event.get("type"), str) else place


@cache
def _vocabulary(profile: Profile) -> Vocabulary:
    tables = {"openai": openai.TABLES, "open_responses": open_responses.TABLES}[profile]
    return Vocabulary({**tables, "Extension": "sequence_number int"})
