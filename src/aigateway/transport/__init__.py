"""The wire to the upstreams: a `Transport` protocol and its one implementation."""
