"""Authentication by a table of API keys."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from aigateway.call import Call, Principal
from aigateway.hooks.hook import Hook


class APIKeyAuthenticator(Hook):
    """Client key -> tenant.

    Keys are kept and looked up as digests under a secret of this process: how long a look-up takes tells nothing about
    the keys, since nobody outside can choose a digest.

    Raises ValueError for an empty key.
    """

    def __init__(self, keys: Mapping[str, str]) -> None:
        if any(not key for key in keys):
            raise ValueError("an API key must not be empty")
        self._salt = os.urandom(32)
        self._tenants = {self._digest(key): Principal(tenant) for key, tenant in keys.items()}

    def _digest(self, key: str) -> bytes:
        return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), key=self._salt, digest_size=32).digest()

    def authenticate(self, call: Call, key: str | None) -> Principal | None:
        """The tenant of a key, None for one that is not in the table."""
        if not key:
            return None
        return self._tenants.get(self._digest(key))
