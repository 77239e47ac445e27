"""Chat models of langchain-openai, by chat and by Responses: tools, structured output, turns and failures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from langchain_core.exceptions import ContextOverflowError, ModelRateLimitError
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from tests.compat.brain import REFUSAL
from tests.compat.world import MODEL, World

WEATHER = "What is the weather in Oslo and in Rome?"
LONG = "Say " + "many words " * 9


class GetWeather(BaseModel):
    """Tell the weather."""

    city: str


class Forecast(BaseModel):
    """The weather to come."""

    city: str
    degrees: int
