"""Access tokens of Google Cloud: for a service account's key, and from the metadata server of a machine of Google's.

https://developers.google.com/identity/protocols/oauth2/service-account,
https://cloud.google.com/compute/docs/access/authenticate-workloads.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from aigateway import _json
from aigateway.providers.token import Token, TokenSource, ask_token_server

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
METADATA_HOST = "metadata.google.internal"

_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFETIME = 3600
_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"


class _Signer(Protocol):
    def sign(self, data: bytes, padding: Any, algorithm: Any) -> bytes: ...


def service_account_token(
    account: Mapping[str, Any], *, proxy: str | None = None, now: Callable[[], float] = time.time
) -> TokenSource:
    """A token source for a service account, given as its JSON key file says (type, client_email, private_key, token_uri).

    Raises ValueError for what is no such key, and ImportError without the extra `vertex`.
    """
    if account.get("type") != "service_account":
        raise ValueError(f"credentials must be the key of a service account, not of type {account.get('type')!r}")
    fields = {name: account.get(name) for name in ("client_email", "private_key", "token_uri")}
    for name, value in fields.items():
        if not isinstance(value, str) or not value:
            raise ValueError(f"credentials lack {name!r}")
    email, url = str(fields["client_email"]), str(fields["token_uri"])
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("token_uri of the credentials must be an https URL")
    signer = _private_key(str(fields["private_key"]))
    head: dict[str, Any] = {"alg": "RS256", "typ": "JWT"}
    if isinstance(account.get("private_key_id"), str):
        head["kid"] = account["private_key_id"]

    async def fetch() -> Token:
        begins = int(now())
        claims = {"iss": email, "scope": SCOPE, "aud": url, "iat": begins, "exp": begins + _LIFETIME}
        form = {"grant_type": _GRANT, "assertion": _signed(signer, head, claims)}
        return await ask_token_server(url, "Google's token server", form, proxy=proxy)

    return TokenSource(fetch)


def metadata_token(host: str = METADATA_HOST) -> TokenSource:
    """A token source for the account that a machine of Google Cloud runs as."""

    async def fetch() -> Token:
        url = f"http://{host}{_PATH}"
        headers = {"metadata-flavor": "Google"}
        return await ask_token_server(url, "Google's metadata server", headers=headers, proxy="none")

    return TokenSource(fetch)


def _private_key(pem: str) -> _Signer:
    try:
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415 - an extra
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("a service account needs the extra: pip install 'aigateway[vertex]'") from error
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise ValueError("private_key of the credentials is not a PEM key without a password") from error
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("private_key of the credentials is not an RSA key")  # noqa: TRY004 - the value is wrong
    return key


def _signed(signer: _Signer, head: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """A JSON web token (RFC 7515, compact; RS256)."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    said = b".".join(_base64url(_json.encode(part)) for part in (head, claims))
    return (said + b"." + _base64url(signer.sign(said, PKCS1v15(), SHA256()))).decode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
