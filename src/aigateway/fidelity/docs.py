"""docs/translation.md and a page for each pair of APIs beside it, made of the table: `python -m aigateway.fidelity.docs docs`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, groupby
from pathlib import Path
from typing import Final

import msgspec

from aigateway.fidelity.pairs import PAIRS
from aigateway.fidelity.row import Direction, Row
from aigateway.fidelity.table import DIRECTIONS, TABLE

_HEAD = """\
# Translation, field by field

Where a caller speaks one API and the provider another, the gateway translates, always through one canonical form. This
is what it carries between Chat Completions and Responses (OpenAI's, and Open Responses), Anthropic's Messages, Gemini's
generateContent, Bedrock's Converse and Cohere's chat: [a page for each pair](#pages). Those with chat on one side have every field that
is published; those of two without chat say where these differ from that. Where both sides speak the same API nothing is
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

<!-- This and the pages are written by `python -m aigateway.fidelity.docs docs`, from the tables in src/aigateway/fidelity/. -->

## Pages

"""

_PAGE_HEAD = """\
# {one} and {other}

<!-- Written by `python -m aigateway.fidelity.docs docs`, from the tables in src/aigateway/fidelity/. -->

[How to read this](../translation.md#how-to-read-it)
"""

_BESIDE_CHAT = """\
Two APIs without chat meet in the same canonical form, so a field becomes there what its row to chat
([{one}](chat-{one_file}.md)) and the other API's row from chat ([{other}](chat-{other_file}.md)) say, but for these: what both know and chat does not is
carried, what chat alone takes is not.
"""

_NAMES: Final = {
    "chat": "Chat",
    "responses": "Responses",
    "messages": "Messages",
    "generate_content": "generateContent",
    "converse": "Converse",
    "cohere_chat": "Cohere",
}
_THINGS: Final = {"request": "requests", "reply": "answers", "stream": "streams"}
_HOSTS: Final = {"openai": "", "unknown": "on a host nobody knows", "strict": "on a strict host"}
_LAST_KIND: Final = re.compile(r"(.*[\[(])([^\[\]()*]+)([\])])")
_INDEX: Final = re.compile(r"\[\d+\]")
_GROUP: Final = re.compile(r"[^.(]*")


def pages() -> Mapping[str, str]:
    """The texts, by their places below `docs`."""
    found = {f"translation/{_file(pair)}": _page(pair) for pair in _pairs()}
    return {"translation.md": _index()} | found


def write(docs: Path) -> None:
    """Write all of them below this directory, and take away those of pairs that are none anymore."""
    (docs / "translation").mkdir(parents=True, exist_ok=True)
    written = pages()
    for old in (docs / "translation").glob("*.md"):
        if f"translation/{old.name}" not in written:
            old.unlink()
    for name, text in written.items():
        (docs / name).write_text(text, encoding="utf-8")


def _index() -> str:
    lines = [f"- [{_names(pair)}](translation/{_file(pair)})" for pair in _pairs()]
    return _HEAD + "\n".join(lines) + "\n"


def _page(pair: tuple[str, str]) -> str:
    one, other = pair
    parts = [_PAGE_HEAD.format(one=_NAMES[one], other=_NAMES[other])]
    if "chat" not in pair:
        names = {"one": _NAMES[one], "other": _NAMES[other]}
        parts.append(_BESIDE_CHAT.format(**names, one_file=_word(one), other_file=_word(other)))
    found = _directions(pair)
    parts.append("\n".join(f"- [{title(direction)}](#{_anchor(title(direction))})" for direction in found) + "\n")
    for direction in found:
        parts += _section(direction, TABLE[direction] if direction in TABLE else PAIRS[direction])
    return "\n".join(parts)


def _pairs() -> list[tuple[str, str]]:
    """Those that have rows."""
    return [pair for pair in combinations(_NAMES, 2) if _directions(pair)]


def _directions(pair: tuple[str, str]) -> list[Direction]:
    """Those of a pair that have rows."""
    return [direction for direction in (*DIRECTIONS, *PAIRS) if {direction.api, direction.other} == {*pair}]


def _names(pair: tuple[str, str]) -> str:
    return " and ".join(_NAMES[api] for api in pair)


def _file(pair: tuple[str, str]) -> str:
    return f"{'-'.join(map(_word, pair))}.md"


def _word(api: str) -> str:
    return _NAMES[api].lower()


def title(direction: Direction) -> str:
    """What the direction is called: `Chat requests, for an upstream with Messages`."""
    side = "an upstream with" if direction.kind == "request" else "a caller of"
    return f"{_NAMES[direction.api]} {_THINGS[direction.kind]}, for {side} {_NAMES[direction.other]}"


def _anchor(title: str) -> str:
    return title.lower().replace(",", "").replace(" ", "-")


def _section(direction: Direction, rows: Sequence[Row]) -> Iterator[str]:
    yield f"## {title(direction)}\n"
    single: list[Row] = []
    groups: list[tuple[str, list[Row]]] = []
    for start, group in groupby(rows, _group_of):
        found = list(group)
        if len(found) < 4:
            single += found
        else:
            groups.append((start, found))
    if single:
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
    if len(sys.argv) != 2:
        sys.exit("usage: python -m aigateway.fidelity.docs DIRECTORY (that of the documents: docs)")
    write(Path(sys.argv[1]))
