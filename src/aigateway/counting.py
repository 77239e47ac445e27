"""Counting the tokens of a request: asked of a provider that can count, else estimated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aigateway import _json
from aigateway.answer import JSON_TYPE, Answer
from aigateway.call import Target
from aigateway.default_provider import offers
from aigateway.errors import UpstreamError
from aigateway.formats.generate_content.count import count_reply
from aigateway.formats.messages.count import estimated_tokens
from aigateway.models import Model
from aigateway.passthrough import PassThrough

_UNKNOWN_THERE = frozenset({404, 405, 501})
"""What a host answers that speaks the API, and cannot count."""


def _messages(body: dict[str, Any]) -> dict[str, Any]:
    return {"input_tokens": estimated_tokens(body)}


_ESTIMATES: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "messages": _messages,
    "generate_content": count_reply,
}
"""By API: the answer to a request where nobody can be asked."""


class Counting(PassThrough):
    """Runs one call that counts tokens: see `PassThrough`. Of several targets the one that would be asked first counts."""

    async def _ask(self, targets: list[Target], entry: Model | None) -> Answer:
        able = [target for target in targets[:1] if offers(target.provider, self.call.operation)]
        if not able:
            return self._estimate()
        try:
            return await self._try_targets(able, entry)
        except UpstreamError as error:
            if error.status not in _UNKNOWN_THERE or error.type == "not_found_error":  # Anthropic's of a model
                raise
            await self._release()
            return self._estimate()

    def _estimate(self) -> Answer:
        body = _ESTIMATES[self.call.api](self.call.request.snapshot())
        return Answer(200, [JSON_TYPE, ("x-aigateway-estimate", "true")], _json.encode(body))
