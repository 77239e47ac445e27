"""Operations below `/v1` that OpenAI does not have and several other vendors do."""

from __future__ import annotations

from aigateway.surface.operation import Operation
from aigateway.surface.rows import post

ROWS: tuple[Operation, ...] = (post("rerank", "/rerank", model="model", counts=True),)
