"""The fields that the published descriptions have, as paths: what the table of `aigateway.fidelity` must know.

Two kinds of sources: API descriptions (JSON Schema in OpenAPI) and the types of the `openai` package. The grammar of the
paths is that of `aigateway.fidelity.row`. Keys that only say what an object is (`type`, `role` of a message, `object`)
stand in the path itself, and are no fields.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import openai.types.chat as chat_types
import openai.types.responses as responses_types
import pydantic
import typing_extensions
from openai.types.chat import completion_create_params as chat_params
from openai.types.responses import response_create_params as responses_params

from tests.fidelity import specimens
from tests.schemas import REFERENCE, Object

OPENAI_SCHEMAS = {
    "chat.request": ["CreateChatCompletionRequest"],
    "chat.reply": ["CreateChatCompletionResponse"],
    "chat.stream": ["CreateChatCompletionStreamResponse"],
    "responses.request": ["CreateResponse"],
    "responses.reply": ["Response"],
    "responses.stream": ["ResponseStreamEvent"],
}
OPEN_RESPONSES_SCHEMAS = {
    "responses.request": ["CreateResponseBody"],
    "responses.reply": ["ResponseResource"],
}
PACKAGE_TYPES: dict[str, list[Any]] = {
    "chat.request": [chat_params.CompletionCreateParamsStreaming, chat_params.CompletionCreateParamsNonStreaming],
    "chat.reply": [chat_types.ChatCompletion],
    "chat.stream": [chat_types.ChatCompletionChunk],
    "responses.request": [
        responses_params.ResponseCreateParamsStreaming,
        responses_params.ResponseCreateParamsNonStreaming,
    ],
    "responses.reply": [responses_types.Response],
    "responses.stream": [responses_types.ResponseStreamEvent],
}

_ELSEWHERE = {"responses.stream": {"response", "item", "part", "annotation"}}
"""What is not looked into, for another document has it: the response, item or part that an event carries."""

_EVENTS = {"responses.stream"}
"""Documents that are a list of events of several types, not one object."""

_SAYS_WHAT = {"type", "object"}


@cache
def _schemas(name: str) -> Object:
    found: Object = json.loads((REFERENCE / name / "openapi.json").read_text("utf-8"))["components"]["schemas"]
    return found


@cache
def published(document: str) -> frozenset[str]:
    """The fields of a document in all sources that are here: the descriptions lie beside the project, or do not."""
    if document in specimens.DOCUMENTS:
        return specimens.published(document)
    found = of_package(document)
    if REFERENCE.exists():
        found |= of_description(document, _schemas("openai"), OPENAI_SCHEMAS[document])
        theirs = _schemas("openresponses")
        events = [name for name in theirs if name.endswith("StreamingEvent")] if document == "responses.stream" else []
        roots = [*OPEN_RESPONSES_SCHEMAS.get(document, ()), *events]
        found |= of_description(document, theirs, roots)
    return frozenset(found)


def of_description(document: str, schemas: Object, roots: Iterable[str]) -> set[str]:
    """The fields of a document as an API description has them; `schemas` are its components."""
    walk = _SchemaWalk(schemas, _ELSEWHERE.get(document, set()))
    for root in roots:
        walk.value({"$ref": root}, "", listed=document in _EVENTS, depth=())
    return walk.found


def of_package(document: str) -> set[str]:
    """The fields of a document as the types of the `openai` package have them."""
    walk = _TypeWalk(_ELSEWHERE.get(document, set()))
    for root in PACKAGE_TYPES[document]:
        walk.value(root, "", listed=document in _EVENTS, depth=())
    return walk.found


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _of_kind(path: str, kinds: list[str], *, listed: bool) -> list[str]:
    left, right = "[]" if listed else "()"
    if not kinds:
        return [f"{path}[]"] if listed else [path]
    return [f"{path}{left}{kind}{right}" for kind in kinds]


class _Walk:
    def __init__(self, elsewhere: set[str]) -> None:
        self.found: set[str] = set()
        self._elsewhere = elsewhere

    def fields(
        self, names: Iterator[tuple[str, Any]], kinds: dict[str, list[str]], path: str, *, listed: bool, depth: Any
    ) -> None:
        """The fields of one object."""
        says = [key for key in ("type", "role") if kinds.get(key) and (key == "type" or listed)][:1]
        entries = list(names)
        for place in _of_kind(path, kinds[says[0]] if says else [], listed=listed):
            if says and place:
                self.found.add(place)
            for name, value in entries:
                if name in says or (name in _SAYS_WHAT and kinds.get(name)):
                    continue
                self.found.add(_joined(place, name))
                if name not in self._elsewhere:
                    self.value(value, _joined(place, name), listed=False, depth=depth)

    def value(self, value: Any, path: str, *, listed: bool, depth: Any) -> None:
        raise NotImplementedError


class _SchemaWalk(_Walk):
    def __init__(self, schemas: Object, elsewhere: set[str]) -> None:
        super().__init__(elsewhere)
        self._schemas = schemas

    def value(self, value: Any, path: str, *, listed: bool, depth: tuple[str, ...]) -> None:
        """Whatever a schema allows in this place."""
        if "$ref" in value:
            name = value["$ref"].rpartition("/")[2]
            if name not in depth:
                self.value(self._schemas[name], path, listed=listed, depth=(*depth, name))
            return
        for branch in (*value.get("anyOf", ()), *value.get("oneOf", ())):
            self.value(branch, path, listed=listed, depth=depth)
        if "items" in value:
            self.value(value["items"], path, listed=True, depth=depth)
        merged = self._merged(value)
        if merged:
            kinds = {key: self._kinds(schema) for key, schema in merged.items()}
            self.fields(iter(merged.items()), kinds, path, listed=listed, depth=depth)

    def _merged(self, value: Object) -> Object:
        """The properties of an object, those of all its `allOf` too."""
        if "$ref" in value:
            return self._merged(self._schemas[value["$ref"].rpartition("/")[2]])
        found: Object = {}
        for part in value.get("allOf", ()):
            found |= self._merged(part)
        found.update(value.get("properties", {}))
        return found

    def _kinds(self, schema: Object) -> list[str]:
        if "$ref" in schema:
            return self._kinds(self._schemas[schema["$ref"].rpartition("/")[2]])
        branches = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
        if branches:
            return [kind for branch in branches for kind in self._kinds(branch)]
        return [schema["const"]] if "const" in schema else [kind for kind in schema.get("enum", ()) if kind]


class _TypeWalk(_Walk):
    def value(self, value: Any, path: str, *, listed: bool, depth: tuple[Any, ...]) -> None:
        """Whatever a type allows in this place."""
        value = _bare(value)
        origin = get_origin(value)
        if _is_union(origin):
            for branch in get_args(value):
                self.value(branch, path, listed=listed, depth=depth)
        elif origin is not None and origin is not dict and origin is not Literal:
            for entry in get_args(value):
                self.value(entry, path, listed=True, depth=depth)
        elif value not in depth and (typing_extensions.is_typeddict(value) or _is_model(value)):
            hints = _hints(value)
            kinds = {key: _words(hint) for key, hint in hints.items()}
            self.fields(iter(hints.items()), kinds, path, listed=listed, depth=(*depth, value))


def _bare(value: Any) -> Any:
    while get_origin(value) in (Annotated, typing_extensions.Required, typing_extensions.NotRequired):
        value = get_args(value)[0]
    return getattr(value, "__value__", value)


def _is_union(origin: Any) -> bool:
    return origin is Union or getattr(origin, "__name__", "") == "UnionType"


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, pydantic.BaseModel)


def _hints(value: Any) -> dict[str, Any]:
    if _is_model(value):
        return {field.alias or name: field.annotation for name, field in value.model_fields.items()}
    return typing_extensions.get_type_hints(value, include_extras=True)


def _words(hint: Any) -> list[str]:
    hint = _bare(hint)
    if _is_union(get_origin(hint)):
        return [word for branch in get_args(hint) for word in _words(branch)]
    return list(get_args(hint)) if get_origin(hint) is Literal else []
