"""A stored stream, told again from any event on, and followed while it is still made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from aigateway import _json, _sse
from aigateway.errors import GatewayError, InvalidRequestError
from aigateway.formats.relay import frames_in
from aigateway.state.items import listed
from aigateway.state.journal import frames_after
from aigateway.state.record import Record
from aigateway.state.responses import Stored
from aigateway.state.state import State
from aigateway.state.turn import TOP

_WAIT: Final = 2.0  # seconds for which a reader waits before it asks what became of the response
_END_OF: Final = {"cancelled": "response.incomplete"}
"""Neither OpenAI nor Open Responses has an event of its own for that; the `status` of the response in it says what it is."""

_BEGUN: Final[dict[str, Any]] = {
    "status": "in_progress",
    "output": [],
    "usage": None,
    "error": None,
    "incomplete_details": None,
    "completed_at": None,
}
_ENDS: Final = (b"response.completed", b"response.incomplete", b"response.failed", b"response.cancelled")


class StreamGoneError(GatewayError):
    """The events that are asked for are no longer kept."""

    status = 410
    type = "invalid_request_error"
    code = "stream_expired"

    def __init__(self) -> None:
        super().__init__(
            "The events of this response are no longer kept, or never were: ask for the response without `stream`.",
            param="stream",
        )


def starting_after(query: dict[str, str], headers: Any) -> int:
    """The number behind which a stream is to be told: of `starting_after`, or else of `Last-Event-ID`; -1 = from its start."""
    wanted = query.get("starting_after", headers.get("last-event-id", ""))
    if not wanted:
        return -1
    if not wanted.isascii() or not wanted.isdigit():
        raise InvalidRequestError(
            "Invalid 'starting_after': expected the sequence_number of an event.",
            param="starting_after",
            code="invalid_value",
        )
    return int(wanted[:18])


async def resource_of(state: State, tenant: str, record: Record) -> bytes:
    """A response as it stands now, its output in place."""
    top = TOP.decode(record.body)
    if record.is_over:
        entries = await state.responses.entries(tenant, record, record.middle, record.end)
        top["output"] = msgspec.Raw(listed(entry.data for entry in entries))
    top["status"] = msgspec.Raw(_json.encode(record.status))
    return _json.encode(top)


async def check_kept(state: State, tenant: str, record: Record, id: str, after: int) -> None:
    """Raise StreamGoneError where the events behind this one are gone."""
    if record.status == "cancelled" and record.background and after < 0:
        return  # whatever is left of it, its end can be told
    if record.first is None and record.run is None and record.is_over:
        raise StreamGoneError
    pieces = await state.store.read_journal(tenant, id, after)
    if pieces:
        if pieces[0].first > max(after + 1, record.first or 0):
            raise StreamGoneError
        return
    if record.is_over and after < (record.first or 0):
        raise StreamGoneError


async def follow(state: State, tenant: str, id: str, after: int, *, is_over: bool = False) -> AsyncIterator[bytes]:
    """The frames behind this event, those to come too, up to the end of the stream. is_over: whether there are none to come."""
    while True:
        pieces = await state.store.read_journal(tenant, id, after, wait=0.0 if is_over else _WAIT)
        for piece in pieces:
            if piece.last <= after:
                continue
            data = frames_after(piece, after)
            after = piece.last
            if not any(end in data for end in _ENDS):
                if data:
                    yield data
                continue
            for frame in frames_in(data):
                yield frame
                if _is_end(frame):
                    yield _sse.DONE_FRAME
                    return
        if pieces:
            continue
        found = await state.responses.find(tenant, id)
        if not is_over:
            is_over = found is None or found.record.is_over
            continue
        end = b"" if found is None else await _missing_end(state, tenant, found, after)
        yield end + _sse.DONE_FRAME
        return


def _is_end(frame: bytes) -> bool:
    head = frame[: frame.find(b"\n")] if frame.startswith(b"event:") else frame[:200]
    return any(end in head for end in _ENDS)


async def _missing_end(state: State, tenant: str, stored: Stored, after: int) -> bytes:
    """The event that a stream ends with whose own was never written; nothing where it was, or was told already.

    Where no event was written at all, those that come first stand in front of it.
    """
    seen = await state.store.read_journal(tenant, stored.id, -1)
    number = seen[-1].last + 1 if seen else 0
    if number <= after or any(_is_end(frame) for piece in seen for frame in frames_in(piece.data)):
        return b""
    response = _json.decode(await resource_of(state, tenant, stored.record))
    end = _END_OF.get(stored.record.status, f"response.{stored.record.status}")
    told = [(end, response)]
    if number == 0:  # it was over before anything of it was written
        begun = response | _BEGUN
        told = [("response.created", begun), ("response.in_progress", begun), *told]
    return b"".join(
        _sse.encode(_json.encode({"type": name, "sequence_number": place, "response": snapshot}), name)
        for place, (name, snapshot) in enumerate(told, number)
    )
