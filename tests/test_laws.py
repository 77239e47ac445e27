"""What holds for every answer of every upstream, whichever API the caller speaks: laws, not cases.

Each answer is made up on the wire, played by a provider in process, and heard as the bytes a caller would get.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigateway import Call, EventLens, Gateway
from aigateway.canonical.quirks import Quirks
from aigateway.canonical.types import Change
from aigateway.errors import UpstreamConnectionError
from aigateway.formats import CODECS
from tests.formats.responses_law import check_stream
from tests.playback import Heard, Object, Pieces, ask, cut, sse, streamed
from tests.said import Said, differences, of_chat, of_chat_stream, of_response, of_response_stream

ALIAS = "asked-for"
QUESTIONS: dict[str, Object] = {
    "chat": {"model": ALIAS, "messages": [{"role": "user", "content": "?"}]},
    "responses": {"model": ALIAS, "input": "?"},
}


class Way(NamedTuple):
    """The API that the caller speaks, and the one that the upstream does."""

    caller: str
    upstream: str

    @property
    def translates(self) -> bool:
        """Whether the gateway reads what goes through."""
        return self.caller != self.upstream

    async def ask(self, answer: bytes | list[bytes], *hooks: object, error: Exception | None = None) -> Heard:
        """What the caller hears: whole for bytes, else streamed."""
        gateway = Gateway(models={ALIAS: Pieces(self.upstream, answer, error)}, hooks=hooks)
        body = QUESTIONS[self.caller]
        if not isinstance(answer, bytes):
            body = {**body, "stream": True}
            if self.caller == "chat":
                body["stream_options"] = {"include_usage": True}
        return await ask(gateway, self.caller, body)


WAYS = [Way(caller, upstream) for caller in QUESTIONS for upstream in QUESTIONS]
each_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.caller}-over-{way.upstream}")
few = settings(max_examples=40)


# answers as hosts write them

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=20)
names = st.text("abcdefgh_", min_size=1, max_size=8)
arguments = st.dictionaries(names, st.integers() | words, max_size=3).map(json.dumps)
cuts = st.lists(st.integers(0, 9999), max_size=12)


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Input, output, cached and reasoning tokens."""
    spent, made = draw(st.integers(1, 999)), draw(st.integers(1, 999))
    return spent, made, draw(st.integers(0, spent)), draw(st.integers(0, made))


@st.composite
def completions(draw: st.DrawFn) -> Object:
    """Chat completions."""
    message: Object = {"role": "assistant", "content": draw(st.none() | words), "refusal": None}
    if draw(st.booleans()):
        message[draw(st.sampled_from(["reasoning", "reasoning_content"]))] = draw(words)
    if message["content"] is None and draw(st.booleans()):
        message["refusal"] = draw(words)
    calls = [
        {"id": call_id, "type": "function", "function": {"name": draw(names), "arguments": draw(arguments)}}
        for call_id in draw(st.lists(names, max_size=3, unique=True))
    ]
    if calls:
        message["tool_calls"] = calls
    spent, made, cached, thought = draw(counts())
    finish = draw(st.sampled_from(["tool_calls" if calls else "stop", "length", "content_filter"]))
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "up",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": spent,
            "completion_tokens": made,
            "total_tokens": spent + made,
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": thought},
        },
    }


@st.composite
def outputs(draw: st.DrawFn) -> list[Object]:
    """The items of a response, in any order."""
    found: list[Object] = []
    for number, kind in enumerate(
        draw(st.lists(st.sampled_from(["reasoning", "message", "function_call"]), max_size=4))
    ):
        if kind == "reasoning":
            # Not both: a chat stream tells what comes first, a whole chat answer the text rather than the summaries.
            thoughts = draw(st.lists(words, max_size=2))
            item = _reasoning(thoughts, []) if draw(st.booleans()) else _reasoning([], thoughts[:1])
            found.append({"id": f"rs_{number}", **item})
        elif kind == "message":
            parts = [_part(draw(st.booleans()), draw(words)) for _ in range(draw(st.integers(0, 2)))]
            found.append({"id": f"msg_{number}", **_own(kind), "role": "assistant", "content": parts})
        else:
            call = {"call_id": f"call_{number}", "name": draw(names), "arguments": draw(arguments)}
            found.append({"id": f"fc_{number}", **_own(kind), **call})
    return found


def _own(kind: str) -> Object:
    return {"type": kind, "status": "completed"}


def _reasoning(summaries: list[str], texts: list[str]) -> Object:
    item: Object = {**_own("reasoning"), "summary": [{"type": "summary_text", "text": text} for text in summaries]}
    if texts:
        item["content"] = [{"type": "reasoning_text", "text": text} for text in texts]
    return item


def _part(refuses: bool, text: str) -> Object:
    if refuses:
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


@st.composite
def resources(draw: st.DrawFn) -> Object:
    """Responses."""
    output = draw(outputs())
    reason = draw(st.sampled_from([None, "max_output_tokens", "content_filter"]))
    if reason is not None and output:
        output[-1]["status"] = "incomplete"
    spent, made, cached, thought = draw(counts())
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "completed_at": 2 if reason is None else None,
        "model": "up",
        "status": "completed" if reason is None else "incomplete",
        "incomplete_details": None if reason is None else {"reason": reason},
        "error": None,
        "output": output,
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "instructions": None,
        "temperature": 1.0,
        "top_p": 1.0,
        "text": {"format": {"type": "text"}},
        "metadata": {},
        "usage": {
            "input_tokens": spent,
            "output_tokens": made,
            "total_tokens": spent + made,
            "input_tokens_details": {"cached_tokens": cached},
            "output_tokens_details": {"reasoning_tokens": thought},
        },
    }


def answers(api: str) -> st.SearchStrategy[Object]:
    """Whole answers of an API."""
    return completions() if api == "chat" else resources()


def frames_of(way: Way, answer: Object) -> list[bytes]:
    """The answer as its host's stream, a frame each."""
    named = way.upstream == "responses"
    return [sse([event], named=named) for event in streamed(way.upstream, answer)]


def said(api: str, heard: Heard, *, streams: bool) -> Said:
    """What the caller was told."""
    if streams:
        return (of_chat_stream if api == "chat" else of_response_stream)(heard.events())
    return (of_chat if api == "chat" else of_response)(heard.json())


_IDS = re.compile(rb"[0-9a-f]{32}")
_TIMES = re.compile(rb'"(created|created_at|completed_at)":\d+')


def settled(body: bytes) -> bytes:
    """Without what differs from call to call: ids by their order, times away."""
    order: dict[bytes, int] = {}
    numbered = _IDS.sub(lambda found: b"id-%d" % order.setdefault(found[0], len(order)), body)
    return _TIMES.sub(rb'"\1":0', numbered)


# good streams


@each_way
@given(data=st.data())
@few
async def test_any_split_of_the_bytes_gives_the_caller_the_same(way: Way, data: st.DataObject) -> None:
    stream = b"".join(frames_of(way, data.draw(answers(way.upstream))))
    heard = await way.ask([stream])
    assert heard.done == (way != Way("responses", "responses"))
    split = await way.ask(cut(stream, data.draw(cuts)))
    assert settled(split.body) == settled(heard.body)
    if not way.translates:
        assert heard.body == stream.replace(b'"model": "up"', b'"model": "asked-for"')


@each_way
@given(data=st.data())
@few
async def test_a_stream_adds_up_to_the_whole_answer(way: Way, data: st.DataObject) -> None:
    answer = data.draw(answers(way.upstream))
    whole = await way.ask(json.dumps(answer).encode())
    stream = await way.ask(frames_of(way, answer))
    told = (of_chat if way.upstream == "chat" else of_response)(answer)
    assert differences(said(way.caller, whole, streams=False), told) == {}
    assert differences(said(way.caller, stream, streams=True), told) == {}
    if way.caller == "responses":
        check_stream(stream.events())
        last = json.dumps(stream.events()[-1]["response"]).encode()
        assert settled(last.replace(b" ", b"")) == settled(json.dumps(whole.json()).encode().replace(b" ", b""))


# broken streams


def ends(way: Way, answer: Object, frames: list[bytes]) -> int:
    """The number of the frame that says that the answer is complete."""
    marks = (
        (b'"finish_reason": "',) if way.upstream == "chat" else (b"event: response.completed", b"event: response.inc")
    )
    return next(number for number, frame in enumerate(frames) if any(mark in frame for mark in marks))


def check_failure(way: Way, heard: Heard) -> None:
    """Either an error with its status, or a stream that ends as its API's streams end in failure; never success."""
    if heard.status != 200:
        error = heard.json()["error"]
        assert heard.status >= 400
    elif way.caller == "chat":
        *before, last = heard.events()
        error = last["error"]
        assert not heard.done
        assert all(choice["finish_reason"] is None for chunk in before for choice in chunk["choices"])
    else:
        assert heard.done
        events = heard.events()
        if way.translates:
            check_stream(events)
        check_end(events)
        error = events[-2]["error"]
    assert set(error) == {"message", "type", "param", "code"}


def check_end(events: list[Object]) -> None:
    """The end of a failed Responses stream, also of one that was only relayed and whose items nobody knows."""
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert not {"response.completed", "response.incomplete"} & {event["type"] for event in events}
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    first, last = events[0], events[-1]["response"]
    assert (last["status"], last["model"]) == ("failed", ALIAS)
    assert last["error"]["message"] == events[-2]["message"]
    if "response" in first:
        assert last["id"] == first["response"]["id"]


@each_way
@given(data=st.data())
@few
async def test_a_stream_that_is_cut_anywhere_fails(way: Way, data: st.DataObject) -> None:
    answer = data.draw(answers(way.upstream))
    frames = frames_of(way, answer)
    stream = b"".join(frames[: ends(way, answer, frames) + 1])
    kept = stream[: data.draw(st.integers(0, len(stream) - len(b"\n\n") - 1))]
    error = data.draw(st.sampled_from([None, UpstreamConnectionError("The connection broke."), KeyError("x")]))
    check_failure(way, await way.ask(cut(kept, data.draw(cuts)), error=error))


ERRORS: dict[str, list[Object]] = {
    "chat": [
        {"error": {"message": "Boom", "type": "server_error", "param": None, "code": None}},
        {"error": {"message": "Boom", "code": 429}},
        {"error": "Boom"},
    ],
    "responses": [
        {"type": "error", "sequence_number": 0, "code": "server_error", "message": "Boom", "param": None},
        {"type": "error", "error": {"type": "server_error", "code": None, "message": "Boom"}},
        {"type": "response.failed", "response": {"id": "resp_1", "error": {"code": "x", "message": "Boom"}}},
        {"error": {"message": "Boom", "type": "server_error"}, "type": "error"},
    ],
}


@each_way
@given(data=st.data())
@few
async def test_an_error_at_any_event_ends_the_stream(way: Way, data: st.DataObject) -> None:
    answer = data.draw(answers(way.upstream))
    frames = frames_of(way, answer)
    place = data.draw(st.integers(0, ends(way, answer, frames)))
    error = data.draw(st.sampled_from(ERRORS[way.upstream]))
    frames.insert(place, sse([error], named=way.upstream == "responses"))
    check_failure(way, await way.ask(cut(b"".join(frames), data.draw(cuts))))


GARBAGE = ["{", '"x"', "null", "[]", "\x00", "[" * 5000, "<html>"]


@pytest.mark.parametrize(
    "way", [way for way in WAYS if way.translates], ids=lambda way: f"{way.caller}-over-{way.upstream}"
)
@given(data=st.data())
@few
async def test_garbage_at_any_event_ends_a_translated_stream(way: Way, data: st.DataObject) -> None:
    answer = data.draw(answers(way.upstream))
    frames = frames_of(way, answer)
    place = data.draw(st.integers(0, ends(way, answer, frames)))
    frames.insert(place, sse([data.draw(st.sampled_from(GARBAGE))], named=False))
    check_failure(way, await way.ask(cut(b"".join(frames), data.draw(cuts))))


# hooks


class Sieve:
    """Drops some events, and doubles others."""

    def __init__(self, moves: list[int]) -> None:
        self._moves = moves
        self._count = 0

    def on_event(self, call: Call, event: EventLens) -> list[EventLens]:
        """0, 1 or 2 of it."""
        self._count += 1
        return [event] * self._moves[self._count % len(self._moves)]


@pytest.mark.parametrize("upstream", QUESTIONS)
@given(data=st.data(), moves=st.lists(st.integers(0, 2), min_size=1, max_size=6))
@few
async def test_numbers_have_no_hole_whatever_hooks_drop_and_double(
    upstream: str, data: st.DataObject, moves: list[int]
) -> None:
    way = Way("responses", upstream)
    heard = await way.ask(frames_of(way, data.draw(answers(upstream))), Sieve(moves))
    assert heard.status == 200
    assert [event["sequence_number"] for event in heard.events()] == list(range(len(heard.events())))


# requests

ids = st.text("0123456789abcdef", min_size=1, max_size=8)
statuses = st.sampled_from(["completed", "incomplete", "in_progress"])
unknown = st.dictionaries(names.map(lambda name: f"x_{name}"), st.integers() | words, max_size=1)
given_parts = st.one_of(
    st.fixed_dictionaries({"type": st.just("input_text"), "text": words}),
    st.fixed_dictionaries(
        {"type": st.just("input_image"), "image_url": words}, optional={"detail": st.sampled_from(["low", "auto"])}
    ),
    st.fixed_dictionaries({"type": st.just("input_file"), "file_id": words}, optional={"filename": words}),
)
said_parts = st.one_of(
    st.fixed_dictionaries({"type": st.just("output_text"), "text": words, "annotations": st.just([])}),
    st.fixed_dictionaries({"type": st.just("refusal"), "refusal": words}),
)


def _item(
    kind: str, optional: dict[str, st.SearchStrategy[Any]] | None = None, **fields: Any
) -> st.SearchStrategy[Object]:
    base = st.fixed_dictionaries(
        {"type": st.just(kind), **fields}, optional={"id": ids, "status": statuses, **(optional or {})}
    )
    return st.builds(lambda item, more: {**item, **more}, base, unknown)


items = st.one_of(
    _item(
        "message",
        role=st.sampled_from(["user", "system", "developer"]),
        content=st.lists(given_parts, min_size=1, max_size=2),
    ),
    _item(
        "message",
        {"phase": st.sampled_from(["commentary", "final_answer"])},
        role=st.just("assistant"),
        content=st.lists(said_parts, min_size=1, max_size=2),
    ),
    _item(
        "reasoning",
        {
            "content": st.lists(st.fixed_dictionaries({"type": st.just("reasoning_text"), "text": words}), min_size=1),
            "encrypted_content": words,
        },
        summary=st.lists(st.fixed_dictionaries({"type": st.just("summary_text"), "text": words}), max_size=2),
    ),
    _item("function_call", call_id=ids, name=names, arguments=arguments),
    _item("function_call_output", call_id=ids, output=words | st.lists(given_parts, min_size=1, max_size=2)),
    _item("custom_tool_call", call_id=ids, name=names, input=words),
    _item("custom_tool_call_output", call_id=ids, output=words),
    _item("web_search_call", action=st.just({"type": "search", "query": "q"})),
    _item("compaction", encrypted_content=words),
    st.fixed_dictionaries({"type": st.just("item_reference"), "id": ids}),
)


@given(st.lists(items, min_size=1, max_size=5))
def test_every_input_item_is_kept_on_the_way_through_the_canonical_form(found: list[Object]) -> None:
    codec = CODECS["responses"]
    changes: list[Change] = []
    request = codec.decode_request({"model": "m", "input": found})
    assert codec.encode_request(request, model="m", quirks=Quirks(), changes=changes)["input"] == found
    assert changes == []
