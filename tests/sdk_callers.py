"""Official SDKs as callers of a gateway: one conversation in the words of each, and what its user sees of an answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import anthropic
import msgspec
import openai
from anthropic import AsyncAnthropic
from google import genai
from google.genai import errors as google_errors
from google.genai import types as google
from openai import AsyncOpenAI

Object = dict[str, Any]

CITY: Object = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = "Tells the weather."

_CHAT_FINISH = {"stop": "stop", "tool_calls": "tool_calls", "length": "length", "content_filter": "filter"}
_MESSAGES_FINISH = {"end_turn": "stop", "tool_use": "tool_calls", "max_tokens": "length", "refusal": "filter"}
_CONTENT_FINISH = {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "filter"}


class Told(msgspec.Struct):
    """What the user of an SDK sees of one answer. calls: id, name, arguments. usage: of the input and of the output.

    pieces   how many pieces the text came in.
    """

    text: str
    calls: list[tuple[str, str, Any]]
    thoughts: str
    finish: str
    usage: tuple[int, int]
    pieces: int = 1


class OpenAIChat:
    """openai-python, Chat Completions."""

    errors = openai.APIError
    limited = openai.RateLimitError
    wrong = openai.BadRequestError

    def __init__(self, url: str, http: Any, model: str) -> None:
        self.client = AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-test", max_retries=0, http_client=http)
        self.model = model
        self.turns: list[Any] = [{"role": "system", "content": "Be brief."}]

    async def ask(self, *, streamed: bool, tools: bool = False, schema: Object | None = None) -> Told:
        more: Object = {}
        if tools:
            function = {"name": "weather", "description": WEATHER, "parameters": CITY}
            more["tools"] = [{"type": "function", "function": function}]
        if schema is not None:
            form = {"name": "answer", "schema": schema, "strict": True}
            more["response_format"] = {"type": "json_schema", "json_schema": form}
        asked: Object = {"model": self.model, "messages": self.turns, "reasoning_effort": "low", **more}
        completions: Any = self.client.chat.completions
        pieces = 1
        if streamed:
            async with completions.stream(**asked, stream_options={"include_usage": True}) as stream:
                pieces = len([event async for event in stream if event.type == "content.delta"])
                reply = await stream.get_final_completion()
        else:
            reply = await completions.create(**asked)
        message = reply.choices[0].message
        self.turns.append(message.to_dict())
        calls = [
            (call.id, call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()
        ]
        return Told(
            message.content or "",
            calls,
            (message.model_extra or {}).get("reasoning_content") or "",
            _CHAT_FINISH[reply.choices[0].finish_reason],
            (reply.usage.prompt_tokens, reply.usage.completion_tokens),
            pieces,
        )

    def says(self, text: str) -> None:
        self.turns.append({"role": "user", "content": text})

    def gives(self, results: Sequence[tuple[str, str, str]]) -> None:
        self.turns += [{"role": "tool", "tool_call_id": call_id, "content": text} for call_id, _, text in results]


class OpenAIResponses:
    """openai-python, Responses."""

    errors = openai.APIError
    limited = openai.RateLimitError
    wrong = openai.BadRequestError

    def __init__(self, url: str, http: Any, model: str) -> None:
        self.client = AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-test", max_retries=0, http_client=http)
        self.model = model
        self.turns: list[Any] = []

    async def ask(self, *, streamed: bool, tools: bool = False, schema: Object | None = None) -> Told:
        asked: Object = {"model": self.model, "input": self.turns, "instructions": "Be brief.", "store": False}
        asked |= {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]}
        if tools:
            asked["tools"] = [{"type": "function", "name": "weather", "description": WEATHER, "parameters": CITY}]
        if schema is not None:
            asked["text"] = {"format": {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}}
        responses: Any = self.client.responses
        pieces = 1
        if streamed:
            async with responses.stream(**asked) as stream:
                pieces = len([event async for event in stream if event.type == "response.output_text.delta"])
                reply = await stream.get_final_response()
        else:
            reply = await responses.create(**asked)
        output = [item.to_dict() for item in reply.output]
        self.turns += [{k: v for k, v in item.items() if k != "parsed_arguments"} for item in output]
        calls = [item for item in output if item["type"] == "function_call"]
        reasoning = [item for item in output if item["type"] == "reasoning"]
        reason = reply.incomplete_details.reason if reply.incomplete_details else ""
        finish = {"max_output_tokens": "length", "content_filter": "filter"}.get(reason, "stop")
        return Told(
            reply.output_text,
            [(call["call_id"], call["name"], json.loads(call["arguments"])) for call in calls],
            "".join(part["text"] for item in reasoning for part in item.get("content") or item["summary"]),
            "tool_calls" if calls else finish,
            (reply.usage.input_tokens, reply.usage.output_tokens),
            pieces,
        )

    def says(self, text: str) -> None:
        self.turns.append({"role": "user", "content": text})

    def gives(self, results: Sequence[tuple[str, str, str]]) -> None:
        self.turns += [
            {"type": "function_call_output", "call_id": call_id, "output": text} for call_id, _, text in results
        ]


class Anthropic:
    """anthropic, Messages."""

    errors = anthropic.APIError
    limited = anthropic.RateLimitError
    wrong = anthropic.BadRequestError

    def __init__(self, url: str, http: Any, model: str) -> None:
        self.client = AsyncAnthropic(base_url=url, api_key="sk-test", max_retries=0, http_client=http)
        self.model = model
        self.turns: list[Any] = []

    async def ask(self, *, streamed: bool, tools: bool = False, schema: Object | None = None) -> Told:
        asked: Object = {"model": self.model, "max_tokens": 5000, "messages": self.turns, "system": "Be brief."}
        asked["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        if tools:
            asked["tools"] = [{"name": "weather", "description": WEATHER, "input_schema": CITY}]
        if schema is not None:
            asked["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        messages: Any = self.client.messages
        pieces = 1
        if streamed:
            async with messages.stream(**asked) as stream:
                pieces = len([text async for text in stream.text_stream])
                reply = await stream.get_final_message()
        else:
            reply = await messages.create(**asked)
        blocks = [block.to_dict() for block in reply.content]
        self.turns.append({"role": "assistant", "content": reply.content})
        spent = reply.usage.input_tokens + (reply.usage.cache_read_input_tokens or 0)
        return Told(
            "".join(block["text"] for block in blocks if block["type"] == "text"),
            [(block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"],
            "".join(block["thinking"] for block in blocks if block["type"] == "thinking"),
            _MESSAGES_FINISH[reply.stop_reason],
            (spent, reply.usage.output_tokens),
            pieces,
        )

    def says(self, text: str) -> None:
        self.turns.append({"role": "user", "content": text})

    def gives(self, results: Sequence[tuple[str, str, str]]) -> None:
        blocks = [{"type": "tool_result", "tool_use_id": call_id, "content": text} for call_id, _, text in results]
        self.turns.append({"role": "user", "content": blocks})


class GoogleGenAI:
    """google-genai, generateContent."""

    errors = google_errors.APIError
    limited = google_errors.ClientError
    wrong = google_errors.ClientError

    def __init__(self, url: str, http: Any, model: str) -> None:
        options = google.HttpOptions(base_url=url, api_version="v1beta", httpx_async_client=http)
        self.client = genai.Client(api_key="sk-test", http_options=options).aio
        self.model = model
        self.turns: list[Any] = []

    async def ask(self, *, streamed: bool, tools: bool = False, schema: Object | None = None) -> Told:
        config: Object = {"system_instruction": "Be brief."}
        config["thinking_config"] = {"include_thoughts": True, "thinking_budget": 1024}
        if tools:
            declared = {"name": "weather", "description": WEATHER, "parameters_json_schema": CITY}
            config["tools"] = [{"function_declarations": [declared]}]
        if schema is not None:
            config |= {"response_mime_type": "application/json", "response_json_schema": schema}
        asked: Object = {"model": self.model, "contents": self.turns, "config": config}
        models: Any = self.client.models
        if streamed:
            replies = [piece async for piece in await models.generate_content_stream(**asked)]
        else:
            replies = [await models.generate_content(**asked)]
        parts = [
            part
            for reply in replies
            for candidate in reply.candidates or ()
            if candidate.content is not None
            for part in candidate.content.parts or ()
        ]
        self.turns.append(google.Content(role="model", parts=parts))
        texts = [part.text for part in parts if part.text and not part.thought]
        calls = [part.function_call for part in parts if part.function_call]
        usage = replies[-1].usage_metadata
        return Told(
            "".join(texts),
            [(call.id, call.name, call.args) for call in calls],
            "".join(part.text for part in parts if part.thought and part.text),
            "tool_calls" if calls else _CONTENT_FINISH[replies[-1].candidates[0].finish_reason.value],
            (usage.prompt_token_count, (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)),
            len(texts),
        )

    def says(self, text: str) -> None:
        self.turns.append(google.Content(role="user", parts=[google.Part(text=text)]))

    def gives(self, results: Sequence[tuple[str, str, str]]) -> None:
        parts = [
            google.Part(function_response=google.FunctionResponse(id=call_id, name=name, response={"output": text}))
            for call_id, name, text in results
        ]
        self.turns.append(google.Content(role="user", parts=parts))


CALLERS: dict[str, Any] = {
    "chat": OpenAIChat,
    "responses": OpenAIResponses,
    "messages": Anthropic,
    "generate_content": GoogleGenAI,
}
"""By API."""
