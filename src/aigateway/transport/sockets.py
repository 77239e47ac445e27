"""A TCP connection to a name: looked up off the loop, its addresses tried side by side (RFC 8305)."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from typing import Any, Final

ATTEMPT_DELAY = 0.25
"""Seconds that an address is tried alone, before the next one is tried beside it."""

SCARCE = frozenset({errno.EMFILE, errno.ENFILE})
"""What the system says where no more files may be open, of this process or of all."""

Address = tuple[int, int, int, Any]
"""Family, kind, protocol, and what connect() wants."""

_LOOKING: Final[dict[tuple[asyncio.AbstractEventLoop, str, int], asyncio.Task[list[Address]]]] = {}
"""The look-ups that run."""


def out_of_files() -> bool:
    """Whether no file can be opened: name look-up and TLS fail then, and do not say why."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in SCARCE
    return False


async def connected(host: str, port: int) -> socket.socket:
    """A connected socket. Raises socket.gaierror where the name stands for no host, else OSError."""
    addresses = _literal(host, port) or await _look_up(host, port)
    if len(addresses) == 1:
        return await _connect(addresses[0])
    return await _race(_interleaved(addresses))


def _literal(host: str, port: int) -> list[Address]:
    """The address that a host is already; none for a name."""
    try:
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, UnicodeError):
        return []
    return [(family, kind, protocol, address) for family, kind, protocol, _, address in found]


async def _look_up(host: str, port: int) -> list[Address]:
    """The addresses of a name. Who asks for the same one meanwhile waits with the first: few threads look up for all."""
    loop = asyncio.get_running_loop()
    key = (loop, host, port)
    looking = _LOOKING.get(key)
    if looking is None:
        looking = _LOOKING[key] = loop.create_task(_found(host, port))

        def over(done: asyncio.Task[list[Address]]) -> None:
            _LOOKING.pop(key, None)
            if not done.cancelled():
                done.exception()  # who asked may have left

        looking.add_done_callback(over)
    await asyncio.wait((looking,))  # who gives up does not end it for the others
    return looking.result()


async def _found(host: str, port: int) -> list[Address]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, "not a host name") from error
    if not found:
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    return [(family, kind, protocol, address) for family, kind, protocol, _, address in found]


def _interleaved(addresses: Sequence[Address]) -> list[Address]:
    """In the system's order, but the families by turns, so that a broken one holds nobody up."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    pairs: Iterable[Address | None] = chain.from_iterable(zip_longest(first, others))
    return [address for address in pairs if address is not None]


async def _connect(address: Address) -> socket.socket:
    family, kind, protocol, where = address
    connection = socket.socket(family, kind, protocol)
    try:
        connection.settimeout(0)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await asyncio.get_running_loop().sock_connect(connection, where)
    except BaseException:
        connection.close()
        raise
    return connection


async def _race(addresses: Sequence[Address]) -> socket.socket:
    """The first that connects; the next address is tried after a while, or as soon as one has failed."""
    left = list(addresses)
    running: set[asyncio.Task[socket.socket]] = set()
    failed: OSError | None = None
    try:
        while left or running:
            if left:
                running.add(asyncio.ensure_future(_connect(left.pop(0))))
            delay = ATTEMPT_DELAY if left else None
            done, running = await asyncio.wait(running, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                error = task.exception()
                if error is None:
                    running |= done - {task}
                    return task.result()
                if not isinstance(error, OSError):
                    raise error
                failed = failed or error
    finally:
        await _give_up(running)
    raise failed or OSError("no address")


async def _give_up(running: Iterable[asyncio.Task[socket.socket]]) -> None:
    for task in running:
        task.cancel()
    for outcome in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(outcome, socket.socket):
            outcome.close()
