"""Every recorded exchange once more: through relay and through translation, both ways, whole and streamed.

A scripted upstream says what was recorded, and the caller must hear it, as tests/said.py reads it off the wire.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from random import Random
from typing import Any, NamedTuple

import aiohttp
import pytest
import pytest_asyncio

from aigateway import Gateway, Provider
from aigateway.canonical.quirks import Quirks
from aigateway.errors import UnsupportedError
from aigateway.formats import CODECS
from aigateway.testing import Script, ScriptedUpstream
from tests.faults import PATHS
from tests.formats.responses_law import check_stream
from tests.playback import Heard, Object, Pieces, ask, cut, sse, streamed
from tests.recordings import SHARED, Recording, recordings
from tests.said import Said, chat_body, differences, of_chat, of_chat_stream, of_response, of_response_stream
from tests.schemas import (
    COPIES,
    OPENAI_ROOTS,
    REFERENCE,
    chunk_faults,
    completion_faults,
    derived,
    event_faults,
    resource_faults,
)
from tests.serving import served

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALIAS = "asked-for"
OTHER = {"chat": "responses", "responses": "chat"}

UNFINISHED = {"openai-71"}
"""Responses in the background, still queued: no answer that could be translated."""
STATEFUL = {"previous_response_id", "conversation", "background"}
"""What chat has no place for, and the gateway refuses to drop."""
BROKEN = {"groq-10", "openrouter-6", "chat_error_in_the_stream"}
"""Streams in which the host reports an error."""


def chosen(**wanted: bool) -> pytest.MarkDecorator:
    """Marks a test for the exchanges that are such."""
    found = [
        pytest.param(recording, id=recording.name)
        for recording in recordings()
        if all(_IS[fact](recording) is value for fact, value in wanted.items())
    ]
    return pytest.mark.parametrize("recording", found)


_IS: Mapping[str, Callable[[Recording], bool]] = {
    "good": lambda recording: recording.status == 200 and recording.name not in BROKEN | UNFINISHED,
    "failed": lambda recording: recording.status >= 400,
    "broken": lambda recording: recording.name in BROKEN,
    "streamed": lambda recording: recording.streamed,
}


class Stage(NamedTuple):
    """A gateway served over HTTP, and the upstream behind it."""

    upstream: ScriptedUpstream
    session: aiohttp.ClientSession
    gateway: Gateway
    providers: dict[str, Provider]
    url: str

    async def ask(self, api: str, body: bytes, recording: Recording) -> Heard:
        """Ask in this API while the upstream says what was recorded."""
        self.gateway.models.register(ALIAS, self.providers[recording.api], model=recording.model, replace=True)
        self.upstream.requests.clear()
        headers = {"content-type": recording.content_type}
        self.upstream.script(Script(status=recording.status, headers=headers, body=recording.body()))
        kind = {"content-type": "application/json"}
        async with self.session.post(self.url + PATHS[api], data=body, headers=kind) as answer:
            return Heard(answer.status, await answer.read())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with aiohttp.ClientSession() as session, ScriptedUpstream() as upstream:
        providers = {api: Provider("acme", upstream.base_url, "none", apis=[api]) for api in OTHER}
        gateway = Gateway(providers=providers.values(), state=None)
        async with served(gateway) as url:
            yield Stage(upstream, session, gateway, providers, url)


# what is asked, and what must be heard


def compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def in_the_other_format(recording: Recording) -> Object | None:
    """The recorded request in the other API; None where that API cannot ask it."""
    request = CODECS[recording.api].decode_request(
        {key: value for key, value in recording.request.items() if key not in STATEFUL}
    )
    try:
        return CODECS[OTHER[recording.api]].encode_request(request, model=ALIAS, quirks=Quirks(), changes=[])
    except UnsupportedError:
        return None


def translated(recording: Recording, **more: Any) -> Object:
    """What is asked in the other API: the recorded request, or else a plain question."""
    question: Object = {"messages": [{"role": "user", "content": "?"}]}
    if OTHER[recording.api] == "responses":
        question = {"input": "?"}
    body = in_the_other_format(recording) or {"model": ALIAS, **question}
    body.pop("stream", None)
    return {**body, **more}


def streaming(api: str, *, wanted: bool) -> Object:
    """What a caller adds who wants a stream, its usage included."""
    if not wanted:
        return {}
    return {"stream": True} | ({"stream_options": {"include_usage": True}} if api == "chat" else {})


def recorded(recording: Recording) -> Said:
    """What the exchange says."""
    if recording.streamed:
        return (of_chat_stream if recording.api == "chat" else of_response_stream)(recording.events())
    return said(recording.api, whole(recording))


def said(api: str, body: Object) -> Said:
    """What an answer in one document says."""
    return of_chat(body) if api == "chat" else of_response(body)


def whole(recording: Recording) -> Object:
    """The reply in one document, also where it was streamed."""
    if recording.whole is not None:
        return recording.whole
    if recording.api == "chat":
        return chat_body(recording.events())
    terminal: Object = recording.events()[-1]["response"]
    return terminal


def check_whole(api: str, heard: Heard, expected: Said) -> None:
    """A good answer in one document that says what is expected."""
    assert heard.status == 200, heard.body
    body = heard.json()
    assert body["model"] == ALIAS
    if api == "chat":
        assert completion_faults(body) == []
        assert differences(of_chat(body), expected) == {}
    else:
        assert resource_faults(body) == []
        assert differences(of_response(body), expected) == {}


def check_events(api: str, heard: Heard, expected: Said) -> None:
    """A good stream that says what is expected."""
    assert heard.status == 200, heard.body
    assert heard.done
    events = heard.events()
    if api == "chat":
        assert {chunk["model"] for chunk in events} == {ALIAS}
        assert [fault for chunk in events for fault in chunk_faults(chunk)] == []
        assert differences(of_chat_stream(events), expected) == {}
    else:
        assert {event["response"]["model"] for event in events if "response" in event} == {ALIAS}
        check_stream(events)
        assert [fault for event in events for fault in event_faults(event)] == []
        assert differences(of_response_stream(events), expected) == {}
        assert differences(of_response(events[-1]["response"]), expected) == {}


def renamed(recording: Recording) -> bytes:
    """The recorded reply with the model named as it was asked for, and nothing else touched."""
    if recording.whole is not None:
        known = {"model": ALIAS} if "model" in recording.whole else {}
        return compact({**recording.whole, **known})
    return "\n".join(_renamed_line(line) for line in recording.text.split("\n")).encode()


def _renamed_line(line: str) -> str:
    if not line.startswith("data: {"):
        return line
    event = json.loads(line[6:])
    name = event.get("model") or event.get("response", {}).get("model")
    if name is None:
        return line
    assert line.count(f'"model":"{name}"') == 1, line
    return line.replace(f'"model":"{name}"', f'"model":"{ALIAS}"')


_ASKED = {"content", "text", "arguments", "output", "url", "image_url", "file_data", "name", "call_id", "tool_call_id"}


def asked_texts(body: Object) -> list[str]:
    """What a request asks: its texts, images, files, calls and names of tools. Reasoning may stay behind."""
    items = [item for item in body.get("input", ()) if isinstance(item, dict) and item.get("type") != "reasoning"]
    plain = [body[key] for key in ("input", "instructions") if isinstance(body.get(key), str)]
    return [*plain, *texts([items, body.get("messages"), body.get("tools")], _ASKED)]


def texts(value: Any, keys: set[str] | None = None, key: str = "") -> list[str]:
    """Every string in a document, or those under some keys; thinking is left out."""
    if isinstance(value, str):
        return [value] if keys is None or key in keys else []
    if isinstance(value, list):
        return [text for entry in value for text in texts(entry, keys, key)]
    if not isinstance(value, dict) or (keys is not None and value.get("type") == "thinking"):
        return []
    return [text for name, entry in value.items() for text in texts(entry, keys, name)]


# the same format in and out


@chosen(good=True)
async def test_the_same_format_goes_through_byte_for_byte(stage: Stage, recording: Recording) -> None:
    heard = await stage.ask(recording.api, compact({**recording.request, "model": ALIAS}), recording)
    assert heard.status == 200
    assert stage.upstream.requests[0].body == compact(recording.request)
    assert heard.body == renamed(recording)


@chosen(good=True, streamed=True)
async def test_the_same_format_goes_through_byte_for_byte_however_it_is_cut(recording: Recording) -> None:
    for pieces in splits(recording.body(), recording.name):
        gateway = Gateway(models={ALIAS: Pieces(recording.api, pieces)}, state=None)
        heard = await ask(gateway, recording.api, {**recording.request, "model": ALIAS})
        assert heard.body == renamed(recording)


@chosen(good=True, streamed=False)
async def test_a_stream_is_made_where_the_host_gives_its_answer_whole(recording: Recording) -> None:
    gateway = Gateway(models={ALIAS: Pieces(recording.api, recording.body())}, state=None)
    body = {**recording.request, **streaming(recording.api, wanted=True), "model": ALIAS}
    check_events(recording.api, await ask(gateway, recording.api, body), recorded(recording))


# translated


@chosen(good=True)
async def test_the_other_format_hears_the_same(stage: Stage, recording: Recording) -> None:
    api = OTHER[recording.api]
    body = translated(recording, **streaming(api, wanted=recording.streamed))
    heard = await stage.ask(api, compact(body), recording)
    sent = stage.upstream.requests[0].json()
    assert sent["model"] == recording.model
    assert sent.get("stream", False) is recording.streamed
    if in_the_other_format(recording) is not None:
        told = "\n".join(texts(sent))
        assert [text for text in asked_texts(recording.request) if text not in told] == []
    (check_events if recording.streamed else check_whole)(api, heard, recorded(recording))


@chosen(good=True, streamed=True)
async def test_the_other_format_hears_the_same_however_it_is_cut(recording: Recording) -> None:
    api = OTHER[recording.api]
    for pieces in splits(recording.body(), recording.name):
        gateway = Gateway(models={ALIAS: Pieces(recording.api, pieces)}, state=None)
        heard = await ask(gateway, api, translated(recording, **streaming(api, wanted=True)))
        check_events(api, heard, recorded(recording))


@chosen(good=True, streamed=True)
async def test_the_other_format_hears_the_same_where_a_stream_was_given_whole(recording: Recording) -> None:
    api = OTHER[recording.api]
    gateway = Gateway(models={ALIAS: Pieces(recording.api, compact(whole(recording)))}, state=None)
    check_whole(api, await ask(gateway, api, translated(recording)), said(recording.api, whole(recording)))


@chosen(good=True, streamed=False)
async def test_the_other_format_hears_the_same_where_it_is_streamed(recording: Recording) -> None:
    api = OTHER[recording.api]
    body = translated(recording, **streaming(api, wanted=True))
    stream = sse(streamed(recording.api, whole(recording)), named=recording.api == "responses")
    answers: list[bytes | list[bytes]] = [recording.body(), splits(stream, recording.name)[0]]
    for answer in answers:
        gateway = Gateway(models={ALIAS: Pieces(recording.api, answer)}, state=None)
        check_events(api, await ask(gateway, api, body), recorded(recording))


# what goes wrong


@chosen(failed=True)
async def test_an_error_keeps_its_status_and_its_message(stage: Stage, recording: Recording) -> None:
    told = json.loads(recording.body())["error"]
    for api, body in ((recording.api, recording.request), (OTHER[recording.api], translated(recording))):
        for wants_stream in (False, True):
            asked = {**body, **streaming(api, wanted=wants_stream), "model": ALIAS}
            heard = await stage.ask(api, compact(asked), recording)
            error = heard.json()["error"]
            assert set(error) == {"message", "type", "param", "code"}
            assert (heard.status, error["message"]) == (recording.status, told["message"])
            assert error["param"] == told.get("param")
            assert error["code"] == (told["code"] or "upstream_error")


@chosen(broken=True)
async def test_an_error_in_the_stream_ends_it_with_what_was_said_before(stage: Stage, recording: Recording) -> None:
    good, told = broken_off(recording)
    heard = await stage.ask(recording.api, compact({**recording.request, "model": ALIAS}), recording)
    assert heard.status == 200
    assert not heard.done
    assert heard.body.startswith(good)
    assert heard.events()[-1]["error"]["message"] == told
    body = translated(recording, **streaming("responses", wanted=True))
    for pieces in ([recording.body()], *splits(recording.body(), recording.name)):
        gateway = Gateway(models={ALIAS: Pieces(recording.api, pieces)}, state=None)
        heard = await ask(gateway, "responses", body)
        assert heard.done
        check_stream(heard.events())
        assert heard.events()[-1]["type"] == "response.failed"
        assert heard.events()[-1]["response"]["error"]["message"] == told
        assert [fault for event in heard.events() for fault in event_faults(event)] == []


def broken_off(recording: Recording) -> tuple[bytes, str]:
    """The renamed frames before the error, and its message."""
    frames = renamed(recording).split(b"\n\n")
    events = [json.loads(data) if (data := frame.partition(b"data: ")[2]).startswith(b"{") else {} for frame in frames]
    place = next(number for number, event in enumerate(events) if "error" in event)
    message: str = events[place]["error"]["message"]
    return b"".join(frame + b"\n\n" for frame in frames[:place]), message


async def test_a_response_that_is_not_finished_is_no_answer_of_chat(stage: Stage) -> None:
    for recording in recordings():
        if recording.name in UNFINISHED:
            heard = await stage.ask("chat", compact(translated(recording)), recording)
            assert heard.status == 502


def splits(stream: bytes, seed: str) -> list[list[bytes]]:
    """Some ways to cut a stream, the same in every run."""
    random = Random(seed)
    return [cut(stream, (random.randrange(len(stream)) for _ in range(count))) for count in (40, 3, len(stream) // 50)]


@pytest.mark.skipif(not SHARED.exists(), reason="needs the recordings that lie beside the project")
async def test_the_shared_exchanges_are_all_played() -> None:
    found = [(recording.api, recording.streamed) for recording in recordings() if recording.status == 200]
    assert all(found.count((api, is_stream)) >= 10 for api in OTHER for is_stream in (True, False))
    assert len(recordings()) > 300


@pytest.mark.skipif(not REFERENCE.exists(), reason="needs the whole descriptions that lie beside the project")
@pytest.mark.parametrize("source", COPIES)
async def test_the_copies_of_the_schemas_are_those_of_the_reference(source: str) -> None:
    document = json.loads((REFERENCE / source / "openapi.json").read_text("utf-8"))
    copy = json.loads(COPIES[source].read_text("utf-8"))["$defs"]
    copy.get("ResponseResource", {}).pop("example", None)
    assert derived(document, OPENAI_ROOTS if source == "openai" else list(copy)) == copy
