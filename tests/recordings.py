"""Real exchanges with real providers: the telling ones kept in the project, all of them where ../shared is at hand.

One exchange is one JSON object: case, url, request, status, headers, and `json` or `body` (raw text).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

Object = dict[str, Any]

FIXTURES = Path(__file__).parent / "fixtures" / "recordings"
SHARED = Path(__file__).parents[2] / "shared" / "recordings"

_APIS: Mapping[str, str] = {"/chat/completions": "chat", "/responses": "responses"}


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange.

    name   the fixture's, or the file and line of the shared recordings.
    whole  the reply where it was one JSON document; text: the raw reply where it was not.
    """

    name: str
    api: str
    request: Object
    status: int
    content_type: str
    whole: Object | None
    text: str

    @property
    def streamed(self) -> bool:
        """Whether the reply is a stream."""
        return self.whole is None and self.content_type.startswith("text/event-stream")

    @property
    def model(self) -> str:
        """The name that the upstream knew."""
        name: str = self.request["model"]
        return name

    def body(self) -> bytes:
        """The reply as bytes."""
        if self.whole is None:
            return self.text.encode()
        return json.dumps(self.whole, ensure_ascii=False, separators=(",", ":")).encode()

    def events(self) -> list[Object]:
        """The JSON events of a streamed reply."""
        lines = [line.removeprefix("data:").strip() for line in self.text.splitlines() if line.startswith("data:")]
        return [json.loads(line) for line in lines if line != "[DONE]"]


@cache
def recordings() -> tuple[Recording, ...]:
    """Every chat- and responses-shaped exchange: the project's own, then the shared ones."""
    return (*_own(), *_shared())


def _own() -> Iterator[Recording]:
    for path in sorted(FIXTURES.glob("*.json")):
        found = _read(path.stem, json.loads(path.read_text("utf-8")))
        assert found is not None, path
        yield found


def _shared() -> Iterator[Recording]:
    for path in sorted(SHARED.glob("*.jsonl")):
        for number, line in enumerate(path.read_text("utf-8").splitlines()):
            found = _read(f"{path.stem}-{number}", json.loads(line))
            if found is not None:
                yield found


def _read(name: str, raw: Object) -> Recording | None:
    path = raw["url"].split("?")[0]
    api = next((api for end, api in _APIS.items() if path.endswith(end)), None)
    if api is None:
        return None
    return Recording(
        name=name,
        api=api,
        request=raw["request"],
        status=raw["status"],
        content_type=raw["headers"].get("content-type", ""),
        whole=raw.get("json"),
        text=raw.get("body") or "",
    )
