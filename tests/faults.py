"""A stage for faults: one upstream that does what a script says, and gateways in front of it over real HTTP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import msgspec
from starlette.applications import Starlette
from starlette.routing import Mount

from aigateway import Call, EventLens, Gateway, Limits, Provider, Timeout
from aigateway.app.protocol import HeadFirstProtocol
from aigateway.testing import Script, ScriptedUpstream
from tests.answers import REQUESTS, data_of, path_of
from tests.serving import no_task_left, served

UPSTREAM_KEY = "sk-upstream-0123456789"
INNER = "secret-inner-detail"
"""Stands in what upstreams write and no caller may read."""

PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "embeddings": "/v1/embeddings",
    "images": "/v1/images/generations",
}
ERROR_KEYS = {"message", "type", "param", "code"}

ENOUGH = Timeout(connect=10, first_byte=10, idle=10)
HASTY = Timeout(connect=0.1, first_byte=0.3, idle=0.4)
SHORT = Timeout(connect=10, first_byte=10, idle=10, total=0.4)


class Surface(NamedTuple):
    """A way through the gateway: the caller's API, the upstream's, and whether a hook reads every event."""

    api: str
    upstream: str
    edits: bool = False

    @property
    def streams(self) -> bool:
        """Whether the API has streams."""
        return self.api != "embeddings"

    def request(self, *, stream: bool, model: str | None = None) -> dict[str, Any]:
        """A good request."""
        body = {**REQUESTS[self.api], "model": model or f"calm-{self.upstream}"}
        return {**body, "stream": True} if stream else body


SURFACES: Mapping[str, Surface] = {
    "chat relay": Surface("chat", "chat"),
    "chat edit": Surface("chat", "chat", edits=True),
    "responses relay": Surface("responses", "responses"),
    "responses edit": Surface("responses", "responses", edits=True),
    "responses on chat": Surface("responses", "chat"),
    "chat on responses": Surface("chat", "responses"),
    "messages relay": Surface("messages", "messages"),
    "messages edit": Surface("messages", "messages", edits=True),
    "messages on chat": Surface("messages", "chat"),
    "messages on responses": Surface("messages", "responses"),
    "chat on messages": Surface("chat", "messages"),
    "responses on messages": Surface("responses", "messages"),
    "completions relay": Surface("completions", "completions"),
    "completions edit": Surface("completions", "completions", edits=True),
    "completions on chat": Surface("completions", "chat"),
    "completions on responses": Surface("completions", "responses"),
    "embeddings": Surface("embeddings", "embeddings"),
    "images": Surface("images", "images"),
}
STREAMED: Mapping[str, Surface] = {name: surface for name, surface in SURFACES.items() if surface.streams}


class Outcomes:
    """Keeps every call that is over."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.one = asyncio.Event()

    def on_complete(self, call: Call) -> None:
        """Note it."""
        self.calls.append(call)
        self.one.set()


class Reader:
    """Reads and gives back every event, so that streams go through the hooks."""

    def on_event(self, call: Call, event: EventLens) -> EventLens:
        """Nothing is changed."""
        return event


class Answered(NamedTuple):
    """What the caller got. `broken`: the connection was cut before the answer was complete."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    broken: bool = False

    def error(self) -> dict[str, Any]:
        """The error object, which has all four keys and nothing else."""
        body = msgspec.json.decode(self.body)
        if isinstance(body["error"].get("details"), list):
            return plain_error(body["error"])
        if body.get("type") == "error":
            assert set(body) == {"type", "error", "request_id"}, body
            return plain_error(body["error"])
        assert set(body) == {"error"}, body
        assert set(body["error"]) == ERROR_KEYS
        found: dict[str, Any] = body["error"]
        return found

    def events(self) -> list[Any]:
        """The JSON events of a stream."""
        return data_of(self.body)


def plain_error(error: dict[str, Any]) -> dict[str, Any]:
    """An error object with OpenAI's four keys, also where it is Anthropic's or Google's."""
    if isinstance(error.get("details"), list):
        assert set(error) == {"code", "message", "status", "details"}
        info, *fields = error["details"]
        param = fields[0]["fieldViolations"][0]["field"] if fields else None
        return {"message": error["message"], "type": error["status"], "param": param, "code": info["reason"].lower()}
    if "details" not in error:
        return error
    assert set(error) == {"type", "message", "details"}
    return {"message": error["message"], "type": error["type"], **error["details"]}


ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def type_for(surface: Surface, status: int, kind: str) -> str:
    """What the caller's API calls an error of this status, which OpenAI's calls `kind`."""
    return ANTHROPIC_TYPES[status] if surface.api == "messages" else kind


def own_headers(surface: Surface, headers: Mapping[str, str]) -> dict[str, str]:
    """What the caller's API, or the way to the upstream's, puts into the head of an answer on top."""
    own = {}
    if surface.api == "messages":
        own["request-id"] = headers["x-request-id"]
    if surface.upstream == "messages" != surface.api:  # Anthropic demands a limit
        own["x-aigateway-changes"] = "changed:max_output_tokens"
    return own


class Stage:
    """The upstream, the two gateways (with and without a hook on events), and the calls that are over."""

    def __init__(self, upstream: ScriptedUpstream, session: aiohttp.ClientSession, nowhere: str) -> None:
        self.upstream = upstream
        self.session = session
        self.nowhere = nowhere
        self.outcomes = Outcomes()
        self.edited = self.gateway(edits=True)
        self.urls: dict[bool, str] = {}

    def gateway(self, *, edits: bool) -> Gateway:
        """Providers `calm`, `hasty`, `short` of each API, and one where nobody listens."""
        models: dict[str, Provider] = {}
        timeouts = {"calm": ENOUGH, "hasty": HASTY, "short": SHORT}
        for api in (*PATHS, "generate_content", "converse"):
            for mood, timeout in timeouts.items():
                models[f"{mood}-{api}"] = Provider(
                    "acme", self.upstream.base_url, UPSTREAM_KEY, apis=[api], timeout=timeout
                )
            models[f"nowhere-{api}"] = Provider("acme", self.nowhere, UPSTREAM_KEY, apis=[api])
        hooks: list[object] = [self.outcomes, Reader()] if edits else [self.outcomes]
        return Gateway(models=models, hooks=hooks, limits=Limits(keepalive=30))

    async def ask(self, surface: Surface, script: Script, *, stream: bool, model: str | None = None) -> Answered:
        """One request while the upstream follows the script; the call is over when this returns."""
        self.upstream.script(script)
        body = surface.request(stream=stream, model=model)
        path = PATHS.get(surface.api, "")
        if surface.api == "generate_content":  # both stand in its path
            path = path_of(surface.api, stream=stream, model=body.pop("model"))
            body.pop("stream", None)
        answered = await self.post(self.urls[surface.edits] + path, body)
        await asyncio.wait_for(self.outcomes.one.wait(), 2)
        return answered

    async def post(self, url: str, body: Any, headers: Mapping[str, str] | None = None) -> Answered:
        """The whole answer to one request."""
        async with self.session.post(url, json=body, headers=headers) as reply:
            body = bytearray()
            broken = False
            try:
                async for piece in reply.content.iter_any():
                    body += piece
            except aiohttp.ClientError:
                broken = True
            return Answered(reply.status, reply.headers, bytes(body), broken)

    @property
    def call(self) -> Call:
        """The one call that is over: `on_complete` is told once."""
        assert len(self.outcomes.calls) == 1
        return self.outcomes.calls[0]


@asynccontextmanager
async def staged(http: Any = HeadFirstProtocol) -> AsyncIterator[Stage]:
    """A stage, open, on this HTTP protocol of uvicorn."""
    timeout = aiohttp.ClientTimeout(total=20)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # and never listens
        nowhere = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        async with aiohttp.ClientSession(timeout=timeout) as session, ScriptedUpstream() as upstream:
            stage = Stage(upstream, session, nowhere)
            plain, edited = stage.gateway(edits=False), stage.edited
            if http is HeadFirstProtocol:  # nothing around them, so that they go the short ways of `aigateway serve`
                async with (
                    no_task_left(),
                    served(plain, http, alone=False) as one,
                    served(edited, http, alone=False) as other,
                ):
                    stage.urls = {False: one, True: other}
                    yield stage
                return

            @asynccontextmanager
            async def lifespan(_: Starlette) -> AsyncIterator[None]:
                async with plain, edited:
                    yield

            app = Starlette(routes=[Mount("/plain", plain), Mount("/edited", edited)], lifespan=lifespan)
            async with served(app, http) as url:
                stage.urls = {False: f"{url}/plain", True: f"{url}/edited"}
                yield stage


def leaks_nothing(stage: Stage, body: bytes) -> None:
    """Neither what the upstream wrote, nor where it is, nor the key that opens it."""
    for secret in (
        INNER,
        UPSTREAM_KEY,
        "127.0.0.1",
        "localhost",
        f":{stage.upstream.port}",
        "http:",
        "aiohttp",
        "Traceback",
    ):
        assert secret.encode() not in body, secret


async def gateway_is_idle() -> None:
    """Wait until no task runs code of the gateway. Fails after a second."""
    for _ in range(100):
        if not any(_is_ours(task) for task in asyncio.all_tasks()):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"tasks left over: {[task for task in asyncio.all_tasks() if _is_ours(task)]}")


def _is_ours(task: asyncio.Task[Any]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    if code is None:
        return True
    name: str = code.co_filename
    return "run_asgi" in code.co_name or ("/aigateway/" in name and "/aigateway/testing/" not in name)
