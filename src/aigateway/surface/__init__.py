"""The surface as data, OpenAI's whole and others': which operation a method at a path is, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from aigateway.surface import administration, anthropic, google, openai, others
from aigateway.surface.operation import Operation
from aigateway.surface.rows import ADMINISTRATION

OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        row.name: row
        for row in (
            *openai.ROWS,
            *administration.ROWS,
            *anthropic.ROWS,
            *others.ROWS,
            *google.ROWS,
            Operation("health", "health", "/health", "GET", "none", kind="served"),
            Operation("metrics", "metrics", "/metrics", "GET", "none", kind="served"),
            Operation("unknown", "unknown", "", form="none", kind="served"),
            Operation("messages.unknown", "messages", "", form="none", kind="served"),
            Operation("generate_content.unknown", "generate_content", "", form="none", kind="served"),
        )
    }
)
"""By name. Without a path: what stands for one that is not there, by the API whose it would be."""

APIS = frozenset(row.api for row in openai.ROWS)
"""OpenAI's APIs that a caller of models may be given: all but the administration of the account."""

GENERATED = frozenset(row.api for row in OPERATIONS.values() if row.kind == "generate")
"""The APIs that the gateway understands; of the others it knows only where they go."""

__all__ = ["ADMINISTRATION", "APIS", "GENERATED", "OPERATIONS", "Operation"]
