"""What hooks read and edit: the caller's own body, reply and events, decoded only when touched, without loss.

Each format has its lenses, which read the same for every API. A body that was read and not changed is still sent byte
for byte as it came.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aigateway import _json
from aigateway.canonical.types import Usage
from aigateway.errors import UpstreamProtocolError

TextEdit = Callable[[str], str]


class Document:
    """A JSON object that stays bytes until somebody looks, and gives back the same bytes unless somebody edits."""

    __slots__ = ("_body", "_raw", "_seen")

    def __init__(self, raw: bytes | dict[str, Any]) -> None:
        if isinstance(raw, bytes):
            self._raw: bytes | None = raw
            self._body: dict[str, Any] | None = None
        else:
            self._raw = None
            self._body = raw
        self._seen = b""

    @property
    def body(self) -> dict[str, Any]:
        """The raw object. Edits of it count."""
        if self._body is None:
            self._body = self._decoded(self._raw or b"")
            self._seen = _json.encode(self._body)
        return self._body

    @body.setter
    def body(self, value: dict[str, Any]) -> None:
        self._body = value
        self._raw = None

    @property
    def raw(self) -> bytes:
        """The object as bytes, with all edits so far."""
        if self._body is None:
            return self._raw or b""
        encoded = _json.encode(self._body)
        if self._raw is not None and encoded == self._seen:
            return self._raw
        return encoded

    @property
    def touched(self) -> bool:
        """Whether anybody has looked inside."""
        return self._body is not None

    def snapshot(self) -> dict[str, Any]:
        """The object with all edits so far, for who only reads: cheaper than `body`, and no look that counts."""
        return self._body if self._body is not None else self._decoded(self._raw or b"")

    @staticmethod
    def _decoded(raw: bytes) -> dict[str, Any]:
        return _json.decode_object(raw)

    def replace_raw(self, raw: bytes) -> None:
        """Put other bytes in its place."""
        self._raw = raw
        self._body = None


class RequestLens(Document):
    """A request in the caller's format.

    Subclasses answer for their format: `instructions` (the system prompt, "" if none; settable), `texts()` (every text
    that the caller sends for the model to read, in order), `map_texts(edit)` (each of them replaced by what `edit`
    gives), `tools` (the raw list; settable), `max_output_tokens` (None = no limit; settable).
    """

    __slots__ = ()

    @property
    def model(self) -> str:
        """The model asked for."""
        value = self.body.get("model")
        return value if isinstance(value, str) else ""

    @model.setter
    def model(self, value: str) -> None:
        self.body["model"] = value

    @property
    def stream(self) -> bool:
        """Whether events are asked for."""
        return self.body.get("stream") is True

    @property
    def instructions(self) -> str:
        """The system prompt; "" where the API has none."""
        return ""

    @instructions.setter
    def instructions(self, value: str) -> None:
        raise AttributeError("this API has no instructions")

    def texts(self) -> list[str]:
        """Every text for the model to read, in order."""
        found: list[str] = []

        def note(text: str) -> str:
            found.append(text)
            return text

        self.map_texts(note)
        return found

    def map_texts(self, edit: TextEdit) -> None:
        """Replace each text by what `edit` gives."""

    @property
    def tools(self) -> list[dict[str, Any]]:
        """The tools, raw."""
        tools = self.body.get("tools")
        return tools if isinstance(tools, list) else []

    @tools.setter
    def tools(self, value: list[dict[str, Any]]) -> None:
        self.body["tools"] = value

    @property
    def max_output_tokens(self) -> int | None:
        """The limit on generated tokens."""
        return None

    @max_output_tokens.setter
    def max_output_tokens(self, value: int) -> None:
        raise AttributeError("this API has no max_output_tokens")


class _UpstreamDocument(Document):
    """What an upstream sent: where it is no JSON object, that is the upstream's fault."""

    __slots__ = ()

    @staticmethod
    def _decoded(raw: bytes) -> dict[str, Any]:
        try:
            value = _json.decode(raw)
        except (_json.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamProtocolError("The upstream sent something that is not JSON.") from error
        if not isinstance(value, dict):
            raise UpstreamProtocolError("The upstream sent something that is not a JSON object.")
        return value


class ReplyLens(_UpstreamDocument):
    """A whole reply in the caller's format: `texts()`, `map_texts(edit)`, `usage`, `finish_reason`, `body`."""

    __slots__ = ()

    @property
    def model(self) -> str:
        """The model named in the reply."""
        value = self.body.get("model")
        return value if isinstance(value, str) else ""

    def texts(self) -> list[str]:
        """Every text that the model wrote for the user, in order."""
        found: list[str] = []

        def note(text: str) -> str:
            found.append(text)
            return text

        self.map_texts(note)
        return found

    def map_texts(self, edit: TextEdit) -> None:
        """Replace each text by what `edit` gives."""

    @property
    def usage(self) -> Usage | None:
        """The tokens, None where the reply does not say."""
        return None

    @property
    def finish_reason(self) -> str | None:
        """stop, length, tool_calls, content_filter; None where the API has none."""
        return None


class EventLens(_UpstreamDocument):
    """One streamed event in the caller's format: `type`, `text` (settable), `usage`, `data` (the raw object)."""

    __slots__ = ("name",)

    def __init__(self, raw: bytes | dict[str, Any], name: str = "") -> None:
        super().__init__(raw)
        self.name = name

    @property
    def data(self) -> dict[str, Any]:
        """The raw object. Edits of it count."""
        return self.body

    @data.setter
    def data(self, value: dict[str, Any]) -> None:
        self.body = value

    @property
    def type(self) -> str:
        """What kind of event this is, in the API's own words."""
        value = self.body.get("type")
        return value if isinstance(value, str) else self.name

    @property
    def text(self) -> str:
        """The answer text that this event adds; "" where it adds none."""
        return ""

    @text.setter
    def text(self, value: str) -> None:
        raise AttributeError("this event carries no text")

    def map_texts(self, edit: TextEdit) -> None:
        """Replace each text for the user that this event carries: the delta, and the whole texts of closing events."""
        if self.text:
            self.text = edit(self.text)

    @property
    def usage(self) -> Usage | None:
        """The tokens, on the event that tells them."""
        return None
