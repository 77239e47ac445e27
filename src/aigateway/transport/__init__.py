"""The way to the upstreams: a `Transport` protocol, our own wire and pool, and aiohttp where a proxy stands between."""
