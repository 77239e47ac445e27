"""Amazon Bedrock for tests, by hand: its event stream, its signature check, and what its answers say.

None of the gateway's own code, so that it can judge it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from aigateway.testing import ReceivedRequest, Script
from tests.said import Call, Said

Object = dict[str, Any]

KEY_ID = "AKIDEXAMPLE0123456"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "session/token+of==the-test"
REGION = "eu-central-1"
STREAM_TYPE = "application/vnd.amazon.eventstream"
OWN = Path(__file__).parent / "fixtures" / "bedrock"
SHARED = Path(__file__).parents[2] / "shared" / "recordings" / "bedrock.jsonl"

_FINISH = {"max_tokens": "length", "guardrail_intervened": "content_filter", "content_filtered": "content_filter"}


# the event stream


def message(headers: dict[str, str], payload: bytes) -> bytes:
    """One binary message."""
    block = b"".join(
        struct.pack(">B", len(name)) + name.encode() + b"\x07" + struct.pack(">H", len(value.encode())) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    head = prelude + struct.pack(">I", zlib.crc32(prelude)) + block + payload
    return head + struct.pack(">I", zlib.crc32(head))


def frame(kind: str, data: Object) -> bytes:
    """One event, or an exception where its name says so."""
    is_exception = kind.endswith("Exception")
    named = {":exception-type" if is_exception else ":event-type": kind}
    more = {":content-type": "application/json", ":message-type": "exception" if is_exception else "event"}
    return message(named | more, json.dumps(data, ensure_ascii=False).encode())


def frames(events: Iterable[tuple[str, Object]]) -> bytes:
    """A whole stream."""
    return b"".join(frame(kind, data) for kind, data in events)


def events_in(raw: bytes) -> Iterator[tuple[str, Object]]:
    """The events of a whole stream."""
    while raw:
        total, length = struct.unpack(">II", raw[:8])
        block, payload = raw[12 : 12 + length], raw[12 + length : total - 4]
        at = block.index(b":event-type") + len(b":event-type") + 1
        size = int.from_bytes(block[at : at + 2], "big")
        yield block[at + 2 : at + 2 + size].decode(), json.loads(payload)
        raw = raw[total:]


# what is said


def whole_of(events: Iterable[tuple[str, Object]]) -> Object:
    """The answer of Converse that the events of a stream add up to."""
    blocks: dict[int, Object] = {}
    reply: Object = {}
    for kind, data in events:
        index = data.get("contentBlockIndex", -1)
        if kind == "contentBlockStart":
            blocks[index] = {name: {**facts, "input": ""} for name, facts in data["start"].items()}
        elif kind == "contentBlockDelta":
            _grow(blocks.setdefault(index, {}), data["delta"])
        elif kind == "messageStop":
            reply["stopReason"] = data["stopReason"]
        elif kind == "metadata":
            reply["usage"] = data["usage"]
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
    return {**reply, "output": {"message": {"role": "assistant", "content": list(blocks.values())}}}


def _grow(block: Object, delta: Object) -> None:
    if "text" in delta:
        block["text"] = block.get("text", "") + delta["text"]
    if "toolUse" in delta:
        block["toolUse"]["input"] += delta["toolUse"]["input"]
    thought = delta.get("reasoningContent", {})
    if "redactedContent" in thought:
        block["reasoningContent"] = thought
    for key in ("text", "signature"):
        if key in thought:
            told = block.setdefault("reasoningContent", {}).setdefault("reasoningText", {})
            told[key] = told.get(key, "") + thought[key]


def of_converse(body: Object) -> Said:
    """An answer of Converse. What a tool of the host's own did is not for the caller."""
    blocks = body["output"]["message"]["content"]
    calls = tuple(
        Call(call["toolUseId"], call["name"], json.dumps(call["input"], separators=(",", ":"), ensure_ascii=False))
        for block in blocks
        if (call := block.get("toolUse")) and call.get("type") != "server_tool_use"
    )
    thoughts = [
        block["reasoningContent"].get("reasoningText", {}).get("text", "")
        for block in blocks
        if "reasoningContent" in block
    ]
    told = [block.get("reasoningContent", {}) for block in blocks]
    sealed = [thought.get("redactedContent") or thought.get("reasoningText", {}).get("signature") for thought in told]
    usage = body["usage"]
    read, written = usage.get("cacheReadInputTokens", 0), usage.get("cacheWriteInputTokens", 0)
    spent = usage["inputTokens"] + read + written
    return Said(
        text="".join(block.get("text", "") for block in blocks),
        calls=calls,
        reasoning="\n\n".join(thought for thought in thoughts if thought),
        refusal="",
        sealed=tuple(given for given in sealed if given),
        citations=(),
        tokens=(),
        finish=_FINISH.get(body["stopReason"]) or ("tool_calls" if calls else "stop"),
        usage=(spent, usage["outputTokens"], usage["totalTokens"], read, 0),
    )


def events_of(body: Object) -> Iterator[tuple[str, Object]]:
    """An answer of Converse as the events that its host could have streamed."""
    yield "messageStart", {"role": "assistant"}
    for index, block in enumerate(body["output"]["message"]["content"]):
        place = {"contentBlockIndex": index}
        if "toolUse" in block:
            facts = {key: value for key, value in block["toolUse"].items() if key != "input"}
            yield "contentBlockStart", {**place, "start": {"toolUse": facts}}
        for delta in _deltas(block):
            yield "contentBlockDelta", {**place, "delta": delta}
        yield "contentBlockStop", place
    yield "messageStop", {"stopReason": body["stopReason"]}
    yield "metadata", {"usage": body["usage"], "metrics": {"latencyMs": 1}}


def _deltas(block: Object) -> Iterator[Object]:
    thought = block.get("reasoningContent", {})
    if "toolUse" in block:
        text = json.dumps(block["toolUse"]["input"], separators=(",", ":"), ensure_ascii=False)
        yield from ({"toolUse": {"input": text[at : at + 9]}} for at in range(0, len(text), 9))
    elif "text" in block:
        yield from ({"text": block["text"][at : at + 9]} for at in range(0, len(block["text"]), 9))
    elif "redactedContent" in thought:
        yield {"reasoningContent": thought}
    elif thought:
        told = thought["reasoningText"]
        yield from ({"reasoningContent": {"text": told["text"][at : at + 9]}} for at in range(0, len(told["text"]), 9))
        if told.get("signature"):
            yield {"reasoningContent": {"signature": told["signature"]}}


# recordings


class Recorded(msgspec.Struct, frozen=True):
    """One exchange with Bedrock. body: its answer's bytes."""

    name: str
    model: str
    request: Object
    status: int
    content_type: str
    body: bytes

    @property
    def streamed(self) -> bool:
        """Whether the answer is a stream."""
        return self.content_type == STREAM_TYPE

    @property
    def said(self) -> Said:
        """What it says."""
        return of_converse(whole_of(events_in(self.body)) if self.streamed else json.loads(self.body))


@cache
def recordings() -> tuple[Recorded, ...]:
    """The project's own, then the shared ones: exchanges with Converse and ConverseStream."""
    lines = SHARED.read_text("utf-8").splitlines() if SHARED.exists() else []
    raw = [(path.stem, path.read_text("utf-8")) for path in sorted(OWN.glob("*.json"))]
    raw += [(f"bedrock-{number}", line) for number, line in enumerate(lines)]
    return tuple(found for name, text in raw if (found := _recorded(name, json.loads(text))) is not None)


def _recorded(name: str, raw: Object) -> Recorded | None:
    model, _, operation = raw["url"].partition("/model/")[2].rpartition("/")
    if operation not in ("converse", "converse-stream"):
        return None
    given = raw.get("body") or json.dumps(raw["json"])
    body = given.encode() if isinstance(given, str) else base64.b64decode(given["base64"])
    kind = raw["headers"]["content-type"]
    return Recorded(name, model.replace("%3A", ":"), raw["request"], raw["status"], kind, body)


# the signature


def faults_of(request: ReceivedRequest, region: str = REGION) -> list[str]:
    """What Amazon would find wrong with the signature of a request."""
    sent = request.headers.get("authorization", "")
    algorithm, _, rest = sent.partition(" ")
    fields = dict(part.strip().split("=", 1) for part in rest.split(","))
    names = fields["SignedHeaders"].split(";")
    stamp = request.headers["x-amz-date"]
    scope = f"{stamp[:8]}/{region}/bedrock/aws4_request"
    unsigned = [name for name in request.headers if name.startswith("x-amz-") and name not in names]
    path, _, query = request.path.partition("?")
    headers = "".join(f"{name}:{request.headers[name]}\n" for name in names)
    body = hashlib.sha256(request.body).hexdigest()
    canonical = f"{request.method}\n{quote(path, safe='/-_.~')}\n{query}\n{headers}\n{';'.join(names)}\n{body}"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{SECRET}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    wanted = {
        "algorithm": (algorithm, "AWS4-HMAC-SHA256"),
        "credential": (fields["Credential"], f"{KEY_ID}/{scope}"),
        "signature": (fields["Signature"], hmac.digest(key, text.encode(), "sha256").hex()),
        "host": ("host" in names, True),
        "unsigned": (unsigned, []),
    }
    return [name for name, (found, expected) in wanted.items() if found != expected]


def guarded(answer: Callable[[ReceivedRequest], Script]) -> Callable[[ReceivedRequest], Script]:
    """Answers what is signed as it should be, and refuses the rest as Amazon does."""

    def checked(request: ReceivedRequest) -> Script:
        faults = faults_of(request)
        if faults:
            headers = {"x-amzn-errortype": "InvalidSignatureException:http://internal.amazon.com/coral/"}
            return Script.of_json({"message": f"The request signature does not match: {faults}"}, 403, headers)
        return answer(request)

    return checked
