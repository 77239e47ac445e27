"""Errors as Anthropic's clients look for them: https://platform.claude.com/docs/en/api/errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from aigateway.errors import GatewayError, UpstreamOverloadedError, UpstreamUnavailableError
from aigateway.formats.messages.wire import NO_THREADS

OVERLOADED: Final = 529

_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    OVERLOADED: "overloaded_error",
}
_TOO_LONG = "prompt is too long"
_NUMBER = re.compile(r"\d[\d,]*")
_LEAST: Final = 100  # smaller numbers in a message about tokens count something else


def messages_error(error: GatewayError, request_id: str) -> tuple[int, dict[str, Any]]:
    """{"type": "error", "error": {type, message, details}, "request_id"}, and its status: 529 where too much is asked."""
    status = status_of(error)
    body = {"type": "error", "error": error_object(error), "request_id": request_id}
    return status, body if request_id else {key: body[key] for key in ("type", "error")}


def status_of(error: GatewayError) -> int:
    """The HTTP status."""
    return OVERLOADED if isinstance(error, UpstreamOverloadedError | UpstreamUnavailableError) else error.status


def error_object(error: GatewayError) -> dict[str, Any]:
    """The type, the message, and as its details what OpenAI's errors say beside: `code` and `param`.

    A prompt that is too long is told in the words that agents look for.
    """
    status = status_of(error)
    kind = _TYPES.get(status) or ("api_error" if status >= 500 else "invalid_request_error")
    message = _too_long(error.message) if error.code == "context_length_exceeded" else error.message
    details: dict[str, Any] = {"code": error.code, "param": error.param}
    if error.code == NO_THREADS:
        details |= {"error_code": NO_THREADS, "unsupported": ["thread"]}
    return {"type": kind, "message": message, "details": details}


def _too_long(message: str) -> str:
    """`prompt is too long: 9000 tokens > 8192 maximum`: the numbers as far as the upstream told them."""
    if _TOO_LONG in message.lower():
        return message
    numbers = [int(found.replace(",", "")) for found in _NUMBER.findall(message)]
    counts = [number for number in numbers if number >= _LEAST][:2]
    if len(counts) == 2 and counts[0] != counts[1]:
        return f"{_TOO_LONG}: {max(counts)} tokens > {min(counts)} maximum"
    return f"{_TOO_LONG}: {message}"
