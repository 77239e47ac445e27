"""The `completions` API: OpenAI's first one, for text that goes on where a prompt ends."""
