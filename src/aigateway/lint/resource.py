"""The rules that one response can break by itself, streamed or not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aigateway import _json
from aigateway.lint.rules import Finding, Profile
from aigateway.lint.shapes import join, type_of

Object = dict[str, Any]

OWN_ITEMS = frozenset({"message", "reasoning", "function_call", "custom_tool_call"})
"""The items that the model itself writes. A hosted tool may fail or be cut, and the response goes on."""
CALLS = frozenset({"function_call", "custom_tool_call"})
FINAL = ("completed", "incomplete", "failed", "cancelled")


def faults_of(response: Object, place: str, profile: Profile) -> Iterator[Finding]:
    """What is wrong with a response that has ended, apart from its schema."""
    yield from _details(response, place)
    yield from usage_faults(response.get("usage"), join(place, "usage"))
    items = [
        (f"{join(place, 'output')}[{number}]", item)
        for number, item in enumerate(listed(response.get("output")))
        if isinstance(item, dict)
    ]
    yield from _ids(items)
    yield from _calls(items)
    yield from _statuses(items, response.get("status"), profile)


def id_faults(response: Object, place: str) -> Iterator[Finding]:
    """A response without a name."""
    if response.get("id") == "":
        yield Finding("response-id", join(place, "id"), "the id of the response is empty")


def ended(response: Object, place: str) -> Iterator[Finding]:
    """A response that is handed over whole has ended, unless it runs in the background."""
    status = response.get("status")
    if status in ("in_progress", "queued") and response.get("background") is not True:
        yield Finding("final-status", join(place, "status"), f"the response is handed over while it is `{status}`")


def usage_faults(usage: Any, place: str) -> Iterator[Finding]:
    """Tokens that do not add up."""
    if not isinstance(usage, dict):
        return
    spent, made, total = (number(usage.get(key)) for key in ("input_tokens", "output_tokens", "total_tokens"))
    if spent is not None and made is not None and total is not None and spent + made != total:
        message = f"{spent} tokens in and {made} out are not {total}"
        yield Finding("usage-adds-up", join(place, "total_tokens"), message)
    for details, key, whole in (
        ("input_tokens_details", "cached_tokens", spent),
        ("output_tokens_details", "reasoning_tokens", made),
    ):
        held = usage.get(details)
        share = number(held.get(key)) if isinstance(held, dict) else None
        if share is not None and whole is not None and share > whole:
            message = f"{share} tokens are part of {whole}"
            yield Finding("usage-adds-up", join(join(place, details), key), message)


def is_json(text: Any) -> bool:
    """Whether the arguments of a call can be parsed."""
    try:
        _json.decode(text.encode())
    except (AttributeError, UnicodeEncodeError, UnicodeDecodeError, RecursionError, _json.DecodeError):
        return False
    return True


def listed(value: Any) -> list[Any]:
    """The entries of an array; of anything else, none."""
    return value if isinstance(value, list) else []


def number(value: Any) -> int | None:
    """An integer, or None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _details(response: Object, place: str) -> Iterator[Finding]:
    status = response.get("status")
    if not isinstance(status, str):
        return
    for key, owner in (("error", "failed"), ("incomplete_details", "incomplete")):
        if key not in response:
            continue
        if status == owner and response[key] is None:
            yield Finding("status-details", join(place, key), f"`{key}` is null, and the response is {status}")
        elif status != owner and response[key] is not None:
            yield Finding("status-details", join(place, key), f"`{key}` is set, and the response is {status}")
    if status != "completed" and response.get("completed_at") is not None:
        yield Finding("status-details", join(place, "completed_at"), f"there is a time, and the response is {status}")


def _ids(items: list[tuple[str, Object]]) -> Iterator[Finding]:
    seen: set[str] = set()
    for place, item in items:
        id_ = item.get("id")
        if not isinstance(id_, str):
            continue
        if not id_:
            yield Finding("item-id", join(place, "id"), "the id is empty")
        elif id_ in seen:
            yield Finding("item-id", join(place, "id"), f"another item has the id `{id_}`")
        seen.add(id_)


def _calls(items: list[tuple[str, Object]]) -> Iterator[Finding]:
    seen: set[str] = set()
    for place, item in items:
        if type_of(item) not in CALLS:
            continue
        for key in ("call_id", "name"):
            if item.get(key) == "":
                yield Finding("call-id", join(place, key), f"the `{key}` is empty")
        call_id = item.get("call_id")
        if isinstance(call_id, str) and call_id:
            if call_id in seen:
                yield Finding("call-id", join(place, "call_id"), f"another call has the call_id `{call_id}`")
            seen.add(call_id)
        arguments = item.get("arguments")
        if item.get("status") != "incomplete" and isinstance(arguments, str) and not is_json(arguments):
            yield Finding("call-arguments", join(place, "arguments"), "the arguments are no JSON")


def _statuses(items: list[tuple[str, Object]], status: Any, profile: Profile) -> Iterator[Finding]:
    for place, item in items:
        state = item.get("status")
        if state == "in_progress" and status in FINAL:
            yield Finding("item-status", join(place, "status"), f"the item is in_progress, and the response {status}")
        if state != "incomplete" or status == "failed" or type_of(item) not in OWN_ITEMS:
            continue
        if profile == "openai" and type_of(item) == "function_call" and not is_json(item.get("arguments")):
            continue
        if place != items[-1][0]:
            yield Finding("incomplete-item", join(place, "status"), "the item is incomplete, and not the last one")
        elif status in FINAL and status != "incomplete":
            yield Finding(
                "incomplete-item", join(place, "status"), f"the item is incomplete, and the response {status}"
            )
