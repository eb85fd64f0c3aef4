"""Budgets from the question to the account: the real store, the real turns, a model that is asked only when that is paid."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.chat.limits import limit_of
from bot.chat.money import Cost, Price, Prices, cost_of, worst_case
from bot.chat.protocol import Address
from bot.chat.run import LEASE
from bot.chat.terms import Terms
from bot.llm.protocol import (
    Finish,
    FinishReason,
    LLMClient,
    LLMTimeout,
    LLMUnavailable,
    PromptMessage,
    PromptRole,
    PromptTooLong,
    Usage,
)
from bot.llm.router import ModelRouter
from store import ConversationKey, Limit, Meter, Order, Payer, Period, TurnState
from tests.chat.chatting import KITCHEN, PLATFORM, SETTINGS, Chat, chatting, until
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.anyio

GARDEN = Address(platform=PLATFORM, workspace="w", channel="garden")
LONGEST = 50
PRICES = Prices(by_model={"scripted": Price(prompt=2_000_000, completion=8_000_000)})
PROMPT = [PromptMessage(role=PromptRole.SYSTEM, text="Be kind."), PromptMessage(role=PromptRole.USER, text="Hello?")]
ONE = worst_case(PRICES, PROMPT, LONGEST)
"""What one answer to "Hello?" may cost."""
DAY = timedelta(days=1)


def answer(text: str, *, prompt: int = 0, completion: int = 0) -> list[object]:
    """Script an answer with what the provider counts for it."""
    usage = Usage(prompt_tokens=prompt, completion_tokens=completion)
    return [text, Finish(reason=FinishReason.STOP, usage=usage, model="scripted-2026")]


@asynccontextmanager
async def budgeted(
    *steps: object,
    limits: Callable[[], tuple[Limit, ...]] | tuple[Limit, ...] = (),
    asked: Callable[[Chat], LLMClient] = lambda chat: chat.model,
    clock: FakeClock | None = None,
    concurrent: int = 32,
    working: bool = True,
) -> AsyncIterator[Chat]:
    """Open a chat where these limits apply to everybody."""
    settings = replace(SETTINGS, prices=PRICES, answer_tokens=LONGEST, concurrent=concurrent)

    def terms(key: ConversationKey) -> Terms:
        return Terms(model=asked(chat), persona="Be kind.", limits=lambda payer: limits() if callable(limits) else limits)

    async with chatting(*steps, terms=terms, settings=settings, clock=clock, working=working) as chat:
        yield chat


async def account(chat: Chat, payer: Payer = Payer.USER, *, user: str = "ada", channel: str = "kitchen") -> Meter:
    """What somebody has spent today."""
    meters = await chat.store.standing(PLATFORM, "w", channel, user)
    (meter,) = (meter for meter in meters if (meter.payer, meter.period) == (payer, Period.DAY))
    return meter


def spent(*costs: Cost) -> tuple[int, int, int]:
    """One turn of so much, as an account has it."""
    total = sum(costs, Cost())
    return (1, total.tokens, total.money)


def told(meter: Meter) -> tuple[int, int, int]:
    return (meter.turns, meter.tokens, meter.money)


def cost(prompt: int, completion: int) -> Cost:
    return cost_of(PRICES, "scripted", prompt_tokens=prompt, completion_tokens=completion)


async def test_a_hundred_turns_at_once_with_money_for_ten_ask_the_model_ten_times() -> None:
    go_on = asyncio.Event()
    steps = [[go_on, *answer("Hi.", prompt=ONE.prompt_tokens, completion=LONGEST)] for _ in range(100)]
    budget = limit_of("workspace-money", 10 * ONE.money)
    async with budgeted(*steps, limits=(budget,), concurrent=100) as chat:
        await asyncio.gather(*[chat.say("Hello?", user=f"user{n}", channel=f"channel{n}") for n in range(100)])
        places = [replace(KITCHEN, channel=f"channel{n}") for n in range(100)]
        await until(lambda: chat.model.open_streams + sum(bool(chat.surface.texts(place)) for place in places) == 100)
        go_on.set()
        await chat.quiet()
        assert len(chat.model.prompts) == 10
        said = [text for place in places for text in chat.surface.texts(place)]
        assert sum(text.startswith("Hi.") for text in said) == 10
        assert sum("This workspace's budget of" in text and "from 00:00 UTC" in text for text in said) == 90
        everybody = await account(chat, Payer.ALL)
        assert everybody.money == budget.amount


async def test_one_after_the_other_they_spend_it_to_the_end_and_no_further() -> None:
    steps = [answer("Hi.", prompt=ONE.prompt_tokens, completion=LONGEST) for _ in range(3)]
    async with budgeted(*steps, limits=(limit_of("all-tokens", 3 * ONE.tokens),)) as chat:
        for n in range(6):
            await chat.say("Hello?", user=f"user{n}")
            await chat.quiet()
        assert len(chat.model.prompts) == 3


async def test_what_an_answer_did_not_take_is_there_for_the_next() -> None:
    steps = [answer("Hi.", prompt=1, completion=1) for _ in range(5)]
    async with budgeted(*steps, limits=(limit_of("all-tokens", ONE.tokens + 8),)) as chat:
        for n in range(5):
            await chat.say("Hello?", user=f"user{n}")
            await chat.quiet()
        chat.model.check_all_used()


async def test_without_limits_everything_is_on_the_accounts_all_the_same() -> None:
    async with budgeted(answer("Hi.", prompt=70, completion=20)) as chat:
        await chat.say("Hello?")
        await chat.quiet()
        for payer in Payer:
            assert told(await account(chat, payer)) == spent(cost(70, 20))


async def test_a_question_that_no_day_has_room_for_is_told_to_begin_anew() -> None:
    async with budgeted("First.", limits=(limit_of("user-tokens", ONE.tokens),)) as chat:
        await chat.say("Hello?")
        await chat.quiet()
        await chat.say("Hello again?")
        await chat.quiet()
        (_, sentence) = chat.surface.texts(KITCHEN)
        assert sentence.startswith(f"This may take more than your {ONE.tokens} tokens a day")
        assert await chat.history() == [("user", "Hello?"), ("assistant", "First."), ("user", "Hello again?")]


async def test_the_sentence_is_said_once_a_day_and_stands_where_the_answer_comes() -> None:
    amount = 3 * ONE.tokens
    steps = [answer("First.", prompt=amount - 1, completion=1), "Late."]
    async with budgeted(*steps, limits=(limit_of("user-tokens", amount),)) as chat:
        for question in ("Hello?", "Two?", "Three?"):
            await chat.say(question)
            await chat.quiet()
        refused = f"Your {amount} tokens of today are used up; from 00:00 UTC on I answer again"
        assert [text.split(", and")[0] for text in chat.surface.texts(KITCHEN)] == ["First.", refused]
        conversation = await chat.store.find(chat.key())
        assert conversation is not None
        chat.clock.set_wall_clock(by=DAY)
        assert await chat.turns.retry(conversation.id)
        await chat.quiet()
        assert chat.surface.texts(KITCHEN)[-1] == "Late."
        said = ["Hello?", "First.", "Two?", "Three?", "Late."]
        assert [text for _, text in await chat.history()] == said


async def test_who_retries_too_early_still_reads_why_there_is_no_answer() -> None:
    async with budgeted(answer("First.", prompt=300, completion=1), limits=(limit_of("user-tokens", 301),)) as chat:
        await chat.say("Hello?")
        await chat.quiet()
        await chat.say("Two?")
        await chat.quiet()
        before = chat.surface.texts(KITCHEN)
        conversation = await chat.store.find(chat.key())
        assert conversation is not None
        assert await chat.turns.retry(conversation.id)
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == before
        assert "are used up" in before[-1]


async def test_those_who_share_a_budget_are_told_once_in_each_place() -> None:
    first = answer("First.", prompt=300, completion=1)
    async with budgeted(first, limits=(limit_of("workspace-tokens", 301),)) as chat:
        for channel in ("kitchen", "garden"):
            for user in ("ada", "bob", "cy"):
                await chat.say("Hello?", user=user, channel=channel)
                await chat.quiet()
        assert [text[:16] for text in chat.surface.texts(KITCHEN)] == ["First.", "This workspace's"]
        assert [text[:16] for text in chat.surface.texts(GARDEN)] == ["This workspace's"]


async def test_turns_are_counted_by_the_minute() -> None:
    async with budgeted("One.", "Two.", "Four.", limits=(limit_of("user-turns", 2),)) as chat:
        for question in ("One?", "Two?", "Three?"):
            await chat.say(question)
            await chat.quiet()
        (*_, sentence) = chat.surface.texts(KITCHEN)
        assert sentence.startswith("Your 2 turns of this minute are used up; from 00:01 UTC on")
        await chat.clock.advance(timedelta(minutes=1))
        await chat.say("Four?")
        await chat.quiet()
        assert chat.surface.texts(KITCHEN)[-1] == "Four."


async def test_who_comes_near_the_end_is_warned_once_under_the_answer() -> None:
    steps, amount = [answer(text, prompt=1, completion=1) for text in ("One.", "Two.")], ONE.tokens * 5 // 4
    async with budgeted(*steps, limits=(limit_of("user-tokens", amount),)) as chat:
        await chat.say("Hello?")
        await chat.quiet()
        await chat.say("Hi?")
        await chat.quiet()
        warned = f"One.\n\n*(80 % of your {amount} tokens of today are used)*"
        assert chat.surface.texts(KITCHEN) == [warned, "Two."]
        assert await chat.history() == [("user", "Hello?"), ("assistant", "One."), ("user", "Hi?"), ("assistant", "Two.")]


async def test_a_limit_holds_from_the_moment_when_it_is_set() -> None:
    limits: list[Limit] = []
    async with budgeted(answer("One.", prompt=300, completion=1), limits=lambda: tuple(limits)) as chat:
        await chat.say("Hello?")
        await chat.quiet()
        limits.append(limit_of("user-tokens", 200))
        await chat.say("Hello?")
        await chat.quiet()
        assert "are used up" in chat.surface.texts(KITCHEN)[-1]


async def test_an_answer_that_is_begun_anew_is_charged_twice() -> None:
    never = asyncio.Event()
    both = answer("Both.", prompt=70, completion=20)
    async with budgeted([never], both, limits=(limit_of("user-tokens", 1000),)) as chat:
        await chat.say("Hello?")
        await until(lambda: chat.model.open_streams == 1)
        await chat.say("Are you there?")
        await chat.quiet()
        assert told(await account(chat)) == spent(cost(ONE.prompt_tokens, 0), cost(70, 20))


async def test_a_stopped_answer_is_charged_with_what_came_of_it() -> None:
    never = asyncio.Event()
    async with budgeted(["abc" * 10, never]) as chat:
        await chat.say("Hello?")
        await until(lambda: bool(chat.surface.texts(KITCHEN)))
        conversation = await chat.store.find(chat.key())
        assert conversation is not None
        await chat.turns.stop(conversation.id)
        await chat.quiet()
        assert told(await account(chat)) == spent(cost(ONE.prompt_tokens, 10))


async def test_a_prompt_that_is_too_long_costs_nothing_and_the_shorter_one_what_it_takes() -> None:
    steps = [[PromptTooLong("long")], answer("Hi.", prompt=70, completion=20)]
    async with budgeted(*steps, limits=(limit_of("user-tokens", 1000),)) as chat:
        await chat.say("Hello?")
        await chat.quiet()
        assert told(await account(chat)) == spent(cost(70, 20))


async def test_a_model_that_is_down_costs_a_turn_and_no_money() -> None:
    async with budgeted([LLMUnavailable("down")], limits=(limit_of("user-tokens", 1000),)) as chat:
        await chat.say("Hello?")
        await chat.quiet()
        assert told(await account(chat)) == (1, 0, 0)


async def test_each_try_of_the_router_is_charged_and_set_aside() -> None:
    def routed(chat: Chat) -> LLMClient:
        return ModelRouter([chat.model], chat.clock, random.Random(7))

    slow, hi = [LLMTimeout("slow")], answer("Hi.", prompt=70, completion=20)
    async with budgeted(slow, hi, limits=(limit_of("user-tokens", 1000),), asked=routed) as chat:
        await chat.say("Hello?")
        await chat.quiet()
        assert told(await account(chat)) == spent(cost(ONE.prompt_tokens, 0), cost(70, 20))
    async with budgeted(slow, limits=(limit_of("user-tokens", ONE.tokens),), asked=routed) as chat:
        await chat.say("Hello?")
        await chat.quiet()
        assert len(chat.model.prompts) == 1
        assert "are used up" in chat.surface.texts(KITCHEN)[-1]
        assert told(await account(chat)) == spent(cost(ONE.prompt_tokens, 0))


async def test_what_a_dead_process_had_set_aside_counts_as_spent() -> None:
    clock = FakeClock()
    limits = (limit_of("user-tokens", 10_000),)
    async with budgeted(answer("Hi.", prompt=70, completion=20), limits=limits, clock=clock, working=False) as chat:
        await chat.say("Hello?")
        claim = await chat.store.claim(lease=LEASE, window=20, platforms=[PLATFORM])
        assert claim is not None
        await chat.store.reserve(claim.hold, Order(author_id="ada", tokens=ONE.tokens, money=ONE.money, limits=limits))
        await clock.advance(LEASE)
        chat.task = asyncio.create_task(chat.turns.run())
        await chat.quiet()
        assert chat.surface.texts(KITCHEN) == ["Hi."]
        assert told(await account(chat)) == spent(ONE, cost(70, 20))


async def test_what_is_handed_back_is_charged_and_the_turn_is_counted_once() -> None:
    never = asyncio.Event()
    async with budgeted([never], answer("Hi.", prompt=70, completion=20), limits=(limit_of("user-tokens", 1000),)) as chat:
        await chat.say("Hello?")
        await until(lambda: chat.model.open_streams == 1)
        assert chat.task is not None
        chat.task.cancel()
        await asyncio.wait({chat.task})
        chat.task = asyncio.create_task(chat.turns.run())
        await chat.quiet()
        assert told(await account(chat)) == spent(cost(ONE.prompt_tokens, 0), cost(70, 20))


async def test_a_refused_turn_has_failed_and_cost_nothing() -> None:
    async with budgeted(limits=(limit_of("user-tokens", 10),)) as chat:
        await chat.say("Hello?")
        await chat.quiet()
        conversation = await chat.store.find(chat.key())
        assert conversation is not None
        facts = await chat.store.facts(1)
        assert facts is not None
        assert facts.state is TurnState.FAILED
        assert told(await account(chat)) == (0, 0, 0)
