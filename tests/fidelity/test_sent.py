"""What is sent upstream fits OpenAI's own description of its requests, which refuses what it does not know."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

import jsonschema_rs
import pytest

from aigateway.fidelity.row import Host
from tests.fidelity.crossing import QUIRKS, beside, cross
from tests.fidelity.documents import SAMPLES
from tests.fidelity.fields import OPENAI_SCHEMAS
from tests.schemas import REFERENCE, derived

pytestmark = pytest.mark.skipif(not REFERENCE.exists(), reason="the description of requests lies beside the project")


@cache
def _validator(document: str) -> jsonschema_rs.Validator:
    """For a request. Some of its alternatives do not exclude each other, though it says `oneOf`."""
    [root] = OPENAI_SCHEMAS[document]
    whole = json.loads((REFERENCE / "openai" / "openapi.json").read_text("utf-8"))
    defs = json.loads(json.dumps(derived(whole, [root])).replace('"oneOf"', '"anyOf"'))
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": f"#/$defs/{root}", "$defs": defs}
    return jsonschema_rs.validator_for(schema)


def _as_described(body: Any) -> Any:
    """With the keys of what the assistant said that the description demands, and the API does not."""
    body = copy.deepcopy(body)
    for item in body.get("input", ()):
        if item.get("role") == "assistant":
            item |= {"id": "msg_1", "status": "completed"}
            for part in item["content"]:
                if part["type"] == "output_text":
                    part.setdefault("logprobs", [])
    return body


@pytest.mark.parametrize("host", QUIRKS)
@pytest.mark.parametrize(("caller", "upstream"), [("chat", "responses"), ("responses", "chat")])
def test_every_sample_is_told_in_lawful_words(caller: str, upstream: str, host: Host) -> None:
    asked: str = "chat.request" if caller == "chat" else "responses.request"
    sent: str = "chat.request" if upstream == "chat" else "responses.request"
    faults = []
    told = [cross(beside(asked), sample, host).document for sample in SAMPLES[asked]]
    for body in told:
        if body is not None:
            faults += [(error.message[:200], body) for error in _validator(sent).iter_errors(_as_described(body))]
    assert faults == []
    assert sum(body is not None for body in told) > 20
