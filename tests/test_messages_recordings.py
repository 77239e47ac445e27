"""Exchanges recorded with Anthropic, once more: relayed byte for byte at any cuts, and requests told to other APIs."""

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
from tests.messages_said import message_body, of_message
from tests.playback import Object, Pieces, ask, cut
from tests.recordings import SHARED, Recording

FIXTURES = Path(__file__).parent / "fixtures" / "messages"
ALIAS = "asked-for"


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
