"""What one tenant keeps, another one never finds: not on any endpoint, not over WebSocket, and in the words for what never was."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aigateway import _json
from aigateway.hooks.api_keys import APIKeyAuthenticator
from aigateway.surface import OPERATIONS
from tests.state.rig import Object, Rig, rigged
from tests.state.test_websocket import opened, turn

pytestmark = pytest.mark.usefixtures("registered")

ASK = {"model": "m", "input": "x"}
REFERENCE: Object = {"model": "m", "input": [{"type": "item_reference", "id": "$item"}]}
ADDED = {"items": [{"role": "user", "content": "x"}]}

CALLS: dict[str, list[tuple[str, str, Any]]] = {
    "responses": [
        ("POST", "/responses", ASK | {"previous_response_id": "$response"}),
        ("POST", "/responses", ASK | {"previous_response_id": "$background"}),
        ("POST", "/responses", ASK | {"previous_response_id": "$response", "stream": True}),
        ("POST", "/responses", ASK | {"previous_response_id": "$response", "store": False}),
        ("POST", "/responses", ASK | {"previous_response_id": "$response", "background": True}),
        ("POST", "/responses", ASK | {"conversation": "$conversation"}),
        ("POST", "/responses", ASK | {"conversation": {"id": "$conversation"}, "stream": True}),
        ("POST", "/responses", ASK | {"conversation": "$conversation", "store": False}),
        ("POST", "/responses", ASK | {"conversation": "$conversation", "background": True}),
        ("POST", "/responses", REFERENCE),
        ("POST", "/responses", REFERENCE | {"stream": True}),
        ("POST", "/responses", REFERENCE | {"store": False}),
        ("POST", "/responses", {"model": "m", "input": [{"type": "item_reference", "id": "$output"}]}),
    ],
    "responses.retrieve": [
        ("GET", "/responses/$response", None),
        ("GET", "/responses/$background", None),
        ("GET", "/responses/$streamed?stream=true", None),
        ("GET", "/responses/$streamed?stream=true&starting_after=2", None),
    ],
    "responses.delete": [("DELETE", "/responses/$response", None), ("DELETE", "/responses/$background", None)],
    "responses.cancel": [
        ("POST", "/responses/$background/cancel", None),
        ("POST", "/responses/$response/cancel", None),
    ],
    "responses.input_items.list": [
        ("GET", "/responses/$response/input_items", None),
        ("GET", "/responses/$own/input_items?after=$item", None),
    ],
    "responses.compact": [
        ("POST", "/responses/compact", {"model": "m", "previous_response_id": "$response"}),
        ("POST", "/responses/compact", REFERENCE),
    ],
    "responses.input_tokens": [
        ("POST", "/responses/input_tokens", ASK | {"previous_response_id": "$response"}),
        ("POST", "/responses/input_tokens", ASK | {"conversation": "$conversation"}),
        ("POST", "/responses/input_tokens", REFERENCE),
    ],
    "conversations.create": [("POST", "/conversations", {"items": REFERENCE["input"]})],
    "conversations.retrieve": [("GET", "/conversations/$conversation", None)],
    "conversations.update": [("POST", "/conversations/$conversation", {"metadata": {}})],
    "conversations.delete": [("DELETE", "/conversations/$conversation", None)],
    "conversations.items.create": [
        ("POST", "/conversations/$conversation/items", ADDED),
        ("POST", "/conversations/$mine/items", {"items": REFERENCE["input"]}),
    ],
    "conversations.items.list": [
        ("GET", "/conversations/$conversation/items", None),
        ("GET", "/conversations/$mine/items?after=$item", None),
    ],
    "conversations.items.retrieve": [
        ("GET", "/conversations/$conversation/items/$item", None),
        ("GET", "/conversations/$mine/items/$item", None),
    ],
    "conversations.items.delete": [
        ("DELETE", "/conversations/$conversation/items/$item", None),
        ("DELETE", "/conversations/$mine/items/$item", None),
    ],
    "chat.completions.list": [("GET", "/chat/completions?after=$completion", None)],
    "chat.completions.retrieve": [("GET", "/chat/completions/$completion", None)],
    "chat.completions.update": [("POST", "/chat/completions/$completion", {"metadata": {}})],
    "chat.completions.delete": [("DELETE", "/chat/completions/$completion", None)],
    "chat.completions.messages.list": [("GET", "/chat/completions/$completion/messages", None)],
}
"""By operation: calls of another tenant, with the names of ids."""

OVER_WEBSOCKET: list[Object] = [
    {"previous_response_id": "$response"},
    {"previous_response_id": "$background"},
    {"conversation": "$conversation"},
    {"input": [{"type": "item_reference", "id": "$item"}]},
    {"input": [{"type": "item_reference", "id": "$output"}]},
]


class Secrets:
    """A gateway with what one tenant keeps: ids by name, and those of nothing."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.ids: dict[str, str] = {}
        self.mine: dict[str, str] = {}

    async def keep(self) -> None:
        rig, ids = self.rig, self.ids
        rig.key = "sk-a"
        one = await rig.turn("secret")
        ids["response"], ids["output"] = one["id"], one["output"][0]["id"]
        streamed = await rig.ask("POST", "/responses", ASK | {"input": "secret", "stream": True})
        ids["streamed"] = streamed.events[0]["response"]["id"]
        ids["background"] = (await rig.turn("secret", background=True))["id"]
        made = (await rig.ask("POST", "/conversations", {"items": [{"role": "user", "content": "secret"}]})).json
        ids["conversation"] = made["id"]
        ids["item"] = (await rig.ask("GET", f"/conversations/{made['id']}/items")).json["data"][0]["id"]
        chat = {"model": "m", "messages": [{"role": "user", "content": "secret"}], "store": True}
        ids["completion"] = (await rig.ask("POST", "/chat/completions", chat)).json["id"]
        rig.key = "sk-b"
        self.mine["own"] = (await rig.turn("mine"))["id"]
        self.mine["mine"] = (await rig.ask("POST", "/conversations", ADDED)).json["id"]

    def with_ids(self, value: Any) -> tuple[Any, Any, dict[str, str]]:
        """A call with the ids of what is kept, and with ids of what never was; and by which names to call both."""
        real, fake = _json.encode(value).decode(), _json.encode(value).decode()
        names: dict[str, str] = {}
        for name, id in sorted(self.ids.items(), key=lambda pair: -len(pair[0])):  # noqa: A001
            never = id[:-32] + uuid.uuid4().hex
            real, fake = real.replace(f"${name}", id), fake.replace(f"${name}", never)
            names |= {id: name, never: name}
        for name, id in self.mine.items():  # noqa: A001
            real, fake = real.replace(f"${name}", id), fake.replace(f"${name}", id)
        return _json.decode(real.encode()), _json.decode(fake.encode()), names


def told(body: bytes, names: dict[str, str]) -> bytes:
    """An answer with names for the ids in it."""
    for id, name in names.items():  # noqa: A001
        body = body.replace(id.encode(), name.encode())
    return body


@pytest.fixture
async def secrets() -> AsyncIterator[Secrets]:
    async with rigged("chat", hooks=[APIKeyAuthenticator({"sk-a": "a", "sk-b": "b"})]) as rig:
        made = Secrets(rig)
        await made.keep()
        yield made


def test_every_operation_on_what_is_kept_is_among_them() -> None:
    kept = ("responses", "conversations", "chat.completions.")
    assert {name for name in OPERATIONS if name.startswith(kept)} == set(CALLS)


async def test_another_tenant_finds_nothing_on_any_endpoint(secrets: Secrets) -> None:
    rig = secrets.rig
    sent = len(rig.upstream.requests)
    for operation, calls in CALLS.items():
        for call in calls:
            real, fake, names = secrets.with_ids(call)
            found, never = await rig.ask(*real), await rig.ask(*fake)
            assert found.status in (400, 404), (operation, call, found.body)
            assert found.json["error"]["code"] in ("not_found", "item_not_found", "previous_response_not_found")
            assert (found.status, told(found.body, names)) == (never.status, told(never.body, names)), call
            assert b"secret" not in found.body
    assert (await rig.ask("GET", "/chat/completions")).json["data"] == []
    assert len(rig.upstream.requests) == sent
    rig.key = "sk-a"
    for path in ("/responses/$response", "/conversations/$conversation/items/$item", "/chat/completions/$completion"):
        kept = await rig.ask("GET", secrets.with_ids(path)[0])
        assert kept.status == 200
    assert (await rig.ask("GET", f"/responses/{secrets.ids['background']}")).json["status"] == "completed"


@pytest.mark.parametrize("store", [True, False])
async def test_another_tenant_finds_nothing_over_websocket(secrets: Secrets, store: bool) -> None:
    rig = secrets.rig
    sent = len(rig.upstream.requests)
    async with opened(rig, authorization="Bearer sk-b") as socket:
        for fields in OVER_WEBSOCKET:
            real, fake, names = secrets.with_ids({"input": "x", "store": store, **fields})
            (found,) = await turn(socket, **real)
            (never,) = await turn(socket, **fake)
            assert (found["type"], found["status"]) in (("error", 400), ("error", 404)), found
            assert found["error"]["code"] in ("not_found", "item_not_found", "previous_response_not_found")
            assert told(_json.encode(found), names) == told(_json.encode(never), names)
        assert len(rig.upstream.requests) == sent
        assert (await turn(socket, "mine", store=store))[-1]["type"] == "response.completed"
    async with opened(rig, authorization="Bearer sk-a") as socket:
        goes_on = await turn(socket, "more", previous_response_id=secrets.ids["response"])
        assert goes_on[-1]["type"] == "response.completed"
