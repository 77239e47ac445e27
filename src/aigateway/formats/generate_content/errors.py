"""Errors in Google's shape, both ways.

https://cloud.google.com/apis/design/errors
"""

from __future__ import annotations

from typing import Any, Final

from aigateway.errors import GatewayError, UpstreamError
from aigateway.formats.relay import stream_error

_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def error_body(error: GatewayError) -> dict[str, Any]:
    """{"error": {code, message, status, details}}: the details say the reason, and the field at fault if there is one."""
    default = "INTERNAL" if error.status >= 500 else "INVALID_ARGUMENT"
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": _reason(error), "domain": "aigateway"}
    details: list[dict[str, Any]] = [info]
    if error.param:
        violation = {"field": error.param, "description": error.message}
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]})
    facts = {"code": error.status, "message": error.message, "status": _STATUSES.get(error.status, default)}
    return {"error": {**facts, "details": details}}


def _reason(error: GatewayError) -> str:
    return (error.code or error.type).upper()


def render_error(error: GatewayError, _: str) -> tuple[int, dict[str, Any]]:
    """The status and the body of an error."""
    return error.status, error_body(error)


def error_in(body: dict[str, Any]) -> UpstreamError:
    """The error that stands in a reply or an event."""
    return stream_error(body["error"])
