"""The worlds that each client library is tried in."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from tests.compat.world import World, world_of

# No library may tell its maker of these runs, whatever the environment says.
os.environ |= {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false", "OPENAI_AGENTS_DISABLE_TRACING": "1"}


@pytest.fixture(params=["chat", "responses"], ids=["chat-only", "responses-only"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with world_of(request.param) as made:
        yield made


@pytest.fixture(params=[False, True], ids=["unary", "stream"])
def streamed(request: pytest.FixtureRequest) -> bool:
    chosen: bool = request.param
    return chosen
