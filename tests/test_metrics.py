"""`GET /metrics`, over real HTTP, read with Prometheus' own parsers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import sys
import time
import weakref
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus

from aigateway import (
    APIKeyAuthenticator,
    Breaker,
    Call,
    Fallback,
    FunctionProvider,
    Gateway,
    Metrics,
    Models,
    Provider,
    Queue,
    Retry,
    Target,
    UpstreamError,
)
from aigateway.assembly import ProvidersMade, build
from aigateway.config import Source, parse
from aigateway.metrics import Meter
from aigateway.metrics.exposition import OPENMETRICS, text_of
from aigateway.metrics.families import FAMILIES
from aigateway.metrics.shared import Slot
from aigateway.metrics.totals import Totals
from aigateway.testing import Script, ScriptedUpstream
from tests.answers import EVENTS, stream, whole
from tests.asking import Row, post
from tests.serving import served

CHAT = Row("chat", "chat")
STREAM = Row("chat", "chat", stream=True)
TOLD = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "up", "provider": "up", "gen_ai_request_model": "gpt"}

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples_of(families: Iterable[Metric]) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if "le" not in sample.labels
    }


async def scraped(url: str, **headers: str) -> Samples:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        return samples_of(read_prometheus(await answer.text()))


def value(samples: Samples, name: str, **labels: str) -> float:
    """Of all samples with these labels, and perhaps more."""
    return sum(number for (known, had), number in samples.items() if known == name and set(labels.items()) <= had)


@asynccontextmanager
async def gateway_at(models: Any, **more: Any) -> AsyncIterator[str]:
    async with served(Gateway(models=models, metrics=Metrics(), **more)) as url:
        yield url


async def until(url: str, name: str, number: float, **labels: str) -> Samples:
    """A call is counted when it is over: that may be a moment after its answer."""
    while value(found := await scraped(url), name, **labels) < number:  # noqa: ASYNC110 - it is asked over HTTP
        await asyncio.sleep(0.01)
    return found


async def test_calls_are_counted_with_their_times_and_tokens() -> None:
    async with ScriptedUpstream() as upstream:
        upstream.answer_with(lambda asked: stream("chat") if asked.json().get("stream") else whole("chat"))
        async with gateway_at({"gpt": Provider("up", upstream.base_url, "none", apis={"chat"})}) as url:
            for _ in range(3):
                await post(url, CHAT)
            await post(url, STREAM)
            await post(url, Row("responses", "chat"))
            samples = await until(url, "aigateway_requests_total", 5, status="2xx", outcome="completed")
    assert value(samples, "aigateway_requests_total", operation="chat", status="2xx", outcome="completed") == 4
    assert value(samples, "aigateway_requests_total", operation="responses") == 1
    for name in ("gen_ai_client_operation_duration_seconds", "gen_ai_server_request_duration_seconds"):
        assert value(samples, f"{name}_count", **TOLD) == 5
        assert 0 < value(samples, f"{name}_sum", **TOLD) < 60
    assert value(samples, "gen_ai_server_time_to_first_token_seconds_count", **TOLD) == 1
    usage = EVENTS["chat"][-1]["usage"]
    for kind, field in (("input", "prompt_tokens"), ("output", "completion_tokens")):
        labels = {**TOLD, "gen_ai_token_type": kind}
        assert value(samples, "gen_ai_client_token_usage_count", **labels) == 5
        assert value(samples, "gen_ai_client_token_usage_sum", **labels) >= usage[field]
    assert value(samples, "aigateway_upstream_bytes_total", provider="up", direction="sent") > 500
    assert value(samples, "aigateway_upstream_bytes_total", provider="up", direction="received") > 500
    assert value(samples, "aigateway_upstream_connections", provider="up", state="idle") == 1
    assert value(samples, "aigateway_workers") == 1
    assert value(samples, "aigateway_build_info") == 1
    if sys.platform == "linux":
        assert value(samples, "process_resident_memory_bytes") > 10_000_000
        assert 3 < value(samples, "process_open_fds") <= value(samples, "process_max_fds")
        assert value(samples, "process_cpu_seconds_total") > 0


async def test_buckets_add_up_and_nothing_is_lost_between_batches() -> None:
    gateway = Gateway(models={"gpt": FunctionProvider("f", lambda body: "hi")}, metrics=Metrics())
    async with gateway:
        for _ in range(600):
            await gateway.chat(model="gpt", messages=[{"role": "user", "content": "x"}])
        assert gateway.metrics is not None
        _, text = gateway.metrics.exposition("", [])
    [family] = [
        family for family in read_prometheus(text.decode()) if family.name == "gen_ai_client_operation_duration_seconds"
    ]
    counts = [sample.value for sample in family.samples if sample.name.endswith("_bucket")]
    assert counts == sorted(counts)
    assert counts[-1] == 600
    assert len(counts) == len(FAMILIES[family.name].buckets) + 1


async def test_failures_retries_and_fallbacks_are_told_apart() -> None:
    fails = iter([True, False])

    def moody(body: dict[str, Any]) -> str:
        if next(fails, False):
            raise UpstreamError("later", status=429)
        return "hi"

    def broken(body: dict[str, Any]) -> str:
        raise UpstreamError("broken")

    models = Models()
    models.register("moody", FunctionProvider("moody", moody), retry=Retry(attempts=3, backoff=0.001, max_delay=0.002))
    models.register(
        "spare",
        [FunctionProvider("broken", broken), FunctionProvider("good", lambda body: "hi")],
        fallback=Fallback(on=("server_error",)),
    )
    models.register("dead", FunctionProvider("broken", broken))
    async with served(Gateway(models=models, metrics=Metrics())) as url, aiohttp.ClientSession() as session:
        for model in ("moody", "spare", "dead", "nobody"):
            body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
            async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
                assert answer.status == {"dead": 502, "nobody": 404}.get(model, 200)
        samples = await until(url, "aigateway_requests_total", 4, operation="chat")
    duration = "gen_ai_client_operation_duration_seconds_count"
    assert value(samples, "aigateway_retries_total", provider="moody", reason="rate_limit") == 1
    assert value(samples, "aigateway_fallbacks_total", provider="good", reason="server_error") == 1
    assert value(samples, duration, provider="moody", error_type="rate_limit") == 1
    assert value(samples, duration, provider="moody") == 2
    assert value(samples, duration, provider="broken", error_type="server_error") == 2
    assert value(samples, "aigateway_requests_total", status="5xx", outcome="failed") == 1
    assert value(samples, "aigateway_requests_total", status="4xx", outcome="refused") == 1
    assert value(samples, "gen_ai_server_request_duration_seconds_count", error_type="server_error") == 1


async def test_a_caller_who_leaves_is_counted_as_such() -> None:
    async with ScriptedUpstream() as upstream:
        upstream.script(Script(hold=asyncio.Event()))
        async with gateway_at({"gpt": Provider("up", upstream.base_url, "none", apis={"chat"})}) as url:
            asking = asyncio.ensure_future(post(url, CHAT))
            await upstream.arrived.wait()
            assert value(await scraped(url), "aigateway_target_in_flight", provider="up") == 1
            asking.cancel()
            samples = await until(url, "aigateway_requests_total", 1, operation="chat", outcome="abandoned")
    assert value(samples, "gen_ai_client_operation_duration_seconds_count", error_type="cancelled") == 1


async def test_circuits_queues_and_keys_show() -> None:
    async with ScriptedUpstream() as upstream:
        upstream.script(Script(status=401, body=b"{}"), Script(status=500, body=b"{}"))
        provider = Provider(
            "up",
            upstream.base_url,
            api_keys=["sk-one-0123456789", "sk-two-0123456789"],
            apis={"chat"},
            breaker=Breaker(min_requests=2, cooldown=60),
            max_concurrent=7,
            queue=Queue(size=3),
        )
        async with gateway_at({"gpt": Target(provider, "gpt-x")}) as url:
            texts = []
            for _ in range(2):
                await post(url, CHAT)
                async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
                    texts.append(await answer.text())
    before, text = texts
    circuit = {"provider": "up", "gen_ai_request_model": "gpt-x"}
    samples = samples_of(read_prometheus(before))
    assert value(samples, "aigateway_circuit_state", **circuit, state="open") == 0
    assert value(samples, "aigateway_circuit_state", **circuit, state="closed") == 1
    samples = samples_of(read_prometheus(text))
    assert "sk-one" not in text
    assert value(samples, "aigateway_circuit_state", **circuit, state="open") == 1
    assert value(samples, "aigateway_circuit_state", **circuit, state="closed") == 0
    assert value(samples, "aigateway_circuit_opened_total", **circuit) == 1
    assert value(samples, "aigateway_concurrency_limit", provider="up") == 7
    assert value(samples, "aigateway_queue_length", provider="up") == 0
    assert value(samples, "aigateway_keys", provider="up", state="usable") == 1
    assert value(samples, "aigateway_keys", provider="up", state="set_aside") == 1


async def test_names_that_callers_make_up_do_not_make_series() -> None:
    def picky(body: dict[str, Any]) -> str:
        if body["model"].startswith("made-up"):
            raise UpstreamError("no such model", status=404, retryable=False)
        return "hi"

    metrics = Metrics(Meter(max_models=3))
    metrics.meter.know(["configured"])
    async with served(Gateway(models={"*": FunctionProvider("f", picky)}, metrics=metrics)) as url:
        async with aiohttp.ClientSession() as session:
            for model in (*(f"made-up-{n}" for n in range(20)), "configured", "real-1", "real-2", "real-3", "real-4"):
                body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
                async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
                    await answer.read()
        samples = await until(url, "aigateway_requests_total", 25, operation="chat")
    models = {
        dict(labels)["gen_ai_request_model"]
        for name, labels in samples
        if name == "gen_ai_client_operation_duration_seconds_count"
    }
    assert models == {"configured", "real-1", "real-2", "other"}
    assert value(samples, "gen_ai_client_operation_duration_seconds_count", gen_ai_request_model="other") == 22


# who may read them


async def status(url: str, key: str | None = None) -> int:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics", headers=headers) as answer:
        return answer.status


@pytest.mark.parametrize(
    ("settings", "open_to"),
    [({}, {"sk-team"}), ({"public": True}, {None, "sk-team", "sk-scrape"}), ({"key": "sk-scrape"}, {"sk-scrape"})],
    ids=["as all else", "public", "a key of its own"],
)
async def test_metrics_are_for_whom_they_are_meant(settings: dict[str, Any], open_to: set[str | None]) -> None:
    hooks = [APIKeyAuthenticator({"sk-team": "team"})]
    async with served(Gateway(hooks=hooks, metrics=Metrics(**settings))) as url:
        for key in (None, "sk-team", "sk-scrape"):
            assert await status(url, key) == (200 if key in open_to else 401), key


async def test_a_key_of_their_own_counts_where_nobody_else_is_asked_for_one() -> None:
    async with served(Gateway(metrics=Metrics(key="sk-scrape"))) as url:
        assert (await status(url), await status(url, "sk-scrape")) == (401, 200)


async def test_without_metrics_there_is_no_such_path() -> None:
    async with served(Gateway()) as url:
        assert await status(url) == 404


def test_what_is_public_has_no_key() -> None:
    with pytest.raises(ValueError, match="not both"):
        Metrics(public=True, key="sk-scrape")


def test_the_document_names_every_metric_and_label() -> None:
    document = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text(encoding="utf-8")
    labels = {label for family in FAMILIES.values() for label in family.labels}
    assert {name for name in (*FAMILIES, *labels) if f"`{name}`" not in document} == set()
    assert set(re.findall(r"`((?:gen_ai|aigateway|process)_\w+?)(?:_bucket|_sum|_count)?`", document)) <= {
        *FAMILIES,
        *labels,
    }


# both formats


ANY_TOTALS = st.dictionaries(
    st.tuples(st.text(min_size=1), st.text(min_size=1), st.sampled_from(["a", 'q"u\\o\nte'])),
    st.floats(0, 1e12),
    min_size=1,
    max_size=5,
)


@given(counted=ANY_TOTALS, seen=st.lists(st.floats(0, 1e6), min_size=1, max_size=300))
def test_any_numbers_and_labels_are_read_back(counted: dict[Any, float], seen: list[float]) -> None:
    totals = Totals()
    for labels, number in counted.items():
        totals.add("aigateway_requests_total", labels, number)
    totals.observe("gen_ai_client_operation_duration_seconds", ("chat", "p", "p", "m", ""), seen)
    for text, read in ((text_of(totals), read_prometheus), (text_of(totals, OPENMETRICS), read_openmetrics)):
        samples = samples_of(read(text))
        for (operation, state, outcome), number in counted.items():
            labels = {"operation": operation, "status": state, "outcome": outcome}
            assert samples["aigateway_requests_total", frozenset(labels.items())] == pytest.approx(number)
        assert value(samples, "gen_ai_client_operation_duration_seconds_count") == len(seen)
        assert value(samples, "gen_ai_client_operation_duration_seconds_sum") == pytest.approx(sum(seen))


@given(seen=st.lists(st.floats(0, 200), max_size=50))
def test_each_number_falls_into_the_bucket_that_bounds_it(seen: list[float]) -> None:
    totals = Totals()
    totals.observe("gen_ai_client_operation_duration_seconds", ("c", "p", "p", "m", ""), seen)
    [numbers] = totals.values["gen_ai_client_operation_duration_seconds"].values()
    bounds = FAMILIES["gen_ai_client_operation_duration_seconds"].buckets
    for place, bound in enumerate(bounds):
        assert sum(numbers[: place + 1]) == sum(one <= bound for one in seen)
    assert sum(numbers[:-1]) == len(seen)


async def test_openmetrics_is_for_who_asks_for_it() -> None:
    async with gateway_at({"gpt": FunctionProvider("f", lambda body: "hi")}) as url:
        await post(url, CHAT)
        headers = {"accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
        async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics", headers=headers) as answer:
            assert answer.headers["content-type"] == OPENMETRICS
            samples = samples_of(read_openmetrics(await answer.text()))  # type: ignore[no-untyped-call]  # it has no types
    assert value(samples, "aigateway_requests_total", operation="chat") == 1


# several workers


def counted(number: float) -> Totals:
    totals = Totals()
    totals.add("aigateway_requests_total", ("chat", "2xx", "completed"), number)
    totals.observe("gen_ai_server_time_to_first_token_seconds", ("chat", "p", "p", "m"), [number])
    return totals


def gauge(number: float) -> Totals:
    totals = Totals()
    totals.add("aigateway_requests_in_flight", (), number)
    return totals


def test_any_worker_answers_for_all_and_none_of_their_counts_dies_with_one(tmp_path: Path) -> None:
    slots = [Slot(tmp_path, number) for number in range(3)]
    for slot in slots[1:]:
        slot.write(counted(slot.number), gauge(10))
    first = Metrics(Meter(slot=slots[0]))
    first.meter.totals.add("aigateway_requests_total", ("chat", "2xx", "completed"), 5)
    samples = samples_of(read_prometheus(first.exposition("", [])[1].decode()))
    assert value(samples, "aigateway_requests_total") == 5 + 1 + 2
    assert value(samples, "gen_ai_server_time_to_first_token_seconds_sum") == 1 + 2
    assert value(samples, "aigateway_requests_in_flight") == 20
    successor = Meter(slot=Slot(tmp_path, 2))
    assert successor.totals.values["aigateway_requests_total"] == {("chat", "2xx", "completed"): [2]}


def test_what_a_dead_worker_said_of_the_present_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Slot(tmp_path, 1).write(counted(1), gauge(10))
    later = time.time() + 60
    monkeypatch.setattr("aigateway.metrics.shared.time.time", lambda: later)
    [(totals, gauges)] = Slot(tmp_path, 0).others()
    assert totals.values["aigateway_requests_total"]
    assert gauges is None


def test_a_file_that_is_broken_or_a_folder_that_is_gone_breaks_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "1.totals").write_bytes(b"\x93garbage")
    slot = Slot(tmp_path, 0)
    assert list(slot.others()) == []
    gone = Slot(tmp_path / "gone", 0)
    for _ in range(3):
        gone.write(counted(1), gauge(1))
    assert gone.inherited().values == {}
    assert caplog.text.count("not told to the others") == 1


# the configuration


def test_counts_go_on_when_the_configuration_changes() -> None:
    made = ProvidersMade()
    text = "providers: {up: {base_url: 'http://127.0.0.1:9', apis: [chat]}}\n"
    first = build(parse(Source("a.yaml", text)), {}, made=made)
    second = build(parse(Source("a.yaml", f"{text}metrics: {{key: k, max_models: 7}}\n")), {}, made=made)
    assert first.metrics is not None
    assert second.metrics is not None
    assert first.metrics.meter is second.metrics.meter is made.meter
    assert made.meter.max_models == 7
    assert build(parse(Source("a.yaml", f"{text}metrics: {{enabled: false}}")), {}, made=made).metrics is None


@pytest.mark.parametrize("fails", [False, True], ids=["answered", "failed"])
async def test_the_meter_keeps_nothing_of_what_was_said(fails: bool) -> None:
    calls: list[weakref.ref[Call]] = []

    class Keeper:
        def on_complete(self, call: Call) -> None:
            calls.append(weakref.ref(call))

    def answer(body: dict[str, Any]) -> str:
        if fails:
            raise UpstreamError("no")
        return "the answer"

    metrics = Metrics()
    async with Gateway(models={"gpt": FunctionProvider("f", answer)}, hooks=[Keeper()], metrics=metrics) as gateway:
        with contextlib.suppress(UpstreamError):
            await gateway.chat(model="gpt", messages=[{"role": "user", "content": "the question"}])
    gc.collect()
    assert [call() for call in calls] == [None]
    assert metrics.meter._noted == 1


async def test_calls_are_folded_into_the_totals_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aigateway.metrics.meter._BATCH_SECONDS", 3600.0)
    metrics, folds = Metrics(), 0
    fold = metrics.meter.fold

    def counted() -> None:
        nonlocal folds
        folds += 1
        fold()

    monkeypatch.setattr(metrics.meter, "fold", counted)
    async with Gateway(models={"gpt": FunctionProvider("f", lambda _: "yes")}, metrics=metrics) as gateway:
        for _ in range(600):
            await gateway.chat(model="gpt", messages=[{"role": "user", "content": "q"}])
        assert (folds, metrics.meter._noted) == (2, 600 - 2 * 256)
