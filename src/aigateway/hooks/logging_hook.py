"""One log line per call, without secrets and without anything that was said."""

from __future__ import annotations

import functools
import logging
import time
from typing import ClassVar

from aigateway.call import Call
from aigateway.canonical.changes import listed
from aigateway.hooks.hook import Hook


class LineHandler(logging.Handler):
    """A handler that needs no record to write a line at INFO.

    only_for  a logger of which it was found that nobody else would see its records; forgotten from time to time.
    """

    only_for: logging.Logger | None = None

    def write(self, name: str, line: str) -> None:
        """Write what a record of the logger `name` with this message would have been."""
        raise NotImplementedError


class LoggingHook(Hook):
    """Logs each call when it is over, to a standard logger (`aigateway.calls`), at INFO; failures at WARNING.

    The line names the call, not its content: id, operation, tenant, model, provider, outcome, status, tokens, times in
    milliseconds. The record's attribute `call` is the Call itself, for formatters that want more.
    """

    sink: ClassVar[LineHandler | None] = None
    """Who takes lines without a record around them; set by a program that owns its process."""

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger or logging.getLogger("aigateway.calls")

    def on_complete(self, call: Call) -> None:
        """Write the line."""
        level = logging.INFO if call.outcome in ("completed", "abandoned") else logging.WARNING
        logger = self._logger
        if not logger.isEnabledFor(level):
            return
        sink = LoggingHook.sink
        if sink is not None and level == logging.INFO and (sink.only_for is logger or _only_reaches(logger, sink)):
            sink.write(logger.name, line_of(call))
        else:
            logger.handle(CallRecord(logger.name, level, line_of(call), call))


def _only_reaches(logger: logging.Logger, sink: LineHandler) -> bool:
    """Whether nobody else would see a record, and nobody would filter it."""
    root = logging.root
    if root.handlers != [sink] or sink.filters:
        return False
    one: logging.Logger | None = logger
    while one is not root and one is not None:
        if one.handlers or one.filters or not one.propagate:
            return False
        one = one.parent
    sink.only_for = logger
    return True


_RECORD = vars(logging.makeLogRecord({"msg": "", "args": None}))
"""What every record has, the same in all of ours: nobody looks for the place that logged, or for its thread."""


class CallRecord(logging.LogRecord):
    """A record made at a third of the usual cost."""

    def __init__(self, name: str, level: int, line: str, call: Call) -> None:
        self.__dict__ = facts = _RECORD.copy()
        now = time.time()
        facts["name"] = name
        facts["levelno"] = level
        facts["levelname"] = "INFO" if level == logging.INFO else "WARNING"
        facts["msg"] = line
        facts["call"] = call
        facts["created"] = now
        facts["msecs"] = int(now * 1000) % 1000


_LONGEST = 200
"""Characters of a model's name that a line shows: callers write what they like there, and the texts are remembered."""


def line_of(call: Call) -> str:
    """What may be told of a call to anybody, as `name=value` pairs on one line."""
    attempts, usage, first, ended, who = call.attempts, call.usage, call.first_byte_at, call.ended_at, call.principal
    model, tenant, provider, sent, api = call.model, None if who is None else who.tenant, None, "", ""
    if attempts:
        plan = attempts[-1].plan
        provider, sent = plan.target.provider.name, plan.model
        if plan.caller_api != plan.upstream_api:
            api = plan.upstream_api
    if len(model) > _LONGEST or len(sent) > _LONGEST:
        model, sent = _cut(model), _cut(sent)
    facts = _facts(call.operation.name, call.outcome, call.status, tenant, model, call.stream, provider, sent, api)
    line = f"id={call.id}{facts}"
    if len(attempts) > 1:
        line += f" attempts={len(attempts)}"
    if call.error is not None:
        line += f" error={_shown(str(call.error.code))}"
    if call.changes:
        line += f" changes={listed(call.changes)}"
    if usage is not None:
        line += f" input_tokens={usage.input_tokens} output_tokens={usage.output_tokens}"
        if usage.cached_tokens:
            line += f" cached_tokens={usage.cached_tokens}"
    if first is not None and ended is not None:
        started = call.started_at
        return f"{line} first_byte_ms={(first - started) * 1000:.1f} total_ms={(ended - started) * 1000:.1f}"
    if ended is not None:
        line += f" total_ms={(ended - call.started_at) * 1000:.1f}"
    return line


def _cut(model: str) -> str:
    return model if len(model) <= _LONGEST else f"{model[:_LONGEST]}..."


@functools.lru_cache(4096)
def _facts(  # noqa: PLR0917 - keys of the cache
    operation: str,
    outcome: str | None,
    status: int,
    tenant: str | None,
    model: str,
    stream: bool,  # noqa: FBT001 - one of them
    provider: str | None,
    sent: str,
    api: str,
) -> str:
    """What many calls have in common."""
    text = f" operation={operation} outcome={outcome} status={status}"
    if tenant is not None:
        text += f" tenant={_shown(tenant)}"
    if model:
        text += f" model={_shown(model)}"
    if stream:
        text += " stream=yes"
    if provider is not None:
        text += f" provider={_shown(provider)} upstream_model={_shown(sent)}"
    return f"{text} upstream_api={api}" if api else text


def _shown(text: str) -> str:
    """A value on one line, so that what a client sent (a model name) cannot write a line of its own."""
    return text if text.isprintable() and " " not in text else repr(text)
