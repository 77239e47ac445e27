"""The transport before real servers: uvicorn always; nginx, haproxy and Node where they are installed."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aigateway.transport.pool import PooledTransport
from aigateway.transport.protocol import TLS, HTTPRequest, Timeout
from tests.ports import free_port
from tests.raw_peer import LIMITS, RawPeer, fetch, pooled, raw_peer, request_in
from tests.serving import served

FILES = Path(__file__).parent / "fixtures" / "tls"
BIG = b"0123456789abcdef" * 65_536

NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log stderr crit;
events {{ }}
http {{
  access_log off; client_max_body_size 2m; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/a; uwsgi_temp_path {folder}/b; scgi_temp_path {folder}/c;
  server {{
    listen 127.0.0.1:{port}; listen 127.0.0.1:{tls_port} ssl; listen unix:{folder}/nginx.sock;
    ssl_certificate {tls}/here.pem; ssl_certificate_key {tls}/here.pem;
    location / {{ proxy_pass http://127.0.0.1:{upstream}; proxy_http_version 1.1; proxy_buffering off;
                  proxy_request_buffering off; proxy_set_header Connection ""; }}
    location /zipped {{ gzip on; gzip_min_length 1; gzip_types *; gzip_proxied any; default_type text/plain; alias {folder}/zipped; }}
    location /short {{ keepalive_timeout 0; return 200 ok; }}
  }}
}}
"""

HAPROXY = """
global
  maxconn 100
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend in
  bind 127.0.0.1:{port}
  bind 127.0.0.1:{tls_port} ssl crt {tls}/here.pem alpn h2,http/1.1
  default_backend out
backend out
  server up 127.0.0.1:{upstream}
"""

NODE = """
const handle = (req, res) => {
  const parts = [];
  req.on('data', part => parts.push(part));
  req.on('end', () => {
    const body = Buffer.concat(parts);
    if (req.url.startsWith('/stream')) {
      res.writeHead(200, {'content-type': 'text/event-stream', 'trailer': 'x-sum'});
      for (let i = 0; i < 5; i++) res.write(`data: ${i}\\n\\n`);
      res.addTrailers({'x-sum': '1'});
      res.end();
    } else if (req.url.startsWith('/early')) {
      res.writeEarlyHints({link: '</a>; rel=preload'});
      res.end('early');
    } else res.end(`${req.method} ${body.length}`);
  });
};
const fs = require('node:fs');
const pem = fs.readFileSync(process.argv[4]);
require('node:http').createServer(handle).listen(+process.argv[2], '127.0.0.1');
require('node:https').createServer({key: pem, cert: pem}, handle).listen(+process.argv[3], '127.0.0.1');
"""


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Says the method and how long the body was; /stream gives five events."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    pieces = [f"{scope['method']} {size}".encode()]
    if scope["path"].startswith("/stream"):
        pieces = [b"data: %d\n\n" % number for number in range(5)]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


@asynccontextmanager
async def program(*command: str) -> AsyncIterator[None]:
    """A program while it is needed; its words are shown where it ends early."""
    running = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.kill()
        said, _ = await running.communicate()
        assert running.returncode == -9, said.decode()


async def listens(port: int) -> None:
    """Wait until somebody does."""
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


class Server:
    """Where a server is."""

    def __init__(self, url: str, https: str = "", path: str = "") -> None:
        self.url = url
        self.https = https
        self.path = path


@asynccontextmanager
async def uvicorn_server(_: Path) -> AsyncIterator[Server]:
    async with served(application) as url:
        yield Server(url)


@asynccontextmanager
async def before(folder: Path, command: list[str], config: str) -> AsyncIterator[Server]:
    """A server with this configuration in front of the application on uvicorn."""
    async with served(application) as url:
        port, tls_port = free_port(), free_port()
        (folder / "zipped").write_bytes(b"plain " * 10_000)
        text = config.format(folder=folder, port=port, tls_port=tls_port, tls=FILES, upstream=url.rpartition(":")[2])
        (folder / "config").write_text(text)
        async with program(*command):
            await listens(port)
            await listens(tls_port)
            yield Server(f"http://127.0.0.1:{port}", f"https://localhost:{tls_port}", str(folder / "nginx.sock"))


def nginx_server(folder: Path) -> contextlib.AbstractAsyncContextManager[Server]:
    return before(folder, ["nginx", "-p", str(folder), "-c", str(folder / "config")], NGINX)


def haproxy_server(folder: Path) -> contextlib.AbstractAsyncContextManager[Server]:
    return before(folder, ["haproxy", "-db", "-f", str(folder / "config")], HAPROXY)


@asynccontextmanager
async def node_server(folder: Path) -> AsyncIterator[Server]:
    (folder / "server.js").write_text(NODE)
    port, tls_port = free_port(), free_port()
    async with program("node", str(folder / "server.js"), str(port), str(tls_port), str(FILES / "here.pem")):
        await listens(port)
        await listens(tls_port)
        yield Server(f"http://127.0.0.1:{port}", f"https://localhost:{tls_port}")


MAKERS: dict[str, Callable[[Path], contextlib.AbstractAsyncContextManager[Server]]] = {
    "uvicorn": uvicorn_server,
    "nginx": nginx_server,
    "haproxy": haproxy_server,
    "node": node_server,
}


def needs(name: str) -> pytest.MarkDecorator:
    missing = name != "uvicorn" and shutil.which(name) is None
    return pytest.mark.skipif(missing, reason=f"{name} is not installed")


PEERS = [pytest.param(name, marks=needs(name)) for name in MAKERS]


async def pieces() -> AsyncIterator[bytes]:
    for at in range(0, len(BIG), 100_000):
        yield BIG[at : at + 100_000]


@pytest.mark.parametrize("name", PEERS)
async def test_every_kind_of_request_is_understood_and_answered_on_kept_connections(name: str, tmp_path: Path) -> None:
    size = f"POST {len(BIG)}".encode()
    async with (
        MAKERS[name](tmp_path) as server,
        pooled(PooledTransport(tls=TLS(ca=str(FILES / "ca.pem")))) as transport,
    ):
        for url in filter(None, (server.url, server.https)):
            assert await fetch(transport, f"{url}/x", body=b"{}") == (200, b"POST 2")
            assert await fetch(transport, f"{url}/x", method="GET", body=b"") == (200, b"GET 0")
            assert await fetch(transport, f"{url}/x", method="HEAD", body=b"") == (200, b"")
            assert await fetch(transport, f"{url}/x", method="DELETE", body=b"") == (200, b"DELETE 0")
            assert await fetch(transport, f"{url}/x", body=BIG) == (200, size)
            assert await fetch(transport, f"{url}/x", body=pieces()) == (200, size)
            counted = [("content-length", str(len(BIG)))]
            assert await fetch(transport, f"{url}/x", headers=counted, body=pieces()) == (200, size)
            events = b"".join(b"data: %d\n\n" % number for number in range(5))
            assert await fetch(transport, f"{url}/stream") == (200, events)
        assert all(len(origin.idle) == 1 for origin in transport._origins.values())
        many = [fetch(transport, f"{server.url}/x", body=b"{}") for _ in range(50)]
        assert await asyncio.gather(*many) == [(200, b"POST 2")] * 50


@needs("nginx")
async def test_nginx_zips_closes_refuses_early_and_listens_on_a_unix_socket(tmp_path: Path) -> None:
    async with nginx_server(tmp_path) as server, pooled() as transport:
        zipped = await fetch(
            transport, f"{server.url}/zipped", method="GET", body=b"", headers=[("accept-encoding", "gzip")]
        )
        assert zipped == (200, b"plain " * 10_000)
        for _ in range(2):
            assert await fetch(transport, f"{server.url}/short") == (200, b"ok")
        refused = await transport.send(
            HTTPRequest(method="POST", url=f"{server.url}/x", headers=[("content-length", "90000000")], body=endless())
        )
        assert refused.status == 413
        await refused.aclose()
        async with pooled(PooledTransport(socket=server.path)) as local:
            assert await fetch(local, "http://any.example/x") == (200, b"POST 2")


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield bytes(65_536)


@needs("node")
async def test_node_s_early_hints_and_trailers_are_passed_over(tmp_path: Path) -> None:
    async with node_server(tmp_path) as server, pooled() as transport:
        for _ in range(2):
            assert await fetch(transport, f"{server.url}/early") == (200, b"early")
            assert (await fetch(transport, f"{server.url}/stream"))[0] == 200
        assert [len(origin.idle) for origin in transport._origins.values()] == [1]


async def test_a_peer_that_answers_100_to_nobody_s_expectation_is_waited_for() -> None:
    async def conduct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, body = await request_in(reader)
            assert b"expect" not in head.lower()
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await asyncio.sleep(0.02)
            writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    peer: RawPeer
    async with raw_peer(conduct) as peer, pooled() as transport:
        for _ in range(2):
            assert await fetch(transport, peer.url, limits=Timeout(first_byte=LIMITS.first_byte)) == (200, b"{}")
        assert peer.connections == 1
