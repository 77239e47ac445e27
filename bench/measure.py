"""The measuring: servers started, load put on them, interleaved, and what it cost written down."""

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import uvloop

from bench import apps, payload, peers
from bench.apps import App
from bench.load import Counts, Crowd, load
from bench.processes import (
    BenchError,
    cpu_seconds,
    free_port,
    raise_file_limit,
    resident_bytes,
    served,
    status_of,
)
from bench.results import Results

T = TypeVar("T")

PARTS: Final = (
    *("import", "start", "open", "clients"),
    *("unary", "stream", "responses", "responses-stream", "conversation", "latency"),
)
EVENTS_PER_SECOND: Final = 5000  # offered over all connections: below what one core serves, so that reads stay apart
_VARIANTS: Final = ("gateway+log", "gateway+hooks")  # of the gateway: what is more of them counts, and no more
_SPARE_FILES: Final = 1000  # what a process opens besides
_SETTLE: Final = 0.5  # seconds between the last request and a look at the memory
_IMPORTS: Final = 5  # processes, three times in a run: some slow minute of the machine must not decide
_KB: Final = 1000.0
_MB: Final = 1e6


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of load: its request, which option counts it, and who is put to it."""

    name: str
    request: Callable[[int], bytes]
    counted: str
    only: str = ""  # the one app that is put to it; all are, where none is named
    without: tuple[str, ...] = ()

    @property
    def slices(self) -> int:
        """Of a round: short, so that what is compared is close in time, and long enough to keep all connections busy."""
        return 4 if self.is_streamed else 8

    @property
    def is_streamed(self) -> bool:
        return self.counted == "streams"

    def serves(self, name: str) -> bool:
        """Whether an app is put to it."""
        return name not in self.without and self.only in ("", name)


def _streamed_chat(port: int) -> bytes:
    return payload.chat_request(port, stream=True)


def _streamed_responses(port: int) -> bytes:
    return payload.responses_request(port, stream=True)


WORKS: Final = (
    Work("unary", payload.chat_request, "requests"),
    Work("responses", payload.responses_request, "requests", only="gateway"),
    Work("conversation", payload.conversation_request, "conversations", without=_VARIANTS),
    Work("stream", _streamed_chat, "streams", without=("gateway+log",)),
    Work("responses-stream", _streamed_responses, "streams", only="gateway"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    app: App
    pid: int


class Bench:
    """One run with its options; the results fill up as it goes."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.results = Results()
        self._options = options
        self._deadline = time.monotonic() + options.limit
        self._files = raise_file_limit()
        self._upstream = free_port()

    def measure(self) -> Results:
        """Everything that was asked for. BenchError when the gateway or the floor cannot be measured."""
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aigateway-bench-")))
            command = [sys.executable, "-m", "bench.upstream", "--port", str(self._upstream)]
            gap = self._options.connections / EVENTS_PER_SECOND
            command += ["--events", str(self._options.events), "--gap", str(gap)]
            stack.enter_context(served(command, lambda: self._asks("GET", "/health")))
            chosen = self.chosen(folder)
            self._deadline = time.monotonic() + self._options.limit
            self._import()
            self._alone(chosen)
            self._import()
            self._together(chosen)
            self._import()
        return self.results

    def _wants(self, *parts: str) -> bool:
        return any(part in self._options.only for part in parts)

    def chosen(self, folder: Path) -> list[App]:
        """Ours, and the peers that can be had; a note for each that cannot."""
        chosen = [make(self._upstream, folder) for make in apps.OURS.values()]
        for name in self._options.peers:
            try:
                if name in apps.INSTALLED:
                    chosen.append(apps.INSTALLED[name](self._upstream, folder, peers.programs(name)))
                else:
                    chosen.append(apps.nginx(self._upstream, folder))
            except BenchError as error:
                self.results.notes.append(f"{name}: not measured: {error}")
        return chosen

    # On its own: every server started anew, alone with the upstream.

    def _import(self) -> None:
        if not self._wants("import"):
            return
        code = "import time; start = time.process_time(); import aigateway; print(time.process_time() - start)"
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        command = [sys.executable, "-c", code]
        for _ in range(_IMPORTS):
            ended = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            self.results.add("import", "gateway", float(ended.stdout) * 1e3)

    def _alone(self, chosen: Sequence[App]) -> None:
        if not self._wants("start", "open", "clients"):
            return
        for number in range(self._options.rounds):
            for app in chosen:
                if app.name not in _VARIANTS and number < max(1, round(self._options.rounds * app.share)):
                    with self._forgiven(app):
                        self._start(app, is_first=number == 0)

    def _start(self, app: App, *, is_first: bool) -> None:
        began = time.monotonic()
        with self._serving(app) as server:
            self.results.add("ready", app.name, time.monotonic() - began)
            time.sleep(_SETTLE)
            self.results.add("idle", app.name, resident_bytes(server.pid) / _MB)
            if is_first and app.share == 1:
                if self._wants("open"):
                    self._run(self._hold_streams(server))
                if self._wants("clients") and app.name == "gateway":
                    self._run(self._keep_clients(server))

    async def _warm(self, server: Server) -> None:
        port = server.app.port
        await load(port, payload.chat_request(port), requests=200, connections=16)
        await load(port, payload.chat_request(port, stream=True), requests=32, connections=32)
        await asyncio.sleep(_SETTLE)

    async def _hold_streams(self, server: Server) -> None:
        """Streams that have begun, all open at once, then all let go on to their end."""
        number, app = self._options.open, server.app
        if not self._files_for(2 * number, f"{app.name}: open streams"):
            return
        await self._warm(server)
        before = resident_bytes(server.pid)
        crowd = Crowd(app.port)
        try:
            held = await self._held(crowd, number, server)
        finally:
            crowd.close()
        self.results.add("open", app.name, (held - before) / number / _KB)
        self.results.add("open-lost", app.name, number - crowd.counts.completed)
        if crowd.counts.failures:
            self.results.notes.append(
                f"{app.name}: {crowd.counts.failures} of {number} open streams did not complete;"
                f" the first: {crowd.counts.first_failure}"
            )

    async def _held(self, crowd: Crowd, number: int, server: Server) -> int:
        """Bytes resident while the streams of the crowd are open; they have ended when this returns."""
        self._asks("POST", "/hold")
        try:
            await crowd.open(number)
            await crowd.send(payload.chat_request(server.app.port, stream=True))
            await crowd.begun()
            held = resident_bytes(server.pid)
        finally:
            self._asks("POST", "/release")
        await crowd.answered()
        return held

    async def _keep_clients(self, server: Server) -> None:
        """Clients that asked once and stay; streams beside them; then every client asks again."""
        number, streams, port = self._options.clients, self._options.open, server.app.port
        if not self._files_for(number + 2 * streams, "gateway: idle clients"):
            return
        await self._warm(server)
        before = resident_bytes(server.pid)
        crowd, beside = Crowd(port), Crowd(port)
        try:
            await crowd.open(number)
            await crowd.send(payload.chat_request(port))
            await crowd.answered()
            self.results.add("clients", "gateway", (resident_bytes(server.pid) - before) / number / _KB)
            await self._held(beside, streams, server)
            await crowd.send(payload.chat_request(port))
            await crowd.answered()
        finally:
            crowd.close()
            beside.close()
        lost = 2 * number + streams - crowd.counts.completed - beside.counts.completed
        self.results.add("clients-lost", "gateway", lost)
        if lost:
            first = crowd.counts.first_failure or beside.counts.first_failure
            self.results.notes.append(
                f"gateway: {lost} answers to idle clients or beside them lost; the first: {first}"
            )

    def _files_for(self, number: int, who: str) -> bool:
        needed = number + _SPARE_FILES
        if self._files < needed:
            self.results.notes.append(f"{who}: not measured: {needed} open files needed, {self._files} allowed")
        return self._files >= needed

    # Side by side: in each round all servers, started anew, take turns, and each work is done in slices: A B C, C B A, ...

    def _together(self, chosen: Sequence[App]) -> None:
        works = [work for work in WORKS if self._wants(work.name)]
        if not works and not self._wants("latency"):
            return
        out: set[str] = set()
        for _ in range(self._options.rounds):
            with contextlib.ExitStack() as stack:
                servers = []
                for app in [app for app in chosen if app.name not in out]:
                    with self._forgiven(app, out):
                        servers.append(stack.enter_context(self._serving(app)))
                for work in works:
                    self._costs([server for server in servers if work.serves(server.app.name)], work, out)
                if self._wants("latency"):
                    self._latencies(servers, out)

    def _costs(self, servers: Sequence[Server], work: Work, out: set[str]) -> None:
        """What one unit of the work costs each server, slice by slice; a peer that fails is `out`."""
        per_answer = self._options.events + 2 if work.is_streamed else 1  # usage and [DONE] on top
        for number in range(-1, work.slices):  # the one before the first warms up
            for server in servers if number % 2 == 0 else reversed(servers):
                name = server.app.name
                if name in out:
                    continue
                with self._forgiven(server.app, out):
                    requests = max(2, round(getattr(self._options, work.counted) * server.app.share / work.slices))
                    before = cpu_seconds(server.pid)
                    counts = self._load(server, work, requests)
                    if number < 0:
                        continue
                    units = counts.completed * per_answer
                    self.results.add(work.name, name, (cpu_seconds(server.pid) - before) * 1e6 / units)
                    if work.is_streamed:
                        self.results.add(f"{work.name} chunks", name, counts.chunks / units)

    def _load(self, server: Server, work: Work, requests: int) -> Counts:
        app = server.app
        sending = load(app.port, work.request(app.port), requests=requests, connections=self._options.connections)
        counts = self._run(sending)
        wanted = requests * (self._options.events + 2) if work.name == "stream" and app.name in apps.OURS else None
        if counts.completed != requests or wanted not in (None, counts.events):
            raise BenchError(
                f"{work.name}: {requests} answers wanted, {counts.completed} whole; {counts.events} events;"
                f" the first failure: {counts.first_failure or 'none'}"
            )
        return counts

    def _latencies(self, servers: Sequence[Server], out: set[str]) -> None:
        requests = self._options.latency
        for server in servers:
            app = server.app
            if app.name in _VARIANTS or app.name in out:
                continue
            with self._forgiven(app, out):
                self._percentiles(app.port, max(10, round(requests * app.share / 10)))  # warms up
                direct = self._percentiles(self._upstream, requests)
                here = self._percentiles(app.port, max(20, round(requests * app.share)))
                for name, through, bare in zip(("p50", "p99"), here, direct, strict=True):
                    self.results.add(name, app.name, (through - bare) * 1e3)

    def _percentiles(self, port: int, requests: int) -> tuple[float, float]:
        """Median and 99th percentile of the seconds that an answer takes, one connection, one after the other."""
        counts = self._run(load(port, payload.chat_request(port), requests=requests, connections=1))
        if counts.completed != requests:
            raise BenchError(f"latency: {counts.first_failure}")
        cuts = statistics.quantiles(counts.latencies, n=100, method="inclusive")
        return cuts[49], cuts[98]

    # What all of them need.

    @contextlib.contextmanager
    def _serving(self, app: App) -> Iterator[Server]:
        request = payload.chat_request(app.port)
        started = served(
            app.command, lambda: _answers(app.port, request), environment=app.environment, patience=app.patience
        )
        with started as process:
            yield Server(app=app, pid=process.pid)

    @contextlib.contextmanager
    def _forgiven(self, app: App, out: set[str] | None = None) -> Iterator[None]:
        """A peer that fails is a note, and `out`; one of ours ends the bench."""
        try:
            yield
        except BenchError as error:
            if app.name in apps.OURS:
                raise BenchError(f"{app.name}: {error}") from error
            self.results.drop(app.name)
            self.results.notes.append(f"{app.name}: not measured: {error}")
            if out is not None:
                out.add(app.name)

    def _run(self, sending: Coroutine[Any, Any, T]) -> T:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(asyncio.wait_for(sending, self._deadline - time.monotonic()))
        except TimeoutError as error:
            raise BenchError("no time left") from error
        except OSError as error:
            raise BenchError(str(error)) from error

    def _asks(self, method: str, path: str) -> bool:
        """Whether the upstream answers."""
        return status_of(self._upstream, method, path) == 200


def _answers(port: int, request: bytes) -> bool:
    """Whether a server answers a whole chat request as it should."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = (line.decode().partition(": ") for line in head.split(b"\r\n")[1:])
    return status_of(port, "POST", "/v1/chat/completions", body, {name: value for name, _, value in lines}) == 200
