"""A gateway before a model that speaks one API only, and everything that passes between them held against the law."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from aigateway import Gateway, Provider, Target
from aigateway.lint import lint_response, lint_sse
from aigateway.testing import ScriptedUpstream
from tests.answers import data_of
from tests.compat.brain import Brain
from tests.compat.heard import Heard, Object
from tests.schemas import faults
from tests.serving import served
from tests.turns import UPSTREAM_MODEL

MODEL = "gpt-compat"
"""The name that callers use; the upstream knows another one."""


class Answer(msgspec.Struct):
    """What the gateway said to one request. whole: whether the caller waited for the end."""

    path: str
    status: int = 0
    streamed: bool = False
    body: bytes = b""
    whole: bool = False


class World(msgspec.Struct):
    """What a test holds. `client` retries nothing; libraries that take one are given it."""

    api: str
    url: str
    brain: Brain
    client: AsyncOpenAI
    answers: list[Answer]

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def heard(self) -> Heard:
        """The conversation that the model heard last."""
        return self.brain.heard[-1]

    @property
    def sent(self) -> Object:
        """The body that reached it last."""
        return self.brain.bodies[-1]


def plain_http() -> DefaultAsyncHttpxClient:
    """The SDK's own HTTP client, without the certificates that it would load (40 ms) and not need here."""
    return DefaultAsyncHttpxClient(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


@asynccontextmanager
async def world_of(api: str) -> AsyncIterator[World]:
    """Everything served. At the end: no task is left, and neither side heard anything unlawful."""
    brain = Brain(api)
    async with ScriptedUpstream() as upstream:
        upstream.answer_with(brain)
        provider = Provider("acme", upstream.base_url, "sk-upstream", apis={api})
        if api == "responses":  # the brain keeps them
            provider.quirks = msgspec.structs.replace(provider.quirks, keeps_responses=True)
        answers: list[Answer] = []
        gateway = _noting(Gateway(models={MODEL: Target(provider, UPSTREAM_MODEL)}), answers)
        async with (
            served(gateway) as url,
            plain_http() as http,
            AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-test", max_retries=0, http_client=http) as client,
        ):
            yield World(api, url, brain, client, answers)
    unlawful = [*brain.faults, *(fault for answer in answers for fault in _faults(answer))]
    if unlawful:
        raise AssertionError("\n".join(unlawful))


def _noting(gateway: Gateway, answers: list[Answer]) -> Callable[..., Any]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await gateway(scope, receive, send)
            return
        answer = Answer(scope["path"])
        answers.append(answer)

        async def noted(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.streamed = dict(message["headers"]).get(b"content-type", b"").startswith(b"text/event-stream")
            else:
                answer.body += message.get("body", b"")
                answer.whole = not message.get("more_body", False)
            await send(message)

        await gateway(scope, receive, noted)

    return app


def _faults(answer: Answer) -> Iterator[str]:
    if not answer.whole:
        return
    if answer.status != 200:
        yield from faults("openai", "ErrorResponse", msgspec.json.decode(answer.body))
    elif answer.path.endswith("/responses"):
        found = lint_sse(answer.body) if answer.streamed else lint_response(msgspec.json.decode(answer.body))
        yield from map(str, found)
    elif answer.path.endswith("/chat/completions"):
        name = "CreateChatCompletionStreamResponse" if answer.streamed else "CreateChatCompletionResponse"
        bodies = data_of(answer.body) if answer.streamed else [msgspec.json.decode(answer.body)]
        for body in bodies:
            if body != "[DONE]" and "error" not in body:
                yield from faults("openai", name, body)
