"""What a newcomer does first: start the gateway with nothing set up, and talk to it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from openai import OpenAI

from aigateway.local import model_file
from tests.test_cli import Served

FRANCE: list[Any] = [{"role": "user", "content": "what is the capital of france"}]


def test_without_any_key_a_real_model_answers_on_every_api_that_it_has(tmp_path: Path) -> None:
    model_file.ensure()  # the start below has no network to fetch it from
    (tmp_path / "empty.yaml").touch()
    offline = {"AIGATEWAY_CACHE": str(model_file.cache_folder()), "PIP_NO_INDEX": "1"}
    gateway = Served(tmp_path, "--config", "empty.yaml", "--port", "0", **offline)
    try:
        with OpenAI(base_url=f"{gateway.url()}/v1", api_key="none", max_retries=0) as client:
            assert [model.id for model in client.models.list()] == ["local"]
            options: Any = {"model": "local", "temperature": 0}
            chat = client.chat.completions.create(messages=FRANCE, max_tokens=40, **options)
            assert "Paris" in (chat.choices[0].message.content or "")
            chunks = client.chat.completions.create(messages=FRANCE, max_tokens=40, stream=True, **options)
            assert "Paris" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            response = client.responses.create(input=FRANCE, max_output_tokens=40, **options)
            assert "Paris" in response.output_text
            with client.responses.stream(input=FRANCE, **options) as stream:
                assert "Paris" in stream.get_final_response().output_text
            assert len(client.embeddings.create(model="local", input="a cat").data[0].embedding) == 576
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.ended() == 0, gateway.errors
    finally:
        gateway.process.kill()
        gateway.ended()
    assert "loading SmolLM2-135M-Instruct" in gateway.errors
    assert "fetching" not in gateway.errors
