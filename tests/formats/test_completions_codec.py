"""Completions: requests as other APIs serve them, and replies read and written."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from aigateway.canonical.quirks import Quirks
from aigateway.canonical.types import Change, Message, Text
from aigateway.errors import InvalidRequestError, UnsupportedError, UpstreamError, UpstreamProtocolError
from aigateway.formats import CODECS
from aigateway.formats.completions.codec import CompletionsCodec
from aigateway.formats.completions.lens import CompletionsEvent, CompletionsReply, CompletionsRequest
from tests.formats.test_completions_laws import context

CODEC = CompletionsCodec()
Object = dict[str, Any]

KNOBS: Object = {
    "temperature": 0.5,
    "top_p": 0.9,
    "presence_penalty": 1,
    "frequency_penalty": -1,
    "stop": ["a", "b"],
    "seed": 7,
    "logit_bias": {"50256": -100},
    "user": "u",
}


def sent(api: str, **fields: Any) -> tuple[Object, list[str]]:
    """What an upstream of this API is asked, and the codes of what it is not told."""
    changes: list[Change] = []
    request = CODEC.decode_request({"model": "m", "prompt": "Once", **fields})
    quirks = Quirks(max_tokens="max_completion_tokens")
    return CODECS[api].encode_request(request, model="up", quirks=quirks, changes=changes), [
        change.code for change in changes
    ]


@pytest.mark.parametrize("prompt", ["Once", ["Once"]], ids=["text", "array of one"])
def test_a_prompt_is_the_message_of_a_user(prompt: Any) -> None:
    assert CODEC.decode_request({"prompt": prompt}).items == (Message(role="user", content=(Text(text="Once"),)),)


def test_chat_is_told_every_knob() -> None:
    body, changes = sent("chat", max_tokens=5, logprobs=2, stream=True, stream_options={"include_usage": True}, **KNOBS)
    assert body == {
        "model": "up",
        "messages": [{"role": "user", "content": "Once"}],
        "max_completion_tokens": 5,
        "logprobs": True,
        "top_logprobs": 2,
        "stream": True,
        "stream_options": {"include_usage": True},
        **KNOBS,
    }
    assert changes == []


def test_responses_are_told_what_they_have_and_the_rest_is_listed() -> None:
    body, changes = sent("responses", max_tokens=50, logprobs=2, top_k=3, **KNOBS)
    assert body["max_output_tokens"] == 50
    assert (body["top_logprobs"], body["include"]) == (2, ["message.output_text.logprobs"])
    assert (body["temperature"], body["top_p"], body["user"]) == (0.5, 0.9, "u")
    assert sorted(changes) == [
        "dropped:frequency_penalty",
        "dropped:logit_bias",
        "dropped:presence_penalty",
        "dropped:seed",
        "dropped:stop",
        "dropped:top_k",
    ]


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_choosing_the_best_of_several_is_dropped_and_listed(api: str) -> None:
    assert sent(api, best_of=3)[1] == ["dropped:best_of"]


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_what_asks_for_nothing_is_not_sent_and_no_change(api: str) -> None:
    idle: Object = dict.fromkeys(("max_tokens", "logprobs", "seed", "user"))
    plain, _ = sent(api)
    assert sent(api, best_of=1, n=1, suffix="", echo=False, **idle) == (plain, [])


def test_the_probability_of_the_chosen_token_alone_is_asked_for_without_others() -> None:
    body, _ = sent("chat", logprobs=0)
    assert (body["logprobs"], "top_logprobs" in body) == (True, False)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"prompt": ["a", "b"]}, "prompt", "unsupported_content"),
        ({"prompt": [1, 2]}, "prompt", "unsupported_content"),
        ({"prompt": [[1, 2]]}, "prompt", "unsupported_content"),
        ({"suffix": "the end"}, "suffix", "unsupported_parameter"),
        ({"n": 2}, "n", "unsupported_parameter"),
        ({"max_tokens": 0}, "max_tokens", "unsupported_parameter"),
        ({"echo": True, "logprobs": 1}, "echo", "unsupported_parameter"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_only_completions_can_do_is_refused_by_name(fields: Object, param: str, code: str) -> None:
    with pytest.raises(UnsupportedError) as refused:
        CODEC.decode_request({"model": "m", "prompt": "Once", **fields})
    assert (refused.value.status, refused.value.param, refused.value.code) == (400, param, code)
    assert "route the model to a provider that speaks the Completions API" in refused.value.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"logprobs": True}, "logprobs"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"stop": 5}, "stop"),
        ({"echo": "yes"}, "echo"),
        ({"suffix": 1}, "suffix"),
        ({"stream_options": []}, "stream_options"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ],
    ids=str,
)
def test_a_field_of_another_type_is_named(fields: Object, param: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        CODEC.decode_request({"model": "m", "prompt": "Once", **fields})
    assert refused.value.param == param


LOGPROBS: Object = {
    "tokens": ["a", "b"],
    "token_logprobs": [None, -1.5],
    "top_logprobs": [None, {"c": -0.5, "b": -1.5}],
    "text_offset": [0, 1],
}
COMPLETION: Object = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 3,
    "model": "m",
    "choices": [{"text": "ab", "index": 0, "logprobs": LOGPROBS, "finish_reason": "length"}],
}


def test_a_completion_that_is_read_and_written_is_the_same() -> None:
    assert CODEC.encode_reply(CODEC.decode_reply(COMPLETION), context()) == COMPLETION


def test_tokens_in_the_form_of_chat_are_read_too() -> None:
    token = {"token": "ab", "logprob": -1.0, "bytes": [97, 98], "top_logprobs": []}
    choice = {"text": "ab", "index": 0, "logprobs": {"content": [token]}, "finish_reason": "stop"}
    (item,) = CODEC.decode_reply({"choices": [choice]}).items
    assert item == Message(role="assistant", content=(Text(text="ab", logprobs=(token,)),))


def test_a_character_spread_over_tokens_counts_once() -> None:
    raw = list("\N{GRINNING FACE}".encode())
    pieces = [{"token": f"\\x{byte:x}", "logprob": -1.0, "bytes": [byte]} for byte in raw]
    tokens = (*pieces, {"token": "!", "logprob": -1.0, "bytes": [33]})
    message = Message(role="assistant", content=(Text(text="\N{GRINNING FACE}!", logprobs=tokens),))
    reply = CODEC.decode_reply(COMPLETION)
    told = CODEC.encode_reply(type(reply)(id="", model="m", created_at=1, items=(message,)), context())
    assert told["choices"][0]["logprobs"]["text_offset"] == [0, 0, 0, 0, 1]
    assert told["id"] == "cmpl-new"


def test_a_reply_of_its_own_api_has_the_echo_in_it_already() -> None:
    body = {"prompt": "Once", "echo": True}
    reply = CODEC.decode_reply(COMPLETION)
    own = context(body)
    own.translated = False
    assert CODEC.encode_reply(reply, own)["choices"][0]["text"] == "ab"
    assert CODEC.encode_reply(reply, context(body))["choices"][0]["text"] == "Onceab"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, UpstreamProtocolError),
        ({"choices": []}, UpstreamProtocolError),
        ({"choices": [{"message": {"content": "hi"}}]}, UpstreamProtocolError),
        ({"choices": [{"text": "a"}, {"text": "b"}]}, UpstreamProtocolError),
        ({"choices": [{"text": "a", "finish_reason": "error"}]}, UpstreamError),
        ({"error": {"message": "no", "code": 429}}, UpstreamError),
    ],
    ids=str,
)
def test_what_is_no_completion_is_the_fault_of_the_upstream(body: Object, error: type[UpstreamError]) -> None:
    with pytest.raises(error):
        CODEC.decode_reply(body)


def test_a_request_is_read_and_edited_through_its_lens() -> None:
    lens = CompletionsRequest(b'{"model":"m","prompt":["a",[1,2],"b"],"suffix":"z","max_tokens":3}')
    assert (lens.texts(), lens.max_output_tokens, lens.instructions) == (["a", "b", "z"], 3, "")
    lens.map_texts(str.upper)
    lens.max_output_tokens = 9
    assert lens.body == {"model": "m", "prompt": ["A", [1, 2], "B"], "suffix": "Z", "max_tokens": 9}
    assert CompletionsRequest(b'{"prompt":"a"}').max_output_tokens is None
    with pytest.raises(AttributeError):
        lens.instructions = "Be brief."


def test_a_reply_is_read_and_edited_through_its_lens() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    lens = CompletionsReply({**COMPLETION, "choices": [*COMPLETION["choices"], {"text": "z"}], "usage": usage})
    assert (lens.texts(), lens.finish_reason) == (["ab", "z"], "length")
    assert lens.usage is not None
    assert lens.usage.total_tokens == 3
    assert CompletionsReply({"choices": []}).finish_reason is None


def test_an_event_is_read_and_edited_through_its_lens() -> None:
    lens = CompletionsEvent({"choices": [{"text": "a", "index": 1}, {"text": "b"}, {"text": ""}]})
    assert (lens.type, lens.text, lens.usage) == ("text_completion", "a", None)
    lens.map_texts(str.upper)
    assert [choice["text"] for choice in lens.body["choices"]] == ["A", "B", ""]
    lens.text = "c"
    assert lens.text == "c"
    silent = CompletionsEvent({"choices": []})
    assert (silent.text, CompletionsEvent({"error": {"message": "no"}}).type) == ("", "error")
    with pytest.raises(AttributeError):
        silent.text = "d"


def test_there_is_no_place_but_the_prompt() -> None:
    request = CODEC.decode_request({"prompt": "Once"})
    assert CODEC.place_of(request, request.items[0]) == "prompt"
    assert request.top_logprobs is UNSET
