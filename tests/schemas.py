"""The official schemas of replies and events, as validators: what the gateway says is held against both descriptions.

The copies in tests/fixtures are what `derived()` makes of the whole descriptions: the components that replies
and requests need, without their words. `test_recordings.py` compares them where ../shared lies beside the project.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

Object = dict[str, Any]

FIXTURES = Path(__file__).parent / "fixtures"
REFERENCE = Path(__file__).parents[2] / "shared" / "reference"
COPIES: Mapping[str, Path] = {
    "openai": FIXTURES / "schemas" / "openai.json",
    "openresponses": FIXTURES / "responses" / "open_responses.schema.json",
}
OPENAI_ROOTS = (
    "Response",
    "ResponseStreamEvent",
    "CreateChatCompletionResponse",
    "CreateChatCompletionStreamResponse",
    "CreateCompletionResponse",
    "ErrorResponse",
    "CreateChatCompletionRequest",
    "CreateResponse",
)

_WORDS = {"description", "title", "example", "examples", "default", "deprecated", "discriminator", "externalDocs"}
_OF_OLDER_DRAFTS = {"$recursiveAnchor", "nullable"}
_COMPONENTS = "#/components/schemas/"


def derived(document: Object, roots: Iterable[str]) -> Object:
    """The components of an OpenAPI document that the roots need, as `$defs` of JSON Schema 2020-12."""
    schemas = document["components"]["schemas"]
    found: Object = {}
    wanted = list(roots)
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = _plain(schemas[name], wanted)
    return {name: found[name] for name in sorted(found)}


def _plain(schema: Any, refs: list[str], *, names: bool = False) -> Any:
    """A schema without its words, its references collected. `names`: the keys are names of properties."""
    if isinstance(schema, list):
        return [_plain(entry, refs) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    plain: Object = {}
    for key, value in schema.items():
        if names or not (key in _WORDS or key in _OF_OLDER_DRAFTS or key.startswith("x-")):
            plain[key] = _plain(value, refs, names=key == "properties" and not names)
    if isinstance(plain.get("$ref"), str):
        name = plain["$ref"].removeprefix(_COMPONENTS)
        refs.append(name)
        plain["$ref"] = f"#/$defs/{name}"
    nullable = not names and schema.get("nullable") is True  # OpenAPI 3.0's word, left over in a 3.1 document
    return {"anyOf": [plain, {"type": "null"}]} if nullable else plain


@cache
def _defs(source: str) -> Object:
    found: Object = json.loads(COPIES[source].read_text("utf-8"))["$defs"]
    return found


@cache
def _validator(source: str, name: str) -> jsonschema_rs.Validator:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": f"#/$defs/{name}",
        "$defs": _defs(source),
    }
    return jsonschema_rs.validator_for(schema)


@cache
def _event_names(source: str) -> Mapping[str, str]:
    """Event type -> its component."""
    defs = _defs(source)
    if source == "openai":
        names = [entry["$ref"].removeprefix("#/$defs/") for entry in defs["ResponseStreamEvent"]["anyOf"]]
    else:
        names = [name for name in defs if name.endswith("StreamingEvent")]
    return {type_: name for name in names for type_ in defs[name]["properties"]["type"]["enum"]}


def faults(source: str, name: str, value: Any) -> list[str]:
    """What is wrong with a value, each with its place."""
    return [
        f"{source} {name} at {'/'.join(map(str, error.instance_path)) or 'the root'}: {error.message[:300]}"
        for error in _validator(source, name).iter_errors(value)
    ]


# Where a description is stricter than the API that it describes, or than the other one. What is named here is taken
# out, or put in the description's words, before it looks; nothing else is.

_EFFORTS_OF_OPENAI = {"minimal", "max"}
_ITEMS = {"message", "function_call", "function_call_output", "reasoning", "compaction"}
_TIERS = {"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"}


def _for_openai(resource: Object) -> Object:
    """Without four things that OpenAI's description has no room for.

    usage: null           OpenAI's own streams say so until the end, and Open Responses wants the key.
    service_tier          hosts have tiers of their own (Groq's `on_demand`); the caller hears which it was.
    text.format           `description: null`: Open Responses wants the key.
    error.code            hosts have codes of their own, and clients look for ones that are not listed.
    """
    shown = {key: value for key, value in resource.items() if (key, value) != ("usage", None)}
    if shown.get("service_tier") not in _TIERS:
        shown.pop("service_tier", None)
    if shown["error"] is not None:
        shown["error"] = {**shown["error"], "code": "server_error"}
    wanted = shown["text"]["format"]
    if wanted.get("description", "") is None:
        shown["text"] = {**shown["text"], "format": {key: wanted[key] for key in wanted if key != "description"}}
    return shown


def _for_open_responses(resource: Object) -> Object:
    """Without what Open Responses' schema does not know of OpenAI's API (notes.md, 8).

    text.format        the echo of a JSON schema: it has `schema: null` only.
    reasoning.effort   `minimal` and `max`.
    tools, output      hosted tools and their items under OpenAI's own names, without a prefix.
    annotations        citations of files.
    """
    text, reasoning = resource["text"], resource["reasoning"]
    if text["format"]["type"] == "json_schema":
        text = {**text, "format": {**text["format"], "schema": None}}
    if reasoning["effort"] in _EFFORTS_OF_OPENAI:
        reasoning = {**reasoning, "effort": None}
    return {
        **resource,
        "text": text,
        "reasoning": reasoning,
        "tools": [tool for tool in resource["tools"] if tool["type"] == "function"],
        "output": [_with_web_citations(item) for item in resource["output"] if item["type"] in _ITEMS],
    }


def _with_web_citations(item: Object) -> Object:
    """An item or part with citations of web pages only."""
    shown = dict(item)
    if item.get("type") == "message":
        shown["content"] = [_with_web_citations(part) for part in item["content"]]
    elif "annotations" in item:
        shown["annotations"] = [entry for entry in item["annotations"] if entry["type"] == "url_citation"]
    return shown


def _event_for_open_responses(event: Object) -> Object | None:
    """The event as Open Responses would have it; None where it knows no such thing.

    Reasoning has other names there: the gateway has OpenAI's, which clients listen to (notes.md, 8.3).
    """
    if event.get("item", {}).get("type", "message") not in _ITEMS:
        return None
    if event.get("annotation", {}).get("type", "url_citation") != "url_citation":
        return None
    shown = {**event, "type": event["type"].replace("response.reasoning_text.", "response.reasoning.")}
    for key, fit in (("item", _with_web_citations), ("part", _with_web_citations), ("response", _for_open_responses)):
        if key in event:
            shown[key] = fit(event[key])
    return shown


def request_faults(name: str, body: Object) -> list[str]:
    """What OpenAI's description has against a request. Its unions overlap: one of a `oneOf` or more will do.

    It requires `strict` of the functions of Responses, and the API does not.
    """
    shown = body
    if isinstance(body.get("input"), list):
        shown = {**body, "input": [_input_for_openai(item) for item in body["input"]]}
    if name == "CreateResponse" and body.get("tools"):
        shown = {**shown, "tools": [{"strict": True, **tool} for tool in body["tools"]]}
    return [
        f"{name} at {'/'.join(map(str, error.instance_path)) or 'the root'}: {error.message[:300]}"
        for error in _request_validator(name).iter_errors(shown)
    ]


def _input_for_openai(item: Object) -> Object:
    """With three things that OpenAI's description requires, and the API does not.

    message        `id` and `status`, where an assistant's text is in parts; `annotations` and `logprobs` of the parts.
    input_image    `detail`.
    """
    if not isinstance(item.get("content"), list) or item.get("type", "message") != "message":
        return item
    lacking: dict[str, Object] = {
        "output_text": {"annotations": [], "logprobs": []},
        "input_image": {"detail": "auto"},
    }
    content = [{**lacking.get(part["type"], {}), **part} for part in item["content"]]
    required: Object = {"id": "msg", "status": "completed"} if item.get("role") == "assistant" else {}
    return {**required, **item, "content": content}


@cache
def _request_validator(name: str) -> jsonschema_rs.Validator:
    schema = {"$ref": f"#/$defs/{name}", "$defs": _any_of(_defs("openai"))}
    return jsonschema_rs.validator_for(schema)


def _any_of(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_any_of(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    return {"anyOf" if key == "oneOf" else key: _any_of(value) for key, value in schema.items()}


def resource_faults(resource: Object) -> list[str]:
    """What is wrong with a whole response, in either description."""
    return [
        *faults("openresponses", "ResponseResource", _for_open_responses(resource)),
        *faults("openai", "Response", _for_openai(resource)),
    ]


def event_faults(event: Object) -> list[str]:
    """What is wrong with one event of a Responses stream, in either description."""
    ours = {**event, "response": _for_openai(event["response"])} if "response" in event else event
    theirs = _event_for_open_responses(event)
    return _event_faults("openai", ours) + ([] if theirs is None else _event_faults("openresponses", theirs))


def _event_faults(source: str, event: Object) -> list[str]:
    name = _event_names(source).get(event["type"])
    return [f"{source} has no event {event['type']}"] if name is None else faults(source, name, event)


def strict_resource_faults(resource: Object) -> list[str]:
    """What is wrong with a whole response for a strict reader of Open Responses, which lets pass only what has a slug."""
    return faults("openresponses", "ResponseResource", _without_extensions(resource))


def strict_event_faults(event: Object) -> list[str]:
    """The same for one event of a stream."""
    held = [event, *(event[key] for key in ("item", "part", "annotation") if key in event)]
    return [] if any(map(_is_extension, held)) else _event_faults("openresponses", _without_extensions(event))


def _is_extension(value: Any) -> bool:
    return isinstance(value, dict) and ":" in str(value.get("type"))


def _without_extensions(value: Any) -> Any:
    """Without what has a slug before its type: extensions, of which the schema knows nothing."""
    if isinstance(value, list):
        return [_without_extensions(entry) for entry in value if not _is_extension(entry)]
    if not isinstance(value, dict):
        return value
    plain = {key: _without_extensions(entry) for key, entry in value.items()}
    if _is_extension(plain.get("tool_choice")):
        plain["tool_choice"] = "auto"
    return plain


def completion_faults(body: Object) -> list[str]:
    """What is wrong with a chat completion."""
    return faults("openai", "CreateChatCompletionResponse", _with_known_tier(body))


def chunk_faults(chunk: Object) -> list[str]:
    """What is wrong with one chunk of a chat stream."""
    return faults("openai", "CreateChatCompletionStreamResponse", _with_known_tier(chunk))


def text_completion_faults(body: Object) -> list[str]:
    """What is wrong with a completion of the legacy API, or with a chunk of one.

    For chunks the description has no words of its own: in them `finish_reason` and `usage` are null until they are known.
    """
    choices = [
        {**choice, "finish_reason": choice["finish_reason"] or "stop"}
        if choice.get("finish_reason", "") is None
        else choice
        for choice in body["choices"]
    ]
    shown = {key: value for key, value in body.items() if (key, value) != ("usage", None)}
    return faults("openai", "CreateCompletionResponse", {**shown, "choices": choices})


def _with_known_tier(body: Object) -> Object:
    return {key: value for key, value in body.items() if key != "service_tier" or value in _TIERS}
