"""The facts of one request, from its arrival to its end: what hooks read, and what the journey writes down."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

import msgspec

from aigateway.canonical.lens import RequestLens
from aigateway.canonical.types import Change, Usage
from aigateway.errors import GatewayError
from aigateway.formats.protocol import PROFILES, Profile
from aigateway.providers.protocol import ProviderLike
from aigateway.providers.secret import Secret
from aigateway.surface import Operation

OnUnsupported = Literal["warn", "drop", "reject"]
"""What becomes of a call that its target cannot be told in full.

warn    it goes on without what the target lacks, which is listed; the gateway's log gets a warning.
drop    the same without the warning.
reject  it is refused.
"""

ON_UNSUPPORTED: Final[tuple[OnUnsupported, ...]] = get_args(OnUnsupported)


def require_one_of(words: tuple[str, ...], name: str, value: object) -> None:
    """Raise ValueError for a value that is none of the words."""
    if value not in words:
        raise ValueError(f"{name} must be one of {', '.join(words)}, not {value!r}")


class Principal(msgspec.Struct, frozen=True):
    """Who calls. `tenant` is who pays; `facts` are the authenticator's own."""

    tenant: str
    facts: dict[str, Any] = msgspec.field(default_factory=dict)


class Target(msgspec.Struct, frozen=True):
    """Where a request may go.

    model           the name that the upstream knows; None = as asked.
    prefer          the API used there.
    on_unsupported  what becomes of a call that it cannot be told in full; None = what the gateway says.
    weight          its share where the model's balance is `weighted`.

    Raises ValueError for a word that `on_unsupported` does not know, or a weight below 0.
    """

    provider: ProviderLike
    model: str | None = None
    prefer: str | None = None
    on_unsupported: OnUnsupported | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise ValueError("weight must not be less than 0")
        if self.on_unsupported is not None:
            require_one_of(ON_UNSUPPORTED, "on_unsupported", self.on_unsupported)


class Plan(msgspec.Struct, frozen=True):
    """How one attempt is made. mode: `same` (relay, observe or edit) or `translate`."""

    target: Target
    model: str
    caller_api: str
    upstream_api: str

    @property
    def translates(self) -> bool:
        """Whether the two sides speak different APIs."""
        return self.caller_api != self.upstream_api


class Attempt(msgspec.Struct):
    """One try at one target. `before_attempt` hooks may set `headers`, `api_key` and `body`.

    number    from 1.
    why       what made it: "" for the first, else `retry after rate_limit`, `fallback after timeout`,
              `another key after auth`, `hedge`.
    headers   set on the upstream request, over the provider's own.
    api_key   used in place of the provider's own key; of a provider with many it is the one whose turn it is.
    body      the bytes to send, in the upstream's form; empty where they go on while they arrive.
    status    the upstream's HTTP status, once it answered.
    error     why the attempt failed.
    started_at, first_byte_at, ended_at   seconds on the monotonic clock.
    """

    number: int
    plan: Plan
    body: bytes
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    api_key: Secret | str | None = None
    status: int | None = None
    error: GatewayError | None = None
    started_at: float = 0.0
    first_byte_at: float | None = None
    ended_at: float | None = None
    why: str = ""

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self.plan.target.provider.name

    @property
    def model(self) -> str:
        """The model as the upstream knows it."""
        return self.plan.model


class Call:
    """One request to the gateway.

    id          the request id, also in the `x-request-id` header of the answer.
    operation   what is asked. `api` is short for `operation.api`.
    parameters  what stands in the path of the request: `{"file_id": "file-1"}`. Edits of it count.
    query       what stands behind its `?`, as it came. Edits of it count.
    headers     of the request; names in lower case.
    client      the caller's address, "" if unknown.
    request     the lens on the caller's body; AttributeError before the body was read.
    principal   who calls; None without authentication. `tenant` is short for `principal.tenant`.
    model       the model asked for.
    stream      whether events are asked for.
    attempts    the tries, in order.
    usage       tokens, None until known.
    changes     what a translation did not carry as it was.
    on_unsupported  what becomes of it where its target lacks something; None = what the target or the gateway says.
    profile     the dialect of the Responses API in which it is answered.
    outcome     None while running, then completed, failed, refused, or abandoned (the caller left).
    status      the HTTP status of the answer.
    error       why the call failed, as the caller sees it.
    state       for hooks to keep their own things in.
    created_at  Unix seconds. started_at, first_byte_at, ended_at: seconds on the monotonic clock.
    """

    request: RequestLens
    parameters: Mapping[str, str] = MappingProxyType({})
    query: str = ""
    principal: Principal | None = None
    model: str = ""
    stream: bool = False
    status: int = 0
    _state: dict[str, Any] | None = None
    _on_unsupported: OnUnsupported | None = None

    def __init__(
        self,
        id: str,
        operation: Operation,
        headers: Mapping[str, str],
        *,
        api_key: str | None = None,
        client: str = "",
        created_at: float = 0.0,
        profile: Profile = "openai",
    ) -> None:
        self.id = id
        self.operation = operation
        self.api = operation.api
        self.headers = headers
        self.client = client
        self.usage: Usage | None = None
        self.outcome: str | None = None
        self.error: GatewayError | None = None
        self.first_byte_at: float | None = None
        self.ended_at: float | None = None
        self.attempts: list[Attempt] = []
        self.changes: list[Change] = []
        self.created_at = created_at
        self.started_at = time.monotonic()
        self._api_key = api_key
        self._profile: Profile = profile

    @property
    def state(self) -> dict[str, Any]:
        """For hooks to keep their own things in."""
        if self._state is None:
            self._state = {}
        return self._state

    @property
    def tenant(self) -> str | None:
        """Who pays; None without authentication."""
        return self.principal.tenant if self.principal is not None else None

    @property
    def has_request(self) -> bool:
        """Whether the body was read and understood."""
        return "request" in self.__dict__

    @property
    def on_unsupported(self) -> OnUnsupported | None:
        """`warn`, `drop` or `reject`; set by the caller's header or a hook. Raises ValueError for another word."""
        return self._on_unsupported

    @on_unsupported.setter
    def on_unsupported(self, value: OnUnsupported | None) -> None:
        if value is not None:
            require_one_of(ON_UNSUPPORTED, "on_unsupported", value)
        self._on_unsupported = value

    @property
    def profile(self) -> Profile:
        """`openai` or `open_responses`; set by the caller's header or a hook. Raises ValueError for another word."""
        return self._profile

    @profile.setter
    def profile(self, value: Profile) -> None:
        require_one_of(PROFILES, "profile", value)
        self._profile = value

    def __repr__(self) -> str:
        return f"Call({self.id!r}, {self.operation.name!r}, model={self.model!r}, outcome={self.outcome!r})"
