"""What the gateway must know of a body before it can go on: little, read without decoding the rest."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar, cast

import msgspec

from aigateway import _json
from aigateway.call import ON_UNSUPPORTED, Call, OnUnsupported
from aigateway.canonical.lens import RequestLens
from aigateway.errors import InvalidRequestError
from aigateway.formats import FORMATS
from aigateway.formats.generate_content.lens import GenerateContentRequest
from aigateway.formats.multipart import Form, FormRequest, boundary_of
from aigateway.formats.protocol import PROFILES, Profile

ON_UNSUPPORTED_HEADER: Final = "x-aigateway-on-unsupported"
PROFILE_HEADER: Final = "x-aigateway-profile"
DEFAULT_IMAGE_MODEL = "dall-e-3"
DEFAULT_IMAGE_FORM_MODEL = "dall-e-2"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller may ask of the gateway itself.

    max_body   bytes of a request body; more is a 413. In a session, of one message; more ends it.
    max_upload  bytes of one that goes on while it arrives, as files do; more is a 413.
    max_depth  how deep its JSON may nest; deeper is a 400.
    keepalive  seconds of silence on a stream after which a comment is sent, so that no proxy on the way gives up.
    """

    max_body: int = 64 * 1024 * 1024
    max_upload: int = 512 * 1024 * 1024
    max_depth: int = 200
    keepalive: float = 15.0


class _Head(msgspec.Struct):
    model: str | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    encoding_format: str | None = None
    messages: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()
    contents: msgspec.Raw = msgspec.Raw()
    previous_response_id: msgspec.Raw = msgspec.Raw()
    conversation: msgspec.Raw = msgspec.Raw()


_T = TypeVar("_T")
_HEAD: msgspec.json.Decoder[_Head] = msgspec.json.Decoder(_Head)
_PLACE = re.compile(r" - at `\$\.?([^`]*)`$")
_EMPTY = {b"", b"null"}
_NOTHING = {b"", b"null", b"[]", b'""'}


def read_wishes(call: Call) -> None:
    """Set what the caller's headers say of how the call is served. Raises InvalidRequestError naming the header."""
    headers = call.headers
    if ON_UNSUPPORTED_HEADER in headers:
        call.on_unsupported = cast(OnUnsupported, _word(call, ON_UNSUPPORTED_HEADER, ON_UNSUPPORTED))
    if PROFILE_HEADER in headers:
        call.profile = cast(Profile, _word(call, PROFILE_HEADER, PROFILES))


def _word(call: Call, header: str, words: tuple[str, ...]) -> str:
    value = call.headers[header].strip()
    if value not in words:
        raise InvalidRequestError(
            f"Invalid value for the header '{header}': expected one of {', '.join(words)}.",
            param=header,
            code="invalid_value",
        )
    return value


def understand(call: Call, body: bytes, limits: Limits, *, lens: RequestLens | None = None) -> None:
    """Set `call.request`, `model` and `stream` from a body. Raises InvalidRequestError naming the field at fault."""
    is_form = call.operation.form == "multipart"
    if is_form and not (call.operation.name == "images.edits" and "json" in call.headers.get("content-type", "")):
        fields = lens or FormRequest(Form(body, boundary_of(call.headers.get("content-type", ""))))
        fields.body.setdefault("model", DEFAULT_IMAGE_FORM_MODEL)
        call.request, call.model, call.stream = fields, fields.model, fields.stream
        return
    body, head = clean_head(body, limits, _HEAD)
    if call.api == "images" and head.model is None:
        head.model = DEFAULT_IMAGE_FORM_MODEL if is_form else DEFAULT_IMAGE_MODEL
        body = _json.set_value(body, head.model, "model")
        lens = None
    call.request = lens if lens is not None else FORMATS[call.api].request(body)
    call.model = head.model or ""
    call.stream = head.stream is True and call.api != "embeddings"
    if call.operation.model == "{model}":
        _read_path(call, head)
    _check(call, head)


def _read_path(call: Call, head: _Head) -> None:
    """Of an API whose path names the model and says whether a stream is asked for; a hook may have named another.

    In process, where there is no path, both stand in the body: there they are taken out, for no upstream knows them.
    """
    request = call.request
    if not isinstance(request, GenerateContentRequest):
        raise TypeError("only generateContent has its model in the path")
    if head.model or head.stream is not None:
        request.body = {key: value for key, value in request.body.items() if key not in ("model", "stream")}
    call.model = request.model or call.parameters.get("model", "") or call.model
    call.stream = call.operation.streams or call.stream or request.stream
    request.place(call.model, stream=call.stream)
    head.model = call.model


def clean_head(body: bytes, limits: Limits, decoder: msgspec.json.Decoder[_T]) -> tuple[bytes, _T]:
    """What stands at the top of a body; and the body, clean of the lone surrogates that no strict reader takes.

    Raises InvalidRequestError where it is no JSON object, or nests too deeply.
    """
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise InvalidRequestError("The request body is not valid UTF-8.", code="invalid_json") from error
    if _json.deeper_than(body, limits.max_depth):
        raise InvalidRequestError(
            f"The request body is nested deeper than {limits.max_depth} levels.", code="invalid_json"
        )
    try:
        return body, decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _wrong_type(str(error)) from error
    except RecursionError as error:
        raise InvalidRequestError("The request body is nested too deeply.", code="invalid_json") from error
    except msgspec.DecodeError as error:
        if rb"\ud" in body or rb"\uD" in body:
            return clean_head(_json.encode(_json.decode_object(body)), limits, decoder)
        text = "it is empty" if not body.strip() else str(error)
        raise InvalidRequestError(f"The request body is not valid JSON: {text}", code="invalid_json") from error


def top_of(body: bytes, decoder: msgspec.json.Decoder[_T]) -> _T:
    """What stands at the top of a body that is known to be JSON. Raises InvalidRequestError for a value of a wrong type."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _wrong_type(str(error)) from error


def _wrong_type(text: str) -> InvalidRequestError:
    place = _PLACE.search(text)
    words = _PLACE.sub("", text).replace("`", "").replace("Expected", "expected")
    if place is None or not place.group(1):
        return InvalidRequestError(f"The request body must be a JSON object: {words}.", code="invalid_json")
    return InvalidRequestError(f"Invalid '{place.group(1)}': {words}.", param=place.group(1), code="invalid_type")


def _check(call: Call, head: _Head) -> None:
    if not head.model:
        raise _missing("model", "Name one of the models that GET /v1/models lists.")
    if call.api in ("chat", "messages"):
        _check_list("messages", head.messages, b"[", "Send an array with at least one message.")
    elif call.api == "completions":
        _check_prompt(bytes(head.prompt))
    elif call.api == "embeddings":
        _check_list("input", head.input, b'"[', "Send a string, an array of strings, or tokens.")
    elif call.api == "generate_content":
        _check_list("contents", head.contents, b"[{", "Send an array with at least one content.")
    elif call.api == "images":
        _check_list("prompt", head.prompt, b'"', "Send a text that describes the image.")
    elif call.api == "responses":
        stored = (head.prompt, head.previous_response_id, head.conversation)
        if not _is_empty(head.input) or all(map(_is_empty, stored)):
            _check_list("input", head.input, b'"[', "Send a string or an array of items.")


def _is_empty(raw: msgspec.Raw) -> bool:
    view = memoryview(raw)
    return len(view) in (0, 4) and bytes(view) in (b"", b"null")


def _check_prompt(raw: bytes) -> None:
    """Of completions: an empty prompt is one, from which a model begins anew."""
    advice = "Send a string, an array of strings, or tokens."
    if raw in _EMPTY:
        raise _missing("prompt", advice)
    if chr(raw[0]) not in '"[':
        raise InvalidRequestError(f"Invalid type for 'prompt'. {advice}", param="prompt", code="invalid_type")


def _check_list(name: str, raw: msgspec.Raw, starts: bytes, advice: str) -> None:
    view = memoryview(raw)
    if len(view) <= 64 and b"".join(bytes(view).split()) in _NOTHING:
        raise _missing(name, advice)
    if view[0] not in starts:
        raise InvalidRequestError(f"Invalid type for '{name}'. {advice}", param=name, code="invalid_type")


def _missing(name: str, advice: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"Missing required parameter: {name} is required. {advice}", param=name, code="missing_required_parameter"
    )
