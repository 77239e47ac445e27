"""Responses and conversations held to a model of the API that a child could read, over any course of calls, on every store."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from aigateway import _json
from aigateway.errors import GatewayError
from aigateway.ids import new_id
from aigateway.state import ResponseStore, open_store
from aigateway.state.paging import Page
from aigateway.state.record import Record
from aigateway.state.responses import Responses
from aigateway.state.state import State
from tests.state.conftest import BACKENDS, StoreURL

T = TypeVar("T")

TENANTS = ("a", "b")
_numbers = itertools.count()


def item(text: str) -> bytes:
    return _json.encode({"type": "message", "id": f"msg_{uuid.uuid4().hex}", "role": "user", "content": text})


def texts(items: list[bytes]) -> list[str]:
    return [_json.decode(one)["content"] for one in items]


class Machine(RuleBasedStateMachine):
    """What is kept, and beside it what ought to be: id -> (tenant, conversation or None, all texts, own texts)."""

    url = ""
    responses = Bundle("responses")
    conversations = Bundle("conversations")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.state = State(open_store(self.url), new_id=new_id)
        self.prefix = uuid.uuid4().hex
        self.kept: dict[str, tuple[str, str | None, list[str], list[str]]] = {}
        self.talks: dict[str, tuple[str, list[str]]] = {}
        self.erased: set[str] = set()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        try:
            for id in list(self.kept):  # noqa: A001
                self.run(self.state.responses.delete(self.prefix + self.kept.pop(id)[0], id))
            if self.state.store.name == "memory":
                logs = [key for key in self.state.store._objects if key[1] == "l" and key[2] not in self.talks]  # type: ignore[attr-defined]
                assert logs == []  # what nobody can read is not kept
        finally:
            self.run(self.state.aclose())
            self.loop.close()

    def finish(self, tenant: str, count: int, previous: str | None, conversation: str | None) -> str:
        id = f"resp_{uuid.uuid4().hex}"  # noqa: A001
        own = [f"{next(_numbers)}" for _ in range(count + 1)]
        record = Record(status="completed", body=_json.encode({"id": id, "output": []}), conversation=conversation)
        tenant_key = self.prefix + tenant
        before: list[str] = []
        earlier = None
        if previous is not None:
            earlier = self.run(self.state.responses.previous(tenant_key, previous)).record
            before = self.kept[previous][2]
        if conversation is not None:
            before = list(self.talks[conversation][1])
        items = [item(text) for text in own]
        done = self.run(
            self.state.responses.finish(
                tenant_key, id, record, items[:-1], items[-1:], previous=earlier, conversation_log=conversation
            )
        )
        assert done
        self.kept[id] = tenant, conversation, [*before, *own], own
        if conversation is not None:
            self.talks[conversation][1].extend(own)
        return id

    @initialize()
    def nothing(self) -> None:
        assert self.run(self.state.responses.find(self.prefix, "resp_none")) is None

    @rule(target=responses, tenant=st.sampled_from(TENANTS), count=st.integers(0, 3))
    def first(self, tenant: str, count: int) -> str:
        return self.finish(tenant, count, None, None)

    @rule(target=responses, previous=responses, count=st.integers(0, 3))
    def goes_on(self, previous: str, count: int) -> str:
        if previous not in self.kept:
            return previous
        return self.finish(self.kept[previous][0], count, previous, None)

    @rule(response=consumes(responses))
    def deleted(self, response: str) -> None:
        known = self.kept.pop(response, None)
        if known is None:
            return
        tenant = self.prefix + known[0]
        self.run(self.state.responses.delete(tenant, response))
        assert self.run(self.state.responses.find(tenant, response)) is None
        with pytest.raises(GatewayError):
            self.run(self.state.responses.delete(tenant, response))

    @rule(target=conversations, tenant=st.sampled_from(TENANTS), count=st.integers(0, 3))
    def conversation(self, tenant: str, count: int) -> str:
        said = [f"{next(_numbers)}" for _ in range(count)]
        made = self.run(self.state.conversations.create(self.prefix + tenant, {}, [item(text) for text in said]))
        self.talks[made["id"]] = tenant, said
        return str(made["id"])

    @rule(target=responses, conversation=conversations, count=st.integers(0, 2))
    def turn_in(self, conversation: str, count: int) -> str:
        return self.finish(self.talks[conversation][0], count, None, conversation)

    @rule(conversation=conversations, place=st.integers(0, 5))
    def item_deleted(self, conversation: str, place: int) -> None:
        tenant, said = self.talks[conversation]
        if not said:
            return
        text = said.pop(place % len(said))
        self.erased.add(text)
        key = self.prefix + tenant
        listed = self.run(self.state.conversations.page(key, conversation, Page(limit=100)))["data"]
        (found,) = [one["id"] for one in listed if one["content"][0]["text"] == text]
        self.run(self.state.conversations.delete_item(key, conversation, found))

    @invariant()
    def everything_is_as_it_ought_to_be(self) -> None:
        responses: Responses = self.state.responses
        for id, (tenant, _, everything, own) in self.kept.items():  # noqa: A001
            record = self.run(responses.get(self.prefix + tenant, id)).record
            left = [text for text in everything if text not in self.erased]
            assert texts(self.run(responses.chain(self.prefix + tenant, record))) == left
            entries = self.run(responses.entries(self.prefix + tenant, record, record.start, record.end))
            assert texts([entry.data for entry in entries]) == [text for text in own if text not in self.erased]
            other = self.prefix + ("b" if tenant == "a" else "a")
            assert self.run(responses.find(other, id)) is None
        for id, (tenant, said) in self.talks.items():  # noqa: A001
            assert texts(self.run(self.state.conversations.items(self.prefix + tenant, id))) == said


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_course_of_calls_leaves_what_the_model_says(backend: str, store_url: StoreURL) -> None:
    examples, steps = (25, 25) if backend == "memory" else (5, 15)
    machine = type("OverStore", (Machine,), {"url": store_url(backend)})
    limits = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    run_state_machine_as_test(machine, settings=limits)


class Counting:
    """A store that counts what it is asked."""

    def __init__(self, store: ResponseStore) -> None:
        self._store = store
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found):
            return found

        def counted(*arguments: Any, **named: Any) -> Any:
            self.asked += 1
            return found(*arguments, **named)

        return counted


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
async def test_turn_costs_what_its_own_items_cost_however_long_the_chain(
    backend: str, store_url: StoreURL, tmp_path: Path
) -> None:
    """A thousand turns: each is written in one batch, and the whole is read back in two questions."""
    store: Any = Counting(open_store(store_url(backend)))
    responses = Responses(store, new_id, ttl=None)
    record, written = None, []
    for number in range(1000):
        before = store.asked
        made = Record(status="completed", body=b"{}")
        await responses.finish("t", f"r{number}", made, [item(str(number))], [item("said")], previous=record)
        written.append(store.asked - before)
        record = made
    assert set(written) == {1}
    store.asked = 0
    last = await responses.previous("t", "r999")
    assert len(await responses.chain("t", last.record)) == 2000
    assert store.asked == 2
    assert len(last.record.spans) == 1
    store.asked = 0
    branch = Record(status="completed", body=b"{}")
    middle = await responses.previous("t", "r500")
    await responses.finish("t", "branch", branch, [item("x")], [item("y")], previous=middle.record)
    assert store.asked <= 6
    assert texts(await responses.chain("t", branch))[-3:] == ["said", "x", "y"]
    assert len(await responses.chain("t", branch)) == 1004
    await store.aclose()


async def test_branches_of_branches_stay_quick_to_read() -> None:
    """Every turn branches off: the spans stay few, because now and then a turn copies its chain."""
    responses = Responses(open_store("memory://"), new_id, ttl=None)
    record = Record(status="completed", body=b"{}")
    await responses.finish("t", "r0", record, [item("0")], [], previous=None)
    for number in range(1, 200):
        left = Record(status="completed", body=b"{}")
        right = Record(status="completed", body=b"{}")
        await responses.finish("t", f"l{number}", left, [item("left")], [], previous=record)
        await responses.finish("t", f"r{number}", right, [item(str(number))], [], previous=record)
        record = right
        assert len(record.spans) <= 65
    assert texts(await responses.chain("t", record)) == [str(number) for number in range(200)]
