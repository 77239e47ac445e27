"""What was measured, as rows, a table and JSON."""

import statistics
from dataclasses import dataclass, field
from typing import Final

from bench.load import Counts
from bench.processes import TICK


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One kind of load: who serves it, whom they are compared with, and how far the gateway may be from that."""

    name: str
    unit: str
    baseline: str
    bar: float


UNARY: Final = Work(name="unary", unit="request", baseline="echo", bar=6.0)
STREAM: Final = Work(name="stream", unit="event", baseline="copy", bar=2.0)


@dataclass(slots=True)
class Row:
    """The rounds of one application under one kind of load."""

    work: Work
    app: str
    cpu_us: list[float] = field(default_factory=list)  # per request or event, one a round
    counts: list[Counts] = field(default_factory=list)  # one a round

    def add(self, cpu: float, counts: Counts) -> None:
        """Take in a round that cost `cpu` seconds. Less than the grain of the clock counts as the grain."""
        units = counts.completed if self.work is UNARY else counts.events
        self.cpu_us.append(max(cpu, TICK) * 1e6 / units)
        self.counts.append(counts)

    @property
    def median_us(self) -> float:
        return statistics.median(self.cpu_us)

    @property
    def chunks_per_event(self) -> float:
        return sum(counts.chunks for counts in self.counts) / sum(counts.events for counts in self.counts)


def ratio(row: Row, rows: list[Row]) -> float | None:
    """`row` over its baseline: the median over the rounds, each against the baseline's run of the same round."""
    for other in rows:
        if other.work is row.work and other.app == row.work.baseline:
            return statistics.median(ours / bare for ours, bare in zip(row.cpu_us, other.cpu_us, strict=True))
    return None


def verdict(row: Row, rows: list[Row]) -> bool | None:
    """Whether `row` keeps its bar; None where there is none."""
    measured = ratio(row, rows)
    return None if row.app != "gateway" or measured is None else measured <= row.work.bar


def table(rows: list[Row]) -> str:
    """The rows as aligned text."""
    layout = "{:<8}{:<10}{:>8}  {:<8}{:>16}{:>14}{:>8}  {}"
    lines = [layout.format("work", "app", "CPU us", "per", "min - max", "chunks/event", "ratio", "bar")]
    for row in rows:
        spread = f"{min(row.cpu_us):.1f} - {max(row.cpu_us):.1f}"
        joined = f"{row.chunks_per_event:.2f}" if row.work is STREAM else ""
        measured = ratio(row, rows)
        times = "" if measured is None else f"{measured:.2f}"
        kept = verdict(row, rows)
        bar = "" if kept is None else f"<= {row.work.bar:g} {'met' if kept else 'MISSED'}"
        cells = (row.work.name, row.app, f"{row.median_us:.1f}", row.work.unit, spread, joined, times, bar)
        lines.append(layout.format(*cells).rstrip())
    return "\n".join(lines)


def as_json(rows: list[Row]) -> list[dict[str, object]]:
    """The rows with every round in them."""
    return [
        {
            "work": row.work.name,
            "app": row.app,
            "per": row.work.unit,
            "cpu_us": row.median_us,
            "cpu_us_rounds": row.cpu_us,
            "baseline": row.work.baseline,
            "ratio": ratio(row, rows),
            "bar": row.work.bar if row.app == "gateway" else None,
            "met": verdict(row, rows),
            "completed": sum(counts.completed for counts in row.counts),
            "events": sum(counts.events for counts in row.counts),
            "chunks": sum(counts.chunks for counts in row.counts),
            "seconds": sum(counts.seconds for counts in row.counts),
        }
        for row in rows
    ]
