"""The end of a response that nobody makes anymore: it was cancelled, or has failed, before it had any output to keep."""

from __future__ import annotations

from typing import Any

from aigateway import _json
from aigateway.state.items import items_of
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
    record.conversation, record.upstream = known.conversation, known.upstream
    if known.conversation is not None:
        record.input = known.input
    previous_id = resource.get("previous_response_id")
    previous = await responses.find(tenant, previous_id) if previous_id else None
    return await responses.finish(
        tenant,
        stored.id,
        record,
        [] if known.conversation is not None else items_of(known.input),
        [],
        previous=None if previous is None else previous.record,
        conversation_log=known.conversation,
        expect=stored.version,
    )
