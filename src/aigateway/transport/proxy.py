"""Proxies: which one a host is reached through, by an option or by the environment."""

from __future__ import annotations

import base64
import ipaddress
import os
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

NONE = "none"
"""The value of the option that says: none, whatever the environment names."""


class Proxy:
    """Where a proxy is. `authorization` is the value of its Proxy-Authorization header, or ""; it is never shown."""

    __slots__ = ("authorization", "host", "port", "secure")

    def __init__(self, host: str, port: int, *, secure: bool, authorization: str) -> None:
        self.host = host
        self.port = port
        self.secure = secure
        self.authorization = authorization

    @property
    def header(self) -> str:
        """The line that a request to it has; "" without credentials."""
        return f"proxy-authorization: {self.authorization}\r\n" if self.authorization else ""


def parse_proxy(text: str) -> Proxy:
    """The proxy of a URL `http://user:password@host:port`; `http` and the scheme's port where they are left out.

    Raises ValueError, in words that do not show the URL.
    """
    words = "must be the http:// or https:// URL of a proxy"
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(words) from error
    if parts.scheme not in ("http", "https") or not host or port == 0 or not text.isprintable():
        raise ValueError(words)
    secure = parts.scheme == "https"
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return Proxy(host, port or (443 if secure else 80), secure=secure, authorization=authorization)


class Proxies:
    """HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY as they are when it is made; lower-case names come first.

    HTTP_PROXY in capitals does not count in a CGI program (REQUEST_METHOD is set), where a client could have set it.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._urls = {scheme: _value(environ, f"{scheme}_proxy") for scheme in ("http", "https", "all")}
        if "REQUEST_METHOD" in environ and not environ.get("http_proxy"):
            self._urls["http"] = ""
        self._bypass = [_Bypass(entry) for entry in _value(environ, "no_proxy").replace(",", " ").split()]

    def find(self, scheme: str, host: str, port: int) -> Proxy | None:
        """The proxy for a host. Raises ValueError, naming the variable, for one that is no proxy's URL."""
        url = self._urls[scheme] or self._urls["all"]
        if not url or any(entry.covers(host, port) for entry in self._bypass):
            return None
        try:
            return parse_proxy(url)
        except ValueError as error:
            name = f"{scheme}_proxy" if self._urls[scheme] else "all_proxy"
            raise ValueError(f"{name.upper()} {error}") from error


class _Bypass:
    """One entry of NO_PROXY: `*`, a domain (its subdomains too), an address, a network `10.0.0.0/8`, each with `:port`."""

    def __init__(self, entry: str) -> None:
        self._all = entry == "*"
        self._port: int | None = None
        self._network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
        host = entry
        if entry.count(":") == 1 or entry.startswith("["):
            host, _, port = entry.rpartition(":") if not entry.endswith("]") else (entry, "", "")
            self._port = int(port) if port.isascii() and port.isdigit() else None
        host = host.strip("[]")
        try:
            self._network = ipaddress.ip_network(host, strict=False)
        except ValueError:
            self._network = None
        self._domain = host.lower().removeprefix("*").strip(".")

    def covers(self, host: str, port: int) -> bool:
        """Whether a host is reached directly."""
        if self._all:
            return True
        if self._port is not None and self._port != port:
            return False
        if self._network is not None:
            try:
                return ipaddress.ip_address(host.partition("%")[0]) in self._network
            except ValueError:
                return False
        host = host.lower().rstrip(".")
        return bool(self._domain) and (host == self._domain or host.endswith(f".{self._domain}"))


def _value(environ: Mapping[str, str], name: str) -> str:
    return environ[name] if name in environ else environ.get(name.upper(), "")
