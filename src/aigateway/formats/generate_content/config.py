"""`generationConfig`, both ways: the knobs by table, the output's form by hand.

https://ai.google.dev/api/generate-content#generationconfig
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec import UNSET, UnsetType

from aigateway.canonical.quirks import Quirks
from aigateway.canonical.types import Change, JSONSchemaFormat, Opaque, OutputFormat, Request
from aigateway.canonical.uncarried import described
from aigateway.errors import UnsupportedError
from aigateway.formats.fields import (
    read_array,
    read_boolean,
    read_integer,
    read_number,
    read_object,
    read_string,
    read_strings,
)
from aigateway.formats.generate_content.schema import Subset, to_json_schema
from aigateway.formats.generate_content.thinking import decode_thinking, encode_thinking
from aigateway.formats.generate_content.wire import FORMAT, camel

_Read = Callable[[Any, str], Any]
_PLACE: Final = "generationConfig"


def _read_count(value: Any, place: str) -> int:
    """A whole number, which clients write with a fraction of nothing too."""
    return int(value) if isinstance(value, float) and value.is_integer() else read_integer(value, place)


_KNOBS: Final[dict[str, tuple[str, _Read]]] = {
    "temperature": ("temperature", read_number),
    "topP": ("top_p", read_number),
    "topK": ("top_k", _read_count),
    "maxOutputTokens": ("max_output_tokens", read_integer),
    "presencePenalty": ("presence_penalty", read_number),
    "frequencyPenalty": ("frequency_penalty", read_number),
    "seed": ("seed", read_integer),
    "candidateCount": ("n", read_integer),
    "responseLogprobs": ("logprobs", read_boolean),
    "logprobs": ("top_logprobs", read_integer),
}
_BY_HAND: Final = frozenset(
    {
        "stopSequences",
        "thinkingConfig",
        "responseMimeType",
        "responseSchema",
        "responseJsonSchema",
        "responseModalities",
    }
)


def decode_config(raw: Any, told: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of a request that `generationConfig` tells, and the keys of it that only this format knows.

    told: gets the schema in this API's own words, where there is one.
    """
    if raw is None:
        return {}, {}
    config = camel(read_object(raw, _PLACE))
    fields: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    for key, value in config.items():
        if value is None:
            continue
        if key in _KNOBS:
            name, read = _KNOBS[key]
            fields[name] = read(value, f"{_PLACE}.{key}")
        elif key not in _BY_HAND:
            unknown[f"{_PLACE}.{key}"] = value
    if config.get("stopSequences"):
        fields["stop"] = read_strings(config["stopSequences"], f"{_PLACE}.stopSequences")
    fields |= decode_thinking(config.get("thinkingConfig"), f"{_PLACE}.thinkingConfig")
    fields["output_format"] = _decode_format(config, told)
    wanted = config.get("responseModalities")
    modalities = tuple(str(one).lower() for one in read_array(wanted or [], f"{_PLACE}.responseModalities"))
    if modalities not in ((), ("text",)):
        fields["modalities"] = modalities
    return fields, unknown


def _decode_format(config: dict[str, Any], told: dict[str, Any]) -> OutputFormat | UnsetType:
    mime, schema = config.get("responseMimeType"), config.get("responseJsonSchema")
    if schema is not None:
        schema = read_object(schema, f"{_PLACE}.responseJsonSchema")
    elif config.get("responseSchema") is not None:
        subset = read_object(config["responseSchema"], f"{_PLACE}.responseSchema")
        told["responseSchema"] = subset
        schema = to_json_schema(subset)
    if mime == "text/x.enum":
        return Opaque(format=FORMAT, raw={"type": mime, "responseMimeType": mime, "responseSchema": schema or {}})
    if schema is not None:
        return JSONSchemaFormat(name="response", schema=schema)
    if mime is None:
        return UNSET
    return "json_object" if read_string(mime, f"{_PLACE}.responseMimeType") == "application/json" else "text"


def encode_config(
    request: Request,
    extra: dict[str, Any],
    told: dict[str, Any],
    *,
    model: str,
    quirks: Quirks,
    changes: list[Change],
) -> dict[str, Any]:
    """`generationConfig`; `extra` are keys of it that came from this format, `told` its schema in this API's words."""
    config: dict[str, Any] = {}
    for key, (name, _) in _KNOBS.items():
        value = getattr(request, name)
        if value is not UNSET:
            config[key] = value
    if config.get("candidateCount", 1) > 1:
        del config["candidateCount"]
        changes.append(Change(field="n", action="dropped", reason="Of several answers only the first is translated."))
    _encode_logprobs(config)
    if request.stop is not UNSET and request.stop:
        config["stopSequences"] = [request.stop] if isinstance(request.stop, str) else list(request.stop)
    thinking = encode_thinking(request, model, changes)
    if thinking:
        config["thinkingConfig"] = thinking
    if request.output_format is not UNSET and request.output_format != "text":
        config |= _encode_format(request.output_format, told, quirks, changes)
    if request.modalities is not UNSET and request.modalities != ("text",):
        config["responseModalities"] = [one.upper() for one in request.modalities]
    return config | extra


def _encode_logprobs(config: dict[str, Any]) -> None:
    """`logprobs` counts the others of `responseLogprobs`, and is refused without it."""
    if config.get("logprobs"):
        config["responseLogprobs"] = True
    elif not config.get("responseLogprobs"):
        config.pop("logprobs", None)
        config.pop("responseLogprobs", None)


def _encode_format(
    wanted: OutputFormat, given: dict[str, Any], quirks: Quirks, changes: list[Change]
) -> dict[str, Any]:
    if isinstance(wanted, Opaque):
        if wanted.format != FORMAT:
            kind = wanted.raw.get("type")
            raise UnsupportedError(f"Gemini has no output format of type {kind}.", param="response_format")
        return {key: value for key, value in wanted.raw.items() if key != "type"}
    told: dict[str, Any] = {"responseMimeType": "application/json"}
    if isinstance(wanted, str) or wanted.schema is UNSET:
        return told
    if "responseSchema" in given:
        return told | {"responseSchema": given["responseSchema"]}
    schema = described(wanted.schema, wanted.description)
    if quirks.json_schema:
        return told | {"responseJsonSchema": schema}
    subset = Subset()
    told["responseSchema"] = subset.of(schema)
    if subset.lost:
        reason = f"The target's schemas have no {', '.join(subset.lost)}."
        changes.append(Change(field="response_format", action="changed", reason=reason))
    return told
