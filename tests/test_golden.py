"""The matrix: callers of four APIs over upstreams of five. What becomes of each case stands in a golden file a cell.

`pytest tests/test_golden.py -p no:xdist --update-golden` writes them anew; a change is reviewed as a diff of JSON.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aigateway.call import Call, Plan, Target
from aigateway.canonical.quirks import Quirks
from aigateway.errors import GatewayError, UpstreamError
from aigateway.formats import FORMATS, render_error
from aigateway.providers.bedrock_errors import Refusal
from aigateway.providers.protocol import Answer, ProviderReply, ProviderRequest
from aigateway.surface import Operation
from aigateway.translation import Translation
from aigateway.upstream import reply_error
from tests import bedrock
from tests.content_said import content_pieces
from tests.conversing import CALLERS, joined
from tests.golden.cases import (
    ANSWERED,
    ASKED,
    BROKEN,
    FAILED,
    HI,
    Object,
    of_chat,
    of_content,
    of_messages,
    of_responses,
)
from tests.messages_said import message_events
from tests.playback import sse, streamed
from tests.said import differences
from tests.test_every_caller import OF_WHOLE

GOLDEN = Path(__file__).parent / "golden"
UPSTREAMS = {
    "chat": "gpt-5",
    "responses": "gpt-5",
    "messages": "claude-sonnet-4-5",
    "generate_content": "gemini-3-pro",
    "converse": "anthropic.claude-sonnet-4-5-v1:0",
}
CELLS = [(caller, upstream) for caller in CALLERS for upstream in UPSTREAMS if caller != upstream]
PLAIN = {
    "chat": of_chat(HI["chat"], stream_options={"include_usage": True}),
    "responses": of_responses(HI["responses"]),
    "messages": of_messages(HI["messages"]),
    "generate_content": of_content(HI["generate_content"]),
}
_CLOCKS = ("created", "created_at", "completed_at")
_RESOURCE = ("status", "model", "output", "usage", "error", "incomplete_details")
"""What of a response tells of the answer; the rest repeats the request."""


class Host:
    """A provider of one API."""

    name = "acme"

    def __init__(self, api: str) -> None:
        self.apis = frozenset([api])
        self.quirks = Quirks()

    async def send(self, request: ProviderRequest) -> ProviderReply:
        raise AssertionError(f"nobody sends {request.model}")


class Side:
    """One call: its caller on the one side, its upstream on the other."""

    def __init__(self, caller: str, upstream: str, body: Object, *, stream: bool = False) -> None:
        self.api = caller
        self.call = Call("req_1", Operation(caller, caller, ""), {})
        self.call.request = FORMATS[caller].request(json.dumps({"model": "asked-for", **body}).encode())
        self.call.model, self.call.stream = "asked-for", stream
        plan = Plan(Target(Host(upstream)), UPSTREAMS[upstream], caller, upstream)
        ids = itertools.count(1)
        self.translation = Translation(self.call, plan, "asked-for", lambda prefix: f"{prefix}_new{next(ids)}")

    def codes(self) -> Object:
        found = [change.code for change in self.call.changes]
        return {"changes": found} if found else {}


def asked(caller: str, upstream: str, body: Object) -> Object:
    """What the upstream is asked, or why it is not."""
    try:
        side = Side(caller, upstream, body)
        return {"asked": json.loads(side.translation.request_body()), **side.codes()}
    except GatewayError as error:
        return {"refused": error.message, "param": error.param}


def heard(caller: str, upstream: str, answer: Object) -> Object:
    """What the caller hears of a whole answer."""
    side = Side(caller, upstream, PLAIN[caller])
    return {"heard": brief(json.loads(side.translation.reply(json.dumps(answer).encode()))), **side.codes()}


def stream_of(upstream: str, answer: Object, broken: Any = None) -> bytes:
    """An answer as its host could have streamed it; broken: the error that comes in place of the end."""
    if upstream == "converse":
        events = list(bedrock.events_of(answer))
        return bedrock.frames(events if broken is None else [*events[:3], broken])
    if upstream == "messages":
        told: list[Any] = message_events(answer)
    else:
        told = content_pieces(answer) if upstream == "generate_content" else list(streamed(upstream, answer))
    begun = {"chat": 2, "responses": 5, "messages": 4, "generate_content": 1}[upstream]
    return sse(told if broken is None else [*told[:begun], broken], named=upstream in ("responses", "messages"))


async def told(caller: str, upstream: str, data: bytes) -> list[Object]:
    """The events that the caller gets of a stream."""

    async def pieces() -> AsyncIterator[bytes]:
        yield data

    side = Side(caller, upstream, PLAIN[caller], stream=True)
    events: list[Object] = []
    try:
        async for wire in side.translation.stream(Answer(pieces()), whole=False):
            events.append(wire.data)  # noqa: PERF401 - what came before an error counts
    except UpstreamError as error:
        events += [wire.data for wire in side.translation.encoder.fail(error)]
    return events


async def failed(caller: str, upstream: str) -> Object:
    """An error in place of an answer."""
    headers = {"x-amzn-errortype": "ThrottlingException"} if upstream == "converse" else {}
    reply: ProviderReply = Answer(json.dumps(FAILED[upstream]).encode(), status=429, headers=headers)
    error = await reply_error(Refusal(reply, []) if upstream == "converse" else reply, "acme")
    status, body = render_error(caller, error, "req_1")
    return {"status": status, "heard": body}


def brief(value: Any) -> Any:
    """A document without clocks, and without what of a response repeats its request."""
    if isinstance(value, list):
        return [brief(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if value.get("object") == "response":
        value = {key: value[key] for key in _RESOURCE}
    return {key: brief(entry) for key, entry in value.items() if key not in _CLOCKS}


async def matrix(caller: str, upstream: str) -> dict[str, Object]:
    """All cases of a cell."""
    found = {f"asked: {name}": asked(caller, upstream, bodies[caller]) for name, bodies in ASKED.items()}
    for name, bodies in ANSWERED.items():
        whole = heard(caller, upstream, bodies[upstream])
        events = await told(caller, upstream, stream_of(upstream, bodies[upstream]))
        found[f"answered: {name}"] = {**whole, "streamed": brief(events)}
    found["failed"] = await failed(caller, upstream)
    text = ANSWERED["text"][upstream]
    found["broken"] = {"streamed": brief(await told(caller, upstream, stream_of(upstream, text, BROKEN[upstream])))}
    return found


def written(cell: dict[str, Object]) -> str:
    """A golden file: an event and a field a line."""
    lines: list[str] = []
    for name, case in cell.items():
        fields = [f"  {json.dumps(key)}: {_listed(value)}" for key, value in case.items()]
        lines.append(f" {json.dumps(name)}: {{\n" + ",\n".join(fields) + "\n }")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _listed(value: Any) -> str:
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return json.dumps(value, ensure_ascii=False)
    return "[\n" + ",\n".join(f"   {json.dumps(entry, ensure_ascii=False)}" for entry in value) + "\n  ]"


@pytest.mark.parametrize(("caller", "upstream"), CELLS, ids=[f"{caller}-over-{upstream}" for caller, upstream in CELLS])
async def test_each_case_of_a_cell_is_as_it_was_reviewed(
    caller: str, upstream: str, request: pytest.FixtureRequest
) -> None:
    path = GOLDEN / f"{caller}-over-{upstream}.json"
    found = await matrix(caller, upstream)
    if request.config.getoption("--update-golden"):
        path.write_text(written(found), "utf-8")
    golden = json.loads(path.read_text("utf-8"))
    assert list(found) == list(golden)
    for name, case in found.items():
        assert case == golden[name], f"{name}: if it is meant so, write the file anew with --update-golden"


@pytest.mark.parametrize(("caller", "upstream"), CELLS, ids=[f"{caller}-over-{upstream}" for caller, upstream in CELLS])
async def test_a_stream_says_what_the_whole_answer_says(caller: str, upstream: str) -> None:
    for bodies in ANSWERED.values():
        side = Side(caller, upstream, PLAIN[caller])
        whole = json.loads(side.translation.reply(json.dumps(bodies[upstream]).encode()))
        events = await told(caller, upstream, stream_of(upstream, bodies[upstream]))
        assert differences(OF_WHOLE[caller](joined(caller, events)), OF_WHOLE[caller](whole)) == {}
