"""Rerank at hosts that have it in a form of their own: requests as they read them, replies as everybody else gives them.

Cohere v2: https://docs.cohere.com/reference/rerank. Voyage: https://docs.voyageai.com/reference/reranker-api.
llama.cpp: tools/server/README.md. SGLang: https://docs.sglang.io/docs/supported-models/rerank_models.
"""

from __future__ import annotations

from typing import Any

from aigateway.errors import InvalidRequestError, UpstreamProtocolError


def encode_texts(body: dict[str, Any]) -> dict[str, Any]:
    """For hosts that take documents as texts only and never give them back (Cohere v2, llama.cpp)."""
    sent = {name: value for name, value in body.items() if name != "return_documents"}
    return sent | {"documents": _texts(body)}


def decode_texts(reply: Any, body: dict[str, Any]) -> dict[str, Any]:
    """Their reply with the documents of the request, where these were asked for."""
    answer = _object(reply)
    return answer | {"results": _results(answer.get("results"), body, "relevance_score")}


def encode_voyage(body: dict[str, Any]) -> dict[str, Any]:
    """For Voyage: `top_k`, and documents as texts."""
    sent = {name: value for name, value in body.items() if name != "top_n"}
    if body.get("top_n") is not None:
        sent["top_k"] = body["top_n"]
    return sent | {"documents": _texts(body)}


def decode_voyage(reply: Any, body: dict[str, Any]) -> dict[str, Any]:
    """Its reply, whose results are called `data`."""
    answer = _object(reply)
    rest = {name: value for name, value in answer.items() if name != "data"}
    return rest | {"results": _results(answer.get("data"), body, "relevance_score")}


def encode_sglang(body: dict[str, Any]) -> dict[str, Any]:
    """For SGLang: documents as texts."""
    return body | {"documents": _texts(body)}


def decode_sglang(reply: Any, body: dict[str, Any]) -> dict[str, Any]:
    """Its reply, a bare array with a `score` each, which may be in any order and longer than was asked for."""
    results = sorted(
        _results(reply, body, "score"), key=lambda result: _number(result["relevance_score"]), reverse=True
    )
    most = body.get("top_n")
    return {
        "object": "list",
        "model": body.get("model"),
        "results": results[:most] if isinstance(most, int) and most > 0 else results,
    }


def _results(given: Any, body: dict[str, Any], score: str) -> list[dict[str, Any]]:
    if not isinstance(given, list):
        raise UpstreamProtocolError("The upstream sent no list of results.")
    documents = body["documents"] if body.get("return_documents") is True and _texts(body) else None
    results = []
    for entry in given:
        if not isinstance(entry, dict) or type(entry.get("index")) is not int or score not in entry:
            raise UpstreamProtocolError("The upstream sent a result without its index or its score.")
        more = {name: value for name, value in entry.items() if name not in ("index", score, "document")}
        result: dict[str, Any] = {"index": entry["index"], "relevance_score": entry[score], **more}
        if documents is not None:
            if not 0 <= entry["index"] < len(documents):
                raise UpstreamProtocolError("The upstream sent a result for a document that it was not given.")
            document = documents[entry["index"]]
            result["document"] = document if isinstance(document, dict) else {"text": document}
        results.append(result)
    return results


def _number(score: Any) -> float:
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise UpstreamProtocolError("The upstream sent a score that is no number.")
    return score


def _object(reply: Any) -> dict[str, Any]:
    if not isinstance(reply, dict):
        raise UpstreamProtocolError("The upstream sent something that is no reply of rerank.")
    return reply


def _texts(body: dict[str, Any]) -> list[str]:
    """The documents as texts. Raises InvalidRequestError naming the one at fault."""
    documents = body.get("documents")
    if not isinstance(documents, list):
        raise InvalidRequestError(
            "Missing required parameter: documents is required. Send an array of texts.",
            param="documents",
            code="missing_required_parameter",
        )
    return [_text(document, number) for number, document in enumerate(documents)]


def _text(document: Any, number: int) -> str:
    text = document.get("text") if isinstance(document, dict) else document
    if not isinstance(text, str):
        place = f"documents[{number}]"
        raise InvalidRequestError(
            f"Invalid '{place}': this model's provider reads texts; send a string, or an object with a `text`.",
            param=place,
            code="invalid_type",
        )
    return text
