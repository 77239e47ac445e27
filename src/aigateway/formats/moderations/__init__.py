"""The `moderations` API; relayed."""
