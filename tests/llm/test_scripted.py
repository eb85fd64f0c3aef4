"""The scripted model: it plays what was written and tells when the test and the script differ."""

import asyncio
from datetime import timedelta

import pytest

from bot.llm.protocol import Alive, Finish, FinishReason, LLMUnavailable, PromptMessage, PromptRole, Text, Usage
from bot.llm.scripted import ScriptedModel, UnexpectedCall, UnusedSteps
from tests.fakes.clock import FakeClock
from tests.llm.asking import HELLO, Asked, ask, finish_of, text_of, until

pytestmark = pytest.mark.anyio


async def test_each_call_takes_the_next_step_and_is_recorded() -> None:
    other = (PromptMessage(role=PromptRole.USER, text="And?"),)
    model = ScriptedModel(["Hi", [Text(text="a"), Alive(), "b"]])
    assert text_of(await ask(model)) == "Hi"
    deltas = await ask(model, other)
    assert deltas[:3] == [Text(text="a"), Alive(), Text(text="b")]
    assert finish_of(deltas).reason is FinishReason.STOP
    assert model.prompts == [HELLO, other]
    model.check_all_used()


async def test_a_finish_of_its_own_is_the_only_one() -> None:
    finish = Finish(reason=FinishReason.LENGTH, usage=Usage(prompt_tokens=1), model="x")
    assert finish_of(await ask(ScriptedModel([["a", finish]]))) is finish


async def test_an_exception_comes_where_it_stands() -> None:
    model = ScriptedModel([["a", LLMUnavailable("down"), "b"]])
    asked = Asked(model)
    with pytest.raises(LLMUnavailable):
        await asked.task
    assert (asked.text, model.left_early) == ("a", 0)


async def test_it_waits_for_events_and_for_the_clock() -> None:
    clock, gate = FakeClock(), asyncio.Event()
    asked = Asked(ScriptedModel([["a", gate, "b", timedelta(seconds=5), "c"]], clock=clock))
    await until(lambda: asked.text == "a")
    gate.set()
    await until(lambda: asked.text == "ab")
    await clock.advance(timedelta(seconds=5))
    await asked.task
    assert asked.text == "abc"


async def test_one_call_too_many_and_one_too_few_are_errors() -> None:
    model = ScriptedModel(["Hi"])
    with pytest.raises(UnusedSteps, match="1 steps are left"):
        model.check_all_used()
    await ask(model)
    with pytest.raises(UnexpectedCall, match="call 2"):
        await ask(model)


async def test_streams_that_are_left_are_counted() -> None:
    model = ScriptedModel([["a", "b"], ["a", asyncio.Event()], "a"])
    async with model.stream(HELLO) as deltas:
        assert model.open_streams == 1
        await anext(deltas)
    asked = Asked(model)
    await until(lambda: asked.text == "a")
    asked.task.cancel()
    await asyncio.gather(asked.task, return_exceptions=True)
    await ask(model)
    assert (model.open_streams, model.left_early) == (0, 2)
