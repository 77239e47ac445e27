"""The servers that are compared, and how each is started: the floor, the gateway (also with a log, and with more hooks), the peers."""

import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bench import payload
from bench.processes import BenchError, free_port

_SBIN: Final = "/usr/sbin"  # where nginx is on machines whose users have no such PATH


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """One server before the mock upstream. `share` of the load: slow ones get less. `patience`: seconds to start."""

    name: str
    command: list[str]
    port: int
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    share: float = 1.0
    patience: float = 60.0


def floor(upstream: int, _: Path) -> App:
    port = free_port()
    command = [sys.executable, "-m", "bench.floor", "--port", str(port), "--upstream", str(upstream)]
    return App(name="floor", command=command, port=port)


def gateway(upstream: int, folder: Path) -> App:
    """Authentication and metrics on; of calls that go well it logs nothing, as the peers are told too."""
    return _gateway("gateway", upstream, folder, [])


def logging(upstream: int, folder: Path) -> App:
    """The same with a line in the log for every call."""
    return _gateway("gateway+log", upstream, folder, ["aigateway.hooks:LoggingHook"])


def hooked(upstream: int, folder: Path) -> App:
    """The same with one hook of each kind more."""
    return _gateway("gateway+hooks", upstream, folder, ["bench.hooks:EveryKind"])


def _gateway(name: str, upstream: int, folder: Path, hooks: list[str]) -> App:
    provider = {"type": "openai", "base_url": f"http://127.0.0.1:{upstream}/v1", "api_key": "none", "apis": ["chat"]}
    configuration = {
        "providers": {"mock": provider},
        "models": {payload.CLIENT_MODEL: {"provider": "mock", "model": payload.UPSTREAM_MODEL}},
        "auth": {"keys": {payload.CLIENT_KEY: "bench"}},
        "hooks": hooks,
        "metrics": {"enabled": True},
        "state": {"url": f"sqlite:///{folder / name}.db"},  # as by default, but not the user's own
    }
    port = free_port()
    config = folder / f"{name}.yaml"
    config.write_text(json.dumps(configuration, indent=2))  # JSON is YAML
    command = [_beside_python("aigateway"), "serve", "--config", str(config), "--port", str(port)]
    return App(name=name, command=command, port=port)


def _beside_python(program: str) -> str:
    return str(Path(sys.executable).with_name(program))


_NGINX: Final = """
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log /dev/null crit;
{user}
events {{ worker_connections 18000; }}
http {{
  access_log off;
  upstream mock {{ server 127.0.0.1:{upstream}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    client_body_buffer_size 1m;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    keepalive_requests 100000000;
    location / {{
      if ($http_authorization != "Bearer {key}") {{ return 401; }}
      proxy_pass http://mock;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


def nginx(upstream: int, folder: Path) -> App:
    """A bare proxy that compares the key. Raises BenchError where there is no nginx."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")
    if program is None:
        raise BenchError("no nginx on PATH")
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""  # else its workers cannot enter the folder
    config = folder / "nginx.conf"
    config.write_text(
        _NGINX.format(folder=folder, upstream=upstream, port=port, user=user, key=payload.CLIENT_KEY), encoding="utf-8"
    )
    return App(name="nginx", command=[program, "-p", str(folder), "-c", str(config)], port=port)


def ferrogw(upstream: int, folder: Path, programs: Path) -> App:
    port = free_port()
    config = folder / "ferrogw.yaml"
    config.write_text("strategy:\n  mode: single\ntargets:\n  - virtual_key: openai\n")
    environment = {
        "GATEWAY_CONFIG": str(config),
        "MASTER_KEY": payload.CLIENT_KEY,
        "OPENAI_API_KEY": "sk-upstream",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream}",
        "PORT": str(port),
        "LOG_LEVEL": "error",
        "RATE_LIMIT_RPS": "1000000",
        "RATE_LIMIT_BURST": "1000000",
    }
    return App(name="ferrogw", command=[str(programs / "ferrogw"), "serve"], port=port, environment=environment)


def smg(upstream: int, _: Path, programs: Path) -> App:
    port = free_port()
    options = {
        "--host": "127.0.0.1",
        "--port": str(port),
        "--worker-urls": f"http://127.0.0.1:{upstream}",
        "--policy": "round_robin",
        "--prometheus-port": str(free_port()),
        "--api-key": payload.CLIENT_KEY,
        "--log-level": "error",
    }
    command = [str(programs / "smg"), "launch", *(word for option in options.items() for word in option)]
    return App(name="smg", command=command, port=port)


def litellm(upstream: int, folder: Path, programs: Path) -> App:
    port = free_port()
    upstream_model = {
        "model": f"openai/{payload.UPSTREAM_MODEL}",
        "api_base": f"http://127.0.0.1:{upstream}/v1",
        "api_key": "sk-upstream",
    }
    configuration = {
        "model_list": [{"model_name": payload.CLIENT_MODEL, "litellm_params": upstream_model}],
        "general_settings": {"master_key": payload.CLIENT_KEY},
        "litellm_settings": {"telemetry": False},
    }
    config = folder / "litellm.yaml"
    config.write_text(json.dumps(configuration, indent=2))  # JSON is YAML
    command = [str(programs / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    environment = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PATH": f"{programs}:{os.defpath}"}
    return App(name="litellm", command=command, port=port, environment=environment, share=0.03, patience=180.0)


OURS: Final[Mapping[str, Callable[[int, Path], App]]] = {
    "floor": floor,
    "gateway": gateway,
    "gateway+log": logging,
    "gateway+hooks": hooked,
}
"""Always there."""

INSTALLED: Final[Mapping[str, Callable[[int, Path, Path], App]]] = {"ferrogw": ferrogw, "smg": smg, "litellm": litellm}
"""Peers from the package index: upstream's port, folder for files, folder of programs."""

PEERS: Final = ("nginx", *INSTALLED)
