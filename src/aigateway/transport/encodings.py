"""Content encodings of answers, taken off a piece at a time, so that no piece can grow beyond measure.

gzip and deflate are always there; br and zstd where their packages are (the extra `encodings`).
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

STEP = 64 * 1024
"""Bytes that a decoder gives at once, however well they were packed."""


class EncodingError(Exception):
    """The body is not what its Content-Encoding says, or nobody here can read it. The text goes on after `answered`."""


class Decoder(Protocol):
    """Takes an encoding off."""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The plain text of a piece, at most STEP bytes at a time. Raises EncodingError."""
        ...

    def finish(self) -> None:
        """The body is over. Raises EncodingError where something is missing from it."""
        ...


def decoder_for(encoding: str) -> Decoder | None:
    """The decoder for the value of a Content-Encoding header; None where there is nothing to do. Raises EncodingError."""
    names = [name for part in encoding.lower().split(",") if (name := part.strip()) not in ("", "identity")]
    if not names:
        return None
    make = _DECODERS.get(names[0])
    if make is None or len(names) > 1:
        raise EncodingError("in a content encoding that nobody asked for")
    return make()


class _Zlib:
    """gzip (also several members) and deflate (with or without the zlib header)."""

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._decode: zlib._Decompress | None = None
        self._more = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        full = False  # then there may be more to come out than has gone in
        while piece or full:
            if self._decode is None:
                self._decode = zlib.decompressobj(self._format(piece))
            try:
                plain = self._decode.decompress(piece, STEP)
            except zlib.error as error:
                raise EncodingError("with a broken content encoding") from error
            piece = self._decode.unconsumed_tail
            full = len(plain) == STEP
            if self._decode.eof:
                piece, self._decode, full = self._decode.unused_data.lstrip(b"\0"), None, False
            if plain:
                yield plain

    def finish(self) -> None:
        if self._decode is not None:
            raise EncodingError("with a content encoding that was cut off")

    def _format(self, piece: bytes) -> int:
        bare = piece[0] & 15 != 8 or (len(piece) > 1 and int.from_bytes(piece[:2]) % 31 != 0)
        if self._wbits == zlib.MAX_WBITS and bare:
            return -zlib.MAX_WBITS  # what some servers take `deflate` for
        return self._wbits


class _Brotli:
    """br."""

    def __init__(self) -> None:
        self._package = _optional("brotli", "brotlicffi")
        self._decode = self._package.Decompressor()
        self._begun = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        self._begun = True
        try:
            while True:
                plain = self._decode.process(piece, output_buffer_limit=STEP)
                for at in range(0, len(plain), STEP):  # it ends with the block that passes the limit
                    yield plain[at : at + STEP]
                piece = b""
                if not plain:
                    return
        except self._package.error as error:
            raise EncodingError("with a broken content encoding") from error

    def finish(self) -> None:
        if self._begun and not self._decode.is_finished():
            raise EncodingError("with a content encoding that was cut off")


class _Zstandard:
    """zstd, also several frames. A window of more than 8 MB is refused (RFC 9659)."""

    def __init__(self) -> None:
        self._package = _optional("compression.zstd", "backports.zstd")
        self._decode: Any = None

    def feed(self, piece: bytes) -> Iterator[bytes]:
        try:
            while piece or self._decode is not None:
                if self._decode is None:
                    options = {self._package.DecompressionParameter.window_log_max: 23}
                    self._decode = self._package.ZstdDecompressor(options=options)
                plain = self._decode.decompress(piece, STEP)
                piece = b""
                if plain:
                    yield plain
                if self._decode.eof:
                    piece, self._decode = self._decode.unused_data, None
                elif self._decode.needs_input:
                    return
        except self._package.ZstdError as error:
            raise EncodingError("with a broken content encoding") from error

    def finish(self) -> None:
        if self._decode is not None:
            raise EncodingError("with a content encoding that was cut off")


_DECODERS: dict[str, Callable[[], Decoder]] = {
    "gzip": lambda: _Zlib(16 + zlib.MAX_WBITS),
    "x-gzip": lambda: _Zlib(16 + zlib.MAX_WBITS),
    "deflate": lambda: _Zlib(zlib.MAX_WBITS),
    "br": _Brotli,
    "zstd": _Zstandard,
}


def _optional(*names: str) -> Any:
    """The first of several packages that is installed."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise EncodingError("in a content encoding that nobody asked for, and `aigateway[encodings]` is not installed")
