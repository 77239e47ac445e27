"""AWS Signature Version 4, for requests whose whole body is at hand.

https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

ALGORITHM: Final = "AWS4-HMAC-SHA256"
_SPACES: Final = re.compile(r" {2,}")
_ALSO_SIGNED: Final = frozenset({"content-type", "host"})


class AWSCredentials:
    """Keys of AWS; `session_token` comes with temporary ones. Its repr hides them."""

    __slots__ = ("access_key_id", "secret_access_key", "session_token")

    def __init__(self, access_key_id: str, secret_access_key: str, session_token: str | None = None) -> None:
        if not access_key_id or not secret_access_key:
            raise ValueError("AWS credentials need an access_key_id and a secret_access_key")
        self.access_key_id = access_key_id
        self.secret_access_key = secret_access_key
        self.session_token = session_token or None

    def __repr__(self) -> str:
        return "AWSCredentials('***')"


CredentialsSource = AWSCredentials | Callable[[], AWSCredentials | Awaitable[AWSCredentials]]
"""Credentials, or a function (async or not) that is asked for them at every request, so that they can be renewed."""


async def reveal_credentials(source: CredentialsSource) -> AWSCredentials:
    """The credentials of a source."""
    if isinstance(source, AWSCredentials):
        return source
    found = source()
    return found if isinstance(found, AWSCredentials) else await found


class Signer:
    """Signs requests for one region and service. Keeps the key of the day, which is dear to derive."""

    def __init__(self, region: str, service: str) -> None:
        self._region = region
        self._service = service
        self._derived: tuple[tuple[str, str], bytes] | None = None

    def sign(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        credentials: AWSCredentials,
        at: datetime,
    ) -> dict[str, str]:
        """The headers that sign a request: `authorization`, `x-amz-date`, and the session's token.

        url      as it is sent, its path encoded already.
        headers  that are sent, names in lower case. Of these `content-type` and all `x-amz-*` are signed.
        at       the time, in UTC.
        """
        parts = urlsplit(url)
        stamp = at.strftime("%Y%m%dT%H%M%SZ")
        given = {"x-amz-date": stamp}
        if credentials.session_token is not None:
            given["x-amz-security-token"] = credentials.session_token
        signed = {"host": parts.netloc, **headers, **given}
        canonical, names = canonical_request(method, parts.path, parts.query, signed, body)
        scope = f"{stamp[:8]}/{self._region}/{self._service}/aws4_request"
        text = "\n".join((ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
        signature = _hmac(self._key(credentials.secret_access_key, stamp[:8]), text).hex()
        credential = f"{credentials.access_key_id}/{scope}"
        given["authorization"] = f"{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
        return given

    def _key(self, secret: str, day: str) -> bytes:
        known = self._derived
        if known is not None and known[0] == (secret, day):
            return known[1]
        key = _hmac(f"AWS4{secret}".encode(), day)
        for word in (self._region, self._service, "aws4_request"):
            key = _hmac(key, word)
        self._derived = (secret, day), key
        return key


def canonical_request(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> tuple[str, str]:
    """The request in the form that is signed, and the names of its signed headers.

    The path is encoded once more than it is sent, as all services but S3 want it.
    """
    signed = {
        name: _SPACES.sub(" ", value.strip())
        for name, value in headers.items()
        if name in _ALSO_SIGNED or name.startswith("x-amz-")
    }
    names = ";".join(sorted(signed))
    lines = [f"{name}:{signed[name]}\n" for name in sorted(signed)]
    digest = hashlib.sha256(body).hexdigest()
    uri = quote(path, safe="/-_.~") or "/"
    return "\n".join((method, uri, _canonical_query(query), "".join(lines), names, digest)), names


def _canonical_query(query: str) -> str:
    pairs = [
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(query, keep_blank_values=True)
    ]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
