"""The results as text for a terminal, as a part of a document, and as JSON."""

import datetime as dt
import os
import platform
from pathlib import Path
from typing import Final

from bench import peers
from bench.results import BARS, MEASURES, Results

BEGIN: Final = "<!-- what the bench wrote: begin -->"
END: Final = "<!-- what the bench wrote: end -->"
_WIDTH: Final = 40  # characters of the longest bar of the chart
_CHARTED: Final = ("unary", "stream")
_CUT: Final = 4  # a bar longer than so many times ours is cut, so that the others can be seen


def number(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    digits = 4 if abs(value) < 0.1 else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}"


def costs(results: Results) -> list[list[str]]:
    """Medians: a row a measure, a column an app; the head first."""
    names = results.apps()
    rows = [["measured", "unit", *names]]
    for measure in MEASURES.values():
        cells = [number(results.value((measure.name, name))) for name in names]
        if any(cells):
            rows.append([measure.title, measure.unit, *cells])
    return rows


def bars(results: Results) -> list[list[str]]:
    """What must hold; the head first."""
    rows = [["work", "measured", "must", "aim", ""]]
    for bar in BARS:
        measured = number(bar.value(results))
        aim = "" if bar.aim is None else number(bar.aim)
        rows.append(
            [
                bar.work,
                f"{measured} {bar.unit}".strip() if measured else "",
                number(bar.must),
                aim,
                bar.verdict(results),
            ]
        )
    return rows


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


def _markdown(rows: list[list[str]]) -> str:
    head, *rest = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([head, "| --- " + "| ---: " * (len(rows[0]) - 1) + "|", *rest])


def chart(results: Results) -> str:
    """Bars of CPU, the shortest first; one that would hide the others is cut and ends with >>."""
    parts = []
    for name in _CHARTED:
        found = {app: median for app in results.apps() if (median := results.value((name, app))) is not None}
        ours = found.get("gateway")
        if ours is None:
            continue
        longest = max(value for value in found.values() if value <= _CUT * ours)
        lines = [f"{MEASURES[name].title}, {MEASURES[name].unit}"]
        for app, value in sorted(found.items(), key=lambda item: item[1]):
            drawn = "#" * max(1, round(min(value / longest, 1.0) * _WIDTH)) + (">>" if value > longest else "")
            lines.append(f"  {app:<14}{number(value):>8}  {drawn}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def joined(results: Results) -> list[str]:
    """Notes on streams whose events came together, which makes one event look cheaper than it is."""
    found = [(app, results.value(("stream chunks", app))) for app in results.apps()]
    return [
        f"{app}: {number(chunks)} chunks an event: it joined events, so its cost of one is understated"
        for app, chunks in found
        if chunks is not None and chunks < 0.9 and app != "nginx"
    ]


def text(results: Results) -> str:
    """For a terminal."""
    parts = [_aligned(costs(results)), _aligned(bars(results)), *results.notes, *joined(results)]
    return "\n\n".join(parts)


def machine(load_before: float) -> str:
    """Where and when; the load average tells whether others used the machine meanwhile."""
    model = next(
        (line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    installed = [f"{name} {peers.version(name)}" for name in ("ferrogw", "smg", "litellm") if peers.version(name)]
    return (
        f"{dt.datetime.now(tz=dt.UTC):%Y-%m-%d}, {os.cpu_count()} cores ({model}), "
        f"Linux {platform.release()}, Python {platform.python_version()}; {', '.join(installed) or 'no peers'}. "
        f"Load average {load_before:.1f} before, {os.getloadavg()[0]:.1f} at the end."
    )


def into_document(document: Path, results: Results, where: str) -> None:
    """Put the tables and the chart between the two marks of a document. ValueError where it has no such marks."""
    words = document.read_text(encoding="utf-8")
    before, begin, rest = words.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document} lacks the lines {BEGIN} and {END}")
    notes = [f"- {' '.join(note.split())}" for note in [*results.notes, *joined(results)]]
    parts = [where, _markdown(bars(results)), _markdown(costs(results)), f"```text\n{chart(results)}\n```"]
    if notes:
        parts.append("\n".join(notes))
    written = "\n\n".join(parts)
    document.write_text(f"{before}{BEGIN}\n\n{written}\n\n{END}{after}", encoding="utf-8")


def as_json(results: Results) -> dict[str, object]:
    """Every value of everything: one a round, and of costs one a slice."""
    series = [
        {"measure": measure, "app": app, "value": results.value((measure, app)), "values": values}
        for (measure, app), values in results.values.items()
    ]
    held = [
        {
            "work": bar.work,
            "value": bar.value(results),
            "must": bar.must,
            "aim": bar.aim,
            "verdict": bar.verdict(results),
        }
        for bar in BARS
    ]
    return {"series": series, "bars": held, "notes": results.notes}
