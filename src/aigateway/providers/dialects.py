"""APIs as some hosts have them: another path, another form, for what the gateway asks in one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from aigateway import _json
from aigateway.errors import UpstreamProtocolError
from aigateway.formats.embeddings.cohere import decode_cohere, encode_cohere
from aigateway.formats.embeddings.gemini import decode_gemini, encode_gemini, gemini_path
from aigateway.formats.embeddings.voyage import decode_voyage, encode_voyage
from aigateway.formats.rerank import dialects as rerank
from aigateway.providers.protocol import ProviderReply, ProviderRequest


class Dialect(msgspec.Struct, frozen=True):
    """One API in the form of one vendor.

    path    of its operation, below the base URL, or made of the model's name; None = the API's own.
    api     whose base URL and key headers count, where it is another one of the host's.
    encode  a request as the vendor reads it.
    decode  (the vendor's reply, the request) -> the reply as the API has it.
    """

    encode: Callable[[dict[str, Any]], dict[str, Any]]
    decode: Callable[[Any, dict[str, Any]], dict[str, Any]]
    path: str | Callable[[str], str] | None = None
    api: str | None = None

    def request(self, request: ProviderRequest) -> ProviderRequest:
        """The request as the vendor reads it. Raises InvalidRequestError or UnsupportedError."""
        body = _json.encode(self.encode(request.json()))
        path = self.path(request.model) if callable(self.path) else self.path or request.path
        return msgspec.structs.replace(request, body=body, path=path, api=self.api or request.api)

    def reply(self, request: ProviderRequest, reply: ProviderReply) -> ProviderReply:
        """The vendor's reply, to be read as one of the API."""
        return _Decoded(self, request, reply)


class _Decoded:
    """A whole reply that is decoded when it is read."""

    def __init__(self, dialect: Dialect, request: ProviderRequest, reply: ProviderReply) -> None:
        self.status = reply.status
        self.headers = [pair for pair in reply.headers if pair[0] != "content-length"]
        self._dialect = dialect
        self._request = request
        self._reply = reply

    async def read(self) -> bytes:
        body = await self._reply.read()
        try:
            value = _json.decode(body)
        except (_json.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamProtocolError("The upstream answered with something that is not its API's JSON.") from error
        return _json.encode(self._dialect.decode(value, self._request.json()))

    async def stream(self) -> AsyncIterator[bytes]:
        yield await self.read()

    async def aclose(self) -> None:
        await self._reply.aclose()


DIALECTS: Mapping[str, Mapping[str, Dialect]] = MappingProxyType(
    {
        "embeddings": MappingProxyType(
            {
                "cohere": Dialect(encode_cohere, decode_cohere, "/embed"),
                "gemini": Dialect(encode_gemini, decode_gemini, gemini_path, "generate_content"),
                "voyage": Dialect(encode_voyage, decode_voyage),
            }
        ),
        "rerank": MappingProxyType(
            {
                "sglang": Dialect(rerank.encode_sglang, rerank.decode_sglang),
                "texts": Dialect(rerank.encode_texts, rerank.decode_texts),
                "voyage": Dialect(rerank.encode_voyage, rerank.decode_voyage),
            }
        ),
    }
)
"""API -> dialect by name."""


def dialects_named(names: Mapping[str, str]) -> Mapping[str, Dialect]:
    """API -> its dialect, from API -> its name. Raises ValueError for one that nobody knows."""
    found: dict[str, Dialect] = {}
    for api, name in names.items():
        known = DIALECTS.get(api, {})
        if name not in known:
            raise ValueError(f"unknown dialect {name!r} of {api!r}; known: {', '.join(known) or 'none'}")
        found[api] = known[name]
    return found
