"""Servers in processes of their own: start, CPU and memory, stop. Reads /proc, so Linux only."""

import contextlib
import http.client
import os
import random
import resource
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

_TICK = 1 / os.sysconf("SC_CLK_TCK")  # the grain of times in /proc, seconds
_CPU_CLOCK = 2  # of a process, as clock_getcpuclockid(3) makes it: with the process's id above
_PAGE = os.sysconf("SC_PAGE_SIZE")
_ROOT = Path(__file__).resolve().parent.parent
_WORDS = 4000  # bytes of a server's last words that are shown
_STOP_SECONDS = 5.0


class BenchError(Exception):
    """The measurement cannot be made; the message says why."""


def status_of(
    port: int, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> int | None:
    """The status of one answer from 127.0.0.1:`port`; None where none came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return answer.status


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now, and that no outgoing connection is given."""
    while True:
        port = random.randrange(10_240, 32_000)  # below the ephemeral ranges
        with contextlib.suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            return port


def raise_file_limit() -> int:
    """Let this process, and those it starts, open as many files as the system allows; how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@contextlib.contextmanager
def served(
    command: list[str],
    answers: Callable[[], bool],
    *,
    environment: Mapping[str, str] | None = None,
    patience: float = 60.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` until it `answers`, yield its process, and stop it with all its children.

    BenchError, with what the command wrote, when it ends or keeps silent.
    """
    server = None
    with tempfile.TemporaryFile() as errors:
        try:
            with _signals_held():
                server = _start(command, {**_environment(), **(environment or {})}, errors)
            _await_answer(server, answers, patience, lambda: _last_words(errors))
            yield server
        finally:
            if server is not None:
                _stop(server)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    # Popen waits for its child; a Ctrl-C in that moment would lose the child, and nobody would stop it.
    caught: list[int] = []
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in usual:
        signal.signal(number, lambda got, _: caught.append(got))
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
    for got in caught:
        signal.raise_signal(got)


def _start(command: list[str], environment: Mapping[str, str], errors: IO[bytes]) -> subprocess.Popen[bytes]:
    null = subprocess.DEVNULL
    try:
        # Its own session: Ctrl-C reaches this process alone, and the whole group can be killed.
        return subprocess.Popen(
            command, cwd=_ROOT, env=environment, stdin=null, stdout=null, stderr=errors, start_new_session=True
        )
    except OSError as error:
        raise BenchError(str(error)) from error


def _environment() -> dict[str, str]:
    # A proxy of the machine must not come between a server and the mock upstream.
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def _await_answer(
    server: subprocess.Popen[bytes], answers: Callable[[], bool], patience: float, words: Callable[[], str]
) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise BenchError(f"{server.args!r}: ended with {server.returncode}\n{words()}")
        if answers():
            return
        time.sleep(0.01)
    raise BenchError(f"{server.args!r}: no answer after {patience:.0f} s\n{words()}")


def _last_words(errors: IO[bytes]) -> str:
    errors.seek(0)
    return errors.read()[-_WORDS:].decode(errors="replace").strip()


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(_STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):  # raised when nobody of the group is left
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def _tree(pid: int) -> dict[int, list[str]]:
    """Process `pid` and all its descendants, with the fields of proc(5)'s `stat` from the third on."""
    stats = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended while we looked
                # The second field, the command in parentheses, may hold anything; count from behind it.
                stats[int(entry.name)] = (entry / "stat").read_text().rpartition(")")[2].split()
    tree = [pid]
    for parent in tree:  # grows while it is walked
        tree.extend(child for child, fields in stats.items() if int(fields[1]) == parent)
    return {member: stats[member] for member in tree if member in stats}


def cpu_seconds(pid: int) -> float:
    """User and system CPU spent so far by process `pid` and all its descendants, ended ones too.

    To the nanosecond but for what ended: that is told in ticks.
    """
    spent = 0.0
    for member, fields in _tree(pid).items():
        with contextlib.suppress(OSError):  # it ended while we looked
            spent += time.clock_gettime(~member << 3 | _CPU_CLOCK)
        spent += sum(map(int, fields[13:15])) * _TICK  # cutime, cstime: fields 16 and 17 of proc(5)
    return spent


def resident_bytes(pid: int) -> int:
    """Memory that process `pid` and all its descendants have in RAM; what they share counts for each."""
    return sum(int(fields[21]) for fields in _tree(pid).values()) * _PAGE


def open_files(pid: int) -> int:
    """File descriptors of process `pid` alone."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
