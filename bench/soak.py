"""`python -m bench.soak`: a served gateway under mixed load with faults, for minutes; what grows, and what is left."""

import argparse
import asyncio
import collections
import contextlib
import json
import signal
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
import uvloop
from prometheus_client.parser import text_string_to_metric_families

from aigateway.testing import ReceivedRequest, Script, ScriptedUpstream
from bench import payload, soak_census
from bench.processes import BenchError, free_port, open_files, raise_file_limit, resident_bytes, served, status_of
from bench.soak_load import Clients, Tally, answer

_WARM_UP: Final = 0.25  # of the whole time: what the memory does in it is not judged
_JUDGED_FROM: Final = 300.0  # seconds; in a shorter run the memory is shown, not judged
_MAY_GROW: Final = 1e6  # bytes over the judged time, by the slope: what fragmentation may look like
_POOL_SECONDS: Final = 1  # that an idle connection to the upstream is kept
_END_SECONDS: Final = 30.0  # until everything must be gone
_STOP_SECONDS: Final = 10.0
_MB: Final = 1e6


@dataclass(slots=True)
class Samples:
    """What was seen of the process, one row a look."""

    seconds: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    tasks: list[int] = field(default_factory=list)

    def growth(self) -> float:
        """Bytes that the memory grew by after the warm-up: the median slope of all pairs of looks, times the time."""
        begin = self.seconds[-1] * _WARM_UP
        looks = [look for look in zip(self.seconds, self.memory, strict=True) if look[0] >= begin]
        slopes = [(b[1] - a[1]) / (b[0] - a[0]) for n, a in enumerate(looks) for b in looks[n + 1 :] if b[0] > a[0]]
        return statistics.median(slopes) * (looks[-1][0] - looks[0][0]) if slopes else 0.0


class Soak:
    """One run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.faults: list[str] = []
        self.samples = Samples()
        self.tally = Tally()
        self._options = options
        self._port = free_port()
        self._url = f"http://127.0.0.1:{self._port}"

    async def run(self) -> None:
        """Fill in what is wrong, if anything is. BenchError when it cannot be run."""
        async with ScriptedUpstream() as upstream:

            def answering(request: ReceivedRequest) -> Script:
                upstream.requests.clear()  # it would keep them all
                return answer(request)

            upstream.answer_with(answering)
            with contextlib.ExitStack() as stack:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aigateway-soak-")))
                process = stack.enter_context(self._gateway(upstream.base_url, folder))
                await self._soak(process)
                await self._stop(process)

    def _gateway(self, upstream: str, folder: Path) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        provider = {
            "base_url": upstream,
            "api_key": "none",
            "apis": ["chat"],
            "timeout": {"connect": 5, "first_byte": 2, "idle": 2},
            "pool": {"keepalive": _POOL_SECONDS},
        }
        configuration = {
            "providers": {"calm": provider, "storm": provider},  # the faults of one must not count against the other
            "models": {"storm-*": "storm", "*": "calm"},
            "auth": {"keys": {payload.CLIENT_KEY: "soak"}},
            "hooks": ["aigateway.hooks:LoggingHook", "bench.soak_census:Census"],
            "metrics": {"enabled": True},
            "state": {"url": f"sqlite:///{folder / 'state.db'}"},  # else it would be the user's own
        }
        config = folder / "gateway.yaml"
        config.write_text(json.dumps(configuration, indent=2))  # JSON is YAML
        program = str(Path(sys.executable).with_name("aigateway"))
        command = [program, "serve", "--config", str(config), "--port", str(self._port), "--log-level", "error"]
        return served(command, lambda: status_of(self._port, "GET", "/health") == 200)

    async def _soak(self, process: subprocess.Popen[bytes]) -> None:
        loop = asyncio.get_running_loop()
        await self._warm()
        files, tasks = open_files(process.pid), await self._census()
        began = loop.time()
        until = began + self._options.seconds
        clients = [Clients(self._url, self.tally, seed) for seed in range(self._options.clients)]
        at_work = [asyncio.create_task(one.busy(until)) for one in clients]
        at_work += [asyncio.create_task(one.unhurried(until)) for one in clients]
        every = min(5.0, self._options.seconds / 20)
        while loop.time() < until:
            await asyncio.sleep(every)
            await self._look(process, loop.time() - began)
        await asyncio.gather(*at_work)
        await self._judge(process, files, tasks)

    async def _warm(self) -> None:
        """Everything once, so that what is loaded late is there; then the pool's connections expire."""
        clients = Clients(self._url, Tally(), seed=0)
        await asyncio.gather(*(clients.busy(asyncio.get_running_loop().time() + 0.5) for _ in range(4)))
        await asyncio.sleep(_POOL_SECONDS + 0.5)

    async def _look(self, process: subprocess.Popen[bytes], second: float) -> None:
        if process.poll() is not None:
            raise BenchError(f"the gateway ended with {process.returncode} after {second:.0f} s")
        self.samples.seconds.append(second)
        self.samples.memory.append(resident_bytes(process.pid))
        self.samples.files.append(open_files(process.pid))
        self.samples.tasks.append(sum((await self._census()).values()))
        await self._scraped()
        if sys.stderr.isatty():
            print(
                f"\r{second:6.0f} s  {self.samples.memory[-1] / _MB:6.1f} MB  {self.samples.files[-1]:4} files"
                f"  {self.samples.tasks[-1]:4} tasks  {self.tally.outcomes.total():8} requests",
                end="",
                file=sys.stderr,
            )

    async def _census(self) -> dict[str, int]:
        """Tasks alive in the gateway, by name; one is of this very question."""
        headers = {"authorization": f"Bearer {payload.CLIENT_KEY}", "connection": "close"}
        body = {"model": soak_census.MODEL, "messages": [{"role": "user", "content": "How many?"}]}
        async with (
            aiohttp.ClientSession(self._url, headers=headers) as session,
            session.post("/v1/chat/completions", json=body) as reply,
        ):
            found = await reply.json()
        counted: dict[str, int] = json.loads(found["choices"][0]["message"]["content"])
        return counted

    async def _scraped(self) -> dict[str, float]:
        """The metrics, summed up over their labels."""
        headers = {"authorization": f"Bearer {payload.CLIENT_KEY}", "connection": "close"}
        async with (
            aiohttp.ClientSession(self._url, headers=headers) as session,
            session.get("/metrics") as reply,
        ):
            text = await reply.text()
        found: collections.defaultdict[str, float] = collections.defaultdict(float)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name] += sample.value
        return found

    async def _judge(self, process: subprocess.Popen[bytes], files: int, tasks: dict[str, int]) -> None:
        """Wait for what belongs to the load to go; whatever does not is a fault."""
        deadline = asyncio.get_running_loop().time() + _END_SECONDS
        while True:
            files_left, tasks_left = open_files(process.pid), await self._census()
            metrics = await self._scraped()
            in_flight = (
                metrics["aigateway_target_in_flight"] + metrics["aigateway_requests_in_flight"] - 1
            )  # the scrape
            is_clean = files_left <= files and sum(tasks_left.values()) <= sum(tasks.values()) and not in_flight
            if is_clean or asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(0.25)
        if files_left > files:
            self.faults.append(f"{files_left - files} file descriptors left over: {_described(process.pid)}")
        if sum(tasks_left.values()) > sum(tasks.values()):
            self.faults.append(f"tasks left over: {tasks_left}, at the beginning {tasks}")
        if in_flight:
            self.faults.append(f"{in_flight:.0f} requests in flight that nobody waits for, say the metrics")
        asked = self.tally.outcomes.total()
        if metrics["aigateway_requests_total"] < asked - self.tally.outcomes["left before the answer"]:
            self.faults.append(f"of {asked} requests the metrics count {metrics['aigateway_requests_total']:.0f}")
        self.faults += self.tally.wrong
        if self._options.seconds >= _JUDGED_FROM and self.samples.growth() > _MAY_GROW:
            self.faults.append(f"the memory grew by {self.samples.growth() / _MB:.1f} MB after the warm-up")

    async def _stop(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            code = await asyncio.to_thread(process.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.faults.append(f"still there {_STOP_SECONDS:.0f} s after SIGTERM, with nothing to do")
            return
        if code != 0:
            self.faults.append(f"ended with {code} after SIGTERM")

    def report(self) -> str:
        """What it was, what became of it, and what is wrong."""
        samples, counted = self.samples, self.tally.outcomes
        outcomes = ", ".join(f"{number} {kind}" for kind, number in counted.most_common())
        first, last, most = (
            f"{size / _MB:.1f} MB" for size in (samples.memory[0], samples.memory[-1], max(samples.memory))
        )
        judged = "" if self._options.seconds >= _JUDGED_FROM else f" (not judged under {_JUDGED_FROM / 60:.0f} minutes)"
        lines = [
            f"{self._options.seconds / 60:.1f} minutes, {counted.total()} requests: {outcomes}",
            f"memory {first} at first, {last} at last, {most} at most",
            f"memory after the warm-up: grew by {samples.growth() / _MB:.2f} MB{judged}",
            f"at most {max(samples.files)} file descriptors and {max(samples.tasks)} tasks",
            *(f"WRONG: {fault}" for fault in self.faults),
        ]
        return "\n".join(lines if self.faults else [*lines, "nothing left over"])


def _described(pid: int) -> str:
    """What the descriptors of a process are, by kind."""
    kinds: dict[str, int] = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            kind = str(entry.readlink()).partition(":")[0]
            kinds[kind] = kinds.get(kind, 0) + 1
    return str(kinds)


def main() -> int:
    """0; 1 where something grew, was left over or answered wrongly; 2 when it could not be run."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="how long (default: %(default)s)")
    parser.add_argument(
        "--clients", type=int, default=24, help="busy clients, and as many unhurried (default: %(default)s)"
    )
    options = parser.parse_args()
    if not 0 < options.minutes <= 10_000 or not 0 < options.clients <= 1000:
        parser.error("--minutes must lie above 0, and --clients between 1 and 1000")
    options.seconds = options.minutes * 60
    raise_file_limit()
    # Ends as Ctrl-C does: the gateway is stopped.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    soak = Soak(options)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(soak.run())
    except (BenchError, OSError, aiohttp.ClientError) as error:
        print(f"soak: {error!r}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(soak.report())
    return 1 if soak.faults else 0


if __name__ == "__main__":
    sys.exit(main())
