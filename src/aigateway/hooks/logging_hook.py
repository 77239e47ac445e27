"""One log line per call, without secrets and without anything that was said."""

from __future__ import annotations

import logging

from aigateway.call import Call
from aigateway.hooks.hook import Hook


class LoggingHook(Hook):
    """Logs each call when it is over, to a standard logger (`aigateway.calls`), at INFO; failures at WARNING.

    The line names the call, not its content: id, operation, tenant, model, provider, outcome, status, tokens, times in
    milliseconds. The same facts stand in the record's `call` attribute as a dict.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger or logging.getLogger("aigateway.calls")

    def on_complete(self, call: Call) -> None:
        """Write the line."""
        level = logging.INFO if call.outcome in ("completed", "abandoned") else logging.WARNING
        if not self._logger.isEnabledFor(level):
            return
        facts = facts_of(call)
        line = " ".join(f"{name}={_shown(value)}" for name, value in facts.items() if value is not None)
        self._logger.log(level, line, extra={"call": facts})


def facts_of(call: Call) -> dict[str, str | int | float | None]:
    """What may be told of a call to anybody."""
    attempt = call.attempts[-1] if call.attempts else None
    usage = call.usage
    return {
        "id": call.id,
        "operation": call.operation.name,
        "tenant": call.tenant,
        "model": call.model or None,
        "provider": attempt.provider if attempt else None,
        "upstream_model": attempt.model if attempt else None,
        "upstream_api": attempt.plan.upstream_api if attempt else None,
        "stream": "yes" if call.stream else None,
        "outcome": call.outcome,
        "status": call.status,
        "error": call.error.code if call.error else None,
        "attempts": len(call.attempts) if len(call.attempts) > 1 else None,
        "changes": ",".join(change.field for change in call.changes) or None,
        "input_tokens": usage.input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "cached_tokens": (usage.cached_tokens or None) if usage else None,
        "first_byte_ms": _milliseconds(call.started_at, call.first_byte_at),
        "total_ms": _milliseconds(call.started_at, call.ended_at),
    }


def _milliseconds(start: float, end: float | None) -> float | None:
    return None if end is None else round((end - start) * 1000, 1)


def _shown(value: str | float) -> str:
    """A value on one line, so that what a client sent (a model name) cannot write a line of its own."""
    text = str(value)
    return text if text.isprintable() and " " not in text else repr(text)
