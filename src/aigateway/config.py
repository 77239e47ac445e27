"""The configuration: what may stand in it, and everything that can be wrong with it.

`parse` gives a `Config` that `assembly.build` can make a gateway of, or raises a ConfigError with all mistakes and the
place of each. Reference: docs/configuration.md.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from aigateway._yaml import Document, meant
from aigateway.app.cors import CORS
from aigateway.call import OnUnsupported
from aigateway.canonical.quirks import REPAIRS, Quirks
from aigateway.default_provider import ANY
from aigateway.formats.protocol import Profile
from aigateway.hooks.import_path import HookImportError, load_hook
from aigateway.intake import Limits
from aigateway.models import CREATED
from aigateway.policies import Balance, Breaker, Fallback, Hedge, Queue, Retry
from aigateway.providers.azure import AUTHORITY, SCOPE
from aigateway.providers.bedrock import BEDROCK, REGION
from aigateway.providers.catalog import CATALOG
from aigateway.providers.dialects import DIALECTS
from aigateway.providers.provider import DEFAULT_APIS, join_base
from aigateway.state.opening import NOWHERE, key_of, path_of
from aigateway.state.opening import check as check_url
from aigateway.state.state import OnOutage
from aigateway.surface import ADMINISTRATION
from aigateway.transport.protocol import TLS, Pool, Timeout
from aigateway.transport.proxy import NONE, parse_proxy

DEFAULT_FILE: Final = "gateway.yaml"
LOCAL: Final = "local"
"""The provider type of the model in this process."""

_LOCAL_APIS: Final = frozenset({"chat", "embeddings"})
_APIS: Final = DEFAULT_APIS | {"messages", "generate_content", "converse", "cohere_chat", ADMINISTRATION}
_TYPES: Final = (*CATALOG, LOCAL)
_AWS: Final = ("region", "access_key_id", "secret_access_key", "session_token")
AZURE: Final = ("azure",)
VERTEX: Final = ("vertex", "vertex-anthropic")
_VENDORS_OWN: Final = {("api_version", "entra"): AZURE, ("project", "location", "credentials"): VERTEX}
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HIDDEN: Final = frozenset({("auth",), ("auth", "keys")})


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


class _Written(msgspec.Struct, frozen=True, kw_only=True):
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


def find(path: str | None) -> Source | None:
    """The file at a path; without one `./gateway.yaml`, or None if it is not there. Raises ConfigError."""
    if path is None and not Path(DEFAULT_FILE).exists():
        return None
    name = path or DEFAULT_FILE
    try:
        return Source(name, Path(name).read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError([f"{name}: not a text in UTF-8"]) from error
    except OSError as error:
        raise ConfigError([f"{name}: cannot be read: {error.strerror or type(error).__name__}"]) from error


def parse(source: Source, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration of a text. Hooks are imported and made. Raises ConfigError with every mistake in it."""
    document = Document(source.name, source.text, os.environ if environ is None else environ, hidden=_HIDDEN)
    written = document.read(_Written)
    if written is None:
        raise ConfigError(document.errors)
    folder = Path(source.name).parent
    config = Config(
        server=written.server,
        providers={name: _provider(document, name, one, folder) for name, one in written.providers.items()},
        models={name: _short(model) for name, model in written.models.items()},
        auth=written.auth,
        hooks=_hooks(document, written.hooks),
        cors=written.cors,
        limits=written.limits,
        on_unsupported=written.on_unsupported,
        profile=written.profile,
        default_provider=_defaults(written.default_provider),
        state=_state(document, written.state, folder),
        metrics=written.metrics,
    )
    for name, model in config.models.items():
        _check_model(document, name, model, config.providers)
    _check_defaults(document, written.default_provider, config.providers)
    _check_auth(document, config.auth)
    _check_metrics(document, config.metrics)
    _check_amounts(document, ("limits",), config.limits)
    if config.server.host.strip() == "":
        document.error(("server", "host"), "must not be empty; for every interface write 0.0.0.0")
    if document.errors:
        raise ConfigError(document.errors)
    return config


def _short(model: str | ModelConfig) -> ModelConfig:
    return ModelConfig(provider=model) if isinstance(model, str) else model


# providers


def _provider(document: Document, name: str, provider: ProviderConfig, folder: Path) -> ProviderConfig:
    """The provider with its type filled in; mistakes are reported."""
    place = ("providers", name)
    if not name or "/" in name:
        document.error(place, "a provider's name must not be empty, nor have a slash in it")
    kind = provider.type or (name if name in _TYPES else None)
    if kind is not None and kind not in _TYPES:
        document.error((*place, "type"), f"unknown provider type {document.quoted(kind)}{meant(kind, _TYPES)}")
        kind = None
    if kind == LOCAL:
        return _local(document, place, provider, folder)
    if provider.path is not None:
        document.error((*place, "path"), "only a provider of type local has one")
    _check_vendor(document, place, kind, provider)
    if kind not in VERTEX or provider.base_url is not None:
        _check_url(document, place, kind, provider)
    _check_apis(document, (*place, "apis"), provider.apis)
    _check_key(document, (*place, "api_key"), provider.api_key or "")
    _check_keys(document, place, provider)
    if provider.queue is not None and provider.max_concurrent is None and document.sound(*place, "max_concurrent"):
        document.error((*place, "queue"), "nobody waits without max_concurrent")
    for header, value in provider.headers.items():
        if not _TOKEN.fullmatch(header):
            document.error((*place, "headers", header), "not the name of an HTTP header")
        _check_key(document, (*place, "headers", header), value)
    _check_quirks(document, (*place, "quirks"), provider.quirks)
    _check_amounts(document, (*place, "timeout"), provider.timeout)
    _check_amounts(document, (*place, "pool"), provider.pool)
    _check_proxy(document, place, provider)
    _check_aws(document, place, kind, provider)
    return msgspec.structs.replace(
        provider,
        type=kind,
        credentials=None if provider.credentials is None else str(folder / Path(provider.credentials).expanduser()),
        tls=_tls(document, (*place, "tls"), provider.tls, folder),
        socket=None if provider.socket is None else str(folder / Path(provider.socket).expanduser()),
    )


def _local(document: Document, place: tuple[str, ...], provider: ProviderConfig, folder: Path) -> ProviderConfig:
    for key in msgspec.structs.asdict(provider):
        if key not in ("type", "path") and document.given(*place, key):
            document.error((*place, key), "a provider of type local has no such setting: the model is in this process")
    if provider.path is None:
        return msgspec.structs.replace(provider, type=LOCAL)
    path = folder / Path(provider.path).expanduser()
    if not path.is_file():
        document.error((*place, "path"), "there is no such file")
    return msgspec.structs.replace(provider, type=LOCAL, path=str(path))


def _check_url(document: Document, place: tuple[str, ...], kind: str | None, provider: ProviderConfig) -> None:
    url = provider.base_url or (CATALOG[kind].base_url if kind is not None else None)
    if url is None and kind == BEDROCK:
        return  # its region says where it is
    if url is None:
        if document.sound(*place, "base_url") and document.sound(*place, "type"):
            known = f"the catalog knows none for {kind}" if kind else "or a type of the provider catalog"
            document.error(place, f"needs a base_url ({known})")
        return
    try:
        join_base(url, provider.base_path)
    except ValueError as error:
        words = str(error).partition(", not ")[0]  # the URL itself may hold a secret
        document.error((*place, "base_url"), words.removeprefix("base_url "))


def _check_aws(document: Document, place: tuple[str, ...], kind: str | None, provider: ProviderConfig) -> None:
    """What only Amazon's providers have: a region, and credentials in place of a key."""
    given = [key for key in _AWS if document.given(*place, key)]
    if kind != BEDROCK:
        for key in given if document.sound(*place, "type") else ():
            document.error((*place, key), f"only a provider of type {BEDROCK} has one")
        return
    if document.given(*place, "base_path"):
        document.error((*place, "base_path"), f"a provider of type {BEDROCK} has no such setting")
    if provider.region is not None and not REGION.fullmatch(provider.region):
        document.error((*place, "region"), "must be one of AWS's regions, like us-east-1")
    for key in _AWS[1:]:
        _check_key(document, (*place, key), getattr(provider, key) or "")
    for key, other in (_AWS[1:3], _AWS[2:0:-1], (_AWS[3], _AWS[1])):
        if key in given and other not in given:
            document.error((*place, key), f"needs a {other} beside it")
    if len(given) > given.count("region") and (provider.api_key is not None or provider.api_keys is not None):
        document.error(
            (*place, "api_key" if provider.api_key else "api_keys"), "give a key or AWS credentials, not both"
        )


def _check_vendor(document: Document, place: tuple[str, ...], kind: str | None, provider: ProviderConfig) -> None:
    """What only one vendor has, and what it must have."""
    for keys, kinds in _VENDORS_OWN.items():
        for key in keys:
            if document.given(*place, key) and kind not in kinds and document.sound(*place, "type"):
                document.error((*place, key), f"only a provider of type {' or '.join(kinds)} has one")
    if kind in VERTEX:
        for key in ("project", "location"):
            if not getattr(provider, key) and document.sound(*place, key):
                document.error(place, f"needs a {key} of Google Cloud")
    if provider.entra is not None:
        _check_entra(document, place, provider, provider.entra)
    for api, name in provider.dialects.items():
        known = DIALECTS.get(api, {})
        if name not in known:
            words = f"there is no dialect {document.quoted(name)} of {document.quoted(api)}"
            document.error((*place, "dialects", api), f"{words}; there are {', '.join(known) or 'none'}")


def _check_entra(document: Document, place: tuple[str, ...], provider: ProviderConfig, entra: EntraConfig) -> None:
    if provider.api_key is not None or provider.api_keys is not None:
        document.error((*place, "entra"), "give a key or entra, not both")
    for key in ("tenant_id", "client_id", "client_secret"):
        if not getattr(entra, key):
            document.error((*place, "entra", key), "must not be empty")


def _check_proxy(document: Document, place: tuple[str, ...], provider: ProviderConfig) -> None:
    if provider.proxy not in (None, NONE):
        try:
            parse_proxy(provider.proxy)
        except ValueError as error:
            document.error((*place, "proxy"), f"{error}, or {NONE}")
        if provider.socket is not None:
            document.error((*place, "proxy"), "a provider with a socket is reached through no proxy")
    if provider.socket == "":
        document.error((*place, "socket"), "must not be empty")


def _tls(document: Document, place: tuple[str, ...], tls: TLS, folder: Path) -> TLS:
    """The settings with the paths of their files as seen from here; mistakes are reported."""
    paths: dict[str, str] = {}
    for key in ("ca", "cert", "key"):
        path: str | None = getattr(tls, key)
        if path is not None:
            paths[key] = str(folder / Path(path).expanduser())
            if not Path(paths[key]).is_file():
                document.error((*place, key), "there is no such file")
    if tls.key is not None and tls.cert is None:
        document.error((*place, "key"), "needs a `cert` beside it")
    return msgspec.structs.replace(tls, **paths)


def _check_apis(document: Document, place: tuple[str, ...], apis: tuple[str, ...] | None) -> None:
    if apis is None:
        return
    if not apis and document.sound(*place):
        document.error(place, "name at least one API, or leave it out")
    for path, api in zip(document.places(*place), apis, strict=True):
        if api not in _APIS:
            document.error(path, f"unknown API {document.quoted(api)}{meant(api, _APIS)}")


def _check_key(document: Document, place: tuple[str | int, ...], value: str) -> None:
    """What goes into a header must be fit for one; a key read from a file often ends in a line break."""
    if value != value.strip() or not value.isprintable():
        document.error(place, "must not begin or end with a space, nor have a line break or control character in it")
    elif not value.isascii():
        document.error(place, "must be ASCII, as HTTP headers are")


def _check_keys(document: Document, place: tuple[str, ...], provider: ProviderConfig) -> None:
    keys = provider.api_keys
    if keys is None:
        return
    if provider.api_key is not None:
        document.error((*place, "api_keys"), "give api_key or api_keys, not both")
    if not keys and document.sound(*place, "api_keys"):
        document.error((*place, "api_keys"), "name at least one key, or leave it out")
    for number, (path, key) in enumerate(zip(document.places(*place, "api_keys"), keys, strict=True)):
        _check_key(document, path, key)
        if not key:
            document.error(path, "a key must not be empty")
        elif key in keys[:number]:
            document.error(path, "this key stands in the list twice")


def _check_quirks(
    document: Document, place: tuple[str, ...], quirks: Mapping[str, str | bool | tuple[str, ...]]
) -> None:
    defaults = msgspec.structs.asdict(Quirks())
    for name, value in quirks.items():
        if name not in defaults:
            document.unknown_key((*place, name), defaults)
        elif _kind_of(value) != _kind_of(defaults[name]):
            document.error((*place, name), f"expected {_kind_of(defaults[name])}, got {_kind_of(value)}")
        elif isinstance(value, tuple) and set(value) - REPAIRS:
            unknown = next(word for word in value if word not in REPAIRS)
            document.error((*place, name), f"unknown repair {unknown!r}; there are {', '.join(sorted(REPAIRS))}")


def _kind_of(value: object) -> str:
    if isinstance(value, str):
        return "a string"
    return "true or false" if isinstance(value, bool) else "a list"


def _check_amounts(
    document: Document, place: tuple[str, ...], amounts: Timeout | Pool | Limits | StreamsConfig
) -> None:
    for name, value in msgspec.structs.asdict(amounts).items():
        if value is not None and not 0 < value < math.inf:
            document.error((*place, name), "must be more than 0")


# state


def _state(document: Document, state: StateConfig, folder: Path) -> StateConfig:
    """The section with a file's path as seen from here; mistakes are reported."""
    place = ("state",)
    for name, key in zip(document.places(*place, "encryption_keys"), state.encryption_keys, strict=False):
        try:
            key_of(key)
        except ValueError as error:
            document.error(name, str(error))
    if state.ttl is not None and not 0 < state.ttl < math.inf:
        document.error((*place, "ttl"), "must be more than 0, or null: for ever")
    if not 0 < state.lease < math.inf:
        document.error((*place, "lease"), "must be more than 0")
    _check_amounts(document, (*place, "streams"), state.streams)
    if state.url in (None, NOWHERE):
        return state
    try:
        check_url(state.url)
    except ValueError as error:
        document.error((*place, "url"), f"{error}, or {NOWHERE}")
        return state
    if state.url.startswith("sqlite:"):
        return msgspec.structs.replace(state, url=f"sqlite:///{folder.absolute() / path_of(state.url)}")
    return state


# models and keys


def _check_model(document: Document, name: str, model: ModelConfig, providers: Mapping[str, ProviderConfig]) -> None:
    place = ("models", name)
    if not name:
        document.error(place, "a model needs a name")
    if model.provider is None and not model.targets:
        if document.sound(*place, "provider") and not document.given(*place, "targets"):
            document.error(place, "needs a provider, or a list of targets")
        elif document.given(*place, "targets") and not document.places(*place, "targets"):
            document.error((*place, "targets"), "needs at least one target")
    if model.provider is not None and model.targets:
        document.error((*place, "provider"), "give one provider or a list of targets, not both")
    if model.model == "":
        document.error((*place, "model"), "must not be empty; leave it out to send the name that was asked for")
    if model.provider is not None and model.balance != "ordered":
        document.error((*place, "balance"), "needs a list of targets to choose from")
    targets = zip(document.places(*place, "targets"), model.targets, strict=True) if model.targets else ()
    for path, target in targets:
        if document.given(*path, "weight") and model.balance != "weighted" and document.sound(*place, "balance"):
            document.error((*path, "weight"), "counts only where the model's balance is weighted")
        _check_target(document, path, target.provider, target.prefer or model.prefer, providers)
    if model.provider is not None and not model.targets:
        _check_target(document, place, model.provider, model.prefer, providers)


def _check_target(
    document: Document,
    place: tuple[str | int, ...],
    name: str,
    prefer: str | None,
    providers: Mapping[str, ProviderConfig],
) -> None:
    provider = providers.get(name)
    if provider is None:
        if document.sound("providers") and document.sound("providers", name):
            at = (*place, "provider") if document.given(*place, "provider") else place
            document.error(at, f"unknown provider {document.quoted(name)}{meant(name, providers)}")
        return
    speaks = provider.speaks
    if prefer is not None and prefer not in speaks and document.sound("providers", name, "type"):
        at = (*place, "prefer") if document.given(*place, "prefer") else place
        words = f"provider {document.quoted(name)} does not speak {document.quoted(prefer)}"
        document.error(at, f"{words}; it speaks {', '.join(sorted(speaks))}")


def _defaults(default: str | dict[str, str] | None) -> dict[str, str]:
    return {ANY: default} if isinstance(default, str) else default or {}


def _check_defaults(
    document: Document, default: str | dict[str, str] | None, providers: Mapping[str, ProviderConfig]
) -> None:
    for api, name in _defaults(default).items():
        place = ("default_provider", api) if isinstance(default, dict) else ("default_provider",)
        if api not in _APIS | {ANY}:
            document.error(place, f"unknown API {document.quoted(api)}{meant(api, _APIS)}")
            continue
        provider = providers.get(name)
        if provider is None:
            if document.sound("providers") and document.sound("providers", name):
                document.error(place, f"unknown provider {document.quoted(name)}{meant(name, providers)}")
        elif api != ANY and api not in provider.speaks and document.sound("providers", name, "type"):
            document.error(place, f"provider {document.quoted(name)} does not speak {document.quoted(api)}")


def _check_auth(document: Document, auth: AuthConfig | None) -> None:
    if not document.given("auth"):
        return
    if auth is None or not auth.keys:
        if document.sound("auth", "keys") and document.sound("auth"):
            document.error(
                ("auth", "keys"), "name at least one key; without the section `auth` nobody is asked for one"
            )
        return
    for number, (key, tenant) in enumerate(auth.keys.items()):
        place = ("auth", "keys", number)
        if not key:
            document.error(place, "a key must not be empty")
        _check_key(document, place, key)
        if not tenant:
            document.error(place, "a tenant must not be empty")


def _check_metrics(document: Document, metrics: MetricsConfig) -> None:
    if metrics.key is None:
        return
    if metrics.public:
        document.error(("metrics", "key"), "asks nobody where metrics are public: give one of both")
    if not metrics.key:
        document.error(("metrics", "key"), "must not be empty; leave it out to let in who has a key of `auth`")
    _check_key(document, ("metrics", "key"), metrics.key)


# hooks


def _hooks(document: Document, entries: Iterable[str | dict[str, dict[str, Any]]]) -> tuple[object, ...]:
    hooks: list[object] = []
    for place, entry in zip(document.places("hooks"), entries, strict=True):
        if isinstance(entry, dict) and len(entry) != 1:
            document.error(place, "expected one import path with its arguments behind it")
            continue
        path, arguments = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
        try:
            hooks.append(load_hook(path, arguments))
        except HookImportError as error:
            document.error(place, document.masked(str(error)))
    return tuple(hooks)
