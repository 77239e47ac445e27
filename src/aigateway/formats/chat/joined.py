"""The completion that the chunks of a stream add up to, all of its choices and whatever stands in them.

Fields of the API and those invented since are joined by their shapes alone, so that a stored stream is what the same call
would have been answered with at once.
"""

from __future__ import annotations

from typing import Any, Final

_ONCE: Final = frozenset({"role", "id", "type", "name", "format", "finish_reason"})
"""Texts that are said at once: where they come again, they are the same."""


class JoinedChunks:
    """feed() the chunks as objects; `completion()` is what they add up to.

    id  that the stream goes by; "" until it is known.
    """

    def __init__(self) -> None:
        self.id = ""
        self._facts: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._failed = False

    def feed(self, chunk: Any) -> None:
        """One chunk; what is none ends the stream as failed."""
        if not isinstance(chunk, dict) or chunk.get("error"):
            self._failed = True
            return
        if not self.id and isinstance(chunk.get("id"), str):
            self.id = chunk["id"]
        self._facts |= {name: value for name, value in chunk.items() if name != "choices" and value is not None}
        for choice in _objects(chunk.get("choices")):
            index = choice.get("index", 0)
            known = self._choices.setdefault(index if isinstance(index, int) else 0, {"message": {}})
            delta = choice.get("delta")
            _join(known["message"], delta if isinstance(delta, dict) else {})
            _join(known, {name: value for name, value in choice.items() if name not in ("delta", "index")})

    @property
    def is_whole(self) -> bool:
        """Whether every choice has come to its end."""
        return (
            not self._failed
            and bool(self._choices)
            and all(map(_has_finished, self._choices.values()))
            and self.id != ""
        )

    def completion(self) -> dict[str, Any]:
        """As a caller without a stream would have got it."""
        choices = [
            {
                "index": index,
                **known,
                "message": {"role": "assistant", "content": None, "refusal": None, **known["message"]},
            }
            for index, known in sorted(self._choices.items())
        ]
        for choice in choices:
            choice.setdefault("logprobs", None)
        return self._facts | {"id": self.id, "object": "chat.completion", "choices": choices}


def _has_finished(choice: dict[str, Any]) -> bool:
    return choice.get("finish_reason") is not None


def _objects(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _join(known: dict[str, Any], more: dict[str, Any]) -> None:
    for name, value in more.items():
        before = known.get(name)
        if value is None:
            known.setdefault(name, None)
        elif isinstance(value, str) and isinstance(before, str):
            known[name] = before + value if name not in _ONCE else value or before
        elif isinstance(value, dict):
            known[name] = before if isinstance(before, dict) else {}
            _join(known[name], value)
        elif isinstance(value, list):
            known[name] = before if isinstance(before, list) else []
            _extend(known[name], value)
        else:
            known[name] = value


def _extend(known: list[Any], more: list[Any]) -> None:
    """Entries that say where they stand (tool calls) go on there; others come behind the rest."""
    for entry in more:
        place = entry.get("index") if isinstance(entry, dict) else None
        if not isinstance(place, int):
            known.append(entry)
            continue
        while len(known) <= place < 1024:
            known.append({})
        if 0 <= place < len(known) and isinstance(known[place], dict):
            _join(known[place], {name: value for name, value in entry.items() if name != "index"})
