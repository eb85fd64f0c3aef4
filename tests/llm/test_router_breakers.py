"""How the router and its breakers work together: who rests, who probes, what counts."""

import asyncio

import pytest

from bot.llm.protocol import ContentRefused, LLMError, LLMRejected, LLMUnavailable, PromptTooLong, StreamBroken
from tests.llm.asking import Asked, Room, ask, seconds, text_of, until

pytestmark = pytest.mark.anyio
DOWN = LLMUnavailable("down")


async def test_a_failing_model_rests_and_all_resting_fails_fast() -> None:
    room = Room([[DOWN]] * 5)
    await room.fails_with()
    await room.fails_with()
    assert room.calls == [5]
    error, passed = await room.fails_with()
    assert isinstance(error, LLMUnavailable)
    assert "rest" in str(error)
    assert passed == 0.0
    assert room.calls == [5]


async def test_a_resting_model_is_passed_over() -> None:
    room = Room([[DOWN]] * 5, ["1", "2", "3"])
    for _ in range(3):
        await room.ask()
    assert room.calls == [5, 3]


async def test_one_probe_after_the_rest_and_its_first_text_lets_the_others_in() -> None:
    word, more = asyncio.Event(), asyncio.Event()
    room = Room([[DOWN]] * 5 + [[word, "Hel", more, "lo"], "Hi"])
    await room.fails_with()
    await room.fails_with()
    await room.clock.advance(seconds(15))
    probe = Asked(room.router)
    await until(lambda: room.calls == [6])
    with pytest.raises(LLMUnavailable, match="rest"):
        await ask(room.router)
    word.set()
    await until(lambda: probe.text == "Hel")
    assert text_of(await ask(room.router)) == "Hi"
    more.set()
    await probe.task
    room.check()


async def test_a_probe_that_is_left_makes_room_for_the_next() -> None:
    room = Room([[DOWN]] * 5 + [[asyncio.Event()], "Hi"])
    await room.fails_with()
    await room.fails_with()
    await room.clock.advance(seconds(15))
    probe = Asked(room.router)
    await until(lambda: room.calls == [6])
    probe.task.cancel()
    await asyncio.gather(probe.task, return_exceptions=True)
    assert text_of(await ask(room.router)) == "Hi"


@pytest.mark.parametrize("error", [LLMRejected("form"), PromptTooLong("long"), ContentRefused("no")])
async def test_errors_of_the_call_itself_do_not_count(error: LLMError) -> None:
    room = Room([[error]] * 10 + ["Hi"])
    for _ in range(10):
        await room.fails_with()
    assert text_of((await room.ask())[0].deltas) == "Hi"


async def test_breaking_off_each_time_counts_as_failures_in_a_row() -> None:
    room = Room([["Hel", StreamBroken("cut")]] * 5)
    for _ in range(5):
        await room.fails_with()
    assert "rest" in str((await room.fails_with())[0])
