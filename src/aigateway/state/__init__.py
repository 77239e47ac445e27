"""Conversation state: what is kept, and where."""

from aigateway.state.memory import MemoryStore
from aigateway.state.opening import open_store
from aigateway.state.protocol import ResponseStore, StoreUnavailableError

__all__ = ["MemoryStore", "ResponseStore", "StoreUnavailableError", "open_store"]
