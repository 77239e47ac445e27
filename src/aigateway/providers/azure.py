"""Azure OpenAI: where its operations stand, and how it is entered, by key or by Entra ID.

https://learn.microsoft.com/en-us/azure/foundry/openai/api-version-lifecycle (v1),
https://learn.microsoft.com/en-us/azure/foundry/openai/reference (dated versions).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from aigateway.errors import InvalidRequestError
from aigateway.providers.protocol import ConnectRequest, ProviderRequest
from aigateway.providers.provider import Provider, join_base
from aigateway.providers.secret import KeySource, Secret
from aigateway.providers.token import Token, TokenSource, ask_token_server

SCOPE = "https://cognitiveservices.azure.com/.default"
AUTHORITY = "https://login.microsoftonline.com"

_BY_DEPLOYMENT = frozenset(
    {
        "/chat/completions",
        "/completions",
        "/embeddings",
        "/audio/speech",
        "/audio/transcriptions",
        "/audio/translations",
        "/images/generations",
        "/images/edits",
    }
)
"""The operations that a dated version has under the deployment's own path; the others name it in the body."""


def entra_token(
    tenant_id: str,
    client_id: str,
    client_secret: str | Secret,
    *,
    scope: str = SCOPE,
    authority: str = AUTHORITY,
    proxy: str | None = None,
) -> TokenSource:
    """A token source for an application of Entra ID that has a secret (OAuth 2.0 client credentials).

    authority: that of the cloud, where it is not the public one. proxy: as a Provider's. Raises ValueError for what cannot be one.
    """
    if urlsplit(authority).scheme not in ("http", "https") or not urlsplit(authority).hostname:
        raise ValueError("authority must be an https URL")
    for name, value in (("tenant_id", tenant_id), ("client_id", client_id)):
        if not value:
            raise ValueError(f"{name} must not be empty")
    secret = client_secret if isinstance(client_secret, Secret) else Secret(client_secret)
    url = f"{authority.rstrip('/')}/{quote(tenant_id, safe='')}/oauth2/v2.0/token"

    async def fetch() -> Token:
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": secret.reveal(),
            "scope": scope,
        }
        return await ask_token_server(url, "The token server of Entra ID", form, proxy=proxy)

    return TokenSource(fetch)


class AzureProvider(Provider):
    """A resource of Azure OpenAI or Foundry. The model's name upstream is that of the deployment.

    base_url     `https://RESOURCE.openai.azure.com`, with or without `/openai` or `/openai/v1` behind it.
    api_key      the resource's key, sent as `api-key`.
    token        in its place: gives a token of Entra ID, as `entra_token(...)` or a function of yours does.
    api_version  of the dated API, `2024-10-21`; None = the v1 API, which needs none (`preview` is one of v1's).

    The other arguments are Provider's. Raises ValueError for a base URL that cannot be one, and for a key beside a token.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        api_key: KeySource | None = None,
        *,
        token: KeySource | None = None,
        api_version: str | None = None,
        **settings: Any,
    ) -> None:
        if api_key is not None and token is not None:
            raise ValueError("give an api_key or a token, not both")
        self._is_dated = api_version not in (None, "v1", "preview", "latest")
        settings.setdefault("type", "azure")
        super().__init__(name, _base(base_url, dated=self._is_dated), token or api_key, base_path="", **settings)
        self._has_token = token is not None
        self._version = api_version if api_version not in (None, "v1") else ""

    def _key_headers(self, api: str, key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}"} if self._has_token else {"api-key": key}

    def _located(self, request: ProviderRequest) -> ProviderRequest:
        path = request.path
        if self._is_dated and path.partition("?")[0] in _BY_DEPLOYMENT:
            path = f"/deployments/{_deployment(request.model)}{path}"
        if self._version:
            path += f"{'&' if '?' in path else '?'}{urlencode({'api-version': self._version})}"
        return request if path == request.path else msgspec.structs.replace(request, path=path)

    def _session_path(self, request: ConnectRequest) -> str:
        query = [pair for pair in request.query if pair[0] != "model"] if self._is_dated else list(request.query)
        if self._version:
            query.append(("api-version", self._version))
        if self._is_dated and request.model:
            query.append(("deployment", request.model))
        return request.path + (f"?{urlencode(query)}" if query else "")


def _base(base_url: str, *, dated: bool) -> str:
    """Where operations stand: `/openai/v1` of the resource, or `/openai` for a dated version."""
    base = join_base(base_url, "")
    root = base.removesuffix("/v1").removesuffix("/openai")
    if urlsplit(root).path not in ("", "/") and root == base:
        return base  # a gateway of the user's own in front of Azure has its own paths
    return f"{root}/openai" if dated else f"{root}/openai/v1"


def _deployment(name: str) -> str:
    """The deployment as one segment of a path. Raises InvalidRequestError."""
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        raise InvalidRequestError("A deployment's name must not be empty, nor have a slash in it.", param="model")
    return quote(name, safe="")
