"""Laws of a turn's spending: what is set aside before each call of the model, and what is charged behind it."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chat.limits import limit_of
from bot.chat.money import Price, Prices, cost_of, worst_case
from bot.chat.spending import Spending
from bot.chat.tokens import prompt_tokens
from bot.llm.protocol import (
    LLMError,
    LLMRejected,
    LLMTimeout,
    LLMUnavailable,
    PromptMessage,
    PromptRole,
    StreamBroken,
    Usage,
)
from store import Charge, Grant, LeaseLost, Limit, Order
from tests.fakes.clock import START

pytestmark = pytest.mark.anyio

PROMPT = [PromptMessage(role=PromptRole.USER, text="x" * 300)]
READ = prompt_tokens(PROMPT)
PRICES = Prices(by_model={"big": Price(prompt=3_000_000, completion=9_000_000), "small": Price(prompt=1, completion=1)})
LONGEST = 50
BUDGET = limit_of("user-tokens", 1000)


class Purse:
    """A store that grants orders up to an amount of tokens, and remembers them."""

    def __init__(self, tokens: int = 10**9, *, told: bool = False, near: tuple[Limit, ...] = ()) -> None:
        self.tokens, self.told, self.near = tokens, told, near
        self.orders: list[Order] = []
        self.lost = False

    async def reserve(self, order: Order) -> Grant:
        self.orders.append(order)
        if self.lost:
            raise LeaseLost("gone")
        if order.tokens > self.tokens:
            return Grant(refused=order.limits[0], until=START, told=self.told)
        return Grant(near=self.near)

    def spending(self, *limits: Limit, prices: Prices = PRICES) -> Spending:
        return Spending(prices=prices, answer_tokens=LONGEST, limits=lambda payer: limits, reserve=self.reserve)


def charge(read: int, written: int, *, model: str = "big") -> Charge:
    cost = cost_of(PRICES, model, prompt_tokens=read, completion_tokens=written)
    return Charge(author_id="ada", prompt_tokens=read, completion_tokens=written, money=cost.money)


async def begun(purse: Purse | None = None, *limits: Limit) -> Spending:
    spending = (purse or Purse()).spending(*limits)
    assert await spending.afford(PROMPT, "ada") is None
    spending.begins(PROMPT, "big")
    return spending


async def test_without_limits_the_store_is_not_asked_and_the_cost_is_charged_all_the_same() -> None:
    purse = Purse()
    spending = await begun(purse)
    spending.finished(Usage(prompt_tokens=70, completion_tokens=20))
    assert purse.orders == []
    assert spending.charge == charge(70, 20)


async def test_a_call_is_set_aside_at_its_worst() -> None:
    purse = Purse()
    await begun(purse, BUDGET)
    worst = worst_case(PRICES, PROMPT, LONGEST)
    assert purse.orders == [Order(author_id="ada", tokens=worst.tokens, money=worst.money, limits=(BUDGET,))]
    assert worst.tokens == READ + LONGEST


async def test_a_further_call_is_set_aside_beside_what_was_spent() -> None:
    purse = Purse()
    spending = await begun(purse, BUDGET)
    spending.heard("abc" * 10)
    assert await spending.afford(PROMPT, "ada") is None
    assert [order.tokens for order in purse.orders] == [READ + LONGEST, READ + LONGEST + READ + 10]


async def test_what_failed_without_cost_needs_nothing_more_set_aside() -> None:
    purse = Purse()
    spending = await begun(purse, BUDGET)
    spending.failed(LLMUnavailable("down"))
    assert await spending.afford(PROMPT, "ada") is None
    assert len(purse.orders) == 1


async def test_another_payer_or_another_limit_is_set_aside_anew() -> None:
    purse = Purse()
    spending = await begun(purse, BUDGET)
    spending.failed(LLMUnavailable("down"))
    await spending.afford(PROMPT, "bob")
    assert [order.author_id for order in purse.orders] == ["ada", "bob"]


async def test_who_is_refused_is_charged_nothing() -> None:
    purse = Purse(tokens=READ)
    spending = purse.spending(BUDGET)
    refusal = await spending.afford(PROMPT, "ada")
    assert refusal is not None
    assert (refusal.limit, refusal.until, refusal.quiet, refusal.too_small) == (BUDGET, START, False, False)
    assert spending.charge is None


async def test_who_is_refused_in_the_middle_is_charged_what_came_before() -> None:
    purse = Purse(tokens=READ + LONGEST)
    spending = await begun(purse, BUDGET)
    spending.failed(LLMTimeout("slow"))
    assert await spending.afford(PROMPT, "ada") is not None
    assert spending.charge == charge(READ, 0)


async def test_a_refusal_is_quiet_when_it_was_told_unless_waiting_does_not_help() -> None:
    told = await Purse(tokens=0, told=True).spending(BUDGET).afford(PROMPT, "ada")
    assert told is not None
    assert (told.quiet, told.too_small) == (True, False)
    small = await Purse(tokens=0, told=True).spending(limit_of("user-tokens", READ)).afford(PROMPT, "ada")
    assert small is not None
    assert (small.quiet, small.too_small) == (False, True)


async def test_a_limit_of_turns_is_never_too_small() -> None:
    refusal = await Purse(tokens=0).spending(limit_of("user-turns", 1)).afford(PROMPT, "ada")
    assert refusal is not None
    assert not refusal.too_small


async def test_what_may_have_been_set_aside_is_let_go_of() -> None:
    purse = Purse()
    purse.lost = True
    spending = purse.spending(BUDGET)
    with pytest.raises(LeaseLost):
        await spending.afford(PROMPT, "ada")
    assert spending.charge == charge(0, 0)


async def test_what_comes_near_is_gathered_call_by_call() -> None:
    spending = await begun(Purse(near=(BUDGET,)), BUDGET)
    assert spending.near == [BUDGET]


async def test_what_was_not_counted_is_estimated() -> None:
    spending = await begun()
    spending.heard("abc" * 10)
    spending.finished(Usage())
    assert spending.charge == charge(READ, 10)


async def test_a_call_that_is_left_is_charged_with_what_was_read_and_written() -> None:
    spending = await begun()
    assert spending.charge == charge(READ, 0)
    spending.heard("abc" * 10)
    assert spending.charge == charge(READ, 10)
    spending.begins(PROMPT, "big")
    assert spending.charge == charge(READ + READ, 10)


@pytest.mark.parametrize(
    ("error", "heard", "cost"),
    [
        (LLMUnavailable("refused"), False, charge(0, 0)),
        (LLMRejected("key"), False, charge(0, 0)),
        (LLMTimeout("no connection", sent=False), False, charge(0, 0)),
        (LLMTimeout("no answer"), False, charge(READ, 0)),
        (StreamBroken("cut"), True, charge(READ, 0)),
    ],
)
async def test_a_failure_costs_what_the_provider_may_bill(error: LLMError, heard: bool, cost: Charge) -> None:
    spending = await begun()
    if heard:
        spending.heard()
    spending.failed(error)
    spending.failed(error)  # the same failure, told by who asked and by what it ended in
    assert spending.charge == cost


async def test_a_failure_that_was_counted_costs_that() -> None:
    spending = await begun()
    error = LLMRejected("used up its tokens")
    error.usage = Usage(prompt_tokens=70, completion_tokens=4000)
    spending.failed(error)
    assert spending.charge == charge(70, 4000)


async def test_a_call_costs_what_the_model_that_was_asked_costs() -> None:
    spending = await begun()
    spending.failed(LLMTimeout("slow"))
    spending.begins(PROMPT, "big")
    spending.asks("small")
    spending.finished(Usage(prompt_tokens=70, completion_tokens=20))
    both = spending.charge
    assert both is not None
    assert both.money == charge(READ, 0).money + charge(70, 20, model="small").money
    assert (spending.model, spending.last_call.tokens) == ("small", 90)


ENDS = ["finished", "left", "broken", "refused"]


@given(st.lists(st.tuples(st.sampled_from(ENDS), st.integers(0, LONGEST)), max_size=8))
def test_nothing_costs_more_than_was_set_aside_for_it(calls: Sequence[tuple[str, int]]) -> None:
    spending = Purse().spending()
    for number, (end, tokens) in enumerate(calls, start=1):
        spending.begins(PROMPT, "big")
        spending.heard("abc" * tokens)
        match end:
            case "finished":
                spending.finished(Usage(prompt_tokens=READ - 1, completion_tokens=tokens))
            case "broken":
                spending.failed(StreamBroken("cut"))
            case "refused":
                spending.failed(LLMUnavailable("no"))
        assert spending.spent.money <= number * worst_case(PRICES, PROMPT, LONGEST).money
