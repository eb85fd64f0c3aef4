"""How the tests of this room ask a model, and wait for what happens on real sockets."""

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import timedelta

from bot.llm import protocol
from bot.llm.protocol import Delta, Finish, LLMClient, LLMError, PromptMessage, PromptRole, Text
from bot.llm.router import ModelRouter
from bot.llm.scripted import ScriptedModel, Step
from tests.fakes.clock import FakeClock

HELLO = (PromptMessage(role=PromptRole.USER, text="Hello?"),)


async def ask(model: LLMClient, prompt: Sequence[PromptMessage] = HELLO) -> list[Delta]:
    """Give all deltas of an answer."""
    async with model.stream(prompt) as deltas:
        return [delta async for delta in deltas]


def text_of(deltas: Sequence[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, Text))


def finish_of(deltas: Sequence[Delta]) -> Finish:
    """Give the finish, which is there exactly once and last."""
    (finish,) = (delta for delta in deltas if isinstance(delta, Finish))
    assert deltas[-1] is finish
    return finish


class Asked:
    """An answer that is being read in the background; `deltas` has what came so far."""

    def __init__(self, model: LLMClient, prompt: Sequence[PromptMessage] = HELLO) -> None:
        self.deltas: list[Delta] = []
        self.task = asyncio.create_task(self._read(model, prompt))

    async def _read(self, model: LLMClient, prompt: Sequence[PromptMessage]) -> None:
        async with model.stream(prompt) as deltas:
            async for delta in deltas:
                self.deltas.append(delta)

    @property
    def text(self) -> str:
        return text_of(self.deltas)

    @property
    def answer(self) -> list[Delta]:
        """What came of it, without which models were asked for it."""
        return [delta for delta in self.deltas if not isinstance(delta, protocol.Asked | protocol.Failed)]


async def until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Wait for something that another task or the network does; it takes milliseconds, or the test has failed."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError(f"{what} did not come about")


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


class Room:
    """A router over scripted models on a clock that runs as fast as they ask."""

    def __init__(self, *scripts: Sequence[Step | str]) -> None:
        self.clock = FakeClock()
        self.models = [
            ScriptedModel(steps, name=name, clock=self.clock) for name, steps in zip("abc", scripts, strict=False)
        ]
        self.router = ModelRouter(self.models, self.clock, random.Random(7))

    @property
    def calls(self) -> list[int]:
        return [len(model.prompts) for model in self.models]

    async def ask(self) -> tuple[Asked, float]:
        """Ask, letting time pass as it is needed; tell how much did."""
        began = self.clock.monotonic()
        asked = Asked(self.router)
        asked.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.sleep(0)
        while not asked.task.done():
            await self.clock.advance(seconds(0.1))
        assert all(model.open_streams == 0 for model in self.models)
        return asked, (self.clock.monotonic() - began).total_seconds()

    async def fails_with(self) -> tuple[LLMError, float]:
        asked, passed = await self.ask()
        error = asked.task.exception()
        assert isinstance(error, LLMError)
        return error, passed

    def check(self) -> None:
        for model in self.models:
            model.check_all_used()
