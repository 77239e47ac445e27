"""What was measured, what it must not exceed, and whether it did."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_FIRST: Final = {"floor": -4, "gateway": -3, "gateway+log": -2, "gateway+hooks": -1}

Key = tuple[str, str]  # measure, app


@dataclass(frozen=True, slots=True)
class Measure:
    """Something measured. `least`: each time does the same work, and what is more is noise, as timeit has it; else the median counts."""

    name: str
    unit: str
    title: str
    least: bool = False


MEASURES: Final = {
    measure.name: measure
    for measure in (
        Measure("unary", "us", "unary chat, CPU per request"),
        Measure("stream", "us", "streamed chat, CPU per event"),
        Measure("responses", "us", "Responses on a chat upstream, CPU per request"),
        Measure("responses-stream", "us", "Responses on a chat upstream, CPU per upstream event"),
        Measure("conversation", "us", "100 KB conversation, CPU per request"),
        Measure("p50", "ms", "added latency, one connection, p50"),
        Measure("p99", "ms", "added latency, one connection, p99"),
        Measure("open", "KB", "memory per open stream"),
        Measure("open-lost", "", "open streams that did not complete"),
        Measure("clients", "KB", "memory per idle client"),
        Measure("clients-lost", "", "idle clients lost, or streams beside them"),
        Measure("idle", "MB", "resident after the first answers"),
        Measure("ready", "s", "from the start to the first answer"),
        Measure("import", "ms", "CPU of `import aigateway`", least=True),
    )
}


@dataclass(slots=True)
class Results:
    """Values by measure and app, one a round or slice; and what could not be measured, said in words."""

    values: dict[Key, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, measure: str, app: str, value: float) -> None:
        self.values.setdefault((measure, app), []).append(value)

    def value(self, key: Key) -> float | None:
        """What all its values come to."""
        values, measure = self.values.get(key), MEASURES.get(key[0])
        if not values:
            return None
        return min(values) if measure is not None and measure.least else statistics.median(values)

    def apps(self) -> list[str]:
        """Ours first, then in the order in which they came."""
        return sorted(dict.fromkeys(app for _, app in self.values), key=lambda app: _FIRST.get(app, 0))

    def drop(self, app: str) -> None:
        """Forget an app that failed half-way: its values would not match the others'."""
        self.values = {key: values for key, values in self.values.items() if key[1] != app}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A value that must not exceed `must`, and should not exceed `aim`."""

    work: str
    unit: str
    must: float
    aim: float | None
    value: Callable[[Results], float | None]

    def verdict(self, results: Results) -> str:
        measured = self.value(results)
        if measured is None:
            return "not measured"
        if measured > self.must:
            return "MISSED"
        return "aim" if self.aim is not None and measured <= self.aim else "met"


def _by_pairs(ours: Key, other: Key, combine: Callable[[float, float], float]) -> Callable[[Results], float | None]:
    def value(results: Results) -> float | None:
        pairs = zip(results.values.get(ours, []), results.values.get(other, []), strict=False)
        combined = [combine(one, base) for one, base in pairs]
        return statistics.median(combined) if combined else None

    return value


def _ratio(work: str, ours: Key, other: Key, must: float, aim: float) -> Bar:
    value = _by_pairs(ours, other, lambda one, base: one / base)
    return Bar(work=work, unit="x", must=must, aim=aim, value=value)


def _limit(work: str, measure: str, must: float, aim: float | None = None) -> Bar:
    unit = MEASURES[measure].unit
    return Bar(work=work, unit=unit, must=must, aim=aim, value=lambda results: results.value((measure, "gateway")))


_OURS: Final = "gateway"
BARS: Final = (
    _ratio("unary chat relay / ferrogw", ("unary", _OURS), ("unary", "ferrogw"), 0.50, 0.35),
    _ratio("unary chat relay / smg", ("unary", _OURS), ("unary", "smg"), 0.50, 0.35),
    _ratio("unary chat relay / litellm", ("unary", _OURS), ("unary", "litellm"), 1 / 80, 1 / 120),
    _ratio("unary chat relay / floor", ("unary", _OURS), ("unary", "floor"), 2.0, 1.5),
    _ratio("streamed event / ferrogw", ("stream", _OURS), ("stream", "ferrogw"), 0.65, 0.45),
    _ratio("streamed event / smg", ("stream", _OURS), ("stream", "smg"), 1.0, 0.75),
    _ratio("Responses on chat, unary / our chat", ("responses", _OURS), ("unary", _OURS), 1.8, 1.4),
    _ratio("Responses on chat, event / our chat", ("responses-stream", _OURS), ("stream", _OURS), 1.8, 1.4),
    _ratio("100 KB conversation / ferrogw", ("conversation", _OURS), ("conversation", "ferrogw"), 0.5, 0.3),
    Bar(
        work="one hook of each kind more, unary",
        unit="us",
        must=10,
        aim=5,
        value=_by_pairs(("unary", "gateway+hooks"), ("unary", _OURS), lambda one, base: one - base),
    ),
    _limit("added latency, p50", "p50", 0.5, 0.25),
    _limit("added latency, p99", "p99", 1.5, 0.75),
    _limit("memory per open stream", "open", 25, 15),
    _limit("open streams that did not complete", "open-lost", 0),
    _limit("idle clients lost, or streams beside them", "clients-lost", 0),
    _limit("resident, idle", "idle", 45),
    _limit("ready", "ready", 0.6),
    _limit("import", "import", 120),
)
