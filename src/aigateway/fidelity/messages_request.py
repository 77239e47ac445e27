"""Messages requests for an upstream that speaks chat."""

from __future__ import annotations

from aigateway.fidelity.row import Row, all_carried, all_dropped, carried, changed, dropped

_OLDER = "Anthropic, for models that take it"

ROWS: tuple[Row, ...] = (
    carried("temperature", example=0.5, extension=_OLDER),
    carried("top_p", example=0.5, extension=_OLDER),
    dropped("top_k", "Chat has no top_k.", "dropped:top_k", example=40, extension=_OLDER),
    *all_carried(
        {
            "max_tokens": "max_completion_tokens",
            "metadata.user_id": "user",
            "output_config.effort": "reasoning_effort",
            "output_config.format.schema": "response_format.json_schema.schema",
            "service_tier": "service_tier",
            "stop_sequences": "stop",
            "stream": "stream",
            "system[text].text": "messages[system].content",
            "tool_choice(tool).name": "tool_choice.function.name",
            "tools[custom].description": "tools[function].function.description",
            "tools[custom].input_schema(object).properties": "tools[function].function.parameters.properties",
            "tools[custom].input_schema(object).required": "tools[function].function.parameters.required",
            "tools[custom].name": "tools[function].function.name",
            "tools[custom].strict": "tools[function].function.strict",
        }
    ),
    changed("model", "model", "The name that the upstream knows.", result="upstream-model"),
    changed(
        "thinking(enabled).budget_tokens",
        "reasoning_effort",
        "The nearest effort. `adaptive` is how models think unasked.",
        result="low",
    ),
    changed(
        "tool_choice(any).disable_parallel_tool_use", "parallel_tool_calls", "Said the other way round.", result=False
    ),
    changed(
        "tool_choice(auto).disable_parallel_tool_use", "parallel_tool_calls", "Said the other way round.", result=False
    ),
    changed("tool_choice(none)", "tool_choice", "The word `none`.", result="none"),
    changed(
        "tool_choice(tool).disable_parallel_tool_use", "parallel_tool_calls", "Said the other way round.", result=False
    ),
    *all_dropped(
        "Chat has none.",
        code="dropped:{key}",
        whole=True,
        paths=(
            "cache_control",
            "container",
            "diagnostics",
            "system[text].cache_control",
            "system[text].citations",
            "tools[custom].cache_control",
        ),
    ),
    *all_dropped(
        "Chat has none.",
        code="dropped:{key}",
        paths=(
            "inference_geo",
            "speed",
            "tools[custom].allowed_callers",
            "tools[custom].defer_loading",
            "tools[custom].eager_input_streaming",
            "tools[custom].input_examples",
            "user_profile_id",
            "workspace_id",
        ),
    ),
    *all_dropped(
        "Chat has none.",
        code="dropped:thinking.display",
        paths=(
            "thinking(adaptive).display",
            "thinking(enabled).display",
        ),
    ),
    dropped("thinking(between_tools)", "Chat has none.", "dropped:thinking"),
    dropped(
        "thinking(disabled)",
        "Chat has no word that every model takes for no reasoning at all; not to think is what is meant unasked.",
    ),
    *all_dropped(
        "Chat has no such tool: it is set aside. Demanded by `tool_choice` it is refused.",
        code="dropped:tools",
        whole=True,
        paths=(
            "tools[bash_20250124]",
            "tools[browser_toolset_20260801]",
            "tools[code_execution_20250522]",
            "tools[code_execution_20250825]",
            "tools[code_execution_20260120]",
            "tools[code_execution_20260521]",
            "tools[computer_toolset_20260801]",
            "tools[memory_20250818]",
            "tools[text_editor_20250124]",
            "tools[text_editor_20250429]",
            "tools[text_editor_20250728]",
            "tools[tool_search_tool_bm25]",
            "tools[tool_search_tool_bm25_20251119]",
            "tools[tool_search_tool_regex]",
            "tools[tool_search_tool_regex_20251119]",
            "tools[web_fetch_20250910]",
            "tools[web_fetch_20260209]",
            "tools[web_fetch_20260309]",
            "tools[web_fetch_20260318]",
            "tools[web_search_20250305]",
            "tools[web_search_20260209]",
            "tools[web_search_20260318]",
        ),
    ),
)
