"""Tools and tool_choice of Responses requests for an upstream that speaks chat."""

from __future__ import annotations

from aigateway.fidelity.row import Row, carried, changed, dropped, refused

_FUNCTION = "A host without custom tools gets a function with one text, `input`."

_HOSTED = (
    "apply_patch",
    "code_interpreter",
    "computer",
    "computer_use_preview",
    "file_search",
    "image_generation",
    "local_shell",
    "mcp",
    "programmatic_tool_calling",
    "shell",
    "tool_search",
    "web_search",
    "web_search_2025_08_26",
    "web_search_preview",
    "web_search_preview_2025_03_11",
)
_CHOSEN = (
    "apply_patch",
    "code_interpreter",
    "computer",
    "computer_use",
    "computer_use_preview",
    "file_search",
    "image_generation",
    "mcp",
    "programmatic_tool_calling",
    "shell",
    "web_search_preview",
    "web_search_preview_2025_03_11",
)

ROWS: tuple[Row, ...] = (
    carried("tool_choice", why="auto, none, required.", example="required"),
    carried("tool_choice(allowed_tools).mode", "tool_choice(allowed_tools).allowed_tools.mode"),
    changed(
        "tool_choice(allowed_tools).mode",
        "tool_choice",
        "A host without allowed_tools gets the mode alone.",
        result="auto",
        code="changed:tool_choice",
        host="unknown",
    ),
    changed(
        "tool_choice(allowed_tools).tools",
        "tool_choice(allowed_tools).allowed_tools.tools",
        "A hosted tool among them is left out.",
        result=[{"type": "function", "function": {"name": "f"}}],
    ),
    changed(
        "tool_choice(allowed_tools).tools",
        "tools[function].function.name",
        "A host without allowed_tools gets the allowed tools alone.",
        result="f",
        code="changed:tool_choice",
        host="unknown",
    ),
    carried("tool_choice(custom).name", "tool_choice(custom).custom.name"),
    changed("tool_choice(custom).name", "tool_choice(function).function.name", _FUNCTION, result="run", host="unknown"),
    carried("tool_choice(function).name", "tool_choice(function).function.name"),
    *(
        refused(
            f"tool_choice({kind})",
            "The target cannot offer the tool that is demanded.",
            "tool_choice",
            "unsupported_parameter",
            whole=True,
        )
        for kind in _CHOSEN
    ),
    *(
        dropped(f"tools[{kind}].{field}", "Chat has none.", f"dropped:{field}", whole=True)
        for kind in ("custom", "function")
        for field in ("allowed_callers", "async", "defer_loading")
    ),
    carried("tools[custom].description", "tools[custom].custom.description"),
    carried("tools[custom].format(grammar).definition", "tools[custom].custom.format(grammar).grammar.definition"),
    carried("tools[custom].format(grammar).syntax", "tools[custom].custom.format(grammar).grammar.syntax"),
    changed(
        "tools[custom].format(grammar).definition",
        "tools[function].function.description",
        f"{_FUNCTION} The grammar is told in its description.",
        result="runs\n\nThe input must match this lark grammar:\nstart: /.+/",
        code="changed:tools",
        host="unknown",
    ),
    carried("tools[custom].format(text)", "tools[custom].custom.format(text)"),
    carried("tools[custom].name", "tools[custom].custom.name"),
    changed(
        "tools[custom].name",
        "tools[function].function.name",
        _FUNCTION,
        result="run",
        code="changed:tools",
        host="unknown",
    ),
    carried("tools[function].description", "tools[function].function.description"),
    carried("tools[function].name", "tools[function].function.name"),
    dropped("tools[function].output_schema", "Chat has none.", "dropped:output_schema"),
    carried("tools[function].parameters", "tools[function].function.parameters"),
    carried("tools[function].strict", "tools[function].function.strict"),
    *(
        dropped(
            f"tools[{kind}]",
            "Chat has no such tool: it is set aside. Demanded by tool_choice it is refused.",
            "dropped:tools",
            whole=True,
        )
        for kind in _HOSTED
    ),
    changed(
        "tools[namespace].description",
        "tools[function].function.description",
        "Before the description of its first tool.",
        result="The customers.\n\nfinds one",
        code="changed:tools",
    ),
    changed(
        "tools[namespace].name",
        "tools[function].function.name",
        "Before the names of its tools; calls come back with `namespace` and the tool's own name.",
        result="crm__find",
        code="changed:tools",
    ),
    changed(
        "tools[namespace].tools",
        "tools[function].function.name",
        "Flat, each under a name that holds both.",
        result="crm__find",
        code="changed:tools",
        whole=True,
    ),
)
