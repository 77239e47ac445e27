"""A chat completion that its caller wants stored: kept on its way out, before the caller has all of it."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from aigateway import _json, _sse
from aigateway.call import Call
from aigateway.canonical.accumulator import fold
from aigateway.canonical.events import StreamEvent
from aigateway.canonical.types import Change, Request
from aigateway.errors import GatewayError
from aigateway.exchange import Answer
from aigateway.formats import CODECS
from aigateway.formats.protocol import ReplyContext
from aigateway.state.metadata import metadata_of
from aigateway.state.protocol import StoreUnavailableError
from aigateway.state.state import State

logger = logging.getLogger("aigateway")


class _Wishes(msgspec.Struct):
    store: Any = None
    metadata: Any = None
    messages: msgspec.Raw = msgspec.Raw(b"[]")


_WISHES: Final = msgspec.json.Decoder(_Wishes)
_NOT_STORED: Final = Change(
    field="store", action="dropped", reason="The store of state is down; this completion is not kept."
)


async def keep_completion(state: State, call: Call, answer: Answer) -> Answer:
    """The answer to a chat call, kept if it asks for that."""
    wishes = _WISHES.decode(call.request.raw)
    if wishes.store is not True or answer.status >= 300:
        return answer
    metadata = metadata_of(wishes.metadata)
    if answer.frames is not None:
        answer.frames = _watched(state, call, answer.frames, metadata, bytes(wishes.messages))
        answer.pipe = None
        return answer
    completion = _json.decode(answer.body)
    if not isinstance(completion, dict) or not isinstance(completion.get("id"), str):
        return answer
    try:
        kept = await state.completions.keep(
            call.tenant or "", completion | {"metadata": metadata}, bytes(wishes.messages)
        )
        if not kept:
            completion["id"] = state.responses.new_id("chatcmpl")
            answer.body = _json.encode(completion)
            await state.completions.keep(call.tenant or "", completion | {"metadata": metadata}, bytes(wishes.messages))
    except StoreUnavailableError:
        state.note_failure()
        if state.settings.on_outage == "fail":
            raise
        call.changes.append(_NOT_STORED)
    return answer


async def _watched(
    state: State, call: Call, frames: AsyncIterator[bytes], metadata: dict[str, str], messages: bytes
) -> AsyncIterator[bytes]:
    """The frames as they are; the completion is kept before `[DONE]` leaves, or the end of a stream without it."""
    decoder = CODECS["chat"].stream_decoder()
    events: list[StreamEvent] = []
    split = _sse.SSEDecoder()
    ids: list[str] = []
    done = False
    async for data in frames:
        for event in split.feed(data):
            if event.data == _sse.DONE:
                done = True
            elif not ids:
                ids.append(_id_of(event.data))
            events += decoder.feed(event)
        if done and ids:
            await _keep(state, call, [*events, *decoder.flush()], {"id": ids[0], "metadata": metadata}, messages)
            ids = []
        yield data
    if ids:
        await _keep(state, call, [*events, *decoder.flush()], {"id": ids[0], "metadata": metadata}, messages)


def _id_of(data: bytes) -> str:
    try:
        value = _json.decode(data)
    except (_json.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    found = value.get("id") if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


async def _keep(state: State, call: Call, events: list[StreamEvent], facts: dict[str, Any], messages: bytes) -> None:
    context = ReplyContext(
        model=call.model,
        body={},
        request=Request(model=call.model, items=()),
        new_id=state.responses.new_id,
        now=lambda: int(time.time()),
    )
    try:
        completion = CODECS["chat"].encode_reply(fold(events), context)
        await state.completions.keep(call.tenant or "", completion | facts, messages)
    except GatewayError as error:
        logger.warning("call %s: its completion is not kept: %s", call.id, type(error).__name__)
