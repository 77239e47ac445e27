"""The `chat` API."""
