"""Every recorded exchange, of whichever API, for callers of each other API: whole and streamed, and sent back.

What a caller hears is compared with what was recorded, both read off the wire by hand. Then the caller goes on with the
conversation, and the upstream must get back every signature and every sealed thought, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from random import Random
from typing import Any

import msgspec
import pytest

from aigateway import Gateway, Target
from aigateway.canonical.quirks import Quirks
from aigateway.formats.messages.laws import MessageLaws
from aigateway.providers.catalog import CATALOG
from tests import bedrock
from tests.content_said import content_body, content_pieces, of_content
from tests.conversing import CALLERS, joined, question, turns_after
from tests.formats.responses_law import check_stream
from tests.messages_said import message_events, of_message
from tests.playback import Heard, Object, Pieces, ask, cut, sse, streamed
from tests.recordings import SHARED, recordings
from tests.said import Said, differences, of_chat, of_response
from tests.schemas import chunk_faults, completion_faults, event_faults, resource_faults
from tests.test_messages_recordings import GOOD as OF_ANTHROPIC

ALIAS = "asked-for"
OF_WHOLE: Mapping[str, Callable[[Object], Said]] = {
    "chat": of_chat,
    "responses": of_response,
    "messages": of_message,
    "generate_content": of_content,
    "converse": bedrock.of_converse,
}
UNREADABLE = {"openai-71", "groq-10", "openrouter-6", "chat_error_in_the_stream", "vertex-18"}
"""Answers that are none: still queued, broken, or a tool called that there is not."""


class Exchange(msgspec.Struct, frozen=True):
    """One good exchange: the whole answer, and its stream as the host gave it or could have."""

    name: str
    api: str
    model: str
    whole: Object
    stream: bytes

    @property
    def said(self) -> Said:
        """What it says."""
        return OF_WHOLE[self.api](self.whole)

    def provider(self, *, stream: bool) -> Pieces:
        """Its host, which says it again; streams are cut anyhow, the same way in every run."""
        random = Random(self.name)
        pieces = cut(self.stream, [random.randrange(1, len(self.stream)) for _ in range(20)])
        provider = Pieces(self.api, pieces if stream else json.dumps(self.whole).encode())
        provider.quirks = CATALOG["openrouter"].quirks if "openrouter" in self.name else Quirks()
        return provider


@cache
def exchanges() -> tuple[Exchange, ...]:
    """All that are good."""
    return tuple(one for one in _all() if one.name not in UNREADABLE)


def _all() -> Iterator[Exchange]:
    for one in (*recordings(), *OF_ANTHROPIC):
        if one.status == 200 and one.name not in UNREADABLE:
            whole = one.whole if one.whole is not None else joined(one.api, one.events())
            yield Exchange(one.name, one.api, one.model, whole, one.body() if one.streamed else _stream(one.api, whole))
    for found in bedrock.recordings():
        if found.status == 200:
            events = list(bedrock.events_in(found.body)) if found.streamed else []
            answer = bedrock.whole_of(events) if found.streamed else json.loads(found.body)
            raw = found.body if found.streamed else bedrock.frames(bedrock.events_of(answer))
            yield Exchange(found.name, "converse", found.model, answer, raw)
    yield from _of_google()


def _of_google() -> Iterator[Exchange]:
    for file in ("gemini", "vertex"):
        path = SHARED / f"{file}.jsonl"
        for number, line in enumerate(path.read_text("utf-8").splitlines() if path.exists() else ()):
            raw = json.loads(line)
            if "enerateContent" in raw["url"] and raw["status"] == 200:
                pieces = [
                    json.loads(text[6:]) for text in (raw["body"] or "").splitlines() if text.startswith("data: ")
                ]
                whole = raw["json"] or content_body(pieces)
                model = raw["url"].partition("/models/")[2].partition(":")[0]
                data = raw["body"].encode() if pieces else sse(content_pieces(whole), named=False)
                yield Exchange(f"{file}-{number}", "generate_content", model, whole, data)


def _stream(api: str, whole: Object) -> bytes:
    events = message_events(whole) if api == "messages" else streamed(api, whole)
    return sse(events, named=api != "chat")


def comparable(said: Said, api: str, recorded: Said) -> Said:
    """What can be told in the caller's API; arguments as values, thoughts without the lines between them."""
    refuses = api in ("messages", "generate_content") and bool(recorded.refusal)
    named = [call for call in recorded.calls if call.id]
    return msgspec.structs.replace(
        said,
        text=said.text + (said.refusal if refuses else ""),
        refusal="" if refuses else said.refusal,
        calls=tuple(
            msgspec.structs.replace(
                call, id=call.id if len(named) == len(recorded.calls) else "", arguments=_value(call)
            )
            for call in said.calls
        ),
        reasoning=said.reasoning.replace("\n", ""),
        citations=tuple(sorted({*said.citations})) if api in ("chat", "responses") else (),
        tokens=(),
        finish="" if refuses else said.finish,
        usage=None if recorded.usage is None else said.usage,
    )


def _value(call: Any) -> str:
    try:
        return json.dumps(json.loads(call.arguments), sort_keys=True)
    except ValueError:
        return str(call.arguments)


def unlawful(api: str, heard: Heard, *, stream: bool) -> list[str]:
    """What the description of the caller's API has against an answer."""
    if api == "generate_content":
        return []
    if api == "messages":
        laws = MessageLaws()
        for event in heard.events():
            laws.feed(event)
        body = joined(api, heard.events()) if stream else heard.json()
        return ["an empty text" for block in body["content"] if block.get("text") == ""]
    if not stream:
        return (completion_faults if api == "chat" else resource_faults)(heard.json())
    if api == "responses":
        check_stream(heard.events())
    return [fault for event in heard.events() for fault in (chunk_faults if api == "chat" else event_faults)(event)]


CELLS = [
    pytest.param(exchange, api, id=f"{api}-{exchange.name}")
    for exchange in exchanges()
    for api in CALLERS
    if api != exchange.api
]


@pytest.mark.parametrize(("exchange", "api"), CELLS)
async def test_a_caller_hears_what_was_said_and_sends_back_what_was_signed(exchange: Exchange, api: str) -> None:
    recorded = exchange.said
    for stream in (False, True):
        gateway = Gateway(models={ALIAS: Target(exchange.provider(stream=stream), exchange.model)})
        heard = await ask(gateway, api, question(api, [], model=ALIAS, stream=stream))
        assert heard.status == 200, heard.body
        body = joined(api, heard.events()) if stream else heard.json()
        assert unlawful(api, heard, stream=stream) == []
        found = comparable(OF_WHOLE[api](body), api, recorded)
        assert differences(found, comparable(recorded, api, recorded)) == {}
        if not recorded.sealed and stream:
            continue  # once is enough to see that the answer can be sent back
        host = exchange.provider(stream=False)
        gateway = Gateway(models={ALIAS: Target(host, exchange.model)})
        again = await ask(gateway, api, question(api, turns_after(api, body), model=ALIAS))
        assert again.status == 200, again.body
        sent = json.dumps(host.requests[0])
        assert [given for given in recorded.sealed if given not in sent] == []
