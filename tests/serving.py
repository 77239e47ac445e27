"""A gateway served for real: uvicorn on a loopback port, in the test's own event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn


@asynccontextmanager
async def served(app: Callable[..., Any]) -> AsyncIterator[str]:
    """Serve an application; gives its base URL, without `/v1`. Fails where a task is left over afterwards.

    The server is started and stopped by its own two methods rather than by `serve()`, which would take over the
    signal handlers of pytest and look up only every 0.1 s.
    """
    async with no_task_left():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            config = uvicorn.Config(app, log_config=None, lifespan="on", http="httptools", timeout_graceful_shutdown=5)
            config.load()
            server = uvicorn.Server(config)
            server.lifespan = config.lifespan_class(config)
            await server.startup(sockets=[listener])
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                for _ in range(50):  # shutdown() looks for open connections only every 0.1 s
                    if server.server_state.connections:
                        await asyncio.sleep(0.001)
                await server.shutdown(sockets=[listener])


@asynccontextmanager
async def no_task_left() -> AsyncIterator[None]:
    """Fail where a task that was started inside still runs soon after."""
    before = asyncio.all_tasks()
    yield
    for _ in range(100):
        left = asyncio.all_tasks() - before - {asyncio.current_task()}
        if not left:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"tasks left over: {left}")
