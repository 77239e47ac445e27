"""Where a request goes: the origin, what the request line and the Host header say, and the way there."""

from __future__ import annotations

from urllib.parse import urlsplit

from aigateway.transport.proxy import Proxies, Proxy


class Place:
    """Where a URL is, and how it is reached. proxy: the one in between; path: of a Unix socket in place of TCP."""

    __slots__ = ("extra", "host", "host_header", "key", "path", "port", "proxy", "secure", "target")

    def __init__(self, url: str, *, proxy: Proxy | None, path: str | None) -> None:
        parts = urlsplit(url)
        self.secure = parts.scheme == "https"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if self.secure else 80)
        self.key = (self.secure, self.host, self.port)
        self.host_header = parts.netloc.rpartition("@")[2]
        self.target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.proxy = proxy
        self.path = path
        self.extra = ""
        if proxy is not None and not self.secure:  # the proxy is told the whole URL; a tunnel needs none of it
            self.target = f"http://{self.host_header}{self.target}"
            self.extra = proxy.header


class Places:
    """The places of URLs; `known` are those that are asked for again and again."""

    def __init__(self, proxy: Proxy | None, proxies: Proxies | None, path: str | None) -> None:
        self._proxy = proxy
        self._proxies = proxies
        self._path = path
        self.known: dict[str, Place] = {}

    def find(self, url: str) -> Place:
        """The place of a URL. Raises ValueError for a proxy's URL in the environment that is none."""
        place = self.known.get(url)
        if place is None:
            place = self._place(url)
            if len(self.known) < _KEPT:
                self.known[url] = place
        return place

    def _place(self, url: str) -> Place:
        proxy = self._proxy
        if self._proxies is not None:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
            proxy = self._proxies.find("https" if parts.scheme == "https" else "http", parts.hostname or "", port)
        return Place(url, proxy=proxy, path=self._path)


_KEPT = 256
