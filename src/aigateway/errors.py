"""The errors a gateway raises, each with the facts that a caller branches on.

    GatewayError                      500 server_error
    ├── InvalidRequestError           400 invalid_request_error
    │   ├── UnsupportedError          400 unsupported_parameter / unsupported_content
    │   ├── NotFoundError             404 not_found
    │   │   └── ModelNotFoundError    404 model_not_found
    │   ├── MethodNotAllowedError     405 method_not_allowed
    │   ├── PayloadTooLargeError      413 request_too_large
    │   └── UpgradeRequiredError      426 upgrade_required
    ├── AuthenticationError           401 invalid_api_key
    ├── PermissionDeniedError         403 permission_denied
    ├── RateLimitError                429 rate_limit_exceeded
    ├── ServerError                   500 server_error
    └── UpstreamError                 502 upstream_error       (4xx of an upstream keep their own status)
        ├── UpstreamConnectionError   502 upstream_connection_error
        │   └── UnreachableError      502 upstream_connection_error
        ├── UpstreamOverloadedError   502 upstream_error       (529 to callers whose API has that)
        ├── UpstreamProtocolError     502 upstream_protocol_error
        ├── UpstreamTimeoutError      504 upstream_timeout
        └── UpstreamUnavailableError  503 upstream_unavailable / upstream_overloaded

An error is raised where the fault is seen, `from` its cause, and rendered once, in the caller's own format
(`formats/*/wire`). `message` is shown to the caller: it never holds a secret or a prompt.
"""

from __future__ import annotations

from collections.abc import Mapping


class GatewayError(Exception):
    """Base of every error that a caller of the gateway may see.

    message  what is wrong and what to do about it, in one or two sentences.
    status   the HTTP status.
    type     the error class in OpenAI's words (`invalid_request_error`, `rate_limit_error`, ...).
    code     a short stable identifier to branch on, or None.
    param    the request field at fault (`messages[0].role`), or None.
    headers  headers that go with the error response (`Retry-After`, `Allow`, ...).
    retryable  whether the same request may succeed against another target.
    """

    status: int = 500
    type: str = "server_error"
    code: str | None = "server_error"
    retryable: bool = False

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        type: str | None = None,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.headers: dict[str, str] = dict(headers or {})
        if status is not None:
            self.status = status
        if type is not None:
            self.type = type
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable

    def __str__(self) -> str:
        return f"{self.type}: {self.message}"


class InvalidRequestError(GatewayError):
    """The request itself is wrong; `param` names the field where it can be named."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class UnsupportedError(InvalidRequestError):
    """The request is well formed, but the chosen target cannot do what it asks."""

    code = "unsupported_parameter"


class NotFoundError(InvalidRequestError):
    """No such path or object."""

    status = 404
    code = "not_found"


class ModelNotFoundError(NotFoundError):
    """No model of that name that this caller may use."""

    code = "model_not_found"


class MethodNotAllowedError(InvalidRequestError):
    """The path exists under another method; the `Allow` header names it."""

    status = 405
    code = "method_not_allowed"


class PayloadTooLargeError(InvalidRequestError):
    """The request body is over the limit."""

    status = 413
    code = "request_too_large"


class UpgradeRequiredError(InvalidRequestError):
    """A WebSocket was asked for where only HTTP is served."""

    status = 426
    code = "upgrade_required"


class AuthenticationError(GatewayError):
    """No key, or a key that nobody knows."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class PermissionDeniedError(GatewayError):
    """The key is known, and may not do this."""

    status = 403
    type = "permission_error"
    code = "permission_denied"


class RateLimitError(GatewayError):
    """Too many requests or tokens; `Retry-After` says when to come again."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    retryable = True


class ServerError(GatewayError):
    """A fault of the gateway or of code plugged into it."""


class UpstreamError(GatewayError):
    """The provider answered with an error, or not as agreed.

    provider  the provider's name.
    """

    status = 502
    type = "upstream_error"
    code = "upstream_error"
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        status: int | None = None,
        type: str | None = None,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(
            message, status=status, type=type, code=code, param=param, headers=headers, retryable=retryable
        )
        self.provider = provider


class UpstreamConnectionError(UpstreamError):
    """The provider could not be reached, or broke the connection."""

    code = "upstream_connection_error"


class UnreachableError(UpstreamConnectionError):
    """No connection to the provider could be made: nothing of the request was sent."""


class UpstreamOverloadedError(UpstreamError):
    """The provider said that it has too much to do (529)."""


class UpstreamProtocolError(UpstreamError):
    """The provider answered with something that is not its API: HTML, an empty body, a stream that was cut."""

    code = "upstream_protocol_error"


class UpstreamTimeoutError(UpstreamError):
    """The provider did not connect, answer or go on within its time."""

    status = 504
    code = "upstream_timeout"


class UpstreamUnavailableError(UpstreamError):
    """The gateway did not ask the provider: its circuit is open, or it has no place; `Retry-After` says when to come."""

    status = 503
    code = "upstream_unavailable"
