"""Embeddings as Voyage has them: https://docs.voyageai.com/reference/embeddings-api."""

from __future__ import annotations

from typing import Any

from aigateway.errors import UpstreamProtocolError

_OPENAI_ONLY = frozenset({"dimensions", "encoding_format", "user"})


def encode_voyage(body: dict[str, Any]) -> dict[str, Any]:
    """A request in OpenAI's form as Voyage reads it: vectors come as numbers, whatever encoding the caller wants."""
    sent = {name: value for name, value in body.items() if name not in _OPENAI_ONLY}
    if body.get("dimensions") is not None:
        sent["output_dimension"] = body["dimensions"]
    return sent


def decode_voyage(reply: Any, _: dict[str, Any]) -> dict[str, Any]:
    """Voyage's reply in OpenAI's form: its usage is the total alone."""
    if not isinstance(reply, dict):
        raise UpstreamProtocolError("The upstream sent no list of embeddings.")
    usage = reply.get("usage")
    if isinstance(usage, dict) and "prompt_tokens" not in usage and "total_tokens" in usage:
        reply["usage"] = {"prompt_tokens": usage["total_tokens"]} | usage
    return reply
