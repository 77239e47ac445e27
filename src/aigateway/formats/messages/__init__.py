"""The `messages` API."""
