"""The bytes that travel: one chat request, and the mock upstream's answers to it."""

import json

CLIENT_KEY = "sk-bench"
CLIENT_MODEL = "bench-model"
UPSTREAM_MODEL = "upstream-model"

_WORDS = ("The", " gateway", " forwards", " bytes", " that", " need", " no", " change", ",", " token", " by", " token")
_ANSWER = "".join(_WORDS) * 6
_ID = "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT"
_CREATED = 1741569952
_FINGERPRINT = "fp_44709d6fcb"
_USAGE = {
    "prompt_tokens": 61,
    "completion_tokens": 78,
    "total_tokens": 139,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def chat_request(port: int, *, stream: bool) -> bytes:
    """A whole HTTP/1.1 request; a streamed one asks for the usage chunk."""
    fields: dict[str, object] = {
        "model": CLIENT_MODEL,
        "messages": [
            {"role": "system", "content": "You are a careful assistant. Answer in short, plain sentences. " * 3},
            {"role": "user", "content": "What does a gateway do with the bytes it is given? " * 4},
        ],
        "temperature": 0.7,
        "max_tokens": 256,
    }
    if stream:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
    body = _dump(fields)
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {CLIENT_KEY}\r\n"
        "Content-Type: application/json\r\n"
        "Accept: application/json\r\n"
        "User-Agent: aigateway-bench\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def completion() -> bytes:
    """The JSON of a unary `chat.completion`."""
    message: dict[str, object] = {"role": "assistant", "content": _ANSWER, "refusal": None, "annotations": []}
    return _dump(
        {
            "id": _ID,
            "object": "chat.completion",
            "created": _CREATED,
            "model": UPSTREAM_MODEL,
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
            "usage": _USAGE,
            "service_tier": "default",
            "system_fingerprint": _FINGERPRINT,
        }
    )


def _chunk(choices: list[dict[str, object]], usage: dict[str, object] | None) -> bytes:
    fields = {
        "id": _ID,
        "object": "chat.completion.chunk",
        "created": _CREATED,
        "model": UPSTREAM_MODEL,
        "system_fingerprint": _FINGERPRINT,
        "choices": choices,
        "usage": usage,
    }
    return b"data: " + _dump(fields) + b"\n\n"


def _choice(delta: dict[str, object], finish_reason: str | None) -> list[dict[str, object]]:
    return [{"index": 0, "delta": delta, "finish_reason": finish_reason}]


def stream_events(count: int) -> list[bytes]:
    """`count` SSE events of one streamed answer: role, words, finish. Usage and `[DONE]` are not among them."""
    role = _chunk(_choice({"role": "assistant", "content": ""}, None), None)
    words = [_chunk(_choice({"content": _WORDS[i % len(_WORDS)]}, None), None) for i in range(count - 2)]
    finish = _chunk(_choice({}, "stop"), None)
    return [role, *words, finish]


def usage_event() -> bytes:
    """The extra SSE event of a client that asked for `include_usage`."""
    return _chunk([], dict(_USAGE))
