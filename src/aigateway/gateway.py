"""The library's front door: a gateway made of providers, models and hooks, and its calls in process.

`Journey` holds the parts and starts an `Exchange` for every call; `aigateway.Gateway` is the same with the HTTP
surface on top (app/asgi.py).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload
from urllib.parse import urlencode

from aigateway import _json, _sse
from aigateway.answer import Answer
from aigateway.call import ON_UNSUPPORTED, Call, OnUnsupported, require_one_of
from aigateway.canonical.lens import EventLens, ReplyLens
from aigateway.counting import Counting
from aigateway.default_provider import DefaultProvider
from aigateway.embedding import ContentEmbedding
from aigateway.errors import InvalidRequestError, ModelNotFoundError, NotFoundError
from aigateway.exchange import Exchange, spoken_by
from aigateway.explain import Explanation, explain
from aigateway.formats import FORMATS
from aigateway.formats.protocol import PROFILES, Profile
from aigateway.hooks.chain import Chain
from aigateway.ids import new_id, request_id
from aigateway.intake import Limits
from aigateway.metrics import Metrics
from aigateway.model_list import (
    anthropic_list,
    anthropic_model,
    google_list,
    google_model,
    openai_list,
    openai_model,
)
from aigateway.models import Models, Resolver, Where
from aigateway.passthrough import PassThrough
from aigateway.providers.protocol import ProviderLike
from aigateway.raw_reply import RawReply
from aigateway.routing.traffic import Traffic
from aigateway.surface import OPERATIONS

if TYPE_CHECKING:
    from aigateway.keeping import Keeping
    from aigateway.session import Session
    from aigateway.state.protocol import ResponseStore
    from aigateway.state.state import StateSettings
    from aigateway.turns_session import TurnsSession

_PASSED = {"relay": PassThrough, "count": Counting, "embed": ContentEmbedding}
"""By kind of operation: what runs a call that is passed on, as far as it can be."""
_STATEFUL = frozenset(
    name
    for name, row in OPERATIONS.items()
    if row.api in ("responses", "conversations") or name.startswith("chat.completions.")
)
_Function = TypeVar("_Function", bound=Callable[..., Any])


class HookDecorators:
    """`@gateway.hook.before_request` and its like: one-off functions as hooks, in the order they are written."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def __getattr__(self, stage: str) -> Callable[[_Function], _Function]:
        if stage.startswith("_"):
            raise AttributeError(stage)

        def register(function: _Function) -> _Function:
            self._chain.add_function(stage, function)
            return function

        return register


class EventStream:
    """The events of a streamed answer in process, as lenses. Iterate to the end, or `aclose()` (or `async with`).

    A stream that breaks ends as it would over HTTP, and then raises its GatewayError.
    """

    def __init__(self, exchange: Exchange, answer: Answer) -> None:
        self.call = exchange.call
        self._exchange = exchange
        self._events = _events_of(exchange, answer)

    def __aiter__(self) -> AsyncIterator[EventLens]:
        return self._events

    async def aclose(self) -> None:
        """Leave: the upstream is cancelled, the call ends."""
        await self._events.aclose()  # type: ignore[attr-defined]  # a generator of our own
        await self._exchange.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


async def _events_of(exchange: Exchange, answer: Answer) -> AsyncIterator[EventLens]:
    """Knows nothing of its EventStream: so it is closed as soon as somebody breaks off and drops that."""
    lens = FORMATS[exchange.call.api].event
    decoder = _sse.SSEDecoder()
    try:
        async for frame in answer.frames or _once(answer.body):
            for event in decoder.feed(frame):
                if event.data != _sse.DONE:
                    yield lens(event.data, event.event)
        exchange.delivered()
        if exchange.call.error is not None:
            raise exchange.call.error
    finally:
        await exchange.aclose()


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


class Journey:
    """Providers, models and hooks, and the way of a call through them.

    models     name -> provider, Target, or several in order; or a ready `Models`.
    providers  all models of these that no entry names go to the first of them (a shorthand for `{"*": provider}`).
    hooks      in order; each an object with some of the methods of `Hook`.
    resolver   chooses targets by anything in the call, before the registry is asked.
    limits     on what callers may send.
    on_unsupported  what becomes of a call that its target cannot be told in full, where neither the target nor the
                    call itself says: `warn`, `drop` or `reject`.
    profile    the dialect in which callers of Responses are answered by translation: `openai` or `open_responses`.
    default_provider  where calls go that name no model: one provider, or API -> provider (`"*"` for the others). None =
               the only provider that offers the API, if there is one.
    state      where responses, conversations and stored completions are kept; "memory" = in this process, bounded;
               None = nowhere, and what is asked of them is passed on.
    state_settings  for how long, and what becomes of calls while the store is down.
    metrics    counts the calls; None = nobody does.

    Raises ValueError for another word.
    """

    def __init__(
        self,
        *,
        models: Models | Mapping[str, Where] | None = None,
        providers: Iterable[ProviderLike] = (),
        hooks: Iterable[object] = (),
        resolver: Resolver | None = None,
        limits: Limits | None = None,
        on_unsupported: OnUnsupported = "warn",
        profile: Profile = "openai",
        default_provider: ProviderLike | Mapping[str, ProviderLike] | None = None,
        state: ResponseStore | Literal["memory"] | None = "memory",
        state_settings: StateSettings | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        require_one_of(ON_UNSUPPORTED, "on_unsupported", on_unsupported)
        require_one_of(PROFILES, "profile", profile)
        self.models = models if isinstance(models, Models) else Models(models)
        if resolver is not None:
            self.models.resolver = resolver
        self._providers = list(providers)
        if self._providers and "*" not in self.models:
            self.models.register("*", self._providers[0])
        self._default = DefaultProvider(default_provider, self.providers)
        self._chain = Chain(hooks)
        self.metrics = metrics
        if metrics is not None:
            self._chain.watch(metrics.meter.on_complete)
            metrics.meter.know(self.models.sent())
        self.hook = HookDecorators(self._chain)
        self.limits = limits or Limits()
        self.on_unsupported: OnUnsupported = on_unsupported
        self.profile: Profile = profile
        self.traffic = Traffic()
        self.running: set[Exchange] = set()
        self._store = state
        self._state_settings = state_settings
        self._keeping: Keeping | None = None

    def add_hook(self, hook: object) -> None:
        """Append a hook. Raises TypeError for an object with none of the methods."""
        self._chain.add(hook)

    @property
    def authenticates(self) -> bool:
        """Whether any hook asks who calls."""
        return self._chain.has("authenticate")

    def providers(self) -> list[ProviderLike]:
        """Every provider that a call may go to, once."""
        named = [*self._providers, *self.models.providers(), *self._default.by_api.values()]
        return list({id(provider): provider for provider in named}.values())

    def include(self, *providers: ProviderLike) -> None:
        """Add providers that no model goes to: calls that name no model may still go there."""
        self._providers += providers

    async def aclose(self) -> None:
        """Close every provider's connections, and the store of state."""
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            await keeping.aclose()
        for provider in self.providers():
            closer = getattr(provider, "aclose", None)
            if closer is not None:
                await closer()

    @property
    def keeps_state(self) -> bool:
        """Whether it keeps any."""
        return self._store is not None

    def look_after_state(self) -> None:
        """Begin to go on with what dead processes have left behind, where state is shared with any; else do nothing."""
        if self._store is not None and self._store != "memory" and self._store.shared:
            self.keeping.state.start()

    async def hand_over(self, successor: Journey) -> None:
        """Leave state to the gateway that has taken this one's place, once what runs in the background has ended."""
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            await keeping.retire(closes=self._store is not successor._store)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # calls

    async def explain(
        self,
        operation: str,
        body: Mapping[str, Any],
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Explanation:
        """What would become of a request of `chat`, `responses`, ...: route, targets, mode, hooks, upstream bytes.

        Nothing is sent, and no call takes place; hooks that shape a request run all the same. Raises KeyError for an
        operation that is none, or is only passed on.
        """
        if OPERATIONS[operation].kind != "generate":
            raise KeyError(operation)
        lowered = {name.lower(): value for name, value in (headers or {}).items()}
        call = self._call(operation, lowered, api_key, "")
        raw = _json.encode(body)
        chain, models, limits, traffic = self._chain, self.models, self.limits, self.traffic
        return await explain(call, raw, chain=chain, models=models, limits=limits, new_id=new_id, traffic=traffic)

    def _call(self, operation: str, headers: Mapping[str, str], api_key: str | None, client: str) -> Call:
        return Call(
            request_id(headers),
            OPERATIONS[operation],
            headers,
            api_key=api_key,
            client=client,
            created_at=time.time(),
            profile=self.profile,
        )

    def exchange(
        self,
        operation: str,
        headers: Mapping[str, str],
        *,
        api_key: str | None = None,
        client: str = "",
        body: bytes = b"",
    ) -> Exchange:
        """A new call, ready to be answered. Names in `headers` are lower-case. body: of the request, where it is known."""
        call, chain, models, limits = (
            self._call(operation, headers, api_key, client),
            self._chain,
            self.models,
            self.limits,
        )
        traffic, wanted = self.traffic, self.on_unsupported
        if operation == "chat":
            exchange = Exchange(call, chain, models, limits, new_id, traffic=traffic, on_unsupported=wanted)
            if self._store is not None:
                exchange.keep = self._kept
            return exchange
        if self._store is not None and operation in _STATEFUL:
            return self.keeping.exchange(call, body)
        if operation == "metrics" and self.metrics is not None and self.metrics.chain is not None:
            chain = self.metrics.chain
        kind = call.operation.kind
        made = _PASSED.get(kind)
        if made is None:
            return Exchange(call, chain, models, limits, new_id, traffic=traffic, on_unsupported=wanted)
        return made(call, chain, models, limits, new_id, traffic=traffic, on_unsupported=wanted, default=self._default)

    async def _kept(self, call: Call, answer: Answer) -> Answer:
        return await self.keeping.completion(call, answer)

    @property
    def keeping(self) -> Keeping:
        """What this gateway keeps, and how. Raises RuntimeError where that is nothing."""
        if self._keeping is None:
            from aigateway.keeping import Keeping  # noqa: PLC0415 - only who keeps state pays for the import

            if self._store is None:
                raise RuntimeError("this gateway keeps no state")
            self._keeping = Keeping(
                None if self._store == "memory" else self._store,
                self._state_settings,
                new_id=new_id,
                make_call=self._call,
                parts=(self._chain, self.models, self.limits, new_id),
                options={"traffic": self.traffic, "on_unsupported": self.on_unsupported},
                default=self._default,
            )
        return self._keeping

    def session(
        self,
        operation: str,
        headers: Mapping[str, str],
        *,
        query: str = "",
        subprotocols: Sequence[str] = (),
        api_key: str | None = None,
        client: str = "",
    ) -> Session | TurnsSession:
        """A new session over a WebSocket, ready to be opened. Names in `headers` are lower-case."""
        if operation == "responses":
            return self.keeping.session(self._call(operation, headers, api_key, client))
        from aigateway.session import Session  # noqa: PLC0415 - only who opens sessions pays for the import

        call = self._call(operation, headers, api_key, client)
        return Session(call, self._chain, self.models, self.limits, new_id, query=query, subprotocols=subprotocols)

    def listed(self, call: Call) -> dict[str, Any]:
        """The models that the caller may use, as `GET /v1/models` shows them in the caller's own API.

        Raises InvalidRequestError for a page that there is not.
        """
        found = self.models.listed(call.principal)
        if spoken_by(call) == "messages":
            return anthropic_list(found, call.query)
        return openai_list(found)

    def health(self, call: Call) -> dict[str, Any]:
        """How the gateway and its providers do, as `GET /health?full` shows it. No address and no key is in it."""
        return {"status": "ok", "providers": self.traffic.state(self.providers())}

    def scraped(self, call: Call) -> Answer:
        """The metrics, as `GET /metrics` shows them. Raises NotFoundError where there are none."""
        if self.metrics is None:
            raise NotFoundError("Not found: this gateway has no metrics.", code="not_found")
        content_type, text = self.metrics.exposition(
            call.headers.get("accept", ""), self.traffic.state(self.providers())
        )
        return Answer(200, [("content-type", content_type)], text)

    @property
    def shares_metrics(self) -> bool:
        """Whether others of the same port must be told what this process counts: see `publish`."""
        return self.metrics is not None and self.metrics.meter.slot is not None

    def publish(self) -> None:
        """Tell the other workers of this port what was counted."""
        if self.metrics is not None:
            self.metrics.publish(self.traffic.state(self.providers()))

    def listed_for_google(self, call: Call) -> dict[str, Any]:
        """The same as `GET /v1beta/models` shows them. Raises InvalidRequestError for a page that there is not."""
        return google_list(self.models.listed(call.principal), call.query)

    def retrieved_for_google(self, call: Call, name: str) -> dict[str, Any]:
        """One model, as `GET /v1beta/models/{model}` shows it. Raises ModelNotFoundError."""
        self.retrieved(call, name)
        return google_model(name)

    def retrieved(self, call: Call, name: str) -> dict[str, Any]:
        """One model, as `GET /v1/models/{id}` shows it. Raises ModelNotFoundError."""
        call.model = name
        model = self.models.find(name, call.principal)
        if model is None:
            raise ModelNotFoundError(
                f"model not found: {name!r}. GET /v1/models lists the models that this key may use.", param="model"
            )
        return anthropic_model(model, name) if spoken_by(call) == "messages" else openai_model(model, name)

    @overload
    async def chat(
        self,
        body: Mapping[str, Any] | None = None,
        /,
        *,
        stream: Literal[False] = False,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> ReplyLens: ...

    @overload
    async def chat(
        self,
        body: Mapping[str, Any] | None = None,
        /,
        *,
        stream: Literal[True],
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> EventStream: ...

    async def chat(
        self, body: Mapping[str, Any] | None = None, /, *, stream: bool = False, **fields: Any
    ) -> ReplyLens | EventStream:
        """A chat completion in process, on the same way as over HTTP. `body` and `fields` are the request's fields.

        stream=True gives an EventStream. Raises the GatewayError that HTTP would have answered with.
        """
        return await self._in_process("chat", body, stream=stream, fields=fields)

    async def completions(
        self,
        body: Mapping[str, Any] | None = None,
        /,
        *,
        stream: bool = False,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> ReplyLens | EventStream:
        """A completion (the legacy API) in process; see `chat`."""
        return await self._in_process(
            "completions", body, stream=stream, fields={**fields, "api_key": api_key, "headers": headers}
        )

    @overload
    async def responses(
        self,
        body: Mapping[str, Any] | None = None,
        /,
        *,
        stream: Literal[False] = False,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> ReplyLens: ...

    @overload
    async def responses(
        self,
        body: Mapping[str, Any] | None = None,
        /,
        *,
        stream: Literal[True],
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> EventStream: ...

    async def responses(
        self, body: Mapping[str, Any] | None = None, /, *, stream: bool = False, **fields: Any
    ) -> ReplyLens | EventStream:
        """A response in process; see `chat`."""
        return await self._in_process("responses", body, stream=stream, fields=fields)

    async def messages(
        self,
        body: Mapping[str, Any] | None = None,
        /,
        *,
        stream: bool = False,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> ReplyLens | EventStream:
        """A message (Anthropic's API) in process; see `chat`."""
        return await self._in_process(
            "messages", body, stream=stream, fields={**fields, "api_key": api_key, "headers": headers}
        )

    async def generate_content(
        self,
        body: Mapping[str, Any] | None = None,
        /,
        *,
        model: str = "",
        stream: bool = False,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> ReplyLens | EventStream:
        """Gemini's generateContent in process; see `chat`."""
        settings = {"api_key": api_key, "headers": headers, **({"model": model} if model else {})}
        return await self._in_process("generate_content", body, stream=stream, fields={**fields, **settings})

    async def embeddings(
        self,
        body: Mapping[str, Any] | None = None,
        /,
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> ReplyLens:
        """Embeddings in process; see `chat`."""
        settings = {"api_key": api_key, "headers": headers}
        exchange, answer = await self._answered("embeddings", body, stream=False, fields={**fields, **settings})
        return FORMATS[exchange.call.api].reply(answer.body)

    async def images(
        self,
        body: Mapping[str, Any] | None = None,
        /,
        *,
        stream: bool = False,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> ReplyLens | EventStream:
        """Image generation in process; see `chat`."""
        return await self._in_process(
            "images", body, stream=stream, fields={**fields, "api_key": api_key, "headers": headers}
        )

    async def request(
        self,
        operation: str,
        body: Mapping[str, Any] | bytes = b"",
        /,
        *,
        parameters: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> RawReply:
        """Any operation in process, on the same way as over HTTP: `request("files.delete", parameters={"file_id": id})`.

        operation   its name in docs/coverage.md.
        body        the fields of a JSON body; or bytes, whose `content-type` is among the headers.
        parameters  what stands in its path.
        query       what stands behind its `?`.

        Raises KeyError for an operation that is none or needs no provider, and what HTTP would have answered with.
        """
        row = OPERATIONS[operation]
        if row.kind in ("served", "session"):
            raise KeyError(operation)
        lowered = {name.lower(): value for name, value in (headers or {}).items()}
        raw = body if isinstance(body, bytes) else _json.encode(body)
        if not isinstance(body, bytes):
            lowered["content-type"] = "application/json"

        async def read() -> bytes | AsyncIterator[bytes]:
            return _once(raw) if row.uploads else raw

        exchange = self.exchange(operation, lowered, api_key=api_key)
        exchange.call.parameters = dict(parameters or {})
        exchange.call.query = urlencode(query or {})
        try:
            answer = await exchange.answer(read)
            if exchange.call.error is not None:
                raise exchange.call.error
        except BaseException:
            await exchange.aclose()
            raise
        return RawReply(exchange, answer)

    async def _in_process(
        self, operation: str, body: Mapping[str, Any] | None, *, stream: bool, fields: dict[str, Any]
    ) -> ReplyLens | EventStream:
        exchange, answer = await self._answered(operation, body, stream=stream, fields=fields)
        if answer.frames is not None:
            return EventStream(exchange, answer)
        return FORMATS[exchange.call.api].reply(answer.body)

    async def _answered(
        self, operation: str, body: Mapping[str, Any] | None, *, stream: bool, fields: dict[str, Any]
    ) -> tuple[Exchange, Answer]:
        """The answer; its exchange is over unless the answer is a stream."""
        api_key = fields.pop("api_key", None)
        headers = {name.lower(): value for name, value in (fields.pop("headers", None) or {}).items()}
        document = {**(body or {}), **fields}
        document.pop("stream", None)
        if stream:
            document["stream"] = True

        async def read() -> bytes:
            try:
                return _json.encode(document)
            except (TypeError, ValueError) as error:
                raise InvalidRequestError(f"The request cannot be written as JSON: {error}") from error

        exchange = self.exchange(operation, headers, api_key=api_key)
        if operation == "generate_content" and stream:
            exchange.call.query = "alt=sse"
        open_stream = False
        try:
            answer = await exchange.answer(read)
            if exchange.call.error is not None:
                raise exchange.call.error
            open_stream = answer.frames is not None
            if not open_stream:
                exchange.delivered()
            return exchange, answer
        finally:
            if not open_stream:
                await exchange.aclose()
