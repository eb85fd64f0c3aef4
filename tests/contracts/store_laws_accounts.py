"""Laws of the accounts: no limit is passed, what was spent is charged once, and usage adds up."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from store import (
    Charge,
    ConversationKey,
    Days,
    Grant,
    LeaseLost,
    Limit,
    Meter,
    Order,
    Payer,
    Period,
    Setting,
    Store,
    TurnRecord,
    TurnState,
    Unit,
    UnstorableText,
    UsageBy,
    UsageRow,
)
from tests.contracts.store_words import MINUTE, OVER, ROOM, begin, message, named, reply, room, say, take, within_one_minute

EVER = Days(first=date(2020, 1, 1), last=date(2100, 1, 1))
"""More than is kept: no law asks what day it is."""


def limit(amount: int, *, payer: Payer = Payer.USER, unit: Unit = Unit.MONEY, period: Period = Period.DAY) -> Limit:
    return Limit(payer=payer, unit=unit, period=period, amount=amount)


def order(*limits: Limit, tokens: int = 0, money: int = 0, author: str = "U-Ann") -> Order:
    return Order(author_id=author, tokens=tokens, money=money, limits=limits)


def cost(money: int = 0, *, prompt: int = 0, completion: int = 0, author: str = "U-Ann") -> Charge:
    return Charge(author_id=author, prompt_tokens=prompt, completion_tokens=completion, money=money)


async def carry_out(store: Store, key: ConversationKey, charge: Charge) -> None:
    claim = await begin(store, key=key)
    await store.finish(claim.hold, reply("hi"), charge=charge)
    await store.settle(claim.hold, TurnState.DONE)


async def meter(store: Store, payer: Payer = Payer.USER, *, user: str = "U-Ann", key: ConversationKey = ROOM) -> Meter:
    """Read what a payer has spent today."""
    meters = await store.standing(key.platform, key.workspace, key.channel, user)
    (one,) = [one for one in meters if one.payer is payer and one.period is Period.DAY]
    return one


async def spent(store: Store, payer: Payer = Payer.USER, *, user: str = "U-Ann", key: ConversationKey = ROOM) -> int:
    return (await meter(store, payer, user=user, key=key)).money


class ReserveLaws:
    """What may be spent is set aside before it is, and no limit is passed."""

    @pytest.mark.parametrize("payer", list(Payer))
    async def test_of_a_hundred_at_once_as_many_are_granted_as_there_is_money_for(self, store: Store, payer: Payer) -> None:
        claims = [await begin(store, key=room("C1", thread=f"{n}")) for n in range(100)]
        asked = order(limit(105, payer=payer), money=10)
        grants = await asyncio.gather(*(store.reserve(claim.hold, asked) for claim in claims))
        assert sum(grant.refused is None for grant in grants) == 10
        assert await spent(store, payer) == 100
        told = [grant.told for grant in grants if grant.refused]
        assert sorted(told) == [False] + [True] * 89, "one of them is told, the others know it already"

    async def test_what_is_settled_for_less_frees_the_rest(self, store: Store) -> None:
        claims = [await begin(store, key=room(f"C{n}")) for n in range(3)]
        asked = order(limit(100), money=60)
        assert (await store.reserve(claims[0].hold, asked)).refused is None
        assert (await store.reserve(claims[1].hold, asked)).refused == limit(100)
        await store.finish(claims[0].hold, reply("hi"), charge=cost(40))
        assert (await store.reserve(claims[1].hold, asked)).refused is None
        assert (await store.reserve(claims[2].hold, asked)).refused is not None
        await store.release(claims[1].hold, charge=cost(0))
        assert (await store.reserve(claims[2].hold, asked)).refused is None

    async def test_the_amount_may_be_reached_and_not_passed(self, store: Store) -> None:
        claim = await begin(store)
        assert (await store.reserve(claim.hold, order(limit(10), money=11))).refused is not None
        assert (await store.reserve(claim.hold, order(limit(10), money=10))).refused is None
        assert (await store.reserve(claim.hold, order(limit(0, unit=Unit.TOKENS), tokens=1))).refused is not None
        assert (await store.reserve(claim.hold, order(limit(1, unit=Unit.TURNS), tokens=1))).refused is None

    async def test_an_order_of_the_same_hold_replaces_the_one_before_and_the_turn_counts_as_one(self, store: Store) -> None:
        claim = await begin(store)
        turns = limit(1, unit=Unit.TURNS, period=Period.MINUTE)
        await within_one_minute(seconds=2)
        for money in (30, 70, 50, 100):
            assert (await store.reserve(claim.hold, order(limit(100), turns, money=money))).refused is None
            one = await meter(store)
            assert (one.money, one.turns) == (money, 1)
        other = await begin(store, key=room("C2"))
        assert (await store.reserve(other.hold, order(turns))).refused == turns
        assert (await meter(store)).turns == 1

    async def test_an_order_that_is_refused_sets_nothing_aside_and_the_one_before_stays(self, store: Store) -> None:
        claim = await begin(store)
        assert (await store.reserve(claim.hold, order(limit(100), money=101))).refused is not None
        assert await meter(store) == Meter(payer=Payer.USER, period=Period.DAY, turns=0, tokens=0, money=0)
        await store.reserve(claim.hold, order(limit(100), money=60, tokens=6))
        assert (await store.reserve(claim.hold, order(limit(100), money=101))).refused is not None
        assert await meter(store) == Meter(payer=Payer.USER, period=Period.DAY, turns=1, tokens=6, money=60)

    async def test_what_a_lost_holder_had_set_aside_counts_as_spent(self, store: Store) -> None:
        await say(store, "hello")
        lost = await take(store)
        await store.reserve(lost.hold, order(limit(100), money=60, tokens=5))
        await store.renew(lost.hold, lease=OVER)
        again = await take(store)
        assert (await store.reserve(again.hold, order(limit(100), money=41))).refused is not None
        assert (await store.reserve(again.hold, order(limit(100), money=40))).refused is None
        assert (await meter(store)).turns == 1, "it is one turn all the same"
        await store.finish(again.hold, reply("hi"), charge=cost(3))
        assert (await spent(store), (await meter(store)).tokens) == (63, 5)
        (row,) = await store.usage("slack", "T1", by=UsageBy.USER, days=EVER, limit=9)
        assert row == UsageRow(heading="U-Ann", turns=1, prompt_tokens=5, completion_tokens=0, money=63)

    async def test_what_a_lost_holder_had_set_aside_counts_though_no_order_follows(self, store: Store) -> None:
        await say(store, "hello")
        lost = await take(store)
        await store.reserve(lost.hold, order(limit(100), money=60))
        await store.renew(lost.hold, lease=OVER)
        again = await take(store)
        assert await spent(store) == 60
        await store.finish(again.hold, reply("hi"), charge=cost(3))
        assert await spent(store) == 63

    async def test_a_turn_that_ends_without_a_word_keeps_what_it_set_aside(self, store: Store) -> None:
        claim = await begin(store)
        await store.reserve(claim.hold, order(limit(100), money=60))
        await store.settle(claim.hold, TurnState.DONE)
        other = await begin(store, key=room("C2"))
        assert (await store.reserve(other.hold, order(limit(100), money=41))).refused is not None

    async def test_of_several_limits_the_one_that_ends_last_is_told(self, store: Store) -> None:
        claim = await begin(store)
        minute, day = limit(0, unit=Unit.TURNS, period=Period.MINUTE), limit(5)
        before = datetime.now(UTC)
        grant = await store.reserve(claim.hold, order(minute, day, money=9))
        assert (grant.refused, grant.told) == (day, False)
        assert grant.until is not None
        assert before < grant.until <= before + timedelta(days=1, seconds=1)
        assert (grant.until.hour, grant.until.minute, grant.until.second, grant.until.utcoffset()) == (0, 0, 0, timedelta())
        grant = await store.reserve(claim.hold, order(minute, day, money=5))
        assert (grant.refused, grant.told) == (minute, False)
        assert grant.until is not None
        assert grant.until <= datetime.now(UTC) + MINUTE

    async def test_a_refusal_is_told_once_to_each_payer_and_for_each_limit(self, store: Store) -> None:
        claim = await begin(store)
        asked = order(limit(5), money=9)
        assert [(await store.reserve(claim.hold, asked)).told for _ in range(3)] == [False, True, True]
        assert not (await store.reserve(claim.hold, replace(asked, author_id="U-Bob"))).told
        assert not (await store.reserve(claim.hold, order(limit(5, unit=Unit.TOKENS), tokens=9))).told
        assert not (await store.reserve(claim.hold, order(limit(6), money=9))).told, "another amount is another limit"
        assert not (await store.reserve(claim.hold, order(limit(5, payer=Payer.CHANNEL), money=9))).told

    async def test_being_near_a_limit_is_said_once(self, store: Store) -> None:
        claim = await begin(store)
        money, tokens = limit(100), limit(1000, unit=Unit.TOKENS, payer=Payer.WORKSPACE)
        assert await store.reserve(claim.hold, order(money, tokens, money=79, tokens=799)) == Grant()
        assert (await store.reserve(claim.hold, order(money, tokens, money=80, tokens=800))).near == (money, tokens)
        assert (await store.reserve(claim.hold, order(money, tokens, money=90, tokens=900))).near == ()
        other = await begin(store, key=room("C2"))
        assert (await store.reserve(other.hold, order(money, money=1))).near == ()

    async def test_workspaces_with_the_same_ids_do_not_pay_for_each_other(self, store: Store) -> None:
        keys = [ROOM, room("C1", workspace="T2"), room("C1", platform="discord"), room("C1", workspace="")]
        limits = [limit(10, payer=payer) for payer in (Payer.USER, Payer.CHANNEL, Payer.WORKSPACE)]
        claims = [await begin(store, key=key) for key in keys]
        for claim in claims:
            assert (await store.reserve(claim.hold, order(*limits, money=10))).refused is None
        other = await begin(store, key=room("C2"))
        everybody = limit(49, payer=Payer.ALL)
        assert (await store.reserve(other.hold, order(everybody, money=10))).refused == everybody
        assert (await store.reserve(other.hold, order(everybody, money=9))).refused is None

    async def test_a_user_who_goes_on_in_another_channel_pays_from_one_account(self, store: Store) -> None:
        first, second = await begin(store), await begin(store, key=room("C2"))
        assert (await store.reserve(first.hold, order(limit(10), limit(10, payer=Payer.CHANNEL), money=6))).refused is None
        assert (await store.reserve(second.hold, order(limit(10, payer=Payer.CHANNEL), money=6))).refused is None
        grant = await store.reserve(second.hold, order(limit(10), limit(10, payer=Payer.CHANNEL), money=6))
        assert grant.refused == limit(10)

    async def test_who_holds_no_more_sets_nothing_aside(self, store: Store) -> None:
        claim = await begin(store, lease=OVER)
        with pytest.raises(LeaseLost):
            await store.reserve(claim.hold, order(limit(10), money=1))
        with pytest.raises(LeaseLost):
            await store.finish(claim.hold, reply("hi"), charge=cost(1))
        with pytest.raises(LeaseLost):
            await store.release(claim.hold, charge=cost(1))
        assert await spent(store) == 0


class ChargeLaws:
    """What was spent is on four accounts, once."""

    async def test_a_charge_is_on_all_four_accounts(self, store: Store) -> None:
        claim = await begin(store)
        await store.finish(claim.hold, reply("hi"), charge=cost(7, prompt=20, completion=3))
        for payer in Payer:
            assert await meter(store, payer) == Meter(payer=payer, period=Period.DAY, turns=1, tokens=23, money=7)
        assert await spent(store, user="U-Bob") == 0
        assert await spent(store, Payer.CHANNEL, key=room("C2")) == 0

    async def test_finishing_again_puts_the_new_charge_in_place_of_the_old(self, store: Store) -> None:
        claim = await begin(store)
        await store.reserve(claim.hold, order(limit(100, period=Period.MINUTE), money=50))
        await store.finish(claim.hold, reply("a draft"), charge=cost(7, prompt=5))
        await store.finish(claim.hold, reply("all of it"))
        await store.finish(claim.hold, None, error="cut", charge=cost(9, prompt=5, completion=2))
        one = await meter(store)
        assert (one.turns, one.tokens, one.money) == (1, 7, 9)
        await store.finish(claim.hold, reply("after all"), charge=cost(10, author="U-Bob"))
        assert (await spent(store), await spent(store, user="U-Bob"), await spent(store, Payer.CHANNEL)) == (0, 10, 10)
        await store.release(claim.hold, charge=cost(8, author="U-Bob"))
        one = await meter(store, user="U-Bob")
        assert (one.turns, one.money) == (0, 8), "what is handed back has not come to its end"

    async def test_an_order_after_a_charge_replaces_that_too(self, store: Store) -> None:
        claim = await begin(store)
        await store.finish(claim.hold, reply("hi"), charge=cost(60))
        assert (await store.reserve(claim.hold, order(limit(100), money=101))).refused is not None
        assert await spent(store) == 60
        assert (await store.reserve(claim.hold, order(limit(100), money=100))).refused is None
        assert (await meter(store)).turns == 1
        await store.finish(claim.hold, reply("hi"), charge=cost(70))
        assert (await spent(store), (await meter(store)).turns) == (70, 1)

    async def test_each_holder_charges_what_it_spent_itself(self, store: Store) -> None:
        await say(store, "hello")
        first = await take(store)
        await store.release(first.hold, charge=cost(5))
        second = await take(store)
        await store.finish(second.hold, reply("hi"), charge=cost(6))
        await store.renew(second.hold, lease=OVER)
        third = await take(store)
        await store.finish(third.hold, reply("hi"), charge=cost(7))
        await store.settle(third.hold, TurnState.DONE)
        assert await spent(store) == 18
        assert await store.retry(third.hold.conversation_id)
        fourth = await take(store)
        await store.finish(fourth.hold, reply("anew"), charge=cost(8))
        assert await spent(store) == 26

    async def test_a_turn_that_was_retracted_is_paid_for_all_the_same(self, store: Store) -> None:
        given = message(message_id="M1")
        await store.accept(given)
        claim = await take(store)
        await store.reserve(claim.hold, order(limit(100), money=50))
        assert await store.retract([named("M1")]) == (claim.hold.conversation_id,)
        assert not await store.finish(claim.hold, reply("hi"), charge=cost(4))
        assert await spent(store) == 4

    async def test_a_turns_record_has_what_it_cost_and_when_people_saw_something(self, store: Store) -> None:
        async def record() -> TurnRecord:
            one = await store.record("slack", "T1", conversation_id)
            assert one is not None
            return one.turns[0]

        conversation_id = await say(store, "hello")
        assert (await record()).started_at is None
        first = await take(store)
        started = (await record()).started_at
        assert started is not None
        await store.record_part(first.hold, 1, "P1")
        assert (await record()).first_shown_at is None
        await store.record_part(first.hold, 0, "P0")
        shown = (await record()).first_shown_at
        assert shown is not None
        assert shown >= started
        await store.release(first.hold)
        again = await take(store)
        await store.record_part(again.hold, 0, "P0, anew")
        await store.finish(again.hold, reply("hi"), charge=cost(9, prompt=100, completion=20))
        one = await record()
        assert (one.started_at, one.first_shown_at) == (started, shown)
        assert (one.prompt_tokens, one.completion_tokens, one.money) == (100, 20, 9)

    async def test_a_turn_without_a_charge_is_on_no_account(self, store: Store) -> None:
        claim = await begin(store)
        await store.finish(claim.hold, reply("hi"))
        await store.settle(claim.hold, TurnState.DONE)
        assert (await meter(store)).turns == 0

    @pytest.mark.parametrize("bad", ["nul \0", "half \udc00"])
    async def test_nobody_is_charged_whose_name_can_not_be_stored(self, store: Store, bad: str) -> None:
        claim = await begin(store)
        for refused in (
            store.finish(claim.hold, reply("hi"), charge=cost(1, author=bad)),
            store.release(claim.hold, charge=cost(1, author=bad)),
            store.reserve(claim.hold, order(author=bad)),
        ):
            with pytest.raises(UnstorableText):
                await refused
        assert await spent(store, Payer.ALL) == 0


class UsageLaws:
    """What was used adds up, within its workspace."""

    async def test_usage_is_summed_up_by_user_channel_workspace_and_day(self, store: Store) -> None:
        await carry_out(store, ROOM, cost(5, prompt=10, completion=1))
        await carry_out(store, room("C2"), cost(7, prompt=20, completion=2))
        await carry_out(store, room("C2", thread="1"), cost(1, prompt=5, author="U-Bob"))
        await carry_out(store, room("C1", workspace="T2"), cost(100))

        async def rows(by: UsageBy, user: str = "") -> list[tuple[str, int, int, int, int]]:
            used = await store.usage("slack", "T1", by=by, days=EVER, user=user, limit=9)
            return [(row.heading, row.turns, row.prompt_tokens, row.completion_tokens, row.money) for row in used]

        assert await rows(UsageBy.USER) == [("U-Ann", 2, 30, 3, 12), ("U-Bob", 1, 5, 0, 1)]
        assert await rows(UsageBy.CHANNEL) == [("C2", 2, 25, 2, 8), ("C1", 1, 10, 1, 5)]
        assert await rows(UsageBy.WORKSPACE) == [("T1", 3, 35, 3, 13)]
        assert await rows(UsageBy.USER, "U-Bob") == [("U-Bob", 1, 5, 0, 1)]
        days = await rows(UsageBy.DAY)
        assert [sum(column) for column in zip(*(row[1:] for row in days), strict=True)] == [3, 35, 3, 13]
        assert all(date.fromisoformat(row[0]) for row in days)
        assert [row[1:] for row in await rows(UsageBy.DAY, "U-Bob")] == [(1, 5, 0, 1)]

    async def test_what_is_only_set_aside_or_of_another_day_is_no_usage(self, store: Store) -> None:
        claim = await begin(store)
        await store.reserve(claim.hold, order(limit(100), money=50))
        assert await store.usage("slack", "T1", by=UsageBy.USER, days=EVER, limit=9) == ()
        await store.finish(claim.hold, reply("hi"), charge=cost(5))
        assert len(await store.usage("slack", "T1", by=UsageBy.USER, days=EVER, limit=9)) == 1
        past = Days(first=date(2020, 1, 1), last=date(2020, 12, 31))
        assert await store.usage("slack", "T1", by=UsageBy.USER, days=past, limit=9) == ()
        reverse = Days(first=EVER.last, last=EVER.first)
        assert await store.usage("slack", "T1", by=UsageBy.USER, days=reverse, limit=9) == ()

    async def test_the_list_has_an_end(self, store: Store) -> None:
        for n in range(4):
            await carry_out(store, ROOM, cost(n, author=f"U{n}"))
        used = await store.usage("slack", "T1", by=UsageBy.USER, days=EVER, limit=2)
        assert [row.heading for row in used] == ["U3", "U2"]
        with pytest.raises(ValueError, match="row"):
            await store.usage("slack", "T1", by=UsageBy.USER, days=EVER, limit=0)
        with pytest.raises(ValueError, match="channel"):
            await store.usage("slack", "T1", by=UsageBy.CHANNEL, days=EVER, user="U1", limit=1)

    async def test_old_accounts_are_forgotten_in_portions(self, store: Store) -> None:
        for n in range(3):
            await carry_out(store, ROOM, cost(1, author=f"U{n}"))
        tomorrow = datetime.now(UTC) + timedelta(days=2)
        assert await store.forget_usage(before=datetime(2020, 1, 1, tzinfo=UTC), limit=9) == 0
        assert [await store.forget_usage(before=tomorrow, limit=4) for _ in range(3)] == [4, 2, 0]
        assert await store.usage("slack", "T1", by=UsageBy.USER, days=EVER, limit=9) == ()
        assert await spent(store, Payer.ALL) == 0

    async def test_the_accounts_of_a_purged_workspace_go_and_everybodys_stay(self, store: Store) -> None:
        for key in (ROOM, room("C1", workspace="T2")):
            await carry_out(store, key, cost(5))
            await store.audit_log(key.platform, key.workspace, limit=1)
        running = await begin(store, key=room("C2"))
        await store.reserve(running.hold, order(limit(100), money=30))
        await store.put_setting(
            Setting(platform="slack", workspace="T1", name="x", value="y"), author_id="U-Op", at=datetime.now(UTC)
        )
        await store.purge_workspace("slack", "T1")
        for payer in (Payer.USER, Payer.CHANNEL, Payer.WORKSPACE):
            assert await spent(store, payer) == 0
        assert await spent(store, Payer.WORKSPACE, key=room("C1", workspace="T2")) == 5
        assert await spent(store, Payer.ALL) == 40, "what was set aside may have been spent"
        assert await store.audit_log("slack", "T1", limit=9) == ()
        assert await store.settings("slack") == ()
