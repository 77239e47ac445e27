"""One hook of each kind, to see what calling them costs: none looks inside the bodies."""

from aigateway import Call, EventLens, GatewayError
from aigateway.call import Attempt, Target
from aigateway.canonical.lens import ReplyLens
from aigateway.hooks import Hook


class EveryKind(Hook):
    """All eight stages, each as short as a method can be."""

    def authenticate(self, call: Call, key: str | None) -> None:
        return None

    def before_request(self, call: Call) -> None:
        return None

    def on_route(self, call: Call, targets: list[Target]) -> list[Target]:
        return targets

    def before_attempt(self, call: Call, attempt: Attempt) -> None:
        return None

    def on_event(self, call: Call, event: EventLens) -> EventLens:
        return event

    def after_response(self, call: Call, reply: ReplyLens) -> None:
        return None

    def on_error(self, call: Call, error: GatewayError) -> GatewayError:
        return error

    def on_complete(self, call: Call) -> None:
        return None
