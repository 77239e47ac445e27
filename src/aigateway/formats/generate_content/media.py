"""Images, files and audio: `inlineData` and `fileData`, both ways."""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec import UNSET, UnsetType

from aigateway.canonical.types import Audio, File, Image, Opaque, Part
from aigateway.formats.generate_content.wire import FORMAT, camel, kept, own, word

_DATA_URL: Final = re.compile(r"data:([^;,]*)[^,]*;base64,(.*)", re.DOTALL)
_URL_SAFE: Final = str.maketrans("-_", "+/")
_GOOGLES: Final = ("gs://", "https://generativelanguage.googleapis.com/", "files/")
_AUDIO: Final = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mp3": "mp3", "audio/mpeg": "mp3"}
_TYPES: Final = {
    "pdf": "application/pdf",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "mp3": "audio/mp3",
    "wav": "audio/wav",
    "mp4": "video/mp4",
}
_KEYS: Final = frozenset({"inlineData", "fileData"})


def decode_media(part: dict[str, Any]) -> Part:
    """A part (in camelCase) that holds `inlineData` or `fileData`."""
    extra = {key: value for key, value in part.items() if key not in _KEYS}
    if isinstance(part.get("inlineData"), dict):
        return _blob(camel(part["inlineData"]), extra)
    if isinstance(part.get("fileData"), dict):
        return _file(camel(part["fileData"]), extra)
    return Opaque(format=FORMAT, raw=part)


def _blob(raw: dict[str, Any], extra: dict[str, Any]) -> Part:
    mime, data = word(raw.get("mimeType")), word(raw.get("data")).translate(_URL_SAFE)
    url = f"data:{mime or 'application/octet-stream'};base64,{data}"
    name = _name_of(raw)
    named = extra if name is UNSET else {**extra, "displayName": name}
    if mime in _AUDIO:
        return Audio(data=data, format=_AUDIO[mime], extra=kept(named))
    if mime.startswith("image/"):
        return Image(url=url, extra=kept(named))
    return File(data=url, filename=name, extra=kept(extra))


def _file(raw: dict[str, Any], extra: dict[str, Any]) -> Part:
    mime, uri = word(raw.get("mimeType")), word(raw.get("fileUri"))
    name = _name_of(raw)
    told = {"mimeType": mime} if mime else {}
    if uri.startswith(_GOOGLES):
        return File(file_id=uri, filename=name, extra=kept({**extra, **told}))
    if mime.startswith("image/"):
        return Image(
            url=uri, extra=kept({**extra, **told} if name is UNSET else {**extra, **told, "displayName": name})
        )
    return File(url=uri, filename=name, extra=kept({**extra, **told}))


def _name_of(raw: dict[str, Any]) -> str | UnsetType:
    return word(raw.get("displayName")) or UNSET


def encode_media(part: Image | File | Audio) -> dict[str, Any] | None:
    """The wire part; None where this API cannot be given what it holds."""
    if isinstance(part, Audio):
        if part.data is UNSET:
            return None
        extra = dict(own(part.extra))
        name = extra.pop("displayName", "")
        blob = {"mimeType": f"audio/{part.format or 'wav'}", "data": part.data}
        return {"inlineData": {**blob, "displayName": name} if name else blob, **extra}
    extra = dict(own(part.extra))
    told, name = extra.pop("mimeType", ""), extra.pop("displayName", "")
    if isinstance(part, File):
        name = part.filename or name
        source = _first(part.data, part.url, part.file_id)
    else:
        source = _first(part.url, part.file_id)
    raw = _source(source, told, name, is_data=isinstance(part, File) and part.data is not UNSET)
    return None if raw is None else {**raw, **extra}


def _first(*values: str | UnsetType) -> str:
    return next((value for value in values if value is not UNSET), "")


def _source(source: str, told: str, name: str, *, is_data: bool) -> dict[str, Any] | None:
    match = _DATA_URL.fullmatch(source)
    if match:
        blob = {"mimeType": match[1] or told or _type_of(name), "data": match[2]}
        return {"inlineData": {**blob, "displayName": name} if name else blob}
    if is_data:
        return {"inlineData": {"mimeType": told or _type_of(name), "data": source}}
    if not source.startswith(("http://", "https://", *_GOOGLES)):
        return None
    mime = told or _type_of(source)
    facts = (("mimeType", mime if mime != _UNKNOWN else ""), ("fileUri", source), ("displayName", name))
    return {"fileData": {key: value for key, value in facts if value}}


_UNKNOWN: Final = "application/octet-stream"


def _type_of(name: str) -> str:
    path = name.partition("?")[0].partition("#")[0]
    return _TYPES.get(path.rpartition(".")[2].lower(), _UNKNOWN)
