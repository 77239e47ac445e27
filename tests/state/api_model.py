"""What the state of the API ought to be, in the plainest words: items, responses and conversations as lists of objects."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.state.rig import Object

RUNNING = ("queued", "in_progress")


@dataclass(eq=False)
class Item:
    """One message. gone: whether it was deleted, and is in no list anymore."""

    role: str
    text: str
    id: str = ""
    gone: bool = False

    @property
    def told(self) -> str:
        """As a model is told it."""
        return f"{self.role}: {self.text}"

    def wire(self) -> Object:
        """As a caller sends it."""
        return {"type": "message", "role": self.role, "content": self.text}


@dataclass(eq=False)
class Talk:
    """A conversation. writer: the response that is being made in it."""

    tenant: str
    id: str
    metadata: dict[str, str]
    items: list[Item] = field(default_factory=list)
    deleted: bool = False
    writer: Response | None = None


@dataclass(eq=False)
class Response:
    """A response.

    before   the items of its conversation before its own. wire: the resource as it was told last.
    stream   the body of its stream; None where there was none. base: the response that it goes on from.
    """

    tenant: str
    id: str
    before: list[Item]
    new: list[Item]
    output: list[Item]
    talk: Talk | None
    background: bool
    status: str = "completed"
    wire: Object | None = None
    stream: bytes | None = None
    deleted: bool = False
    base: Response | None = None

    @property
    def is_running(self) -> bool:
        return self.status in RUNNING

    @property
    def context(self) -> list[Item]:
        """All items of its conversation up to its end."""
        return [*self.before, *self.new, *self.output]


def there(items: Sequence[Item]) -> list[Item]:
    """Those that were not deleted."""
    return [item for item in items if not item.gone]


def told_of(items: Sequence[Item]) -> list[str]:
    """What a model is told: what the assistant said at one go is one message."""
    told: list[str] = []
    for item in there(items):
        if item.role == "assistant" and told and told[-1].startswith("assistant: "):
            told[-1] += item.text
        else:
            told.append(item.told)
    return told


def said_to(told: Sequence[str]) -> str:
    """The answer to a conversation: another one for each, so that an answer shows what was told."""
    return "saw " + hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]
