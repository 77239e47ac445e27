"""The example as somebody runs it: its image built line by line without Docker, started, asked by its client, stopped."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest
import yaml

from aigateway import InvalidRequestError, ServerError
from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from example.server import ErrorHook, Settings, SettingsError, build_gateway, is_loopback, read_settings
from tests.answers import EMBEDDINGS_REPLY, IMAGES_REPLY, TEXT, stream, whole
from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "example"
KEY = "sk-test-key"
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "the question"}]}


class Line(msgspec.Struct):
    """One instruction of a Dockerfile."""

    name: str
    rest: str


def dockerfile() -> list[Line]:
    text = (EXAMPLE / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [Line(*line.split(None, 1)) for line in lines]


def instructions(name: str) -> list[str]:
    return [line.rest for line in dockerfile() if line.name == name]


class Image(msgspec.Struct):
    """What a Dockerfile made: a folder, and the environment of what runs in it."""

    folder: Path
    environment: dict[str, str]

    def copy(self, rest: str) -> None:
        """COPY: files into a folder that ends with a slash, a folder's content into a folder, or a file to a file."""
        *sources, target = rest.split()
        for source in (ROOT / source for source in sources):
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, self.folder / target, ignore=ignored, dirs_exist_ok=True)
            else:
                place = self.folder / target / (source.name if target.endswith("/") else "")
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, place)

    def run(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A shell command, as RUN and HEALTHCHECK have them."""
        return subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )


def make_python(folder: Path) -> Path:
    """A Python of its own that has what this one has installed, the gateway excepted: it is editable here."""
    venv.create(folder, symlinks=True)
    installed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    place = {"base": str(folder), "platbase": str(folder)}
    own = Path(sysconfig.get_path("purelib", "venv", vars=place))
    (own / "beside.pth").write_text("\n".join(sorted(installed)), encoding="utf-8")
    return folder / "bin"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The image, built in an empty folder without a network."""
    folder = tmp_path_factory.mktemp("image")
    programs = make_python(folder / "python")
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(folder), "PIP_NO_INDEX": "1", "LC_ALL": "C.UTF-8"}
    built = Image(folder, environment)
    for line in dockerfile():
        if line.name == "WORKDIR":
            built.folder = folder / line.rest.lstrip("/")
            built.folder.mkdir()
        elif line.name == "ENV":
            built.environment |= dict(pair.split("=", 1) for pair in line.rest.split())
        elif line.name == "COPY":
            built.copy(line.rest)
        elif line.name == "RUN":
            done = built.run(line.rest)
            assert done.returncode == 0, f"{line.rest}\n{done.stdout}{done.stderr}"
        else:
            assert line.name in ("FROM", "USER", "EXPOSE", "HEALTHCHECK", "CMD")
    yield built
    shutil.rmtree(folder)


def mock(request: ReceivedRequest) -> Script:
    if request.path == "/v1/embeddings":
        return Script.of_json(EMBEDDINGS_REPLY)
    if request.path == "/v1/images/generations":
        return Script.of_json(IMAGES_REPLY)
    return stream("chat") if request.json().get("stream") else whole("chat")


class Running(msgspec.Struct):
    """A started image in front of a scripted upstream. `log` is there once it has stopped."""

    upstream: ScriptedUpstream
    port: int
    program: asyncio.subprocess.Process
    log: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def stop(self) -> str:
        """SIGTERM; gives the log once the program has ended."""
        if self.program.returncode is None:
            self.program.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(self.program.communicate(), 20)
        self.log = self.log or errors.decode()
        return self.log


@asynccontextmanager
async def started(image: Image, **environment: str) -> AsyncIterator[Running]:
    """What `docker run` starts."""
    async with ScriptedUpstream() as upstream:
        upstream.answer_with(mock)
        port = free_port()
        settings = {"OPENAI_BASE_URL": upstream.base_url, "OPENAI_API_KEY": "sk-upstream", "LLM_MODEL": "real-model"}
        settings |= {"GATEWAY_KEYS": f"{KEY}:team-a", "PORT": str(port)} | environment
        (command,) = instructions("CMD")
        program = await asyncio.create_subprocess_exec(
            *json.loads(command), cwd=image.folder, env=image.environment | settings, stderr=asyncio.subprocess.PIPE
        )
        running = Running(upstream, port, program)
        try:
            await until_healthy(running)
            yield running
        finally:
            await running.stop()


async def until_healthy(running: Running) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(600):  # half a minute: the machine may be busy
            try:
                async with session.get(f"{running.url}/health") as response:
                    assert (response.status, await response.json()) == (200, {"status": "ok"})
                    return
            except aiohttp.ClientConnectionError:
                assert running.program.returncode is None, await running.stop()
                await asyncio.sleep(0.05)
    raise AssertionError("it never became healthy")


async def run_client(running: Running, **environment: str) -> tuple[int, str]:
    """The exit code of client.py and everything that it prints."""
    client = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLE / "client.py"),
        env=os.environ | {"GATEWAY_URL": f"{running.url}/v1", "GATEWAY_KEY": KEY} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await client.communicate()
    assert client.returncode is not None
    return client.returncode, output.decode()


async def test_client_is_answered_on_every_api_and_the_log_tells_no_secret(image: Image) -> None:
    async with started(image) as running:
        code, output = await run_client(running)
        assert (code, output.splitlines()) == (
            0,
            [
                f"chat: {TEXT}",
                f"chat, streaming: {TEXT}",
                f"responses: {TEXT}",
                f"responses, streaming: {TEXT} (18 tokens)",
                "embeddings: [2] numbers",
            ],
        )
        sent = [(request.path, request.json()["model"]) for request in running.upstream.requests]
        assert sent == [("/v1/chat/completions", "real-model")] * 4 + [("/v1/embeddings", "text-embedding-3-small")]
        assert {request.headers["authorization"] for request in running.upstream.requests} == {"Bearer sk-upstream"}
        log = await running.stop()
    assert log.count("outcome=completed status=200 tenant=team-a") == 5
    assert not re.search(f"{KEY}|sk-upstream|Count to 10|{TEXT}", log)


async def test_client_with_another_key_is_refused_and_told_so(image: Image) -> None:
    async with started(image) as running:
        code, output = await run_client(running, GATEWAY_KEY="sk-of-nobody")
        assert code == 1
        assert "openai.AuthenticationError: Error code: 401" in output
        assert running.upstream.requests == []


async def test_health_check_tells_a_healthy_program_from_a_dead_one(image: Image) -> None:
    (check,) = instructions("HEALTHCHECK")
    command = check.partition("CMD ")[2]
    async with started(image) as running:
        healthy = await asyncio.to_thread(image.run, command, PORT=str(running.port))
        await running.stop()
        dead = await asyncio.to_thread(image.run, command, PORT=str(running.port))
    assert (healthy.returncode, healthy.stderr) == (0, "")
    assert dead.returncode == 1


async def test_stopping_lets_a_running_stream_finish(image: Image) -> None:
    async with started(image) as running, aiohttp.ClientSession() as session:
        hold = asyncio.Event()
        running.upstream.script(stream("chat", hold_after=(2, hold)))
        body, headers = {**CHAT, "stream": True}, {"authorization": f"Bearer {KEY}"}
        async with session.post(f"{running.url}/v1/chat/completions", json=body, headers=headers) as response:
            await response.content.readuntil(b"\n\n")
            running.program.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.3)
            assert running.program.returncode is None
            hold.set()
            assert (await response.read()).endswith(b"data: [DONE]\n\n")
        await asyncio.wait_for(running.program.wait(), 10)


def test_image_has_the_package_and_not_the_local_model(image: Image) -> None:
    done = image.run("python -c 'import aigateway; print(aigateway.__file__)'")
    assert done.stdout.startswith(str(image.folder.parent / "python")), done.stderr
    pins = [(image.folder / f"requirements/{name}.txt").read_text(encoding="utf-8") for name in ("runtime", "image")]
    names = [set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE)) for text in pins]
    assert names[0] - names[1] == {"xllamacpp"}
    assert names[1] < names[0]


def test_image_is_slim_and_runs_as_an_ordinary_user() -> None:
    (base,) = instructions("FROM")
    assert re.fullmatch(r"python:3\.\d+-slim", base)
    (user,) = instructions("USER")
    assert int(user.partition(":")[0]) > 0
    assert dockerfile().index(Line("USER", user)) > max(i for i, line in enumerate(dockerfile()) if line.name == "RUN")
    assert instructions("EXPOSE") == ["8083"]


def test_everything_that_is_copied_is_let_through_to_docker() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_through = {line[1:] for line in lines if line.startswith("!")}
    copied = [source for rest in instructions("COPY") for source in rest.split()[:-1]]
    assert [source for source in copied if not let_through & {source, source.partition("/")[0]}] == []


# the settings

EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing listens there: it is what must be refused
GOOD = {"OPENAI_API_KEY": "sk-upstream"}
OTHER_HOST = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "LLM_MODEL": "real-model", **GOOD}


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "OPENAI_API_KEY is not set"),
        ({"OPENAI_API_KEY": " "}, "OPENAI_API_KEY is not set"),
        (OTHER_HOST | {"LLM_MODEL": ""}, "LLM_MODEL is not set: the model at http://127.0.0.1:9/v1"),
        (GOOD | {"HOST": EVERYWHERE}, f"GATEWAY_KEYS is not set, and HOST={EVERYWHERE} lets others in"),
        (GOOD | {"GATEWAY_KEYS": "a:b, secret"}, "GATEWAY_KEYS: entry 2 is not key:tenant"),
        (GOOD | {"PORT": "http"}, "PORT must be a number"),
    ],
    ids=["no-key", "empty-key", "no-model", "open-without-keys", "key-without-tenant", "port"],
)
def test_missing_setting_is_told_by_name(environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read_settings(environment)
    assert str(raised.value).startswith(message)
    assert "secret" not in str(raised.value)


def test_program_without_settings_ends_with_a_message(image: Image) -> None:
    done = image.run("python server.py")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("cannot start: OPENAI_API_KEY is not set")


def test_program_with_an_impossible_url_ends_with_a_message(image: Image) -> None:
    done = image.run(
        "python server.py", OPENAI_BASE_URL="host:80", OPENAI_API_KEY="k", LLM_MODEL="m", GATEWAY_KEYS="a:b"
    )
    assert (done.returncode, done.stderr.partition(" must be")[0]) == (1, "cannot start: base_url")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_needs_no_keys(host: str) -> None:
    assert is_loopback(host)
    assert read_settings(GOOD | {"HOST": host}).keys == {}


def test_open_host_without_keys_when_told() -> None:
    assert read_settings(GOOD | {"HOST": EVERYWHERE, "GATEWAY_NO_AUTH": "1"}).host == EVERYWHERE
    assert not build_gateway(read_settings(GOOD)).authenticates


def routes(settings: Settings) -> dict[str, str | None]:
    """Model name -> the name sent upstream."""
    entries = build_gateway(settings).models.listed()
    return {entry.name: entry.targets[0].model for entry in entries}


def test_names_go_to_the_models_of_the_settings() -> None:
    chat = dict.fromkeys(["gpt-4o", "gpt-4o-mini", "gpt-3.5-turbo", "real-model"], "real-model")
    embeddings = ("text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002")
    images = dict.fromkeys(["gpt-image-1", "dall-e-3", "dall-e-2"])
    assert routes(read_settings(OTHER_HOST)) == chat | dict.fromkeys(embeddings) | images
    rewritten = routes(read_settings(OTHER_HOST | {"EMBEDDING_MODEL": "bge"}))
    assert rewritten == chat | dict.fromkeys(embeddings, "bge") | images


def test_openai_itself_needs_no_model_and_speaks_responses() -> None:
    settings = read_settings(GOOD)
    assert routes(settings)["gpt-4o"] is None
    assert set(build_gateway(settings).providers()[0].apis) >= {"chat", "responses", "embeddings", "images"}


def test_error_hook_names_the_call_where_it_is_no_fault_of_the_caller() -> None:
    call = build_gateway(read_settings(GOOD)).exchange("chat", {"x-request-id": "req-7"}).call
    assert ErrorHook().on_error(call, ServerError("It broke.")).message == "It broke. (request id: req-7)"
    assert ErrorHook().on_error(call, InvalidRequestError("Wrong.")).message == "Wrong."


# the files around it


def variables(text: str) -> set[str]:
    return set(re.findall(r"^([A-Z_]+)=", text, re.MULTILINE))


def test_compose_file_builds_this_image_and_passes_what_the_program_reads() -> None:
    document: Mapping[str, Mapping[str, Mapping[str, object]]] = yaml.safe_load(
        (EXAMPLE / "compose.yaml").read_text(encoding="utf-8")
    )
    (service,) = document["services"].values()
    build = service["build"]
    assert isinstance(build, dict)
    assert ((EXAMPLE / build["context"]).resolve(), ROOT / build["dockerfile"]) == (ROOT, EXAMPLE / "Dockerfile")
    assert service["ports"] == ["8083:8083"]
    environment = service["environment"]
    assert isinstance(environment, dict)
    assert set(environment) == variables((EXAMPLE / ".env.example").read_text(encoding="utf-8"))
    assert all(f"${{{name}:" in value for name, value in environment.items())


def test_env_example_is_plain_shell_and_makes_good_settings() -> None:
    show = "import json, os; print(json.dumps(dict(os.environ)))"
    command = f'set -a; . ./.env.example; set +a; "{sys.executable}" -I -c "{show}"'
    done = subprocess.run(["/bin/sh", "-c", command], cwd=EXAMPLE, env={}, capture_output=True, text=True, check=True)
    settings = read_settings(json.loads(done.stdout))
    assert (settings.llm_model, settings.embedding_model, settings.keys) == (
        "gpt-4o-mini",
        None,
        {"sk-change-me": "team-a"},
    )


def test_every_setting_stands_in_the_readme() -> None:
    read = set(re.findall(r'values(?:\.get\(|\[)?"([A-Z_]+)"', (EXAMPLE / "server.py").read_text(encoding="utf-8")))
    assert read >= {"OPENAI_BASE_URL", "LLM_MODEL", "GATEWAY_KEYS"}
    readme = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    assert [name for name in sorted(read) if f"`{name}`" not in readme and f"`{name}=1`" not in readme] == []
