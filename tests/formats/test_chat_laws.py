"""The laws that hold for every document of chat."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from aigateway import _json
from aigateway.canonical.accumulator import fold
from aigateway.canonical.quirks import Quirks
from aigateway.canonical.types import (
    AllowedTools,
    Audio,
    Change,
    CustomTool,
    File,
    FunctionTool,
    Image,
    Item,
    JSONSchemaFormat,
    Message,
    NamedTool,
    Part,
    Reasoning,
    Refusal,
    Reply,
    Request,
    Text,
    ToolCall,
    ToolResult,
    UrlCitation,
    Usage,
)
from aigateway.formats.chat.codec import ChatCodec
from aigateway.formats.chat.wire import decode_reasoning
from tests.formats.chat_streams import DONE, chunk, context, decode, decode_chunks, encode, events_of, sse

CODEC = ChatCodec()
OPENAI = Quirks(max_tokens="max_completion_tokens", developer_role=True, allowed_tools=True, custom_tools=True)

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
names = st.text("abcdefgh_", min_size=1, max_size=8)
objects = st.dictionaries(names, st.integers() | words | st.none(), max_size=3)
arguments = objects.map(lambda value: _json.encode(value).decode()) | st.just("")


def option(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.just(UNSET) | strategy


@st.composite
def tool_calls(draw: st.DrawFn) -> tuple[ToolCall, ...]:
    ids = draw(st.lists(names, max_size=3, unique=True))
    kinds = [draw(st.sampled_from(["function", "custom"])) for _ in ids]
    return tuple(
        ToolCall(call_id=i, name=draw(names), arguments=draw(arguments if kind == "function" else words), kind=kind)
        for i, kind in zip(ids, kinds, strict=True)
    )


tokens = st.lists(st.fixed_dictionaries({"token": words, "logprob": st.just(-0.5)}), max_size=2).map(tuple)
citations = st.lists(
    st.builds(UrlCitation, url=words, title=words, start_index=st.integers(0, 9), end_index=st.integers(0, 9)),
    max_size=2,
).map(tuple)
texts = st.builds(Text, text=words, annotations=citations, logprobs=tokens)
answers = st.one_of(
    st.tuples(texts), st.tuples(st.builds(Refusal, text=words)), st.tuples(texts, st.builds(Refusal, text=words))
)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    spent, made = draw(st.integers(1, 99)), draw(st.integers(0, 99))
    return Usage(
        input_tokens=spent,
        output_tokens=made,
        total_tokens=spent + made,
        cached_tokens=draw(st.integers(0, spent)),
        reasoning_tokens=draw(st.integers(0, made)),
    )


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    """Replies that chat can hold: reasoning, message, calls, in this order, at least one of them."""
    items: list[Item] = []
    if draw(st.booleans()):
        text = draw(words)
        signed = {"type": "reasoning.text", "text": text, "signature": draw(words), "index": 0}
        sealed = {"type": "reasoning.encrypted", "data": draw(words), "id": draw(names), "index": 1}
        items.append(decode_reasoning(text, draw(st.sampled_from([[], [signed], [sealed], [signed, sealed]]))))
    calls = draw(tool_calls())
    if draw(st.booleans()) or not (items or calls):
        items.append(Message(role="assistant", content=draw(answers)))
    reason = draw(st.sampled_from(["stop", "length", "content_filter"]))
    return Reply(
        id="chatcmpl-" + draw(names),
        model="m",
        created_at=draw(st.integers(1, 2**31)),
        items=(*items, *calls),
        finish_reason="tool_calls" if reason == "stop" and calls else reason,
        usage=draw(usages()),
        service_tier=draw(option(st.just("default"))),
        system_fingerprint=draw(option(names)),
    )


@given(replies(), st.integers(1, 5))
def test_a_stream_that_is_written_and_read_folds_to_the_same_reply(reply: Reply, size: int) -> None:
    chunks = encode(events_of(reply, size), include_usage=True)
    assert fold(decode_chunks([*chunks, DONE])) == reply


@given(replies())
def test_a_reply_that_is_written_and_read_is_the_same(reply: Reply) -> None:
    wire = _json.decode(_json.encode(CODEC.encode_reply(reply, context())))
    assert CODEC.decode_reply(wire) == reply


@given(replies(), st.lists(st.integers(0, 3000), max_size=12))
def test_any_split_of_the_bytes_gives_the_same_events(reply: Reply, cuts: list[int]) -> None:
    stream = sse([*encode(events_of(reply), include_usage=True), DONE])
    assert decode(stream, cuts) == decode(stream)
    assert decode(stream.replace(b"\n", b"\r\n"), cuts) == decode(stream)


@given(replies(), st.data())
def test_a_stream_that_is_cut_anywhere_never_ends_in_success(reply: Reply, data: st.DataObject) -> None:
    chunks = encode(events_of(reply))
    kept = data.draw(st.integers(0, len(chunks) - 1))
    assert type(decode_chunks([*chunks[:kept], DONE])[-1]).__name__ == "Failed"


@given(replies(), st.data())
def test_garbage_at_any_event_ends_the_stream_lawfully(reply: Reply, data: st.DataObject) -> None:
    chunks: list[dict[str, Any] | str] = [*encode(events_of(reply)), DONE]
    garbage = data.draw(st.sampled_from(["{", '"x"', "null", '{"error":{"message":"Boom"}}', "\x00", "[" * 5000]))
    chunks.insert(data.draw(st.integers(0, len(chunks) - 1)), garbage)
    kinds = [type(event).__name__ for event in decode_chunks(chunks)]
    assert kinds[-1] == "Failed"
    assert "Finished" not in kinds


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["index", "id", "function", "custom", "name", "arguments", "input", "type", "text", "thinking", "error"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
deltas = st.dictionaries(
    st.sampled_from(
        ["content", "refusal", "tool_calls", "function_call", "reasoning", "reasoning_details", "annotations", "audio"]
    ),
    json_values,
    max_size=4,
)


@given(st.lists(deltas, max_size=4))
def test_no_delta_of_any_shape_breaks_the_decoder(shapes: list[dict[str, Any]]) -> None:
    events = decode_chunks([*(chunk(delta) for delta in shapes), chunk({}, "stop"), DONE])
    assert type(events[-1]).__name__ == "Finished"
    fold(events)


@given(deltas)
def test_no_message_of_any_shape_breaks_the_decoder(message: dict[str, Any]) -> None:
    content = message.get("content")
    body = {**message, "content": content if isinstance(content, str | list) else None}
    reply = CODEC.decode_reply({"choices": [{"message": body, "finish_reason": "stop"}]})
    assert reply.finish_reason in ("stop", "tool_calls")


parts: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, text=words),
    st.builds(Image, url=words, detail=option(st.sampled_from(["low", "high"]))),
    st.builds(Audio, data=words, format=st.just("wav")),
    st.builds(File, data=words, filename=words),
    st.builds(File, file_id=words),
)
asked = st.builds(
    Message,
    role=st.sampled_from(["user", "system", "developer"]),
    content=st.lists(parts, min_size=1, max_size=3).map(tuple),
    name=option(names),
)


@st.composite
def turns(draw: st.DrawFn) -> list[Item]:
    """What the assistant did, and the results of its calls."""
    calls = draw(tool_calls())
    items: list[Item] = [Reasoning(content=(draw(words),))] if draw(st.booleans()) else []
    if draw(st.booleans()) or not (items or calls):
        said = [Text(text=text) for text in draw(st.lists(words, max_size=2))]
        refusals = [Refusal(text=draw(words))] if not said or draw(st.booleans()) else []
        items.append(Message(role="assistant", content=(*said, *refusals)))
    results = [ToolResult(call_id=call.call_id, output=draw(st.text(max_size=5)), kind=call.kind) for call in calls]
    if items and not calls and isinstance(items[-1], Reasoning):
        items.append(Message(role="assistant", content=(Text(text=draw(words)),)))
    return [*items, *calls, *results]


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Item, ...]:
    items: list[Item] = [draw(asked)]
    for _ in range(draw(st.integers(0, 2))):
        items += draw(turns())
        items.append(draw(asked))
    return tuple(items)


tools = st.lists(
    st.one_of(
        st.builds(
            FunctionTool,
            name=names,
            description=option(words),
            parameters=option(objects),
            strict=option(st.booleans()),
        ),
        st.builds(CustomTool, name=names, description=option(words)),
        st.just(CustomTool(name="g", format={"type": "grammar", "syntax": "lark", "definition": "x"})),
    ),
    min_size=1,
    max_size=3,
)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    offered = draw(tools)
    named = [NamedTool(name=t.name, kind="custom" if isinstance(t, CustomTool) else "function") for t in offered]
    choice = st.sampled_from(["auto", "none", "required", named[0], AllowedTools(tools=tuple(named), mode="required")])
    effort = draw(option(st.sampled_from(["none", "low", "xhigh"])))
    return Request(
        model="m",
        items=draw(conversations()),
        stream=True,
        include_usage=True,
        tools=tuple(offered),
        tool_choice=draw(option(choice)),
        parallel_tool_calls=draw(option(st.booleans())),
        output_format=draw(
            option(
                st.just("json_object")
                | st.builds(JSONSchemaFormat, name=names, schema=option(objects), strict=option(st.booleans()))
            )
        ),
        max_output_tokens=draw(option(st.integers(1, 9))),
        temperature=draw(option(st.sampled_from([0, 0.5, 1]))),
        stop=draw(option(words | st.lists(words, max_size=2).map(tuple))),
        seed=draw(option(st.integers(0, 9))),
        logprobs=True,
        top_logprobs=draw(option(st.integers(0, 5))),
        reasoning_effort=effort,
        reasoning_shown=UNSET if effort in (UNSET, "none") else True,
        metadata=draw(option(st.dictionaries(names, names, max_size=2))),
        store=draw(option(st.booleans())),
        user=draw(option(names)),
        n=draw(option(st.integers(1, 3))),
    )


@given(requests())
def test_a_request_that_is_written_and_read_is_the_same(request: Request) -> None:
    changes: list[Change] = []
    body = CODEC.encode_request(request, model="m", quirks=OPENAI, changes=changes)
    assert CODEC.decode_request(_json.decode(_json.encode(body))) == request
    assert changes == []


@given(requests())
def test_what_is_read_again_is_written_the_same(request: Request) -> None:
    first = CODEC.encode_request(request, model="m", quirks=OPENAI, changes=[])
    second = CODEC.encode_request(CODEC.decode_request(first), model="m", quirks=OPENAI, changes=[])
    assert _json.encode(first) == _json.encode(second)


@given(st.permutations(range(7)))
def test_tool_results_always_stand_behind_their_calls(order: list[int]) -> None:
    calls = [ToolCall(call_id=name, name="f", arguments="{}") for name in "abc"]
    results = [ToolResult(call_id=name, output=name) for name in "abc"]
    asked_between = Message(role="user", content=(Text(text="?"),))
    items: list[Item] = [*calls, *results, asked_between]
    shuffled = tuple(items[place] for place in order)
    messages = CODEC.encode_request(Request(model="m", items=shuffled), model="m", quirks=OPENAI, changes=[])[
        "messages"
    ]
    assert sum(message["role"] == "tool" for message in messages) == 3
    for place, item in enumerate(shuffled):
        if isinstance(item, ToolCall) and any(
            isinstance(later, ToolResult) and later.call_id == item.call_id for later in shuffled[place:]
        ):
            at = next(
                i for i, m in enumerate(messages) if any(c["id"] == item.call_id for c in m.get("tool_calls", ()))
            )
            run = []
            for message in messages[at + 1 :]:
                if message["role"] != "tool":
                    break
                run.append(message["tool_call_id"])
            assert item.call_id in run
