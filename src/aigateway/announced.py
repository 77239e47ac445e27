"""The journey of a call on whose way the conversation was made short: the answer tells of it, and counts what it cost.

Hooks see the compaction as any other part of an answer, and nothing of the summary's own answer, which is none to the caller.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from aigateway import _json, _sse
from aigateway.call import Attempt
from aigateway.canonical.types import Usage
from aigateway.errors import GatewayError
from aigateway.exchange import Answer, Exchange
from aigateway.formats.protocol import WireEvent
from aigateway.providers.protocol import ProviderReply
from aigateway.state.announcing import Announcement, with_spent
from aigateway.translation import Translation


class AnnouncedExchange(Exchange):
    """Runs one call: see `Exchange`."""

    _announcement: Announcement | None = None
    _spent: Usage | None = None
    """What the summary used, until it is counted."""

    _summarises = False

    def _made_on_the_way(self) -> bytes | None:
        """The compaction item."""
        return None

    def _announce(self) -> None:
        made = self._made_on_the_way()
        self._announcement = None if made is None else Announcement(made, self._spent)

    def _count_spent(self) -> None:
        """Count what the summary used among the usage of the call, once."""
        if self._spent is not None:
            self.call.usage = with_spent(self.call.usage, self._spent)
            self._spent = None

    # whole answers

    async def _whole(self, translation: Translation | None, reply: ProviderReply, body: bytes | None = None) -> Answer:
        self._announce()
        answer = await super()._whole(translation, reply, body)
        if self._announcement is not None and not self._announcement.begun:
            answer.body = self._announcement.document(answer.body)
        return answer

    async def _answer_document(self, document: bytes | dict[str, Any], headers: list[tuple[str, str]]) -> Answer:
        announcement = self._announcement
        if not self._summarises and (announcement is None or announcement.begun):
            return await super()._answer_document(document, headers)
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

    async def _stream(self, attempt: Attempt, translation: Translation | None, reply: ProviderReply) -> Answer:
        self._announce()
        return await super()._stream(attempt, translation, reply)

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

    async def aclose(self) -> None:
        """See Exchange."""
        if self._spent is not None and self.call.ended_at is None:
            try:
                await self._release()  # what is open settles the usage of its own
            finally:
                self._count_spent()
        await super().aclose()


async def _framed(events: AsyncIterator[WireEvent]) -> AsyncIterator[bytes]:
    async for event in events:
        yield _sse.encode(_json.encode(event.data), event.name)
    yield _sse.DONE_FRAME
