"""What hooks change arrives, upstream and at the caller; what they leave alone stays as it came, byte for byte."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from aigateway import (
    Answer,
    Attempt,
    Call,
    Gateway,
    Hook,
    Provider,
    ProviderReply,
    ProviderRequest,
    ReplyLens,
    Secret,
    Target,
)
from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from aigateway.transport.protocol import HTTPRequest
from tests.answers import CHAT_REPLY, CHAT_REQUEST, TEXT, form, stream, whole
from tests.asking import ROWS, Row, key_of, post, through
from tests.sampling import spread
from tests.serving import served

ODD_BODIES = {
    "generate_content": b'{ "z_new":{"b":1e2} ,"contents":[{"role":"user","parts":[ {"text":"caf\\u00e9"}]}]}\n',
    "chat": b'{ "z_new" : {"b":1,"a":[1.0,2E1]},\n\t"model":"gpt", "messages":[{"role":"user","content":"h\\u00e9 /\\/"}],'
    b' "temperature":1e2 ,"n":1.50 }',
    "responses": b'{"input" : "h\\u00e9",  "z_new":[ {"b":1e2} ],"model": "gpt" ,"temperature":1.0}\n',
    "messages": b'{"max_tokens": 64 , "messages":[{"role":"user","content":"h\\u00e9 /\\/"}], "z_new":[ {"b":1e2} ],"model": "gpt" }',
    "completions": b'{ "z_new" : {"b":1,"a":[1.0,2E1]},\n\t"prompt":[ "h\\u00e9 /\\/","b" ],"model":"gpt", "temperature":1e2 ,"n":2 }',
    "embeddings": b'{"input":["a" , "\\u00e9"],"z_new": 1e2,\r\n"model":"gpt"}',
    "images": b'{"prompt":"\\u00e9","z_new":{ } , "model":"gpt","n":1E0}',
}
ODD_FORM = form({"z_new": " 1e2 ", "prompt": "h\u00e9", "model": "gpt"})
SAME = [row for row in ROWS if row.api == row.upstream]
UNARY = [row for row in ROWS if not row.stream]
WITH_USERS = [row for row in ROWS if "generate_content" not in (row.api, row.upstream)]
"""Where both sides know the field `user`."""
TOOL = {"name": "weather", "parameters": {"type": "object", "properties": {}}}


class Reader(Hook):
    """Looks at everything that there is to see, and changes nothing. It asks for no usage: it has no on_complete."""

    def before_request(self, call: Call) -> None:
        request = call.request
        assert request.model == "gpt"
        assert (request.instructions, request.tools) == ("", [])
        assert request.max_output_tokens == (64 if call.api == "messages" else None)
        assert request.texts()
        assert request.body
        request.map_texts(lambda text: text)

    def on_event(self, call: Call, event: Any) -> Any:
        assert event.type
        assert isinstance(event.text, str)
        assert event.usage is None or event.usage.total_tokens
        assert event.data
        return event

    def after_response(self, call: Call, reply: ReplyLens) -> None:
        assert reply.body
        reply.texts()


def odd(row: Row) -> Row:
    """The same with a body that no encoder would write."""
    raw = ODD_FORM if row.form else ODD_BODIES[row.api]
    if row.stream and row.form:
        raw = raw.replace(b'name="z_new"\r\n\r\n 1e2 ', b'name="stream"\r\n\r\ntrue')
    elif row.stream:
        raw = raw.replace(b'"model"', b'"stream" : true, "model"')
    return msgspec.structs.replace(row, raw=raw)


def answer_of(row: Row) -> Script:
    return stream(row.upstream) if row.stream else whole(row.upstream)


@pytest.mark.parametrize("hooks", [(), (Reader(),)], ids=["no-hook", "reader"])
@pytest.mark.parametrize("row", SAME, ids=lambda row: row.id)
async def test_a_body_that_nobody_edits_arrives_byte_for_byte(row: Row, hooks: tuple[object, ...]) -> None:
    row = odd(row)
    seen, request = await through(row, answer_of(row), *hooks)
    assert seen.status == 200
    assert request.body == row.raw
    assert request.headers["content-type"] == row.headers["content-type"]


@pytest.mark.parametrize("hooks", [(), (Reader(),)], ids=["no-hook", "reader"])
@pytest.mark.parametrize("row", [row for row in SAME if row.api != "generate_content"], ids=lambda row: row.id)
async def test_of_a_renamed_model_every_other_byte_stays(row: Row, hooks: tuple[object, ...]) -> None:
    row = odd(row)
    _, request = await through(row, answer_of(row), *hooks, model="up-model")
    name, renamed = (b"gpt\r\n", b"up-model\r\n") if row.form else (b'"gpt"', b'"up-model"')
    assert row.raw.count(name) == 1
    assert request.body == row.raw.replace(name, renamed)


ODD_REPLIES = {
    "generate_content": b'{"candidates":[{"content":{"parts":[{"text":"hi", "z_deep":1.0}]},"finishReason":"STOP"}],\n'
    b'"modelVersion" : "up-model", "z_new":1e2 }',
    "chat": b'{"z_new":{"b":1e2, "a":"\\u00e9"},\n "model" : "up-model","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"hi","z_deep":[1.0]},"finish_reason":"stop"}] }',
    "responses": b'{"object":"response" ,"z_new":1e2, "status":"completed","output":[{"type":"z_item","a":1.0}],\n'
    b'"model":"up-model"}',
    "completions": b'{"z_new":{"b":1e2, "a":"\\u00e9"},\n "model" : "up-model","choices":[{"index":0,"text":"hi","z_deep":[1.0],'
    b'"finish_reason":"stop"},{"index":1,"text":"ho","finish_reason":"length"}] }',
    "messages": b'{"z_new":1e2 ,"type":"message","content":[{"type":"z_block","a":1.0}],\n"model":"up-model", "stop_reason":null}',
    "embeddings": b'{"model":"up-model", "data":[{"embedding":[1e2,0.10], "z_new":1}] , "object":"list"}\n',
    "images": b'{"data":[ {"url":"http:\\/\\/x", "z_new":1e2} ]}',
}


@pytest.mark.parametrize("hooks", [(), (Reader(),)], ids=["no-hook", "reader"])
@pytest.mark.parametrize("row", [row for row in SAME if not row.stream], ids=lambda row: row.id)
async def test_a_reply_that_nobody_edits_comes_back_byte_for_byte(row: Row, hooks: tuple[object, ...]) -> None:
    raw = ODD_REPLIES[row.api]
    seen, _ = await through(row, Script(body=raw), *hooks)
    assert seen.body == raw.replace(b'"up-model"', b'"gpt"')
    assert seen.headers["content-type"] == "application/json"


ODD_STREAMS = {
    "chat": [
        b": a comment\n\n",
        b'data: {"model" : "up-model","z_new":1e2,"choices":[{"delta":{"role":"assistant"}, "index":0}]}\n\n',
        b'event: z_new\ndata: {"z_only":[1.0]}\n\n',
        b'id: 7\ndata:{"choices":[{"index":0,"delta":{"content":"\\u00e9"},"finish_reason":"stop"}],"model":"up-model"}\n\n',
        b"data: [DONE]\n\n",
    ],
    "completions": [
        b": a comment\n\n",
        b'data: {"model" : "up-model","z_new":1e2,"choices":[{"text":"h", "index":1,"finish_reason":null}]}\n\n',
        b'event: z_new\ndata: {"z_only":[1.0]}\n\n',
        b'id: 7\ndata:{"choices":[{"index":0,"text":"\\u00e9","finish_reason":"stop"}],"model":"up-model"}\n\n',
        b"data: [DONE]\n\n",
    ],
    "responses": [
        b'event: response.created\ndata: {"type":"response.created", "sequence_number":0,"response":{"model":"up-model"}}\n\n',
        b'event: response.z_new\ndata: {"type":"response.z_new","sequence_number":1,"a":[1.0, 2]}\n\n',
        b'event: response.completed\ndata: {"type":"response.completed", "response":{"model":"up-model","z_deep":1E0}}\n\n',
    ],
    "messages": [
        b'event: message_start\ndata: {"type":"message_start", "message":{"model":"up-model","z_deep":1E0}}\n\n',
        b'event: z_new\ndata: {"type":"z_new","a":[1.0, 2]}\n\n',
        b'event: message_stop\ndata: {"type":"message_stop"    }\n\n',
    ],
    "generate_content": [
        b'data: {"candidates":[{"index":0, "z_deep":1E0}],"modelVersion":"up-model"}\n\n',
        b'data:{"candidates": [],"z_new":[1.0, 2],"modelVersion":"up-model"}\n\n',
        b'data: {"candidates":[{"finishReason":"STOP","z":"A\\/A"}],"modelVersion":"up-model"}\n\n',
    ],
    "images": [
        b'event: image_generation.partial_image\ndata: {"type":"image_generation.partial_image", "z_new":1e2}\n\n',
        b'event: z_new\ndata: {"type" : "z_new"}\n\n',
        b'event: image_generation.completed\ndata: {"type":"image_generation.completed","b64_json":"A\\/A"}\n\n',
    ],
}


@pytest.mark.parametrize("row", [row for row in SAME if row.stream], ids=lambda row: row.id)
async def test_a_stream_that_nobody_watches_comes_back_byte_for_byte(row: Row) -> None:
    seen, _ = await through(row, stream(row.api, ODD_STREAMS[row.api], done=False))  # type: ignore[arg-type]  # raw pieces
    assert seen.body == b"".join(ODD_STREAMS[row.api]).replace(b'"up-model"', b'"gpt"')
    assert seen.headers["content-type"] == "text/event-stream"


@pytest.mark.parametrize("row", [row for row in SAME if row.stream], ids=lambda row: row.id)
async def test_events_that_a_hook_only_reads_keep_their_bytes(row: Row) -> None:
    seen, _ = await through(row, stream(row.api, ODD_STREAMS[row.api], done=False), Reader())  # type: ignore[arg-type]
    came = b"".join(ODD_STREAMS[row.api]).replace(b'"up-model"', b'"gpt"').replace(b"data:{", b"data: {")
    framing = (b": a comment\n\n", b"id: 7\n")  # what stands beside an event is not the event's
    for line in framing:
        came = came.replace(line, b"")
    assert seen.body == came


def tool_of(api: str) -> dict[str, Any]:
    """The tool as an API has it."""
    if api == "messages":
        return {"name": TOOL["name"], "input_schema": TOOL["parameters"]}
    return {"type": "function", "function": TOOL} if api == "chat" else {"type": "function", **TOOL}


class Editor(Hook):
    """Edits the request through the lens, as far as its API has what is edited."""

    def before_request(self, call: Call) -> None:
        request = call.request
        request.map_texts(str.upper)
        request.model = "other"
        if call.api == "generate_content":
            request.instructions, request.max_output_tokens = "Be brief.", 99
            request.tools = [{"functionDeclarations": [TOOL]}]
            assert (request.instructions, request.max_output_tokens) == ("Be brief.", 99)
        elif call.api in ("chat", "responses", "messages"):
            request.instructions = "Be brief."
            request.max_output_tokens = 99
            request.tools = [tool_of(call.api)]
            assert request.instructions == "Be brief."
            assert request.max_output_tokens == 99
        elif call.api == "completions":
            request.max_output_tokens = 99
            assert request.max_output_tokens == 99


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
async def test_edits_through_the_lens_reach_the_upstream(row: Row) -> None:
    seen, request = await through(row, answer_of(row), Editor())
    assert seen.status == 200
    if row.form:
        assert request.body == row.body.replace(b"the question", b"THE QUESTION").replace(b"gpt", b"other")
        return
    body = request.json()
    if row.upstream == "generate_content":
        assert request.path.startswith("/v1/models/other:")
        assert "THE QUESTION" in msgspec.json.encode(body["contents"]).decode()
        assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
        assert body["generationConfig"]["maxOutputTokens"] == 99
        return
    assert body["model"] == "other"
    if row.api == "completions":
        assert "THE QUESTION" in request.body.decode()
        assert 99 in (body.get("max_tokens"), body.get("max_output_tokens"))
    elif row.upstream == "chat":
        system, question = body["messages"]
        assert (system["role"], system["content"]) == ("system", "Be brief.")
        assert (question["role"], question["content"]) == ("user", "THE QUESTION")
        assert (body.get("max_completion_tokens") or body.get("max_tokens")) == 99
        assert body["tools"][0]["function"]["name"] == "weather"
    elif row.upstream == "responses":
        assert "THE QUESTION" in msgspec.json.encode(body["input"]).decode()
        assert body["max_output_tokens"] == 99
        assert body["tools"][0]["name"] == "weather"
        assert "Be brief." in msgspec.json.encode([body.get("instructions"), body["input"]]).decode()
    elif row.upstream == "messages":
        assert "THE QUESTION" in msgspec.json.encode(body["messages"]).decode()
        assert body["max_tokens"] == 99
        assert body["tools"][0]["name"] == "weather"
        assert "Be brief." in msgspec.json.encode(body["system"]).decode()
    else:
        assert body == msgspec.json.decode(row.body.replace(b"the question", b"THE QUESTION")) | {"model": "other"}


@pytest.mark.parametrize("row", UNARY, ids=lambda row: row.id)
async def test_the_reply_names_the_model_that_the_caller_asked_for(row: Row) -> None:
    seen, _ = await through(row, answer_of(row), Editor())
    assert seen.json().get("model", "gpt") == "gpt"


def user_for(row: Row, name: str) -> dict[str, Any]:
    """The field that names the user in the caller's API."""
    return {"metadata": {"user_id": name}} if row.api == "messages" else {"user": name}


def user_in(request: ReceivedRequest, row: Row) -> Any:
    """The user that the upstream was told of."""
    body = request.json()
    return body["metadata"]["user_id"] if row.upstream == "messages" else body["user"]


@pytest.mark.parametrize("row", WITH_USERS, ids=lambda row: row.id)
async def test_edits_of_the_raw_body_reach_the_upstream(row: Row) -> None:
    class RawEditor(Hook):
        def before_request(self, call: Call) -> None:
            call.request.body |= user_for(row, "somebody")

    _, request = await through(row, answer_of(row), RawEditor())
    if row.form:
        assert b'name="user"\r\n\r\nsomebody\r\n' in request.body
        assert request.body.replace(b"\x00\xff", b"") != request.body
    else:
        assert user_in(request, row) == "somebody"


@pytest.mark.parametrize("row", [row for row in WITH_USERS if not row.form], ids=lambda row: row.id)
async def test_a_body_put_in_place_of_the_callers_is_sent(row: Row) -> None:
    class Replacer(Hook):
        def before_request(self, call: Call) -> None:
            call.request.body = msgspec.json.decode(row.body) | user_for(row, "somebody else")

    _, request = await through(row, answer_of(row), Replacer())
    assert user_in(request, row) == "somebody else"


async def test_an_edit_that_breaks_the_body_is_answered_as_a_bad_request() -> None:
    class Breaker(Hook):
        def before_request(self, call: Call) -> None:
            del call.request.body["messages"]

    async with served(Gateway(models={"gpt": Provider("up", "http://127.0.0.1:9")}, hooks=[Breaker()])) as url:
        seen = await post(url, Row("chat", "chat"))
    assert seen.status == 400
    assert seen.json()["error"]["param"] == "messages"


@pytest.mark.parametrize("row", [row for row in UNARY if row.api != "embeddings"], ids=lambda row: row.id)
async def test_edits_of_a_reply_reach_the_caller(row: Row) -> None:
    class Shouter(Hook):
        def after_response(self, call: Call, reply: ReplyLens) -> None:
            assert reply.texts() == [TEXT]
            reply.map_texts(str.upper)
            reply.body["z_new"] = 1

    seen, _ = await through(row, answer_of(row), Shouter())
    assert TEXT.upper() in seen.body.decode()
    assert TEXT not in seen.body.decode()
    assert seen.json()["z_new"] == 1


async def test_a_reply_of_embeddings_can_be_edited() -> None:
    class Rounder(Hook):
        def after_response(self, call: Call, reply: ReplyLens) -> None:
            assert reply.texts() == []
            reply.body["data"][0]["embedding"] = [0, 0]

    seen, _ = await through(Row("embeddings", "embeddings"), whole("embeddings"), Rounder())
    assert seen.json()["data"][0]["embedding"] == [0, 0]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
async def test_before_attempt_sets_headers_key_and_body(row: Row) -> None:
    class Attempter(Hook):
        def before_attempt(self, call: Call, attempt: Attempt) -> None:
            attempt.headers["X-Team"] = "blue"
            attempt.headers["User-Agent"] = "mine"
            attempt.api_key = Secret("sk-of-the-tenant")
            attempt.body = attempt.body.replace(b"the question", b"another question")

    _, request = await through(row, answer_of(row), Attempter())
    assert request.headers["x-team"] == "blue"
    assert request.headers["user-agent"] == "mine"
    assert key_of(request.headers) == "sk-of-the-tenant"
    assert b"another question" in request.body


class Wire:
    """A transport that keeps what it was to send."""

    def __init__(self) -> None:
        self.sent: list[HTTPRequest] = []

    async def send(self, request: HTTPRequest) -> Answer:
        self.sent.append(request)
        return Answer(msgspec.json.encode(CHAT_REPLY))

    async def aclose(self) -> None:
        pass


class Kept(Provider):
    """A provider that keeps what it was asked."""

    asked: list[ProviderRequest]

    async def send(self, request: ProviderRequest) -> ProviderReply:
        self.asked = [request]
        return await super().send(request)


async def test_a_header_of_a_hook_takes_the_place_of_the_providers_whatever_its_case() -> None:
    class Attempter(Hook):
        def before_attempt(self, call: Call, attempt: Attempt) -> None:
            attempt.headers["Authorization"] = "Basic abc"
            attempt.headers["OpenAI-Beta"] = "mine"

    wire = Wire()
    provider = Kept("up", "http://127.0.0.1:9", "sk-own", transport=wire)
    async with Gateway(models={"gpt": provider}, hooks=[Attempter()]) as gateway:
        await gateway.chat(CHAT_REQUEST, headers={"OpenAI-Beta": "the caller's"})
    assert provider.asked[0].headers == {"authorization": "Basic abc", "openai-beta": "mine"}
    sent = [(name.lower(), value) for name, value in wire.sent[0].headers]
    assert len(sent) == len(dict(sent))
    assert dict(sent)["authorization"] == "Basic abc"
    assert dict(sent)["openai-beta"] == "mine"


def _reversed(targets: list[Target]) -> Any:
    return list(reversed(targets))


def _replaced(targets: list[Target]) -> Any:
    return [Target(targets[1].provider, "from-hook")]


def _reversed_in_place(targets: list[Target]) -> Any:
    targets.reverse()


def _dropped_in_place(targets: list[Target]) -> Any:
    del targets[0]


ROUTES = {
    "reorder": (_reversed, "second", "gpt"),
    "replace": (_replaced, "second", "from-hook"),
    "reorder-in-place": (_reversed_in_place, "second", "gpt"),
    "drop-in-place": (_dropped_in_place, "second", "gpt"),
    "leave": (lambda targets: None, "first", "gpt"),
}


@pytest.mark.parametrize(
    ("change", "goes_to", "model", "row"),
    [pytest.param(*route, row, id=f"{name}-{row.id}") for (name, route), row in spread(ROUTES.items(), ROWS, every=3)],
)
async def test_on_route_decides_where_a_call_goes(row: Row, change: Any, goes_to: str, model: str) -> None:
    class Router(Hook):
        def on_route(self, call: Call, targets: list[Target]) -> Any:
            return change(targets)

    async with ScriptedUpstream() as upstream:
        upstream.script(answer_of(row))
        key = {"first": "key-1", "second": "key-2"}
        providers = [Provider(name, upstream.base_url, key[name], apis={row.upstream}) for name in key]
        async with served(Gateway(models={"gpt": providers}, hooks=[Router()])) as url:
            for _ in range(2):  # what is changed in place is this call's alone
                assert (await post(url, row)).status == 200
    for request in upstream.requests:
        assert key_of(request.headers) == key[goes_to]
        assert model.encode() in request.path.encode() + request.body


async def test_with_every_target_dropped_the_call_fails() -> None:
    class Router(Hook):
        def on_route(self, call: Call, targets: list[Target]) -> Any:
            return []

    async with served(Gateway(models={"gpt": Provider("up", "http://127.0.0.1:9")}, hooks=[Router()])) as url:
        seen = await post(url, Row("chat", "chat"))
    assert (seen.status, seen.json()["error"]["code"]) == (500, "no_target")
