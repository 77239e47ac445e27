"""Answers and streams of Cohere's chat for a caller of chat."""

from __future__ import annotations

from aigateway.fidelity.row import Row, all_carried, all_dropped, carried, changed, dropped

_FINISH = "COMPLETE, STOP_SEQUENCE: stop. TOOL_CALL: tool_calls. MAX_TOKENS: length. ERROR, TIMEOUT: an error."
_CITED = "The caller's API has no citations but those of web pages."
_UNASKED = "They are not asked for: `logprobs` of a request is listed."
_BILLED = "The usage counts the tokens that the model read and wrote, not those that are billed."
_PLACE = "Blocks are told in their order."
_CALL = "choices[].delta.tool_calls[function]"

REPLY: tuple[Row, ...] = (
    *all_carried(
        {
            "message.content[text].text": "choices[].message.content",
            "message.content[thinking].thinking": "choices[].message.reasoning_content",
            "message.tool_calls[function].function.arguments": "choices[].message.tool_calls[function].function.arguments",
            "message.tool_calls[function].function.name": "choices[].message.tool_calls[function].function.name",
            "message.tool_calls[function].id": "choices[].message.tool_calls[function].id",
            "usage.cached_tokens": "usage.prompt_tokens_details.cached_tokens",
            "usage.tokens.input_tokens": "usage.prompt_tokens",
            "usage.tokens.output_tokens": "usage.completion_tokens",
        }
    ),
    changed("finish_reason", "choices[].finish_reason", _FINISH, result="length"),
    changed("id", "id", "The gateway's own id, which looks like those of the API.", result="chatcmpl_1"),
    carried("message.tool_plan", "choices[].message.reasoning_content", "As a thought."),
    dropped("logprobs", _UNASKED, whole=True),
    dropped("message.citations", _CITED, "dropped:annotations, dropped:output", whole=True),
    dropped("usage.billed_units", _BILLED, whole=True),
)

STREAM: tuple[Row, ...] = (
    *all_carried(
        {
            "[content-delta].delta.message.content.text": "choices[].delta.content",
            "[content-delta].delta.message.content.thinking": "choices[].delta.reasoning_content",
            "[content-start].delta.message.content.text": "choices[].delta.content",
            "[content-start].delta.message.content.thinking": "choices[].delta.reasoning_content",
            "[message-end].delta.usage.cached_tokens": "usage.prompt_tokens_details.cached_tokens",
            "[message-end].delta.usage.tokens.input_tokens": "usage.prompt_tokens",
            "[message-end].delta.usage.tokens.output_tokens": "usage.completion_tokens",
            "[tool-call-delta].delta.message.tool_calls.function.arguments": "choices[].delta.tool_calls[].function.arguments",
            "[tool-call-delta].index": f"{_CALL}.index",
            "[tool-call-end].index": f"{_CALL}.index",
            "[tool-call-start].delta.message.tool_calls.function.arguments": f"{_CALL}.function.arguments",
            "[tool-call-start].delta.message.tool_calls.function.name": f"{_CALL}.function.name",
            "[tool-call-start].delta.message.tool_calls.id": f"{_CALL}.id",
            "[tool-call-start].index": f"{_CALL}.index",
        }
    ),
    changed(
        "[message-end].delta.error",
        "error.message",
        "The stream ends in an error.",
        result="The upstream broke off its answer: out of memory",
    ),
    changed("[message-end].delta.finish_reason", "choices[].finish_reason", _FINISH, result="length"),
    changed(
        "[message-start].id", "id", "The gateway's own id, which looks like those of the API.", result="chatcmpl_1"
    ),
    carried("[tool-plan-delta].delta.message.tool_plan", "choices[].delta.reasoning_content", "As a thought."),
    dropped("[citation-start].delta.message.citations", _CITED, "dropped:annotations, dropped:output", whole=True),
    *all_dropped(
        _PLACE,
        paths=(
            "[citation-end].index",
            "[citation-start].index",
            "[content-delta].index",
            "[content-end].index",
            "[content-start].index",
        ),
    ),
    dropped("[content-delta].logprobs", _UNASKED, whole=True),
    dropped("[content-start].delta.message.content.type", "The text or the thought says it."),
    dropped("[debug]", "It is for Cohere's own developers.", whole=True),
    dropped("[message-end].delta.usage.billed_units", _BILLED, whole=True),
    dropped("[message-start].delta", "It is always the assistant who speaks.", whole=True),
    dropped("[message-end].id", "The first event has it."),
)
