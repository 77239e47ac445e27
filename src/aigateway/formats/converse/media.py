"""Images, documents, video and audio as Converse's content blocks: bytes in base64, or where they lie in S3."""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec import UNSET

from aigateway.canonical.types import Audio, File, Image
from aigateway.canonical.uncarried import UncarriedError

_IMAGES: Final = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}
_DOCUMENTS: Final = {
    "application/pdf": "pdf",
    "application/x-pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_VIDEOS: Final = {
    "video/x-matroska": "mkv",
    "video/quicktime": "mov",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "video/x-flv": "flv",
    "video/mpeg": "mpeg",
    "video/x-ms-wmv": "wmv",
    "video/3gpp": "three_gp",
}
_KINDS: Final = {"image": _IMAGES, "document": _DOCUMENTS, "video": _VIDEOS}
_EXTENSIONS: Final = {"jpg": "jpeg", "htm": "html", "markdown": "md", "text": "txt", "3gp": "three_gp"}
_AUDIO: Final = frozenset(
    {"mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a", "mpeg", "mpga", "pcm", "webm"}
)
_DATA_URL: Final = re.compile(r"data:([^;,]*)(?:;[^;,]+)*;base64,", re.IGNORECASE)
_UNFIT: Final = re.compile(r"[^A-Za-z0-9\s()\[\]-]+")
_SPACES: Final = re.compile(r"\s+")
_NAME_MAX: Final = 190

Content = Image | File | Audio


class MediaWriter:
    """The blocks of one request: no two documents of it may have one name."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}

    def block(self, part: Content) -> dict[str, Any]:
        """A part as a block. Raises UncarriedError where Converse has no place for it."""
        if isinstance(part, Audio):
            return _audio(part)
        url, name = _source(part)
        if url.startswith("s3://"):
            kind, form = _by_name(url, part) if not name else _by_name(name, part)
            return self._written(kind, form, {"s3Location": {"uri": url}}, name or url.rpartition("/")[2])
        found = _DATA_URL.match(url)
        if found is None and (isinstance(part, Image) or "://" in url or not name):
            raise _uncarried(part, f"{_word(part)} by {'its URL' if '://' in url else 'anything but a data URL'}")
        kind, form = _by_type(found.group(1).lower(), name, part) if found is not None else _by_name(name, part)
        return self._written(kind, form, {"bytes": url if found is None else url[found.end() :]}, name)

    def _written(self, kind: str, form: str, source: dict[str, Any], name: str) -> dict[str, Any]:
        block: dict[str, Any] = {"format": form, "source": source}
        return {kind: {"name": self._name(name), **block} if kind == "document" else block}

    def _name(self, filename: str) -> str:
        """Letters, digits, single spaces, hyphens and brackets: nothing else may stand in a document's name."""
        stem = filename.rpartition(".")[0] or filename
        name = _SPACES.sub(" ", _UNFIT.sub(" ", stem)).strip()[:_NAME_MAX] or "Document"
        self._names[name] = count = self._names.get(name, 0) + 1
        return name if count == 1 else self._name(f"{name} {count}.")


def _source(part: Image | File) -> tuple[str, str]:
    """Where the content is (or its bare base64), and the name it goes by."""
    if isinstance(part, File):
        name = "" if part.filename is UNSET else part.filename
        content = part.data if part.data is not UNSET else part.url
    else:
        name, content = "", part.url
    if content is UNSET:
        raise _uncarried(part, f"{_word(part)} by file id")
    return content, name


def _word(part: Content) -> str:
    return {Image: "an image", File: "a file", Audio: "audio"}[type(part)]


def _uncarried(part: Content, what: str) -> UncarriedError:
    remedy = "Send it as a data URL (`data:application/pdf;base64,...`), or name an object in S3 (`s3://bucket/key`)."
    return UncarriedError(f"Converse does not take {what}. {remedy}", part)


def _by_type(media_type: str, name: str, part: Content) -> tuple[str, str]:
    """The kind of block and its format, by media type, else by the file's name."""
    for kind, forms in _KINDS.items():
        if media_type in forms and not (kind != "image" and isinstance(part, Image)):
            return kind, forms[media_type]
    if name and media_type in ("", "application/octet-stream"):
        return _by_name(name, part)
    if media_type.startswith("text/") and isinstance(part, File):
        return "document", "txt"
    raise _unknown(media_type or "unknown type", part)


def _by_name(name: str, part: Content) -> tuple[str, str]:
    ending = name.rpartition(".")[2].lower()
    form = _EXTENSIONS.get(ending, ending)
    for kind, forms in _KINDS.items():
        if form in forms.values() and not (kind != "image" and isinstance(part, Image)):
            return kind, form
    raise _unknown(f"a name that ends in .{ending}" if "." in name else "unknown type", part)


def _unknown(what: str, part: Content) -> UncarriedError:
    known = _IMAGES if isinstance(part, Image) else {**_IMAGES, **_DOCUMENTS, **_VIDEOS}
    forms = ", ".join(dict.fromkeys(known.values()))
    return UncarriedError(f"Converse does not take {_word(part)} of {what}; it takes {forms}.", part)


def _audio(part: Audio) -> dict[str, Any]:
    if part.data is UNSET or part.format is UNSET:
        raise UncarriedError("Converse does not take audio without its data and format.", part)
    if part.format not in _AUDIO:
        raise UncarriedError(f"Converse does not take audio of format {part.format}.", part)
    return {"audio": {"format": part.format, "source": {"bytes": part.data}}}
