"""What would become of a request: its route, targets, mode, hooks and upstream bytes, with nothing sent to anybody.

The hooks that shape a request run as they would (authenticate, before_request, on_route, before_attempt); no other does,
`on_complete` neither, for no call takes place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from aigateway.call import Attempt, Call, Plan, Target
from aigateway.errors import GatewayError
from aigateway.hooks.chain import STAGES, Chain
from aigateway.intake import Limits, read_wishes, understand
from aigateway.models import Models
from aigateway.providers.protocol import ProviderRequest
from aigateway.providers.provider import Provider
from aigateway.routing.traffic import Traffic
from aigateway.translation import Translation
from aigateway.upstream import forwarded_headers, plan_for, upstream_path, upstream_request


class PlannedAttempt(msgspec.Struct, kw_only=True):
    """What one target would be sent.

    mode     `relay` (bytes both ways), `observe` (usage is read on the way), `edit` (hooks see the answer), `translate`.
    url      None where the provider is not over HTTP.
    headers  the names of those that the caller or a hook adds; the provider adds its own and its key.
    body     as it would be sent.
    changes  codes of what the translation does not carry as it is.
    circuit  `closed`, `open` (it would be passed over now), `half_open` (the next call there is a probe), "" = none known.
    error    why it would not be tried; then the rest may be empty.
    """

    provider: str
    model: str
    api: str = ""
    mode: str = ""
    url: str | None = None
    headers: list[str] = []
    body: str = ""
    changes: list[str] = []
    circuit: str = ""
    error: str = ""


class Explanation(msgspec.Struct, kw_only=True):
    """What would become of a request.

    route    the entry of the registry that the model's name goes to; "" where a resolver or a hook chose.
    balance  how the entry's targets are put in order; "" where there is no choice.
    hooks    stage -> the hooks that run there, in order.
    targets  in the order in which they would be tried now: the next one only where one fails. With weights, which leave
             it to chance, the heaviest first.
    answer   whether a hook answers in place of any provider.
    error    why the request would be refused.
    """

    operation: str
    model: str = ""
    stream: bool = False
    tenant: str | None = None
    route: str = ""
    balance: str = ""
    hooks: dict[str, list[str]] = {}
    targets: list[PlannedAttempt] = []
    answer: bool = False
    error: str = ""

    @property
    def refused(self) -> bool:
        """Whether no provider would be asked: what cannot be told to the first target is not tried on another."""
        return bool(self.error) or (bool(self.targets) and bool(self.targets[0].error))

    def text(self) -> str:
        """For people to read."""
        lines = [f"operation  {self.operation}{' (streamed)' if self.stream else ''}"]
        lines.append(f"model      {self.model or '(none)'}{f' -> {self.route}' if self.route else ''}")
        if self.balance:
            lines.append(f"balance    {self.balance}")
        if self.tenant is not None:
            lines.append(f"tenant     {self.tenant}")
        lines += [f"hooks      {stage}: {', '.join(names)}" for stage, names in self.hooks.items()]
        if self.answer:
            lines.append("answered   by a hook, without any provider")
        if self.error:
            lines.append(f"refused    {self.error}")
        for number, target in enumerate(self.targets, 1):
            lines += ["", f"target {number}   {target.provider}, model {target.model}", *_lines_of(target)]
        return "\n".join(lines)


def _lines_of(target: PlannedAttempt) -> list[str]:
    if target.error:
        return [f"  refused  {target.error}"]
    facts = {
        "mode": f"{target.mode} ({target.api})",
        "url": target.url or "(in process)",
        "headers": ", ".join(target.headers),
        "changes": ", ".join(target.changes),
        "circuit": "open: it is passed over" if target.circuit == "open" else target.circuit,
        "body": target.body,
    }
    return [f"  {name:<8} {fact}" for name, fact in facts.items() if fact]


async def explain(
    call: Call,
    body: bytes,
    *,
    chain: Chain,
    models: Models,
    limits: Limits,
    new_id: Callable[[str], str],
    traffic: Traffic,
) -> Explanation:
    """What would become of this call with this body. A GatewayError on the way is its outcome, and is not raised."""
    explained = Explanation(operation=call.operation.name, hooks=_hooks_of(chain))
    try:
        await chain.authenticate(call, call._api_key)  # noqa: SLF001 - as the exchange does
        explained.tenant = call.tenant
        read_wishes(call)
        understand(call, body, limits)
        explained.model, explained.stream = call.model, call.stream
        asked = call.model
        explained.answer = await chain.before_request(call) is not None
        if call.request.touched:
            understand(call, call.request.raw, limits, lens=call.request)
        if explained.answer:
            return explained
        targets, entry = await models.route(call)
        if entry is not None and entry.balance != "ordered" and len(targets) > 1:
            explained.balance = entry.balance
            targets = traffic.foreseen(entry, targets)
        targets = await chain.on_route(call, targets)
        explained.route = entry.name if entry is not None and models.resolver is None else ""
        wants_usage = chain.has("on_complete")
        for number, target in enumerate(targets, 1):
            planned = await _planned(call, target, number, _Means(chain, asked, new_id, wants_usage=wants_usage))
            planned.circuit = traffic.circuit(target) or ""
            explained.targets.append(planned)
    except GatewayError as error:
        explained.error = _words(error)
    return explained


class _Means:
    def __init__(self, chain: Chain, asked: str, new_id: Callable[[str], str], *, wants_usage: bool) -> None:
        self.chain, self.asked, self.new_id, self.wants_usage = chain, asked, new_id, wants_usage


async def _planned(call: Call, target: Target, number: int, means: _Means) -> PlannedAttempt:
    planned = PlannedAttempt(provider=target.provider.name, model=target.model or call.model)
    call.changes.clear()
    try:
        plan = plan_for(call, target)
        planned.api, planned.mode = plan.upstream_api, _mode(plan, means.chain, stream=call.stream)
        if plan.translates:
            body = Translation(call, plan, means.asked, means.new_id).request_body()
        else:
            body, _ = upstream_request(call, plan, wants_usage=means.wants_usage)
        attempt = Attempt(number, plan, body)
        await means.chain.before_attempt(call, attempt)
        request = _prepared(call, attempt)
    except GatewayError as error:
        planned.error = _words(error)
        return planned
    planned.body = request.body.decode("utf-8", "replace")
    planned.headers = sorted({*forwarded_headers(call, plan.upstream_api), *(name.lower() for name in attempt.headers)})
    planned.changes = [change.code for change in call.changes]
    planned.url = _url(plan, request)
    return planned


def _mode(plan: Plan, chain: Chain, *, stream: bool) -> str:
    if plan.translates:
        return "translate"
    if chain.has("on_event" if stream else "after_response"):
        return "edit"
    return "observe" if chain.has("on_complete") else "relay"


def _prepared(call: Call, attempt: Attempt) -> ProviderRequest:
    """What the provider is asked; of one over HTTP, as the host gets it."""
    plan = attempt.plan
    request = ProviderRequest(
        api=plan.upstream_api,
        path=upstream_path(call, plan),
        model=plan.model,
        body=attempt.body,
        stream=call.stream,
    )
    provider = plan.target.provider
    return provider.prepared(request) if isinstance(provider, Provider) else request


def _url(plan: Plan, request: ProviderRequest) -> str | None:
    base: Any = getattr(plan.target.provider, "base_url", None)
    return base + request.path if isinstance(base, str) else None


def _hooks_of(chain: Chain) -> dict[str, list[str]]:
    return {stage: [_name(method) for method, _ in chain.steps[stage]] for stage in STAGES if chain.steps[stage]}


def _name(method: Callable[..., Any]) -> str:
    owner = getattr(method, "__self__", None)
    return type(owner).__name__ if owner is not None else getattr(method, "__qualname__", repr(method))


def _words(error: GatewayError) -> str:
    return f"{error.status} {error.code}: {error.message}"
