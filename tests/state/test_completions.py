"""Stored chat completions: lists, pages, messages, and what is not kept."""

from __future__ import annotations

from typing import Any

import pytest

from aigateway.hooks.api_keys import APIKeyAuthenticator
from aigateway.testing import Script
from tests.state.rig import Object, Rig, rigged

pytestmark = pytest.mark.usefixtures("registered")

ASK: Object = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


async def kept(rig: Rig, **fields: Any) -> Object:
    reply = await rig.ask("POST", "/chat/completions", {**ASK, "store": True, **fields})
    assert reply.status == 200, reply.body
    value: Object = reply.json
    return value


async def listed(rig: Rig, query: str = "") -> Object:
    reply = await rig.ask("GET", f"/chat/completions{query}")
    assert reply.status == 200, reply.body
    value: Object = reply.json
    return value


async def test_completions_come_in_pages_by_age() -> None:
    async with rigged("chat", hooks=[APIKeyAuthenticator({"sk-1": "t"})]) as rig:
        rig.key = "sk-1"
        ids = [(await kept(rig, metadata={"n": str(number)}))["id"] for number in range(4)]
        assert len(set(ids)) == 4  # the upstream gives all of them one id
        await rig.ask("POST", "/chat/completions", ASK)
        everything = await listed(rig)
        assert [one["id"] for one in everything["data"]] == ids
        assert (everything["first_id"], everything["last_id"], everything["has_more"]) == (ids[0], ids[3], False)
        page = await listed(rig, "?limit=2")
        assert ([one["id"] for one in page["data"]], page["has_more"]) == (ids[:2], True)
        page = await listed(rig, f"?limit=2&after={ids[1]}")
        assert ([one["id"] for one in page["data"]], page["has_more"]) == (ids[2:], False)
        assert [one["id"] for one in (await listed(rig, "?order=desc&limit=1"))["data"]] == [ids[3]]
        assert [one["id"] for one in (await listed(rig, "?metadata[n]=2"))["data"]] == [ids[2]]
        assert (await listed(rig, "?model=other"))["data"] == []
        assert (await rig.ask("GET", "/chat/completions?after=none")).status == 400


async def test_messages_of_a_completion_come_in_pages() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]
    messages = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": parts},
        {"role": "user", "content": "b"},
    ]
    async with rigged("chat", hooks=[APIKeyAuthenticator({"sk-1": "t"})]) as rig:
        rig.key = "sk-1"
        made = await kept(rig, messages=messages)
        path = f"/chat/completions/{made['id']}/messages"
        data = (await rig.ask("GET", path)).json["data"]
        assert [message["content"] for message in data] == ["s", "a", "b"]
        assert data[1]["content_parts"] == parts
        page = (await rig.ask("GET", f"{path}?order=desc&limit=1")).json
        assert (page["data"][0]["content"], page["has_more"]) == ("b", True)
        page = (await rig.ask("GET", f"{path}?after={data[0]['id']}")).json
        assert [message["content"] for message in page["data"]] == ["a", "b"]
        assert (await rig.ask("GET", f"{path}?after=none")).status == 400
        assert (await rig.ask("GET", "/chat/completions/none/messages")).status == 404


async def test_streamed_completion_is_kept_whole_with_its_calls() -> None:
    async with rigged("chat", hooks=[APIKeyAuthenticator({"sk-1": "t"})]) as rig:
        rig.key = "sk-1"
        asked = [{"role": "user", "content": "call"}]
        streamed = await rig.ask("POST", "/chat/completions", {**ASK, "messages": asked, "store": True, "stream": True})
        found = (await rig.ask("GET", f"/chat/completions/{streamed.events[0]['id']}")).json
        assert found["object"] == "chat.completion"
        assert found["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "look"
        assert found["choices"][0]["finish_reason"] == "tool_calls"


async def test_what_fails_or_is_not_wanted_is_not_kept() -> None:
    async with rigged("chat", hooks=[APIKeyAuthenticator({"sk-1": "t"})]) as rig:
        rig.key = "sk-1"
        await rig.ask("POST", "/chat/completions", ASK | {"store": False})
        await rig.ask("POST", "/chat/completions", ASK | {"messages": [{"role": "user", "content": '"store": true'}]})
        rig.upstream.script(Script.of_json({"error": {"message": "no"}}, 400))
        assert (await rig.ask("POST", "/chat/completions", ASK | {"store": True})).status == 400
        assert (await listed(rig))["data"] == []
        refused = await rig.ask("POST", "/chat/completions/none", {"metadata": {}})
        assert refused.status == 404


def choice(index: int, finish: str | None = None, **delta: Any) -> Object:
    return {"index": index, "delta": delta, "finish_reason": finish}


def chunks(*choices: list[Object]) -> list[Object]:
    facts = {"id": "chatcmpl-n", "object": "chat.completion.chunk", "created": 5, "model": "m"}
    return [{**facts, "choices": some} for some in choices]


async def test_all_choices_are_kept_whole_and_streamed() -> None:
    async with rigged("chat", hooks=[APIKeyAuthenticator({"sk-1": "t"})]) as rig:
        rig.key = "sk-1"
        calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}]
        first = {"role": "assistant", "content": "one two", "refusal": None, "reasoning": "hm so"}
        second = {"role": "assistant", "content": None, "refusal": None, "tool_calls": calls}
        logprobs: Object = {"content": [{"token": "one"}, {"token": " two"}], "refusal": None}
        choices = [
            {"index": 0, "message": first, "finish_reason": "stop", "logprobs": logprobs},
            {"index": 1, "message": second, "finish_reason": "tool_calls", "logprobs": None},
        ]
        usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
        facts = {"object": "chat.completion", "created": 5, "model": "m"}
        rig.upstream.script(Script.of_json({**facts, "id": "chatcmpl-w", "choices": choices, "usage": usage}))
        whole = await kept(rig, n=2)
        opened = {"index": 0, **calls[0], "function": {"name": "f", "arguments": ""}}
        pieces = [{"index": 0, "function": {"arguments": text}} for text in ('{"a"', ":1}")]
        told = chunks(
            [choice(0, role="assistant", content="", reasoning="hm ") | {"logprobs": None}],
            [choice(1, role="assistant", tool_calls=[opened])],
            [
                choice(0, content="one", reasoning="so")
                | {"logprobs": {"content": logprobs["content"][:1], "refusal": None}}
            ],
            [choice(1, tool_calls=pieces[:1]), choice(0, content=" two")],
            [choice(1, tool_calls=pieces[1:]), choice(0) | {"logprobs": {"content": logprobs["content"][1:]}}],
            [choice(0, "stop")],
            [choice(1, "tool_calls")],
            [],
        )
        told[-1]["usage"] = usage
        rig.upstream.script(Script.of_events(told))
        asked = {**ASK, "n": 2, "store": True, "stream": True, "stream_options": {"include_usage": True}}
        assert (await rig.ask("POST", "/chat/completions", asked)).events == told
        streamed = (await rig.ask("GET", "/chat/completions/chatcmpl-n")).json
        assert streamed == {**whole, "id": "chatcmpl-n", "metadata": {}}
        assert [one["choices"] for one in (await listed(rig))["data"]] == [choices, choices]


async def test_stream_that_does_not_come_to_its_end_is_not_kept() -> None:
    async with rigged("chat", hooks=[APIKeyAuthenticator({"sk-1": "t"})]) as rig:
        rig.key = "sk-1"
        begun = chunks([choice(0, role="assistant", content="one")])
        for more in ([{"error": {"message": "overloaded"}}], [], chunks([choice(1, "stop", content="other")])):
            rig.upstream.script(Script.of_events([*begun, *more]))
            reply = await rig.ask("POST", "/chat/completions", {**ASK, "store": True, "stream": True})
            assert reply.events[0] == begun[0]
            assert reply.body.endswith(b"\n\n")
        assert (await listed(rig))["data"] == []


async def test_stream_whose_provider_repeats_an_id_is_kept_under_another_one() -> None:
    async with rigged("chat", hooks=[APIKeyAuthenticator({"sk-1": "t"})]) as rig:
        rig.key = "sk-1"
        calls = [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
        told = chunks([choice(0, role="assistant", content="one")], [choice(0, "tool_calls", tool_calls=calls)])
        ids = []
        for number in range(3):
            rig.upstream.script(Script.of_events(told))
            asked = {**ASK, "store": True, "stream": True, "metadata": {"n": str(number)}}
            events = (await rig.ask("POST", "/chat/completions", asked)).events
            assert [{**event, "id": "chatcmpl-n"} for event in events] == told
            (id,) = {event["id"] for event in events}  # noqa: A001
            ids.append(id)
            found = (await rig.ask("GET", f"/chat/completions/{id}")).json
            assert (found["id"], found["metadata"]) == (id, {"n": str(number)})
            assert found["choices"][0]["message"]["tool_calls"][0]["id"] == "c1"
        assert ids[0] == "chatcmpl-n"
        assert len(set(ids)) == 3
        assert [one["id"] for one in (await listed(rig))["data"]] == ids
        plain = (await rig.ask("POST", "/chat/completions", {**ASK, "stream": True})).events
        assert plain == told  # nobody wants it stored: it passes as it is
