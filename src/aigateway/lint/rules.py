"""What the linter demands, rule by rule: the table that docs/lint.md is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

Profile = Literal["openai", "open_responses"]

PROFILES: tuple[Profile, ...] = ("openai", "open_responses")


class Finding(msgspec.Struct, frozen=True):
    """One fault.

    rule     its stable name, a key of RULES.
    place    where: `output[1].content[0]` of a response, `event 7 (response.output_text.delta).output_index` of a
             stream, whose events count from 0.
    message  what is wrong there, in words.
    """

    rule: str
    place: str
    message: str


class Rule(msgspec.Struct, frozen=True):
    """What a rule demands, and where that is written.

    only  the profile that has the rule; "" = both.
    """

    group: str
    demands: str
    source: str
    only: str = ""


_OR = "Open Responses"
_OPENAI = "OpenAI's API description"
_BOTH = f"{_OR}, {_OPENAI}"

RULES: Mapping[str, Rule] = {
    # framing
    "event-name": Rule(
        "framing", "The `event` of a frame equals the `type` in its data.", f"{_OR}: streaming over HTTP"
    ),
    "data-is-json": Rule(
        "framing", "The data of a frame is one JSON object, or `[DONE]`.", f"{_OR}: streaming over HTTP"
    ),
    "one-data-line": Rule(
        "framing", "A frame has exactly one `data` line, and one `event` line at most.", "What simple readers can read"
    ),
    "line-ends": Rule("framing", "Lines end in LF alone.", "What simple readers can read"),
    "frame-closed": Rule(
        "framing", "A blank line ends every frame, the last one too.", "WHATWG HTML: an unfinished event is discarded"
    ),
    "done-last": Rule(
        "framing",
        "`[DONE]` comes once, as the last frame. OpenAI's own streams do without it: the `openai` profile lets it be "
        "missing.",
        f"{_OR}: streaming over HTTP",
    ),
    "no-event-ids": Rule(
        "framing", "No frame has the SSE field `id`.", f"{_OR}: streaming over HTTP", only="open_responses"
    ),
    "content-type": Rule(
        "framing",
        "An answer is `application/json`, a stream `text/event-stream`. Only where a server is asked.",
        f"{_OR}: HTTP",
    ),
    # schema
    "required-key": Rule("schema", "Every required key is there.", _BOTH),
    "wrong-type": Rule("schema", "Every value has the JSON type that its key wants.", _BOTH),
    "not-nullable": Rule(
        "schema", "A key that may not be null is not null: one that is optional is left out instead.", _BOTH
    ),
    "unknown-value": Rule("schema", "Where a key takes certain words only, it has one of them.", _BOTH),
    "unknown-type": Rule(
        "schema",
        "Items, parts, tools, tool choices, annotations and formats have a `type` that the API knows, or one with a "
        "prefix: `acme:search_result`.",
        f"{_OR}: extending the API",
    ),
    "unknown-event": Rule(
        "schema",
        "An event has a `type` that the API knows, or one with a prefix. Reasoning is `response.reasoning_text.*` in "
        "the `openai` profile, `response.reasoning.*` in the other.",
        f"{_OR}: extending the API",
    ),
    # order
    "created-first": Rule(
        "order",
        "`response.created` is the first event, and comes once. A failure may come instead.",
        f"{_OR}: streaming",
    ),
    "in-progress-next": Rule(
        "order",
        "`response.in_progress` comes once, after `response.created` (and `response.queued`) and before all else but "
        "a failure.",
        f"{_OR}: state machine",
    ),
    "sequence-number": Rule("order", "Every `sequence_number` is one more than the one before.", f"{_OR}: streaming"),
    "terminal-event": Rule(
        "order",
        "The stream ends with `response.completed`, `response.incomplete` or `response.failed`.",
        f"{_OR}: streaming",
    ),
    "after-terminal": Rule("order", "Nothing comes after the terminal event.", f"{_OR}: streaming"),
    "error-then-failed": Rule(
        "order", "The event after `error` is `response.failed`.", f"{_OR}: errors while streaming"
    ),
    # items
    "item-added-first": Rule("items", "The first event of an item is `response.output_item.added`.", f"{_OR}: items"),
    "output-index": Rule("items", "Items are announced at 0, 1, 2 ...: `output_index` has no holes.", _BOTH),
    "item-id": Rule("items", "Every item has an id that is not empty, and no two have the same.", f"{_OR}: items"),
    "item-identity": Rule(
        "items",
        "An item keeps its id, `type`, `role`, `call_id`, `name` and `namespace` in all its events and in the final "
        "response.",
        f"{_OR}: items",
    ),
    "announced-state": Rule(
        "items",
        "Items and parts are announced empty; messages, reasoning and calls with the status `in_progress` where they "
        "have one.",
        f"{_OR}: items, zero values",
    ),
    "after-done": Rule("items", "Nothing comes for an item, part or text that is done.", f"{_OR}: items"),
    "item-closed": Rule(
        "items",
        "Every item has its `response.output_item.done` before the response ends. After a failure items may stay open.",
        f"{_OR}: state machine",
    ),
    # parts
    "part-added-first": Rule(
        "parts", "A part is announced before its deltas, annotations and ends.", f"{_OR}: content parts"
    ),
    "part-index": Rule("parts", "`content_index` and `summary_index` of an item are announced as 0, 1, 2 ...", _BOTH),
    "part-kind": Rule("parts", "The events of a part fit its `type`, which stays the same.", f"{_OR}: content parts"),
    "text-done": Rule("parts", "A text has its `.done` event before its part is done.", f"{_OR}: content parts"),
    "part-closed": Rule("parts", "Every part of an item is done before the item is.", f"{_OR}: state machine"),
    "annotation-index": Rule("parts", "The annotations of a part are announced as 0, 1, 2 ...", _BOTH),
    # sums
    "deltas-add-up": Rule(
        "sums", "The deltas of a text, of a call's arguments or input, make what its `.done` says.", f"{_OR}: streaming"
    ),
    "part-adds-up": Rule(
        "sums", "The part that is done has the text and the annotations that were streamed.", f"{_OR}: streaming"
    ),
    "item-adds-up": Rule(
        "sums", "The item that is done has the parts or the input that were streamed.", f"{_OR}: streaming"
    ),
    "final-snapshot": Rule(
        "sums",
        "The output of the terminal event is the items as they were done, in order. `encrypted_content` may be sealed "
        "anew. After a failure it may hold less.",
        f"{_OR}: streaming",
    ),
    "usage-adds-up": Rule(
        "sums",
        "`total_tokens` is input and output; cached tokens are part of the input, reasoning tokens of the output.",
        _BOTH,
    ),
    # calls
    "arguments-done": Rule(
        "calls", "A call of a function or custom tool has its `.done` event before the item is done.", _BOTH
    ),
    "call-id": Rule(
        "calls", "A call has a name and a `call_id` that are not empty; no two calls have the same `call_id`.", _BOTH
    ),
    "call-arguments": Rule(
        "calls", "The arguments of a function call are JSON, or the call is `incomplete`.", "What every client parses"
    ),
    # the response
    "response-id": Rule("the response", "The id of the response is not empty.", "Codex and every stored conversation"),
    "event-status": Rule("the response", "The `status` of a snapshot is what its event says.", f"{_OR}: state machine"),
    "final-status": Rule(
        "the response",
        "A response that is not streamed and not in the background has ended: completed, incomplete, failed or cancelled.",
        _OPENAI,
    ),
    "status-details": Rule(
        "the response",
        "`error` is set when the response failed, `incomplete_details` when it is incomplete, `completed_at` never "
        "unless it is completed.",
        _BOTH,
    ),
    "item-status": Rule("the response", "An item that is done is not `in_progress`.", f"{_OR}: items"),
    "incomplete-item": Rule(
        "the response",
        "An `incomplete` item is the last one, and the response is `incomplete` too, or failed. The `openai` profile "
        "lets a call pass whose arguments are no JSON.",
        f"{_OR}: items",
    ),
    "early-snapshot": Rule(
        "the response", "The snapshots before the first item have no output and no usage yet.", f"{_OR}: streaming"
    ),
    "full-snapshot": Rule(
        "the response",
        "The first snapshots have every key of the last one, `usage` and late facts aside.",
        f"{_OR}: streaming",
    ),
    "stable-snapshot": Rule(
        "the response",
        "What a response is and what was asked of it is the same in every snapshot: `id`, `created_at`, `model`, "
        "`tools` ...",
        f"{_OR}: streaming",
    ),
}
