"""What a turn's talk with the model keeps apart when news, a stop and the first text come at the same moment."""

import asyncio
from collections.abc import Sequence

import pytest

from bot.chat.generation import LONGEST_ANSWER, Generation, Outcome
from bot.chat.money import Prices
from bot.chat.spending import Spending
from bot.chat.terms import no_limits
from bot.llm.protocol import PromptMessage, PromptRole
from bot.llm.scripted import ScriptedModel
from store import Absorbed, Ending, Grant, Message, Order
from tests.chat.chatting import until
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.anyio


class Talk:
    """A talk whose store answers `absorb` when it is let go: with more to read, or with nothing."""

    def __init__(self, *steps: object) -> None:
        self.model = ScriptedModel(steps, clock=FakeClock())  # type: ignore[arg-type]
        self.absorbing, self.go_on = asyncio.Event(), asyncio.Event()
        self.absorbed: Absorbed | None = None
        self.shown: list[str] = []
        self.generation = Generation(
            self.model,
            prepare=self._prepare,
            prompt=lambda window, tokens: [PromptMessage(role=PromptRole.USER, text="?")],
            tokens=100,
            afford=self._afford,
            spending=Spending(prices=Prices(), answer_tokens=1, limits=no_limits, reserve=self._reserve),
            absorb=self._absorb,
            readdress=lambda address: None,
            show=self.shown.append,
        )

    async def _afford(self, prompt: Sequence[PromptMessage], window: Sequence[Message]) -> str:
        return ""

    async def _reserve(self, order: Order) -> Grant:
        return Grant()

    async def _prepare(self, window: tuple[Message, ...]) -> tuple[Message, ...]:
        return window

    async def _absorb(self) -> Absorbed | None:
        self.absorbing.set()
        await self.go_on.wait()
        absorbed, self.absorbed = self.absorbed, None
        return absorbed

    def begin(self) -> asyncio.Task[Outcome]:
        return asyncio.create_task(self.generation.run(()))


async def test_the_first_words_of_an_answer_that_is_begun_anew_do_not_stand_in_the_new_one() -> None:
    first_word = asyncio.Event()
    talk = Talk([first_word, "Lost. "], "Both.")
    talk.absorbed = Absorbed(window=(), address="")
    talking = talk.begin()
    await until(lambda: talk.model.open_streams == 1)
    talk.generation.news()
    await talk.absorbing.wait()
    first_word.set()
    await asyncio.sleep(0.01)
    talk.go_on.set()
    answer = (await talking).answer
    assert answer is not None
    assert answer.text == "Both."
    assert talk.shown == ["Both."]


async def test_who_is_cancelled_at_the_end_of_the_answer_is_cancelled() -> None:
    last_word = asyncio.Event()
    for patience in range(12):
        talk = Talk(["All of it.", last_word])
        talk.go_on.set()
        last_word.clear()
        talking = talk.begin()
        await until(lambda talk=talk: talk.shown == ["All of it."])
        last_word.set()
        for _ in range(patience):
            await asyncio.sleep(0)
        ended = talking.done()
        talking.cancel()
        await asyncio.wait({talking})
        assert talking.cancelled() or ended, f"a cancellation was lost after {patience} steps"


async def test_a_stop_before_the_model_was_asked_asks_it_nothing() -> None:
    talk = Talk()
    talk.generation.stop()
    assert await talk.begin() == Outcome(error="stopped")
    assert talk.model.prompts == []


async def test_an_answer_without_end_is_cut_at_the_longest_that_there_is_and_the_model_is_left() -> None:
    talk = Talk(["word " * 10_000] * 100)
    talk.go_on.set()
    outcome = await talk.begin()
    assert outcome.answer is not None
    assert (len(outcome.answer.text), outcome.answer.ending) == (LONGEST_ANSWER, Ending.LENGTH)
    assert talk.model.left_early == 1
    assert max(map(len, talk.shown)) == LONGEST_ANSWER
