"""The journey of a call on whose way the conversation was made short: the answer tells of it, and counts what it cost.

Hooks see the compaction as any other part of an answer, and nothing of the summary's own answer, which is none to the caller.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from aigateway import _json, _sse
from aigateway.answer import Answer
from aigateway.call import Attempt
from aigateway.canonical.types import Usage
from aigateway.errors import GatewayError
from aigateway.exchange import Exchange
from aigateway.formats.protocol import WireEvent
from aigateway.providers.protocol import ProviderReply
from aigateway.state.announcing import Announcement, with_spent
from aigateway.translation import Translation

Answering = Coroutine[Any, Any, Answer]


class AnnouncedExchange(Exchange):
    """Runs one call: see `Exchange`."""

    _announcement: Announcement | None = None
    _spent: Usage | None = None
    """What the summary used, until it is counted."""

    _summarises = False

    def _made_on_the_way(self) -> bytes | None:
        """The compaction item."""
        return None

    def _announce(self) -> Announcement | None:
        made = self._made_on_the_way()
        self._announcement = announcement = None if made is None else Announcement(made, self._spent)
        return announcement

    def _count_spent(self) -> None:
        """Count what the summary used among the usage of the call, once."""
        if self._spent is not None:
            self.call.usage = with_spent(self.call.usage, self._spent)
            self._spent = None

    # whole answers; where there is nothing to tell, nothing stands between

    def _whole(self, translation: Translation | None, reply: ProviderReply, body: bytes | None = None) -> Answering:
        announcement, answering = self._announce(), super()._whole(translation, reply, body)
        return answering if announcement is None else self._whole_telling(announcement, answering)

    async def _whole_telling(self, announcement: Announcement, answering: Answering) -> Answer:
        answer = await answering
        if not announcement.begun:
            answer.body = announcement.document(answer.body)
        return answer

    def _answer_document(self, document: bytes | dict[str, Any], headers: list[tuple[str, str]]) -> Answering:
        announcement = self._announcement
        if not self._summarises and (announcement is None or announcement.begun):
            return super()._answer_document(document, headers)
        return self._document_telling(announcement, document, headers)

    async def _document_telling(
        self, announcement: Announcement | None, document: bytes | dict[str, Any], headers: list[tuple[str, str]]
    ) -> Answer:
        raw = document if isinstance(document, bytes) else _json.encode(document)
        if self._summarises or announcement is None:
            return Answer(200, headers, raw)
        call, spent = self.call, self._spent
        usage = call.usage
        self._count_spent()
        try:
            return await super()._answer_document(announcement.document(raw), headers)
        except GatewayError:  # another attempt may follow
            call.usage, self._spent = usage, spent
            raise

    # streams

    def _stream(self, attempt: Attempt, translation: Translation | None, reply: ProviderReply) -> Answering:
        self._announce()
        return super()._stream(attempt, translation, reply)

    def _edited(self, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return super()._edited(frames if self._announcement is None else self._announcement.frames(frames))

    def _encoded(self, events: AsyncIterator[WireEvent]) -> AsyncIterator[bytes]:
        if self._announcement is None:
            return super()._encoded(events)
        frames = _framed(events)
        return self._edited(frames) if self._chain.has_on_event else self._announcement.frames(frames)

    async def _answer_stream(
        self,
        frames: AsyncIterator[bytes],
        fail: Callable[[GatewayError], list[WireEvent]],
        headers: list[tuple[str, str]],
    ) -> Answer:
        announcement = self._announcement
        if announcement is None:
            return await super()._answer_stream(frames, fail, headers)
        self._pipe = None
        told = frames if announcement.begun else announcement.frames(frames)
        return await super()._answer_stream(told, lambda error: announcement.ending(fail(error)), headers)

    # the end

    async def _failure(self, error: GatewayError) -> Answer:
        self._announcement = None  # what a hook puts in an error's place has nothing to do with it
        return await super()._failure(error)

    def aclose(self) -> Coroutine[Any, Any, None]:
        """See Exchange."""
        closing = super().aclose()
        return closing if self._spent is None or self.call.ended_at is not None else self._close_counting(closing)

    async def _close_counting(self, closing: Coroutine[Any, Any, None]) -> None:
        try:
            await self._release()  # what is open settles the usage of its own
        finally:
            self._count_spent()
            await closing


async def _framed(events: AsyncIterator[WireEvent]) -> AsyncIterator[bytes]:
    async for event in events:
        yield _sse.encode(_json.encode(event.data), event.name)
    yield _sse.DONE_FRAME
