"""A gateway served for real: uvicorn on a loopback port, in the test's own event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import uvicorn

from aigateway.app.protocol import HeadFirstProtocol


@asynccontextmanager
async def served(
    app: Callable[..., Any], http: Any = HeadFirstProtocol, ws: Any = "none", alone: bool = True, **options: Any
) -> AsyncIterator[str]:
    """Serve an application; gives its base URL, without `/v1`. Fails where a task is left over afterwards.

    http, ws: the protocol that `aigateway serve` uses, or another of uvicorn's. alone: False where others are served
    in the same loop, whose tasks are not this one's. options: more for `uvicorn.Config`.

    The server is started and stopped step by step: `serve()` would take over the signal handlers of pytest, and both
    it and `shutdown()` sleep 0.1 s whatever happens.
    """
    async with no_task_left() if alone else nullcontext():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio sees no TCP in such a socket
            options.setdefault("proxy_headers", False)  # as `aigateway serve` has it: nothing stands around the gateway
            config = uvicorn.Config(app, log_config=None, lifespan="on", http=http, ws=ws, **options)
            config.load()
            server = uvicorn.Server(config)
            server.lifespan = config.lifespan_class(config)
            await server.startup(sockets=[listener])
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                await _stop(server)


async def _stop(server: uvicorn.Server) -> None:
    """Refuse new connections, let running requests end, then close the application."""
    for listening in server.servers:
        listening.close()
    state = server.server_state
    for _ in range(3):  # who was let in last comes up
        await asyncio.sleep(0)
    told: set[Any] = set()
    for _ in range(5000):
        for connection in state.connections - told:
            connection.shutdown()
            told.add(connection)
            if isinstance(connection, HeadFirstProtocol):  # nothing is on its way: no test waits for what lingers
                connection._close_if_idle()
        if not state.connections and not state.tasks:
            break
        await asyncio.sleep(0.001)
    await server.lifespan.shutdown()


@asynccontextmanager
async def no_task_left() -> AsyncIterator[None]:
    """Fail where a task that was started inside still runs soon after."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    for _ in range(100):
        if not left:
            return
        await asyncio.sleep(0.01)
        left &= asyncio.all_tasks()
    raise AssertionError(f"tasks left over: {left}")
