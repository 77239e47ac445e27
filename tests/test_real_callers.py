"""Callers of each API before a real model: the local one, and llama.cpp's own server, asked in chat and in Messages."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from aigateway import Gateway, Provider
from aigateway.formats.messages.laws import MessageLaws
from aigateway.local.llama import LocalModel
from aigateway.transport.protocol import Pool
from tests.answers import path_of
from tests.content_said import of_content
from tests.conversing import CALLERS, joined, question, turns_after
from tests.formats.responses_law import check_stream
from tests.messages_said import of_message
from tests.playback import Heard, Object
from tests.said import Said, of_chat, of_response
from tests.serving import served

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRANCE = "what is the capital of france"
OF_WHOLE: Mapping[str, Callable[[Object], Said]] = {
    "chat": of_chat,
    "responses": of_response,
    "messages": of_message,
    "generate_content": of_content,
}
LIMITS: Mapping[str, Callable[[int], Object]] = {
    "chat": lambda most: {"max_tokens": most, "temperature": 0},
    "responses": lambda most: {"max_output_tokens": most, "temperature": 0},
    "messages": lambda most: {"max_tokens": most, "temperature": 0},
    "generate_content": lambda most: {"generationConfig": {"maxOutputTokens": most, "temperature": 0}},
}


class Stage(msgspec.Struct):
    """A served gateway with the model behind it three times: `local`, `llama-chat` and `llama-messages`."""

    session: aiohttp.ClientSession
    url: str

    async def ask(self, api: str, model: str, turns: list[Object], *, stream: bool, most: int = 10) -> Object:
        """The whole answer, also where it was streamed; a stream must be lawful."""
        body = question(api, turns, model=model, text=FRANCE, stream=stream) | LIMITS[api](most)
        if api == "generate_content":
            body = {key: value for key, value in body.items() if key not in ("model", "stream")}
        async with self.session.post(self.url + path_of(api, stream=stream, model=model), json=body) as reply:
            heard = Heard(reply.status, await reply.read())
        assert heard.status == 200, heard.body
        if not stream:
            whole: Object = heard.json()
            return whole
        if api == "responses":
            check_stream(heard.events())
        laws = MessageLaws()
        for event in heard.events() if api == "messages" else ():
            laws.feed(event)
        assert len(heard.events()) > most // 2
        return joined(api, heard.events())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    model = LocalModel()
    await model.open()
    engine = model._engine
    assert engine is not None
    key, place = engine._key, engine._socket
    hosts = {
        f"llama-{api}": Provider(
            f"llama-{api}", "http://localhost", key, type="llamacpp", apis=[api], socket=place, pool=Pool(keepalive=0)
        )
        for api in ("chat", "messages")
    }
    async with served(Gateway(models={"local": model, **hosts})) as url, aiohttp.ClientSession() as session:
        yield Stage(session, url)


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize("model", ["local", "llama-chat", "llama-messages"])
@pytest.mark.parametrize("api", CALLERS)
async def test_a_caller_is_told_the_capital_of_france(stage: Stage, api: str, model: str, *, stream: bool) -> None:
    whole = await stage.ask(api, model, [], stream=stream)
    said = OF_WHOLE[api](whole)
    assert "Paris" in said.text
    assert said.usage is not None
    spent, made, total, *_ = said.usage
    assert (spent > 5, 3 < made <= 10, total) == (True, True, spent + made)
    assert model in json.dumps(whole)
    if stream:
        return
    cut = OF_WHOLE[api](await stage.ask(api, model, turns_after(api, whole), stream=False, most=2))
    assert cut.finish == "length"
    assert cut.usage is not None
    assert (cut.usage[0] > spent, cut.usage[1]) == (True, 2), "the conversation goes on"


@pytest.mark.parametrize("model", ["local", "llama-chat", "llama-messages"])
async def test_tokens_are_counted_by_the_model_where_it_can(stage: Stage, model: str) -> None:
    body: Any = {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": FRANCE}]}
    async with stage.session.post(f"{stage.url}/v1/messages/count_tokens", json=body) as reply:
        counted = await reply.json()
        assert (reply.status, 5 < counted["input_tokens"] < 100) == (200, True)
        assert ("x-aigateway-estimate" in reply.headers) is (model != "llama-messages")


@pytest.mark.parametrize("api", CALLERS)
@pytest.mark.parametrize("model", ["llama-chat", "llama-messages"])
async def test_a_prompt_that_is_too_long_is_a_400_in_the_callers_form(stage: Stage, api: str, model: str) -> None:
    body = question(api, [], model=model, text="hi " * 9000) | LIMITS[api](2)
    if api == "generate_content":
        del body["model"]
    async with stage.session.post(stage.url + path_of(api, model=model), json=body) as reply:
        error = (await reply.json())["error"]
        assert reply.status == 400, error
    assert "tokens" in error["message"]
