"""Laws of what models cost."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.chat.money import Cost, Price, Prices, cost_of, format_money, parse_money, worst_case
from bot.chat.tokens import prompt_tokens
from bot.llm.protocol import PromptMessage, PromptRole

PROMPT = [PromptMessage(role=PromptRole.USER, text="x" * 300)]
GPT = Prices(
    by_model={"gpt": Price.written(Decimal("2.50"), Decimal(10)), "mini": Price.written(Decimal("0.15"), Decimal(3))}
)
tokens = st.integers(0, 10_000_000)
prices = st.builds(Price, prompt=st.integers(0, 10**12), completion=st.integers(0, 10**12))


def test_a_price_is_for_a_million_tokens() -> None:
    assert cost_of(GPT, "gpt", prompt_tokens=1_000_000, completion_tokens=0).money == 2_500_000
    assert cost_of(GPT, "gpt", prompt_tokens=0, completion_tokens=1_000).money == 10_000


def test_what_is_spent_is_never_told_too_low() -> None:
    assert cost_of(GPT, "mini", prompt_tokens=1, completion_tokens=0).money == 1


def test_a_model_without_a_price_costs_tokens_and_no_money() -> None:
    assert cost_of(GPT, "llama", prompt_tokens=5, completion_tokens=7) == Cost(prompt_tokens=5, completion_tokens=7, money=0)
    assert GPT.missing(("gpt", "llama")) == ("llama",)


@given(prices, prices, tokens, tokens)
def test_the_worst_case_covers_every_model_and_every_answer_within_its_length(
    one: Price, other: Price, longest: int, written: int
) -> None:
    both = Prices(by_model={"one": one, "other": other})
    worst = worst_case(both, PROMPT, longest)
    assert worst.prompt_tokens == prompt_tokens(PROMPT)
    for name in both.by_model:
        cost = cost_of(both, name, prompt_tokens=worst.prompt_tokens, completion_tokens=min(written, longest))
        assert cost.money <= worst.money
        assert cost.tokens <= worst.tokens


def test_the_price_of_a_model_that_is_not_asked_does_not_count() -> None:
    assert (
        worst_case(GPT.only(("mini",)), PROMPT, 1000).money
        == cost_of(GPT, "mini", prompt_tokens=prompt_tokens(PROMPT), completion_tokens=1000).money
    )


@given(st.integers(0, 999_999_999_999_999))
def test_money_is_read_as_it_is_written(amount: int) -> None:
    assert parse_money(format_money(amount)) == amount


@pytest.mark.parametrize(("amount", "text"), [(0, "0.00"), (2_500_000, "2.50"), (1, "0.000001"), (12_345_600, "12.3456")])
def test_money_has_two_decimals_or_as_many_as_it_takes(amount: int, text: str) -> None:
    assert format_money(amount) == text


@given(st.decimals(0, 1000, places=6))
def test_prices_of_six_decimals_are_exact(price: Decimal) -> None:
    assert Price.written(price, price).prompt == parse_money(f"{price:.6f}")
