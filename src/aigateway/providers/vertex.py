"""Vertex AI: where its operations stand. Gemini in its own API and in OpenAI's, Claude in Anthropic's.

https://cloud.google.com/vertex-ai/generative-ai/docs/learn/locations,
https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/use-claude.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import msgspec

from aigateway import _json
from aigateway.errors import InvalidRequestError, UnsupportedError
from aigateway.providers.protocol import ProviderRequest
from aigateway.providers.provider import Provider, join_base
from aigateway.providers.secret import KeySource

ANTHROPIC_VERSION = "vertex-2023-10-16"

_NAME = re.compile(r"[a-z0-9][a-z0-9.:-]*")  # of projects (also `domain.com:project`) and locations
_MULTI_REGIONS = frozenset({"us", "eu"})


class VertexProvider(Provider):
    """Models in a project of Google Cloud, at one location.

    project, location  whose and where: `us-central1`, ..., a multi-region (`us`, `eu`) or `global`.
    token     gives access tokens: `service_account_token(...)`, `metadata_token()`, or a function of yours.
    type      `vertex` for Gemini, `vertex-anthropic` for Claude.
    base_url  another host in front of the same paths; None = Google's for the location.

    The other arguments are Provider's. Raises ValueError for a project or location that cannot be one.
    """

    _embeds_contents = False

    def __init__(
        self,
        name: str,
        project: str,
        location: str,
        token: KeySource,
        *,
        type: str = "vertex",
        base_url: str | None = None,
        **settings: Any,
    ) -> None:
        for what, value in (("project", project), ("location", location)):
            if not _NAME.fullmatch(value):
                raise ValueError(f"{what} must be the name of one, not {value!r}")
        root = join_base(base_url or f"https://{host_of(location)}", "/v1")
        base = f"{root}/projects/{project}/locations/{location}"
        super().__init__(name, base, token, type=type, base_path="", **settings)

    def _key_headers(self, api: str, key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}"}

    def _located(self, request: ProviderRequest) -> ProviderRequest:
        if request.api == "messages":
            return _claude(request)
        if request.api == "generate_content":
            return msgspec.structs.replace(request, path=f"/publishers/google{request.path}")
        return _openai(request)


def host_of(location: str) -> str:
    """The host that serves a location."""
    if location == "global":
        return "aiplatform.googleapis.com"
    if location in _MULTI_REGIONS:
        return f"aiplatform.{location}.rep.googleapis.com"
    return f"{location}-aiplatform.googleapis.com"


def _claude(request: ProviderRequest) -> ProviderRequest:
    """The model stands in the path and the version in the body; counting tokens keeps the model where it was."""
    if request.path == "/messages":
        verb = "streamRawPredict" if request.stream else "rawPredict"
        body = _json.decode_object(request.body)
        body.pop("model", None)
        path = f"/publishers/anthropic/models/{_segment(request.model)}:{verb}"
        return msgspec.structs.replace(
            request, path=path, body=_json.encode({"anthropic_version": ANTHROPIC_VERSION} | body)
        )
    if request.path == "/messages/count_tokens":
        return msgspec.structs.replace(request, path="/publishers/anthropic/models/count-tokens:rawPredict")
    raise UnsupportedError("Vertex AI has no such operation of Anthropic's API.", code="unsupported_api")


def _openai(request: ProviderRequest) -> ProviderRequest:
    """OpenAI's API names a model with its publisher, which is Google where nobody says another."""
    body = request.body
    if request.model and "/" not in request.model:
        body = _json.replace_top_level(body, f"google/{request.model}", "model")
    return msgspec.structs.replace(request, path=f"/endpoints/openapi{request.path}", body=body)


def _segment(model: str) -> str:
    if model in ("", ".", "..") or "/" in model or "\\" in model:
        raise InvalidRequestError(
            "A model's name on Vertex AI must not be empty, nor have a slash in it.", param="model"
        )
    return quote(model, safe="@")
