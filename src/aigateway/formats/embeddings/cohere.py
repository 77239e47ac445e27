"""Embeddings as Cohere's v2 API has them: https://docs.cohere.com/reference/embed."""

from __future__ import annotations

from typing import Any

from aigateway.errors import UnsupportedError, UpstreamProtocolError

DEFAULT_INPUT_TYPE = "search_document"

_OURS = frozenset({"model", "input", "dimensions", "encoding_format", "user"})
"""What Cohere has under another name, or not: `encoding_format` is made here, `user` told to nobody."""

_FLOATS: tuple[Any, ...] = (None, [], ["float"])


def encode_cohere(body: dict[str, Any]) -> dict[str, Any]:
    """A request in OpenAI's form as Cohere reads it; what a caller adds goes on as it is, for only Cohere knows it.

    Raises UnsupportedError for tokens, which it does not take, and for other vectors than of numbers. What vectors are for (`input_type`) OpenAI's form does not say: it is that of documents unless the caller adds it.
    """
    source = body.get("input")
    texts = [source] if isinstance(source, str) else source
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UnsupportedError(
            "Cohere embeds texts: send a string or an array of strings.", param="input", code="unsupported_content"
        )
    if body.get("embedding_types") not in _FLOATS:
        raise UnsupportedError(
            "Vectors come as numbers, or as `encoding_format: base64`: leave `embedding_types` out.",
            param="embedding_types",
        )
    sent = {name: value for name, value in body.items() if name not in _OURS and value is not None}
    sent.setdefault("input_type", DEFAULT_INPUT_TYPE)
    if body.get("dimensions") is not None:
        sent["output_dimension"] = body["dimensions"]
    return {"model": body.get("model"), "texts": texts, **sent, "embedding_types": ["float"]}


def decode_cohere(reply: Any, body: dict[str, Any]) -> dict[str, Any]:
    """Cohere's reply in OpenAI's form, with its own `id` and `meta`. Raises UpstreamProtocolError for what has no vectors."""
    vectors = reply.get("embeddings") if isinstance(reply, dict) else None
    rows = vectors.get("float") if isinstance(vectors, dict) else None
    if not isinstance(rows, list):
        raise UpstreamProtocolError("The upstream sent no list of embeddings.")
    spent = _tokens(reply.get("meta"))
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)],
        "model": body.get("model"),
        "usage": {"prompt_tokens": spent, "total_tokens": spent},
        **{name: reply[name] for name in ("id", "meta") if reply.get(name) is not None},
    }


def _tokens(meta: Any) -> int:
    for place in ("tokens", "billed_units"):
        counts = meta.get(place) if isinstance(meta, dict) else None
        count = counts.get("input_tokens") if isinstance(counts, dict) else None
        if isinstance(count, int | float):
            return int(count)
    return 0
