"""Answers and streams of a chat upstream for a caller who speaks the Responses API."""

from __future__ import annotations

from aigateway.fidelity.row import Row, carried, changed, dropped

_NO_COUNT = "The usage of a response does not count it."
_NO_SEED = "The Responses API has none."
_ONE = "A response is one choice, and only one was asked for."
_NOT_ASKED = "Asking for it is not passed on."
_SPOKEN = "What was said is told as text; who speaks the Responses API cannot ask for audio."
_ID = "The gateway's own id, which looks like those of the API."

_FINISH = "stop and tool_calls: completed. length: incomplete, max_output_tokens. content_filter: incomplete."

_COUNTS: tuple[tuple[str, str], ...] = (
    ("completion_tokens", "output_tokens"),
    ("completion_tokens_details.reasoning_tokens", "output_tokens_details.reasoning_tokens"),
    ("prompt_tokens", "input_tokens"),
    ("prompt_tokens_details.cache_write_tokens", "input_tokens_details.cache_write_tokens"),
    ("prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens"),
    ("total_tokens", "total_tokens"),
)
_UNCOUNTED = (
    "completion_tokens_details.accepted_prediction_tokens",
    "completion_tokens_details.audio_tokens",
    "completion_tokens_details.rejected_prediction_tokens",
    "completion_tokens_details.text_tokens",
    "prompt_tokens_details.audio_tokens",
    "prompt_tokens_details.image_tokens",
    "prompt_tokens_details.text_tokens",
)
_TOKENS = ("bytes", "logprob", "token", "top_logprobs[].bytes", "top_logprobs[].logprob", "top_logprobs[].token")


def _usage(to: str) -> tuple[Row, ...]:
    return (
        *(carried(f"usage.{key}", f"{to}.{other}") for key, other in _COUNTS),
        *(dropped(f"usage.{key}", _NO_COUNT) for key in _UNCOUNTED),
        carried("usage.prompt_cache_hit_tokens", f"{to}.input_tokens_details.cached_tokens", extension="DeepSeek"),
    )


VENDORS: tuple[Row, ...] = (
    carried(
        "choices[].message.content[text].text",
        "output[message].content[output_text].text",
        extension="Mistral",
    ),
    carried(
        "choices[].message.content[thinking].thinking[text].text",
        "output[reasoning].content[reasoning_text].text",
        extension="Mistral",
    ),
    changed(
        "choices[].message.reasoning_details[reasoning.text].signature",
        "output[reasoning].encrypted_content",
        "Sealed, so that the caller brings it back.",
        extension="OpenRouter",
    ),
    *(
        dropped(path, "A response has no place for it.", example=example, whole=True, extension=vendor)
        for path, example, vendor in (
            ("choices[].content_filter_results", {"hate": {"filtered": False, "severity": "safe"}}, "Azure"),
            ("choices[].native_finish_reason", "end_turn", "OpenRouter"),
            ("citations", ["https://news.example/1"], "Perplexity"),
            ("prompt_filter_results", [{"prompt_index": 0}], "Azure"),
            ("provider", "Acme", "OpenRouter"),
            ("usage.cost", 0.002, "OpenRouter"),
            ("x_groq", {"id": "req_1"}, "Groq"),
        )
    ),
)

REPLY: tuple[Row, ...] = (
    changed("choices[].finish_reason", "status", _FINISH, result="completed"),
    dropped("choices[].index", _ONE),
    *(
        carried(f"choices[].logprobs.content[].{key}", f"output[message].content[output_text].logprobs[].{key}")
        for key in _TOKENS
    ),
    dropped("choices[].logprobs.refusal", "Refusals of a response have none.", whole=True),
    *(
        carried(
            f"choices[].message.annotations[url_citation].url_citation.{key}",
            f"output[message].content[output_text].annotations[url_citation].{key}",
        )
        for key in ("end_index", "start_index", "title", "url")
    ),
    dropped("choices[].message.audio.data", _SPOKEN, "dropped:audio"),
    dropped("choices[].message.audio.expires_at", _SPOKEN),
    dropped("choices[].message.audio.id", _SPOKEN),
    carried("choices[].message.audio.transcript", "output[message].content[output_text].text"),
    carried("choices[].message.content", "output[message].content[output_text].text", "Also Mistral's list of parts."),
    carried("choices[].message.function_call.arguments", "output[function_call].arguments"),
    carried("choices[].message.function_call.name", "output[function_call].name"),
    carried("choices[].message.reasoning", "output[reasoning].content[reasoning_text].text", extension="OpenRouter"),
    carried(
        "choices[].message.reasoning_content",
        "output[reasoning].content[reasoning_text].text",
        extension="DeepSeek and others",
    ),
    carried(
        "choices[].message.reasoning_details[reasoning.encrypted].data",
        "output[reasoning].encrypted_content",
        extension="OpenRouter",
    ),
    carried(
        "choices[].message.reasoning_details[reasoning.text].text",
        "output[reasoning].content[reasoning_text].text",
        "Where the reasoning is told nowhere else.",
        extension="OpenRouter",
    ),
    carried("choices[].message.refusal", "output[message].content[refusal].refusal"),
    changed("choices[].message.role", "output[message].role", "An item of the assistant.", result="assistant"),
    carried("choices[].message.tool_calls[custom].custom.input", "output[custom_tool_call].input"),
    carried("choices[].message.tool_calls[custom].custom.name", "output[custom_tool_call].name"),
    carried("choices[].message.tool_calls[custom].id", "output[custom_tool_call].call_id"),
    carried("choices[].message.tool_calls[function].function.arguments", "output[function_call].arguments"),
    carried("choices[].message.tool_calls[function].function.name", "output[function_call].name"),
    carried("choices[].message.tool_calls[function].id", "output[function_call].call_id"),
    changed("created", "created_at", "When the gateway began to answer."),
    changed("id", "id", _ID),
    dropped("metadata", "The caller's own is told."),
    changed("model", "model", "The name that the caller asked for.", result="asked-for"),
    dropped("moderation", _NOT_ASKED, whole=True),
    carried("service_tier", why="Not given: `default`."),
    dropped("system_fingerprint", _NO_SEED),
    *_usage("usage"),
    *VENDORS,
)

STREAM: tuple[Row, ...] = (
    *(dropped(f"choices[].delta.audio.{key}", _SPOKEN) for key in ("expires_at", "id")),
    dropped("choices[].delta.audio.data", _SPOKEN, "dropped:audio"),
    carried(
        "choices[].delta.audio.transcript",
        "[response.content_part.done].part.text",
        "At once, when the message ends.",
    ),
    carried(
        "choices[].delta.annotations[url_citation].url_citation.url",
        "[response.output_text.annotation.added].annotation.url",
        extension="OpenRouter",
    ),
    carried("choices[].delta.content", "[response.output_text.delta].delta"),
    carried("choices[].delta.function_call.arguments", "[response.function_call_arguments.delta].delta"),
    carried("choices[].delta.function_call.name", "[response.output_item.added].item(function_call).name"),
    carried("choices[].delta.reasoning", "[response.reasoning_text.delta].delta", extension="OpenRouter"),
    carried(
        "choices[].delta.reasoning_content", "[response.reasoning_text.delta].delta", extension="DeepSeek and others"
    ),
    carried(
        "choices[].delta.reasoning_details[reasoning.encrypted].data",
        "[response.output_item.done].item(reasoning).encrypted_content",
        "When the reasoning ends.",
        extension="OpenRouter",
    ),
    carried("choices[].delta.refusal", "[response.refusal.delta].delta"),
    changed(
        "choices[].delta.role",
        "[response.output_item.added].item(message).role",
        "An item of the assistant.",
        result="assistant",
    ),
    carried(
        "choices[].delta.tool_calls[custom].custom.input",
        "[response.custom_tool_call_input.delta].delta",
        extension="OpenAI, undescribed",
    ),
    carried(
        "choices[].delta.tool_calls[custom].custom.name",
        "[response.output_item.added].item(custom_tool_call).name",
        extension="OpenAI, undescribed",
    ),
    carried(
        "choices[].delta.tool_calls[function].function.arguments", "[response.function_call_arguments.delta].delta"
    ),
    carried(
        "choices[].delta.tool_calls[function].function.name", "[response.output_item.added].item(function_call).name"
    ),
    carried("choices[].delta.tool_calls[function].id", "[response.output_item.added].item(function_call).call_id"),
    changed(
        "choices[].delta.tool_calls[function].index",
        "[response.output_item.added].output_index",
        "The place among all items of the response.",
        result=0,
    ),
    changed("choices[].finish_reason", "[response.completed].response.status", _FINISH, result="completed"),
    dropped("choices[].index", _ONE),
    *(
        carried(f"choices[].logprobs.content[].{key}", f"[response.output_text.delta].logprobs[].{key}")
        for key in _TOKENS
    ),
    dropped("choices[].logprobs.refusal", "Refusals of a response have none.", whole=True),
    changed("created", "[response.created].response.created_at", "When the gateway began to answer."),
    changed("id", "[response.created].response.id", _ID),
    changed("model", "[response.created].response.model", "The name that the caller asked for.", result="asked-for"),
    dropped("moderation", _NOT_ASKED, whole=True),
    dropped("obfuscation", "It hides the length of a chunk, not of what becomes of it."),
    carried("service_tier", "[response.completed].response.service_tier"),
    dropped("system_fingerprint", _NO_SEED),
    *_usage("[response.completed].response.usage"),
    carried(
        "choices[].delta.content[thinking].thinking[text].text",
        "[response.reasoning_text.delta].delta",
        extension="Mistral",
    ),
    changed(
        "choices[].delta.reasoning_details[reasoning.text].signature",
        "[response.output_item.done].item(reasoning).encrypted_content",
        "Sealed, so that the caller brings it back.",
        extension="OpenRouter",
    ),
    carried("x_groq.usage.prompt_tokens", "[response.completed].response.usage.input_tokens", extension="Groq"),
)
