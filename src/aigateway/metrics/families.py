"""Every metric there is: its name, what it says, its labels.

Those that begin with `gen_ai_` are OpenTelemetry's (semantic conventions for generative AI metrics), in the spelling
that Prometheus has for them: dots are underscores, the unit stands at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

Kind = Literal["counter", "gauge", "histogram"]

SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_TOKEN: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5),
    *(0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
PER_TOKEN: Final = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS: Final = tuple(float(4**power) for power in range(14))
"""The buckets that the conventions name."""

_CALL: Final = ("gen_ai_operation_name", "gen_ai_provider_name", "provider", "gen_ai_request_model")
_TARGET: Final = ("provider", "gen_ai_request_model")


class Family(msgspec.Struct, frozen=True):
    """One metric. labels: their names, in the order of a sample's values. buckets: upper bounds, of a histogram."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


CLIENT_DURATION: Final = "gen_ai_client_operation_duration_seconds"
TOKEN_USAGE: Final = "gen_ai_client_token_usage"  # noqa: S105 - tokens of a model
SERVER_DURATION: Final = "gen_ai_server_request_duration_seconds"
TIME_TO_FIRST: Final = "gen_ai_server_time_to_first_token_seconds"
TIME_PER_TOKEN: Final = "gen_ai_server_time_per_output_token_seconds"  # noqa: S105 - the same
REQUESTS: Final = "aigateway_requests_total"
RETRIES: Final = "aigateway_retries_total"
FALLBACKS: Final = "aigateway_fallbacks_total"
KEY_CHANGES: Final = "aigateway_key_changes_total"
HEDGES: Final = "aigateway_hedges_total"
TOKEN_DETAILS: Final = "aigateway_token_details_total"  # noqa: S105 - the same
CHANGES: Final = "aigateway_changes_total"

_ALL: Final = (
    Family(
        CLIENT_DURATION,
        "histogram",
        "Time of one request to a provider, from its start to the end of the answer.",
        (*_CALL, "error_type"),
        SECONDS,
    ),
    Family(TOKEN_USAGE, "histogram", "Tokens that a call used.", (*_CALL, "gen_ai_token_type"), TOKENS),
    Family(
        SERVER_DURATION,
        "histogram",
        "Time of a call that reached a provider, as its caller sees it: queues, retries and fallbacks included.",
        (*_CALL, "error_type"),
        SECONDS,
    ),
    Family(TIME_TO_FIRST, "histogram", "Time to the first event of a streamed answer.", _CALL, FIRST_TOKEN),
    Family(
        TIME_PER_TOKEN,
        "histogram",
        "Time per output token after the first event of a streamed answer.",
        _CALL,
        PER_TOKEN,
    ),
    Family(REQUESTS, "counter", "Requests that ended.", ("operation", "status", "outcome")),
    Family(RETRIES, "counter", "Requests sent again to the same target.", (*_TARGET, "reason")),
    Family(FALLBACKS, "counter", "Requests sent to a target because another one failed.", (*_TARGET, "reason")),
    Family(KEY_CHANGES, "counter", "Requests sent again with another key.", (*_TARGET, "reason")),
    Family(HEDGES, "counter", "Second requests sent because the first was late.", _TARGET),
    Family(
        TOKEN_DETAILS,
        "counter",
        "Tokens that are a part of those above: cached, cache_write (of the input), reasoning (of the output).",
        (*_CALL, "type"),
    ),
    Family(
        CHANGES, "counter", "Fields that a translation did not carry as they were.", ("operation", "provider", "action")
    ),
    Family("aigateway_requests_in_flight", "gauge", "Requests that are being answered."),
    Family("aigateway_client_connections", "gauge", "Open connections of callers."),
    Family("aigateway_target_in_flight", "gauge", "Requests running at a target.", _TARGET),
    Family("aigateway_circuit_state", "gauge", "Workers whose circuit to a target is in a state.", (*_TARGET, "state")),
    Family("aigateway_circuit_opened_total", "counter", "How often a circuit opened.", _TARGET),
    Family("aigateway_queue_length", "gauge", "Requests that wait for a place at a provider.", ("provider",)),
    Family("aigateway_queue_refused_total", "counter", "Requests refused for want of a place.", ("provider",)),
    Family("aigateway_concurrency_limit", "gauge", "Places at a provider, over all workers.", ("provider",)),
    Family("aigateway_keys", "gauge", "Keys of a provider with several, over all workers.", ("provider", "state")),
    Family("aigateway_upstream_connections", "gauge", "Connections to a provider.", ("provider", "state")),
    Family(
        "aigateway_upstream_bytes_total", "counter", "Bytes of HTTP to and from a provider.", ("provider", "direction")
    ),
    Family("aigateway_workers", "gauge", "Processes that serve."),
    Family("aigateway_build_info", "gauge", "1, with the version.", ("version",)),
    Family("process_cpu_seconds_total", "counter", "User and system CPU time spent.", ("worker",)),
    Family("process_resident_memory_bytes", "gauge", "Resident memory.", ("worker",)),
    Family("process_open_fds", "gauge", "Open file descriptors.", ("worker",)),
    Family("process_max_fds", "gauge", "The most file descriptors that may be open.", ("worker",)),
    Family("process_start_time_seconds", "gauge", "When the process started, in Unix time.", ("worker",)),
)

FAMILIES: Final[Mapping[str, Family]] = {family.name: family for family in _ALL}
"""By name, in the order in which they are shown."""
