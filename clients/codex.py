"""Codex CLI, without a person: `codex exec` in a folder of its own, with a home of its own and no way out to the net."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec

Object = dict[str, Any]

SECONDS = 60
NO_WAY_OUT = "http://127.0.0.1:9"
"""A proxy that is not there: what is not meant for the gateway fails at once."""

QUIET = """
check_for_update_on_startup = false
analytics.enabled = false
features.plugins = false
"""
OWN_PROVIDER = """
model_provider = "gateway"
[model_providers.gateway]
name = "gateway"
base_url = "{url}/v1"
env_key = "GATEWAY_KEY"
wire_api = "responses"
"""
BUILT_IN_PROVIDER = """
openai_base_url = "{url}/v1"
"""


class Run(msgspec.Struct):
    """What a run of Codex left behind. events: what `--json` printed; log: stderr."""

    code: int
    events: list[Object]
    log: str

    def items(self, type: str) -> list[Object]:
        """The items of one type, as they were when they ended."""
        ended = [event["item"] for event in self.events if event["type"] == "item.completed"]
        return [item for item in ended if item["type"] == type]

    @property
    def texts(self) -> list[str]:
        """What the agent said."""
        return [item["text"] for item in self.items("agent_message")]

    @property
    def troubles(self) -> list[str]:
        """What it complains about, but for not knowing the model."""
        told = [event["message"] for event in self.events if event["type"] == "error"]
        told += [event["error"]["message"] for event in self.events if event["type"] == "turn.failed"]
        told += [item["message"] for item in self.items("error")]
        return [message for message in told if "Model metadata" not in message]


class Codex(msgspec.Struct):
    """The program, and where it may write. folder: `work` in it is where commands run, `home` is the user's."""

    program: Path
    folder: Path

    @property
    def work(self) -> Path:
        """Where commands run."""
        return self.folder / "work"

    async def exec(
        self, url: str, *arguments: str, model: str = "some-model", settings: str = OWN_PROVIDER, more: str = ""
    ) -> Run:
        """Let it work to the end of a turn.

        settings: of config.toml, which tell where the gateway is (`{url}`); more: lines before them.
        """
        home = self.folder / "home"
        for folder in (self.work, home / ".codex"):
            folder.mkdir(parents=True, exist_ok=True)
        config = QUIET + more + settings.replace("{url}", url)
        (home / ".codex" / "config.toml").write_text(config, encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            self.program,
            "exec",
            *("--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--model", model),
            *arguments,
            cwd=self.work,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "GATEWAY_KEY": "sk-test",
                "CODEX_API_KEY": "sk-test",
                "RUST_LOG": "codex_core::client=warn",
                "HTTPS_PROXY": NO_WAY_OUT,
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
        events = [msgspec.json.decode(line) for line in shown.splitlines()]
        return Run(process.returncode, events, log.decode())
