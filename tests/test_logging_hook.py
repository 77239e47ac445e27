"""What a call is known by when it is over: its facts for hooks, and the one log line, which holds nothing that was said."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import time

import pytest

from aigateway import APIKeyAuthenticator, Call, Gateway, Hook, LoggingHook, Provider
from aigateway.errors import GatewayError
from aigateway.hooks.logging_hook import LineHandler
from aigateway.logs import BatchingHandler
from aigateway.testing import Script, ScriptedUpstream
from tests.answers import REPLIES, USAGE, stream, whole
from tests.asking import EVERY_WAY, EVERY_WAY_IDS, ROWS, WAYS, Row, Seen, post
from tests.serving import served

KEY = "sk-the-callers-own-key"
UPSTREAM_KEY = "sk-the-key-of-the-gateway"
SAID = ["question", "Hello", "there", KEY, UPSTREAM_KEY]

each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)


class Witness(Hook):
    """Keeps the call at its end."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.ended = asyncio.Event()

    def on_complete(self, call: Call) -> None:
        self.calls.append(call)
        self.ended.set()


def answer_of(row: Row) -> Script:
    return stream(row.upstream) if row.stream else whole(row.upstream)


@pytest.mark.parametrize(("way", "row"), EVERY_WAY, ids=EVERY_WAY_IDS)
async def test_on_complete_sees_usage_attempts_outcome_and_times(way: str, row: Row) -> None:
    witness = Witness()
    started = time.monotonic()
    async with ScriptedUpstream() as upstream:
        upstream.script(answer_of(row))
        gateway = Gateway(models={"gpt": Provider("up", upstream.base_url, "k", apis={row.upstream})}, hooks=[witness])
        await WAYS[way](gateway, row, upstream)
        await asyncio.wait_for(witness.ended.wait(), 2)
    (call,) = witness.calls
    assert call.usage is not None
    assert call.usage.input_tokens == USAGE["input_tokens"]
    assert call.usage.output_tokens == (0 if row.api == "embeddings" else USAGE["output_tokens"])
    assert (call.outcome, call.status, call.error) == ("completed", 200, None)
    assert (call.model, call.stream, call.api) == ("gpt", row.stream, row.api)
    (attempt,) = call.attempts
    assert (attempt.number, attempt.provider, attempt.model, attempt.status) == (1, "up", "gpt", 200)
    assert (attempt.plan.upstream_api, attempt.plan.translates) == (row.upstream, row.upstream != row.api)
    assert call.first_byte_at is not None
    assert call.ended_at is not None
    assert attempt.first_byte_at is not None
    assert attempt.ended_at is not None
    assert started <= call.started_at <= attempt.started_at <= attempt.first_byte_at <= attempt.ended_at
    assert attempt.first_byte_at <= call.first_byte_at <= call.ended_at <= time.monotonic()


@each_row
async def test_the_request_reads_the_same_on_every_api(row: Row) -> None:
    texts: list[list[str]] = []

    class Reader(Hook):
        def before_request(self, call: Call) -> None:
            texts.append(call.request.texts())
            assert (call.request.instructions, call.request.tools) == ("", [])
            assert call.request.max_output_tokens is None
            assert (call.request.model, call.request.stream) == ("gpt", row.stream)

    async with ScriptedUpstream() as upstream:
        upstream.script(answer_of(row))
        gateway = Gateway(models={"gpt": Provider("up", upstream.base_url, "k", apis={row.upstream})}, hooks=[Reader()])
        async with served(gateway) as url:
            await post(url, row)
    assert texts == [["the question"]]


async def logged_call(row: Row, script: Script, key: str = KEY) -> Seen:
    """One call through a gateway that authenticates and logs."""
    async with ScriptedUpstream() as upstream:
        upstream.script(script)
        provider = Provider("up", upstream.base_url, UPSTREAM_KEY, apis={row.upstream})
        hooks = [APIKeyAuthenticator({KEY: "team"}), LoggingHook()]
        async with served(Gateway(models={"gpt": provider}, hooks=hooks)) as url:
            return await post(url, row, authorization=f"Bearer {key}")


def line_of(caplog: pytest.LogCaptureFixture) -> str:
    """The one line of the call; nothing that was said is anywhere in the log."""
    for secret in SAID:
        assert secret not in caplog.text
    lines = [record for record in caplog.records if record.name == "aigateway.calls"]
    assert len(lines) == 1
    assert isinstance(vars(lines[0])["call"], Call)
    return lines[0].getMessage()


@each_row
async def test_a_call_is_one_line_with_its_tokens(row: Row, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        seen = await logged_call(row, answer_of(row))
    assert seen.status == 200
    facts = dict(pair.split("=", 1) for pair in line_of(caplog).split(" "))
    assert facts["id"] == seen.headers["x-request-id"]
    assert facts["operation"].removesuffix(".stream") == ("images.edits" if row.form else row.api)
    assert (facts["tenant"], facts["model"], facts["provider"]) == ("team", "gpt", "up")
    assert (facts["outcome"], facts["status"]) == ("completed", "200")
    assert facts["input_tokens"] == "11"
    assert facts["output_tokens"] == ("0" if row.api == "embeddings" else "7")
    assert facts.get("stream") == ("yes" if row.stream else None)
    assert facts.get("upstream_api") == (row.upstream if row.upstream != row.api else None)
    assert 0 <= float(facts["first_byte_ms"]) <= float(facts["total_ms"])


@each_row
@pytest.mark.parametrize(
    "script",
    [
        Script.of_json({"error": {"message": f"Hello {UPSTREAM_KEY}", "code": "busy"}}, 429),
        Script.of_json({"error": {"message": "Hello there"}}, 500),
        Script(body=b"<html>Hello there</html>", headers={"content-type": "text/html"}),
        Script(fault="reset"),
    ],
    ids=["429", "500", "html", "reset"],
)
async def test_a_failure_is_a_warning_without_what_was_said(
    row: Row, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        seen = await logged_call(row, script)
    line = line_of(caplog)
    assert f"outcome=failed status={seen.status}" in line
    assert "error=" in line
    assert [record.levelname for record in caplog.records if record.name == "aigateway.calls"] == ["WARNING"]


async def test_a_refused_key_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await logged_call(ROWS[0], whole("chat"), key="sk-some-other-secret")
    assert "outcome=refused status=401" in line_of(caplog)
    assert "sk-some-other-secret" not in caplog.text


async def test_a_model_name_cannot_write_a_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    row = Row("chat", "chat", raw=b'{"model":"a\\nb c=d","messages":[{"role":"user","content":"question"}]}')
    with caplog.at_level(logging.DEBUG):
        await logged_call(row, whole("chat"))
    assert "model='a\\nb c=d' " in line_of(caplog) + " "


async def test_the_logger_may_be_another_and_its_level_counts(caplog: pytest.LogCaptureFixture) -> None:
    mine = logging.getLogger("tests.calls")
    gateway = Gateway(hooks=[LoggingHook(mine)])
    gateway.hook.before_request(lambda call: REPLIES["chat"])
    with caplog.at_level(logging.INFO, "tests.calls"):
        await gateway.chat(model="gpt", messages=[{"role": "user", "content": "q"}])
        caplog.set_level(logging.WARNING, "tests.calls")
        await gateway.chat(model="gpt", messages=[{"role": "user", "content": "q"}])
    assert [record.name for record in caplog.records] == ["tests.calls"]


class Lines(LineHandler):
    """Takes lines and records apart."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.records: list[logging.LogRecord] = []

    def write(self, name: str, line: str) -> None:
        self.lines.append(f"{name} {line}")

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.mark.parametrize("listener", ["nobody", "a handler", "a filter", "a parent's handler"])
async def test_a_line_goes_without_a_record_only_where_nobody_else_would_see_one(
    listener: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, other = Lines(), Lines()
    logger = logging.getLogger("test.calls.of.one.test")
    monkeypatch.setattr(logging.root, "handlers", [sink])
    monkeypatch.setattr(LoggingHook, "sink", sink)
    logger.setLevel(logging.INFO)
    monkeypatch.setattr(logger, "handlers", [other] if listener == "a handler" else [])
    monkeypatch.setattr(logger, "filters", [logging.Filter()] if listener == "a filter" else [])
    parent = logging.getLogger("test.calls")
    monkeypatch.setattr(parent, "handlers", [other] if listener == "a parent's handler" else [])
    async with ScriptedUpstream() as upstream:
        upstream.script(answer_of(ROWS[0]))
        provider = Provider("up", upstream.base_url, UPSTREAM_KEY, apis={ROWS[0].upstream})
        async with served(Gateway(models={"gpt": provider}, hooks=[LoggingHook(logger)])) as url:
            assert (await post(url, ROWS[0])).status == 200
    assert (len(sink.lines), len(sink.records)) == ((1, 0) if listener == "nobody" else (0, 1))
    assert len(other.records) == (1 if "handler" in listener else 0)


class Writes(io.StringIO):
    """What was written, one entry a write."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[str] = []

    def write(self, text: str) -> int:
        self.all.append(text)
        return len(text)


def info(sink: BatchingHandler, line: str, level: int = logging.INFO) -> None:
    sink.emit(logging.LogRecord("test", level, "", 0, line, None, None))


async def test_lines_are_written_together() -> None:
    out = Writes()
    sink = BatchingHandler(out)
    for number in range(5):
        sink.write("test", f"call {number}")
        info(sink, f"record {number}")
    assert out.all == []
    async with asyncio.timeout(10):
        while not out.all:  # noqa: ASYNC110 - a stream tells nobody
            await asyncio.sleep(0.01)
    (written,) = out.all
    assert written.count("\n") == 10
    assert [line.split(" test ")[1] for line in written.splitlines()][:3] == ["call 0", "record 0", "call 1"]


async def test_a_warning_and_a_full_batch_are_written_at_once() -> None:
    out = Writes()
    sink = BatchingHandler(out)
    info(sink, "before")
    info(sink, "beware", logging.WARNING)
    assert [text.count("\n") for text in out.all] == [2]
    for number in range(1000):
        sink.write("test", str(number))
    assert [text.count("\n") for text in out.all] == [2, 256, 256, 256]
    sink.flush()
    assert sum(text.count("\n") for text in out.all) == 1002


def test_without_a_loop_a_line_is_written_at_once() -> None:
    out = Writes()
    sink = BatchingHandler(out)
    sink.write("test", "alone")
    assert len(out.all) == 1


async def test_who_begins_to_listen_is_told_from_the_next_batch_on(monkeypatch: pytest.MonkeyPatch) -> None:
    out, other = io.StringIO(), Lines()
    sink = BatchingHandler(out)
    logger = logging.getLogger("test.calls.of.a.late.listener")
    logger.setLevel(logging.INFO)
    monkeypatch.setattr(logging.root, "handlers", [sink])
    monkeypatch.setattr(LoggingHook, "sink", sink)
    gateway = Gateway(hooks=[LoggingHook(logger)])
    gateway.hook.before_request(lambda call: REPLIES["chat"])
    for _ in range(2):
        await gateway.chat(model="gpt", messages=[{"role": "user", "content": "q"}])
    monkeypatch.setattr(logger, "handlers", [other])
    sink.flush()
    await gateway.chat(model="gpt", messages=[{"role": "user", "content": "q"}])
    sink.flush()
    assert out.getvalue().count(" INFO test.calls.of.a.late.listener ") == 3
    assert len(other.records) == 1


async def test_a_name_of_any_length_makes_no_long_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aigateway.calls")
    async with ScriptedUpstream() as upstream:
        provider = Provider("up", upstream.base_url, UPSTREAM_KEY, apis={ROWS[0].upstream})
        async with Gateway(models={"gpt-*": provider}, hooks=[LoggingHook()]) as gateway:
            for name in ("x" * 100_000, "gpt-" + "x" * 100_000):
                upstream.script(answer_of(ROWS[0]))
                with contextlib.suppress(GatewayError):
                    await gateway.chat(model=name, messages=[{"role": "user", "content": "q"}])
    lines = [record.getMessage() for record in caplog.records if record.name == "aigateway.calls"]
    assert len(lines) == 2
    assert max(map(len, lines)) < 1000
