"""Playing answers back to a gateway: a provider in process whose bytes come in any pieces, and streams made by hand.

The streams are made from whole answers without the gateway's own encoders, so that every key of a host's dialect is
in them, and no fault of the encoders is.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

from aigateway import Gateway
from aigateway.canonical.quirks import Quirks
from aigateway.providers.protocol import Answer, ProviderReply, ProviderRequest
from tests.answers import data_of

Object = dict[str, Any]

_STEP = 7
"""Characters in one delta."""


class Pieces:
    """A provider that answers everything with the same bytes: whole, or as a stream in the pieces given.

    error  what the stream breaks with after its last piece.
    """

    name = "acme"

    def __init__(self, api: str, pieces: bytes | Sequence[bytes], error: Exception | None = None) -> None:
        self.apis = frozenset([api])
        self.quirks = Quirks()
        self.requests: list[Object] = []
        self._pieces = pieces
        self._error = error

    async def send(self, request: ProviderRequest) -> ProviderReply:
        """The answer."""
        self.requests.append(request.json())
        return Answer(self._pieces if isinstance(self._pieces, bytes) else self._stream(self._pieces))

    async def _stream(self, pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
        if self._error is not None:
            raise self._error


class Heard:
    """What a caller got: the status and the bytes."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body

    def json(self) -> Any:
        """A whole answer."""
        return json.loads(self.body)

    def events(self) -> list[Any]:
        """The events of a stream without its `[DONE]`."""
        return [event for event in data_of(self.body) if event != "[DONE]"]

    @property
    def done(self) -> bool:
        """Whether `[DONE]` came, last."""
        return self.body.endswith(b"data: [DONE]\n\n")


async def ask(gateway: Gateway, api: str, body: Object) -> Heard:
    """One request in process, the answer as the bytes that HTTP would carry."""

    async def read() -> bytes:
        return json.dumps(body).encode()

    exchange = gateway.exchange(api, {})
    exchange.call.query = "alt=sse"  # Google's streams are an array else
    try:
        answer = await exchange.answer(read)
        heard = answer.body if answer.frames is None else b"".join([frame async for frame in answer.frames])
        exchange.delivered()
        return Heard(answer.status, heard)
    finally:
        await exchange.aclose()


def cut(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The data in pieces, cut at these places."""
    places = [0, *sorted({place % len(data) for place in cuts} - {0}), len(data)] if data else [0, 0]
    return [data[start:end] for start, end in itertools.pairwise(places)]


def sse(events: Iterable[Object | str], *, named: bool) -> bytes:
    """Server-sent events, as OpenAI writes them. A string stands for itself."""
    frames: list[str] = []
    for event in events:
        if isinstance(event, str):
            frames.append(f"data: {event}\n\n")
        else:
            head = f"event: {event['type']}\n" if named else ""
            frames.append(f"{head}data: {json.dumps(event, ensure_ascii=False)}\n\n")
    return "".join(frames).encode()


def streamed(api: str, body: Object) -> list[Object | str]:
    """A whole answer as the events that its host could have streamed."""
    return [*chat_chunks(body), "[DONE]"] if api == "chat" else list(response_events(body))


# chat


def chat_chunks(body: Object) -> Iterator[Object]:
    """A chat completion as chunks, every key of its message in deltas of its own."""
    head = {key: value for key, value in body.items() if key not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    choice = body["choices"][0]
    message = choice["message"]

    def chunk(delta: Object, finish: str | None = None, **more: Any) -> Object:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish, **more}]}

    yield chunk({"role": "assistant", "content": ""})
    for key in ("reasoning", "reasoning_content", "reasoning_details", "content", "refusal"):
        if key == "reasoning_details" and message.get(key):
            yield chunk({key: message[key]})
        if isinstance(message.get(key), str):
            for number, piece in enumerate(_steps(message[key])):
                tokens = choice.get("logprobs") if key == "content" and number == 0 else None
                yield chunk({key: piece}, logprobs=tokens)
    if isinstance(message.get("content"), list):
        for part in message["content"]:
            yield chunk({"content": [part]})
    if message.get("annotations"):
        yield chunk({"annotations": message["annotations"]})
    for number, call in enumerate(message.get("tool_calls") or ()):
        yield from (chunk({"tool_calls": [piece]}) for piece in _call_pieces(number, call))
    yield chunk({}, choice["finish_reason"])
    if body.get("usage"):
        yield {**head, "choices": [], "usage": body["usage"]}


def _call_pieces(number: int, call: Object) -> Iterator[Object]:
    yield {**call, "index": number, "function": {**call["function"], "arguments": ""}}
    for piece in _steps(call["function"].get("arguments") or ""):
        yield {"index": number, "function": {"arguments": piece}}


def _steps(text: str) -> Iterator[str]:
    for start in range(0, len(text), _STEP):
        yield text[start : start + _STEP]


# responses


def response_events(resource: Object) -> Iterator[Object]:
    """A response as the events of its stream, numbered."""
    begun = {**resource, "status": "in_progress", "output": [], "usage": None, "completed_at": None}
    begun["incomplete_details"] = None
    yield from _numbered(
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        *(event for index, item in enumerate(resource["output"]) for event in _item_events(index, item)),
        {"type": f"response.{_status(resource)}", "response": resource},
    )


def _status(resource: Object) -> str:
    return "incomplete" if resource["status"] == "incomplete" else "completed"


def _numbered(*events: Object) -> Iterator[Object]:
    for number, event in enumerate(events):
        yield {"type": event["type"], "sequence_number": number, **event}


def _item_events(index: int, item: Object) -> Iterator[Object]:
    place = {"output_index": index, "item_id": item["id"]}
    empty: Object = {key: [] for key in ("content", "summary") if key in item}
    if "arguments" in item:
        empty["arguments"] = ""
    if "status" in item:
        empty["status"] = "in_progress"
    yield {"type": "response.output_item.added", "output_index": index, "item": {**item, **empty}}
    for number, part in enumerate(item.get("summary") or ()):
        yield from _part_events(
            "reasoning_summary_part", "reasoning_summary_text", {**place, "summary_index": number}, part
        )
    for number, part in enumerate(item.get("content") or ()):
        yield from _part_events("content_part", part["type"], {**place, "content_index": number}, part)
    if item["type"] == "function_call":
        for piece in _steps(item["arguments"]):
            yield {"type": "response.function_call_arguments.delta", **place, "delta": piece}
        whole = {"name": item["name"], "arguments": item["arguments"]}
        yield {"type": "response.function_call_arguments.done", **place, **whole}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _part_events(holder: str, kind: str, place: Object, part: Object) -> Iterator[Object]:
    field = "refusal" if kind == "refusal" else "text"
    is_text = kind == "output_text"
    empty: Object = {**part, field: ""} | ({"annotations": [], "logprobs": []} if is_text else {})
    tokens = part.get("logprobs") or []
    yield {"type": f"response.{holder}.added", **place, "part": empty}
    for number, piece in enumerate(_steps(part[field])):
        spoken = {"logprobs": tokens if number == 0 else []} if is_text else {}
        yield {"type": f"response.{kind}.delta", **place, "delta": piece, **spoken}
    for number, annotation in enumerate(part.get("annotations") or ()):
        facts = {"annotation_index": number, "annotation": annotation}
        yield {"type": "response.output_text.annotation.added", **place, **facts}
    yield {"type": f"response.{kind}.done", **place, field: part[field], **({"logprobs": tokens} if is_text else {})}
    yield {"type": f"response.{holder}.done", **place, "part": part}
