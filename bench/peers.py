"""Peers from the package index, each installed by its name into a virtual environment of its own, outside the tree."""

import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

from bench.processes import BenchError

_REQUIREMENTS: Final = {"ferrogw": "ferrogw", "smg": "smg", "litellm": "litellm[proxy]"}
_INSTALL_SECONDS: Final = 900


def _home() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "aigateway-bench"


def programs(name: str) -> Path:
    """The folder of a peer's programs, installed now if it was not before. Raises BenchError where that fails."""
    folder = _home() / f"{name}-{sys.implementation.cache_tag}"
    stamp = folder / "installed"
    if not stamp.exists():
        print(f"bench: installing {name} into {folder}", file=sys.stderr)
        try:
            venv.create(folder, with_pip=True, clear=True)
            _pip(folder / "bin" / "python", _REQUIREMENTS[name])
        except (OSError, subprocess.SubprocessError) as error:
            raise BenchError(f"{name} cannot be installed: {error}") from error
        stamp.touch()
    return folder / "bin"


def _pip(python: Path, requirement: str) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "-q", "install", requirement]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or ["pip said nothing"]
        raise BenchError(f"pip install {requirement}: {lines[-1]}")


def version(name: str) -> str:
    """The installed one, as its package says; "" when that cannot be told."""
    found = sorted(_home().glob(f"{name}-{sys.implementation.cache_tag}/lib/python*/site-packages/{name}-*.dist-info"))
    return found[0].name.removesuffix(".dist-info").partition("-")[2] if found else ""
