"""One row of the table: what becomes of one field when a call is translated.

A path names a field in its own format. `a.b` is a key of an object; `a[kind].b` a key of the entries of a list that are
of that type (of messages: of that role), `a[].b` of entries without a type; `a(kind).b` a key of an object that may be
of several types. A stream is a list of events: `[response.output_text.delta].delta`. `*` stands for every kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec import UNSET

Verdict = Literal["carried", "changed", "dropped", "refused"]
Host = Literal["openai", "unknown", "strict"]


_KIND: Final = re.compile(r"\\\[([^\]]+)\\\]")
"""A kind of entries in an escaped path."""


class Direction(NamedTuple):
    """A document of one API on its way to another: a request to an upstream, a reply or stream to a caller.

    api    whose document it is.
    kind   request, reply or stream.
    other  the API at the other side.
    """

    api: str
    kind: str
    other: str

    @property
    def document(self) -> str:
        """What is sent: `chat.request`."""
        return f"{self.api}.{self.kind}"

    def __str__(self) -> str:
        return f"{self.document}>{self.other}"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a field, or of all that is below it.

    path       where it stands.
    verdict    carried: the value stands at `to`, as it was. changed: it is told there in another way. dropped: it goes
               nowhere. refused: the call is answered with 400 and goes nowhere.
    to         its place in the other format; "" where there is none.
    why        how it is changed, why it is dropped or refused; with a carried field a remark.
    code       dropped and changed: the code in `call.changes`, "" where nothing of the caller's is lost and none is
               listed. refused: the code of the error.
    param      refused: the place that the error names.
    example    a value for the field, where the documents that the table is tested with have none.
    result     changed: what the example becomes.
    whole      the row stands for everything below its path too.
    host       the chat host that the row is about: OpenAI, one that nobody knows, one that refuses unknown fields.
    extension  whose field it is, where it is in no published description.
    """

    path: str
    verdict: Verdict
    to: str = ""
    why: str = ""
    code: str = ""
    param: str = ""
    example: Any = UNSET
    result: Any = UNSET
    whole: bool = False
    host: Host = "openai"
    extension: str = ""

    def covers(self, path: str) -> bool:
        """Whether the row is the one for a field, or stands for all around it."""
        return _pattern(self.path, below=self.whole).fullmatch(path) is not None


def carried(path: str, to: str = "", why: str = "", **facts: Any) -> Row:
    """A field that stays as it is, under the same path where no other is named."""
    return Row(path=path, verdict="carried", to=to or path, why=why, **facts)


def changed(path: str, to: str, why: str, **facts: Any) -> Row:
    """A field that is told in another way."""
    return Row(path=path, verdict="changed", to=to, why=why, **facts)


def dropped(path: str, why: str, code: str = "", **facts: Any) -> Row:
    """A field that goes nowhere."""
    return Row(path=path, verdict="dropped", why=why, code=code, **facts)


def refused(path: str, why: str, param: str, code: str = "unsupported_content", **facts: Any) -> Row:
    """A field for which a call is refused."""
    return Row(path=path, verdict="refused", why=why, param=param, code=code, **facts)


def all_carried(places: Mapping[str, str]) -> tuple[Row, ...]:
    """Fields that stay as they are: where each stands there."""
    return tuple(carried(path, to) for path, to in places.items())


def all_dropped(why: str, code: str = "", *, paths: Sequence[str], whole: bool = False) -> tuple[Row, ...]:
    """Fields that go nowhere for one reason. In the code `{path}` stands for the field, `{key}` for its last key."""
    return tuple(dropped(path, why, code.format(path=path, key=path.rpartition(".")[2]), whole=whole) for path in paths)


def all_refused(
    why: str, param: str, code: str = "unsupported_content", *, paths: Sequence[str], whole: bool = False
) -> tuple[Row, ...]:
    """Fields for which a call is refused for one reason."""
    return tuple(refused(path, why, param, code, whole=whole) for path in paths)


def row_for(rows: Sequence[Row], path: str) -> Row | None:
    """The row of a field: its own before one with `*`, and that before one that stands for all around it."""
    return min((row for row in rows if row.host == "openai" and row.covers(path)), key=_breadth, default=None)


def below(rows: Sequence[Row], path: str) -> Iterator[Row]:
    """The rows of the parts of a field: an object of which every field has a row needs none itself."""
    of_any_kind = _KIND.sub(lambda kind: rf"\[(?:{kind[1]}|\*)\]", re.escape(path))
    pattern = re.compile(of_any_kind + r"[.\[(].+")
    return (row for row in rows if pattern.fullmatch(row.path))


def _breadth(row: Row) -> tuple[int, int]:
    return -len(row.path), row.path.count("*")


@lru_cache(maxsize=4096)
def _pattern(path: str, *, below: bool) -> re.Pattern[str]:
    text = re.escape(path).replace(r"\*", r"[^\])]*")
    return re.compile(text + r"(?:[.\[(].*)?" if below else text)
