"""The whole API of state over real HTTP, held to a model of it over any course of calls, by two tenants, on every store.

The gate takes few courses over the stores that need no server. `AIGATEWAY_EXAMPLES=1000 pytest tests/state/test_api_machine.py`
takes many, over every store.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import aiohttp
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from aigateway import FunctionProvider, Gateway, Target
from aigateway.hooks.api_keys import APIKeyAuthenticator
from aigateway.state import open_store
from tests.serving import served
from tests.state.api_model import RUNNING, Item, Response, Talk, said_to, there, told_of
from tests.state.conftest import BACKENDS, StoreURL
from tests.state.rig import Object, Reply, texts_of

T = TypeVar("T")

TENANTS = st.sampled_from(["a", "b"])
PLACES = st.integers(0, 10_000)
COUNTS = st.integers(1, 3)
RARELY = st.integers(0, 9).map(lambda number: number == 0)
WAYS = st.sampled_from(["plain", "stream", "background", "background stream"])
_EXAMPLES = int(os.environ.get("AIGATEWAY_EXAMPLES", "0"))


class Upstream:
    """A model that remembers nothing. What it is to answer a text in `held` with waits, in the middle of the answer."""

    def __init__(self) -> None:
        self.held: dict[str, asyncio.Event] = {}
        self.told: dict[str, list[str]] = {}

    async def answer(self, body: Object) -> AsyncIterator[str]:
        told = texts_of(body)
        return self._pieces(told, self.held.get(told[-1]))

    async def _pieces(self, told: list[str], held: asyncio.Event | None) -> AsyncIterator[str]:
        text = said_to(told)
        self.told[text] = told
        yield text[:6]
        if held is not None:
            await held.wait()
        yield text[6:]


class Machine(RuleBasedStateMachine):
    """Asks the API, and compares with the model."""

    url: Callable[[], str]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.upstream = Upstream()
        self.numbers = itertools.count()
        self.responses: list[Response] = []
        self.talks: list[Talk] = []
        self.referred: set[Item] = set()
        self.releases: dict[Response, asyncio.Event] = {}
        self.readers: dict[Response, list[tuple[int, asyncio.Task[Reply]]]] = {}
        run = uuid.uuid4().hex
        keys = {f"sk-{tenant}": f"{tenant}-{run}" for tenant in "ab"}
        self.gateway = Gateway(
            models={"m": Target(FunctionProvider("up", self.upstream.answer))},
            hooks=[APIKeyAuthenticator(keys)],
            state=open_store(type(self).url()),
        )
        self.run(self.open())

    async def open(self) -> None:
        self.base = await self.stack.enter_async_context(served(self.gateway)) + "/v1"
        self.session = await self.stack.enter_async_context(aiohttp.ClientSession())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        async def in_time() -> T:
            async with asyncio.timeout(60):
                return await work

        return self.loop.run_until_complete(in_time())

    async def asked(self, tenant: str, method: str, path: str, body: Any = None) -> Reply:
        headers = {"authorization": f"Bearer sk-{tenant}"}
        async with self.session.request(method, self.base + path, json=body, headers=headers) as reply:
            return Reply(reply.status, await reply.read(), {})

    def ask(self, tenant: str, method: str, path: str, body: Any = None) -> Reply:
        return self.run(self.asked(tenant, method, path, body))

    def refused(self, reply: Reply, status: int, code: str) -> None:
        assert (reply.status, reply.json["error"]["code"]) == (status, code), reply.body

    def texts(self, count: int) -> list[Item]:
        return [Item("user", f"u{next(self.numbers)}") for _ in range(count)]

    # responses

    def base_of(self, tenant: str, kind: str, place: int, *, strange: bool) -> tuple[str, Response | Talk | None]:
        """What a new response goes on from, and whose call it is: its owner's, but for strangers."""
        kept: list[Any] = [*self.responses] if kind == "response" else [*self.talks] if kind else []
        if not kept:
            return tenant, None
        base = kept[-1 - place % len(kept)]
        owner: str = base.tenant
        return ("b" if owner == "a" else "a") if strange else owner, base

    @rule(
        tenant=TENANTS,
        kind=st.sampled_from(["", "response", "response", "talk"]),
        place=PLACES,
        strange=RARELY,
        way=WAYS,
        unstored=RARELY,
        holds=st.booleans(),
        count=COUNTS,
        refers=st.none() | PLACES,
    )
    def create(
        self,
        tenant: str,
        kind: str,
        place: int,
        strange: bool,
        way: str,
        unstored: bool,
        holds: bool,
        count: int,
        refers: int | None,
    ) -> None:
        tenant, base = self.base_of(tenant, kind, place, strange=strange)
        background, stream = "background" in way, "stream" in way
        new = self.texts(count)
        body: Object = {"model": "m", "input": [item.wire() for item in new], "stream": stream}
        if count == 1:
            body["input"] = new[0].text
        found = None if refers is None else self.reference(tenant, refers)
        if found is not None:
            body["input"] = [{"type": "item_reference", "id": found.id}, *(item.wire() for item in new)]
            self.referred.add(found)
            if isinstance(base, Talk):  # its items are its own
                found = Item(found.role, found.text)
            new.insert(0, found)
        if background:
            body["background"] = True
        if unstored:
            body["store"] = False
        before: list[Item] = []
        if isinstance(base, Response):
            body["previous_response_id"] = base.id
            before = base.context
        elif base is not None:
            body["conversation"] = base.id if place % 2 else {"id": base.id}
            before = list(base.items)
        why = self.reason_against(tenant, base, background=background, unstored=unstored)
        if why is not None:
            self.refused(self.ask(tenant, "POST", "/responses", body), *why)
            return
        answer = Item("assistant", said_to(told_of([*before, *new])))
        talk = base if isinstance(base, Talk) else None
        made = Response(tenant, "", before, new, [answer], talk, background)
        made.base = base if isinstance(base, Response) else None
        if background:
            self.begin(made, body, holds=holds, stream=stream)
        else:
            self.make(made, body, stream=stream, unstored=unstored)

    def reference(self, tenant: str, place: int) -> Item | None:
        known = [
            item
            for made in self.responses
            if made.tenant == tenant and not made.deleted and not made.is_running
            for item in there([*made.new, *made.output])
            if item.id
        ]
        return known[place % len(known)] if known else None

    def reason_against(
        self, tenant: str, base: Response | Talk | None, *, background: bool, unstored: bool
    ) -> tuple[int, str] | None:
        if background and unstored:
            return 400, "invalid_value"
        if base is None:
            return None
        lost = base.deleted or base.tenant != tenant
        if isinstance(base, Response):
            if lost:
                return 400, "previous_response_not_found"
            return (400, "response_not_completed") if base.is_running else None
        if lost:
            return 404, "not_found"
        return (409, "conversation_locked") if base.writer is not None and not unstored else None

    def make(self, made: Response, body: Object, *, stream: bool, unstored: bool) -> None:
        reply = self.ask(made.tenant, "POST", "/responses", body)
        assert reply.status == 200, reply.body
        wire = self.streamed(reply) if stream else reply.json
        assert wire["status"] == "completed"
        assert wire["store"] is not unstored
        assert wire["previous_response_id"] == body.get("previous_response_id")
        assert wire.get("conversation") == (None if made.talk is None else {"id": made.talk.id})
        self.check_output(made, wire)
        made.id, made.wire = wire["id"], wire
        made.output[0].id = wire["output"][0]["id"]
        made.stream = reply.body if stream else None
        if unstored:
            self.refused(self.ask(made.tenant, "GET", f"/responses/{made.id}"), 404, "not_found")
            return
        self.keep(made)

    def check_output(self, made: Response, wire: Object) -> None:
        (text,) = [part["text"] for item in wire["output"] for part in item["content"]]
        assert self.upstream.told[text] == told_of([*made.before, *made.new])
        assert text == made.output[0].text

    def streamed(self, reply: Reply) -> Object:
        """The response at the end of a stream that is whole."""
        events = reply.events
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert events[0]["type"] == "response.created"
        assert reply.body.endswith(b"data: [DONE]\n\n")
        assert len({event["response"]["id"] for event in events if "response" in event}) == 1
        wire: Object = events[-1]["response"]
        assert events[-1]["type"] == f"response.{wire['status']}"
        return wire

    def keep(self, made: Response) -> None:
        self.responses.append(made)
        if made.talk is not None:
            made.talk.items += made.new + made.output
        self.learn_ids(made)

    def learn_ids(self, made: Response) -> None:
        """The ids that the gateway gave to what a caller sent without."""
        listed = self.ask(made.tenant, "GET", f"/responses/{made.id}/input_items?order=asc&limit=100").json["data"]
        assert [one["content"][0]["text"] for one in listed] == [item.text for item in there(made.new)]
        for item, one in zip(there(made.new), listed, strict=True):
            item.id = one["id"]

    def begin(self, made: Response, body: Object, *, holds: bool, stream: bool) -> None:
        held = asyncio.Event()
        if holds:
            self.upstream.held[made.new[-1].told] = held
            self.releases[made] = held
        self.readers[made] = []
        if stream:
            made.id = self.run(self.begun(made, body))
        else:
            reply = self.ask(made.tenant, "POST", "/responses", body)
            assert reply.status == 200, reply.body
            made.id = reply.json["id"]
            assert (reply.json["status"], reply.json["output"], reply.json["background"]) == ("queued", [], True)
        made.status = "queued"
        self.responses.append(made)
        if made.talk is not None:
            made.talk.writer = made
        if not holds:
            self.ended(made)

    async def begun(self, made: Response, body: Object) -> str:
        """Begin to read a stream, which goes on to be read."""
        begun: asyncio.Future[str] = self.loop.create_future()

        async def read() -> Reply:
            headers = {"authorization": f"Bearer sk-{made.tenant}"}
            async with self.session.post(self.base + "/responses", json=body, headers=headers) as reply:
                assert reply.status == 200, await reply.read()
                first = await reply.content.readuntil(b"\n\n")
                begun.set_result(Reply(200, first, {}).events[0]["response"]["id"])
                return Reply(200, first + await reply.read(), {})

        reading = self.loop.create_task(read())
        self.readers[made].append((-1, reading))
        await asyncio.wait((reading, begun), return_when=asyncio.FIRST_COMPLETED)
        return begun.result() if begun.done() else str(reading.result())

    async def over(self, made: Response) -> Object:
        while True:
            wire: Object = (await self.asked(made.tenant, "GET", f"/responses/{made.id}")).json
            if wire["status"] not in RUNNING:
                return wire
            await asyncio.sleep(0.001)

    def ended(self, made: Response) -> None:
        """A response in the background has come to its end."""
        wire = self.run(self.over(made))
        assert wire["status"] == "completed", wire
        self.check_output(made, wire)
        made.status, made.wire = "completed", wire
        made.output[0].id = wire["output"][0]["id"]
        if made.talk is not None:
            made.talk.writer = None
            made.talk.items += made.new + made.output
        self.learn_ids(made)
        whole = self.ask(made.tenant, "GET", f"/responses/{made.id}?stream=true")
        assert self.streamed(whole) == wire
        made.stream = whole.body
        for after, reading in self.readers.pop(made):
            assert self.run(as_it_is(reading)).events == whole.events[after + 1 :]

    def one(self, place: int, *, running: bool | None = None) -> Response | None:
        fitting = [made for made in self.responses if running is None or made.is_running is running]
        return fitting[place % len(fitting)] if fitting else None

    @precondition(lambda self: any(made.is_running for made in self.responses))
    @rule(place=PLACES)
    def release(self, place: int) -> None:
        made = self.one(place, running=True)
        assert made is not None
        self.releases.pop(made).set()
        self.ended(made)

    @precondition(lambda self: any(made.is_running for made in self.responses))
    @rule(place=PLACES, after=st.integers(-1, 2))
    def follow(self, place: int, after: int) -> None:
        """Another reader of a stream that is still made."""
        made = self.one(place, running=True)
        assert made is not None
        path = f"/responses/{made.id}?stream=true" + (f"&starting_after={after}" if after >= 0 else "")
        self.readers[made].append((after, self.loop.create_task(self.asked(made.tenant, "GET", path))))

    @precondition(lambda self: self.responses)
    @rule(place=PLACES)
    def cancel(self, place: int) -> None:
        made = self.one(place)
        assert made is not None
        reply = self.ask(made.tenant, "POST", f"/responses/{made.id}/cancel")
        if made.deleted:
            self.refused(reply, 404, "not_found")
        elif not made.background:
            assert (reply.status, reply.json["error"]["param"]) == (400, "response_id")
        elif not made.is_running:
            assert reply.status == 200
            assert reply.json == made.wire or any(item.gone for item in made.output)
        else:
            assert (reply.status, reply.json["status"], reply.json["output"]) == (200, "cancelled", [])
            made.status, made.output, made.wire = "cancelled", [], reply.json
            self.stopped(made)
            self.learn_ids(made)

    def stopped(self, made: Response) -> None:
        """It was ended from without: whoever reads it comes to an end, and others may write."""
        if made.talk is not None:
            made.talk.writer = None
        for _, reading in self.readers.pop(made):
            reply = self.run(as_it_is(reading))
            if reply.status == 200:
                assert reply.body.endswith(b"data: [DONE]\n\n")
            else:
                self.refused(reply, 404, "not_found")

    @precondition(lambda self: self.responses)
    @rule(place=PLACES)
    def delete(self, place: int) -> None:
        made = self.one(place)
        assert made is not None
        if self.is_needed(made):
            return
        reply = self.ask(made.tenant, "DELETE", f"/responses/{made.id}")
        if made.deleted:
            self.refused(reply, 404, "not_found")
            return
        assert reply.json == {"id": made.id, "object": "response", "deleted": True}
        made.deleted = True
        if made.is_running:
            made.status = "deleted"
            self.stopped(made)

    def is_needed(self, made: Response) -> bool:
        """Whether others go on from it, or refer to items of it: what is deleted then, they no longer see."""
        goes_on = any(one.base is made for one in self.responses if one.is_running)
        return goes_on or any(item in self.referred for item in made.context)

    @precondition(lambda self: self.responses)
    @rule(place=PLACES, after=st.integers(0, 12))
    def look(self, place: int, after: int) -> None:
        made = self.one(place)
        assert made is not None
        self.check(made, after)

    def check(self, made: Response, after: int) -> None:
        path = f"/responses/{made.id}"
        other = "b" if made.tenant == "a" else "a"
        self.refused(self.ask(other, "GET", path), 404, "not_found")
        reply = self.ask(made.tenant, "GET", path)
        if made.deleted:
            for end in ("", "?stream=true", "/input_items"):
                self.refused(self.ask(made.tenant, "GET", path + end), 404, "not_found")
            return
        if made.is_running:
            assert reply.json["status"] in RUNNING
        elif not any(item.gone for item in made.output):
            assert reply.json == made.wire
        if made.stream is not None:
            whole = self.ask(made.tenant, "GET", f"{path}?stream=true")
            assert whole.body == made.stream
            rest = self.ask(made.tenant, "GET", f"{path}?stream=true&starting_after={after}")
            assert rest.events == whole.events[after + 1 :]
        elif not made.background:
            self.refused(self.ask(made.tenant, "GET", f"{path}?stream=true"), 410, "stream_expired")

    @precondition(lambda self: self.responses)
    @rule(place=PLACES, limit=st.integers(1, 3), order=st.sampled_from(["", "asc", "desc"]))
    def input_items(self, place: int, limit: int, order: str) -> None:
        made = self.one(place)
        if made is None or made.deleted:
            return
        self.pages(made.tenant, f"/responses/{made.id}/input_items", made.new, limit, order)

    def pages(self, tenant: str, path: str, items: list[Item], limit: int, order: str) -> None:
        """A list, read page by page."""
        expected = [item.text for item in there(items)]
        if order != "asc":
            expected.reverse()
        seen: list[str] = []
        after = ""
        while True:
            page = self.ask(tenant, "GET", f"{path}?limit={limit}{order and '&order=' + order}{after}").json
            texts = [one["content"][0]["text"] for one in page["data"]]
            seen += texts
            assert len(texts) == limit or not page["has_more"]
            assert page["has_more"] is (len(seen) < len(expected))
            ids = [one["id"] for one in page["data"]]
            assert (page["first_id"], page["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))
            if not page["has_more"]:
                break
            after = f"&after={page['last_id']}"
        assert seen == expected

    # conversations

    @rule(tenant=TENANTS, count=st.integers(0, 3))
    def converse(self, tenant: str, count: int) -> None:
        items = self.texts(count)
        metadata = {"n": str(next(self.numbers))}
        body = {"metadata": metadata, "items": [item.wire() for item in items]}
        made = self.ask(tenant, "POST", "/conversations", body).json
        assert (made["object"], made["metadata"]) == ("conversation", metadata)
        talk = Talk(tenant, made["id"], metadata, items)
        self.talks.append(talk)
        self.learn_items(talk)

    def learn_items(self, talk: Talk) -> None:
        listed = self.ask(talk.tenant, "GET", f"/conversations/{talk.id}/items?order=asc&limit=100").json["data"]
        if len(there(talk.items)) <= 100:
            for item, one in zip(there(talk.items), listed, strict=True):
                assert one["content"][0]["text"] == item.text
                item.id = one["id"]

    def talk(self, place: int) -> Talk:
        return self.talks[place % len(self.talks)]

    @precondition(lambda self: self.talks)
    @rule(place=PLACES, strange=RARELY)
    def talk_is_read_and_updated(self, place: int, strange: bool) -> None:
        talk = self.talk(place)
        path = f"/conversations/{talk.id}"
        tenant = ("b" if talk.tenant == "a" else "a") if strange else talk.tenant
        read, metadata = self.ask(tenant, "GET", path), {"n": str(next(self.numbers))}
        updated = self.ask(tenant, "POST", path, {"metadata": metadata})
        if strange or talk.deleted:
            for reply in (read, updated, self.ask(tenant, "GET", f"{path}/items")):
                self.refused(reply, 404, "not_found")
            return
        assert read.json["metadata"] == talk.metadata
        assert updated.json == read.json | {"metadata": metadata}
        talk.metadata = metadata

    @precondition(lambda self: self.talks)
    @rule(place=PLACES, count=COUNTS)
    def items_added(self, place: int, count: int) -> None:
        talk, items = self.talk(place), self.texts(count)
        body = {"items": [item.wire() for item in items]}
        reply = self.ask(talk.tenant, "POST", f"/conversations/{talk.id}/items", body)
        if talk.deleted:
            self.refused(reply, 404, "not_found")
        elif talk.writer is not None:
            self.refused(reply, 409, "conversation_locked")
        else:
            assert [one["content"][0]["text"] for one in reply.json["data"]] == [item.text for item in items]
            for item, one in zip(items, reply.json["data"], strict=True):
                item.id = one["id"]
            talk.items += items

    @precondition(lambda self: self.talks)
    @rule(place=PLACES, limit=st.integers(1, 5), order=st.sampled_from(["", "asc", "desc"]))
    def items_listed(self, place: int, limit: int, order: str) -> None:
        talk = self.talk(place)
        if not talk.deleted:
            self.pages(talk.tenant, f"/conversations/{talk.id}/items", talk.items, limit, order)

    @precondition(lambda self: any(there(talk.items) for talk in self.talks))
    @rule(place=PLACES, number=PLACES)
    def item_deleted(self, place: int, number: int) -> None:
        talk = self.talk(place)
        if not there(talk.items):
            return
        item = there(talk.items)[number % len(there(talk.items))]
        path = f"/conversations/{talk.id}/items/{item.id}"
        if any(item in one.context for one in self.responses if one.is_running and one.talk is not talk):
            return  # whether it is told is a matter of chance
        read = self.ask(talk.tenant, "GET", path)
        if talk.deleted:
            self.refused(read, 404, "not_found")
            return
        assert read.json["content"][0]["text"] == item.text
        deleted = self.ask(talk.tenant, "DELETE", path)
        if talk.writer is not None:
            self.refused(deleted, 409, "conversation_locked")
            return
        assert (deleted.status, deleted.json["id"]) == (200, talk.id)
        item.gone = True
        self.refused(self.ask(talk.tenant, "GET", path), 404, "not_found")

    @precondition(lambda self: self.talks)
    @rule(place=PLACES, really=st.booleans())
    def talk_deleted(self, place: int, really: bool) -> None:
        talk = self.talk(place)
        if not really or talk.writer is not None:
            return
        reply = self.ask(talk.tenant, "DELETE", f"/conversations/{talk.id}")
        if talk.deleted:
            self.refused(reply, 404, "not_found")
            return
        assert reply.json == {"id": talk.id, "object": "conversation.deleted", "deleted": True}
        talk.deleted = True

    # the end

    def teardown(self) -> None:
        try:
            for made, held in list(self.releases.items()):
                if made.is_running:
                    held.set()
                    self.ended(made)
            for made in self.responses:
                self.check(made, 1)
                if not made.deleted:
                    assert self.ask(made.tenant, "DELETE", f"/responses/{made.id}").status == 200
            self.nothing_is_left()
        finally:
            for readers in self.readers.values():
                for _, reading in readers:
                    reading.cancel()
            try:
                self.run(self.stack.aclose())
            finally:
                self.loop.close()

    def nothing_is_left(self) -> None:
        self.run(self.gateway.keeping.runs.ended())
        store: Any = self.gateway.keeping.state.store
        if store.name == "memory":
            kept = {key[1:] for key in store._objects}
            talks = {name for talk in self.talks for name in (("d", "conversation", talk.id), ("l", talk.id))}
            assert kept <= talks, kept - talks
            assert store._leases == {}


async def as_it_is(task: asyncio.Task[T]) -> T:
    return await task


@pytest.mark.parametrize("backend", BACKENDS if _EXAMPLES else BACKENDS[:2])
def test_any_course_of_calls_is_answered_as_the_model_says(backend: str, own_store_url: StoreURL) -> None:
    machine = type("OverHTTP", (Machine,), {"url": staticmethod(lambda: own_store_url(backend))})
    limits = settings(
        max_examples=_EXAMPLES // 10 or (8 if backend == "memory" else 4),
        stateful_step_count=60,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # to shrink one takes minutes
    )
    run_state_machine_as_test(machine, settings=limits)
