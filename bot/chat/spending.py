"""What one turn spends on the model: set aside before each call, counted behind it, call by call.

Providers count the tokens of a call that comes to its end. Of one that is stopped or breaks off they bill what was read and
written all the same, without saying how much, so that is estimated (`bot.chat.tokens`).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bot.chat import money
from bot.chat.limits import Refusal
from bot.chat.money import Cost, Prices
from bot.chat.tokens import prompt_tokens, text_tokens
from bot.llm.protocol import LLMError, LLMTimeout, PromptMessage, Usage
from store import Charge, Grant, Limit, Order, Unit

ANSWER_TOKENS = 4096
"""The longest answer that is reckoned with where `LLM_MAX_TOKENS` sets none. Hardly any answer in a chat is longer; what is
longer is counted in full, but may take its payer past a limit by the difference."""


@dataclass(slots=True)
class _Call:
    """A call that is under way: the tokens that it reads, and the bytes of text that came."""

    read: int
    written: int = 0
    heard: bool = False


class Spending:
    """The account of one turn within one hold; every call of the model is told here."""

    def __init__(
        self,
        *,
        prices: Prices,
        answer_tokens: int,
        limits: Callable[[str], Sequence[Limit]],
        reserve: Callable[[Order], Awaitable[Grant]],
    ) -> None:
        """`limits` are those that apply where the turn is, by who pays; `reserve` is the store's. `answer_tokens` is the
        longest answer."""
        self._prices = prices
        self._answer_tokens = answer_tokens
        self._limits = limits
        self._reserve = reserve
        self._payer = ""
        self._known_of = False
        self._closed = self._last = Cost()
        self._call: _Call | None = None
        self._granted: Order | None = None
        self.model = ""
        """The model that was asked last, by its name in the settings."""
        self.near: list[Limit] = []
        """The limits that this turn was the first to come near to."""

    async def afford(self, prompt: Sequence[PromptMessage], payer: str) -> Refusal | None:
        """Set aside what one more call may cost beside what was spent; None when it may be made, else why not.

        Nothing is asked of the store where no limit applies, or where enough is set aside already. The refusal is quiet
        when its payer was told before.

        Raises:
            LeaseLost, StoreUnavailable: the call must not be made.
        """
        self._payer = payer
        limits = tuple(self._limits(payer))
        if not limits:
            return None
        call = money.worst_case(self._prices, prompt, self._answer_tokens)
        worst = self.spent + call
        order = Order(author_id=payer, tokens=worst.tokens, money=worst.money, limits=limits)
        if self._granted is not None and _covers(self._granted, order):
            return None
        known_of, self._known_of = self._known_of, True  # also when we are cancelled: it may be set aside all the same
        grant = await self._reserve(order)
        if grant.refused is not None and grant.until is not None:
            self._known_of = known_of
            too_small = _amount(call, grant.refused.unit) > grant.refused.amount
            return Refusal(limit=grant.refused, until=grant.until, too_small=too_small, quiet=grant.told and not too_small)
        self._granted = order
        self.near += grant.near
        return None

    def begins(self, prompt: Sequence[PromptMessage], model: str) -> None:
        """Note that a model is asked, by its name in the settings. A call that was under way was left."""
        self._close(*self._estimated())
        self._known_of = True
        self._call = _Call(prompt_tokens(prompt))
        self.model = model

    def asks(self, model: str) -> None:
        """Note which model the call that has begun goes to."""
        self.model = model

    def heard(self, text: str = "") -> None:
        """Note that something came of the call."""
        if self._call is not None:
            self._call.heard = True
            self._call.written += len(text.encode(errors="replace"))

    def finished(self, usage: Usage) -> None:
        """Note the end of the call, and what the provider counted."""
        self._close(*self._counted(usage))

    def failed(self, error: LLMError) -> None:
        """Note that the call failed. One of which nothing came cost nothing, unless it was waited for."""
        if self._call is None:
            return
        if error.usage is not None:
            self._close(*self._counted(error.usage))
        elif self._call.heard or (isinstance(error, LLMTimeout) and error.sent):
            self._close(*self._estimated())
        else:
            self._close(0, 0)

    @property
    def under_way(self) -> bool:
        """Whether a call has begun and not ended."""
        return self._call is not None

    @property
    def spent(self) -> Cost:
        """What all calls so far have cost, one under way as if it were left now."""
        return self._closed if self._call is None else self._closed + self._cost(*self._estimated())

    @property
    def last_call(self) -> Cost:
        """What the last call has cost, as `spent`."""
        return self._last if self._call is None else self._cost(*self._estimated())

    @property
    def charge(self) -> Charge | None:
        """What is to be put on the payer's account; None when no model was asked and nothing set aside."""
        if not self._known_of:
            return None
        spent = self.spent
        return Charge(
            author_id=self._payer,
            prompt_tokens=spent.prompt_tokens,
            completion_tokens=spent.completion_tokens,
            money=spent.money,
        )

    def _estimated(self) -> tuple[int, int]:
        return (0, 0) if self._call is None else (self._call.read, text_tokens(self._call.written))

    def _counted(self, usage: Usage) -> tuple[int, int]:
        read, written = self._estimated()
        return usage.prompt_tokens or read, usage.completion_tokens or written

    def _cost(self, read: int, written: int) -> Cost:
        return money.cost_of(self._prices, self.model, prompt_tokens=read, completion_tokens=written)

    def _close(self, read: int, written: int) -> None:
        if self._call is not None:
            self._last = self._cost(read, written)
            self._closed += self._last
            self._call = None


def _amount(cost: Cost, unit: Unit) -> int:
    return {Unit.TURNS: 1, Unit.TOKENS: cost.tokens, Unit.MONEY: cost.money}[unit]


def _covers(granted: Order, order: Order) -> bool:
    """Tell whether what is set aside already is enough, for the same payer and under the same limits."""
    same = granted.author_id == order.author_id and granted.limits == order.limits
    return same and granted.tokens >= order.tokens and granted.money >= order.money
