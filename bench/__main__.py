"""`python -m bench`: CPU per request and per streamed event of the gateway beside bare applications."""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import uvloop

from bench import apps, payload
from bench.load import Counts, load
from bench.processes import BenchError, cpu_seconds, free_port, served
from bench.report import STREAM, UNARY, Row, Work, as_json, table, verdict

_QUICK: Final = {"requests": 400, "streams": 8, "events": 20, "rounds": 2, "connections": 4}
_EVENTS_PER_SECOND: Final = 5000  # offered over all connections: below what one core serves, so that reads stay apart
_MOST: Final = 10_000_000  # of anything counted
_FEWEST_EVENTS: Final = 2  # a role and a finish
_LIMIT_SECONDS: Final = {True: 60.0, False: 1200.0}  # the whole bench, quick and in full


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    name: str
    port: int
    pid: int


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= _MOST:
        raise argparse.ArgumentTypeError(f"must lie between 1 and {_MOST}")
    return value


def _names(text: str) -> list[str]:
    chosen = text.split(",")
    for name in chosen:
        if name not in apps.NAMES:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(apps.NAMES)}")
    return [name for name in apps.NAMES if name in chosen]


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--requests", type=_count, default=20_000, help="unary requests of a run")
    parser.add_argument("--streams", type=_count, default=128, help="streamed requests of a run")
    parser.add_argument("--events", type=_count, default=200, help="events of a stream, usage and [DONE] not counted")
    parser.add_argument("--rounds", type=_count, default=5, help="runs of each application, interleaved")
    parser.add_argument("--connections", type=_count, default=16, help="keep-alive connections of the load")
    parser.add_argument("--only", type=_names, default=list(apps.NAMES), help="applications, such as echo,copy")
    parser.add_argument("--quick", action="store_true", help="tiny counts: shows that it works, not how fast")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bar is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result here")
    options = parser.parse_args()
    if options.quick:
        parser.set_defaults(**_QUICK)
        options = parser.parse_args()
    if options.events < _FEWEST_EVENTS:
        parser.error(f"--events must be at least {_FEWEST_EVENTS}: a role and a finish")
    if options.check and options.only != list(apps.NAMES):
        parser.error("--check needs all applications")
    return options


class Bench:
    """The servers while they run, and the load put on them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._deadline = time.monotonic() + _LIMIT_SECONDS[options.quick]
        self._loads = {UNARY: options.requests, STREAM: options.streams}

    def measure(self) -> list[Row]:
        """Every application under every load: once to warm up, then round by round, one after the other."""
        with self._servers() as servers:
            streaming = [server for server in servers if server.name != "echo"]
            return [*self._compare(UNARY, servers), *self._compare(STREAM, streaming)]

    def _compare(self, work: Work, servers: list[Server]) -> list[Row]:
        for server in servers:
            self._run(server, work, max(1, self._loads[work] // 10))
        rows = [Row(work, server.name) for server in servers]
        for _ in range(self._options.rounds):
            for row, server in zip(rows, servers, strict=True):
                before = cpu_seconds(server.pid)
                counts = self._run(server, work, self._loads[work])
                row.add(cpu_seconds(server.pid) - before, counts)
        return rows

    @contextlib.contextmanager
    def _servers(self) -> Iterator[list[Server]]:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aigateway-bench-")))
            upstream_port = free_port()
            stack.enter_context(served(self._upstream_command(upstream_port), upstream_port))
            servers = []
            for name in self._options.only:
                port = free_port()
                command = apps.command(name, port=port, upstream=f"http://127.0.0.1:{upstream_port}", folder=folder)
                servers.append(Server(name=name, port=port, pid=stack.enter_context(served(command, port))))
            yield servers

    def _upstream_command(self, port: int) -> list[str]:
        gap = self._options.connections / _EVENTS_PER_SECOND
        command = [sys.executable, "-m", "bench.upstream", "--port", str(port)]
        return [*command, "--events", str(self._options.events), "--gap", str(gap)]

    def _run(self, server: Server, work: Work, requests: int) -> Counts:
        request = payload.chat_request(server.port, stream=work is STREAM)
        sending = load(server.port, request, requests=requests, connections=self._options.connections)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                counts = runner.run(asyncio.wait_for(sending, self._deadline - time.monotonic()))
        except TimeoutError as error:
            raise BenchError(f"{server.name}, {work.name}: no time left") from error
        except OSError as error:
            raise BenchError(f"{server.name}, {work.name}: {error}") from error
        # The usage event and [DONE] come on top.
        events = requests * (self._options.events + 2) if work is STREAM else 0
        if (counts.completed, counts.events) != (requests, events):
            raise BenchError(f"{server.name}, {work.name}: {requests} requests, {events} events wanted, got {counts}")
        return counts


def main() -> int:
    """0; 1 for a bar missed under --check; 2 when it could not be measured."""
    options = _parse_options()
    # Ends as Ctrl-C does: the running load is cancelled, the servers are stopped.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        rows = Bench(options).measure()
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(table(rows))
    if options.json is not None:
        counted = {name: getattr(options, name) for name in _QUICK}
        options.json.write_text(json.dumps({"options": counted, "rows": as_json(rows)}, indent=2) + "\n")
    missed = any(verdict(row, rows) is False for row in rows)
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
