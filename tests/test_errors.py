"""The errors: what each one says by itself, and how it is rendered."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aigateway
from aigateway import errors
from aigateway.errors import GatewayError, InvalidRequestError, UnsupportedError, UpstreamError
from aigateway.formats import FORMATS, render_error

# class, its base, status, type, code, retryable
FACTS = {
    "GatewayError": ("Exception", 500, "server_error", "server_error", False),
    "InvalidRequestError": ("GatewayError", 400, "invalid_request_error", "invalid_request", False),
    "UnsupportedError": ("InvalidRequestError", 400, "invalid_request_error", "unsupported_parameter", False),
    "NotFoundError": ("InvalidRequestError", 404, "invalid_request_error", "not_found", False),
    "ModelNotFoundError": ("NotFoundError", 404, "invalid_request_error", "model_not_found", False),
    "MethodNotAllowedError": ("InvalidRequestError", 405, "invalid_request_error", "method_not_allowed", False),
    "PayloadTooLargeError": ("InvalidRequestError", 413, "invalid_request_error", "request_too_large", False),
    "UpgradeRequiredError": ("InvalidRequestError", 426, "invalid_request_error", "upgrade_required", False),
    "AuthenticationError": ("GatewayError", 401, "authentication_error", "invalid_api_key", False),
    "PermissionDeniedError": ("GatewayError", 403, "permission_error", "permission_denied", False),
    "RateLimitError": ("GatewayError", 429, "rate_limit_error", "rate_limit_exceeded", True),
    "ServerError": ("GatewayError", 500, "server_error", "server_error", False),
    "UpstreamError": ("GatewayError", 502, "upstream_error", "upstream_error", True),
    "UpstreamConnectionError": ("UpstreamError", 502, "upstream_error", "upstream_connection_error", True),
    "UpstreamOverloadedError": ("UpstreamError", 502, "upstream_error", "upstream_error", True),
    "UnreachableError": ("UpstreamConnectionError", 502, "upstream_error", "upstream_connection_error", True),
    "UpstreamProtocolError": ("UpstreamError", 502, "upstream_error", "upstream_protocol_error", True),
    "UpstreamTimeoutError": ("UpstreamError", 504, "upstream_error", "upstream_timeout", True),
    "UpstreamUnavailableError": ("UpstreamError", 503, "upstream_error", "upstream_unavailable", True),
}


def error_classes() -> dict[str, type[GatewayError]]:
    """Every error class of the module, in the order of the source."""
    return {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, GatewayError)
    }


each_class = pytest.mark.parametrize("kind", error_classes().values(), ids=error_classes().keys())


@each_class
def test_each_error_has_its_facts(kind: type[GatewayError]) -> None:
    error = kind("words")
    facts = (kind.__bases__[0].__name__, error.status, error.type, error.code, error.retryable)
    assert facts == FACTS[kind.__name__]
    assert (error.message, error.param, error.headers, error.args) == ("words", None, {}, ("words",))
    assert str(error) == f"{error.type}: words"
    assert "words" in repr(error)


def test_no_error_is_without_a_row() -> None:
    assert FACTS.keys() == error_classes().keys()


def drawn_tree() -> list[tuple[str, str, int, list[str]]]:
    """The tree in the module's docstring: (class, parent, status, codes or type named there)."""
    rows: list[tuple[str, str, int, list[str]]] = []
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([│├└─ ]*)(\w+Error)\s+(\d{3}) ([\w /]+?)(?:\s{2,}|$)", line)
        if match is not None:
            depth = len(match[1]) // 4
            path = [*path[:depth], match[2]]
            rows.append((match[2], path[-2] if depth else "Exception", int(match[3]), match[4].split(" / ")))
    return rows


def test_the_drawn_tree_is_the_tree() -> None:
    rows = drawn_tree()
    assert [name for name, *_ in rows] == list(error_classes())
    for name, parent, status, words in rows:
        base, real_status, type_, code, _ = FACTS[name]
        assert (parent, status) == (base, real_status)
        assert words[0] in (type_, code)


def test_every_error_is_public() -> None:
    internal = {"UpgradeRequiredError"}
    assert {name for name in error_classes() if name not in internal} <= set(aigateway.__all__)


@each_class
def test_facts_given_win_over_those_of_the_class(kind: type[GatewayError]) -> None:
    headers = {"Retry-After": "3"}
    error = kind("w", status=418, type="t", code="c", param="p", headers=headers, retryable=not kind.retryable)
    assert (error.status, error.type, error.code, error.param) == (418, "t", "c", "p")
    assert error.headers == headers
    assert error.headers is not headers
    assert error.retryable is not kind.retryable
    assert str(error) == "t: w"
    assert kind("other").status == FACTS[kind.__name__][1]


def test_upstream_errors_name_their_provider() -> None:
    assert UpstreamError("w").provider == ""
    assert UpstreamError("w", provider="vllm").provider == "vllm"


@each_class
@pytest.mark.parametrize(
    "api", [*(api for api in FORMATS if api not in ("messages", "generate_content")), "models", "unknown"]
)
def test_rendered_errors_have_all_four_keys(api: str, kind: type[GatewayError]) -> None:
    error = kind("words")
    shown = render_error(api, error)[1]["error"]
    type_ = "not_found" if api == "responses" and error.status == 404 else error.type
    assert shown == {"message": "words", "type": type_, "param": None, "code": error.code}
    assert list(shown) == ["message", "type", "param", "code"]


def test_rendered_errors_name_the_field_at_fault() -> None:
    error = UnsupportedError("no audio here", param="messages[0].content[1]", code="unsupported_content")
    assert render_error("chat", error)[1] == {
        "error": {
            "message": "no audio here",
            "type": "invalid_request_error",
            "param": "messages[0].content[1]",
            "code": "unsupported_content",
        }
    }


@given(st.text(), st.none() | st.text(), st.none() | st.text())
def test_rendering_loses_nothing(message: str, param: str | None, code: str | None) -> None:
    shown = render_error("chat", InvalidRequestError(message, param=param, code=code))[1]["error"]
    assert (shown["message"], shown["param"], shown["code"]) == (message, param, code or shown["code"])
    if code is None:
        assert shown["code"] == "invalid_request"
