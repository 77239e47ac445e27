"""Refusals of Bedrock, told as the rest of the house reads them, without what is the gateway's own secret."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from aigateway import _json
from aigateway.formats.converse.wire import STATUSES
from aigateway.providers.protocol import ProviderReply

_CREDENTIALS: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_CANONICAL: Final = re.compile(r"canonical string for this request|string-to-sign", re.IGNORECASE)
"""An answer to a bad signature repeats the signed headers, and with them the session's token."""

_PRINCIPAL: Final = re.compile(r"arn:aws[a-z-]*:(?:iam|sts)::[^\s,]+")
_SECRET_MIN: Final = 8


class Refusal:
    """An answer of status 400 and more as `{"error": {...}}`, with the status that its exception stands for.

    secrets  what the request was entered with: none of it is repeated.
    """

    def __init__(self, reply: ProviderReply, secrets: Sequence[str | None]) -> None:
        self._name = _exception_of(reply)
        self.status = STATUSES.get(self._name, reply.status)
        self.headers = reply.headers
        self._reply = reply
        self._secrets = [secret for secret in secrets if secret is not None and len(secret) >= _SECRET_MIN]

    async def read(self) -> bytes:
        """The error as JSON."""
        body = await self._reply.read()
        try:
            value = _json.decode(body)
        except (_json.DecodeError, UnicodeDecodeError, RecursionError):
            value = None
        return _json.encode({"error": {"message": self._message(value if isinstance(value, dict) else {})}})

    async def stream(self) -> AsyncIterator[bytes]:
        """The same, in one piece."""
        yield await self.read()

    async def aclose(self) -> None:
        """Give the connection back."""
        await self._reply.aclose()

    def _message(self, body: dict[str, Any]) -> str:
        told = body.get("message") or body.get("Message")
        message = told if isinstance(told, str) else ""
        if self._name in _CREDENTIALS or _CANONICAL.search(message):
            name = f" ({self._name})" if self._name else ""
            return f"Bedrock refused the gateway's credentials{name}. Check the keys, the region and the clock."
        for secret in self._secrets:
            message = message.replace(secret, "***")
        return _PRINCIPAL.sub("***", message)


def _exception_of(reply: ProviderReply) -> str:
    """`ValidationException` of `ValidationException:http://...`; "" where no header tells."""
    for name, value in reply.headers:
        if name == "x-amzn-errortype":
            return value.split(":", 1)[0].rpartition("#")[2]
    return ""
