"""The model that a relayed request names, wherever it stands: read, and written anew for the upstream."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, quote_plus

import msgspec

from aigateway import _json
from aigateway.call import Call
from aigateway.canonical.lens import RequestLens
from aigateway.formats import FORMATS, PASSING
from aigateway.formats.multipart import Form, FormRequest, boundary_of
from aigateway.formats.passing import OpaqueRequest
from aigateway.intake import Limits, clean_head

_QUERY, _PATH = "?model", "{model}"


class _Head(msgspec.Struct):
    model: Any = None
    stream: Any = None
    stream_format: Any = None


_HEAD: msgspec.json.Decoder[_Head] = msgspec.json.Decoder(_Head)


def understand_passing(call: Call, body: bytes | None, limits: Limits, *, lens: RequestLens | None = None) -> None:
    """Set `call.request`, `model` and `stream` of a request that is passed on; body None = it has not arrived yet.

    Raises InvalidRequestError where the body cannot be read for the model's name.
    """
    operation = call.operation
    fields = operation.model.split(".") if operation.model[:1] not in ("", "?", "{") else []
    kind = call.headers.get("content-type", "").lower()
    call.stream = operation.streams and ("stream", "true") in parse_qsl(call.query)
    call.model = ""
    if not body or operation.form == "none":
        call.request = OpaqueRequest(body or b"")
    elif fields and kind.startswith("multipart/"):
        form = lens or FormRequest(Form(body, boundary_of(call.headers["content-type"])))
        call.request = form
        call.model = _named(form.body.get(fields[0]), fields[1:])
        call.stream = operation.streams and form.stream
    elif "json" in kind or (not kind and operation.form == "json"):
        _understand_json(call, body, limits, fields, lens)
    else:
        call.request = OpaqueRequest(body)
    if operation.model == _PATH:
        call.model = call.parameters["model"]
    elif operation.model and not call.model:
        call.model = dict(parse_qsl(call.query)).get("model", "")


def _understand_json(call: Call, body: bytes, limits: Limits, fields: list[str], lens: RequestLens | None) -> None:
    if fields or call.operation.streams:
        body, head = clean_head(body, limits, _HEAD)
        if len(fields) == 1:
            call.model = head.model if isinstance(head.model, str) else ""
        elif fields:
            call.model = _named(body.decode(), fields)
        call.stream = call.operation.streams and (head.stream is True or head.stream_format == "sse")
    call.request = lens if lens is not None else FORMATS.get(call.api, PASSING).request(body)


def _named(value: object, path: list[str]) -> str:
    """The string at a path of keys in a JSON text; the text itself where there is no path."""
    if not isinstance(value, str) or not path:
        return value if isinstance(value, str) else ""
    raw = value.encode()
    span = _json.find_value(raw, *path)
    if span is None or raw[span[0] : span[0] + 1] != b'"':
        return ""
    return str(_json.decode(raw[span[0] : span[1]]))


def body_for(call: Call, model: str) -> bytes:
    """The bytes to send to an upstream that knows the model by this name: the caller's own but for the name."""
    request, fields = call.request, call.operation.model.split(".")
    if not call.model or model == call.model or isinstance(request, OpaqueRequest):
        return request.raw
    if not isinstance(request, FormRequest):
        raw = request.raw
        return _json.replace_top_level(raw, model, *fields) if len(fields) == 1 else _replaced(raw, model, fields)
    if len(fields) == 1:
        return request.sent_with(fields[0], model)
    inside = str(request.body.get(fields[0])).encode()
    return request.sent_with(fields[0], _replaced(inside, model, fields[1:]).decode())


def _replaced(raw: bytes, model: str, path: list[str]) -> bytes:
    return _json.replace_value(raw, model, *path)


def query_naming(call: Call, model: str) -> str:
    """The query to send to an upstream that knows the model by this name: as it came but for the name."""
    if not call.model or model == call.model or not call.operation.model or "model" not in call.query:
        return call.query
    pairs = call.query.split("&")
    return "&".join(f"model={quote_plus(model)}" if pair.startswith("model=") else pair for pair in pairs)


def parameters_naming(call: Call, model: str) -> dict[str, str]:
    """What stands in the path for an upstream that knows the model by this name."""
    parameters = dict(call.parameters)
    return parameters | {"model": model} if call.operation.model == _PATH else parameters


def named_as(call: Call, asked: str, body: bytes, model: object) -> bytes:
    """A reply with the model's name as the caller knows it. model: what stands at its top."""
    if not asked:
        return body
    if isinstance(model, str) and model != asked:
        return _json.replace_top_level(body, asked, "model")
    fields = call.operation.model.split(".")
    return _replaced(body, asked, fields) if len(fields) > 1 and _json.find_value(body, *fields) else body
