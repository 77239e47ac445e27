"""The bench answers whole and judges rightly; how fast anything is, is its own business."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import apps, measure, peers, report
from bench.__main__ import parse_options
from bench.load import Counts
from bench.processes import BenchError
from bench.results import BARS, Results

ROOT = Path(__file__).resolve().parent.parent


def run(module: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)


def test_quick_bench_measures_every_part(tmp_path: Path) -> None:
    out, document = tmp_path / "bench.json", tmp_path / "page.md"
    document.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    counts = "--quick --rounds 1 --requests 40 --latency 40 --conversations 8 --streams 4 --open 20 --clients 20"
    ended = run("bench", *counts.split(), "--json", str(out), "--report", str(document))
    assert ended.returncode == 0, ended.stderr
    found = json.loads(out.read_text())
    values = {(row["measure"], row["app"]): row["value"] for row in found["series"]}

    for name in ("unary", "stream", "responses", "responses-stream", "conversation", "idle", "ready", "import"):
        assert values[name, "gateway"] > 0
    assert {app for name, app in values if name == "unary"} == set(apps.OURS)
    assert values["open-lost", "gateway"] == values["clients-lost", "gateway"] == 0
    assert found["notes"] == []
    peers_bars = [bar for bar in found["bars"] if bar["work"].split(" / ")[-1] in apps.PEERS]
    assert {bar["verdict"] for bar in peers_bars} == {"not measured"}
    assert all(bar["verdict"] != "not measured" for bar in found["bars"] if bar not in peers_bars)
    assert document.read_text().startswith(f"before\n{report.BEGIN}\n")
    assert "| 100 KB conversation / ferrogw |" in document.read_text()
    assert "old" not in document.read_text()


def test_soak_of_seconds_leaves_nothing_over() -> None:
    ended = run("bench.soak", "--minutes", "0.03", "--clients", "4")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "nothing left over" in ended.stdout


def test_bars_compare_slice_by_slice_and_say_what_is_missing() -> None:
    results = Results()
    for ours, theirs in ((10.0, 40.0), (40.0, 80.0), (30.0, 30.0)):  # ratios 0.25, 0.5, 1: the machine slowed down
        results.add("unary", "gateway", ours)
        results.add("unary", "ferrogw", theirs)
    verdicts = {bar.work: (bar.value(results), bar.verdict(results)) for bar in BARS}
    assert verdicts["unary chat relay / ferrogw"] == (0.5, "met")
    assert verdicts["unary chat relay / smg"] == (None, "not measured")
    for took in (180.0, 121.0, 140.0):  # the least counts
        results.add("import", "gateway", took)
    for took in (0.4, 0.6, 3.0):  # the median does
        results.add("ready", "gateway", took)
    verdicts = {bar.work: (bar.value(results), bar.verdict(results)) for bar in BARS}
    assert verdicts["import"] == (121.0, "MISSED")
    assert verdicts["ready"] == (0.6, "met")
    assert "MISSED" in report.text(results)


def test_peer_that_cannot_be_installed_is_a_note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("venv.create", lambda *_, **__: None)

    def refuse(*_: object) -> None:
        raise BenchError("pip install ferrogw: no such package")

    monkeypatch.setattr(peers, "_pip", refuse)
    monkeypatch.setattr(sys, "argv", ["bench", "--quick", "--peers", "ferrogw", "--only", "unary"])
    bench = measure.Bench(parse_options())
    assert [app.name for app in bench.chosen(tmp_path)] == list(apps.OURS)
    assert bench.results.notes == ["ferrogw: not measured: pip install ferrogw: no such package"]


def test_document_without_marks_is_refused(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("no marks\n")
    with pytest.raises(ValueError, match="lacks the lines"):
        report.into_document(document, Results(), "here")
    assert document.read_text() == "no marks\n"


def test_counts_keep_the_first_failure() -> None:
    counts = Counts()
    counts.fail("first")
    counts.fail("second")
    assert (counts.failures, counts.first_failure) == (2, "first")
