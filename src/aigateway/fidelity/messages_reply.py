"""Answers and streams of a Messages upstream for a caller of chat."""

from __future__ import annotations

from aigateway.fidelity.row import Row, all_carried, all_dropped, changed, dropped

REPLY: tuple[Row, ...] = (
    *all_carried(
        {
            "content[redacted_thinking].data": "choices[].message.reasoning_details[reasoning.encrypted].data",
            "content[text].citations[web_search_result_location].title": "choices[].message.annotations[url_citation].url_citation.title",
            "content[text].citations[web_search_result_location].url": "choices[].message.annotations[url_citation].url_citation.url",
            "content[text].text": "choices[].message.content",
            "content[thinking].signature": "choices[].message.reasoning_details[reasoning.text].signature",
            "content[thinking].thinking": "choices[].message.reasoning_content",
            "content[tool_use].id": "choices[].message.tool_calls[function].id",
            "content[tool_use].name": "choices[].message.tool_calls[function].function.name",
            "usage.cache_creation_input_tokens": "usage.prompt_tokens_details.cache_write_tokens",
            "usage.cache_read_input_tokens": "usage.prompt_tokens_details.cached_tokens",
            "usage.input_tokens": "usage.prompt_tokens",
            "usage.output_tokens": "usage.completion_tokens",
            "usage.output_tokens_details.thinking_tokens": "usage.completion_tokens_details.reasoning_tokens",
        }
    ),
    changed(
        "content[tool_use].input",
        "choices[].message.tool_calls[function].function.arguments",
        "An object here, a JSON text there.",
        result='{"a":"input"}',
    ),
    changed("model", "model", "The name that the caller asked for.", result="asked-for"),
    changed(
        "stop_reason",
        "choices[].finish_reason",
        "end_turn, stop_sequence, pause_turn: stop. max_tokens, model_context_window_exceeded: length. tool_use: tool_calls. refusal: content_filter.",
        result="stop",
    ),
    changed("usage.service_tier", "service_tier", "`standard` is `default`.", result="default"),
    *all_dropped(
        "The caller's API has no place for it.",
        whole=True,
        paths=(
            "container",
            "diagnostics",
            "stop_details",
        ),
    ),
    *all_dropped(
        "The caller's API has nothing of the kind.",
        code="dropped:output",
        whole=True,
        paths=(
            "content[bash_code_execution_tool_result]",
            "content[code_execution_tool_result]",
            "content[container_upload]",
            "content[server_tool_use]",
            "content[text_editor_code_execution_tool_result]",
            "content[tool_search_tool_result]",
            "content[web_fetch_tool_result]",
            "content[web_search_tool_result]",
        ),
    ),
    *all_dropped(
        "The caller's API has no citations but those of web pages.",
        code="dropped:annotations",
        whole=True,
        paths=(
            "content[text].citations[char_location]",
            "content[text].citations[content_block_location]",
            "content[text].citations[page_location]",
            "content[text].citations[search_result_location]",
        ),
    ),
    *all_dropped(
        "The words stand in the text that the citation is put on; the index is for the upstream alone.",
        paths=(
            "content[text].citations[web_search_result_location].cited_text",
            "content[text].citations[web_search_result_location].encrypted_index",
        ),
    ),
    dropped("content[tool_use].caller", "It says how a hosted tool came to call; none was asked for.", whole=True),
    dropped("content[tool_use].toolset_name", "It says how a hosted tool came to call; none was asked for."),
    dropped("id", "The gateway's own id, which looks like those of the API."),
    dropped("stop_sequence", "Chat does not tell which of the stop sequences it was."),
    dropped("usage.cache_creation", "The two kinds of cache writes are told as one count.", whole=True),
    *all_dropped(
        "The caller's API has no place for it.",
        paths=(
            "usage.inference_geo",
            "usage.speed",
        ),
    ),
    dropped("usage.server_tool_use", "Chat does not count what a hosted tool did.", whole=True),
)

STREAM: tuple[Row, ...] = (
    *all_carried(
        {
            "[content_block_delta].delta(citations_delta).citation(web_search_result_location).title": "choices[].delta.annotations[url_citation].url_citation.title",
            "[content_block_delta].delta(citations_delta).citation(web_search_result_location).url": "choices[].delta.annotations[url_citation].url_citation.url",
            "[content_block_delta].delta(input_json_delta).partial_json": "choices[].delta.tool_calls[].function.arguments",
            "[content_block_delta].delta(signature_delta).signature": "choices[].delta.reasoning_details[reasoning.text].signature",
            "[content_block_delta].delta(text_delta).text": "choices[].delta.content",
            "[content_block_delta].delta(thinking_delta).thinking": "choices[].delta.reasoning_content",
            "[content_block_start].content_block(redacted_thinking).data": "choices[].delta.reasoning_details[reasoning.encrypted].data",
            "[content_block_start].content_block(text).citations[web_search_result_location].title": "choices[].delta.annotations[url_citation].url_citation.title",
            "[content_block_start].content_block(text).citations[web_search_result_location].url": "choices[].delta.annotations[url_citation].url_citation.url",
            "[content_block_start].content_block(text).text": "choices[].delta.content",
            "[content_block_start].content_block(thinking).signature": "choices[].delta.reasoning_details[reasoning.text].signature",
            "[content_block_start].content_block(thinking).thinking": "choices[].delta.reasoning_content",
            "[content_block_start].content_block(tool_use).id": "choices[].delta.tool_calls[function].id",
            "[content_block_start].content_block(tool_use).name": "choices[].delta.tool_calls[function].function.name",
            "[message_delta].usage.cache_creation_input_tokens": "usage.prompt_tokens_details.cache_write_tokens",
            "[message_delta].usage.cache_read_input_tokens": "usage.prompt_tokens_details.cached_tokens",
            "[message_delta].usage.output_tokens": "usage.completion_tokens",
            "[message_delta].usage.output_tokens_details.thinking_tokens": "usage.completion_tokens_details.reasoning_tokens",
            "[message_start].message.usage.cache_creation_input_tokens": "usage.prompt_tokens_details.cache_write_tokens",
            "[message_start].message.usage.cache_read_input_tokens": "usage.prompt_tokens_details.cached_tokens",
            "[message_start].message.usage.input_tokens": "usage.prompt_tokens",
        }
    ),
    changed(
        "[content_block_start].content_block(tool_use).input",
        "choices[].delta.tool_calls[].function.arguments",
        "Where it came whole: an object here, a JSON text there.",
        result='{"a":"input"}',
    ),
    changed(
        "[message_delta].delta.stop_reason",
        "choices[].finish_reason",
        "As in an answer that is not streamed.",
        result="stop",
    ),
    changed(
        "[message_delta].usage.input_tokens",
        "usage.prompt_tokens",
        "With what was read from the cache or written to it.",
        result=2712,
    ),
    changed("[message_start].message.model", "model", "The name that the caller asked for.", result="asked-for"),
    changed(
        "[message_start].message.usage.output_tokens_details.thinking_tokens",
        "usage.completion_tokens_details.reasoning_tokens",
        "Where the end tells none.",
        result=302,
    ),
    changed("[message_start].message.usage.service_tier", "service_tier", "`standard` is `default`.", result="default"),
    *all_dropped(
        "The caller's API has no citations but those of web pages.",
        code="dropped:annotations",
        whole=True,
        paths=(
            "[content_block_delta].delta(citations_delta).citation(char_location)",
            "[content_block_delta].delta(citations_delta).citation(content_block_location)",
            "[content_block_delta].delta(citations_delta).citation(page_location)",
            "[content_block_delta].delta(citations_delta).citation(search_result_location)",
            "[content_block_start].content_block(text).citations[char_location]",
            "[content_block_start].content_block(text).citations[content_block_location]",
            "[content_block_start].content_block(text).citations[page_location]",
            "[content_block_start].content_block(text).citations[search_result_location]",
        ),
    ),
    *all_dropped(
        "The words stand in the text that the citation is put on; the index is for the upstream alone.",
        paths=(
            "[content_block_delta].delta(citations_delta).citation(web_search_result_location).cited_text",
            "[content_block_delta].delta(citations_delta).citation(web_search_result_location).encrypted_index",
            "[content_block_start].content_block(text).citations[web_search_result_location].cited_text",
            "[content_block_start].content_block(text).citations[web_search_result_location].encrypted_index",
        ),
    ),
    *all_dropped(
        "The caller's API has no blocks: its own events number what they tell.",
        paths=(
            "[content_block_delta].index",
            "[content_block_start].index",
            "[message_stop]",
        ),
    ),
    *all_dropped(
        "The caller's API has nothing of the kind.",
        code="dropped:output",
        whole=True,
        paths=(
            "[content_block_start].content_block(bash_code_execution_tool_result)",
            "[content_block_start].content_block(code_execution_tool_result)",
            "[content_block_start].content_block(container_upload)",
            "[content_block_start].content_block(server_tool_use)",
            "[content_block_start].content_block(text_editor_code_execution_tool_result)",
            "[content_block_start].content_block(tool_search_tool_result)",
            "[content_block_start].content_block(web_fetch_tool_result)",
            "[content_block_start].content_block(web_search_tool_result)",
        ),
    ),
    dropped(
        "[content_block_start].content_block(tool_use).caller",
        "It says how a hosted tool came to call; none was asked for.",
        whole=True,
    ),
    dropped(
        "[content_block_start].content_block(tool_use).toolset_name",
        "It says how a hosted tool came to call; none was asked for.",
    ),
    dropped(
        "[content_block_stop]", "The caller's API has no blocks: its own events number what they tell.", whole=True
    ),
    *all_dropped(
        "The caller's API has no place for it.",
        whole=True,
        paths=(
            "[message_delta].delta.container",
            "[message_delta].delta.stop_details",
            "[message_start].message.container",
            "[message_start].message.diagnostics",
            "[message_start].message.stop_details",
        ),
    ),
    *all_dropped(
        "Chat does not tell which of the stop sequences it was.",
        paths=(
            "[message_delta].delta.stop_sequence",
            "[message_start].message.stop_sequence",
        ),
    ),
    *all_dropped(
        "Chat does not count what a hosted tool did.",
        whole=True,
        paths=(
            "[message_delta].usage.server_tool_use",
            "[message_start].message.usage.server_tool_use",
        ),
    ),
    *all_dropped(
        "When a stream begins it is empty.",
        paths=(
            "[message_start].message.content",
            "[message_start].message.stop_reason",
        ),
    ),
    dropped("[message_start].message.id", "The gateway's own id, which looks like those of the API."),
    dropped(
        "[message_start].message.usage.cache_creation",
        "The two kinds of cache writes are told as one count.",
        whole=True,
    ),
    *all_dropped(
        "The caller's API has no place for it.",
        paths=(
            "[message_start].message.usage.inference_geo",
            "[message_start].message.usage.speed",
        ),
    ),
    dropped("[message_start].message.usage.output_tokens", "The count at the end is told."),
)
