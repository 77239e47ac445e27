"""Requests of every API in which each field asks for nothing: as if it were absent."""

from __future__ import annotations

from typing import Any

from tests.fidelity.fields import published
from tests.playback import Object

_NEEDED: dict[str, Object] = {
    "chat": {"model": "asked-for", "messages": [{"role": "user", "content": "Hello."}]},
    "completions": {"model": "asked-for", "prompt": "Hello."},
    "responses": {"model": "asked-for", "input": "Hello."},
    "messages": {"model": "asked-for", "messages": [{"role": "user", "content": "Hello."}], "max_tokens": 99},
    "generate_content": {"model": "asked-for", "contents": [{"role": "user", "parts": [{"text": "Hello."}]}]},
}
"""What no request is without."""

_DEFAULTS: dict[str, Object] = {
    "chat": {
        "frequency_penalty": 0,
        "logit_bias": {},
        "logprobs": False,
        "metadata": {},
        "modalities": ["text"],
        "n": 1,
        "parallel_tool_calls": True,
        "presence_penalty": 0,
        "prompt_cache_options": {},
        "response_format": {"type": "text"},
        "service_tier": "auto",
        "stop": [],
        "store": False,
        "stream": False,
        "temperature": 1,
        "tool_choice": "none",
        "tools": [],
        "functions": [],
        "function_call": "none",
        "top_logprobs": 0,
        "top_p": 1,
        "verbosity": "medium",
    },
    "completions": {
        "best_of": 1,
        "echo": False,
        "frequency_penalty": 0,
        "logit_bias": {},
        "n": 1,
        "presence_penalty": 0,
        "stop": [],
        "stream": False,
        "suffix": "",
        "temperature": 1,
        "top_p": 1,
    },
    "responses": {
        "background": False,
        "context_management": [],
        "frequency_penalty": 0,
        "include": [],
        "instructions": "",
        "metadata": {},
        "parallel_tool_calls": True,
        "presence_penalty": 0,
        "prompt_cache_options": {},
        "reasoning": {},
        "service_tier": "auto",
        "store": True,
        "stream": False,
        "temperature": 1,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1,
        "truncation": "disabled",
    },
    "messages": {
        "container": {"skills": []},
        "context_management": {"edits": []},
        "mcp_servers": [],
        "metadata": {},
        "output_config": {},
        "service_tier": "auto",
        "speed": "standard",
        "stop_sequences": [],
        "stream": False,
        "system": [],
        "temperature": 1,
        "thinking": {"type": "disabled"},
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": False},
        "tools": [],
        "top_p": 1,
    },
    "generate_content": {
        "cachedContent": "",
        "generationConfig": {
            "audioTimestamp": False,
            "candidateCount": 1,
            "enableAffectiveDialog": False,
            "enableEnhancedCivicAnswers": False,
            "frequencyPenalty": 0,
            "imageConfig": {},
            "mediaResolution": "MEDIA_RESOLUTION_UNSPECIFIED",
            "presencePenalty": 0,
            "responseLogprobs": False,
            "responseMimeType": "text/plain",
            "responseModalities": ["TEXT"],
            "speechConfig": {},
            "stopSequences": [],
            "temperature": 1,
            "thinkingConfig": {"includeThoughts": False, "thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"},
        },
        "labels": {},
        "safetySettings": [],
        "serviceTier": "unspecified",
        "systemInstruction": {"parts": []},
        "toolConfig": {
            "functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": []},
            "includeServerSideToolInvocations": False,
        },
        "tools": [],
    },
}
"""What each API does unasked, said aloud."""

_SCHEMA = {"type": "object", "properties": {}}
_DATA = "iVBORw0KGgo="
_WITHIN: dict[str, Object] = {
    "chat": {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be brief.", "prompt_cache_breakpoint": None}]},
            {
                "role": "user",
                "name": "",
                "content": [
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_DATA}", "detail": "auto"}},
                    {"type": "text", "text": "Hello."},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "annotations": [],
                "audio": None,
                "function_call": None,
                "name": None,
                "reasoning_content": "",
                "reasoning_details": [],
                "refusal": None,
                "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "42"},
            {"role": "assistant", "content": "Said.", "tool_calls": None, "refusal": None, "annotations": []},
            {"role": "user", "content": "On."},
        ],
        "tools": [
            {
                "type": "function",
                "function": {"name": "f", "description": "", "parameters": _SCHEMA, "strict": False},
                "async": False,
                "defer_loading": False,
            }
        ],
        "tool_choice": "auto",
    },
    "completions": {},
    "responses": {
        "input": [
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_image", "image_url": f"data:image/png;base64,{_DATA}", "detail": "auto"},
                    {"type": "input_text", "text": "Hello.", "prompt_cache_breakpoint": None},
                ],
            },
            {
                "type": "function_call",
                "id": "fc_1",
                "status": "completed",
                "call_id": "call_1",
                "name": "f",
                "arguments": "{}",
                "async": False,
                "caller": {"type": "direct"},
                "namespace": None,
            },
            {
                "type": "function_call_output",
                "id": None,
                "status": "completed",
                "call_id": "call_1",
                "output": "42",
                "caller": {"type": "direct"},
            },
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "status": "completed",
                "phase": None,
                "content": [{"type": "output_text", "text": "Said.", "annotations": [], "logprobs": []}],
            },
            {"role": "user", "content": "On."},
        ],
        "tools": [
            {
                "type": "function",
                "name": "f",
                "description": None,
                "parameters": _SCHEMA,
                "strict": False,
                "allowed_callers": ["direct"],
                "async": False,
                "defer_loading": False,
                "output_schema": None,
            }
        ],
        "tool_choice": "auto",
    },
    "messages": {
        "system": [{"type": "text", "text": "Be brief.", "cache_control": None, "citations": None}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": _DATA},
                        "cache_control": None,
                        "transformations": [],
                    },
                    {
                        "type": "document",
                        "source": {"type": "text", "media_type": "text/plain", "data": "Words."},
                        "cache_control": None,
                        "citations": {"enabled": False},
                        "context": None,
                        "title": None,
                    },
                    {"type": "text", "text": "Hello.", "cache_control": None, "citations": []},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Well.", "citations": None},
                    {
                        "type": "tool_use",
                        "id": "toolu_1",
                        "name": "f",
                        "input": {},
                        "cache_control": None,
                        "caller": {"type": "direct"},
                    },
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_1",
                        "content": [{"type": "text", "text": "42", "cache_control": None, "citations": None}],
                        "cache_control": None,
                        "is_error": False,
                    }
                ],
            },
        ],
        "tools": [
            {
                "type": "custom",
                "name": "f",
                "description": "",
                "input_schema": _SCHEMA,
                "allowed_callers": ["direct"],
                "cache_control": None,
                "defer_loading": False,
                "eager_input_streaming": False,
                "input_examples": [],
                "strict": False,
            }
        ],
    },
    "generate_content": {
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"inlineData": {"mimeType": "image/png", "data": _DATA, "displayName": ""}, "videoMetadata": {}},
                    {"text": "Hello.", "thought": False, "thoughtSignature": "", "partMetadata": {}},
                ],
            },
            {"role": "model", "parts": [{"functionCall": {"id": "", "name": "f", "args": {}, "partialArgs": []}}]},
            {
                "role": "user",
                "parts": [
                    {
                        "functionResponse": {
                            "id": "",
                            "name": "f",
                            "parts": [],
                            "response": {"result": 42},
                            "scheduling": "SCHEDULING_UNSPECIFIED",
                            "willContinue": False,
                        }
                    }
                ],
            },
        ],
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "f",
                        "description": "",
                        "parametersJsonSchema": _SCHEMA,
                        "behavior": "UNSPECIFIED",
                        "response": None,
                    }
                ],
                "googleSearch": None,
            }
        ],
    },
}
"""What stands within messages, items, parts and tools."""

_OF_COMPLETIONS = ("logprobs", "max_tokens", "seed", "stream_options", "user", *_DEFAULTS["completions"])
_OF_OTHERS = {"messages": ("temperature", "top_p", "top_k", "mcp_servers", "context_management")}
"""Fields that the types have no more, and clients send."""

_NEEDS = {
    "access_programs",
    "audio",
    "cache_control",
    "container",
    "conversation",
    "diagnostics",
    "function_call",
    "moderation",
    "prediction",
    "prompt",
    "web_search_options",
}
"""Objects that ask for something by being there, or are none without one of their fields."""


def _fields(api: str) -> list[str]:
    """The fields of a request, those of an object that no request needs too."""
    if api == "completions":
        return list(_OF_COMPLETIONS)
    found = {path for path in published(f"{api}.request") if not {"(", "["} & set(path)}
    return sorted({*found, *_OF_OTHERS.get(api, ())})


def _nulls(api: str) -> tuple[Object, Object]:
    """Every field null; and null only in the objects, which are there."""
    outer: Object = {}
    inner: Object = {}
    for path in _fields(api):
        owner, _, name = path.rpartition(".")
        if not owner:
            outer[path] = None
        elif "." not in owner and owner not in _NEEDS:
            inner.setdefault(owner, {})[name] = None
    return outer | _NEEDED[api], inner | _NEEDED[api]


def _each() -> dict[str, dict[str, Object]]:
    found: dict[str, dict[str, Object]] = {}
    for api, needed in _NEEDED.items():
        outer, inner = _nulls(api)
        found[api] = {
            "null": outer,
            "null within": inner,
            "default": needed | _DEFAULTS[api],
            "within": needed | _WITHIN[api],
        }
    return found


NEUTRAL: dict[str, dict[str, Any]] = _each()
"""API -> how they ask for nothing -> a request with all such fields."""
