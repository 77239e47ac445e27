"""One session's whole way: authenticate, hooks, route, open a WebSocket upstream, then messages both ways until one side closes.

The stages are those of `exchange.py`, in the same order. Nothing is accepted before the upstream is reached, so a refusal
is answered with its status. Between the two sides stands one message each way: who is slow slows the other down.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from aigateway import _json
from aigateway.answer import JSON_TYPE, Answer
from aigateway.call import Attempt, Call, Target
from aigateway.canonical.lens import EventLens
from aigateway.errors import (
    GatewayError,
    InvalidRequestError,
    ModelNotFoundError,
    ServerError,
    UnsupportedError,
    UpstreamConnectionError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
)
from aigateway.formats import render_error
from aigateway.formats.realtime.frames import SessionFrames, error_event, event_id_of
from aigateway.formats.realtime.lens import RealtimeEvent, RealtimeRequest
from aigateway.hooks.chain import Chain
from aigateway.intake import Limits
from aigateway.models import Models
from aigateway.providers.protocol import ConnectRequest, Connects
from aigateway.providers.secret import reveal
from aigateway.transport.protocol import HandshakeRefusedError, WebSocket, WebSocketClosedError
from aigateway.upstream import forwarded_headers, plan_for, reply_error

logger = logging.getLogger("aigateway")

GOING_AWAY: Final = 1001
POLICY: Final = 1008
FAILED: Final = 1011

_ENDED_WELL = frozenset({1000, 1001, 1005})
_FORWARDED = ("openai-safety-identifier",)
_MODEL_LESS = ("call_id", "intent")  # a call is joined, or only transcribed: its model is set otherwise


class _End(msgspec.Struct):
    """How one direction came to its end. side: who closed, `client` or `upstream`."""

    side: str
    closed: WebSocketClosedError


class Session:
    """Runs one session. Use: `open()` once; where that gives no refusal accept, `run()` once; and always `aclose()`.

    query        of the request, undecoded.
    subprotocols that may go on to the upstream.
    """

    def __init__(
        self,
        call: Call,
        chain: Chain,
        models: Models,
        limits: Limits,
        new_id: Callable[[str], str],
        *,
        query: str = "",
        subprotocols: Sequence[str] = (),
    ) -> None:
        self.call = call
        self._chain = chain
        self._models = models
        self._limits = limits
        self._new_id = new_id
        self._query = query
        self._subprotocols = subprotocols
        self._upstream: WebSocket | None = None
        self._frames = SessionFrames("", "")
        self._error_told = False

    @property
    def subprotocol(self) -> str | None:
        """What the upstream chose; browsers want an answer to what they offered, so else the first that they did."""
        chosen = self._upstream.subprotocol if self._upstream is not None else None
        return chosen if chosen in self._subprotocols else next(iter(self._subprotocols), None)

    # the way in

    async def open(self) -> Answer | None:
        """Reach an upstream: None where one is open, else the answer that refuses."""
        call = self.call
        try:
            await self._chain.authenticate(call, call._api_key)  # noqa: SLF001 - the key is nobody else's business
            await self._reach()
        except GatewayError as error:
            return await self._refusal(error)
        except Exception:
            logger.exception("session %s failed inside the gateway", call.id)
            return await self._refusal(ServerError("The gateway failed on this request. Its log says why."))
        call.status = 101
        call.first_byte_at = time.monotonic()
        return None

    async def _reach(self) -> None:
        call = self.call
        call.request = request = RealtimeRequest(parse_qsl(self._query, keep_blank_values=True))
        call.stream = True
        call.model = asked = call.request.model
        made = await self._chain.before_request(call)
        if made is not None:
            logger.error("a hook answered session %s, which has no reply", call.id)
            raise ServerError("A hook of the gateway gave a reply that does not fit.", code="hook_failed")
        call.model = call.request.model
        if not call.model and not any(call.request.body.get(name) for name in _MODEL_LESS):
            raise InvalidRequestError(
                "Missing required parameter: model is required in the query. Name one of the models that GET /v1/models "
                "lists.",
                param="model",
                code="missing_required_parameter",
            )
        targets = await self._targets()
        targets = await self._chain.on_route(call, targets)
        if not targets:
            raise ServerError("No target is left for this request.", code="no_target")
        for number, target in enumerate(targets, 1):
            try:
                attempt = await self._attempt(target, number, request)
            except UpstreamError as error:
                if not error.retryable or number == len(targets):
                    raise
                logger.info("call %s: provider %s failed, trying the next target", call.id, error.provider)
            else:
                self._frames = SessionFrames(asked, attempt.model)
                return

    async def _targets(self) -> list[Target]:
        call = self.call
        try:
            return await self._models.resolve(call)
        except ModelNotFoundError:
            if call.model:
                raise
        raise InvalidRequestError(
            "This session names no model, and the gateway has no default target: name one in the query.",
            param="model",
            code="missing_required_parameter",
        )

    async def _attempt(self, target: Target, number: int, opening: RealtimeRequest) -> Attempt:
        call = self.call
        plan = plan_for(call, target)
        if not call.model:
            plan = msgspec.structs.replace(plan, model="")
        query = [(name, plan.model if name == "model" else value) for name, value in opening.query()]
        attempt = Attempt(number, plan, b"", started_at=time.monotonic())
        call.attempts.append(attempt)
        try:
            await self._chain.before_attempt(call, attempt)
            self._upstream = await self._connect(attempt, query)
            attempt.status = 101
            attempt.first_byte_at = time.monotonic()
        except GatewayError as error:
            if attempt.status is None and isinstance(error, UpstreamError) and error.status < 500:
                attempt.status = error.status
            _name(error, attempt)
            attempt.error = error
            attempt.ended_at = time.monotonic()
            raise
        return attempt

    async def _connect(self, attempt: Attempt, query: list[tuple[str, str]]) -> WebSocket:
        call, provider = self.call, attempt.plan.target.provider
        if not isinstance(provider, Connects):
            raise UnsupportedError(
                f"Provider '{provider.name}' opens no WebSockets.", param="model", code="unsupported_api"
            )
        given = {name: call.headers[name] for name in _FORWARDED if name in call.headers}
        request = ConnectRequest(
            api=attempt.plan.upstream_api,
            path=call.operation.path,
            model=attempt.model,
            query=query,
            subprotocols=self._subprotocols,
            max_message=self._limits.max_body,
            headers=forwarded_headers(call, call.api)
            | given
            | {name.lower(): value for name, value in attempt.headers.items()},
            api_key=await reveal(attempt.api_key),
            request_id=call.id,
        )
        try:
            return await provider.connect(request)
        except HandshakeRefusedError as error:
            refused = await reply_error(error.reply, provider.name)
            attempt.status = error.reply.status
            raise refused from error
        except GatewayError:
            raise
        except TimeoutError as error:
            raise UpstreamTimeoutError(f"Provider '{provider.name}' did not answer in time.") from error
        except Exception as error:
            logger.exception("call %s: provider %s raised", call.id, provider.name)
            raise UpstreamError(f"Provider '{provider.name}' failed.") from error

    # messages both ways

    async def run(self, client: WebSocket) -> None:
        """Pass messages on until one side closes; then the other one is closed with the same code and reason."""
        upstream = self._upstream
        if upstream is None:
            raise RuntimeError("open() comes first")
        up = asyncio.create_task(self._upward(client, upstream))
        down = asyncio.create_task(self._downward(client, upstream))
        try:
            end = await _first_end(up, down)
            if end.side == "client":
                await self._client_closed(end.closed, upstream)
            else:
                await self._upstream_closed(end.closed, client)
        except GatewayError as error:
            await self._broken(client, error)
        except Exception:
            logger.exception("session %s failed inside the gateway", self.call.id)
            await self._broken(client, ServerError("The gateway failed on this session. Its log says why."))
        finally:
            self.call.usage = self._frames.usage
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _upward(self, client: WebSocket, upstream: WebSocket) -> _End:
        while True:
            try:
                message = await client.receive()
            except WebSocketClosedError as closed:
                return _End("client", closed)
            try:
                message = self._frames.from_client(message)
            except InvalidRequestError as error:
                await self._object(client, error, message)
                continue
            try:
                await upstream.send(message)
            except WebSocketClosedError as closed:
                return _End("upstream", closed)

    async def _object(self, client: WebSocket, error: InvalidRequestError, message: str | bytes) -> None:
        """Tell the client of its own event's fault; the session goes on."""
        told = error_event(error, self._new_id("event"), event_id_of(message))
        with contextlib.suppress(WebSocketClosedError):  # reading will tell
            await client.send(_json.encode(told).decode())

    async def _downward(self, client: WebSocket, upstream: WebSocket) -> _End:
        edits = self._chain.has("on_event")
        while True:
            try:
                message = await upstream.receive()
            except WebSocketClosedError as closed:
                return _End("upstream", closed)
            if isinstance(message, str):
                message = self._frames.from_server(message)
            messages = await self._through_hooks(message) if edits and isinstance(message, str) else (message,)
            try:
                for one in messages:
                    await client.send(one)
            except WebSocketClosedError as closed:
                return _End("client", closed)

    async def _through_hooks(self, message: str) -> list[str]:
        events: list[EventLens] = await self._chain.on_event(self.call, RealtimeEvent(message.encode()))
        return [event.raw.decode() for event in events]

    # the end

    async def _client_closed(self, closed: WebSocketClosedError, upstream: WebSocket) -> None:
        self.call.outcome = "completed" if closed.clean else "abandoned"
        await upstream.close(closed.code if closed.clean else GOING_AWAY, closed.reason)

    async def _upstream_closed(self, closed: WebSocketClosedError, client: WebSocket) -> None:
        name = self.call.attempts[-1].provider
        if not closed.clean:
            if closed.code == 1009:
                raise UpstreamProtocolError(f"Provider '{name}' sent a message that is too large.", provider=name)
            raise UpstreamConnectionError(f"Provider '{name}' broke off the session.", provider=name)
        if closed.code in _ENDED_WELL:
            self.call.outcome = "completed"
        else:
            await self._note(UpstreamError(f"Provider '{name}' closed the session with code {closed.code}."))
        await client.close(closed.code, closed.reason)

    async def _broken(self, client: WebSocket, error: GatewayError) -> None:
        """Tell the caller of an error, then close."""
        error = await self._note(error)
        event = error_event(error, self._new_id("event"))
        message = _json.encode(event).decode()
        try:
            told = await self._through_hooks(message) if self._chain.has("on_event") else [message]
        except GatewayError:
            told = [message]
        try:
            for one in told:
                await client.send(one)
        except WebSocketClosedError:
            return
        await client.close(POLICY if error.status < 500 else FAILED, str(error.code or ""))

    async def aclose(self) -> None:
        """End the call: close what is open upstream, settle the outcome, tell the hooks. Once; later calls do nothing."""
        call = self.call
        if call.ended_at is not None:
            return
        call.ended_at = time.monotonic()
        try:
            upstream, self._upstream = self._upstream, None
            if upstream is not None:
                await upstream.close(GOING_AWAY)
        finally:
            if call.outcome is None:
                call.outcome = "abandoned"
            if call.attempts and call.attempts[-1].ended_at is None:
                call.attempts[-1].ended_at = call.ended_at
            await self._chain.on_complete(call)

    # errors

    async def _refusal(self, error: GatewayError) -> Answer:
        error = await self._note(error)
        self.call.status = error.status
        self.call.first_byte_at = time.monotonic()
        document = _json.encode(render_error(self.call.api, error)[1])
        return Answer(error.status, [JSON_TYPE, *error.headers.items()], document)

    async def _note(self, error: GatewayError) -> GatewayError:
        """The error as the hooks want it; a reply in its place does not fit a session."""
        call = self.call
        if call.attempts:
            _name(error, call.attempts[-1])
            call.attempts[-1].error = error
        if not self._error_told:
            self._error_told = True
            result = await self._chain.on_error(call, error)
            error = result if isinstance(result, GatewayError) else error
        call.error = error
        call.outcome = "refused" if not call.attempts and error.status < 500 else "failed"
        return error


async def _first_end(up: asyncio.Task[_End], down: asyncio.Task[_End]) -> _End:
    """How the session ended: told by the direction that reads from who closed, once it has passed on what came before."""
    await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
    first, other = (up, down) if up.done() else (down, up)
    end = first.result()
    reads_from = "client" if first is up else "upstream"
    return end if end.side == reads_from else await other


def _name(error: GatewayError, attempt: Attempt) -> None:
    """Let an error say which provider it is about."""
    if isinstance(error, UpstreamError):
        error.provider = error.provider or attempt.provider
