"""The events of a streamed reply in the neutral form.

    Started
      ( ItemStarted ( PartStarted Delta* Annotated* PartEnded )* Delta* ItemEnded  |  UsageReported )*
    Finished | Failed

`index` numbers the items of the reply from 0 in the order they start; `part` numbers the parts of one item. The parts
of a message are Text and Refusal, those of a reasoning item SummaryText and ReasoningText; the deltas of a tool call
are its arguments and stand directly under the item (`part` is 0, with no PartStarted).
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from aigateway.canonical.types import Annotation, Item, Refusal, Text, Usage
from aigateway.errors import GatewayError


class _Event(msgspec.Struct, frozen=True):
    """Base of the events."""


class SummaryText(_Event, frozen=True):
    """A part of a reasoning item: one summary."""

    text: str


class ReasoningText(_Event, frozen=True):
    """A part of a reasoning item: the reasoning itself."""

    text: str


StreamPart = Text | Refusal | SummaryText | ReasoningText


class Started(_Event, frozen=True):
    """The upstream has begun to answer."""

    id: str
    model: str
    created_at: int
    service_tier: str | UnsetType = UNSET
    system_fingerprint: str | UnsetType = UNSET


class ItemStarted(_Event, frozen=True):
    """A new item, as far as it is known: a message without content, a tool call without arguments."""

    index: int
    item: Item


class PartStarted(_Event, frozen=True):
    """A new part of an open item, empty."""

    index: int
    part: int
    content: StreamPart


class Delta(_Event, frozen=True):
    """More text of an open part, or more arguments of an open tool call."""

    index: int
    part: int
    text: str
    logprobs: tuple[dict[str, Any], ...] = ()


class Annotated(_Event, frozen=True):
    """An annotation of an open text part."""

    index: int
    part: int
    annotation: Annotation


class PartEnded(_Event, frozen=True):
    """The part is complete; `content` holds all of it."""

    index: int
    part: int
    content: StreamPart


class ItemEnded(_Event, frozen=True):
    """The item is complete; `item` holds all of it."""

    index: int
    item: Item


class UsageReported(_Event, frozen=True):
    """Tokens so far; the last one counts."""

    usage: Usage


class Finished(_Event, frozen=True):
    """The upstream is done: stop, length, tool_calls or content_filter. Every item has ended before."""

    reason: str
    service_tier: str | UnsetType = UNSET


class Failed(_Event, frozen=True):
    """The stream broke, or the upstream gave up. Nothing follows."""

    error: GatewayError


StreamEvent = (
    Started | ItemStarted | PartStarted | Delta | Annotated | PartEnded | ItemEnded | UsageReported | Finished | Failed
)
