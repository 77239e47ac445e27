"""The `responses` API."""
