"""The registry of models: a name -> where it goes. Exact names win over patterns, patterns over the default.

Names are compared as they are written, case included. Patterns are globs (`gpt-*`, `*/llama-?`); of several that
match, the longest wins. `"*"` alone is the default.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import msgspec

from aigateway.call import Call, OnUnsupported, Principal, Target, require_one_of
from aigateway.errors import ModelNotFoundError
from aigateway.policies import BALANCES, Balance, Fallback, Hedge, Retry
from aigateway.providers.protocol import ProviderLike
from aigateway.providers.provider import Provider

CREATED = 1_767_225_600
"""The `created` of models for which none is given (2026-01-01 UTC): the same on every machine and after every start."""

Where = ProviderLike | Target | Sequence[ProviderLike | Target]
Resolver = Callable[[Call], "Where | str | Awaitable[Where | str | None] | None"]
"""Chooses by anything in the call. A string is another model name to look up; None leaves it to the registry."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One entry. tenants: who may use it (None = everybody).

    balance   in which order its targets are tried.
    retry     when a target is asked again; None = as its provider says. fallback: when the next one is.
    hedge     sends a second request where the first is late; None = never.
    """

    name: str
    targets: tuple[Target, ...]
    owned_by: str = "aigateway"
    created: int = CREATED
    tenants: frozenset[str] | None = None
    balance: Balance = "ordered"
    retry: Retry | None = None
    fallback: Fallback | None = None
    hedge: Hedge | None = None

    @property
    def is_pattern(self) -> bool:
        """Whether the name is a glob."""
        return any(char in self.name for char in "*?[")

    def open_to(self, principal: Principal | None) -> bool:
        """Whether this caller may use it."""
        return self.tenants is None or (principal is not None and principal.tenant in self.tenants)


class Models:
    """name -> targets. May be filled at construction and changed at any time; changes count for new requests."""

    def __init__(self, entries: Mapping[str, Where] | None = None, *, resolver: Resolver | None = None) -> None:
        self._exact: dict[str, Model] = {}
        self._patterns: list[Model] = []
        self._encrypting: dict[str, dict[int, Provider]] = {}
        self.resolver = resolver
        for name, where in (entries or {}).items():
            self.register(name, where)

    def register(
        self,
        name: str,
        where: Where,
        *,
        model: str | None = None,
        prefer: str | None = None,
        on_unsupported: OnUnsupported | None = None,
        owned_by: str = "aigateway",
        created: int = CREATED,
        tenants: Iterable[str] | None = None,
        balance: Balance = "ordered",
        retry: Retry | None = None,
        fallback: Fallback | None = None,
        hedge: Hedge | None = None,
        replace: bool = False,
    ) -> Model:
        """Add a model.

        where    a provider, a Target, or several of them in order of preference.
        model    the name that the upstream knows; prefer: the API used there; on_unsupported: what becomes of a call
                 that cannot be told in full there (each for targets that say none).
        tenants  who may use it and see it in the list.
        balance  in which order the targets are tried; retry, fallback, hedge: see `Model`.
        replace  allow a name that is there already.

        Raises ValueError for a name that is empty or taken, for no target, or for a word that nobody knows.
        """
        if not name:
            raise ValueError("a model needs a name")
        require_one_of(BALANCES, "balance", balance)
        targets = tuple(
            msgspec.structs.replace(
                target,
                model=target.model or model,
                prefer=target.prefer or prefer,
                on_unsupported=target.on_unsupported or on_unsupported,
            )
            for target in _targets(where)
        )
        if not targets:
            raise ValueError(f"model {name!r} needs a provider")
        entry = Model(
            name=name,
            targets=targets,
            owned_by=owned_by,
            created=created,
            tenants=None if tenants is None else frozenset(tenants),
            balance=balance,
            retry=retry,
            fallback=fallback,
            hedge=hedge,
        )
        if name in self and not replace:
            raise ValueError(f"model {name!r} is registered already; pass replace=True to change it")
        if entry.is_pattern:
            others = [other for other in self._patterns if other.name != name]
            self._patterns = sorted([*others, entry], key=lambda other: (other.name == "*", -len(other.name)))
        else:
            self._exact[name] = entry
        for target in targets:
            self._tell_apart(target.provider)
        return entry

    def _tell_apart(self, provider: ProviderLike) -> None:
        """From the second host on that encrypts reasoning in OpenAI's form, each is named: none can read another's.

        As long as there is one alone, all that callers bring back is its own, and passes as it is.
        """
        if not isinstance(provider, Provider):
            return
        if "responses" not in provider.apis and provider.quirks.signed_reasoning != "taken":
            return
        known = self._encrypting.setdefault(provider.origin, {})
        if id(provider) in known:
            return
        known[id(provider)] = provider
        if len(self._encrypting) > 1:
            for providers in self._encrypting.values():
                for one in providers.values():
                    one.name_origin()

    def unregister(self, name: str) -> None:
        """Take a model away. Raises KeyError for a name that is not there."""
        if name not in self:
            raise KeyError(name)
        self._exact.pop(name, None)
        self._patterns = [entry for entry in self._patterns if entry.name != name]

    def __contains__(self, name: object) -> bool:
        return name in self._exact or any(entry.name == name for entry in self._patterns)

    def __len__(self) -> int:
        return len(self._exact) + len(self._patterns)

    def providers(self) -> list[ProviderLike]:
        """Every provider that an entry names, once."""
        seen: dict[int, ProviderLike] = {}
        for entry in [*self._exact.values(), *self._patterns]:
            for target in entry.targets:
                seen[id(target.provider)] = target.provider
        return list(seen.values())

    def sent(self) -> set[str]:
        """The models that the entries name upstream; of patterns without one nobody knows what callers will ask for."""
        entries = [*self._exact.values(), *self._patterns]
        named = {
            target.model or ("" if entry.is_pattern else entry.name) for entry in entries for target in entry.targets
        }
        return named - {""}

    def listed(self, principal: Principal | None = None) -> list[Model]:
        """The models that this caller may use, by name; patterns are not listed."""
        return [self._exact[name] for name in sorted(self._exact) if self._exact[name].open_to(principal)]

    def find(self, name: str, principal: Principal | None = None) -> Model | None:
        """The entry that a name goes to, for this caller; None if there is none."""
        entry = self._exact.get(name)
        if entry is not None and entry.open_to(principal):
            return entry
        if entry is not None:
            return None
        for pattern in self._patterns:
            if (pattern.name == "*" or fnmatchcase(name, pattern.name)) and pattern.open_to(principal):
                return pattern
        return None

    async def resolve(self, call: Call) -> list[Target]:
        """Where a call goes, as its entry lists it. Raises ModelNotFoundError."""
        return (await self.route(call))[0]

    def plain_route(self, call: Call) -> Model | None:
        """The entry that a call goes to by its model's name alone, as most do; None: ask `route`."""
        entry = self._exact.get(call.model) if self.resolver is None else None
        if entry is None or entry.tenants is not None or entry.balance != "ordered":
            return None
        return entry

    async def route(self, call: Call) -> tuple[list[Target], Model | None]:
        """The same with the entry itself; None where a resolver named the targets."""
        name = call.model
        if self.resolver is not None:
            where = self.resolver(call)
            if isinstance(where, Awaitable):
                where = await where
            if isinstance(where, str):
                name = where
            elif where is not None:
                return _targets(where), None
        entry = self.find(name, call.principal)
        if entry is None:
            raise ModelNotFoundError(
                f"model not found: {name!r}. GET /v1/models lists the models that this key may use.", param="model"
            )
        if name != call.model:
            named = (
                target if target.model else msgspec.structs.replace(target, model=name) for target in entry.targets
            )
            return list(named), entry
        return list(entry.targets), entry


def _targets(where: Where) -> list[Target]:
    if isinstance(where, Target):
        return [where]
    if isinstance(where, Sequence):
        return [target for entry in where for target in _targets(entry)]
    return [Target(where)]
