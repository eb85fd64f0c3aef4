"""The one retry loop: who is asked, how often, how long, and what comes out when all fail."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from bot.llm.failures import AskedToWait
from bot.llm.openai import OpenAIModel
from bot.llm.protocol import (
    Alive,
    ContentRefused,
    Delta,
    Finish,
    FinishReason,
    LLMError,
    LLMRateLimited,
    LLMRejected,
    LLMTimeout,
    LLMUnavailable,
    PromptMessage,
    PromptRole,
    PromptTooLong,
    StreamBroken,
    Text,
    Usage,
)
from bot.llm.protocol import Asked as ModelAsked
from bot.llm.router import EmptyAnswer, ModelRouter
from bot.llm.scripted import ScriptedModel, Step
from tests.fakes.clock import FakeClock
from tests.fakes.model_server import ModelServer, refuse, say
from tests.llm.asking import HELLO, Asked, Room, ask, finish_of, seconds, text_of, until

pytestmark = pytest.mark.anyio
DOWN = LLMUnavailable("down")
RETRYABLE = [DOWN, LLMRateLimited("busy"), StreamBroken("cut"), LLMTimeout("slow")]


async def test_an_answer_passes_through_and_a_retry_is_not_needed() -> None:
    room = Room([["Hel", Alive(), "lo"]], ["never"])
    asked, passed = await room.ask()
    assert asked.answer[:3] == [Text(text="Hel"), Alive(), Text(text="lo")]
    assert finish_of(asked.deltas).model == "a"
    assert (room.calls, passed) == ([1, 0], 0.0)
    assert room.models[0].prompts == [HELLO]
    assert room.router.name == "a"


@pytest.mark.parametrize("error", RETRYABLE)
async def test_a_failure_before_the_first_text_is_tried_again_twice_at_most(error: LLMError) -> None:
    room = Room([[Alive(), error], [error], "Hi"])
    asked, passed = await room.ask()
    assert text_of(asked.deltas) == "Hi"
    assert 1 <= passed <= 10.2
    room = Room([[error]] * 3)
    assert (await room.fails_with())[0] is error
    room.check()


async def test_the_waits_are_jittered_within_their_bounds() -> None:
    waits = []
    for seed in range(30):
        room = Room([[DOWN], "Hi"], [])
        room.router = ModelRouter(room.models[:1], room.clock, random.Random(seed))
        waits.append((await room.ask())[1])
    assert 0.5 <= min(waits) < 0.9
    assert 1.6 < max(waits) <= 2.2


async def test_after_its_retries_the_next_model_is_asked() -> None:
    room = Room([[DOWN]] * 3, [[DOWN], "Hi"])
    asked, _ = await room.ask()
    assert finish_of(asked.deltas).model == "b"
    room.check()


@pytest.mark.parametrize("error", [LLMRejected("key"), PromptTooLong("long")])
async def test_what_a_retry_can_not_mend_goes_to_the_next_model_at_once(error: LLMError) -> None:
    room = Room([[error]], ["Hi"])
    asked, passed = await room.ask()
    assert text_of(asked.deltas) == "Hi"
    assert (room.calls, passed) == ([1, 1], 0.0)
    room = Room([[error]])
    assert (await room.fails_with())[0] is error


async def test_a_refused_content_is_shown_to_no_other_model() -> None:
    room = Room([[ContentRefused("no")]], ["Hi"])
    assert isinstance((await room.fails_with())[0], ContentRefused)
    assert room.calls == [1, 0]


async def test_an_error_that_says_do_not_retry_is_not_retried() -> None:
    error = LLMUnavailable("x-should-retry: false")
    error.retryable = False
    room = Room([[error]], ["Hi"])
    await room.ask()
    assert room.calls == [1, 1]


async def test_a_timeout_goes_to_the_next_model_when_there_is_one() -> None:
    room = Room([[LLMTimeout("slow")]], ["Hi"])
    _, passed = await room.ask()
    assert (room.calls, passed) == ([1, 1], 0.0)


@pytest.mark.parametrize("error", [*RETRYABLE, LLMRejected("key"), PromptTooLong("long")])
async def test_after_the_first_visible_text_the_error_is_passed_on_as_it_is(error: LLMError) -> None:
    room = Room([["Hel", error]], ["never"])
    asked, _ = await room.ask()
    assert asked.task.exception() is error
    assert asked.text == "Hel"
    assert room.calls == [1, 0]


# Waits that the server asks for


@pytest.mark.parametrize("kind", [LLMRateLimited, AskedToWait])
async def test_an_asked_wait_is_kept_and_not_outstayed(kind: type[LLMRateLimited | AskedToWait]) -> None:
    room = Room([[kind("busy", retry_after=seconds(20))], "Hi"])
    _, passed = await room.ask()
    assert 20 <= passed <= 20.7


async def test_a_wait_that_is_too_long_goes_to_the_next_model() -> None:
    error = LLMRateLimited("busy", retry_after=seconds(31))
    room = Room([[error]], ["Hi"])
    _, passed = await room.ask()
    assert (room.calls, passed) == ([1, 1], 0.0)
    room = Room([[error]])
    assert (await room.fails_with()) == (error, 0.0)  # the caller can tell people how long


# One budget


async def test_all_tries_share_one_budget() -> None:
    hang: Step = [seconds(1000)]
    slow: Step = [seconds(25), DOWN]
    room = Room([slow] * 3, [slow, hang])
    error, passed = await room.fails_with()
    assert isinstance(error, LLMTimeout)
    assert 119.9 <= passed <= 120.2


async def test_no_wait_begins_that_the_budget_would_not_survive() -> None:
    busy = LLMRateLimited("busy", retry_after=seconds(30))
    room = Room([[seconds(40), busy]] * 2)
    error, passed = await room.fails_with()
    assert error is busy
    assert 110 <= passed <= 111


async def test_the_budget_ends_a_stream_that_has_begun() -> None:
    drip: Step = ["Hel", *(item for _ in range(20) for item in (Alive(), seconds(10)))]
    room = Room([drip])
    asked, passed = await room.ask()
    assert isinstance(asked.task.exception(), LLMTimeout)
    assert asked.text == "Hel"
    assert 119.9 <= passed <= 120.2


# Answers without text


async def test_an_empty_answer_is_tried_once_more() -> None:
    room = Room([[], "Hi"])
    assert text_of((await room.ask())[0].deltas) == "Hi"
    room = Room([[], [Text(text=" \n")], "never"])
    error, _ = await room.fails_with()
    assert isinstance(error, EmptyAnswer)
    assert room.calls == [2]


async def test_white_space_before_the_first_word_waits_for_it() -> None:
    room = Room([[" ", "\n", "Hi", " ", "you"]])
    asked, _ = await room.ask()
    assert asked.answer[:5] == [Alive(), Alive(), Text(text=" \nHi"), Text(text=" "), Text(text="you")]


async def test_all_tokens_spent_on_thoughts_is_for_the_operator() -> None:
    spent = Finish(reason=FinishReason.LENGTH, usage=Usage(), model="a")
    room = Room([[Alive(), spent]])
    error, _ = await room.fails_with()
    assert type(error) is LLMRejected
    assert "tokens" in str(error)


async def test_a_refusal_without_text_is_content_refused() -> None:
    room = Room([[Finish(reason=FinishReason.REFUSED, usage=Usage(), model="a")]])
    assert type((await room.fails_with())[0]) is ContentRefused


class Lawless:
    """A model whose stream ends without a finish."""

    name = "lawless"

    @asynccontextmanager
    async def stream(self, prompt: Sequence[PromptMessage]) -> AsyncIterator[AsyncIterator[Delta]]:
        async def deltas() -> AsyncIterator[Delta]:
            yield Text(text="Hel")

        yield deltas()

    async def aclose(self) -> None:
        pass


async def test_a_stream_without_finish_is_broken() -> None:
    with pytest.raises(StreamBroken):
        await ask(ModelRouter([Lawless()], FakeClock(), random.Random(7)))


# What is told when all fail


async def test_a_prompt_that_is_too_long_for_one_is_told_although_others_fail_otherwise() -> None:
    room = Room([[PromptTooLong("long")]], [[LLMRejected("key")]])
    assert isinstance((await room.fails_with())[0], PromptTooLong)


async def test_a_failure_that_may_pass_is_told_before_one_that_stays() -> None:
    room = Room([[DOWN]] * 3, [[LLMRejected("key")]])
    assert (await room.fails_with())[0] is DOWN


# Leaving, closing, logging


async def test_leaving_or_cancelling_closes_the_model_s_stream() -> None:
    room = Room([["Hel", asyncio.Event()], [asyncio.Event()], ["Hi", "ho"]])
    async with room.router.stream(HELLO) as deltas:
        assert [await anext(deltas), await anext(deltas)] == [ModelAsked(model="a"), Text(text="Hel")]
    asked = Asked(room.router)
    await until(lambda: room.calls == [2])
    asked.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked.task
    async with room.router.stream(HELLO):
        pass  # nothing is asked before the first delta is
    (model,) = room.models
    assert (model.open_streams, model.left_early, room.calls) == (0, 2, [2])


async def test_cancelling_in_a_wait_ends_it() -> None:
    room = Room([[DOWN]])
    asked = Asked(room.router)
    await until(lambda: room.clock.sleeping and room.calls == [1])
    asked.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked.task


class FailsToClose(ScriptedModel):
    async def aclose(self) -> None:
        raise OSError("no")


async def test_closing_closes_every_model() -> None:
    first, last = ScriptedModel(), ScriptedModel()
    router = ModelRouter([first, FailsToClose(), last], FakeClock(), random.Random(7))
    with pytest.raises(OSError, match="no"):
        await router.aclose()
    assert first.closed
    assert last.closed


async def test_a_router_without_models_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ModelRouter([], FakeClock(), random.Random(7))


async def test_the_log_tells_what_happened_and_nothing_that_was_said() -> None:
    room = Room([[DOWN]] * 5, [["secret answer"], ["secret answer"]])
    prompt = [PromptMessage(role=PromptRole.USER, text="secret question")]
    with capture_logs() as lines:
        for _ in range(2):
            asked = Asked(room.router, prompt)
            await asyncio.sleep(0)
            while not asked.task.done():
                await room.clock.advance(seconds(0.5))
    events = [line["event"] for line in lines]
    assert events.count("llm.failed") == 5
    assert events.count("llm.retry_scheduled") == 3  # the fifth failure begins the rest
    assert events.count("llm.breaker_opened") == 1
    assert events.count("llm.finished") == 2
    assert "secret" not in str(lines)


async def test_over_the_wire_a_busy_server_is_waited_for_and_a_broken_one_left() -> None:
    clock = FakeClock()
    async with ModelServer() as busy, ModelServer() as well:
        busy.plan(refuse(429, {}, {"retry-after": "2"}), refuse(401, {"error": {"code": "invalid_api_key"}}))
        well.plan(say("Hi"))
        models = [OpenAIModel(base_url=server.openai_url, model="m", clock=clock) for server in (busy, well)]
        router = ModelRouter(models, clock, random.Random(7))
        asked = Asked(router)
        while not asked.task.done():
            await asyncio.sleep(0.002)
            await clock.advance(seconds(0.05) if busy.requests else seconds(0))
        await asked.task
        assert clock.monotonic() >= seconds(2)
        await router.aclose()
        assert (asked.text, len(busy.requests), len(well.requests)) == ("Hi", 2, 1)
