"""Asking a gateway in the same words over HTTP and in process, for tests that must hold on both ways."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import msgspec

from aigateway import EventStream, Gateway, GatewayError, Provider, Target
from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from tests.answers import BOUNDARY, REQUESTS, data_of, form, path_of
from tests.serving import no_task_left, served


class Row(msgspec.Struct, frozen=True):
    """How a call is made: the caller's API, the one API of the upstream, streaming, and whether as a multipart form.

    raw: a body of its own; "" = the usual one.
    """

    api: str
    upstream: str
    stream: bool = False
    form: bool = False
    raw: bytes = b""

    @property
    def id(self) -> str:
        """For pytest."""
        name = f"{self.api}.edits" if self.form else self.api
        over = "" if self.api == self.upstream else f"-over-{self.upstream}"
        return f"{name}{over}-{'stream' if self.stream else 'unary'}"

    @property
    def path(self) -> str:
        """Where it is posted."""
        return "/v1/images/edits" if self.form else path_of(self.api, stream=self.stream)

    @property
    def body(self) -> bytes:
        """What is posted."""
        if self.raw:
            return self.raw
        if self.form:
            return form({"model": "gpt", "prompt": "the question"} | ({"stream": "true"} if self.stream else {}))
        body = REQUESTS[self.api] | ({"stream": True} if self.stream else {})
        if self.api == "generate_content":  # both stand in its path
            body = {key: value for key, value in body.items() if key not in ("model", "stream")}
        return msgspec.json.encode(body)

    @property
    def headers(self) -> dict[str, str]:
        """Its Content-Type."""
        kind = f"multipart/form-data; boundary={BOUNDARY}" if self.form else "application/json"
        return {"content-type": kind}


ROWS = [
    Row("chat", "chat"),
    Row("chat", "chat", stream=True),
    Row("chat", "responses"),
    Row("chat", "responses", stream=True),
    Row("responses", "responses"),
    Row("responses", "responses", stream=True),
    Row("responses", "chat"),
    Row("responses", "chat", stream=True),
    Row("completions", "completions"),
    Row("completions", "completions", stream=True),
    Row("completions", "chat"),
    Row("completions", "chat", stream=True),
    Row("completions", "responses"),
    Row("completions", "responses", stream=True),
    Row("messages", "messages"),
    Row("messages", "messages", stream=True),
    Row("messages", "chat"),
    Row("messages", "chat", stream=True),
    Row("messages", "responses"),
    Row("messages", "responses", stream=True),
    Row("chat", "messages"),
    Row("chat", "messages", stream=True),
    Row("responses", "messages"),
    Row("responses", "messages", stream=True),
    Row("completions", "messages"),
    Row("completions", "messages", stream=True),
    Row("generate_content", "generate_content"),
    Row("generate_content", "generate_content", stream=True),
    Row("generate_content", "chat"),
    Row("generate_content", "chat", stream=True),
    Row("generate_content", "responses"),
    Row("generate_content", "responses", stream=True),
    Row("chat", "generate_content"),
    Row("chat", "generate_content", stream=True),
    Row("responses", "generate_content"),
    Row("responses", "generate_content", stream=True),
    Row("embeddings", "embeddings"),
    Row("images", "images"),
    Row("images", "images", stream=True),
    Row("images", "images", form=True),
    Row("images", "images", stream=True, form=True),
]
STREAMS = [row for row in ROWS if row.stream]


class Seen(msgspec.Struct):
    """What the caller got. `[DONE]` is not among the events."""

    status: int = 0
    events: list[Any] = msgspec.field(default_factory=list)
    body: bytes = b""
    headers: dict[str, str] = msgspec.field(default_factory=dict)

    def json(self) -> Any:
        """The body decoded."""
        return msgspec.json.decode(self.body)

    def code(self) -> Any:
        """The code of the error."""
        error = self.json()["error"]
        details = error.get("details", error)
        return details[0]["reason"].lower() if isinstance(details, list) else details["code"]


def key_of(headers: Mapping[str, str]) -> str | None:
    """The key that a provider was sent."""
    return headers.get("x-goog-api-key") or headers.get("authorization", "").removeprefix("Bearer ") or None


Ask = Callable[..., Awaitable[Seen]]


async def post(url: str, row: Row, **headers: str) -> Seen:
    """One request to a gateway that is served already."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + row.path, data=row.body, headers=row.headers | headers) as response,
    ):
        body = await response.read()
        events = [event for event in data_of(body) if event != "[DONE]"]
        return Seen(response.status, events, body, {name.lower(): text for name, text in response.headers.items()})


async def through(row: Row, script: Script, *hooks: object, model: str | None = None) -> tuple[Seen, ReceivedRequest]:
    """What the caller gets, and what reached the upstream, where these hooks stand between. model: its name there."""
    async with ScriptedUpstream() as upstream:
        upstream.script(script)
        target = Target(Provider("up", upstream.base_url, "none", apis={row.upstream}), model)
        async with served(Gateway(models={"*": target}, hooks=hooks)) as url:
            seen = await post(url, row)
        assert len(upstream.requests) == 1
        return seen, upstream.requests[0]


async def over_http(gateway: Gateway, row: Row, upstream: ScriptedUpstream, *, leave: bool = False) -> Seen:
    """Serve the gateway and ask it. leave: go away after the first event, or before the answer where there is none."""
    async with served(gateway) as url:
        if not leave:
            return await post(url, row)
        async with aiohttp.ClientSession() as session:
            asking = asyncio.ensure_future(session.post(url + row.path, data=row.body, headers=row.headers))
            if row.stream:
                response = await asking
                await response.content.readuntil(b"\n\n")
                response.close()
            else:
                await upstream.arrived.wait()
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
            await asyncio.wait_for(upstream.left.wait(), 2)
    return Seen()


async def in_process(gateway: Gateway, row: Row, upstream: ScriptedUpstream, *, leave: bool = False) -> Seen:
    """The same by the gateway's own method."""
    async with no_task_left(), gateway:
        asking = asyncio.ensure_future(_ask_in_process(gateway, row, leave=leave))
        if leave:
            await upstream.arrived.wait()
            if not row.stream:
                asking.cancel()
            await asyncio.wait_for(upstream.left.wait(), 2)
        with contextlib.suppress(asyncio.CancelledError):
            return await asking
    return Seen()


async def _ask_in_process(gateway: Gateway, row: Row, *, leave: bool) -> Seen:
    seen = Seen()
    method = getattr(gateway, row.api)
    try:
        answer = await method(REQUESTS[row.api], **({"stream": True} if row.stream else {}))
        seen.status = 200
        if not isinstance(answer, EventStream):
            seen.body = answer.raw
            return seen
        async with answer:
            async for event in answer:
                seen.events.append(event.snapshot())
                if leave:
                    break
    except GatewayError as error:
        seen.status = seen.status or error.status
    return seen


WAYS: dict[str, Ask] = {"http": over_http, "in-process": in_process}
EVERY_WAY = [(way, row) for way in WAYS for row in ROWS if way == "http" or not row.form]
"""Each row each way; forms are posted over HTTP only."""
EVERY_WAY_IDS = [f"{way}-{row.id}" for way, row in EVERY_WAY]
