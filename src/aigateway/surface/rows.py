"""Short forms for the rows of the tables: what a method usually means, and the API that a name belongs to."""

from __future__ import annotations

from typing import Any

from aigateway.surface.operation import Operation

ADMINISTRATION = "administration"
_APIS = {
    "threads": "assistants",
    "organization": ADMINISTRATION,
    "projects": ADMINISTRATION,
    "safety": ADMINISTRATION,
    "webhooks": ADMINISTRATION,
}
"""The API of a name that does not begin with it."""


def get(name: str, path: str, **more: Any) -> Operation:
    """A look-up."""
    return Operation(name, _api(name), path, "GET", "none", **more)


def delete(name: str, path: str, **more: Any) -> Operation:
    """A deletion."""
    return Operation(name, _api(name), path, "DELETE", "none", **more)


def post(name: str, path: str, **more: Any) -> Operation:
    """A request in JSON."""
    return Operation(name, _api(name), path, **more)


def form(name: str, path: str, **more: Any) -> Operation:
    """A request as a multipart form."""
    return Operation(name, _api(name), path, "POST", "multipart", **more)


def act(name: str, path: str, **more: Any) -> Operation:
    """A request without a body."""
    return Operation(name, _api(name), path, "POST", "none", **more)


def _api(name: str) -> str:
    first = name.partition(".")[0]
    return _APIS.get(first, first)
