"""From a configuration to the providers that are not a plain host with a key: where they get their tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from aigateway.config import AZURE, VERTEX, ConfigError, ProviderConfig
from aigateway.providers.azure import AzureProvider, entra_token
from aigateway.providers.google import METADATA_HOST, metadata_token, service_account_token
from aigateway.providers.provider import Provider
from aigateway.providers.token import TokenSource
from aigateway.providers.vertex import VertexProvider

Maker = Callable[[ProviderConfig, Mapping[str, str], dict[str, Any]], Provider]
"""(configuration, environment, Provider's arguments) -> the provider. Raises as Provider does, and ConfigError."""


def _azure(config: ProviderConfig, _: Mapping[str, str], settings: dict[str, Any]) -> Provider:
    entra = config.entra
    if entra is None:
        return AzureProvider(**settings, api_version=config.api_version)
    token = entra_token(
        entra.tenant_id,
        entra.client_id,
        entra.client_secret,
        scope=entra.scope,
        authority=entra.authority,
        proxy=config.proxy,
    )
    return AzureProvider(**settings | {"api_key": None}, token=token, api_version=config.api_version)


def _vertex(config: ProviderConfig, environ: Mapping[str, str], settings: dict[str, Any]) -> Provider:
    token = settings.pop("api_key") or _google_token(settings["name"], config, environ)
    return VertexProvider(project=config.project or "", location=config.location or "", token=token, **settings)


def _google_token(name: str, config: ProviderConfig, environ: Mapping[str, str]) -> TokenSource:
    """As Google's own clients find it: a key file, else the machine's own account."""
    path = config.credentials or environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if not path:
        return metadata_token(environ.get("GCE_METADATA_HOST") or METADATA_HOST)
    place = f"providers.{name}.credentials"
    try:
        account = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(account, dict):
            raise ConfigError([f"{place}: not a JSON object"])
        return service_account_token(account, proxy=config.proxy)
    except OSError as error:
        raise ConfigError([f"{place}: cannot be read: {error.strerror or type(error).__name__}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{place}: not a text in UTF-8"]) from error
    except json.JSONDecodeError as error:
        raise ConfigError([f"{place}: not JSON"]) from error
    except (ValueError, ImportError) as error:
        raise ConfigError([f"{place}: {error}"]) from error


VENDORS: Mapping[str, Maker] = MappingProxyType(dict.fromkeys(AZURE, _azure) | dict.fromkeys(VERTEX, _vertex))
"""By type."""
