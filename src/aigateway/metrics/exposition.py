"""Totals as text: Prometheus' format 0.0.4, or OpenMetrics 1.0 for who asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aigateway.metrics.families import FAMILIES, Family
from aigateway.metrics.totals import Labels, Series, Totals

PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def content_type_for(accept: str) -> str:
    """Which of the two an Accept header asks for."""
    return OPENMETRICS if "application/openmetrics-text" in accept else PROMETHEUS


def text_of(totals: Totals, content_type: str = PROMETHEUS) -> str:
    """Every metric of which something is known."""
    is_open = content_type == OPENMETRICS
    lines: list[str] = []
    for name, family in FAMILIES.items():
        series = totals.values.get(name)
        if series:
            lines += _lines(family, series, is_open=is_open)
    if is_open:
        lines.append("# EOF")
    return "\n".join(lines) + "\n"


def _lines(family: Family, series: Series, *, is_open: bool) -> Iterator[str]:
    name = family.name.removesuffix("_total") if is_open and family.kind == "counter" else family.name
    yield f"# HELP {name} {family.help}"
    yield f"# TYPE {name} {family.kind}"
    for values, numbers in sorted(series.items()):
        labels = _labels(family, values)
        if family.kind != "histogram":
            yield f"{family.name}{{{labels}}} {_number(numbers[0])}" if labels else f"{name} {_number(numbers[0])}"
            continue
        before = f"{labels}," if labels else ""
        count = 0.0
        for bound, number in zip(family.buckets, numbers, strict=False):
            count += number
            yield f'{name}_bucket{{{before}le="{bound!r}"}} {_number(count)}'
        count += numbers[-2]
        yield f'{name}_bucket{{{before}le="+Inf"}} {_number(count)}'
        yield f"{name}_sum{{{labels}}} {_number(numbers[-1])}"
        yield f"{name}_count{{{labels}}} {_number(count)}"


def _labels(family: Family, values: Labels) -> str:
    """`a="1",b="2"`; a label without a value is left out, which is the same to who reads it."""
    pairs = zip(family.labels, values, strict=True)
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs if value)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
