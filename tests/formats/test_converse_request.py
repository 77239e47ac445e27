"""Requests in Converse: what is sent, what is listed, what is refused; AWS's own description of the API is the judge."""

from __future__ import annotations

import base64
import copy
from functools import cache
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from aigateway.canonical.quirks import Quirks
from aigateway.canonical.types import Change, Message, Reasoning, Request, Text, ToolCall, ToolResult
from aigateway.canonical.uncarried import UncarriedError
from aigateway.errors import UnsupportedError
from aigateway.formats import CODECS, FORMATS, UPSTREAM_CODECS
from aigateway.formats.converse.wire import maker_of

Object = dict[str, Any]

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
OLD_CLAUDE = "anthropic.claude-3-7-sonnet-20250219-v1:0"
NEW_CLAUDE = "global.anthropic.claude-opus-4-6-v1"
NOVA = "us.amazon.nova-2-lite-v1:0"
GPT = "openai.gpt-oss-120b-1:0"
LLAMA = "us.meta.llama4-maverick-17b-instruct-v1:0"
PROFILE = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/abc123"
PIXEL = base64.b64encode(b"\x89PNG").decode()
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def sent(body: Object, model: str = CLAUDE, api: str = "chat") -> tuple[Object, list[str]]:
    """What a caller's request becomes, and the codes of what changed."""
    return encoded(CODECS[api].decode_request({"model": "m", **body}), model)


def encoded(request: Request, model: str = CLAUDE) -> tuple[Object, list[str]]:
    changes: list[Change] = []
    body = UPSTREAM_CODECS["converse"].encode_request(request, model=model, quirks=Quirks(), changes=changes)
    check_against_aws(body, model)
    return body, [change.code for change in changes]


@cache
def _input_shape() -> Any:
    return botocore.session.Session().get_service_model("bedrock-runtime").operation_model("Converse").input_shape


def check_against_aws(body: Object, model: str) -> None:
    """Fail where the body is not what AWS describes. Its blobs are bytes, ours are base64 already."""
    report = ParamValidator().validate({"modelId": model, **copy.deepcopy(body)}, _input_shape())
    assert not report.has_errors(), report.generate_report()


def ask(*messages: Object, **more: Any) -> Object:
    return {"messages": list(messages) or [{"role": "user", "content": "hi"}], **more}


def user(content: Any) -> Object:
    return {"role": "user", "content": content}


# messages


def test_a_conversation_has_a_system_and_roles_that_alternate() -> None:
    body, changes = sent(
        ask(
            {"role": "system", "content": "be brief"},
            {"role": "developer", "content": "and kind"},
            user("one"),
            user("two"),
            {"role": "assistant", "content": "three"},
            user([{"type": "text", "text": "four"}, {"type": "text", "text": "five"}]),
        )
    )
    assert body == {
        "system": [{"text": "be brief"}, {"text": "and kind"}],
        "messages": [
            {"role": "user", "content": [{"text": "one"}, {"text": "two"}]},
            {"role": "assistant", "content": [{"text": "three"}]},
            {"role": "user", "content": [{"text": "four"}, {"text": "five"}]},
        ],
    }
    assert changes == []


def test_a_system_message_within_the_conversation_keeps_its_place() -> None:
    body, changes = sent(ask(user("one"), {"role": "system", "content": "now in French"}, user("two")))
    assert body["messages"] == [
        {"role": "user", "content": [{"text": "one"}, {"text": "now in French"}, {"text": "two"}]}
    ]
    assert (body.get("system"), changes) == (None, ["changed:messages"])


@pytest.mark.parametrize("messages", [[{"role": "system", "content": "x"}], [{"role": "assistant", "content": "x"}]])
def test_a_user_begins(messages: list[Object]) -> None:
    body, changes = sent(ask(*messages))
    assert body["messages"][0] == {"role": "user", "content": [{"text": "."}]}
    assert changes == ["changed:input"]


def test_blank_texts_are_left_out() -> None:
    body, changes = sent(ask(user("one"), {"role": "assistant", "content": ""}, user(" \n"), user("two")))
    assert body["messages"] == [{"role": "user", "content": [{"text": "one"}, {"text": "two"}]}]
    assert changes == ["changed:input"]


def test_parallel_calls_and_their_results_stand_in_one_message_each() -> None:
    call = {"type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}
    body, changes = sent(
        ask(
            user("?"),
            {"role": "assistant", "content": None, "tool_calls": [{"id": "a", **call}, {"id": "b", **call}]},
            {"role": "tool", "tool_call_id": "a", "content": "warm"},
            {"role": "tool", "tool_call_id": "b", "content": ""},
            user("and?"),
            tools=[WEATHER],
        )
    )
    use = {"name": "weather", "input": {"city": "Rome"}}
    assert body["messages"][1]["content"] == [
        {"toolUse": {"toolUseId": "a", **use}},
        {"toolUse": {"toolUseId": "b", **use}},
    ]
    assert body["messages"][2] == {
        "role": "user",
        "content": [
            {"toolResult": {"toolUseId": "a", "content": [{"text": "warm"}]}},
            {"toolResult": {"toolUseId": "b", "content": [{"text": "(no output)"}]}},
            {"text": "and?"},
        ],
    }
    assert changes == ["changed:input"]


def test_a_result_that_comes_late_moves_behind_its_call() -> None:
    items = (
        Message(role="user", content=(Text(text="?"),)),
        ToolCall(call_id="a", name="weather"),
        Message(role="user", content=(Text(text="well?"),)),
        Message(role="assistant", content=(Text(text="soon"),)),
        ToolResult(call_id="a", output="warm", is_error=True),
    )
    body, changes = encoded(Request(model="m", items=items))
    result = {"toolResult": {"toolUseId": "a", "content": [{"text": "warm"}], "status": "error"}}
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user", "assistant"]
    assert body["messages"][2]["content"] == [result, {"text": "well?"}]
    assert changes == ["changed:input", "changed:tools"]


def test_ids_and_arguments_that_bedrock_refuses_are_made_fit() -> None:
    items = (
        Message(role="user", content=(Text(text="?"),)),
        ToolCall(call_id="call one", name="weather", arguments="not json"),
        ToolResult(call_id="call one", output="warm"),
    )
    body, changes = encoded(Request(model="m", items=items))
    use = body["messages"][1]["content"][0]["toolUse"]
    assert use["input"] == {"arguments": "not json"}
    assert use["toolUseId"] == body["messages"][2]["content"][0]["toolResult"]["toolUseId"]
    assert "changed:tool_calls.arguments" in changes


# media


def test_images_documents_and_audio_are_blocks() -> None:
    body, changes = sent(
        ask(
            user(
                [
                    {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{PIXEL}", "detail": "auto"}},
                    {"type": "image_url", "image_url": {"url": "s3://bucket/cat.webp"}},
                    {
                        "type": "file",
                        "file": {"filename": "my_report (1).pdf", "file_data": f"data:application/pdf;base64,{PIXEL}"},
                    },
                    {"type": "file", "file": {"filename": "my_report (1).md", "file_data": PIXEL}},
                    {"type": "file", "file": {"filename": "clip.mp4", "file_data": f"data:video/mp4;base64,{PIXEL}"}},
                    {"type": "input_audio", "input_audio": {"data": PIXEL, "format": "wav"}},
                ]
            )
        )
    )
    bytes_ = {"bytes": PIXEL}
    assert body["messages"][0]["content"] == [
        {"image": {"format": "jpeg", "source": bytes_}},
        {"image": {"format": "webp", "source": {"s3Location": {"uri": "s3://bucket/cat.webp"}}}},
        {"document": {"name": "my report (1)", "format": "pdf", "source": bytes_}},
        {"document": {"name": "my report (1) 2", "format": "md", "source": bytes_}},
        {"video": {"format": "mp4", "source": bytes_}},
        {"audio": {"format": "wav", "source": bytes_}},
    ]
    assert changes == []


def test_an_image_in_a_result_stays_there() -> None:
    item = {
        "type": "function_call_output",
        "call_id": "a",
        "output": [{"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"}],
    }
    call = {"type": "function_call", "call_id": "a", "name": "look", "arguments": "{}"}
    body, _ = sent({"input": [{"role": "user", "content": "?"}, call, item]}, api="responses")
    assert body["messages"][2]["content"][0]["toolResult"]["content"] == [
        {"image": {"format": "png", "source": {"bytes": PIXEL}}}
    ]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}, "by its URL"),
        ({"type": "image_url", "image_url": {"url": "data:image/bmp;base64,AA=="}}, "image/bmp"),
        ({"type": "image_url", "image_url": {"url": f"data:application/pdf;base64,{PIXEL}"}}, "application/pdf"),
        ({"type": "file", "file": {"file_id": "file-1"}}, "by file id"),
        ({"type": "file", "file": {"filename": "a.exe", "file_data": PIXEL}}, "ends in .exe"),
        ({"type": "input_audio", "input_audio": {"data": PIXEL, "format": "midi"}}, "format midi"),
    ],
    ids=["image URL", "image type", "no image", "file id", "file type", "audio type"],
)  # fmt: skip
def test_content_that_converse_cannot_hold_is_refused(part: Object, words: str) -> None:
    with pytest.raises(UncarriedError, match=words) as caught:
        sent(ask(user([part])))
    assert (caught.value.status, caught.value.code) == (400, "unsupported_content")


def test_a_cache_breakpoint_is_a_cache_point_behind_its_part() -> None:
    text = {"type": "text", "text": "long", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "1h"}}
    body, changes = sent(ask({"role": "system", "content": [text]}, user([text, {"type": "text", "text": "?"}])))
    point = {"cachePoint": {"type": "default", "ttl": "1h"}}
    assert body["system"] == [{"text": "long"}, point]
    assert body["messages"][0]["content"] == [{"text": "long"}, point, {"text": "?"}]
    assert changes == []


# reasoning

SIGNED = Reasoning(content=("thought",), signature="sig==", origin="anthropic")
SEALED = Reasoning(encrypted="c2VhbGVk", origin="anthropic")


@pytest.mark.parametrize("model", [CLAUDE, PROFILE])
def test_signed_and_sealed_reasoning_goes_back_byte_for_byte(model: str) -> None:
    items = (
        Message(role="user", content=(Text(text="?"),)),
        SIGNED,
        SEALED,
        Message(role="assistant", content=(Text(text="!"),)),
    )
    body, changes = encoded(Request(model="m", items=items), model)
    assert body["messages"][1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "thought", "signature": "sig=="}}},
        {"reasoningContent": {"redactedContent": "c2VhbGVk"}},
        {"text": "!"},
    ]
    assert changes == []


@pytest.mark.parametrize(
    ("thought", "model"),
    [(SIGNED, NOVA), (Reasoning(encrypted="x", origin="openai"), CLAUDE), (Reasoning(content=("t",)), CLAUDE),
     (Reasoning(content=("t",), signature="s", origin="google"), CLAUDE)],
    ids=["another model", "another maker", "unsigned", "foreign signature"],
)  # fmt: skip
def test_other_reasoning_is_set_aside_and_listed(thought: Reasoning, model: str) -> None:
    items = (
        Message(role="user", content=(Text(text="?"),)),
        thought,
        Message(role="assistant", content=(Text(text="!"),)),
    )
    body, changes = encoded(Request(model="m", items=items), model)
    assert body["messages"][1]["content"] == [{"text": "!"}]
    assert changes == ["dropped:reasoning"]


ENABLED = {"thinking": {"type": "enabled", "budget_tokens": 8192}}


@pytest.mark.parametrize(
    ("knobs", "model", "fields", "changed"),
    [
        ({"reasoning_effort": "medium"}, CLAUDE, ENABLED, []),
        ({"reasoning_effort": "medium", "max_tokens": 4096}, CLAUDE,
         {"thinking": {"type": "enabled", "budget_tokens": 3584}}, []),
        ({"reasoning_effort": "medium", "max_tokens": 500}, CLAUDE, None, ["dropped:reasoning_effort"]),
        ({"reasoning_effort": "medium", "temperature": 0.2}, CLAUDE, ENABLED, ["dropped:temperature"]),
        ({"reasoning_effort": "high", "tools": [WEATHER], "tool_choice": "required"}, CLAUDE, None,
         ["dropped:reasoning_effort"]),
        ({"reasoning_effort": "none"}, CLAUDE, None, []),
        ({"reasoning_effort": "high"}, NEW_CLAUDE, {"thinking": {"type": "adaptive"}}, []),
        ({"reasoning_effort": "minimal"}, GPT, {"reasoning_effort": "low"}, []),
        ({"reasoning_effort": "low"}, NOVA, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}, []),
        ({"reasoning_effort": "low"}, LLAMA, None, ["dropped:reasoning_effort"]),
    ],
    ids=["budget", "within the limit", "no room", "no sampling", "forced tool", "none", "adaptive", "gpt-oss", "nova", "llama"],
)  # fmt: skip
def test_reasoning_effort_is_told_as_the_maker_of_the_model_wants_it(
    knobs: Object, model: str, fields: Object | None, changed: list[str]
) -> None:
    body, changes = sent(ask(**knobs), model)
    assert (body.get("additionalModelRequestFields"), changes) == (fields, changed)
    assert body.get("outputConfig") == ({"effort": "high"} if model == NEW_CLAUDE else None)


def test_a_budget_is_told_as_it_is_or_as_an_effort() -> None:
    items = (Message(role="user", content=(Text(text="hi"),)),)
    body, _ = encoded(Request(model="m", items=items, reasoning_budget=5000))
    assert body["additionalModelRequestFields"]["thinking"]["budget_tokens"] == 5000
    body, _ = encoded(Request(model="m", items=items, reasoning_budget=5000), NEW_CLAUDE)
    assert body["outputConfig"] == {"effort": "medium"}
    body, changes = encoded(Request(model="m", items=items, reasoning_budget=-1), NEW_CLAUDE)
    assert (body.get("outputConfig"), changes) == (None, [])


@pytest.mark.parametrize(
    ("thought", "model", "changed"),
    [
        (SIGNED, CLAUDE, []),
        (Reasoning(content=("t",)), CLAUDE, ["dropped:reasoning", "dropped:reasoning_effort"]),
        (Reasoning(content=("t",)), NEW_CLAUDE, ["dropped:reasoning"]),
    ],
    ids=["own thought", "no thought", "adaptive"],
)
def test_thinking_goes_on_after_calls_only_where_the_thought_is_there(
    thought: Reasoning, model: str, changed: list[str]
) -> None:
    items = (
        Message(role="user", content=(Text(text="?"),)),
        thought,
        ToolCall(call_id="a", name="weather", arguments="{}"),
        ToolResult(call_id="a", output="warm"),
    )
    body, changes = encoded(Request(model="m", items=items, reasoning_effort="low"), model)
    assert [code for code in changes if code.startswith("dropped")] == changed
    assert ("additionalModelRequestFields" in body) is ("dropped:reasoning_effort" not in changed)


def test_a_temperature_that_converse_has_not_is_the_highest() -> None:
    body, changes = sent(ask(temperature=1.7))
    assert (body["inferenceConfig"], changes) == ({"temperature": 1.0}, ["changed:temperature"])


# tools

SPEC = {"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object", "properties": {}}}}}
PAST = [
    user("?"),
    {
        "role": "assistant",
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "a", "content": "warm"},
]


@pytest.mark.parametrize(
    ("choice", "expected", "changed"),
    [
        (None, {"tools": [SPEC]}, []),
        ("auto", {"tools": [SPEC]}, []),
        ("required", {"tools": [SPEC], "toolChoice": {"any": {}}}, []),
        ({"type": "function", "function": {"name": "weather"}}, {"tools": [SPEC], "toolChoice": {"tool": {"name": "weather"}}}, []),
        ("none", None, ["changed:tool_choice"]),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "weather"}}]}},
            {"tools": [SPEC], "toolChoice": {"any": {}}},
            ["changed:tool_choice"],
        ),
    ],
    ids=["unset", "auto", "required", "named", "none", "allowed"],
)  # fmt: skip
def test_tools_and_the_choice_among_them(choice: Any, expected: Object | None, changed: list[str]) -> None:
    body, changes = sent(ask(tools=[WEATHER], **({} if choice is None else {"tool_choice": choice})))
    assert (body.get("toolConfig"), changes) == (expected, changed)


def test_tools_that_may_not_be_called_are_told_where_calls_stand_in_the_conversation() -> None:
    body, changes = sent(ask(*PAST, tools=[WEATHER], tool_choice="none"))
    assert (body["toolConfig"], changes) == ({"tools": [SPEC]}, ["changed:tool_choice"])


def test_tools_of_earlier_calls_are_told_where_the_request_has_none() -> None:
    body, changes = sent(ask(*PAST))
    assert [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]] == ["weather"]
    assert changes == ["changed:tools"]


@pytest.mark.parametrize(
    ("model", "strict", "changed"), [(CLAUDE, True, []), (OLD_CLAUDE, None, ["changed:tools.strict"])]
)
def test_strict_reaches_the_models_that_take_it(model: str, strict: bool | None, changed: list[str]) -> None:
    tool = {"type": "function", "function": {**WEATHER["function"], "strict": True, "description": ""}}  # type: ignore[dict-item]
    body, changes = sent(ask(tools=[tool]), model)
    assert (body["toolConfig"]["tools"][0]["toolSpec"].get("strict"), changes) == (strict, changed)


def test_a_custom_tool_is_a_function_of_one_text() -> None:
    body, changes = sent(ask(tools=[{"type": "custom", "custom": {"name": "patch"}}]))
    assert body["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"]["json"]["required"] == ["input"]
    assert changes == ["changed:tools"]


@pytest.mark.parametrize("more", [{"tool_choice": "required"}, {"n": 2}, {"modalities": ["text", "audio"]}])
def test_what_cannot_be_left_out_is_refused(more: Object) -> None:
    with pytest.raises(UnsupportedError) as caught:
        sent(ask(**more))
    assert caught.value.param in more


# knobs


def test_knobs_stand_where_converse_has_them() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    body, changes = sent(
        ask(
            max_tokens=100, temperature=0.5, top_p=0.9, stop=["END", ""], service_tier="flex", metadata={"team": "a b"},
            response_format={"type": "json_schema", "json_schema": {"name": "Thing", "schema": schema}},
            guardrailConfig={"guardrailIdentifier": "abcdef", "guardrailVersion": "DRAFT", "trace": "enabled"},
            additionalModelRequestFields={"top_a": 1}, reasoning_effort="low",
        ),
        NEW_CLAUDE,
    )  # fmt: skip
    assert body["inferenceConfig"] == {"maxTokens": 100, "stopSequences": ["END"]}
    assert body["serviceTier"] == {"type": "flex"}
    assert body["requestMetadata"] == {"team": "a b"}
    assert body["guardrailConfig"]["guardrailVersion"] == "DRAFT"
    assert body["additionalModelRequestFields"] == {"thinking": {"type": "adaptive"}, "top_a": 1}
    given = {"name": "Thing", "schema": '{"type":"object","properties":{"a":{"type":"string"}}}'}
    assert body["outputConfig"] == {
        "effort": "low",
        "textFormat": {"type": "json_schema", "structure": {"jsonSchema": given}},
    }
    assert changes == ["dropped:temperature", "dropped:top_p"]


def test_knobs_that_converse_lacks_are_listed() -> None:
    body, changes = sent(
        ask(
            seed=1, user="u", logprobs=True, top_logprobs=2, parallel_tool_calls=False, store=True, service_tier="scale",
            response_format={"type": "json_object"}, metadata={"é": "x"}, wild=1, logit_bias={"1": 1},
        )
    )  # fmt: skip
    assert set(body) == {"messages"}
    assert set(changes) == {
        f"dropped:{name}"
        for name in ("seed", "user", "logprobs", "top_logprobs", "parallel_tool_calls", "store", "service_tier",
                     "response_format", "metadata", "wild", "logit_bias")
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "fields", "changed"),
    [(CLAUDE, {"top_k": 5}, []), (NOVA, {"inferenceConfig": {"topK": 5}}, []), (LLAMA, None, ["dropped:top_k"])],
)
def test_top_k_is_told_as_the_maker_wants_it(model: str, fields: Object | None, changed: list[str]) -> None:
    items = (Message(role="user", content=(Text(text="hi"),)),)
    body, changes = encoded(Request(model="m", items=items, top_k=5), model)
    assert (body.get("additionalModelRequestFields"), changes) == (fields, changed)


@pytest.mark.parametrize(
    ("model", "maker"),
    [
        (CLAUDE, "anthropic"), (OLD_CLAUDE, "anthropic"), (NOVA, "amazon"), (GPT, "openai"), (LLAMA, "meta"), (PROFILE, ""),
        (f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{CLAUDE}", "anthropic"),
        ("arn:aws:bedrock:us-east-1::foundation-model/mistral.mistral-large-2402-v1:0", "mistral"), ("house-model", "other"),
    ],
)  # fmt: skip
def test_the_maker_is_read_off_the_model(model: str, maker: str) -> None:
    assert maker_of(model) == maker


@pytest.mark.parametrize("stream", [False, True])
def test_the_model_is_one_segment_of_the_path(stream: bool) -> None:
    path = FORMATS["converse"].path
    assert path is not None
    end = "converse-stream" if stream else "converse"
    assert path(CLAUDE, stream) == f"/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/{end}"
    assert path(PROFILE, stream).count("/") == 3


@pytest.mark.parametrize(
    ("model", "point", "codes"),
    [
        (CLAUDE, {"type": "default", "ttl": "1h"}, ["dropped:cache_control"]),
        (OLD_CLAUDE, {"type": "default"}, ["dropped:cache_control.ttl", "dropped:cache_control"]),
        (NOVA, None, ["dropped:cache_control"]),
        (PROFILE, None, ["dropped:cache_control"]),
    ],
)
def test_marks_of_anthropics_are_cache_points_where_the_model_takes_them(
    model: str, point: Object | None, codes: list[str]
) -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    call = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
    words = {"type": "text", "text": "42"}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [words | {"cache_control": mark}]}
    body, found = sent(
        {
            "max_tokens": 9,
            "system": [{"type": "text", "text": "Be brief.", "cache_control": mark}],
            "tools": [{"name": "f", "input_schema": {"type": "object"}, "cache_control": mark}],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": mark}]},
                {"role": "assistant", "content": [call | {"cache_control": mark}]},
                {"role": "user", "content": [result | {"cache_control": mark}]},
            ],
        },
        model,
        "messages",
    )
    points = [] if point is None else [{"cachePoint": point}]
    assert body["system"][1:] == points
    assert body["toolConfig"]["tools"][1:] == points
    assert [message["content"][1:] for message in body["messages"]] == [points] * 3
    assert [code for code in found if "cache" in code] == codes
