"""The end of a response that nobody makes anymore: it was cancelled, or has failed, before it had any output to keep."""

from __future__ import annotations

from typing import Any

from aigateway import _json
from aigateway.state.items import items_of
from aigateway.state.protocol import Span
from aigateway.state.record import Record
from aigateway.state.responses import Stored
from aigateway.state.state import State


async def end_early(state: State, tenant: str, stored: Stored, resource: dict[str, Any], *, first: int | None) -> bool:
    """Keep one as ended, with its input, so that it can be gone on from; False where it was changed meanwhile.

    resource: as it stands now, its status among it; `first` as in Record. Its input does not become part of its conversation.
    """
    known, responses = stored.record, state.responses
    resource["output"] = []
    record = Record(status=resource["status"], body=_json.encode(resource), background=known.background, first=first)
    record.upstream = known.upstream
    previous_id = resource.get("previous_response_id")
    found = await responses.find(tenant, previous_id) if previous_id else None
    previous = None if found is None else found.record
    if known.conversation is not None:  # it goes on from there, and is no part of it
        span = Span(known.conversation, 0, await state.store.length(tenant, known.conversation))
        previous = Record(status="", body=b"", spans=[span], conversation=known.conversation)
    return await responses.finish(
        tenant,
        stored.id,
        record,
        items_of(known.input),
        [],
        previous=previous,
        expect=stored.version,
    )
