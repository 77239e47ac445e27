"""What a model hears: a request of either API as one conversation, read as strictly as OpenAI reads it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

Object = dict[str, Any]


class Refused(Exception):  # noqa: N818  an answer of the model's, not a fault of the test
    """An answer with a status of 400 or more."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        self.status = status

    @property
    def body(self) -> Object:
        kind = "rate_limit_error" if self.status == 429 else "invalid_request_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


class Called(msgspec.Struct):
    """A call of a tool that was made before, and what the tool gave."""

    call_id: str
    name: str
    arguments: str
    output: str | None = None


class Heard(msgspec.Struct):
    """A conversation and what is wanted next.

    users, assistants   the texts of each, in order. The last of `users` is the question.
    calls               all calls; `recent`: those made for the question. `thoughts`: reasoning that was sent back.
    tools               name -> JSON schema of the arguments. choice: auto, none, required or a tool's name.
    schema              of the answer; {} = any JSON object.
    """

    system: str = ""
    users: list[str] = msgspec.field(default_factory=list)
    assistants: list[str] = msgspec.field(default_factory=list)
    calls: list[Called] = msgspec.field(default_factory=list)
    recent: list[Called] = msgspec.field(default_factory=list)
    thoughts: list[str] = msgspec.field(default_factory=list)
    images: list[str] = msgspec.field(default_factory=list)
    tools: dict[str, Object] = msgspec.field(default_factory=dict)
    choice: str = "auto"
    parallel: bool = True
    schema: Object | None = None
    limit: int | None = None
    effort: str | None = None
    summary: bool = False
    sealed: bool = False

    @property
    def question(self) -> str:
        return self.users[-1]

    def user(self, content: Any) -> None:
        """A user spoke: what was called before belongs to an earlier question."""
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        self.users.append(text_of([part for part in parts if "image" not in part["type"]]))
        for part in parts:
            if "image" in part["type"]:
                url = part["image_url"]
                self.images.append(url["url"] if isinstance(url, dict) else url)
        self.recent = []

    def call(self, called: Called) -> None:
        self.calls.append(called)
        self.recent.append(called)

    def result(self, call_id: str, output: Any, *, of: Iterable[Called], param: str) -> None:
        for called in of:
            if called.call_id == call_id and called.output is None:
                called.output = text_of(output)
                return
        raise Refused(f"No tool call found for the output with call id {call_id}.", param=param)


def text_of(content: Any) -> str:
    """The text of a content, string or parts."""
    if content is None or isinstance(content, str):
        return content or ""
    known = {"text", "input_text", "output_text", "refusal", "reasoning_text", "summary_text"}
    for part in content:
        if part["type"] not in known:
            raise Refused(f"Invalid value: '{part['type']}'.", param="content")
    return "".join(part["refusal"] if part["type"] == "refusal" else part["text"] for part in content)


def seal(thought: str) -> str:
    """Reasoning as its caller cannot read it."""
    return "gAAAA" + base64.b64encode(thought.encode()).decode()


def unseal(sealed: str) -> str:
    if not sealed.startswith("gAAAA"):
        raise Refused("The encrypted content could not be verified.", code="invalid_encrypted_content")
    return base64.b64decode(sealed[5:]).decode()


# chat


def heard_in_chat(body: Object) -> Heard:
    """Raises Refused as the API would."""
    tools = body.get("tools")
    if tools == []:
        raise Refused("Invalid 'tools': empty array.", param="tools", code="empty_array")
    for field in ("tool_choice", "parallel_tool_calls"):
        if tools is None and field in body:
            raise Refused(f"Invalid value for '{field}': only allowed when 'tools' are specified.", param=field)
    heard = Heard(
        tools={tool["function"]["name"]: tool["function"].get("parameters", {}) for tool in tools or []},
        choice=_choice(body.get("tool_choice"), lambda named: str(named["function"]["name"])),
        parallel=body.get("parallel_tool_calls") is not False,
        limit=body.get("max_completion_tokens", body.get("max_tokens")),
        effort=body.get("reasoning_effort"),
    )
    wanted = body.get("response_format") or {"type": "text"}
    if wanted["type"] == "json_schema":
        heard.schema = wanted["json_schema"].get("schema", {})
    elif wanted["type"] == "json_object":
        heard.schema = {}
    for place, message in enumerate(body["messages"]):
        _hear_message(heard, message, f"messages[{place}]")
    _require_outputs(heard.calls, "messages")
    return heard


def _hear_message(heard: Heard, message: Object, place: str) -> None:
    role, content = message["role"], message.get("content")
    if role in ("system", "developer"):
        heard.system += text_of(content)
    elif role == "user":
        _require_outputs(heard.calls, place)
        heard.user(content)
    elif role == "assistant":
        _require_outputs(heard.calls, place)
        if not (content or message.get("tool_calls") or message.get("refusal")):
            raise Refused("Expected content or tool_calls.", param=f"{place}.content")
        if content:
            heard.assistants.append(text_of(content))
        if message.get("reasoning_content"):
            heard.thoughts.append(message["reasoning_content"])
        for call in message.get("tool_calls") or ():
            heard.call(Called(call["id"], call["function"]["name"], call["function"]["arguments"]))
    elif role == "tool":
        heard.result(message["tool_call_id"], content, of=heard.recent, param=place)
    else:
        raise Refused(f"Invalid value: '{role}'.", param=f"{place}.role")


def _require_outputs(calls: Iterable[Called], place: str) -> None:
    missing = [called.call_id for called in calls if called.output is None]
    if missing:
        raise Refused(f"No tool output found for the calls {', '.join(missing)}.", param=place)


# responses


def heard_in_responses(body: Object, items: list[Object]) -> Heard:
    """items: the input with all that was stored before. Raises Refused as the API would."""
    reasoning = body.get("reasoning") or {}
    heard = Heard(
        system=body.get("instructions") or "",
        tools={tool["name"]: tool.get("parameters") or {} for tool in body.get("tools") or []},
        choice=_choice(body.get("tool_choice"), lambda named: str(named["name"])),
        parallel=body.get("parallel_tool_calls") is not False,
        limit=body.get("max_output_tokens"),
        effort=reasoning.get("effort"),
        summary=reasoning.get("summary") is not None,
        sealed="reasoning.encrypted_content" in (body.get("include") or ()),
    )
    wanted = (body.get("text") or {}).get("format") or {"type": "text"}
    if wanted["type"] == "json_schema":
        heard.schema = wanted["schema"]
    elif wanted["type"] == "json_object":
        heard.schema = {}
    seen: set[str] = set()
    for place, item in enumerate(items):
        if item.get("id") in seen:
            raise Refused(f"Duplicate item found with id {item['id']}.", param=f"input[{place}]")
        seen |= {item["id"]} if item.get("id") else set()
        _hear_item(heard, item, f"input[{place}]")
    if items and items[-1].get("type") == "reasoning":
        raise Refused("Item of type 'reasoning' was provided without its required following item.", param="input")
    _require_outputs(heard.calls, "input")
    return heard


def _hear_item(heard: Heard, item: Object, place: str) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        _hear_said(heard, item, place)
    elif kind == "function_call":
        heard.call(Called(item["call_id"], item["name"], item["arguments"]))
    elif kind == "function_call_output":
        heard.result(item["call_id"], item["output"], of=heard.recent, param=place)
    elif kind == "reasoning":
        parts = item.get("content") or item["summary"]
        heard.thoughts.append(unseal(item["encrypted_content"]) if item.get("encrypted_content") else text_of(parts))
    else:
        raise Refused(f"Invalid value: '{kind}'.", param=f"{place}.type")


def _hear_said(heard: Heard, item: Object, place: str) -> None:
    role, content = item["role"], item["content"]
    if role in ("system", "developer"):
        heard.system += text_of(content)
    elif role == "user":
        heard.user(content)
    elif role == "assistant":
        heard.assistants.append(text_of(content))
    else:
        raise Refused(f"Invalid value: '{role}'.", param=f"{place}.role")


def _choice(given: Any, name: Callable[[Object], str]) -> str:
    return given if isinstance(given, str) else "auto" if given is None else name(given)
