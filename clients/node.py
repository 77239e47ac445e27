"""Using a JavaScript library: our programs in one process of Node, and what a use of theirs gave or raised."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

SECONDS = 60


class Raised(msgspec.Struct, rename={"request_id": "requestID"}):
    """An error as the library's own code raises it. kinds: its class and those above."""

    kinds: list[str]
    message: str
    name: str = ""
    status: int | None = None
    code: str | None = None
    param: str | None = None
    type: str | None = None
    request_id: str | None = None


class _Outcome(msgspec.Struct):
    value: Any = None
    error: Raised | None = None
    stack: str = ""


class Node:
    """One process of Node. An event loop is not tied to it: tests that each have their own may share it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    async def use(self, library: str, use: str, url: str, **options: Any) -> Any:
        """What a use of a library gives; it must not fail."""
        outcome = await self._run(library, use, url, options)
        assert outcome.error is None, outcome.stack
        return outcome.value

    async def fails(self, library: str, use: str, url: str, **options: Any) -> Raised:
        """What a use of a library raises; it must not go well."""
        outcome = await self._run(library, use, url, options)
        assert outcome.error is not None, f"it went well: {outcome.value}"
        return outcome.error

    async def _run(self, library: str, use: str, url: str, options: dict[str, Any]) -> _Outcome:
        asked = {"library": library, "use": use, "url": url, "options": options}
        answering = asyncio.to_thread(self._exchange, msgspec.json.encode(asked) + b"\n")
        try:
            line = await asyncio.wait_for(answering, SECONDS)
        except TimeoutError:
            self._process.kill()  # it would give this answer to the next question
            raise AssertionError(f"{use} of {library} did not end") from None
        assert line, f"Node ended with {self._process.wait()}; what it said stands on stderr"
        return msgspec.json.decode(line, type=_Outcome)

    def _exchange(self, line: bytes) -> bytes:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()
        return self._process.stdout.readline()


@contextmanager
def started(folder: Path) -> Iterator[Node]:
    """Node with our programs, which stand in `folder` beside the packages."""
    process = subprocess.Popen(
        ["node", "run.mjs"],
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        yield Node(process)
        process.kill()


async def run_file(file: Path) -> str:
    """What a program of its own prints; it must not fail."""
    process = await asyncio.create_subprocess_exec(
        "node",
        file,
        env={"PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        shown, told = await asyncio.wait_for(process.communicate(), SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, told.decode()
    return shown.decode()
