"""Cross-origin requests, for browsers. https://fetch.spec.whatwg.org/#http-cors-protocol."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

_EXPOSED = ("x-request-id", "retry-after", "x-aigateway-changes")


class CORS(msgspec.Struct, frozen=True, kw_only=True):
    """Which pages may call the gateway from a browser.

    origins      exact origins (`https://app.example`), or "*" for any.
    methods      allowed methods.
    headers      allowed request headers; "*" allows what the browser asks for.
    expose       response headers that a page may read.
    max_age      seconds that a browser may keep the answer to a preflight.
    credentials  whether cookies may be sent; then `origins` must name each origin: "*" is refused with ValueError.
    """

    origins: tuple[str, ...] = ("*",)
    methods: tuple[str, ...] = ("GET", "POST", "OPTIONS")
    headers: tuple[str, ...] = ("*",)
    expose: tuple[str, ...] = _EXPOSED
    max_age: int = 3600
    credentials: bool = False

    def __post_init__(self) -> None:
        if self.credentials and "*" in self.origins:
            raise ValueError("CORS with credentials must name its origins: '*' would let any page act as the user")

    def allows(self, origin: str) -> bool:
        """Whether a page of this origin may call."""
        return "*" in self.origins or origin in self.origins

    def response_headers(self, origin: str | None) -> list[tuple[str, str]]:
        """What every answer carries. `Vary` stands also where nothing is granted: caches must not mix the two up."""
        if origin is None or not self.allows(origin):
            return [("vary", "Origin")]
        allowed = [("vary", "Origin"), ("access-control-allow-origin", "*" if "*" in self.origins else origin)]
        if self.credentials:
            allowed.append(("access-control-allow-credentials", "true"))
        return [*allowed, ("access-control-expose-headers", ", ".join(self.expose))]

    def preflight(self, headers: Mapping[str, str]) -> list[tuple[str, str]]:
        """The headers of the answer (204) to a preflight. For an origin that is not allowed it grants nothing."""
        origin = headers.get("origin", "")
        vary = ("vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
        if not self.allows(origin):
            return [vary]
        granted = [header for header in self.response_headers(origin) if header[0].startswith("access-control-allow")]
        asked = headers.get("access-control-request-headers", "")
        wanted = asked if "*" in self.headers else ", ".join(self.headers)
        if wanted:
            granted.append(("access-control-allow-headers", wanted))
        granted.append(("access-control-allow-methods", ", ".join(self.methods)))
        granted.append(("access-control-max-age", str(self.max_age)))
        return [vary, *granted]
