"""For every rule of the linter, what breaks only it: changes of the lawful stream `lint_streams.whole()`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.lint_streams import Break, Events, items_of, nth, set_all, snapshots, without


def swapped(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """Replaces the first place of some bytes, which must be there."""

    def change(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new, 1)

    return change


BROKEN_BYTES: Mapping[str, Callable[[bytes], bytes]] = {
    "event-name": swapped(b"event: response.in_progress\n", b"event: response.progress\n"),
    "data-is-json": swapped(
        b"event: response.in_progress\n", b"event: odd\ndata: {odd\n\nevent: response.in_progress\n"
    ),
    "one-data-line": swapped(b',"sequence_number":0', b',\ndata: "sequence_number":0'),
    "line-ends": lambda data: data.replace(b"\n", b"\r\n"),
    "frame-closed": lambda data: data[:-1],
    "done-last": lambda data: data + b"data: [DONE]\n\n",
    "no-event-ids": swapped(b"event: ", b"id: 1\nevent: "),
}


def put(name: str, number: int = 0, /, **values: Any) -> Break:
    """Sets keys of one event."""
    return lambda events: nth(events, name, number).update(values)


def in_snapshots(**values: Any) -> Break:
    return lambda events: set_all(snapshots(events), **values)


def in_item(index: int, **values: Any) -> Break:
    """Sets keys of an item in all its snapshots."""
    return lambda events: set_all(items_of(events, index), **values)


def unknown_event(events: Events) -> Events:
    return [*events[:3], {"type": "response.magic", "sequence_number": 3}, *events[3:]]


def in_error(events: Events) -> Events:
    error = {"code": None, "message": "m", "param": None}
    return [*events[:2], {"type": "error", "sequence_number": 2, **error, "error": {"type": "t", **error}}]


def output_index_3_is_4(events: Events) -> None:
    set_all((event for event in events if event.get("output_index") == 3), output_index=4)


def one_id_twice(events: Events) -> None:
    first = items_of(events, 2)[0]["id"]
    set_all(items_of(events, 3), id=first)
    set_all((event for event in events if event.get("output_index") == 3 and "item_id" in event), item_id=first)


def content_index_1_is_2(events: Events) -> None:
    set_all((event for event in events if event.get("content_index") == 1), content_index=2)


def delta_of_another_kind(events: Events) -> None:
    event = nth(events, "output_text.delta")
    event["type"] = "response.refusal.delta"
    del event["logprobs"]


def late_delta(events: Events) -> Events:
    done = next(n for n, e in enumerate(events) if e["type"].endswith("item.done") and e["output_index"] == 1)
    return [*events[: done + 1], nth(events, "output_text.delta"), *events[done + 1 :]]


def arguments_that_are_cut(events: Events) -> None:
    for number, piece in ((-2, '{"b'), (-1, '": 2')):
        nth(events, "function_call_arguments.delta", number)["delta"] = piece
    nth(events, "function_call_arguments.done", -1)["arguments"] = '{"b": 2'
    set_all(items_of(events, 3)[1:], arguments='{"b": 2')


def said_otherwise(name: str, *path: Any) -> Break:
    """Changes a text in one event."""

    def change(events: Events) -> None:
        found: Any = nth(events, name)
        for key in path[:-1]:
            found = found[key]
        found[path[-1]] += "!"

    return change


def without_top_p(events: Events) -> None:
    for snapshot in snapshots(events):
        del snapshot["top_p"]


def without_store(events: Events) -> None:
    for snapshot in snapshots(events)[:-1]:
        del snapshot["store"]


def more_tokens(events: Events) -> None:
    snapshots(events)[-1]["usage"]["total_tokens"] += 1


BROKEN: Mapping[str, Break] = {
    "required-key": without_top_p,
    "wrong-type": in_snapshots(top_p="1"),
    "not-nullable": in_snapshots(parallel_tool_calls=None),
    "unknown-value": in_snapshots(truncation="maybe"),
    "unknown-type": in_snapshots(tools=[{"type": "magic"}]),
    "unknown-event": unknown_event,
    "created-first": lambda events: events[1:],
    "in-progress-next": without("in_progress"),
    "sequence-number": put("output_text.done", sequence_number=99),
    "terminal-event": lambda events: events[:-1],
    "after-terminal": lambda events: [*events, nth(events, "output_text.delta")],
    "error-then-failed": in_error,
    "item-added-first": without("output_item.added", 1),
    "output-index": output_index_3_is_4,
    "item-id": one_id_twice,
    "item-identity": put("output_text.delta", item_id="msg_other"),
    "announced-state": lambda events: nth(events, "output_item.added")["item"].update(status="completed"),
    "after-done": late_delta,
    "item-closed": without("output_item.done", -1),
    "part-added-first": without("content_part.added"),
    "part-index": content_index_1_is_2,
    "part-kind": delta_of_another_kind,
    "text-done": without("output_text.done"),
    "part-closed": without("content_part.done"),
    "annotation-index": put("output_text.annotation.added", annotation_index=1),
    "deltas-add-up": without("output_text.delta"),
    "part-adds-up": said_otherwise("content_part.done", "part", "text"),
    "item-adds-up": said_otherwise("output_item.done", "item", "summary", 0, "text"),
    "final-snapshot": said_otherwise("completed", "response", "output", 1, "content", 0, "text"),
    "usage-adds-up": more_tokens,
    "arguments-done": without("function_call_arguments.done"),
    "call-id": in_item(3, call_id="call_1"),
    "call-arguments": arguments_that_are_cut,
    "response-id": in_snapshots(id=""),
    "event-status": lambda events: nth(events, "in_progress")["response"].update(status="queued"),
    "status-details": lambda events: snapshots(events)[-1].update(error={"code": "c", "message": "m"}),
    "item-status": lambda events: set_all(items_of(events, 0)[1:], status="in_progress"),
    "incomplete-item": lambda events: set_all(items_of(events, 1)[1:], status="incomplete"),
    "early-snapshot": lambda events: snapshots(events)[0].update(usage=snapshots(events)[-1]["usage"]),
    "full-snapshot": without_store,
    "stable-snapshot": lambda events: snapshots(events)[1].update(metadata={"a": "b"}),
}


def doubled(name: str, number: int = 0) -> Break:
    """Sends an event twice."""

    def change(events: Events) -> Events:
        again = nth(events, name, number)
        return [copy for event in events for copy in ((event, event) if event is again else (event,))]

    return change


def moved_behind(name: str, other: str) -> Break:
    """Sends an event after another one."""

    def change(events: Events) -> Events:
        late, early = nth(events, name), nth(events, other)
        kept = [event for event in events if event is not late]
        place = kept.index(early) + 1
        order = [*kept[:place], late, *kept[place:]]
        return [{**event, "sequence_number": number} for number, event in enumerate(order)]

    return change


def another_error(events: Events) -> Events:
    """Something comes between an error and the end."""
    error = {"code": None, "message": "m", "param": None}
    failing = {"type": "error", "sequence_number": 0, **error, "error": {"type": "t", **error}}
    return [*events[:2], failing, failing, *events[2:]]


def item_without_id(events: Events) -> None:
    set_all(items_of(events, 1), id="")
    set_all((event for event in events if event.get("output_index") == 1 and "item_id" in event), item_id="")


def part_of_another_type(events: Events) -> None:
    nth(events, "content_part.done")["part"] = {"type": "refusal", "refusal": "Hello"}


MORE: list[tuple[str, Break]] = [
    ("announced-state", put("content_part.added", part={"type": "output_text", "text": "x", "annotations": []})),
    (
        "announced-state",
        lambda events: nth(events, "output_item.added", 2)["item"].update(arguments="{"),
    ),
    ("after-done", doubled("output_text.done")),
    ("after-done", doubled("content_part.done")),
    ("after-done", doubled("function_call_arguments.done")),
    ("after-done", doubled("output_item.done", 1)),
    ("after-done", moved_behind("output_text.annotation.added", "content_part.done")),
    ("annotation-index", doubled("output_text.annotation.added")),
    ("created-first", doubled("created")),
    ("error-then-failed", another_error),
    ("in-progress-next", doubled("in_progress")),
    ("item-id", item_without_id),
    ("output-index", doubled("output_item.added", 2)),
    ("part-index", doubled("content_part.added")),
    ("part-kind", part_of_another_type),
    ("call-id", in_item(2, name="")),
    ("deltas-add-up", without("function_call_arguments.delta")),
    ("final-snapshot", lambda events: snapshots(events)[-1].update(output=[])),
    ("item-identity", lambda events: items_of(events, 2)[0].update(name="lo")),
    ("stable-snapshot", lambda events: snapshots(events)[-1].update(model="other")),
]
"""Other ways to break a rule: what else breaks with it is no matter."""
