"""The generate_content format: POST /v1beta/models/{model}:generateContent and :streamGenerateContent."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from aigateway import _json
from aigateway.canonical.quirks import Quirks
from aigateway.canonical.toolbox import Toolbox
from aigateway.canonical.types import Change, Reply, Request
from aigateway.errors import InvalidRequestError
from aigateway.formats.generate_content.encoder import GenerateContentStreamEncoder
from aigateway.formats.generate_content.reply import decode_reply, encode_reply
from aigateway.formats.generate_content.request import decode_request, encode_request
from aigateway.formats.generate_content.stream import GenerateContentStreamDecoder
from aigateway.formats.generate_content.wire import FORMAT
from aigateway.formats.protocol import ReplyContext


class GenerateContentCodec:
    """Gemini's API, as the TextCodec protocol promises."""

    name = FORMAT

    def decode_request(self, body: dict[str, Any]) -> Request:
        """A request. Raises InvalidRequestError whose `param` names the place."""
        return decode_request(body)

    def place_of(self, request: Request, content: object) -> str:
        """Among the contents, for one content may have become several items."""
        return "contents"

    def encode_request(self, request: Request, *, model: str, quirks: Quirks, changes: list[Change]) -> dict[str, Any]:
        """A request to a model of a host with these quirks; what it cannot carry stands in `changes`."""
        return encode_request(request, model=model, quirks=quirks, changes=changes)

    def toolbox(self, request: Request, quirks: Quirks) -> Toolbox:
        """The names of a request's tools: there are functions only."""
        return Toolbox(request, custom=False)

    def decode_reply(self, body: dict[str, Any]) -> Reply:
        """A reply. Raises UpstreamError where it tells of one, UpstreamProtocolError where it is no such reply."""
        return decode_reply(body)

    def encode_reply(self, reply: Reply, context: ReplyContext) -> dict[str, Any]:
        """A reply."""
        return encode_reply(reply, context)

    def reply_document(self, reply: Reply, context: ReplyContext) -> bytes:
        """The same as text."""
        return _json.encode(encode_reply(reply, context))

    def stream_decoder(self) -> GenerateContentStreamDecoder:
        """For one upstream's stream."""
        return GenerateContentStreamDecoder()

    def stream_encoder(self, context: ReplyContext) -> GenerateContentStreamEncoder:
        """For one caller's stream."""
        return GenerateContentStreamEncoder(context)


def model_path(model: str, *, verb: str) -> str:
    """Where a model's method stands: `/models/{model}:verb`. Raises InvalidRequestError for what is no name."""
    kind, _, name = model.partition("/")
    if kind not in ("models", "tunedModels") or not name:
        kind, name = "models", model
    if name in ("", ".", ".."):
        raise InvalidRequestError("Invalid 'model': it must be the name of a model.", param="model")
    return f"/{kind}/{quote(name, safe='')}:{verb}"


def path_of(model: str, stream: bool) -> str:  # noqa: FBT001 - as Format.path is called
    """Where a call goes upstream, below the version of the API."""
    if stream:
        return f"{model_path(model, verb='streamGenerateContent')}?alt=sse"
    return model_path(model, verb="generateContent")
