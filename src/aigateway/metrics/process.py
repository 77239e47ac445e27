"""What this process takes of its machine."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_STARTED: Final = time.time()
_STATM: Final = Path("/proc/self/statm")
_FDS: Final = Path("/proc/self/fd" if sys.platform == "linux" else "/dev/fd")


def process() -> Iterator[tuple[str, float]]:
    """Metric and number; what this system does not tell is left out."""
    times = os.times()
    yield "process_cpu_seconds_total", times.user + times.system
    yield "process_start_time_seconds", _STARTED
    with contextlib.suppress(OSError):  # this system has none
        yield "process_resident_memory_bytes", int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError):
        yield "process_open_fds", len(os.listdir(_FDS)) - 1  # noqa: PTH208 - one of them is that of the listing
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - there is none on Windows

        yield "process_max_fds", resource.getrlimit(resource.RLIMIT_NOFILE)[0]
