"""Answers of Cohere's chat: the fields that the types of its SDK (7.3) have, and documents that together have them all."""

from __future__ import annotations

from tests.fidelity.shapes import Either, Fields, Leaf, Listed, Object, Shape

_TEXT, _NUMBER, _ANY = Leaf("text"), Leaf("number"), Leaf("object")
_FINISH = Leaf("choice", ("COMPLETE", "STOP_SEQUENCE", "MAX_TOKENS", "TOOL_CALL", "ERROR", "TIMEOUT"))
_TOKENS = Fields({"input_tokens": _NUMBER, "output_tokens": _NUMBER})
_USAGE = Fields(
    {
        "billed_units": Fields({**_TOKENS.of, "search_units": _NUMBER, "classifications": _NUMBER}),
        "tokens": _TOKENS,
        "cached_tokens": _NUMBER,
    }
)


def _word(word: str) -> Leaf:
    return Leaf("word", (word,))


_LOGPROBS = Fields({"text": _TEXT, "token_ids": Listed(_NUMBER), "logprobs": Listed(Leaf("fraction"))})
_CALL = Fields({"id": _TEXT, "type": _word("function"), "function": Fields({"name": _TEXT, "arguments": _TEXT})})
_SOURCE = Either(
    (
        Fields({"type": _word("tool"), "id": _TEXT, "tool_output": _ANY}),
        Fields({"type": _word("document"), "id": _TEXT, "document": _ANY}),
    )
)
_CITATION = Fields(
    {
        "start": _NUMBER,
        "end": _NUMBER,
        "text": _TEXT,
        "content_index": _NUMBER,
        "type": Leaf("choice", ("TEXT_CONTENT", "THINKING_CONTENT", "PLAN")),
        "sources": Listed(_SOURCE),
    }
)
REPLY = Fields(
    {
        "id": _TEXT,
        "finish_reason": _FINISH,
        "message": Fields(
            {
                "role": _word("assistant"),
                "tool_plan": _TEXT,
                "tool_calls": Listed(_CALL),
                "content": Listed(
                    Either(
                        (
                            Fields({"type": _word("text"), "text": _TEXT}),
                            Fields({"type": _word("thinking"), "thinking": _TEXT}),
                        )
                    )
                ),
                "citations": Listed(_CITATION),
            }
        ),
        "usage": _USAGE,
        "logprobs": Listed(_LOGPROBS),
    }
)


def _event(word: str, message: dict[str, Shape] | None = None, **more: Shape) -> Fields:
    delta = {"delta": Fields({"message": Fields(message)})} if message is not None else {}
    return Fields({"type": _word(word), **delta, **more})


_CONTENT: dict[str, Shape] = {"text": _TEXT, "thinking": _TEXT}
STREAM = Either(
    (
        _event("message-start", {"role": _word("assistant")}, id=_TEXT),
        _event(
            "content-start",
            {"content": Fields({**_CONTENT, "type": Leaf("choice", ("text", "thinking"))})},
            index=_NUMBER,
        ),
        _event("content-delta", {"content": Fields(_CONTENT)}, index=_NUMBER, logprobs=_LOGPROBS),
        _event("content-end", index=_NUMBER),
        _event("tool-plan-delta", {"tool_plan": _TEXT}),
        _event("tool-call-start", {"tool_calls": _CALL}, index=_NUMBER),
        _event("tool-call-delta", {"tool_calls": Fields({"function": Fields({"arguments": _TEXT})})}, index=_NUMBER),
        _event("tool-call-end", index=_NUMBER),
        _event("citation-start", {"citations": _CITATION}, index=_NUMBER),
        _event("citation-end", index=_NUMBER),
        Fields(
            {
                "type": _word("message-end"),
                "id": _TEXT,
                "delta": Fields({"error": _TEXT, "finish_reason": _FINISH, "usage": _USAGE}),
            }
        ),
        Fields({"type": _word("debug"), "prompt": _TEXT}),
    )
)

USAGE: Object = {
    "billed_units": {"input_tokens": 41, "output_tokens": 25, "search_units": 1, "classifications": 2},
    "tokens": {"input_tokens": 1441, "output_tokens": 54},
    "cached_tokens": 144,
}
SOURCES: list[Object] = [
    {"type": "tool", "id": "x:0", "tool_output": {"a": 1}},
    {"type": "document", "id": "doc:0", "document": {"title": "A", "snippet": "b"}},
]
CITED: Object = {"start": 0, "end": 2, "text": "It", "content_index": 1, "type": "TEXT_CONTENT", "sources": SOURCES}
LOGPROBS: Object = {"text": "It", "token_ids": [7], "logprobs": [-0.5]}
REPLIES: list[Object] = [
    {
        "id": "c1",
        "finish_reason": "MAX_TOKENS",
        "message": {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "It is sunny."}],
            "citations": [CITED],
        },
        "usage": USAGE,
        "logprobs": [LOGPROBS],
    },
    {
        "id": "c2",
        "finish_reason": "MAX_TOKENS",
        "message": {
            "role": "assistant",
            "tool_plan": "I will look.",
            "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
            "citations": [CITED | {"type": "PLAN", "content_index": 0}],
        },
        "usage": USAGE,
    },
]


def event(type: str, index: int | None = None, message: Object | None = None, **more: object) -> Object:
    """One event of a stream."""
    told: Object = {"type": type} | more
    if index is not None:
        told["index"] = index
    return told | ({"delta": {"message": message}} if message is not None else {})


START = event("message-start", None, {"role": "assistant"}, id="s1")


def _end(**more: object) -> Object:
    return {"type": "message-end", "id": "s1", "delta": {"finish_reason": "MAX_TOKENS", "usage": USAGE, **more}}


_CALLED = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": ""}}
STREAMS: list[list[Object]] = [
    [
        START,
        event("content-start", 0, {"content": {"type": "thinking", "thinking": "H"}}),
        event("content-delta", 0, {"content": {"thinking": "m."}}),
        event("content-end", 0),
        event("content-start", 1, {"content": {"type": "text", "text": "It"}}),
        event("content-delta", 1, {"content": {"text": " is sunny."}}, logprobs=LOGPROBS),
        event("citation-start", 0, {"citations": CITED}),
        event("citation-end", 0),
        event("content-end", 1),
        event("debug", prompt="<|START|>"),
        _end(),
    ],
    [
        START,
        event("tool-plan-delta", None, {"tool_plan": "I will look."}),
        event("tool-call-start", 0, {"tool_calls": _CALLED}),
        event("tool-call-delta", 0, {"tool_calls": {"function": {"arguments": '{"a":1}'}}}),
        event("tool-call-end", 0),
        _end(),
    ],
    [
        START,
        event("tool-call-start", 0, {"tool_calls": _CALLED | {"function": {"name": "f", "arguments": '{"a":1}'}}}),
        event("tool-call-end", 0),
        _end(),
    ],
    [START, _end(error="out of memory")],
]
