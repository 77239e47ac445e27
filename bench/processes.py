"""Servers in processes of their own: start, CPU spent, stop. Reads /proc, so Linux only."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")  # the grain of the CPU clock in /proc, seconds
_ROOT = Path(__file__).resolve().parent.parent
_START_SECONDS = 30.0
_STOP_SECONDS = 5.0


class BenchError(Exception):
    """The measurement cannot be made; the message says why."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def served(command: list[str], port: int) -> Iterator[int]:
    """Run `command` until it listens on `port`, yield its process id, and stop it with all its children.

    BenchError, with what the command wrote, when it ends or keeps silent.
    """
    server = None
    try:
        with _signals_held():
            server = _start(command)
        _await_listening(server, command, port)
        yield server.pid
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


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    null = subprocess.DEVNULL
    try:
        # Its own session: Ctrl-C reaches this process alone, and the whole group can be killed.
        return subprocess.Popen(
            command, cwd=_ROOT, env=_environment(), stdout=null, stderr=null, start_new_session=True
        )
    except OSError as error:
        raise BenchError(str(error)) from error


def _environment() -> dict[str, str]:
    # A proxy of the machine must not come between a server and the mock upstream.
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def _await_listening(server: subprocess.Popen[bytes], command: list[str], port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise BenchError(f"{' '.join(command)}: ended with {server.returncode}\n{_words_of(command)}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise BenchError(f"{' '.join(command)}: not listening after {_START_SECONDS:.0f} s")


def _words_of(command: list[str]) -> str:
    # A measured server writes to /dev/null; one that did not start is asked once more, with its output kept.
    try:
        again = subprocess.run(
            command, cwd=_ROOT, env=_environment(), capture_output=True, text=True, timeout=5, check=False
        )
    except subprocess.TimeoutExpired:
        return "(a second start did not end)"
    return (again.stdout + again.stderr).strip()


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(_STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):  # raised when nobody of the group is left
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def cpu_seconds(pid: int) -> float:
    """User and system CPU spent so far by process `pid` and all its descendants, ended ones too."""
    stats = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended while we looked
                # The second field, the command in parentheses, may hold anything; count from behind it.
                stats[int(entry.name)] = (entry / "stat").read_text().rpartition(")")[2].split()
    tree = [pid]
    for parent in tree:  # grows while it is walked
        tree.extend(child for child, fields in stats.items() if int(fields[1]) == parent)
    # utime, stime, cutime, cstime: fields 14 to 17 of proc(5).
    return sum(int(ticks) for member in tree if member in stats for ticks in stats[member][11:15]) * TICK
