"""What can be wrong with a provider of a configuration."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from aigateway._yaml import Document, meant
from aigateway.canonical.quirks import REPAIRS, Quirks
from aigateway.config.schema import APIS, AZURE, LOCAL, TYPES, VERTEX, EntraConfig, ProviderConfig, StreamsConfig
from aigateway.intake import Limits
from aigateway.providers.bedrock import BEDROCK, REGION
from aigateway.providers.catalog import CATALOG
from aigateway.providers.dialects import DIALECTS
from aigateway.providers.provider import join_base
from aigateway.transport.protocol import TLS, Pool, Timeout
from aigateway.transport.proxy import NONE, parse_proxy

_AWS: Final = ("region", "access_key_id", "secret_access_key", "session_token")
_VENDORS_OWN: Final = {("api_version", "entra"): AZURE, ("project", "location", "credentials"): VERTEX}
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def provider_of(document: Document, name: str, provider: ProviderConfig, folder: Path) -> ProviderConfig:
    """The provider with its type filled in; mistakes are reported."""
    place = ("providers", name)
    if not name or "/" in name:
        document.error(place, "a provider's name must not be empty, nor have a slash in it")
    kind = provider.type or (name if name in TYPES else None)
    if kind is not None and kind not in TYPES:
        document.error((*place, "type"), f"unknown provider type {document.quoted(kind)}{meant(kind, TYPES)}")
        kind = None
    if kind == LOCAL:
        return _local(document, place, provider, folder)
    if provider.path is not None:
        document.error((*place, "path"), "only a provider of type local has one")
    _check_vendor(document, place, kind, provider)
    if kind not in VERTEX or provider.base_url is not None:
        _check_url(document, place, kind, provider)
    _check_apis(document, (*place, "apis"), provider.apis)
    check_key(document, (*place, "api_key"), provider.api_key or "")
    _check_keys(document, place, provider)
    if provider.queue is not None and provider.max_concurrent is None and document.sound(*place, "max_concurrent"):
        document.error((*place, "queue"), "nobody waits without max_concurrent")
    for header, value in provider.headers.items():
        if not _TOKEN.fullmatch(header):
            document.error((*place, "headers", header), "not the name of an HTTP header")
        check_key(document, (*place, "headers", header), value)
    _check_quirks(document, (*place, "quirks"), provider.quirks)
    check_amounts(document, (*place, "timeout"), provider.timeout)
    check_amounts(document, (*place, "pool"), provider.pool)
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
        check_key(document, (*place, key), getattr(provider, key) or "")
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
        if api not in APIS:
            document.error(path, f"unknown API {document.quoted(api)}{meant(api, APIS)}")


def check_key(document: Document, place: tuple[str | int, ...], value: str) -> None:
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
        check_key(document, path, key)
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


def check_amounts(document: Document, place: tuple[str, ...], amounts: Timeout | Pool | Limits | StreamsConfig) -> None:
    """Seconds, bytes and counts, none of which is nothing."""
    for name, value in msgspec.structs.asdict(amounts).items():
        if value is not None and not 0 < value < math.inf:
            document.error((*place, name), "must be more than 0")
