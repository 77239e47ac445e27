"""The command line: `aigateway serve`, `check`, `explain` and `lint`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

import click

from aigateway.errors import GatewayError

if TYPE_CHECKING:
    from aigateway.app.asgi import Gateway
    from aigateway.assembly import ProvidersMade
    from aigateway.config import Config, Source
    from aigateway.lint import Profile
    from aigateway.serving import Address

_CONFIG = click.option(
    "--config",
    "file",
    metavar="FILE",
    help="The configuration. [default: ./gateway.yaml if it is there, else what the environment has keys for, "
    "else a small model in this process]",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aigateway", message="%(prog)s %(version)s")
def main() -> None:
    """A gateway to language models."""


@main.command()
@_CONFIG
def check(file: str | None) -> None:
    """Validate a configuration: exit with 0, or with 1 and every mistake with its place."""
    source, config, gateway = _load(file)
    print(f"ok: {_summary(source, config, gateway)}")


@main.command()
@_CONFIG
@click.option("--host", help="The address to listen at. [default: the config's, else 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="0 = any free one. [default: the config's, else 8080]")
@click.option("--workers", type=click.IntRange(1), help="How many processes. [default: the config's, else 1]")
@click.option("--no-auth", is_flag=True, help="Let other machines call without any authentication.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What is logged to stderr.",
)
def serve(
    *, file: str | None, host: str | None, port: int | None, workers: int | None, no_auth: bool, log_level: str
) -> None:
    """Serve until SIGINT or SIGTERM; `ready: URL` is printed once it answers.

    Running requests then have 30 seconds to finish; a second signal cuts them at once. A changed configuration file,
    or SIGHUP, puts the new configuration in the old one's place; running requests keep theirs.
    """
    # uvicorn and multiprocessing are for who serves: --help and check are quick without them
    from aigateway import serving  # noqa: PLC0415
    from aigateway.assembly import ProvidersMade  # noqa: PLC0415
    from aigateway.reload import Reloader  # noqa: PLC0415
    from aigateway.workers import Job, Supervisor  # noqa: PLC0415

    serving.configure_logging(log_level)
    serving.raise_file_limit()
    made = ProvidersMade()
    source, config, gateway = _load(file, made)
    server = config.server
    count = server.workers if workers is None else workers
    try:
        address = serving.Address(server.host if host is None else host, server.port if port is None else port)
        _refuse_strangers(address, gateway, no_auth=no_auth)

        def refuse(other: Gateway) -> str | None:
            return None if no_auth else _strangers(address, other)

        reloader = Reloader(source, server, made, refuse)
        sock = address.bind()
        url = address.url(sock)
        logging.getLogger("aigateway").info("%s", _summary(source, config, gateway))

        def announce() -> None:
            print(f"ready: {url}", flush=True)

        if count == 1:
            serving.serve_here(gateway, address, sock, announce, reloader)
            return
        job = Job(source=source, host=address.host, port=address.port, log_level=log_level)
        Supervisor(job, sock, count, announce, reloader).run()
    except serving.ServeError as error:
        _fail([str(error)])
    except GatewayError as error:
        _fail([error.message])


@main.command()
@_CONFIG
@click.option("--api", "operation", default="chat", show_default=True, help="chat, responses, embeddings or images.")
@click.option("--api-key", envvar="AIGATEWAY_API_KEY", show_envvar=True, help="The caller's key.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.argument("request", type=click.File("rb"), metavar="REQUEST")
def explain(*, file: str | None, operation: str, api_key: str | None, as_json: bool, request: BinaryIO) -> None:
    """Say what would become of a request, without sending it: route, targets, mode, hooks, upstream bytes.

    REQUEST is a file with the JSON body of the request, or - for standard input. Exits with 1 where the request would
    be refused.
    """
    import asyncio  # noqa: PLC0415 - only who explains has a loop to run

    from aigateway import _json  # noqa: PLC0415

    try:
        body = _json.decode_object(request.read())
    except GatewayError as error:
        _fail([error.message], code=2)
    _, _, gateway = _load(file)
    if operation not in ("chat", "responses", "embeddings", "images"):
        _fail([f"--api: {operation} is none of chat, responses, embeddings, images"], code=2)
    explained = asyncio.run(gateway.explain(operation, body, api_key=api_key))
    print(_json.encode(explained).decode() if as_json else explained.text())
    sys.exit(explained.refused)


@main.command()
@click.argument("source", metavar="FILE|URL")
@click.option("--model", help="The model to ask for. [default: the first that the server lists]")
@click.option(
    "--profile",
    type=click.Choice(["openai", "open_responses"]),
    default="openai",
    show_default=True,
    help="Whose rules: OpenAI's, or those of Open Responses to the letter.",
)
@click.option("--input", "text", help="What to ask. [default: the weather in Paris]")
@click.option("--api-key", envvar="AIGATEWAY_API_KEY", show_envvar=True, help="The key for the server.")
@click.option("--json", "as_json", is_flag=True, help="Print every finding, as JSON.")
def lint(
    *, source: str, model: str | None, profile: Profile, text: str | None, api_key: str | None, as_json: bool
) -> None:
    """Say what is unlawful in a Responses stream: in a file, or in what a server answers.

    A FILE holds a stream as it came, its events as JSON lines, or one response as JSON. A URL is the base URL of a
    server (.../v1): it is asked for a text and for a call of a tool, each whole and as a stream. Exits with 0, with 1
    and the findings, or with 2 where something could not be linted.
    """
    from aigateway.lint import command  # noqa: PLC0415 - who serves lints nothing

    checked = command.check(source, profile=profile, model=model, input=text, api_key=api_key)
    for line in command.lines_of(checked, as_json=as_json):
        print(line)
    errors = [f"{one.name}: {one.error}" for one in checked if one.error]
    if errors:
        _fail(errors, code=2)
    sys.exit(any(one.findings for one in checked))


def _load(file: str | None, made: ProvidersMade | None = None) -> tuple[Source | None, Config, Gateway]:
    """The configuration and its gateway; ends the program with every mistake on stderr."""
    from aigateway import assembly, config  # noqa: PLC0415 - YAML and the catalog are not needed for --help

    try:
        source = config.find(file)
        _make_importable(source)
        parsed = config.Config() if source is None else config.parse(source)
        return source, parsed, assembly.build(parsed, made=made)
    except config.ConfigError as error:
        _fail(error.errors)


def _make_importable(source: Source | None) -> None:
    """Hooks stand in the folder where the program is started, or beside the configuration."""
    folders = [Path.cwd(), *([Path(source.name).absolute().parent] if source is not None else [])]
    sys.path[:0] = [str(folder) for folder in folders if str(folder) not in sys.path]


def _refuse_strangers(address: Address, gateway: Gateway, *, no_auth: bool) -> None:
    error = _strangers(address, gateway)
    if error is None:
        return
    if not no_auth:
        _fail([error], code=2)
    click.echo(f"warning: anybody who can reach {address.host} may use this gateway and its keys (--no-auth)", err=True)


def _strangers(address: Address, gateway: Gateway) -> str | None:
    """Why this gateway must not be served there; None if it may."""
    if address.is_loopback or gateway.authenticates:
        return None
    return (
        f"refusing to serve at {address.host}: other machines can reach it, and nobody is asked for a key. Add "
        "`auth: {keys: {...}}` or a hook that authenticates to the config, listen at 127.0.0.1, or say --no-auth."
    )


def _summary(source: Source | None, config: Config, gateway: Gateway) -> str:
    """What a configuration amounts to, on one line."""
    providers = config.providers or [provider.name for provider in gateway.providers()]
    models = config.models or [model.name for model in gateway.models.listed()] or ["*"]
    facts = [
        f"providers {', '.join(providers)}",
        f"models {', '.join(models)}",
        f"authentication {'on' if gateway.authenticates else 'off'}",
        f"{len(config.hooks)} {'hook' if len(config.hooks) == 1 else 'hooks'}",
    ]
    return f"{source.name if source is not None else 'no configuration file'}: {'; '.join(facts)}"


def _fail(errors: list[str], *, code: int = 1) -> NoReturn:
    for error in errors:
        click.echo(error, err=True)
    sys.exit(code)
