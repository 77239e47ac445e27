"""What `aigateway lint` can be given: the bytes of a file, and the address of a server that is then asked."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from aigateway import _json
from aigateway.errors import GatewayError
from aigateway.lint.rules import Finding, Profile
from aigateway.lint.stream import lint_response, lint_sse, lint_stream
from aigateway.transport.protocol import HTTPRequest, HTTPResponse, Timeout, Transport

INPUT = "What is the weather in Paris? Answer in one sentence."
_TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
_EXCHANGES: Mapping[str, Mapping[str, Any]] = {
    "text": {},
    "text, streamed": {"stream": True},
    "tool": {"tools": [_TOOL], "tool_choice": "required"},
    "tool, streamed": {"tools": [_TOOL], "tool_choice": "required", "stream": True},
}
_MAX_OUTPUT_TOKENS = 1024
_TIMEOUT = Timeout(total=600.0)
_SHOWN = 300


class LintError(Exception):
    """There is nothing to lint; the text says why."""


class _RefusedError(LintError):
    """A server answered with another status than 200."""


class Checked(msgspec.Struct, frozen=True):
    """What came of one thing that was looked at: its findings, or the error for which there are none."""

    name: str
    findings: list[Finding]
    error: str = ""


def lint_bytes(data: bytes, *, profile: Profile = "openai") -> list[Finding]:
    """What is unlawful in the bytes of a file: a stream as it came (SSE), its events as JSON lines, or a response.

    Raises LintError where they are none of these.
    """
    text = data.removeprefix(b"\xef\xbb\xbf").strip()
    if not text.startswith((b"{", b"[")):
        fields = (b"data:", b"event:", b"id:", b"retry:", b":")
        if not text.startswith(fields):
            raise LintError("this is neither server-sent events nor JSON")
        return lint_sse(data, profile=profile)
    with contextlib.suppress(_json.DecodeError, UnicodeDecodeError, RecursionError):
        value = _json.decode(text)
        if isinstance(value, list):
            return lint_stream(value, profile=profile)
        if "sequence_number" not in value and not str(value.get("type", "")).startswith("response."):
            return lint_response(value, profile=profile)
    return lint_stream(_json_lines(text), profile=profile)


def _json_lines(text: bytes) -> list[Any]:
    events = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                events.append(_json.decode(line))
            except (_json.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise LintError(f"line {number} is no JSON: {error}") from error
    return events


class Server:
    """A server of the Responses API. `url` is its base URL (`.../v1`), or that of its `/responses`."""

    def __init__(self, url: str, transport: Transport, *, api_key: str | None = None) -> None:
        self._base = url.rstrip("/").removesuffix("/responses")
        if not urlsplit(self._base).path:
            self._base += "/v1"
        self._transport = transport
        self._headers = [("accept", "*/*"), ("content-type", "application/json")]
        if api_key:
            self._headers.append(("authorization", f"Bearer {api_key}"))

    async def first_model(self) -> str:
        """The first model that the server lists. Raises LintError."""
        try:
            response = await self._send("GET", "/models", b"")
            try:
                listed = _json.decode(await response.read())
                name = listed["data"][0]["id"]
            finally:
                await response.aclose()
        except GatewayError as error:
            raise LintError(error.message) from error
        except (_json.DecodeError, UnicodeDecodeError, LookupError, TypeError) as error:
            raise LintError("The server lists no models; name one with --model.") from error
        return str(name)

    async def lint(self, *, model: str, input: str = INPUT, profile: Profile = "openai") -> list[Checked]:
        """Ask for a text and for a call of a tool, each whole and as a stream, and lint the four answers."""
        checked = []
        for name, more in _EXCHANGES.items():
            body = {"model": model, "input": input, "max_output_tokens": _MAX_OUTPUT_TOKENS, **more}
            try:
                checked.append(Checked(name, await self._insist(body, profile)))
            except (GatewayError, LintError) as error:
                checked.append(Checked(name, [], error.message if isinstance(error, GatewayError) else str(error)))
        return checked

    async def _insist(self, body: dict[str, Any], profile: Profile) -> list[Finding]:
        """Demand the call of a tool; where the server refuses that, leave it to the model."""
        try:
            return await self._exchange(body, profile)
        except _RefusedError:
            if "tool_choice" not in body:
                raise
            return await self._exchange({**body, "tool_choice": "auto"}, profile)

    async def _exchange(self, body: dict[str, Any], profile: Profile) -> list[Finding]:
        streamed = "stream" in body
        response = await self._send("POST", "/responses", _json.encode(body))
        try:
            found = _type_faults(response, streamed=streamed)
            if not streamed:
                return found + _lint_body(await response.read(), profile)
            data, cut = await _all(response)
            if found and data.lstrip().startswith(b"{"):
                return found
            found += lint_sse(data, profile=profile)
            if cut is not None and not found:
                raise cut
            return found
        finally:
            await response.aclose()

    async def _send(self, method: str, path: str, body: bytes) -> HTTPResponse:
        request = HTTPRequest(
            method=method,
            url=self._base + path,
            headers=self._headers,
            body=body,
            timeout=_TIMEOUT,
            peer="The server",
        )
        response = await self._transport.send(request)
        if response.status != 200:
            try:
                told = (await response.read())[:_SHOWN].decode("utf-8", "replace")
            finally:
                await response.aclose()
            raise _RefusedError(f"The server answered {method} {request.url} with {response.status}: {told}")
        return response


async def _all(response: HTTPResponse) -> tuple[bytes, GatewayError | None]:
    """What came of a stream, and the error that cut it."""
    pieces: list[bytes] = []
    try:
        async for piece in response.stream():
            pieces.append(piece)  # noqa: PERF401 - what came before an error counts too
    except GatewayError as error:
        return b"".join(pieces), error
    return b"".join(pieces), None


def _type_faults(response: HTTPResponse, *, streamed: bool) -> list[Finding]:
    wanted = "text/event-stream" if streamed else "application/json"
    told = next((value for name, value in response.headers if name == "content-type"), "")
    if told.partition(";")[0].strip().lower() == wanted:
        return []
    return [Finding("content-type", "the header content-type", f"`{told}`, not `{wanted}`")]


def _lint_body(data: bytes, profile: Profile) -> list[Finding]:
    try:
        response = _json.decode(data)
    except (_json.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return [Finding("data-is-json", "response", f"the body is no JSON: {error}")]
    return lint_response(response, profile=profile)
