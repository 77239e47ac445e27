"""`aigateway lint`: what it looks at, and the findings in words."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

from aigateway import _json
from aigateway.lint.rules import Finding, Profile
from aigateway.lint.sources import INPUT, Checked, LintError, Server, lint_bytes
from aigateway.transport.pool import PooledTransport

_NUMBER = re.compile(r"\d+")


def check(source: str, *, profile: Profile, model: str | None, input: str | None, api_key: str | None) -> list[Checked]:
    """Lint a file, or the server at a URL. What could not be done is told in the result."""
    try:
        if source.startswith(("http://", "https://")):
            return asyncio.run(_ask(source, profile=profile, model=model, input=input or INPUT, api_key=api_key))
        return [Checked(source, lint_bytes(Path(source).read_bytes(), profile=profile))]
    except OSError as error:
        return [Checked(source, [], error.strerror or str(error))]
    except LintError as error:
        return [Checked(source, [], str(error))]


async def _ask(url: str, *, profile: Profile, model: str | None, input: str, api_key: str | None) -> list[Checked]:
    transport = PooledTransport()
    try:
        server = Server(url, transport, api_key=api_key)
        return await server.lint(model=model or await server.first_model(), input=input, profile=profile)
    finally:
        await transport.aclose()


def lines_of(checked: Sequence[Checked], *, as_json: bool) -> list[str]:
    """One line for everything that was looked at, and one for each kind of finding with the first place it is at.

    `as_json`: every finding, in one line of JSON.
    """
    if as_json:
        return [_json.encode(checked).decode()]
    lines: list[str] = []
    for one in checked:
        lines.append(f"{one.name}: {_count(one)}")
        lines += [f"  {line}" for line in _kinds(one.findings)]
    return lines


def _count(one: Checked) -> str:
    if one.error:
        return "could not be linted"
    count = len(one.findings)
    return "ok" if not count else f"{count} {'finding' if count == 1 else 'findings'}"


def _kinds(findings: Sequence[Finding]) -> list[str]:
    """Findings that differ in numbers only are told once."""
    kinds: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        key = finding.rule, _NUMBER.sub("#", finding.place), _NUMBER.sub("#", finding.message)
        kinds.setdefault(key, []).append(finding)
    return [
        f"{found[0].rule} at {found[0].place}: {found[0].message}"
        + (f" (and {len(found) - 1} more like it)" if len(found) > 1 else "")
        for found in kinds.values()
    ]
