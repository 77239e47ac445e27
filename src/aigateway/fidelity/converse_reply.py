"""Answers and streams of a Converse upstream for a caller of chat."""

from __future__ import annotations

from aigateway.fidelity.row import Row, all_carried, all_dropped, changed, dropped

REPLY: tuple[Row, ...] = (
    *all_carried(
        {
            "output.message.content[].audio.source.bytes": "choices[].message.audio.data",
            "output.message.content[].citationsContent.citations[].location.web.url": "choices[].message.annotations[url_citation].url_citation.url",
            "output.message.content[].citationsContent.citations[].title": "choices[].message.annotations[url_citation].url_citation.title",
            "output.message.content[].reasoningContent.reasoningText.signature": "choices[].message.reasoning_details[reasoning.text].signature",
            "output.message.content[].reasoningContent.reasoningText.text": "choices[].message.reasoning_content",
            "output.message.content[].reasoningContent.redactedContent": "choices[].message.reasoning_details[reasoning.encrypted].data",
            "output.message.content[].text": "choices[].message.content",
            "output.message.content[].toolUse.name": "choices[].message.tool_calls[function].function.name",
            "output.message.content[].toolUse.toolUseId": "choices[].message.tool_calls[function].id",
            "serviceTier.type": "service_tier",
            "usage.cacheReadInputTokens": "usage.prompt_tokens_details.cached_tokens",
            "usage.cacheWriteInputTokens": "usage.prompt_tokens_details.cache_write_tokens",
            "usage.outputTokens": "usage.completion_tokens",
        }
    ),
    changed(
        "output.message.content[].citationsContent.content[].text",
        "choices[].message.content",
        "The citations stand on it.",
        result="Hi. Hello.",
    ),
    changed(
        "output.message.content[].toolUse.input",
        "choices[].message.tool_calls[function].function.arguments",
        "An object here, a JSON text there.",
        result='{"a":"input"}',
    ),
    changed(
        "output.message.content[].toolUse.type",
        "choices[].finish_reason",
        "A call of a hosted tool, `server_tool_use`, is left out: `dropped:output`.",
        result="stop",
    ),
    changed(
        "stopReason",
        "choices[].finish_reason",
        "end_turn, stop_sequence: stop. tool_use: tool_calls. max_tokens, model_context_window_exceeded: length. guardrail_intervened, content_filtered: content_filter. malformed_*: an error.",
        result="stop",
    ),
    changed(
        "usage.inputTokens", "usage.prompt_tokens", "With what was read from the cache or written to it.", result=501
    ),
    dropped("additionalModelResponseFields", "The caller's API has no place for it."),
    *all_dropped(
        "The caller's API has no place for it.",
        whole=True,
        paths=(
            "metrics",
            "performanceConfig",
            "trace",
        ),
    ),
    dropped("output.message.content[].audio.error", "Chat has no errors of a part.", whole=True),
    dropped("output.message.content[].audio.format", "The caller knows what it asked for."),
    dropped(
        "output.message.content[].audio.source.s3Location",
        "Chat has no audio by address.",
        "dropped:output",
        whole=True,
    ),
    dropped("output.message.content[].cachePoint", "It marks what to cache, and says nothing.", whole=True),
    *all_dropped(
        "The caller's API has no citations but those of web pages.",
        code="dropped:annotations",
        whole=True,
        paths=(
            "output.message.content[].citationsContent.citations[].location.documentChar",
            "output.message.content[].citationsContent.citations[].location.documentChunk",
            "output.message.content[].citationsContent.citations[].location.documentPage",
            "output.message.content[].citationsContent.citations[].location.searchResultLocation",
        ),
    ),
    *all_dropped(
        "A citation of chat has an address, a title and a place in the text.",
        paths=(
            "output.message.content[].citationsContent.citations[].location.web.domain",
            "output.message.content[].citationsContent.citations[].source",
        ),
    ),
    dropped(
        "output.message.content[].citationsContent.citations[].sourceContent",
        "A citation of chat has an address, a title and a place in the text.",
        whole=True,
    ),
    *all_dropped(
        "The caller's API has nothing of the kind.",
        code="dropped:output",
        whole=True,
        paths=(
            "output.message.content[].document",
            "output.message.content[].guardContent",
            "output.message.content[].image",
            "output.message.content[].searchResult",
            "output.message.content[].toolAddition",
            "output.message.content[].toolRemoval",
            "output.message.content[].toolResult",
            "output.message.content[].video",
        ),
    ),
    dropped("output.message.role", "It is always the assistant."),
    dropped("usage.cacheDetails", "The counts of each lifetime are told as one.", whole=True),
    dropped("usage.totalTokens", "It is the sum of what is told."),
)

STREAM: tuple[Row, ...] = (
    *all_carried(
        {
            "contentBlockDelta.delta.citation.location.web.url": "choices[].delta.annotations[url_citation].url_citation.url",
            "contentBlockDelta.delta.citation.title": "choices[].delta.annotations[url_citation].url_citation.title",
            "contentBlockDelta.delta.reasoningContent.redactedContent": "choices[].delta.reasoning_details[reasoning.encrypted].data",
            "contentBlockDelta.delta.reasoningContent.signature": "choices[].delta.reasoning_details[reasoning.text].signature",
            "contentBlockDelta.delta.reasoningContent.text": "choices[].delta.reasoning_content",
            "contentBlockDelta.delta.text": "choices[].delta.content",
            "contentBlockDelta.delta.toolUse.input": "choices[].delta.tool_calls[].function.arguments",
            "contentBlockStart.start.toolUse.name": "choices[].delta.tool_calls[function].function.name",
            "contentBlockStart.start.toolUse.toolUseId": "choices[].delta.tool_calls[function].id",
            "metadata.serviceTier.type": "service_tier",
            "metadata.usage.cacheReadInputTokens": "usage.prompt_tokens_details.cached_tokens",
            "metadata.usage.cacheWriteInputTokens": "usage.prompt_tokens_details.cache_write_tokens",
            "metadata.usage.outputTokens": "usage.completion_tokens",
            "throttlingException.message": "error.message",
            "validationException.message": "error.message",
        }
    ),
    changed(
        "contentBlockDelta.contentBlockIndex",
        "choices[].delta.tool_calls[].function.arguments",
        "It joins the pieces of a block.",
        result="input words",
    ),
    changed(
        "contentBlockStart.contentBlockIndex",
        "choices[].delta.tool_calls[].function.arguments",
        "It joins the pieces of a block.",
        result="input words",
    ),
    changed(
        "contentBlockStart.start.toolUse.type",
        "choices[].finish_reason",
        "A call of a hosted tool, `server_tool_use`, is left out: `dropped:output`.",
        result="stop",
    ),
    changed(
        "messageStop.stopReason", "choices[].finish_reason", "As in an answer that is not streamed.", result="stop"
    ),
    changed(
        "metadata.usage.inputTokens",
        "usage.prompt_tokens",
        "With what was read from the cache or written to it.",
        result=501,
    ),
    *all_dropped(
        "The caller's API has no citations but those of web pages.",
        code="dropped:annotations",
        whole=True,
        paths=(
            "contentBlockDelta.delta.citation.location.documentChar",
            "contentBlockDelta.delta.citation.location.documentChunk",
            "contentBlockDelta.delta.citation.location.documentPage",
            "contentBlockDelta.delta.citation.location.searchResultLocation",
        ),
    ),
    *all_dropped(
        "A citation of chat has an address, a title and a place in the text.",
        paths=(
            "contentBlockDelta.delta.citation.location.web.domain",
            "contentBlockDelta.delta.citation.source",
        ),
    ),
    dropped(
        "contentBlockDelta.delta.citation.sourceContent",
        "A citation of chat has an address, a title and a place in the text.",
        whole=True,
    ),
    *all_dropped(
        "The caller's API has nothing of the kind.",
        code="dropped:output",
        whole=True,
        paths=(
            "contentBlockDelta.delta.image",
            "contentBlockStart.start.image",
            "contentBlockStart.start.toolResult",
        ),
    ),
    dropped("contentBlockDelta.delta.toolResult", "What a hosted tool gave; that it was called is listed.", whole=True),
    dropped(
        "contentBlockStop.contentBlockIndex", "The caller's API has no blocks: its own events number what they tell."
    ),
    *all_dropped(
        "Of an upstream's own failure the caller learns no more than that.",
        paths=(
            "internalServerException.message",
            "modelStreamErrorException.message",
            "modelStreamErrorException.originalMessage",
            "modelStreamErrorException.originalStatusCode",
            "serviceUnavailableException.message",
        ),
    ),
    dropped("messageStart.role", "It is always the assistant."),
    dropped("messageStop.additionalModelResponseFields", "The caller's API has no place for it."),
    *all_dropped(
        "The caller's API has no place for it.",
        whole=True,
        paths=(
            "metadata.metrics",
            "metadata.performanceConfig",
            "metadata.trace",
        ),
    ),
    dropped("metadata.usage.cacheDetails", "The counts of each lifetime are told as one.", whole=True),
    dropped("metadata.usage.totalTokens", "It is the sum of what is told."),
)
