"""The local model as a provider: a small language model in this process, with no key and no network."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aigateway import _json
from aigateway.canonical.quirks import Quirks
from aigateway.errors import UnsupportedError, UpstreamConnectionError, UpstreamError
from aigateway.local import model_file
from aigateway.local.engine import SLOTS, Engine
from aigateway.local.model_file import SMOLLM2, LocalModelError, say
from aigateway.providers.protocol import Answer, ProviderReply, ProviderRequest
from aigateway.transport.protocol import HTTPRequest, HTTPResponse, Timeout, Transport

_PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions", "embeddings": "/v1/embeddings"}

# llama.cpp answers 500 to these, though it is the request that is at fault.
_FAULTS_OF_THE_REQUEST = (b"is too large to process", b"input is not supported", b"Failed to parse tools")


class LocalModel:
    """SmolLM2-135M-Instruct on llama.cpp, in this process: chat, completions and embeddings in OpenAI's form.

    Requests reach llama.cpp byte for byte, and its answers come back the same way, with its status: a request that it
    refuses is a reply of status 400 with OpenAI's error body. `send` raises UpstreamConnectionError for an answer that
    broke off, UpstreamTimeoutError after `timeout` seconds without a byte, UnsupportedError for a forced tool call
    (SmolLM2 knows no tools: it answers in words), and LocalModelError where the model cannot be had.

    Chat and completions take up to 8192 tokens, an embedding input up to 512. Four requests run at once; others wait their turn.
    `path` names another .gguf file, which is used as it is. Whoever closes a reply, or cancels the task that waits for
    it, stops the generation. Use it from one event loop at a time.
    """

    quirks = Quirks(developer_role=True)

    def __init__(self, name: str = "local", *, path: Path | None = None, timeout: float = 600.0) -> None:
        self.name = name
        self.apis: Collection[str] = frozenset(_PATHS)
        self._path = path
        self._timeout = timeout
        self._engine: Engine | None = None
        self._closed = False
        self._transport: Transport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening = asyncio.Lock()
        self._slots = asyncio.Semaphore(SLOTS)

    async def open(self) -> None:
        """Fetch the model file where it is missing, and load it; a line on stderr tells of each. Idempotent.

        `send` does this by itself; do it before, and the first request need not wait. Raises LocalModelError.
        """
        self._bind()
        async with self._opening:
            if self._closed:
                raise UpstreamConnectionError("The local model has been closed.", provider=self.name, retryable=False)
            if self._engine is None:
                self._engine = await self._load()

    async def send(self, request: ProviderRequest) -> ProviderReply:
        """The reply to one request: a stream of server-sent events, or JSON that is already complete."""
        path = _PATHS.get(request.api)
        if path is None:
            raise UnsupportedError(f"The local model has no API {request.api!r}.")
        if self._path is None:
            _refuse_forced_tools(request.body)
        await self.open()
        await self._slots.acquire()
        exchange = _Exchange(self._slots, self.name)
        try:
            await exchange.post(*self._entrance(), path, request.body, self._timeout)
            if exchange.streams:
                return exchange
            status, body = _blame(exchange.status, await exchange.read())
        except BaseException:
            await exchange.aclose()
            raise
        return Answer(body, status=status)

    async def aclose(self) -> None:
        """Break off what still runs, and give the memory back. After it `send` raises UpstreamConnectionError."""
        self._closed = True
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    async def _load(self) -> Engine:
        stop = threading.Event()
        try:
            return await asyncio.to_thread(self._load_blocking, stop)
        finally:
            stop.set()

    def _load_blocking(self, stop: threading.Event) -> Engine:
        path = self._path or model_file.ensure(stop=stop)
        if not path.is_file():
            raise LocalModelError("The model file of the local model does not exist.")
        title = SMOLLM2.name if self._path is None else path.name
        say(f"loading {title} ...")
        started = time.monotonic()
        engine = Engine(path, self.name)
        if stop.is_set():  # nobody waits for it any more
            engine.close()
        say(f"loaded {title} in {time.monotonic() - started:.1f} s")
        return engine

    def _entrance(self) -> tuple[Transport, Engine]:
        """What reaches the model, and what knows its address and key."""
        engine = self._engine
        if engine is None:
            raise UpstreamConnectionError("The local model has been closed.", provider=self.name, retryable=False)
        if self._transport is None:
            self._transport = engine.transport()
        return self._transport, engine

    def _bind(self) -> None:
        """Locks belong to one event loop; a model outlives loops."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            self._opening = asyncio.Lock()
            self._slots = asyncio.Semaphore(SLOTS)


class _Exchange:
    """One request and its reply; holds a slot and a connection until it is closed."""

    def __init__(self, slots: asyncio.Semaphore, provider: str) -> None:
        self.status = 0
        self.headers: Sequence[tuple[str, str]] = ()
        self.streams = False
        self._slots: asyncio.Semaphore | None = slots
        self._provider = provider
        self._response: HTTPResponse | None = None

    async def post(self, transport: Transport, engine: Engine, path: str, body: bytes, limit: float) -> None:
        """Send, and wait for the head of the answer."""
        request = HTTPRequest(
            method="POST",
            url=engine.url + path,
            headers=engine.headers,
            body=body,
            timeout=Timeout(connect=limit, first_byte=limit, idle=limit),
            peer="The local model",
        )
        with self._named():
            self._response = response = await transport.send(request)
        self.status = response.status
        kind = next((value for name, value in response.headers if name == "content-type"), "application/json")
        self.headers = [("content-type", kind)]
        self.streams = kind.startswith("text/event-stream")

    async def read(self) -> bytes:
        """The whole body."""
        return b"".join([piece async for piece in self.stream()])

    async def stream(self) -> AsyncIterator[bytes]:
        """The body in pieces as llama.cpp writes them. Leaving it early ends the generation."""
        try:
            if self._response is not None:
                with self._named():
                    async for piece in self._response.stream():
                        yield piece
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Close the connection, which ends the generation, and let the next request have the slot."""
        slots, self._slots = self._slots, None
        if slots is None:
            return
        slots.release()
        if self._response is not None:
            await self._response.aclose()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except UpstreamError as error:
            error.provider = self._provider
            raise


def _refuse_forced_tools(body: bytes) -> None:
    """Without this llama.cpp would drop the tools in silence: SmolLM2's chat template has no place for them."""
    if b'"tool_choice"' not in body:
        return
    if _json.decode_object(body).get("tool_choice") not in (None, "auto", "none"):
        raise UnsupportedError(
            "The local model cannot be made to call a tool: leave `tool_choice` at auto.", param="tool_choice"
        )


def _blame(status: int, body: bytes) -> tuple[int, bytes]:
    """The status and body of a whole answer, with llama.cpp's 500 for a bad request made the 400 that it is."""
    if status != 500 or not any(words in body for words in _FAULTS_OF_THE_REQUEST):
        return status, body
    answer: dict[str, Any] = _json.decode_object(body)
    answer["error"] |= {"code": 400, "type": "invalid_request_error"}
    return 400, _json.encode(answer)
