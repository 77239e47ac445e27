"""Google's embedContent and batchEmbedContents: passed on where they are spoken, else asked of who embeds in OpenAI's form."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from aigateway import _json
from aigateway.answer import JSON_TYPE, Answer
from aigateway.call import Attempt, Plan, Target
from aigateway.canonical.types import Usage
from aigateway.default_provider import offering, offers
from aigateway.errors import UpstreamProtocolError
from aigateway.formats.embeddings.gemini import decode_contents, encode_vectors
from aigateway.formats.generate_content.usage import encode_usage
from aigateway.formats.usage import chat_usage
from aigateway.models import Model
from aigateway.passthrough import PassThrough
from aigateway.providers.protocol import ProviderReply, ProviderRequest
from aigateway.upstream import forwarded_headers, shown_headers

_OTHER = "embeddings"


class ContentEmbedding(PassThrough):
    """Runs one call that embeds for a caller of Google's API: see `PassThrough`."""

    async def _ask(self, targets: list[Target], entry: Model | None) -> Answer:
        operation = self.call.operation
        able = [target for target in targets if offers(target.provider, operation) or _OTHER in target.provider.apis]
        return await self._try_targets(able or offering(operation, targets), entry)

    def _may_repeat(self, attempt: Attempt) -> bool:
        return True

    def _prepared(self, target: Target, why: str) -> tuple[Attempt, None, bool]:
        call = self.call
        if offers(target.provider, call.operation):
            prepared = super()._prepared(target, why)
            attempt = prepared[0]
            if attempt.plan.model != call.model:
                attempt.body = _renamed(attempt.body, attempt.plan.model)
            return prepared
        plan = Plan(target, target.model or call.model, call.api, _OTHER)
        call.changes.clear()
        body = _json.encode(decode_contents(call.request.snapshot(), plan.model, call.changes))
        self._weigh_changes(target)
        attempt = Attempt(len(call.attempts) + 1, plan, body, started_at=time.monotonic(), why=why)
        call.attempts.append(attempt)
        return attempt, None, False

    def _request(self, attempt: Attempt, key: str | None) -> ProviderRequest:
        if not attempt.plan.translates:
            return super()._request(attempt, key)
        headers = forwarded_headers(self.call, _OTHER)
        return ProviderRequest(
            api=_OTHER,
            path="/embeddings",
            model=attempt.plan.model,
            body=attempt.body,
            content_type=JSON_TYPE[1],
            headers=headers | {name.lower(): value for name, value in attempt.headers.items()},
            api_key=key,
            request_id=self.call.id,
        )

    async def _passed(self, attempt: Attempt, reply: ProviderReply) -> Answer:
        if not attempt.plan.translates:
            return await super()._passed(attempt, reply)
        try:
            value = _json.decode(await reply.read())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UpstreamProtocolError("The upstream answered with something that is not its API's JSON.") from error
        body = encode_vectors(value, batch=self.call.operation.name.startswith("generate_content.embed_batch"))
        self.call.usage = usage = chat_usage(value.get("usage"))
        if isinstance(usage, Usage):
            body["usageMetadata"] = encode_usage(usage)
        return await self._answer_document(_json.encode(body), [JSON_TYPE, *shown_headers(reply)])


def _renamed(body: bytes, model: str) -> bytes:
    """The models that a body names beside the path, which must be the same there."""
    value: Any = _json.decode(body)
    if not isinstance(value, dict):
        return body
    requests = value.get("requests")
    named = [value, *(requests if isinstance(requests, list) else ())]
    found = [entry for entry in named if isinstance(entry, dict) and "model" in entry]
    for entry in found:
        entry["model"] = f"models/{model}"
    return _json.encode(value) if found else body
