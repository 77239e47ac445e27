"""The base class of hooks: override the methods you need, sync or async."""

from __future__ import annotations

from typing import Any

from aigateway.call import Attempt, Call, Principal, Target
from aigateway.canonical.lens import EventLens, ReplyLens
from aigateway.errors import GatewayError


class Hook:
    """Stages of a call, in the order they run. Each overridden method is called on every API, streaming or not.

    Any object that has some of these methods will do; each may be `async`. Hooks run in list order up to
    `before_attempt`, in reverse order from `on_event` on. A hook that raises something that is no GatewayError ends
    the call with a 500 that shows none of its text; with `fail_open = True` the call goes on as if it were not there.
    """

    fail_open: bool = False

    def authenticate(self, call: Call, key: str | None) -> Principal | str | Any | None:
        """Once, first, before the body is read.

        Give the Principal (or just its tenant) that a key stands for, None
        for a key that you do not know, or raise AuthenticationError or PermissionDeniedError. All authenticators are
        asked; the first answer counts; if none gives one, the call is refused with 401.
        """

    def before_request(self, call: Call) -> Any:
        """Once, with the body read.

        Edit `call.request`; return a reply (a dict in the caller's format, or a text) to answer in place of
        any provider; raise a GatewayError to refuse.
        """

    def on_route(self, call: Call, targets: list[Target]) -> list[Target] | Any | None:
        """Once. Change the list in place, or return another."""

    def before_attempt(self, call: Call, attempt: Attempt) -> Any:
        """Once per upstream try. Set `attempt.headers`, `attempt.api_key`, `attempt.body`."""

    def on_event(self, call: Call, event: EventLens) -> EventLens | list[EventLens] | Any | None:
        """Once per streamed event, in the caller's format; also for those that tell of an error in mid-stream.

        Return the event (edited or not), None to drop it, or a
        list to send in its place.
        """

    def after_response(self, call: Call, reply: ReplyLens) -> Any:
        """Once, when the answer is not streamed. Edit `reply`."""

    def on_error(self, call: Call, error: GatewayError) -> GatewayError | Any:
        """Once per failed call. Return another GatewayError in its place, or a reply to answer with."""

    def on_complete(self, call: Call) -> Any:
        """Exactly once per call, always: read `call.outcome`, `usage`, `attempts`, and its times."""
