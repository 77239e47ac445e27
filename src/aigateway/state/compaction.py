"""Conversations made short: a summary in place of what came before, sealed so that only the gateway can read or make it.

Callers keep a compaction item and bring it back as it is; whatever model it goes to then is told the summary.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from aigateway import _json
from aigateway.errors import InvalidRequestError, ServerError
from aigateway.state.items import ItemHead, NewId, head_of
from aigateway.state.protocol import ConflictError, Put, ResponseStore

if TYPE_CHECKING:
    from aigateway.state.encryption import Cipher

MARK: Final = "aigwc1."
"""What the content of our own compaction items begins with."""

TRIGGER: Final = "compaction_trigger"
PROMPT: Final = (
    "The above is a conversation between a user and an assistant, its tool calls among it. Summarise it so that another "
    "assistant can go on from the summary alone: what is wanted, what was decided and found out, names, numbers and paths "
    "that matter, what was done and what is still open. Write nothing but the summary."
)

_MARK: Final = MARK.encode()
_COMPACTION: Final = b'"compaction"'
_TELLS: Final = "Summary of the conversation up to here, of which nothing else is shown:\n\n"
_TELLING: Final = b'{"type":"message","role":"developer","content":"' + _TELLS.partition("\n")[0].encode()
_CARRIES: Final = b"\0"
_PARTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_KIND: Final = "key"
_ID: Final = "compaction"


class Seals:
    """Seals summaries and opens them, per tenant.

    keys  32 bytes each, the newest first; without any, one is made and kept in the store.
    """

    def __init__(self, store: ResponseStore, keys: Sequence[bytes], new_id: NewId) -> None:
        self._store = store
        self._keys = list(keys)
        self._new_id = new_id
        self._cipher: Cipher | None = None

    async def _ready(self) -> Cipher:
        if self._cipher is None:
            try:
                from aigateway.state.encryption import Cipher  # noqa: PLC0415 - an optional dependency
            except ModuleNotFoundError as error:
                raise ServerError(
                    "Compaction needs one more package: pip install 'aigateway[encryption]'.",
                    status=501,
                    code="not_installed",
                ) from error
            self._cipher = Cipher(self._keys or [await self._kept_key()])
        return self._cipher

    async def _kept_key(self) -> bytes:
        for _ in range(2):
            found = await self._store.document("", _KIND, _ID)
            if found is not None:
                return found.data
            put = Put(kind=_KIND, id=_ID, data=os.urandom(32), created_at=0.0, expect=0)
            try:
                await self._store.commit("", [put])
            except ConflictError:
                continue
            return put.data
        raise ServerError("The key of compactions could not be made. Try again.")

    async def item(self, tenant: str, summary: str, carried: Sequence[bytes] = ()) -> dict[str, Any]:
        """A compaction item that holds a summary. carried: items that are told behind it as they are.

        One that carries some stands for everything before it but for instructions and open calls.
        """
        plain = summary.encode("utf-8", "replace")
        if carried:
            plain = _CARRIES + _json.encode([summary, *map(msgspec.Raw, carried)])
        sealed = (await self._ready()).encrypt(plain, _place(tenant))
        content = MARK + base64.urlsafe_b64encode(sealed).decode()
        return {"type": "compaction", "id": self._new_id("cmp"), "encrypted_content": content}

    async def opened(self, tenant: str, items: Sequence[bytes]) -> list[bytes]:
        """Items with the summaries of our own in place. Raises InvalidRequestError for one that was tampered with."""
        told: list[bytes] = []
        for item in items:
            summary = await self._summary(tenant, item) if _MARK in item and _COMPACTION in item else None
            if summary is None:
                told.append(item)
            elif summary.startswith(_CARRIES):
                said, *carried = _PARTS.decode(summary[len(_CARRIES) :])
                kept = [one for one in lasting(told, items) if not is_summary(one)]
                told = [*kept, _telling(_json.decode(bytes(said))), *(bytes(one) for one in carried)]
            else:
                told.append(_telling(summary.decode()))
        return told

    async def _summary(self, tenant: str, item: bytes) -> bytes | None:
        """The content of one of ours; None for any other item."""
        value = _json.decode(item)
        content = value.get("encrypted_content") if isinstance(value, dict) else None
        if not isinstance(content, str) or not content.startswith(MARK) or value.get("type") != "compaction":
            return None
        try:
            raw = base64.b64decode(content[len(MARK) :], altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        summary = (await self._ready()).decrypt(raw, _place(tenant))
        if summary is None:
            raise InvalidRequestError(
                "This compaction item was not made by this gateway for this caller, or its key is gone. Leave it out, or send "
                "the conversation itself.",
                param="input",
                code="invalid_compaction",
            )
        return summary


def _telling(summary: str) -> bytes:
    return _json.encode({"type": "message", "role": "developer", "content": _TELLS + summary})


def is_summary(item: bytes) -> bool:
    """Whether this is how a summary of ours is told."""
    return item.startswith(_TELLING)


def _place(tenant: str) -> bytes:
    return b"compaction:" + tenant.encode()


def is_sealed(body: bytes) -> bool:
    """Whether a request brings a compaction item of ours."""
    return body.find(_MARK) >= 0


def since_compaction(items: Sequence[bytes]) -> list[bytes]:
    """A conversation from its last compaction on; of what stands before it only instructions and open calls."""
    places = [at for at, item in enumerate(items) if _COMPACTION in item and head_of(item).type == "compaction"]
    if not places:
        return list(items)
    return [*lasting(items[: places[-1]], items), *items[places[-1] :]]


def lasting(items: Sequence[bytes], conversation: Sequence[bytes]) -> list[bytes]:
    """Those that no shortening may drop: instructions, and calls that nothing in the conversation answers yet."""
    answered = {head.call_id for head in map(head_of, conversation) if head.call_id and _is_result(head.type)}
    kept = []
    for item in items:
        head = head_of(item)
        is_open_call = bool(head.call_id) and not _is_result(head.type) and head.call_id not in answered
        if head.role in ("system", "developer") or is_open_call:
            kept.append(item)
    return kept


def _is_result(kind: str | None) -> bool:
    return (kind or "").endswith("_output")


def to_compact(before: Sequence[bytes], own: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    """What a summary is to take the place of, and what stays behind it: a turn's own items with the calls they answer.

    Where nothing comes before the turn, its own are those behind the last thing that a model said. Nothing is to be done
    where the first is empty.
    """
    older, newer = list(before), list(own)
    if not older:
        said = [place for place, item in enumerate(own) if not _is_callers(head_of(item))]
        place = said[-1] + 1 if said else 0
        older, newer = list(own[:place]), list(own[place:])
    answered = {head.call_id for head in map(head_of, newer) if head.call_id and _is_result(head.type)}
    calls = [item for item in older if head_of(item).call_id in answered and not _is_result(head_of(item).type)]
    kept = {id(item) for item in (*lasting(older, [*older, *newer]), *calls)}
    if not newer or all(id(item) in kept or is_summary(item) for item in older):
        return [], []
    return older, [*calls, *newer]


def _is_callers(head: ItemHead) -> bool:
    return _is_result(head.type) or (head.type in (None, "message") and head.role != "assistant")


def without_oldest(items: Sequence[bytes]) -> list[bytes]:
    """A conversation without the older half of what may be dropped; a result never stays without its call."""
    kept_always = set(map(id, lasting(items, items)))
    loose = [item for item in items[:-1] if id(item) not in kept_always]
    dropped = set(map(id, loose[: -(-len(loose) // 2)]))
    left = [item for item in items if id(item) not in dropped]
    calls = {head.call_id for head in map(head_of, left) if head.call_id and not _is_result(head.type)}
    return [item for item in left if not (_is_result(head_of(item).type) and head_of(item).call_id not in calls)]


def transcript(items: Sequence[bytes]) -> str:
    """A conversation as a text, for whoever is to summarise it."""
    lines = []
    for item in items:
        value = _json.decode(item)
        if not isinstance(value, dict):
            continue
        kind = str(value.get("type") or "message")
        if kind == "message":
            lines.append(f"{value.get('role')}: {_text(value.get('content'))}")
        elif kind.endswith("_output"):
            lines.append(f"result: {_text(value.get('output'))}")
        elif value.get("call_id"):
            lines.append(f"call: {value.get('name', kind)}({value.get('arguments', value.get('input', ''))})")
    return "\n".join(lines)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in parts if isinstance(part, dict))
