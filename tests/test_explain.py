"""What would become of a request: as it then becomes, and nothing is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aigateway import (
    Attempt,
    Breaker,
    Call,
    FunctionProvider,
    Gateway,
    Hook,
    InvalidRequestError,
    Models,
    Provider,
    Target,
    UpstreamError,
)
from aigateway.hooks import APIKeyAuthenticator
from aigateway.providers.azure import AzureProvider
from aigateway.testing import Script, ScriptedUpstream
from tests.answers import REQUESTS, whole
from tests.answers import stream as stream_of
from tests.asking import Row, post
from tests.serving import served
from tests.test_cli import run

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


class Shaping(Hook):
    """Edits at every stage before sending; counts what must not run."""

    def __init__(self) -> None:
        self.completed = 0

    def before_request(self, call: Call) -> None:
        call.request.body["seed"] = 1

    def before_attempt(self, call: Call, attempt: Attempt) -> None:
        attempt.headers["X-Trace"] = "secret-value"

    def on_complete(self, call: Call) -> None:
        self.completed += 1


@pytest.mark.parametrize("operation", ["chat", "responses"])
async def test_it_says_the_bytes_that_are_then_sent(operation: str) -> None:
    body: dict[str, Any] = CHAT if operation == "chat" else {"model": "m", "input": "Hi", "truncation": "auto"}
    hook = Shaping()
    async with ScriptedUpstream() as upstream:
        target = Target(Provider("up", upstream.base_url, "sk-upstream-key", apis=["chat"]), "there")
        async with Gateway(models={"m": target}, hooks=[hook]) as gateway:
            explained = await gateway.explain(operation, body)
            assert (hook.completed, upstream.requests) == (0, [])
            upstream.script(whole("chat"))
            await getattr(gateway, operation)(body)
        (planned,) = explained.targets
        assert planned.body.encode() == upstream.requests[0].body
        assert planned.url == f"{upstream.base_url}/chat/completions"
    assert (planned.provider, planned.model, planned.api) == ("up", "there", "chat")
    assert planned.mode == ("observe" if operation == "chat" else "translate")
    assert planned.changes == ([] if operation == "chat" else ["dropped:truncation"])
    assert planned.headers == ["x-trace"]
    assert list(explained.hooks) == ["before_request", "before_attempt", "on_complete"]
    text = explained.text()
    assert "secret-value" not in text
    assert "sk-upstream-key" not in text


@pytest.mark.parametrize("stage", ["", "on_complete", "on_event", "after_response"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("upstream_api", ["chat", "responses", "messages", "generate_content"])
async def test_in_every_mode_it_says_the_place_and_the_bytes(upstream_api: str, stream: bool, stage: str) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.answer_with(lambda request: (stream_of if stream else whole)(upstream_api))
        provider = Provider("up", upstream.base_url, "k", apis=[upstream_api])
        gateway = Gateway(models={"gpt": Target(provider, "there")})
        if stage:
            getattr(gateway.hook, stage)(lambda *_: None)
        modes = set()
        async with served(gateway) as url:
            for api in ("chat", "completions", "responses", "messages", "generate_content"):
                row = Row(api, upstream_api, stream=stream)
                operation = "generate_content.stream" if api == "generate_content" and stream else api
                explained = await gateway.explain(operation, REQUESTS[api] | ({"stream": True} if stream else {}))
                assert not explained.error
                assert (await post(url, row)).status == 200
                sent, [planned] = upstream.requests[-1], explained.targets
                modes.add(planned.mode)
                assert (planned.body.encode(), planned.url) == (
                    sent.body,
                    upstream.base_url.removesuffix("/v1") + sent.path,
                )
        relayed = {"": "relay", "on_complete": "observe"}.get(stage) or (
            "edit" if stream is (stage == "on_event") else "relay"
        )
        assert modes == {"translate", relayed}


@pytest.mark.parametrize(
    ("stage", "stream", "mode"),
    [
        (None, False, "relay"),
        ("on_complete", True, "observe"),
        ("after_response", False, "edit"),
        ("after_response", True, "relay"),
        ("on_event", True, "edit"),
        ("on_event", False, "relay"),
    ],
)
async def test_the_mode_follows_from_who_looks(stage: str | None, stream: bool, mode: str) -> None:
    gateway = Gateway(models={"m": Provider("up", "http://up.test")})
    if stage is not None:
        getattr(gateway.hook, stage)(lambda *_: None)
    explained = await gateway.explain("chat", {**CHAT, "stream": stream})
    assert (explained.stream, explained.targets[0].mode) == (stream, mode)


async def test_every_target_stands_in_order_with_what_it_lacks() -> None:
    targets = [Provider("chats", "http://a.test", apis=["chat"]), Provider("all", "http://b.test")]
    models = Models({"m-*": [Target(one) for one in targets]})
    explained = await Gateway(models=models).explain("responses", {"model": "m-1", "input": "Hi", "background": True})
    assert explained.route == "m-*"
    first, second = explained.targets
    assert first.error.startswith("400 unsupported_parameter: ")
    assert (second.error, second.mode) == ("", "relay")
    assert explained.refused
    assert "  refused  400 unsupported_parameter" in explained.text()


@pytest.mark.parametrize(
    ("balance", "first", "second"),
    [("round_robin", "abc", "bca"), ("weighted", "bac", "bac"), ("ordered", "abc", "abc")],
)
async def test_the_order_is_that_in_which_the_next_call_tries_them(balance: Any, first: str, second: str) -> None:
    weights = {"a": 1.0, "b": 2.0, "c": 0.0}
    models = Models()
    targets = [Target(FunctionProvider(name, lambda body: "ok"), weight=weight) for name, weight in weights.items()]
    models.register("m", targets, balance=balance)
    gateway = Gateway(models=models)

    async def order() -> str:
        explained = await gateway.explain("chat", CHAT)
        assert explained.balance == ("" if balance == "ordered" else balance)
        assert (f"balance    {balance}" in explained.text()) is (balance != "ordered")
        return "".join(target.provider for target in explained.targets)

    assert (await order(), await order()) == (first, first)  # who only asks takes no turn
    await gateway.chat(CHAT)
    assert await order() == second


@pytest.mark.parametrize("upstream_api", ["chat", "responses"])
async def test_it_says_what_the_host_s_own_form_makes_of_it(upstream_api: str) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.script(whole(upstream_api))
        address = f"http://127.0.0.1:{upstream.port}"
        provider = AzureProvider("azure", address, "k", api_version="2025-04-01-preview", apis=[upstream_api])
        async with Gateway(models={"m": Target(provider, "my deployment")}) as gateway:
            explained = await gateway.explain("chat", CHAT)
            await gateway.chat(CHAT)
        [planned], [sent] = explained.targets, upstream.requests
        assert (planned.body.encode(), planned.url) == (sent.body, address + sent.path)


async def test_an_open_circuit_shows() -> None:
    async with ScriptedUpstream() as upstream:
        upstream.script(Script.of_json({"error": {"message": "no"}}, 500))
        breaker = Breaker(min_requests=1)
        gateway = Gateway(models={"m": Provider("up", upstream.base_url, "k", apis=["chat"], breaker=breaker)})
        async with gateway:
            assert (await gateway.explain("chat", CHAT)).targets[0].circuit == ""
            assert gateway.traffic.state() == []  # nothing was sent
            with pytest.raises(UpstreamError):
                await gateway.chat(CHAT)
            explained = await gateway.explain("chat", CHAT)
    assert (explained.targets[0].circuit, explained.refused) == ("open", False)
    assert "circuit  open: it is passed over" in explained.text()


async def test_the_caller_s_headers_that_go_on_are_named() -> None:
    gateway = Gateway(models={"m": Provider("up", "http://up.test")})
    headers = {"Traceparent": "00-1", "Cookie": "c", "Authorization": "Bearer k", "Idempotency-Key": "i"}
    explained = await gateway.explain("chat", CHAT, headers=headers)
    assert explained.targets[0].headers == ["idempotency-key", "traceparent"]


async def test_what_is_refused_says_why() -> None:
    gateway = Gateway(models={"m": Provider("up", "http://up.test")}, hooks=[APIKeyAuthenticator({"sk-a": "team"})])
    assert (await gateway.explain("chat", CHAT)).error.startswith("401 invalid_api_key: ")
    known = await gateway.explain("chat", CHAT, api_key="sk-a")
    assert (known.tenant, known.refused, known.route) == ("team", False, "m")
    unknown = await gateway.explain("chat", {**CHAT, "model": "x"}, api_key="sk-a")
    assert unknown.error.startswith("404 model_not_found: ")
    bad = await gateway.explain("chat", {"model": "m"}, api_key="sk-a")
    assert bad.error.startswith("400 missing_required_parameter: ")


async def test_a_hook_that_answers_or_refuses_is_told() -> None:
    gateway = Gateway(models={"m": Provider("up", "http://up.test")})
    answers = ["made here"]

    @gateway.hook.before_request
    def answer(call: Call) -> str:
        if not answers:
            raise InvalidRequestError("not so", code="no")
        return answers.pop()

    first, second = await gateway.explain("chat", CHAT), await gateway.explain("chat", CHAT)
    assert (first.answer, first.targets, first.refused) == (True, [], False)
    assert "by a hook" in first.text()
    assert second.error == "400 no: not so"


# the command


def write(folder: Path) -> None:
    (folder / "gateway.yaml").write_text(
        "providers: {up: {base_url: 'http://127.0.0.1:9', api_key: sk-upstream-key, apis: [chat]}}\nmodels: {m: up}\n"
    )
    (folder / "request.json").write_text(json.dumps({"model": "m", "input": "Hi"}))


def test_the_command_explains_a_file(tmp_path: Path) -> None:
    write(tmp_path)
    done = run(tmp_path, "explain", "--api", "responses", "request.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "mode     translate (chat)" in done.stdout
    assert "sk-upstream-key" not in done.stdout
    done = run(tmp_path, "explain", "--api", "responses", "--json", "request.json")
    assert json.loads(done.stdout)["targets"][0]["url"] == "http://127.0.0.1:9/v1/chat/completions"


def test_the_command_exits_with_1_where_it_is_refused_and_2_where_it_cannot_tell(tmp_path: Path) -> None:
    write(tmp_path)
    done = run(tmp_path, "explain", "request.json")  # messages are missing
    assert (done.returncode, "refused    400" in done.stdout) == (1, True)
    done = run(tmp_path, "explain", "--api", "telepathy", "request.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "telepathy is none of" in done.stderr
    (tmp_path / "request.json").write_text("[]")
    done = run(tmp_path, "explain", "request.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "must be a JSON object" in done.stderr
