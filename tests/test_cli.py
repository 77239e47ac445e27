from __future__ import annotations

import contextlib
import http.client
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from aigateway.serving import Address, ServeError

PATIENCE = 60.0  # seconds; far more than anything here takes
LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")


# an upstream, in a thread


class Upstream(ThreadingHTTPServer):
    """Answers chat; a request for the model `slow` waits for `release`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.arrived = threading.Event()
        self.release = threading.Event()
        self.requests: list[tuple[str, str | None, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Answering(BaseHTTPRequestHandler):
    server: Upstream

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append((self.path, self.headers["authorization"], asked))
        if asked["model"] == "slow":
            self.server.arrived.set()
            self.server.release.wait(PATIENCE)
        message = {"role": "assistant", "content": "hello"}
        answer = json.dumps(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1,
                "model": asked["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
            }
        ).encode()
        with contextlib.suppress(OSError):  # the gateway has gone
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.release.set()
        server.shutdown()
        thread.join(PATIENCE)


# the gateway, in a process


def environment(**variables: str) -> dict[str, str]:
    """Ours, without what would name a provider or come between two processes of this machine."""
    words = ("_API_KEY", "_TOKEN", "_ACCESS_KEY", "_SECRET_KEY", "_BASE_URL", "_PROXY")
    kept = {name: value for name, value in os.environ.items() if not name.upper().endswith(words)}
    return {**kept, "PYTHONUNBUFFERED": "1", **variables}


class Served:
    """`python -m aigateway serve ...` with what it says."""

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "aigateway", "serve", *arguments],
            cwd=folder,
            env=environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._said: queue.Queue[str] = queue.Queue()
        self._errors: list[str] = []
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._threads = [
            threading.Thread(target=self._collect, args=(self.process.stdout, self._said.put)),
            threading.Thread(target=self._collect, args=(self.process.stderr, self._errors.append)),
        ]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _collect(stream: Any, keep: Callable[[str], None]) -> None:
        with stream:
            for line in stream:
                keep(line)

    @property
    def errors(self) -> str:
        return "".join(self._errors)

    def url(self) -> str:
        """Wait until it is ready."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                word, _, url = self._said.get(timeout=0.1).strip().partition(" ")
                assert word == "ready:"
                return url
            assert self.process.poll() is None, self.errors
        raise AssertionError(f"never ready: {self.errors}")

    def ended(self) -> int:
        """Wait until it has ended; its exit code."""
        code = self.process.wait(PATIENCE)
        for thread in self._threads:
            thread.join(PATIENCE)
        return code


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(*arguments: str, **variables: str) -> Served:
        started.append(Served(tmp_path, *arguments, **variables))
        return started[-1]

    yield start
    for served in started:
        served.process.kill()
        served.ended()


def write_config(folder: Path, upstream: Upstream, more: str = "") -> None:
    (folder / "gateway.yaml").write_text(
        f"providers: {{mock: {{type: openai, base_url: '{upstream.url}', api_key: none, apis: [chat]}}}}\n"
        'models: {m: {provider: mock, model: upstream-model}, "*": mock}\n'
        f"auth: {{keys: {{sk-client: team}}}}\n{more}"
    )


def ask(url: str, model: str = "m", *, key: str | None = "sk-client") -> tuple[int, dict[str, Any]]:
    """One chat completion."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE)
    headers = {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    with contextlib.closing(connection):
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


class Asking(threading.Thread):
    """A request that takes its time."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.outcome: tuple[int, dict[str, Any]] | Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.outcome = ask(self.url, "slow")
        except (OSError, http.client.HTTPException) as error:
            self.outcome = error


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def refuses(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except OSError:
        return True
    return False


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "aigateway", *arguments],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


# serving


def test_it_says_ready_when_it_answers_and_ends_with_0(
    serve: Callable[..., Served], upstream: Upstream, tmp_path: Path
) -> None:
    write_config(tmp_path, upstream, "hooks: ['aigateway.hooks:LoggingHook']")
    gateway = serve("--port", "0")
    url = gateway.url()
    assert url.startswith("http://127.0.0.1:")
    status, answer = ask(url)
    assert (status, answer["model"], answer["choices"][0]["message"]["content"]) == (200, "m", "hello")
    assert ask(url, key=None)[0] == ask(url, key="sk-wrong")[0] == 401
    assert upstream.requests[0][0] == "/v1/chat/completions"
    assert [request[2]["model"] for request in upstream.requests] == ["upstream-model"]
    gateway.process.terminate()
    assert gateway.ended() == 0
    assert refuses(url)
    assert "aigateway.calls" in gateway.errors
    assert "sk-client" not in gateway.errors


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_running_request_finishes_after_the_signal(
    serve: Callable[..., Served], upstream: Upstream, tmp_path: Path, workers: str, signum: signal.Signals
) -> None:
    write_config(tmp_path, upstream)
    gateway = serve("--port", "0", "--workers", workers)
    url = gateway.url()
    asking = Asking(url)
    assert upstream.arrived.wait(PATIENCE)
    gateway.process.send_signal(signum)
    until(lambda: refuses(url))
    assert gateway.process.poll() is None
    upstream.release.set()
    asking.join(PATIENCE)
    assert isinstance(asking.outcome, tuple), asking.outcome
    assert asking.outcome[0] == 200
    assert gateway.ended() == 0
    assert "Traceback" not in gateway.errors


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_signal_cuts_what_still_runs(
    serve: Callable[..., Served], upstream: Upstream, tmp_path: Path, workers: str
) -> None:
    write_config(tmp_path, upstream)
    gateway = serve("--port", "0", "--workers", workers)
    url = gateway.url()
    asking = Asking(url)
    assert upstream.arrived.wait(PATIENCE)
    gateway.process.send_signal(signal.SIGINT)
    until(lambda: refuses(url))
    assert asking.is_alive()
    gateway.process.send_signal(signal.SIGINT)
    assert gateway.ended() == 0
    asking.join(PATIENCE)
    assert isinstance(asking.outcome, Exception)
    assert not upstream.release.is_set()
    assert "Traceback" not in gateway.errors


def test_flags_win_over_the_config(serve: Callable[..., Served], upstream: Upstream, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        write_config(tmp_path, upstream, f"server: {{host: 192.0.2.1, port: {port}}}")
        url = serve("--host", "localhost", "--port", "0").url()
    assert url.startswith("http://localhost:")
    assert not url.endswith(f":{port}")
    assert ask(url)[0] == 200


def test_an_ipv6_address_stands_in_brackets(serve: Callable[..., Served], upstream: Upstream, tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    write_config(tmp_path, upstream)
    url = serve("--host", "::1", "--port", "0").url()
    assert url.startswith("http://[::1]:")
    assert ask(url)[0] == 200


def test_hooks_may_stand_beside_the_config(serve: Callable[..., Served], upstream: Upstream, tmp_path: Path) -> None:
    folder = tmp_path / "deploy"
    folder.mkdir()
    (tmp_path / "here.py").write_text("class Here:\n    def authenticate(self, call, key):\n        return 'tenant'\n")
    (folder / "there.py").write_text("class There:\n    def on_complete(self, call): ...\n")
    (folder / "some.yaml").write_text(
        f"providers: {{mock: {{base_url: '{upstream.url}'}}}}\nhooks: ['here:Here', 'there:There']\n"
    )
    url = serve("--config", "deploy/some.yaml", "--port", "0").url()
    assert ask(url, key=None)[0] == 200


@pytest.mark.parametrize("key", ["", "sk-env"], ids=["no key", "key"])
def test_without_a_config_the_environment_names_the_provider(
    serve: Callable[..., Served], upstream: Upstream, key: str
) -> None:
    gateway = serve("--port", "0", OPENAI_BASE_URL=upstream.url, **({"OPENAI_API_KEY": key} if key else {}))
    url = gateway.url()
    assert ask(url, "any", key=None)[1]["model"] == "any"
    assert ask(url, "openai/some", key=None)[1]["model"] == "openai/some"
    assert [(header, body["model"]) for _, header, body in upstream.requests] == [
        (f"Bearer {key}" if key else None, "any"),
        (f"Bearer {key}" if key else None, "some"),
    ]
    gateway.process.terminate()
    assert gateway.ended() == 0
    assert "no configuration file: providers openai" in gateway.errors
    assert "sk-env" not in gateway.errors


def test_a_websocket_upgrade_is_answered_426_without_a_word_in_the_log(
    serve: Callable[..., Served], upstream: Upstream, tmp_path: Path
) -> None:
    write_config(tmp_path, upstream)
    gateway = serve("--port", "0")
    connection = http.client.HTTPConnection(gateway.url().removeprefix("http://"), timeout=PATIENCE)
    with contextlib.closing(connection):
        upgrade = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-key": "x"}
        connection.request("GET", "/v1/responses", headers={**upgrade, "sec-websocket-version": "13"})
        assert connection.getresponse().status == 426
    gateway.process.terminate()
    assert gateway.ended() == 0
    assert "pgrade" not in gateway.errors


# refusals


def test_other_machines_are_let_in_only_with_authentication_or_on_demand(
    serve: Callable[..., Served], upstream: Upstream, tmp_path: Path
) -> None:
    everywhere = ("--host", "0.0.0.0", "--port", "0")  # noqa: S104 - to see it refused
    refused = run(tmp_path, "serve", *everywhere, OPENAI_BASE_URL=upstream.url)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "refusing to serve at 0.0.0.0" in refused.stderr
    assert "--no-auth" in refused.stderr
    allowed = serve(*everywhere, "--no-auth", OPENAI_BASE_URL=upstream.url)
    assert allowed.url().startswith("http://0.0.0.0:")
    until(lambda: "warning: anybody who can reach 0.0.0.0" in allowed.errors)
    write_config(tmp_path, upstream)
    guarded = serve(*everywhere)
    assert guarded.url().startswith("http://0.0.0.0:")
    guarded.process.terminate()
    assert guarded.ended() == 0
    assert "warning" not in guarded.errors


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken_is_told(upstream: Upstream, tmp_path: Path, workers: str) -> None:
    write_config(tmp_path, upstream)
    port = str(upstream.server_address[1])
    refused = run(tmp_path, "serve", "--port", port, "--workers", workers)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert (
        refused.stderr == f"port {port} on 127.0.0.1 is taken: stop what listens there, or choose another with --port\n"
    )


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("no-such-host.invalid", 0, "the host 'no-such-host.invalid' cannot be resolved"),
        ("a" * 100, 0, "cannot be resolved"),
        ("192.0.2.1", 0, "192.0.2.1 is not an address of this machine: choose another with --host"),
    ],
    ids=["unknown", "too long", "of another machine"],
)
def test_an_address_that_cannot_be_had_is_told(host: str, port: int, words: str) -> None:
    with pytest.raises(ServeError, match=words):
        Address(host, port).bind()


def test_whoever_listens_first_has_the_port() -> None:
    address = Address("127.0.0.1", 0)
    with address.bind() as first:
        same = Address("127.0.0.1", first.getsockname()[1])
        address.listen(first)
        with pytest.raises(ServeError, match="is taken"):
            same.bind()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("localhost", True), ("0.0.0.0", False), ("192.0.2.1", False)],  # noqa: S104
)
def test_loopback_is_what_only_this_machine_reaches(host: str, loopback: bool) -> None:
    assert Address(host, 0).is_loopback is loopback


def test_a_bad_config_is_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("server: {port: x}\nhooks: ['nowhere:Hook']\n")
    refused = run(tmp_path, "serve")
    assert (refused.returncode, refused.stdout) == (1, "")
    first, second = refused.stderr.splitlines()
    assert first == "gateway.yaml:1: server.port: expected a whole number, got a string"
    assert second.startswith("gateway.yaml:2: hooks[0]: importing nowhere failed")


def test_a_local_model_that_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"no model")
    (tmp_path / "gateway.yaml").write_text("providers: {local: {path: broken.gguf}}\nmodels: {m: local}\n")
    refused = run(tmp_path, "serve", "--port", "0")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "the local model" in refused.stderr.lower()
    assert "Traceback" not in refused.stderr


# check


def test_check_sums_a_good_config_up(upstream: Upstream, tmp_path: Path) -> None:
    write_config(tmp_path, upstream, "hooks: ['aigateway.hooks:LoggingHook']")
    checked = run(tmp_path, "check")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout == "ok: gateway.yaml: providers mock; models m, *; authentication on; 1 hook\n"


def test_check_without_a_config_tells_what_would_be_served(tmp_path: Path) -> None:
    found = run(tmp_path, "check", GEMINI_API_KEY="k", OPENAI_API_KEY="k")
    assert (
        found.stdout == "ok: no configuration file: providers openai, gemini; models *; authentication off; 0 hooks\n"
    )
    nothing = run(tmp_path, "check")
    assert nothing.stdout == "ok: no configuration file: providers local; models local; authentication off; 0 hooks\n"


def test_check_tells_every_mistake(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("server:\n  prot: 1\nmodels: {m: nowhere}\n")
    checked = run(tmp_path, "check", "--config", "bad.yaml")
    assert (checked.returncode, checked.stdout) == (1, "")
    assert checked.stderr.splitlines() == [
        "bad.yaml:2: server.prot: unknown key; did you mean port?",
        "bad.yaml:3: models.m: unknown provider 'nowhere'",
    ]


def test_a_config_that_is_not_there_is_told(tmp_path: Path) -> None:
    checked = run(tmp_path, "check", "--config", "none.yaml")
    assert (checked.returncode, checked.stdout) == (1, "")
    assert checked.stderr == "none.yaml: cannot be read: No such file or directory\n"


def test_the_version_is_told(tmp_path: Path) -> None:
    told = run(tmp_path, "--version")
    assert (told.returncode, told.stdout.split()[0]) == (0, "aigateway")


# workers


def workers_of(pid: int) -> set[int]:
    """The living worker processes of a supervisor."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended while we looked
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                command = (entry / "cmdline").read_text()
                if int(parent) == pid and state != "Z" and "spawn_main" in command:
                    found.add(int(entry.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@LINUX
def test_a_worker_that_dies_is_replaced(serve: Callable[..., Served], upstream: Upstream, tmp_path: Path) -> None:
    write_config(tmp_path, upstream)
    gateway = serve("--port", "0", "--workers", "2")
    url = gateway.url()
    first = workers_of(gateway.process.pid)
    assert len(first) == 2
    killed = min(first)
    os.kill(killed, signal.SIGKILL)
    until(lambda: len(workers_of(gateway.process.pid) - first) == 1)
    assert ask(url)[0] == 200
    until(lambda: f"worker {killed} ended with -9; starting another" in gateway.errors)
    os.kill(max(first), signal.SIGTERM)
    until(lambda: len(workers_of(gateway.process.pid) - first) == 2)
    last = workers_of(gateway.process.pid)
    gateway.process.terminate()
    assert gateway.ended() == 0
    assert not any(alive(pid) for pid in first | last)


@LINUX
def test_workers_end_when_their_supervisor_is_killed(
    serve: Callable[..., Served], upstream: Upstream, tmp_path: Path
) -> None:
    write_config(tmp_path, upstream)
    gateway = serve("--port", "0", "--workers", "2")
    gateway.url()
    workers = workers_of(gateway.process.pid)
    assert len(workers) == 2
    gateway.process.kill()
    until(lambda: not any(alive(pid) for pid in workers))


def test_workers_that_cannot_start_are_told_once(tmp_path: Path, upstream: Upstream) -> None:
    (tmp_path / "fussy.py").write_text(
        "import multiprocessing\n"
        "class Fussy:\n"
        "    def __init__(self):\n"
        "        if multiprocessing.parent_process() is not None: raise ValueError('not in a worker')\n"
        "    def on_complete(self, call): ...\n"
    )
    write_config(tmp_path, upstream, "hooks: ['fussy:Fussy']")
    refused = run(tmp_path, "serve", "--port", "0", "--workers", "3")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.count("making fussy:Fussy failed: ValueError: not in a worker") == 1
    assert "a worker did not start" in refused.stderr
    assert "Traceback" not in refused.stderr
