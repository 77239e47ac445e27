"""Codex CLI: an agent that speaks Responses only, before a chat model."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aigateway import turns_session
from aigateway.testing import Script
from clients.chat_law import faults
from clients.codex import BUILT_IN_PROVIDER, Codex, Run
from tests.sdk_rig import Rig, rigged
from tests.turns import Turn, Use, chat_chunks, response_events, said
from tests.turns_everywhere import SIGNATURE, results_in, spoken

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
DONE = Turn(text=("All ", "done."))
PATCH = '*** Begin Patch\n*** Add File: patched.txt\n+one "quoted" \\ line é 😀\n+two\n*** End Patch\n'


def calling(name: str, arguments: Any, **more: Any) -> Turn:
    return Turn(text=("I will ", "try."), uses=(Use(name, json.dumps(arguments)),), **more)


def shell(command: str, **more: Any) -> Turn:
    return calling("exec_command", {"cmd": command}, **more)


WRITE = shell("echo hello > made.txt; cat made.txt")


@pytest.fixture
async def rig(rig: Rig) -> AsyncIterator[Rig]:
    """Nothing unlawful may reach the upstream."""
    yield rig
    check(rig)


@pytest.fixture
async def chat_rig(chat_rig: Rig) -> AsyncIterator[Rig]:
    """The same before an upstream that speaks chat only."""
    yield chat_rig
    check(chat_rig)


def check(rig: Rig) -> None:
    bodies = [request.json() for request in rig.upstream.requests if request.path == "/v1/chat/completions"]
    assert [faults(body) for body in bodies] == [[]] * len(bodies)


def went_well(run: Run) -> None:
    """The turn ended as it should, and Codex complained about nothing."""
    assert (run.code, run.troubles) == (0, []), run.log
    assert run.events[-1]["type"] == "turn.completed"
    assert run.texts[-1] == "All done."


def results(rig: Rig) -> list[str]:
    """What the chat upstream was told last that the tools gave."""
    return [message["content"] for message in rig.sent["messages"] if message["role"] == "tool"]


# commands


@pytest.mark.parametrize("model", ["some-model", "gpt-5.5"])
async def test_a_command_is_run_and_its_output_goes_up(codex: Codex, rig: Rig, model: str) -> None:
    rig.says(WRITE, DONE)
    run = await codex.exec(rig.url, "write the file", model=model)
    went_well(run)
    assert (codex.work / "made.txt").read_text() == "hello\n"
    [command] = run.items("command_execution")
    assert (command["exit_code"], command["aggregated_output"]) == (0, "hello\n")
    assert run.texts == ["I will try.", "All done."]
    assert run.events[-1]["usage"] | {"cache_write_input_tokens": 0} == {
        "input_tokens": 24,
        "cached_input_tokens": 8,
        "cache_write_input_tokens": 0,
        "output_tokens": 16,
        "reasoning_output_tokens": 4,
    }
    if rig.apis == ("chat",):
        [output] = results(rig)
    else:
        [output] = [item["output"] for item in rig.sent["input"] if item["type"] == "function_call_output"]
    assert output.endswith("Output:\nhello\n")


async def test_arguments_may_come_letter_by_letter(codex: Codex, chat_rig: Rig) -> None:
    whole = chat_chunks(WRITE, usage=True)
    chunks = [chunk for one in whole for chunk in spelled(one)]
    assert len(chunks) > len(whole) + 30
    first = iter([Script.of_events(chunks)])
    chat_rig.upstream.answer_with(lambda request: next(first, None) or said(DONE, request))
    went_well(await codex.exec(chat_rig.url, "write the file"))
    assert (codex.work / "made.txt").read_text() == "hello\n"


def spelled(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    """A chunk with arguments as one for each letter."""
    [choice] = chunk["choices"] or [{"delta": {}}]
    [call] = choice["delta"].get("tool_calls") or [{"function": {}}]
    text = call["function"].get("arguments")
    if not text:
        return [chunk]
    calls = [{**call, "function": {"arguments": letter}} for letter in text]
    return [{**chunk, "choices": [{**choice, "delta": {"tool_calls": [one]}}]} for one in calls]


async def test_a_patch_is_a_custom_tool_of_a_known_model(codex: Codex, chat_rig: Rig) -> None:
    chat_rig.says(calling("apply_patch", {"input": PATCH}), DONE)
    run = await codex.exec(chat_rig.url, "patch it", model="gpt-5.5")
    went_well(run)
    assert (codex.work / "patched.txt").read_text() == 'one "quoted" \\ line é 😀\ntwo\n'
    [change] = run.items("file_change")
    assert change["status"] == "completed"
    assert "Success" in results(chat_rig)[0]


async def test_a_tool_in_a_group_is_found_again(codex: Codex, chat_rig: Rig) -> None:
    chat_rig.says(calling("multi_agent_v1__close_agent", {"target": "nobody"}), DONE)
    went_well(await codex.exec(chat_rig.url, "close it"))
    assert "invalid agent id" in results(chat_rig)[0]


async def test_reasoning_goes_up_again_with_the_call_it_led_to(codex: Codex, chat_rig: Rig) -> None:
    chat_rig.says(shell("echo hello > made.txt", thoughts=("Let me ", "think.")), DONE)
    went_well(await codex.exec(chat_rig.url, "write the file"))
    assert (codex.work / "made.txt").exists()
    [spoken] = [message for message in chat_rig.sent["messages"] if message["role"] == "assistant"]
    assert spoken["reasoning_content"] == "Let me think."
    assert spoken["tool_calls"][0]["function"]["name"] == "exec_command"


# the built-in provider with another address


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Codex sends over WebSocket."""
    seen: list[Any] = []
    own = turns_session.TurnsSession._turn

    async def noted(session: Any, client: Any, frame: Any) -> None:
        seen.append(json.loads(frame))
        await own(session, client, frame)

    monkeypatch.setattr(turns_session.TurnsSession, "_turn", noted)
    return seen


@pytest.mark.parametrize("model", ["some-model", "gpt-5.5", "gpt-6-sol"])
async def test_a_session_runs_over_one_socket(codex: Codex, chat_rig: Rig, model: str, frames: list[Any]) -> None:
    script = 'const run = await tools.exec_command({cmd: "echo hello > made.txt; cat made.txt"}); text(run.output);'
    coding = model.startswith("gpt-6")  # its one tool runs JavaScript, and stands in an item of the input
    chat_rig.says(calling("functions__exec", {"input": script}) if coding else WRITE, DONE)
    run = await codex.exec(chat_rig.url, "write the file", model=model, settings=BUILT_IN_PROVIDER)
    went_well(run)
    assert "falling back to HTTP" not in run.log
    warm_up, *turns = frames
    assert warm_up["generate"] is False
    assert len(turns) == 2
    assert all(turn["store"] is False for turn in turns)
    assert coding or all(turn["previous_response_id"] for turn in turns)
    assert (codex.work / "made.txt").read_text() == "hello\n"
    assert [command["aggregated_output"] for command in run.items("command_execution")] == ["hello\n"]
    assert "hello" in json.dumps(results(chat_rig))


async def test_a_long_session_is_compacted_over_the_socket(codex: Codex, chat_rig: Rig, frames: list[Any]) -> None:
    """Codex asks for exactly one compaction item, and brings it back in place of the session."""
    chat_rig.says(WRITE, Turn(text=("The file is written.",)), DONE)
    more = "model_auto_compact_token_limit = 10"
    went_well(await codex.exec(chat_rig.url, "write the file", settings=BUILT_IN_PROVIDER, more=more))
    triggers = [frame for frame in frames if frame["input"] and frame["input"][-1]["type"] == "compaction_trigger"]
    assert len(triggers) == 1
    brought_back = [item for frame in frames for item in frame["input"] if item["type"] == "compaction"]
    assert len(brought_back) == 1
    assert brought_back[0]["encrypted_content"].startswith("aigwc1.")
    assert "The file is written." in json.dumps(chat_rig.sent["messages"])


# models of other makers


@pytest.mark.parametrize("api", ["messages", "generate_content"])
async def test_a_task_is_done_by_a_model_of_another_api(codex: Codex, api: str) -> None:
    async with rigged(api, model="*") as rig:
        left = [shell("echo hello > made.txt; cat made.txt", thoughts=("Let me ", "think.")), DONE]
        rig.upstream.answer_with(lambda request: spoken(left.pop(0), request))
        run = await codex.exec(rig.url, "write the file")
        went_well(run)
        assert (codex.work / "made.txt").read_text() == "hello\n"
        [command] = run.items("command_execution")
        assert (command["exit_code"], command["aggregated_output"]) == (0, "hello\n")
        last = rig.upstream.requests[-1]
        [(call_id, output)] = results_in(api, last.json())
        assert call_id == "call_1"
        assert output.endswith("Output:\nhello\n")
        assert SIGNATURE in last.body.decode(), "what it thought comes back signed"


# more of a session


async def test_a_session_is_taken_up_again(codex: Codex, chat_rig: Rig) -> None:
    chat_rig.says(DONE)
    went_well(await codex.exec(chat_rig.url, "the first"))
    went_well(await codex.exec(chat_rig.url, "resume", "--last", "the second"))
    said_so_far = [(message["role"], message["content"]) for message in chat_rig.sent["messages"][-3:]]
    assert said_so_far == [("user", "the first"), ("assistant", "All done."), ("user", "the second")]


async def test_a_long_session_is_summed_up(codex: Codex, chat_rig: Rig) -> None:
    chat_rig.says(WRITE, Turn(text=("The file is written.",)), DONE)
    went_well(await codex.exec(chat_rig.url, "write the file", more="model_auto_compact_token_limit = 10"))
    assert len(chat_rig.upstream.requests) == 3
    summing_up = chat_rig.upstream.requests[1].json()  # Codex says `tools: []` and `tool_choice` here
    assert not summing_up.keys() & {"tools", "tool_choice", "parallel_tool_calls"}
    assert "The file is written." in chat_rig.sent["messages"][-1]["content"]


async def test_an_image_and_a_schema(codex: Codex, rig: Rig) -> None:
    rig.says(Turn(text=('{"colour":', '"red"}')))
    codex.work.mkdir()
    schema = {
        "type": "object",
        "properties": {"colour": {"type": "string"}},
        "required": ["colour"],
        "additionalProperties": False,
    }
    (codex.work / "schema.json").write_text(json.dumps(schema))
    (codex.work / "dot.png").write_bytes(PNG)
    run = await codex.exec(rig.url, "which?", "--output-schema", "schema.json", "--image", "dot.png")
    assert (run.code, run.troubles, run.texts) == (0, [], ['{"colour":"red"}'])
    assert base64.b64encode(PNG).decode() in json.dumps(rig.sent)
    if rig.apis == ("chat",):
        assert rig.sent["response_format"]["json_schema"]["schema"] == schema
    else:
        assert rig.sent["text"]["format"]["schema"] == schema


# failures


async def test_a_busy_upstream_is_asked_again(codex: Codex, rig: Rig) -> None:
    first = iter([Script.of_json({"error": {"message": "Slow down."}}, 429, {"retry-after": "0"}), said_by(rig, WRITE)])
    rig.upstream.answer_with(lambda request: next(first, None) or said(DONE, request))
    run = await codex.exec(rig.url, "write the file")
    assert (run.code, run.texts[-1]) == (0, "All done.")
    [trouble] = run.troubles
    assert "429" in trouble
    assert "req_" in trouble
    assert (codex.work / "made.txt").exists()
    assert len(rig.upstream.requests) == 3


def said_by(rig: Rig, turn: Turn) -> Script:
    """The turn as a stream of the rig's upstream."""
    if rig.apis == ("chat",):
        return Script.of_events(chat_chunks(turn, usage=True))
    return Script.of_events(response_events(turn), named=True)


async def test_a_stream_that_is_cut_is_asked_for_again(codex: Codex, chat_rig: Rig) -> None:
    first = iter([Script.of_events(chat_chunks(DONE)[:3], done=False, fault="cut")])
    chat_rig.upstream.answer_with(lambda request: next(first, None) or said(DONE, request))
    run = await codex.exec(chat_rig.url, "do it")
    assert (run.code, run.texts) == (0, ["All done."])
    [trouble] = run.troubles
    assert "Provider 'acme' broke off its answer." in trouble


TOO_LONG = {"message": "This model's maximum context length is 8192 tokens.", "type": "invalid_request_error"}


@pytest.mark.parametrize("code", ["context_length_exceeded", None], ids=["code", "words"])
async def test_a_prompt_that_is_too_long_is_known_as_that(codex: Codex, rig: Rig, code: str | None) -> None:
    rig.upstream.script(Script.of_json({"error": TOO_LONG | {"code": code}}, 400))
    run = await codex.exec(rig.url, "do it")
    assert run.code == 1
    assert "ran out of room" in run.troubles[0]
    assert len(rig.upstream.requests) == 1


async def test_an_answer_that_was_cut_short_says_why(codex: Codex, chat_rig: Rig) -> None:
    chat_rig.says(Turn(text=("Hel",), cut=True))
    run = await codex.exec(chat_rig.url, "do it")
    assert run.code == 1
    assert "max_output_tokens" in run.troubles[-1]


async def test_a_model_that_nobody_serves_is_named(codex: Codex) -> None:
    async with rigged("chat") as rig:
        run = await codex.exec(rig.url, "do it", model="nobody")
        assert run.code == 1
        assert "nobody" in run.troubles[-1]
        assert not rig.upstream.requests
