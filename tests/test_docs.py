"""The documents keep their word: every program in them runs, every request is answered, every link leads somewhere.

A Python block is a whole program. `print(...)  # text` promises that it prints that text. A block that serves is served,
and the document's curl commands, and its blocks that call port 8080, are sent to it; a document without one is about
`aigateway serve`.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import shlex
import shutil
import signal
import sys
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from tests.answers import EMBEDDINGS_REPLY, IMAGES_REPLY, TEXT, data_of, stream, whole
from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EVERYTHING = [
    *DOCUMENTS,
    *sorted((ROOT / "docs").glob("*/*.md")),
    ROOT / "CHANGELOG.md",
    *sorted(ROOT.glob("*/README.md")),
]
PORT = re.compile(r"(?:localhost|127\.0\.0\.1):8080")


class Block(msgspec.Struct, frozen=True):
    """A fenced block of a document."""

    document: Path
    line: int
    language: str
    text: str

    @property
    def id(self) -> str:
        """For pytest, and for tracebacks."""
        return f"{self.document.name}:{self.line}"

    @property
    def serves(self) -> bool:
        """Whether it runs until somebody stops it."""
        return "uvicorn.run(" in self.text

    @property
    def calls(self) -> bool:
        """Whether it needs the gateway that its document is about."""
        return PORT.search(self.text) is not None

    @property
    def promises(self) -> list[str]:
        """What it says it prints, in order."""
        return re.findall(r"^ *print\(.*\)  # (.+)$", self.text, re.MULTILINE)


def blocks_of(document: Path) -> list[Block]:
    text = document.read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(document, text.count("\n", 0, match.start()) + 2, match[1], match[2]) for match in found]


def commands_of(block: Block) -> list[str]:
    """Its shell commands, each whole: lines are joined while a quote is open or a backslash stands at the end."""
    commands: list[str] = []
    held = ""
    for line in block.text.splitlines():
        held += line + "\n"
        if line.endswith("\\"):
            continue
        try:
            words = shlex.split(held, comments=True)
        except ValueError:
            continue
        if words:
            commands.append(held.strip())
        held = ""
    return commands


BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document)]
PROGRAMS = [block for block in BLOCKS if block.language == "python"]


def select(*, serves: bool, calls: bool) -> list[Block]:
    """The Python blocks of one kind."""
    return [block for block in PROGRAMS if (block.serves, block.calls) == (serves, calls)]


CURLS = {
    document: [
        command
        for block in BLOCKS
        if (block.document, block.language) == (document, "sh")
        for command in commands_of(block)
        if "curl " in command
    ]
    for document in DOCUMENTS
}


def mock(request: ReceivedRequest) -> Script:
    """An upstream of every API."""
    texts = {"/v1/chat/completions": "chat", "/v1/completions": "completions", "/v1/responses": "responses"}
    texts["/v1/messages"] = "messages"
    api = texts.get(request.path)
    if api is not None:
        return stream(api) if request.json().get("stream") else whole(api)
    return Script.of_json(EMBEDDINGS_REPLY if request.path == "/v1/embeddings" else IMAGES_REPLY)


@asynccontextmanager
async def upstream_environment() -> AsyncIterator[dict[str, str]]:
    """An environment whose OpenAI is a scripted one."""
    async with ScriptedUpstream() as upstream:
        upstream.answer_with(mock)
        yield os.environ | {"OPENAI_BASE_URL": upstream.base_url, "OPENAI_API_KEY": "sk-test", "PYTHONUNBUFFERED": "1"}


@asynccontextmanager
async def running(environment: dict[str, str], port: int, *command: str) -> AsyncIterator[str]:
    """A server of its own process, once it answers; gives where."""
    place = f"127.0.0.1:{port}"
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, *command),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with aiohttp.ClientSession() as session:
            for _ in range(600):  # half a minute: the machine may be busy
                try:
                    async with session.get(f"http://{place}/"):
                        break
                except aiohttp.ClientConnectionError:
                    assert server.returncode is None, (await server.communicate())[0].decode()
                    await asyncio.sleep(0.05)
        yield place
    finally:
        if server.returncode is None:
            server.send_signal(signal.SIGTERM)
        await asyncio.wait_for(server.communicate(), 20)


@asynccontextmanager
async def gateway_of(document: Path, tmp_path: Path) -> AsyncIterator[str]:
    """The gateway that a document is about."""
    port = free_port()
    async with upstream_environment() as environment:
        servers = [block for block in blocks_of(document) if block.language == "python" and block.serves]
        if servers:
            command = [str(written(servers[0], tmp_path, port))]
        else:
            config = tmp_path / "gateway.yaml"
            config.write_text(
                'providers: {openai: {type: openai, base_url: "${OPENAI_BASE_URL}", api_key: "${OPENAI_API_KEY}"}}\n'
                'models: {"*": {provider: openai}}\n',
                encoding="utf-8",
            )
            command = ["-m", "aigateway", "serve", "--port", str(port), "--config", str(config)]
        async with running(environment, port, *command) as place:
            yield place


def written(block: Block, folder: Path, port: int) -> Path:
    """A block as a program that serves elsewhere than at port 8080, which may be taken."""
    assert block.text.count("port=8080") == 1
    file = folder / "program.py"
    file.write_text(block.text.replace("port=8080", f"port={port}"), encoding="utf-8")
    return file


async def run_program(block: Block, text: str, environment: Mapping[str, str]) -> None:
    """Run a block, where a warning is an error, and hold it to its promises."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", text),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await program.communicate()
    assert (program.returncode, errors.decode()) == (0, "")
    lines = iter(output.decode().splitlines())
    assert [promise for promise in block.promises if promise not in lines] == [], output.decode()


@pytest.mark.parametrize("block", select(serves=False, calls=False), ids=lambda block: block.id)
async def test_program_runs_and_prints_what_it_says(block: Block) -> None:
    async with upstream_environment() as environment:
        await run_program(block, block.text, environment)


@pytest.mark.parametrize("block", select(serves=False, calls=True), ids=lambda block: block.id)
async def test_program_that_calls_the_gateway_runs_and_prints_what_it_says(block: Block, tmp_path: Path) -> None:
    async with gateway_of(block.document, tmp_path) as place:
        await run_program(block, PORT.sub(place, block.text), os.environ)


@pytest.mark.parametrize("block", select(serves=True, calls=False), ids=lambda block: block.id)
async def test_program_that_serves_is_up(block: Block, tmp_path: Path) -> None:
    port = free_port()
    mounted = re.search(r'\.mount\("(.+?)"', block.text)
    program = str(written(block, tmp_path, port))
    async with (
        upstream_environment() as environment,
        running(environment, port, program) as place,
        aiohttp.ClientSession(f"http://{place}{mounted[1] if mounted else ''}/") as session,
    ):
        async with session.get("health") as response:
            assert (response.status, await response.json()) == (200, {"status": "ok"})
        async with session.get("v1/models") as response:
            model = (await response.json())["data"][0]["id"]
        async with session.post("v1/responses", json={"model": model, "input": "Hi"}) as response:
            assert (response.status, (await response.json())["model"]) == (200, model)


@pytest.mark.parametrize("document", [key for key in CURLS if CURLS[key]], ids=lambda document: document.name)
async def test_every_curl_command_is_answered(document: Path, tmp_path: Path) -> None:
    """Sent by curl, and by Python: the way where there is no curl."""
    async with gateway_of(document, tmp_path) as place:
        for command in CURLS[document]:
            assert PORT.search(command), f"it calls something else than the gateway: {command}"
            here = PORT.sub(place, command)
            answers = [await asyncio.to_thread(without_curl, here)]
            if shutil.which("curl"):
                answers.append(await curl(here))
            for status, body in answers:
                assert status == 200, (command, body)
                url, sent = request_of(here)
                check_answer(urllib.parse.urlsplit(url).path, sent, body)


async def curl(command: str) -> tuple[int, bytes]:
    """The command as a shell runs it."""
    line = command.replace("curl ", "curl -sS -w '\\n%{http_code}' ", 1)
    shell = await asyncio.create_subprocess_shell(line, stdout=asyncio.subprocess.PIPE)
    output, _ = await shell.communicate()
    body, _, status = output.rpartition(b"\n")
    return int(status), body


def without_curl(command: str) -> tuple[int, bytes]:
    """The same request."""
    url, sent = request_of(command)
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    headers = {"Content-Type": "application/json"} if sent else {}
    connection.request(
        "POST" if sent else "GET", parts.path, body=msgspec.json.encode(sent) if sent else None, headers=headers
    )
    response = connection.getresponse()
    try:
        return response.status, response.read()
    finally:
        connection.close()


def request_of(command: str) -> tuple[str, dict[str, Any]]:
    """The URL and the JSON that a curl command sends."""
    words = shlex.split(command, comments=True)
    (url,) = [word for word in words if word.startswith("http")]
    if "-d" not in words:
        return url, {}
    assert words[words.index("-H") + 1] == "Content-Type: application/json"
    return url, msgspec.json.decode(words[words.index("-d") + 1], type=dict[str, Any])


def check_answer(path: str, sent: dict[str, Any], body: bytes) -> None:
    """Whether it is the answer that this path gives."""
    if sent.get("stream"):
        events = data_of(body)
        assert events.pop() == "[DONE]"
        first, last = ("response.created", "response.completed") if path == "/v1/responses" else (None, None)
        assert (events[0].get("type"), events[-1].get("type")) == (first, last)
        assert TEXT.split()[0] in body.decode()
        return
    answer = msgspec.json.decode(body)
    if path == "/v1/chat/completions":
        assert (answer["object"], answer["choices"][0]["message"]["content"]) == ("chat.completion", TEXT)
    elif path == "/v1/completions":
        assert (answer["object"], answer["choices"][0]["text"]) == ("text_completion", TEXT)
    elif path == "/v1/responses":
        assert (answer["object"], answer["output"][0]["content"][0]["text"]) == ("response", TEXT)
    elif path == "/v1/embeddings":
        assert (answer["object"], answer["data"]) == ("list", EMBEDDINGS_REPLY["data"])
    elif path == "/v1/images/generations":
        assert answer["data"] == IMAGES_REPLY["data"]
    elif path == "/v1/messages":
        assert (answer["type"], answer["content"][0]["text"]) == ("message", TEXT)
    elif path == "/v1/models":
        assert answer["object"] == "list"
    else:
        assert (path, answer) == ("/health", {"status": "ok"})
        return
    assert answer.get("model", sent.get("model")) == sent.get("model")


def test_documents_hold_what_is_run_here() -> None:
    """Nothing slips through because a fence or a command is written in another way."""
    text = "".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    assert text.count("```python\n") == len(PROGRAMS) > 10
    assert len(re.findall(r"^ *(?:\$ )?curl ", text, re.MULTILINE)) == sum(map(len, CURLS.values())) > 5
    assert text.count("```") == 2 * len(BLOCKS)
    assert [block.id for block in PROGRAMS if re.search(r"^ *\)  # ", block.text, re.MULTILINE)] == []


def test_readme_has_300_to_600_words() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert 300 <= len(text.split()) <= 600


@pytest.mark.parametrize("document", EVERYTHING, ids=lambda document: str(document.relative_to(ROOT)))
def test_links_to_files_and_headings_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if not leads_somewhere(document, link)] == []


def leads_somewhere(document: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = document.parent / name if name else document
    if not anchor:
        return target.exists()
    headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
    return anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
