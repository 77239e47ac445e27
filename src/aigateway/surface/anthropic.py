"""Anthropic's API below `/v1`: what https://platform.claude.com/docs/en/api has of messages."""

from __future__ import annotations

from aigateway.surface.operation import Operation
from aigateway.surface.rows import act, delete, get, post

ROWS: tuple[Operation, ...] = (
    post("messages", "/messages", kind="generate", model="model", streams=True, counts=True),
    post("messages.count_tokens", "/messages/count_tokens", kind="count", model="model"),
    post("messages.batches.create", "/messages/batches"),
    get("messages.batches.list", "/messages/batches"),
    get("messages.batches.retrieve", "/messages/batches/{message_batch_id}"),
    delete("messages.batches.delete", "/messages/batches/{message_batch_id}"),
    act("messages.batches.cancel", "/messages/batches/{message_batch_id}/cancel"),
    get("messages.batches.results", "/messages/batches/{message_batch_id}/results", answer="binary"),
)
