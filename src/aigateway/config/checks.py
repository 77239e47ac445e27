"""What can be wrong with the other sections of a configuration."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from aigateway._yaml import Document, meant
from aigateway.config.providers import check_amounts, check_key
from aigateway.config.schema import APIS, AuthConfig, MetricsConfig, ModelConfig, ProviderConfig, StateConfig
from aigateway.default_provider import ANY
from aigateway.hooks.import_path import HookImportError, load_hook
from aigateway.state.opening import NOWHERE, key_of, path_of
from aigateway.state.opening import check as check_url

# state


def state_of(document: Document, state: StateConfig, folder: Path) -> StateConfig:
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
    check_amounts(document, (*place, "streams"), state.streams)
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


def check_model(document: Document, name: str, model: ModelConfig, providers: Mapping[str, ProviderConfig]) -> None:
    """One model: its targets, and what is balanced among them."""
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


def defaults_of(default: str | dict[str, str] | None) -> dict[str, str]:
    """API -> provider; a name alone stands for all of them."""
    return {ANY: default} if isinstance(default, str) else default or {}


def check_defaults(
    document: Document, default: str | dict[str, str] | None, providers: Mapping[str, ProviderConfig]
) -> None:
    """The providers of calls that name no model."""
    for api, name in defaults_of(default).items():
        place = ("default_provider", api) if isinstance(default, dict) else ("default_provider",)
        if api not in APIS | {ANY}:
            document.error(place, f"unknown API {document.quoted(api)}{meant(api, APIS)}")
            continue
        provider = providers.get(name)
        if provider is None:
            if document.sound("providers") and document.sound("providers", name):
                document.error(place, f"unknown provider {document.quoted(name)}{meant(name, providers)}")
        elif api != ANY and api not in provider.speaks and document.sound("providers", name, "type"):
            document.error(place, f"provider {document.quoted(name)} does not speak {document.quoted(api)}")


def check_auth(document: Document, auth: AuthConfig | None) -> None:
    """The callers' keys."""
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
        check_key(document, place, key)
        if not tenant:
            document.error(place, "a tenant must not be empty")


def check_metrics(document: Document, metrics: MetricsConfig) -> None:
    """Who may read the metrics."""
    if metrics.key is None:
        return
    if metrics.public:
        document.error(("metrics", "key"), "asks nobody where metrics are public: give one of both")
    if not metrics.key:
        document.error(("metrics", "key"), "must not be empty; leave it out to let in who has a key of `auth`")
    check_key(document, ("metrics", "key"), metrics.key)


# hooks


def hooks_of(document: Document, entries: Iterable[str | dict[str, dict[str, Any]]]) -> tuple[object, ...]:
    """The hooks, imported and made; what fails is reported."""
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
