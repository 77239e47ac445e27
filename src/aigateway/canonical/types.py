"""Requests and replies in the neutral form. Frozen; absent is UNSET, never None; what is only carried stays raw.

A conversation is an ordered list of items (messages, reasoning, tool calls, tool results); a message holds an ordered
list of parts (text, refusal, image, file, audio). What only one format knows travels as `Opaque`, and unknown keys of
an object travel as its `extra`; both are written again only by the format that they came from.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

_UNFIT: Final = re.compile(r"[^A-Za-z0-9_.\[\]-]")
_CODE_MAX: Final = 64


class _Value(msgspec.Struct, frozen=True, kw_only=True):
    """Base of everything canonical."""


class Extra(_Value, frozen=True, kw_only=True):
    """Keys of a wire object that the canonical form does not name.

    told: what the canonical form tells too, as it came: its own format writes it again, and no other loses it.
    """

    format: str
    fields: dict[str, Any]
    told: dict[str, Any] = {}


class Opaque(_Value, frozen=True, kw_only=True):
    """An item, part, tool or annotation that only its own format understands. `raw` is the wire object."""

    format: str
    raw: dict[str, Any]


class UrlCitation(_Value, frozen=True, kw_only=True):
    """A citation of a web page; the indices count characters of the text it stands on."""

    url: str
    title: str = ""
    start_index: int = 0
    end_index: int = 0


Annotation = UrlCitation | Opaque


class Text(_Value, frozen=True, kw_only=True):
    """Plain text. `logprobs` are token objects as OpenAI has them: {token, logprob, bytes, top_logprobs}.

    prompt_cache_breakpoint (of every part that a user may send): a prompt is cached up to here; raw.
    """

    text: str
    annotations: tuple[Annotation, ...] = ()
    logprobs: tuple[dict[str, Any], ...] = ()
    prompt_cache_breakpoint: dict[str, Any] | UnsetType = UNSET
    extra: Extra | UnsetType = UNSET


class Refusal(_Value, frozen=True, kw_only=True):
    """The model's own words for declining."""

    text: str


class Image(_Value, frozen=True, kw_only=True):
    """An image by URL (also a data URL) or by file id. `detail`: low, high, auto, original."""

    url: str | UnsetType = UNSET
    file_id: str | UnsetType = UNSET
    detail: str | UnsetType = UNSET
    prompt_cache_breakpoint: dict[str, Any] | UnsetType = UNSET
    extra: Extra | UnsetType = UNSET


class File(_Value, frozen=True, kw_only=True):
    """A file by data URL (or bare base64), URL or file id."""

    data: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    file_id: str | UnsetType = UNSET
    filename: str | UnsetType = UNSET
    prompt_cache_breakpoint: dict[str, Any] | UnsetType = UNSET
    extra: Extra | UnsetType = UNSET


class Audio(_Value, frozen=True, kw_only=True):
    """Audio as base64 with its format (wav, mp3, ...). Model output also has an id, a transcript and an expiry."""

    data: str | UnsetType = UNSET
    format: str | UnsetType = UNSET
    id: str | UnsetType = UNSET
    transcript: str | UnsetType = UNSET
    expires_at: int | UnsetType = UNSET
    extra: Extra | UnsetType = UNSET


Part = Text | Refusal | Image | File | Audio | Opaque


class Message(_Value, frozen=True, kw_only=True):
    """What one role said. role: user, assistant, system, developer. phase: commentary, final_answer."""

    role: str
    content: tuple[Part, ...] = ()
    id: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    phase: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    extra: Extra | UnsetType = UNSET


class Reasoning(_Value, frozen=True, kw_only=True):
    """What the model thought: summaries, the text itself, and what only its maker can read.

    encrypted  the thought where only its maker can read it; signature proves that `content` is its maker's own.
    origin     that maker: `openai`, `anthropic`, `google`, ...; unset where nobody said. Another one refuses them.
    """

    summary: tuple[str, ...] = ()
    content: tuple[str, ...] = ()
    encrypted: str | UnsetType = UNSET
    signature: str | UnsetType = UNSET
    origin: str | UnsetType = UNSET
    id: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    extra: Extra | UnsetType = UNSET


class ToolCall(_Value, frozen=True, kw_only=True):
    """A call of a tool. kind: function (arguments are a JSON text) or custom (arguments are free text).

    call_id joins it with its result; id is the item's own id, where the format has one. signature: what a maker wants
    back with the call (Gemini's `thoughtSignature`).
    """

    call_id: str
    name: str
    arguments: str = ""
    kind: str = "function"
    namespace: str | UnsetType = UNSET
    signature: str | UnsetType = UNSET
    id: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    extra: Extra | UnsetType = UNSET


class ToolResult(_Value, frozen=True, kw_only=True):
    """What a tool gave back: a text, or parts. is_error: the tool failed, and this says how."""

    call_id: str
    output: str | tuple[Part, ...]
    kind: str = "function"
    is_error: bool | UnsetType = UNSET
    id: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    extra: Extra | UnsetType = UNSET


class FunctionTool(_Value, frozen=True, kw_only=True):
    """A function that the model may call; `parameters` is its JSON schema, raw. None = given as null."""

    name: str
    description: str | UnsetType | None = UNSET
    parameters: dict[str, Any] | UnsetType | None = UNSET
    strict: bool | UnsetType | None = UNSET
    extra: Extra | UnsetType = UNSET


class CustomTool(_Value, frozen=True, kw_only=True):
    """A tool whose input is free text; `format` ({type: text} or {type: grammar, syntax, definition}) is raw."""

    name: str
    description: str | UnsetType | None = UNSET
    format: dict[str, Any] | UnsetType = UNSET
    extra: Extra | UnsetType = UNSET


class ToolGroup(_Value, frozen=True, kw_only=True):
    """Tools under a common name: calls of them name it as their `namespace`."""

    name: str
    description: str | UnsetType | None = UNSET
    tools: tuple[Tool, ...] | UnsetType = UNSET
    extra: Extra | UnsetType = UNSET


Tool = FunctionTool | CustomTool | ToolGroup | Opaque


class AdditionalTools(_Value, frozen=True, kw_only=True):
    """An item that offers more tools beside the request's own."""

    tools: tuple[Tool, ...]
    id: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    extra: Extra | UnsetType = UNSET


Item = Message | Reasoning | ToolCall | ToolResult | AdditionalTools | Opaque


class NamedTool(_Value, frozen=True, kw_only=True):
    """This very tool must be called. kind: function, custom, or namespace (all tools of the group of that name)."""

    name: str
    kind: str = "function"
    namespace: str | UnsetType = UNSET


class AllowedTools(_Value, frozen=True, kw_only=True):
    """Only these tools may be called; mode: auto or required."""

    tools: tuple[NamedTool | Opaque, ...]
    mode: str = "auto"


ToolChoice = str | NamedTool | AllowedTools | Opaque
"""A string is one of auto, none, required."""


class JSONSchemaFormat(_Value, frozen=True, kw_only=True):
    """Answer in JSON that fits a schema."""

    name: str
    schema: dict[str, Any] | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    strict: bool | UnsetType | None = UNSET


OutputFormat = str | JSONSchemaFormat | Opaque
"""A string is `text` or `json_object`."""


class WebSearch(_Value, frozen=True, kw_only=True):
    """The model may search the web. context_size: low, medium, high. location: {city, country, region, timezone}."""

    context_size: str | UnsetType = UNSET
    location: dict[str, Any] | UnsetType = UNSET


class Request(_Value, frozen=True, kw_only=True):
    """One request for text, in the neutral form. Knobs carry the names and ranges of OpenAI's APIs.

    reasoning_budget: the most tokens that may be thought; 0 = none at all, -1 = as the model sees fit.
    reasoning_shown: whether the caller is to see what is thought, where its API says so without asking for a summary.
    """

    model: str
    items: tuple[Item, ...]
    stream: bool = False
    instructions: str | UnsetType = UNSET
    tools: tuple[Tool, ...] | UnsetType = UNSET
    tool_choice: ToolChoice | UnsetType = UNSET
    parallel_tool_calls: bool | UnsetType = UNSET
    max_tool_calls: int | UnsetType = UNSET
    output_format: OutputFormat | UnsetType = UNSET
    verbosity: str | UnsetType = UNSET
    max_output_tokens: int | UnsetType = UNSET
    temperature: float | UnsetType = UNSET
    top_p: float | UnsetType = UNSET
    top_k: int | UnsetType = UNSET
    presence_penalty: float | UnsetType = UNSET
    frequency_penalty: float | UnsetType = UNSET
    stop: str | tuple[str, ...] | UnsetType = UNSET
    seed: int | UnsetType = UNSET
    logit_bias: dict[str, float] | UnsetType = UNSET
    logprobs: bool | UnsetType = UNSET
    top_logprobs: int | UnsetType = UNSET
    reasoning_effort: str | UnsetType = UNSET
    reasoning_summary: str | UnsetType = UNSET
    reasoning_budget: int | UnsetType = UNSET
    reasoning_shown: bool | UnsetType = UNSET
    include: tuple[str, ...] | UnsetType = UNSET
    metadata: dict[str, str] | UnsetType = UNSET
    store: bool | UnsetType = UNSET
    service_tier: str | UnsetType = UNSET
    truncation: str | UnsetType = UNSET
    user: str | UnsetType = UNSET
    safety_identifier: str | UnsetType = UNSET
    prompt_cache_key: str | UnsetType = UNSET
    prompt_cache_retention: str | UnsetType = UNSET
    prompt_cache_options: dict[str, Any] | UnsetType = UNSET
    web_search: WebSearch | UnsetType = UNSET
    n: int | UnsetType = UNSET
    modalities: tuple[str, ...] | UnsetType = UNSET
    audio: dict[str, Any] | UnsetType = UNSET
    prediction: dict[str, Any] | UnsetType = UNSET
    include_obfuscation: bool | UnsetType = UNSET
    include_usage: bool | UnsetType = UNSET
    extra: Extra | UnsetType = UNSET


class Usage(_Value, frozen=True, kw_only=True):
    """Tokens. cached and cache_write are parts of input, reasoning is a part of output; total = input + output."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0


class Reply(_Value, frozen=True, kw_only=True):
    """One finished answer. finish_reason: stop, length, tool_calls or content_filter. created_at: Unix seconds."""

    id: str
    model: str
    created_at: int
    items: tuple[Item, ...]
    finish_reason: str = "stop"
    usage: Usage | UnsetType = UNSET
    service_tier: str | UnsetType = UNSET
    system_fingerprint: str | UnsetType = UNSET


class Change(_Value, frozen=True, kw_only=True):
    """One thing that a translation did not carry as it was. action: dropped, changed. field: the caller's name."""

    field: str
    action: str
    reason: str

    @property
    def code(self) -> str:
        """`dropped:seed`, `changed:max_output_tokens`: stable, at most 64 characters, fit for a header and a log."""
        return f"{self.action}:{_UNFIT.sub('_', self.field)}"[:_CODE_MAX]
