"""A configuration read again while its gateway serves: the new one replaces the old one whole, or not at all."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Final

from aigateway import config as configuration
from aigateway.app.asgi import Gateway
from aigateway.assembly import ProvidersMade, build
from aigateway.config import ConfigError, ServerConfig, Source

EVERY: Final = 1.0
"""Seconds between two looks at the file."""

logger = logging.getLogger("aigateway.reload")


class Reloader:
    """Reads a configuration whenever it is asked to, and makes its gateway.

    source  what serves now; None = no file, and nothing to read again. server: its part on where to listen.
    made    its providers.
    refuse  says why a gateway must not serve here (nobody is asked for a key), or None.

    Providers whose settings are the same in both are the same objects: their connections, and a loaded model, live on.
    """

    def __init__(
        self,
        source: Source | None,
        server: ServerConfig,
        made: ProvidersMade,
        refuse: Callable[[Gateway], str | None] = lambda _: None,
    ) -> None:
        self.source = source
        self._server = server
        self._made = made
        self._refuse = refuse
        self._seen = self._signature()

    def _signature(self) -> tuple[int, ...] | None:
        if self.source is None:
            return None
        try:
            # a Path would write the folders' names into the interpreter's table of strings anew, and let that grow
            found = os.stat(self.source.name)  # noqa: PTH116
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def changed(self) -> bool:
        """Whether the file is another one than at the last look; a file that is gone is none."""
        now = self._signature()
        if now is None or now == self._seen:
            return False
        self._seen = now
        return True

    def gateway_again(self) -> Gateway | None:
        """The gateway of the file as it is now; see `again`."""
        found = self.again()
        return None if found is None else found[1]

    def again(self) -> tuple[Source, Gateway] | None:
        """The file as it is now, and its gateway. None where it is refused; the log says why."""
        if self.source is None:
            logger.warning("there is no configuration file to read again")
            return None
        self._seen = self._signature()
        try:
            source = configuration.find(self.source.name)
            assert source is not None  # noqa: S101 - a path was given
            config = configuration.parse(source)
            gateway = build(config, made=self._made)
        except ConfigError as error:
            self._keep_old("; ".join(error.errors))
            return None
        why = self._refuse(gateway)
        if why is not None:
            self._keep_old(why)
            return None
        if config.server != self._server:
            logger.warning("what `server` says of host, port and workers counts from the next start on")
            self._server = config.server
        self.source = source
        return source, gateway

    def take(self, source: Source) -> Gateway:
        """The gateway of a text that somebody else has read and found good. Raises ConfigError all the same."""
        gateway = build(configuration.parse(source), made=self._made)
        self.source = source
        return gateway

    def _keep_old(self, why: str) -> None:
        logger.error("the new configuration is refused, and the old one stays: %s", why)
