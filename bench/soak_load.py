"""The mixed load of the soak: what clients ask for, what the upstream then does, and what must come of it."""

import asyncio
import collections
import contextlib
import dataclasses
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import aiohttp

from aigateway.testing import ReceivedRequest, Script
from bench import payload

HANG_SECONDS: Final = 30.0  # an answer that takes longer is one that never comes
_HEADERS: Final = {"authorization": f"Bearer {payload.CLIENT_KEY}"}
_LARGE: Final = "What is said at length. " * 200_000  # 5 MB, as a picture would be
_LONG: Final = "What was said before. " * 5_000  # 110 KB, as a conversation
_READ: Final = 16_384


def _events(count: int, *, piece_delay: float = 0.0, done: bool = True, fault: str | None = None) -> Script:
    events = [*payload.stream_events(count), payload.usage_event()]
    return Script.of_events(events, piece_delay=piece_delay, done=done, fault=fault)


_HEAVY_EVENT: Final = payload.stream_events(3)[1].replace(b'"content":"', b'"content":"' + b"words " * 2_000)

_CALM: Final[Mapping[str, Callable[[], Script]]] = {
    "whole": lambda: Script(body=payload.completion()),
    "events": lambda: _events(20, piece_delay=0.001),
    "long-events": lambda: _events(200, piece_delay=0.02),
    "heavy-events": lambda: Script.of_events([_HEAVY_EVENT] * 100 + payload.stream_events(2)),
    "late": lambda: Script(body=payload.completion(), delay=1.0),
}
_STORM: Final[Mapping[str, Callable[[], Script]]] = {
    "storm-refuse": lambda: Script(fault="refuse"),
    "storm-reset": lambda: Script(fault="reset"),
    "storm-cut": lambda: Script(body=payload.completion(), fault="cut"),
    "storm-reset-body": lambda: Script(body=payload.completion(), fault="reset_body"),
    "storm-cut-events": lambda: _events(5, done=False, fault="cut"),
    "storm-reset-events": lambda: _events(5, done=False, fault="reset_body"),
    "storm-unfinished": lambda: _events(5, done=False),
    "storm-silent": lambda: Script(body=payload.completion(), delay=3.0),
    "storm-stalled": lambda: _events(5, piece_delay=3.0),
    "storm-429": lambda: Script.of_json({"error": {"message": "slow down"}}, 429, {"retry-after": "1"}),
    "storm-500": lambda: Script.of_json({"error": {"message": "broken"}}, 500),
    "storm-garbage": lambda: Script(body=b"<html>this is no JSON"),
}


def answer(request: ReceivedRequest) -> Script:
    """What the upstream does: the model's name says it."""
    model = json.loads(request.body)["model"]
    return (_CALM.get(model) or _STORM[model])()


@dataclasses.dataclass(slots=True)
class Tally:
    """What has become of the requests."""

    outcomes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    wrong: list[str] = dataclasses.field(default_factory=list)

    def note(self, kind: str, fault: str | None) -> None:
        self.outcomes[kind] += 1
        if fault is not None and len(self.wrong) < 20:
            self.wrong.append(f"{kind}: {fault}")


class Clients:
    """Clients of one gateway: each `one` asks for something, picked by chance."""

    def __init__(self, url: str, tally: Tally, seed: int) -> None:
        self._url = url
        self._tally = tally
        self._random = random.Random(seed)
        self._kinds: list[tuple[float, str, Callable[[aiohttp.ClientSession], Awaitable[str | None]]]] = [
            (40, "unary", lambda session: self._whole(session, "whole")),
            (12, "stream", lambda session: self._streamed(session, "events", "data: [DONE]")),
            (12, "translated", lambda session: self._whole(session, "whole", api="responses")),
            (
                8,
                "translated stream",
                lambda session: self._streamed(session, "events", "response.completed", "responses"),
            ),
            (4, "long body", lambda session: self._whole(session, "whole", text=_LONG)),
            (0.5, "large body", lambda session: self._whole(session, "whole", text=_LARGE)),
            (1, "slow reader", self._slow_reader),
            (4, "left in a stream", self._leave_stream),
            (2, "left before the answer", self._leave_early),
            (16, "fault", self._fault),
        ]

    async def busy(self, until: float) -> None:
        """One connection after the other at work, as fast as it goes."""
        async with self._session() as session:
            while asyncio.get_running_loop().time() < until:
                await self._one(session)

    async def unhurried(self, until: float) -> None:
        """A keep-alive client that asks now and then."""
        async with self._session() as session:
            while (now := asyncio.get_running_loop().time()) < until:
                await asyncio.sleep(min(self._random.uniform(0.5, 8.0), until - now))
                self._tally.note("unhurried", await self._guarded(self._whole(session, "whole")))

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(self._url, headers=_HEADERS, timeout=aiohttp.ClientTimeout(total=None))

    async def _one(self, session: aiohttp.ClientSession) -> None:
        weights = [weight for weight, _, _ in self._kinds]
        ((_, kind, ask),) = self._random.choices(self._kinds, weights)
        self._tally.note(kind, await self._guarded(ask(session)))

    async def _guarded(self, asking: Awaitable[str | None]) -> str | None:
        try:
            async with asyncio.timeout(HANG_SECONDS):
                return await asking
        except TimeoutError:
            return f"no end after {HANG_SECONDS:.0f} s"
        except aiohttp.ClientError as error:
            return repr(error)

    def _post(
        self,
        session: aiohttp.ClientSession,
        model: str,
        *,
        api: str = "chat",
        stream: bool = False,
        text: str = "Hello.",
    ) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
        if api == "responses":
            return session.post("/v1/responses", json={"model": model, "input": text, "stream": stream})
        messages = [{"role": "user", "content": text}]
        return session.post("/v1/chat/completions", json={"model": model, "messages": messages, "stream": stream})

    async def _whole(
        self, session: aiohttp.ClientSession, model: str, *, api: str = "chat", text: str = "Hello."
    ) -> str | None:
        async with self._post(session, model, api=api, text=text) as reply:
            body = await reply.read()
        return None if reply.status == 200 and payload.ANSWER.encode() in body else f"{reply.status} {body[:300]!r}"

    async def _streamed(self, session: aiohttp.ClientSession, model: str, end: str, api: str = "chat") -> str | None:
        async with self._post(session, model, api=api, stream=True) as reply:
            body = await reply.text()
        return None if reply.status == 200 and end in body else f"{reply.status} {body[-300:]!r}"

    async def _slow_reader(self, session: aiohttp.ClientSession) -> str | None:
        async with self._post(session, "heavy-events", stream=True) as reply:
            end = b""
            while piece := await reply.content.read(_READ):
                end = (end + piece)[-200:]
                await asyncio.sleep(0.01)
        return None if reply.status == 200 and b"[DONE]" in end else f"{reply.status} {end!r}"

    async def _leave_stream(self, session: aiohttp.ClientSession) -> str | None:
        async with self._post(session, "long-events", stream=True) as reply:
            found = await reply.content.readany()
            reply.close()
        return None if reply.status == 200 and found else f"{reply.status} {found!r}"

    async def _leave_early(self, session: aiohttp.ClientSession) -> str | None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._random.uniform(0.001, 0.3)), self._post(session, "late") as reply:
                await reply.read()
        return None

    async def _fault(self, session: aiohttp.ClientSession) -> str | None:
        """Any lawful refusal will do, or a stream that ends; a success where there was none will not."""
        model = self._random.choice(list(_STORM))
        streamed = "events" in model or model in ("storm-unfinished", "storm-stalled") or self._random.random() < 0.3
        api = self._random.choice(("chat", "chat", "responses"))
        try:
            async with self._post(session, model, api=api, stream=streamed) as reply:
                body = await reply.read()
        except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, ConnectionResetError) as error:
            return f"{model}: {error!r}" if isinstance(error, aiohttp.ServerDisconnectedError) else None
        is_refused = reply.status >= 400 and b'"error"' in body
        return None if is_refused or (streamed and reply.status == 200) else f"{model}: {reply.status} {body[:300]!r}"
