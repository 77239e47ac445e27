"""Images streams relayed: the tap that watches for the finished image, the usage, and errors."""

from __future__ import annotations

from typing import ClassVar

from aigateway import _json
from aigateway.formats.relay import StreamRelay, Terminal, events_in
from aigateway.formats.usage import responses_usage

_FINAL = Terminal((b"image_generation.completed", b"image_edit.completed"))


class ImagesRelay(StreamRelay):
    """Finished with the first whole image: the usage stands beside it."""

    always_finished: ClassVar[bool] = False

    def _tap(self, data: bytes) -> bytes:
        if _FINAL.within(data):
            self.finished = True
            for event in events_in(data):
                self._note(event.data)
        return data

    def _note(self, data: bytes) -> None:
        try:
            body = _json.decode(data)
        except (_json.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if isinstance(body, dict):
            self.usage = responses_usage(body.get("usage")) or self.usage
