"""Embeddings, images and models by the official SDK, and the headers that it reads."""

from __future__ import annotations

import base64
import email
import email.policy
import struct
from collections.abc import AsyncIterator
from email.message import EmailMessage
from typing import Any

import pytest
from openai import OpenAI

from aigateway.testing import ReceivedRequest, Script
from tests.answers import IMAGES_EVENTS, IMAGES_REPLY
from tests.sdk_rig import MODEL, Rig, read_until_error, rigged
from tests.turns import UPSTREAM_MODEL, Turn

PNG = b"\x89PNG\r\n\x1a\n\x00\r\n--\xff"
HELLO = Turn(text=("Hello",))
QUESTION: list[Any] = [{"role": "user", "content": "the question"}]
VECTOR = [0.5, -0.25, 1.0]
PACKED = base64.b64encode(struct.pack("<3f", *VECTOR)).decode()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with rigged("chat", "responses", "embeddings", "images") as made:
        yield made


# embeddings


def embeddings(shown: Any) -> Script:
    """An upstream that answers in this form, whatever it is asked for."""
    data = [{"object": "embedding", "index": index, "embedding": shown} for index in range(2)]
    usage = {"prompt_tokens": 4, "total_tokens": 4}
    return Script.of_json({"object": "list", "model": UPSTREAM_MODEL, "data": data, "usage": usage})


@pytest.mark.parametrize("shown", [VECTOR, PACKED], ids=["upstream answers in floats", "upstream answers in base64"])
@pytest.mark.parametrize("asked", [None, "float", "base64"], ids=["by default", "as float", "as base64"])
async def test_embeddings_are_as_asked_for_whatever_the_upstream_gives(rig: Rig, asked: Any, shown: Any) -> None:
    rig.upstream.script(embeddings(shown))
    options: Any = {} if asked is None else {"encoding_format": asked}
    reply = await rig.client.embeddings.create(model=MODEL, input=[[1, 2], [3]], dimensions=3, **options)
    assert reply.model == MODEL
    assert reply.usage.prompt_tokens == 4
    expected = PACKED if asked == "base64" else VECTOR  # by default the SDK asks for base64 and unpacks it
    assert [item.embedding for item in reply.data] == [expected, expected]
    assert rig.upstream.requests[-1].json() == {
        "model": UPSTREAM_MODEL,
        "input": [[1, 2], [3]],
        "dimensions": 3,
        "encoding_format": asked or "base64",
    }


# images


def fields_of(request: ReceivedRequest) -> list[tuple[str, str | None, bytes]]:
    """The parts of a form: name, file name, content."""
    head = f"content-type: {request.headers['content-type']}\r\n\r\n".encode()
    form = email.message_from_bytes(head + request.body, policy=email.policy.HTTP)
    found = []
    for part in form.iter_parts() if isinstance(form, EmailMessage) else ():
        name = part["content-disposition"].params["name"]
        found.append((name, part.get_filename(), _content(request.body, name)))
    return found


def _content(body: bytes, name: str) -> bytes:
    """The bytes of a part, as they came: the email module would change line ends."""
    after = body.split(f'name="{name}"'.encode(), 1)[1].split(b"\r\n\r\n", 1)[1]
    return after[: after.index(b"\r\n" + body.split(b"\r\n", 1)[0])]


async def test_image_edit_is_passed_through_with_the_model_renamed(rig: Rig) -> None:
    rig.upstream.script(Script.of_json(IMAGES_REPLY))
    reply = await rig.client.images.edit(
        model=MODEL,
        image=("cat.png", PNG, "image/png"),
        mask=("mask.png", b"\x00\x01", "image/png"),
        prompt="a hat",
        n=1,
    )
    assert [image.b64_json for image in reply.data or []] == ["AAAA"]
    request = rig.upstream.requests[-1]
    assert request.path == "/v1/images/edits"
    assert request.headers["authorization"] == "Bearer sk-upstream"
    assert sorted(fields_of(request)) == [
        ("image", "cat.png", PNG),
        ("mask", "mask.png", b"\x00\x01"),
        ("model", None, UPSTREAM_MODEL.encode()),
        ("n", None, b"1"),
        ("prompt", None, b"a hat"),
    ]


async def test_image_edit_is_streamed(rig: Rig) -> None:
    events = [{**event, "type": event["type"].replace("generation", "edit")} for event in IMAGES_EVENTS]
    rig.upstream.script(Script.of_events(events, named=True, done=False))
    stream = await rig.client.images.edit(
        model=MODEL, image=[("a.png", PNG), ("b.png", PNG)], prompt="both", stream=True, partial_images=2
    )
    seen = [event async for event in stream]
    assert [event.type for event in seen] == [*["image_edit.partial_image"] * 2, "image_edit.completed"]
    assert [event.b64_json for event in seen] == ["AA", "AAA", "AAAA"]
    names = [(name, file) for name, file, _ in fields_of(rig.upstream.requests[-1])]
    assert [entry for entry in names if entry[1]] == [("image[]", "a.png"), ("image[]", "b.png")]


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # in the SDK; the API still has it
async def test_image_variation_is_passed_through(rig: Rig) -> None:
    rig.upstream.script(Script.of_json(IMAGES_REPLY))
    reply = await rig.client.images.create_variation(model=MODEL, image=("cat.png", PNG))
    assert [image.b64_json for image in reply.data or []] == ["AAAA"]
    assert rig.upstream.requests[-1].path == "/v1/images/variations"
    assert ("model", None, UPSTREAM_MODEL.encode()) in fields_of(rig.upstream.requests[-1])


async def test_image_generation_is_streamed(rig: Rig) -> None:
    rig.upstream.script(Script.of_events(IMAGES_EVENTS, named=True, done=False))
    stream = await rig.client.images.generate(model=MODEL, prompt="a cat", stream=True, partial_images=2)
    assert [(event.type, event.b64_json) async for event in stream] == [
        ("image_generation.partial_image", "AA"),
        ("image_generation.partial_image", "AAA"),
        ("image_generation.completed", "AAAA"),
    ]
    assert rig.upstream.requests[-1].json() == {
        "model": UPSTREAM_MODEL,
        "prompt": "a cat",
        "stream": True,
        "partial_images": 2,
    }


async def test_image_stream_that_fails_raises(rig: Rig) -> None:
    error = {"type": "error", "error": {"type": "server_error", "code": "overloaded", "message": "inner detail"}}
    rig.upstream.script(Script.of_events([IMAGES_EVENTS[0], error], named=True, done=False))
    stream = await rig.client.images.generate(model=MODEL, prompt="a cat", stream=True)
    seen, raised = await read_until_error(stream)
    assert seen == 1
    assert "Provider 'acme'" in raised.message
    assert raised.code == "overloaded"


# models


async def test_models_are_listed_and_retrieved(rig: Rig) -> None:
    listed = [model async for model in rig.client.models.list()]
    assert [(model.id, model.object, model.owned_by) for model in listed] == [(MODEL, "model", "aigateway")]
    again = await rig.client.models.retrieve(MODEL)
    assert again == listed[0]
    assert not rig.upstream.requests


# headers


@pytest.mark.parametrize("own", [False, True], ids=["the gateway's", "the caller's"])
async def test_request_id_is_read_by_the_sdk(rig: Rig, *, own: bool) -> None:
    rig.says(HELLO)
    headers = {"x-request-id": "mine-1"} if own else {}
    ids: list[str | None] = [
        (await rig.client.chat.completions.create(model=MODEL, messages=QUESTION, extra_headers=headers))._request_id,
        (await rig.client.responses.create(model=MODEL, input="a", extra_headers=headers))._request_id,
        (await rig.client.models.retrieve(MODEL, extra_headers=headers))._request_id,
    ]
    assert all(ids)
    assert (set(ids) == {"mine-1"}) is own
    assert own or len(set(ids)) == 3


async def test_raw_response_has_the_headers_and_the_parsed_answer(rig: Rig) -> None:
    rig.says(HELLO)
    raw = await rig.client.chat.completions.with_raw_response.create(model=MODEL, messages=QUESTION)
    assert raw.request_id == raw.headers["x-request-id"]
    assert raw.headers["content-type"] == "application/json"
    assert raw.parse().choices[0].message.content == "Hello"
    streamed = await rig.client.responses.with_raw_response.create(model=MODEL, input="a", stream=True)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.request_id
    assert [event.type async for event in streamed.parse()][-1] == "response.completed"


async def test_rate_limit_headers_of_the_upstream_are_shown(rig: Rig) -> None:
    shown = {"x-ratelimit-remaining-requests": "99", "openai-processing-ms": "5", "set-cookie": "a=b"}
    rig.upstream.script(Script.of_json(IMAGES_REPLY, headers=shown))
    raw = await rig.client.images.with_raw_response.generate(model=MODEL, prompt="a")
    assert {name: raw.headers.get(name) for name in shown} == {**shown, "set-cookie": None}


async def test_streaming_response_gives_the_lines_as_they_come(rig: Rig) -> None:
    rig.says(HELLO)
    async with rig.client.responses.with_streaming_response.create(model=MODEL, input="a", stream=True) as response:
        lines = [line async for line in response.iter_lines()]
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    assert (names[0], names[-1]) == ("response.created", "response.completed")
    assert [line for line in lines if line][-1] == "data: [DONE]"


async def test_synchronous_client_does_the_same(rig: Rig) -> None:
    rig.upstream.script(embeddings(VECTOR), Script.of_json(IMAGES_REPLY))

    def use(client: OpenAI) -> None:
        assert client.embeddings.create(model=MODEL, input=["a", "b"]).data[1].embedding == VECTOR
        edited = client.images.edit(model=MODEL, image=("cat.png", PNG), prompt="a hat")
        assert edited.data is not None
        assert edited.data[0].b64_json == "AAAA"
        assert [model.id for model in client.models.list()] == [MODEL]
        assert client.models.with_raw_response.list().headers["x-request-id"]

    await rig.in_thread(use)
    assert ("image", "cat.png", PNG) in fields_of(rig.upstream.requests[-1])
