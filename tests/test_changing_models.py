"""One conversation over the models of several makers, through the served gateway, for callers of every API.

Each maker refuses what it has not signed itself, as the real ones do: it must get back all of its own signatures, byte
for byte, and never another's, nor a seal of the gateway's. What is set aside is listed.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest

from aigateway import Call, Gateway, Provider, Target
from aigateway.canonical.quirks import Quirks
from aigateway.providers.catalog import CATALOG
from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from tests.answers import path_of
from tests.content_said import content_pieces
from tests.conversing import CALLERS, joined, question, turns_after
from tests.messages_said import message_events
from tests.playback import Heard, Object, sse, streamed
from tests.serving import served

USAGE = {"input_tokens": 5, "output_tokens": 3}
TOKEN = re.compile(r"(?:sig|red|enc)(Claude|Openai|Google|Azure|Grok|Routed)\d{3}")
SEALS = ("aigw1.", "YWlndzEu")
"""What a seal of the gateway's begins with, also where it stands in base64."""

SIGNERS = ("Claude", "Openai", "Google", "Azure", "Grok", "Routed", "")
KEYS_OF_OTHERS = ("reasoning_details", "extra_content")
"""What OpenAI's own chat refuses in a message."""


class Maker(msgspec.Struct, frozen=True):
    """Whose model it is, the API that it is asked in, and what it says: thoughts with a call, or with a text."""

    signs: str
    api: str
    says: Callable[[str, bool], Object]
    row: str = ""
    model: str = "m"


def _claude(number: str, calls: bool) -> Object:
    thoughts = [
        {"type": "thinking", "thinking": "Hm.", "signature": f"sigClaude{number}"},
        {"type": "redacted_thinking", "data": f"redClaude{number}"},
    ]
    use = {"type": "tool_use", "id": f"toolu_{number}", "name": "look", "input": {"n": number}}
    said = {"type": "text", "text": "I see."}
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [*thoughts, said, *([use] if calls else [])],
        "stop_reason": "tool_use" if calls else "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
    }


def _gpt(number: str, calls: bool, host: str = "Openai") -> Object:
    thought = {
        "type": "reasoning",
        "id": f"rs_{number}",
        "summary": [{"type": "summary_text", "text": "Hm."}],
        "encrypted_content": f"enc{host}{number}",
    }
    part = {"type": "output_text", "text": "I see.", "annotations": [], "logprobs": []}
    said: Object = {
        "type": "message",
        "id": f"msg_{number}",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }
    call = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}", "name": "look"}
    call |= {"arguments": json.dumps({"n": number}), "status": "completed"}
    output = [thought, call if calls else said]
    head = {"id": f"resp_{number}", "object": "response", "created_at": 1, "status": "completed", "model": "m"}
    return {**head, "output": output, "error": None, "incomplete_details": None, "usage": USAGE | {"total_tokens": 8}}


def _gemini(number: str, calls: bool) -> Object:
    signed = {"thoughtSignature": f"sigGoogle{number}"}
    call = {"functionCall": {"id": f"g{number}", "name": "look", "args": {"n": number}}, **signed}
    said = {"text": "I see.", **signed}
    parts = [{"text": "Hm.", "thought": True}, call if calls else said]
    candidate = {"content": {"role": "model", "parts": parts}, "index": 0, "finishReason": "STOP"}
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": f"r{number}"}


def _chat(number: str, calls: bool) -> Object:
    function = {"name": "look", "arguments": json.dumps({"n": number})}
    call = {"id": f"call_{number}", "type": "function", "function": function}
    message: Object = {"role": "assistant", "content": None if calls else "I see."}
    message |= {"tool_calls": [call]} if calls else {}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    head = {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": 1, "model": "m"}
    return {**head, "choices": [choice], "usage": usage}


def _routed(number: str, calls: bool) -> Object:
    """As OpenRouter tells what Claude thinks."""
    body = _chat(number, calls)
    form = {"format": "anthropic-claude-v1", "index": 0}
    details = [{"type": "reasoning.text", "text": "Hm.", "signature": f"sigClaude{number}", **form}]
    body["choices"][0]["message"] |= {"reasoning": "Hm.", "reasoning_details": details}
    return body


def _azure(number: str, calls: bool) -> Object:
    """OpenAI's model at another host: what it encrypts for an account there OpenAI itself cannot read."""
    return _gpt(number, calls, "Azure")


def _grok(number: str, calls: bool) -> Object:
    return _gpt(number, calls, "Grok")


def _gpt_routed(number: str, calls: bool) -> Object:
    """As OpenRouter tells what GPT thinks, for an account of OpenRouter's own."""
    body = _chat(number, calls)
    entry = {"type": "reasoning.encrypted", "data": f"encRouted{number}", "format": "openai-responses-v1", "index": 0}
    body["choices"][0]["message"] |= {"reasoning": "Hm.", "reasoning_details": [entry]}
    return body


MAKERS: Mapping[str, Maker] = {
    "claude": Maker("Claude", "messages", _claude),
    "gpt": Maker("Openai", "responses", _gpt, row="openai"),
    "gpt-azure": Maker("Azure", "responses", _azure),
    "grok": Maker("Grok", "responses", _grok),
    "gemini": Maker("Google", "generate_content", _gemini, model="gemini-3-pro"),
    "gpt-chat": Maker("", "chat", _chat, row="openai"),
    "routed": Maker("Claude", "chat", _routed, row="openrouter", model="anthropic/claude-opus-4.5"),
    "gpt-routed": Maker("Routed", "chat", _gpt_routed, row="openrouter", model="openai/gpt-5"),
}
ORDER = ["claude", "gpt", "gemini", "gpt-chat", "routed", "gpt-azure", "claude", "gpt", "grok", "gpt-routed"]
ORDER += ["gpt-azure", "gemini", "gpt-routed", "grok", "gpt"]


class World:
    """All makers behind one gateway, and one caller who keeps the conversation."""

    def __init__(self, api: str, session: aiohttp.ClientSession) -> None:
        self.api = api
        self.url = ""
        self.turns: list[Object] = []
        self.changes: list[str] = []
        self.faults: list[str] = []
        self.got: list[str] = []
        self.signed: dict[str, list[str]] = {name: [] for name in SIGNERS}
        self._session = session
        self._count = 0
        self._stream = False

    def on_complete(self, call: Call) -> None:
        self.changes = [change.code for change in call.changes]

    def answer(self, name: str) -> Callable[[ReceivedRequest], Script]:
        """What a maker answers: the first time a call, to a result a text."""
        maker = MAKERS[name]

        def answered(request: ReceivedRequest) -> Script:
            body = request.body.decode()
            self.got = [found.group() for found in TOKEN.finditer(body)]
            others = [token for token in self.got if maker.signs not in token or not maker.signs]
            self.faults += [f"{name} got {token}" for token in others]
            self.faults += [f"{name} got a seal" for seal in SEALS if seal in body]
            if maker.row == "openai" and maker.api == "chat":
                keys = KEYS_OF_OTHERS if self.api == "chat" else (*KEYS_OF_OTHERS, "reasoning_content")
                self.faults += [f"{name} got {key}" for key in keys if key in body]
            said = maker.says(f"{self._count:03d}", self._count % 2 == 1)
            self.signed[maker.signs] += [found.group() for found in TOKEN.finditer(json.dumps(said))]
            return _script(maker.api, said, stream=self._stream)

        return answered

    async def say(self, name: str, *, stream: bool) -> None:
        """One request to a model; its answer, and the caller's next words, go to the conversation."""
        self._count += 1
        self._stream = stream
        body = question(self.api, self.turns, model=name, stream=stream)
        path = path_of(self.api, stream=stream, model=name)
        if self.api == "generate_content":
            body = {key: value for key, value in body.items() if key not in ("model", "stream")}
        async with self._session.post(self.url + path, json=body) as reply:
            heard = Heard(reply.status, await reply.read())
        assert heard.status == 200, heard.body
        whole = joined(self.api, heard.events()) if stream else heard.json()
        self.turns += turns_after(self.api, whole)


def _script(api: str, said: Object, *, stream: bool) -> Script:
    if not stream:
        return Script.of_json(said)
    if api == "generate_content":
        events: Any = content_pieces(said)
    else:
        events = message_events(said) if api == "messages" else streamed(api, said)
    return Script(
        headers={"content-type": "text/event-stream"}, pieces=[sse(events, named=api in ("messages", "responses"))]
    )


@asynccontextmanager
async def world_of(api: str) -> AsyncIterator[World]:
    async with aiohttp.ClientSession() as session:
        world = World(api, session)
        upstreams = {name: ScriptedUpstream() for name in MAKERS}
        models: dict[str, Target] = {}
        for name, upstream in upstreams.items():
            await upstream.__aenter__()
            upstream.answer_with(world.answer(name))
            maker = MAKERS[name]
            quirks = CATALOG[maker.row].quirks if maker.row else None
            models[name] = Target(Provider(name, upstream.base_url, "k", apis=[maker.api], quirks=quirks), maker.model)
        try:
            async with served(Gateway(models=models, hooks=[world])) as url:
                world.url = url
                yield world
        finally:
            for upstream in upstreams.values():
                await upstream.__aexit__(None, None, None)


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize("api", CALLERS)
async def test_a_conversation_goes_from_maker_to_maker_and_back(api: str, stream: bool) -> None:
    async with world_of(api) as world:
        for name in ORDER:
            signs = MAKERS[name].signs
            own, others = list(world.signed[signs]) if signs else [], sum(map(len, world.signed.values()))
            await world.say(name, stream=stream)
            assert world.faults == []
            assert world.got == own, f"{name} gets back all that it has signed, in order"
            dropped = [code for code in world.changes if code.startswith("dropped:")]
            assert bool(dropped) is (others > len(own)), f"what {name} does not get is listed: {world.changes}"
            await world.say(name, stream=stream)
            assert world.got == world.signed[signs][: len(world.got)]
            assert len(world.got) > len(own) or not signs


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
async def test_only_what_openai_itself_encrypts_reaches_a_caller_of_responses_unsealed(stream: bool) -> None:
    async with world_of("responses") as world:
        for name, bare in (("gpt", True), ("gpt-azure", False), ("grok", False)):
            await world.say(name, stream=stream)
            contents = [turn["encrypted_content"] for turn in world.turns if turn.get("encrypted_content")]
            assert contents[-1].startswith("enc") is bare
            assert contents[-1].startswith("aigw1.") is not bare


async def test_an_origin_in_the_configuration_joins_hosts_of_one_account() -> None:
    async with ScriptedUpstream() as one, ScriptedUpstream() as other, aiohttp.ClientSession() as session:
        quirks = Quirks(origin="team")
        models = {
            name: Target(Provider(name, host.base_url, "k", apis=["responses"], quirks=quirks), "m")
            for name, host in (("one", one), ("other", other))
        }
        async with served(Gateway(models=models)) as url:
            turns: list[Object] = []
            for name, host in (("one", one), ("other", other)):
                host.script(Script.of_json(_gpt("001", calls=False)))
                async with session.post(f"{url}/v1/responses", json=question("responses", turns, model=name)) as reply:
                    turns = turns_after("responses", await reply.json())
                    assert "x-aigateway-changes" not in reply.headers
        assert "encOpenai001" in other.requests[-1].body.decode()


async def test_a_host_that_is_alone_in_its_gateway_is_passed_on_byte_for_byte_until_there_is_another() -> None:
    said = _grok("001", calls=False)
    async with ScriptedUpstream() as one, aiohttp.ClientSession() as session:
        host = Provider("grok", one.base_url, "k", apis=["responses"])
        one.script(Script.of_json(said))
        gateway = Gateway(models={"grok": Target(host, "m")})
        async with served(gateway) as url:
            for seals in (False, True):
                asked = question("responses", [], model="grok")
                async with session.post(f"{url}/v1/responses", json=asked) as reply:
                    thought = (await reply.json())["output"][0]
                assert thought["encrypted_content"].startswith("aigw1." if seals else "encGrok001")
                gateway.models.register("gpt", Provider("openai", api_key="k"), replace=True)
