"""The OpenAI dialect at the fake server, as the tests of dialect and wire both ask it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bot.llm.openai import OpenAIModel
from bot.llm.protocol import FinishReason, LLMError, Usage
from tests.fakes.clock import FakeClock
from tests.fakes.model_server import Behaviour, ModelServer, chunk, data
from tests.llm.asking import ask, finish_of, text_of

KEY = "sk-very-secret"
DONE = data("[DONE]")
HEAD = data(chunk(role="assistant", content=""))
STOP = data(chunk(finish="stop"))


@asynccontextmanager
async def model_at(server: ModelServer, clock: FakeClock | None = None, **settings: Any) -> AsyncIterator[OpenAIModel]:
    model = OpenAIModel(base_url=server.openai_url, model="m", clock=clock or FakeClock(), api_key=KEY, **settings)
    try:
        yield model
    finally:
        await model.aclose()


async def answer(server: ModelServer, *behaviours: Behaviour) -> tuple[str, FinishReason, Usage]:
    server.plan(*behaviours)
    async with model_at(server) as model:
        deltas = await ask(model)
    finish = finish_of(deltas)
    return text_of(deltas), finish.reason, finish.usage


async def failure(server: ModelServer, *behaviours: Behaviour) -> LLMError:
    server.plan(*behaviours)
    async with model_at(server) as model:
        with pytest.raises(LLMError) as caught:
            await ask(model)
    assert KEY not in str(caught.value)
    return caught.value
