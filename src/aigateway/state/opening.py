"""From a URL to a store. What a backend needs is imported only here, once it is asked for."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from aigateway.state.memory import MemoryStore
from aigateway.state.protocol import ResponseStore

SCHEMES: Final = ("memory", "sqlite", "postgresql", "postgres", "redis", "rediss", "unix")

NOWHERE: Final = "none"
"""In place of a URL: nothing is kept."""

_EXTRAS: Final = {
    "postgresql": "postgres",
    "postgres": "postgres",
    "redis": "redis",
    "rediss": "redis",
    "unix": "redis",
}


def default_file(environ: Mapping[str, str] | None = None) -> Path:
    """Where a served gateway keeps its state unless told otherwise: $AIGATEWAY_STATE, else in the user's folder for state."""
    environ = os.environ if environ is None else environ
    named = environ.get("AIGATEWAY_STATE")
    if named:
        return Path(named).expanduser()
    shared = environ.get("XDG_STATE_HOME")
    return (Path(shared) if shared else Path("~/.local/state").expanduser()) / "aigateway" / "state.db"


def path_of(url: str) -> Path:
    """The file that `sqlite:///relative/path` or `sqlite:////absolute/path` names; `~` is the user's home."""
    return Path(unquote(url.partition("://")[2].removeprefix("/"))).expanduser()


def check(url: str) -> None:
    """Raise ValueError that says what is wrong with a URL. Never shows it: it may hold a password."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ValueError("must be memory://, sqlite:///PATH, postgresql://... or redis://...")
    if scheme == "sqlite" and (not rest.startswith("/") or not rest.strip("/")):
        raise ValueError("must name a file: sqlite:///relative/path or sqlite:////absolute/path")
    if scheme in ("postgresql", "postgres", "redis", "rediss"):
        try:
            parts = urlsplit(url)
            named = bool(parts.hostname) or "host=" in parts.query
            _ = parts.port
        except ValueError:
            named = False
        if not named:
            raise ValueError("must name a host: postgresql://user:password@host/database, redis://host:6379/0")


def key_of(text: str) -> bytes:
    """The 32 bytes that a key's text stands for: base64 (either alphabet) or hexadecimal. Raises ValueError."""
    text = text.strip()
    try:
        raw = (
            bytes.fromhex(text) if len(text) == 64 else base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_")
        )
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32:
        raise ValueError("a key must be 32 bytes, in base64 or hexadecimal (make one: openssl rand -base64 32)")
    return raw


def open_store(url: str, *, keys: Sequence[bytes] = ()) -> ResponseStore:
    """The store that a URL names; nothing is connected yet. keys: of encryption, the newest first.

    Raises ValueError for a bad URL, and ImportError that names the extra to install.
    """
    check(url)
    scheme = url.partition("://")[0]
    try:
        store = _opened(scheme, url)
    except ModuleNotFoundError as error:
        extra = _EXTRAS[scheme]
        raise ImportError(f"needs more packages: pip install 'aigateway[{extra}]'") from error
    if not keys:
        return store
    try:
        from aigateway.state.encryption import EncryptedStore  # noqa: PLC0415 - an optional dependency
    except ModuleNotFoundError as error:
        raise ImportError("encryption needs one more package: pip install 'aigateway[encryption]'") from error
    return EncryptedStore(store, keys)


def _opened(scheme: str, url: str) -> ResponseStore:
    if scheme == "memory":
        return MemoryStore()
    if scheme == "sqlite":
        from aigateway.state.sqlite import SQLiteStore  # noqa: PLC0415 - not every gateway pays for the import

        return SQLiteStore(path_of(url))
    if scheme in ("postgresql", "postgres"):
        from aigateway.state.postgres import PostgresStore  # noqa: PLC0415 - an optional dependency

        return PostgresStore(url)
    from aigateway.state.redis import RedisStore  # noqa: PLC0415 - the same

    plain, _, query = url.partition("?")
    pairs = parse_qsl(query)
    rest = urlencode([pair for pair in pairs if pair[0] != "prefix"])
    prefix = dict(pairs).get("prefix", "aigateway")
    return RedisStore(f"{plain}?{rest}" if rest else plain, prefix=prefix)
