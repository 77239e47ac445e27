"""A small model: it answers by what it is asked, in whichever API it is asked.

It calls the tools that the question speaks of, once per city, and tells what they gave; it hands over to the agent
that the question speaks of; it fills in the schema that the answer must have; it remembers a name; it refuses poison,
is filtered for gore, and stops at the limit. Where it was asked to think, it does so aloud, as models with open weights
do: in Responses as a summary where it was asked for one, and sealed too where it was asked for that.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import msgspec

from aigateway.testing import ReceivedRequest, Script
from tests.compat.heard import Heard, Object, Refused, heard_in_chat, heard_in_responses, seal
from tests.schemas import request_faults
from tests.turns import UPSTREAM_MODEL, Turn, Use, response, said

REFUSAL = "I cannot help with that."
_NOT_KEYS = {"get", "to", "the", "agent", "transfer", "a", "of"}
_SCHEMAS = {"chat": "CreateChatCompletionRequest", "responses": "CreateResponse"}
_LONGEST = 10_000
"""Characters that its context holds."""


class Brain:
    """Use: `upstream.answer_with(brain)`.

    heard      every conversation that it understood, as it stood when it was heard.
    bodies     every body that arrived. faults: what OpenAI's description of requests has against them.
    breaks     whether its answers break off in the middle.
    """

    def __init__(self, api: str) -> None:
        self.heard: list[Heard] = []
        self.bodies: list[Object] = []
        self.faults: list[str] = []
        self.breaks = False
        self._api = api
        self._serials = itertools.count(1)
        self._stored: dict[str, list[Object]] = {}

    def __call__(self, request: ReceivedRequest) -> Script:
        body = request.json()
        self.bodies.append(body)
        path = {"chat": "/v1/chat/completions", "responses": "/v1/responses"}[self._api]
        if (request.path, body["model"]) != (path, UPSTREAM_MODEL):
            self.faults.append(f"{body['model']} was asked at {request.path}")
        self.faults += request_faults(_SCHEMAS[self._api], body)
        try:
            script = self._answer(request, body)
            return _broken(script) if self.breaks else script
        except Refused as refused:
            return Script.of_json(refused.body, refused.status, {"retry-after": "1"} if refused.status == 429 else {})

    def _answer(self, request: ReceivedRequest, body: Object) -> Script:
        if self._api == "chat":
            turn = self._turn(heard_in_chat(body))
            return said(turn, request)
        items = self._remembered(body)
        turn = self._turn(heard_in_responses(body, items))
        if body.get("store") is not False:
            self._stored[f"resp_{turn.serial}"] = [*items, *response(turn)["output"]]
        return said(turn, request, _echo(body))

    def _remembered(self, body: Object) -> list[Object]:
        given = body["input"]
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        previous = body.get("previous_response_id")
        if previous is None:
            return list(items)
        if previous not in self._stored:
            message = f"Previous response with id '{previous}' not found."
            raise Refused(message, param="previous_response_id", code="previous_response_not_found")
        return [*self._stored[previous], *items]

    def _turn(self, heard: Heard) -> Turn:
        self.heard.append(heard)
        serial = f"{next(self._serials):04d}"
        if sum(map(len, heard.users)) > _LONGEST:
            message = f"Input tokens exceed the configured limit of {_LONGEST} tokens."
            raise Refused(message, param="messages", code="context_length_exceeded")
        if "too often" in heard.question:
            raise Refused("Rate limit reached.", code="rate_limit_exceeded", status=429)
        return _thought(heard, _spoken(heard, serial), serial)


def _broken(script: Script) -> Script:
    """It, but the connection is lost half way."""
    half = None if script.pieces is None else script.pieces[: len(script.pieces) // 2]
    return msgspec.structs.replace(script, pieces=half, fault="cut")


def _thought(heard: Heard, turn: Turn, serial: str) -> Turn:
    """The turn with the thoughts before it, as far as they were asked for."""
    thought = f"Thought {serial} about {_words(heard.question)[0]}. "
    told = heard.effort is not None
    return msgspec.structs.replace(
        turn,
        thoughts=tuple(re.findall(r"\S+\s+", thought)) if told else (),
        summarized=heard.summary,
        sealed=seal(thought) if heard.sealed else "",
    )


def _spoken(heard: Heard, serial: str) -> Turn:
    words = _words(heard.question)
    if "poison" in words:
        return Turn(refusal=tuple(_pieces(REFUSAL)), serial=serial)
    uses = _uses(heard)
    if uses:
        return Turn(uses=tuple(uses), serial=serial)
    pieces = _pieces(_text(heard))
    if "gore" in words:
        return Turn(text=tuple(pieces[: len(pieces) // 2]), filtered=True, serial=serial)
    if heard.limit is not None and len(pieces) > heard.limit:
        return Turn(text=tuple(pieces[: heard.limit]), cut=True, serial=serial)
    return Turn(text=tuple(pieces), serial=serial)


# calls


def _uses(heard: Heard) -> list[Use]:
    wanted = [] if heard.choice == "none" else [name for name in heard.tools if _is_wanted(name, heard)]
    if heard.choice in heard.tools:
        wanted = [heard.choice]
    made = [(called.name, json.loads(called.arguments)) for called in heard.recent]
    facts = _facts(heard)
    calls = [(name, arguments) for name in wanted for arguments in _arguments(heard.tools[name], facts)]
    left = [call for call in calls if call not in made]
    if not left and heard.choice == "required":
        name = next(reversed(heard.tools))
        left = [(name, _filled(heard.tools[name], facts, heard.tools[name]))]
    if not heard.parallel:
        left = left[:1]
    first = len(heard.calls)
    return [Use(name, json.dumps(arguments), f"call_{first + n}") for n, (name, arguments) in enumerate(left)]


def _is_wanted(name: str, heard: Heard) -> bool:
    keys = {key.lower() for key in re.findall(r"[A-Z]?[a-z]+", name)} - _NOT_KEYS
    return bool(keys & set(_words(heard.question)))


def _arguments(schema: Object, facts: str) -> list[Object]:
    """One call per city that is spoken of, where the tool is about cities."""
    cities = _cities(facts)
    if "city" in schema.get("properties", {}) and cities:
        return [{**_filled(schema, facts, schema), "city": city} for city in cities]
    return [_filled(schema, facts, schema)]


# answers


def _text(heard: Heard) -> str:
    if heard.schema is not None:
        schema = heard.schema or _schema_in(heard.system)
        return json.dumps(_filled(schema, _facts(heard), schema))
    told = [called.output or "" for called in heard.recent if called.name in heard.tools]
    if told:
        return " ".join(told)
    if "name" in _words(heard.question):
        names = re.findall(r"my name is (\w+)", " ".join(heard.users))
        return f"Your name is {names[-1]}." if names else "I do not know your name."
    if heard.images:
        return f"I see {len(heard.images)} image."
    return f"{heard.system} You asked: {heard.question}".strip()


def _schema_in(system: str) -> Object:
    """The schema that stands in the instructions, where any JSON object will do for the API."""
    found: Object = {"properties": {"city": {}}}
    if '{"properties"' in system:
        found, _ = json.JSONDecoder().raw_decode(system[system.index('{"properties"') :])
    return found


def _filled(schema: Object, facts: str, root: Object, name: str = "") -> Any:
    """A value of a JSON schema, out of the facts where they have one of its name or type."""
    if "$ref" in schema:
        return _filled(root["$defs"][schema["$ref"].rpartition("/")[2]], facts, root, name)
    if "anyOf" in schema:
        return _filled(schema["anyOf"][0], facts, root, name)
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return next((value for value in values if str(value) in facts), values[0])
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if kind == "object":
        return {key: _filled(value, facts, root, key) for key, value in schema.get("properties", {}).items()}
    if kind == "array":
        return [_filled(schema["items"], facts, root, name)]
    if kind in ("integer", "number"):
        return int((re.findall(r"\d+", facts) or ["0"])[-1])
    return True if kind == "boolean" else (_cities(facts) or [facts])[0] if name == "city" else facts


def _facts(heard: Heard) -> str:
    """The question and what tools gave for it."""
    return " ".join([heard.question, *(called.output or "" for called in heard.recent)])


def _cities(facts: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"\bin ([A-Z]\w+)", facts)))


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def _pieces(text: str) -> list[str]:
    """Tokens, as it were."""
    return re.findall(r"\s*\S{1,4}", text)


def _echo(body: Object) -> Object:
    """What a response tells of its request."""
    tools = [{"strict": True, "description": None, **tool} for tool in body.get("tools") or []]
    text = body.get("text") or {}
    return {
        "background": False,
        "completed_at": None,
        "frequency_penalty": 0.0,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": None,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "presence_penalty": 0.0,
        "previous_response_id": body.get("previous_response_id"),
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None, **(body.get("reasoning") or {})},
        "safety_identifier": None,
        "service_tier": "default",
        "store": body.get("store", True),
        "text": {"format": {"type": "text"}, "verbosity": "medium"} | text,
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": tools,
        "top_logprobs": 0,
        "truncation": "disabled",
        "user": None,
    }
