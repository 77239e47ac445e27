"""From a path to its operations: exact paths in one dict, templates in a tree that only a miss walks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final
from urllib.parse import quote, unquote

from aigateway.errors import InvalidRequestError
from aigateway.surface import OPERATIONS
from aigateway.surface.operation import Operation

Methods = dict[str, Operation]

_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_REST: Final = "model"
"""The parameter that takes the rest of its path: names of models may have slashes in them."""

_SEGMENT: Final = "!$&'()*+,;=:@"
_QUERY: Final = "!$&'()*+,;=:@/?%[]"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class _Node:
    """What may follow a segment."""

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.verbs: dict[str, _Node] = {}
        self.operations: dict[str, Operation] = {}


def _exact() -> dict[str, Methods]:
    paths: dict[str, Methods] = {}
    for row in OPERATIONS.values():
        if row.path and "{" not in row.path:
            paths.setdefault(row.route, {})[row.method] = row
    return paths


@cache
def _tree() -> _Node:
    """Grown at the first miss: most gateways are asked for exact paths alone."""
    root = _Node()
    for row in OPERATIONS.values():
        node = root
        for segment in row.route.split("/")[1:] if "{" in row.path else ():
            if segment.startswith("{") and ":" in segment:
                node = node.verbs.setdefault(segment.partition(":")[2], _Node())
            elif segment.startswith("{"):
                node.parameter = node = node.parameter or _Node()
            else:
                node = node.literals.setdefault(segment, _Node())
        if node is not root:
            node.operations[row.method] = row
    return root


EXACT: Final[Mapping[str, Methods]] = _exact()
"""Route -> method -> operation, for paths without parameters."""

GENERATING: Final[Mapping[bytes, Operation]] = {
    f"/v1{row.path}".encode(): row
    for row in OPERATIONS.values()
    if row.kind == "generate" and row.form == "json" and row.method == "POST" and "{" not in row.path
}
"""URL -> operation, for what generates and is asked with a JSON body."""


_UNKNOWN: Final[Mapping[str, str]] = {
    "/messages": "messages.unknown",
    "/?/v1beta": "generate_content.unknown",
    "/?/v1alpha": "generate_content.unknown",
    "/?/upload/v1beta": "generate_content.unknown",
}
"""What a route that is not there begins with, where that says whose it would be."""


def unknown(route: str) -> Operation:
    """What stands for a route that is not there."""
    names = (name for start, name in _UNKNOWN.items() if f"{route}/".startswith(f"{start}/"))
    return OPERATIONS[next(names, "unknown")]


def match(segments: Sequence[str]) -> Methods | None:
    """The operations at a route, given as its decoded segments; None where nobody knows such a path."""
    node = _walk(_tree(), segments)
    return node.operations if node is not None else None


def _walk(node: _Node, segments: Sequence[str]) -> _Node | None:
    if not segments:
        return node if node.operations else None
    first, rest = segments[0], segments[1:]
    literal = node.literals.get(first)
    found = _walk(literal, rest) if literal is not None else None
    if found is None and node.verbs and first:
        name, _, verb = segments[-1].rpartition(":")
        found = node.verbs.get(verb) if name else None
    if found is None and node.parameter is not None and first:
        takes_rest = any(row.path.endswith(f"{{{_REST}}}") for row in node.parameter.operations.values())
        found = node.parameter if takes_rest else _walk(node.parameter, rest)
    return found


def parameters_of(operation: Operation, segments: Sequence[str]) -> dict[str, str]:
    """The parameters of a path that matched."""
    template = operation.route.split("/")[1:]
    found: dict[str, str] = {}
    for place, (part, value) in enumerate(zip(template, segments, strict=False)):
        if part.startswith("{"):
            name, _, verb = part[1:].partition("}")
            found[name] = "/".join(segments[place:]).removesuffix(verb) if verb or name == _REST else value
    return found


def path_for(operation: Operation, parameters: Mapping[str, str]) -> str:
    """The path of a request, each parameter in the one segment where it belongs.

    Raises InvalidRequestError for a value that is missing, or that some server on the way could read as another path.
    """
    if "{" not in operation.path:
        return operation.path
    return _PARAMETER.sub(lambda found: _segment(found[1], parameters.get(found[1], "")), operation.path)


def _segment(name: str, value: str) -> str:
    parts = re.split(r"[/\\]", value)
    is_another_path = len(parts) > 1 and name != _REST
    if is_another_path or {"", ".", ".."} & set(parts) or unquote(value) != value or _CONTROL.search(value):
        raise InvalidRequestError(f"Invalid '{name}' in the path of the request.", param=name, code="invalid_value")
    return quote(value, safe=_SEGMENT)


def query_for(query: str) -> str:
    """A query as it came, fit to stand behind a path: what cannot be in one is percent-encoded."""
    return quote(query, safe=_QUERY)
