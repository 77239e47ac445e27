"""Where a pair of APIs without chat differs from the way to chat, and back: rows for what matters, not for every field."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from aigateway.fidelity.row import Direction, Row, carried, changed, dropped, refused

_FOREIGN: Final = "Only its maker takes it back."
_RECORD: Final = "What a hosted tool did; what the model made of it stands in the texts behind it."
_SEALED: Final = "Sealed, so that the caller brings it back, to this maker or another."
_BLOCKS: Final = "messages[*].content"

_MESSAGES: Final[Mapping[tuple[str, str, str], tuple[Row, ...]]] = {
    ("messages", "request", "responses"): (
        carried(f"{_BLOCKS}[document].source(url).url", "input[message].content[input_file].file_url"),
        carried(f"{_BLOCKS}[image].source(file).file_id", "input[message].content[input_image].file_id"),
        dropped(f"{_BLOCKS}[thinking]", _FOREIGN, "dropped:reasoning.signature", whole=True),
        carried(
            f"{_BLOCKS}[tool_result].content[image].source(url).url",
            "input[function_call_output].output[input_image].image_url",
            "Images stay in the results of tools.",
        ),
        dropped("stop_sequences", "The Responses API has none.", "dropped:stop"),
    ),
    ("messages", "request", "generate_content"): (
        carried(f"{_BLOCKS}[document].source(url).url", "contents[user].parts[].fileData.fileUri"),
        dropped(f"{_BLOCKS}[thinking].signature", _FOREIGN, "dropped:reasoning.signature"),
        carried(f"{_BLOCKS}[thinking].thinking", "contents[model].parts[].text", "As a thought."),
        carried(
            f"{_BLOCKS}[tool_result].content[image].source(url).url",
            "contents[user].parts[].functionResponse.parts[].fileData.fileUri",
            "Before Gemini 3 beside the result (`changed:input`).",
        ),
        dropped(f"{_BLOCKS}[server_tool_use]", _RECORD, "dropped:input", whole=True),
        carried("stop_sequences", "generationConfig.stopSequences"),
        dropped("metadata.user_id", "Gemini has none.", "dropped:user"),
    ),
    ("messages", "request", "converse"): (
        refused(f"{_BLOCKS}[image].source(url)", "Converse takes data, or what lies in S3.", "messages", whole=True),
        carried(
            f"{_BLOCKS}[redacted_thinking].data",
            "messages[assistant].content[].reasoningContent.redactedContent",
            "To a model of Anthropic's; others are not sent it (`dropped:reasoning`).",
        ),
        carried(
            f"{_BLOCKS}[thinking].signature",
            "messages[assistant].content[].reasoningContent.reasoningText.signature",
            "To a model of Anthropic's; others are not sent it (`dropped:reasoning`).",
        ),
        carried(f"{_BLOCKS}[thinking].thinking", "messages[assistant].content[].reasoningContent.reasoningText.text"),
        changed(
            f"{_BLOCKS}[tool_result].is_error",
            "messages[user].content[].toolResult.status",
            "success or error.",
            result="error",
        ),
        dropped(f"{_BLOCKS}[server_tool_use]", _RECORD, "dropped:input", whole=True),
        changed(
            f"{_BLOCKS}[text].cache_control",
            "messages[user].content[].cachePoint.type",
            "A cache point behind the block, for Claude from 3.7 on; an hour from 4.5 on. "
            "Within the result of a tool, and for others: `dropped:cache_control`.",
            result="default",
            whole=True,
        ),
        changed(
            "system[text].cache_control", "system[].cachePoint.type", "A cache point.", result="default", whole=True
        ),
        changed(
            "tools[custom].cache_control",
            "toolConfig.tools[].cachePoint.type",
            "A cache point.",
            result="default",
            whole=True,
        ),
    ),
    ("messages", "reply", "responses"): (
        changed("content[redacted_thinking].data", "output[reasoning].encrypted_content", _SEALED),
        changed("content[thinking].signature", "output[reasoning].encrypted_content", _SEALED),
        carried("content[thinking].thinking", "output[reasoning].content[reasoning_text].text"),
    ),
    ("messages", "reply", "generate_content"): (
        changed("content[thinking].signature", "candidates[].content.parts[].thoughtSignature", _SEALED),
        carried("content[thinking].thinking", "candidates[].content.parts[].text", "As a thought."),
    ),
}
_CONTENT: Final[Mapping[tuple[str, str, str], tuple[Row, ...]]] = {
    ("generate_content", "request", "responses"): (
        dropped(
            "contents[].parts[].thoughtSignature",
            _FOREIGN,
            "dropped:reasoning.signature, dropped:tool_calls.signature",
        ),
        dropped("generationConfig.seed", "The Responses API has none.", "dropped:seed"),
        dropped("generationConfig.stopSequences", "The Responses API has none.", "dropped:stop"),
    ),
    ("generate_content", "request", "messages"): (
        carried("generationConfig.topK", "top_k"),
        dropped("generationConfig.seed", "Anthropic's API has none.", "dropped:seed"),
        changed(
            "contents[].parts[].functionResponse.response",
            "messages[user].content[tool_result].content[text].text",
            "A text.",
            result='{"temperature":7}',
        ),
        dropped(
            "contents[].parts[].thoughtSignature",
            _FOREIGN,
            "dropped:reasoning.encrypted_content, dropped:tool_calls.signature",
        ),
    ),
    ("generate_content", "request", "converse"): (
        dropped("generationConfig.seed", "Converse has none.", "dropped:seed"),
        carried(
            "generationConfig.topK", "additionalModelRequestFields.top_k", "To models of Anthropic's and Amazon's."
        ),
    ),
    ("generate_content", "reply", "responses"): (
        dropped("candidates[].content.parts[].executableCode", _RECORD, "dropped:output", whole=True),
    ),
    ("generate_content", "reply", "messages"): (
        changed(
            "candidates[].content.parts[].thoughtSignature",
            "content[thinking].signature",
            f"{_SEALED} That of a call comes as a thought before it.",
        ),
        dropped("candidates[].content.parts[].executableCode", _RECORD, "dropped:output", whole=True),
    ),
}
_CONVERSE: Final[Mapping[tuple[str, str, str], tuple[Row, ...]]] = {
    ("converse", "reply", "messages"): (
        carried("output.message.content[].reasoningContent.redactedContent", "content[redacted_thinking].data"),
        carried("output.message.content[].reasoningContent.reasoningText.signature", "content[thinking].signature"),
        carried("output.message.content[].reasoningContent.reasoningText.text", "content[thinking].thinking"),
        changed("usage.inputTokens", "usage.input_tokens", "Counted alike.", result=501),
    ),
    ("converse", "reply", "generate_content"): (
        changed(
            "output.message.content[].image.source.bytes",
            "candidates[].content.parts[].inlineData.data",
            "An image that was made, where it comes as data.",
            result="SGk=",
        ),
        carried("output.message.content[].audio.source.bytes", "candidates[].content.parts[].inlineData.data"),
    ),
}
_RESPONSES: Final[Mapping[tuple[str, str, str], tuple[Row, ...]]] = {
    ("responses", "request", "messages"): (
        dropped("input[reasoning]", _FOREIGN, "dropped:reasoning.encrypted_content, dropped:reasoning", whole=True),
        carried("input[message].content[input_file].file_url", "messages[user].content[document].source.url"),
        carried("input[message].content[input_image].file_id", "messages[user].content[image].source.file_id"),
    ),
    ("responses", "request", "generate_content"): (
        dropped("input[reasoning].encrypted_content", _FOREIGN, "dropped:reasoning.encrypted_content"),
        carried("input[message].content[input_file].file_url", "contents[user].parts[].fileData.fileUri"),
    ),
    ("responses", "request", "converse"): (
        dropped("input[reasoning]", _FOREIGN, "dropped:reasoning", whole=True),
        refused(
            "input[message].content[input_file].file_url",
            "Converse takes data, or what lies in S3.",
            "input[0].content[0]",
        ),
    ),
    ("responses", "reply", "messages"): (
        changed("output[reasoning].encrypted_content", "content[redacted_thinking].data", _SEALED),
    ),
    ("responses", "reply", "generate_content"): (
        changed("output[reasoning].encrypted_content", "candidates[].content.parts[].thoughtSignature", _SEALED),
    ),
}

PAIRS: Final[Mapping[Direction, tuple[Row, ...]]] = MappingProxyType(
    {Direction(*names): rows for names, rows in {**_MESSAGES, **_CONTENT, **_CONVERSE, **_RESPONSES}.items()}
)
