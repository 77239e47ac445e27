"""What a gateway that keeps state adds to its journeys: loaded by the first call that may be kept, or asks for what was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from aigateway.answer import Answer
from aigateway.call import Call
from aigateway.compacting import Compacting, CountingInput
from aigateway.exchange import Exchange
from aigateway.kept_completion import keep_completion
from aigateway.runs import RunExchange, Runs, principal_of
from aigateway.state.memory import MemoryStore
from aigateway.state.protocol import ResponseStore
from aigateway.state.record import Run
from aigateway.state.state import State, StateSettings
from aigateway.state.turn import keeps_nothing
from aigateway.stateful import StatefulExchange
from aigateway.stored import SERVED, StoredObjects
from aigateway.turns_session import TurnsSession

_JOURNEYS: Final[dict[str, type[StatefulExchange]]] = {
    "responses.compact": Compacting,
    "responses.input_tokens": CountingInput,
}


class Keeping:
    """A gateway's state, and the journeys of the calls that it is for.

    call      makes a new call from its operation and headers.
    settings  of every exchange; default: where a call goes that names no model.
    """

    def __init__(
        self,
        store: ResponseStore | None,
        settings: StateSettings | None,
        *,
        new_id: Callable[[str], str],
        make_call: Callable[..., Call],
        parts: tuple[Any, ...],
        options: dict[str, Any],
        default: Any,
    ) -> None:
        self.state = State(store or MemoryStore(), settings, new_id=new_id)
        self._make_call = make_call
        self._parts = parts
        self._options = options
        self._default = default
        self.runs = Runs(self.state, self._run)

    def exchange(self, call: Call, body: bytes = b"") -> Exchange:
        """The journey of a call. body: of its request, where it is known and nobody changes it; else empty."""
        name = call.operation.name
        is_settled = body and not self._parts[0].has_before_request
        if is_settled and name == "responses" and keeps_nothing(body):
            return Exchange(call, *self._parts, **self._options)
        self.state.start()
        if name in SERVED:
            return StoredObjects(call, *self._parts, default=self._default, state=self.state, **self._options)
        made = _JOURNEYS.get(name, StatefulExchange)
        return made(call, *self._parts, state=self.state, submit=self.runs.submit, **self._options)

    async def completion(self, call: Call, answer: Answer) -> Answer:
        """The answer to a chat call, kept if it asks for that."""
        return await keep_completion(self.state, call, answer)

    def session(self, call: Call) -> TurnsSession:
        """A connection over which calls like this one are made."""

        def make() -> StatefulExchange:
            key = call._api_key  # noqa: SLF001 - each turn authenticates anew
            turn = self._make_call("responses", {**call.headers, "x-request-id": ""}, key, call.client)
            return StatefulExchange(turn, *self._parts, state=self.state, submit=self.runs.submit, **self._options)

        self.state.start()
        return TurnsSession(call, self._parts[0], make)

    def _run(self, run: Run) -> RunExchange:
        call = self._make_call("responses", {**run.headers, "x-request-id": run.request_id}, None, "")
        call.principal = principal_of(run)
        return RunExchange(call, *self._parts, state=self.state, submit=self.runs.submit, **self._options)

    async def retire(self, *, closes: bool) -> None:
        """Wait for what runs in the background. closes: whether nobody else uses the store."""
        await self.runs.ended()
        await self.state.aclose(closes=closes)

    async def aclose(self) -> None:
        """Leave what is running to others, and close the store."""
        await self.runs.aclose()
        await self.state.aclose()
