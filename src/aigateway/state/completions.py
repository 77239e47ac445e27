"""Chat completions that callers asked to have stored."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from aigateway import _json
from aigateway.errors import InvalidRequestError, NotFoundError, ServerError
from aigateway.state.paging import Page, list_object
from aigateway.state.protocol import ConflictError, Delete, Document, Put, UnreadableError
from aigateway.state.responses import Responses

COMPLETION: Final = "chat.completion"
_RETRIES: Final = 8
_BATCH: Final = 100


class _Kept(msgspec.Struct):
    completion: dict[str, Any]
    messages: msgspec.Raw


_DECODER: Final = msgspec.json.Decoder(_Kept)


def _decoded(document: Document) -> _Kept:
    try:
        return _DECODER.decode(document.data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableError from error


class Completions:
    """The stored chat completions of all tenants. They live as long as responses do."""

    def __init__(self, responses: Responses) -> None:
        self._responses = responses
        self._store = responses.store

    async def has(self, tenant: str, id: str) -> bool:
        """Whether one is kept under this id."""
        return await self._store.document(tenant, COMPLETION, id) is not None

    async def keep(self, tenant: str, completion: dict[str, Any], messages: bytes) -> bool:
        """Keep one under its own id; False where that is taken."""
        put = self._put(completion, messages, expect=0)
        try:
            await self._store.commit(tenant, [put])
        except ConflictError:
            return False
        return True

    def _put(self, completion: dict[str, Any], messages: bytes, *, expect: int) -> Put:
        return Put(
            kind=COMPLETION,
            id=completion["id"],
            data=_json.encode(_Kept(completion, msgspec.Raw(messages))),
            created_at=self._responses.clock(),
            expires_at=self._responses.until(),
            expect=expect,
            listed=True,
        )

    async def _find(self, tenant: str, id: str) -> Document:
        found = await self._store.document(tenant, COMPLETION, id)
        if found is None:
            raise NotFoundError(f"Chat completion with id '{id}' not found.", param="completion_id", code="not_found")
        return found

    async def get(self, tenant: str, id: str) -> dict[str, Any]:
        """One. Raises NotFoundError."""
        return _decoded(await self._find(tenant, id)).completion

    async def update(self, tenant: str, id: str, metadata: dict[str, str]) -> dict[str, Any]:
        """Replace its metadata. Raises NotFoundError."""
        for _ in range(_RETRIES):
            found = await self._find(tenant, id)
            kept = _decoded(found)
            kept.completion["metadata"] = metadata
            try:
                await self._store.commit(
                    tenant, [self._put(kept.completion, bytes(kept.messages), expect=found.version)]
                )
            except ConflictError:
                continue
            return kept.completion
        raise ServerError("The chat completion is being changed by others. Try again.", status=409, code="conflict")

    async def delete(self, tenant: str, id: str) -> dict[str, Any]:
        """Forget it. Raises NotFoundError."""
        await self._find(tenant, id)
        await self._store.commit(tenant, [Delete(kind=COMPLETION, id=id)])
        return {"object": "chat.completion.deleted", "id": id, "deleted": True}

    async def page(
        self, tenant: str, page: Page, *, model: str | None = None, metadata: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Some of them, by age; those of one model, or with these pairs in their metadata, if asked for."""
        found: list[dict[str, Any]] = []
        after = page.after
        if after is not None:
            await self._find_after(tenant, after)
        while len(found) <= page.limit:
            batch = await self._store.documents(
                tenant, COMPLETION, after=after, limit=_BATCH, descending=page.descending
            )
            if not batch:
                break
            after = batch[-1].id
            completions = [_decoded(document).completion for document in batch]
            found += [one for one in completions if _fits(one, model, metadata or {})]
        return list_object(found[: page.limit], has_more=len(found) > page.limit)

    async def _find_after(self, tenant: str, id: str) -> None:
        if await self._store.document(tenant, COMPLETION, id) is None:
            raise InvalidRequestError(f"Invalid 'after': there is no '{id}'.", param="after", code="not_found")

    async def messages(self, tenant: str, id: str, page: Page) -> dict[str, Any]:
        """The messages that it was asked with. Raises NotFoundError."""
        kept = _decoded(await self._find(tenant, id))
        messages = [
            {"id": f"{id}-{place}", "content": None, **message}
            for place, message in enumerate(_json.decode(bytes(kept.messages)))
        ]
        for message in messages:
            if isinstance(message["content"], list):
                message["content_parts"] = message["content"]
                texts = [part.get("text", "") for part in message["content"] if part.get("type") == "text"]
                message["content"] = "\n".join(texts)
        if page.descending:
            messages.reverse()
        if page.after is not None:
            places = [place for place, message in enumerate(messages) if message["id"] == page.after]
            if not places:
                raise InvalidRequestError(
                    f"Invalid 'after': there is no message '{page.after}'.", param="after", code="not_found"
                )
            messages = messages[places[0] + 1 :]
        return list_object(messages[: page.limit], has_more=len(messages) > page.limit)


def _fits(completion: dict[str, Any], model: str | None, metadata: dict[str, str]) -> bool:
    known = completion.get("metadata") or {}
    return (model is None or completion.get("model") == model) and all(
        known.get(key) == value for key, value in metadata.items()
    )
