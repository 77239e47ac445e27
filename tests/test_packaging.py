"""What somebody who installs the package relies on: what is in it, what it pulls in, and what importing it costs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import aigateway

ROOT = Path(__file__).resolve().parent.parent
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def python(code: str, cache: Path) -> str:
    """What `code` prints in an interpreter of its own, without coverage and with bytecode cached in `cache`."""
    command = [sys.executable, "-I", "-X", f"pycache_prefix={cache}", "-c", code]
    done = subprocess.run(command, cwd=cache, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: Path) -> dict[str, str]:
    """Distribution name -> locked version."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    return {normalized(name): version for name, version in found}


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The paths in the wheel that hatchling builds."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("aigateway-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_wheel_holds_every_module_and_the_marker_of_types(wheel_names: list[str]) -> None:
    source = ROOT / "src"
    modules = {path.relative_to(source).as_posix() for path in (source / "aigateway").rglob("*.py")}
    assert "aigateway/py.typed" in wheel_names
    assert modules <= set(wheel_names)


def test_wheel_holds_the_package_and_its_metadata_only(wheel_names: list[str]) -> None:
    info = f"aigateway-{metadata.version('aigateway')}.dist-info"
    assert {name.split("/")[0] for name in wheel_names} == {"aigateway", info}
    assert f"{info}/licenses/LICENSE" in wheel_names


def test_command_is_installed() -> None:
    (command,) = metadata.entry_points(group="console_scripts", name="aigateway")
    assert callable(command.load())


def test_import_costs_less_than_150_ms_of_processor_time(tmp_path: Path) -> None:
    code = "import time; start = time.process_time(); import aigateway; print(time.process_time() - start)"
    python(code, tmp_path)  # compiles the bytecode, as an installer does
    assert min(float(python(code, tmp_path)) for _ in range(5)) < 0.150


@pytest.mark.parametrize(
    "name", ["aiohttp", "click", "httptools", "openai", "uvicorn", "uvloop", "websockets", "xllamacpp", "yaml"]
)
def test_import_leaves_until_needed(name: str, tmp_path: Path) -> None:
    assert name not in json.loads(
        python("import aigateway, json, sys; print(json.dumps(sorted(sys.modules)))", tmp_path)
    )


def test_import_opens_no_socket_and_reads_no_file(tmp_path: Path) -> None:
    code = """if True:
        import sys
        touched = []

        def watch(event, arguments):
            imported = event == "open" and str(arguments[0]).endswith((".py", ".pyc", ".so", ".pyd"))
            if event.startswith(("socket.", "subprocess.", "os.exec")) or event == "open" and not imported:
                touched.append((event, repr(arguments)))

        sys.addaudithook(watch)
        import aigateway
        open(sys.executable, "rb").close()
        print(len(touched), touched)
    """
    python("import aigateway", tmp_path)  # from here on no bytecode needs writing
    count, _, told = python(code, tmp_path).partition(" ")
    assert count == "1", told  # the one that shows that the watch works


def test_public_names_are_sorted_and_importable() -> None:
    assert list(aigateway.__all__) == sorted(set(aigateway.__all__))
    assert [name for name in aigateway.__all__ if not hasattr(aigateway, name)] == []


def test_every_lock_is_there() -> None:
    assert [lock.name for lock in LOCKS] == ["build.txt", "lock.txt", "runtime.txt", "test.txt"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_locked_requirements_have_hashes(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert lines
    assert [line for line in lines if not re.match(r"\S+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_locked_requirements_name_no_index_and_no_machine(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert re.findall(r"\S*://\S*|--(?:extra-)?index-url.*|--find-links.*|(?<=\s)/\S+", text) == []


def test_locked_clients_have_hashes_and_name_no_place() -> None:
    """What `make clients` installs: exact versions, found wherever npm is told to look."""
    folder = ROOT / "clients"
    wanted = json.loads((folder / "package.json").read_text(encoding="utf-8"))["dependencies"]
    packages = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert packages.pop("")["dependencies"] == wanted
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert [name for name, package in packages.items() if not package["integrity"].startswith("sha512-")] == []
    assert [name for name, package in packages.items() if "resolved" in package] == []


def test_tests_run_on_the_versions_that_are_served() -> None:
    tested = pins(ROOT / "requirements" / "test.txt")
    served = pins(ROOT / "requirements" / "build.txt") | pins(ROOT / "requirements" / "runtime.txt")
    assert {name: tested.get(name) for name in served} == served


def test_locks_cover_what_the_package_requires() -> None:
    required = {normalized(re.split(r"[^A-Za-z0-9._-]", line)[0]) for line in metadata.requires("aigateway") or []}
    served, tested = (pins(ROOT / "requirements" / name).keys() for name in ("runtime.txt", "test.txt"))
    assert required <= served | tested
    assert required - served <= {"alembic", "asyncpg", "redis", "sqlalchemy"}  # of stores that few gateways use


def justified() -> set[str]:
    """The distributions that docs/dependencies.md gives a reason for: the first column of its tables."""
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    return {normalized(name) for name in re.findall(r"^\| `([^`]+)` \| \S.*\|$", text, re.MULTILINE)}


def asked_for() -> set[str]:
    """The distributions that pyproject.toml and requirements/*.in ask for by name."""
    lines = list(metadata.requires("aigateway") or [])
    for path in (ROOT / "requirements").glob("*.in"):
        lines += path.read_text(encoding="utf-8").splitlines()
    return {normalized(found[0]) for line in lines if (found := re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line))}


def test_every_dependency_is_justified_and_no_other() -> None:
    assert asked_for() == justified()
