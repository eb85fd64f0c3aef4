"""Accounts on the SQLite engine: what turns may cost is set aside, what they did cost is charged, and both are bounded.

A hold has one bill, a row of `reservation`: what it has set aside, or, once it has said what the turn cost, in which periods
and for whom that was charged, so that it can be replaced. The bill goes when the turn is settled; one that stays behind its
holder is turned into a charge of all that was set aside, since the money may have been spent.

Functions on the writing connection, each inside one transaction; `now` is in microseconds. The laws stand in
`store.protocol_governing`.
"""

import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import store.sqlite_sql_governing as sql
from store.errors import LeaseLost
from store.governing import NEARLY, Charge, Grant, Limit, Meter, Order, Payer, Period, Unit
from store.rows import time_of
from store.values import Hold

ABANDONED_AFTER = 600_000_000
"""Microseconds after which somebody looks whether what was set aside still has a holder: ten minutes, twenty leases."""
ABANDONED_AT_ONCE = 20
"""Abandoned bills that one call turns into charges."""
MINUTE = 60_000_000

Place = tuple[str, str, str]
"""Platform, workspace and channel."""
Seen = dict[tuple[Payer, Period], tuple[int, int, int, str]]
"""What payers have on their accounts: turns, tokens and money, set aside or spent, and what they were told."""


class Sums(NamedTuple):
    """What is added to an account."""

    turns: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    money: int = 0
    reserved_turns: int = 0
    reserved_tokens: int = 0
    reserved_money: int = 0


class Entry(NamedTuple):
    """Sums on the accounts of one turn's payers, in one day and, when somebody counts minutes, in one minute."""

    place: Place
    user: str
    day: str
    minute: str
    sums: Sums


class Bill(NamedTuple):
    """What a hold has on the accounts; `charged`: it was spent, not only set aside."""

    epoch: int
    entry: Entry
    charged: bool


def reserve(db: sqlite3.Connection, now: int, hold: Hold, order: Order) -> Grant:
    """Set aside what an order may cost, unless a limit stands against it."""
    place, bill = _bill_of(db, now, hold)
    if bill is not None and bill.epoch != hold.epoch:
        # The turn is counted once more by whoever carries it out now, so what is spent of the lost one is its cost alone.
        _spend_at_worst(db, hold.turn_id, bill, turns=0)
        bill = None
    _settle_abandoned(db, now)
    own = bill.entry if bill else None
    if own:
        _post(db, own, -1)
    minutes = any(limit.period is Period.MINUTE for limit in order.limits)
    periods = {Period.DAY: day_of(now), Period.MINUTE: minute_of(now) if minutes else ""}
    seen = _look(db, periods, place, order.author_id)
    standing = [limit for limit in order.limits if _with(order, seen, limit) > limit.amount]
    if own:  # a turn that was let in already is not kept out by the number of turns
        standing = [limit for limit in standing if limit.unit is not Unit.TURNS]
    told = _Told(db, periods, (*place, order.author_id), seen)
    if standing:
        if own:
            _post(db, own)
        refused = max(standing, key=lambda limit: _end_of(limit.period, now))
        return Grant(refused=refused, until=_end_of(refused.period, now), told=not told.first(refused, "told"))
    sums = Sums(reserved_turns=1, reserved_tokens=order.tokens, reserved_money=order.money)
    entry = Entry(place, order.author_id, periods[Period.DAY], periods[Period.MINUTE], sums)
    _post(db, entry)
    _put_bill(db, hold, entry, order.tokens, order.money, now)
    near = [limit for limit in order.limits if _with(order, seen, limit) >= NEARLY * limit.amount]
    return Grant(near=tuple(limit for limit in near if told.first(limit, "near")))


def charge(db: sqlite3.Connection, now: int, hold: Hold, charge: Charge, *, last: bool) -> None:
    """Charge what a held turn cost, in place of what its hold has on the accounts. `last`: the hold is over with that, and
    as the turn is not, it is not counted.

    Raises:
        LeaseLost.
    """
    place, bill = _bill_of(db, now, hold)
    sums = Sums(0 if last else 1, charge.prompt_tokens, charge.completion_tokens, charge.money)
    if bill is not None and bill.epoch != hold.epoch:
        _spend_at_worst(db, hold.turn_id, bill, turns=0)
        bill = None
    if bill is None:
        entry = Entry(place, charge.author_id, day_of(now), "", sums)
        _post(db, entry)
    else:
        own = bill.entry
        # The turn stays in the periods in which it was begun.
        entry = own._replace(user=charge.author_id, sums=sums)
        if entry.user == own.user:
            _post(db, entry._replace(sums=Sums(*(new - old for new, old in zip(sums, own.sums, strict=True)))))
        else:
            _post(db, own, -1)
            _post(db, entry)
    db.execute(sql.COST, (hold.turn_id, charge.prompt_tokens, charge.completion_tokens, charge.money))
    if not last:
        _put_bill(db, hold, entry, sql.CHARGED, 0, now)
    elif bill:
        db.execute(sql.DROP_BILL, (hold.turn_id,))


def is_charged(db: sqlite3.Connection, hold: Hold) -> bool:
    """Tell whether a hold has said already what its turn cost."""
    return db.execute(sql.IS_CHARGED, (hold.turn_id, hold.epoch)).fetchone() is not None


def close_bill(db: sqlite3.Connection, turn_id: int) -> None:
    """Let the bill of a turn that is settled go. What was only set aside may have been spent, and stays."""
    db.execute(sql.DROP_CHARGED, (turn_id,))


def standing(db: sqlite3.Connection, now: int, place: Place, user: str) -> tuple[Meter, ...]:
    """Tell what each payer has spent, with what is set aside."""
    seen = _look(db, {Period.MINUTE: minute_of(now), Period.DAY: day_of(now)}, place, user)
    meters = []
    for period in Period:
        for payer in Payer:
            turns, tokens, money, _ = seen.get((payer, period), (0, 0, 0, ""))
            meters.append(Meter(payer=payer, period=period, turns=turns, tokens=tokens, money=money))
    return tuple(meters)


def forget(db: sqlite3.Connection, now: int, before: int, limit: int) -> int:
    """Drop accounts of old days and of minutes that are over."""
    _settle_abandoned(db, now)
    gone = db.execute(sql.FORGET_MINUTES, ("m", minute_of(now), limit)).rowcount
    if gone < limit:
        gone += db.execute(sql.FORGET_DAYS, ("d", day_of(before), limit - gone)).rowcount
    return gone


def clear_bills(db: sqlite3.Connection, platform: str, workspace: str) -> None:
    """Turn what is set aside in a workspace that is gone into charges: everybody's account has it too."""
    for turn_id, *row in db.execute(sql.BILLS_OF_WORKSPACE, (platform, workspace)).fetchall():
        _spend_at_worst(db, turn_id, _bill((0, 0, 0), row), turns=1)


def clear(db: sqlite3.Connection, platform: str, workspace: str, after: str, limit: int) -> str | None:
    """Drop a workspace's accounts in the next `limit` periods behind `after`; return the last one, None at the end."""
    periods = [period for (period,) in db.execute(sql.PERIODS, (after, limit)).fetchall()]
    db.executemany(sql.CLEAR_ACCOUNTS, [(period, platform, workspace) for period in periods])
    return periods[-1] if len(periods) == limit else None


def day_of(us: int) -> str:
    """Name the day of a time, as accounts have it."""
    return f"d{time_of(us):%Y%m%d}"


def minute_of(us: int) -> str:
    """Name the minute of a time, as accounts have it."""
    return f"m{us // MINUTE}"


class _Told:
    """What payers were told in these periods."""

    def __init__(
        self, db: sqlite3.Connection, periods: dict[Period, str], payers: tuple[str, str, str, str], seen: Seen
    ) -> None:
        self._db, self._periods, self._payers = db, periods, payers
        self._told = {account: told.split() for account, (*_, told) in seen.items()}

    def first(self, limit: Limit, kind: str) -> bool:
        """Note that somebody is told of a limit; True for the first time. One with another amount is another limit."""
        told = self._told.setdefault((limit.payer, limit.period), [])
        word = f"{limit.unit}/{kind}/{limit.amount}"
        if word in told:
            return False
        told.append(word)
        self._db.execute(sql.TELL[limit.payer.value], (self._periods[limit.period], *self._payers, " ".join(told)))
        return True


def _look(db: sqlite3.Connection, periods: dict[Period, str], place: Place, user: str) -> Seen:
    seen: Seen = {}
    for period, name in periods.items():
        if name:
            for payer, turns, tokens, money, told in db.execute(sql.ACCOUNTS, (name, *place, user)):
                seen[Payer(payer), period] = (turns, tokens, money, told)
    return seen


def _with(order: Order, seen: Seen, limit: Limit) -> int:
    """What a limit counts, with the order."""
    turns, tokens, money, _ = seen.get((limit.payer, limit.period), (0, 0, 0, ""))
    match limit.unit:
        case Unit.TURNS:
            return turns + 1
        case Unit.TOKENS:
            return tokens + order.tokens
        case Unit.MONEY:
            return money + order.money


def _end_of(period: Period, now: int) -> datetime:
    if period is Period.MINUTE:
        return time_of((now // MINUTE + 1) * MINUTE)
    return time_of(now).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def _bill_of(db: sqlite3.Connection, now: int, hold: Hold) -> tuple[Place, Bill | None]:
    row = db.execute(sql.BILL, (hold.turn_id, hold.conversation_id, hold.epoch, now)).fetchone()
    if row is None:
        raise LeaseLost(f"turn {hold.turn_id} belongs to somebody else by now (epoch {hold.epoch} is over)")
    return row[:3], None if row[6] is None else _bill(row[3:6], row[6:])


def _bill(cost: tuple[int, int, int], row: Sequence[Any]) -> Bill:
    epoch, platform, workspace, channel, user, day, minute, tokens, money = row
    charged = tokens == sql.CHARGED
    sums = Sums(1, *cost) if charged else Sums(reserved_turns=1, reserved_tokens=tokens, reserved_money=money)
    return Bill(epoch, Entry((platform, workspace, channel), user, day, minute, sums), charged)


def _put_bill(db: sqlite3.Connection, hold: Hold, entry: Entry, tokens: int, money: int, now: int) -> None:
    whose = (*entry.place, entry.user, entry.day, entry.minute)
    db.execute(sql.PUT_BILL, (hold.turn_id, hold.epoch, *whose, tokens, money, now))


def _post(db: sqlite3.Connection, entry: Entry, sign: int = 1) -> None:
    sums = entry.sums if sign == 1 else tuple(-value for value in entry.sums)
    for period in (entry.day, entry.minute):
        if period:
            db.execute(sql.POST, (period, *entry.place, entry.user, *sums))


def _spend_at_worst(db: sqlite3.Connection, turn_id: int, bill: Bill, *, turns: int) -> None:
    """Close the bill of a hold that is over; what it had only set aside is spent."""
    if not bill.charged:
        own = bill.entry.sums
        spent = Sums(turns, own.reserved_tokens, 0, own.reserved_money, -1, -own.reserved_tokens, -own.reserved_money)
        _post(db, bill.entry._replace(sums=spent))
    db.execute(sql.DROP_BILL, (turn_id,))


def _settle_abandoned(db: sqlite3.Connection, now: int) -> None:
    for turn_id, *row in db.execute(sql.ABANDONED, (now - ABANDONED_AFTER, now, ABANDONED_AT_ONCE)).fetchall():
        _spend_at_worst(db, turn_id, _bill((0, 0, 0), row), turns=1)
