"""The stores that tests of state run over."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from aigateway.state import ResponseStore, open_store
from tests.state import servers
from tests.state.rig import REGISTERED

BACKENDS = ("memory", "sqlite", "postgresql", "redis")
SHARED = BACKENDS[1:]
"""Those that several processes can use at once."""


@pytest.fixture(scope="session")
def session_id(request: pytest.FixtureRequest) -> str:
    """The same in all processes of one run of pytest."""
    worker: dict[str, str] = getattr(request.config, "workerinput", {})
    return worker.get("testrunuid") or uuid.uuid4().hex


@pytest.fixture(scope="session")
def redis_folder(session_id: str) -> Iterator[Path]:
    with servers.shared("redis", session_id, servers.start_redis) as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres_folder(session_id: str) -> Iterator[Path]:
    with servers.shared("postgres", session_id, servers.start_postgres) as folder:
        yield folder


StoreURL = Callable[[str], str]


@pytest.fixture
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> StoreURL:
    """The URL of a store of a backend. Those in PostgreSQL and Redis are shared with all tests of the session."""

    def url(backend: str) -> str:
        if backend == "memory":
            return "memory://"
        if backend == "sqlite":
            return f"sqlite:///{tmp_path}/state-{uuid.uuid4().hex}.db"
        if backend == "redis":
            return f"unix://{request.getfixturevalue('redis_folder')}/redis.sock?db=0"
        return servers.postgres_url(request.getfixturevalue("postgres_folder"))

    return url


@pytest.fixture
def own_store_url(request: pytest.FixtureRequest, store_url: StoreURL) -> StoreURL:
    """The same, shared with no other test: for those whose gateways look after what others have left behind."""

    def url(backend: str) -> str:
        if backend == "redis":
            return f"{store_url(backend)}&prefix={uuid.uuid4().hex}"
        if backend == "postgresql":
            return servers.create_database(request.getfixturevalue("postgres_folder"), uuid.uuid4().hex)
        return store_url(backend)

    return url


@pytest.fixture(params=["m", "*"], ids=["exact", "pattern"])
def registered(request: pytest.FixtureRequest) -> Iterator[str]:
    """Gateways know their model by its exact name, and by a pattern."""
    token = REGISTERED.set(request.param)
    yield request.param
    REGISTERED.reset(token)


@pytest.fixture(params=BACKENDS)
async def store(request: pytest.FixtureRequest, store_url: StoreURL) -> AsyncIterator[ResponseStore]:
    """A store of each backend."""
    opened = open_store(store_url(request.param))
    yield opened
    await opened.aclose()


@pytest.fixture
def tenant() -> str:
    """One that no other test knows: stores may be shared by all of them."""
    return f"tenant-{uuid.uuid4().hex}"


async def eventually(check: Callable[[], object]) -> None:
    """Wait until something holds."""
    for _ in range(1000):
        if check():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came to hold")
