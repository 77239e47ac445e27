"""Claude Code, without a person: `claude -p` in a folder of its own, with a home of its own and no way out to the net."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec

from clients.codex import NO_WAY_OUT, SECONDS

Object = dict[str, Any]

TOOLS = "Bash,Read,Write,Edit"
"""What it may do unasked."""


class Run(msgspec.Struct):
    """What a run left behind. events: what `--output-format stream-json` printed; log: stderr."""

    code: int
    events: list[Object]
    log: str

    @property
    def result(self) -> Object:
        """The last event: how it ended, what it said, and what was spent."""
        last = self.events[-1]
        assert last["type"] == "result", last
        return last

    def blocks(self, role: str, kind: str) -> list[Object]:
        """The blocks of one kind that `assistant` or `user` said, in order."""
        said = [event["message"]["content"] for event in self.events if event["type"] == role]
        return [block for content in said if isinstance(content, list) for block in content if block["type"] == kind]


class ClaudeCode(msgspec.Struct):
    """The program (a script for Node), and where it may write: `work` in it is where tools run, `home` is the user's."""

    program: Path
    folder: Path

    @property
    def work(self) -> Path:
        """Where tools run."""
        return self.folder / "work"

    async def run(self, url: str, prompt: str, *arguments: str, model: str = "some-model", **env: str) -> Run:
        """Let it work to the end of a prompt. env: more variables."""
        home = self.folder / "home"
        for folder in (self.work, home):
            folder.mkdir(parents=True, exist_ok=True)
        process = await asyncio.create_subprocess_exec(
            "node",
            self.program,
            *("-p", prompt, "--output-format", "stream-json", "--verbose", "--model", model, "--allowedTools", TOOLS),
            *arguments,
            cwd=self.work,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "ANTHROPIC_BASE_URL": url,
                "ANTHROPIC_AUTH_TOKEN": "sk-test",
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
                "CLAUDE_CODE_MAX_RETRIES": "1",
                "DISABLE_AUTOUPDATER": "1",
                "HTTPS_PROXY": NO_WAY_OUT,
                "NO_PROXY": "127.0.0.1",
                **env,
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            shown, log = await asyncio.wait_for(process.communicate(), SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        events = [msgspec.json.decode(line) for line in shown.splitlines() if line.startswith(b"{")]
        return Run(process.returncode, events, log.decode())
