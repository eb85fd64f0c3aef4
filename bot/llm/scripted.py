"""A model that plays a script, for tests: each call takes the next step and is recorded.

A call that no step was written for, and a step that no call took, are both errors: a test that passes says how often the
model was asked.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from datetime import timedelta

from bot.clock import Clock, SystemClock
from bot.llm.protocol import Alive, Delta, Finish, FinishReason, PromptMessage, Text, Usage

Item = str | Text | Alive | Finish | Exception | asyncio.Event | timedelta
"""A text or delta to give, an exception to raise, an event to wait for, a time to let pass."""
Step = Sequence[Item]


class UnexpectedCall(AssertionError):
    """The model was asked more often than scripted."""


class UnusedSteps(AssertionError):
    """The model was asked less often than scripted."""


class ScriptedModel:
    """Plays `steps`, one a call. A step that neither ends in a `Finish` nor raises gets a `Finish` with STOP."""

    def __init__(self, steps: Iterable[Step | str] = (), *, name: str = "scripted", clock: Clock | None = None) -> None:
        self._steps: list[Step] = []
        self._name = name
        self._clock = clock or SystemClock()
        self.prompts: list[tuple[PromptMessage, ...]] = []
        """What was asked, call by call."""
        self.open_streams = 0
        self.left_early = 0
        """How many streams were left before their end."""
        self.closed = False
        self.add(*steps)

    @property
    def name(self) -> str:
        return self._name

    def add(self, *steps: Step | str) -> None:
        """Script further calls; a bare text is a whole answer."""
        self._steps += [[step] if isinstance(step, str) else step for step in steps]

    def stream(self, prompt: Sequence[PromptMessage]) -> AbstractAsyncContextManager[AsyncIterator[Delta]]:
        return self._stream(tuple(prompt))

    async def aclose(self) -> None:
        self.closed = True

    def check_all_used(self) -> None:
        """Raise unless every step was taken."""
        if self._steps:
            raise UnusedSteps(f"{self._name} was called {len(self.prompts)} times, {len(self._steps)} steps are left")

    @asynccontextmanager
    async def _stream(self, prompt: tuple[PromptMessage, ...]) -> AsyncIterator[AsyncIterator[Delta]]:
        self.prompts.append(prompt)
        if not self._steps:
            raise UnexpectedCall(f"{self._name} has no step for call {len(self.prompts)}")
        step = self._steps.pop(0)
        self.open_streams += 1
        played = asyncio.Event()
        try:
            async with aclosing(self._play(step, played)) as deltas:
                yield deltas
        finally:
            self.open_streams -= 1
            self.left_early += not played.is_set()

    async def _play(self, step: Step, played: asyncio.Event) -> AsyncGenerator[Delta, None]:
        finished = False
        for item in step:
            match item:
                case Exception():
                    played.set()
                    raise item
                case asyncio.Event():
                    await item.wait()
                case timedelta():
                    await self._clock.sleep(item)
                case Finish():
                    finished = True
                    played.set()
                    yield item
                case Text() | Alive():
                    yield item
                case str():
                    yield Text(text=item)
        if not finished:
            played.set()
            yield Finish(reason=FinishReason.STOP, usage=Usage(), model=self._name)
