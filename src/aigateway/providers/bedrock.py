"""Amazon Bedrock: Converse and embeddings of one region, entered by a signature (SigV4) or an API key."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

from aigateway.errors import UpstreamError
from aigateway.providers.bedrock_embeddings import Answered, decode_embeddings, encode_embeddings
from aigateway.providers.bedrock_errors import Refusal
from aigateway.providers.catalog import CATALOG
from aigateway.providers.protocol import Answer, ProviderReply, ProviderRequest
from aigateway.providers.provider import Provider
from aigateway.providers.secret import KeySource, Secret, reveal
from aigateway.providers.sigv4 import AWSCredentials, CredentialsSource, Signer, reveal_credentials
from aigateway.transport.protocol import HTTPRequest

__all__ = ["AWSCredentials", "BedrockProvider"]

BEDROCK: Final = "bedrock"
BEARER_TOKEN: Final = "AWS_BEARER_TOKEN_BEDROCK"  # noqa: S105 - the name of a variable
REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
_SERVICE: Final = "bedrock"
REGION: Final = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-[0-9]{1,2}")
_HOST: Final = re.compile(rf"bedrock-runtime(?:-fips)?\.({REGION.pattern})\.amazonaws\.com(?:\.cn)?")
_EVENT_STREAM: Final = "application/vnd.amazon.eventstream"
_AT_ONCE: Final = 8
"""Requests at a time for the texts of one call: Titan takes one text each."""


class BedrockProvider(Provider):
    """Bedrock's runtime in one region.

    name         how the gateway calls it.
    region       `us-east-1`, ...; None = that of a base_url of Amazon's, else AWS_REGION or AWS_DEFAULTREGION.
    credentials  AWSCredentials, or a function (async or not) that is asked at every request.
    api_key      a Bedrock API key in place of them: sent as `Authorization: Bearer`. It may be a function too.
    base_url     another endpoint (a VPC's, a proxy's); requests are signed for the host that it names.
    environ      where it looks for what is not given: AWS_BEARER_TOKEN_BEDROCK, or else AWS_ACCESS_KEY_ID,
                 AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; None = the environment of the process.
    settings     the others of `Provider`: timeout, headers, pool, tls, proxy, transport, retry, ...

    A model is an id, the id of an inference profile, or an ARN. Raises ValueError where the region or the way in is
    missing, or cannot be one.
    """

    relays = False

    def __init__(
        self,
        name: str = BEDROCK,
        *,
        region: str | None = None,
        credentials: CredentialsSource | None = None,
        api_key: KeySource | None = None,
        api_keys: Sequence[str | Secret] | None = None,
        base_url: str | None = None,
        apis: Collection[str] | None = None,
        environ: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        environ = os.environ if environ is None else environ
        if credentials is not None and (api_key is not None or api_keys is not None):
            raise ValueError(f"provider {name!r}: give credentials or an api_key, not both")
        if credentials is None and api_key is None and api_keys is None:
            api_key = environ.get(BEARER_TOKEN) or None
            credentials = None if api_key is not None else found_credentials(name, environ)
        self.region = region_of(name, region, base_url, environ)
        super().__init__(
            name,
            base_url or endpoint_of(self.region),
            api_key,
            apis=CATALOG[BEDROCK].apis if apis is None else apis,
            base_path="",
            api_keys=api_keys,
            **settings,
        )
        self._credentials = credentials
        self._signer = Signer(self.region, _SERVICE)

    def __repr__(self) -> str:
        return f"BedrockProvider({self.name!r}, {self.region!r})"

    async def send(self, request: ProviderRequest) -> ProviderReply:
        """Send one request and wait for the head of the answer, whatever its status.

        Raises UpstreamConnectionError or UpstreamTimeoutError, and InvalidRequestError for embeddings that the model
        cannot be asked for.
        """
        if request.api == "embeddings":
            return await self._embed(request)
        return await self._invoke(request, request.path, request.body)

    async def _invoke(self, request: ProviderRequest, path: str, body: bytes) -> ProviderReply:
        url = self.base_url + path
        headers = self._base.copy()
        headers["content-type"] = "application/json"
        headers["accept"] = _EVENT_STREAM if request.stream else "application/json"
        headers.update(self._headers)
        headers.update({name.lower(): value for name, value in request.headers.items()})
        secrets = await self._enter(headers, url, body, request)
        try:
            reply = await self._open_transport().send(
                HTTPRequest(
                    method="POST",
                    url=url,
                    headers=list(headers.items()),
                    body=body,
                    timeout=self.timeout,
                    peer=self._peer,
                )
            )
        except UpstreamError as error:
            error.provider = self.name
            raise
        return reply if reply.status < 400 else Refusal(reply, secrets)

    async def _enter(
        self, headers: dict[str, str], url: str, body: bytes, request: ProviderRequest
    ) -> list[str | None]:
        """Put in the headers that let a request in, the last ones to be set; give the secrets of it."""
        if request.api_key is None and "authorization" in headers:
            return [headers["authorization"]]
        key = request.api_key
        if key is None and self._credentials is None:
            key = await reveal(self._api_key)
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
            return [key]
        if self._credentials is None:
            return []
        found = await reveal_credentials(self._credentials)
        at = datetime.now(UTC)
        headers.update(self._signer.sign("POST", url, headers, body, credentials=found, at=at))
        return [found.access_key_id, found.secret_access_key, found.session_token]

    # embeddings

    async def _embed(self, request: ProviderRequest) -> ProviderReply:
        """One list of embeddings from as many requests as the model needs for it; the first refusal is the answer."""
        path = f"/model/{quote(request.model, safe='')}/invoke"
        bodies = encode_embeddings(request.json(), request.model)
        turns = asyncio.Semaphore(_AT_ONCE)

        async def ask(body: bytes) -> Answered:
            async with turns:
                reply = await self._invoke(request, path, body)
                try:
                    answered = Answered(dict(reply.headers), await reply.read())
                finally:
                    await reply.aclose()
                if reply.status >= 300:
                    raise _RefusedError(reply.status, answered)
                return answered

        try:
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(ask(body)) for body in bodies]
        except ExceptionGroup as errors:
            first = errors.exceptions[0]
            if not isinstance(first, _RefusedError):
                raise first from errors
            return Answer(first.answered.body, status=first.status, headers=_without_length(first.answered.headers))
        return Answer(decode_embeddings([task.result() for task in asked], request.model))


class _RefusedError(Exception):
    def __init__(self, status: int, answered: Answered) -> None:
        super().__init__(f"refused with status {status}")
        self.status = status
        self.answered = answered


def _without_length(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of an answer whose body was written anew."""
    return {name: value for name, value in headers.items() if name not in ("content-length", "transfer-encoding")}


def endpoint_of(region: str) -> str:
    """Where Bedrock's runtime is in a region."""
    return f"https://bedrock-runtime.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def region_of(name: str, region: str | None, base_url: str | None, environ: Mapping[str, str]) -> str:
    """The region of a provider, from where it is told first. Raises ValueError."""
    named = _HOST.fullmatch(urlsplit(base_url).hostname or "") if base_url else None
    found = region or (named.group(1) if named else None)
    found = found or next(filter(None, map(environ.get, REGION_VARIABLES)), None)
    if not found:
        raise ValueError(f"provider {name!r} needs a region (us-east-1, ...), or AWS_REGION in the environment")
    if not REGION.fullmatch(found):
        raise ValueError(f"provider {name!r}: the region must be one of AWS's, like us-east-1")
    return found


def found_credentials(name: str, environ: Mapping[str, str]) -> AWSCredentials:
    """Those of the environment. Raises ValueError."""
    key_id, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    if not key_id or not secret:
        raise ValueError(
            f"provider {name!r} needs an api_key, or an access_key_id and a secret_access_key; in the environment these are "
            "AWS_BEARER_TOKEN_BEDROCK, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return AWSCredentials(key_id, secret, environ.get("AWS_SESSION_TOKEN"))
