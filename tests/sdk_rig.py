"""The official SDK, a served gateway and a scripted upstream of one or both APIs, joined."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from openai import APIError, AsyncOpenAI, OpenAI

from aigateway import Gateway, Provider, Target
from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from tests.serving import served
from tests.turns import UPSTREAM_MODEL, Turn, said

Object = dict[str, Any]
T = TypeVar("T")

UPSTREAMS = {"chat-only": ("chat",), "responses-only": ("responses",), "both": ("chat", "responses")}
"""What upstreams speak in tests that must hold for all of them."""

PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses"}
MODEL = "gpt"
"""The name that callers use; the upstream knows another one."""


class Rig(msgspec.Struct):
    """What a test holds. `client` retries nothing."""

    upstream: ScriptedUpstream
    apis: tuple[str, ...]
    url: str
    client: AsyncOpenAI

    def spoken(self, caller: str) -> str:
        """The API that the upstream speaks with this caller: the caller's own where it has it."""
        return caller if caller in self.apis else self.apis[0]

    @property
    def sent(self) -> Object:
        """What the upstream got last, of its own model's name."""
        last = self.upstream.requests[-1]
        assert last.json()["model"] == UPSTREAM_MODEL
        assert last.path in {PATHS[api] for api in self.apis}
        return last.json()

    def says(self, *turns: Turn, **more: Any) -> None:
        """The upstream's answers, in order; the last one goes on for ever. more: for the Script."""
        left = list(turns)

        def answer(request: ReceivedRequest) -> Script:
            return said(left.pop(0) if len(left) > 1 else left[0], request, **more)

        self.upstream.answer_with(answer)

    async def in_thread(self, use: Callable[[OpenAI], T]) -> T:
        """Let the synchronous client be used."""

        def run() -> T:
            with OpenAI(base_url=f"{self.url}/v1", api_key="sk-test", max_retries=0) as client:
                return use(client)

        return await asyncio.to_thread(run)


@asynccontextmanager
async def rigged(
    *apis: str, hooks: tuple[object, ...] = (), key: str = "sk-test", model: str = MODEL
) -> AsyncIterator[Rig]:
    """Everything served; no task may be left afterwards. model: the one that is served, `*` = whatever is asked for."""
    async with ScriptedUpstream() as upstream:
        provider = Provider("acme", upstream.base_url, "sk-upstream", apis=apis)
        gateway = Gateway(models={model: Target(provider, UPSTREAM_MODEL)}, hooks=hooks)
        async with (
            served(gateway) as url,
            AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client,
        ):
            yield Rig(upstream, apis, url, client)


async def read_until_error(stream: AsyncIterable[object]) -> tuple[int, APIError]:
    """How many events came, and what was raised then. A stream that ends well is a failure."""
    seen = 0
    try:
        async for _ in stream:
            seen += 1
    except APIError as error:
        return seen, error
    raise AssertionError("the stream ended as if all were well")
