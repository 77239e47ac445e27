"""Sealed reasoning where Responses are relayed: requests and answers that otherwise go on as they came.

What api.openai.com encrypts goes to the caller byte for byte, and content that comes in unsealed counts as its own. What
any other host encrypts is sealed with the name of that host before the caller sees it, so that it is opened for that host
alone. Whoever else is asked then gets neither, and the change is listed.
"""

from __future__ import annotations

from typing import Any, Final

from aigateway import _json, _sse
from aigateway.canonical.origins import is_home, placed, seen_at
from aigateway.canonical.seal import Sealed, seal, unseal
from aigateway.canonical.types import Change
from aigateway.formats.relay import events_in, frames_in, object_in
from aigateway.formats.responses.items import ORIGIN
from aigateway.formats.responses.relay import ResponsesRelay

ENCRYPTED_KEY: Final = b'"encrypted_content"'
"""What stands in a body that may hold any."""


def without_seals(body: dict[str, Any], _: str, host: str, changes: list[Change]) -> None:
    """Put back what is this host's own, and leave out reasoning items that hold anything else."""
    items = body.get("input")
    if isinstance(items, list):
        body["input"] = [item for item in items if _stays(item, host, changes)]


def _stays(item: Any, host: str, changes: list[Change]) -> bool:
    text = _encrypted_in(item)
    if text is None:
        return True
    sealed = unseal(text)
    if sealed is None and is_home(host):
        return True
    if sealed is not None and sealed.encrypted is not None and seen_at(sealed.origin, host) in ("", ORIGIN):
        item["encrypted_content"] = sealed.encrypted
        return True
    change = Change(field="reasoning.encrypted_content", action="dropped", reason="Its maker is another.")
    if change not in changes:
        changes.append(change)
    return False


def _encrypted_in(item: Any) -> str | None:
    """The encrypted content of a reasoning item; None where it has none."""
    if not isinstance(item, dict) or item.get("type") != "reasoning":
        return None
    text = item.get("encrypted_content")
    return text if isinstance(text, str) and text else None


def sealed_reply(body: bytes, host: str) -> bytes:
    """A whole answer of this host for the caller; the same bytes where it encrypted nothing."""
    if is_home(host) or body.find(ENCRYPTED_KEY) < 0:
        return body
    reply = object_in(body)
    return _json.encode(reply) if reply is not None and _seal_in(reply, host) else body


class SealingRelay(ResponsesRelay):
    """The relay for one stream of a host other than OpenAI's."""

    def __init__(self, model: str, *, host: str, hide_usage: bool = False) -> None:
        super().__init__(model, hide_usage=hide_usage)
        self._host = host

    def _frames(self, data: bytes) -> bytes:
        if data.find(ENCRYPTED_KEY) >= 0:
            data = b"".join(
                [self._sealed(frame) if frame.find(ENCRYPTED_KEY) >= 0 else frame for frame in frames_in(data)]
            )
        return super()._frames(data)

    def _sealed(self, frame: bytes) -> bytes:
        out, changed = b"", False
        for event in events_in(frame):
            body = object_in(event.data)
            held = [] if body is None else [{"output": [body.get("item")]}, body.get("response")]
            found = [_seal_in(holder, self._host) for holder in held if isinstance(holder, dict)]
            changed = changed or any(found)
            out += _sse.encode(_json.encode(body) if any(found) else event.data, event.event)
        return out if changed else frame


def _seal_in(holder: dict[str, Any], host: str) -> bool:
    """Whether there was anything to seal in the `output` of a response."""
    output = holder.get("output")
    found = False
    for item in output if isinstance(output, list) else ():
        text = _encrypted_in(item)
        if text is not None:
            item["encrypted_content"] = seal(Sealed(origin=placed(ORIGIN, host), encrypted=text))
            found = True
    return found
