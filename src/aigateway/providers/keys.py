"""Many keys of one vendor: each in turn, and one that was refused is left alone for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from aigateway.providers.secret import Secret


class KeyRing:
    """Gives the keys in turn.

    clock  seconds that only grow.

    Raises ValueError for no key, an empty one, or one that stands there twice.
    """

    def __init__(self, keys: Sequence[str | Secret], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys = [Secret(key) if isinstance(key, str) else key for key in keys]
        if not self._keys or not all(key.reveal() for key in self._keys):
            raise ValueError("api_keys must name at least one key, and none may be empty")
        if len(set(self._keys)) != len(self._keys):
            raise ValueError("api_keys must not name a key twice")
        self._clock = clock
        self._aside = [0.0] * len(self._keys)
        self._turn = 0

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def usable(self) -> int:
        """How many are not set aside."""
        now = self._clock()
        return sum(until <= now for until in self._aside)

    def pick(self) -> Secret:
        """The next key; where all are set aside, the one whose time is over first."""
        now = self._clock()
        count = len(self._keys)
        for step in range(count):
            at = (self._turn + step) % count
            if self._aside[at] <= now:
                self._turn = at + 1
                return self._keys[at]
        return self._keys[min(range(count), key=self._aside.__getitem__)]

    def set_aside(self, key: Secret, seconds: float) -> None:
        """Leave a key alone for so long from now on."""
        if key in self._keys:
            at = self._keys.index(key)
            self._aside[at] = max(self._aside[at], self._clock() + seconds)
