"""Responses requests for an upstream that speaks chat: the knobs. Items and tools stand in files of their own."""

from __future__ import annotations

from aigateway.fidelity.row import Row, carried, changed, dropped, refused

_NONE = "Chat has none."
_STATE = "It needs a provider that keeps responses."

ROWS: tuple[Row, ...] = (
    dropped("access_programs", _NONE, "dropped:access_programs", example={"cyber": "trusted"}, whole=True),
    refused("background", "Chat answers at once; `false` passes.", "background", "unsupported_parameter", example=True),
    dropped(
        "background_options",
        "Without `background` they mean nothing.",
        "dropped:background_options",
        example={"completion_window": "24h"},
        whole=True,
    ),
    dropped(
        "client_metadata", _NONE, "dropped:client_metadata", example={"originator": "x"}, whole=True, extension="Codex"
    ),
    dropped(
        "context_management",
        _NONE,
        "dropped:context_management",
        example=[{"type": "compaction", "compact_threshold": 9000}],
        whole=True,
    ),
    refused("conversation", _STATE, "conversation", "unsupported_parameter", example="conv_1", whole=True),
    carried("frequency_penalty", why="Of Open Responses.", example=0.5),
    dropped("image", _NONE, "dropped:image", example={"context_compression": "auto"}, whole=True),
    changed(
        "include",
        "logprobs",
        "`message.output_text.logprobs` asks for `logprobs`; thoughts are sealed for who asks for "
        "`reasoning.encrypted_content`; any other entry is dropped.",
        example=["message.output_text.logprobs"],
        result=True,
    ),
    changed(
        "instructions",
        "messages[developer].content",
        "The first message.",
        example="Be brief.",
        result="Be brief.",
    ),
    changed(
        "instructions",
        "messages[system].content",
        "The first message; the role `system` where the host has no `developer`.",
        example="Be brief.",
        result="Be brief.",
        host="unknown",
    ),
    carried("max_output_tokens", "max_completion_tokens", example=256),
    carried("max_output_tokens", "max_tokens", "Under the name that the host reads.", example=256, host="unknown"),
    dropped("max_tool_calls", _NONE, "dropped:max_tool_calls", example=3),
    carried("metadata", example={"team": "blue"}),
    dropped("metadata", "The host does not know it.", "dropped:metadata", example={"team": "blue"}, host="strict"),
    changed("model", "model", "The name that the upstream knows.", result="upstream-model"),
    dropped(
        "moderation",
        "The two APIs answer in different forms.",
        "dropped:moderation",
        example={"model": "omni-moderation-latest"},
        whole=True,
    ),
    carried("parallel_tool_calls", why="Not sent without tools.", example=False),
    carried("presence_penalty", why="Of Open Responses.", example=0.5),
    refused("previous_response_id", _STATE, "previous_response_id", "unsupported_parameter", example="resp_1"),
    refused("prompt", _STATE, "prompt", "unsupported_parameter", example={"id": "pmpt_1"}, whole=True),
    carried("prompt_cache_key", example="tenant-7"),
    dropped(
        "prompt_cache_key", "The host does not know it.", "dropped:prompt_cache_key", example="tenant-7", host="strict"
    ),
    dropped(
        "prompt_cache_options.comparison_response_id",
        _NONE,
        "dropped:prompt_cache_options.comparison_response_id",
    ),
    carried("prompt_cache_options.mode"),
    dropped("prompt_cache_options.prewarm", _NONE, "dropped:prompt_cache_options.prewarm"),
    carried("prompt_cache_options.ttl"),
    carried("prompt_cache_retention", example="24h"),
    dropped("reasoning.context", _NONE, "dropped:reasoning.context"),
    carried("reasoning.effort", "reasoning_effort", "none, minimal, low, medium, high, xhigh, max."),
    dropped("reasoning.generate_summary", _NONE, "dropped:reasoning.summary"),
    dropped("reasoning.mode", _NONE, "dropped:reasoning.mode"),
    dropped("reasoning.summary", "Chat hosts tell their reasoning or not, as they are.", "dropped:reasoning.summary"),
    carried("safety_identifier", example="user-hash"),
    dropped(
        "safety_identifier",
        "The host does not know it.",
        "dropped:safety_identifier",
        example="user-hash",
        host="strict",
    ),
    carried("service_tier", example="flex"),
    dropped("service_tier", "The host does not know it.", "dropped:service_tier", example="flex", host="strict"),
    carried("store", example=True),
    dropped("store", "The host does not know it.", "dropped:store", example=True, host="strict"),
    carried("stream", example=True),
    carried("stream_options.include_obfuscation"),
    dropped(
        "stream_options.include_obfuscation",
        "The host does not know it.",
        "dropped:stream_options.include_obfuscation",
        host="strict",
    ),
    carried("temperature", example=0.5),
    carried("text.format(json_object)", "response_format(json_object)"),
    carried("text.format(json_schema).description", "response_format(json_schema).json_schema.description"),
    carried("text.format(json_schema).name", "response_format(json_schema).json_schema.name"),
    carried("text.format(json_schema).schema", "response_format(json_schema).json_schema.schema"),
    carried("text.format(json_schema).strict", "response_format(json_schema).json_schema.strict"),
    carried("text.format(text)", "response_format(text)"),
    carried("text.verbosity", "verbosity"),
    dropped("text.verbosity", "The host does not know it.", "dropped:verbosity", host="strict"),
    carried("top_logprobs", why="With `logprobs: true`; 0 asks for nothing.", example=3),
    carried("top_p", example=0.9),
    dropped("truncation", "Chat has none; `disabled` is what chat does anyway.", "dropped:truncation", example="auto"),
    carried("user", example="user-7"),
    dropped("user", "The host does not know it.", "dropped:user", example="user-7", host="strict"),
)
