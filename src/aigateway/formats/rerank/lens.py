"""Rerank for hooks."""

from __future__ import annotations

from typing import Any

from aigateway.canonical.lens import ReplyLens, RequestLens, TextEdit
from aigateway.canonical.types import Usage


def rerank_usage(raw: Any) -> Usage | None:
    """The tokens that a usage object tells of, all of them read by the model; None where it is none."""
    if not isinstance(raw, dict):
        return None
    counts = (raw.get(name) for name in ("prompt_tokens", "input_tokens", "total_tokens"))
    spent = next((count for count in counts if type(count) is int and count > 0), None)
    return None if spent is None else Usage(input_tokens=spent, total_tokens=spent)


class RerankRequest(RequestLens):
    """`texts()` are the query and then the documents; of documents that are objects, their `text`."""

    __slots__ = ()

    def map_texts(self, edit: TextEdit) -> None:
        """Replace the query and each document."""
        body = self.body
        if isinstance(body.get("query"), str):
            body["query"] = edit(body["query"])
        if isinstance(body.get("documents"), list):
            body["documents"] = [_edited(document, edit) for document in body["documents"]]


class RerankReply(ReplyLens):
    """`texts()` are the documents that came back, best first."""

    __slots__ = ()

    def map_texts(self, edit: TextEdit) -> None:
        """Replace each document."""
        results = self.body.get("results")
        for result in results if isinstance(results, list) else ():
            if isinstance(result, dict) and "document" in result:
                result["document"] = _edited(result["document"], edit)

    @property
    def usage(self) -> Usage | None:
        """The tokens read, where the host tells them."""
        return rerank_usage(self.body.get("usage"))


def _edited(document: Any, edit: TextEdit) -> Any:
    if isinstance(document, str):
        return edit(document)
    if isinstance(document, dict) and isinstance(document.get("text"), str):
        document["text"] = edit(document["text"])
    return document
