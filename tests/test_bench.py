"""The bench answers whole; how fast is its own business."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    "apps",
    [
        pytest.param(["echo", "copy"], id="bare"),
        pytest.param(["echo", "copy", "gateway"], id="with-gateway"),
    ],
)
def test_quick_bench_counts_every_request_and_event(apps: list[str], tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    command = [sys.executable, "-m", "bench", "--quick", "--only", ",".join(apps), "--json", str(out)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert ended.returncode == 0, ended.stderr
    result = json.loads(out.read_text())
    ran, rows = result["options"], result["rows"]
    streamed = ran["rounds"] * ran["streams"]

    assert {(row["work"], row["app"]) for row in rows} == {
        *(("unary", app) for app in apps),
        *(("stream", app) for app in apps if app != "echo"),
    }
    for row in rows:
        assert row["completed"] == (streamed if row["work"] == "stream" else ran["rounds"] * ran["requests"])
        assert row["events"] == (streamed * (ran["events"] + 2) if row["work"] == "stream" else 0)
        assert isinstance(row["ratio"], float)
        assert row["ratio"] > 0
