"""`python -m bench`: what the gateway costs, beside the bare floor and, with --peers, beside other gateways."""

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Final

from bench import report
from bench.apps import PEERS
from bench.measure import PARTS, Bench
from bench.processes import BenchError
from bench.results import BARS

_QUICK: Final = {
    "requests": 300,
    "streams": 8,
    "conversations": 50,
    "latency": 100,
    "events": 20,
    "open": 50,
    "clients": 100,
    "rounds": 2,
    "connections": 4,
    "limit": 60.0,
}
_MOST: Final = 10_000_000  # of anything counted
_FEWEST_EVENTS: Final = 2  # a role and a finish


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= _MOST:
        raise argparse.ArgumentTypeError(f"must lie between 1 and {_MOST}")
    return value


class _Names:
    """A list of names, separated by commas, out of those that there are."""

    def __init__(self, known: tuple[str, ...]) -> None:
        self._known = known

    def __call__(self, text: str) -> list[str]:
        chosen = text.split(",")
        for name in chosen:
            if name not in self._known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(self._known)}")
        return [name for name in self._known if name in chosen]


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--requests", type=_count, default=10_000, help="unary requests of a run")
    parser.add_argument("--streams", type=_count, default=96, help="streamed requests of a run")
    parser.add_argument("--conversations", type=_count, default=1500, help="requests of 100 KB of a run")
    parser.add_argument("--latency", type=_count, default=1500, help="requests of a run over one connection")
    parser.add_argument("--events", type=_count, default=200, help="events of a stream, usage and [DONE] not counted")
    parser.add_argument("--open", type=_count, default=2000, help="streams open at once")
    parser.add_argument("--clients", type=_count, default=10_000, help="idle keep-alive clients at once")
    parser.add_argument("--rounds", type=_count, default=5, help="runs of everything, interleaved")
    parser.add_argument("--connections", type=_count, default=16, help="keep-alive connections of the load")
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds that the whole may take")
    parser.add_argument(
        "--peers",
        type=_Names(PEERS),
        nargs="?",
        const=list(PEERS),
        default=[],
        help=f"other servers, installed where they are not: all of {', '.join(PEERS)}, or those named",
    )
    parser.add_argument("--only", type=_Names(PARTS), default=list(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="tiny counts: shows that it works, not how fast")
    parser.add_argument("--check", action="store_true", help="exit with 1 when something that must hold does not")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every value here")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="put the result into this document, between its marks"
    )
    options = parser.parse_args()
    if options.quick:
        parser.set_defaults(**_QUICK)
        options = parser.parse_args()
    if options.events < _FEWEST_EVENTS:
        parser.error(f"--events must be at least {_FEWEST_EVENTS}: a role and a finish")
    if options.check and options.only != list(PARTS):
        parser.error("--check needs all parts: leave --only out")
    return options


def main() -> int:
    """0; 1 for a bar missed under --check; 2 when it could not be measured."""
    options = parse_options()
    # Ends as Ctrl-C does: the running load is cancelled, the servers are stopped.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    load_before = os.getloadavg()[0]
    try:
        results = Bench(options).measure()
        print(report.text(results))
        where = report.machine(load_before)
        if options.json is not None:
            counted = {name: getattr(options, name) for name in _QUICK}
            found = {"machine": where, "options": counted, **report.as_json(results)}
            options.json.write_text(json.dumps(found, indent=2) + "\n")
        if options.report is not None:
            report.into_document(options.report, results, where)
    except (BenchError, OSError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    missed = any(bar.verdict(results) == "MISSED" for bar in BARS)
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
