"""Google's API below `/v1beta`: what https://ai.google.dev/api has of models. Its generating half stands below `/v1` too."""

from __future__ import annotations

from typing import Any

from aigateway.surface.operation import Operation

_MODEL = "/models/{model}"


def _post(name: str, verb: str, version: str, **more: Any) -> Operation:
    """A method of a model."""
    suffix = "" if version == "/v1beta" else ".v1"
    return Operation(
        f"{name}{suffix}", "generate_content", f"{_MODEL}:{verb}", model="{model}", version=version, **more
    )


def _served(name: str, path: str) -> Operation:
    model = "{model}" if "{model}" in path else ""
    return Operation(name, "generate_content", path, "GET", "none", kind="served", model=model, version="/v1beta")


ROWS: tuple[Operation, ...] = (
    *(
        row
        for version in ("/v1beta", "/v1")
        for row in (
            _post("generate_content", "generateContent", version, kind="generate", counts=True),
            _post(
                "generate_content.stream",
                "streamGenerateContent",
                version,
                kind="generate",
                streams=True,
                counts=True,
            ),
            _post("generate_content.count_tokens", "countTokens", version, kind="count"),
            _post("generate_content.embed", "embedContent", version, kind="embed", counts=True),
            _post("generate_content.embed_batch", "batchEmbedContents", version, kind="embed", counts=True),
        )
    ),
    _served("generate_content.models", "/models"),
    _served("generate_content.models.retrieve", "/models/{model}"),
)
