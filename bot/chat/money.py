"""What models cost: prices, the worst case of a call, and what a call has cost. Pure.

Money is counted in whole millionths of the currency of the prices, rounded up for each call: sums never drift, and what is
spent is never told too low.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from bot.chat.tokens import prompt_tokens
from bot.llm.protocol import PromptMessage

MILLION = 1_000_000
_MONEY = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,6}))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model costs: millionths of the currency for a million tokens of prompts and of answers."""

    prompt: int
    completion: int

    @classmethod
    def written(cls, prompt: Decimal, completion: Decimal) -> "Price":
        """Make the price of what the settings say: amounts with at most 6 decimals, for a million tokens."""
        return cls(prompt=int(prompt * MILLION), completion=int(completion * MILLION))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What calls cost; `money` in millionths."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    money: int = 0

    @property
    def tokens(self) -> int:
        """Prompt and answer together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            money=self.money + other.money,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """The prices of models by the names in the settings. A model without a price costs nothing."""

    by_model: Mapping[str, Price] = field(default_factory=dict)

    def only(self, models: Collection[str]) -> "Prices":
        """Return the prices of these models alone: a price that is left over of another must not tighten budgets."""
        return Prices(by_model={name: price for name, price in self.by_model.items() if name in models})

    def missing(self, models: Sequence[str]) -> tuple[str, ...]:
        """Name the models that have no price."""
        return tuple(name for name in models if name not in self.by_model)


def worst_case(prices: Prices, prompt: Sequence[PromptMessage], answer_tokens: int) -> Cost:
    """Estimate the most that a call may cost: the prompt, and the longest answer, of the model that is dearest for them."""
    read = prompt_tokens(prompt)
    return Cost(
        prompt_tokens=read,
        completion_tokens=answer_tokens,
        money=max((_money(price, read, answer_tokens) for price in prices.by_model.values()), default=0),
    )


def cost_of(prices: Prices, model: str, *, prompt_tokens: int, completion_tokens: int) -> Cost:
    """Say what a call of `model`, by its name in the settings, has cost."""
    price = prices.by_model.get(model)
    money = 0 if price is None else _money(price, prompt_tokens, completion_tokens)
    return Cost(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens, money=money)


def parse_money(text: str) -> int:
    """Read an amount such as 5 or 2.50, with at most 6 decimals, as millionths.

    Raises:
        ValueError: it is anything else; the message does not repeat it.
    """
    written = _MONEY.fullmatch(text)
    if written is None:
        raise ValueError("an amount of money is a number such as 5 or 2.50, with at most 6 decimals")
    return int(written[1]) * MILLION + int((written[2] or "").ljust(6, "0"))


def format_money(amount: int) -> str:
    """Write millionths with two decimals, or as many as it takes: `parse_money(format_money(amount)) == amount`."""
    whole, rest = divmod(amount, MILLION)
    return f"{whole}.{f'{rest:06}'.rstrip('0').ljust(2, '0')}"


def _money(price: Price, prompt_tokens: int, completion_tokens: int) -> int:
    return -(-(price.prompt * prompt_tokens + price.completion * completion_tokens) // MILLION)
