"""Requests that together have every field of the table."""

from __future__ import annotations

from typing import Any

from tests.playback import Object

TOKEN = {
    "token": "Hi",
    "logprob": -0.25,
    "bytes": [72, 105],
    "top_logprobs": [{"token": "Ho", "logprob": -2.5, "bytes": [72, 111]}],
}
BREAKPOINT = {"mode": "explicit", "ttl": "30m"}
SCHEMA = {"type": "object", "properties": {}}
DATA = "data:text/plain;base64,SGk="
PICTURE = "https://pictures.example/1.png"
USER: Object = {"role": "user", "content": "Hello."}
FUNCTION = {
    "type": "function",
    "function": {"name": "f", "description": "does f", "parameters": SCHEMA, "strict": True},
}
CUSTOM = {
    "type": "custom",
    "custom": {
        "name": "run",
        "description": "runs",
        "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /.+/"}},
    },
}


def chat(*messages: Object, **more: Any) -> Object:
    """A chat request."""
    return {"model": "asked-for", "messages": [USER, *messages], **more}


def _called(call: Object) -> Object:
    return {"role": "assistant", "content": None, "tool_calls": [call]}


CHAT_REQUESTS: list[Object] = [
    chat(),
    chat(
        {
            "role": "user",
            "name": "ann",
            "content": [{"type": "text", "text": "Look.", "prompt_cache_breakpoint": BREAKPOINT}],
        }
    ),
    chat(
        {
            "role": "user",
            "content": [
                {
                    "type": "image_url",
                    "image_url": {"url": PICTURE, "detail": "high"},
                    "prompt_cache_breakpoint": BREAKPOINT,
                },
                {
                    "type": "file",
                    "file": {"file_data": DATA, "filename": "a.txt"},
                    "prompt_cache_breakpoint": BREAKPOINT,
                },
            ],
        }
    ),
    chat({"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}),
    chat(
        {
            "role": "user",
            "content": [
                {
                    "type": "input_audio",
                    "input_audio": {"data": "UklGRg==", "format": "wav"},
                    "prompt_cache_breakpoint": BREAKPOINT,
                }
            ],
        }
    ),
    *(
        chat({"role": "user", "content": [part | {"prompt_cache_breakpoint": BREAKPOINT}]})
        for part in (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "high"}},
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,SGk=", "filename": "a.pdf"}},
        )
    ),
    *(
        chat(
            {
                "role": role,
                "name": "ann",
                "content": [{"type": "text", "text": "Be brief.", "prompt_cache_breakpoint": BREAKPOINT}],
            }
        )
        for role in ("developer", "system", "assistant")
    ),
    chat({"role": "assistant", "content": [{"type": "refusal", "refusal": "I cannot."}]}),
    chat({"role": "assistant", "content": None, "refusal": "I cannot."}),
    chat({"role": "assistant", "content": None, "audio": {"id": "audio_1"}}),
    chat({"role": "assistant", "content": "Said.", "reasoning_content": "Think."}),
    chat({"role": "assistant", "content": "Said.", "reasoning": "Think."}),
    chat(
        {
            "role": "assistant",
            "content": "Said.",
            "reasoning_details": [{"type": "reasoning.encrypted", "data": "c2VhbGVk", "id": "rs_1", "index": 0}],
        }
    ),
    chat(
        {
            "role": "assistant",
            "content": "Said.",
            "reasoning_details": [{"type": "reasoning.text", "text": "Think.", "signature": "c2lnbmVk", "index": 0}],
        }
    ),
    chat(
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "42"},
    ),
    chat(
        _called({"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}),
        {
            "role": "tool",
            "tool_call_id": "call_1",
            "content": [{"type": "text", "text": "42", "prompt_cache_breakpoint": BREAKPOINT}],
        },
    ),
    chat(_called({"id": "call_1", "type": "custom", "custom": {"name": "run", "input": "print(1)"}})),
    chat(functions=[{"name": "f", "description": "does f", "parameters": SCHEMA}]),
    chat(functions=[{"name": "f"}], function_call={"name": "f"}),
    chat(tools=[FUNCTION], tool_choice="required", parallel_tool_calls=False),
    chat(tools=[FUNCTION], tool_choice={"type": "function", "function": {"name": "f"}}),
    chat(
        tools=[FUNCTION],
        tool_choice={
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
        },
    ),
    chat(tools=[CUSTOM], tool_choice={"type": "custom", "custom": {"name": "run"}}),
    chat(tools=[{"type": "custom", "custom": {"name": "run", "format": {"type": "text"}}}]),
    chat(
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "answer", "description": "the answer", "schema": SCHEMA, "strict": True},
        }
    ),
    chat(logprobs=True, top_logprobs=3),
    chat(prompt_cache_options={"mode": "explicit", "ttl": "30m"}),
    chat(stream=True, stream_options={"include_usage": True, "include_obfuscation": False}),
    chat(
        web_search_options={
            "search_context_size": "low",
            "user_location": {
                "type": "approximate",
                "approximate": {"city": "Bern", "country": "CH", "region": "BE", "timezone": "Europe/Zurich"},
            },
        }
    ),
]


def ask(*items: Object, **more: Any) -> Object:
    """A Responses request."""
    return {"model": "asked-for", "input": list(items), **more}


def said(*parts: Object, role: str = "user", **more: Any) -> Object:
    """A message with parts."""
    return {"type": "message", "role": role, "content": list(parts), **more}


FLAT = {"type": "function", "name": "f", "description": "does f", "parameters": SCHEMA, "strict": True}
FREE = {
    "type": "custom",
    "name": "run",
    "description": "runs",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}
LATER: Object = {"defer_loading": True, "allowed_callers": ["programmatic"], "async": True}
GREETING: Object = {"type": "message", "role": "user", "content": "Hello."}
CALL: Object = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}"}
RUN: Object = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", "name": "run", "input": "print(1)"}
TEXT: Object = {"type": "input_text", "text": "Hello."}
OUTPUTS: list[Object | str] = [
    "42",
    {"type": "input_text", "text": "42"},
    {"type": "input_text", "text": "42", "prompt_cache_breakpoint": BREAKPOINT},
    {"type": "input_image", "image_url": PICTURE, "detail": "high", "prompt_cache_breakpoint": BREAKPOINT},
    {"type": "input_image", "file_id": "file-1"},
    {
        "type": "input_file",
        "file_data": DATA,
        "filename": "a.txt",
        "detail": "low",
        "prompt_cache_breakpoint": BREAKPOINT,
    },
    {"type": "input_file", "file_id": "file-1"},
    {"type": "input_file", "file_url": "https://files.example/1.pdf"},
    {"type": "input_video", "video_url": "https://films.example/1.mp4"},
]


def _results() -> list[Object]:
    found = []
    for call, kind in ((CALL, "function_call_output"), (RUN, "custom_tool_call_output")):
        for output in OUTPUTS:
            result = {"type": kind, "call_id": "call_1", "output": output if isinstance(output, str) else [output]}
            found.append(ask(GREETING, call, result))
        facts = {
            "id": "fco_1",
            "status": "completed",
            "name": "f",
            "namespace": "crm",
            "caller": {"type": "program", "caller_id": "prog_1"},
        }
        found.append(ask(GREETING, call, {"type": kind, "call_id": "call_1", "output": "42", **facts}))
    return found


RESPONSES_REQUESTS: list[Object] = [
    ask(GREETING),
    ask(said(TEXT)),
    ask(said(TEXT | {"prompt_cache_breakpoint": BREAKPOINT}, id="msg_1", status="completed")),
    ask(said({"type": "input_image", "image_url": PICTURE, "detail": "high", "prompt_cache_breakpoint": BREAKPOINT})),
    ask(said({"type": "input_image", "file_id": "file-1"})),
    ask(
        said(
            {
                "type": "input_file",
                "file_data": DATA,
                "filename": "a.txt",
                "detail": "low",
                "prompt_cache_breakpoint": BREAKPOINT,
            }
        )
    ),
    ask(said({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}})),
    ask(said({"type": "input_file", "file_id": "file-1"})),
    ask(said({"type": "input_file", "file_url": "https://files.example/1.pdf"})),
    ask(
        GREETING,
        said(
            {
                "type": "output_text",
                "text": "Said.",
                "logprobs": [TOKEN],
                "annotations": [
                    {"type": "url_citation", "url": PICTURE, "title": "1", "start_index": 0, "end_index": 1}
                ],
            },
            role="assistant",
            id="msg_1",
            status="completed",
            phase="final_answer",
        ),
    ),
    ask(GREETING, said({"type": "refusal", "refusal": "I cannot."}, role="assistant")),
    ask(GREETING, CALL),
    ask(GREETING, RUN),
    ask(
        GREETING,
        CALL
        | {
            "status": "completed",
            "namespace": "crm",
            "async": True,
            "caller": {"type": "program", "caller_id": "prog_1"},
        },
    ),
    ask(GREETING, RUN | {"namespace": "crm", "async": True, "caller": {"type": "program", "caller_id": "prog_1"}}),
    *_results(),
    ask(
        GREETING,
        {
            "type": "reasoning",
            "id": "rs_1",
            "status": "completed",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "Think."}],
            "encrypted_content": "c2VhbGVk",
        },
        said({"type": "output_text", "text": "Said.", "annotations": []}, role="assistant"),
    ),
    ask(
        GREETING,
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "In short."}]},
        said({"type": "output_text", "text": "Said.", "annotations": []}, role="assistant"),
    ),
    ask({"type": "additional_tools", "role": "developer", "tools": [FLAT | {"name": "late"}]}, GREETING),
    ask(GREETING, reasoning={"effort": "xhigh", "summary": "auto", "context": "all_turns", "mode": "pro"}),
    ask(GREETING, reasoning={"generate_summary": "auto"}),
    ask(GREETING, stream=True, stream_options={"include_obfuscation": False}),
    ask(
        GREETING,
        prompt_cache_options={"mode": "explicit", "ttl": "30m", "prewarm": True, "comparison_response_id": "resp_1"},
    ),
    *(ask(GREETING, text={"format": {"type": kind}, "verbosity": "low"}) for kind in ("text", "json_object")),
    ask(
        GREETING,
        text={
            "format": {
                "type": "json_schema",
                "name": "answer",
                "description": "the answer",
                "schema": SCHEMA,
                "strict": True,
            }
        },
    ),
    ask(GREETING, tools=[FLAT], tool_choice={"type": "function", "name": "f"}, parallel_tool_calls=False),
    ask(
        GREETING,
        tools=[FLAT],
        tool_choice={"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    ),
    ask(GREETING, tools=[FREE], tool_choice={"type": "custom", "name": "run"}),
    ask(GREETING, tools=[{"type": "custom", "name": "run", "format": {"type": "text"}}]),
    ask(GREETING, tools=[FLAT | LATER | {"output_schema": SCHEMA}]),
    ask(GREETING, tools=[FREE | LATER]),
    ask(
        GREETING,
        tools=[
            {
                "type": "namespace",
                "name": "crm",
                "description": "The customers.",
                "tools": [FLAT | {"name": "find", "description": "finds one"}],
            }
        ],
    ),
]
