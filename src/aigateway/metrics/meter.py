"""The meter of one process: a line for every call that ended, folded into totals in batches."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from aigateway.call import Attempt, Call, Plan
from aigateway.canonical.types import Change, Usage
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
_MOST_NAMES: Final = 1024
"""Pairs of an API and a provider; beyond it is somebody who makes providers for every call."""

_OPERATIONS: Final = {"chat": "chat", "responses": "chat", "completions": "text_completion", "messages": "chat"}
_PROVIDERS: Final = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""The well-known values of the conventions, where our words are others."""

_ADDED: Final = {"retry": of.RETRIES, "fallback": of.FALLBACKS, "another": of.KEY_CHANGES}
_Try = tuple[Plan, float, float | None, str, str]
"""Of an attempt: where it went, when it began and ended, its error, why it was made."""

_Record = tuple[
    Operation, bool, int, str, str, float, float | None, float, Usage | None, Sequence[_Try], Sequence[Change]
]
"""Of a call: nothing that keeps its body alive."""


class _Batch:
    """The numbers of a batch that have the same labels."""

    __slots__ = ("client", "first", "input", "labels", "output", "per_token", "server")

    def __init__(self, labels: Labels) -> None:
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


def error_type(error: GatewayError) -> str:
    """One of few words: the kind of an upstream's failure, else the HTTP status."""
    return failure_of(error) or str(error.status)


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
        self._records: list[_Record] = []
        self._models: set[str] = set()
        self._names: dict[tuple[str, str], tuple[str, str, str]] = {}

    def know(self, models: Iterable[str]) -> None:
        """Names of the configuration: they are told apart from the beginning on."""
        self._models.update(models)

    def on_complete(self, call: Call) -> None:
        """A call is over: note its facts, and fold them where it is time."""
        attempts = call.attempts
        tries: Sequence[_Try] = ()
        if len(attempts) == 1:
            tries = (_try(attempts[0]),)
        elif attempts:
            tries = [_try(attempt) for attempt in attempts]
        error = call.error
        records = self._records
        records.append(
            (
                call.operation,
                call.stream,
                call.status,
                call.outcome or "",
                "" if error is None else error_type(error),
                call.started_at,
                call.first_byte_at,
                call.ended_at or call.started_at,
                call.usage,
                tries,
                call.changes,
            )
        )
        if len(records) == 1:
            asyncio.get_running_loop().call_later(_BATCH_SECONDS, self.fold)
        elif len(records) >= _BATCH:
            self.fold()

    def fold(self) -> None:
        """Put what was noted into the totals."""
        records, self._records = self._records, []
        requests: defaultdict[tuple[str, int, str], int] = defaultdict(int)
        batches: dict[tuple[str, str, str], _Batch] = {}
        for record in records:
            requests[record[0].name, record[2] // 100, record[3]] += 1
            if record[9]:
                self._fold_one(record, batches)
        for (name, hundreds, outcome), number in requests.items():
            self.totals.add(of.REQUESTS, (name, f"{hundreds}xx" if hundreds else "none", outcome), number)
        for batch in batches.values():
            batch.fold_into(self.totals)

    def _fold_one(self, record: _Record, batches: dict[tuple[str, str, str], _Batch]) -> None:
        operation, stream, _, outcome, error, started, first, ended, usage, tries, changes = record
        plan, began, over, fault, why = tries[-1]
        key = (operation.api, plan.target.provider.name, plan.model)
        batch = batches.get(key)
        if batch is None:
            batch = batches[key] = _Batch(self._labels(operation.api, plan, answered=not fault))
        if fault or why or changes or outcome != "completed":
            self._fold_rest(record, batch.labels)
        else:
            batch.client.append((over or ended) - began)
            batch.server.append(ended - started)
        if stream and first is not None and not error:
            batch.first.append(first - started)
            if usage is not None and usage.output_tokens > 1:
                batch.per_token.append((ended - first) / (usage.output_tokens - 1))
        if usage is not None:
            batch.input.append(usage.input_tokens)
            batch.output.append(usage.output_tokens)
            if usage.cached_tokens or usage.cache_write_tokens or usage.reasoning_tokens:
                self._note_details(usage, batch.labels)

    def _fold_rest(self, record: _Record, labels: Labels) -> None:
        """The times of a call with several attempts, or with an error, and all that only such calls have."""
        operation, _, _, outcome, error, started, _, ended, _, tries, changes = record
        was_cancelled = _CANCELLED if outcome == "abandoned" else ""
        left = len(tries)
        for plan, began, over, fault, why in tries:
            left -= 1
            of_target = self._labels(operation.api, plan, answered=False)
            kind = fault or (_CANCELLED if left else was_cancelled)  # left: a hedge that lost
            self.totals.observe(of.CLIENT_DURATION, (*of_target, kind), [(over or ended) - began])
            if why:
                self._note_why(why, of_target)
        self.totals.observe(of.SERVER_DURATION, (*labels, error or was_cancelled), [ended - started])
        for change in changes:
            self.totals.add(of.CHANGES, (operation.name, labels[2], change.action))

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

    def _labels(self, api: str, plan: Plan, *, answered: bool) -> Labels:
        provider = plan.target.provider
        names = self._names.get((api, provider.name))
        if names is None:
            kind = getattr(provider, "type", None) or provider.name
            names = (_OPERATIONS.get(api, api), _PROVIDERS.get(kind, kind), provider.name)
            if len(self._names) >= _MOST_NAMES:
                names = (names[0], _OTHER, _OTHER)
            else:
                self._names[api, provider.name] = names
        return (*names, self.named(plan.model, answered=answered))

    def named(self, model: str, *, answered: bool = False) -> str:
        """The label of a model. answered: a provider knows it."""
        if model and model not in self._models:
            if not answered or len(self._models) >= self.max_models:
                return _OTHER
            self._models.add(model)
        return model


def _try(attempt: Attempt) -> _Try:
    error = attempt.error
    return attempt.plan, attempt.started_at, attempt.ended_at, "" if error is None else error_type(error), attempt.why
