"""The answer of any operation in process, as HTTP would give it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Self

from aigateway import _json
from aigateway.answer import Answer, CutShortError
from aigateway.errors import UpstreamConnectionError
from aigateway.exchange import Exchange


class RawReply:
    """Status, headers and bytes: `read()` them whole, or iterate over the pieces as they come.

    It must be read to its end or closed (`aclose()`, `async with`). Bytes that break off raise a GatewayError.
    """

    def __init__(self, exchange: Exchange, answer: Answer) -> None:
        self.call = exchange.call
        self.status = answer.status
        self.headers: Mapping[str, str] = dict(answer.headers)
        self._exchange = exchange
        self._pieces = _pieces(exchange, answer)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def read(self) -> bytes:
        """What is left of the body."""
        return b"".join([piece async for piece in self])

    async def json(self) -> Any:
        """The body decoded."""
        return _json.decode(await self.read())

    async def aclose(self) -> None:
        """Leave: the upstream is cancelled, the call ends."""
        await self._pieces.aclose()  # type: ignore[attr-defined]  # a generator of our own
        await self._exchange.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


async def _pieces(exchange: Exchange, answer: Answer) -> AsyncIterator[bytes]:
    """Knows nothing of its reply: so it is closed as soon as somebody breaks off and drops that."""
    try:
        if answer.frames is None:
            yield answer.body
        else:
            async for piece in answer.frames:
                yield piece
        exchange.delivered()
        if exchange.call.error is not None:
            raise exchange.call.error
    except CutShortError as error:
        raise exchange.call.error or UpstreamConnectionError("The upstream broke off its answer.") from error
    finally:
        await exchange.aclose()
