"""Answers of a generateContent upstream for a caller of chat."""

from __future__ import annotations

import msgspec

from aigateway.fidelity.row import Row, all_carried, all_dropped, carried, changed, dropped

REPLY: tuple[Row, ...] = (
    *all_carried(
        {
            "candidates[].citationMetadata.citations[].title": "choices[].message.annotations[url_citation].url_citation.title",
            "candidates[].citationMetadata.citations[].uri": "choices[].message.annotations[url_citation].url_citation.url",
            "candidates[].content.parts[].functionCall.id": "choices[].message.tool_calls[function].id",
            "candidates[].content.parts[].functionCall.name": "choices[].message.tool_calls[function].function.name",
            "candidates[].content.parts[].inlineData.data": "choices[].message.audio.data",
            "candidates[].content.parts[].text": "choices[].message.content",
            "candidates[].content.parts[].thoughtSignature": "choices[].message.reasoning_details[reasoning.text].signature",
            "candidates[].groundingMetadata.groundingChunks[].maps.title": "choices[].message.annotations[url_citation].url_citation.title",
            "candidates[].groundingMetadata.groundingChunks[].maps.uri": "choices[].message.annotations[url_citation].url_citation.url",
            "candidates[].groundingMetadata.groundingChunks[].retrievedContext.title": "choices[].message.annotations[url_citation].url_citation.title",
            "candidates[].groundingMetadata.groundingChunks[].retrievedContext.uri": "choices[].message.annotations[url_citation].url_citation.url",
            "candidates[].groundingMetadata.groundingChunks[].web.title": "choices[].message.annotations[url_citation].url_citation.title",
            "candidates[].groundingMetadata.groundingChunks[].web.uri": "choices[].message.annotations[url_citation].url_citation.url",
            "candidates[].logprobsResult.chosenCandidates[].logProbability": "choices[].logprobs.content[].logprob",
            "candidates[].logprobsResult.chosenCandidates[].token": "choices[].logprobs.content[].token",
            "candidates[].logprobsResult.topCandidates[].candidates[].logProbability": "choices[].logprobs.content[].top_logprobs[].logprob",
            "candidates[].logprobsResult.topCandidates[].candidates[].token": "choices[].logprobs.content[].top_logprobs[].token",
            "usageMetadata.cachedContentTokenCount": "usage.prompt_tokens_details.cached_tokens",
            "usageMetadata.thoughtsTokenCount": "usage.completion_tokens_details.reasoning_tokens",
        }
    ),
    carried(
        "candidates[].citationMetadata.citations[].endIndex",
        "choices[].message.annotations[url_citation].url_citation.end_index",
        "In characters; the host counts bytes.",
    ),
    carried(
        "candidates[].citationMetadata.citations[].startIndex",
        "choices[].message.annotations[url_citation].url_citation.start_index",
        "In characters; the host counts bytes.",
    ),
    changed(
        "candidates[].content.parts[].functionCall.args",
        "choices[].message.tool_calls[function].function.arguments",
        "An object here, a JSON text there.",
        result='{"a":"args"}',
    ),
    changed(
        "candidates[].content.parts[].inlineData.mimeType",
        "choices[].message.audio.data",
        "Audio stays audio; images and files are listed as `dropped:output`.",
        result="SGk=",
    ),
    changed(
        "candidates[].content.parts[].thought",
        "choices[].message.reasoning_content",
        "A thought is reasoning.",
        result="Hello.",
    ),
    changed(
        "candidates[].finishReason",
        "choices[].finish_reason",
        "STOP: stop, or tool_calls. MAX_TOKENS: length. SAFETY, RECITATION and their like: content_filter. MALFORMED_FUNCTION_CALL and its like: an error.",
        result="stop",
    ),
    changed(
        "candidates[].groundingMetadata.groundingSupports[].groundingChunkIndices",
        "choices[].message.annotations[url_citation].url_citation.url",
        "A citation for each page.",
        result="https://pages.example/1",
    ),
    changed(
        "candidates[].groundingMetadata.groundingSupports[].segment.endIndex",
        "choices[].message.annotations[url_citation].url_citation.end_index",
        "In characters; the host counts bytes. Where it is that of another part the words tell the place.",
        result=6,
    ),
    carried(
        "candidates[].groundingMetadata.groundingSupports[].segment.startIndex",
        "choices[].message.annotations[url_citation].url_citation.start_index",
        "In characters; the host counts bytes.",
    ),
    changed(
        "candidates[].groundingMetadata.groundingSupports[].segment.text",
        "choices[].message.annotations[url_citation].url_citation.end_index",
        "The place that it stands in.",
        result=6,
    ),
    changed(
        "promptFeedback.blockReason",
        "choices[].finish_reason",
        "A blocked prompt is an answer that was filtered.",
        result="content_filter",
    ),
    changed("usageMetadata.candidatesTokenCount", "usage.completion_tokens", "With what was thought.", result=302),
    changed("usageMetadata.promptTokenCount", "usage.prompt_tokens", "With what the hosted tools read.", result=501),
    changed("usageMetadata.toolUsePromptTokenCount", "usage.prompt_tokens", "A part of the prompt."),
    dropped("candidates[].avgLogprobs", "Chat has the probability of each token."),
    *all_dropped(
        "A citation of chat has an address, a title and a place in the text.",
        paths=(
            "candidates[].citationMetadata.citations[].license",
            "candidates[].groundingMetadata.groundingChunks[].maps.placeId",
            "candidates[].groundingMetadata.groundingChunks[].maps.text",
            "candidates[].groundingMetadata.groundingChunks[].retrievedContext.documentName",
            "candidates[].groundingMetadata.groundingChunks[].retrievedContext.fileSearchStore",
            "candidates[].groundingMetadata.groundingChunks[].retrievedContext.mediaId",
            "candidates[].groundingMetadata.groundingChunks[].retrievedContext.pageNumber",
            "candidates[].groundingMetadata.groundingChunks[].retrievedContext.text",
            "candidates[].groundingMetadata.groundingChunks[].web.domain",
            "candidates[].groundingMetadata.groundingSupports[].confidenceScores",
            "candidates[].groundingMetadata.groundingSupports[].renderedParts",
        ),
    ),
    *all_dropped(
        "A citation of chat has an address, a title and a place in the text.",
        whole=True,
        paths=(
            "candidates[].citationMetadata.citations[].publicationDate",
            "candidates[].groundingMetadata.groundingChunks[].maps.placeAnswerSources",
            "candidates[].groundingMetadata.groundingChunks[].maps.route",
            "candidates[].groundingMetadata.groundingChunks[].retrievedContext.customMetadata",
            "candidates[].groundingMetadata.groundingChunks[].retrievedContext.ragChunk",
        ),
    ),
    *all_dropped(
        "It describes a part, and chat has no place for it.",
        whole=True,
        paths=(
            "candidates[].content.parts[].audioMetadata",
            "candidates[].content.parts[].audioTranscription",
            "candidates[].content.parts[].documentMetadata",
            "candidates[].content.parts[].mediaResolution",
            "candidates[].content.parts[].speechMetadata",
            "candidates[].content.parts[].spreadsheetMetadata",
            "candidates[].content.parts[].videoMetadata",
        ),
    ),
    *all_dropped(
        "The caller's API has nothing of the kind.",
        code="dropped:output",
        whole=True,
        paths=(
            "candidates[].content.parts[].codeExecutionResult",
            "candidates[].content.parts[].executableCode",
            "candidates[].content.parts[].fileData",
            "candidates[].content.parts[].functionResponse",
            "candidates[].content.parts[].toolCall",
            "candidates[].content.parts[].toolResponse",
        ),
    ),
    dropped(
        "candidates[].content.parts[].functionCall.partialArgs",
        "Calls come whole: calls in pieces are not asked for.",
        whole=True,
    ),
    dropped(
        "candidates[].content.parts[].functionCall.willContinue", "Calls come whole: calls in pieces are not asked for."
    ),
    dropped("candidates[].content.parts[].inlineData.displayName", "Chat has no names of what a model made."),
    *all_dropped(
        "It describes a part, and chat has no place for it.",
        paths=(
            "candidates[].content.parts[].mediaProcessing",
            "candidates[].content.parts[].partMetadata",
        ),
    ),
    dropped("candidates[].content.role", "It is always the assistant."),
    *all_dropped(
        "The caller's API has no place for it.",
        paths=(
            "candidates[].continuationToken",
            "usageMetadata.trafficType",
        ),
    ),
    *all_dropped(
        "Chat tells that the answer was blocked or ended, and not why.",
        paths=(
            "candidates[].finishMessage",
            "promptFeedback.blockReasonMessage",
        ),
    ),
    *all_dropped(
        "What a hosted tool looked for; what was found is told as citations.",
        paths=(
            "candidates[].groundingMetadata.googleMapsWidgetContextToken",
            "candidates[].groundingMetadata.imageSearchQueries",
            "candidates[].groundingMetadata.retrievalQueries",
            "candidates[].groundingMetadata.webSearchQueries",
        ),
    ),
    dropped(
        "candidates[].groundingMetadata.groundingChunks[].image",
        "The caller's API has no citations but those of web pages.",
        "dropped:annotations",
        whole=True,
    ),
    dropped(
        "candidates[].groundingMetadata.groundingSupports[].segment.partIndex",
        "The words of the segment tell the place where the numbers do not.",
    ),
    *all_dropped(
        "What a hosted tool looked for; what was found is told as citations.",
        whole=True,
        paths=(
            "candidates[].groundingMetadata.retrievalMetadata",
            "candidates[].groundingMetadata.searchEntryPoint",
            "candidates[].groundingMetadata.sourceFlaggingUris",
        ),
    ),
    dropped("candidates[].index", "Of several answers the first is told; only one was asked for."),
    *all_dropped(
        "Chat has the probability of each token, and neither its number nor a sum.",
        paths=(
            "candidates[].logprobsResult.chosenCandidates[].tokenId",
            "candidates[].logprobsResult.logProbabilitySum",
            "candidates[].logprobsResult.topCandidates[].candidates[].tokenId",
            "candidates[].tokenCount",
        ),
    ),
    *all_dropped(
        "Chat tells that the answer was blocked or ended, and not why.",
        whole=True,
        paths=(
            "candidates[].safetyRatings",
            "promptFeedback.safetyRatings",
        ),
    ),
    *all_dropped(
        "The caller's API has no place for it.",
        whole=True,
        paths=(
            "candidates[].urlContextMetadata",
            "modelStatus",
        ),
    ),
    dropped("createTime", "The caller's API tells no time, or the gateway's own."),
    dropped("modelVersion", "The name that the caller asked for is told."),
    dropped("responseId", "The gateway's own id, which looks like those of the API."),
    *all_dropped(
        "Of the kinds of tokens only those of audio are counted.",
        whole=True,
        paths=(
            "usageMetadata.cacheTokensDetails",
            "usageMetadata.candidatesTokensDetails",
            "usageMetadata.promptTokensDetails",
            "usageMetadata.toolUsePromptTokensDetails",
        ),
    ),
    dropped("usageMetadata.totalTokenCount", "It is the sum of what is told."),
)


def _in_chunks(to: str) -> str:
    """Where it stands in the chunks of a stream: arguments come behind the name of their call."""
    return to.replace(".message.", ".delta.").replace("[function].function.arguments", "[].function.arguments")


STREAM: tuple[Row, ...] = tuple(msgspec.structs.replace(row, to=_in_chunks(row.to)) for row in REPLY)
"""Each event of a stream is an answer, of which the parts are pieces."""
