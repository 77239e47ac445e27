"""The shapes of Open Responses (2026-04-24), in the notation of shapes.py.

https://www.openresponses.org/specification
"""

from __future__ import annotations

from collections.abc import Mapping

from aigateway.lint.shapes import Table

_EVENT = "sequence_number int"
_ITEM = f"{_EVENT}; item_id str; output_index int"
_PART = f"{_ITEM}; content_index int"
_SUMMARY = f"{_ITEM}; summary_index int"
_RESPONSE = f"{_EVENT}; response Response"
_INPUT_PARTS: Mapping[str, str] = {
    "input_text": "text str",
    "input_image": "image_url str|null; detail ImageDetail",
    "input_file": "filename? str; file_url? str",
}
_PARTS: Mapping[str, str] = {
    **_INPUT_PARTS,
    "output_text": "text str; annotations [Annotation]; logprobs? [LogProb]",
    "text": "text str",
    "summary_text": "text str",
    "reasoning_text": "text str",
    "refusal": "refusal str",
}

TABLES: Mapping[str, Table] = {
    "Response": (
        "id str; object 'response'; created_at int; completed_at int|null; status str; "
        "incomplete_details IncompleteDetails|null; model str; previous_response_id str|null; instructions str|null; "
        "output [Item]; error Error|null; tools [Tool]; tool_choice ToolChoiceWord|ToolChoice; truncation Truncation; "
        "parallel_tool_calls bool; text Text; top_p num; presence_penalty num; frequency_penalty num; "
        "top_logprobs int; temperature num; reasoning Reasoning|null; usage Usage|null; max_output_tokens int|null; "
        "max_tool_calls int|null; store bool; background bool; service_tier str; metadata any; "
        "safety_identifier str|null; prompt_cache_key str|null"
    ),
    "IncompleteDetails": "reason str",
    "Error": "code str; message str",
    "Usage": (
        "input_tokens int; output_tokens int; total_tokens int; input_tokens_details InputTokens; "
        "output_tokens_details OutputTokens"
    ),
    "InputTokens": "cached_tokens int",
    "OutputTokens": "reasoning_tokens int",
    "Reasoning": "effort Effort|null; summary Summary|null",
    "Effort": "'none'|'low'|'medium'|'high'|'xhigh'",
    "Summary": "'concise'|'detailed'|'auto'",
    "Truncation": "'auto'|'disabled'",
    "Text": "format Format; verbosity? Verbosity",
    "Verbosity": "'low'|'medium'|'high'",
    "Format": {
        "text": "",
        "json_object": "",
        "json_schema": "name str; description str|null; schema null; strict bool",
    },
    "Tool": {"function": "name str; description str|null; parameters obj|null; strict bool|null"},
    "ToolChoiceWord": "'none'|'auto'|'required'",
    "ToolChoice": {"function": "name? str", "allowed_tools": "tools [FunctionChoice]; mode ToolChoiceWord"},
    "FunctionChoice": {"function": "name? str"},
    "Item": {
        "message": "id str; status ItemStatus; role Role; content [MessagePart]; phase? Phase",
        "function_call": "id str; call_id str; name str; arguments str; status ItemStatus",
        "function_call_output": "id str; call_id str; output str|[InputPart]; status ItemStatus",
        "reasoning": "id str; content? [Part]; summary [Part]; encrypted_content? str",
        "compaction": "id str; encrypted_content str; created_by? str",
    },
    "ItemStatus": "'in_progress'|'completed'|'incomplete'",
    "Role": "'user'|'assistant'|'system'|'developer'",
    "Phase": "'commentary'|'final_answer'",
    "InputPart": _INPUT_PARTS,
    "Part": _PARTS,
    "MessagePart": {**_PARTS, "input_video": "video_url str"},
    "ImageDetail": "'low'|'high'|'auto'",
    "Annotation": {"url_citation": "url str; start_index int; end_index int; title str"},
    "LogProb": "token str; logprob num; bytes [int]; top_logprobs [TopLogProb]",
    "TopLogProb": "token str; logprob num; bytes [int]",
    "ErrorPayload": "type str; code str|null; message str; param str|null; headers? obj",
    "Event": {
        "response.created": _RESPONSE,
        "response.queued": _RESPONSE,
        "response.in_progress": _RESPONSE,
        "response.completed": _RESPONSE,
        "response.failed": _RESPONSE,
        "response.incomplete": _RESPONSE,
        "response.output_item.added": f"{_EVENT}; output_index int; item Item|null",
        "response.output_item.done": f"{_EVENT}; output_index int; item Item|null",
        "response.content_part.added": f"{_PART}; part Part",
        "response.content_part.done": f"{_PART}; part Part",
        "response.output_text.delta": f"{_PART}; delta str; logprobs? [LogProb]; obfuscation? str",
        "response.output_text.done": f"{_PART}; text str; logprobs? [LogProb]",
        "response.output_text.annotation.added": f"{_PART}; annotation_index int; annotation Annotation|null",
        "response.refusal.delta": f"{_PART}; delta str",
        "response.refusal.done": f"{_PART}; refusal str",
        "response.reasoning.delta": f"{_PART}; delta str; obfuscation? str",
        "response.reasoning.done": f"{_PART}; text str",
        "response.reasoning_summary_part.added": f"{_SUMMARY}; part Part",
        "response.reasoning_summary_part.done": f"{_SUMMARY}; part Part",
        "response.reasoning_summary_text.delta": f"{_SUMMARY}; delta str; obfuscation? str",
        "response.reasoning_summary_text.done": f"{_SUMMARY}; text str",
        "response.function_call_arguments.delta": f"{_ITEM}; delta str; obfuscation? str",
        "response.function_call_arguments.done": f"{_ITEM}; arguments str",
        "error": f"{_EVENT}; error ErrorPayload",
    },
}
