"""One turn of a conversation: what its request says of state, what comes before it, and the body that a target gets."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any, Final

import msgspec

from aigateway import _json
from aigateway.errors import GatewayError, InvalidRequestError
from aigateway.state.compaction import (
    TRIGGER,
    is_sealed,
    is_summary,
    lasting,
    since_compaction,
    to_compact,
    without_oldest,
)
from aigateway.state.conversations import Lock
from aigateway.state.items import REFERENCE, head_of, items_of, listed, references, require_calls, without_references
from aigateway.state.record import Upstream
from aigateway.state.responses import Stored, previous_not_found
from aigateway.state.state import State

TOP: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STATEFUL: Final = ("previous_response_id", "conversation", "background", "generate")


class Wishes(msgspec.Struct):
    """What a request says of state."""

    store: bool | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    background: bool | None = None
    input: msgspec.Raw = msgspec.Raw()
    generate: bool | None = None
    truncation: Any = None
    context_management: Any = None

    @property
    def stores(self) -> bool:
        """Whether the response is to be kept: it is unless told otherwise."""
        return self.store is not False

    @property
    def compact_threshold(self) -> int | None:
        """The tokens from which on the conversation is to be made short."""
        if self.context_management is None:
            return None
        wanted = self.context_management if isinstance(self.context_management, list) else ()
        for entry in wanted:
            if isinstance(entry, dict) and entry.get("type") == "compaction":
                threshold = entry.get("compact_threshold")
                return threshold if isinstance(threshold, int) else None
        return None

    @property
    def is_stateful(self) -> bool:
        """Whether what was kept is needed."""
        return bool(self.previous_response_id or self.conversation or self.background)


WISHES: Final = msgspec.json.Decoder(Wishes)
_REFERENCE: Final = REFERENCE.encode()
_COMPACTION: Final = b'"compaction'


def needs_state(wishes: Wishes, body: bytes) -> bool:
    """Whether a request is about anything that is kept, or is to be."""
    return (
        wishes.store is not False
        or wishes.truncation == "auto"
        or bool(wishes.previous_response_id or wishes.conversation or wishes.background)
        or wishes.context_management is not None
        or body.find(_REFERENCE) >= 0
        or body.find(_COMPACTION) >= 0
    )


def keeps_nothing(body: bytes) -> bool:
    """Whether a request is understood well enough to say that it has nothing to do with state."""
    try:
        return not needs_state(WISHES.decode(body), body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _check_management(entries: Any) -> None:
    for entry in entries if isinstance(entries, list) else (None,):
        threshold = entry.get("compact_threshold") if isinstance(entry, dict) else ""
        if threshold is not None and type(threshold) is not int:
            raise InvalidRequestError(
                "Invalid type for 'context_management': expected an array of objects such as "
                '{"type": "compaction", "compact_threshold": 100000}.',
                param="context_management",
                code="invalid_type",
            )


def conversation_id(value: Any) -> str | None:
    """The id in a `conversation`: a string, or an object with one. Raises InvalidRequestError."""
    found = value.get("id") if isinstance(value, dict) else value
    if found is None and value is None:
        return None
    if not isinstance(found, str) or not found:
        raise InvalidRequestError(
            "Invalid 'conversation': expected an id, or an object with one.", param="conversation", code="invalid_type"
        )
    return found


class Turn:
    """State of one call.

    new      its own input items.
    earlier  the items before them; None until they are loaded.
    upstream where the response will be kept by its provider too.
    local    what a connection remembers: id -> items of its conversation, None = they are kept.
    remembers_only  whether nothing else is gone on from.
    compaction  the item that takes the place of what came before, where this turn made it.
    """

    def __init__(self, state: State, tenant: str | None, wishes: Wishes, body: bytes) -> None:
        if wishes.context_management is not None:
            _check_management(wishes.context_management)
        self.state = state
        self.tenant = tenant or ""
        self.is_trusted = tenant is None
        self.is_foreign = False
        self.wishes = wishes
        self.body = body
        self.conversation = conversation_id(wishes.conversation)
        self.new = items_of(bytes(wishes.input))
        self.previous: Stored | None = None
        self.previous_id = wishes.previous_response_id
        self.earlier: list[bytes] | None = None
        self.upstream: Upstream | None = None
        self.lock: Lock | None = None
        self.lock_owner: str | None = None
        self.replays = False
        self.refers = bool(references(self.new))
        self.local: MutableMapping[str, list[bytes] | None] = {}
        self.is_local = False
        self.remembers_only = False
        self.is_sealed = is_sealed(body)
        self.triggers = bool(self.new) and TRIGGER.encode() in body and head_of(self.new[-1]).type == TRIGGER
        self.left_out = 0
        self.compaction: bytes | None = None
        self._resolved: list[bytes] = []
        self._told: tuple[list[bytes], list[bytes]] = ([], [])
        self._unknown: GatewayError | None = None
        self._edits = bool(
            wishes.is_stateful
            or self.refers
            or self.is_sealed
            or wishes.generate is not None
            or wishes.compact_threshold is not None
        )
        if self.conversation and self.previous_id:
            raise InvalidRequestError(
                "Give 'previous_response_id' or 'conversation', not both.", param="conversation", code="invalid_value"
            )
        if wishes.background and not wishes.stores:
            raise InvalidRequestError(
                "A response in the background must be stored: leave 'store' out, or set it to true.",
                param="background",
                code="invalid_value",
            )

    async def open(self) -> None:
        """Find what the turn goes on from. Raises GatewayError for what is not kept, or is being written to.

        Where there are no tenants, an unknown id may be one of the provider's own.
        """
        try:
            await self._find()
        except GatewayError as error:
            if (
                not self.is_trusted
                or self.remembers_only
                or error.code not in ("not_found", "previous_response_not_found")
            ):
                raise
            self.is_foreign = True
            self._unknown = error

    async def _find(self) -> None:
        if self.conversation is not None:
            document = await self.state.conversations.find(self.tenant, self.conversation, param="conversation")
            if self.wishes.stores:
                self.lock = await self.state.conversations.lock(self.tenant, self.conversation, self.lock_owner)
                await self.state.conversations.touch(self.tenant, document)
        elif self.previous_id is not None and self.local.get(self.previous_id) is not None:
            self.is_local = True
            if self.wishes.stores:
                self.previous = await self.state.responses.find(self.tenant, self.previous_id)
        elif self.previous_id is not None and self.remembers_only and self.previous_id not in self.local:
            raise previous_not_found(self.previous_id)
        elif self.previous_id is not None:
            self.previous = await self.state.responses.previous(self.tenant, self.previous_id)

    async def load(self) -> None:
        """Read what comes before the turn, once. Raises GatewayError."""
        if self.earlier is not None:
            return
        if self._unknown is not None:
            raise self._unknown
        responses = self.state.responses
        earlier: list[bytes] = []
        if self.conversation is not None:
            earlier = await self.state.conversations.items(self.tenant, self.conversation)
        elif self.is_local:
            earlier = self.local[self.previous_id or ""] or []
        elif self.previous is not None:
            earlier = await responses.chain(self.tenant, self.previous.record)
        self._resolved = await responses.resolved(self.tenant, self.new, strict=not self.is_trusted)
        if self.triggers:
            self._resolved.pop()
        require_calls(self._resolved, earlier)
        seals = self.state.seals
        self._told = (
            await seals.opened(self.tenant, since_compaction(earlier)),
            await seals.opened(self.tenant, self._resolved),
        )
        self.earlier = earlier

    @property
    def context(self) -> list[bytes]:
        """What a model is told, once it is loaded: the items before the turn, and its own."""
        return [*self._told[0], *self._told[1]]

    def to_compact(self) -> tuple[list[bytes], list[bytes]]:
        """What a summary would take the place of, once it is loaded, and what would be told behind it."""
        return to_compact(*self._told)

    async def compact(self, summary: str, older: Sequence[bytes], newer: Sequence[bytes]) -> None:
        """Tell a summary in place of the older items; `compaction` is the item that stands for all of it from now on."""
        carried = [item for item in newer if head_of(item).role not in ("system", "developer")]
        self.compaction = _json.encode(await self.state.seals.item(self.tenant, summary, carried))
        kept = [item for item in lasting(older, [*older, *newer]) if not is_summary(item)]
        told, *_ = await self.state.seals.opened(self.tenant, [self.compaction])
        self._told = ([*kept, told], list(newer))

    def shorten(self) -> bool:
        """Leave the oldest items out; False where none is left that may be."""
        shorter = without_oldest(self.context)
        left_out = len(self.context) - len(shorter)
        self.left_out += left_out
        self._told = ([], shorter)
        return left_out > 0

    @property
    def items(self) -> list[bytes]:
        """All items up to the turn's own, once they are loaded."""
        return [*(self.earlier or ()), *self._resolved]

    @property
    def is_changed(self) -> bool:
        """Whether any target gets another body than the caller's."""
        return self._edits or self.left_out > 0

    def is_known_at(self, provider: str) -> bool:
        """Whether this provider keeps what the turn goes on from, so that nothing of it need be told again."""
        if self.replays or self.conversation is not None:
            return False
        return self.chained_upstream(provider) is not None if self.previous_id else self.refers

    def chained_upstream(self, provider: str) -> str | None:
        """The id of the previous response at this provider, where it may go on from that."""
        if self.replays or self.previous is None:
            return None
        upstream = self.previous.record.upstream
        return upstream.id if upstream is not None and upstream.provider == provider else None

    def body_for(self, provider: str, *, keeps: bool, speaks_responses: bool) -> bytes:
        """The request as a target gets it.

        keeps: whether it keeps responses itself.
        """
        if not self.is_changed or self.is_foreign:
            return self.body
        top = TOP.decode(self.body)
        for name in _STATEFUL:
            top.pop(name, None)
        if not keeps:
            top.pop("context_management", None)  # it was done here
        chained = self.chained_upstream(provider) if keeps else None
        if chained is not None:
            top["previous_response_id"] = msgspec.Raw(_json.encode(chained))
            top["input"] = msgspec.Raw(listed(self.new if self.earlier is None else self._told[1]))
        elif self.earlier is not None and not (keeps and self.is_known_at(provider) and not self.is_sealed):
            before, own = self._told
            if not (self.is_trusted and keeps and speaks_responses):
                before = without_references(before)  # of what was deleted since, and is nobody's now
            items = [*before, *own, *(self.new[-1:] if self.triggers else ())]
            top["input"] = msgspec.Raw(listed(_known_to(items) if keeps and speaks_responses else items))
        return _json.encode(top)

    def echo(self) -> dict[str, Any]:
        """What the response repeats of the request, as the caller made it."""
        told: dict[str, Any] = {}
        if self.is_foreign:
            return told
        if self.wishes.is_stateful:
            told["previous_response_id"] = self.previous_id
            told["store"] = self.wishes.stores
        if self.conversation is not None:
            told["conversation"] = {"id": self.conversation}
        if self.wishes.background:
            told["background"] = True
        return told

    async def close(self) -> None:
        """Let others write."""
        lock, self.lock = self.lock, None
        if lock is not None:
            await lock.release()


def _known_to(items: Sequence[bytes]) -> list[bytes]:
    """Items that a provider which keeps responses itself takes from elsewhere: no thought that it would look up by id."""
    return [item for item in items if b'"reasoning"' not in item or not _is_bare_reasoning(item)]


class _Reasoning(msgspec.Struct):
    type: str | None = None
    encrypted_content: str | None = None


_REASONING: Final = msgspec.json.Decoder(_Reasoning)


def _is_bare_reasoning(item: bytes) -> bool:
    head = _REASONING.decode(item)
    return head.type == "reasoning" and not head.encrypted_content
