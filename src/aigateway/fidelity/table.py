"""The whole table: every field of both formats, and what becomes of it on the way to the other."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from aigateway.fidelity import (
    chat_reply,
    chat_request,
    responses_input,
    responses_reply,
    responses_request,
    responses_stream,
    responses_tools,
)
from aigateway.fidelity.row import Document, Row


def _sorted(*groups: tuple[Row, ...]) -> tuple[Row, ...]:
    return tuple(sorted((row for group in groups for row in group), key=lambda row: (row.path, row.host)))


TABLE: Final[Mapping[Document, tuple[Row, ...]]] = MappingProxyType(
    {
        "chat.request": _sorted(chat_request.ROWS),
        "responses.request": _sorted(responses_request.ROWS, responses_input.ROWS, responses_tools.ROWS),
        "chat.reply": _sorted(chat_reply.REPLY),
        "chat.stream": _sorted(chat_reply.STREAM),
        "responses.reply": _sorted(responses_reply.ROWS),
        "responses.stream": _sorted(responses_stream.ROWS),
    }
)
