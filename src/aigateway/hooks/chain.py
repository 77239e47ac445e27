"""The chain: which methods every hook really has, called in the order and as often as the contract says."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from aigateway.call import Attempt, Call, Principal, Target
from aigateway.canonical.lens import EventLens, ReplyLens
from aigateway.errors import AuthenticationError, GatewayError, ServerError
from aigateway.hooks.hook import Hook

logger = logging.getLogger("aigateway.hooks")

FORWARD = ("authenticate", "before_request", "on_route", "before_attempt")
BACKWARD = ("on_event", "after_response", "on_error", "on_complete")
STAGES = FORWARD + BACKWARD

Step = tuple[Callable[..., Any], bool]


def _method(hook: object, stage: str) -> Callable[..., Any] | None:
    """The hook's own method for a stage; None where it has none, or only the base class's empty one."""
    method = getattr(hook, stage, None)
    if method is None or not callable(method):
        return None
    if getattr(type(hook), stage, None) is getattr(Hook, stage):
        return None
    return method  # type: ignore[no-any-return]  # whatever the user's object has there


class Chain:
    """The hooks of one gateway. Steps of a stage are plain callables, resolved once.

    has_...  whether any hook runs at a stage: what a call that nobody looks at is not asked twice.
    """

    has_authenticate = has_before_request = has_on_route = has_before_attempt = False
    has_on_event = has_after_response = has_on_error = has_on_complete = False

    def __init__(self, hooks: Iterable[object] = ()) -> None:
        self.hooks: list[object] = []
        self.steps: dict[str, list[Step]] = {stage: [] for stage in STAGES}
        for hook in hooks:
            self.add(hook)

    def add(self, hook: object) -> None:
        """Append a hook: an object with some of the stage methods. Raises TypeError for one that has none."""
        if isinstance(hook, type):
            raise TypeError(f"pass an instance of {hook.__name__}, not the class")
        fail_open = bool(getattr(hook, "fail_open", False))
        found = {stage: method for stage in STAGES if (method := _method(hook, stage)) is not None}
        if not found:
            raise TypeError(f"{hook!r} has none of the hook methods: {', '.join(STAGES)}")
        self.hooks.append(hook)
        for stage, method in found.items():
            self._put(stage, (method, fail_open))

    def add_function(self, stage: str, function: Callable[..., Any], *, fail_open: bool = False) -> None:
        """Append one function for one stage."""
        if stage not in STAGES:
            raise TypeError(f"no such stage: {stage!r}; stages: {', '.join(STAGES)}")
        self.hooks.append(function)
        self._put(stage, (function, fail_open))

    def _put(self, stage: str, step: Step) -> None:
        if stage in FORWARD:
            self.steps[stage].append(step)
        else:
            self.steps[stage].insert(0, step)
        setattr(self, f"has_{stage}", True)

    def has(self, stage: str) -> bool:
        """Whether any hook runs at a stage."""
        return bool(self.steps[stage])

    async def authenticate(self, call: Call, key: str | None) -> None:
        """Settle who calls. Raises AuthenticationError where hooks authenticate and none knows the key."""
        steps = self.steps["authenticate"]
        if not steps:
            return
        for step in steps:
            found = await _run(step, call, key)
            if type(found) is not Principal:
                found = _principal(found)
            if found is not None and call.principal is None:
                call.principal = found
        if call.principal is None:
            raise AuthenticationError(
                "authentication failed: the API key is not valid."
                if key
                else "authentication failed: no API key. Send it as 'Authorization: Bearer KEY'.",
                headers={"WWW-Authenticate": "Bearer"},
            )

    async def before_request(self, call: Call) -> Any:
        """The reply that a hook gave in place of a provider's, or None."""
        for step in self.steps["before_request"]:
            reply = await _run(step, call)
            if reply is not None:
                return reply
        return None

    async def on_route(self, call: Call, targets: list[Target]) -> list[Target]:
        """The targets as the hooks want them."""
        for step in self.steps["on_route"]:
            changed = await _run(step, call, targets)
            if changed is not None:
                targets = list(changed)
        return targets

    async def before_attempt(self, call: Call, attempt: Attempt) -> None:
        """Let the hooks edit what goes upstream."""
        for step in self.steps["before_attempt"]:
            await _run(step, call, attempt)

    async def on_event(self, call: Call, event: EventLens) -> list[EventLens]:
        """What one event has become."""
        events = [event]
        for step in self.steps["on_event"]:
            following: list[EventLens] = []
            for current in events:
                result = await _run(step, call, current, default=current)
                if isinstance(result, EventLens):
                    following.append(result)
                elif result is not None:
                    following += [_event(one, event) for one in _listed(result)]
            events = following
        return events

    async def after_response(self, call: Call, reply: ReplyLens) -> None:
        """Let the hooks edit a whole reply."""
        for step in self.steps["after_response"]:
            await _run(step, call, reply)

    async def on_error(self, call: Call, error: GatewayError) -> Any:
        """The error as the hooks want it, or the reply that one of them gave in its place.

        A hook that itself fails here changes nothing.
        """
        for step in self.steps["on_error"]:
            try:
                result = await _run(step, call, error)
            except GatewayError as raised:
                result = None if raised.code == "hook_failed" else raised
            if isinstance(result, GatewayError):
                error = result
            elif result is not None:
                return result
        return error

    async def on_complete(self, call: Call) -> None:
        """Tell every hook, whatever another one does."""
        for step in self.steps["on_complete"]:
            try:
                await _run(step, call)
            except GatewayError:
                logger.exception("an on_complete hook failed on call %s", call.id)


def _principal(found: Any) -> Principal | None:
    """Who an authenticator found. Nothing but a Principal or the name of a tenant lets anybody in."""
    if isinstance(found, Principal):
        return found
    if not found:
        return None
    if not isinstance(found, str):
        logger.error("an authenticator gave %s, which is no Principal and no tenant", type(found).__name__)
        raise ServerError("A hook of the gateway failed.", code="hook_failed")
    return Principal(found)


def _listed(result: Any) -> list[Any]:
    return list(result) if isinstance(result, list | tuple) else [result]


def _event(given: Any, original: EventLens) -> EventLens:
    """An event that a hook gave: a lens, or a raw object, which is named by its type where the original is."""
    if isinstance(given, EventLens):
        return given
    if not isinstance(given, dict):
        logger.error("an on_event hook gave %s, which is no event", type(given).__name__)
        raise ServerError("A hook of the gateway failed.", code="hook_failed")
    return type(original)(given, str(given.get("type", "")) if original.name else "")


async def _run(step: Step, call: Call, *arguments: Any, default: Any = None) -> Any:
    method, fail_open = step
    try:
        result = method(call, *arguments)
        if result is None or not hasattr(result, "__await__"):
            return result
        return await result
    except GatewayError:
        raise
    except Exception as error:
        if fail_open:
            logger.warning("hook %s failed on call %s; the call goes on", _name(method), call.id, exc_info=error)
            return default
        logger.exception("hook %s failed on call %s", _name(method), call.id, exc_info=error)
        raise ServerError("A hook of the gateway failed.", code="hook_failed") from error


def _name(method: Callable[..., Any]) -> str:
    return getattr(method, "__qualname__", repr(method))
