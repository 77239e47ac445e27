"""Events of a Responses upstream for a caller who speaks chat."""

from __future__ import annotations

from aigateway.fidelity.row import Row, carried, changed, dropped

_ORDER = "It tells the order of events or the place in the response: chunks come in order."
_HOSTED = "Chat has no events of hosted tools."
_AGAIN = "It tells again what the deltas told; what they left out is sent."
_ERROR = "The stream of chat ends in an error, and without `[DONE]`."
_TOKENS = ("bytes", "logprob", "token", "top_logprobs[].bytes", "top_logprobs[].logprob", "top_logprobs[].token")

_OF_HOSTED_TOOLS = (
    *(f"response.code_interpreter_call.{step}" for step in ("completed", "in_progress", "interpreting")),
    *(f"response.code_interpreter_call_code.{step}" for step in ("delta", "done")),
    *(f"response.file_search_call.{step}" for step in ("completed", "in_progress", "searching")),
    *(f"response.image_generation_call.{step}" for step in ("completed", "generating", "in_progress", "partial_image")),
    *(f"response.mcp_call.{step}" for step in ("completed", "failed", "in_progress")),
    *(f"response.mcp_call_arguments.{step}" for step in ("delta", "done")),
    *(f"response.mcp_list_tools.{step}" for step in ("completed", "failed", "in_progress")),
    *(f"response.shell_call_command.{step}" for step in ("added", "delta", "done")),
    *(f"response.shell_call_output_content.{step}" for step in ("delta", "done")),
    *(f"response.web_search_call.{step}" for step in ("completed", "in_progress", "searching")),
)
_OF_AUDIO = (
    *(f"response.audio.{step}" for step in ("delta", "done")),
    *(f"response.audio.transcript.{step}" for step in ("delta", "done")),
)

ROWS: tuple[Row, ...] = (
    *(dropped(f"[*].{key}", _ORDER) for key in ("content_index", "item_id", "output_index", "sequence_number")),
    *(dropped(f"[*].{key}", _ORDER) for key in ("annotation_index", "summary_index")),
    dropped("[*].obfuscation", "It hides the length of an event, not of what becomes of it."),
    carried("[error].code", "error.code", _ERROR),
    carried("[error].error.code", "error.code", _ERROR),
    dropped("[error].error.headers", "Chat has none."),
    carried("[error].error.message", "error.message", _ERROR),
    carried("[error].error.param", "error.param", _ERROR),
    carried("[error].error.type", "error.type", _ERROR),
    carried("[error].message", "error.message", _ERROR),
    carried("[error].param", "error.param", _ERROR),
    *(dropped(f"[{name}]", "No model of the API speaks.", whole=True) for name in _OF_AUDIO),
    *(dropped(f"[{name}]", _HOSTED, whole=True) for name in _OF_HOSTED_TOOLS),
    dropped("[response.compaction.compacting]", "Chat has no items that compact.", whole=True),
    changed(
        "[response.completed].response",
        "choices[].finish_reason",
        "`stop` or `tool_calls`; the usage, where it was asked for; what was told in no event before.",
        result="stop",
    ),
    dropped("[response.content_part.added].part", "Chat has no parts: the deltas tell all."),
    dropped("[response.content_part.done].part", _AGAIN),
    changed(
        "[response.created].response",
        "created",
        "The first chunk: its `created` and `service_tier`.",
        result=1700000000,
    ),
    carried("[response.custom_tool_call_input.delta].delta", "choices[].delta.tool_calls[].custom.input"),
    dropped("[response.custom_tool_call_input.done].input", _AGAIN),
    changed("[response.failed].response", "error.message", f"{_ERROR} It is the response's.", result="Too fast."),
    carried("[response.function_call_arguments.delta].delta", "choices[].delta.tool_calls[].function.arguments"),
    dropped("[response.function_call_arguments.done].arguments", _AGAIN),
    dropped("[response.function_call_arguments.done].name", "The item has told it."),
    dropped("[response.in_progress].response", "The first chunk is sent once."),
    changed(
        "[response.incomplete].response",
        "choices[].finish_reason",
        "`length` or `content_filter`.",
        result="length",
    ),
    changed(
        "[response.output_item.added].item",
        "choices[].delta.tool_calls[].function.name",
        "A call opens an entry of `tool_calls` with its id and name.",
        result="f",
    ),
    changed(
        "[response.output_item.done].item",
        "choices[].delta.reasoning_details[reasoning.encrypted].data",
        "Encrypted reasoning, sealed; items as in an answer that is not streamed.",
        result="aigw1.eyJvIjoib3BlbmFpIiwiZW5jcnlwdGVkIjoiYzJWaGJHVmsifQ",
    ),
    changed(
        "[response.output_text.annotation.added].annotation",
        "choices[].delta.annotations[url_citation].url_citation.url",
        "Citations of web pages; others are dropped.",
        result="https://news.example/1",
    ),
    carried("[response.output_text.delta].delta", "choices[].delta.content"),
    *(
        carried(f"[response.output_text.delta].logprobs[].{key}", f"choices[].logprobs.content[].{key}")
        for key in _TOKENS
    ),
    dropped("[response.output_text.done].logprobs", _AGAIN, whole=True),
    dropped("[response.output_text.done].text", _AGAIN),
    changed("[response.queued].response", "created", "The first chunk, if nothing was before.", result=1700000000),
    *(
        row
        for name, field in (("reasoning", "text"), ("reasoning_text", "text"), ("reasoning_summary_text", "text"))
        for row in (
            carried(f"[response.{name}.delta].delta", "choices[].delta.reasoning_content"),
            dropped(f"[response.{name}.done].{field}", _AGAIN),
        )
    ),
    dropped("[response.reasoning_summary_part.added].part", "Chat has no parts: the deltas tell all."),
    dropped("[response.reasoning_summary_part.done].part", _AGAIN),
    dropped("[response.reasoning_summary_part.done].status", "Chat has no status of parts."),
    carried("[response.refusal.delta].delta", "choices[].delta.refusal"),
    dropped("[response.refusal.done].refusal", _AGAIN),
)
