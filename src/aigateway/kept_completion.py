"""A chat completion that its caller wants stored: kept on its way out, before the caller has all of it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from aigateway import _json, _sse
from aigateway.answer import Answer
from aigateway.call import Call
from aigateway.canonical.types import Change
from aigateway.formats import render_error
from aigateway.formats.chat.joined import JoinedChunks
from aigateway.formats.relay import events_in, frames_in
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
    if answer.frames is None:
        await _keep_whole(state, call, answer, metadata, bytes(wishes.messages))
    elif await state.is_up():
        answer.frames = _Watched(state, call, metadata, bytes(wishes.messages)).frames(answer.frames)
        answer.pipe = None
    else:
        _go_on_unstored(state, call, StoreUnavailableError())
    return answer


async def _keep_whole(state: State, call: Call, answer: Answer, metadata: dict[str, str], messages: bytes) -> None:
    completion = _json.decode(answer.body)
    if not isinstance(completion, dict) or not isinstance(completion.get("id"), str):
        return
    tenant = call.tenant or ""
    try:
        if not await state.completions.keep(tenant, completion | {"metadata": metadata}, messages):
            completion["id"] = state.responses.new_id("chatcmpl")
            answer.body = _json.encode(completion)
            await state.completions.keep(tenant, completion | {"metadata": metadata}, messages)
    except StoreUnavailableError as error:
        _go_on_unstored(state, call, error)


def _go_on_unstored(state: State, call: Call, error: StoreUnavailableError) -> None:
    """Raises the error where the gateway is to fail then."""
    state.note_failure()
    if state.settings.on_outage == "fail":
        raise error
    call.changes.append(_NOT_STORED)


class _Watched:
    """A stream on its way: kept before `[DONE]` leaves, or the end of one without it.

    A provider may give an id again that is taken here: then every chunk gets one of our own.
    """

    def __init__(self, state: State, call: Call, metadata: dict[str, str], messages: bytes) -> None:
        self._state = state
        self._call = call
        self._tenant = call.tenant or ""
        self._metadata = metadata
        self._messages = messages
        self._joined = JoinedChunks()
        self._new_id = ""
        self._is_over = False

    async def frames(self, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """What the caller gets; where the store fails and the gateway is to fail then, it ends in that error."""
        try:
            async for data in frames:
                yield b"".join([await self._told(frame) for frame in frames_in(data)])
            if not self._is_over:
                await self._keep()
        except StoreUnavailableError as error:
            self._call.error, self._call.outcome = error, "failed"
            _, body = render_error("chat", error, self._call.id)
            yield _sse.encode(_json.encode(body))
        finally:
            await frames.aclose()  # type: ignore[attr-defined]  # a generator of the exchange's own

    async def _told(self, frame: bytes) -> bytes:
        events = events_in(frame)
        if self._is_over or len(events) != 1:
            return frame
        (event,) = events
        if event.data == _sse.DONE:
            await self._keep()
            self._is_over = True
            return frame
        chunk = _decoded(event.data)
        is_first = not self._joined.id
        self._joined.feed(chunk)
        if is_first and self._joined.id:
            await self._settle_id()
        if self._new_id and isinstance(chunk, dict) and "id" in chunk:
            return _sse.encode(_json.replace_top_level(event.data, self._new_id, "id"), event.event)
        return frame

    async def _settle_id(self) -> None:
        try:
            if await self._state.completions.has(self._tenant, self._joined.id):
                self._joined.id = self._new_id = self._state.responses.new_id("chatcmpl")
        except StoreUnavailableError as error:
            self._go_on(error)

    async def _keep(self) -> None:
        if not self._joined.is_whole:
            return
        completion = self._joined.completion() | {"metadata": self._metadata}
        try:
            kept = await self._state.completions.keep(self._tenant, completion, self._messages)
        except StoreUnavailableError as error:
            self._go_on(error)
        else:
            if not kept:
                logger.warning(
                    "call %s: its completion is not kept: another one got the id that its provider gave it",
                    self._call.id,
                )

    def _go_on(self, error: StoreUnavailableError) -> None:
        self._state.note_failure()
        if self._state.settings.on_outage == "fail":
            raise error
        logger.warning("call %s: its completion is not kept: the store of state is down", self._call.id)


def _decoded(data: bytes) -> Any:
    try:
        return _json.decode(data)
    except (_json.DecodeError, UnicodeDecodeError, RecursionError):
        return None
