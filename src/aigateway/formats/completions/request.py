"""Requests: a prompt as the one message of a user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from aigateway.canonical.types import Extra, Message, Request, Text
from aigateway.errors import InvalidRequestError, UnsupportedError
from aigateway.formats.completions.wire import FORMAT, sole_text
from aigateway.formats.fields import (
    read_boolean,
    read_integer,
    read_number,
    read_number_map,
    read_object,
    read_stop,
    read_string,
)

_KNOBS: dict[str, Callable[[Any, str], Any]] = {
    "temperature": read_number,
    "top_p": read_number,
    "presence_penalty": read_number,
    "frequency_penalty": read_number,
    "stop": read_stop,
    "seed": read_integer,
    "logit_bias": read_number_map,
    "user": read_string,
}
"""The fields that the canonical request has under the same name."""

_BY_HAND = frozenset(
    {
        "model",
        "prompt",
        "stream",
        "stream_options",
        "max_tokens",
        "logprobs",
        "n",
        "best_of",
        "echo",
        "suffix",
    }
)
_ELSEWHERE = "This model is served by an API for chat, which "


def decode_request(body: dict[str, Any]) -> Request:
    """A request that another API can serve. Raises InvalidRequestError, or UnsupportedError for what only this API has.

    Its `param` names the field. The limit of 16 tokens that OpenAI has where none is given is not put in: hosts differ.
    """
    _refuse(body)
    unknown = {key: value for key, value in body.items() if key not in _KNOBS and key not in _BY_HAND}
    best_of = _read(body, "best_of", read_integer)
    if best_of is not UNSET and best_of > 1:
        unknown["best_of"] = best_of  # choosing among several is a favour that the target cannot do
    logprobs = _read(body, "logprobs", read_integer)
    prompt = Text(text=_prompt(body.get("prompt")))
    return Request(
        model=_read(body, "model", read_string) or "",
        items=(Message(role="user", content=(prompt,)),),
        stream=_read(body, "stream", read_boolean) or False,
        max_output_tokens=_read(body, "max_tokens", read_integer),
        logprobs=UNSET if logprobs is UNSET else True,
        top_logprobs=logprobs or UNSET,
        extra=Extra(format=FORMAT, fields=unknown) if unknown else UNSET,
        **_stream_options(body),
        **{key: _read(body, key, read) for key, read in _KNOBS.items()},
    )


def _read(body: dict[str, Any], key: str, read: Callable[[Any, str], Any]) -> Any:
    value = body.get(key)
    return UNSET if value is None else read(value, key)


def _stream_options(body: dict[str, Any]) -> dict[str, Any]:
    raw = body.get("stream_options")
    options = {} if raw is None else read_object(raw, "stream_options")
    return {
        key: read_boolean(options[key], f"stream_options.{key}")
        for key in ("include_usage", "include_obfuscation")
        if options.get(key) is not None
    }


def _prompt(prompt: Any) -> str:
    text = sole_text(prompt)
    if text is not None:
        return text
    if not isinstance(prompt, list):
        raise InvalidRequestError("prompt must be a string or an array.", param="prompt", code="invalid_type")
    if not prompt:
        raise InvalidRequestError("prompt must not be empty.", param="prompt", code="invalid_value")
    is_text = any(isinstance(entry, str) for entry in prompt)
    one_by_one = "takes one prompt at a time. Send a request for each"
    no_tokens = "takes text and no tokens. Send the prompt as text"
    raise _refusal("prompt", one_by_one if is_text else no_tokens, code="unsupported_content")


def _refuse(body: dict[str, Any]) -> None:
    """Raise UnsupportedError for what would change the meaning of the answer if it were left out."""
    if _read(body, "suffix", read_string):
        raise _refusal("suffix", "inserts no text. Ask in the prompt for what comes between")
    count, limit = _read(body, "n", read_integer), _read(body, "max_tokens", read_integer)
    if count is not UNSET and count > 1:
        raise _refusal("n", "is asked for one completion at a time. Send `n` requests, or leave `n` out")
    if limit is not UNSET and limit < 1:
        raise _refusal("max_tokens", "writes at least one token. Send `max_tokens` of 1 or more")
    if _read(body, "echo", read_boolean) and body.get("logprobs") is not None:
        raise _refusal("echo", "tells no probabilities of the prompt's tokens. Leave `echo` or `logprobs` out")


def _refusal(param: str, words: str, *, code: str | None = None) -> UnsupportedError:
    return UnsupportedError(
        f"{_ELSEWHERE}{words}, or route the model to a provider that speaks the Completions API.",
        param=param,
        code=code,
    )
