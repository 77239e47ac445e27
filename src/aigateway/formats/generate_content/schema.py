"""JSON Schema and the subset of OpenAPI's that `parameters` and `responseSchema` take, both ways.

https://ai.google.dev/api/caching#Schema
"""

from __future__ import annotations

from typing import Any, Final

from aigateway.formats.generate_content.wire import camel

_KEPT: Final = frozenset(
    {
        "title",
        "description",
        "format",
        "enum",
        "required",
        "default",
        "example",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "minLength",
        "maxLength",
        "pattern",
        "propertyOrdering",
        "nullable",
    }
)
_COUNTS: Final = ("minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength")
_FORMATS: Final = {
    "string": frozenset({"enum", "date-time"}),
    "number": frozenset({"float", "double"}),
    "integer": frozenset({"int32", "int64"}),
}
_SILENT: Final = frozenset({"$schema", "$defs", "definitions", "$id", "$comment", "strict"})
_DEPTH: Final = 32


def to_json_schema(raw: dict[str, Any]) -> dict[str, Any]:
    """A schema of the subset as JSON Schema: types in lower case, `nullable` as a type, counts as numbers."""
    raw = camel(raw)
    schema = {key: value for key, value in raw.items() if key not in ("nullable", "propertyOrdering", "example")}
    kind = schema.get("type")
    if isinstance(kind, str):
        schema["type"] = kind.lower()
        if schema["type"] == "type_unspecified":
            del schema["type"]
    for key in _COUNTS:
        if isinstance(schema.get(key), str) and schema[key].isdigit():
            schema[key] = int(schema[key])
    if isinstance(schema.get("properties"), dict):
        schema["properties"] = {name: _within(value) for name, value in schema["properties"].items()}
    if isinstance(schema.get("items"), dict):
        schema["items"] = to_json_schema(schema["items"])
    if isinstance(schema.get("anyOf"), list):
        schema["anyOf"] = [_within(entry) for entry in schema["anyOf"]]
    return _nullable(schema) if raw.get("nullable") is True else schema


def _within(value: Any) -> Any:
    return to_json_schema(value) if isinstance(value, dict) else value


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    if isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        if isinstance(schema.get("enum"), list):
            schema["enum"] = [*schema["enum"], None]
        return schema
    return {"anyOf": [schema, {"type": "null"}]}


class Subset:
    """Writes JSON Schemas in the subset. `lost` are the keywords that it has no place for, each once, in order."""

    def __init__(self) -> None:
        self.lost: list[str] = []
        self._roots: dict[str, Any] = {}

    def of(self, schema: dict[str, Any]) -> dict[str, Any]:
        """One schema; its references are resolved within itself."""
        self._roots = schema
        return self._of(schema, 0)

    def _of(self, schema: Any, depth: int) -> dict[str, Any]:
        if not isinstance(schema, dict):
            return {} if schema is True else self._without("false", {})
        schema = self._resolved(schema)
        if depth > _DEPTH:
            return self._without("$ref", {"type": "OBJECT"})
        out = {key: value for key, value in schema.items() if key in _KEPT}
        self._lists(schema, out, depth)
        self._type(schema, out)
        self._literals(schema, out)
        if isinstance(schema.get("properties"), dict):
            out["properties"] = {name: self._of(value, depth + 1) for name, value in schema["properties"].items()}
        if "items" in schema:
            out["items"] = self._of(schema["items"], depth + 1)
        for key in schema:
            if key not in _KEPT | _SILENT | {"type", "anyOf", "oneOf", "allOf", "const", "properties", "items"}:
                self._without(key, out)
        return out

    def _without(self, key: str, out: dict[str, Any]) -> dict[str, Any]:
        if key not in self.lost:
            self.lost.append(key)
        return out

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        for _ in range(_DEPTH):
            reference = schema.get("$ref")
            if not isinstance(reference, str):
                return schema
            target = self._target(reference)
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            if target is None:
                return self._without("$ref", rest)
            schema = {**target, **rest}
        return self._without("$ref", {key: value for key, value in schema.items() if key != "$ref"})

    def _target(self, reference: str) -> dict[str, Any] | None:
        if not reference.startswith("#"):
            return None
        at: Any = self._roots
        for step in reference[1:].split("/")[1:]:
            at = at.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(at, dict) else None
        return at if isinstance(at, dict) else None

    def _type(self, schema: dict[str, Any], out: dict[str, Any]) -> None:
        kind = schema.get("type")
        kinds = [kind] if isinstance(kind, str) else list(kind) if isinstance(kind, list) else []
        if "null" in kinds and len(kinds) > 1:
            out["nullable"] = True
            kinds.remove("null")
        if len(kinds) == 1:
            out["type"] = str(kinds[0]).upper()
        elif kinds:
            out["anyOf"] = [{"type": str(one).upper()} for one in kinds]
        if "format" in out and out["format"] not in _FORMATS.get(kinds[0] if len(kinds) == 1 else "", ()):
            self._without("format", out)
            del out["format"]

    def _lists(self, schema: dict[str, Any], out: dict[str, Any], depth: int) -> None:
        options = schema.get("anyOf", schema.get("oneOf"))
        if isinstance(options, list):
            plain = [one for one in options if not (isinstance(one, dict) and one.get("type") == "null")]
            if len(plain) < len(options):
                out["nullable"] = True
            told = [self._of(one, depth + 1) for one in plain]
            if len(told) == 1:
                out.update(told[0] | out)
            else:
                out["anyOf"] = told
        if isinstance(schema.get("allOf"), list):
            merged: dict[str, Any] = {}
            for one in schema["allOf"]:
                merged = _merged(merged, self._of(one, depth + 1))
            out.update(_merged(merged, out))

    def _literals(self, schema: dict[str, Any], out: dict[str, Any]) -> None:
        """The subset has enums of strings only."""
        values = [schema["const"]] if "const" in schema else schema.get("enum")
        if not isinstance(values, list):
            return
        if None in values:
            out["nullable"] = True
        texts = [value for value in values if value is not None]
        if texts and all(isinstance(value, str) for value in texts):
            out["enum"] = texts
            out.setdefault("type", "STRING")
        else:
            out.pop("enum", None)
            self._without("const" if "const" in schema else "enum", out)


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    merged = {**one, **other}
    if "properties" in one and "properties" in other:
        merged["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        merged["required"] = list(dict.fromkeys([*one["required"], *other["required"]]))
    return merged
