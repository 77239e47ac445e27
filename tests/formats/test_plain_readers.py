"""What is read quickly because most of it looks alike is read as everything else is, or not at all."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from aigateway import _json
from aigateway.errors import GatewayError
from aigateway.formats.chat.reply import decode_plain_reply, decode_reply
from aigateway.formats.responses.items import decode_item, plain_message
from aigateway.formats.responses.tools import decode_tools

ODD = st.sampled_from([None, "", "x", 0, -1, 7, 1.5, 2.0, True, [], [None], ["x"], {}, {"a": 1}])


def objects(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of these keys, each as it should be or of another type, and now and then one that nobody knows."""
    known = {key: st.one_of(values, values, values, ODD) for key, values in fields.items()}
    return st.fixed_dictionaries({}, optional=known | {"foreign": ODD})


TEXTS = st.text(max_size=6)
FUNCTIONS = objects(name=TEXTS, arguments=st.sampled_from(["{}", '{"a": 1}', '{"a"', ""]))
CALLS = objects(id=TEXTS, type=st.just("function"), function=FUNCTIONS, custom=objects(name=TEXTS, input=TEXTS))
COUNTS = st.integers(0, 9)
USAGES = objects(
    prompt_tokens=COUNTS,
    completion_tokens=COUNTS,
    total_tokens=st.integers(0, 18),
    prompt_tokens_details=objects(cached_tokens=COUNTS, audio_tokens=COUNTS),
    completion_tokens_details=objects(reasoning_tokens=COUNTS),
    cached_tokens=COUNTS,
)
MESSAGES = objects(
    role=st.just("assistant"),
    content=TEXTS,
    refusal=st.none(),
    annotations=st.just([]),
    tool_calls=st.lists(CALLS, max_size=2),
    reasoning_content=TEXTS,
    reasoning=TEXTS,
    reasoning_details=st.just([]),
    audio=st.none(),
)
CHOICES = objects(
    index=st.just(0),
    message=MESSAGES,
    finish_reason=st.sampled_from(["stop", "length", "tool_calls", "error", "eos"]),
    logprobs=st.none(),
)
COMPLETIONS = objects(
    id=TEXTS,
    model=TEXTS,
    created=st.integers(0, 10**10),
    choices=st.lists(CHOICES, max_size=2),
    usage=USAGES,
    service_tier=TEXTS,
    system_fingerprint=TEXTS,
    error=st.none(),
)


@given(COMPLETIONS)
def test_a_completion_is_read_quickly_as_it_is_slowly(body: dict[str, Any]) -> None:
    quickly = decode_plain_reply(_json.encode(body))
    if quickly is not None:
        assert quickly == decode_reply(_json.decode(_json.encode(body)))


def test_completions_as_most_are_are_read_quickly() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages: list[dict[str, Any]] = [
        {"role": "assistant", "content": "Hi.", "refusal": None, "annotations": []},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "assistant", "content": "Hi.", "reasoning_content": "Hm.", "tool_calls": []},
    ]
    for message in messages:
        usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        body = {"id": "x", "created": 1, "model": "m", "choices": [choice], "usage": usage, "service_tier": None}
        assert decode_plain_reply(_json.encode(body)) == decode_reply(body)


PARTS = objects(type=st.sampled_from(["input_text", "output_text", "text"]), text=TEXTS)
ITEMS = objects(
    type=st.just("message"),
    role=st.sampled_from(["user", "assistant", "system", "developer", "tool"]),
    content=st.one_of(TEXTS, st.lists(PARTS, max_size=2)),
)


@given(ITEMS)
def test_a_message_is_read_quickly_as_it_is_slowly(raw: dict[str, Any]) -> None:
    quickly = plain_message(raw)
    if quickly is not None:
        assert quickly == decode_item(raw, "input[0]")


def test_messages_as_most_are_are_read_quickly() -> None:
    for raw in (
        {"role": "user", "content": "Hi."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi."}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Hi."}]},
    ):
        assert plain_message(raw) == decode_item(raw, "input[0]")


TOOLS = objects(
    name=TEXTS,
    description=st.one_of(TEXTS, st.none()),
    parameters=st.just({"type": "object"}),
    strict=st.booleans(),
)


@given(TOOLS)
def test_a_function_is_read_with_keys_that_nobody_knows_as_it_is_without(tool: dict[str, Any]) -> None:
    tool = {"type": "function", **{key: value for key, value in tool.items() if key != "foreign"}}

    def read(raw: dict[str, Any]) -> Any:
        try:
            (found,) = decode_tools([raw], "tools")
        except GatewayError as error:
            return error.message
        extra = {key: None for key, value in raw.items() if value is None}
        fields: Any = getattr(found, "extra", None) or None
        assert (fields.fields if fields else {}) == extra | ({"foreign": 1} if "foreign" in raw else {})
        return msgspec.structs.replace(found, extra=msgspec.UNSET)

    assert read(tool) == read(tool | {"foreign": 1})
