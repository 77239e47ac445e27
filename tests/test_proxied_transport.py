"""aiohttp's transport, which requests through a proxy take: its limits and its errors, in words that show no address."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from aigateway.errors import UpstreamConnectionError, UpstreamError, UpstreamTimeoutError
from aigateway.testing import Script, ScriptedUpstream
from aigateway.transport.aiohttp_client import AiohttpTransport
from aigateway.transport.protocol import HTTPRequest, Timeout

FAULTS: dict[str, tuple[Callable[[], Script], Timeout, type[UpstreamError]]] = {
    "no head in time": (lambda: Script(hold=asyncio.Event()), Timeout(first_byte=0.1), UpstreamTimeoutError),
    "no whole answer in time": (lambda: Script(hold=asyncio.Event()), Timeout(total=0.1), UpstreamTimeoutError),
    "silence in the body": (
        lambda: Script(pieces=[b"a", b"b"], hold_after=(1, asyncio.Event())),
        Timeout(idle=0.1),
        UpstreamTimeoutError,
    ),
    "a body over the total": (
        lambda: Script(pieces=[b"a", b"b"], hold_after=(1, asyncio.Event())),
        Timeout(total=0.2),
        UpstreamTimeoutError,
    ),
    "closed before the head": (lambda: Script(fault="refuse"), Timeout(), UpstreamConnectionError),
    "cut in the body": (lambda: Script(pieces=[b"a"], fault="cut"), Timeout(), UpstreamConnectionError),
}


async def fetched(transport: AiohttpTransport, url: str, limits: Timeout) -> bytes:
    response = await transport.send(
        HTTPRequest(method="POST", url=url, headers=[], body=b"{}", timeout=limits, peer="Provider 'p'")
    )
    try:
        return b"".join([piece async for piece in response.stream()])
    finally:
        await response.aclose()


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_an_error_that_names_the_provider_and_no_address(fault: str) -> None:
    script, limits, kind = FAULTS[fault]
    transport = AiohttpTransport()
    async with ScriptedUpstream() as upstream:
        upstream.script(script())
        with pytest.raises(UpstreamError) as caught:
            await fetched(transport, f"{upstream.base_url}/x", limits)
        await transport.aclose()
    assert type(caught.value) is kind
    assert caught.value.message.startswith("Provider 'p'")
    assert "127.0.0.1" not in caught.value.message


async def test_an_answer_is_read_and_its_connection_used_again() -> None:
    transport = AiohttpTransport()
    async with ScriptedUpstream() as upstream:
        upstream.script(Script(pieces=[b"a", b"b"]))
        for _ in range(2):
            assert await fetched(transport, f"{upstream.base_url}/x", Timeout()) == b"ab"
        with pytest.raises(UpstreamConnectionError, match="could not be reached"):
            await fetched(transport, "http://127.0.0.1:9/x", Timeout())
        await transport.aclose()
