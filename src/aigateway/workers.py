"""Several processes behind one port: started, replaced when they die, stopped together.

Each worker is a fresh interpreter that reads the same configuration text and shares the listening socket, so that a
caller who waits in its queue is served by whoever lives. Supervisor and worker talk over a pipe: `ready` one way,
`finish`, `cut` and `swap` (another configuration) the other; a pipe that ends means that the other side is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Final

import msgspec

from aigateway import serving
from aigateway.assembly import ProvidersMade, build
from aigateway.config import Config, ConfigError, Source, parse
from aigateway.errors import GatewayError
from aigateway.metrics import Meter
from aigateway.metrics.shared import Slot
from aigateway.reload import EVERY, Reloader
from aigateway.serving import GRACE, Address, ServeError, Signals, Stop, Swaps

_READY: Final = b"ready"
_FINISH: Final = b"finish"
_CUT: Final = b"cut"
_SWAP: Final = b"swap "  # a Source as MessagePack follows
_PAUSE: Final = 1.0  # seconds before a worker that did not even start is tried again
_PATIENCE: Final = GRACE + 20.0  # seconds after which a worker that was told to finish is killed
_LAST: Final = 5.0  # the same for one that was told to cut

logger = logging.getLogger("aigateway.workers")


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker has to know. source: None = no file. folder: where the workers' metrics meet."""

    source: Source | None
    host: str
    port: int
    log_level: str
    folder: str = ""


class _Worker:
    """One process and our end of its pipe."""

    def __init__(self, job: Job, sock: socket.socket, number: int) -> None:
        self.number = number
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(job, sock, theirs, number), name="aigateway-worker")
        self.process.start()
        theirs.close()
        self.ready = False

    def tell(self, word: bytes) -> None:
        with contextlib.suppress(OSError):  # it is gone already
            self.pipe.send_bytes(word)

    def hear(self) -> None:
        """Read what it says; a pipe at its end is left to the sentinel."""
        with contextlib.suppress(EOFError, OSError):
            self.ready = self.pipe.recv_bytes() == _READY

    def bury(self) -> None:
        self.process.join()
        self.pipe.close()


class Supervisor:
    """Keeps `count` workers serving until SIGINT or SIGTERM. `announce` is called once all of them answer.

    reloader: reads the configuration again at SIGHUP, and when its file was changed, for all workers.
    """

    def __init__(
        self,
        job: Job,
        sock: socket.socket,
        count: int,
        announce: Callable[[], None],
        reloader: Reloader | None = None,
    ) -> None:
        self._reloader = reloader
        self._news, self._tell_news = multiprocessing.Pipe(duplex=False)
        self._job, self._sock, self._count, self._announce = job, sock, count, announce
        self._workers: list[_Worker] = []
        self._announced = False
        self._not_before = 0.0
        self._bell, self._rope = multiprocessing.Pipe(duplex=False)

    def run(self) -> None:
        """Raises ServeError if a worker cannot even start the first time; it has said why."""
        if self._reloader is not None and hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, lambda *_: self._tell_news.send_bytes(_SWAP))
        signals = Signals(lambda: self._rope.send_bytes(_FINISH), lambda: self._rope.send_bytes(_CUT))
        meeting = tempfile.TemporaryDirectory(prefix="aigateway-", ignore_cleanup_errors=True)
        with signals.caught(), meeting as folder:
            self._job = msgspec.structs.replace(self._job, folder=folder)
            try:
                while not self._bell.poll():
                    self._hire()
                    self._watch()
            finally:
                self._finish()

    def _hire(self) -> None:
        # The first one goes alone: it fetches what all need, and if it fails the others need not.
        wanted = self._count if self._announced or any(worker.ready for worker in self._workers) else 1
        if time.monotonic() >= self._not_before:
            while len(self._workers) < wanted:
                taken = {worker.number for worker in self._workers}
                number = next(number for number in range(self._count) if number not in taken)
                self._workers.append(_Worker(self._job, self._sock, number))

    def _watch(self) -> None:
        """Wait until something happens, and take note of it."""
        pipes: list[Connection] = [worker.pipe for worker in self._workers if not worker.ready]
        pause = self._not_before - time.monotonic()
        limits = [pause] if pause > 0 else []
        if self._reloader is not None:
            limits.append(EVERY)
        happened = wait(
            [self._bell, self._news, *pipes, *(worker.process.sentinel for worker in self._workers)],
            min(limits, default=None),
        )
        self._swap(asked=self._news in happened)
        for worker in list(self._workers):
            if worker.pipe in happened and not worker.ready:
                worker.hear()
            if worker.process.sentinel in happened:
                self._replace(worker)
        if not self._announced and sum(worker.ready for worker in self._workers) == self._count:
            self._announced = True
            self._announce()

    def _swap(self, *, asked: bool) -> None:
        """Give all workers another configuration, where there is one and it is good."""
        if asked:
            self._news.recv_bytes()
        if self._reloader is None or not (self._reloader.changed() or asked):
            return
        try:
            found = self._reloader.again()
        except Exception:
            logger.exception("the new configuration is refused, and the old one stays")
            return
        if found is not None:
            self._job = msgspec.structs.replace(self._job, source=found[0])
            for worker in self._workers:
                worker.tell(_SWAP + msgspec.msgpack.encode(found[0]))

    def _replace(self, worker: _Worker) -> None:
        worker.bury()
        self._workers.remove(worker)
        if self._bell.poll():
            return
        if not self._announced:
            raise ServeError("a worker did not start")
        logger.warning("worker %s ended with %s; starting another", worker.process.pid, worker.process.exitcode)
        if not worker.ready:
            self._not_before = time.monotonic() + _PAUSE

    def _finish(self) -> None:
        self._sock.close()
        word, deadline = _FINISH, time.monotonic() + _PATIENCE
        while self._workers and (left := deadline - time.monotonic()) > 0:
            for worker in self._workers:
                worker.tell(word)
            happened = wait([self._bell, *(worker.process.sentinel for worker in self._workers)], left)
            if self._bell in happened and self._bell.recv_bytes() == _CUT:
                word, deadline = _CUT, min(deadline, time.monotonic() + _LAST)
            for worker in [worker for worker in self._workers if worker.process.sentinel in happened]:
                worker.bury()
                self._workers.remove(worker)
        for worker in self._workers:
            worker.process.kill()
            worker.bury()


def _work(job: Job, sock: socket.socket, pipe: Connection, number: int) -> None:
    """The life of a worker."""
    for signum in (signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])):
        signal.signal(signum, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor tells us
    serving.configure_logging(job.log_level)

    async def main() -> None:
        loop, stop = asyncio.get_running_loop(), Stop()
        signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(stop.finish))
        config = parse(job.source) if job.source is not None else Config()
        made = ProvidersMade(Meter(slot=Slot(Path(job.folder), number)))
        reloader, swaps = Reloader(job.source, config.server, made), Swaps()
        threading.Thread(target=_obey, args=(pipe, loop, stop, reloader, swaps), daemon=True).start()
        gateway = build(config, made=made)
        address = Address(job.host, job.port)
        await serving.serve(gateway, address, sock, stop, lambda: pipe.send_bytes(_READY), swaps=swaps)

    try:
        serving.run(main())
    except (ServeError, ConfigError, GatewayError) as error:
        sys.stderr.write(f"{getattr(error, 'message', error)}\n")
        sys.exit(1)


def _obey(pipe: Connection, loop: asyncio.AbstractEventLoop, stop: Stop, reloader: Reloader, swaps: Swaps) -> None:
    """Pass on what the supervisor says; its death is a wish to finish."""
    with contextlib.suppress(RuntimeError):  # the loop has ended
        while True:
            try:
                word = pipe.recv_bytes()
            except (EOFError, OSError):
                loop.call_soon_threadsafe(stop.finish)
                return
            if word.startswith(_SWAP):
                source = msgspec.msgpack.decode(word[len(_SWAP) :], type=Source)
                loop.call_soon_threadsafe(swaps.put_nowait, partial(reloader.take, source))
            else:
                loop.call_soon_threadsafe(stop.cut_off if word == _CUT else stop.finish)
