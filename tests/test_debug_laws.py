"""The assertions of debug builds: they pass what is lawful, and see each law broken."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from aigateway import FunctionProvider, Gateway, ServerError
from aigateway.canonical.accumulator import Accumulator, unfold
from aigateway.canonical.events import (
    Annotated,
    Delta,
    Failed,
    Finished,
    ItemEnded,
    ItemStarted,
    PartEnded,
    PartStarted,
    Started,
    StreamEvent,
    UsageReported,
)
from aigateway.canonical.laws import LawError, StreamLaws
from aigateway.canonical.types import Message, Reasoning, Reply, Text, ToolCall, Usage
from aigateway.checks import StreamChecks
from aigateway.errors import UpstreamError
from aigateway.formats.chat.laws import ChunkLaws
from aigateway.formats.protocol import WireEvent

REPLY = Reply(
    id="r",
    model="m",
    created_at=1,
    items=(
        Reasoning(summary=("a", "b")),
        Message(role="assistant", content=(Text(text="Hi"), Text(text="there"))),
        ToolCall(call_id="c1", name="f", arguments="{}"),
    ),
    usage=Usage(input_tokens=3, output_tokens=2, total_tokens=5, cached_tokens=1, reasoning_tokens=1),
)
EVENTS = unfold(REPLY)
CHUNK = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def check(events: list[StreamEvent]) -> None:
    laws = StreamLaws()
    for event in events:
        laws.feed(event)


def test_a_lawful_stream_passes() -> None:
    check(EVENTS)
    check([*EVENTS[:-1], Failed(UpstreamError("broken"))])
    check([Failed(UpstreamError("at once"))])


@pytest.mark.parametrize("at", range(len(EVENTS) - 1), ids=lambda at: f"{at}-{type(EVENTS[at]).__name__}")
def test_no_event_can_be_left_out(at: int) -> None:
    rest = [*EVENTS[:at], *EVENTS[at + 1 :]]
    if isinstance(EVENTS[at], UsageReported):
        check(rest)
        return
    with pytest.raises(LawError):
        check(rest)


@pytest.mark.parametrize("at", range(len(EVENTS)), ids=lambda at: f"{at}-{type(EVENTS[at]).__name__}")
def test_no_event_can_come_twice(at: int) -> None:
    twice = [*EVENTS[: at + 1], *EVENTS[at:]]
    if isinstance(EVENTS[at], UsageReported):
        check(twice)
        return
    with pytest.raises(LawError):
        check(twice)


def _replaced(kind: type, change: Callable[[Any], Any]) -> list[StreamEvent]:
    at = next(number for number, event in enumerate(EVENTS) if isinstance(event, kind))
    return [*EVENTS[:at], change(EVENTS[at]), *EVENTS[at + 1 :]]


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (ItemStarted, lambda event: msgspec.structs.replace(event, index=1)),
        (PartStarted, lambda event: msgspec.structs.replace(event, part=4)),
        (Delta, lambda event: msgspec.structs.replace(event, text="other")),
        (
            PartEnded,
            lambda event: msgspec.structs.replace(event, content=msgspec.structs.replace(event.content, text="x")),
        ),
        (ItemEnded, lambda event: msgspec.structs.replace(event, item=ToolCall(call_id="c", name="f"))),
        (UsageReported, lambda _: UsageReported(Usage(input_tokens=3, output_tokens=2, total_tokens=6))),
        (UsageReported, lambda _: UsageReported(Usage(input_tokens=1, total_tokens=1, cached_tokens=2))),
        (UsageReported, lambda _: UsageReported(Usage(output_tokens=1, total_tokens=1, reasoning_tokens=2))),
        (Started, lambda _: Finished("stop")),
    ],
    ids=["hole", "part", "delta", "part text", "other item", "sum", "cached", "reasoning", "unstarted"],
)
def test_each_law_is_seen_broken(kind: type, change: Callable[[Any], Any]) -> None:
    with pytest.raises(LawError):
        check(_replaced(kind, change))


def test_annotations_belong_to_an_open_part() -> None:
    with pytest.raises(LawError):
        check([EVENTS[0], Annotated(0, 0, {"type": "x"})])  # type: ignore[arg-type]  # any annotation will do


def chunk(delta: dict[str, Any], finish: str | None = None, **head: Any) -> dict[str, Any]:
    return {**CHUNK, **head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


ROLE, CALL = chunk({"role": "assistant"}), chunk({"tool_calls": [{"index": 0, "id": "c", "function": {}}]})
MORE, END = chunk({"tool_calls": [{"index": 0, "function": {}}]}), chunk({}, "tool_calls")


def test_lawful_chunks_pass() -> None:
    laws = ChunkLaws()
    for one in (ROLE, CALL, MORE, END, {**CHUNK, "choices": [], "usage": {}}):
        laws.feed(one)
    laws.feed({"error": {"message": "late"}})


@pytest.mark.parametrize(
    "chunks",
    [
        (CALL,),
        (ROLE, ROLE),
        (ROLE, MORE),
        (ROLE, CALL, CALL),
        (ROLE, END, CALL),
        (ROLE, {**CHUNK, "choices": []}),
        (ROLE, chunk({"content": "x"}, id="chatcmpl-2")),
        (ROLE, chunk({"tool_calls": [{"index": 1, "id": "c", "function": {}}]})),
    ],
    ids=["no role", "two roles", "no id", "two ids", "after the end", "empty", "other id", "hole"],
)
def test_unlawful_chunks_are_seen(chunks: tuple[dict[str, Any], ...]) -> None:
    laws = ChunkLaws()
    with pytest.raises(LawError):  # noqa: PT012 - the last one breaks the law
        for one in chunks:
            laws.feed(one)


def test_unlawful_response_events_are_seen() -> None:
    checks = StreamChecks("responses", "openai")
    event = WireEvent("response.in_progress", {"type": "response.in_progress", "sequence_number": 0, "response": {}})
    with pytest.raises(LawError, match="created-first"):
        list(checks.output([event]))


async def test_an_unlawful_stream_ends_in_an_error_of_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seam: what a decoder makes against the law is stopped before the caller takes it for an answer."""
    monkeypatch.setattr(Accumulator, "end_item", lambda *_: [])
    async with Gateway(models={"m": FunctionProvider("own", lambda _: "Hello")}) as gateway:
        stream = await gateway.responses(model="m", input="Hi", stream=True)
        with pytest.raises(ServerError):
            [event async for event in stream]


@pytest.mark.parametrize(("switch", "said"), [("", "False False"), ("0", "False False"), ("1", "True False")])
def test_only_debug_builds_check_and_only_a_stream_loads_the_checks(switch: str, said: str) -> None:
    program = "import aigateway, sys; from aigateway import translation as t; print(t.DEBUG, 'aigateway.checks' in sys.modules)"
    environment = {**os.environ, "AIGATEWAY_DEBUG": switch}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == said
