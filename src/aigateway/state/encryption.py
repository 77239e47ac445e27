"""State encrypted before it reaches its store: AES-256-GCM. Needs the extra `encryption`.

What is written is bound to its place (tenant, kind, id), so nothing can be moved to where it does not belong. Ids,
times and sizes stay readable.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aigateway.state.protocol import (
    Append,
    Document,
    Entry,
    Operation,
    Piece,
    Put,
    ResponseStore,
    Span,
    UnreadableError,
)

_MARK: Final = b"\x01"
_NONCE: Final = 12
_ID: Final = 4


class Cipher:
    """Encrypts with the first key, and decrypts what any of them encrypted."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {hashlib.sha256(key).digest()[:_ID]: AESGCM(key) for key in keys}
        self._newest = next(iter(self._keys))

    def encrypt(self, data: bytes, place: bytes) -> bytes:
        """The data so that only who has the key and names the same place can read it."""
        nonce = os.urandom(_NONCE)
        return _MARK + self._newest + nonce + self._keys[self._newest].encrypt(nonce, data, place)

    def decrypt(self, data: bytes, place: bytes) -> bytes | None:
        """What `encrypt` was given; None where it is not that, or no key fits."""
        head = 1 + _ID
        key = self._keys.get(data[1:head]) if data[:1] == _MARK else None
        if key is None:
            return None
        try:
            return key.decrypt(data[head : head + _NONCE], data[head + _NONCE :], place)
        except (InvalidTag, ValueError):
            return None


class EncryptedStore:
    """A ResponseStore that keeps in another one what only it can read.

    keys  32 bytes each: the first encrypts, all decrypt. What no key fits is answered with UnreadableError.
    """

    def __init__(self, store: ResponseStore, keys: Sequence[bytes]) -> None:
        self.name = store.name
        self.shared = store.shared
        self.store = store
        self._cipher = Cipher(keys)

    def _sealed(self, data: bytes, *place: str) -> bytes:
        return self._cipher.encrypt(data, _place(place))

    def _opened(self, data: bytes, *place: str) -> bytes:
        opened = self._cipher.decrypt(data, _place(place))
        if opened is None:
            raise UnreadableError
        return opened

    async def document(self, tenant: str, kind: str, id: str) -> Document | None:
        """See ResponseStore."""
        found = await self.store.document(tenant, kind, id)
        return None if found is None else self._open(tenant, kind, found)

    def _open(self, tenant: str, kind: str, found: Document) -> Document:
        return msgspec.structs.replace(found, data=self._opened(found.data, "d", tenant, kind, found.id))

    async def documents(
        self, tenant: str, kind: str, *, after: str | None = None, limit: int = 20, descending: bool = False
    ) -> list[Document]:
        """See ResponseStore."""
        found = await self.store.documents(tenant, kind, after=after, limit=limit, descending=descending)
        return [self._open(tenant, kind, document) for document in found]

    async def commit(self, tenant: str, operations: Sequence[Operation]) -> None:
        """See ResponseStore."""
        await self.store.commit(tenant, [self._covered(tenant, operation) for operation in operations])

    def _covered(self, tenant: str, operation: Operation) -> Operation:
        if isinstance(operation, Put):
            data = self._sealed(operation.data, "d", tenant, operation.kind, operation.id)
            return msgspec.structs.replace(operation, data=data)
        if isinstance(operation, Append):
            entries = tuple(
                (name, self._sealed(data, "l", tenant, operation.log, name)) for name, data in operation.entries
            )
            return msgspec.structs.replace(operation, entries=entries)
        return operation

    async def entries(self, tenant: str, spans: Sequence[Span]) -> list[Entry]:
        """See ResponseStore."""
        return [self._entry(tenant, entry) for entry in await self.store.entries(tenant, spans)]

    def _entry(self, tenant: str, entry: Entry) -> Entry:
        if not entry.data:
            return entry
        return msgspec.structs.replace(entry, data=self._opened(entry.data, "l", tenant, entry.log, entry.name))

    async def length(self, tenant: str, log: str) -> int:
        """See ResponseStore."""
        return await self.store.length(tenant, log)

    async def named(self, tenant: str, names: Sequence[str]) -> list[Entry]:
        """See ResponseStore."""
        return [self._entry(tenant, entry) for entry in await self.store.named(tenant, names)]

    async def write_journal(
        self, tenant: str, id: str, piece: Piece, *, expires_at: float, drop_before: int | None = None
    ) -> None:
        """See ResponseStore."""
        covered = msgspec.structs.replace(piece, data=self._sealed(piece.data, "j", tenant, id))
        await self.store.write_journal(tenant, id, covered, expires_at=expires_at, drop_before=drop_before)

    async def read_journal(self, tenant: str, id: str, after: int, *, wait: float = 0.0) -> list[Piece]:
        """See ResponseStore."""
        found = await self.store.read_journal(tenant, id, after, wait=wait)
        return [msgspec.structs.replace(piece, data=self._opened(piece.data, "j", tenant, id)) for piece in found]

    async def delete_journal(self, tenant: str, id: str) -> None:
        """See ResponseStore."""
        await self.store.delete_journal(tenant, id)

    async def claim(self, kind: str, tenant: str, id: str, owner: str, seconds: float) -> bool:
        """See ResponseStore."""
        return await self.store.claim(kind, tenant, id, owner, seconds)

    async def renew(self, kind: str, tenant: str, id: str, owner: str, seconds: float) -> bool:
        """See ResponseStore."""
        return await self.store.renew(kind, tenant, id, owner, seconds)

    async def release(self, kind: str, tenant: str, id: str, owner: str | None = None) -> None:
        """See ResponseStore."""
        await self.store.release(kind, tenant, id, owner)

    async def run_out(self, kind: str, limit: int = 10) -> list[tuple[str, str]]:
        """See ResponseStore."""
        return await self.store.run_out(kind, limit)

    async def sweep(self, limit: int = 1000) -> int:
        """See ResponseStore."""
        return await self.store.sweep(limit)

    async def ping(self) -> None:
        """See ResponseStore."""
        await self.store.ping()

    async def aclose(self) -> None:
        """See ResponseStore."""
        await self.store.aclose()


def _place(names: Sequence[str]) -> bytes:
    return msgspec.json.encode(names)
