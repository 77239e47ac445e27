"""Where a call goes that names no model: files, batches, vector stores and their like."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from aigateway.call import Target
from aigateway.errors import NotFoundError
from aigateway.providers.protocol import ProviderLike
from aigateway.surface import ADMINISTRATION, GENERATED, Operation

ANY = "*"


class DefaultProvider:
    """Chooses the provider that is set for an API, else the only one that offers it.

    where       one provider for every API, or API -> provider, with `"*"` for those that are not named.
    configured  gives the providers to choose from where none is set.
    """

    def __init__(
        self,
        where: ProviderLike | Mapping[str, ProviderLike] | None,
        configured: Callable[[], Iterable[ProviderLike]],
    ) -> None:
        self.by_api: Mapping[str, ProviderLike] = (
            {} if where is None else where if isinstance(where, Mapping) else {ANY: where}
        )
        self.configured = configured

    def targets(self, operation: Operation) -> list[Target]:
        """The one target. Raises NotFoundError that says what to set."""
        chosen = self.by_api.get(operation.api, self.by_api.get(ANY))
        if chosen is not None:
            return offering(operation, [Target(chosen)])
        targets = [Target(provider) for provider in self.configured()]
        able = offering(operation, targets)
        if len(able) > 1:
            names = ", ".join(target.provider.name for target in able)
            raise NotFoundError(
                f"Several providers offer the '{operation.api}' API ({names}), and this request names no model: set "
                f"`default_provider` to one of them, for '{operation.api}' or for all.",
                code="no_default_provider",
            )
        return able


def offers(provider: ProviderLike, operation: Operation) -> bool:
    """Whether a provider takes an operation.

    One that answers in process speaks an API that generates without keeping anything, so it is asked for nothing else.
    """
    if operation.api not in provider.apis:
        return False
    return operation.api not in GENERATED or bool(getattr(provider, "relays", False))


def offering(operation: Operation, targets: Iterable[Target]) -> list[Target]:
    """Those of the targets that take an operation. Raises NotFoundError naming the others where there is none."""
    targets = list(targets)
    able = [target for target in targets if offers(target.provider, operation)]
    if able or not targets:
        return able
    names = ", ".join(sorted({f"'{target.provider.name}'" for target in targets}))
    several = "s" if "," in names else ""
    advice = "Ask for it at a provider that does, or name it in the provider's `apis`."
    if operation.api == ADMINISTRATION:
        advice = "It is passed on only where a provider's `apis` name it."
    raise NotFoundError(
        f"The '{operation.api}' API is not offered by the provider{several} {names}. {advice}", code="unsupported_api"
    )
