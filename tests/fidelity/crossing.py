"""Sending a document through the translation that serves calls, and what comes out on the other side."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any, NamedTuple

from aigateway.call import Call, Plan, Target
from aigateway.canonical.quirks import Quirks
from aigateway.errors import GatewayError, UpstreamError
from aigateway.fidelity.row import Direction, Host
from aigateway.formats import FORMATS, render_error
from aigateway.providers.protocol import Answer, ProviderReply, ProviderRequest
from aigateway.surface import Operation
from aigateway.translation import Translation
from tests import bedrock
from tests.playback import Object

QUIRKS: dict[Host, Quirks] = {
    "openai": Quirks(max_tokens="max_completion_tokens", developer_role=True, allowed_tools=True, custom_tools=True),
    "unknown": Quirks(),
    "strict": Quirks(strict_fields=True, reasoning_field="", text_parts=False),
}
MODELS = {
    "messages": "claude-sonnet-4-6",
    "generate_content": "gemini-3-pro",
    "converse": "anthropic.claude-sonnet-4-6",
}
"""Of whom the rows are true; those of other APIs are the same for every model."""

ASKED: dict[str, Object] = {
    "chat": {
        "model": "asked-for",
        "messages": [{"role": "user", "content": "Hello."}],
        "stream_options": {"include_usage": True},
    },
    "responses": {"model": "asked-for", "input": "Hello."},
    "messages": {"model": "asked-for", "messages": [{"role": "user", "content": "Hello."}], "max_tokens": 99},
    "generate_content": {"model": "asked-for", "contents": [{"role": "user", "parts": [{"text": "Hello."}]}]},
}
_CLOCKS = ("created_at", "completed_at")
_LONG_AGO = 1_700_000_000
"""When the samples were made."""


class Crossed(NamedTuple):
    """What came out: the document, the codes of what changed, and the error where the call was refused."""

    document: Any
    codes: list[str]
    error: GatewayError | None = None


class _Host:
    name = "acme"

    def __init__(self, api: str, quirks: Quirks) -> None:
        self.apis = frozenset([api])
        self.quirks = quirks

    async def send(self, request: ProviderRequest) -> ProviderReply:
        raise AssertionError(f"nobody sends {request.model}")


class Side:
    """One call of a caller, whose upstream speaks the other API."""

    def __init__(self, caller: str, upstream: str, body: Object, host: Host) -> None:
        self.api = caller
        self.upstream = upstream
        self.call = Call("req_1", Operation(caller, caller, ""), {})
        self.call.request = FORMATS[caller].request(json.dumps(body).encode())
        self.call.model = "asked-for"
        self.call.stream = body.get("stream") is True
        target = Target(_Host(upstream, QUIRKS[host]))
        counter = itertools.count(1)
        plan = Plan(target, MODELS.get(upstream, "upstream-model"), caller, upstream)
        self.translation = Translation(self.call, plan, "asked-for", lambda prefix: f"{prefix}_{next(counter)}")

    def crossed(self, document: Any) -> Crossed:
        return Crossed(document, [change.code for change in self.call.changes])


def cross(direction: Direction, document: Any, host: Host = "openai") -> Crossed:
    """What the other side gets for a document: of a request the upstream, of a reply or stream the caller."""
    api, kind, other = direction
    if kind == "request":
        try:
            side = Side(api, other, document, host)
            return side.crossed(json.loads(side.translation.request_body()))
        except GatewayError as error:
            return Crossed(None, [], error)
    side = Side(other, api, ASKED[other], host)
    if kind == "stream":
        return side.crossed(without_clocks(asyncio.run(_streamed(side, document))))
    try:
        return side.crossed(without_clocks(json.loads(side.translation.reply(json.dumps(document).encode()))))
    except UpstreamError as error:
        return side.crossed(render_error(side.api, error)[1])


def beside(document: str) -> Direction:
    """A document of chat on its way to the Responses API, or of that to chat."""
    api, kind = document.split(".")
    return Direction(api, kind, "responses" if api == "chat" else "chat")


def _framed(api: str, event: Object) -> bytes:
    """One event as its API sends it."""
    if api == "converse":
        [(kind, data)] = event.items()
        return bedrock.frame(kind, data)
    named = f"event: {event['type']}\n" if api == "messages" else ""
    return f"{named}data: {json.dumps(event)}\n\n".encode()


async def _streamed(side: Side, events: list[Object]) -> list[Object]:
    async def pieces() -> Any:
        for event in events:
            yield _framed(side.upstream, event)
        if side.upstream in ("chat", "responses"):
            yield b"data: [DONE]\n\n"

    heard: list[Object] = []
    try:
        heard.extend([wire.data async for wire in side.translation.stream(Answer(pieces()), whole=False)])
    except UpstreamError as error:
        heard.extend(wire.data for wire in side.translation.encoder.fail(error))
    return heard


def without_clocks(value: Any) -> Any:
    """Times that the gateway tells by its own clock are all the same."""
    if isinstance(value, list):
        return [without_clocks(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    return {key: 1 if _is_clock(key, entry) else without_clocks(entry) for key, entry in value.items()}


def _is_clock(key: str, entry: Any) -> bool:
    return bool(entry) and (key in _CLOCKS or (key == "created" and entry > _LONG_AGO))
