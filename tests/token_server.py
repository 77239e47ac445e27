"""A token server on a loopback port: gives numbered tokens, and remembers what was asked of it."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream


class TokenServer(ScriptedUpstream):
    """Answers every request with `token-1`, `token-2`, ... good for `expires_in` seconds, until it is scripted."""

    def __init__(self, expires_in: float = 3600) -> None:
        super().__init__()
        self.expires_in = expires_in
        self.answer_with(self.token)

    def token(self, _: ReceivedRequest) -> Script:
        """The next token."""
        return Script.of_json({"access_token": f"token-{len(self.requests)}", "expires_in": self.expires_in})

    @property
    def url(self) -> str:
        """Its root."""
        return f"http://127.0.0.1:{self.port}"

    def form(self, number: int = -1) -> dict[str, str]:
        """The fields of one request."""
        return {name: values[0] for name, values in parse_qs(self.requests[number].body.decode()).items()}


def refused(status: int, **facts: Any) -> Script:
    """What a token server says to credentials that are wrong."""
    return Script.of_json(facts, status)
