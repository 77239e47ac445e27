"""The answer to what is no request: written past the application, which never hears of it."""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from aigateway import _json
from aigateway.errors import GatewayError
from aigateway.formats import render_error
from aigateway.ids import request_id

_SECONDS: Final = 1.0


def refuse(error: GatewayError, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
    """Answer with an error, and close. What still comes is passed over meanwhile, or its sender would not read the answer."""
    transport.write(refusal(error))
    if transport.can_write_eof():
        transport.write_eof()
    transport.set_protocol(_Deaf(protocol))
    asyncio.get_running_loop().call_later(_SECONDS, transport.close)


def refusal(error: GatewayError) -> bytes:
    """The answer, head and body."""
    body = _json.encode(render_error("unknown", error)[1])
    return (
        b"%bcontent-type: application/json\r\nx-request-id: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
        % (
            STATUS_LINE[error.status],
            request_id({}).encode(),
            len(body),
            body,
        )
    )


class _Deaf(asyncio.Protocol):
    """Stands in for a protocol that wants to hear nothing more but the end."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
