"""Answers of a Responses upstream for a caller who speaks chat."""

from __future__ import annotations

from aigateway.fidelity.row import Row, carried, changed, dropped

_OWN = "It repeats the request, which the caller knows."
_NONE = "Chat has none."
_NO_IDS = "Chat has no ids of items: only calls have one."
_NOT_ASKED = "Asking for it is not passed on."
_FINISH = "stop, tool_calls where the answer calls tools, length, content_filter."
_ERROR = "A response that failed is an error of chat."
_TEXTS = ("output_text", "reasoning_text", "summary_text", "text", "input_text")

_ECHOED = (
    "access_programs",
    "background",
    "conversation",
    "frequency_penalty",
    "image",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "presence_penalty",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
)
_HOSTED = (
    "additional_tools",
    "apply_patch_call",
    "apply_patch_call_output",
    "code_interpreter_call",
    "compaction",
    "computer_call",
    "computer_call_output",
    "file_search_call",
    "image_generation_call",
    "local_shell_call",
    "local_shell_call_output",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "mcp_list_tools",
    "program",
    "program_output",
    "shell_call",
    "shell_call_output",
    "tool_search_call",
    "tool_search_output",
    "web_search_call",
)
_COUNTS = (
    ("input_tokens", "prompt_tokens"),
    ("input_tokens_details.cache_write_tokens", "prompt_tokens_details.cache_write_tokens"),
    ("input_tokens_details.cached_tokens", "prompt_tokens_details.cached_tokens"),
    ("output_tokens", "completion_tokens"),
    ("output_tokens_details.reasoning_tokens", "completion_tokens_details.reasoning_tokens"),
    ("total_tokens", "total_tokens"),
)
_TOKENS = ("bytes", "logprob", "token", "top_logprobs[].bytes", "top_logprobs[].logprob", "top_logprobs[].token")

ITEMS: tuple[Row, ...] = (
    *(
        dropped(
            f"output[{kind}]", "Chat has no such item; the answer itself is a message.", "dropped:output", whole=True
        )
        for kind in _HOSTED
    ),
    *(
        dropped(f"output[{kind}]", "Chat has results of tools in requests only.", "dropped:output", whole=True)
        for kind in ("custom_tool_call_output", "function_call_output")
    ),
    *(
        dropped(f"output[{kind}].{field}", _NONE, whole=True)
        for kind in ("custom_tool_call", "function_call")
        for field in ("async", "caller")
    ),
    carried("output[custom_tool_call].call_id", "choices[].message.tool_calls[custom].id"),
    dropped("output[custom_tool_call].id", _NO_IDS),
    carried("output[custom_tool_call].input", "choices[].message.tool_calls[custom].custom.input"),
    carried("output[custom_tool_call].name", "choices[].message.tool_calls[custom].custom.name"),
    dropped("output[custom_tool_call].namespace", "Who speaks chat has no namespaces to call."),
    carried("output[function_call].arguments", "choices[].message.tool_calls[function].function.arguments"),
    carried("output[function_call].call_id", "choices[].message.tool_calls[function].id"),
    dropped("output[function_call].id", _NO_IDS),
    carried("output[function_call].name", "choices[].message.tool_calls[function].function.name"),
    dropped("output[function_call].namespace", "Who speaks chat has no namespaces to call."),
    dropped("output[function_call].status", "Chat has no status of items."),
)

MESSAGES: tuple[Row, ...] = (
    *(
        carried(f"output[message].content[{kind}].text", "choices[].message.content", "Texts are joined.")
        for kind in _TEXTS
        if kind != "reasoning_text"
    ),
    *(
        dropped(
            f"output[message].content[output_text].annotations[{kind}]",
            "Chat cites web pages only.",
            "dropped:annotations",
            whole=True,
        )
        for kind in ("container_file_citation", "file_citation", "file_path")
    ),
    *(
        carried(
            f"output[message].content[output_text].annotations[url_citation].{key}",
            f"choices[].message.annotations[url_citation].url_citation.{key}",
            "Counted in the joined text." if key.endswith("index") else "",
        )
        for key in ("end_index", "start_index", "title", "url")
    ),
    *(
        carried(f"output[message].content[output_text].logprobs[].{key}", f"choices[].logprobs.content[].{key}")
        for key in _TOKENS
    ),
    *(
        dropped(
            f"output[message].content[{kind}]",
            "What chat's assistant says is text; no model says this. Of Open Responses.",
            "dropped:output",
            whole=True,
        )
        for kind in ("input_file", "input_image", "input_video", "reasoning_text")
    ),
    carried("output[message].content[refusal].refusal", "choices[].message.refusal"),
    dropped("output[message].id", _NO_IDS),
    dropped("output[message].phase", "Chat has none, and its callers cannot send it back."),
    changed("output[message].role", "choices[].message.role", "Always the assistant.", result="assistant"),
    dropped("output[message].status", "Chat has no status of items."),
)

REASONING: tuple[Row, ...] = (
    *(
        row
        for field, part in (("content", "reasoning_text"), ("summary", "summary_text"))
        for row in (
            *(
                carried(
                    f"output[reasoning].{field}[{kind}].text",
                    "choices[].message.reasoning_content",
                    "" if kind == part else "Open Responses allows any part here.",
                )
                for kind in _TEXTS
            ),
            *(
                dropped(f"output[reasoning].{field}[{kind}].{below}", "Reasoning is read as text.", whole=True)
                for kind, below in (("output_text", "annotations"), ("output_text", "logprobs"))
            ),
            *(
                dropped(
                    f"output[reasoning].{field}[{kind}]",
                    "Reasoning is read as text. Open Responses allows any part here.",
                    whole=True,
                )
                for kind in ("input_file", "input_image", "refusal")
            ),
        )
    ),
    changed(
        "output[reasoning].encrypted_content",
        "choices[].message.reasoning_details[reasoning.encrypted].data",
        "In OpenRouter's dress, sealed: sent back in it, it reaches the host that encrypted it again, and no other.",
        result="aigw1.eyJvIjoib3BlbmFpIiwiZW5jcnlwdGVkIjoiYzJWaGJHVmsifQ",
    ),
    carried("output[reasoning].id", "choices[].message.reasoning_details[reasoning.encrypted].id"),
    dropped("output[reasoning].status", "Chat has no status of items."),
)

ROWS: tuple[Row, ...] = (
    *(dropped(name, _OWN, whole=True) for name in _ECHOED),
    dropped("completed_at", _NONE),
    carried("created_at", "created"),
    carried("error.code", "error.code", _ERROR),
    carried("error.message", "error.message", _ERROR),
    dropped("error.misalignment", _NONE, whole=True),
    carried("error.param", "error.param", _ERROR),
    carried("error.type", "error.type", _ERROR),
    changed("id", "id", "The gateway's own id, which looks like those of the API."),
    changed("incomplete_details.reason", "choices[].finish_reason", _FINISH, result="length"),
    dropped("input_transformations", _NONE, whole=True),
    changed("model", "model", "The name that the caller asked for.", result="asked-for"),
    dropped("moderation", _NOT_ASKED, whole=True),
    dropped("output_text", "A convenience of client libraries: the texts stand in `output`."),
    dropped("prompt_cache_diagnostics", _NOT_ASKED, whole=True),
    carried("service_tier"),
    changed("status", "choices[].finish_reason", _FINISH, result="stop"),
    dropped("tool_usage", "Chat has none: it counts what hosted tools used.", whole=True),
    *(carried(f"usage.{key}", f"usage.{other}") for key, other in _COUNTS),
    dropped("usage.input_tokens_details.cache_write_tokens_details", "Chat counts their sum.", whole=True),
    *ITEMS,
    *MESSAGES,
    *REASONING,
)
