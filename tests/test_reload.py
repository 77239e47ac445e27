"""A configuration changed while `aigateway serve` runs: the new one serves, or the old one stays."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aigateway import Breaker, FunctionProvider, UpstreamError, UpstreamUnavailableError
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


@each_count
def test_what_runs_at_a_provider_that_nobody_changed_still_counts(
    serve: Callable[..., Served], upstream: Upstream, tmp_path: Path, workers: str
) -> None:
    limited = (
        f"providers: {{mock: {{base_url: '{upstream.url}', api_key: none, apis: [chat], "
        "max_concurrent: 1, queue: {size: 0}}}\nmodels: {'*': mock}\n"
    )
    (tmp_path / "gateway.yaml").write_text(limited)
    gateway = serve("--port", "0", "--workers", workers)
    url = gateway.url()
    running = [Asking(url)]
    assert upstream.arrived.wait(PATIENCE)
    while len(running) < int(workers):  # until each of them has one
        running.append(Asking(url))
        until(lambda: len(upstream.requests) == len(running) or running[-1].outcome is not None)
        if running[-1].outcome is not None:
            running.pop()
    (tmp_path / "gateway.yaml").write_text(limited + "on_unsupported: drop\n")
    until(lambda: gateway.errors.count("the new configuration serves") == int(workers))
    assert [ask(url)[0] for _ in range(4)] == [503] * 4
    upstream.release.set()
    for one in running:
        one.join(PATIENCE)
        assert isinstance(one.outcome, tuple)
        assert one.outcome[0] == 200
    assert [ask(url)[0] for _ in range(4)] == [200] * 4


async def test_circuits_and_counts_outlive_a_change() -> None:
    def broken(body: object) -> str:
        raise UpstreamError("no")

    one, other = FunctionProvider("one", broken), FunctionProvider("other", broken)
    one.breaker = other.breaker = Breaker(min_requests=1)  # type: ignore[attr-defined]  # any provider may have it
    old, new = Gateway(models={"m": one, "n": other}), Gateway(models={"m": one})
    for model in ("m", "n"):
        with pytest.raises(UpstreamError):
            await old.chat(model=model, messages=MESSAGES)
    new.traffic.take_over(old.traffic, new.providers())
    [shown] = new.traffic.state()
    assert (shown["name"], shown["targets"][0]["circuit"], shown["targets"][0]["failed"]) == ("one", "open", 1)
    with pytest.raises(UpstreamUnavailableError):
        await new.chat(model="m", messages=MESSAGES)


def test_a_hook_that_ends_the_process_when_it_is_imported_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leaving_hook.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    reloader, _ = reloader_of(tmp_path, TEXT, lambda _: None)
    (tmp_path / "gateway.yaml").write_text(f"hooks: ['leaving_hook:x']\n{TEXT}")
    assert reloader.again() is None
    assert "importing leaving_hook failed: SystemExit: 3" in caplog.text


def reloader_of(folder: Path, text: str, refuse: Callable[[Gateway], str | None]) -> tuple[Reloader, Gateway]:
    file, made = folder / "gateway.yaml", ProvidersMade()
    file.write_text(text)
    source = find(str(file))
    assert source is not None
    config = parse(source)
    return Reloader(source, config.server, made, refuse), build(config, made=made)


MESSAGES = [{"role": "user", "content": "hi"}]
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


def test_looking_at_the_file_leaves_nothing_in_the_table_of_strings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reloader, _ = reloader_of(tmp_path, TEXT, lambda _: None)
    interned: list[str] = []

    def intern(text: str) -> str:
        interned.append(text)
        return text

    monkeypatch.setattr("sys.intern", intern)
    assert not reloader.changed()
    assert interned == []


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
