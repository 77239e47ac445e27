"""The meter of one process: the numbers of every call that ended, folded into totals in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from aigateway.call import Attempt, Call, Plan
from aigateway.canonical.types import Usage
from aigateway.errors import GatewayError
from aigateway.metrics import families as of
from aigateway.metrics.totals import Labels, Totals
from aigateway.routing.failures import failure_of
from aigateway.surface import Operation

if TYPE_CHECKING:
    from aigateway.metrics.shared import Slot

_BATCH: Final = 256
_BATCH_SECONDS: Final = 1.0
_OTHER: Final = "other"
_CANCELLED: Final = "cancelled"
_MOST_NAMES: Final = 4096
"""Pairs of an operation and a provider; beyond it is somebody who makes providers for every call."""

_OPERATIONS: Final = {
    "chat": "chat",
    "responses": "chat",
    "completions": "text_completion",
    "messages": "chat",
    "converse": "chat",
}
_PROVIDERS: Final = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "cohere-compatibility": "cohere",
    "vertex": "gcp.vertex_ai",
    "vertex-anthropic": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""The well-known values of the conventions, where our words are others."""

_ADDED: Final = {"retry": of.RETRIES, "fallback": of.FALLBACKS, "another": of.KEY_CHANGES}


class _Batch:
    """The numbers of calls that have the same labels, until they are folded."""

    __slots__ = ("client", "first", "input", "labels", "operation", "output", "per_token", "server")

    def __init__(self, operation: str, labels: Labels) -> None:
        self.operation = operation
        self.labels = labels
        self.client: list[float] = []
        self.server: list[float] = []
        self.first: list[float] = []
        self.per_token: list[float] = []
        self.input: list[float] = []
        self.output: list[float] = []

    def fold_into(self, totals: Totals) -> None:
        """Put them into histograms."""
        labels = self.labels
        totals.add(of.REQUESTS, (self.operation, "2xx", "completed"), len(self.server))
        for name, last, numbers in (
            (of.CLIENT_DURATION, ("",), self.client),
            (of.SERVER_DURATION, ("",), self.server),
            (of.TIME_TO_FIRST, (), self.first),
            (of.TIME_PER_TOKEN, (), self.per_token),
            (of.TOKEN_USAGE, ("input",), self.input),
            (of.TOKEN_USAGE, ("output",), self.output),
        ):
            if numbers:
                totals.observe(name, (*labels, *last), numbers)


def error_type(error: GatewayError | None) -> str:
    """One of few words: the kind of an upstream's failure, else the HTTP status; "" where there is none."""
    return "" if error is None else failure_of(error) or str(error.status)


class Meter:
    """Counts the calls of this process, whichever gateway ran them.

    max_models  model names that are told apart; more are `other`. A name that is not configured, which any caller may
                have made up, counts under its own once a provider has answered to it.
    slot        where the totals of the workers of one port meet; None where this process is alone.
    """

    def __init__(self, *, slot: Slot | None = None, max_models: int = 100) -> None:
        self.max_models = max_models
        self.slot = slot
        self.totals = slot.inherited() if slot is not None else Totals()
        self.gauges: list[Callable[[], Iterable[tuple[str, Labels, float]]]] = []
        self._batches: dict[tuple[str, str, str], _Batch] = {}
        self._noted = 0
        self._models: set[str] = set()
        self._names: dict[tuple[str, str], tuple[str, str, str]] = {}

    def know(self, models: Iterable[str]) -> None:
        """Names of the configuration: they are told apart from the beginning on."""
        self._models.update(models)

    def on_complete(self, call: Call) -> None:
        """A call is over: note its numbers, and fold them where it is time."""
        attempts = call.attempts
        if call.status == 200 and call.error is None and call.outcome == "completed" and len(attempts) == 1:
            self._note(call, attempts[0])
        else:
            self._note_other(call)
        self._noted += 1
        if self._noted == 1:
            asyncio.get_running_loop().call_later(_BATCH_SECONDS, self.fold)
        elif self._noted >= _BATCH:
            self.fold()

    def _note(self, call: Call, attempt: Attempt) -> None:
        """A call that went well at once."""
        plan, ended = attempt.plan, call.ended_at or call.started_at
        operation = call.operation
        key = (operation.name, plan.target.provider.name, plan.model)
        batch = self._batches.get(key)
        if batch is None:
            batch = self._batches[key] = _Batch(operation.name, self._labels(operation, plan, answered=True))
        batch.client.append((attempt.ended_at or ended) - attempt.started_at)
        batch.server.append(ended - call.started_at)
        usage = call.usage
        if usage is not None:
            batch.input.append(usage.input_tokens)
            batch.output.append(usage.output_tokens)
            if usage.cached_tokens or usage.reasoning_tokens or usage.cache_write_tokens:
                self._note_details(usage, batch.labels)
        if call.stream and call.first_byte_at is not None:
            batch.first.append(call.first_byte_at - call.started_at)
            if usage is not None and usage.output_tokens > 1:
                batch.per_token.append((ended - call.first_byte_at) / (usage.output_tokens - 1))
        if call.changes:
            self._note_changes(call, batch.labels)

    def _note_other(self, call: Call) -> None:
        """A call that failed, or was tried more than once, or never reached a provider."""
        add, observe = self.totals.add, self.totals.observe
        status = f"{call.status // 100}xx" if call.status else "none"
        add(of.REQUESTS, (call.operation.name, status, call.outcome or ""))
        attempts, ended, usage = call.attempts, call.ended_at or call.started_at, call.usage
        if not attempts:
            return
        was_cancelled = _CANCELLED if call.outcome == "abandoned" else ""
        labels: Labels = ()
        for attempt in attempts:
            fault = error_type(attempt.error)
            labels = self._labels(call.operation, attempt.plan, answered=attempt.status is not None and not fault)
            kind = fault or (was_cancelled if attempt is attempts[-1] else _CANCELLED)  # a hedge that lost
            observe(of.CLIENT_DURATION, (*labels, kind), [(attempt.ended_at or ended) - attempt.started_at])
            if attempt.why:
                self._note_why(attempt.why, labels)
        error = error_type(call.error)
        observe(of.SERVER_DURATION, (*labels, error or was_cancelled), [ended - call.started_at])
        if call.stream and call.first_byte_at is not None and not error:
            observe(of.TIME_TO_FIRST, labels, [call.first_byte_at - call.started_at])
        if usage is not None:
            observe(of.TOKEN_USAGE, (*labels, "input"), [usage.input_tokens])
            observe(of.TOKEN_USAGE, (*labels, "output"), [usage.output_tokens])
            self._note_details(usage, labels)
        self._note_changes(call, labels)

    def fold(self) -> None:
        """Put what was noted into the totals."""
        batches, self._batches, self._noted = self._batches, {}, 0
        for batch in batches.values():
            batch.fold_into(self.totals)

    def _note_changes(self, call: Call, labels: Labels) -> None:
        for change in call.changes:
            self.totals.add(of.CHANGES, (call.operation.name, labels[2], change.action))

    def _note_details(self, usage: Usage, labels: Labels) -> None:
        for word, tokens in (
            ("cached", usage.cached_tokens),
            ("cache_write", usage.cache_write_tokens),
            ("reasoning", usage.reasoning_tokens),
        ):
            if tokens:
                self.totals.add(of.TOKEN_DETAILS, (*labels, word), tokens)

    def _note_why(self, why: str, labels: Labels) -> None:
        target = labels[2:]
        word, _, rest = why.partition(" ")
        if word == "hedge":
            self.totals.add(of.HEDGES, target)
        elif word in _ADDED:
            self.totals.add(_ADDED[word], (*target, rest.rpartition(" ")[2]))

    def _labels(self, operation: Operation, plan: Plan, *, answered: bool) -> Labels:
        provider = plan.target.provider
        names = self._names.get((operation.name, provider.name))
        if names is None:
            kind = getattr(provider, "type", None) or provider.name
            api = operation.api
            name = _OPERATIONS.get(api, api) if operation.kind == "generate" else operation.name
            names = (name, _PROVIDERS.get(kind, kind), provider.name)
            if len(self._names) >= _MOST_NAMES:
                names = (names[0], _OTHER, _OTHER)
            else:
                self._names[operation.name, provider.name] = names
        return (*names, self.named(plan.model, answered=answered))

    def named(self, model: str, *, answered: bool = False) -> str:
        """The label of a model. answered: a provider knows it."""
        if model and model not in self._models:
            if not answered or len(self._models) >= self.max_models:
                return _OTHER
            self._models.add(model)
        return model
