"""A gateway over an upstream that remembers nothing and answers with what it was told: what a turn sees can be read."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import aiohttp
import msgspec

from aigateway import Gateway, Provider, Target
from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from tests.serving import served

Object = dict[str, Any]


def texts_of(body: Object) -> list[str]:
    """The texts of a request's messages, in order: `user: hi`; calls and their results as `call_1()` and `call_1 = ...`."""
    told = []
    for item in body.get("messages") or body.get("input") or ():
        if item.get("type") == "function_call":
            told.append(f"{item['call_id']}()")
        elif item.get("type") == "function_call_output":
            told.append(f"{item['call_id']} = {item['output']}")
        elif item.get("role") == "tool":
            told.append(f"{item['tool_call_id']} = {item['content']}")
        elif item.get("role"):
            content = item.get("content") or ""
            text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
            told += [f"{item['role']}: {text}"] if text else []
            told += [f"{call['id']}()" for call in item.get("tool_calls") or ()]
        else:
            told.append(str(item.get("type")))
    return told


def answer(request: ReceivedRequest) -> Script:
    """The number of messages that it was told, as an answer. A message `call` is answered with a function call."""
    body = request.json()
    told = (
        texts_of({"messages": [{"role": "user", "content": body["input"]}]})
        if isinstance(body.get("input"), str)
        else texts_of(body)
    )
    last = told[-1] if told else ""
    if "messages" in body:
        return _chat(f"saw {len(told)}", body, calls=last == "user: call")
    return _responses(f"saw {len(told)}", body)


def _chat(text: str, body: Object, *, calls: bool) -> Script:
    facts = {"id": "chatcmpl-1", "created": 1, "model": "m"}
    message: Object = {"role": "assistant", "content": text}
    if calls:
        function = {"name": "look", "arguments": "{}"}
        message |= {"content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}
    finish = "tool_calls" if calls else "stop"
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    if not body.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return Script.of_json({**facts, "object": "chat.completion", "choices": [choice], "usage": usage})
    pieces: list[Object] = [{"role": "assistant"}, *({"content": word} for word in _words(text)), {}]
    if calls:
        pieces = [{"role": "assistant", "tool_calls": [{"index": 0, **message["tool_calls"][0]}]}, {}]
    chunks = [
        {
            **facts,
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": piece, "finish_reason": finish if piece == {} else None}],
        }
        for piece in pieces
    ]
    return Script.of_events([*chunks, {**facts, "object": "chat.completion.chunk", "choices": [], "usage": usage}])


def _words(text: str) -> list[str]:
    return re.findall(r"\S+\s*", text)


REGISTERED = ContextVar("registered", default="m")
"""The name under which gateways have their model: its own, or a pattern, which is looked up in another way."""

_numbers = iter(range(1, 1_000_000))


def _responses(text: str, body: Object) -> Script:
    number = next(_numbers)
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    item = {"id": f"msg_up{number}", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    usage = {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 5,
    }

    def resource(status: str, output: list[Object]) -> Object:
        return {
            "id": f"resp_up{number}",
            "object": "response",
            "created_at": 1,
            "status": status,
            "model": "m",
            "output": output,
            "previous_response_id": body.get("previous_response_id"),
            "store": body.get("store", True),
            "usage": usage if status == "completed" else None,
            "error": None,
        }

    if not body.get("stream"):
        return Script.of_json(resource("completed", [item]))
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    events: list[Object] = [
        {"type": "response.created", "response": resource("in_progress", [])},
        {"type": "response.in_progress", "response": resource("in_progress", [])},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": item | {"content": [], "status": "in_progress"},
        },
        {"type": "response.content_part.added", **place, "part": part | {"text": ""}},
        *({"type": "response.output_text.delta", **place, "delta": word, "logprobs": []} for word in _words(text)),
        {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": resource("completed", [item])},
    ]
    numbered = [event | {"sequence_number": place} for place, event in enumerate(events)]
    return Script.of_events(numbered, named=True, done=False)


class Reply(msgspec.Struct):
    """An answer of the gateway."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def events(self) -> list[Any]:
        """Those of a stream; `[DONE]` is not among them."""
        lines = [line.removeprefix(b"data: ") for line in self.body.split(b"\n") if line.startswith(b"data: ")]
        return [msgspec.json.decode(line) for line in lines if line != b"[DONE]"]

    @property
    def text(self) -> str:
        """Of the response's last message."""
        return str(self.json["output"][-1]["content"][0]["text"])


class Rig:
    """Asks a gateway, and knows what reached the upstream."""

    def __init__(self, url: str, upstream: ScriptedUpstream, gateway: Gateway) -> None:
        self.url = url
        self.upstream = upstream
        self.gateway = gateway
        self.key = ""
        self.session = aiohttp.ClientSession()

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """One request below /v1. Words in `headers` have underscores for dashes."""
        shown = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key:
            shown.setdefault("authorization", f"Bearer {self.key}")
        async with self.session.request(method, f"{self.url}/v1{path}", json=body, headers=shown) as response:
            return Reply(response.status, await response.read(), {n.lower(): v for n, v in response.headers.items()})

    async def turn(self, input: Any, **fields: Any) -> Object:
        """A response that must succeed."""
        reply = await self.ask("POST", "/responses", {"model": "m", "input": input, **fields})
        assert reply.status == 200, reply.body
        value: Object = reply.json
        return value

    @property
    def told(self) -> list[str]:
        """What the upstream was told last."""
        body = self.upstream.requests[-1].json()
        if isinstance(body.get("input"), str):
            return [f"user: {body['input']}"]
        return texts_of(body)


@asynccontextmanager
async def rigged(
    upstream_api: str = "chat", *, hooks: Any = (), keeps: bool = False, **settings: Any
) -> AsyncIterator[Rig]:
    """A gateway over such an upstream. keeps: whether its provider is one that keeps responses itself."""
    async with ScriptedUpstream() as upstream:
        upstream.answer_with(answer)
        provider = Provider("up", upstream.base_url, "none", apis={upstream_api})
        if keeps:
            provider.quirks = msgspec.structs.replace(provider.quirks, keeps_responses=True)
        gateway = Gateway(models={REGISTERED.get(): Target(provider)}, hooks=hooks, **settings)
        async with served(gateway) as url:
            rig = Rig(url, upstream, gateway)
            try:
                yield rig
            finally:
                await rig.session.close()
