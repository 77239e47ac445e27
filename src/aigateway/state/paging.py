"""Pages of lists: `after`, `limit`, `order`, and the list object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from aigateway.errors import InvalidRequestError
from aigateway.state.items import head_of
from aigateway.state.protocol import Entry, ResponseStore, Span

_CHUNK: Final = 128


class Page(msgspec.Struct, frozen=True):
    """Which part of a list is asked for."""

    after: str | None = None
    limit: int = 20
    descending: bool = True

    @classmethod
    def of(cls, query: Mapping[str, str], *, order: str = "desc") -> Page:
        """From a query. Raises InvalidRequestError."""
        wanted = query.get("order", order)
        if wanted not in ("asc", "desc"):
            raise InvalidRequestError("Invalid 'order': expected asc or desc.", param="order", code="invalid_value")
        limit = query.get("limit", "20")
        if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= 100:
            raise InvalidRequestError(
                "Invalid 'limit': expected an integer from 1 to 100.", param="limit", code="invalid_value"
            )
        return cls(query.get("after"), int(limit), wanted == "desc")

    def part_of(self, items: Sequence[bytes]) -> tuple[list[bytes], bool]:
        """That part of items, oldest first, and whether there are more. Raises InvalidRequestError for an `after`."""
        ordered = list(reversed(items)) if self.descending else list(items)
        if self.after is not None:
            places = [place for place, item in enumerate(ordered) if head_of(item).id == self.after]
            if not places:
                raise _no_such(self.after)
            ordered = ordered[places[0] + 1 :]
        return ordered[: self.limit], len(ordered) > self.limit


def list_object(data: Sequence[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """The list as the API shows it."""
    ids = [entry.get("id") for entry in data]
    return {
        "object": "list",
        "data": list(data),
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
        "has_more": has_more,
    }


async def page_of(store: ResponseStore, tenant: str, span: Span, page: Page) -> tuple[list[Entry], bool]:
    """Entries of a span, erased ones left out; and whether there are more. Raises InvalidRequestError for an `after`."""
    start, end = span.start, span.end
    if page.after is not None:
        seq = await _place_of(store, tenant, span, page.after)
        start, end = (start, seq) if page.descending else (seq + 1, end)
    found: list[Entry] = []
    while start < end and len(found) <= page.limit:
        size = max(page.limit + 1 - len(found), _CHUNK if found else 1)
        part = (
            Span(span.log, max(start, end - size), end)
            if page.descending
            else Span(span.log, start, min(end, start + size))
        )
        entries = [entry for entry in await store.entries(tenant, [part]) if entry.data]
        found += reversed(entries) if page.descending else entries
        start, end = (start, part.start) if page.descending else (part.end, end)
    return found[: page.limit], len(found) > page.limit


async def _place_of(store: ResponseStore, tenant: str, span: Span, id: str) -> int:
    for entry in await store.named(tenant, [id]):
        if entry.log == span.log and span.start <= entry.seq < span.end:
            return entry.seq
    for entry in await store.entries(tenant, [span]):  # an older one of that name, or a reference
        if entry.data and (entry.name == id or (not entry.name and head_of(entry.data).id == id)):
            return entry.seq
    raise _no_such(id)


def _no_such(id: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"Invalid 'after': there is no item '{id}' in this list.", param="after", code="not_found"
    )
