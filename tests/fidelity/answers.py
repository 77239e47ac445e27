"""Answers and streams that together have every field of the table."""

from __future__ import annotations

from typing import Any

from tests.fidelity.requests import CALL, FLAT, PICTURE, RUN, TOKEN
from tests.playback import Object

USAGE = {
    "prompt_tokens": 901,
    "completion_tokens": 702,
    "total_tokens": 1603,
    "prompt_tokens_details": {
        "cached_tokens": 303,
        "cache_write_tokens": 204,
        "audio_tokens": 0,
        "image_tokens": 11,
        "text_tokens": 12,
    },
    "completion_tokens_details": {
        "reasoning_tokens": 405,
        "audio_tokens": 0,
        "text_tokens": 13,
        "accepted_prediction_tokens": 14,
        "rejected_prediction_tokens": 15,
    },
}
CITED = {
    "type": "url_citation",
    "url_citation": {"url": "https://news.example/1", "title": "News", "start_index": 0, "end_index": 2},
}
SIGNED = {"type": "reasoning.text", "text": "Think.", "signature": "c2lnbmVk", "index": 0}
THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "Think."}]}
SEALED = {"type": "reasoning.encrypted", "data": "c2VhbGVk", "id": "rs_1", "index": 0}
AUDIO = {"id": "audio_1", "data": "UklGRg==", "transcript": "Spoken.", "expires_at": 1700000600}


def completion(message: Object, finish: str = "stop", logprobs: Object | None = None, **more: Any) -> Object:
    """A chat completion."""
    message = {"role": "assistant", "content": None, "refusal": None, **message}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "upstream-model",
        "choices": [{"index": 0, "message": message, "logprobs": logprobs, "finish_reason": finish}],
        "usage": USAGE,
        "service_tier": "flex",
        "system_fingerprint": "fp_1",
        "metadata": {"team": "blue"},
        "moderation": {"input": {"type": "error", "code": "x", "message": "x"}},
        **more,
    }


CHAT_REPLIES: list[Object] = [
    completion({"content": "Hi", "annotations": [CITED]}, logprobs={"content": [TOKEN], "refusal": None}),
    completion({"refusal": "I cannot."}, logprobs={"content": None, "refusal": [TOKEN]}),
    completion({"audio": AUDIO}),
    completion({"content": "Hi", "reasoning_content": "Think."}),
    completion({"content": "Hi", "reasoning": "Think."}),
    completion({"content": "Hi", "reasoning_details": [SEALED]}),
    completion({"content": "Hi", "reasoning_details": [SIGNED]}),
    completion({"content": [THINKING, {"type": "text", "text": "Hi"}]}),
    completion({"function_call": {"name": "f", "arguments": "{}"}}, "function_call"),
    completion(
        {"tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        "tool_calls",
    ),
    completion(
        {"tool_calls": [{"id": "call_1", "type": "custom", "custom": {"name": "run", "input": "print(1)"}}]},
        "tool_calls",
    ),
    completion(
        {"content": "Hi"},
        usage={"prompt_tokens": 901, "completion_tokens": 7, "total_tokens": 908, "prompt_cache_hit_tokens": 303},
    ),
]


def chunks(*deltas: Object, finish: str = "stop", logprobs: Object | None = None, **more: Any) -> list[Object]:
    """A stream of chat with these deltas."""
    usage = more.pop("usage", USAGE)
    head: Object = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "upstream-model",
        "service_tier": "flex",
        "system_fingerprint": "fp_1",
        "obfuscation": "xyzxyz",
        **more,
    }
    parts: list[tuple[Object, str | None]] = [(delta, None) for delta in deltas]
    return [
        *(
            {**head, "choices": [{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason}]}
            for delta, reason in [*parts, ({}, finish)]
        ),
        {**head, "choices": [], "usage": usage},
    ]


CHAT_STREAMS: list[list[Object]] = [
    chunks(
        {"role": "assistant", "content": "Hi", "annotations": [CITED]},
        logprobs={"content": [TOKEN], "refusal": None},
        moderation={"input": {"type": "error", "code": "x", "message": "x"}},
    ),
    chunks({"refusal": "I cannot."}, logprobs={"content": None, "refusal": [TOKEN]}),
    chunks({"audio": AUDIO}),
    chunks({"reasoning_content": "Think."}, {"content": "Hi"}),
    chunks({"reasoning": "Think."}, {"content": "Hi"}),
    chunks({"reasoning_details": [SEALED]}, {"content": "Hi"}),
    chunks({"reasoning_details": [SIGNED]}, {"content": "Hi"}),
    chunks({"content": [THINKING]}, {"content": "Hi"}),
    chunks({"function_call": {"name": "f", "arguments": "{}"}}, finish="function_call"),
    chunks(
        {
            "tool_calls": [
                {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ]
        },
        finish="tool_calls",
    ),
    chunks(
        {
            "tool_calls": [
                {"index": 0, "id": "call_1", "type": "custom", "custom": {"name": "run", "input": "print(1)"}}
            ]
        },
        finish="tool_calls",
    ),
    chunks({"content": "Hi"}, usage={"prompt_tokens": 901, "completion_tokens": 7, "prompt_cache_hit_tokens": 303}),
    [
        *chunks({"content": "Hi"})[:-1],
        {"id": "chatcmpl-1", "choices": [], "x_groq": {"usage": {"prompt_tokens": 901, "completion_tokens": 7}}},
    ],
]

OUTPUT_USAGE = {
    "input_tokens": 901,
    "input_tokens_details": {
        "cached_tokens": 303,
        "cache_write_tokens": 204,
        "cache_write_tokens_details": {"ttl_30m_tokens": 204, "ttl_12h_tokens": 0},
    },
    "output_tokens": 702,
    "output_tokens_details": {"reasoning_tokens": 405},
    "total_tokens": 1603,
}
CITATIONS: list[Object] = [
    {"type": "url_citation", "url": "https://news.example/1", "title": "News", "start_index": 0, "end_index": 2},
    {"type": "file_citation", "file_id": "file-1", "filename": "a.txt", "index": 0},
    {"type": "file_path", "file_id": "file-1", "index": 0},
    {
        "type": "container_file_citation",
        "container_id": "cntr_1",
        "file_id": "file-1",
        "filename": "a.txt",
        "start_index": 0,
        "end_index": 2,
    },
]
SPOKEN: Object = {"type": "output_text", "text": "Hi", "annotations": CITATIONS, "logprobs": [TOKEN]}


def message(*parts: Object) -> Object:
    """A message as an upstream gives it."""
    facts = {"id": "msg_1", "status": "completed", "role": "assistant", "phase": "final_answer"}
    return {"type": "message", **facts, "content": list(parts)}


def thought(**more: Any) -> Object:
    """A reasoning item as an upstream gives it."""
    return {"type": "reasoning", "id": "rs_1", "status": "completed", "summary": [], **more}


def response(*output: Object, **more: Any) -> Object:
    """A response resource."""
    echoed: Object = {
        "access_programs": {"cyber": "trusted"},
        "background": False,
        "conversation": {"id": "conv_1"},
        "frequency_penalty": 0.5,
        "image": {"context_compression": "auto"},
        "instructions": "Be brief.",
        "max_output_tokens": 256,
        "max_tool_calls": 3,
        "metadata": {"team": "blue"},
        "parallel_tool_calls": True,
        "presence_penalty": 0.5,
        "previous_response_id": "resp_0",
        "prompt": {"id": "pmpt_1"},
        "prompt_cache_key": "tenant-7",
        "prompt_cache_options": {"mode": "explicit"},
        "prompt_cache_retention": "24h",
        "reasoning": {"effort": "low", "summary": None},
        "safety_identifier": "user-hash",
        "store": True,
        "temperature": 0.5,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [FLAT],
        "top_logprobs": 3,
        "top_p": 0.9,
        "truncation": "disabled",
        "user": "user-7",
    }
    told: Object = {
        "input_transformations": [{"type": "reasoning", "id": "rs_0", "action": "removed", "reason": "x"}],
        "moderation": {"input": {"type": "error", "code": "x", "message": "x"}},
        "output_text": "Hi",
        "prompt_cache_diagnostics": {"type": "cache_hit"},
        "tool_usage": {"web_search": {"num_requests": 3}},
    }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1700000000,
        "completed_at": 1700000009,
        "model": "upstream-model",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "service_tier": "flex",
        "output": list(output),
        "usage": OUTPUT_USAGE,
        **echoed,
        **told,
        **more,
    }


ANY_TEXTS = ("output_text", "reasoning_text", "summary_text", "text", "input_text")
ANY_PARTS: list[Object] = [
    {"type": "input_file", "filename": "a.txt", "file_url": "https://files.example/1.pdf"},
    {"type": "input_image", "image_url": PICTURE, "detail": "high"},
    {"type": "input_video", "video_url": "https://films.example/1.mp4"},
]

RESPONSES_REPLIES: list[Object] = [
    *(response(message(SPOKEN | {"annotations": [citation]})) for citation in CITATIONS),
    response(message(SPOKEN)),
    *(
        response(message(SPOKEN), {"type": kind, "id": "fco_1", "call_id": "call_1", "output": "42"})
        for kind in ("function_call_output", "custom_tool_call_output")
    ),
    response(message(SPOKEN), {"type": "additional_tools", "id": "at_1", "role": "developer", "tools": [FLAT]}),
    response(message({"type": "refusal", "refusal": "I cannot."})),
    *(response(message({"type": kind, "text": "Hi"})) for kind in ANY_TEXTS),
    *(response(message(SPOKEN, part)) for part in ANY_PARTS),
    response(thought(encrypted_content="c2VhbGVk"), message(SPOKEN)),
    *(
        response(thought(**{field: [{"type": kind, "text": "Think."}]}), message(SPOKEN))
        for field in ("content", "summary")
        for kind in ANY_TEXTS
    ),
    *(response(thought(**{field: [SPOKEN | {"text": "Think."}]}), message(SPOKEN)) for field in ("content", "summary")),
    *(
        response(thought(**{field: [{"type": "reasoning_text", "text": "Think."}, part]}), message(SPOKEN))
        for field in ("content", "summary")
        for part in [*ANY_PARTS, {"type": "refusal", "refusal": "I cannot."}]
    ),
    response(CALL | {"status": "completed", "namespace": "crm", "async": True, "caller": {"type": "direct"}}),
    response(RUN | {"namespace": "crm", "async": True, "caller": {"type": "direct"}}),
    response(message(SPOKEN), status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
    response(
        status="failed",
        error={
            "code": "rate_limit_exceeded",
            "message": "Too fast.",
            "type": "rate_limit_error",
            "param": "input",
            "misalignment": {"error_type": "x"},
        },
    ),
]


def numbered(*events: Object) -> list[Object]:
    """The events of a stream."""
    return [{"type": event["type"], "sequence_number": number, **event} for number, event in enumerate(events)]


def _streamed(item: Object, *events: Object, end: str = "completed", last: Object | None = None) -> list[Object]:
    """The stream of one item."""
    empty = {
        key: "" if isinstance(item[key], str) else []
        for key in ("content", "summary", "arguments", "input")
        if key in item
    }
    begun = {"id": "resp_1", "object": "response", "created_at": 1700000000, "model": "upstream-model", "output": []}
    ended = {
        **begun,
        "status": end,
        "output": [item],
        "usage": OUTPUT_USAGE,
        "incomplete_details": None,
        **(last or {}),
    }
    place: Object = {"output_index": 0, "item_id": item["id"]}
    return numbered(
        {"type": "response.created", "response": {**begun, "status": "in_progress"}},
        {"type": "response.in_progress", "response": {**begun, "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, **empty, "status": "in_progress"}},
        *({**event, **place} for event in events),
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": f"response.{end}", "response": ended},
    )


def _part(name: str, kind: str, text: str, *, key: str = "text", at: str = "content_index") -> list[Object]:
    """The events of one part."""
    holder = "reasoning_summary_part" if at == "summary_index" else "content_part"
    empty, whole = {"type": kind, key: ""}, {"type": kind, key: text}
    return [
        {"type": f"response.{holder}.added", at: 0, "part": empty},
        {"type": f"response.{name}.delta", at: 0, "delta": text, "obfuscation": "xyzxyz"},
        {"type": f"response.{name}.done", at: 0, key: text},
        {"type": f"response.{holder}.done", at: 0, "part": whole, "status": "completed"},
    ]


ONE_TEXT: Object = {"type": "output_text", "text": "Hi", "annotations": CITATIONS[:1], "logprobs": [TOKEN]}
TEXT_STREAM = _streamed(
    message(ONE_TEXT),
    {
        "type": "response.content_part.added",
        "content_index": 0,
        "part": ONE_TEXT | {"text": "", "annotations": [], "logprobs": []},
    },
    {
        "type": "response.output_text.delta",
        "content_index": 0,
        "delta": "Hi",
        "logprobs": [TOKEN],
        "obfuscation": "xyzxyz",
    },
    {
        "type": "response.output_text.annotation.added",
        "content_index": 0,
        "annotation_index": 0,
        "annotation": CITATIONS[0],
    },
    {"type": "response.output_text.done", "content_index": 0, "text": "Hi", "logprobs": [TOKEN]},
    {"type": "response.content_part.done", "content_index": 0, "part": ONE_TEXT},
)
_FAILED = {"code": "rate_limit_exceeded", "message": "Too fast."}
RESPONSES_STREAMS: list[list[Object]] = [
    TEXT_STREAM,
    _streamed(
        message({"type": "refusal", "refusal": "I cannot."}),
        *_part("refusal", "refusal", "I cannot.", key="refusal"),
        end="incomplete",
        last={"incomplete_details": {"reason": "max_output_tokens"}},
    ),
    *(
        _streamed(
            thought(content=[{"type": "reasoning_text", "text": "Think."}], encrypted_content="c2VhbGVk"),
            *_part(name, "reasoning_text", "Think."),
        )
        for name in ("reasoning_text", "reasoning")
    ),
    _streamed(
        thought() | {"summary": [{"type": "summary_text", "text": "In short."}]},
        *_part("reasoning_summary_text", "summary_text", "In short.", at="summary_index"),
    ),
    _streamed(
        CALL | {"status": "completed"},
        {"type": "response.function_call_arguments.delta", "delta": "{}", "obfuscation": "xyzxyz"},
        {"type": "response.function_call_arguments.done", "arguments": "{}", "name": "f"},
    ),
    _streamed(
        RUN | {"status": "completed"},
        {"type": "response.custom_tool_call_input.delta", "delta": "print(1)"},
        {"type": "response.custom_tool_call_input.done", "input": "print(1)"},
    ),
    numbered({"type": "response.queued", "response": TEXT_STREAM[0]["response"]}, *TEXT_STREAM[1:]),
    numbered(
        TEXT_STREAM[0], {"type": "error", "code": "rate_limit_exceeded", "message": "Too fast.", "param": "input"}
    ),
    numbered(
        TEXT_STREAM[0],
        {
            "type": "error",
            "error": {**_FAILED, "type": "rate_limit_error", "param": "input", "headers": {"retry-after": "3"}},
        },
    ),
    numbered(TEXT_STREAM[0], {"type": "response.failed", "response": response(status="failed", error=_FAILED)}),
]
