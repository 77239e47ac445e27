"""Providers: who answers. `Provider` speaks HTTP to an OpenAI-shaped host; anything with `send` may stand in its place."""
