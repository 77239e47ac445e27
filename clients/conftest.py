"""Where the programs under test were installed, and how Node runs ours."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from clients.claude_code import ClaudeCode
from clients.codex import Codex
from clients.node import Node, started
from tests.sdk_rig import Rig, rigged

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def packages() -> Path:
    """The node_modules that scripts/clients filled."""
    home = os.environ.get("AIGATEWAY_CLIENTS")
    if home is None:
        pytest.fail("AIGATEWAY_CLIENTS does not say where the clients are installed: run `make clients`")
    return Path(home) / "node_modules"


@pytest.fixture(scope="session")
def programs(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our programs beside the packages: Node looks for those where a program stands, and nowhere else."""
    folder = tmp_path_factory.mktemp("programs")
    shutil.copytree(HERE / "programs", folder, dirs_exist_ok=True)
    (folder / "node_modules").symlink_to(packages)
    return folder


@pytest.fixture(scope="session")
def node(programs: Path) -> Iterator[Node]:
    """Node, ready for any of our programs."""
    with started(programs) as process:
        yield process


@pytest.fixture(params=["chat", "responses"], ids=["chat-only", "responses-only"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """A gateway before an upstream of one API, whatever model is asked for."""
    async with rigged(request.param, model="*") as made:
        yield made


@pytest.fixture
async def chat_rig() -> AsyncIterator[Rig]:
    """The same before one that speaks chat only."""
    async with rigged("chat", model="*") as made:
        yield made


@pytest.fixture
def codex(packages: Path, tmp_path: Path) -> Codex:
    """Codex with a home and a work folder that nobody has used."""
    return Codex(packages / ".bin" / "codex", tmp_path)


@pytest.fixture
def claude(packages: Path, tmp_path: Path) -> ClaudeCode:
    """Claude Code with a home and a work folder that nobody has used."""
    return ClaudeCode(packages / "@anthropic-ai" / "claude-code" / "cli-wrapper.cjs", tmp_path)


@pytest.fixture
def png() -> bytes:
    """A picture of one dot."""
    return base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
