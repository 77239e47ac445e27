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

    def __init__(self, hooks: Iterable[object] = ()) -> None:
        self.has_authenticate = self.has_before_request = self.has_on_route = self.has_before_attempt = False
        self.has_on_event = self.has_after_response = self.has_on_error = self.has_on_complete = False
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

    def settled(self) -> Chain:
        """The same hooks for a call that was authenticated and shaped before."""
        chain = Chain()
        chain.hooks = self.hooks
        chain.steps = self.steps | {"authenticate": [], "before_request": []}
        for stage, steps in chain.steps.items():
            setattr(chain, f"has_{stage}", bool(steps))
        return chain

    def watch(self, function: Callable[[Call], object]) -> None:
        """Have a function told of every call that is over, after all hooks. It is none of them."""
        self.steps["on_complete"].append((function, True))
        self.has_on_complete = True

    def has(self, stage: str) -> bool:
        """Whether any hook runs at a stage."""
        return bool(getattr(self, f"has_{stage}"))

    async def authenticate(self, call: Call, key: str | None) -> None:
        """Settle who calls. Raises AuthenticationError where hooks authenticate and none knows the key."""
        steps = self.steps["authenticate"]
        if not steps:
            return
        for method, fail_open in steps:
            try:
                found = method(call, key)
                if type(found) is not Principal and found is not None and hasattr(found, "__await__"):
                    found = await found
            except Exception as error:  # noqa: BLE001 - it is judged there
                _failed(method, call, error, fail_open=fail_open)
                found = None
            if found is None:
                continue
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
        for method, fail_open in self.steps["before_request"]:
            try:
                reply = method(call)
                if reply is not None and hasattr(reply, "__await__"):
                    reply = await reply
            except Exception as error:  # noqa: BLE001 - it is judged there
                _failed(method, call, error, fail_open=fail_open)
                reply = None
            if reply is not None:
                return reply
        return None

    async def on_route(self, call: Call, targets: list[Target]) -> list[Target]:
        """The targets as the hooks want them."""
        for method, fail_open in self.steps["on_route"]:
            try:
                changed = method(call, targets)
                if changed is None or changed is targets:
                    continue
                if hasattr(changed, "__await__"):
                    changed = await changed
            except Exception as error:  # noqa: BLE001 - it is judged there
                _failed(method, call, error, fail_open=fail_open)
                changed = None
            if changed is not None and changed is not targets:
                targets = list(changed)
        return targets

    async def before_attempt(self, call: Call, attempt: Attempt) -> None:
        """Let the hooks edit what goes upstream."""
        for method, fail_open in self.steps["before_attempt"]:
            try:
                made = method(call, attempt)
                if made is not None and hasattr(made, "__await__"):
                    await made
            except Exception as error:  # noqa: BLE001 - it is judged there
                _failed(method, call, error, fail_open=fail_open)

    async def on_event(self, call: Call, event: EventLens) -> list[EventLens]:
        """What one event has become."""
        events = [event]
        for method, fail_open in self.steps["on_event"]:
            following: list[EventLens] = []
            for current in events:
                try:
                    result = method(call, current)
                    if result is not current and result is not None and hasattr(result, "__await__"):
                        result = await result
                except Exception as error:  # noqa: BLE001 - it is judged there
                    _failed(method, call, error, fail_open=fail_open)
                    result = current
                if isinstance(result, EventLens):
                    following.append(result)
                elif result is not None:
                    following += [_event(one, event) for one in _listed(result)]
            events = following
        return events

    async def after_response(self, call: Call, reply: ReplyLens) -> None:
        """Let the hooks edit a whole reply."""
        for method, fail_open in self.steps["after_response"]:
            try:
                made = method(call, reply)
                if made is not None and hasattr(made, "__await__"):
                    await made
            except Exception as error:  # noqa: BLE001 - it is judged there
                _failed(method, call, error, fail_open=fail_open)

    async def on_error(self, call: Call, error: GatewayError) -> Any:
        """The error as the hooks want it, or the reply that one of them gave in its place.

        A hook that itself fails here changes nothing.
        """
        for method, fail_open in self.steps["on_error"]:
            try:
                result = method(call, error)
                if result is not None and hasattr(result, "__await__"):
                    result = await result
            except GatewayError as raised:
                result = raised
            except Exception as raised:  # noqa: BLE001 - it is logged there
                _note(method, call, raised, fail_open=fail_open)
                result = None
            if isinstance(result, GatewayError):
                error = result
            elif result is not None:
                return result
        return error

    async def on_complete(self, call: Call) -> None:
        """Tell every hook, whatever another one does."""
        for method, fail_open in self.steps["on_complete"]:
            try:
                made = method(call)
                if made is not None and hasattr(made, "__await__"):
                    await made
            except GatewayError:
                logger.exception("an on_complete hook failed on call %s", call.id)
            except Exception as raised:  # noqa: BLE001 - it is logged there
                _note(method, call, raised, fail_open=fail_open)


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


def _failed(method: Callable[..., Any], call: Call, error: Exception, *, fail_open: bool) -> None:
    """Raise what a hook's error means to the call: a GatewayError is itself, any other is the gateway's failure.

    Where the hook fails open, that is only logged.
    """
    if isinstance(error, GatewayError):
        raise error
    _note(method, call, error, fail_open=fail_open)
    if not fail_open:
        raise ServerError("A hook of the gateway failed.", code="hook_failed") from error


def _note(method: Callable[..., Any], call: Call, error: Exception, *, fail_open: bool) -> None:
    if fail_open:
        logger.warning("hook %s failed on call %s; the call goes on", _name(method), call.id, exc_info=error)
    else:
        logger.error("hook %s failed on call %s", _name(method), call.id, exc_info=error)


def _name(method: Callable[..., Any]) -> str:
    return getattr(method, "__qualname__", repr(method))
