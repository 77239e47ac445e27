"""The bytes that travel: requests, and the mock upstream's answers to them."""

import json

CLIENT_KEY = "sk-bench"
CLIENT_MODEL = "gpt-4o-mini"  # ferrogw takes no name that its catalog does not know
UPSTREAM_MODEL = "upstream-model"

_WORDS = ("The", " gateway", " forwards", " bytes", " that", " need", " no", " change", ",", " token", " by", " token")
ANSWER = "".join(_WORDS) * 6
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


_SYSTEM = "You are a careful assistant. Answer in short, plain sentences. " * 3
_QUESTION = "What does a gateway do with the bytes it is given? " * 4
_CONVERSATION_BYTES = 100_000
_TURN = "What was said before comes along with every further question, whether anybody reads it again or not. " * 10


def _post(port: int, path: str, fields: dict[str, object]) -> bytes:
    body = _dump(fields)
    head = (
        f"POST {path} HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {CLIENT_KEY}\r\n"
        "Content-Type: application/json\r\n"
        "Accept: application/json\r\n"
        "User-Agent: aigateway-bench\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def chat_request(port: int, *, stream: bool = False) -> bytes:
    """A whole HTTP/1.1 request; a streamed one asks for the usage chunk."""
    return _chat(port, [{"role": "user", "content": _QUESTION}], stream=stream)


def conversation_request(port: int) -> bytes:
    """A unary chat request of 100 KB: a long conversation."""
    turns = _CONVERSATION_BYTES // len(_TURN)
    messages = [{"role": ("user", "assistant")[turn % 2], "content": f"{turn}. {_TURN}"} for turn in range(turns)]
    return _chat(port, [*messages, {"role": "user", "content": _QUESTION}], stream=False)


def _chat(port: int, messages: list[dict[str, str]], *, stream: bool) -> bytes:
    fields: dict[str, object] = {
        "model": CLIENT_MODEL,
        "messages": [{"role": "system", "content": _SYSTEM}, *messages],
        "temperature": 0.7,
        "max_tokens": 256,
    }
    if stream:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
    return _post(port, "/v1/chat/completions", fields)


def responses_request(port: int, *, stream: bool = False) -> bytes:
    """The same question, asked through the Responses API."""
    fields: dict[str, object] = {
        "model": CLIENT_MODEL,
        "instructions": _SYSTEM,
        "input": [{"role": "user", "content": _QUESTION}],
        "temperature": 0.7,
        "max_output_tokens": 256,
        "store": False,  # what a translation costs, not what a disk does
    }
    return _post(port, "/v1/responses", fields | {"stream": True} if stream else fields)


def completion() -> bytes:
    """The JSON of a unary `chat.completion`."""
    message: dict[str, object] = {"role": "assistant", "content": ANSWER, "refusal": None, "annotations": []}
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


def model_list() -> bytes:
    """What `GET /v1/models` answers: smg asks before it sends anything."""
    model = {"id": CLIENT_MODEL, "object": "model", "owned_by": "bench"}
    return _dump({"object": "list", "data": [model], "model_path": CLIENT_MODEL})
