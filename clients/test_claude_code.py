"""Claude Code: an agent that speaks Anthropic's Messages only, before models of other APIs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from aigateway.testing import ReceivedRequest, Script
from clients.chat_law import faults
from clients.claude_code import ClaudeCode, Run
from tests.sdk_rig import Rig, rigged
from tests.turns import Turn, Use, chat_chunks
from tests.turns_everywhere import api_of, results_in, spoken

Object = dict[str, Any]

COMMAND = "echo hello > made.txt; cat made.txt"
WRITE = Turn(
    thoughts=("A file ", "is wanted."),
    text=("I will ", "try."),
    uses=(Use("Bash", json.dumps({"command": COMMAND, "description": "Make the file"})),),
)
DONE = Turn(text=("All ", "done."))


def working(first: Turn) -> Callable[[ReceivedRequest], Script]:
    """Says this until there is a result of a tool, then that all is done."""

    def answer(request: ReceivedRequest) -> Script:
        return spoken(DONE if results_in(api_of(request), request.json()) else first, request)

    return answer


def went_well(run: Run) -> None:
    assert (run.code, run.result["is_error"], run.result["result"]) == (0, False, "All done."), run.log or run.result


def bodies(rig: Rig) -> list[Object]:
    return [request.json() for request in rig.upstream.requests]


@pytest.mark.parametrize("api", ["chat", "responses", "generate_content", "messages"])
async def test_a_command_is_run_and_its_output_goes_up(claude: ClaudeCode, api: str) -> None:
    async with rigged(api, model="*") as rig:
        rig.upstream.answer_with(working(WRITE))
        run = await claude.run(rig.url, "write the file")
        went_well(run)
        assert (claude.work / "made.txt").read_text() == "hello\n"
        [use] = run.blocks("assistant", "tool_use")
        assert use["input"]["command"] == COMMAND
        [result] = run.blocks("user", "tool_result")
        assert result["content"] == "hello"
        thoughts = [block["thinking"] for block in run.blocks("assistant", "thinking")]
        assert [text for text in thoughts if text] == ["A file is wanted."]
        assert results_in(api, bodies(rig)[-1]) == [("call_1", "hello")]
        assert run.result["usage"]["output_tokens"] == 16
        assert run.result["usage"]["cache_read_input_tokens"] == 8
        if api == "chat":
            assert [faults(body) for body in bodies(rig)] == [[]] * len(bodies(rig))


async def test_thoughts_of_a_chat_model_come_back_to_it(claude: ClaudeCode) -> None:
    async with rigged("chat", model="*") as rig:
        rig.upstream.answer_with(working(WRITE))
        went_well(await claude.run(rig.url, "write the file"))
        [said] = [message for message in bodies(rig)[-1]["messages"] if message["role"] == "assistant"]
        assert said["reasoning_content"] == "A file is wanted."


async def test_an_image_that_it_reads_is_seen_by_a_chat_model(claude: ClaudeCode, png: bytes) -> None:
    claude.work.mkdir()
    (claude.work / "dot.png").write_bytes(png)
    read = Turn(uses=(Use("Read", json.dumps({"file_path": str(claude.work / "dot.png")})),))
    async with rigged("chat", model="*") as rig:
        rig.upstream.answer_with(working(read))
        went_well(await claude.run(rig.url, "look at dot.png"))
        *_, tool, user = [message for message in bodies(rig)[-1]["messages"] if message["role"] != "system"]
        assert (tool["role"], user["role"]) == ("tool", "user")
        assert [part["type"] for part in user["content"]].count("image_url") == 1
        assert [faults(body) for body in bodies(rig)] == [[]] * len(bodies(rig))


async def test_a_stream_that_is_cut_is_asked_for_again(claude: ClaudeCode) -> None:
    async with rigged("chat", model="*") as rig:
        first = iter([Script.of_events(chat_chunks(DONE)[:3], done=False, fault="cut")])
        rig.upstream.answer_with(lambda request: next(first, None) or spoken(DONE, request))
        went_well(await claude.run(rig.url, "do it"))
        assert len(rig.upstream.requests) > 1


async def test_a_prompt_that_is_too_long_is_known_as_that(claude: ClaudeCode) -> None:
    words = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens."
    error = {"message": words, "type": "invalid_request_error", "code": "context_length_exceeded"}
    async with rigged("chat", model="*") as rig:
        rig.upstream.script(Script.of_json({"error": error}, 400))
        run = await claude.run(rig.url, "do it")
    assert run.result["is_error"]
    assert "Prompt is too long" in run.result["result"]


async def test_a_model_that_nobody_serves_is_named(claude: ClaudeCode) -> None:
    async with rigged("chat") as rig:
        run = await claude.run(rig.url, "do it", model="nobody")
        assert run.result["is_error"]
        assert "nobody" in run.result["result"]
        assert not rig.upstream.requests
