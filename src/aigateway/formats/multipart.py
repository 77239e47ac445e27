"""Multipart forms (RFC 7578) whose text fields can be read and replaced while every other byte stays as it came."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from aigateway.canonical.lens import RequestLens, TextEdit
from aigateway.errors import InvalidRequestError

_BOUNDARY = re.compile(r'boundary=(?:"([^"]+)"|([^\s;,]+))', re.IGNORECASE)
_NAME = re.compile(rb'content-disposition:[^\r\n]*?[;\s]name=(?:"([^"]*)"|([^\s;"]+))', re.IGNORECASE)
_FILENAME = re.compile(rb"[;\s]filename\*?=", re.IGNORECASE)


def boundary_of(content_type: str) -> str:
    """The boundary named in a Content-Type. Raises InvalidRequestError."""
    match = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/form-data") or match is None:
        raise InvalidRequestError(
            "This operation takes a multipart/form-data body with a boundary.", code="invalid_content_type"
        )
    return match.group(1) or match.group(2)


class _Field(msgspec.Struct):
    name: str
    is_file: bool
    start: int
    end: int


class Form:
    """The fields of a multipart body, by where they stand in it. Raises InvalidRequestError for a broken one."""

    def __init__(self, body: bytes, boundary: str) -> None:
        self.boundary = boundary
        self._body = body
        self._parts: list[_Field] = []
        self._close = -1
        self._scan(b"--" + boundary.encode("latin-1", "replace"))

    def fields(self) -> dict[str, str]:
        """The text fields: name -> value; of a repeated name the last one."""
        return {
            part.name: self._body[part.start : part.end].decode("utf-8", "replace")
            for part in self._parts
            if not part.is_file
        }

    def with_fields(self, before: Mapping[str, str], after: Mapping[str, object]) -> bytes:
        """The body with the text fields that differ from `before` replaced, added or emptied as `after` says."""
        body = self._body
        changed = {name: _text(value) for name, value in after.items() if before.get(name) != value}
        gone = before.keys() - after.keys()
        if not changed and not gone:
            return body
        pieces: list[bytes] = []
        at = 0
        for part in self._parts:
            if part.is_file or (part.name not in changed and part.name not in gone):
                continue
            pieces += [body[at : part.start], changed.get(part.name, b"")]
            at = part.end
        pieces.append(body[at : self._close])
        present = {part.name for part in self._parts if not part.is_file}
        for name in changed.keys() - present:
            head = f'--{self.boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
            pieces += [head.encode(), changed[name], b"\r\n"]
        pieces.append(body[self._close :])
        return b"".join(pieces)

    def _scan(self, delimiter: bytes) -> None:
        body = self._body
        at = body.find(delimiter)
        while at >= 0:
            after = at + len(delimiter)
            if body[after : after + 2] == b"--":
                self._close = at
                return
            line = body.find(b"\r\n", after)
            blank = body.find(b"\r\n\r\n", after)
            following = body.find(b"\r\n" + delimiter, line)
            if line < 0 or blank < 0 or following < 0 or blank > following:
                break
            self._add(body[line:blank], blank + 4, following)
            at = following + 2
        raise InvalidRequestError("The multipart body is broken: a boundary is missing.", code="invalid_multipart")

    def _add(self, head: bytes, start: int, end: int) -> None:
        name = _NAME.search(head)
        if name is not None:
            text = (name.group(1) or name.group(2) or b"").decode("utf-8", "replace")
            self._parts.append(_Field(text, _FILENAME.search(head) is not None, start, max(start, end)))


class FormRequest(RequestLens):
    """A form for hooks: `body` holds its text fields, and edits of them are written back; `texts()` is the prompt.

    Files pass through untouched and do not show in `body`.
    """

    __slots__ = ("_fields", "_form")

    def __init__(self, form: Form) -> None:
        self._form = form
        self._fields = form.fields()
        super().__init__(dict(self._fields))

    @property
    def stream(self) -> bool:
        """Whether events are asked for."""
        return str(self.body.get("stream")).lower() == "true"

    @property
    def raw(self) -> bytes:
        """The form as bytes, with all edits so far; the same bytes where nobody edited."""
        return self._form.with_fields(self._fields, self.body)

    def map_texts(self, edit: TextEdit) -> None:
        """Replace the prompt."""
        prompt = self.body.get("prompt")
        if isinstance(prompt, str):
            self.body["prompt"] = edit(prompt)

    def replace_raw(self, raw: bytes) -> None:
        """Put other bytes of the same boundary in its place."""
        self._hold(raw)
        self.body = dict(self._fields)

    def sent_with(self, name: str, value: str) -> bytes:
        """The bytes to send, with another value of one field, which `body` goes on to show as it was.

        They take the place of those held: a large form is not held twice.
        """
        raw = self._form.with_fields(self._fields, self.body | {name: value})
        self._hold(raw)
        return raw

    def _hold(self, raw: bytes) -> None:
        self._form = Form(raw, self._form.boundary)
        self._fields = self._form.fields()


def _text(value: object) -> bytes:
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return str(value).encode()
