"""Requests that are JSON, and odd: golden ones with one or two places spoilt, and what an upstream may be asked."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from random import Random
from typing import Any

from tests.golden.cases import ASKED, PDF, PNG, SCHEMA
from tests.mutations import at, places

Object = dict[str, Any]


def _deep(depth: int) -> Any:
    value: Any = "x"
    for number in range(depth):
        value = [value] if number % 2 else {"a": value}
    return value


ODD: tuple[Any, ...] = (
    *(None, None, "", " ", "odd", "auto", "none", "\x00", "\ud800", "0", "data:", "data:;base64,%%%", "http://"),
    *(0, 1, -1, 7, 10**30, -(10**30), 2**63, 1.5, 1e308, -0.0, True, False),
    *(
        [],
        {},
        [None],
        ["odd"],
        [[]],
        [[[]]],
        [{}],
        {"odd": 1},
        {"": None},
        {"type": None},
        {"type": "odd"},
        {"type": 7},
    ),
    *([{"type": "text"}], [{"type": "text", "text": 7}], [{"type": "text", "text": ""}], _deep(20), _deep(150)),
)

_IMAGE = f"data:image/png;base64,{PNG}"
_RICH: dict[str, Object] = {
    "chat": {
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "Be brief."}], "name": "n"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "q", "prompt_cache_breakpoint": {"mode": "explicit"}},
                    {"type": "image_url", "image_url": {"url": _IMAGE, "detail": "high"}},
                    {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "reasoning_content": "Hm.",
                "reasoning_details": [{"type": "reasoning.encrypted", "data": "x", "format": "openai-responses-v1"}],
                "annotations": [{"type": "url_citation", "url_citation": {"url": "u", "start_index": 0}}],
                "tool_calls": [
                    {
                        "id": "c",
                        "type": "function",
                        "function": {"name": "look", "arguments": "{}"},
                        "extra_content": {"google": {"thought_signature": "x"}},
                    },
                    {"id": "d", "type": "custom", "custom": {"name": "c", "input": "x"}},
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "r"}]},
            {"role": "tool", "tool_call_id": "d", "content": "r"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {"name": "look", "parameters": SCHEMA, "strict": True, "description": "d"},
            },
            {"type": "custom", "custom": {"name": "c", "format": {"type": "grammar", "grammar": {"syntax": "lark"}}}},
        ],
        "tool_choice": {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "look"}}]},
        },
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
        "stream_options": {"include_usage": True, "include_obfuscation": False},
        "stop": ["a", "b"],
        "logit_bias": {"1": 2},
        "logprobs": True,
        "top_logprobs": 2,
        "metadata": {"a": "b"},
        "prompt_cache_options": {"mode": "implicit"},
        "web_search_options": {"search_context_size": "low", "user_location": {"approximate": {"city": "x"}}},
        "reasoning_effort": "low",
        "max_completion_tokens": 9999,
        "temperature": 1,
        "top_p": 1,
        "seed": 3,
        "n": 1,
        "user": "u",
        "service_tier": "auto",
        "store": False,
        "modalities": ["text"],
    },
    "responses": {
        "instructions": "Be brief.",
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "q"},
                    {"type": "input_image", "image_url": _IMAGE, "detail": "high"},
                    {"type": "input_file", "file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"},
                ],
            },
            {
                "type": "reasoning",
                "id": "rs",
                "summary": [{"type": "summary_text", "text": "s"}],
                "content": [{"type": "reasoning_text", "text": "t"}],
                "encrypted_content": "x",
                "status": "completed",
            },
            {
                "type": "message",
                "role": "assistant",
                "id": "m",
                "status": "completed",
                "phase": "commentary",
                "content": [
                    {
                        "type": "output_text",
                        "text": "a",
                        "annotations": [{"type": "url_citation", "url": "u", "title": "t", "start_index": 0}],
                        "logprobs": [{"token": "a", "logprob": -1, "bytes": [1], "top_logprobs": []}],
                    },
                    {"type": "refusal", "refusal": "no"},
                ],
            },
            {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}", "namespace": "g", "id": "fc"},
            {"type": "custom_tool_call", "call_id": "d", "name": "c", "input": "x"},
            {"type": "web_search_call", "id": "ws", "status": "completed", "action": {"type": "search", "query": "q"}},
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": _IMAGE}]},
            {"type": "custom_tool_call_output", "call_id": "d", "output": "r"},
            {"type": "additional_tools", "tools": [{"type": "function", "name": "more", "parameters": SCHEMA}]},
        ],
        "tools": [
            {"type": "function", "name": "look", "parameters": SCHEMA, "strict": True, "description": "d"},
            {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
            {"type": "namespace", "name": "g", "description": "d", "tools": [{"type": "function", "name": "in_g"}]},
            {"type": "web_search", "search_context_size": "low", "user_location": {"type": "approximate"}},
        ],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look"}]},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}, "verbosity": "low"},
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
        "max_output_tokens": 9999,
        "max_tool_calls": 3,
        "parallel_tool_calls": False,
        "metadata": {"a": "b"},
        "temperature": 1,
        "top_p": 1,
        "top_logprobs": 2,
        "truncation": "auto",
        "store": False,
        "service_tier": "auto",
        "stream_options": {"include_obfuscation": False},
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "background": False,
    },
    "messages": {
        "max_tokens": 9999,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "q", "cache_control": {"type": "ephemeral"}},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                    {"type": "image", "source": {"type": "url", "url": "https://a.example/x.png"}},
                    {
                        "type": "document",
                        "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                        "title": "t",
                        "context": "c",
                        "citations": {"enabled": True},
                    },
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}},
                    {
                        "type": "document",
                        "source": {"type": "content", "content": [{"type": "text", "text": "d"}]},
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "x"},
                    {"type": "redacted_thinking", "data": "x"},
                    {
                        "type": "text",
                        "text": "a",
                        "citations": [{"type": "web_search_result_location", "url": "u", "title": "t"}],
                    },
                    {"type": "tool_use", "id": "c", "name": "look", "input": {"city": "x"}},
                    {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
                ],
            },
            {"role": "system", "content": "More."},
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "c",
                        "is_error": True,
                        "content": [
                            {"type": "text", "text": "r"},
                            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                        ],
                    },
                    {"type": "text", "text": "and?"},
                ],
            },
        ],
        "tools": [
            {"name": "look", "description": "d", "input_schema": SCHEMA, "cache_control": {"type": "ephemeral"}},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 2, "allowed_domains": ["a"]},
        ],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "thinking": {"type": "enabled", "budget_tokens": 2000, "display": "summarized"},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
        "metadata": {"user_id": "u"},
        "stop_sequences": ["a", "b"],
        "temperature": 1,
        "top_p": 1,
        "top_k": 3,
        "service_tier": "auto",
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
        "container": "c",
        "mcp_servers": [],
    },
    "generate_content": {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"text": "q"},
                    {"inlineData": {"mimeType": "image/png", "data": PNG}, "mediaResolution": {"level": "LOW"}},
                    {"fileData": {"mimeType": "application/pdf", "fileUri": "https://a.example/x.pdf"}},
                    {"inline_data": {"mime_type": "audio/wav", "data": "AAAA"}},
                ],
            },
            {
                "role": "model",
                "parts": [
                    {"text": "Hm.", "thought": True, "thoughtSignature": "AAAA"},
                    {"text": "a", "thoughtSignature": "AAAA"},
                    {"functionCall": {"id": "c", "name": "look", "args": {"city": "x"}}, "thoughtSignature": "AAAA"},
                    {"executableCode": {"language": "PYTHON", "code": "1"}},
                    {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {
                        "functionResponse": {
                            "id": "c",
                            "name": "look",
                            "response": {"output": "r"},
                            "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}],
                        }
                    }
                ],
            },
        ],
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "look", "description": "d", "parametersJsonSchema": SCHEMA},
                    {
                        "name": "stay",
                        "parameters": {
                            "type": "OBJECT",
                            "nullable": True,
                            "properties": {"a": {"type": "ARRAY", "items": {"type": "STRING", "enum": ["x"]}}},
                            "required": ["a"],
                            "propertyOrdering": ["a"],
                        },
                    },
                ]
            },
            {"googleSearch": {}},
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["look"]}},
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        "cachedContent": "cachedContents/x",
        "labels": {"a": "b"},
        "generationConfig": {
            "temperature": 1,
            "topP": 1,
            "topK": 3,
            "maxOutputTokens": 9999,
            "candidateCount": 1,
            "stopSequences": ["a"],
            "seed": 3,
            "responseLogprobs": True,
            "logprobs": 2,
            "presencePenalty": 0,
            "responseMimeType": "application/json",
            "responseSchema": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}},
            "responseModalities": ["TEXT"],
            "thinkingConfig": {"thinkingBudget": 2000, "includeThoughts": True},
            "speechConfig": {"languageCode": "de"},
        },
    },
}


_FILES = {"file", "input_file", "document", "fileData", "inline_data", "inlineData", "executableCode"}


def _without_files(value: Any) -> Any:
    """Without content that not every API has."""
    if isinstance(value, list):
        return [_without_files(entry) for entry in value if not _is_file(entry)]
    return {key: _without_files(entry) for key, entry in value.items()} if isinstance(value, dict) else value


def _is_file(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    source = entry.get("source")
    return (
        not _FILES.isdisjoint({*entry, entry.get("type")})
        or "codeExecutionResult" in entry
        or (isinstance(source, dict) and source.get("type") == "url")
    )


def requests_of(api: str) -> list[Object]:
    """Lawful requests of this API, without a model."""
    rich = _RICH[api], _without_files(_RICH[api])
    return [*(bodies[api] for bodies in ASKED.values() if api in bodies), *(rich * 6)]


def spoilt_request(document: Object, random: Random) -> tuple[Object, str]:
    """The request with one thing, or two, taken away, doubled or of an odd value; and in words what was done."""
    made = copy.deepcopy(document)
    deeds: list[str] = []
    for _ in range(random.choice((1, 1, 2))):
        paths = list(places(made))
        if not paths:
            break
        path = random.choice(paths)
        holder, key = at(made, path[:-1]), path[-1]
        deed = random.choice(("drop", "odd", "odd", "odd", "odd", "twice", "empty", "swap"))
        if deed == "drop":
            del holder[key]
        elif deed == "twice" and isinstance(holder, list):
            holder.insert(int(key), copy.deepcopy(holder[int(key)]))
        elif deed == "empty" and isinstance(holder[key], list | dict | str):
            holder[key] = type(holder[key])()
        elif deed == "swap":
            other = random.choice(paths)
            holder[key] = copy.deepcopy(at(document, other)) if _stands(document, other) else None
            deed = f"put what stands at {other}"
        else:
            odd = copy.deepcopy(random.choice(ODD))
            holder[key] = odd
            deed = f"set {str(odd)[:40]!r}"
        deeds.append(f"{deed} at {path}")
    return made, "; ".join(deeds)


def _stands(document: Object, path: tuple[str | int, ...]) -> bool:
    try:
        at(document, path)
    except (KeyError, IndexError, TypeError):
        return False
    return True


# what an upstream may be asked


def shape_faults(api: str, body: Object) -> Iterator[str]:
    """What is of the wrong type in a request to an upstream, as far as no upstream of this API could read it."""
    yield from _SHAPES[api](body)


def _chat(body: Object) -> Iterator[str]:
    yield from _listed(body, "messages", {"role": str})
    for number, message in enumerate(body["messages"]):
        content = message.get("content")
        if isinstance(content, list):
            yield from _listed(message, "content", {"type": str}, f"messages[{number}].")
        elif not (content is None or isinstance(content, str)):
            yield f"messages[{number}].content is {content!r}"
        for call in message.get("tool_calls") or ():
            function = call.get("function") or call.get("custom")
            yield from _typed(function, {"name": str}, f"messages[{number}].tool_calls")


def _responses(body: Object) -> Iterator[str]:
    if isinstance(body.get("input"), str):
        return
    yield from _listed(body, "input", {})
    for number, item in enumerate(body["input"]):
        if "role" in item and not isinstance(item.get("content"), str):
            yield from _listed(item, "content", {"type": str}, f"input[{number}].")


def _messages(body: Object) -> Iterator[str]:
    yield from _typed(body, {"max_tokens": int, "model": str}, "")
    yield from _listed(body, "messages", {"role": str})
    for number, message in enumerate(body["messages"]):
        if message["role"] not in ("user", "assistant", "system"):
            yield f"messages[{number}].role is {message['role']}"
        if not isinstance(message.get("content"), str):
            yield from _listed(message, "content", {"type": str}, f"messages[{number}].")
    for tool in body.get("tools") or ():
        yield from _typed(tool, {"name": str}, "tools")
        if "type" not in tool:
            yield from _typed(tool, {"input_schema": dict}, "tools")


def _contents(body: Object) -> Iterator[str]:
    yield from _listed(body, "contents", {"role": str, "parts": list})
    for number, content in enumerate(body["contents"]):
        yield from _listed(content, "parts", {}, f"contents[{number}].")
        for part in content["parts"]:
            if "functionCall" in part:
                yield from _typed(part["functionCall"], {"name": str, "args": dict}, f"contents[{number}].functionCall")
    yield from _typed(body.get("generationConfig", {}), {}, "generationConfig")


def _converse(body: Object) -> Iterator[str]:
    yield from _listed(body, "messages", {"role": str, "content": list})
    for number, message in enumerate(body["messages"]):
        yield from _listed(message, "content", {}, f"messages[{number}].")


def _listed(holder: Object, key: str, fields: dict[str, type], path: str = "") -> Iterator[str]:
    entries = holder.get(key)
    if not isinstance(entries, list) or not entries:
        yield f"{path}{key} is {str(entries)[:80]}"
        return
    for number, entry in enumerate(entries):
        yield from _typed(entry, fields, f"{path}{key}[{number}]")


def _typed(value: Any, fields: dict[str, type], path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} is {str(value)[:80]}"
        return
    for key, kind in fields.items():
        if not isinstance(value.get(key), kind):
            yield f"{path}.{key} is {str(value.get(key))[:80]}"


_SHAPES = {
    "chat": _chat,
    "responses": _responses,
    "messages": _messages,
    "generate_content": _contents,
    "converse": _converse,
    "cohere_chat": _chat,
}
