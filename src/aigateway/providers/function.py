"""A provider that is one Python function: for tests, and for models that run in process."""

from __future__ import annotations

import inspect
import time
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from typing import Any

from aigateway import _json, _sse
from aigateway.canonical.quirks import Quirks
from aigateway.errors import UpstreamProtocolError
from aigateway.providers.protocol import Answer, ProviderReply, ProviderRequest

Function = Callable[[dict[str, Any]], Any]


class FunctionProvider:
    """Answers requests with `function(body)`, where `body` is the request in the API's own form.

    The function (async or not) gives back
    - a dict: the reply, in the API's own form;
    - a string: the text of a chat answer;
    - an iterator or async iterator of strings (pieces of a chat answer) or dicts (events in the API's own form).

    Whether the caller asked for a stream does not matter to it: a text is streamed as one piece, and pieces are put
    together for a caller who asked for none (dict events cannot be: they need a caller that streams).
    """

    def __init__(self, name: str, function: Function, apis: Collection[str] = ("chat",)) -> None:
        self.name = name
        self.apis = frozenset(apis)
        self.quirks = Quirks(
            developer_role=True, allowed_tools=True, max_tokens="max_completion_tokens", custom_tools=True
        )
        self._function = function

    async def send(self, request: ProviderRequest) -> ProviderReply:
        """Call the function. What it raises is for the gateway to render."""
        result = self._function(request.json())
        if inspect.isawaitable(result):
            result = await result
        if isinstance(result, dict):
            return Answer(_json.encode(result))
        if isinstance(result, str):
            result = [result]
        chat = _ChatAnswer(request.model)
        if request.stream:
            return Answer(chat.stream(_iterate(result), named=request.api in ("responses", "messages")))
        return Answer(_json.encode(chat.whole([piece async for piece in _iterate(result)])))


async def _iterate(pieces: Iterable[Any] | AsyncIterator[Any]) -> AsyncIterator[Any]:
    if isinstance(pieces, Iterable):
        for piece in pieces:
            yield piece
        return
    if not hasattr(pieces, "__aiter__"):
        raise UpstreamProtocolError(
            "The upstream is a function that gave neither a dict, a string, nor an iterator of them."
        )
    try:
        async for piece in pieces:
            yield piece
    finally:
        closer = getattr(pieces, "aclose", None)
        if closer is not None:
            await closer()


class _ChatAnswer:
    """The envelope of a chat answer around pieces of text."""

    def __init__(self, model: str) -> None:
        self._facts = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}

    def whole(self, pieces: list[Any]) -> dict[str, Any]:
        if not all(isinstance(piece, str) for piece in pieces):
            raise UpstreamProtocolError("The upstream is a function that streams events, but no stream was asked for.")
        message = {"role": "assistant", "content": "".join(pieces), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return {**self._facts, "object": "chat.completion", "choices": [choice]}

    async def stream(self, pieces: AsyncIterator[Any], *, named: bool) -> AsyncIterator[bytes]:
        texts = False
        try:
            async for piece in pieces:
                if isinstance(piece, dict):
                    yield _sse.encode(_json.encode(piece), str(piece.get("type", "")) if named else "")
                    continue
                if not texts:
                    yield self._chunk({"role": "assistant", "content": ""})
                texts = True
                yield self._chunk({"content": str(piece)})
            if texts:
                yield self._chunk({}, "stop")
            if not named:
                yield _sse.DONE_FRAME
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]  # always the generator of _iterate

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _sse.encode(_json.encode({**self._facts, "object": "chat.completion.chunk", "choices": [choice]}))
