"""What Parley says about limits: one plain sentence each, with when it ends and what to do until then."""

from datetime import UTC, datetime

from bot.chat.money import format_money
from store import NEARLY, Limit, Payer, Period, Unit

_WHOSE = {
    Payer.USER: "Your",
    Payer.CHANNEL: "This channel's",
    Payer.WORKSPACE: "This workspace's",
    Payer.ALL: "Everybody's",
}
_SPAN = {Period.MINUTE: "this minute", Period.DAY: "today"}
_PACE = {Period.MINUTE: "a minute", Period.DAY: "a day"}


def amount(limit: Limit) -> str:
    """Write what a limit allows: "10 turns", "50,000 tokens", "2.50"."""
    match limit.unit:
        case Unit.MONEY:
            return format_money(limit.amount)
        case Unit.TOKENS:
            return f"{limit.amount:,} tokens" if limit.amount != 1 else "1 token"
        case Unit.TURNS:
            return f"{limit.amount:,} turns" if limit.amount != 1 else "1 turn"


def used_up(limit: Limit, until: datetime) -> str:
    """Refuse a turn until a limit's period ends."""
    return (
        f"{_WHOSE[limit.payer]} {_share(limit)} {_are(limit)} used up; from {until.astimezone(UTC):%H:%M} UTC on I answer "
        "again, and the command `retry` asks this once more."
    )


def too_small(limit: Limit) -> str:
    """Refuse a turn that may take more than the whole limit."""
    return (
        f"This may take more than {_WHOSE[limit.payer].lower()} {_what(limit)} {_PACE[limit.period]}; "
        "please begin a shorter conversation with the command `new`, or ask an operator for more."
    )


def nearly(limit: Limit) -> str:
    """Warn that a limit is nearly reached: a remark under an answer."""
    return f"{NEARLY * 100:.0f} % of {_WHOSE[limit.payer].lower()} {_share(limit)} {_are(limit)} used"


def no_such_limit(names: tuple[str, ...]) -> str:
    """Refuse a name that no limit has."""
    return f"There is no such limit; please choose one of {', '.join(names)}."


def no_amount_of_money(name: str) -> str:
    """Refuse what is no amount of money."""
    return f"`{name}` must be an amount such as 2.50, above 0 and with at most 6 decimals; please write one."


def no_whole_amount(name: str, most: int) -> str:
    """Refuse what is no whole amount within its bounds."""
    return f"`{name}` must be a whole number from 1 to {most:,}; please write one."


def _what(limit: Limit) -> str:
    return f"budget of {amount(limit)}" if limit.unit is Unit.MONEY else amount(limit)


def _share(limit: Limit) -> str:
    return f"{_what(limit)} {'for' if limit.unit is Unit.MONEY else 'of'} {_SPAN[limit.period]}"


def _are(limit: Limit) -> str:
    return "is" if limit.unit is Unit.MONEY or limit.amount == 1 else "are"
