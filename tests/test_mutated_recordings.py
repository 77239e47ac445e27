"""Recorded answers that are changed in one place: whatever a host says, no caller of any API meets a broken gateway.

The other recordings of this suite say what real hosts have said; these stand for what they will say, and what hosts that
imitate them get wrong.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from aigateway import Call, Gateway, Target
from tests import bedrock
from tests.conversing import CALLERS, joined, question
from tests.mutations import grown, grown_stream, nulled, spoilt, spoilt_stream, spots, without
from tests.playback import Heard, Pieces, ask, cut, sse
from tests.said import differences
from tests.test_every_caller import ALIAS, OF_WHOLE, Exchange, comparable, exchanges, unlawful

PER_EXCHANGE = 4
"""How many changed answers of each kind are played of each exchange."""
LARGEST = 60_000
"""Bytes of an answer that is worth playing many times."""

FAILED = {"error", "response.failed"}


def chosen() -> Iterator[Any]:
    """Exchanges of every API, the small ones of each kind of thing said."""
    seen: set[tuple[Any, ...]] = set()
    for exchange in sorted(exchanges(), key=lambda one: len(one.stream)):
        said = exchange.said
        facts = (bool(said.text), len(said.calls), bool(said.reasoning), bool(said.sealed), bool(said.citations))
        kind = (exchange.api, exchange.name.partition("-")[0], said.finish, *facts)
        if kind not in seen and len(exchange.stream) < LARGEST:
            seen.add(kind)
            yield pytest.param(exchange, id=exchange.name)


each_exchange = pytest.mark.parametrize("exchange", list(chosen()))


def events_of(exchange: Exchange) -> list[Any]:
    """The events of its stream."""
    if exchange.api == "converse":
        return list(bedrock.events_in(exchange.stream))
    lines = [line[5:].strip() for line in exchange.stream.decode().splitlines() if line.startswith("data:")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def stream_of(api: str, events: list[Any], random: Random) -> list[bytes]:
    """Events as the bytes of a stream, in pieces."""
    if api == "converse":
        data = bedrock.frames(events)
    else:
        named = api in ("responses", "messages") and all("type" in event for event in events)
        data = sse([*events, "[DONE]"] if api in ("chat", "responses") else events, named=named)
    return cut(data, [random.randrange(1, len(data)) for _ in range(5)]) if len(data) > 1 else [data]


async def play(exchange: Exchange, api: str, answer: bytes | list[bytes]) -> Heard:
    """What a caller hears where the host says this; whole or streamed as the answer is."""
    provider = exchange.provider(stream=False)
    provider = Pieces(exchange.api, answer)
    provider.quirks = exchange.provider(stream=False).quirks
    gateway = Gateway(models={ALIAS: Target(provider, exchange.model)})
    return await ask(gateway, api, question(api, [], model=ALIAS, stream=isinstance(answer, list)))


def clean(heard: Heard, api: str, *, stream: bool) -> list[str]:
    """What is wrong with an answer that may be an error, but a lawful one."""
    if heard.status != 200:
        error = heard.json().get("error")
        named = isinstance(error, dict) and bool(error.get("message"))
        return [] if named and heard.status != 500 else [f"{heard.status}: {heard.body[:300]!r}"]
    try:
        if stream and any("error" in event or event.get("type") in FAILED for event in heard.events()):
            return []
        return unlawful(api, heard, stream=stream)
    except json.JSONDecodeError:
        return []  # the arguments of a call: they are the host's, and have been told in pieces
    except Exception as error:  # noqa: BLE001  whatever the laws trip over is a fault of the stream
        return [f"{type(error).__name__}: {error}"]


def told(heard: Heard, api: str, exchange: Exchange, *, stream: bool) -> Any:
    """What it says, as far as that can be compared: None for an error."""
    if heard.status != 200:
        return None
    body = joined(api, heard.events()) if stream else heard.json()
    return comparable(OF_WHOLE[api](body), api, exchange.said)


@pytest.fixture(autouse=True)
def nothing_is_raised(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No exception but the gateway's own: it logs the others."""
    with caplog.at_level(logging.ERROR, logger="aigateway"):
        yield
    assert [record.getMessage() + str(record.exc_info) for record in caplog.records] == []


@each_exchange
async def test_a_spoilt_answer_breaks_nothing(exchange: Exchange) -> None:
    random = Random(exchange.name)
    events = events_of(exchange)
    found: list[Any] = []
    for number in range(PER_EXCHANGE):
        api = CALLERS[(number + len(exchange.name)) % len(CALLERS)]
        if api == exchange.api:
            continue
        whole, deed = spoilt(exchange.whole, random)
        heard = await play(exchange, api, json.dumps(whole).encode())
        found += [(api, deed, fault) for fault in clean(heard, api, stream=False)]
        if exchange.api == "converse":
            place = random.randrange(len(events))
            made, deed = spoilt(events[place][1], random) if events[place][1] else (events[place][1], "")
            changed = [*events[:place], (events[place][0], made), *events[place + 1 :]]
        else:
            changed, deed = spoilt_stream(events, random)
        heard = await play(exchange, api, stream_of(exchange.api, changed, random))
        found += [(api, deed, fault) for fault in clean(heard, api, stream=True)]
    assert found == []


@each_exchange
async def test_what_is_new_in_an_answer_changes_nothing_that_it_says(exchange: Exchange) -> None:
    random = Random(exchange.name)
    events = events_of(exchange)
    found: list[Any] = []
    for number in range(PER_EXCHANGE):
        api = CALLERS[(number + len(exchange.name)) % len(CALLERS)]
        if api == exchange.api:
            continue
        whole, deed = grown(exchange.whole, random)
        heard = await play(exchange, api, json.dumps(whole).encode())
        found += [(api, deed, fault) for fault in clean(heard, api, stream=False)]
        found += _unequal(exchange, told(heard, api, exchange, stream=False), api, deed)
        if exchange.api == "converse":
            place = random.randrange(len(events))
            changed = [*events[:place], ("notYetInvented", {"odd": 1}), *events[place:]]
            deed = f"a new event at {place}"
        else:
            changed, deed = grown_stream(events, random, api=exchange.api)
        heard = await play(exchange, api, stream_of(exchange.api, changed, random))
        found += [(api, deed, fault) for fault in clean(heard, api, stream=True)]
        found += _unequal(exchange, told(heard, api, exchange, stream=True), api, deed)
    assert found == []


def _unequal(exchange: Exchange, heard: Any, api: str, deed: str) -> list[Any]:
    if heard is None:
        return [(api, deed, "an error")]
    differing = differences(heard, comparable(exchange.said, api, exchange.said))
    if "word" in deed:
        differing.pop("finish", None)
    return [(api, deed, differing)] if differing else []


@each_exchange
async def test_null_is_as_good_as_nothing(exchange: Exchange) -> None:
    random = Random(exchange.name)
    found: list[Any] = []
    for number in range(PER_EXCHANGE):
        api = CALLERS[(number + len(exchange.name)) % len(CALLERS)]
        if api == exchange.api:
            continue
        path = random.choice(spots(exchange.whole))
        one = await play(exchange, api, json.dumps(nulled(exchange.whole, path)).encode())
        other = await play(exchange, api, json.dumps(without(exchange.whole, path)).encode())
        if one.status != other.status:
            found.append((api, path, one.status, other.status, one.body[:200], other.body[:200]))
        elif one.status == 200:
            differing = differences(*(told(heard, api, exchange, stream=False) for heard in (one, other)))
            found += [(api, path, differing)] if differing else []
    assert found == []


class Readers:
    """Hooks that look at everything."""

    def after_response(self, call: Call, response: Any) -> None:
        assert isinstance([response.texts(), response.model, response.usage, response.finish_reason], list)

    def on_event(self, call: Call, event: Any) -> Any:
        assert isinstance([event.type, event.text, event.usage], list)
        return event


@each_exchange
async def test_hooks_can_read_a_spoilt_answer_that_is_passed_on(exchange: Exchange) -> None:
    if exchange.api == "converse":
        return  # nobody asks in it
    random = Random(exchange.name)
    events = events_of(exchange)
    for _ in range(PER_EXCHANGE):
        whole, _ = spoilt(exchange.whole, random)
        changed, _ = spoilt_stream(events, random)
        for answer in (json.dumps(whole).encode(), stream_of(exchange.api, changed, random)):
            provider = Pieces(exchange.api, answer)
            gateway = Gateway(models={ALIAS: Target(provider, exchange.model)}, hooks=[Readers()])
            asked = question(exchange.api, [], model=ALIAS, stream=isinstance(answer, list))
            assert (await ask(gateway, exchange.api, asked)).status != 500
