"""Chat requests for an upstream that speaks Cohere's chat."""

from __future__ import annotations

from aigateway.fidelity.row import Row, all_carried, all_dropped, carried, changed, dropped, refused

_RANGES = "Within {}; what is outside is brought to its end, and listed as `changed:{}`."
_CUSTOM = "A function with one text, `input`; the grammar is told in its description."
_MARKS = (
    "messages[assistant].content[text].prompt_cache_breakpoint",
    "messages[developer].content[text].prompt_cache_breakpoint",
    "messages[system].content[text].prompt_cache_breakpoint",
    "messages[tool].content[text].prompt_cache_breakpoint",
    "messages[user].content[image_url].prompt_cache_breakpoint",
    "messages[user].content[text].prompt_cache_breakpoint",
)

ROWS: tuple[Row, ...] = (
    *all_carried(
        {
            "functions[].description": "tools[function].function.description",
            "functions[].name": "tools[function].function.name",
            "functions[].parameters": "tools[function].function.parameters",
            "max_completion_tokens": "max_tokens",
            "max_tokens": "max_tokens",
            "messages[assistant].content[refusal].refusal": "messages[assistant].content",
            "messages[assistant].content[text].text": "messages[assistant].content",
            "messages[assistant].function_call.arguments": "messages[assistant].tool_calls[function].function.arguments",
            "messages[assistant].function_call.name": "messages[assistant].tool_calls[function].function.name",
            "messages[assistant].refusal": "messages[assistant].content",
            "messages[assistant].tool_calls[custom].custom.name": "messages[assistant].tool_calls[function].function.name",
            "messages[assistant].tool_calls[custom].id": "messages[assistant].tool_calls[function].id",
            "messages[assistant].tool_calls[function].function.arguments": "messages[assistant].tool_calls[function].function.arguments",
            "messages[assistant].tool_calls[function].function.name": "messages[assistant].tool_calls[function].function.name",
            "messages[assistant].tool_calls[function].id": "messages[assistant].tool_calls[function].id",
            "messages[developer].content[text].text": "messages[system].content",
            "messages[function].content": "messages[tool].content",
            "messages[system].content[text].text": "messages[system].content",
            "messages[tool].content[text].text": "messages[tool].content",
            "messages[tool].tool_call_id": "messages[tool].tool_call_id",
            "messages[user].content[image_url].image_url.url": "messages[user].content[image_url].image_url.url",
            "messages[user].content[text].text": "messages[user].content",
            "response_format(json_schema).json_schema.description": "response_format.json_schema.description",
            "seed": "seed",
            "stream": "stream",
            "tools[custom].custom.name": "tools[function].function.name",
            "tools[function].function.description": "tools[function].function.description",
            "tools[function].function.name": "tools[function].function.name",
            "tools[function].function.parameters": "tools[function].function.parameters",
        }
    ),
    carried("frequency_penalty", "frequency_penalty", _RANGES.format("0 to 1", "frequency_penalty")),
    changed("function_call", "tool_choice", "The older name of `tool_choice`.", result="REQUIRED", whole=True),
    carried(
        "messages[assistant].content",
        "messages[assistant].content",
        "Beside calls it is their plan, `tool_plan` (`changed:messages`).",
    ),
    changed(
        "messages[assistant].tool_calls[custom].custom.input",
        "messages[assistant].tool_calls[function].function.arguments",
        "The text is the one argument.",
        result='{"input":"print(1)"}',
    ),
    changed(
        "messages[function].name",
        "messages[tool].tool_call_id",
        "The id that was made up for the call of that name.",
        result="call_function_0",
    ),
    carried("messages[tool].content", "messages[tool].content", example="42"),
    carried("messages[user].content", "messages[user].content"),
    carried(
        "messages[user].content[image_url].image_url.detail",
        "messages[user].content[image_url].image_url.detail",
        "auto, low, high; others are listed as `dropped:detail`.",
    ),
    changed("model", "model", "The name that the upstream knows.", result="upstream-model"),
    carried("presence_penalty", "presence_penalty", _RANGES.format("0 to 1", "presence_penalty")),
    changed(
        "response_format(json_object)",
        "response_format.type",
        "The same.",
        result="json_object",
        example={"type": "json_object"},
    ),
    changed(
        "response_format(json_schema).json_schema.schema",
        "response_format.json_schema",
        "With the description of the answer in it.",
        result={"description": "the answer", "type": "object", "properties": {}},
    ),
    changed("stop", "stop_sequences", "Always an array.", result=["x"], example="x"),
    carried("temperature", "temperature", _RANGES.format("0 to 1", "temperature")),
    changed("tool_choice", "tool_choice", "REQUIRED, NONE; `auto` is what Cohere does unasked.", result="REQUIRED"),
    changed(
        "tool_choice(allowed_tools)",
        "tools[function].function.name",
        "Only the allowed tools are sent.",
        result="f",
        code="changed:tool_choice",
        whole=True,
    ),
    changed(
        "tool_choice(custom).custom.name",
        "tools[function].function.name",
        "Only this tool is sent, and demanded.",
        result="run",
        code="changed:tool_choice",
    ),
    changed(
        "tool_choice(function).function.name",
        "tools[function].function.name",
        "Only this tool is sent, and demanded.",
        result="f",
        code="changed:tool_choice",
    ),
    *(
        changed(
            path,
            "tools[function].function.description",
            _CUSTOM,
            result="runs\n\nThe input must match this lark grammar:\nstart: /.+/",
        )
        for path in (
            "tools[custom].custom.description",
            "tools[custom].custom.format(grammar).grammar.definition",
            "tools[custom].custom.format(grammar).grammar.syntax",
        )
    ),
    changed(
        "tools[function].function.strict",
        "strict_tools",
        "Where all tools are strict; where some are, none is (`changed:tools.strict`).",
        result=True,
    ),
    carried("top_p", "p", _RANGES.format("0.01 to 0.99", "top_p")),
    *all_dropped(
        "Cohere has none.", code="dropped:{key}", whole=True, paths=("moderation", "prediction", "prompt_cache_options")
    ),
    *all_dropped(
        "Cohere has none.",
        code="dropped:{key}",
        paths=(
            "logit_bias",
            "logprobs",
            "messages[assistant].name",
            "messages[developer].name",
            "messages[system].name",
            "messages[user].name",
            "metadata",
            "parallel_tool_calls",
            "prompt_cache_key",
            "prompt_cache_retention",
            "safety_identifier",
            "service_tier",
            "store",
            "top_logprobs",
            "user",
            "verbosity",
        ),
    ),
    *all_dropped("Cohere has no marks of what to cache.", "dropped:prompt_cache_breakpoint", paths=_MARKS, whole=True),
    dropped("audio", "Cohere answers in text only.", "dropped:audio", whole=True),
    dropped(
        "reasoning_effort",
        "Cohere's models think to a budget of tokens, not to an effort. `none` is `thinking: {type: disabled}`.",
        "dropped:reasoning_effort",
        example="high",
    ),
    *all_dropped(
        "The upstream needs no name, and always holds to the schema.",
        paths=("response_format(json_schema).json_schema.name", "response_format(json_schema).json_schema.strict"),
    ),
    *all_dropped(
        "It is what an upstream does without being asked.",
        paths=("response_format(text)", "tools[custom].custom.format(text)"),
    ),
    dropped("stream_options", "The caller's stream is written by the gateway.", whole=True),
    dropped("web_search_options", "Cohere has none.", "dropped:web_search", whole=True),
    refused("messages[assistant].audio", "Cohere takes nothing but text from the assistant.", "messages", whole=True),
    refused("messages[user].content[file]", "Cohere's chat has no files.", "messages", whole=True),
    refused("messages[user].content[input_audio]", "Cohere's chat has no audio.", "messages", whole=True),
    refused(
        "modalities", "Cohere answers in text only. Leave `modalities` out.", "modalities", "unsupported_parameter"
    ),
    refused("n", "Cohere gives one choice. Send `n` requests, or leave `n` out.", "n", "unsupported_parameter"),
)
