"""What `GET /metrics` answers, and to whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from aigateway.hooks.api_keys import APIKeyAuthenticator
from aigateway.hooks.chain import Chain
from aigateway.metrics.exposition import content_type_for, text_of
from aigateway.metrics.meter import Meter
from aigateway.metrics.process import process
from aigateway.metrics.totals import Totals


class Metrics:
    """Turns metrics on, for `Gateway(metrics=...)`.

    meter   counts; several gateways of a process may share one.
    public  whether anybody may read them; else who has a key of the gateway, where it asks for keys.
    key     the only key that they are shown for.

    Raises ValueError for a key of what is public.
    """

    def __init__(self, meter: Meter | None = None, *, public: bool = False, key: str | None = None) -> None:
        if public and key is not None:
            raise ValueError("metrics are public or have a key, not both")
        self.meter = meter or Meter()
        self.chain = Chain() if public else Chain([APIKeyAuthenticator({key: "metrics"})]) if key is not None else None
        """Who asks for metrics is let in by this; None = as everywhere."""

    def exposition(self, accept: str, providers: Iterable[Mapping[str, Any]]) -> tuple[str, bytes]:
        """Content-Type and text. providers: how each does, see `Traffic.state`."""
        meter = self.meter
        meter.fold()
        shown = self.gauges(providers)
        shown.merge_all(meter.totals)
        if meter.slot is not None:
            for totals, gauges in meter.slot.others():
                shown.merge_all(totals)
                if gauges is not None:
                    shown.merge_all(gauges)
        content_type = content_type_for(accept)
        shown.values["aigateway_build_info"] = {(_version(),): [1]}
        return content_type, text_of(shown, content_type).encode()

    def publish(self, providers: Iterable[Mapping[str, Any]]) -> None:
        """Tell the other workers of this port, if there are any."""
        if self.meter.slot is not None:
            self.meter.fold()
            self.meter.slot.write(self.meter.totals, self.gauges(providers))

    def gauges(self, providers: Iterable[Mapping[str, Any]]) -> Totals:
        """How things stand now."""
        found = Totals()
        worker = (str(self.meter.slot.number if self.meter.slot is not None else 0),)
        found.add("aigateway_workers", ())
        for name, number in process():
            found.add(name, worker, number)
        for source in self.meter.gauges:
            for name, labels, number in source():
                found.add(name, labels, number)
        for provider in providers:
            self._add_provider(found, provider)
        return found

    def _add_provider(self, found: Totals, provider: Mapping[str, Any]) -> None:
        name = provider["name"]
        for key, metric in _OF_PROVIDER.items():
            if key in provider:
                found.add(metric, (name,), provider[key])
        if "keys" in provider:
            found.add("aigateway_keys", (name, "usable"), provider["keys_usable"])
            found.add("aigateway_keys", (name, "set_aside"), provider["keys"] - provider["keys_usable"])
        for key, number in provider.get("connections", {}).items():
            found.add(_OF_CONNECTIONS[key], (name, key), number)
        for target in provider["targets"]:
            labels = (name, self.meter.named(target["model"] or ""))
            found.add("aigateway_target_in_flight", labels, target["in_flight"])
            if "circuit" in target:
                for state in ("closed", "open", "half_open"):
                    found.add("aigateway_circuit_state", (*labels, state), target["circuit"] == state)
                found.add("aigateway_circuit_opened_total", labels, target["opened"])


_OF_PROVIDER = {
    "waiting": "aigateway_queue_length",
    "refused": "aigateway_queue_refused_total",
    "max_concurrent": "aigateway_concurrency_limit",
}
_OF_CONNECTIONS = {
    "busy": "aigateway_upstream_connections",
    "idle": "aigateway_upstream_connections",
    "sent": "aigateway_upstream_bytes_total",
    "received": "aigateway_upstream_bytes_total",
}


@cache
def _version() -> str:
    # reading it costs as much as the rest of the package: only who is asked for metrics pays for it
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return version("aigateway")
    except PackageNotFoundError:  # run from a folder that was never installed
        return ""
