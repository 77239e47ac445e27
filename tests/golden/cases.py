"""The cases of the matrix: what callers of each API ask, and what upstreams of each API answer, written by hand.

A case of `ASKED` is the same request in the words of every caller's API; one of `ANSWERED` the same answer in those of
every upstream's. A golden file a cell tells what becomes of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]
Bodies = Mapping[str, Object]

PNG = "iVBORw0KGgo="
PDF = "JVBERi0xLjc="
SCHEMA: Object = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
LOOK: Object = {"name": "look", "description": "Look there.", "parameters": SCHEMA}
STAY: Object = {"name": "stay", "description": "Do nothing.", "parameters": {"type": "object", "properties": {}}}
OSLO, ROME = {"city": "Oslo"}, {"city": "Rome"}


def text(value: Any) -> str:
    """JSON as a text."""
    return json.dumps(value, separators=(",", ":"))


# requests


def of_chat(*messages: Object, **more: Any) -> Object:
    return {"messages": list(messages), **more}


def of_responses(*items: Object, **more: Any) -> Object:
    return {"input": list(items), **more}


def of_messages(*messages: Object, **more: Any) -> Object:
    return {"max_tokens": 100, "messages": list(messages), **more}


def of_content(*contents: Object, **more: Any) -> Object:
    return {"contents": list(contents), **more}


def user(content: Any) -> Object:
    return {"role": "user", "content": content}


def said(content: Any, **more: Any) -> Object:
    return {"role": "assistant", "content": content, **more}


def parts(role: str, *given: Object) -> Object:
    return {"role": role, "parts": list(given)}


_CHAT_TOOLS = [{"type": "function", "function": tool} for tool in (LOOK, STAY)]
_RESPONSES_TOOLS = [{"type": "function", **tool, "strict": False} for tool in (LOOK, STAY)]
_MESSAGES_TOOLS = [
    {"name": tool["name"], "description": tool["description"], "input_schema": tool["parameters"]}
    for tool in (LOOK, STAY)
]
_CONTENT_TOOLS = [
    {
        "functionDeclarations": [
            {
                "name": tool["name"],
                "description": tool["description"],
                "parametersJsonSchema": tool["parameters"],
            }
            for tool in (LOOK, STAY)
        ]
    }
]
HI: Bodies = {
    "chat": user("Hi."),
    "responses": user("Hi."),
    "messages": user("Hi."),
    "generate_content": parts("user", {"text": "Hi."}),
}


def _hi(more: Mapping[str, Object]) -> Bodies:
    """A greeting with these knobs."""
    make = {"chat": of_chat, "responses": of_responses, "messages": of_messages, "generate_content": of_content}
    return {api: make[api](HI[api], **more.get(api, {})) for api in make}


def _calls_and_results() -> Bodies:
    places = (("call_1", OSLO, "rain"), ("call_2", ROME, "sun"))
    chat_calls = [
        {"id": name, "type": "function", "function": {"name": "look", "arguments": text(where)}}
        for name, where, _ in places
    ]
    calls = [
        {"type": "function_call", "call_id": name, "name": "look", "arguments": text(where)}
        for name, where, _ in places
    ]
    results = [{"type": "function_call_output", "call_id": name, "output": saw} for name, _, saw in places]
    uses = [{"type": "tool_use", "id": name, "name": "look", "input": where} for name, where, _ in places]
    told = [{"type": "tool_result", "tool_use_id": name, "content": saw} for name, _, saw in places]
    made = [{"functionCall": {"id": name, "name": "look", "args": where}} for name, where, _ in places]
    given = [{"functionResponse": {"id": name, "name": "look", "response": {"output": saw}}} for name, _, saw in places]
    chat_results = [{"role": "tool", "tool_call_id": name, "content": saw} for name, _, saw in places]
    return {
        "chat": of_chat(
            user("Where?"),
            said(None, tool_calls=chat_calls),
            *chat_results,
            tools=_CHAT_TOOLS,
            parallel_tool_calls=True,
        ),
        "responses": of_responses(user("Where?"), *calls, *results, tools=_RESPONSES_TOOLS, parallel_tool_calls=True),
        "messages": of_messages(user("Where?"), said(uses), user(told), tools=_MESSAGES_TOOLS),
        "generate_content": of_content(
            parts("user", {"text": "Where?"}), parts("model", *made), parts("user", *given), tools=_CONTENT_TOOLS
        ),
    }


def _signed_thoughts() -> Bodies:
    """Thoughts of an earlier turn as each API's own maker signs them."""
    details = [{"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "format": "anthropic-claude-v1"}]
    encrypted = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    return {
        "chat": of_chat(
            user("Hi."),
            said("Hello.", reasoning_content="Hm.", reasoning_details=details),
            user("And?"),
            reasoning_effort="low",
        ),
        "responses": of_responses(
            user("Hi."),
            encrypted,
            said("Hello."),
            user("And?"),
            reasoning={"effort": "low"},
            include=["reasoning.encrypted_content"],
            store=False,
        ),
        "messages": of_messages(
            user("Hi."),
            said([thought, {"type": "text", "text": "Hello."}]),
            user("And?"),
            max_tokens=4096,
            thinking={"type": "enabled", "budget_tokens": 1024},
        ),
        "generate_content": of_content(
            parts("user", {"text": "Hi."}),
            parts("model", {"text": "Hm.", "thought": True}, {"text": "Hello.", "thoughtSignature": "c2ln"}),
            parts("user", {"text": "And?"}),
            generationConfig={"thinkingConfig": {"thinkingBudget": 1024, "includeThoughts": True}},
        ),
    }


ASKED: Mapping[str, Bodies] = {
    "text": _hi({}),
    "several turns": {
        "chat": of_chat(user("Hi."), said("Hello."), user("And?")),
        "responses": of_responses(user("Hi."), said("Hello."), user("And?")),
        "messages": of_messages(user("Hi."), said("Hello."), user("And?")),
        "generate_content": of_content(
            HI["generate_content"], parts("model", {"text": "Hello."}), HI["generate_content"]
        ),
    },
    "system": {
        "chat": of_chat({"role": "system", "content": "Be brief."}, HI["chat"]),
        "responses": of_responses(HI["responses"], instructions="Be brief."),
        "messages": of_messages(HI["messages"], system="Be brief."),
        "generate_content": of_content(HI["generate_content"], systemInstruction={"parts": [{"text": "Be brief."}]}),
    },
    "image": {
        "chat": of_chat(
            user(
                [
                    {"type": "text", "text": "What?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                ]
            )
        ),
        "responses": of_responses(
            user(
                [
                    {"type": "input_text", "text": "What?"},
                    {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
                ]
            )
        ),
        "messages": of_messages(
            user(
                [
                    {"type": "text", "text": "What?"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                ]
            )
        ),
        "generate_content": of_content(
            parts("user", {"text": "What?"}, {"inlineData": {"mimeType": "image/png", "data": PNG}})
        ),
    },
    "file": {
        "chat": of_chat(
            user(
                [
                    {"type": "text", "text": "What?"},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
                ]
            )
        ),
        "responses": of_responses(
            user(
                [
                    {"type": "input_text", "text": "What?"},
                    {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
                ]
            )
        ),
        "messages": of_messages(
            user(
                [
                    {"type": "text", "text": "What?"},
                    {
                        "type": "document",
                        "title": "a.pdf",
                        "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                    },
                ]
            )
        ),
        "generate_content": of_content(
            parts(
                "user",
                {"text": "What?"},
                {"inlineData": {"mimeType": "application/pdf", "data": PDF, "displayName": "a.pdf"}},
            )
        ),
    },
    "calls and results": _calls_and_results(),
    "forced tool": _hi(
        {
            "chat": {"tools": _CHAT_TOOLS, "tool_choice": {"type": "function", "function": {"name": "look"}}},
            "responses": {"tools": _RESPONSES_TOOLS, "tool_choice": {"type": "function", "name": "look"}},
            "messages": {"tools": _MESSAGES_TOOLS, "tool_choice": {"type": "tool", "name": "look"}},
            "generate_content": {
                "tools": _CONTENT_TOOLS,
                "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["look"]}},
            },
        }
    ),
    "forbidden tools": _hi(
        {
            "chat": {"tools": _CHAT_TOOLS, "tool_choice": "none"},
            "responses": {"tools": _RESPONSES_TOOLS, "tool_choice": "none"},
            "messages": {"tools": _MESSAGES_TOOLS, "tool_choice": {"type": "none"}},
            "generate_content": {
                "tools": _CONTENT_TOOLS,
                "toolConfig": {"functionCallingConfig": {"mode": "NONE"}},
            },
        }
    ),
    "structured output": _hi(
        {
            "chat": {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "place", "schema": SCHEMA, "strict": True},
                }
            },
            "responses": {
                "text": {"format": {"type": "json_schema", "name": "place", "schema": SCHEMA, "strict": True}}
            },
            "messages": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
            "generate_content": {
                "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
            },
        }
    ),
    "signed thoughts": _signed_thoughts(),
    "stop and sampling": _hi(
        {
            "chat": {"stop": ["END"], "temperature": 0.5, "top_p": 0.9, "max_tokens": 50, "seed": 7},
            "responses": {"temperature": 0.5, "top_p": 0.9, "max_output_tokens": 50},
            "messages": {"stop_sequences": ["END"], "temperature": 0.5, "top_k": 5, "max_tokens": 50},
            "generate_content": {
                "generationConfig": {
                    "stopSequences": ["END"],
                    "temperature": 0.5,
                    "topP": 0.9,
                    "topK": 5,
                    "maxOutputTokens": 50,
                    "seed": 7,
                }
            },
        }
    ),
}

# answers

_COUNTS = {"in": 12, "cached": 4, "out": 8, "thought": 3}


def chat_answer(message: Object, finish: str = "stop") -> Object:
    usage = {
        "prompt_tokens": _COUNTS["in"],
        "completion_tokens": _COUNTS["out"],
        "total_tokens": _COUNTS["in"] + _COUNTS["out"],
        "prompt_tokens_details": {"cached_tokens": _COUNTS["cached"]},
        "completion_tokens_details": {"reasoning_tokens": _COUNTS["thought"]},
    }
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "up"}
    return {**head, "choices": [choice], "usage": usage}


def response(*output: Object, reason: str = "") -> Object:
    usage = {
        "input_tokens": _COUNTS["in"],
        "input_tokens_details": {"cached_tokens": _COUNTS["cached"]},
        "output_tokens": _COUNTS["out"],
        "output_tokens_details": {"reasoning_tokens": _COUNTS["thought"]},
        "total_tokens": _COUNTS["in"] + _COUNTS["out"],
    }
    status = "incomplete" if reason else "completed"
    head = {"id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "up", "error": None}
    return {
        **head,
        "incomplete_details": {"reason": reason} if reason else None,
        "output": list(output),
        "usage": usage,
    }


def output_text(value: str, kind: str = "output_text") -> Object:
    part = {"type": kind, "text": value, "annotations": [], "logprobs": []}
    if kind == "refusal":
        part = {"type": kind, "refusal": value}
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}


def message(*content: Object, stop: str = "end_turn") -> Object:
    usage = {
        "input_tokens": _COUNTS["in"] - _COUNTS["cached"],
        "cache_read_input_tokens": _COUNTS["cached"],
        "cache_creation_input_tokens": 0,
        "output_tokens": _COUNTS["out"],
    }
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "up"}
    return {**head, "content": list(content), "stop_reason": stop, "stop_sequence": None, "usage": usage}


def candidate(*given: Object, finish: str = "STOP") -> Object:
    usage = {
        "promptTokenCount": _COUNTS["in"],
        "cachedContentTokenCount": _COUNTS["cached"],
        "candidatesTokenCount": _COUNTS["out"] - _COUNTS["thought"],
        "thoughtsTokenCount": _COUNTS["thought"],
        "totalTokenCount": _COUNTS["in"] + _COUNTS["out"],
    }
    content = {"content": parts("model", *given), "finishReason": finish, "index": 0}
    return {"candidates": [content], "usageMetadata": usage, "modelVersion": "up", "responseId": "r1"}


def converse(*content: Object, stop: str = "end_turn") -> Object:
    usage = {
        "inputTokens": _COUNTS["in"] - _COUNTS["cached"],
        "cacheReadInputTokens": _COUNTS["cached"],
        "outputTokens": _COUNTS["out"],
        "totalTokens": _COUNTS["in"] + _COUNTS["out"],
    }
    said = {"role": "assistant", "content": list(content)}
    return {"output": {"message": said}, "stopReason": stop, "usage": usage, "metrics": {"latencyMs": 1}}


_TEXT = "Hello, you there."
_CUT = "Hello, yo"
_NO = "I cannot help with that."

ANSWERED: Mapping[str, Bodies] = {
    "text": {
        "chat": chat_answer({"content": _TEXT}),
        "responses": response(output_text(_TEXT)),
        "messages": message({"type": "text", "text": _TEXT}),
        "generate_content": candidate({"text": _TEXT}),
        "converse": converse({"text": _TEXT}),
    },
    "parallel calls": {
        "chat": chat_answer(
            {
                "content": None,
                "tool_calls": [
                    {"id": name, "type": "function", "function": {"name": "look", "arguments": text(where)}}
                    for name, where in (("call_1", OSLO), ("call_2", ROME))
                ],
            },
            "tool_calls",
        ),
        "responses": response(
            *(
                {
                    "type": "function_call",
                    "id": f"fc_{number}",
                    "call_id": f"call_{number}",
                    "name": "look",
                    "arguments": text(where),
                    "status": "completed",
                }
                for number, where in ((1, OSLO), (2, ROME))
            )
        ),
        "messages": message(
            *({"type": "tool_use", "id": f"call_{n}", "name": "look", "input": w} for n, w in ((1, OSLO), (2, ROME))),
            stop="tool_use",
        ),
        "generate_content": candidate(
            *({"functionCall": {"id": f"call_{n}", "name": "look", "args": w}} for n, w in ((1, OSLO), (2, ROME)))
        ),
        "converse": converse(
            *({"toolUse": {"toolUseId": f"call_{n}", "name": "look", "input": w}} for n, w in ((1, OSLO), (2, ROME))),
            stop="tool_use",
        ),
    },
    "signed thoughts": {
        "chat": chat_answer(
            {
                "content": "Hello.",
                "reasoning": "Hm, so.",
                "reasoning_details": [
                    {
                        "type": "reasoning.text",
                        "text": "Hm, so.",
                        "signature": "c2ln",
                        "format": "anthropic-claude-v1",
                        "index": 0,
                    }
                ],
            }
        ),
        "responses": response(
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "Hm, so."}],
                "encrypted_content": "gAAA",
            },
            output_text("Hello."),
        ),
        "messages": message(
            {"type": "thinking", "thinking": "Hm, so.", "signature": "c2ln"}, {"type": "text", "text": "Hello."}
        ),
        "generate_content": candidate(
            {"text": "Hm, so.", "thought": True}, {"text": "Hello.", "thoughtSignature": "c2ln"}
        ),
        "converse": converse(
            {"reasoningContent": {"reasoningText": {"text": "Hm, so.", "signature": "c2ln"}}}, {"text": "Hello."}
        ),
    },
    "length": {
        "chat": chat_answer({"content": _CUT}, "length"),
        "responses": response({**output_text(_CUT), "status": "incomplete"}, reason="max_output_tokens"),
        "messages": message({"type": "text", "text": _CUT}, stop="max_tokens"),
        "generate_content": candidate({"text": _CUT}, finish="MAX_TOKENS"),
        "converse": converse({"text": _CUT}, stop="max_tokens"),
    },
    "refused": {
        "chat": chat_answer({"content": None, "refusal": _NO}),
        "responses": response(output_text(_NO, "refusal")),
        "messages": message({"type": "text", "text": _NO}, stop="refusal"),
        "generate_content": candidate({"text": _CUT}, finish="SAFETY"),
        "converse": converse({"text": _NO}, stop="guardrail_intervened"),
    },
}

FAILED: Bodies = {
    "chat": {"error": {"message": "Slow down.", "type": "rate_limit_error", "param": None, "code": "slow"}},
    "responses": {"error": {"message": "Slow down.", "type": "rate_limit_error", "param": None, "code": "slow"}},
    "messages": {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down."}},
    "generate_content": {"error": {"code": 429, "message": "Slow down.", "status": "RESOURCE_EXHAUSTED"}},
    "converse": {"message": "Slow down."},
}
"""What an upstream answers with the status 429."""

BROKEN: Mapping[str, Any] = {
    "chat": {"error": {"message": "It fell over.", "type": "server_error", "param": None, "code": "overloaded"}},
    "responses": {
        "type": "error",
        "sequence_number": 9,
        "code": "overloaded",
        "message": "It fell over.",
        "param": None,
    },
    "messages": {"type": "error", "error": {"type": "overloaded_error", "message": "It fell over."}},
    "generate_content": {"error": {"code": 503, "message": "It fell over.", "status": "UNAVAILABLE"}},
    "converse": ("modelStreamErrorException", {"message": "It fell over."}),
}
"""An error that it puts into its stream in place of the end."""
