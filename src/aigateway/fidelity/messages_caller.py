"""Chat answers and streams for a caller of Messages."""

from __future__ import annotations

from aigateway.fidelity.row import Row, all_carried, all_dropped, carried, changed, dropped

REPLY: tuple[Row, ...] = (
    *all_carried(
        {
            "choices[].message.annotations[url_citation].url_citation.title": "content[text].citations[web_search_result_location].title",
            "choices[].message.annotations[url_citation].url_citation.url": "content[text].citations[web_search_result_location].url",
            "choices[].message.audio.transcript": "content[text].text",
            "choices[].message.content": "content[text].text",
            "choices[].message.function_call.name": "content[tool_use].name",
            "choices[].message.refusal": "content[text].text",
            "choices[].message.tool_calls[custom].custom.name": "content[tool_use].name",
            "choices[].message.tool_calls[custom].id": "content[tool_use].id",
            "choices[].message.tool_calls[function].function.name": "content[tool_use].name",
            "choices[].message.tool_calls[function].id": "content[tool_use].id",
            "usage.completion_tokens": "usage.output_tokens",
            "usage.completion_tokens_details.reasoning_tokens": "usage.output_tokens_details.thinking_tokens",
            "usage.prompt_tokens_details.cache_write_tokens": "usage.cache_creation_input_tokens",
            "usage.prompt_tokens_details.cached_tokens": "usage.cache_read_input_tokens",
        }
    ),
    changed(
        "choices[].finish_reason",
        "stop_reason",
        "stop: end_turn. length: max_tokens. tool_calls: tool_use. content_filter, and a refusal: refusal.",
        result="end_turn",
    ),
    changed(
        "choices[].message.annotations[url_citation].url_citation.end_index",
        "content[text].citations[web_search_result_location].cited_text",
        "The words that it stands on.",
        result="Hi",
    ),
    changed(
        "choices[].message.annotations[url_citation].url_citation.start_index",
        "content[text].citations[web_search_result_location].cited_text",
        "The words that it stands on.",
        result="Hi",
    ),
    changed("choices[].message.function_call.arguments", "content[tool_use].input", "An object there.", result={}),
    carried(
        "choices[].message.tool_calls[custom].custom.input",
        "content[tool_use].input.INVALID_JSON",
        "Only where no tool of the caller's was called.",
    ),
    changed(
        "choices[].message.tool_calls[function].function.arguments",
        "content[tool_use].input",
        "An object there; what is none stands under `INVALID_JSON`.",
        result={},
    ),
    changed("id", "id", "The gateway's own id, which looks like those of the API.", result="msg_1"),
    changed("model", "model", "The name that the caller asked for.", result="asked-for"),
    changed(
        "service_tier",
        "usage.service_tier",
        "`default` is `standard`; of others Anthropic's API has no word.",
        result="priority",
        example="priority",
    ),
    changed(
        "usage.prompt_tokens",
        "usage.input_tokens",
        "Without what was read from the cache or written to it.",
        result=394,
    ),
    dropped("choices[].index", "An answer is one choice, and only one was asked for."),
    dropped("choices[].logprobs", "Anthropic's API has none, and cannot be asked for them.", whole=True),
    dropped(
        "choices[].message.audio.data", "The caller's API has no audio: what was said is told as text.", "dropped:audio"
    ),
    *all_dropped(
        "Only chat takes audio back by its id.",
        paths=(
            "choices[].message.audio.expires_at",
            "choices[].message.audio.id",
        ),
    ),
    dropped("choices[].message.role", "It is always the assistant."),
    dropped("created", "Anthropic's API tells no time."),
    dropped("metadata", "The caller's API has no place for it."),
    dropped("moderation", "The caller's API has no place for it.", whole=True),
    dropped("system_fingerprint", "The caller's API has none."),
    *all_dropped(
        "The usage of the caller's API does not count it.",
        paths=(
            "usage.completion_tokens_details.accepted_prediction_tokens",
            "usage.completion_tokens_details.audio_tokens",
            "usage.completion_tokens_details.rejected_prediction_tokens",
            "usage.completion_tokens_details.text_tokens",
            "usage.prompt_tokens_details.audio_tokens",
            "usage.prompt_tokens_details.image_tokens",
            "usage.prompt_tokens_details.text_tokens",
        ),
    ),
    dropped("usage.total_tokens", "It is the sum of what is told."),
)

STREAM: tuple[Row, ...] = (
    *all_carried(
        {
            "choices[].delta.audio.transcript": "[content_block_delta].delta.text",
            "choices[].delta.content": "[content_block_delta].delta.text",
            "choices[].delta.function_call.arguments": "[content_block_delta].delta.partial_json",
            "choices[].delta.function_call.name": "[content_block_start].content_block.name",
            "choices[].delta.refusal": "[content_block_delta].delta.text",
            "choices[].delta.tool_calls[function].function.arguments": "[content_block_delta].delta.partial_json",
            "choices[].delta.tool_calls[function].function.name": "[content_block_start].content_block.name",
            "choices[].delta.tool_calls[function].id": "[content_block_start].content_block.id",
            "usage.completion_tokens": "[message_delta].usage.output_tokens",
            "usage.completion_tokens_details.reasoning_tokens": "[message_delta].usage.output_tokens_details.thinking_tokens",
            "usage.prompt_tokens_details.cache_write_tokens": "[message_delta].usage.cache_creation_input_tokens",
            "usage.prompt_tokens_details.cached_tokens": "[message_delta].usage.cache_read_input_tokens",
        }
    ),
    changed(
        "choices[].delta.tool_calls[function].index",
        "[content_block_start].index",
        "The place among all blocks of the answer.",
        result=0,
    ),
    changed(
        "choices[].finish_reason",
        "[message_delta].delta.stop_reason",
        "As in an answer that is not streamed.",
        result="end_turn",
    ),
    changed(
        "id", "[message_start].message.id", "The gateway's own id, which looks like those of the API.", result="msg_1"
    ),
    changed("model", "[message_start].message.model", "The name that the caller asked for.", result="asked-for"),
    changed(
        "service_tier",
        "[message_start].message.usage.service_tier",
        "`default` is `standard`; of others Anthropic's API has no word. Where it is known at the end alone, that "
        "of `message_delta` tells it.",
        result="priority",
        example="priority",
    ),
    changed(
        "usage.prompt_tokens",
        "[message_delta].usage.input_tokens",
        "Without what was read from the cache or written to it.",
        result=394,
    ),
    dropped(
        "choices[].delta.audio.data", "The caller's API has no audio: what was said is told as text.", "dropped:audio"
    ),
    *all_dropped(
        "Only chat takes audio back by its id.",
        paths=(
            "choices[].delta.audio.expires_at",
            "choices[].delta.audio.id",
        ),
    ),
    dropped("choices[].delta.role", "It is always the assistant."),
    dropped("choices[].index", "An answer is one choice, and only one was asked for."),
    dropped("choices[].logprobs", "Anthropic's API has none, and cannot be asked for them.", whole=True),
    dropped("created", "Anthropic's API tells no time."),
    dropped("moderation", "The caller's API has no place for it.", whole=True),
    dropped("obfuscation", "It hides the length of a chunk, not of what becomes of it."),
    dropped("system_fingerprint", "The caller's API has none."),
    *all_dropped(
        "The usage of the caller's API does not count it.",
        paths=(
            "usage.completion_tokens_details.accepted_prediction_tokens",
            "usage.completion_tokens_details.audio_tokens",
            "usage.completion_tokens_details.rejected_prediction_tokens",
            "usage.completion_tokens_details.text_tokens",
            "usage.prompt_tokens_details.audio_tokens",
            "usage.prompt_tokens_details.image_tokens",
            "usage.prompt_tokens_details.text_tokens",
        ),
    ),
    dropped("usage.total_tokens", "It is the sum of what is told."),
)
