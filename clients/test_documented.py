"""The lines of docs/clients.md work as they stand there, but for the address."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clients.claude_code import ClaudeCode
from clients.codex import Codex
from clients.node import run_file
from tests.sdk_rig import Rig
from tests.turns import Turn

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "clients.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
PLACE = "http://127.0.0.1:8080"
HELLO = Turn(text=("Hello ", "there"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", blocks("js"), ids=["openai", "ai", "the-two-others"])
async def test_a_program_prints_what_it_says(programs: Path, rig: Rig, block: str, tmp_path: Path) -> None:
    rig.says(HELLO)
    assert PLACE in block
    file = programs / f"{tmp_path.name}.mjs"
    file.write_text(block.replace(PLACE, rig.url), encoding="utf-8")
    promised = re.findall(r"console\.log\(.*\); // (.+)$", block, re.MULTILINE)
    assert promised
    assert set((await run_file(file)).splitlines()) == set(promised)


async def test_codex_works_with_the_settings(codex: Codex, rig: Rig) -> None:
    rig.says(HELLO)
    [settings] = blocks("toml")
    run = await codex.exec(rig.url, "Hi", model="my-model", settings=settings.replace(PLACE, rig.url))
    assert (run.code, run.texts) == (0, ["Hello there"])


async def test_claude_code_works_with_the_line(claude: ClaudeCode, rig: Rig) -> None:
    rig.says(HELLO)
    [line] = blocks("sh")
    given = dict(word.split("=", 1) for word in line.split() if "=" in word)
    assert given.pop("ANTHROPIC_BASE_URL") == PLACE
    run = await claude.run(rig.url, "Hi", model="my-model", **given)
    assert (run.code, run.result["result"]) == (0, "Hello there")
