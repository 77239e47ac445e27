"""The images API: generations in JSON, edits and variations as forms, streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from aigateway import EventStream, Gateway, GatewayError, Provider, ReplyLens, Target
from aigateway.testing import Script, ScriptedUpstream
from tests.serving import served

USAGE = {
    "input_tokens": 50,
    "output_tokens": 40,
    "total_tokens": 90,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
}
BY_URL = {"created": 1, "data": [{"url": "https://images.example/1.png", "revised_prompt": "A cat, cute"}]}
BY_BASE64 = {
    "created": 1,
    "background": "opaque",
    "size": "1024x1024",
    "data": [{"b64_json": "iVBORw0KGgo="}],
    "usage": USAGE,
}
EVENTS = [
    {"type": "image_generation.partial_image", "partial_image_index": 0, "b64_json": "AA=="},
    {"type": "image_generation.completed", "b64_json": "AAAA", "usage": USAGE},
]

Ask = Callable[[dict[str, Any]], Awaitable[tuple[int, bytes]]]


def gateway_to(upstream: ScriptedUpstream, **more: Any) -> Gateway:
    provider = Provider("up", upstream.base_url, "none")
    return Gateway(models={"painter": Target(provider, "up-painter"), "*": provider}, **more)


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as server:
        server.script(Script.of_json(BY_URL))
        yield server


@pytest.fixture(params=["in process", "over HTTP"])
async def ask(request: pytest.FixtureRequest, upstream: ScriptedUpstream) -> AsyncIterator[Ask]:
    """Asks a gateway in front of the upstream: gives the status and the bytes of the answer."""
    gateway = gateway_to(upstream)
    if request.param == "in process":
        async with gateway:
            yield lambda body: _in_process(gateway, body)
        return
    async with served(gateway) as url, aiohttp.ClientSession() as session:
        yield lambda body: _over_http(session, url, body)


async def _in_process(gateway: Gateway, body: dict[str, Any]) -> tuple[int, bytes]:
    try:
        answer = await gateway.images(body, stream=body.get("stream") is True)
    except GatewayError as error:
        return error.status, f'{error.code} param="{error.param}"'.encode()
    if isinstance(answer, EventStream):
        async with answer:
            return 200, b"".join([event.raw async for event in answer])
    assert isinstance(answer, ReplyLens)
    return 200, answer.raw


async def _over_http(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> tuple[int, bytes]:
    async with session.post(f"{url}/v1/images/generations", json=body) as response:
        if response.status >= 400:
            error = (await response.json())["error"]
            return response.status, f'{error["code"]} param="{error["param"]}"'.encode()
        return response.status, await response.read()


async def test_every_field_reaches_the_upstream(ask: Ask, upstream: ScriptedUpstream) -> None:
    fields = {
        "prompt": "a cat",
        "n": 2,
        "size": "1792x1024",
        "quality": "hd",
        "style": "vivid",
        "response_format": "b64_json",
        "user": "u-1",
        "background": "transparent",
        "output_compression": 0,
        "x_new": None,
    }
    assert (await ask({"model": "painter", **fields}))[0] == 200
    assert upstream.requests[0].path == "/v1/images/generations"
    assert upstream.requests[0].json() == {"model": "up-painter", **fields}


@pytest.mark.parametrize("model", [{}, {"model": None}], ids=["no model", "null"])
async def test_the_model_is_dall_e_3_where_none_is_named(
    ask: Ask, upstream: ScriptedUpstream, model: dict[str, Any]
) -> None:
    assert (await ask({"prompt": "a cat", **model}))[0] == 200
    assert upstream.requests[0].json() == {"model": "dall-e-3", "prompt": "a cat"}


@pytest.mark.parametrize("document", [BY_URL, BY_BASE64], ids=["url", "base64 and usage"])
async def test_the_answer_comes_back_byte_for_byte(ask: Ask, upstream: ScriptedUpstream, document: Any) -> None:
    script = Script.of_json(document)
    upstream.script(script)
    assert await ask({"model": "painter", "prompt": "a cat"}) == (200, script.body)


async def test_a_large_image_comes_back_whole(ask: Ask, upstream: ScriptedUpstream) -> None:
    script = Script.of_json({"created": 1, "data": [{"b64_json": "iVBORw0K" * 500_000}]})
    upstream.script(script)
    assert await ask({"model": "painter", "prompt": "a cat"}) == (200, script.body)


async def test_streamed_images_pass_untouched(ask: Ask, upstream: ScriptedUpstream) -> None:
    script = Script.of_events(EVENTS, named=True, done=False)
    assert script.pieces is not None
    upstream.script(script)
    status, shown = await ask({"model": "painter", "prompt": "a cat", "stream": True, "partial_images": 1})
    assert status == 200
    assert upstream.requests[0].json()["partial_images"] == 1
    assert upstream.requests[0].headers["accept"] == "text/event-stream"
    events = [piece.split(b"data: ")[1].strip() for piece in script.pieces]
    assert shown in (b"".join(events), b"".join(script.pieces))


WRONG = {
    "no prompt": ({"model": "painter"}, "missing_required_parameter", "prompt"),
    "null prompt": ({"prompt": None}, "missing_required_parameter", "prompt"),
    "empty prompt": ({"prompt": ""}, "missing_required_parameter", "prompt"),
    "a list of prompts": ({"prompt": ["a"]}, "invalid_type", "prompt"),
    "empty model": ({"prompt": "a", "model": ""}, "missing_required_parameter", "model"),
    "model that is no text": ({"prompt": "a", "model": 7}, "invalid_type", "model"),
}


@pytest.mark.parametrize(("body", "code", "param"), WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_request_is_a_400_that_names_the_field(
    ask: Ask, upstream: ScriptedUpstream, body: dict[str, Any], code: str, param: str
) -> None:
    assert await ask(body) == (400, f'{code} param="{param}"'.encode())
    assert upstream.requests == []


async def test_a_refused_prompt_keeps_its_status_and_code(ask: Ask, upstream: ScriptedUpstream) -> None:
    error = {"message": "no", "type": "image_generation_user_error", "param": "prompt", "code": "moderation_blocked"}
    upstream.script(Script.of_json({"error": error}, 400))
    assert await ask({"model": "painter", "prompt": "x"}) == (400, b'moderation_blocked param="prompt"')


async def test_hooks_edit_the_prompt_and_read_what_came_back(upstream: ScriptedUpstream) -> None:
    gateway = gateway_to(upstream)
    seen: list[Any] = []

    @gateway.hook.before_request
    def shout(call: Any) -> None:
        call.request.map_texts(str.upper)

    @gateway.hook.after_response
    def read(call: Any, reply: ReplyLens) -> None:
        seen.extend(reply.texts())
        reply.map_texts(str.lower)

    @gateway.hook.on_complete
    def count(call: Any) -> None:
        seen.append(call.usage.total_tokens)

    upstream.script(Script.of_json(BY_URL | {"usage": USAGE}))
    async with gateway:
        answer = await gateway.images(model="painter", prompt="a cat")
    assert isinstance(answer, ReplyLens)
    assert answer.body["data"][0]["revised_prompt"] == "a cat, cute"
    assert upstream.requests[0].json()["prompt"] == "A CAT"
    assert seen == ["A cat, cute", 90]


# forms

BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
PNG = b"\x89PNG\r\n\x1a\n\x00\xff--" + BOUNDARY[:10].encode() + b"\r\n\r\n--"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def part(name: str, value: bytes, filename: str | None = None) -> bytes:
    shown = f'; filename="{filename}"\r\nContent-Type: image/png' if filename else ""
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n\r\n'.encode() + value + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()
FILE = part("image", PNG, "cat.png")


async def posted(gateway: Gateway, path: str, body: bytes, content_type: str = CONTENT_TYPE) -> tuple[int, bytes]:
    async with served(gateway) as url, aiohttp.ClientSession() as session:
        headers = {"Content-Type": content_type}
        async with session.post(f"{url}/v1/images/{path}", data=body, headers=headers) as response:
            return response.status, await response.read()


@pytest.mark.parametrize("path", ["edits", "variations"])
async def test_a_form_passes_with_the_model_renamed_and_every_other_byte_the_same(
    upstream: ScriptedUpstream, path: str
) -> None:
    script = Script.of_json(BY_BASE64)
    upstream.script(script)
    before, after = part("prompt", b"a hat") + FILE, part("n", b"2") + part("mask", PNG, "mask.png") + END
    answer = await posted(gateway_to(upstream), path, before + part("model", b"painter") + after)
    assert answer == (200, script.body)
    (request,) = upstream.requests
    assert (request.path, request.headers["content-type"]) == (f"/v1/images/{path}", CONTENT_TYPE)
    assert request.body == before + part("model", b"up-painter") + after


async def test_a_form_without_a_model_goes_to_dall_e_2(upstream: ScriptedUpstream) -> None:
    await posted(gateway_to(upstream), "variations", FILE + END)
    assert upstream.requests[0].body == FILE + part("model", b"dall-e-2") + END


async def test_a_form_whose_model_keeps_its_name_is_untouched(upstream: ScriptedUpstream) -> None:
    body = b"preamble\r\n" + part("model", b"other") + FILE + END + b"epilogue"
    await posted(gateway_to(upstream), "edits", body)
    assert upstream.requests[0].body == body


async def test_hooks_edit_the_fields_of_a_form(upstream: ScriptedUpstream) -> None:
    gateway = gateway_to(upstream)
    seen: list[Any] = []

    @gateway.hook.before_request
    def edit(call: Any) -> None:
        seen.append((dict(call.request.body), call.request.texts(), call.model, call.stream))
        call.request.map_texts(str.upper)
        call.request.body["user"] = "u-1"
        del call.request.body["style"]

    fields = part("prompt", b"a hat") + part("style", b"vivid")
    await posted(gateway, "edits", part("model", b"painter") + fields + FILE + END)
    assert seen == [({"model": "painter", "prompt": "a hat", "style": "vivid"}, ["a hat"], "painter", False)]
    edited = part("prompt", b"A HAT") + part("style", b"")
    assert upstream.requests[0].body == part("model", b"up-painter") + edited + FILE + part("user", b"u-1") + END


async def test_a_hook_may_send_a_form_to_another_model(upstream: ScriptedUpstream) -> None:
    gateway = gateway_to(upstream)

    @gateway.hook.before_request
    def elsewhere(call: Any) -> None:
        call.request.model = "painter"

    await posted(gateway, "edits", part("model", b"other") + FILE + END)
    assert upstream.requests[0].body == part("model", b"up-painter") + FILE + END


@pytest.mark.parametrize("asked", [b"true", b"True"], ids=["JSON's spelling", "Python's spelling"])
async def test_a_form_may_ask_for_a_stream(upstream: ScriptedUpstream, asked: bytes) -> None:
    upstream.script(Script.of_events(EVENTS, named=True, done=False))
    status, body = await posted(gateway_to(upstream), "edits", FILE + part("stream", asked) + END)
    assert status == 200
    assert b"image_generation.partial_image" in body
    assert upstream.requests[0].headers["accept"] == "text/event-stream"


BROKEN = {
    "no end": (FILE, CONTENT_TYPE, "invalid_multipart"),
    "cut in a file": (FILE[:-20], CONTENT_TYPE, "invalid_multipart"),
    "cut in a head": (FILE + part("a", b"")[:60], CONTENT_TYPE, "invalid_multipart"),
    "another boundary": (FILE + END, "multipart/form-data; boundary=other", "invalid_multipart"),
    "empty": (b"", CONTENT_TYPE, "invalid_multipart"),
    "garbage": (b"\x00\xff" * 100, CONTENT_TYPE, "invalid_multipart"),
    "text": (b'{"model":"painter"}', "text/plain", "invalid_content_type"),
    "no boundary": (FILE + END, "multipart/form-data", "invalid_content_type"),
    "another multipart": (FILE + END, f"multipart/mixed; boundary={BOUNDARY}", "invalid_content_type"),
}


@pytest.mark.parametrize(
    ("path", "code"), [("edits", "missing_required_parameter"), ("variations", "invalid_content_type")]
)
async def test_only_an_edit_may_be_json(upstream: ScriptedUpstream, path: str, code: str) -> None:
    status, shown = await posted(gateway_to(upstream), path, b'{"model":"painter"}', "application/json")
    assert (status, f'"code":"{code}"'.encode() in shown) == (400, True)
    assert upstream.requests == []


@pytest.mark.parametrize(("body", "content_type", "code"), BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("path", ["edits", "variations"])
async def test_a_broken_form_is_a_400(
    upstream: ScriptedUpstream, path: str, body: bytes, content_type: str, code: str
) -> None:
    status, shown = await posted(gateway_to(upstream), path, body, content_type)
    assert (status, f'"code":"{code}"'.encode() in shown) == (400, True)
    assert upstream.requests == []
