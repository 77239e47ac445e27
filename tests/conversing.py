"""A caller of each API in a conversation: what it asks, what it keeps of an answer, and what it sends back."""

from __future__ import annotations

from tests.content_said import content_body
from tests.messages_said import message_body
from tests.playback import Object
from tests.said import chat_body

CALLERS = ("chat", "responses", "messages", "generate_content")


def question(api: str, turns: list[Object], *, model: str, text: str = "?", stream: bool = False) -> Object:
    """A request with these turns behind the first one."""
    more: Object = {"stream": True} if stream else {}
    if api == "responses":
        return {"model": model, "input": [{"role": "user", "content": text}, *turns], "store": False, **more}
    if api == "generate_content":
        return {"model": model, "contents": [{"role": "user", "parts": [{"text": text}]}, *turns], **more}
    if api == "messages":
        more["max_tokens"] = 4096
    elif stream:
        more["stream_options"] = {"include_usage": True}
    return {"model": model, "messages": [{"role": "user", "content": text}, *turns], **more}


def joined(api: str, events: list[Object]) -> Object:
    """The whole answer that the events of a stream add up to."""
    if api == "generate_content":
        return content_body(events)
    if api == "responses":  # what is encrypted may be sealed anew in the last event
        items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
        return {**events[-1]["response"], "output": items}
    return (chat_body if api == "chat" else message_body)(events)


def turns_after(api: str, body: Object) -> list[Object]:
    """The answer as a caller sends it back, with a result for each call."""
    if api == "chat":
        message = {key: value for key, value in body["choices"][0]["message"].items() if value}
        message |= {"role": "assistant", "content": message.get("content")}
        calls = message.get("tool_calls") or ()
        results = [{"role": "tool", "tool_call_id": call["id"], "content": "done"} for call in calls]
        return [message, *(results or [{"role": "user", "content": "And?"}])]
    if api == "responses":
        kinds = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
        calls = [item for item in body["output"] if item["type"] in kinds]
        results = [{"type": kinds[call["type"]], "call_id": call["call_id"], "output": "done"} for call in calls]
        return [*body["output"], *(results or [{"role": "user", "content": "And?"}])]
    if api == "messages":
        uses = [block for block in body["content"] if block["type"] == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": use["id"], "content": "done"} for use in uses]
        said = {"role": "assistant", "content": body["content"]}
        return [said, {"role": "user", "content": results or "And?"}]
    content = body["candidates"][0]["content"]
    made = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
    answers: list[Object] = [
        {
            "functionResponse": {
                "response": {"output": "done"},
                **{key: call[key] for key in ("name", "id") if key in call},
            }
        }
        for call in made
    ]
    return [content, {"role": "user", "parts": answers or [{"text": "And?"}]}]
