"""The way to the upstreams: a `Transport` protocol, and HTTP/1.1 over connections, proxies and TLS of our own making."""
