"""The items of Responses requests for an upstream that speaks chat."""

from __future__ import annotations

from aigateway.fidelity.row import Row, carried, changed, dropped, refused

_NO_IDS = "Chat has no ids of items: only calls have one."
_NO_STATUS = "Chat has no status of items."
_SAID = "It stands on what was said; chat takes none back."
_BOTH = "A call of a namespace's tool is called by a name that holds both."

_RECORDS = ("mcp_list_tools", "tool_search_call", "tool_search_output", "web_search_call")
_HOSTED = (
    "apply_patch_call",
    "apply_patch_call_output",
    "code_interpreter_call",
    "computer_call",
    "computer_call_output",
    "file_search_call",
    "image_generation_call",
    "local_shell_call",
    "local_shell_call_output",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "program",
    "program_output",
    "shell_call",
    "shell_call_output",
)
_OF_THE_STATE = ("compaction", "compaction_trigger", "configuration_update", "item_reference")

MESSAGES: tuple[Row, ...] = (
    changed(
        "input[message].content",
        "messages[user].content",
        "A string stays one; one part of text becomes one.",
        result="Hello.",
    ),
    *(
        dropped(f"{where}[input_file].detail", "Chat's files have none.", "dropped:detail")
        for where in ("input[message].content", "input[*_output].output")
    ),
    carried("input[message].content[input_file].file_data", "messages[user].content[file].file.file_data"),
    carried("input[message].content[input_file].file_id", "messages[user].content[file].file.file_id"),
    carried(
        "input[message].content[input_audio].input_audio.data",
        "messages[user].content[input_audio].input_audio.data",
        extension="OpenAI, of older days",
    ),
    carried(
        "input[message].content[input_audio].input_audio.format",
        "messages[user].content[input_audio].input_audio.format",
        extension="OpenAI, of older days",
    ),
    refused("input[message].content[input_file].file_url", "Chat takes no files by URL.", "input[0].content[0]"),
    carried("input[message].content[input_file].filename", "messages[user].content[file].file.filename"),
    carried(
        "input[message].content[input_image].detail",
        "messages[user].content[image_url].image_url.detail",
        "`original`, which chat has not, becomes `high`.",
    ),
    refused("input[message].content[input_image].file_id", "Chat takes no images by id.", "input[0].content[0]"),
    carried(
        "input[message].content[input_image].image_url",
        "messages[user].content[image_url].image_url.url",
        "Also a data URL.",
    ),
    carried(
        "input[message].content[*].prompt_cache_breakpoint",
        "messages[*].content[*].prompt_cache_breakpoint",
        whole=True,
    ),
    dropped(
        "input[message].content[*].prompt_cache_breakpoint",
        "The host does not know it.",
        "dropped:prompt_cache_breakpoint",
        host="strict",
    ),
    changed(
        "input[message].content[input_text].text",
        "messages[user].content",
        "One text is a string; several, or one with other parts, are `text` parts.",
        result="Hello.",
    ),
    dropped("input[message].content[output_text].annotations", _SAID, whole=True),
    dropped("input[message].content[output_text].logprobs", _SAID, whole=True),
    changed(
        "input[message].content[output_text].text",
        "messages[assistant].content",
        "One text is a string; several, or one with other parts, are `text` parts.",
        result="Said.",
    ),
    carried("input[message].content[refusal].refusal", "messages[assistant].refusal"),
    changed(
        "input[message].content[refusal].refusal",
        "messages[assistant].content",
        "The host has no refusals: sent as text.",
        result="I cannot.",
        code="changed:refusal",
        host="strict",
    ),
    dropped("input[message].id", _NO_IDS),
    dropped("input[message].phase", "Chat has none.", "dropped:phase"),
    carried("input[message].role", "messages[*].role"),
    dropped("input[message].status", _NO_STATUS),
)

CALLS: tuple[Row, ...] = (
    *(
        dropped(f"input[{kind}].{field}", "Chat has none.", f"dropped:{field}", whole=True)
        for kind in ("custom_tool_call", "function_call")
        for field in ("async", "caller")
    ),
    carried("input[custom_tool_call].call_id", "messages[assistant].tool_calls[custom].id"),
    dropped("input[custom_tool_call].id", _NO_IDS),
    carried("input[custom_tool_call].input", "messages[assistant].tool_calls[custom].custom.input"),
    changed(
        "input[custom_tool_call].input",
        "messages[assistant].tool_calls[function].function.arguments",
        "A host without custom tools gets a function with one text.",
        result='{"input":"print(1)"}',
        host="unknown",
    ),
    carried("input[custom_tool_call].name", "messages[assistant].tool_calls[custom].custom.name"),
    changed(
        "input[custom_tool_call].namespace",
        "messages[assistant].tool_calls[custom].custom.name",
        _BOTH,
        result="crm__run",
    ),
    carried("input[function_call].arguments", "messages[assistant].tool_calls[function].function.arguments"),
    carried("input[function_call].call_id", "messages[assistant].tool_calls[function].id"),
    dropped("input[function_call].id", _NO_IDS),
    carried("input[function_call].name", "messages[assistant].tool_calls[function].function.name"),
    changed(
        "input[function_call].namespace",
        "messages[assistant].tool_calls[function].function.name",
        _BOTH,
        result="crm__f",
    ),
    dropped("input[function_call].status", _NO_STATUS),
)

RESULTS: tuple[Row, ...] = (
    *(
        row
        for kind in ("custom_tool_call_output", "function_call_output")
        for row in (
            carried(f"input[{kind}].call_id", "messages[tool].tool_call_id"),
            dropped(f"input[{kind}].caller", "Chat has none.", "dropped:caller", whole=True),
            dropped(f"input[{kind}].id", _NO_IDS),
            carried(f"input[{kind}].output", "messages[tool].content", "Texts of a list are joined by line feeds."),
            changed(
                f"input[{kind}].output[input_file].file_data",
                "messages[user].content[file].file.file_data",
                "Tool messages hold text only: it stands in a message of the user behind them.",
                result="data:text/plain;base64,SGk=",
                code="changed:input",
            ),
            changed(
                f"input[{kind}].output[input_file].file_id",
                "messages[user].content[file].file.file_id",
                "Tool messages hold text only: it stands in a message of the user behind them.",
                result="file-1",
                code="changed:input",
            ),
            refused(f"input[{kind}].output[input_file].file_url", "Chat takes no files by URL.", "input[2].output[0]"),
            changed(
                f"input[{kind}].output[input_file].filename",
                "messages[user].content[file].file.filename",
                "Tool messages hold text only: it stands in a message of the user behind them.",
                result="a.txt",
                code="changed:input",
            ),
            changed(
                f"input[{kind}].output[input_image].detail",
                "messages[user].content[image_url].image_url.detail",
                "Tool messages hold text only: it stands in a message of the user behind them.",
                result="high",
                code="changed:input",
            ),
            refused(f"input[{kind}].output[input_image].file_id", "Chat takes no images by id.", "input[2].output[0]"),
            changed(
                f"input[{kind}].output[input_image].image_url",
                "messages[user].content[image_url].image_url.url",
                "Tool messages hold text only: it stands in a message of the user behind them.",
                result="https://pictures.example/1.png",
                code="changed:input",
            ),
            carried(
                f"input[{kind}].output[input_file].prompt_cache_breakpoint",
                "messages[user].content[file].prompt_cache_breakpoint",
                whole=True,
            ),
            carried(
                f"input[{kind}].output[input_image].prompt_cache_breakpoint",
                "messages[user].content[image_url].prompt_cache_breakpoint",
                whole=True,
            ),
            carried(
                f"input[{kind}].output[input_text].prompt_cache_breakpoint",
                "messages[tool].content[text].prompt_cache_breakpoint",
                whole=True,
            ),
            changed(
                f"input[{kind}].output[input_text].text",
                "messages[tool].content",
                "Texts of a list are joined by line feeds.",
                result="42",
            ),
        )
    ),
    dropped("input[function_call_output].name", "The call names its tool.", "dropped:name"),
    dropped("input[function_call_output].namespace", "The call names its tool.", "dropped:namespace"),
    refused(
        "input[function_call_output].output[input_video]",
        "Chat takes no video. Of Open Responses.",
        "input[2].output[0]",
        whole=True,
    ),
    dropped("input[function_call_output].status", _NO_STATUS),
)

REASONING: tuple[Row, ...] = (
    changed(
        "input[reasoning].content[reasoning_text].text",
        "messages[assistant].reasoning_content",
        "Under the name that the host reads; several texts are joined.",
        result="Think.",
    ),
    dropped(
        "input[reasoning].content[reasoning_text].text",
        "The host takes no reasoning back.",
        "dropped:reasoning",
        host="strict",
    ),
    dropped(
        "input[reasoning].encrypted_content",
        "Only its maker can read it, and chat has no place for it.",
        "dropped:reasoning.encrypted_content",
    ),
    dropped("input[reasoning].id", _NO_IDS),
    dropped("input[reasoning].status", _NO_STATUS),
    changed(
        "input[reasoning].summary[summary_text].text",
        "messages[assistant].reasoning_content",
        "In place of the reasoning itself, where only the summary is known.",
        result="In short.",
    ),
)

ROWS: tuple[Row, ...] = (
    changed(
        "input",
        "messages[user].content",
        "A string is one message of the user. What the assistant did in one turn is one message: reasoning, text and "
        "calls, in this order; the results of its calls stand right behind it.",
        example="Hello.",
        result="Hello.",
    ),
    *MESSAGES,
    *CALLS,
    *RESULTS,
    *REASONING,
    changed(
        "input[additional_tools]",
        "tools[function].function.name",
        "Among the other tools, as if they stood in `tools`.",
        result="late",
        code="changed:input",
        whole=True,
    ),
    *(
        dropped(
            f"input[{kind}]", "It records what a hosted tool did; the answer follows it.", "dropped:input", whole=True
        )
        for kind in _RECORDS
    ),
    *(
        refused(f"input[{kind}]", "Chat has no such item, and it says something.", "input[0]", whole=True)
        for kind in _HOSTED
    ),
    *(
        refused(f"input[{kind}]", "It needs an upstream that speaks the Responses API.", "input[0]", whole=True)
        for kind in _OF_THE_STATE
    ),
)
