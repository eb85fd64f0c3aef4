"""Accounts as time goes by: minutes and days end, and what was set aside by somebody who is gone is spent."""

from datetime import UTC, date, datetime, timedelta
from functools import partial

import pytest

from store import (
    Charge,
    Days,
    Limit,
    Meter,
    Order,
    Payer,
    Period,
    Store,
    TurnState,
    Unit,
    UsageBy,
    open_store,
)
from tests.contracts.store_words import Opens, begin, reply, room
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.anyio

LATE = datetime(2026, 11, 21, 23, 58, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LEASE = timedelta(minutes=5)
TURNS = Limit(payer=Payer.USER, unit=Unit.TURNS, period=Period.MINUTE, amount=2)
MONEY = Limit(payer=Payer.WORKSPACE, unit=Unit.MONEY, period=Period.DAY, amount=100)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(LATE)


@pytest.fixture
def opens(clock: FakeClock) -> Opens:
    return partial(open_store, "sqlite:///:memory:", clock=clock.now)


def order(*limits: Limit, money: int = 0) -> Order:
    return Order(author_id="U1", tokens=10, money=money, limits=limits)


async def meters(store: Store, payer: Payer = Payer.USER) -> dict[Period, Meter]:
    return {one.period: one for one in await store.standing("slack", "T1", "C1", "U1") if one.payer is payer}


async def test_a_minute_that_is_over_no_longer_counts(store: Store, clock: FakeClock) -> None:
    claims = [await begin(store, key=room(f"C{n}"), lease=LEASE) for n in range(4)]
    for claim in claims[:2]:
        assert (await store.reserve(claim.hold, order(TURNS))).refused is None
    refused = await store.reserve(claims[2].hold, order(TURNS))
    assert (refused.refused, refused.until) == (TURNS, LATE + timedelta(seconds=30))
    await clock.advance(timedelta(seconds=30))
    assert (await store.reserve(claims[2].hold, order(TURNS))).refused is None
    assert (await store.reserve(claims[3].hold, order(TURNS))).refused is None
    assert (await meters(store))[Period.MINUTE].turns == 2


async def test_a_turn_that_goes_on_into_a_full_minute_is_not_kept_out_by_its_number(store: Store, clock: FakeClock) -> None:
    first = await begin(store, lease=LEASE)
    assert (await store.reserve(first.hold, order(TURNS))).refused is None
    await clock.advance(MINUTE)
    for n in (2, 3):
        assert (await store.reserve((await begin(store, key=room(f"C{n}"), lease=LEASE)).hold, order(TURNS))).refused is None
    assert (await store.reserve(first.hold, order(TURNS))).refused is None
    assert (await store.reserve((await begin(store, key=room("C4"), lease=LEASE)).hold, order(TURNS))).refused == TURNS


async def test_a_turn_that_ends_in_a_later_minute_counts_in_the_one_it_was_begun_in(store: Store, clock: FakeClock) -> None:
    claim = await begin(store, lease=LEASE)
    await store.reserve(claim.hold, order(TURNS))
    await clock.advance(MINUTE)
    await store.finish(claim.hold, reply("hi"), charge=Charge(author_id="U1", prompt_tokens=3))
    found = await meters(store)
    assert (found[Period.MINUTE].turns, found[Period.DAY].turns) == (0, 1)


async def test_a_day_that_is_over_no_longer_counts_and_its_money_is_charged_to_it(store: Store, clock: FakeClock) -> None:
    claim, other = await begin(store, lease=LEASE), await begin(store, key=room("C2"), lease=LEASE)
    assert (await store.reserve(claim.hold, order(MONEY, money=100))).near == (MONEY,)
    refused = await store.reserve(other.hold, order(MONEY, money=1))
    assert (refused.refused, refused.until, refused.told) == (MONEY, datetime(2026, 11, 22, tzinfo=UTC), False)
    await clock.advance(2 * MINUTE)
    assert (await store.reserve(other.hold, order(MONEY, money=80))).near == (MONEY,), "a new day is warned of anew"
    await store.finish(claim.hold, reply("hi"), charge=Charge(author_id="U1", money=70))
    await store.finish(other.hold, reply("hi"), charge=Charge(author_id="U1", money=60))
    days = Days(first=date(2026, 11, 20), last=date(2026, 11, 23))
    rows = await store.usage("slack", "T1", by=UsageBy.DAY, days=days, limit=9)
    assert [(row.heading, row.turns, row.money) for row in rows] == [("2026-11-21", 1, 70), ("2026-11-22", 1, 60)]


async def test_a_turn_that_asks_again_after_midnight_moves_to_the_new_day_as_a_whole(store: Store, clock: FakeClock) -> None:
    claim = await begin(store, lease=LEASE)
    await store.reserve(claim.hold, order(MONEY, money=90))
    await clock.advance(2 * MINUTE)
    assert (await meters(store, Payer.WORKSPACE))[Period.DAY].money == 0
    assert (await store.reserve(claim.hold, order(MONEY, money=101))).refused == MONEY
    assert (await store.reserve(claim.hold, order(MONEY, money=100))).refused is None
    assert (await meters(store, Payer.WORKSPACE))[Period.DAY].money == 100
    await store.finish(claim.hold, reply("hi"), charge=Charge(author_id="U1", money=50))
    days = Days(first=date(2026, 11, 20), last=date(2026, 11, 23))
    rows = await store.usage("slack", "T1", by=UsageBy.DAY, days=days, limit=9)
    assert [(row.heading, row.money) for row in rows] == [("2026-11-22", 50)]


async def test_who_was_refused_is_told_again_in_the_next_period(store: Store, clock: FakeClock) -> None:
    claim = await begin(store, lease=LEASE)
    asked = order(MONEY, money=101)
    assert [(await store.reserve(claim.hold, asked)).told for _ in range(2)] == [False, True]
    await clock.advance(2 * MINUTE)
    assert [(await store.reserve(claim.hold, asked)).told for _ in range(2)] == [False, True]


async def test_what_nobody_holds_any_more_is_spent_after_ten_minutes(store: Store, clock: FakeClock) -> None:
    await clock.advance(timedelta(hours=12))
    lost, held = await begin(store, lease=LEASE), await begin(store, key=room("C2"), lease=LEASE)
    for claim in (lost, held):
        await store.reserve(claim.hold, order(MONEY, money=30))
    await store.delete(lost.hold.conversation_id)
    today = Days(first=date(2026, 11, 22), last=date(2026, 11, 22))
    for _ in range(3):
        await clock.advance(4 * MINUTE)
        await store.renew(held.hold, lease=LEASE)
    assert await store.usage("slack", "T1", by=UsageBy.USER, days=today, limit=9) == ()
    other = await begin(store, key=room("C3"), lease=LEASE)
    assert (await store.reserve(other.hold, order(MONEY, money=41))).refused == MONEY
    (row,) = await store.usage("slack", "T1", by=UsageBy.USER, days=today, limit=9)
    assert (row.turns, row.prompt_tokens, row.money) == (1, 10, 30), "only of the one that nobody holds"
    await store.finish(held.hold, reply("hi"), charge=Charge(author_id="U1", money=5))
    (row,) = await store.usage("slack", "T1", by=UsageBy.USER, days=today, limit=9)
    assert (row.turns, row.money) == (2, 35)


async def test_accounts_of_minutes_are_forgotten_once_nothing_is_set_aside_in_them(store: Store, clock: FakeClock) -> None:
    first, second = await begin(store, lease=LEASE), await begin(store, key=room("C2"), lease=LEASE)
    for claim in (first, second):
        await store.reserve(claim.hold, order(TURNS))
    ancient = datetime(2026, 1, 1, tzinfo=UTC)
    assert await store.forget_usage(before=ancient, limit=99) == 0
    await clock.advance(MINUTE)
    assert await store.forget_usage(before=ancient, limit=99) == 0
    for claim in (first, second):
        await store.finish(claim.hold, reply("hi"), charge=Charge(author_id="U1"))
        await store.settle(claim.hold, TurnState.DONE)
    assert await store.forget_usage(before=ancient, limit=99) == 5, "a user, two channels, a workspace and everybody"
    assert (await meters(store))[Period.DAY].turns == 2


async def test_days_are_forgotten_when_they_are_old_enough(store: Store, clock: FakeClock) -> None:
    for _ in range(3):
        claim = await begin(store, lease=LEASE)
        await store.finish(claim.hold, reply("hi"), charge=Charge(author_id="U1", money=1))
        await store.settle(claim.hold, TurnState.DONE)
        await clock.advance(timedelta(days=1))
    assert await store.forget_usage(before=LATE + timedelta(days=1), limit=99) == 4
    days = Days(first=LATE.date(), last=clock.now().date())
    rows = await store.usage("slack", "T1", by=UsageBy.DAY, days=days, limit=9)
    assert [row.heading for row in rows] == ["2026-11-22", "2026-11-23"]
