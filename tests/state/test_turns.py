"""Turns that go on from what was kept, on upstreams that remember nothing, over every store and with both upstream APIs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from aigateway import _json
from aigateway.hooks.api_keys import APIKeyAuthenticator
from aigateway.state import MemoryStore, ResponseStore, open_store
from aigateway.state.encryption import EncryptedStore
from aigateway.state.protocol import Append, Put
from aigateway.testing import ReceivedRequest, Script
from tests.state.conftest import BACKENDS, StoreURL
from tests.state.rig import Object, Rig, answer, rigged, texts_of

pytestmark = pytest.mark.usefixtures("registered")

APIS = ("chat", "responses")
BOTH_WAYS = pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])


@pytest.fixture(params=APIS)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """Over each upstream API, with the store of the library's default."""
    async with rigged(request.param) as made:
        yield made


async def turn(rig: Rig, input: Any, *, stream: bool, **fields: Any) -> Object:
    reply = await rig.ask("POST", "/responses", {"model": "m", "input": input, "stream": stream, **fields})
    assert reply.status == 200, reply.body
    value: Object = reply.events[-1]["response"] if stream else reply.json
    assert value["status"] == "completed"
    return value


def text_of(response: Object) -> str:
    return str(response["output"][-1]["content"][0]["text"])


@BOTH_WAYS
async def test_next_turn_sees_input_and_output_of_the_ones_before(rig: Rig, stream: bool) -> None:
    one = await turn(rig, "first", stream=stream)
    two = await turn(rig, "second", stream=stream, previous_response_id=one["id"])
    assert two["previous_response_id"] == one["id"]
    three = await turn(rig, [{"role": "user", "content": "third"}], stream=stream, previous_response_id=two["id"])
    assert rig.told == ["user: first", "assistant: saw 1", "user: second", "assistant: saw 3", "user: third"]
    assert text_of(three) == "saw 5"
    assert three["id"] not in (one["id"], two["id"])


async def test_a_turn_may_branch_from_any_earlier_one(rig: Rig) -> None:
    one = await rig.turn("first")
    two = await rig.turn("second", previous_response_id=one["id"])
    for name in ("a", "b"):
        branch = await rig.turn(name, previous_response_id=one["id"])
        assert rig.told == ["user: first", "assistant: saw 1", f"user: {name}"]
        await rig.turn(f"{name}{name}", previous_response_id=branch["id"])
        assert rig.told == [
            "user: first",
            "assistant: saw 1",
            f"user: {name}",
            "assistant: saw 3",
            f"user: {name}{name}",
        ]
    await rig.turn("third", previous_response_id=two["id"])
    assert rig.told == ["user: first", "assistant: saw 1", "user: second", "assistant: saw 3", "user: third"]


async def test_instructions_are_not_inherited(rig: Rig) -> None:
    one = await rig.turn("first", instructions="be brief")
    await rig.turn("second", previous_response_id=one["id"])
    assert len(rig.told) == 3
    assert "be brief" not in str(rig.told)
    assert not rig.upstream.requests[-1].json().get("instructions")


async def test_result_of_a_call_of_the_chain_is_taken_and_of_another_refused() -> None:
    async with rigged("chat") as rig:
        one = await rig.turn("call")
        assert one["output"][0]["type"] == "function_call"
        result = {"type": "function_call_output", "call_id": "call_1", "output": "42"}
        await rig.turn([result], previous_response_id=one["id"])
        assert rig.told == ["user: call", "call_1()", "call_1 = 42"]
        result["call_id"] = "call_2"
        sent = len(rig.upstream.requests)
        refused = await rig.ask(
            "POST", "/responses", {"model": "m", "input": [result], "previous_response_id": one["id"]}
        )
        assert refused.status == 400
        assert "call_2" in refused.json["error"]["message"]
        assert refused.json["error"]["param"] == "input"
        assert len(rig.upstream.requests) == sent


@BOTH_WAYS
async def test_unknown_previous_response_is_a_400_with_its_code(stream: bool) -> None:
    async with rigged("chat") as rig:
        body = {"model": "m", "input": "x", "previous_response_id": "resp_none", "stream": stream}
        reply = await rig.ask("POST", "/responses", body)
        error = reply.json["error"]
        assert (reply.status, error["param"], error["code"]) == (
            400,
            "previous_response_id",
            "previous_response_not_found",
        )
        assert not rig.upstream.requests


@BOTH_WAYS
async def test_response_with_store_false_is_not_kept(rig: Rig, stream: bool) -> None:
    one = await turn(rig, "first", stream=stream, store=False)
    rig.upstream.requests.clear()
    kept = rig.gateway.keeping.state
    assert await kept.responses.find("", one["id"]) is None
    assert kept.store.size == 0  # type: ignore[attr-defined]
    stored = await turn(rig, "first", stream=stream)
    unstored = await turn(rig, "second", stream=stream, store=False, previous_response_id=stored["id"])
    assert text_of(unstored) == "saw 3"
    assert unstored["store"] is False
    assert await kept.responses.find("", unstored["id"]) is None


@BOTH_WAYS
async def test_kept_response_is_retrieved_as_it_was_answered(rig: Rig, stream: bool) -> None:
    one = await turn(rig, "first", stream=stream, metadata={"a": "b"})
    got = await rig.ask("GET", f"/responses/{one['id']}")
    assert (got.status, got.json) == (200, one)
    two = await turn(rig, "second", stream=stream, previous_response_id=one["id"])
    assert (await rig.ask("GET", f"/responses/{two['id']}")).json == two
    assert (await rig.ask("GET", f"/responses/{one['id']}")).json == one


async def test_input_items_come_in_pages(rig: Rig) -> None:
    items = [{"role": "user", "content": str(number)} for number in range(5)]
    one = await rig.turn(items)
    two = await rig.turn("more", previous_response_id=one["id"])
    path = f"/responses/{one['id']}/input_items"
    everything = (await rig.ask("GET", f"{path}?order=asc")).json
    assert [item["content"][0]["text"] for item in everything["data"]] == ["0", "1", "2", "3", "4"]
    assert all(item["id"].startswith("msg_") and item["type"] == "message" for item in everything["data"])
    ids = [item["id"] for item in everything["data"]]
    assert (everything["first_id"], everything["last_id"], everything["has_more"]) == (ids[0], ids[4], False)
    page = (await rig.ask("GET", f"{path}?limit=2")).json
    assert ([item["id"] for item in page["data"]], page["has_more"]) == ([ids[4], ids[3]], True)
    page = (await rig.ask("GET", f"{path}?limit=2&after={ids[3]}")).json
    assert ([item["id"] for item in page["data"]], page["has_more"]) == ([ids[2], ids[1]], True)
    page = (await rig.ask("GET", f"{path}?limit=2&after={ids[2]}&order=asc")).json
    assert ([item["id"] for item in page["data"]], page["has_more"]) == (ids[3:], False)
    (own,) = (await rig.ask("GET", f"/responses/{two['id']}/input_items")).json["data"]
    assert own["content"] == [{"type": "input_text", "text": "more"}]
    for query in ("limit=0", "limit=101", "limit=x", "order=up", "after=msg_none"):
        assert (await rig.ask("GET", f"{path}?{query}")).status == 400


async def test_deleted_response_is_gone_and_later_turns_still_know_their_context(rig: Rig) -> None:
    one = await rig.turn("first")
    two = await rig.turn("second", previous_response_id=one["id"])
    gone = await rig.ask("DELETE", f"/responses/{one['id']}")
    assert (gone.status, gone.json) == (200, {"id": one["id"], "object": "response", "deleted": True})
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/input_items")):
        if rig.upstream.requests[-1].path.endswith("/chat/completions"):
            assert (await rig.ask(method, f"/responses/{one['id']}{path}")).status == 404
    await rig.turn("third", previous_response_id=two["id"])
    assert rig.told == ["user: first", "assistant: saw 1", "user: second", "assistant: saw 3", "user: third"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
async def test_nothing_is_left_of_a_chain_whose_responses_are_all_deleted(order: tuple[int, ...]) -> None:
    async with rigged("chat") as rig:
        ids: list[str] = []
        for number in range(3):
            ids.append((await rig.turn(str(number), previous_response_id=ids[-1] if ids else None))["id"])
        store: Any = rig.gateway.keeping.state.store
        for place in order:
            assert (await rig.ask("DELETE", f"/responses/{ids[place]}")).status == 200
        assert [key for key in store._objects if key[1] == "l"] == []


async def test_item_that_a_conversation_got_by_reference_is_one_of_its_own(rig: Rig) -> None:
    one = await rig.turn("first")
    made = (await rig.ask("POST", "/conversations", {})).json
    id = one["output"][0]["id"]  # noqa: A001
    await rig.turn([{"type": "item_reference", "id": id}], conversation=made["id"])
    path = f"/conversations/{made['id']}/items"
    copied = (await rig.ask("GET", path)).json["data"][-1]
    assert (copied["content"][0]["text"], copied["id"] == id) == ("saw 1", False)
    id = copied["id"]  # noqa: A001
    assert (await rig.ask("GET", f"{path}/{id}")).json["content"][0]["text"] == "saw 1"
    assert (await rig.ask("DELETE", f"{path}/{id}")).status == 200
    assert (await rig.ask("GET", f"{path}/{id}")).status == 404
    await rig.turn("more", conversation=made["id"])
    assert rig.told == ["assistant: saw 1", "user: more"]


@pytest.mark.parametrize("keys", [{}, {"sk-1": "t"}], ids=["for all", "tenants"])
@pytest.mark.parametrize("api", APIS)
async def test_turns_go_on_without_an_item_that_they_referred_to_and_that_was_deleted(api: str, keys: Any) -> None:
    async with rigged(api, hooks=[APIKeyAuthenticator(keys)] if keys else []) as rig:
        rig.key = next(iter(keys), "")
        one = await rig.turn("first")
        reference = {"type": "item_reference", "id": one["output"][0]["id"]}
        two = await rig.turn([reference, {"role": "user", "content": "second"}])
        assert rig.told == ["assistant: saw 1", "user: second"]
        rig.upstream.answer_with(answer)
        await rig.ask("DELETE", f"/responses/{one['id']}")
        await rig.turn("third", previous_response_id=two["id"])
        assert rig.told == ["user: second", "assistant: saw 2", "user: third"]


async def test_reference_to_a_kept_item_is_put_in_its_place(rig: Rig) -> None:
    one = await rig.turn("first")
    reference = {"type": "item_reference", "id": one["output"][0]["id"]}
    two = await rig.turn([{"role": "user", "content": "first"}, reference, {"role": "user", "content": "second"}])
    assert rig.told == ["user: first", "assistant: saw 1", "user: second"]
    listed = (await rig.ask("GET", f"/responses/{two['id']}/input_items?order=asc")).json["data"]
    assert [item["role"] for item in listed] == ["user", "assistant", "user"]
    await rig.turn("third", previous_response_id=two["id"])
    assert rig.told == ["user: first", "assistant: saw 1", "user: second", "assistant: saw 3", "user: third"]


@pytest.mark.parametrize("backend", BACKENDS)
@BOTH_WAYS
async def test_chains_are_kept_in_every_store_and_survive_the_gateway(
    backend: str, stream: bool, store_url: StoreURL, tenant: str
) -> None:
    url = store_url(backend)
    auth = APIKeyAuthenticator({"sk-1": tenant})
    shared: ResponseStore | None = open_store(url) if backend == "memory" else None
    async with rigged("chat", state=shared or open_store(url), hooks=[auth]) as rig:
        rig.key = "sk-1"
        one = await turn(rig, "first", stream=stream)
    async with rigged("chat", state=shared or open_store(url), hooks=[auth]) as rig:
        rig.key = "sk-1"
        two = await turn(rig, "second", stream=stream, previous_response_id=one["id"])
        assert rig.told == ["user: first", "assistant: saw 1", "user: second"]
        branch = await turn(rig, "other", stream=stream, previous_response_id=one["id"])
        assert rig.told == ["user: first", "assistant: saw 1", "user: other"]
        assert (await rig.ask("GET", f"/responses/{one['id']}")).json == one
        assert (await rig.ask("GET", f"/responses/{two['id']}")).json == two
        assert (await rig.ask("DELETE", f"/responses/{two['id']}")).status == 200
        assert (await rig.ask("GET", f"/responses/{two['id']}")).status == 404
        assert (await rig.ask("GET", f"/responses/{branch['id']}")).json == branch
        assert (await rig.ask("GET", f"/responses/{one['id']}/input_items")).json["data"][0]["role"] == "user"


# a provider that keeps responses itself


async def test_provider_that_keeps_responses_goes_on_from_its_own_id() -> None:
    async with rigged("responses", keeps=True) as rig:
        one = await rig.turn("first")
        two = await rig.turn("second", previous_response_id=one["id"])
        sent = rig.upstream.requests[-1].json()
        assert (sent["previous_response_id"], rig.told) == (one["id"], ["user: second"])
        assert two["previous_response_id"] == one["id"]


async def test_deleted_response_is_deleted_at_its_provider_too() -> None:
    async with rigged("responses", keeps=True) as rig:
        one = await rig.turn("first")
        two = await rig.turn("second", previous_response_id=one["id"])
        assert (await rig.ask("DELETE", f"/responses/{one['id']}")).status == 200
        assert (rig.upstream.requests[-1].method, rig.upstream.requests[-1].path) == (
            "DELETE",
            f"/v1/responses/{one['id']}",
        )
        assert (await rig.ask("GET", f"/responses/{two['id']}")).json == two
    async with rigged("responses") as rig:
        one = await rig.turn("first")
        sent = len(rig.upstream.requests)
        assert (await rig.ask("DELETE", f"/responses/{one['id']}")).status == 200
        assert len(rig.upstream.requests) == sent


async def test_chain_is_told_in_full_where_the_provider_has_forgotten_it() -> None:
    async with rigged("responses", keeps=True) as rig:
        one = await rig.turn("first")
        answer = rig.upstream._answerer
        assert answer is not None

        def forgetful(request: Any) -> Any:
            from aigateway.testing import Script  # noqa: PLC0415

            if request.json().get("previous_response_id"):
                error = {"message": "not found", "type": "invalid_request_error", "code": "previous_response_not_found"}
                return Script.of_json({"error": error}, 400)
            return answer(request)

        rig.upstream.answer_with(forgetful)
        two = await rig.turn("second", previous_response_id=one["id"])
        assert rig.told == ["user: first", "assistant: saw 1", "user: second"]
        assert two["previous_response_id"] == one["id"]


async def test_unknown_id_goes_to_the_provider_only_where_nobody_needs_a_key() -> None:
    async with rigged("responses") as rig:
        await rig.turn("x", previous_response_id="resp_theirs")
        assert rig.upstream.requests[-1].json()["previous_response_id"] == "resp_theirs"
    async with rigged("responses", hooks=[APIKeyAuthenticator({"sk-1": "t"})]) as rig:
        rig.key = "sk-1"
        for method, path, body in (
            ("POST", "/responses", {"model": "m", "input": "x", "previous_response_id": "resp_theirs"}),
            ("GET", "/responses/resp_theirs", None),
            ("DELETE", "/responses/resp_theirs", None),
            ("POST", "/responses", {"model": "m", "input": [{"type": "item_reference", "id": "msg_theirs"}]}),
        ):
            assert (await rig.ask(method, path, body)).status in (400, 404)
        assert not rig.upstream.requests


async def test_ids_that_an_upstream_gives_twice_become_two(rig: Rig) -> None:
    from tests.answers import RESPONSES_REPLY  # noqa: PLC0415

    async with rigged("responses") as made:
        from aigateway.testing import Script  # noqa: PLC0415

        made.upstream.script(Script.of_json(RESPONSES_REPLY))
        one, two = await made.turn("first"), await made.turn("other")
        assert one["id"] != two["id"]
        (item,) = (await made.ask("GET", f"/responses/{one['id']}/input_items")).json["data"]
        assert item["content"][0]["text"] == "first"


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("previous_response_id", 5),
        ("store", "yes"),
        ("background", "yes"),
        ("context_management", {"type": "compaction"}),
        ("context_management", [{"type": "compaction", "compact_threshold": "many"}]),
    ],
)
async def test_field_of_a_wrong_type_is_a_400_that_names_it(param: str, value: Any) -> None:
    async with rigged("chat") as rig:
        for path in ("/responses", "/responses/input_tokens", "/responses/compact"):
            reply = await rig.ask("POST", path, {"model": "m", "input": "x", param: value})
            assert (reply.status, reply.json["error"]["param"]) == (400, param), reply.body
            assert reply.json["error"]["code"] == "invalid_type"
        assert not rig.upstream.requests


# conversations


async def test_turns_of_a_conversation_see_and_add_to_it(rig: Rig) -> None:
    made = (
        await rig.ask("POST", "/conversations", {"metadata": {"a": "b"}, "items": [{"role": "user", "content": "0"}]})
    ).json
    assert (made["object"], made["metadata"]) == ("conversation", {"a": "b"})
    one = await rig.turn("1", conversation=made["id"])
    assert one["conversation"] == {"id": made["id"]}
    two = await turn(rig, "2", stream=True, conversation={"id": made["id"]})
    assert rig.told == ["user: 0", "user: 1", "assistant: saw 2", "user: 2"]
    items = (await rig.ask("GET", f"/conversations/{made['id']}/items?order=asc")).json["data"]
    assert texts_of({"input": items}) == ["user: 0", "user: 1", "assistant: saw 2", "user: 2", "assistant: saw 4"]
    assert (await rig.ask("GET", f"/responses/{two['id']}")).json == two
    (own,) = (await rig.ask("GET", f"/responses/{two['id']}/input_items")).json["data"]
    assert own["content"][0]["text"] == "2"
    unstored = await rig.turn("3", conversation=made["id"], store=False)
    assert text_of(unstored) == "saw 6"
    assert len((await rig.ask("GET", f"/conversations/{made['id']}/items")).json["data"]) == 5
    branch = await rig.turn("branch", previous_response_id=one["id"])
    assert rig.told == ["user: 0", "user: 1", "assistant: saw 2", "user: branch"]
    assert branch["previous_response_id"] == one["id"]


async def test_conversations_are_changed_and_deleted(rig: Rig) -> None:
    made = (await rig.ask("POST", "/conversations", {})).json
    path = f"/conversations/{made['id']}"
    changed = (await rig.ask("POST", path, {"metadata": {"x": "y"}})).json
    assert changed == made | {"metadata": {"x": "y"}}
    assert (await rig.ask("GET", path)).json == changed
    added = (await rig.ask("POST", f"{path}/items", {"items": [{"role": "user", "content": c} for c in "abc"]})).json
    ids = [item["id"] for item in added["data"]]
    assert (await rig.ask("GET", f"{path}/items/{ids[1]}")).json["content"][0]["text"] == "b"
    assert (await rig.ask("DELETE", f"{path}/items/{ids[1]}")).json == changed
    assert (await rig.ask("GET", f"{path}/items/{ids[1]}")).status == 404
    assert [item["id"] for item in (await rig.ask("GET", f"{path}/items?limit=2")).json["data"]] == [ids[2], ids[0]]
    await rig.turn("d", conversation=made["id"])
    assert rig.told == ["user: a", "user: c", "user: d"]
    gone = await rig.ask("DELETE", path)
    assert gone.json == {"id": made["id"], "object": "conversation.deleted", "deleted": True}
    assert (await rig.ask("GET", path)).status == 404
    refused = await rig.ask("POST", "/conversations", {"metadata": {"a": 1}})
    assert (refused.status, refused.json["error"]["param"]) == (400, "metadata")


async def test_conversation_has_one_writer_at_a_time() -> None:
    async with rigged("chat") as rig:
        made = (await rig.ask("POST", "/conversations", {})).json
        held = asyncio.Event()
        answer = rig.upstream._answerer
        assert answer is not None

        def slowly(request: Any) -> Any:
            script = answer(request)
            script.hold = held
            return script

        rig.upstream.answer_with(slowly)
        first = asyncio.ensure_future(rig.turn("1", conversation=made["id"]))
        await rig.upstream.arrived.wait()
        body = {"model": "m", "input": "2", "conversation": made["id"]}
        for path, sends in (
            ("/responses", body),
            (f"/conversations/{made['id']}/items", {"items": [{"role": "user", "content": "x"}]}),
        ):
            refused = await rig.ask("POST", path, sends)
            assert (refused.status, refused.json["error"]["code"]) == (409, "conversation_locked")
        held.set()
        await first
        await rig.turn("2", conversation=made["id"])
        assert rig.told == ["user: 1", "assistant: saw 1", "user: 2"]


async def test_next_turn_of_a_conversation_may_follow_at_once(rig: Rig) -> None:
    made = (await rig.ask("POST", "/conversations", {})).json
    for number in range(12):
        await turn(rig, str(number), stream=number % 2 == 0, conversation=made["id"])
    assert len(rig.told) == 23


@pytest.mark.parametrize("api", APIS)
async def test_conversation_is_free_when_the_terminal_event_of_a_stream_arrives(api: str) -> None:
    """Not only once the stream is over: here the upstream does not end it before the next turn was answered."""
    async with rigged(api) as rig:
        made = (await rig.ask("POST", "/conversations", {})).json
        held = asyncio.Event()
        body = {"model": "m", "input": "1", "stream": True, "conversation": made["id"]}
        script = answer(ReceivedRequest("POST", "", {}, rig_body(api)))
        pieces = list(script.pieces or ())
        rig.upstream.script(
            Script(headers=script.headers, pieces=[*pieces, b": more\n\n"], hold_after=(len(pieces), held))
        )
        async with rig.session.post(f"{rig.url}/v1/responses", json=body) as first:
            async with asyncio.timeout(20):
                while b"response.completed" not in await first.content.readuntil(b"\n\n"):
                    pass
            rig.upstream.answer_with(answer)
            await rig.turn("2", conversation=made["id"])
            assert rig.told[0] == "user: 1"
            held.set()
            await first.read()


def rig_body(api: str) -> bytes:
    """A request for a stream, as the upstream gets it."""
    asked = {"messages": [{"role": "user", "content": "1"}]} if api == "chat" else {"input": "1"}
    return _json.encode(asked | {"stream": True})


async def test_items_that_refer_or_have_ids_of_their_own_are_kept_as_they_came(rig: Rig) -> None:
    made = (await rig.ask("POST", "/conversations", {})).json
    path = f"/conversations/{made['id']}/items"
    items = [
        {"id": "msg_mine", "role": "user", "content": "a"},
        {"id": None, "type": "message", "role": "user", "content": [{"type": "input_text", "text": "b"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
    ]
    added = (await rig.ask("POST", path, {"items": items})).json["data"]
    assert added[0]["id"] == "msg_mine"
    assert [one["id"].partition("_")[0] for one in added] == ["msg", "msg", "fc", "fco"]
    assert [one["type"] for one in added] == ["message", "message", "function_call", "function_call_output"]
    assert (await rig.ask("GET", f"{path}/msg_mine")).json == added[0]
    again = (await rig.ask("POST", "/conversations", {"items": items[:1]})).json
    assert (await rig.ask("GET", f"/conversations/{again['id']}/items/msg_mine")).status == 200
    assert (await rig.ask("GET", f"{path}/msg_mine")).status == 200
    page = (await rig.ask("GET", f"{path}?after=msg_mine&order=asc&limit=1")).json
    assert [one["id"] for one in page["data"]] == [added[1]["id"]]
    refused: list[Object] = [{"items": "x"}, {"items": [1]}, {"items": [{}] * 21}, {}]
    for body in refused:
        assert (await rig.ask("POST", path, body)).status == 400
    refused = [{"conversation": 5}, {"conversation": {}}]
    for body in refused:
        assert (await rig.ask("POST", "/responses", {"model": "m", "input": "x", **body})).status == 400


async def test_conversation_and_previous_response_exclude_each_other(rig: Rig) -> None:
    body = {"model": "m", "input": "x", "conversation": "conv_1", "previous_response_id": "resp_1"}
    reply = await rig.ask("POST", "/responses", body)
    assert reply.status == 400
    assert "not both" in reply.json["error"]["message"]


# leaving


async def test_stream_that_its_caller_leaves_is_kept_as_cancelled() -> None:
    async with rigged("chat") as rig:
        held = asyncio.Event()
        answer = rig.upstream._answerer
        assert answer is not None

        def slowly(request: Any) -> Any:
            script = answer(request)
            script.hold_after = (2, held)
            return script

        rig.upstream.answer_with(slowly)
        async with aiohttp.ClientSession() as session:
            response = await session.post(
                f"{rig.url}/v1/responses", json={"model": "m", "input": "first", "stream": True}
            )
            line = await response.content.readuntil(b"\n\n")
            id = line.partition(b'"id":"')[2].partition(b'"')[0].decode()  # noqa: A001
            response.close()
        await asyncio.wait_for(rig.upstream.left.wait(), 5)
        status = ""
        for _ in range(500):
            status = (await rig.ask("GET", f"/responses/{id}")).json["status"]
            if status == "cancelled":
                break
            await asyncio.sleep(0.01)
        assert status == "cancelled"


class Held(MemoryStore):
    """A store whose writes wait."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.open.set()
        self.waiting = asyncio.Event()
        self.holds: Any = lambda operations: False

    async def commit(self, tenant: str, operations: Any) -> None:
        if self.holds(operations):
            self.waiting.set()
            await self.open.wait()
        await super().commit(tenant, operations)


@pytest.mark.parametrize(
    ("path", "body", "end"),
    [
        ("/responses", {"input": "x"}, b"response.completed"),
        ("/chat/completions", {"messages": [{"role": "user", "content": "x"}]}, b"[DONE]"),
    ],
    ids=["responses", "chat"],
)
@BOTH_WAYS
async def test_nothing_that_ends_an_answer_leaves_before_it_is_kept(
    path: str, body: Object, end: bytes, stream: bool
) -> None:
    store = Held()
    store.open.clear()
    store.holds = lambda operations: any(
        isinstance(one, Append) or (isinstance(one, Put) and one.kind == "chat.completion") for one in operations
    )
    async with rigged("chat", state=store) as rig:
        seen = bytearray()
        asked = {"model": "m", "store": True, "stream": stream, **body}

        async def ask() -> None:
            async with rig.session.post(f"{rig.url}/v1{path}", json=asked) as response:
                async for chunk in response.content.iter_any():
                    seen.extend(chunk)

        asking = asyncio.create_task(ask())
        await asyncio.wait_for(store.waiting.wait(), 10)
        await asyncio.sleep(0.05)  # whatever would leave too early has left by then
        assert end not in seen
        assert bool(seen) is stream
        store.open.set()
        await asyncio.wait_for(asking, 10)
        assert not stream or end in seen


@pytest.mark.parametrize("kind", ["responses", "conversations", "chat/completions"])
async def test_what_was_encrypted_with_a_key_that_is_gone_says_so(kind: str) -> None:
    store = MemoryStore()
    ask: dict[str, Object] = {
        "responses": {"model": "m", "input": "x"},
        "conversations": {},
        "chat/completions": {"model": "m", "store": True, "messages": [{"role": "user", "content": "x"}]},
    }
    hooks = [APIKeyAuthenticator({"sk-1": "t"})]
    async with rigged("chat", state=EncryptedStore(store, [bytes(32)]), hooks=hooks) as rig:
        rig.key = "sk-1"
        id = (await rig.ask("POST", f"/{kind}", ask[kind])).json["id"]  # noqa: A001
    for other in (store, EncryptedStore(store, [bytes(31) + b"1"])):
        async with rigged("chat", state=other, hooks=hooks) as rig:
            rig.key = "sk-1"
            reply = await rig.ask("GET", f"/{kind}/{id}")
            assert (reply.status, reply.json["error"]["code"]) == (503, "state_unreadable")
            assert "encryption_keys" in reply.json["error"]["message"]
