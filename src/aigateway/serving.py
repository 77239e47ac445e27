"""One process that serves a gateway over HTTP until it is told to stop: uvicorn, with an end of our own.

listening socket -> model opened -> answers (announced) -> asked to finish -> requests finish, or are cut -> closed
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import ipaddress
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

import uvicorn

from aigateway import logs
from aigateway.app.asgi import Gateway
from aigateway.app.protocol import HeadFirstProtocol
from aigateway.errors import GatewayError
from aigateway.metrics.shared import EVERY as PUBLISH_EVERY
from aigateway.reload import EVERY, Reloader

GRACE: Final = 30.0
"""Seconds that running requests have to finish once a stop was asked for."""

_CUT: Final = 2.0  # seconds that a request has to end once its connection was cut
_CLOSE: Final = 10.0  # seconds that closing the gateway may take
_SAME: Final = 0.5  # seconds in which a second SIGTERM is the first, sent to the process and to its group
_BACKLOG: Final = 2048
_TURNS: Final = 3  # of the event loop, until a connection that it has accepted has its protocol
_KEEP_ALIVE: Final = 75  # seconds; longer than HTTP clients keep an idle connection, so that they close it, not we
_LISTEN_AGAIN: Final = 0.1  # seconds
_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PING_EVERY: Final = 20.0
_PING_TIMEOUT: Final = 60.0  # seconds; a caller is not read from while its upstream is slow, its pongs neither

logger = logging.getLogger("aigateway.serving")


class ServeError(Exception):
    """The gateway cannot be served; the message says why and what to do."""


class Address:
    """Where to listen, resolved. Raises ServeError for a host that nobody knows."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (OSError, UnicodeError) as error:
            raise ServeError(f"the host '{host}' cannot be resolved; an address of this machine is wanted") from error
        # `localhost` is both 127.0.0.1 and ::1: every client tries the first
        best = min(found, key=lambda one: one[0] != socket.AF_INET)
        self.family: int = best[0]
        self.sockaddr = best[4]

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(str(self.sockaddr[0]).partition("%")[0]).is_loopback

    def bind(self) -> socket.socket:
        """A socket that has the port to itself, and does not listen yet. Raises ServeError."""
        # named as TCP: else asyncio does not switch Nagle's algorithm off, and small events wait for 40 ms
        sock = socket.socket(self.family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            if sys.platform != "win32":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(self.sockaddr)
        except OSError as error:
            sock.close()
            raise self._refusal(error) from error
        return sock

    def listen(self, sock: socket.socket) -> None:
        """Let callers come. Raises ServeError: another process may have been faster."""
        try:
            sock.listen(_BACKLOG)
        except OSError as error:
            raise self._refusal(error) from error

    def url(self, sock: socket.socket) -> str:
        """`http://127.0.0.1:8080`, with the port that the socket really has."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{sock.getsockname()[1]}"

    def _refusal(self, error: OSError) -> ServeError:
        where = f"port {self.port} on {self.host}"
        if error.errno == errno.EADDRINUSE:
            return ServeError(f"{where} is taken: stop what listens there, or choose another with --port")
        if error.errno == errno.EACCES:
            return ServeError(f"{where} is not for this user: choose one from 1024 on with --port")
        if error.errno == errno.EADDRNOTAVAIL:
            return ServeError(f"{self.host} is not an address of this machine: choose another with --host")
        return ServeError(f"cannot listen at {where}: {error.strerror or type(error).__name__}")


class Stop:
    """The end, which goes one way: asked for (`finishing`), then out of patience (`cut`)."""

    def __init__(self) -> None:
        self.finishing = asyncio.Event()
        self.cut = asyncio.Event()

    def finish(self) -> None:
        """Take no more requests; let the running ones finish."""
        self.finishing.set()

    def cut_off(self) -> None:
        """Do not wait any longer."""
        self.finishing.set()
        self.cut.set()


class Signals:
    """What SIGINT and SIGTERM mean: `first` at the first of them, `again` at every further one."""

    def __init__(self, first: Callable[[], object], again: Callable[[], object]) -> None:
        self._first, self._again = first, again
        self._heard: float | None = None

    def _hear(self, signum: int, _: object) -> None:
        now = time.monotonic()
        if self._heard is None:
            self._heard = now
            self._first()
        elif signum != signal.SIGTERM or now - self._heard > _SAME:
            self._again()

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Listen to them. Main thread only."""
        usual = {signum: signal.signal(signum, self._hear) for signum in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for signum, handler in usual.items():
                signal.signal(signum, handler)


Swaps = asyncio.Queue[Callable[[], Gateway | None]]
"""Wishes for another gateway: each makes it, or says in the log why not."""

_REFUSED = "the new configuration is refused, and the old one stays"


class _Server(uvicorn.Server):
    """uvicorn, with signals left to us and an end that keeps its promises."""

    def __init__(self, gateway: Gateway, stop: Stop, announce: Callable[[], None], swaps: Swaps) -> None:
        super().__init__(
            uvicorn.Config(
                gateway,
                interface="asgi3",
                http=HeadFirstProtocol,
                ws="none",  # HeadFirstProtocol loads it at the first upgrade
                ws_max_size=gateway.limits.max_body,
                ws_ping_interval=_PING_EVERY,
                ws_ping_timeout=_PING_TIMEOUT,
                lifespan="on",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE,
            )
        )
        self._gateway = gateway
        self._stop = stop
        self._announce = announce
        self._swaps = swaps
        self._swapping: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._publishing: asyncio.TimerHandle | None = None
        self._spares: list[socket.socket] = []
        self._told: set[Any] = set()

    async def _swap_as_wished(self) -> None:
        while True:
            make = await self._swaps.get()
            try:
                gateway = await asyncio.to_thread(make)  # it reads files and imports hooks
                if gateway is not None:
                    await self.swap(gateway)
                    logger.info("the new configuration serves")
            except GatewayError as error:
                logger.error("%s: %s", _REFUSED, error.message)  # noqa: TRY400 - it says all there is to say
            except Exception:
                logger.exception(_REFUSED)

    async def swap(self, gateway: Gateway) -> None:
        """Let another gateway answer from the next request on; the old one is closed once its last request has ended.

        Raises the GatewayError of a local model that cannot be had; then nothing was changed.
        """
        await _open(gateway)
        old, self._gateway = self._gateway, gateway
        gateway.traffic.take_over(old.traffic, gateway.providers())
        self._measure()
        self.config.loaded_app = gateway
        self.config.ws_max_size = gateway.limits.max_body
        for connection in self.server_state.connections:
            connection.app = gateway  # type: ignore[union-attr]  # every protocol of uvicorn has it
        retiring = asyncio.create_task(_retire(old, gateway, list(self.server_state.tasks)))
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)

    def _measure(self) -> None:
        """Let the gateway's metrics have what only its server knows, and the other workers what it counts."""
        metrics = self._gateway.metrics
        if metrics is not None and self._gauges not in metrics.meter.gauges:
            metrics.meter.gauges.append(self._gauges)
        if self._publishing is None and self._gateway.shares_metrics:
            self._publish()

    def _gauges(self) -> Iterator[tuple[str, tuple[str, ...], float]]:
        yield "aigateway_requests_in_flight", (), len(self.server_state.tasks)
        yield "aigateway_client_connections", (), len(self.server_state.connections)

    def _publish(self) -> None:
        """Tell the other workers of this port what was counted, again and again."""
        self._gateway.publish()
        self._publishing = asyncio.get_running_loop().call_later(PUBLISH_EVERY, self._publish)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: uvicorn would raise the signal once more at the end, and the process would not end with 0."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and say so."""
        self._spares = [sock.dup() for sock in sockets or []]
        await super().startup(sockets)
        if self.started:
            asyncio.get_running_loop().set_exception_handler(self._on_fault)
            # what was loaded stays: the collector need not look at it again at every turn
            gc.collect()
            gc.freeze()
            gc.set_threshold(10_000, 20, 50)
            self._swapping = asyncio.create_task(self._swap_as_wished())
            self._measure()
            self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting; wait for what runs, within limits; close the gateway."""
        if self._swapping is not None:
            self._swapping.cancel()
        # who was let in by the system, but not by us, would be cut off when the socket closes
        spares, self._spares = self._spares, []
        waiting = [connection for sock in spares for connection in _waiting_at(sock)]
        for server in self.servers:
            server.close()
        for sock in (*spares, *(sockets or [])):
            sock.close()
        for one in waiting:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, one)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        if not await self._drained(GRACE, self._stop.cut):
            await self._cut()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE):
                await self.lifespan.shutdown()  # closes the gateway that it was started with
                await self._gateway.aclose()
                await asyncio.gather(*self._retiring)
        if self._publishing is not None:
            self._publishing.cancel()
            self._gateway.publish()

    def _protocol(self) -> asyncio.Protocol:
        return HeadFirstProtocol(self.config, self.server_state, self.lifespan.state)

    def _on_fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Whatever nobody awaits. The event loop gives a socket up to which it cannot let anybody in: it must not stay so."""
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in _SCARCE:
            loop.default_exception_handler(context)
            return
        logger.error("nobody can be let in for the moment: %s", error.strerror)
        loop.call_later(_LISTEN_AGAIN, lambda: loop.create_task(self._listen_again()))

    async def _listen_again(self) -> None:
        loop = asyncio.get_running_loop()
        for server in self.servers:
            server.close()
        self.servers.clear()
        try:
            for spare in self._spares:
                self.servers.append(await loop.create_server(self._protocol, sock=spare.dup(), backlog=_BACKLOG))
        except OSError as error:
            self._on_fault(loop, {"exception": error})

    async def _cut(self) -> None:
        logger.warning("cutting %d requests that did not finish", len(self.server_state.tasks))
        for connection in list(self.server_state.connections):
            connection.transport.close()
        if await self._drained(_CUT):
            return
        for task in list(self.server_state.tasks):
            task.cancel()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await self._drained(_CUT)

    async def _drained(self, seconds: float, cut: asyncio.Event | None = None) -> bool:
        """Whether all requests were answered, and their connections closed, in this time."""
        state, deadline = self.server_state, time.monotonic() + seconds
        while state.connections or state.tasks:
            for connection in state.connections - self._told:  # some come up late: they were let in before the stop
                connection.shutdown()
                self._told.add(connection)
            if time.monotonic() > deadline or (cut is not None and cut.is_set()):
                return False
            await asyncio.sleep(0.02)
        return True


def _waiting_at(listening: socket.socket) -> list[socket.socket]:
    """The connections in a listening socket's queue."""
    listening.settimeout(0)
    found: list[socket.socket] = []
    with contextlib.suppress(OSError):  # BlockingIOError: there are no more
        while len(found) < _BACKLOG:
            found.append(listening.accept()[0])
    return found


async def serve(
    gateway: Gateway,
    address: Address,
    sock: socket.socket,
    stop: Stop,
    announce: Callable[[], None],
    *,
    swaps: Swaps | None = None,
) -> None:
    """Serve until `stop`, and close the gateway. `announce` is called once it answers.

    swaps: what is put in there replaces the gateway while it serves.

    Raises ServeError, or the GatewayError of a local model that cannot be had.
    """
    server = _Server(gateway, stop, announce, swaps or asyncio.Queue())
    asked = asyncio.create_task(stop.finishing.wait())
    try:
        opening = asyncio.create_task(_open(gateway))
        await asyncio.wait((opening, asked), return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            opening.cancel()
            await asyncio.wait((opening,))
            return
        await opening
        address.listen(sock)
        asked.add_done_callback(lambda _: setattr(server, "should_exit", True))
        await server.serve([sock])
    finally:
        asked.cancel()
        if not server.started:
            await gateway.aclose()


async def _open(gateway: Gateway) -> None:
    """Whatever takes its time is done before the first request: a model in process is loaded."""
    for provider in gateway.providers():
        opener = getattr(provider, "open", None)
        if opener is not None:
            await opener()
    gateway.look_after_state()


async def _retire(old: Gateway, new: Gateway, running: list[asyncio.Task[Any]]) -> None:
    if running:
        await asyncio.wait(running)
    await old.hand_over(new)
    kept = {id(provider) for provider in new.providers()}
    for provider in old.providers():
        closer = getattr(provider, "aclose", None)
        if closer is not None and id(provider) not in kept:
            await closer()


def serve_here(
    gateway: Gateway,
    address: Address,
    sock: socket.socket,
    announce: Callable[[], None],
    reloader: Reloader | None = None,
) -> None:
    """Serve in this process until SIGINT or SIGTERM; a second one cuts what still runs. Raises as `serve`.

    reloader: reads the configuration again at SIGHUP, and when its file was changed.
    """

    async def main() -> None:
        loop, stop = asyncio.get_running_loop(), Stop()
        signals = Signals(
            lambda: loop.call_soon_threadsafe(stop.finish), lambda: loop.call_soon_threadsafe(stop.cut_off)
        )
        swaps: Swaps = asyncio.Queue()

        def look(wanted: Reloader) -> None:
            if wanted.changed():
                swaps.put_nowait(wanted.gateway_again)
            loop.call_later(EVERY, look, wanted)

        if reloader is not None:
            look(reloader)
            if hasattr(signal, "SIGHUP"):
                loop.add_signal_handler(signal.SIGHUP, swaps.put_nowait, reloader.gateway_again)
        with signals.caught():
            await serve(gateway, address, sock, stop, announce, swaps=swaps)

    run(main())


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run to the end on the fastest event loop there is."""
    factory = None
    if sys.platform != "win32":
        import uvloop  # noqa: PLC0415 - there is none for Windows

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


def raise_file_limit() -> None:
    """Let this process, and those it starts, have as many files open as the system allows: every connection is one."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - there is none on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # macOS allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def configure_logging(level: str) -> None:
    """Log to stderr from `level` on."""
    logs.configure(level)
    # uvicorn warns of every upgrade that is refused: clients that try a WebSocket first do so at every turn
    logging.getLogger("uvicorn.error").addFilter(_is_no_upgrade)


def _is_no_upgrade(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(("Unsupported upgrade request", "No supported WebSocket library"))
