"""Conversation state: what is kept, and where."""

from aigateway.state.memory import MemoryStore
from aigateway.state.opening import open_store
from aigateway.state.protocol import ResponseStore, StoreUnavailableError
from aigateway.state.state import StateSettings

__all__ = ["MemoryStore", "ResponseStore", "StateSettings", "StoreUnavailableError", "open_store"]
