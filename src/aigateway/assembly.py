"""From a configuration to a gateway; where it names no provider, those that the environment has a key for."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from aigateway.app.asgi import Gateway
from aigateway.call import Call, Target
from aigateway.config import LOCAL, Config, ConfigError, ModelConfig, ProviderConfig, StateConfig
from aigateway.hooks.api_keys import APIKeyAuthenticator
from aigateway.hooks.logging_hook import LoggingHook
from aigateway.metrics import Meter, Metrics
from aigateway.models import Models, Resolver
from aigateway.providers.bedrock import BEARER_TOKEN, BEDROCK, REGION_VARIABLES, BedrockProvider
from aigateway.providers.catalog import CATALOG, CatalogRow
from aigateway.providers.protocol import ProviderLike
from aigateway.providers.provider import Provider
from aigateway.providers.sigv4 import AWSCredentials
from aigateway.state.journal import JournalLimits
from aigateway.state.opening import NOWHERE, default_file, key_of, open_store
from aigateway.state.protocol import ResponseStore
from aigateway.state.state import StateSettings
from aigateway.vendors import VENDORS

logger = logging.getLogger("aigateway")

_FIRST: Final = ("openai", "anthropic", "gemini")
"""Of several vendors that the environment has a key for, these come before the others."""

_SETTINGS: Final = (
    "apis",
    "timeout",
    "headers",
    "pool",
    "tls",
    "proxy",
    "socket",
    "api_keys",
    "retry",
    "breaker",
    "max_concurrent",
    "queue",
)


class ProvidersMade:
    """The providers of a running gateway by their settings, so that the next configuration goes on with them.

    meter  goes on too, whatever the configuration.
    """

    def __init__(self, meter: Meter | None = None) -> None:
        self.meter = meter or Meter()
        self._made: dict[str, tuple[ProviderConfig, ProviderLike]] = {}
        self._store: tuple[object, ResponseStore | None] | None = None

    def provider(self, name: str, config: ProviderConfig, environ: Mapping[str, str]) -> ProviderLike:
        """The one that is there where nothing was changed, else a new one. Raises ConfigError."""
        known = self._made.get(name)
        if known is not None and known[0] == config:
            return known[1]
        made = _provider(name, config, environ)
        self._made[name] = config, made
        return made

    def store(self, config: StateConfig, environ: Mapping[str, str]) -> ResponseStore | None:
        """The store of state: the one that is there where it is the same. Raises ConfigError."""
        wanted = config.url, config.encryption_keys
        if self._store is None or self._store[0] != wanted:
            self._store = wanted, _store(config, environ)
        return self._store[1]

    def forget_others(self, names: Iterable[str]) -> None:
        """Of no others than these is one needed again: they are closed with their gateway."""
        self._made = {name: self._made[name] for name in names}


def build(config: Config, environ: Mapping[str, str] | None = None, *, made: ProvidersMade | None = None) -> Gateway:
    """The gateway that a configuration describes. Opens nothing. Raises ConfigError for a bad URL in the environment.

    made: the providers of the gateway that it is to replace.

    Without `providers` they are those that the environment has a key for, or else the local model, named `local`.
    Both ways it logs its calls, as nobody could have asked for it.
    Without `models` the first provider gets every name, and `provider/model` goes to that provider as `model`.
    """
    environ = os.environ if environ is None else environ
    made = made or ProvidersMade()
    hooks = [*([APIKeyAuthenticator(config.auth.keys)] if config.auth is not None else []), *config.hooks]
    described = config.providers or found_in(environ)
    make = partial(
        Gateway,
        limits=config.limits,
        cors=config.cors,
        on_unsupported=config.on_unsupported,
        profile=config.profile,
        state=made.store(config.state, environ),
        state_settings=_state_settings(config.state),
        metrics=_metrics(config, made.meter),
    )
    if not described and not config.models:
        local = made.provider(LOCAL, ProviderConfig(type=LOCAL), environ)
        hooks.append(LoggingHook())
        made.forget_others([LOCAL])
        return make(models={LOCAL: local}, hooks=hooks)
    if not config.providers:
        hooks.append(LoggingHook())
    providers = {name: made.provider(name, provider, environ) for name, provider in described.items()}
    made.forget_others(providers)
    make = partial(make, default_provider={api: providers[name] for api, name in config.default_provider.items()})
    if config.models:
        models = _models(config.models, providers)
        gateway = make(models=models, hooks=hooks)
        gateway.include(*providers.values())
        return gateway
    return make(providers=providers.values(), resolver=by_prefix(providers), hooks=hooks)


def _metrics(config: Config, meter: Meter) -> Metrics | None:
    settings = config.metrics
    if not settings.enabled:
        return None
    meter.max_models = settings.max_models
    return Metrics(meter, public=settings.public, key=settings.key)


def found_in(environ: Mapping[str, str]) -> dict[str, ProviderConfig]:
    """The vendors of the catalog that the environment has a key (or a base URL) for, by name."""
    rows = sorted(CATALOG.values(), key=lambda row: _FIRST.index(row.name) if row.name in _FIRST else len(_FIRST))
    return {row.name: ProviderConfig(type=row.name) for row in rows if variables_of(row, environ)}


def variables_of(row: CatalogRow, environ: Mapping[str, str]) -> list[str]:
    """The environment variables that make a vendor known; empty if it is not, or nobody can say where it is.

    A key counts if its variable is named for one: `HF_TOKEN` and its like are set for other purposes too.
    """
    if row.name == BEDROCK:
        return [BEARER_TOKEN] if environ.get(BEARER_TOKEN) and any(map(environ.get, REGION_VARIABLES)) else []
    names = [row.base_url_env, row.api_key_env if (row.api_key_env or "").endswith("_API_KEY") else None]
    given = [name for name in names if name is not None and environ.get(name)]
    return given if row.base_url is not None or row.base_url_env in given else []


def by_prefix(providers: Mapping[str, ProviderLike]) -> Resolver:
    """A resolver for names like `openai/gpt-4o`: the provider before the slash gets the rest as its model."""

    def resolve(call: Call) -> Target | None:
        name, _, model = call.model.partition("/")
        provider = providers.get(name) if model else None
        return None if provider is None else Target(provider, model=model)

    return resolve


def _store(config: StateConfig, environ: Mapping[str, str]) -> ResponseStore | None:
    if config.url == NOWHERE:
        return None
    keys = [key_of(key) for key in config.encryption_keys]
    url = config.url or _default_url(environ)
    try:
        return open_store(url, keys=keys)
    except (ImportError, ValueError) as error:
        raise ConfigError([f"state: {error}"]) from error


def _default_url(environ: Mapping[str, str]) -> str:
    """The user's file; where nothing can be written there, this process's memory."""
    path = default_file(environ)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        writable = os.access(path if path.exists() else path.parent, os.W_OK)
    except OSError:
        writable = False
    if writable:
        return f"sqlite:///{path.absolute()}"
    logger.warning("%s cannot be written: state is kept in memory, and lost at the end (see `state`)", path)
    return "memory://"


def _state_settings(config: StateConfig) -> StateSettings:
    return StateSettings(
        ttl=config.ttl,
        on_outage=config.on_outage,
        journal=JournalLimits(seconds=config.streams.seconds, max_bytes=config.streams.max_bytes),
        lease=config.lease,
        keys=tuple(key_of(key) for key in config.encryption_keys),
    )


def _provider(name: str, config: ProviderConfig, environ: Mapping[str, str]) -> ProviderLike:
    if config.type == LOCAL:
        # llama.cpp's client costs as much to import as the rest: only who serves the local model pays for it
        from aigateway.local.llama import LocalModel  # noqa: PLC0415

        return LocalModel(name, path=None if config.path is None else Path(config.path))
    base_url, api_key = config.base_url, config.api_key
    row = CATALOG.get(config.type or "")
    if row is not None and base_url is None and api_key is None and config.api_keys is None:
        base_url = environ.get(row.base_url_env or "") or None
        api_key = environ.get(row.api_key_env or "") or None
    settings: dict[str, Any] = {
        "name": name,
        "base_url": base_url,
        "api_key": api_key,
        "type": config.type,
        "apis": config.apis,
        "timeout": config.timeout,
        "headers": config.headers,
        "pool": config.pool,
        "dialects": config.dialects or None,
        "tls": config.tls,
        "proxy": config.proxy,
        "socket": config.socket,
        "api_keys": config.api_keys,
        "retry": config.retry,
        "breaker": config.breaker,
        "max_concurrent": config.max_concurrent,
        "queue": config.queue,
    }
    try:
        make = VENDORS.get(config.type or "")
        if config.type == BEDROCK:
            provider: Provider = _bedrock(name, config, environ)
        elif make is not None:
            provider = make(config, environ, settings)
        else:
            provider = Provider(**settings, base_path=config.base_path)
    except ValueError as error:
        place = (row.base_url_env if row is not None and config.base_url is None else None) or f"providers.{name}"
        words = str(error).partition(", not ")[0]  # a URL may hold a secret
        raise ConfigError([f"environment: {place}: {words.removeprefix('base_url ')}"]) from error
    if config.quirks:
        given = {key: frozenset(value) if isinstance(value, tuple) else value for key, value in config.quirks.items()}
        provider.quirks = msgspec.structs.replace(provider.quirks, **given)
    return provider


def _settings_of(config: ProviderConfig) -> dict[str, Any]:
    """What every kind of provider over HTTP is told alike."""
    return {key: getattr(config, key) for key in _SETTINGS}


def _bedrock(name: str, config: ProviderConfig, environ: Mapping[str, str]) -> BedrockProvider:
    credentials = None
    if config.access_key_id is not None and config.secret_access_key is not None:
        credentials = AWSCredentials(config.access_key_id, config.secret_access_key, config.session_token)
    return BedrockProvider(
        name,
        region=config.region,
        credentials=credentials,
        api_key=config.api_key,
        base_url=config.base_url,
        environ=environ,
        **_settings_of(config),
    )


def _models(configs: Mapping[str, ModelConfig], providers: Mapping[str, ProviderLike]) -> Models:
    models = Models()
    for name, config in configs.items():
        targets = [
            Target(providers[one.provider], one.model, one.prefer, one.on_unsupported, one.weight)
            for one in config.targets
        ]
        models.register(
            name,
            targets or [Target(providers[config.provider or ""])],
            model=config.model,
            prefer=config.prefer,
            on_unsupported=config.on_unsupported,
            owned_by=config.owned_by,
            created=config.created,
            tenants=config.tenants,
            balance=config.balance,
            retry=config.retry,
            fallback=config.fallback,
            hedge=config.hedge,
        )
    return models
