"""A configuration file, read: the text, `${NAME}` filled in, every mistake found, hooks made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aigateway._yaml import Document
from aigateway.config.checks import (
    check_auth,
    check_defaults,
    check_metrics,
    check_model,
    defaults_of,
    hooks_of,
    state_of,
)
from aigateway.config.providers import check_amounts, provider_of
from aigateway.config.schema import Config, ConfigError, ModelConfig, Source, Written

DEFAULT_FILE: Final = "gateway.yaml"
_HIDDEN: Final = frozenset({("auth",), ("auth", "keys")})


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
    written = document.read(Written)
    if written is None:
        raise ConfigError(document.errors)
    folder = Path(source.name).parent
    config = Config(
        server=written.server,
        providers={name: provider_of(document, name, one, folder) for name, one in written.providers.items()},
        models={name: _short(model) for name, model in written.models.items()},
        auth=written.auth,
        hooks=hooks_of(document, written.hooks),
        cors=written.cors,
        limits=written.limits,
        on_unsupported=written.on_unsupported,
        profile=written.profile,
        default_provider=defaults_of(written.default_provider),
        state=state_of(document, written.state, folder),
        metrics=written.metrics,
    )
    for name, model in config.models.items():
        check_model(document, name, model, config.providers)
    check_defaults(document, written.default_provider, config.providers)
    check_auth(document, config.auth)
    check_metrics(document, config.metrics)
    check_amounts(document, ("limits",), config.limits)
    if config.server.host.strip() == "":
        document.error(("server", "host"), "must not be empty; for every interface write 0.0.0.0")
    if document.errors:
        raise ConfigError(document.errors)
    return config


def _short(model: str | ModelConfig) -> ModelConfig:
    return ModelConfig(provider=model) if isinstance(model, str) else model
