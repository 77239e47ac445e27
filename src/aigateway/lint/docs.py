"""docs/lint.md, made of the table of rules: `python -m aigateway.lint.docs > docs/lint.md`."""

from __future__ import annotations

import sys
from itertools import groupby

from aigateway.lint.rules import RULES

_HEAD = """\
# The linter

`aigateway.lint` says what is unlawful in a Responses stream, or in a response that was not streamed: its schema, and
the life of a stream from `response.created` to its end. It works on what any server sends.

```sh
aigateway lint https://llm.example/v1 --model m     # asks: text and a tool call, whole and streamed
aigateway lint recorded.sse                         # a stream, as bytes or as JSON lines; or one response as JSON
aigateway lint recorded.sse --profile open_responses --json
```

It exits with 0 where all is lawful, 1 with findings, 2 where something could not be linted (the error says why). A key
for the server comes from `--api-key` or `AIGATEWAY_API_KEY`.

```python
from aigateway.lint import lint_response, lint_sse, lint_stream

assert lint_stream([])[0].rule == "terminal-event"
for finding in lint_sse(b'event: error\\ndata: {"type": "error"}\\n\\n'):
    print(finding.rule, finding.place, finding.message)
assert lint_response({"object": "response"}, profile="open_responses") != []
```

`lint_stream` takes the decoded events, `lint_sse` the bytes of the stream, `lint_response` the decoded body. A finding
has the name of its rule, which stays the same from version to version; the place, whose events count from 0; and a
message. Two profiles: `openai` (the default) and the strict `open_responses`, whose differences stand with the rules:
what a profile requires, and which words and types it knows, is in its own tables.

<!-- What follows is written by `python -m aigateway.lint.docs`, from the table in src/aigateway/lint/rules.py. -->
"""


def document() -> str:
    """The whole text."""
    parts = [_HEAD]
    for group, rules in groupby(RULES.items(), lambda entry: entry[1].group):
        rows = [
            f"| `{name}`{' (`' + rule.only + '` only)' if rule.only else ''} | {rule.demands} | {rule.source} |"
            for name, rule in rules
        ]
        parts.append(
            "\n".join(
                [f"## {group[0].upper()}{group[1:]}\n", "| rule | demands | source |", "| --- | --- | --- |", *rows]
            )
            + "\n"
        )
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(document())
