"""The whole table: every field of both formats, and what becomes of it on the way to the other."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from aigateway.fidelity import (
    chat_reply,
    chat_request,
    cohere_reply,
    cohere_upstream,
    content_caller,
    content_parts,
    content_reply,
    content_request,
    content_upstream,
    converse_reply,
    converse_upstream,
    messages_blocks,
    messages_caller,
    messages_reply,
    messages_request,
    messages_upstream,
    responses_input,
    responses_reply,
    responses_request,
    responses_stream,
    responses_tools,
)
from aigateway.fidelity.row import Direction, Row


def _sorted(*groups: tuple[Row, ...]) -> tuple[Row, ...]:
    return tuple(sorted((row for group in groups for row in group), key=lambda row: (row.path, row.host)))


_BY_NAME: Final[Mapping[tuple[str, str, str], tuple[Row, ...]]] = {
    ("chat", "request", "responses"): chat_request.ROWS,
    ("responses", "request", "chat"): (*responses_request.ROWS, *responses_input.ROWS, *responses_tools.ROWS),
    ("chat", "reply", "responses"): chat_reply.REPLY,
    ("responses", "reply", "chat"): responses_reply.ROWS,
    ("chat", "stream", "responses"): chat_reply.STREAM,
    ("responses", "stream", "chat"): responses_stream.ROWS,
    ("messages", "request", "chat"): (*messages_request.ROWS, *messages_blocks.ROWS),
    ("chat", "reply", "messages"): messages_caller.REPLY,
    ("chat", "stream", "messages"): messages_caller.STREAM,
    ("chat", "request", "messages"): messages_upstream.ROWS,
    ("messages", "reply", "chat"): messages_reply.REPLY,
    ("messages", "stream", "chat"): messages_reply.STREAM,
    ("generate_content", "request", "chat"): (*content_request.ROWS, *content_parts.ROWS),
    ("chat", "reply", "generate_content"): content_caller.REPLY,
    ("chat", "stream", "generate_content"): content_caller.STREAM,
    ("chat", "request", "generate_content"): content_upstream.ROWS,
    ("generate_content", "reply", "chat"): content_reply.REPLY,
    ("generate_content", "stream", "chat"): content_reply.STREAM,
    ("chat", "request", "converse"): converse_upstream.ROWS,
    ("converse", "reply", "chat"): converse_reply.REPLY,
    ("converse", "stream", "chat"): converse_reply.STREAM,
    ("chat", "request", "cohere_chat"): cohere_upstream.ROWS,
    ("cohere_chat", "reply", "chat"): cohere_reply.REPLY,
    ("cohere_chat", "stream", "chat"): cohere_reply.STREAM,
}

TABLE: Final[Mapping[Direction, tuple[Row, ...]]] = MappingProxyType(
    {Direction(*names): _sorted(rows) for names, rows in _BY_NAME.items()}
)
DIRECTIONS: Final = tuple(TABLE)
