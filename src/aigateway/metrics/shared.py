"""Where the totals of several workers meet: a file for each, in a folder that their supervisor made for them.

A worker writes its own file once a second, whole, under another name first; whoever is asked for metrics reads all. One
that was killed has left its file: who takes its place goes on with those totals, so no count is ever taken back but what
the last second brought.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from aigateway.metrics.totals import Totals

EVERY: Final = 1.0
"""Seconds between two writings."""

_STALE: Final = 5.0
"""Seconds after which what a worker said of its present state is not true any more."""

logger = logging.getLogger("aigateway.metrics")

_Rows = list[tuple[str, tuple[str, ...], list[float]]]


class _Written(msgspec.Struct, array_like=True):
    """What stands in a file. at: Unix seconds."""

    at: float
    totals: _Rows
    gauges: _Rows


_DECODER: Final = msgspec.msgpack.Decoder(_Written)


class Slot:
    """One worker's place in the folder. number: from 0; a worker that is replaced hands its number on."""

    def __init__(self, folder: Path, number: int) -> None:
        self.number = number
        self._folder = folder
        self._path = folder / f"{number}.totals"
        self._told = False

    def inherited(self) -> Totals:
        """What the worker before had counted."""
        written = _read(self._path)
        return Totals() if written is None else _totals(written.totals)

    def write(self, totals: Totals, gauges: Totals) -> None:
        """Tell the others."""
        text = msgspec.msgpack.encode(_Written(time.time(), _rows(totals), _rows(gauges)))
        passing = self._path.with_suffix(".new")
        try:
            passing.write_bytes(text)
            passing.replace(self._path)
        except OSError as error:
            if not self._told:
                self._told = True
                logger.warning("metrics of this worker are not told to the others: %s", error.strerror or error)
        else:
            self._told = False

    def others(self) -> Iterator[tuple[Totals, Totals | None]]:
        """The totals of every other worker, and its gauges unless it has been silent for a while."""
        for path in sorted(self._folder.glob("*.totals")):
            written = _read(path) if path != self._path else None
            if written is not None:
                is_fresh = abs(time.time() - written.at) < _STALE
                yield _totals(written.totals), _totals(written.gauges) if is_fresh else None


def _read(path: Path) -> _Written | None:
    with contextlib.suppress(OSError, msgspec.DecodeError):  # there is none, or of another version
        return _DECODER.decode(path.read_bytes())
    return None


def _rows(totals: Totals) -> _Rows:
    return [(name, labels, numbers) for name, series in totals for labels, numbers in series.items()]


def _totals(rows: _Rows) -> Totals:
    totals = Totals()
    for name, labels, numbers in rows:
        totals.merge(name, labels, numbers)
    return totals
