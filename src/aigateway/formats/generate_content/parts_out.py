"""Items of a reply as the parts of a candidate."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET

from aigateway.canonical.types import (
    AdditionalTools,
    Audio,
    File,
    Image,
    Item,
    Message,
    Opaque,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from aigateway.formats.generate_content.media import encode_media
from aigateway.formats.generate_content.wire import FORMAT, SIGNATURE, json_object, signature_of

Part = dict[str, Any]
LACKING: Final = (AdditionalTools, ToolResult)
"""What an answer of this API cannot hold."""


def without_signatures(item: Item) -> Item:
    """The item without what is carried of it whoever made it: the signature of a thought."""
    return msgspec.structs.replace(item, signature=UNSET) if isinstance(item, Reasoning) else item


def thought_text(item: Reasoning) -> str:
    """What the caller sees of a thought: the thought itself, else its summaries."""
    return "".join(item.content) or "\n\n".join(text for text in item.summary if text)


def call_part(call: ToolCall) -> Part | None:
    """A call; None where its arguments are no object, as those that were cut."""
    args = json_object(call.arguments) if call.arguments else {}
    if args is None:
        return None
    part: Part = {"functionCall": {"id": call.call_id, "name": call.name, "args": args}}
    return part if call.signature is UNSET else {**part, SIGNATURE: call.signature}


def seen_parts(message: Message) -> list[Part]:
    """The images and the like of a message."""
    media = [encode_media(part) for part in message.content if isinstance(part, Image | File | Audio)]
    return [part for part in media if part is not None]


def opaque_parts(item: Item) -> list[Part]:
    """A part that came from this format."""
    return [item.raw] if isinstance(item, Opaque) and item.format == FORMAT else []


class WholeParts:
    """The parts of a whole reply.

    texts      the number of the part and the text itself, of each text that was said.
    malformed  whether a call was left out, because its arguments were no object.
    """

    def __init__(self, items: tuple[Item, ...]) -> None:
        self.parts: list[Part] = []
        self.texts: list[tuple[int, Text]] = []
        self.malformed = False
        for item in items:
            self._add(item)

    def _add(self, item: Item) -> None:
        if isinstance(item, Reasoning):
            self._think(item)
        elif isinstance(item, ToolCall):
            part = call_part(item)
            self.malformed = self.malformed or part is None
            self.parts += [part] if part is not None else []
        elif isinstance(item, Message):
            for said in item.content:
                if isinstance(said, Text):
                    self.texts.append((len(self.parts), said))
                if isinstance(said, Text | Refusal):
                    self.parts.append({"text": said.text})
            self.parts += seen_parts(item)
        else:
            self.parts += opaque_parts(item)

    def _think(self, item: Reasoning) -> None:
        text, signature = thought_text(item), signature_of(item)
        if text:
            part: Part = {"text": text, "thought": True}
            self.parts.append({**part, SIGNATURE: signature} if signature else part)
        elif signature:
            last = self.parts[-1] if self.parts else {}
            if "text" in last and "thought" not in last and SIGNATURE not in last:
                last[SIGNATURE] = signature
            else:
                self.parts.append({"text": "", SIGNATURE: signature})
