"""The log of a served gateway: lines on stderr, written in batches, so that a line costs no system call of its own."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from typing import TextIO

from aigateway.hooks.logging_hook import LineHandler, LoggingHook

_BATCH_SECONDS = 0.25
_BATCH_LINES = 256


class LineFormatter(logging.Formatter):
    """`2026-11-22T10:00:00+0000 INFO aigateway.calls ...`; the time is written once a second, not once a line."""

    def __init__(self) -> None:
        super().__init__()
        self._second = -1
        self._time = ""

    def at(self, created: float) -> str:
        """When that was: Unix seconds as text."""
        second = int(created)
        if second != self._second:
            self._second, self._time = second, time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(second))
        return self._time

    def format(self, record: logging.LogRecord) -> str:
        """One line, with a traceback behind it where there is one."""
        line = f"{self.at(record.created)} {record.levelname} {record.name} {record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class BatchingHandler(LineHandler):
    """Collects lines while an event loop runs and writes them together; warnings and errors go out at once."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._times = LineFormatter()
        self.setFormatter(self._times)
        self._stream = stream or sys.stderr
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line; write where it is time."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - logging must not break the call that logs
            self.handleError(record)
            return
        self._lines.append(line)
        if record.levelno >= logging.WARNING or len(self._lines) >= _BATCH_LINES:
            self.flush()
        elif len(self._lines) == 1:
            self._flush_soon()

    def write(self, name: str, line: str) -> None:
        """Keep a line at INFO that no record stands for."""
        lines = self._lines
        lines.append(f"{self._times.at(time.time())} INFO {name} {line}")
        if len(lines) == 1:
            self._flush_soon()
        elif len(lines) >= _BATCH_LINES:
            self.flush()

    def _flush_soon(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        loop.call_later(_BATCH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what was collected."""
        with self.lock or _NO_LOCK:
            lines, self._lines, self.only_for = self._lines, [], None
            if lines:
                self._stream.write("\n".join(lines) + "\n")
                self._stream.flush()


class _NoLock:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


_NO_LOCK = _NoLock()


def configure(level: str = "info") -> None:
    """Log to stderr from `level` on. Leaves out of every record what no line shows, which saves most of its cost."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    if hasattr(logging, "logAsyncioTasks"):
        logging.logAsyncioTasks = False
    logging._srcfile = None  # noqa: SLF001 - the documented way to skip the look-up of callers
    handler = BatchingHandler()
    LoggingHook.sink = handler
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
