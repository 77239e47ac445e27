"""Chat answers and streams for a caller of generateContent."""

from __future__ import annotations

from aigateway.fidelity.row import Row, all_carried, all_dropped, changed, dropped

REPLY: tuple[Row, ...] = (
    *all_carried(
        {
            "choices[].logprobs.content[].logprob": "candidates[].avgLogprobs",
            "choices[].logprobs.content[].token": "candidates[].logprobsResult.chosenCandidates[].token",
            "choices[].logprobs.content[].top_logprobs[].logprob": "candidates[].logprobsResult.topCandidates[].candidates[].logProbability",
            "choices[].logprobs.content[].top_logprobs[].token": "candidates[].logprobsResult.topCandidates[].candidates[].token",
            "choices[].message.annotations[url_citation].url_citation.end_index": "candidates[].groundingMetadata.groundingSupports[].segment.endIndex",
            "choices[].message.annotations[url_citation].url_citation.title": "candidates[].groundingMetadata.groundingChunks[].web.title",
            "choices[].message.annotations[url_citation].url_citation.url": "candidates[].groundingMetadata.groundingChunks[].web.uri",
            "choices[].message.audio.data": "candidates[].content.parts[].inlineData.data",
            "choices[].message.content": "candidates[].content.parts[].text",
            "choices[].message.function_call.name": "candidates[].content.parts[].functionCall.name",
            "choices[].message.refusal": "candidates[].content.parts[].text",
            "choices[].message.tool_calls[function].function.name": "candidates[].content.parts[].functionCall.name",
            "choices[].message.tool_calls[function].id": "candidates[].content.parts[].functionCall.id",
            "id": "responseId",
            "usage.completion_tokens_details.reasoning_tokens": "usageMetadata.thoughtsTokenCount",
            "usage.prompt_tokens": "usageMetadata.promptTokenCount",
            "usage.prompt_tokens_details.cached_tokens": "usageMetadata.cachedContentTokenCount",
            "usage.total_tokens": "usageMetadata.totalTokenCount",
        }
    ),
    changed(
        "choices[].finish_reason",
        "candidates[].finishReason",
        "stop, tool_calls: STOP. length: MAX_TOKENS. content_filter: SAFETY.",
        result="STOP",
    ),
    changed(
        "choices[].message.annotations[url_citation].url_citation.start_index",
        "candidates[].groundingMetadata.groundingSupports[].segment.text",
        "The place of the segment, in bytes; nothing where it is 0.",
        result="Hi",
    ),
    changed(
        "choices[].message.function_call.arguments",
        "candidates[].content.parts[].functionCall.args",
        "An object there.",
        result={},
    ),
    changed(
        "choices[].message.tool_calls[custom]",
        "candidates[].finishReason",
        "Only where no tool of the caller's was called: its input is no object.",
        result="MALFORMED_FUNCTION_CALL",
        whole=True,
    ),
    changed(
        "choices[].message.tool_calls[function].function.arguments",
        "candidates[].content.parts[].functionCall.args",
        "An object there; a call whose arguments are none ends the answer as MALFORMED_FUNCTION_CALL.",
        result={},
    ),
    changed("model", "modelVersion", "The name that the caller asked for.", result="asked-for"),
    changed("usage.completion_tokens", "usageMetadata.candidatesTokenCount", "Without what was thought.", result=297),
    dropped("choices[].index", "An answer is one choice, and only one was asked for."),
    *all_dropped(
        "The caller's API has no such probabilities.",
        paths=(
            "choices[].logprobs.content[].bytes",
            "choices[].logprobs.content[].top_logprobs[].bytes",
        ),
    ),
    dropped("choices[].logprobs.refusal", "The caller's API has no such probabilities.", whole=True),
    *all_dropped(
        "Only chat takes audio back by its id.",
        paths=(
            "choices[].message.audio.expires_at",
            "choices[].message.audio.id",
        ),
    ),
    dropped("choices[].message.audio.transcript", "Gemini tells what is said by the audio alone."),
    dropped("choices[].message.role", "It is always the assistant."),
    dropped("created", "The answers of Gemini tell no time here."),
    dropped("metadata", "The caller's API has no place for it."),
    dropped("moderation", "The caller's API has no place for it.", whole=True),
    dropped("service_tier", "The caller's API does not tell who served."),
    dropped("system_fingerprint", "The caller's API has none."),
    *all_dropped(
        "The usage of the caller's API does not count it.",
        paths=(
            "usage.completion_tokens_details.accepted_prediction_tokens",
            "usage.completion_tokens_details.audio_tokens",
            "usage.completion_tokens_details.rejected_prediction_tokens",
            "usage.completion_tokens_details.text_tokens",
            "usage.prompt_tokens_details.audio_tokens",
            "usage.prompt_tokens_details.cache_write_tokens",
            "usage.prompt_tokens_details.image_tokens",
            "usage.prompt_tokens_details.text_tokens",
        ),
    ),
)

STREAM: tuple[Row, ...] = (
    *all_carried(
        {
            "choices[].delta.audio.data": "candidates[].content.parts[].inlineData.data",
            "choices[].delta.content": "candidates[].content.parts[].text",
            "choices[].delta.function_call.name": "candidates[].content.parts[].functionCall.name",
            "choices[].delta.refusal": "candidates[].content.parts[].text",
            "choices[].delta.tool_calls[function].function.name": "candidates[].content.parts[].functionCall.name",
            "choices[].delta.tool_calls[function].id": "candidates[].content.parts[].functionCall.id",
            "choices[].logprobs.content[].logprob": "candidates[].avgLogprobs",
            "choices[].logprobs.content[].token": "candidates[].logprobsResult.chosenCandidates[].token",
            "choices[].logprobs.content[].top_logprobs[].logprob": "candidates[].logprobsResult.topCandidates[].candidates[].logProbability",
            "choices[].logprobs.content[].top_logprobs[].token": "candidates[].logprobsResult.topCandidates[].candidates[].token",
            "choices[].logprobs.refusal[].logprob": "candidates[].avgLogprobs",
            "choices[].logprobs.refusal[].token": "candidates[].logprobsResult.chosenCandidates[].token",
            "choices[].logprobs.refusal[].top_logprobs[].logprob": "candidates[].logprobsResult.topCandidates[].candidates[].logProbability",
            "choices[].logprobs.refusal[].top_logprobs[].token": "candidates[].logprobsResult.topCandidates[].candidates[].token",
            "id": "responseId",
            "usage.completion_tokens_details.reasoning_tokens": "usageMetadata.thoughtsTokenCount",
            "usage.prompt_tokens": "usageMetadata.promptTokenCount",
            "usage.prompt_tokens_details.cached_tokens": "usageMetadata.cachedContentTokenCount",
            "usage.total_tokens": "usageMetadata.totalTokenCount",
        }
    ),
    changed(
        "choices[].delta.function_call.arguments",
        "candidates[].content.parts[].functionCall.args",
        "An object there: a call comes whole.",
        result={},
    ),
    changed(
        "choices[].delta.tool_calls[function].function.arguments",
        "candidates[].content.parts[].functionCall.args",
        "An object there: a call comes whole.",
        result={},
    ),
    changed(
        "choices[].finish_reason", "candidates[].finishReason", "As in an answer that is not streamed.", result="STOP"
    ),
    changed("model", "modelVersion", "The name that the caller asked for.", result="asked-for"),
    changed("usage.completion_tokens", "usageMetadata.candidatesTokenCount", "Without what was thought.", result=297),
    *all_dropped(
        "Only chat takes audio back by its id.",
        paths=(
            "choices[].delta.audio.expires_at",
            "choices[].delta.audio.id",
        ),
    ),
    dropped("choices[].delta.audio.transcript", "Gemini tells what is said by the audio alone."),
    dropped("choices[].delta.role", "It is always the assistant."),
    dropped("choices[].delta.tool_calls[function].index", "Calls stand in their order."),
    dropped("choices[].index", "An answer is one choice, and only one was asked for."),
    *all_dropped(
        "The caller's API has no such probabilities.",
        paths=(
            "choices[].logprobs.content[].bytes",
            "choices[].logprobs.content[].top_logprobs[].bytes",
            "choices[].logprobs.refusal[].bytes",
            "choices[].logprobs.refusal[].top_logprobs[].bytes",
        ),
    ),
    dropped("created", "The answers of Gemini tell no time here."),
    dropped("moderation", "The caller's API has no place for it.", whole=True),
    dropped("obfuscation", "It hides the length of a chunk, not of what becomes of it."),
    dropped("service_tier", "The caller's API does not tell who served."),
    dropped("system_fingerprint", "The caller's API has none."),
    *all_dropped(
        "The usage of the caller's API does not count it.",
        paths=(
            "usage.completion_tokens_details.accepted_prediction_tokens",
            "usage.completion_tokens_details.audio_tokens",
            "usage.completion_tokens_details.rejected_prediction_tokens",
            "usage.completion_tokens_details.text_tokens",
            "usage.prompt_tokens_details.audio_tokens",
            "usage.prompt_tokens_details.cache_write_tokens",
            "usage.prompt_tokens_details.image_tokens",
            "usage.prompt_tokens_details.text_tokens",
        ),
    ),
)
