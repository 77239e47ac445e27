"""The `realtime` API: a session over a WebSocket, relayed."""
