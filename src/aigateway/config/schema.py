"""What may stand in a configuration: one struct a section. Reference: docs/configuration.md."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec

from aigateway.app.cors import CORS
from aigateway.call import OnUnsupported
from aigateway.formats.protocol import Profile
from aigateway.intake import Limits
from aigateway.models import CREATED
from aigateway.policies import Balance, Breaker, Fallback, Hedge, Queue, Retry
from aigateway.providers.azure import AUTHORITY, SCOPE
from aigateway.providers.catalog import CATALOG
from aigateway.providers.provider import DEFAULT_APIS
from aigateway.state.state import OnOutage
from aigateway.surface import ADMINISTRATION
from aigateway.transport.protocol import TLS, Pool, Timeout

LOCAL: Final = "local"
"""The provider type of the model in this process."""

_LOCAL_APIS: Final = frozenset({"chat", "embeddings"})
APIS: Final = DEFAULT_APIS | {"messages", "generate_content", "converse", "cohere_chat", ADMINISTRATION}
TYPES: Final = (*CATALOG, LOCAL)
AZURE: Final = ("azure",)
VERTEX: Final = ("vertex", "vertex-anthropic")


class ConfigError(Exception):
    """A configuration with mistakes. errors: one line for each, `file:line: dotted.key: what is wrong`."""

    def __init__(self, errors: Iterable[str]) -> None:
        self.errors = list(errors)
        super().__init__("\n".join(self.errors))


class Source(msgspec.Struct, frozen=True):
    """A configuration's text, and the name of its file as the user wrote it."""

    name: str
    text: str


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where to listen, and with how many processes."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8080
    workers: Annotated[int, msgspec.Meta(ge=1)] = 1


class EntraConfig(msgspec.Struct, frozen=True, kw_only=True):
    """An application of Entra ID, in place of a key of Azure's. authority: that of another cloud than the public one."""

    tenant_id: str
    client_id: str
    client_secret: str
    authority: str = AUTHORITY
    scope: str = SCOPE

    def __repr__(self) -> str:
        return f"EntraConfig(client_id={self.client_id!r})"  # no secret


class ProviderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One provider. type: a row of the catalog, `local`, or None for a host that nobody knows."""

    type: str | None = None
    base_url: str | None = None
    api_key: str | None = None
    apis: tuple[str, ...] | None = None
    timeout: Timeout = Timeout()
    headers: dict[str, str] = {}
    base_path: str | None = None
    pool: Pool = Pool()
    tls: TLS = TLS()
    proxy: str | None = None
    socket: str | None = None
    quirks: dict[str, str | bool | tuple[str, ...]] = {}
    path: str | None = None
    api_keys: tuple[str, ...] | None = None
    retry: Retry | None = None
    breaker: Breaker | None = None
    max_concurrent: Annotated[int, msgspec.Meta(ge=1)] | None = None
    queue: Queue | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    session_token: str | None = None
    dialects: dict[str, str] = {}
    api_version: str | None = None
    entra: EntraConfig | None = None
    project: str | None = None
    location: str | None = None
    credentials: str | None = None

    def __repr__(self) -> str:
        return f"ProviderConfig(type={self.type!r}, base_url={self.base_url!r})"  # no key, no headers

    @property
    def speaks(self) -> frozenset[str]:
        """The APIs that it will be asked in."""
        if self.type == LOCAL:
            return _LOCAL_APIS
        if self.apis is not None:
            return frozenset(self.apis)
        return CATALOG[self.type].apis if self.type is not None else DEFAULT_APIS


class TargetConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One of the targets of a model."""

    provider: str
    model: str | None = None
    prefer: str | None = None
    on_unsupported: OnUnsupported | None = None
    weight: Annotated[float, msgspec.Meta(ge=0)] = 1.0


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A model name: one provider, or several targets in order.

    model, prefer and on_unsupported hold for targets that say none.
    """

    provider: str | None = None
    model: str | None = None
    prefer: str | None = None
    on_unsupported: OnUnsupported | None = None
    targets: tuple[TargetConfig, ...] = ()
    owned_by: str = "aigateway"
    tenants: tuple[str, ...] | None = None
    created: Annotated[int, msgspec.Meta(ge=0)] = CREATED
    balance: Balance = "ordered"
    retry: Retry | None = None
    fallback: Fallback | None = None
    hedge: Hedge | None = None


class AuthConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Who may call. keys: client key -> tenant."""

    keys: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"AuthConfig({len(self.keys)} keys)"


class StreamsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How much of stored streams can be read again."""

    seconds: float = 3600.0
    max_bytes: int = 8 * 1024 * 1024


class StateConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where state is kept, and how. url: None = the file of a served gateway, `none` = nowhere. ttl: None = for ever."""

    url: str | None = None
    ttl: float | None = 2_592_000.0
    encryption_keys: tuple[str, ...] = ()
    on_outage: OnOutage = "fail"
    streams: StreamsConfig = StreamsConfig()
    lease: float = 15.0

    def __repr__(self) -> str:
        return f"StateConfig(ttl={self.ttl!r}, on_outage={self.on_outage!r})"  # no key, no password


class MetricsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What `GET /metrics` shows, and to whom."""

    enabled: bool = True
    public: bool = False
    key: str | None = None
    max_models: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100

    def __repr__(self) -> str:
        return f"MetricsConfig(enabled={self.enabled!r})"  # no key


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """The file as it is written."""

    server: ServerConfig = ServerConfig()
    providers: dict[str, ProviderConfig] = {}
    models: dict[str, str | ModelConfig] = {}
    auth: AuthConfig | None = None
    hooks: tuple[str | dict[str, dict[str, Any]], ...] = ()
    cors: CORS | None = None
    limits: Limits = Limits()
    on_unsupported: OnUnsupported = "warn"
    profile: Profile = "openai"
    default_provider: str | dict[str, str] | None = None
    state: StateConfig = StateConfig()
    metrics: MetricsConfig = MetricsConfig()


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration without mistakes; `Config()` is that of nobody's file.

    hooks             ready objects, in order.
    default_provider  API -> the provider of calls that name no model; `"*"` for the other APIs.
    """

    server: ServerConfig = ServerConfig()
    providers: dict[str, ProviderConfig] = {}
    models: dict[str, ModelConfig] = {}
    auth: AuthConfig | None = None
    hooks: tuple[object, ...] = ()
    cors: CORS | None = None
    limits: Limits = Limits()
    on_unsupported: OnUnsupported = "warn"
    profile: Profile = "openai"
    default_provider: dict[str, str] = {}
    state: StateConfig = StateConfig()
    metrics: MetricsConfig = MetricsConfig()
