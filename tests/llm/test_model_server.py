"""The fake server as a process of its own, as the tests of the whole bot use it."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import httpx
import pytest

from bot.clock import SystemClock
from bot.llm.anthropic import AnthropicModel
from bot.llm.openai import OpenAIModel
from bot.llm.protocol import LLMRejected, LLMUnavailable
from tests.llm.asking import ask, text_of

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]


async def test_as_a_process_it_answers_both_dialects_and_takes_a_plan(tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    arguments = ["-m", "tests.fakes.model_server", "--port-file", str(port_file), "--delay-ms", "1", "--api-key", "k"]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        url = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().strip()
        assert url.endswith(f":{port_file.read_text()}")
        openai = OpenAIModel(base_url=f"{url}/v1", model="m", clock=SystemClock(), api_key="k")
        anthropic = AnthropicModel(base_url=url, model="m", clock=SystemClock(), api_key="k")
        stranger = OpenAIModel(base_url=f"{url}/v1", model="m", clock=SystemClock(), api_key="x")
        assert text_of(await ask(openai)) == "You asked: Hello?"
        assert text_of(await ask(anthropic)) == "You asked: Hello?"
        with pytest.raises(LLMRejected):
            await ask(stranger)
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            await http.post("/_plan", json=[{"status": 503, "times": 1}, {"say": ["planned"]}])
            with pytest.raises(LLMUnavailable):
                await ask(openai)
            assert text_of(await ask(openai)) == "planned"
            seen = (await http.get("/_requests")).json()
        assert [request["path"] for request in seen[:2]] == ["/v1/chat/completions", "/v1/messages"]
        assert seen[0]["body"]["messages"] == [{"role": "user", "content": "Hello?"}]
        for model in (openai, anthropic, stranger):
            await model.aclose()
    finally:
        os.kill(process.pid, signal.SIGTERM)
        await process.communicate()
