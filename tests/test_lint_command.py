"""`aigateway lint` on files and on servers, and the linter as a part of the package."""

from __future__ import annotations

import asyncio
import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

import aigateway
from aigateway import Gateway, Provider
from aigateway.cli import main
from aigateway.lint import PROFILES, Finding, Profile, lint_stream
from aigateway.lint.docs import document
from aigateway.lint.sources import Checked, LintError, Server, lint_bytes
from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from aigateway.transport.pool import PooledTransport
from tests import lint_streams as made
from tests.answers import CHAT_CHUNKS, CHAT_REPLY
from tests.lint_streams import sse
from tests.serving import served

ROOT = Path(__file__).resolve().parent.parent


def rules(findings: list[Finding]) -> set[str]:
    return {finding.rule for finding in findings}


# the command


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["lint", *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_files_of_every_kind(tmp_path: Path) -> None:
    events = made.whole()
    contents = {
        "stream.sse": sse(events),
        "lines.jsonl": "\n".join(map(json.dumps, events)).encode(),
        "list.json": json.dumps(events).encode(),
        "response.json": json.dumps(events[-1]["response"], indent=2).encode(),
    }
    for name, content in contents.items():
        file = tmp_path / name
        file.write_bytes(content)
        assert run(str(file), "--profile", "open_responses") == (0, f"{file}: ok\n", "")


def test_findings_are_told_with_their_rules_and_places_each_kind_once(tmp_path: Path) -> None:
    events = made.text()
    for event in events:
        event.pop("logprobs", None)
    file = tmp_path / "stream.sse"
    file.write_bytes(sse(events))
    code, told, _ = run(str(file))
    assert code == 1
    assert told.splitlines() == [
        f"{file}: 3 findings",
        "  required-key at event 4 (response.output_text.delta).logprobs: the key `logprobs` is missing (and 1 more like it)",
        "  required-key at event 7 (response.output_text.done).logprobs: the key `logprobs` is missing",
    ]
    code, told, _ = run(str(file), "--json")
    assert code == 1
    (checked,) = msgspec.json.decode(told, type=list[Checked])
    assert checked == Checked(str(file), lint_stream(events))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, "No such file or directory"),
        (b"", "neither server-sent events nor JSON"),
        (b"hello", "neither server-sent events nor JSON"),
        (b'{"type":"a"}\n{"type":', "line 2 is no JSON"),
    ],
)
def test_what_cannot_be_linted_is_told_with_exit_2(tmp_path: Path, content: bytes | None, error: str) -> None:
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
    code, told, errors = run(str(file))
    assert (code, told) == (2, f"{file}: could not be linted\n")
    assert error in errors
    if content is not None:
        with pytest.raises(LintError, match=error):
            lint_bytes(content)


# servers

CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}


def chat_host(request: ReceivedRequest) -> Script:
    """Answers chat as it should be answered: a call where there are tools."""
    body = request.json()
    reply, chunks = copy.deepcopy(CHAT_REPLY), copy.deepcopy(CHAT_CHUNKS)
    if body.get("tools"):
        reply["choices"][0] |= {"message": {"role": "assistant", "tool_calls": [CALL]}, "finish_reason": "tool_calls"}
        del chunks[2]
        chunks[1]["choices"][0]["delta"] = {"tool_calls": [{"index": 0, **CALL}]}
        chunks[2]["choices"][0]["finish_reason"] = "tool_calls"
    return Script.of_events(chunks) if body.get("stream") else Script.of_json(reply)


@pytest.mark.parametrize("profile", PROFILES)
async def test_our_own_server_is_lawful(profile: Profile) -> None:
    async with ScriptedUpstream() as upstream:
        upstream.answer_with(chat_host)
        provider = Provider("host", upstream.base_url, api_key="k", apis=["chat"])
        async with served(Gateway(models={"m": provider})) as url:
            command = [sys.executable, "-m", "aigateway", "lint", url, "--profile", profile]
            running = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            told, errors = await running.communicate()
    assert (told.decode().splitlines(), errors) == (
        ["text: ok", "text, streamed: ok", "tool: ok", "tool, streamed: ok"],
        b"",
    )
    assert running.returncode == 0
    assert [request.json().get("tool_choice") for request in upstream.requests] == [None, None, "required", "required"]


async def checked_by(*scripts: Script, url: str = "", **more: Any) -> tuple[list[Checked], list[ReceivedRequest]]:
    """What comes of linting a server that answers like this."""
    transport = PooledTransport()
    async with ScriptedUpstream() as upstream:
        upstream.script(*scripts)
        try:
            checked = await Server(upstream.base_url + url, transport, **more).lint(model="m", input="hi")
        finally:
            await transport.aclose()
    return checked, upstream.requests


async def test_a_broken_server_is_told_so() -> None:
    events = made.text()
    whole = Script.of_json(events[-1]["response"] | {"status": "in_progress"})
    cut = Script(headers={"content-type": "text/event-stream"}, pieces=[sse(events)[:900]], fault="cut")
    html = Script(headers={"content-type": "text/html"}, body=b"<html>")
    json_stream = Script.of_json(events[-1]["response"])
    checked, requests = await checked_by(whole, cut, html, json_stream, url="/responses", api_key="k-1")
    assert [rules(one.findings) for one in checked] == [
        {"final-status", "status-details"},
        {"data-is-json", "frame-closed", "terminal-event"},
        {"content-type", "data-is-json"},
        {"content-type"},
    ]
    assert {request.path for request in requests} == {"/v1/responses"}
    assert {request.headers["authorization"] for request in requests} == {"Bearer k-1"}
    bodies = [request.json() for request in requests]
    assert [(body.get("stream", False), "tools" in body) for body in bodies] == [
        (False, False),
        (True, False),
        (False, True),
        (True, True),
    ]
    assert {(body["model"], body["input"]) for body in bodies} == {("m", "hi")}


async def test_a_server_that_refuses_could_not_be_linted() -> None:
    refusing = Script.of_json({"error": {"message": "no such model"}}, 404)
    checked, _ = await checked_by(refusing)
    assert [one.findings for one in checked] == [[]] * 4
    assert all("404" in one.error and "no such model" in one.error for one in checked)


async def test_a_server_that_cannot_be_made_to_call_a_tool_is_left_to_choose() -> None:
    reply = Script.of_json(made.calls()[-1]["response"])
    refusal = Script.of_json({"error": {"message": "not required"}}, 400)
    stream = Script.of_events(made.calls(), named=True)
    checked, requests = await checked_by(reply, Script.of_events(made.text(), named=True), refusal, reply, stream)
    assert [(one.findings, one.error) for one in checked] == [([], "")] * 4
    choices = [request.json().get("tool_choice") for request in requests]
    assert choices == [None, None, "required", "auto", "required"]


async def test_the_first_model_that_the_server_lists_is_asked_for() -> None:
    transport = PooledTransport()
    async with ScriptedUpstream() as upstream:
        upstream.script(Script.of_json({"data": [{"id": "one"}, {"id": "two"}]}), Script.of_json({"data": []}))
        server = Server(upstream.base_url.removesuffix("/v1"), transport)
        assert await server.first_model() == "one"
        with pytest.raises(LintError, match="--model"):
            await server.first_model()
    with pytest.raises(LintError):
        await server.first_model()
    await transport.aclose()
    assert [request.path for request in upstream.requests] == ["/v1/models"] * 2


def test_a_server_that_is_not_there_is_told_with_exit_2() -> None:
    code, told, errors = run("http://127.0.0.1:9/v1")
    assert (code, told) == (2, "http://127.0.0.1:9/v1: could not be linted\n")
    assert "The server could not be reached" in errors


# the package


def test_the_document_is_the_one_that_the_rules_make() -> None:
    assert (ROOT / "docs" / "lint.md").read_text("utf-8") == document(), "python -m aigateway.lint.docs > docs/lint.md"


def test_importing_the_gateway_does_not_import_the_linter() -> None:
    code = "import aigateway, sys; print([name for name in sys.modules if name.startswith('aigateway.lint')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert aigateway.__name__ == "aigateway"
