"""`groundingMetadata` and `citationMetadata` as citations of web pages, both ways.

The host counts bytes of UTF-8 within one part; the canonical form counts characters of a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from aigateway.canonical.types import Annotation, Opaque, Text, UrlCitation
from aigateway.formats.generate_content.wire import FORMAT, camel, objects, word


def decode_citations(candidate: dict[str, Any], text: str) -> list[Annotation]:
    """What a candidate cites for a text, in the order it is told, each once. Sources that are no web pages are Opaque."""
    found: list[Annotation] = []
    for citation in (*_grounded(candidate, text), *_recited(candidate, text)):
        if citation not in found:
            found.append(citation)
    return found


def has_citations(candidate: dict[str, Any]) -> bool:
    """Whether a candidate tells of any sources."""
    return isinstance(candidate.get("groundingMetadata"), dict) or isinstance(candidate.get("citationMetadata"), dict)


def _grounded(candidate: dict[str, Any], text: str) -> Iterator[Annotation]:
    raw = candidate.get("groundingMetadata")
    told = camel(raw) if isinstance(raw, dict) else {}
    chunks = objects(told.get("groundingChunks"))
    for support in objects(told.get("groundingSupports")):
        segment = support.get("segment")
        span = _span(camel(segment), text) if isinstance(segment, dict) else None
        numbers = support.get("groundingChunkIndices")
        for number in numbers if isinstance(numbers, list) else ():
            if span and isinstance(number, int) and 0 <= number < len(chunks):
                yield from _source(chunks[number], span)


def _source(chunk: dict[str, Any], span: tuple[int, int]) -> Iterator[Annotation]:
    for kind, held in chunk.items():
        page = camel(held) if isinstance(held, dict) else {}
        url = word(page.get("uri")) or word(page.get("sourceUri"))
        if (kind == "web" and url) or url.startswith(("http://", "https://")):
            yield UrlCitation(url=url, title=word(page.get("title")), start_index=span[0], end_index=span[1])
        elif page and kind != "web":
            yield Opaque(format=FORMAT, raw={"type": kind, kind: held, "start": span[0], "end": span[1]})


def _recited(candidate: dict[str, Any], text: str) -> Iterator[UrlCitation]:
    raw = candidate.get("citationMetadata")
    told = camel(raw) if isinstance(raw, dict) else {}
    for source in objects(told.get("citationSources") or told.get("citations")):
        span = _span(source, text)
        if span and word(source.get("uri")):
            yield UrlCitation(
                url=source["uri"], title=word(source.get("title")), start_index=span[0], end_index=span[1]
            )


def _span(segment: dict[str, Any], text: str) -> tuple[int, int] | None:
    """Where a segment stands, in characters; by its words where its numbers are those of another part."""
    raw, start, end = text.encode("utf-8", "replace"), segment.get("startIndex", 0), segment.get("endIndex", 0)
    words = word(segment.get("text"))
    if isinstance(start, int) and isinstance(end, int) and 0 <= start <= end <= len(raw):
        said = raw[start:end].decode("utf-8", "ignore")
        if not words or said == words:
            before = len(raw[:start].decode("utf-8", "ignore"))
            return before, before + len(said)
    at = text.find(words) if words else -1
    return (at, at + len(words)) if at >= 0 else None


class Citations:
    """The citations of one candidate as it is written, text by text.

    The segments of a stream count from the beginning of all its text, those of a whole reply from that of their part.
    """

    def __init__(self) -> None:
        self._chunks: list[dict[str, Any]] = []
        self._supports: list[dict[str, Any]] = []
        self._written = 0

    def add(self, text: Text, part: int | None = None) -> None:
        """Those of a text, which is the part of this number; without one it follows the last."""
        for annotation in text.annotations:
            if isinstance(annotation, UrlCitation):
                span = annotation.start_index, annotation.end_index
                self._add({"web": _page(annotation.url, annotation.title)}, span, text.text, part)
            elif annotation.format == FORMAT:
                raw = annotation.raw
                self._add({raw["type"]: raw[raw["type"]]}, (raw["start"], raw["end"]), text.text, part)
        self.pass_over(text.text)

    def pass_over(self, text: str) -> None:
        """A text that cites nothing."""
        self._written += len(text.encode("utf-8", "replace"))

    def _add(self, chunk: dict[str, Any], span: tuple[int, int], text: str, part: int | None) -> None:
        if chunk not in self._chunks:
            self._chunks.append(chunk)
        said = text[span[0] : span[1]]
        start = len(text[: span[0]].encode("utf-8", "replace")) + (self._written if part is None else 0)
        segment: dict[str, Any] = {"endIndex": start + len(said.encode("utf-8", "replace")), "text": said}
        if start:
            segment = {"startIndex": start, **segment}
        if part:
            segment = {"partIndex": part, **segment}
        self._supports.append({"segment": segment, "groundingChunkIndices": [self._chunks.index(chunk)]})

    def encoded(self) -> dict[str, Any]:
        """What stands in the candidate; nothing where nothing was cited."""
        if not self._chunks:
            return {}
        return {"groundingMetadata": {"groundingChunks": self._chunks, "groundingSupports": self._supports}}


def _page(url: str, title: str) -> dict[str, Any]:
    return {"uri": url, "title": title} if title else {"uri": url}


def cited(texts: Iterable[tuple[int, Text]]) -> dict[str, Any]:
    """What the texts of a whole reply cite, each with the number of its part."""
    citations = Citations()
    for part, text in texts:
        citations.add(text, part)
    return citations.encoded()
