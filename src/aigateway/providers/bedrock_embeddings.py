"""OpenAI's embeddings as the models of Amazon and Cohere on Bedrock want them asked (InvokeModel), and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from aigateway import _json
from aigateway.errors import InvalidRequestError, UnsupportedError, UpstreamProtocolError

_COHERE_TEXTS: Final = 96
_TOKENS_HEADER: Final = "x-amzn-bedrock-input-token-count"

Object = dict[str, Any]


class Answered(NamedTuple):
    """One answer of InvokeModel."""

    headers: Mapping[str, str]
    body: bytes


class _Family(NamedTuple):
    """How a family of models is asked. Several bodies are several requests."""

    encode: Callable[[str, Sequence[str], Object], list[Object]]
    vectors: Callable[[Object], list[Any]]


def encode_embeddings(body: Object, model: str) -> list[bytes]:
    """The bodies to send for one request. Raises UnsupportedError and InvalidRequestError."""
    family = _family_of(model)
    return [_json.encode(one) for one in family.encode(model, _texts(body), body)]


def decode_embeddings(answers: Sequence[Answered], model: str) -> bytes:
    """OpenAI's list of embeddings. Raises UpstreamProtocolError."""
    family = _family_of(model)
    vectors: list[Any] = []
    tokens = 0
    for answer in answers:
        try:
            value = _json.decode(answer.body)
            vectors += family.vectors(value)
        except (_json.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError) as error:
            raise UpstreamProtocolError("The upstream sent no embeddings.") from error
        tokens += _tokens(answer.headers, value)
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _json.encode({"object": "list", "data": data, "model": model, "usage": usage})


def _family_of(model: str) -> _Family:
    for mark, family in _FAMILIES.items():
        if mark in model:
            return family
    raise UnsupportedError(
        f"The gateway does not know how model '{model}' makes embeddings on Bedrock. It knows those whose id or ARN "
        f"holds one of: {', '.join(_FAMILIES)}.",
        param="model",
    )


def _texts(body: Object) -> list[str]:
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise InvalidRequestError(
            "This model is served by Bedrock, which takes texts: send `input` as a string or a list of strings, no tokens.",
            param="input",
        )
    return texts


def _tokens(headers: Mapping[str, str], value: Object) -> int:
    told = value.get("inputTextTokenCount")
    if isinstance(told, int):
        return told
    counted = headers.get(_TOKENS_HEADER, "")
    return int(counted) if counted.isascii() and counted.isdigit() else 0


def _no_dimensions(body: Object) -> None:
    if body.get("dimensions") is not None:
        raise UnsupportedError("This model has vectors of one length only: leave out `dimensions`.", param="dimensions")


def _titan_2(_: str, texts: Sequence[str], body: Object) -> list[Object]:
    more = {key: body[key] for key in ("dimensions", "normalize") if body.get(key) is not None}
    return [{"inputText": text, **more} for text in texts]


def _titan_1(_: str, texts: Sequence[str], body: Object) -> list[Object]:
    _no_dimensions(body)
    return [{"inputText": text} for text in texts]


def _titan_image(_: str, texts: Sequence[str], body: Object) -> list[Object]:
    length = body.get("dimensions")
    more = {} if length is None else {"embeddingConfig": {"outputEmbeddingLength": length}}
    return [{"inputText": text, **more} for text in texts]


def _cohere(model: str, texts: Sequence[str], body: Object) -> list[Object]:
    more: Object = {"input_type": body.get("input_type") or "search_document"}
    if body.get("truncate") is not None:
        more["truncate"] = body["truncate"]
    if "embed-v4" not in model:
        _no_dimensions(body)
    elif body.get("dimensions") is not None:
        more["output_dimension"] = body["dimensions"]
    starts = range(0, len(texts), _COHERE_TEXTS)
    return [{"texts": list(texts[start : start + _COHERE_TEXTS]), **more} for start in starts]


def _titan_vectors(value: Object) -> list[Any]:
    return [value["embedding"]]


def _cohere_vectors(value: Object) -> list[Any]:
    found = value["embeddings"]
    return list(found["float"] if isinstance(found, dict) else found)


_FAMILIES: Final[Mapping[str, _Family]] = {
    "amazon.titan-embed-text-v2": _Family(_titan_2, _titan_vectors),
    "amazon.titan-embed-image": _Family(_titan_image, _titan_vectors),
    "amazon.titan-embed": _Family(_titan_1, _titan_vectors),
    "cohere.embed": _Family(_cohere, _cohere_vectors),
}
"""By what stands in the id or the ARN of a model; the first one that fits."""
