"""Conversations: their items stand in a log of their own, to which one writer at a time appends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from aigateway.errors import GatewayError, NotFoundError
from aigateway.state.items import entries_of, shown
from aigateway.state.paging import Page, list_object, page_of
from aigateway.state.protocol import (
    Append,
    ConflictError,
    Delete,
    Document,
    Entry,
    Erase,
    Keep,
    Operation,
    Put,
    Span,
    UnreadableError,
)
from aigateway.state.responses import Responses, Stored

CONVERSATION: Final = "conversation"
_LOCK_SECONDS: Final = 30.0
_RETRIES: Final = 8


class ConversationLockedError(GatewayError):
    """Another request is writing to the conversation."""

    status = 409
    type = "invalid_request_error"
    code = "conversation_locked"

    def __init__(self) -> None:
        super().__init__(
            "Another request is working on this conversation. Try again once it has ended.",
            param="conversation",
            headers={"Retry-After": "1"},
        )


class _Facts(msgspec.Struct):
    metadata: dict[str, str]
    created_at: int


_ENCODE = msgspec.json.Encoder().encode
_DECODER: Final = msgspec.json.Decoder(_Facts)


def _decoded(document: Document) -> _Facts:
    try:
        return _DECODER.decode(document.data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableError from error


class Conversations:
    """The conversations of all tenants. They live as long after their last use as responses do."""

    def __init__(self, responses: Responses, owner: str) -> None:
        self._responses = responses
        self._store = responses.store
        self._owner = owner

    async def create(self, tenant: str, metadata: dict[str, str], items: Sequence[bytes]) -> dict[str, Any]:
        """A new one."""
        conversation_id = self._responses.new_id("conv")
        now = self._responses.clock()
        facts = _Facts(metadata, int(now))
        operations: list[Operation] = [self._put(conversation_id, facts, expect=0)]
        if items:
            resolved = await self._responses.copied(tenant, items, strict=True)
            entries = entries_of(resolved, self._responses.new_id)
            operations.append(Append(log=conversation_id, entries=entries, at=0, expires_at=self._responses.until()))
        await self._store.commit(tenant, operations)
        return _shown(conversation_id, facts)

    def _put(self, id: str, facts: _Facts, *, expect: int) -> Put:
        return Put(
            kind=CONVERSATION,
            id=id,
            data=_ENCODE(facts),
            created_at=facts.created_at,
            expires_at=self._responses.until(),
            expect=expect,
        )

    async def get(self, tenant: str, id: str) -> dict[str, Any]:
        """One. Raises NotFoundError."""
        return _shown(id, _decoded(await self.find(tenant, id)))

    async def find(self, tenant: str, id: str, *, param: str = "conversation_id") -> Document:
        """Its document. Raises NotFoundError."""
        found = await self._store.document(tenant, CONVERSATION, id)
        if found is None:
            raise NotFoundError(f"Conversation with id '{id}' not found.", param=param, code="not_found")
        return found

    async def update(self, tenant: str, id: str, metadata: dict[str, str]) -> dict[str, Any]:
        """Replace its metadata. Raises NotFoundError."""
        for _ in range(_RETRIES):
            found = await self.find(tenant, id)
            facts = _Facts(metadata, _decoded(found).created_at)
            try:
                await self._store.commit(
                    tenant,
                    [self._put(id, facts, expect=found.version), Keep(log=id, expires_at=self._responses.until())],
                )
            except ConflictError:
                continue
            return _shown(id, facts)
        raise ConversationLockedError

    async def touch(self, tenant: str, document: Document) -> None:
        """It was used: it lives on."""
        put = self._put(document.id, _decoded(document), expect=document.version)
        try:
            await self._store.commit(tenant, [put, Keep(log=document.id, expires_at=self._responses.until())])
        except ConflictError:
            return  # somebody else did

    async def delete(self, tenant: str, id: str) -> dict[str, Any]:
        """Forget it. Responses made in it keep their items for their own time. Raises NotFoundError."""
        await self.find(tenant, id)
        await self._store.commit(tenant, [Delete(kind=CONVERSATION, id=id)])
        return {"id": id, "object": "conversation.deleted", "deleted": True}

    # items

    async def items(self, tenant: str, id: str) -> list[bytes]:
        """All of them, in order."""
        length = await self._store.length(tenant, id)
        found = await self._store.entries(tenant, [Span(id, 0, length)])
        return await self._responses.resolved(tenant, [entry.data for entry in found if entry.data])

    async def add(self, tenant: str, id: str, items: Sequence[bytes]) -> dict[str, Any]:
        """Append items; the list of them. Raises NotFoundError, also for what they refer to, and ConversationLockedError."""
        async with self.locked(tenant, id):
            await self.find(tenant, id)
            resolved = await self._responses.copied(tenant, items, strict=True)
            entries = entries_of(resolved, self._responses.new_id)
            await self._store.commit(tenant, [Append(log=id, entries=entries, expires_at=self._responses.until())])
        return list_object([shown(data) for _, data in entries], has_more=False)

    async def page(self, tenant: str, id: str, page: Page) -> dict[str, Any]:
        """Some of its items. Raises NotFoundError."""
        await self.find(tenant, id)
        span = Span(id, 0, await self._store.length(tenant, id))
        entries, has_more = await page_of(self._store, tenant, span, page)
        return list_object([shown(entry.data) for entry in entries], has_more=has_more)

    async def item(self, tenant: str, id: str, item_id: str) -> dict[str, Any]:
        """One of its items. Raises NotFoundError."""
        await self.find(tenant, id)
        return shown((await self._entry(tenant, id, item_id)).data)

    async def _entry(self, tenant: str, id: str, item_id: str) -> Entry:
        for entry in await self._store.named(tenant, [item_id]):
            if entry.log == id:
                return entry
        length = await self._store.length(tenant, id)
        for entry in reversed(await self._store.entries(tenant, [Span(id, 0, length)])):
            if entry.name == item_id and entry.data:  # another conversation has a newer one of that name
                return entry
        raise NotFoundError(
            f"Item with id '{item_id}' not found in this conversation.", param="item_id", code="not_found"
        )

    async def delete_item(self, tenant: str, id: str, item_id: str) -> dict[str, Any]:
        """Erase an item, in responses too; the conversation. Raises NotFoundError and ConversationLockedError."""
        conversation = await self.get(tenant, id)
        async with self.locked(tenant, id):
            entry = await self._entry(tenant, id, item_id)
            await self._store.commit(tenant, [Erase(log=id, seq=entry.seq)])
        return conversation

    # one writer at a time

    @asynccontextmanager
    async def locked(self, tenant: str, id: str) -> AsyncIterator[None]:
        """Be its only writer for a moment. Raises ConversationLockedError."""
        lock = await self.lock(tenant, id)
        try:
            yield
        finally:
            await lock.release()

    async def lock(self, tenant: str, id: str, owner: str | None = None) -> Lock:
        """Be its only writer until `release()`. owner: who may have it already. Raises ConversationLockedError."""
        owner = owner or f"{self._owner}:{self._responses.new_id('lock')}"
        if not await self._store.claim(CONVERSATION, tenant, id, owner, _LOCK_SECONDS):
            raise ConversationLockedError
        return Lock(self._responses, tenant, id, owner)

    async def free(self, tenant: str, stored: Stored) -> None:
        """Let others write to the conversation of a run that is over."""
        if stored.record.conversation is not None:
            await self._store.release(CONVERSATION, tenant, stored.record.conversation, run_owner(stored.id))


class Lock:
    """The right to write to a conversation, renewed until it is given back."""

    def __init__(self, responses: Responses, tenant: str, id: str, owner: str) -> None:
        self._store = responses.store
        self._key = (CONVERSATION, tenant, id, owner)
        self._timer = asyncio.get_running_loop().call_later(_LOCK_SECONDS / 3, self._renew)
        self._renewing: asyncio.Task[bool] | None = None

    def _renew(self) -> None:
        self._renewing = asyncio.ensure_future(self._store.renew(*self._key, _LOCK_SECONDS))
        self._renewing.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._timer = asyncio.get_running_loop().call_later(_LOCK_SECONDS / 3, self._renew)

    async def pass_to(self, owner: str) -> None:
        """Give it to another one, who has to take it within half a minute. Raises ConversationLockedError."""
        await self.release()
        kind, tenant, id, _ = self._key  # noqa: A001
        if not await self._store.claim(kind, tenant, id, owner, _LOCK_SECONDS):
            raise ConversationLockedError

    def leave(self) -> None:
        """Renew it no more."""
        self._timer.cancel()

    async def release(self) -> None:
        """Give it back."""
        self.leave()
        if self._renewing is not None:
            await asyncio.gather(self._renewing, return_exceptions=True)
        await self._store.release(*self._key)


def run_owner(id: str) -> str:
    """Who writes to a conversation for a response in the background: the same in each process that makes it."""
    return f"run:{id}"


def _shown(id: str, facts: _Facts) -> dict[str, Any]:
    return {"id": id, "object": "conversation", "created_at": facts.created_at, "metadata": facts.metadata}
