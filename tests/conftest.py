"""What every test runs under."""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping

import pytest
from hypothesis import HealthCheck, settings

from tests.measuring import measure
from tests.sampling import sample

os.environ["AIGATEWAY_DEBUG"] = "1"  # before aigateway is imported: every translated stream is held to the laws

# Gateways that tests serve keep their state here, and not in the developer's own file.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="aigateway-state-")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)

# No test depends on the clock: a slow machine is not a bug. CI looks at the same examples every time, so that it says
# the same of the same tree; a developer's run looks at new ones.
# AIGATEWAY_EXAMPLES asks for more of them than the gate has time for.
settings.register_profile(
    "gate",
    max_examples=int(os.environ.get("AIGATEWAY_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("gate")

_BOTH_LOOPS = (
    "test_transport.py",
    "test_transport_faults.py",
    "test_transport_tls.py",
    "test_transport_upload.py",
    "test_wire.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The gate has six minutes: of large tests it runs some rows."""
    if not config.getoption("every_row"):
        items[:], left = sample(items)
        config.hook.pytest_deselected(items=left)


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Behind pytest-cov, which starts to measure here."""
    measure(session.config)


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loops that a test runs on: what touches sockets itself runs on uvloop too, which servers have."""
    if item.path.name not in _BOTH_LOOPS or sys.platform == "win32":
        return {"asyncio": asyncio.new_event_loop}
    import uvloop  # noqa: PLC0415 - not on Windows

    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Golden files are written anew on demand only; large tests run whole on demand only."""
    parser.addoption("--every-row", action="store_true", help="run every row of the large tests, not some of them")
    parser.addoption("--update-golden", action="store_true", help="write tests/golden/*.json anew, for review")
