"""What a request or an answer loses on its way to another API is listed, and what the other API has the like of is carried."""

from __future__ import annotations

from typing import Any

import pytest

from aigateway.fidelity import Direction
from tests.fidelity.crossing import Crossed, cross
from tests.fidelity.paths import values

Object = dict[str, Any]

PICTURE = "data:image/png;base64,AA=="
MARK: Object = {"prompt_cache_breakpoint": {"mode": "explicit"}}
SCHEMA: Object = {"type": "object", "properties": {}}


def asked(api: str, other: str, body: Object) -> Crossed:
    """What becomes of a request."""
    return cross(Direction(api, "request", other), body)


def chat(*parts: Object, name: str | None = None, **more: Any) -> Object:
    message: Object = {"role": "user", "content": list(parts) or "Hello."}
    return {"model": "m", "messages": [message if name is None else message | {"name": name}], **more}


def contents(*parts: Object, role: str = "user", **more: Any) -> Object:
    return {"contents": [{"role": "user", "parts": [{"text": "Hello."}]}, {"role": role, "parts": [*parts]}], **more}


def told(body: Object) -> Object:
    return {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello."}], **body}


FUNCTION: Object = {"name": "f", "parameters": SCHEMA}


@pytest.mark.parametrize(
    ("api", "other", "body", "code"),
    [
        ("chat", "generate_content", chat(name="ann"), "dropped:name"),
        ("chat", "generate_content", chat({"type": "text", "text": "?", **MARK}), "dropped:prompt_cache_breakpoint"),
        (
            "chat",
            "generate_content",
            chat({"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}}),
            "dropped:detail",
        ),
        ("chat", "generate_content", chat({"type": "text", "text": "?", "mood": "good"}), "dropped:mood"),
        ("chat", "generate_content", chat(web_search_options={}), "dropped:web_search"),
        ("chat", "generate_content", chat(prompt_cache_options={"mode": "explicit"}), "dropped:prompt_cache_options"),
        (
            "chat",
            "generate_content",
            chat(tools=[{"type": "function", "function": FUNCTION | {"strict": True}}]),
            "changed:tools.strict",
        ),
        ("chat", "converse", chat(name="ann"), "dropped:name"),
        (
            "chat",
            "messages",
            chat(tools=[{"type": "function", "function": FUNCTION | {"examples": [{}]}}]),
            "dropped:function.examples",
        ),
        (
            "generate_content",
            "chat",
            contents({"text": "?"}, generationConfig={"thinkingConfig": {"thinkingBudget": 0}}),
            "dropped:reasoning_budget",
        ),
        (
            "generate_content",
            "messages",
            contents({"functionCall": {"name": "f"}, "thoughtSignature": "c2ln"}, role="model"),
            "dropped:tool_calls.signature",
        ),
        (
            "generate_content",
            "chat",
            contents({"executableCode": {"code": "1"}}, {"text": "One."}, role="model"),
            "dropped:input",
        ),
        (
            "generate_content",
            "chat",
            contents(
                {"text": "?"},
                tools=[{"functionDeclarations": [{"name": "f"}]}],
                toolConfig={"functionCallingConfig": {"mode": "AUTO", "streamFunctionCallArguments": True}},
            ),
            "dropped:toolConfig.functionCallingConfig.streamFunctionCallArgum",
        ),
        (
            "generate_content",
            "chat",
            contents({"text": "?"}, systemInstruction={"parts": [{"text": "S", "partMetadata": {"a": 1}}]}),
            "dropped:systemInstruction.partMetadata",
        ),
    ],
)
def test_what_a_request_loses_is_listed(api: str, other: str, body: Object, code: str) -> None:
    assert code in asked(api, other, body).codes


@pytest.mark.parametrize(
    ("api", "other", "body", "place", "value"),
    [
        ("generate_content", "chat", contents({"text": "?"}, serviceTier="flex"), "service_tier", "flex"),
        ("chat", "generate_content", chat(service_tier="priority"), "serviceTier", "priority"),
        (
            "chat",
            "messages",
            chat(
                response_format={
                    "type": "json_schema",
                    "json_schema": {"name": "a", "description": "It.", "schema": SCHEMA},
                }
            ),
            "output_config.format.schema.description",
            "It.",
        ),
        (
            "generate_content",
            "chat",
            contents({"inlineData": {"mimeType": "audio/wav", "data": "AA==", "displayName": "a.wav"}}),
            "messages[user].content[input_audio].input_audio.format",
            "wav",
        ),
    ],
)
def test_what_the_other_api_has_the_like_of_is_carried(
    api: str, other: str, body: Object, place: str, value: str
) -> None:
    assert values(asked(api, other, body).document, place) == [value]


def test_a_block_that_is_told_as_text_is_not_listed_as_lost() -> None:
    found = {"type": "search_result", "title": "T", "source": "S", "content": [{"type": "text", "text": "W"}]}
    there = asked("messages", "chat", told({"messages": [{"role": "user", "content": [found]}]}))
    assert (there.document["messages"][0]["content"], there.codes) == ("T\n\nS\n\nW", [])


def test_a_schema_in_geminis_own_words_is_not_listed_as_lost() -> None:
    config = {"responseMimeType": "application/json", "responseSchema": {"type": "OBJECT"}}
    assert asked("generate_content", "chat", contents({"text": "?"}, generationConfig=config)).codes == []


def test_an_image_in_pieces_is_one_and_a_hosted_tool_is_listed() -> None:
    start: Object = {"messageStart": {"role": "assistant"}}
    opened: Object = {"contentBlockStart": {"contentBlockIndex": 0, "start": {"image": {"format": "png"}}}}
    pieces: list[Object] = [
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"image": {"source": {"bytes": data}}}}}
        for data in ("SGk=", "SG8=")
    ]
    hosted = {"toolUseId": "t", "name": "search", "type": "server_tool_use"}
    rest: list[Object] = [
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"contentBlockStart": {"contentBlockIndex": 1, "start": {"toolUse": hosted}}},
        {"contentBlockStop": {"contentBlockIndex": 1}},
        {"messageStop": {"stopReason": "end_turn"}},
    ]
    heard = cross(Direction("converse", "stream", "generate_content"), [start, opened, *pieces, *rest])
    assert values(heard.document, "candidates[].content.parts[].inlineData.data") == ["SGlIbw=="]
    assert heard.codes == ["dropped:output"]


def test_an_image_that_nobody_announced_is_seen_all_the_same() -> None:
    delta = {"image": {"source": {"bytes": "SGk="}}}
    events: list[Object] = [
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": delta}},
        {"messageStop": {"stopReason": "end_turn"}},
    ]
    heard = cross(Direction("converse", "stream", "generate_content"), events)
    assert values(heard.document, "candidates[].content.parts[].inlineData.data") == ["SGk="]


def test_sources_on_a_map_are_citations_and_those_in_a_store_are_listed() -> None:
    chunks: list[Object] = [
        {"maps": {"uri": "https://maps.example/1", "title": "Place"}},
        {"retrievedContext": {"uri": "gs://store/1", "text": "Hello."}},
    ]
    supports = [{"segment": {"endIndex": 6}, "groundingChunkIndices": [0, 1]}]
    reply: Object = {
        "candidates": [
            {
                "content": {"role": "model", "parts": [{"text": "Hello."}]},
                "finishReason": "STOP",
                "groundingMetadata": {"groundingChunks": chunks, "groundingSupports": supports},
            }
        ]
    }
    heard = cross(Direction("generate_content", "reply", "chat"), reply)
    assert values(heard.document, "choices[].message.annotations[].url_citation.url") == ["https://maps.example/1"]
    assert heard.codes == ["dropped:annotations"]
