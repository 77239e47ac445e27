"""Operations that OpenAI does not have and several other vendors do; Cohere's newer clients ask below `/v2`."""

from __future__ import annotations

from aigateway.surface.operation import Operation
from aigateway.surface.rows import post

ROWS: tuple[Operation, ...] = (
    post("rerank", "/rerank", model="model", counts=True),
    post("rerank.v2", "/rerank", model="model", counts=True, version="/v2"),
)
