"""Embeddings as Google's API has them (embedContent, batchEmbedContents), to and from OpenAI's form.

https://ai.google.dev/api/embeddings. Only texts have a place on both sides.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from aigateway.canonical.types import Change
from aigateway.errors import InvalidRequestError, UnsupportedError, UpstreamProtocolError
from aigateway.formats.embeddings.encoding import decode_base64

Object = dict[str, Any]

_OWN = {"task_type": "taskType", "taskType": "taskType", "title": "title"}
"""What a caller of OpenAI's API may add that only Google reads."""
_LACKING = ("taskType", "task_type", "title")
"""What OpenAI's API has no place for."""


# OpenAI's callers at Google


def encode_gemini(body: Object) -> Object:
    """A request in OpenAI's form as Google reads it. Raises UnsupportedError for tokens, which it does not take."""
    source = body.get("input")
    texts = [source] if isinstance(source, str) else source
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UnsupportedError(
            "Gemini embeds texts: send a string or an array of strings.", param="input", code="unsupported_content"
        )
    more = {there: body[here] for here, there in _OWN.items() if body.get(here) is not None}
    if body.get("dimensions") is not None:
        more["outputDimensionality"] = body["dimensions"]
    model = f"models/{body.get('model')}"
    return {"requests": [{"model": model, "content": {"parts": [{"text": text}]}, **more} for text in texts]}


def gemini_path(model: str) -> str:
    """Where many texts are embedded."""
    return f"/models/{quote(model, safe='')}:batchEmbedContents"


def decode_gemini(reply: Any, body: Object) -> Object:
    """Google's reply in OpenAI's form. Raises UpstreamProtocolError for what has no vectors."""
    rows = reply.get("embeddings") if isinstance(reply, dict) else None
    vectors = [row.get("values") if isinstance(row, dict) else None for row in rows] if isinstance(rows, list) else []
    if not isinstance(rows, list) or not all(isinstance(vector, list) for vector in vectors):
        raise UpstreamProtocolError("The upstream sent no list of embeddings.")
    usage = reply.get("usageMetadata")
    told = usage.get("promptTokenCount") if isinstance(usage, dict) else None
    spent = told if type(told) is int and told > 0 else 0
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(vectors)],
        "model": body.get("model"),
        "usage": {"prompt_tokens": spent, "total_tokens": spent},
    }


# Google's callers at a host of OpenAI's form


def decode_contents(body: Object, model: str, changes: list[Change]) -> Object:
    """A request of embedContent or batchEmbedContents in OpenAI's form.

    Raises InvalidRequestError for what is none, UnsupportedError for what is no text, and where the requests of a batch
    want vectors of different lengths. What OpenAI's API has no place for is listed in `changes`.
    """
    requests = body.get("requests")
    is_batch = isinstance(requests, list)
    entries: list[tuple[str, Any]] = [("", body)]
    if isinstance(requests, list):
        entries = [(f"requests[{number}].", entry) for number, entry in enumerate(requests)]
        if not entries:
            raise InvalidRequestError("requests must be an array of at least one request.", param="requests")
    texts: list[str] = []
    lengths: list[Any] = []
    for place, entry in entries:
        if not isinstance(entry, dict):
            raise InvalidRequestError(f"{place[:-1]} must be an object.", param=place[:-1])
        texts.append(_text(entry.get("content"), f"{place}content"))
        lengths.append(entry.get("outputDimensionality", entry.get("output_dimensionality")))
        for key in _LACKING:
            if key in entry and all(change.field != key for change in changes):
                reason = "Only Google's API says what a vector is for."
                changes.append(Change(field=key, action="dropped", reason=reason))
    if any(length != lengths[0] for length in lengths):
        raise UnsupportedError(
            "The provider of this model gives all vectors of a batch one length: let outputDimensionality agree.",
            param="requests",
        )
    length = lengths[0]
    sent = {"model": model, "input": texts if is_batch else texts[0]}
    return sent if length is None else sent | {"dimensions": length}


def _text(content: Any, place: str) -> str:
    parts = content.get("parts") if isinstance(content, dict) else None
    parts = [parts] if isinstance(parts, dict) else parts
    if not isinstance(parts, list) or not parts:
        raise InvalidRequestError(f"{place}.parts must be an array of at least one part.", param=f"{place}.parts")
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    told = [text for text in texts if isinstance(text, str)]
    if len(told) < len(texts):
        raise UnsupportedError(
            "The provider of this model embeds texts only.", param=f"{place}.parts", code="unsupported_content"
        )
    return "\n".join(told)


def encode_vectors(reply: Any, *, batch: bool) -> Object:
    """A reply in OpenAI's form as Google gives it. Raises UpstreamProtocolError for what has no vectors."""
    data = reply.get("data") if isinstance(reply, dict) else None
    rows = [row.get("embedding") if isinstance(row, dict) else None for row in data] if isinstance(data, list) else []
    vectors = [{"values": decode_base64(row) if isinstance(row, str) else row} for row in rows]
    if not vectors or not all(isinstance(vector["values"], list) for vector in vectors):
        raise UpstreamProtocolError("The upstream sent no list of embeddings.")
    return {"embeddings": vectors} if batch else {"embedding": vectors[0]}
