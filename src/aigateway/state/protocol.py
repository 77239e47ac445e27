"""What a store of conversation state must do: few primitives, on which everything that is kept is built once.

Documents (a response, a conversation, a stored completion) hold what is small; logs hold items, each once: a turn
appends its own to the log of its chain, so that a chain is read back in one go and costs no copy. Journals hold the
events of streams, leases say who works on what. The tenant is part of every key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from aigateway.errors import GatewayError


class ConflictError(Exception):
    """A condition of a batch does not hold anymore: nothing of the batch was written."""


class StoreUnavailableError(GatewayError):
    """The store cannot be reached, or cannot write (a full disk)."""

    status = 503
    code = "state_unavailable"
    retryable = True

    def __init__(self, message: str = "The gateway's store of conversation state is unavailable. Try again.") -> None:
        super().__init__(message, headers={"Retry-After": "1"})


class UnreadableError(StoreUnavailableError):
    """What is kept there cannot be understood: it is encrypted, or of another version."""

    code = "state_unreadable"
    retryable = False

    def __init__(self) -> None:
        GatewayError.__init__(
            self,
            "The gateway cannot read what it kept under this id. It may be encrypted with a key that is not configured "
            "anymore (state: encryption_keys), or be of a newer version of the gateway.",
        )


# Values without cycles (gc=False): the collector need not walk what a store in memory keeps.


class Document(msgspec.Struct, gc=False, frozen=True):
    """A small object. version counts its writes, from 1; times are Unix seconds."""

    id: str
    data: bytes
    version: int = 1
    created_at: float = 0.0
    expires_at: float | None = None


class Entry(msgspec.Struct, gc=False, frozen=True):
    """One entry of a log: an item as JSON bytes under its id. One that was erased has neither."""

    log: str
    seq: int
    name: str
    data: bytes


class Span(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """Entries `start` to `end` (not included) of a log."""

    log: str
    start: int
    end: int


class Piece(msgspec.Struct, gc=False, frozen=True):
    """Some events of a stream as they go out: whole frames, numbered `first` to `last`."""

    first: int
    last: int
    data: bytes


class Put(msgspec.Struct, gc=False, frozen=True, kw_only=True, tag="put"):
    """Write a document. expect: the version it must have now, 0 = there must be none, None = any.

    listed: whether `documents` shows it.
    """

    kind: str
    id: str
    data: bytes
    created_at: float
    expires_at: float | None = None
    expect: int | None = None
    listed: bool = False


class Delete(msgspec.Struct, gc=False, frozen=True, kw_only=True, tag="delete"):
    """Remove a document, if it is there. expect: the version it must have."""

    kind: str
    id: str
    expect: int | None = None


class Append(msgspec.Struct, gc=False, frozen=True, kw_only=True, tag="append"):
    """Add entries (name, data) to a log, which is made if need be. at: the length it must have; None = any."""

    log: str
    entries: tuple[tuple[str, bytes], ...]
    at: int | None = None
    expires_at: float | None = None


class Truncate(msgspec.Struct, gc=False, frozen=True, kw_only=True, tag="truncate"):
    """Cut a log of length `at` off at `length`; at 0 it is gone."""

    log: str
    at: int
    length: int


class Erase(msgspec.Struct, gc=False, frozen=True, kw_only=True, tag="erase"):
    """Blank one entry: its place stays, its name and data go."""

    log: str
    seq: int


class Keep(msgspec.Struct, gc=False, frozen=True, kw_only=True, tag="keep"):
    """Let a log live until then."""

    log: str
    expires_at: float | None


Operation = Put | Delete | Append | Truncate | Erase | Keep


class ResponseStore(Protocol):
    """Where state is kept. Every method may raise StoreUnavailableError; none answers for another tenant.

    name    what logs and errors call it.
    shared  whether other processes may use the same one.
    """

    name: str
    shared: bool

    async def document(self, tenant: str, kind: str, id: str) -> Document | None:
        """One that has not expired."""
        ...

    async def documents(
        self, tenant: str, kind: str, *, after: str | None = None, limit: int = 20, descending: bool = False
    ) -> list[Document]:
        """The listed ones by age, behind the one called `after`. An `after` that is not there gives none."""
        ...

    async def commit(self, tenant: str, operations: Sequence[Operation]) -> None:
        """All of it or nothing. Raises ConflictError where a condition does not hold. No two are of one object."""
        ...

    async def entries(self, tenant: str, spans: Sequence[Span]) -> list[Entry]:
        """The entries of these spans, in their order; what is not there is left out."""
        ...

    async def length(self, tenant: str, log: str) -> int:
        """How many entries a log has; 0 where there is none."""
        ...

    async def named(self, tenant: str, names: Sequence[str]) -> list[Entry]:
        """The newest entry of each name, in any order; names that nobody knows are left out."""
        ...

    async def write_journal(
        self, tenant: str, id: str, piece: Piece, *, expires_at: float, drop_before: int | None = None
    ) -> None:
        """Append a piece, unless one with these numbers is there. drop_before: pieces that end before it go."""
        ...

    async def read_journal(self, tenant: str, id: str, after: int, *, wait: float = 0.0) -> list[Piece]:
        """The pieces with events behind number `after`; where there is none yet, wait for one so many seconds."""
        ...

    async def delete_journal(self, tenant: str, id: str) -> None:
        """Forget it."""
        ...

    async def claim(self, kind: str, tenant: str, id: str, owner: str, seconds: float) -> bool:
        """Take a lease, or renew one's own; whether it is the owner's now. One that has run out is anybody's."""
        ...

    async def renew(self, kind: str, tenant: str, id: str, owner: str, seconds: float) -> bool:
        """Renew one's own lease; False where it was lost."""
        ...

    async def release(self, kind: str, tenant: str, id: str, owner: str | None = None) -> None:
        """Give a lease back. owner: only if it is his."""
        ...

    async def run_out(self, kind: str, limit: int = 10) -> list[tuple[str, str]]:
        """Leases that ran out without being given back: (tenant, id)."""
        ...

    async def sweep(self, limit: int = 1000) -> int:
        """Remove what has expired, so many of each sort at most; how many went."""
        ...

    async def ping(self) -> None:
        """Raise StoreUnavailableError where the store cannot be used."""
        ...

    async def aclose(self) -> None:
        """Close what is open."""
        ...
