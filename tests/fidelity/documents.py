"""Documents that together have every field of the table: of each the first one that has a field is sent across."""

from __future__ import annotations

from typing import Any

from tests.fidelity import specimens
from tests.fidelity.answers import CHAT_REPLIES, CHAT_STREAMS, RESPONSES_REPLIES, RESPONSES_STREAMS
from tests.fidelity.requests import CHAT_REQUESTS, RESPONSES_REQUESTS

SAMPLES: dict[str, list[Any]] = {
    "chat.request": CHAT_REQUESTS,
    "responses.request": RESPONSES_REQUESTS,
    "chat.reply": CHAT_REPLIES,
    "responses.reply": RESPONSES_REPLIES,
    "chat.stream": CHAT_STREAMS,
    "responses.stream": RESPONSES_STREAMS,
    **{document: specimens.found(document) for document in specimens.DOCUMENTS},
}
