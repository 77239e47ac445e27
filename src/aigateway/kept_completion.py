"""A chat completion that its caller wants stored: kept on its way out, before the caller has all of it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from aigateway import _json, _sse
from aigateway.call import Call
from aigateway.canonical.types import Change
from aigateway.errors import GatewayError
from aigateway.exchange import Answer
from aigateway.formats.chat.joined import JoinedChunks
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
    split, joined = _sse.SSEDecoder(), JoinedChunks()
    is_over = False
    async for data in frames:
        for event in split.feed(data):
            if event.data == _sse.DONE:
                await _keep(state, call, joined, metadata, messages)
                is_over = True
            elif not is_over:
                joined.feed(_decoded(event.data))
        yield data
    if not is_over:
        await _keep(state, call, joined, metadata, messages)


def _decoded(data: bytes) -> Any:
    try:
        return _json.decode(data)
    except (_json.DecodeError, UnicodeDecodeError, RecursionError):
        return None


async def _keep(state: State, call: Call, joined: JoinedChunks, metadata: dict[str, str], messages: bytes) -> None:
    if not joined.is_whole:
        return
    try:
        kept = await state.completions.keep(call.tenant or "", joined.completion() | {"metadata": metadata}, messages)
    except GatewayError as error:
        logger.warning("call %s: its completion is not kept: %s", call.id, type(error).__name__)
    else:
        if not kept:
            logger.warning(
                "call %s: its completion is not kept: another one has the id that its provider gave it", call.id
            )
