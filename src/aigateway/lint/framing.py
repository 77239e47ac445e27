"""The frames of a stream as it came over HTTP: events one by one, and what is wrong with how they are written."""

from __future__ import annotations

from aigateway import _sse
from aigateway._sse import SSEEvent
from aigateway.lint.rules import Finding, Profile


def frames_of(data: bytes, profile: Profile) -> tuple[list[tuple[str, SSEEvent]], list[Finding]]:
    """The events (place, frame) without `[DONE]`, and what is wrong with the framing."""
    found: list[Finding] = []
    if b"\r" in data:
        line = data[: data.index(b"\r")].count(b"\n") + 1
        found.append(Finding("line-ends", f"line {line}", "the line ends in CR"))
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    blocks = data.removeprefix(b"\xef\xbb\xbf").split(b"\n\n")
    frames: list[tuple[str, SSEEvent]] = []
    done = 0
    for number, block in enumerate(blocks):
        frame = _frame(block)
        if frame is None:
            continue
        place = f"event {len(frames)}" if frame.data != _sse.DONE else "[DONE]"
        if number == len(blocks) - 1:
            found.append(Finding("frame-closed", place, "the frame has no blank line after it"))
        found += _line_faults(block, place, profile)
        if done:
            found.append(Finding("done-last", place, "this comes after [DONE]"))
        if frame.data == _sse.DONE:
            done += 1
        else:
            frames.append((place, frame))
    if not done and profile == "open_responses":
        found.append(Finding("done-last", "the end of the stream", "the stream does not end with [DONE]"))
    return frames, found


def _frame(block: bytes) -> SSEEvent | None:
    """The one event of a block; None where it holds comments only."""
    events = _sse.SSEDecoder().feed(block.strip(b"\n") + b"\n\n")
    return events[0] if events else None


def _line_faults(block: bytes, place: str, profile: Profile) -> list[Finding]:
    found: list[Finding] = []
    fields = [line.partition(b":")[0] for line in block.split(b"\n")]
    for name, count in (("data", fields.count(b"data")), ("event", fields.count(b"event"))):
        if count > 1:
            found.append(Finding("one-data-line", place, f"the frame has {count} `{name}` lines"))
    if b"id" in fields and profile == "open_responses":
        found.append(Finding("no-event-ids", place, "the frame has an `id` line"))
    return found
