"""docs/translation.md, made of the table: `python -m aigateway.fidelity.docs > docs/translation.md`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

import msgspec

from aigateway.fidelity.pairs import PAIRS
from aigateway.fidelity.row import Direction, Row
from aigateway.fidelity.table import DIRECTIONS, TABLE

_HEAD = """\
# Translation, field by field

Where a caller speaks one API and the provider another, the gateway translates, always through one canonical form. This
is what it carries between Chat Completions and Responses (OpenAI's, and Open Responses), Anthropic's Messages, Gemini's
generateContent and Bedrock's Converse: every field that is published of each, with chat on the other side. [Other
pairs](#other-pairs) says where two of them without chat differ from that. Where both sides speak the same API nothing is
translated, and every field passes, known or not.

## How to read it

| verdict | what becomes of the field |
| --- | --- |
| carried | its value stands in the named place, as it was |
| changed | it is told there in another way |
| dropped | it goes nowhere, and what it says is lost or needless there |
| refused | the call is answered with 400 and sent nowhere: the error names the place |

`a.b` is a key of an object. `a[kind].b` is a key of those entries of a list that are of this type (messages: of this
role), `a[].b` of entries without a type, `a(kind).b` of an object that may be of several types. `[event].b` is a key of
an event of a stream. `*` stands for every kind that has no row of its own. A row marked *whole* stands for everything
below its field too. Keys that only say what an object is (`type`, `object`, the role of a message) have no rows.

Codes such as `dropped:seed` are listed in `call.changes`, in the header `x-aigateway-changes` (of a stream those that
are known when it begins) and in the log. Where a row has no code, nothing of the caller's is lost. What is dropped of a
request is warned about, and can be refused: `on_unsupported` (`warn`, `drop`, `reject`) per gateway, model and call.
What means the same as its absence (a default said aloud, an empty list, null) is no loss, and is not listed.
Unknown fields are dropped and listed under their own names; unknown types of tools are set aside, of items and content
parts refused. What a model's own hosted tools did in earlier turns is set aside too.

The rows are true of OpenAI's own chat. A row *on a host nobody knows* is about one of which the catalog says nothing; *on
a strict host* about one that refuses fields it does not know, has no refusals and takes no reasoning back. Of Messages
and Converse they are true of Claude Sonnet 4.6, of generateContent of Gemini 3: what a model before or after it takes
otherwise stands beside the row.

## Laws

- Of its own documents a format loses nothing: what is read is written the same again.
- No field of a request is lost in silence, whatever two APIs speak: it makes a difference there, or it is listed.
- Nor is one of an answer, whole or streamed: the caller sees it, or it is listed, or a row says why it goes nowhere.
- Responses to chat and back keeps every item and part, but for the rows that say otherwise.
- A stream tells what the whole answer would have told, however its bytes are cut.
- Tool calls keep identity and order; arguments are valid JSON in the end, or the call is marked incomplete.
- Cached and reasoning tokens are parts of their totals, on either side.
- What one maker has signed or encrypted goes back to that maker only, byte for byte; to others it is not sent, and listed.
- A stream that was cut, stalled or failed never ends in success.

What a response tells and chat cannot know is told from the request (`instructions`, `tools`, `text`, ...), or by its
default: `store: true`, `background: false`, `truncation: disabled`, `service_tier: default`.

<!-- What follows is written by `python -m aigateway.fidelity.docs`, from the tables in src/aigateway/fidelity/. -->
"""

_PAIRS_HEAD = """\
## Other pairs

Two APIs without chat meet in the same canonical form, so a field becomes there what its row to chat and the other API's
row from chat say, but for these: what both know and chat does not is carried, what chat alone takes is not.
"""

_NAMES: Final = {
    "chat": "Chat",
    "responses": "Responses",
    "messages": "Messages",
    "generate_content": "generateContent",
    "converse": "Converse",
}
_THINGS: Final = {"request": "requests", "reply": "answers", "stream": "streams"}
_HOSTS: Final = {"openai": "", "unknown": "on a host nobody knows", "strict": "on a strict host"}
_LAST_KIND: Final = re.compile(r"(.*[\[(])([^\[\]()*]+)([\])])")
_INDEX: Final = re.compile(r"\[\d+\]")
_GROUP: Final = re.compile(r"[^.(]*")


def document() -> str:
    """The whole text."""
    contents = [f"- [{_title(direction)}](#{_anchor(_title(direction))})" for direction in DIRECTIONS]
    parts = (part for direction in DIRECTIONS for part in _section(direction))
    others = (part for direction, rows in PAIRS.items() for part in (f"### {_title(direction)}\n", _table(rows)))
    contents.append("- [Other pairs](#other-pairs)")
    return "\n".join([_HEAD, "## Directions\n", *contents, "", *parts, _PAIRS_HEAD, *others])


def _title(direction: Direction) -> str:
    """What the direction is called: `Chat requests, for an upstream with Messages`."""
    side = "an upstream with" if direction.kind == "request" else "a caller of"
    return f"{_NAMES[direction.api]} {_THINGS[direction.kind]}, for {side} {_NAMES[direction.other]}"


def _anchor(title: str) -> str:
    return title.lower().replace(",", "").replace(" ", "-")


def _section(name: Direction) -> Iterator[str]:
    yield f"## {_title(name)}\n"
    single: list[Row] = []
    groups: list[tuple[str, list[Row]]] = []
    for start, rows in groupby(TABLE[name], _group_of):
        found = list(rows)
        if len(found) < 4:
            single += found
        else:
            groups.append((start, found))
    yield _table(single)
    for start, found in groups:
        yield f"### `{start}`\n"
        yield _table(found)


def _group_of(row: Row) -> str:
    match = _GROUP.match(row.path)
    start = "" if row.path.startswith("[") or match is None else match[0]
    return start or row.path.partition("]")[0] + "]"


def _table(rows: Sequence[Row]) -> str:
    lines = ["| field | verdict | there | how, why, code |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *map(_line, _merged(rows))]) + "\n"


def _merged(rows: Sequence[Row]) -> list[Row]:
    """The rows, those of several kinds that differ in nothing else as one."""
    found: dict[Row, list[str]] = {}
    for row in rows:
        match = _LAST_KIND.fullmatch(row.path)
        key = row if match is None or row.to else msgspec.structs.replace(row, path=f"{match[1]}\0{match[3]}")
        found.setdefault(_bare(key), []).append(match[2] if match else "")
    return [msgspec.structs.replace(row, path=row.path.replace("\0", ", ".join(kinds))) for row, kinds in found.items()]


def _bare(row: Row) -> Row:
    """The row without its values, which no document shows."""
    return msgspec.structs.replace(row, example=msgspec.UNSET, result=msgspec.UNSET)


def _line(row: Row) -> str:
    to = "" if row.to in ("", row.path) else f"`{row.to}`"
    same = "the same" if row.to == row.path else ""
    return f"| `{row.path}`{' *whole*' if row.whole else ''} | {row.verdict} | {to or same} | {_remarks(row)} |"


def _remarks(row: Row) -> str:
    said = [
        f"*{_HOSTS[row.host]}:*" if _HOSTS[row.host] else "",
        f"*{row.extension}:*" if row.extension else "",
        row.why,
        f"`{row.code}`" if row.code else "",
        f"at `{_INDEX.sub('[n]', row.param)}`" if row.param else "",
    ]
    return " ".join(part for part in said if part)


if __name__ == "__main__":
    sys.stdout.write(document())
