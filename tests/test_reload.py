"""A configuration changed while `aigateway serve` runs: the new one serves, or the old one stays."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aigateway.app.asgi import Gateway
from aigateway.assembly import ProvidersMade, build
from aigateway.config import ServerConfig, Source, find, parse
from aigateway.reload import Reloader
from tests.test_cli import PATIENCE, Asking, Served, Upstream, ask, until, write_config

each_count = pytest.mark.parametrize("workers", ["1", "2"])


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.release.set()
        server.shutdown()
        thread.join(PATIENCE)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(*arguments: str) -> Served:
        started.append(Served(tmp_path, *arguments))
        return started[-1]

    yield start
    for served in started:
        served.process.kill()
        served.ended()


def rename_model(folder: Path, upstream: Upstream, model: str) -> None:
    write_config(folder, upstream)
    file = folder / "gateway.yaml"
    file.write_text(file.read_text().replace("upstream-model", model))


def last_model(upstream: Upstream, url: str) -> str:
    assert ask(url)[0] == 200
    return str(upstream.requests[-1][2]["model"])


@each_count
def test_a_changed_file_serves_soon_and_running_requests_keep_theirs(
    serve: Callable[..., Served], upstream: Upstream, tmp_path: Path, workers: str
) -> None:
    write_config(tmp_path, upstream)
    gateway = serve("--port", "0", "--workers", workers)
    url = gateway.url()
    assert last_model(upstream, url) == "upstream-model"
    running = Asking(url)
    assert upstream.arrived.wait(PATIENCE)
    (tmp_path / "gateway.yaml").write_text(
        f"providers: {{other: {{type: openai, base_url: '{upstream.url}', api_key: none, apis: [chat]}}}}\n"
        "models: {m: {provider: other, model: another-model}}\n"
    )
    until(lambda: gateway.errors.count("the new configuration serves") == int(workers))
    assert last_model(upstream, url) == "another-model"
    assert ask(url, key=None)[0] == 200
    assert ask(url, "slow")[0] == 404
    upstream.release.set()
    running.join(PATIENCE)
    assert isinstance(running.outcome, tuple)
    assert running.outcome[0] == 200
    gateway.process.terminate()
    assert gateway.ended() == 0
    assert "Traceback" not in gateway.errors


@each_count
def test_a_bad_file_is_refused_and_the_old_one_stays(
    serve: Callable[..., Served], upstream: Upstream, tmp_path: Path, workers: str
) -> None:
    write_config(tmp_path, upstream)
    gateway = serve("--port", "0", "--workers", workers)
    url = gateway.url()
    (tmp_path / "gateway.yaml").write_text("models: {m: nowhere}\n")
    until(lambda: "the old one stays: gateway.yaml:1: models.m: unknown provider 'nowhere'" in gateway.errors)
    assert last_model(upstream, url) == "upstream-model"
    rename_model(tmp_path, upstream, "third-model")
    until(lambda: gateway.errors.count("the new configuration serves") == int(workers))
    assert last_model(upstream, url) == "third-model"


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP here")
@each_count
def test_sighup_reads_the_file_again(
    serve: Callable[..., Served], upstream: Upstream, tmp_path: Path, workers: str
) -> None:
    write_config(tmp_path, upstream)
    gateway = serve("--port", "0", "--workers", workers)
    url = gateway.url()
    gateway.process.send_signal(signal.SIGHUP)
    until(lambda: gateway.errors.count("the new configuration serves") == int(workers))
    assert last_model(upstream, url) == "upstream-model"


def reloader_of(folder: Path, text: str, refuse: Callable[[Gateway], str | None]) -> tuple[Reloader, Gateway]:
    file, made = folder / "gateway.yaml", ProvidersMade()
    file.write_text(text)
    source = find(str(file))
    assert source is not None
    config = parse(source)
    return Reloader(source, config.server, made, refuse), build(config, made=made)


TEXT = "providers: {a: {base_url: 'http://a.test'}, b: {base_url: 'http://b.test'}}\nmodels: {m: a, n: b}\n"


def test_providers_that_nobody_changed_live_on(tmp_path: Path) -> None:
    reloader, first = reloader_of(tmp_path, TEXT, lambda _: None)
    assert not reloader.changed()
    (tmp_path / "gateway.yaml").write_text(TEXT.replace("b.test", "c.test"))
    assert reloader.changed()
    assert not reloader.changed()
    second = reloader.gateway_again()
    assert second is not None
    before, after = first.providers(), second.providers()
    assert before[0] is after[0]
    assert before[1] is not after[1]


def test_a_file_that_is_gone_is_no_change(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reloader, _ = reloader_of(tmp_path, TEXT, lambda _: None)
    (tmp_path / "gateway.yaml").unlink()
    assert not reloader.changed()
    assert reloader.again() is None
    assert "cannot be read" in caplog.text


def test_what_must_not_serve_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reloader, _ = reloader_of(tmp_path, TEXT, lambda gateway: None if gateway.authenticates else "nobody is asked")
    assert reloader.again() is None
    assert "the old one stays: nobody is asked" in caplog.text


def test_another_port_counts_from_the_next_start_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reloader, _ = reloader_of(tmp_path, TEXT, lambda _: None)
    (tmp_path / "gateway.yaml").write_text(f"server: {{port: 9}}\n{TEXT}")
    assert reloader.again() is not None
    assert "counts from the next start on" in caplog.text
    caplog.clear()
    assert reloader.again() is not None
    assert not caplog.text


def test_without_a_file_there_is_nothing_to_read_again(caplog: pytest.LogCaptureFixture) -> None:
    reloader = Reloader(None, ServerConfig(), ProvidersMade())
    assert not reloader.changed()
    assert reloader.gateway_again() is None
    assert "no configuration file" in caplog.text


def test_a_worker_takes_the_text_that_was_found_good() -> None:
    reloader = Reloader(None, ServerConfig(), ProvidersMade())
    assert [provider.name for provider in reloader.take(Source("x.yaml", TEXT)).providers()] == ["a", "b"]
