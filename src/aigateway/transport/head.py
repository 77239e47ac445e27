"""The head of a request as bytes."""

from __future__ import annotations

import re
from functools import lru_cache

from aigateway.errors import ServerError
from aigateway.transport.protocol import HTTPRequest

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS = frozenset(
    {"host", "connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_BODILESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS", "TRACE"})


def head_of(request: HTTPRequest, target: str, host: str, extra: str = "") -> bytes:
    """The request line and the headers. extra: one more line, which the way there asks for.

    A `host` among the headers wins over the URL's; what frames the body or steers the connection is the transport's
    own, and is left out. Raises ServerError for a header that cannot be sent.
    """
    lines = [f"{request.method} {target} HTTP/1.1\r\n", ""]
    for name, value in request.headers:
        start = _start(name)
        if start:
            lines.append(f"{start}{value}\r\n")
        elif name.lower() == "host":
            host = value
    lines[1] = f"host: {host}\r\n"
    body = request.body
    if isinstance(body, bytes):
        if body or request.method not in _BODILESS:
            lines.append(f"content-length: {len(body)}\r\n")
    elif (length := length_of(request)) is not None:
        lines.append(f"content-length: {length}\r\n")
    else:
        lines.append("transfer-encoding: chunked\r\n")
    if extra:
        lines.append(extra)
    lines.append("\r\n")
    text = "".join(lines)
    if text.count("\n") != len(lines) or text.count("\r") != len(lines) or "\0" in text:
        raise ServerError(f"{_fault(request)} for the upstream holds a line break or NUL.", code="bad_header")
    return text.encode("latin-1", "replace")


def length_of(request: HTTPRequest) -> int | None:
    """The Content-Length that a request whose body comes in pieces names. Raises ServerError for one that is none."""
    for name, value in request.headers:
        if name.lower() == "content-length":
            if not (value.isascii() and value.isdigit()):
                raise ServerError("The Content-Length of the body for the upstream is no number.", code="bad_header")
            return int(value)
    return None


@lru_cache(1024)
def _start(name: str) -> str:
    """What a header's line begins with; "" for one that the transport writes itself."""
    if not _TOKEN.fullmatch(name):
        shown = "".join(name.split(maxsplit=1)[:1])
        raise ServerError(f"{shown!r} is not the name of an HTTP header.", code="bad_header")
    return "" if name.lower() in _OURS else f"{name}: "


def _fault(request: HTTPRequest) -> str:
    for name, value in request.headers:
        if any(char in value for char in "\r\n\0"):
            return f"The header {name!r}"
    return "The URL"
