"""The limits that operators set: their names, their amounts as typed, and the code of a turn that one refused. Pure.

A turn that is refused keeps its limit as the code of its error, so that whoever shows it, and whenever, says the same
sentence (`bot.chat.words`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.chat import words_limits
from bot.chat.money import format_money, parse_money
from store import WORKSPACE_RUNNING, Limit, Payer, Period, Unit

LIMITS: Mapping[str, tuple[Payer, Unit, Period]] = {
    "user-turns": (Payer.USER, Unit.TURNS, Period.MINUTE),
    "channel-turns": (Payer.CHANNEL, Unit.TURNS, Period.MINUTE),
    **{
        f"{payer.value}-{unit.value}": (payer, unit, Period.DAY)
        for payer in (Payer.USER, Payer.CHANNEL, Payer.WORKSPACE, Payer.ALL)
        for unit in (Unit.TOKENS, Unit.MONEY)
    },
}
"""What is bounded by a count, by the names that operators type."""
LIMIT_NAMES: tuple[str, ...] = (*LIMITS, WORKSPACE_RUNNING)
"""All limits. How many turns of a workspace run at once is no count of anything: the claim obeys it (`Store.claim`)."""

MOST = 999_999_999_999
MOST_MONEY = 999_999_999_999_999
"""Just below a thousand millions, in millionths: sums of many of them are far from where a counter of 64 bits ends."""

_CODE = "limit"
_WHOLE = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)


class AmountRefused(ValueError):
    """That is no amount of such a limit; the message says what is, for people."""


def parse_amount(name: str, text: str) -> int:
    """Read the amount of a limit as it is typed: whole numbers such as 50000, of money such as 2.50 (then in millionths).

    Raises:
        AmountRefused: there is no such limit, or `text` is no amount of it.
    """
    if name not in LIMIT_NAMES:
        raise AmountRefused(words_limits.no_such_limit(LIMIT_NAMES))
    if _unit(name) is Unit.MONEY:
        try:
            amount = parse_money(text)
        except ValueError:
            raise AmountRefused(words_limits.no_amount_of_money(name)) from None
        if not 1 <= amount <= MOST_MONEY:
            raise AmountRefused(words_limits.no_amount_of_money(name))
        return amount
    if not _WHOLE.fullmatch(text):
        raise AmountRefused(words_limits.no_whole_amount(name, MOST))
    return int(text)


def write_amount(name: str, amount: int) -> str:
    """Write an amount as it is typed: `parse_amount(name, write_amount(name, amount)) == amount`.

    Raises:
        KeyError: there is no such limit.
    """
    return format_money(amount) if _unit(name) is Unit.MONEY else str(amount)


def format_amount(limit: Limit) -> str:
    """Write what a limit allows, as people read it: "10 turns", "50,000 tokens", "2.50"."""
    return words_limits.amount(limit)


def limit_of(name: str, amount: int) -> Limit:
    """Make the limit of a name.

    Raises:
        KeyError: there is none of that name, or it counts nothing (`WORKSPACE_RUNNING`).
    """
    payer, unit, period = LIMITS[name]
    return Limit(payer=payer, unit=unit, period=period, amount=amount)


def name_of(limit: Limit) -> str:
    """Name a limit as operators type it; one that nobody can type is named after its parts."""
    parts = (limit.payer, limit.unit, limit.period)
    return next((name for name, known in LIMITS.items() if known == parts), "-".join(part.value for part in parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a turn was refused. `too_small`: the limit is below what one call of the model may take, so waiting does not
    help. `quiet`: it was said before where it would be said now, so nothing is said."""

    limit: Limit
    until: datetime
    too_small: bool = False
    quiet: bool = False

    def encode(self) -> str:
        """Write the code that the store keeps as the turn's error."""
        limit = self.limit
        flags = [name for name, holds in (("small", self.too_small), ("quiet", self.quiet)) if holds]
        parts = [_CODE, limit.payer.value, limit.unit.value, limit.period.value, str(limit.amount)]
        return " ".join([*parts, self.until.astimezone(UTC).isoformat(timespec="minutes"), *flags])


def refusal_of(error: str) -> Refusal | None:
    """Read the code of a turn's error; None when it is that of another error, or one that nobody here wrote."""
    match error.split(" "):
        case [code, payer, unit, period, amount, until, *flags] if code == _CODE:
            try:
                limit = Limit(payer=Payer(payer), unit=Unit(unit), period=Period(period), amount=int(amount))
                ends = datetime.fromisoformat(until)
                naive, ends = ends.tzinfo is None, ends.astimezone(UTC)
            except (ValueError, OverflowError):
                return None
            if naive:
                return None
            return Refusal(limit=limit, until=ends, too_small="small" in flags, quiet="quiet" in flags)
    return None


def sentence(refusal: Refusal) -> str:
    """Return what people are told: who is over which limit, and when it ends; "" when they were told before."""
    if refusal.quiet:
        return ""
    if refusal.too_small:
        return words_limits.too_small(refusal.limit)
    return words_limits.used_up(refusal.limit, refusal.until)


def _unit(name: str) -> Unit:
    return Unit.TURNS if name == WORKSPACE_RUNNING else LIMITS[name][1]
