"""The shapes of OpenAI's Responses API, in the notation of shapes.py.

https://github.com/openai/openai-openapi

Looser than the description where OpenAI's own answers are: `usage` is null until the end, a format's `description` may
be null, `cache_write_tokens` is new, tiers and the codes of errors are not a closed list.
"""

from __future__ import annotations

from collections.abc import Mapping

from aigateway.lint.shapes import Table

_EVENT = "sequence_number int"
_ITEM = f"{_EVENT}; item_id str; output_index int"
_PART = f"{_ITEM}; content_index int"
_SUMMARY = f"{_ITEM}; summary_index int"
_RESPONSE = f"{_EVENT}; response Response"
_COMMAND = f"{_EVENT}; output_index int; command_index int"
_INPUT_PARTS: Mapping[str, str] = {
    "input_text": "text str",
    "input_image": "image_url? str|null; file_id? str|null; detail? str|null",
    "input_file": "filename? str; file_url? str; file_data? str; file_id? str|null",
}
_MESSAGE_PARTS: Mapping[str, str] = {
    "output_text": "text str; annotations [Annotation]; logprobs? [LogProb]",
    "refusal": "refusal str",
}
_STATUSES: Mapping[str, tuple[str, ...]] = {
    "response.code_interpreter_call": ("in_progress", "interpreting", "completed"),
    "response.file_search_call": ("in_progress", "searching", "completed"),
    "response.image_generation_call": ("in_progress", "generating", "completed"),
    "response.mcp_call": ("in_progress", "completed", "failed"),
    "response.mcp_list_tools": ("in_progress", "completed", "failed"),
    "response.web_search_call": ("in_progress", "searching", "completed"),
}
"""The events that tell how far a hosted tool is."""

_HOSTED_ITEMS: Mapping[str, str] = {
    "file_search_call": "id str; status HostedStatus; queries [str]; results? [obj]|null",
    "web_search_call": "id str; status HostedStatus; action? obj",
    "computer_call": "id str; call_id str; pending_safety_checks [obj]; status ItemStatus",
    "computer_call_output": "id str; call_id str; output obj; status HostedStatus",
    "program": "id str; call_id str; code str; fingerprint str",
    "program_output": "id str; call_id str; result str; status ItemStatus",
    "tool_search_call": "id str; call_id str|null; execution str; arguments any; status ItemStatus",
    "tool_search_output": "id str; call_id str|null; execution str; tools [Tool]; status ItemStatus",
    "additional_tools": "id str; role str; tools [Tool]",
    "compaction": "id str; encrypted_content str; created_by? str",
    "image_generation_call": "id str; status HostedStatus; result str|null",
    "code_interpreter_call": "id str; status HostedStatus; container_id str; code str|null; outputs [obj]|null",
    "local_shell_call": "id str; call_id str; action obj; status ItemStatus",
    "local_shell_call_output": "id str; output str; status? ItemStatus|null",
    "shell_call": "id str; call_id str; action obj; status ItemStatus; environment obj|null",
    "shell_call_output": "id str; call_id str; status ItemStatus; output [obj]; max_output_length int|null",
    "apply_patch_call": "id str; call_id str; status HostedStatus; operation obj",
    "apply_patch_call_output": "id str; call_id str; status HostedStatus; output? str|null",
    "mcp_call": (
        "id str; server_label str; name str; arguments str; output? str|null; error? any; status? HostedStatus; "
        "approval_request_id? str|null"
    ),
    "mcp_list_tools": "id str; server_label str; tools [obj]; error? any",
    "mcp_approval_request": "id str; server_label str; name str; arguments str",
    "mcp_approval_response": "id str; approval_request_id str; approve bool; reason? str|null",
}
_HOSTED_TOOLS: Mapping[str, str] = {
    "file_search": "vector_store_ids [str]",
    "computer": "",
    "computer_use_preview": "environment str; display_width int; display_height int",
    "web_search": "",
    "web_search_2025_08_26": "",
    "web_search_preview": "",
    "web_search_preview_2025_03_11": "",
    "mcp": "server_label str",
    "code_interpreter": "container str|obj",
    "programmatic_tool_calling": "",
    "image_generation": "",
    "local_shell": "",
    "shell": "",
    "tool_search": "",
    "apply_patch": "",
}
_HOSTED_CHOICES = ("file_search", "computer", "computer_use", "computer_use_preview", "image_generation", "shell")
_MORE_CHOICES = ("code_interpreter", "apply_patch", "programmatic_tool_calling", "web_search", "web_search_preview")

TABLES: Mapping[str, Table] = {
    "Response": (
        "id str; object 'response'; created_at num; completed_at? num|null; status? Status; error Error|null; "
        "incomplete_details IncompleteDetails|null; instructions str|[obj]|null; model str; output [Item]; "
        "parallel_tool_calls bool; metadata obj|null; tool_choice ToolChoiceWord|ToolChoice; tools [Tool]; "
        "temperature num|null; top_p num|null; service_tier? str|null; truncation? Truncation|null; "
        "reasoning? Reasoning|null; output_text? str|null; usage? Usage|null; max_output_tokens? int|null; "
        "max_tool_calls? int|null; previous_response_id? str|null; background? bool|null; text? Text; "
        "top_logprobs? int|null; user? str|null; safety_identifier? str|null; prompt_cache_key? str|null; "
        "prompt_cache_retention? str|null; conversation? Conversation|null; prompt? obj|null; moderation? obj|null"
    ),
    "Status": "'completed'|'failed'|'in_progress'|'cancelled'|'queued'|'incomplete'",
    "IncompleteDetails": "reason? IncompleteReason",
    "IncompleteReason": "'max_output_tokens'|'content_filter'",
    "Error": "code str; message str",
    "Conversation": "id str",
    "Usage": (
        "input_tokens int; output_tokens int; total_tokens int; input_tokens_details InputTokens; "
        "output_tokens_details OutputTokens"
    ),
    "InputTokens": "cached_tokens int; cache_write_tokens? int",
    "OutputTokens": "reasoning_tokens int",
    "Reasoning": "mode? str|null; effort? Effort|null; summary? Summary|null; context? str|null; generate_summary? Summary|null",
    "Effort": "'none'|'minimal'|'low'|'medium'|'high'|'xhigh'|'max'",
    "Summary": "'concise'|'detailed'|'auto'",
    "Truncation": "'auto'|'disabled'",
    "Text": "format? Format; verbosity? Verbosity|null",
    "Verbosity": "'low'|'medium'|'high'",
    "Format": {
        "text": "",
        "json_object": "",
        "json_schema": "name str; description? str|null; schema obj; strict? bool|null",
    },
    "Tool": {
        "function": "name str; description? str|null; parameters obj|null; strict bool|null",
        "custom": "name str; description? str|null; format? obj",
        "namespace": "name str; description str; tools [GroupedTool]",
        **_HOSTED_TOOLS,
    },
    "GroupedTool": {"function": "name str", "custom": "name str"},
    "ToolChoiceWord": "'none'|'auto'|'required'",
    "ToolChoice": {
        "function": "name str",
        "custom": "name str",
        "mcp": "server_label str; name? str|null",
        "allowed_tools": "mode AllowedMode; tools [obj]",
        **dict.fromkeys((*_HOSTED_CHOICES, *_MORE_CHOICES, "web_search_preview_2025_03_11"), ""),
    },
    "AllowedMode": "'auto'|'required'",
    "Item": {
        "message": "id str; status ItemStatus; role 'assistant'; content [MessagePart]; phase? Phase|null",
        "function_call": "id? str; call_id str; name str; arguments str; status? ItemStatus; namespace? str",
        "function_call_output": "id str; call_id? str; output str|[InputPart]; status ItemStatus",
        "custom_tool_call": "id? str; call_id str; name str; input str; status? ItemStatus; namespace? str",
        "custom_tool_call_output": "id str; call_id str; output str|[InputPart]; status ItemStatus",
        "reasoning": (
            "id str; summary [SummaryPart]; content? [ReasoningPart]; encrypted_content? str|null; status? ItemStatus"
        ),
        **_HOSTED_ITEMS,
    },
    "ItemStatus": "'in_progress'|'completed'|'incomplete'",
    "HostedStatus": (
        "'in_progress'|'searching'|'generating'|'interpreting'|'calling'|'completed'|'incomplete'|'failed'"
    ),
    "Phase": "'commentary'|'final_answer'",
    "InputPart": _INPUT_PARTS,
    "MessagePart": _MESSAGE_PARTS,
    "ReasoningPart": {"reasoning_text": "text str"},
    "SummaryPart": {"summary_text": "text str"},
    "Part": {**_MESSAGE_PARTS, "reasoning_text": "text str"},
    "Annotation": {
        "url_citation": "url str; start_index int; end_index int; title str",
        "file_citation": "file_id str; index int; filename str",
        "container_file_citation": "container_id str; file_id str; start_index int; end_index int; filename str",
        "file_path": "file_id str; index int",
    },
    "LogProb": "token str; logprob num; bytes [int]; top_logprobs [TopLogProb]",
    "TopLogProb": "token str; logprob num; bytes [int]",
    "StreamedLogProb": "token str; logprob num; top_logprobs? [obj]",
    "Event": {
        "response.created": _RESPONSE,
        "response.queued": _RESPONSE,
        "response.in_progress": _RESPONSE,
        "response.completed": _RESPONSE,
        "response.failed": _RESPONSE,
        "response.incomplete": _RESPONSE,
        "response.output_item.added": f"{_EVENT}; output_index int; item Item",
        "response.output_item.done": f"{_EVENT}; output_index int; item Item",
        "response.content_part.added": f"{_PART}; part Part",
        "response.content_part.done": f"{_PART}; part Part",
        "response.output_text.delta": f"{_PART}; delta str; logprobs [StreamedLogProb]",
        "response.output_text.done": f"{_PART}; text str; logprobs [StreamedLogProb]",
        "response.output_text.annotation.added": f"{_PART}; annotation_index int; annotation Annotation|null",
        "response.refusal.delta": f"{_PART}; delta str",
        "response.refusal.done": f"{_PART}; refusal str",
        "response.reasoning_text.delta": f"{_PART}; delta str",
        "response.reasoning_text.done": f"{_PART}; text str",
        "response.reasoning_summary_part.added": f"{_SUMMARY}; part SummaryPart",
        "response.reasoning_summary_part.done": f"{_SUMMARY}; part SummaryPart",
        "response.reasoning_summary_text.delta": f"{_SUMMARY}; delta str",
        "response.reasoning_summary_text.done": f"{_SUMMARY}; text str",
        "response.function_call_arguments.delta": f"{_ITEM}; delta str",
        "response.function_call_arguments.done": f"{_ITEM}; arguments str; name? str",
        "response.custom_tool_call_input.delta": f"{_ITEM}; delta str",
        "response.custom_tool_call_input.done": f"{_ITEM}; input str",
        "response.mcp_call_arguments.delta": f"{_ITEM}; delta str",
        "response.mcp_call_arguments.done": f"{_ITEM}; arguments str",
        "response.code_interpreter_call_code.delta": f"{_ITEM}; delta str",
        "response.code_interpreter_call_code.done": f"{_ITEM}; code str",
        "response.image_generation_call.partial_image": f"{_ITEM}; partial_image_index int; partial_image_b64 str",
        "response.shell_call_command.added": f"{_COMMAND}; command str",
        "response.shell_call_command.delta": f"{_COMMAND}; delta str",
        "response.shell_call_command.done": f"{_COMMAND}; command str",
        "response.shell_call_output_content.delta": f"{_COMMAND}; item_id str; delta obj",
        "response.shell_call_output_content.done": f"{_COMMAND}; item_id str; output [obj]",
        "response.audio.delta": f"{_EVENT}; delta str",
        "response.audio.done": _EVENT,
        "response.audio.transcript.delta": f"{_EVENT}; delta str",
        "response.audio.transcript.done": _EVENT,
        **{f"{stem}.{status}": _ITEM for stem, statuses in _STATUSES.items() for status in statuses},
        "error": f"{_EVENT}; code str|null; message str; param str|null",
    },
}
