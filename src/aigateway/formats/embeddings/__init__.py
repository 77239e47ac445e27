"""The `embeddings` API: relayed, and answered in the encoding that the caller asked for."""
