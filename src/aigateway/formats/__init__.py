"""The formats: one row each. A new API is a folder and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from aigateway._sse import SSEDecoder
from aigateway.canonical.lens import EventLens, ReplyLens, RequestLens
from aigateway.canonical.seal import SEAL
from aigateway.canonical.types import Change, Reply, Request, Usage
from aigateway.errors import GatewayError
from aigateway.formats.audio.lens import AudioEvent, AudioReply, AudioRequest, audio_usage
from aigateway.formats.chat.codec import ChatCodec
from aigateway.formats.chat.lens import ChatEvent, ChatReply, ChatRequest
from aigateway.formats.chat.reply import decode_plain_reply
from aigateway.formats.choices import ChoicesRelay
from aigateway.formats.cohere_chat.codec import CohereChatCodec
from aigateway.formats.completions.codec import CompletionsCodec
from aigateway.formats.completions.lens import CompletionsEvent, CompletionsReply, CompletionsRequest
from aigateway.formats.converse import codec as converse
from aigateway.formats.embeddings.lens import EmbeddingsReply, EmbeddingsRequest
from aigateway.formats.generate_content import errors as google_errors
from aigateway.formats.generate_content.codec import GenerateContentCodec
from aigateway.formats.generate_content.codec import path_of as generate_content_path
from aigateway.formats.generate_content.lens import (
    GenerateContentEvent,
    GenerateContentReply,
    GenerateContentRequest,
)
from aigateway.formats.generate_content.relay import GenerateContentRelay
from aigateway.formats.generate_content.sealed import without_seals as generate_content_seals
from aigateway.formats.generate_content.usage import decode_usage as generate_content_usage
from aigateway.formats.generate_content.wire import SEALED as GENERATE_CONTENT_SEALED
from aigateway.formats.images.lens import ImagesEvent, ImagesReply, ImagesRequest
from aigateway.formats.images.relay import ImagesRelay
from aigateway.formats.messages.codec import MessagesCodec
from aigateway.formats.messages.errors import messages_error
from aigateway.formats.messages.lens import MessagesEvent, MessagesReply, MessagesRequest
from aigateway.formats.messages.relay import MessagesRelay
from aigateway.formats.messages.sealed import without_seals as messages_seals
from aigateway.formats.messages.wire import messages_usage
from aigateway.formats.moderations.lens import ModerationsRequest
from aigateway.formats.passing import any_usage
from aigateway.formats.protocol import CallerCodec, FrameDecoder, TextCodec, UpstreamCodec
from aigateway.formats.relay import StreamRelay, error_object
from aigateway.formats.rerank.lens import RerankReply, RerankRequest, rerank_usage
from aigateway.formats.responses.codec import ResponsesCodec
from aigateway.formats.responses.lens import ResponsesEvent, ResponsesReply, ResponsesRequest
from aigateway.formats.responses.plain import decode_plain_request
from aigateway.formats.responses.relay import ResponsesRelay
from aigateway.formats.responses.sealed import without_seals as responses_seals
from aigateway.formats.usage import chat_usage, responses_usage
from aigateway.surface import GENERATED


def openai_error(error: GatewayError, _: str) -> tuple[int, dict[str, Any]]:
    """{"error": {message, type, param, code}}, all four keys always."""
    return error.status, {"error": error_object(error)}


def _responses_error(error: GatewayError, request_id: str) -> tuple[int, dict[str, Any]]:
    status, body = openai_error(error, request_id)
    if status == 404:
        body["error"]["type"] = "not_found"
    return status, body


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """One API's form.

    codec          translates through the canonical form, both ways; None = other APIs cannot be told in this one.
    caller_codec   where `codec` is None: lets other APIs serve the callers of this one; None = it is only relayed.
    upstream_codec  where `codec` is None: serves the callers of other APIs, and has none of its own.
    plain_request  reads a request as most are from its bytes, quickly; None for any other. What it gives is what the
                   codec would.
    plain_reply    reads a whole reply as most are from its bytes, quickly; None for any other. What it gives is what the
                   codec would.
    framing        how its streams are cut into events.
    path           where a call goes upstream, below the base URL, for a model and for a stream or not; None = where the
                   operation stands here.
    request, reply, event   the lenses for hooks.
    relay          for streams whose both sides have this form.
    usage          reads the usage object of its replies.
    done           whether a finished stream ends with `[DONE]`.
    done_on_error  whether a failed one does.
    asks_usage     whether a stream tells its usage only where `stream_options.include_usage` asks for it.
    path           where a call goes upstream, below the base URL and with its query, for a model and for a stream or not;
                   None = where the operation stands here.
    key_headers    the headers that carry a caller's key beside `Authorization: Bearer`; names in lower case.
    without_seals  takes seals of others' reasoning out of a request that is relayed to a model of a host (`Quirks.origin`),
                 and lists what it took.
    seal           what stands in the body of such a request.
    key_query      what stands for it in the query, "" where nothing does: it is taken from there, and goes no further.
    callers_send   headers that every caller of this API sends and those of others do not; names in lower case.
    render_error   the status and the body of an error; the id is the request's.
    """

    codec: TextCodec | None
    request: type[RequestLens]
    reply: type[ReplyLens]
    event: type[EventLens]
    relay: type[StreamRelay]
    usage: Callable[[Any], Usage | None]
    done: bool
    done_on_error: bool
    asks_usage: bool = False
    caller_codec: CallerCodec | None = None
    upstream_codec: UpstreamCodec | None = None
    plain_request: Callable[[bytes], Request | None] | None = None
    plain_reply: Callable[[bytes], Reply | None] | None = None
    framing: Callable[[], FrameDecoder] = SSEDecoder
    path: Callable[[str, bool], str] | None = None
    key_headers: tuple[str, ...] = ()
    without_seals: Callable[[dict[str, Any], str, str, list[Change]], None] | None = None
    seal: bytes = SEAL
    key_query: str = ""
    callers_send: tuple[str, ...] = ()
    render_error: Callable[[GatewayError, str], tuple[int, dict[str, Any]]] = openai_error


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "chat": Format(
            codec=ChatCodec(),
            request=ChatRequest,
            reply=ChatReply,
            event=ChatEvent,
            relay=ChoicesRelay,
            usage=chat_usage,
            done=True,
            done_on_error=False,
            asks_usage=True,
            path=lambda *_: "/chat/completions",
            plain_reply=decode_plain_reply,
        ),
        "completions": Format(
            codec=None,
            request=CompletionsRequest,
            reply=CompletionsReply,
            event=CompletionsEvent,
            relay=ChoicesRelay,
            usage=chat_usage,
            done=True,
            done_on_error=False,
            asks_usage=True,
            caller_codec=CompletionsCodec(),
        ),
        "responses": Format(
            codec=ResponsesCodec(),
            request=ResponsesRequest,
            reply=ResponsesReply,
            event=ResponsesEvent,
            relay=ResponsesRelay,
            usage=responses_usage,
            done=True,
            done_on_error=True,
            path=lambda *_: "/responses",
            plain_request=decode_plain_request,
            without_seals=responses_seals,
            render_error=_responses_error,
        ),
        "messages": Format(
            codec=MessagesCodec(),
            request=MessagesRequest,
            reply=MessagesReply,
            event=MessagesEvent,
            relay=MessagesRelay,
            usage=messages_usage,
            done=False,
            done_on_error=False,
            path=lambda *_: "/messages",
            key_headers=("x-api-key",),
            callers_send=("anthropic-version",),
            without_seals=messages_seals,
            render_error=messages_error,
        ),
        "generate_content": Format(
            codec=GenerateContentCodec(),
            request=GenerateContentRequest,
            reply=GenerateContentReply,
            event=GenerateContentEvent,
            relay=GenerateContentRelay,
            usage=generate_content_usage,
            done=False,
            done_on_error=False,
            path=generate_content_path,
            key_headers=("x-goog-api-key",),
            key_query="key",
            callers_send=("x-goog-api-key", "x-goog-api-client"),
            without_seals=generate_content_seals,
            seal=GENERATE_CONTENT_SEALED,
            render_error=google_errors.render_error,
        ),
        "cohere_chat": Format(
            codec=None,
            request=RequestLens,
            reply=ReplyLens,
            event=EventLens,
            relay=StreamRelay,
            usage=any_usage,
            done=False,
            done_on_error=False,
            upstream_codec=CohereChatCodec(),
            path=lambda *_: "/chat",
        ),
        "converse": Format(
            codec=None,
            request=RequestLens,
            reply=ReplyLens,
            event=EventLens,
            relay=StreamRelay,
            usage=any_usage,
            done=False,
            done_on_error=False,
            upstream_codec=converse.ConverseCodec(),
            framing=converse.framing,
            path=converse.path_for,
        ),
        "embeddings": Format(
            codec=None,
            request=EmbeddingsRequest,
            reply=EmbeddingsReply,
            event=EventLens,
            relay=StreamRelay,
            usage=chat_usage,
            done=False,
            done_on_error=False,
        ),
        "images": Format(
            codec=None,
            request=ImagesRequest,
            reply=ImagesReply,
            event=ImagesEvent,
            relay=ImagesRelay,
            usage=responses_usage,
            done=False,
            done_on_error=False,
        ),
        "audio": Format(
            codec=None,
            request=AudioRequest,
            reply=AudioReply,
            event=AudioEvent,
            relay=StreamRelay,
            usage=audio_usage,
            done=False,
            done_on_error=False,
        ),
        "moderations": Format(
            codec=None,
            request=ModerationsRequest,
            reply=ReplyLens,
            event=EventLens,
            relay=StreamRelay,
            usage=any_usage,
            done=False,
            done_on_error=False,
        ),
        "rerank": Format(
            codec=None,
            request=RerankRequest,
            reply=RerankReply,
            event=EventLens,
            relay=StreamRelay,
            usage=rerank_usage,
            done=False,
            done_on_error=False,
        ),
    }
)

PASSING = Format(
    codec=None,
    request=RequestLens,
    reply=ReplyLens,
    event=EventLens,
    relay=StreamRelay,
    usage=any_usage,
    done=False,
    done_on_error=False,
)
"""The form of an API that is only passed on."""

CODECS: Mapping[str, TextCodec] = MappingProxyType(
    {name: row.codec for name, row in FORMATS.items() if row.codec is not None}
)
"""The formats that can be translated into each other."""

UPSTREAM_CODECS: Mapping[str, UpstreamCodec] = MappingProxyType(
    {**CODECS, **{name: row.upstream_codec for name, row in FORMATS.items() if row.upstream_codec is not None}}
)
"""The formats that serve the callers of CALLER_CODECS, best first."""

CALLER_CODECS: Mapping[str, CallerCodec] = MappingProxyType(
    {
        name: codec
        for name, row in FORMATS.items()
        if (codec := row.codec if row.codec is not None else row.caller_codec) is not None
    }
)
"""The formats whose callers can be served by those of UPSTREAM_CODECS."""


KEY_HEADERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {name: row.key_headers for name, row in FORMATS.items() if row.key_headers}
    | {"models": tuple(dict.fromkeys(header for row in FORMATS.values() for header in row.key_headers))}
)
"""API -> the headers that carry a caller's key beside `Authorization`; the models are listed for callers of all APIs."""


_CALLERS: Mapping[str, str] = MappingProxyType(
    {header: name for name, row in FORMATS.items() for header in row.callers_send}
)
"""Header -> the API whose callers send it."""


def spoken(api: str, headers: Mapping[str, str]) -> str:
    """The API that a caller speaks who asks for an operation of an API: that one where the gateway understands it.

    Paths that are nobody's, passed on or shared, such as `/v1/models` and `/v1/files`, may be asked by callers of each:
    their headers tell.
    """
    if api in GENERATED:
        return api
    return next((caller for header, caller in _CALLERS.items() if header in headers), api)


def render_error(api: str, error: GatewayError, request_id: str = "") -> tuple[int, dict[str, Any]]:
    """The status and the body of an error in the caller's own API."""
    return FORMATS.get(api, PASSING).render_error(error, request_id)
