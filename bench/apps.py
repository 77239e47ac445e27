"""The servers that are compared: `echo`, `copy` and `gateway`, and how each is started."""

import argparse
import json
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import uvicorn

from bench import payload

NAMES: Final = ("echo", "copy", "gateway")

Message = MutableMapping[str, Any]  # as ASGI has it; its scope has the same shape
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


async def _read_body(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            return body


def echo() -> Application:
    """An application that reads the request and answers the upstream's own JSON."""
    answer = payload.completion()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]

    async def app(_: Message, receive: Receive, send: Send) -> None:
        await _read_body(receive)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return app


def copy(upstream: str) -> Application:
    """An application that sends the request on with aiohttp and copies the answer's bytes, chunk by chunk."""
    sessions: list[aiohttp.ClientSession] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if not sessions:  # the first request brings the running loop that a session needs
            sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False))
        body = await _read_body(receive)
        sent = {"content-type": "application/json"}
        async with sessions[0].post(upstream + scope["path"], data=body, headers=sent) as answer:
            kept = [(name.lower(), value) for name, value in answer.raw_headers if name.lower().startswith(b"content-")]
            await send({"type": "http.response.start", "status": answer.status, "headers": kept})
            async for chunk in answer.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


def _gateway_config(upstream: str) -> dict[str, object]:
    provider = {"type": "openai", "base_url": f"{upstream}/v1", "api_key": "none", "apis": ["chat"]}
    return {
        "providers": {"mock": provider},
        "models": {payload.CLIENT_MODEL: {"provider": "mock", "model": payload.UPSTREAM_MODEL}},
        "auth": {"keys": {payload.CLIENT_KEY: "bench"}},
        "hooks": ["aigateway.hooks:LoggingHook"],
    }


def command(name: str, *, port: int, upstream: str, folder: Path) -> list[str]:
    """The command that serves application `name` on 127.0.0.1:`port`; a file it needs is written to `folder`."""
    if name != "gateway":
        return [sys.executable, "-m", "bench.apps", name, "--port", str(port), "--upstream", upstream]
    config = folder / "gateway.yaml"
    config.write_text(json.dumps(_gateway_config(upstream), indent=2))  # JSON is YAML
    script = Path(sys.executable).with_name("aigateway")
    return [str(script), "serve", "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.apps", description="Serve one bare application.")
    parser.add_argument("name", choices=("echo", "copy"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True, help="origin of the upstream, such as http://127.0.0.1:9000")
    options = parser.parse_args()
    app = echo() if options.name == "echo" else copy(options.upstream)
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=options.port,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
