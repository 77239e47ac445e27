"""Operations that are passed through: every byte both ways, the model renamed, hooks, errors, and no other path."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from aigateway import Call, FunctionProvider, Gateway, PermissionDeniedError, Provider, Target, UpstreamError
from aigateway.intake import Limits
from aigateway.testing import Script, ScriptedUpstream
from tests.answers import form
from tests.passing import ASKED, FORM, KNOWN, House, Stages, house
from tests.serving import served

FILE = {"id": "file-1", "object": "file", "bytes": 3, "filename": "a.jsonl", "purpose": "batch"}
BINARY = bytes(range(256)) * 64


@pytest.fixture
async def place() -> AsyncIterator[House]:
    async with house() as made:
        yield made


# untouched


async def test_a_request_reaches_the_upstream_as_it_is(place: House) -> None:
    place.answers(Script.of_json({"object": "list", "data": []}, 200, {"x-ratelimit-limit-requests": "7"}))
    got = await place.ask("GET", "/files?purpose=batch&after=file%2D1&x=a%20b+c&order=", accept="application/json")
    assert got.status == 200
    assert got.json() == {"object": "list", "data": []}
    assert got.headers["x-ratelimit-limit-requests"] == "7"
    assert got.headers["x-request-id"].startswith("req_")
    assert (place.sent.method, place.sent.path) == ("GET", "/v1/files?purpose=batch&after=file%2D1&x=a%20b+c&order=")
    assert place.sent.headers["authorization"] == "Bearer sk-upstream-key"
    assert "content-type" not in place.sent.headers


async def test_a_body_that_nobody_reads_goes_on_byte_for_byte(place: House) -> None:
    place.answers(Script.of_json({"id": "batch-1", "object": "batch"}))
    body = b'{ "endpoint" : "/v1/responses", "new_field":[1.0, 1e3], "input_file_id":"file-1" }'
    got = await place.ask("POST", "/batches", body, content_type="application/json; charset=utf-8")
    assert got.status == 200
    assert place.sent.body == body
    assert place.sent.headers["content-type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_status_and_body_come_back_as_they_are(place: House, status: int) -> None:
    body = b'{ "id":"eval-1",\n "model": "gpt-other", "error": null }'
    place.answers(Script(status=status, body=body))
    got = await place.ask("POST", "/evals", {"name": "e"})
    assert (got.status, got.body, got.headers["content-type"]) == (status, body, "application/json")


async def test_an_answer_without_a_body_has_none(place: House) -> None:
    place.answers(Script(status=204, headers={}))
    got = await place.ask("DELETE", "/containers/cntr_1")
    assert (got.status, got.body) == (204, b"")
    assert (place.sent.method, place.sent.path) == ("DELETE", "/v1/containers/cntr_1")


async def test_ranges_and_conditions_go_both_ways(place: House) -> None:
    script = Script.of_bytes(
        b"bcd", "application/octet-stream", content_range="bytes 1-3/9", etag='"e"', content_disposition="attachment"
    )
    script.status = 206
    place.answers(script, Script(status=304, headers={"etag": '"e"'}))
    got = await place.ask("GET", "/files/file-1/content", range="bytes=1-3", if_range='"e"')
    assert (got.status, got.body) == (206, b"bcd")
    assert got.headers["content-range"] == "bytes 1-3/9"
    assert got.headers["content-disposition"] == "attachment"
    assert (place.sent.headers["range"], place.sent.headers["if-range"]) == ("bytes=1-3", '"e"')
    unchanged = await place.ask("GET", "/files/file-1/content", if_none_match='"e"')
    assert (unchanged.status, unchanged.body, unchanged.headers["etag"]) == (304, b"", '"e"')


async def test_a_failed_job_is_no_failed_call(place: House) -> None:
    job = {"id": "ftjob-1", "object": "fine_tuning.job", "status": "failed", "error": {"code": "x", "message": "m"}}
    place.answers(Script.of_json(job), Script.of_json({"error": {"message": "no"}}))
    assert (await place.ask("GET", "/fine_tuning/jobs/ftjob-1")).json() == job
    assert (await place.ask("GET", "/fine_tuning/jobs/ftjob-1")).status == 502


async def test_head_asks_for_no_bytes(place: House) -> None:
    place.answers(Script.of_bytes(BINARY, "application/pdf"))
    got = await place.ask("HEAD", "/files/file-1/content")
    assert (got.status, got.body, got.headers["content-length"]) == (200, b"", str(len(BINARY)))


# the model


async def test_the_model_is_renamed_in_json_and_in_the_reply(place: House) -> None:
    place.answers(Script.of_json({"id": "modr-1", "model": "text-moderation-9", "results": []}))
    got = await place.ask("POST", "/moderations", b'{"input":"x",  "model":"ours"}', content_type="application/json")
    assert place.sent.body == b'{"input":"x",  "model":"theirs-1"}'
    assert got.body == b'{"id":"modr-1","model":"ours","results":[]}'


async def test_the_model_is_renamed_in_a_form_and_no_file_is_touched(place: House) -> None:
    place.answers(Script.of_json({"text": "hello", "usage": {"type": "tokens", "input_tokens": 3, "output_tokens": 2}}))
    body = form({"model": ASKED, "language": "en"})
    got = await place.ask("POST", "/audio/transcriptions", body, content_type=FORM)
    assert got.json()["text"] == "hello"
    assert place.sent.body == body.replace(b"\r\n\r\nours\r\n", b"\r\n\r\ntheirs-1\r\n")
    assert place.sent.headers["content-type"] == FORM


async def test_a_nested_model_is_renamed(place: House) -> None:
    reply = {"value": "ek_1", "session": {"type": "realtime", "model": KNOWN}}
    place.answers(Script.of_json(reply))
    got = await place.ask("POST", "/realtime/client_secrets", {"session": {"type": "realtime", "model": ASKED}})
    assert place.sent.json() == {"session": {"type": "realtime", "model": KNOWN}}
    assert got.json() == {"value": "ek_1", "session": {"type": "realtime", "model": ASKED}}


async def test_a_model_inside_a_field_of_a_form_is_renamed(place: House) -> None:
    place.answers(Script.of_bytes(b"v=0\r\n", "application/sdp", location="/v1/realtime/calls/rtc_1"))
    body = form({"sdp": "v=0", "session": f'{{"type":"realtime","model":"{ASKED}"}}'})
    got = await place.ask("POST", "/realtime/calls", body, content_type=FORM)
    assert (got.body, got.headers["content-type"]) == (b"v=0\r\n", "application/sdp")
    assert got.headers["location"] == "/v1/realtime/calls/rtc_1"
    assert place.sent.body == body.replace(ASKED.encode(), KNOWN.encode())


async def test_a_model_in_the_query_is_renamed(place: House) -> None:
    place.answers(Script.of_json({"object": "list", "data": []}))
    await place.ask("GET", f"/chat/completions?limit=2&model={ASKED}&order=asc")
    assert place.sent.path == f"/v1/chat/completions?limit=2&model={KNOWN}&order=asc"
    place.answers(Script.of_bytes(b"v=0", "application/sdp"))
    await place.ask("POST", f"/realtime/calls?model={ASKED}", b"v=0", content_type="application/sdp")
    assert (place.sent.path, place.sent.body) == (f"/v1/realtime/calls?model={KNOWN}", b"v=0")


async def test_a_model_in_the_path_is_renamed(place: House) -> None:
    place.answers(Script.of_json({"id": KNOWN, "object": "model", "deleted": True}))
    assert (await place.ask("DELETE", f"/models/{ASKED}")).status == 200
    assert place.sent.path == f"/v1/models/{KNOWN}"
    missing = await place.ask("DELETE", "/models/nobody%2Fknows")
    assert (missing.status, missing.error["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [(b"{", None, "invalid_json"), (b"[]", None, "invalid_json"), (b'{"model":"nobody"}', "model", "model_not_found")],
)
async def test_a_body_whose_model_cannot_be_read_is_refused(place: House, body: bytes, param: Any, code: str) -> None:
    got = await place.ask("POST", "/audio/speech", body, content_type="application/json")
    assert (got.error["param"], got.error["code"]) == (param, code)
    assert place.upstream.requests == []


async def test_a_form_edit_of_images_may_be_json(place: House) -> None:
    place.answers(Script.of_json({"created": 1, "data": []}))
    got = await place.ask("POST", "/images/edits", {"model": ASKED, "prompt": "a hat", "images": [{"file_id": "f"}]})
    assert got.status == 200
    assert place.sent.json() == {"model": KNOWN, "prompt": "a hat", "images": [{"file_id": "f"}]}


# paths


PATHS = {
    "dots": "/files/..",
    "encoded dots": "/files/%2e%2e",
    "encoded slash": "/files/x%2fcontent",
    "climbing": "/files/..%2f..%2forganization%2fadmin_api_keys",
    "twice encoded": "/files/%252e%252e%252forganization",
    "backslash": "/files/..%5c..%5corganization",
    "line break": "/files/x%0d%0aHost:%20evil",
    "model climbing": "/models/a%2f..%2f..%2forganization",
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
async def test_no_path_climbs_out_of_its_operation(place: House, path: str) -> None:
    host, port = place.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(f"DELETE /v1{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        client.setblocking(False)
        head = await asyncio.get_running_loop().sock_recv(client, 65536)
    assert head.split()[1] in (b"400", b"404")
    assert place.upstream.requests == []


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/files/a%3Fb%23c", "/v1/files/a%3Fb%23c"),
        ("/files/n%C3%A4me", "/v1/files/n%C3%A4me"),
        ("/files/a:b@c;d,e", "/v1/files/a:b@c;d,e"),
        ("/files/http:%20evil.example", "/v1/files/http:%20evil.example"),
        ("/files/@evil.example", "/v1/files/@evil.example"),
        ("/vector_stores/vs/files/f?a=/../x&b=https://evil", "/v1/vector_stores/vs/files/f?a=/../x&b=https://evil"),
    ],
)
async def test_odd_parameters_stay_where_they_were(place: House, path: str, sent: str) -> None:
    place.answers(Script.of_json(FILE))
    assert (await place.ask("GET", path)).status == 200
    assert place.sent.path == sent
    assert place.sent.headers["host"] == place.upstream.base_url.split("/")[2]


def mounted(prefix: str, gateway: Gateway) -> Any:
    return Starlette(routes=[Mount(prefix, app=gateway)])


def without_raw_path(_: str, gateway: Gateway) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await gateway({key: value for key, value in scope.items() if key != "raw_path"}, receive, send)

    return app


@pytest.mark.parametrize(
    ("prefix", "within"),
    [("/ai", mounted), ("/a/b", mounted), ("", without_raw_path)],
    ids=["one", "two", "no raw_path"],
)
async def test_parameters_are_found_under_any_prefix(place: House, prefix: str, within: Any) -> None:
    place.answers(Script.of_json(FILE))
    async with served(within(prefix, place.gateway)) as url:
        place.url = url + prefix
        assert (await place.ask("GET", "/vector_stores/vs_1/files/file%3D1/content?x=1")).status == 200
        assert place.sent.path == "/v1/vector_stores/vs_1/files/file=1/content?x=1"
        await place.gateway.aclose()


# bytes


async def test_bytes_come_in_pieces_while_the_upstream_still_sends(place: House) -> None:
    more = asyncio.Event()
    place.answers(
        Script(headers={"content-type": "audio/mpeg"}, pieces=[b"\xff\xfb", b": not a comment"], hold_after=(1, more))
    )
    async with place.session.post(f"{place.url}/v1/audio/speech", json={"model": ASKED, "input": "hi"}) as response:
        assert response.headers["content-type"] == "audio/mpeg"
        assert await response.content.readany() == b"\xff\xfb"
        more.set()
        assert await response.content.read() == b": not a comment"
    assert place.sent.json() == {"model": KNOWN, "input": "hi"}


async def test_nothing_is_put_between_bytes_in_a_silence() -> None:
    async with house(limits=Limits(keepalive=0.05)) as place:
        script = Script(headers={"content-type": "audio/mpeg"}, pieces=[b"\x00" * 9, b"\x01" * 9], piece_delay=0.3)
        place.answers(script)
        got = await place.ask("POST", "/audio/speech", {"model": ASKED, "input": "hi"})
        assert got.body == b"\x00" * 9 + b"\x01" * 9


async def test_the_caller_leaving_a_download_closes_the_upstream() -> None:
    stages = Stages()
    async with house(stages) as place:
        never = asyncio.Event()
        place.answers(
            Script(headers={"content-type": "video/mp4"}, pieces=[BINARY, BINARY], hold_after=(1, never)),
        )
        async with place.session.get(f"{place.url}/v1/videos/video-1/content") as response:
            assert await response.content.readany()
            response.close()
        await asyncio.wait_for(place.upstream.left.wait(), 20)
        await asyncio.wait_for(stages.completed.wait(), 20)
    assert stages.calls[0].outcome == "abandoned"


@pytest.mark.parametrize("sized", [True, False], ids=["with a length", "chunked"])
async def test_a_download_that_breaks_off_does_not_end_well(sized: bool) -> None:
    stages = Stages()
    async with house(stages) as place:
        kind = {"content-type": "application/octet-stream"}
        script = Script(headers=kind, body=BINARY, fault="cut")
        place.answers(script if sized else Script(headers=kind, pieces=[BINARY], fault="cut"))
        with pytest.raises(aiohttp.ClientPayloadError):
            await place.ask("GET", "/files/file-1/content")
    call = stages.calls[0]
    assert (call.outcome, stages.seen.count("on_error"), stages.seen.count("on_complete")) == ("failed", 1, 1)


async def test_an_upstream_that_breaks_off_before_the_first_byte_is_a_502(place: House) -> None:
    place.answers(Script(headers={"content-type": "audio/mpeg"}, pieces=[], fault="cut"))
    got = await place.ask("POST", "/audio/speech", {"model": ASKED, "input": "hi"})
    assert (got.status, got.error["code"]) == (502, "upstream_connection_error")
    assert "acme" in got.error["message"]


# uploads


async def test_an_upload_goes_on_as_it_is(place: House) -> None:
    place.answers(Script.of_json(FILE))
    body = form({"purpose": "batch", "model": "not a model"})
    got = await place.ask("POST", "/files", body, content_type=FORM)
    assert got.json() == FILE
    assert (place.sent.body, place.sent.headers["content-type"]) == (body, FORM)


async def test_an_upload_without_a_length_goes_on(place: House) -> None:
    place.answers(Script.of_json(FILE))

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield BINARY

    async with place.session.post(
        f"{place.url}/v1/uploads/upload-1/parts", data=pieces(), headers={"content-type": FORM}
    ) as response:
        assert response.status == 200
    assert place.sent.body == BINARY * 40


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
async def test_an_upload_has_a_limit_of_its_own(announced: bool) -> None:
    async with house(limits=Limits(max_body=10, max_upload=50_000)) as place:
        place.answers(Script.of_json(FILE))

        async def pieces(count: int) -> AsyncIterator[bytes]:
            for _ in range(count):
                yield BINARY

        async def upload(count: int) -> int:
            data: Any = BINARY * count if announced else pieces(count)
            kind = {"content-type": FORM}
            async with place.session.post(f"{place.url}/v1/files", data=data, headers=kind) as response:
                return response.status

        assert await upload(2) == 200
        assert await upload(4) == 413


async def test_the_caller_leaving_an_upload_ends_the_call() -> None:
    stages = Stages()
    async with house(stages) as place:
        host, port = place.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nContent-Type: ")
        writer.write(FORM.encode() + b"\r\n\r\nhalf")
        await writer.drain()
        await asyncio.wait_for(stages.attempted.wait(), 20)
        writer.close()
        await asyncio.wait_for(stages.completed.wait(), 20)
    assert stages.calls[0].outcome == "abandoned"


async def test_an_upload_is_not_sent_twice() -> None:
    async with ScriptedUpstream() as first, ScriptedUpstream() as second:
        first.script(Script.of_json({"error": {"message": "busy"}}, 503))
        second.script(Script.of_json(FILE))
        one, two = (Provider(str(n), up.base_url, "none") for n, up in enumerate((first, second)))
        async with house(default_provider=one) as place:

            @place.gateway.hook.on_route
            def both(_: Call, targets: list[Target]) -> list[Target]:
                return [*targets, Target(two)]

            failed = await place.ask("POST", "/files", form({"purpose": "batch"}), content_type=FORM)
            assert failed.status == 502
            listed = await place.ask("GET", "/files")
            assert listed.json() == FILE
            await two.aclose()
        assert len(second.requests) == 1


@pytest.mark.parametrize(
    ("path", "body", "fails", "asked"),
    [
        ("/batches", {"endpoint": "/v1/responses"}, Script(status=500), 1),
        ("/batches", {"endpoint": "/v1/responses"}, Script(fault="reset"), 1),
        ("/batches", {"endpoint": "/v1/responses"}, Script(status=429), 2),
        ("/moderations", {"input": "x"}, Script(status=500), 2),
    ],
    ids=["might have been made", "broken off", "refused", "makes nothing"],
)
async def test_only_what_makes_nothing_twice_is_asked_again(path: str, body: Any, fails: Script, asked: int) -> None:
    async with house() as place:

        @place.gateway.hook.on_route
        def twice(_: Call, targets: list[Target]) -> list[Target]:
            return targets * 2

        place.answers(fails, Script.of_json({"id": "made"}))
        got = await place.ask("POST", path, body)
        assert got.status == (200 if asked == 2 else 502)
        assert len(place.upstream.requests) == asked


async def test_a_query_of_what_is_understood_goes_on_too(place: House) -> None:
    place.answers(Script.of_json({"id": "resp_1", "object": "response", "model": KNOWN, "output": []}))
    assert (await place.ask("POST", "/responses?beta=true", {"model": ASKED, "input": "x"})).status == 200
    assert place.sent.path == "/v1/responses?beta=true"


# events


DONE = {
    "type": "transcript.text.done",
    "text": "hello",
    "usage": {
        "type": "tokens",
        "input_tokens": 5,
        "input_token_details": {"text_tokens": 1, "audio_tokens": 4},
        "output_tokens": 2,
        "total_tokens": 7,
    },
}
DELTA = {"type": "transcript.text.delta", "delta": "hello"}


async def test_a_transcript_is_streamed_and_its_usage_counted() -> None:
    stages = Stages()
    async with house(stages) as place:
        place.answers(Script.of_events([DELTA, DONE], done=False))
        body = form({"model": ASKED, "stream": "true"})
        got = await place.ask("POST", "/audio/transcriptions", body, content_type=FORM)
        assert got.headers["content-type"] == "text/event-stream"
        assert got.body.count(b"data: ") == 2
        assert place.sent.headers["accept"] != "application/json"
    usage = stages.calls[0].usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.input_audio_tokens) == (5, 2, 4)
    assert (stages.calls[0].stream, stages.seen.count("on_event"), "after_response" in stages.seen) == (True, 2, False)


async def test_a_transcript_s_stream_that_was_cut_does_not_end_well(place: House) -> None:
    place.answers(Script.of_events([DELTA], done=False))
    body = form({"model": ASKED, "stream": "true"})
    got = await place.ask("POST", "/audio/transcriptions", body, content_type=FORM)
    assert b"event: error" in got.body
    assert b"upstream_protocol_error" in got.body


async def test_events_that_nobody_knows_pass_as_they_are(place: House) -> None:
    pieces = [b": hi\n\n", b"event: session.started\nid: 7\ndata: plain words\n\n", b'data: {"model":"any"}\n\n']
    place.answers(Script(headers={"content-type": "text/event-stream"}, pieces=pieces))
    got = await place.ask("GET", "/agents/sessions/s-1/events", accept="text/event-stream")
    assert got.body == b"".join(pieces)
    assert place.sent.headers["accept"] == "text/event-stream"


async def test_a_response_that_is_followed_is_not_counted_again() -> None:
    stages = Stages()
    events = [{"type": "response.completed", "sequence_number": 4, "response": {"usage": {"input_tokens": 3}}}]
    async with house(stages) as place:
        place.answers(Script.of_events(events, named=True, done=False))
        got = await place.ask("GET", "/responses/resp_1?stream=true&starting_after=3")
        assert b'"sequence_number":4' in got.body
        assert place.sent.path == "/v1/responses/resp_1?stream=true&starting_after=3"
    assert (stages.calls[0].usage, stages.calls[0].stream) == (None, True)


# hooks


ALL = ["authenticate", "before_request", "on_route", "before_attempt", "after_response", "on_complete"]
KINDS: dict[str, tuple[str, str, Any, Script]] = {
    "json": ("POST", "/moderations", {"model": ASKED, "input": "x"}, Script.of_json({"model": KNOWN})),
    "no model": ("GET", "/batches", None, Script.of_json({"object": "list"})),
    "bytes": ("POST", "/audio/speech", {"model": ASKED, "input": "x"}, Script.of_bytes(BINARY, "audio/wav")),
    "text": ("POST", "/audio/translations", form({"model": ASKED}), Script.of_bytes(b"1\n00:00", "text/plain")),
    "upload": ("POST", "/files", form({"purpose": "x"}), Script.of_json(FILE)),
}


@pytest.mark.parametrize(("method", "path", "body", "script"), KINDS.values(), ids=KINDS.keys())
async def test_every_stage_is_run_on_every_kind(method: str, path: str, body: Any, script: Script) -> None:
    stages = Stages()
    async with house(stages) as place:
        place.answers(script, Script.of_json({"error": {"message": "no", "code": "nope"}}, 429, {"retry-after": "3"}))
        kind = {"content_type": FORM} if isinstance(body, bytes) else {}
        got = await place.ask(method, path, body, **kind)
        assert (got.status, got.body) == (200, got.body)
        assert stages.seen == ALL
        stages.seen.clear()
        refused = await place.ask(method, path, body, **kind)
        assert (refused.status, refused.error["code"], refused.headers["retry-after"]) == (429, "nope", "3")
        assert stages.seen == [*ALL[:4], "on_error", "on_complete"]
    done, failed = stages.calls
    assert (done.outcome, done.tenant, done.operation.path) == ("completed", "team", path)
    assert (failed.outcome, failed.status, len(failed.attempts)) == ("failed", 429, 1)


async def test_hooks_edit_what_goes_and_what_comes() -> None:
    async with house() as place:

        @place.gateway.hook.before_request
        def shout(call: Call) -> None:
            call.request.map_texts(str.upper)
            call.query = "extra=1"

        @place.gateway.hook.before_attempt
        def tag(_: Call, attempt: Any) -> None:
            attempt.headers["OpenAI-Project"] = "proj_1"

        @place.gateway.hook.after_response
        def hide(_: Call, reply: Any) -> None:
            reply.map_texts(lambda text: text.replace("Jane", "***"))

        place.answers(
            Script.of_json({"text": "Jane said", "segments": [{"text": "Jane"}]}),
            Script.of_bytes("Jane sägt".encode(), "text/plain; charset=utf-8"),
            Script.of_bytes(b"\xff\x00", "audio/mpeg"),
        )
        body = form({"model": ASKED, "prompt": "a name"})
        whole = await place.ask("POST", "/audio/transcriptions", body, content_type=FORM)
        assert whole.json() == {"text": "*** said", "segments": [{"text": "***"}]}
        assert b"\r\n\r\nA NAME\r\n" in place.sent.body
        assert place.sent.path == "/v1/audio/transcriptions?extra=1"
        assert place.sent.headers["openai-project"] == "proj_1"
        plain = await place.ask("POST", "/audio/transcriptions", body, content_type=FORM)
        assert plain.body.decode() == "*** sägt"
        speech = await place.ask("POST", "/audio/speech", {"model": ASKED, "input": "say it"})
        assert (place.sent.json()["input"], speech.body) == ("SAY IT", b"\xff\x00")


async def test_a_hook_refuses_or_answers_by_what_it_reads_in_the_path() -> None:
    async with house() as place:

        @place.gateway.hook.before_request
        def guard(call: Call) -> Any:
            if call.operation.name == "files.delete":
                raise PermissionDeniedError(f"{call.parameters['file_id']} stays.")
            return {"id": call.parameters["file_id"]} if call.operation.name == "files.retrieve" else None

        refused = await place.ask("DELETE", "/files/file-7")
        assert (refused.status, refused.error["message"]) == (403, "file-7 stays.")
        assert (await place.ask("GET", "/files/file-8")).json() == {"id": "file-8"}
        assert place.upstream.requests == []


# who serves it


async def fault(place: House, method: str, path: str, body: Any = None) -> tuple[int, str, str]:
    got = await place.ask(method, path, body)
    return got.status, got.error["code"], got.error["message"]


async def test_a_path_that_no_provider_has_says_which_lack_it() -> None:
    chat = Provider("groq-like", "http://127.0.0.1:1", "none", apis={"chat"})
    async with served(Gateway(models={ASKED: chat})) as url, house() as place:
        place.url = url
        status, code, message = await fault(place, "GET", "/files")
        assert (status, code) == (404, "unsupported_api")
        assert "'files'" in message
        assert "'groq-like'" in message
        status, code, message = await fault(place, "POST", "/audio/speech", {"model": ASKED, "input": "x"})
        assert (status, code) == (404, "unsupported_api")
        assert "'audio'" in message
        status, code, _ = await fault(place, "GET", "/nothing/of/openai")
        assert (status, code) == (404, "not_found")


async def test_administration_is_asked_only_of_who_names_it(place: House) -> None:
    status, code, message = await fault(place, "GET", "/organization/admin_api_keys")
    assert (status, code) == (404, "unsupported_api")
    assert "administration" in message
    assert place.upstream.requests == []
    place.answers(Script.of_json({"object": "list"}))
    named = Provider("admin", place.upstream.base_url, "none", apis={"administration"})
    async with served(Gateway(providers=[named])) as url:
        place.url = url
        assert (await place.ask("GET", "/organization/admin_api_keys")).status == 200


async def test_of_several_providers_the_one_that_is_set_is_asked(place: House) -> None:
    async with ScriptedUpstream() as other:
        other.script(Script.of_json({"from": "other"}))
        place.answers(Script.of_json({"from": "acme"}))
        one, two = Provider("one", place.upstream.base_url, "none"), Provider("two", other.base_url, "none")
        async with served(Gateway(models={"a": one, "b": two})) as url:
            place.url = url
            status, code, message = await fault(place, "GET", "/files")
            assert (status, code) == (404, "no_default_provider")
            assert "one, two" in message
            assert "default_provider" in message
        async with served(Gateway(models={"a": one}, default_provider={"files": two, "*": one})) as url:
            place.url = url
            assert (await place.ask("GET", "/files")).json() == {"from": "other"}
            assert (await place.ask("GET", "/batches")).json() == {"from": "acme"}
        async with served(Gateway(models={"a": one, "b": two}, default_provider=two)) as url:
            place.url = url
            assert (await place.ask("GET", "/batches")).json() == {"from": "other"}


async def test_a_provider_in_process_is_asked_only_for_what_it_generates(place: House) -> None:
    local = FunctionProvider("local", lambda body: {"results": [body["input"]]}, apis={"chat", "moderations"})
    async with served(Gateway(models={ASKED: local}, state=None)) as url:
        place.url = url
        assert (await fault(place, "GET", "/chat/completions/c-1"))[:2] == (404, "unsupported_api")
        judged = await place.ask("POST", "/moderations", {"model": ASKED, "input": "x"})
        assert judged.json() == {"results": ["x"]}


@pytest.mark.parametrize("path", ["/files", "/files/file-1/content", "/audio/speech", "/batches"])
async def test_nothing_is_passed_on_without_a_key(path: str) -> None:
    async with house() as place:
        place.gateway.add_hook(_Keys())
        got = await place.ask("GET" if path != "/audio/speech" else "POST", path)
        assert (got.status, got.error["code"]) == (401, "invalid_api_key")
        assert place.upstream.requests == []


class _Keys:
    def authenticate(self, call: Call, key: str | None) -> None:
        """Nobody is known."""


async def test_an_upstream_s_fault_shows_nothing_of_it(place: House) -> None:
    place.answers(Script.of_bytes(b"<html>secret</html>", "text/html"), Script(status=500, body=b"secret"))
    for _ in range(2):
        got = await place.ask("GET", "/vector_stores")
        assert got.status == 502
        assert b"secret" not in got.body


async def test_usage_of_an_assistant_s_run_is_counted() -> None:
    stages = Stages()
    async with house(stages) as place:
        run = {"id": "run_1", "object": "thread.run", "model": KNOWN}
        usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
        events = [
            b"event: thread.run.created\n" + Script.of_events([run], done=False).pieces[0],  # type: ignore[index]
            b"event: thread.run.completed\n" + Script.of_events([run | {"usage": usage}], done=False).pieces[0],  # type: ignore[index]
        ]
        place.answers(Script.of_events(events))
        got = await place.ask("POST", "/threads/t_1/runs", {"assistant_id": "a", "model": ASKED, "stream": True})
        assert got.body.count(b'"model":"ours"') == 2
    counted = stages.calls[0].usage
    assert counted is not None
    assert (counted.input_tokens, counted.output_tokens) == (9, 4)


# in process


async def test_any_operation_is_asked_in_process(place: House) -> None:
    place.answers(
        Script.of_json(FILE),
        Script(headers={"content-type": "application/pdf"}, pieces=[BINARY, BINARY]),
        Script.of_json({"object": "list", "data": []}),
        Script.of_json({"error": {"message": "gone", "code": "gone"}}, 404),
        Script(headers={"content-type": "application/pdf"}, body=BINARY, fault="cut"),
    )
    gateway = place.gateway
    made = await gateway.request("files.create", form({"purpose": "x"}), headers={"Content-Type": FORM})
    assert (made.status, await made.json()) == (200, FILE)
    assert place.sent.body == form({"purpose": "x"})
    read = await gateway.request("files.content", parameters={"file_id": "file 1"})
    assert place.sent.path == "/v1/files/file%201/content"
    assert b"".join([piece async for piece in read]) == BINARY * 2
    assert read.headers["content-type"] == "application/pdf"
    await (await gateway.request("files.list", query={"limit": "2", "after": "a&b"})).aclose()
    assert place.sent.path == "/v1/files?limit=2&after=a%26b"
    with pytest.raises(UpstreamError, match="gone"):
        await gateway.request("files.retrieve", parameters={"file_id": "f"})
    broken = await gateway.request("files.content", parameters={"file_id": "f"})
    with pytest.raises(UpstreamError, match="broke off"):
        await broken.read()
    place.answers(Script.of_json({"id": "modr-1", "model": "m", "results": []}))
    judged = await gateway.request("moderations", {"model": ASKED, "input": "x"})
    assert (await judged.json())["model"] == ASKED


@pytest.mark.parametrize("operation", ["models", "files", "unknown"])
async def test_what_is_no_operation_of_a_provider_is_a_key_error(place: House, operation: str) -> None:
    with pytest.raises(KeyError):
        await place.gateway.request(operation)
