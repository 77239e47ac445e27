"""Sessions by the official SDK, and what is patched of any message."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI
from websockets.exceptions import InvalidStatus

from aigateway import APIKeyAuthenticator
from aigateway.errors import InvalidRequestError
from aigateway.formats.realtime.frames import SessionFrames
from aigateway.testing import ScriptedSession
from tests.realtime import staged

SESSION: dict[str, Any] = {"type": "realtime", "object": "realtime.session", "id": "sess_1", "model": "gpt-up"}
USAGE = {"total_tokens": 12, "input_tokens": 5, "output_tokens": 7}


async def realtime(session: ScriptedSession) -> None:
    """What a realtime server says to a session that is updated, and asked for a text."""
    await session.send({"type": "session.created", "event_id": "event_1", "session": SESSION})
    while True:
        asked = await session.receive()
        if asked["type"] == "session.update":
            updated = {"type": "session.updated", "event_id": "event_2", "session": SESSION | asked["session"]}
            await session.send(updated)
        elif asked["type"] == "response.create":
            place = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
            for number, delta in enumerate(("Hel", "lo")):
                shown = {"type": "response.output_text.delta", "event_id": f"event_{3 + number}", **place}
                await session.send({**shown, "delta": delta})
            response = {"id": "resp_1", "object": "realtime.response", "status": "completed", "usage": USAGE}
            await session.send({"type": "response.done", "event_id": "event_5", "response": response})


async def test_official_sdk_holds_a_session() -> None:
    async with staged(APIKeyAuthenticator({"sk-sdk": "team"}), model="gpt-up") as stage:
        stage.upstream.converse(realtime)
        client = AsyncOpenAI(api_key="sk-sdk", base_url=f"http{stage.url.removeprefix('ws')}/v1")
        seen: list[str] = []
        text = ""
        async with client.realtime.connect(model="gpt") as connection:
            await connection.session.update(
                session={"type": "realtime", "model": "gpt", "output_modalities": ["text"], "instructions": "Be brief."}
            )
            await connection.conversation.item.create(
                item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
            )
            await connection.response.create()
            async for event in connection:
                seen.append(event.type)
                if event.type in ("session.created", "session.updated"):
                    assert event.session.model == "gpt"  # type: ignore[union-attr]
                elif event.type == "response.output_text.delta":
                    text += event.delta
                elif event.type == "response.done":
                    break
        await client.close()
        call = await stage.kept.one()
        (session,) = stage.upstream.sessions
    assert text == "Hello"
    assert seen == ["session.created", "session.updated", *["response.output_text.delta"] * 2, "response.done"]
    assert session.query == {"model": "gpt-up"}
    assert session.received[0]["session"]["model"] == "gpt-up"
    assert [asked["type"] for asked in session.received] == [
        "session.update",
        "conversation.item.create",
        "response.create",
    ]
    assert call.usage is not None
    assert (call.usage.input_tokens, call.usage.output_tokens, call.outcome) == (5, 7, "completed")


async def test_official_sdk_reads_the_error_of_a_refusal() -> None:
    async with staged(APIKeyAuthenticator({"sk-sdk": "team"})) as stage:
        client = AsyncOpenAI(api_key="wrong", base_url=f"http{stage.url.removeprefix('ws')}/v1", max_retries=0)
        with pytest.raises(InvalidStatus, match="HTTP 401"):
            async with client.realtime.connect(model="gpt"):
                raise AssertionError("it was accepted")
        await client.close()


# what is patched

_names = st.sampled_from(["gpt", "gpt-up", "other", 'sé\\n"t'])
_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8) | _names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["model", "session", "a"]), inner),
    max_leaves=8,
)
_kinds = st.sampled_from(["session.created", "session.updated", "session.update", "response.created", "error"])
_events = st.fixed_dictionaries({"type": _kinds}, optional={"session": _values, "model": _names, "x": _values})


def _texts(event: dict[str, Any], *, spaced: bool) -> str:
    text = msgspec.json.encode(event)
    return (msgspec.json.format(text, indent=2) if spaced else text).decode()


@given(_events, st.booleans())
def test_server_events_change_in_the_session_model_only(event: dict[str, Any], spaced: bool) -> None:
    text = _texts(event, spaced=spaced)
    out = SessionFrames("gpt", "gpt-up").from_server(text)
    session = event.get("session")
    named = isinstance(session, dict) and isinstance(session.get("model"), str)
    if named and event["type"] in ("session.created", "session.updated"):
        event["session"] = {**event["session"], "model": "gpt"}
        assert out == _texts(event, spaced=spaced)
    else:
        assert out == text


@given(_events, st.booleans())
def test_client_events_change_in_the_session_model_only(event: dict[str, Any], spaced: bool) -> None:
    text = _texts(event, spaced=spaced)
    session = event.get("session")
    model = session.get("model") if isinstance(session, dict) and event["type"] == "session.update" else None
    frames = SessionFrames("gpt", "gpt-up")
    if isinstance(model, str) and model not in ("gpt", "gpt-up"):
        with pytest.raises(InvalidRequestError):
            frames.from_client(text)
        return
    if model == "gpt":
        event["session"] = {**event["session"], "model": "gpt-up"}
    assert frames.from_client(text) == _texts(event, spaced=spaced)


@given(st.text())
def test_any_text_passes(text: str) -> None:
    frames = SessionFrames("gpt", "gpt-up")
    assert (frames.from_server(text), frames.from_client(text), frames.usage) == (text, text, None)
