"""Two operations on a whole conversation: making it short, and counting it. Asked of a provider that can, else done here."""

from __future__ import annotations

from typing import Any, Final

from aigateway import _json
from aigateway.answer import JSON_TYPE, Answer
from aigateway.call import Target
from aigateway.default_provider import offers
from aigateway.errors import UpstreamError
from aigateway.exchange import Exchange
from aigateway.formats.responses.count import estimated_tokens
from aigateway.formats.responses.resource import encode_usage
from aigateway.intake import top_of
from aigateway.models import Model
from aigateway.state.items import entry_of, head_of
from aigateway.state.turn import WISHES, Turn
from aigateway.stateful import StatefulExchange, compacts

_UNKNOWN_THERE: Final = frozenset({404, 405, 501})
"""What a host answers that speaks the API, and cannot do this."""


class _OnConversation(StatefulExchange):
    """A call that is about a conversation, and adds nothing to it."""

    _records = False

    async def _routed(self) -> tuple[list[Target], Model | None]:
        body = self.call.request.raw
        wishes = top_of(body, WISHES)
        wishes.store, wishes.background = False, None
        await self._open(wishes, body)
        return await Exchange._routed(self)  # noqa: SLF001 - its own, past that of calls which are kept

    async def _by_provider(self, targets: list[Target], entry: Model | None) -> Answer | None:
        """The answer of the first target; None where it cannot do this."""
        try:
            return await Exchange._try_targets(self, targets[:1], entry)  # noqa: SLF001 - the same
        except UpstreamError as error:
            if error.status not in _UNKNOWN_THERE:
                raise
            await self._release()
            self.call.changes.clear()
            return None

    def _loaded(self) -> Turn:
        if self._turn is None:
            raise RuntimeError("a conversation is opened first")
        return self._turn


class Compacting(_OnConversation):
    """Runs one call of `responses.compact`: see `Exchange`."""

    async def _try_targets(self, targets: list[Target], entry: Model | None) -> Answer:
        if compacts(targets):
            answer = await self._by_provider(targets, entry)
            if answer is not None:
                return answer
        turn, call = self._loaded(), self.call
        await turn.load()
        item = await self._state.seals.item(turn.tenant, await self._summary_of(turn.context, targets, entry))
        said = [entry_of(one, self._new_id)[1] for one in turn.items if head_of(one).role == "user"]
        made: dict[str, Any] = {
            "id": self._new_id("resp"),
            "object": "response.compaction",
            "created_at": int(call.created_at),
            "output": [*(_json.decode(one) for one in said), item],
            "usage": None if call.usage is None else encode_usage(call.usage),
        }
        return await self._answer_document(_json.encode(made), [JSON_TYPE])


class CountingInput(_OnConversation):
    """Runs one call of `responses.input_tokens`: see `Exchange`."""

    async def _try_targets(self, targets: list[Target], entry: Model | None) -> Answer:
        able = targets[:1] if targets and offers(targets[0].provider, self.call.operation) else []
        if able:
            answer = await self._by_provider(able, entry)
            if answer is not None:
                return answer
        turn = self._loaded()
        await turn.load()
        body = _json.decode(turn.body) | {"input": [_json.decode(item) for item in turn.context]}
        counted = {"object": "response.input_tokens", "input_tokens": estimated_tokens(body)}
        return await self._answer_document(_json.encode(counted), [JSON_TYPE, ("x-aigateway-estimate", "true")])
