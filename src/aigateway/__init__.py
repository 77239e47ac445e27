"""aigateway: a programmable gateway to language models, as a library and as a server made of it."""

from aigateway.app.asgi import Gateway
from aigateway.app.cors import CORS
from aigateway.call import Attempt, Call, Principal, Target
from aigateway.canonical.lens import EventLens, ReplyLens, RequestLens
from aigateway.canonical.quirks import Quirks
from aigateway.canonical.types import Usage
from aigateway.errors import (
    AuthenticationError,
    GatewayError,
    InvalidRequestError,
    MethodNotAllowedError,
    ModelNotFoundError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    UnreachableError,
    UnsupportedError,
    UpstreamConnectionError,
    UpstreamError,
    UpstreamOverloadedError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from aigateway.gateway import EventStream
from aigateway.hooks import APIKeyAuthenticator, Hook, LoggingHook
from aigateway.intake import Limits
from aigateway.metrics import Metrics
from aigateway.models import Models
from aigateway.policies import Breaker, Fallback, Hedge, Queue, Retry
from aigateway.providers.function import FunctionProvider
from aigateway.providers.protocol import Answer, ConnectRequest, ProviderLike, ProviderReply, ProviderRequest
from aigateway.providers.provider import Provider
from aigateway.providers.secret import Secret
from aigateway.raw_reply import RawReply
from aigateway.transport.protocol import TLS, Pool, Timeout, Transport, WebSocket, WebSocketClosedError

__all__ = [
    "APIKeyAuthenticator",
    "Answer",
    "Attempt",
    "AuthenticationError",
    "Breaker",
    "CORS",
    "Call",
    "ConnectRequest",
    "EventLens",
    "EventStream",
    "Fallback",
    "FunctionProvider",
    "Gateway",
    "GatewayError",
    "Hedge",
    "Hook",
    "InvalidRequestError",
    "Limits",
    "LoggingHook",
    "MethodNotAllowedError",
    "Metrics",
    "ModelNotFoundError",
    "Models",
    "NotFoundError",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "Pool",
    "Principal",
    "Provider",
    "ProviderLike",
    "ProviderReply",
    "ProviderRequest",
    "Queue",
    "Quirks",
    "RateLimitError",
    "RawReply",
    "ReplyLens",
    "RequestLens",
    "Retry",
    "Secret",
    "ServerError",
    "TLS",
    "Target",
    "Timeout",
    "Transport",
    "UnreachableError",
    "UnsupportedError",
    "UpstreamConnectionError",
    "UpstreamError",
    "UpstreamOverloadedError",
    "UpstreamProtocolError",
    "UpstreamTimeoutError",
    "UpstreamUnavailableError",
    "Usage",
    "WebSocket",
    "WebSocketClosedError",
]
