"""Exchanges recorded with Anthropic, once more: relayed byte for byte, translated for callers of other APIs, at any cuts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from aigateway import Call, Gateway
from aigateway.canonical.quirks import Quirks
from aigateway.errors import UnsupportedError
from aigateway.formats import CODECS
from tests.messages_said import message_body, message_events, of_message
from tests.playback import Object, Pieces, ask, cut, sse, streamed
from tests.recordings import SHARED, Recording, recordings
from tests.said import Said, chat_body, differences, of_chat, of_chat_stream, of_response, of_response_stream

FIXTURES = Path(__file__).parent / "fixtures" / "messages"
ALIAS = "asked-for"
QUESTION: dict[str, Object] = {
    "chat": {"model": ALIAS, "messages": [{"role": "user", "content": "?"}]},
    "responses": {"model": ALIAS, "input": "?"},
    "messages": {"model": ALIAS, "max_tokens": 9, "messages": [{"role": "user", "content": "?"}]},
}
OF_WHOLE = {"chat": of_chat, "responses": of_response}
OF_STREAM = {"chat": of_chat_stream, "responses": of_response_stream}
UNREADABLE = {"openai-71", "groq-10", "openrouter-6", "chat_error_in_the_stream"}
"""Answers that are none: still queued, or broken."""


def _raw() -> Iterator[tuple[str, Object]]:
    for path in sorted(FIXTURES.glob("*.json")):
        yield path.stem, json.loads(path.read_text("utf-8"))
    if SHARED.exists():
        for number, line in enumerate((SHARED / "anthropic.jsonl").read_text("utf-8").splitlines()):
            yield f"anthropic-{number}", json.loads(line)


RECORDED = [
    Recording(
        name=name,
        api="messages",
        request=raw["request"],
        status=raw["status"],
        content_type=raw["headers"].get("content-type", ""),
        whole=raw.get("json"),
        text=raw.get("body") or "",
    )
    for name, raw in _raw()
    if raw["url"].split("?")[0].endswith("/messages")
]
GOOD = [recording for recording in RECORDED if recording.status == 200]
OTHERS = [one for one in recordings() if one.status == 200 and one.name not in UNREADABLE]

each_good = pytest.mark.parametrize("recording", GOOD, ids=lambda recording: recording.name)
each_caller = pytest.mark.parametrize("api", ["chat", "responses"])


class Usages:
    """Notes the usage of each call."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_complete(self, call: Call) -> None:
        self.seen.append(call.usage)


def whole_of(recording: Recording) -> Object:
    return recording.whole if recording.whole is not None else message_body(recording.events())


def splits(data: bytes, seed: str) -> list[list[bytes]]:
    random = Random(seed)
    return [cut(data, [random.randrange(1, len(data)) for _ in range(count)]) for count in (0, 3, 40)]


def heard_as(said: Said, **kept: Any) -> Said:
    """What a caller of another API hears of a message: it knows no thoughts that nobody can read."""
    return Said(**{**{name: getattr(said, name) for name in Said.__struct_fields__}, "sealed": (), **kept})


def check(api: str, found: Said, recording: Recording) -> None:
    expected = of_message(whole_of(recording))
    shown = {"sealed": (), "citations": ()}
    wrong = differences(heard_as(found, **shown), heard_as(expected, **shown))
    thoughts = wrong.pop("reasoning", None)
    assert thoughts is None or thoughts[0].replace("\n", "") == thoughts[1].replace("\n", "")
    assert wrong == {}
    assert set(found.citations) == set(expected.citations)


@each_good
async def test_a_relayed_answer_comes_back_byte_for_byte_with_its_usage(recording: Recording) -> None:
    body = {**recording.request, "model": ALIAS}
    answers: list[Any] = splits(recording.body(), recording.name) if recording.streamed else [recording.body()]
    model = whole_of(recording)["model"]
    for answer in answers:
        usages = Usages()
        heard = await ask(Gateway(models={ALIAS: Pieces("messages", answer)}, hooks=[usages]), "messages", body)
        key = b'"model":' + json.dumps(model).encode()
        assert heard.body == recording.body().replace(key, b'"model":"asked-for"', 1)
        told = of_message(whole_of(recording)).usage
        usage = usages.seen[0]
        found = (
            usage.input_tokens,
            usage.output_tokens,
            usage.total_tokens,
            usage.cached_tokens,
            usage.reasoning_tokens,
        )
        assert found == told


@each_good
@each_caller
async def test_a_caller_of_another_api_hears_the_same(recording: Recording, api: str) -> None:
    gateway = Gateway(models={ALIAS: Pieces("messages", json.dumps(whole_of(recording)).encode())})
    heard = await ask(gateway, api, QUESTION[api])
    assert heard.status == 200
    check(api, OF_WHOLE[api](heard.json()), recording)


@each_good
@each_caller
async def test_a_caller_of_another_api_hears_the_same_of_a_stream_however_it_is_cut(
    recording: Recording, api: str
) -> None:
    data = recording.body() if recording.streamed else sse(message_events(whole_of(recording)), named=True)
    more = {"stream": True} | ({"stream_options": {"include_usage": True}} if api == "chat" else {})
    for pieces in splits(data, recording.name):
        gateway = Gateway(models={ALIAS: Pieces("messages", pieces)})
        heard = await ask(gateway, api, QUESTION[api] | more)
        assert heard.done
        check(api, OF_STREAM[api](heard.events()), recording)


@pytest.mark.parametrize("recording", RECORDED, ids=lambda recording: recording.name)
def test_a_recorded_request_is_understood_and_comes_back(recording: Recording) -> None:
    codec = CODECS["messages"]
    request = codec.decode_request(recording.request)
    again = codec.encode_request(request, model=recording.model, quirks=Quirks(), changes=[])
    assert codec.decode_request(again) == codec.decode_request(again | {"stream": request.stream})
    assert again["max_tokens"] == recording.request["max_tokens"]
    for key in ("tools", "tool_choice", "output_config", "thinking"):
        assert again.get(key) == without_nothing(recording.request.get(key))


def without_nothing(value: Any) -> Any:
    """Keys of functions that are null are left out."""
    if not isinstance(value, list):
        return value
    return [
        tool
        if tool.get("type") not in (None, "custom")
        else {key: entry for key, entry in tool.items() if entry is not None}
        for tool in value
    ]


@pytest.mark.parametrize("recording", RECORDED, ids=lambda recording: recording.name)
@each_caller
def test_a_recorded_request_is_told_to_another_api(recording: Recording, api: str) -> None:
    request = CODECS["messages"].decode_request(recording.request)
    refused: list[UnsupportedError] = []
    body: Object = {}
    try:
        body = CODECS[api].encode_request(request, model="m", quirks=Quirks(), changes=[])
    except UnsupportedError as error:
        refused.append(error)
    holds_media = any(mark in json.dumps(recording.request) for mark in ('"document"', '"image"', '"file_id"'))
    assert not refused or holds_media, "only what another API cannot hold is refused"
    assert refused or body["messages" if api == "chat" else "input"]


@pytest.mark.parametrize("recording", OTHERS, ids=lambda recording: recording.name)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_caller_of_messages_hears_what_others_said(recording: Recording, stream: bool) -> None:
    of_one = {"chat": of_chat, "responses": of_response}[recording.api]
    body = recording.whole
    if body is None:
        events = recording.events()
        body = chat_body(events) if recording.api == "chat" else events[-1]["response"]
    expected = of_one(body)
    if stream:
        data = (
            recording.body()
            if recording.streamed
            else sse(streamed(recording.api, body), named=recording.api == "responses")
        )
        answers: list[Any] = splits(data, recording.name)[1:]
    else:
        answers = [json.dumps(body).encode()]
    for answer in answers:
        gateway = Gateway(models={ALIAS: Pieces(recording.api, answer)})
        heard = await ask(gateway, "messages", QUESTION["messages"] | ({"stream": True} if stream else {}))
        assert heard.status == 200
        message = message_body(heard.events()) if stream else heard.json()
        assert all(block["text"] for block in message["content"] if block["type"] == "text")
        found = of_message(message)
        assert found.text == expected.text + expected.refusal
        assert [(call.id, call.name) for call in found.calls] == [(call.id, call.name) for call in expected.calls]
        assert found.reasoning.replace("\n", "") == expected.reasoning.replace("\n", "")
        if expected.usage is not None:
            assert found.usage == expected.usage
        if not expected.refusal:
            assert found.finish == expected.finish
