"""The operations on what is kept, answered by the gateway: responses, conversations, stored completions.

An id that it does not know is passed on only where it asks nobody for a key, and a provider offers the same: there the
id may be one of the provider's. Where there are tenants, another's id is simply not found.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import parse_qsl

from aigateway import _json
from aigateway.answer import JSON_TYPE, STREAM_HEADERS, Answer
from aigateway.call import Target
from aigateway.errors import GatewayError, InvalidRequestError, NotFoundError
from aigateway.passthrough import PassThrough
from aigateway.state.ending import end_early
from aigateway.state.following import check_kept, follow, resource_of, starting_after
from aigateway.state.items import items_of, shown
from aigateway.state.metadata import metadata_of
from aigateway.state.paging import Page, list_object, page_of
from aigateway.state.protocol import Span
from aigateway.state.record import Upstream
from aigateway.state.responses import Stored
from aigateway.state.state import State

logger = logging.getLogger("aigateway")

_ITEMS_AT_ONCE: Final = 20
_METADATA: Final = re.compile(r"metadata\[(.+)\]")


class StoredObjects(PassThrough):
    """Runs one call of such an operation: see `Exchange`. state: what the gateway keeps."""

    def __init__(self, *arguments: Any, state: State, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._state = state

    async def _served(self) -> Answer | None:
        try:
            return await SERVED[self.call.operation.name](self)
        except NotFoundError:
            if self.call.principal is not None or not self._may_pass_on():
                raise
            return None

    def _may_pass_on(self) -> bool:
        try:
            return bool(self._default.targets(self.call.operation))
        except NotFoundError:
            return False

    @property
    def _tenant(self) -> str:
        return self.call.tenant or ""

    @property
    def _query(self) -> dict[str, str]:
        return dict(parse_qsl(self.call.query))

    def _id(self, name: str) -> str:
        return self.call.parameters[name]

    def _body(self) -> dict[str, Any]:
        raw = self.call.request.raw
        return _json.decode_object(raw) if raw.strip() else {}

    async def _shown_document(self, value: dict[str, Any] | bytes) -> Answer:
        return await self._answer_document(value if isinstance(value, bytes) else _json.encode(value), [JSON_TYPE])

    # responses

    async def _retrieve(self) -> Answer:
        response_id, query = self._id("response_id"), self._query
        stored = await self._state.responses.get(self._tenant, response_id)
        if query.get("stream") != "true":
            return await self._shown_document(await resource_of(self._state, self._tenant, stored.record))
        after = starting_after(query, self.call.headers)
        await check_kept(self._state, self._tenant, stored.record, response_id, after)
        self._state.start()
        self._opened = True
        frames = follow(self._state, self._tenant, response_id, after, is_over=stored.record.is_over)
        return Answer(200, list(STREAM_HEADERS), frames=frames, ready=False)

    async def _delete(self) -> Answer:
        response_id = self._id("response_id")
        record = await self._state.responses.delete(self._tenant, response_id)
        await self._state.stop(self._tenant, response_id)
        await self._state.conversations.free(self._tenant, Stored(response_id, record, 0))
        if record.upstream is not None:
            await self._delete_there(record.upstream)
        return await self._shown_document({"id": response_id, "object": "response", "deleted": True})

    async def _delete_there(self, upstream: Upstream) -> None:
        """Have its provider forget a response too, as far as that can be done."""
        providers = [provider for provider in self._default.configured() if provider.name == upstream.provider]
        self.call.parameters = {"response_id": upstream.id}
        try:
            await self._try_targets([Target(provider) for provider in providers], None)
        except GatewayError as error:
            logger.warning(
                "call %s: provider %s keeps a response that was deleted here: %s",
                self.call.id,
                upstream.provider,
                error.code,
            )

    async def _cancel(self) -> Answer:
        response_id = self._id("response_id")
        responses = self._state.responses
        while True:
            stored = await responses.get(self._tenant, response_id)
            record = stored.record
            if not record.background:
                raise InvalidRequestError(
                    "Only a response that was made with `background: true` can be cancelled.", param="response_id"
                )
            if record.is_over:
                break
            resource = record.resource() | {"status": "cancelled"}
            if await end_early(self._state, self._tenant, stored, resource, first=record.first):
                await self._state.stop(self._tenant, response_id)
                await self._state.conversations.free(self._tenant, stored)
                record = (await responses.get(self._tenant, response_id)).record
                break
        return await self._shown_document(await resource_of(self._state, self._tenant, record))

    async def _input_items(self) -> Answer:
        page = Page.of(self._query)
        record = (await self._state.responses.get(self._tenant, self._id("response_id"))).record
        responses = self._state.responses
        if record.input:
            items, has_more = page.part_of(items_of(record.input))
        else:
            span = Span(record.spans[-1].log, record.start, record.middle)
            entries, has_more = await page_of(self._state.store, self._tenant, span, page)
            items = [entry.data for entry in entries]
        items = await responses.resolved(self._tenant, items)
        return await self._shown_document(list_object([shown(item) for item in items], has_more=has_more))

    # conversations

    async def _create_conversation(self) -> Answer:
        body = self._body()
        made = await self._state.conversations.create(
            self._tenant, metadata_of(body.get("metadata")), _items(body, required=False)
        )
        return await self._shown_document(made)

    async def _get_conversation(self) -> Answer:
        return await self._shown_document(
            await self._state.conversations.get(self._tenant, self._id("conversation_id"))
        )

    async def _update_conversation(self) -> Answer:
        metadata = metadata_of(_required(self._body(), "metadata"))
        return await self._shown_document(
            await self._state.conversations.update(self._tenant, self._id("conversation_id"), metadata)
        )

    async def _delete_conversation(self) -> Answer:
        return await self._shown_document(
            await self._state.conversations.delete(self._tenant, self._id("conversation_id"))
        )

    async def _create_items(self) -> Answer:
        items = _items(self._body(), required=True)
        conversations = self._state.conversations
        return await self._shown_document(await conversations.add(self._tenant, self._id("conversation_id"), items))

    async def _list_items(self) -> Answer:
        page = Page.of(self._query)
        return await self._shown_document(
            await self._state.conversations.page(self._tenant, self._id("conversation_id"), page)
        )

    async def _get_item(self) -> Answer:
        item = await self._state.conversations.item(self._tenant, self._id("conversation_id"), self._id("item_id"))
        return await self._shown_document(item)

    async def _delete_item(self) -> Answer:
        conversation_id, item_id = self._id("conversation_id"), self._id("item_id")
        return await self._shown_document(
            await self._state.conversations.delete_item(self._tenant, conversation_id, item_id)
        )

    # chat completions

    async def _list_completions(self) -> Answer:
        query = self._query
        metadata = {found[1]: value for name, value in query.items() if (found := _METADATA.fullmatch(name))}
        page = Page.of(query, order="asc")
        completions = self._state.completions
        return await self._shown_document(
            await completions.page(self._tenant, page, model=query.get("model"), metadata=metadata)
        )

    async def _get_completion(self) -> Answer:
        return await self._shown_document(await self._state.completions.get(self._tenant, self._id("completion_id")))

    async def _update_completion(self) -> Answer:
        metadata = metadata_of(_required(self._body(), "metadata"))
        return await self._shown_document(
            await self._state.completions.update(self._tenant, self._id("completion_id"), metadata)
        )

    async def _delete_completion(self) -> Answer:
        return await self._shown_document(await self._state.completions.delete(self._tenant, self._id("completion_id")))

    async def _messages(self) -> Answer:
        page = Page.of(self._query, order="asc")
        return await self._shown_document(
            await self._state.completions.messages(self._tenant, self._id("completion_id"), page)
        )


def _required(body: dict[str, Any], name: str) -> Any:
    if name not in body:
        raise InvalidRequestError(
            f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter"
        )
    return body[name]


def _items(body: dict[str, Any], *, required: bool) -> list[bytes]:
    value = _required(body, "items") if required else body.get("items")
    if value is not None and (not isinstance(value, list) or len(value) > _ITEMS_AT_ONCE):
        raise InvalidRequestError(
            f"Invalid 'items': expected an array of at most {_ITEMS_AT_ONCE} items.",
            param="items",
            code="invalid_value",
        )
    items = items_of(_json.encode(value), "items")
    if not all(item.startswith(b"{") for item in items):
        raise InvalidRequestError("Invalid 'items': expected objects.", param="items", code="invalid_type")
    return items


SERVED: Final[dict[str, Callable[[StoredObjects], Awaitable[Answer]]]] = {
    "responses.retrieve": StoredObjects._retrieve,  # noqa: SLF001 - its own table
    "responses.delete": StoredObjects._delete,  # noqa: SLF001
    "responses.cancel": StoredObjects._cancel,  # noqa: SLF001
    "responses.input_items.list": StoredObjects._input_items,  # noqa: SLF001
    "conversations.create": StoredObjects._create_conversation,  # noqa: SLF001
    "conversations.retrieve": StoredObjects._get_conversation,  # noqa: SLF001
    "conversations.update": StoredObjects._update_conversation,  # noqa: SLF001
    "conversations.delete": StoredObjects._delete_conversation,  # noqa: SLF001
    "conversations.items.create": StoredObjects._create_items,  # noqa: SLF001
    "conversations.items.list": StoredObjects._list_items,  # noqa: SLF001
    "conversations.items.retrieve": StoredObjects._get_item,  # noqa: SLF001
    "conversations.items.delete": StoredObjects._delete_item,  # noqa: SLF001
    "chat.completions.list": StoredObjects._list_completions,  # noqa: SLF001
    "chat.completions.retrieve": StoredObjects._get_completion,  # noqa: SLF001
    "chat.completions.update": StoredObjects._update_completion,  # noqa: SLF001
    "chat.completions.delete": StoredObjects._delete_completion,  # noqa: SLF001
    "chat.completions.messages.list": StoredObjects._messages,  # noqa: SLF001
}
