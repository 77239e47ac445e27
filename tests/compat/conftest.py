"""The worlds that each client library is tried in."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.compat.world import World, world_of


@pytest.fixture(params=["chat", "responses"], ids=["chat-only", "responses-only"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with world_of(request.param) as made:
        yield made


@pytest.fixture(params=[False, True], ids=["unary", "stream"])
def streamed(request: pytest.FixtureRequest) -> bool:
    chosen: bool = request.param
    return chosen
