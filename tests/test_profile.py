"""The profile of a call: which dialect of the Responses API a translated answer has, and that relayed ones keep theirs."""

from __future__ import annotations

from typing import Any

import pytest

from aigateway import Call, Gateway, Hook, Provider
from aigateway.formats.protocol import PROFILES, Profile
from aigateway.testing import Script, ScriptedUpstream
from tests.answers import CHAT_CHUNKS, CHAT_REPLY
from tests.asking import Row, Seen, post
from tests.formats.responses_law import check_stream
from tests.playback import Pieces, ask, sse
from tests.recordings import recordings
from tests.schemas import event_faults, resource_faults, strict_event_faults, strict_resource_faults
from tests.serving import served

HEADER = "x-aigateway-profile"
REASONING = {"openai": "response.reasoning_text", "open_responses": "response.reasoning"}
SCHEMA = {"type": "object", "properties": {}}
REQUEST: dict[str, Any] = {
    "model": "gpt",
    "input": "q",
    "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}},
    "reasoning": {"effort": "low"},
}
FACTS = {"id": "chatcmpl-1", "created": 1, "model": "up-model", "object": "chat.completion.chunk"}
THOUGHT = {**FACTS, "choices": [{"index": 0, "delta": {"reasoning_content": "hm"}, "finish_reason": None}]}
CHUNKS = [CHAT_CHUNKS[0], THOUGHT, *CHAT_CHUNKS[1:]]
NATIVE = [
    {"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1", "model": "gpt", "text": {}}},
    {"type": "response.reasoning_text.delta", "sequence_number": 1, "delta": "hm"},
    {"type": "response.reasoning.delta", "sequence_number": 2, "delta": "hm"},
    {"type": "response.completed", "sequence_number": 3, "response": {"id": "resp_1", "model": "gpt", "output": []}},
]

each_profile = pytest.mark.parametrize("profile", PROFILES)


def thinking(api: str = "chat") -> Pieces:
    """An upstream that thinks aloud."""
    chunks = CHUNKS if api == "chat" else NATIVE
    return Pieces(api, [sse([*chunks, "[DONE]"], named=api == "responses")])


def faults_of(events: list[dict[str, Any]], profile: Profile) -> list[str]:
    check = event_faults if profile == "openai" else strict_event_faults
    return [fault for event in events for fault in check(event)]


@each_profile
async def test_the_gateway_s_profile_is_that_of_its_streams(profile: Profile) -> None:
    heard = await ask(Gateway(models={"gpt": thinking()}, profile=profile), "responses", REQUEST | {"stream": True})
    events = heard.events()
    check_stream(events, profile)
    assert faults_of(events, profile) == []
    assert [event["type"] for event in events if "delta" in event] == [
        f"{REASONING[profile]}.delta",
        "response.output_text.delta",
        "response.output_text.delta",
    ]
    echoed = {str(event["response"]["text"]["format"]["schema"]) for event in events if "response" in event}
    assert echoed == {str(SCHEMA if profile == "openai" else None)}


@each_profile
async def test_and_that_of_its_whole_answers(profile: Profile) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.script(Script.of_json(CHAT_REPLY))
        async with Gateway(
            models={"gpt": Provider("up", upstream.base_url, "k", apis={"chat"})}, profile=profile
        ) as gateway:
            resource = (await gateway.responses(REQUEST)).body
    assert (resource_faults if profile == "openai" else strict_resource_faults)(resource) == []
    assert resource["text"]["format"]["schema"] == (SCHEMA if profile == "openai" else None)


async def test_what_real_hosts_said_is_heard_by_strict_readers() -> None:
    played = 0
    for recording in recordings():
        if recording.api != "chat" or recording.status != 200:
            continue
        pieces = [recording.body()] if recording.streamed else recording.body()
        gateway = Gateway(models={"gpt": Pieces("chat", pieces)}, profile="open_responses")
        heard = await ask(gateway, "responses", REQUEST | ({"stream": True} if recording.streamed else {}))
        if heard.status != 200:
            continue  # the host said an error, and nothing before it
        played += 1
        found = (
            faults_of(heard.events(), "open_responses") if recording.streamed else strict_resource_faults(heard.json())
        )
        assert found == [], recording.name
    assert played > 5


@each_profile
async def test_a_stream_that_breaks_ends_in_the_profile_with_the_keys_of_both(profile: Profile) -> None:
    broken = Pieces("chat", [sse(CHUNKS[:3], named=False)])
    heard = await ask(Gateway(models={"gpt": broken}, profile=profile), "responses", REQUEST | {"stream": True})
    events = heard.events()
    check_stream(events, profile)
    assert faults_of(events, profile) == []
    assert events[-2]["message"] == events[-2]["error"]["message"]
    assert events[-1]["response"]["text"]["format"]["schema"] == (SCHEMA if profile == "openai" else None)


class Wishing(Hook):
    def before_request(self, call: Call) -> None:
        call.profile = "open_responses"


@pytest.mark.parametrize(
    ("gateway", "header", "hooks", "profile"),
    [
        ("openai", None, [], "openai"),
        ("openai", "open_responses", [], "open_responses"),
        ("open_responses", "openai", [], "openai"),
        ("open_responses", None, [], "open_responses"),
        ("openai", "openai", [Wishing()], "open_responses"),
    ],
)
async def test_the_caller_s_header_counts_before_the_gateway_and_a_hook_before_both(
    gateway: Profile, header: str | None, hooks: list[Hook], profile: Profile
) -> None:
    calls = Gateway(models={"gpt": thinking()}, profile=gateway, hooks=hooks)
    headers = {} if header is None else {HEADER: header}
    async with await calls.responses(REQUEST, stream=True, headers=headers) as events:
        names = [event.type async for event in events]
    assert f"{REASONING[profile]}.delta" in names
    assert events.call.profile == profile


async def test_the_header_goes_no_further() -> None:
    async with ScriptedUpstream() as upstream:
        upstream.script(Script.of_json(CHAT_REPLY))
        row = Row("responses", "chat")
        async with served(Gateway(models={"gpt": Provider("up", upstream.base_url, "k", apis={"chat"})})) as url:
            seen: Seen = await post(url, row, **{HEADER: "open_responses"})
        assert seen.status == 200
        assert HEADER not in upstream.requests[0].headers


@each_profile
@pytest.mark.parametrize("hooks", [[], [Wishing()]], ids=["observed", "with a hook"])
async def test_what_is_relayed_keeps_its_own_words(profile: Profile, hooks: list[Hook]) -> None:
    gateway = Gateway(models={"gpt": thinking("responses")}, profile=profile, hooks=hooks)
    assert (await ask(gateway, "responses", REQUEST | {"stream": True})).body == sse([*NATIVE, "[DONE]"], named=True)


@each_profile
async def test_a_caller_of_chat_hears_the_same_in_both(profile: Profile) -> None:
    gateway = Gateway(models={"gpt": thinking()}, profile=profile)
    body = {"model": "gpt", "messages": [{"role": "user", "content": "q"}], "stream": True}
    heard = await ask(gateway, "chat", body)
    assert [chunk["choices"][0]["delta"] for chunk in heard.events() if chunk["choices"]][1] == {
        "reasoning_content": "hm"
    }


async def test_hooks_read_the_texts_of_both() -> None:
    heard: list[str] = []
    gateway = Gateway(models={"gpt": thinking()}, profile="open_responses")

    @gateway.hook.on_event
    def note(call: Call, event: Any) -> Any:
        heard.append(event.text)
        return event

    await ask(gateway, "responses", REQUEST | {"stream": True})
    assert "".join(heard) == "Hello there"
