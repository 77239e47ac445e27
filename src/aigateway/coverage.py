"""docs/coverage.md, made of the table of operations: `python -m aigateway.coverage > docs/coverage.md`."""

from __future__ import annotations

import sys
from itertools import groupby

from aigateway.formats import CALLER_CODECS
from aigateway.providers.catalog import CATALOG
from aigateway.surface import ADMINISTRATION, APIS, OPERATIONS, Operation

_HEAD = """\
# What is served

OpenAI's whole API below `/v1`, as its description and the newest of its clients know it, and of Anthropic's what has
to do with messages; of Google's what generates and counts, below `/v1beta`, as the paths say. A path that is not here is a 404, a path with another method a 405 that names the right ones.
Errors are told in the form of the path's own API (below `/v1/messages` Anthropic's, below `/v1beta` Google's); on paths that are
shared, passed on or not there in that of the caller, whom `anthropic-version`, `x-goog-api-key` or `x-goog-api-client` tells. Lists of models have
Anthropic's pages (`limit`, `after_id`, `before_id`) and Google's (`pageSize`, `pageToken`).

| | |
| --- | --- |
| translated | understood. A provider that speaks the API gets the caller's own bytes, any other a translation |
| understood | relayed to a provider that speaks the API; a body's fields are checked, and hooks read and edit them |
| passed on | the request and the answer go on as they are, whatever their type; only the model's name is changed |
| counted | passed on to a provider that speaks the API; elsewhere the tokens are estimated from the length of the texts |
| served here | answered by the gateway |
| on request | passed on, but only to a provider whose `apis` name `administration` |

Authentication, hooks, routing, limits, request ids and errors are the same on every path. A model is looked up
wherever it stands: in the body, a form, the query or the path. A request that names none goes to the
[default provider](configuration.md#default_provider).

Files, batches, vector stores and everything else that a provider keeps belong to the account behind it: every caller
of the gateway who may use the API sees and deletes what the others have put there. Keep an API out with the provider's
`apis`, or [let a hook decide](library.md#what-is-passed-on).

<!-- What follows is written by `python -m aigateway.coverage`, from the tables in src/aigateway/surface. -->
"""


def document() -> str:
    """The whole text."""
    rows = sorted((row for row in OPERATIONS.values() if row.path), key=_place)
    return "\n".join([_HEAD, *(_section(api, list(group)) for api, group in groupby(rows, lambda row: row.api))])


def _place(row: Operation) -> tuple[bool, str, str, str]:
    return row.api == ADMINISTRATION, row.api, row.path, row.method


def _section(api: str, rows: list[Operation]) -> str:
    vendors = [name for name, row in CATALOG.items() if api in row.apis and row.apis != APIS]
    lines = [f"## {api}\n"]
    if api in APIS or vendors:
        openai = ["openai"] if api in APIS else []
        named = [*openai, *vendors] if len(vendors) < 10 or not openai else [*openai, f"{len(vendors)} others"]
        lines.append(f"In the catalog: {', '.join(named)}.\n")
    lines += ["| | path | operation | |", "| --- | --- | --- | --- |"]
    lines += [f"| {row.method} | `{_shown(row)}` | `{row.name}` | {_way(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _shown(row: Operation) -> str:
    """The path, with its version where that is another than `/v1`."""
    return row.path if row.version == "/v1" else row.version + row.path


def _way(row: Operation) -> str:
    if row.kind == "served":
        return "served here"
    if row.kind == "session":
        return "piped over WebSocket"
    if row.kind == "count":
        return "counted"
    if row.kind == "embed":
        return "translated"
    if row.kind == "generate":
        return "translated" if row.api in CALLER_CODECS else "understood"
    notes = ["on request" if row.api == ADMINISTRATION else "passed on"]
    if row.streams:
        notes.append("events")
    if row.answer == "binary":
        notes.append("bytes")
    if row.uploads:
        notes.append("upload")
    if row.model:
        notes.append("model")
    return ", ".join(notes)


if __name__ == "__main__":
    sys.stdout.write(document())
