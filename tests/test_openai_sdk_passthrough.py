"""Audio, files, uploads, batches and the like by the official SDK."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from aigateway.testing import Script
from tests.passing import ASKED, KNOWN, House, house

Object = dict[str, Any]
PAGE = {"object": "list", "has_more": False, "first_id": None, "last_id": None}


@pytest.fixture
async def place() -> AsyncIterator[House]:
    async with house() as made:
        yield made


def sound() -> bytes:
    """A real WAV file with a tone in it."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(b"\x00\x10\r\n--" * 2000)
    return file.getvalue()


# audio


async def test_speech_is_bytes_whole_and_streamed(place: House) -> None:
    audio = sound()
    place.answers(Script(headers={"content-type": "audio/wav"}, pieces=[audio[:100], audio[100:]]))
    whole = await place.client.audio.speech.create(model=ASKED, voice="alloy", input="Hi", response_format="wav")
    assert whole.content == audio
    assert place.sent.json() == {"model": KNOWN, "voice": "alloy", "input": "Hi", "response_format": "wav"}
    assert place.sent.headers["accept"] == "application/octet-stream"
    async with place.client.audio.speech.with_streaming_response.create(
        model=ASKED, voice="alloy", input="Hi"
    ) as streamed:
        assert streamed.headers["content-type"] == "audio/wav"
        assert b"".join([piece async for piece in streamed.iter_bytes()]) == audio


async def test_speech_as_events(place: House) -> None:
    usage = {"input_tokens": 2, "output_tokens": 8, "total_tokens": 10}
    events = [{"type": "speech.audio.delta", "audio": "AAA="}, {"type": "speech.audio.done", "usage": usage}]
    place.answers(Script.of_events(events, done=False))
    async with place.client.audio.speech.with_streaming_response.create(
        model=ASKED, voice="alloy", input="Hi", stream_format="sse"
    ) as response:
        lines = [line async for line in response.iter_lines() if line]
    assert [json.loads(line.removeprefix("data: ")) for line in lines] == events


async def test_a_transcription(place: House) -> None:
    place.answers(Script.of_json({"text": "Hi", "usage": {"type": "duration", "seconds": 2}}))
    audio = sound()
    said = await place.client.audio.transcriptions.create(model=ASKED, file=("a.wav", audio), language="en")
    assert said.text == "Hi"
    assert audio in place.sent.body
    assert KNOWN.encode() in place.sent.body
    assert ASKED.encode() not in place.sent.body.replace(audio, b"")


async def test_a_transcription_as_text(place: House) -> None:
    srt = "1\n00:00:00,000 --> 00:00:02,000\nGrüß dich\n"
    place.answers(Script.of_bytes(srt.encode(), "text/plain; charset=utf-8"))
    said = await place.client.audio.transcriptions.create(model=ASKED, file=("a.wav", sound()), response_format="srt")
    assert said == srt


async def test_a_transcription_as_events(place: House) -> None:
    usage = {"type": "tokens", "input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
    events: list[Object] = [
        {"type": "transcript.text.delta", "delta": "Hi "},
        {"type": "transcript.text.delta", "delta": "there"},
        {"type": "transcript.text.done", "text": "Hi there", "usage": usage},
    ]
    place.answers(Script.of_events(events, done=False))
    stream = await place.client.audio.transcriptions.create(model=ASKED, file=("a.wav", sound()), stream=True)
    seen = [event async for event in stream]
    assert [event.type for event in seen] == [event["type"] for event in events]
    assert b'name="stream"' in place.sent.body


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
async def test_a_translation(place: House) -> None:
    place.answers(Script.of_json({"text": "Hello"}))
    said = await place.client.audio.translations.create(model=ASKED, file=("a.wav", sound()))
    assert said.text == "Hello"
    assert place.sent.path == "/v1/audio/translations"


async def test_moderations_with_and_without_a_model(place: House) -> None:
    place.answers(Script.of_json({"id": "modr-1", "model": "omni-moderation-9", "results": []}))
    judged = await place.client.moderations.create(model=ASKED, input=["a", "b"])
    assert (judged.model, place.sent.json()["model"]) == (ASKED, KNOWN)
    judged = await place.client.moderations.create(input="a")
    assert (judged.model, place.sent.json()) == ("omni-moderation-9", {"input": "a"})


# files


FILE: Object = {
    "id": "file-1",
    "object": "file",
    "bytes": 4,
    "created_at": 1,
    "filename": "a.jsonl",
    "purpose": "batch",
    "status": "processed",
}


async def test_files_are_uploaded_listed_read_and_deleted(place: House) -> None:
    content = b'{"custom_id":"1"}\r\n' * 30_000
    place.answers(
        Script.of_json(FILE),
        Script.of_json(PAGE | {"data": [FILE]}),
        Script.of_json(FILE),
        Script.of_bytes(content, "application/octet-stream", content_disposition='attachment; filename="a.jsonl"'),
        Script.of_json({"id": "file-1", "object": "file", "deleted": True}),
    )
    files = place.client.files
    assert (await files.create(file=("a.jsonl", content), purpose="batch")).id == "file-1"
    assert content in place.sent.body
    assert [file.id async for file in await files.list(purpose="batch", limit=2)] == ["file-1"]
    assert place.sent.path == "/v1/files?limit=2&purpose=batch"
    assert (await files.retrieve("file-1")).filename == "a.jsonl"
    read = await files.content("file-1")
    assert read.content == content
    assert read.response.headers["content-disposition"] == 'attachment; filename="a.jsonl"'
    assert read.response.headers["content-length"] == str(len(content))
    assert (await files.delete("file-1")).deleted
    assert (place.sent.method, place.sent.path) == ("DELETE", "/v1/files/file-1")


async def test_an_upload_in_parts(place: House) -> None:
    upload: Object = {"id": "upload_1", "object": "upload", "bytes": 8, "created_at": 1, "expires_at": 2}
    upload |= {"filename": "a", "purpose": "batch", "status": "pending"}
    part = {"id": "part_1", "object": "upload.part", "created_at": 1, "upload_id": "upload_1"}
    place.answers(
        Script.of_json(upload),
        Script.of_json(part),
        Script.of_json(part | {"id": "part_2"}),
        Script.of_json(upload | {"status": "completed", "file": FILE}),
    )
    done = await place.client.uploads.upload_file_chunked(
        file=b"12345678", filename="a", bytes=8, mime_type="text/plain", purpose="batch", part_size=4
    )
    assert done.status == "completed"
    assert [request.path for request in place.upstream.requests] == [
        "/v1/uploads",
        "/v1/uploads/upload_1/parts",
        "/v1/uploads/upload_1/parts",
        "/v1/uploads/upload_1/complete",
    ]
    assert place.sent.json() == {"part_ids": ["part_1", "part_2"]}


# what runs for long


async def test_batches(place: House) -> None:
    batch: Object = {"id": "batch_1", "object": "batch", "status": "validating", "endpoint": "/v1/responses"}
    batch |= {"input_file_id": "file-1", "completion_window": "24h", "created_at": 1}
    place.answers(
        Script.of_json(batch), Script.of_json(batch), Script.of_json(batch), Script.of_json(PAGE | {"data": [batch]})
    )
    batches = place.client.batches
    made = await batches.create(input_file_id="file-1", endpoint="/v1/responses", completion_window="24h")
    assert made.id == "batch_1"
    assert (await batches.retrieve("batch_1")).status == "validating"
    assert (await batches.cancel("batch_1")).id == "batch_1"
    assert place.sent.path == "/v1/batches/batch_1/cancel"
    assert [one.id async for one in await batches.list()] == ["batch_1"]


async def test_vector_stores(place: House) -> None:
    counts = {"in_progress": 0, "completed": 1, "failed": 0, "cancelled": 0, "total": 1}
    store: Object = {"id": "vs_1", "object": "vector_store", "created_at": 1, "name": "s", "status": "completed"}
    store |= {"file_counts": counts, "usage_bytes": 4, "last_active_at": 1, "metadata": {}}
    hit = {"file_id": "file-1", "filename": "a", "score": 0.9, "attributes": {}, "content": []}
    place.answers(
        Script.of_json(store),
        Script.of_json({"object": "vector_store.search_results.page", "data": [hit], "has_more": False}),
        Script.of_json({"id": "vs_1", "object": "vector_store.deleted", "deleted": True}),
    )
    stores = place.client.vector_stores
    assert (await stores.create(name="s", file_ids=["file-1"])).file_counts.completed == 1
    assert place.sent.headers["openai-beta"] == "assistants=v2"
    assert [found.score async for found in stores.search("vs_1", query="q")] == [0.9]
    assert (place.sent.method, place.sent.path) == ("POST", "/v1/vector_stores/vs_1/search")
    assert (await stores.delete("vs_1")).deleted


async def test_fine_tuning_names_its_model_as_the_caller_does(place: House) -> None:
    job: Object = {"id": "ftjob-1", "object": "fine_tuning.job", "created_at": 1, "model": KNOWN, "seed": 1}
    job |= {"hyperparameters": {}, "organization_id": "o", "result_files": [], "status": "queued"}
    job |= {"training_file": "file-1", "trained_tokens": None, "validation_file": None, "error": None}
    job |= {"fine_tuned_model": None, "finished_at": None}
    place.answers(Script.of_json(job), Script.of_json(PAGE | {"data": [job]}), Script.of_json(job))
    jobs = place.client.fine_tuning.jobs
    made = await jobs.create(model=ASKED, training_file="file-1")
    assert (made.model, place.sent.json()["model"]) == (ASKED, KNOWN)
    assert [one.id async for one in await jobs.list(limit=1)] == ["ftjob-1"]
    assert (await jobs.cancel("ftjob-1")).id == "ftjob-1"


async def test_a_model_is_deleted_where_its_name_goes(place: House) -> None:
    place.answers(Script.of_json({"id": KNOWN, "object": "model", "deleted": True}))
    assert (await place.client.models.delete(ASKED)).deleted
    assert (place.sent.method, place.sent.path) == ("DELETE", f"/v1/models/{KNOWN}")


async def test_stored_completions_and_responses_are_read_where_they_were_kept(place: House) -> None:
    completion: Object = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": KNOWN, "choices": []}
    place.answers(
        Script.of_json(completion),
        Script.of_json({"id": "chatcmpl-1", "object": "chat.completion.deleted", "deleted": True}),
        Script.of_json({"object": "response.input_tokens", "input_tokens": 12}),
        Script.of_json(PAGE | {"data": []}),
    )
    assert (await place.client.chat.completions.retrieve("chatcmpl-1")).id == "chatcmpl-1"
    assert (await place.client.chat.completions.delete("chatcmpl-1")).deleted
    assert (await place.client.responses.input_tokens.count(model=ASKED, input="hi")).input_tokens == 12
    assert place.sent.json() == {"model": KNOWN, "input": "hi"}
    assert [item async for item in place.client.responses.input_items.list("resp_1")] == []


async def test_an_upstream_s_error_is_the_sdk_s_own(place: House) -> None:
    error = {"message": "No such File object: file-9", "type": "invalid_request_error", "param": "id", "code": None}
    place.answers(Script.of_json({"error": error}, 404))
    with pytest.raises(openai.NotFoundError) as caught:
        await place.client.files.content("file-9")
    assert (caught.value.param, caught.value.type) == ("id", "invalid_request_error")
    assert "file-9" in caught.value.message
