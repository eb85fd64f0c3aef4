"""Governing on PostgreSQL with many replicas at once: no limit is passed, no amount is lost, nobody waits in a circle."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import LiteralString

import psycopg
import pytest

from store import (
    WORKSPACE_RUNNING,
    Charge,
    Claim,
    Days,
    Grant,
    LeaseLost,
    Limit,
    Order,
    Payer,
    Period,
    Setting,
    Store,
    TurnState,
    Unit,
    UsageBy,
    open_store,
)
from store.postgres_setup import version
from tests.contracts.store_words import AT, LEASE, PLATFORMS, begin, message, reply, room, say, within_one_minute
from tests.engines.postgres import PostgresServer

pytestmark = pytest.mark.anyio

EVER = Days(first=date(2020, 1, 1), last=date(2100, 1, 1))
TURNS = Limit(payer=Payer.USER, unit=Unit.TURNS, period=Period.MINUTE, amount=2)
MONEY = Limit(payer=Payer.WORKSPACE, unit=Unit.MONEY, period=Period.DAY, amount=100)


@pytest.fixture
async def replicas(postgres: PostgresServer, postgres_url: str) -> AsyncIterator[Sequence[Store]]:
    """Four stores with pools of their own on one database. None of what they do may end in a deadlock."""
    log = postgres.home / "log"
    before = log.read_text().count("deadlock detected")
    stores = [await open_store(postgres_url) for _ in range(4)]
    yield stores
    for store in stores:
        await store.aclose()
    assert log.read_text().count("deadlock detected") == before


@pytest.fixture
def store(replicas: Sequence[Store]) -> Store:
    return replicas[0]


def order(*limits: Limit, money: int = 0, user: str = "U1") -> Order:
    return Order(author_id=user, tokens=10, money=money, limits=limits)


def cost(money: int = 0, *, user: str = "U1") -> Charge:
    return Charge(author_id=user, prompt_tokens=3, completion_tokens=1, money=money)


async def spent(store: Store, payer: Payer, *, user: str = "U1", period: Period = Period.DAY) -> tuple[int, int]:
    """Tell the turns and the money on an account."""
    meters = await store.standing("slack", "T1", "C1", user)
    (one,) = [one for one in meters if one.payer is payer and one.period is period]
    return one.turns, one.money


class TestManyAtOnce:
    """Four replicas with ten connections each."""

    @pytest.mark.parametrize("payer", list(Payer))
    async def test_replicas_together_grant_no_more_than_there_is_money_for(
        self, replicas: Sequence[Store], payer: Payer
    ) -> None:
        claims = [await begin(replicas[0], key=room("C1", thread=f"{n}")) for n in range(100)]
        for again in range(5):
            paid = (await spent(replicas[0], payer))[1]
            asked = order(Limit(payer=payer, unit=Unit.MONEY, period=Period.DAY, amount=paid + 105), money=10)

            async def ask(n: int, claim: Claim, asked: Order = asked) -> Grant:
                return await replicas[n % 4].reserve(claim.hold, asked)

            grants = await asyncio.gather(*(ask(n, claim) for n, claim in enumerate(claims)))
            assert sum(grant.refused is None for grant in grants) == 10, f"round {again}"
            assert sum(not grant.told for grant in grants if grant.refused) == 1
            assert sum(len(grant.near) for grant in grants) == 1
            assert (await spent(replicas[0], payer))[1] == paid + 100
            for claim, grant in zip(claims, grants, strict=True):
                if grant.refused is None:
                    await replicas[1].finish(claim.hold, reply("hi"), charge=cost(10))
                    await replicas[1].settle(claim.hold, TurnState.DONE)
            claims = [claim for claim, grant in zip(claims, grants, strict=True) if grant.refused is not None]

    async def test_while_others_finish_no_limit_is_passed(self, replicas: Sequence[Store]) -> None:
        """Each spends all that it set aside, in two steps, so what is granted shows how much was ever set aside."""
        limits = [Limit(payer=payer, unit=Unit.MONEY, period=Period.DAY, amount=250) for payer in Payer]

        async def work(n: int) -> int:
            store = replicas[n % 4]
            claim = await begin(store, key=room("C1", thread=f"{n}"))
            asked = order(*random.sample(limits, k=len(limits)), money=5)
            if (await store.reserve(claim.hold, asked)).refused is not None:
                return 0
            if (await store.reserve(claim.hold, order(*limits, money=10))).refused is not None:
                await store.finish(claim.hold, reply("cut"), charge=cost(5))
                return 5
            await store.finish(claim.hold, reply("hi"), charge=cost(10))
            return 10

        paid = sum(await asyncio.gather(*(work(n) for n in range(120))))
        assert paid == 250
        for payer in Payer:
            assert (await spent(replicas[0], payer))[1] == 250

    async def test_no_amount_is_lost_when_many_turns_of_a_workspace_end_at_once(self, replicas: Sequence[Store]) -> None:
        """By different people in different channels, with drafts that are charged before, each moving to another payer."""
        chance = random.Random(1)
        plan = [(f"U{chance.randrange(5)}", f"U{chance.randrange(5)}", f"C{chance.randrange(3)}") for _ in range(80)]

        async def work(n: int) -> None:
            before, after, channel = plan[n]
            store, other = replicas[n % 4], replicas[(n + 1) % 4]
            claim = await begin(store, key=room(channel, thread=f"{n}"))
            await store.reserve(claim.hold, order(TURNS, MONEY, money=1, user=before))
            await other.finish(claim.hold, reply("a draft"), charge=cost(n, user=before))
            await other.finish(claim.hold, reply("all of it"), charge=cost(2 * n, user=after))
            if n % 4 == 0:
                await store.release(claim.hold, charge=cost(3 * n, user=after))
            else:
                await store.settle(claim.hold, TurnState.DONE)

        await asyncio.gather(*(work(n) for n in range(80)))
        paid = [3 * n if n % 4 == 0 else 2 * n for n in range(80)]
        for payer in (Payer.WORKSPACE, Payer.ALL):
            assert await spent(replicas[0], payer) == (60, sum(paid))
        used = await replicas[0].usage("slack", "T1", by=UsageBy.USER, days=EVER, limit=9)
        for user in {after for _, after, _ in plan}:
            of = [n for n in range(80) if plan[n][1] == user]
            (row,) = [row for row in used if row.heading == user]
            assert (row.turns, row.money) == (sum(n % 4 > 0 for n in of), sum(paid[n] for n in of))
        used = await replicas[0].usage("slack", "T1", by=UsageBy.CHANNEL, days=EVER, limit=9)
        assert sum(row.money for row in used) == sum(paid)

    async def test_of_many_who_begin_turns_at_once_no_more_than_the_number_do(self, replicas: Sequence[Store]) -> None:
        setting = Setting(platform="slack", workspace="T1", name=WORKSPACE_RUNNING, value="7")
        await replicas[0].put_setting(setting, author_id="U-Op", at=AT)
        for n in range(20):
            await say(replicas[0], "hello", key=room("C1", thread=f"{n}"))

        async def claim(n: int) -> Claim | None:
            if n % 2:
                return await replicas[n % 4].claim(lease=LEASE, window=1, platforms=PLATFORMS)
            given = message(key=room("C2", thread=f"{n}"))
            accepted = await replicas[n % 4].accept_and_claim(given, lease=LEASE, window=1)
            assert accepted is not None
            return accepted.claim

        claims = [claim for claim in await asyncio.gather(*(claim(n) for n in range(40))) if claim is not None]
        assert len(claims) == 7
        assert await replicas[0].running_in("slack", ["T1"]) == 7
        for done in claims:
            await replicas[0].settle(done.hold, TurnState.DONE)
        claims = [claim for claim in await asyncio.gather(*(claim(n) for n in range(41, 61, 2))) if claim is not None]
        assert len(claims) == 7

    async def test_a_workspace_with_a_number_beyond_all_bounds_keeps_nobody_from_claiming(self, store: Store) -> None:
        for value in ("999999999999", "9" * 40):
            setting = Setting(platform="slack", workspace="T1", name=WORKSPACE_RUNNING, value=value)
            await store.put_setting(setting, author_id="U-Op", at=AT)
            await say(store, "hello", key=room("C1", thread=value))
            assert await store.claim(lease=LEASE, window=1, platforms=PLATFORMS) is not None
            await begin(store, key=room("C2", thread=value))

    async def test_of_many_who_choose_at_once_each_is_told_what_the_one_before_chose(
        self, replicas: Sequence[Store]
    ) -> None:
        async def choose(n: int) -> str:
            setting = Setting(platform="slack", workspace="T1", name="model", value=f"m{n}")
            return await replicas[n % 4].put_setting(setting, author_id=f"U{n}", at=AT)

        before = await asyncio.gather(*(choose(n) for n in range(40)))
        (setting,) = await replicas[1].settings("slack")
        assert sorted([*before, setting.value]) == sorted(["", *(f"m{n}" for n in range(40))])
        log = (await replicas[2].audit_log("slack", "T1", limit=99))[::-1]
        assert [entry.before for entry in log] == ["", *(entry.after for entry in log[:-1])]
        assert await replicas[3].settings_version() == 40

    async def test_who_writes_to_the_accounts_of_all_keeps_nobody_waiting(self, store: Store, postgres_url: str) -> None:
        first, second, third = [await begin(store, key=room(f"C{n}")) for n in range(3)]
        await store.finish(first.hold, reply("hi"), charge=cost(5))
        charge = f"SELECT parley_charge_{version()}(%s, %s, %s, 'U3', 1, 1, 1, false)".encode()
        with psycopg.connect(postgres_url) as other:
            other.execute(charge, (third.hold.turn_id, third.hold.conversation_id, third.hold.epoch))
            await store.reserve(second.hold, order(money=9, user="U2"))
            await store.finish(second.hold, reply("hi"), charge=cost(7, user="U2"))
        assert await spent(store, Payer.WORKSPACE) == await spent(store, Payer.ALL) == (3, 13)
        (row,) = await store.usage("slack", "T1", by=UsageBy.WORKSPACE, days=EVER, limit=9)
        assert (row.heading, row.turns, row.money) == ("T1", 3, 13)
        (row,) = await store.usage("slack", "T1", by=UsageBy.DAY, days=EVER, limit=9)
        assert (row.turns, row.money) == (3, 13)
        grant = await store.reserve((await begin(store, key=room("C1", thread="4"))).hold, order(MONEY, money=88))
        assert grant.refused == MONEY, "what stands on several rows is counted as one"
        await store.purge_workspace("slack", "T1")
        assert await spent(store, Payer.WORKSPACE) == (0, 0)
        assert await spent(store, Payer.ALL) == (3, 13)

    async def test_a_workspace_is_purged_while_its_turns_end(self, replicas: Sequence[Store]) -> None:
        claims = [await begin(replicas[0], key=room("C1", thread=f"{n}")) for n in range(30)]
        for claim in claims:
            await replicas[0].reserve(claim.hold, order(MONEY, money=3))

        async def work(n: int) -> None:
            with contextlib.suppress(LeaseLost):
                await replicas[n % 4].finish(claims[n].hold, reply("hi"), charge=cost(3))

        purge = asyncio.create_task(replicas[3].purge_workspace("slack", "T1"))
        await asyncio.gather(*(work(n) for n in range(30)))
        assert await purge == 30
        await replicas[0].purge_workspace("slack", "T1")
        assert await spent(replicas[0], Payer.WORKSPACE) == (0, 0)
        assert await spent(replicas[0], Payer.ALL) == (30, 90), "charged, or set aside and maybe spent"


class TestTimeGoesBy:
    """The clock is the server's, so what time does is done to the rows: they get older."""

    @staticmethod
    def age(url: str, *statements: LiteralString) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def a_minute(self, url: str) -> None:
        self.age(
            url,
            "UPDATE account SET period = 'm' || substr(period, 2)::int - 1 WHERE period LIKE 'm%'",
            "UPDATE reservation SET minute = 'm' || substr(minute, 2)::int - 1 WHERE minute <> ''",
        )

    def a_day(self, url: str) -> None:
        self.age(  # in two steps, since no two days have one name
            url,
            "UPDATE account SET period = to_char(to_date(substr(period, 2), 'YYYYMMDD') - 1, '\"x\"YYYYMMDD') "
            "WHERE period LIKE 'd%'",
            "UPDATE account SET period = 'd' || substr(period, 2) WHERE period LIKE 'x%'",
            "UPDATE reservation SET day = to_char(to_date(substr(day, 2), 'YYYYMMDD') - 1, '\"d\"YYYYMMDD')",
        )

    def eleven_minutes(self, url: str) -> None:
        self.age(url, "UPDATE reservation SET at = at - 660000000")

    async def test_a_minute_that_is_over_no_longer_counts(self, store: Store, postgres_url: str) -> None:
        await within_one_minute(seconds=10)
        claims = [await begin(store, key=room("C1", thread=f"{n}")) for n in range(4)]
        for claim in claims[:2]:
            assert (await store.reserve(claim.hold, order(TURNS))).refused is None
        asked = datetime.now(UTC)
        refused = await store.reserve(claims[2].hold, order(TURNS))
        assert (refused.refused, refused.told) == (TURNS, False)
        assert refused.until is not None
        assert asked < refused.until <= datetime.now(UTC) + timedelta(minutes=1)
        assert (refused.until.second, refused.until.microsecond) == (0, 0)
        self.a_minute(postgres_url)
        assert (await store.reserve(claims[0].hold, order(TURNS))).refused is None, "it goes on in the new minute"
        assert (await store.reserve(claims[2].hold, order(TURNS))).refused is None
        assert await spent(store, Payer.USER, period=Period.MINUTE) == (2, 0)
        assert (await store.reserve(claims[3].hold, order(TURNS))).refused == TURNS
        assert (await store.reserve(claims[1].hold, order(TURNS))).refused is None, "one that was let in is not kept out"

    async def test_a_turn_is_charged_in_the_periods_in_which_it_was_begun(self, store: Store, postgres_url: str) -> None:
        claim = await begin(store)
        await store.reserve(claim.hold, order(TURNS, MONEY, money=90))
        self.a_minute(postgres_url)
        self.a_day(postgres_url)
        await store.finish(claim.hold, reply("hi"), charge=cost(70))
        assert await spent(store, Payer.USER) == await spent(store, Payer.USER, period=Period.MINUTE) == (0, 0)
        (row,) = await store.usage("slack", "T1", by=UsageBy.DAY, days=EVER, limit=9)
        assert (row.turns, row.money) == (1, 70)

    async def test_a_turn_that_asks_again_after_midnight_moves_as_a_whole(self, store: Store, postgres_url: str) -> None:
        claim = await begin(store)
        assert (await store.reserve(claim.hold, order(MONEY, money=90))).near == (MONEY,)
        self.a_day(postgres_url)
        assert await spent(store, Payer.WORKSPACE) == (0, 0)
        assert (await store.reserve(claim.hold, order(MONEY, money=101))).refused == MONEY
        assert (await store.reserve(claim.hold, order(MONEY, money=100))).near == (MONEY,), "a new day is warned of anew"
        assert await spent(store, Payer.WORKSPACE) == (1, 100)
        await store.finish(claim.hold, reply("hi"), charge=cost(50))
        (row,) = await store.usage("slack", "T1", by=UsageBy.DAY, days=EVER, limit=9)
        assert (row.turns, row.money) == (1, 50)

    async def test_who_was_refused_is_told_again_in_the_next_period(self, store: Store, postgres_url: str) -> None:
        claim = await begin(store)
        asked = order(MONEY, money=101)
        assert [(await store.reserve(claim.hold, asked)).told for _ in range(2)] == [False, True]
        self.a_day(postgres_url)
        assert [(await store.reserve(claim.hold, asked)).told for _ in range(2)] == [False, True]

    async def test_what_nobody_holds_any_more_is_spent_after_ten_minutes(self, store: Store, postgres_url: str) -> None:
        async def used() -> list[tuple[int, int, int]]:
            rows = await store.usage("slack", "T1", by=UsageBy.USER, days=EVER, limit=9)
            return [(row.turns, row.prompt_tokens, row.money) for row in rows]

        lost, held, silent = [await begin(store, key=room("C1", thread=f"{n}")) for n in range(3)]
        for claim in (lost, held, silent):
            await store.reserve(claim.hold, order(MONEY, money=30))
        await store.finish(silent.hold, reply("hi"), charge=cost(1))
        await store.settle(silent.hold, TurnState.DONE)
        await store.delete(lost.hold.conversation_id)
        assert await used() == [(1, 3, 1)], "it may still be heard of"
        self.eleven_minutes(postgres_url)
        assert await used() == [(2, 13, 31)], "only of the one that nobody holds"
        assert await used() == [(2, 13, 31)]
        grant = await store.reserve((await begin(store, key=room("C1", thread="4"))).hold, order(MONEY, money=40))
        assert grant.refused == MONEY
        await store.finish(held.hold, reply("hi"), charge=cost(5))
        assert await used() == [(3, 16, 36)]

    async def test_what_is_abandoned_is_spent_once_however_many_look_for_it(
        self, replicas: Sequence[Store], postgres_url: str
    ) -> None:
        claims = [await begin(replicas[0], key=room("C1", thread=f"{n}")) for n in range(60)]
        for claim in claims:
            await replicas[0].reserve(claim.hold, order(money=2))
            await replicas[0].renew(claim.hold, lease=timedelta())
        self.eleven_minutes(postgres_url)

        async def look(n: int) -> None:
            await replicas[n % 4].usage("slack", "T1", by=UsageBy.USER, days=EVER, limit=1)
            await replicas[n % 4].forget_usage(before=AT, limit=9)

        async def take_over(n: int) -> None:
            claim = await replicas[n % 4].claim(lease=LEASE, window=1, platforms=PLATFORMS)
            assert claim is not None
            await replicas[n % 4].reserve(claim.hold, order(money=1))
            await replicas[n % 4].finish(claim.hold, reply("hi"), charge=cost(1))

        await asyncio.gather(*(take_over(n) if n % 3 else look(n) for n in range(60)))
        await look(0)
        assert (await spent(replicas[0], Payer.ALL))[1] == 60 * 2 + 40

    async def test_what_is_just_being_spent_by_another_is_not_spent_again(self, store: Store, postgres_url: str) -> None:
        await say(store, "hello")
        lost = await store.claim(lease=LEASE, window=1, platforms=PLATFORMS)
        assert lost is not None
        await store.reserve(lost.hold, order(money=30))
        await store.renew(lost.hold, lease=timedelta())
        again = await store.claim(lease=LEASE, window=1, platforms=PLATFORMS)
        assert again is not None
        waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        with psycopg.connect(postgres_url) as other, psycopg.connect(postgres_url, autocommit=True) as onlooker:
            other.execute(f"SELECT parley_settle_abandoned_{version()}(%s, %s)".encode(), (0, 9))
            reserved = asyncio.create_task(store.reserve(again.hold, order(money=5)))
            while onlooker.execute(waiting).fetchone() is None:  # noqa: ASYNC110 - nobody tells who waits
                await asyncio.sleep(0.005)
        await reserved
        assert await spent(store, Payer.USER) == (2, 35)

    async def test_accounts_of_minutes_are_forgotten_once_nothing_is_set_aside_in_them(
        self, store: Store, postgres_url: str
    ) -> None:
        await within_one_minute(seconds=10)
        first, second = await begin(store, key=room("C1")), await begin(store, key=room("C2"))
        for claim in (first, second):
            await store.reserve(claim.hold, order(TURNS))
        assert await store.forget_usage(before=AT, limit=99) == 0
        self.a_minute(postgres_url)
        assert await store.forget_usage(before=AT, limit=99) == 0
        for claim in (first, second):
            await store.finish(claim.hold, reply("hi"), charge=cost())
            await store.settle(claim.hold, TurnState.DONE)
        assert await store.forget_usage(before=AT, limit=2) == 2
        assert await store.forget_usage(before=AT, limit=99) == 3, "a user, two channels, a workspace and everybody"
        assert await spent(store, Payer.USER) == (2, 0)

    async def test_days_are_forgotten_when_they_are_old_enough(self, store: Store, postgres_url: str) -> None:
        for _ in range(3):
            self.a_day(postgres_url)
            claim = await begin(store)
            await store.finish(claim.hold, reply("hi"), charge=cost(1))
            await store.settle(claim.hold, TurnState.DONE)
        assert await store.forget_usage(before=datetime.now(UTC) - timedelta(days=1), limit=99) == 4
        rows = await store.usage("slack", "T1", by=UsageBy.DAY, days=EVER, limit=9)
        today = datetime.now(UTC).date()
        assert [row.heading for row in rows] == [f"{today - timedelta(days=1)}", f"{today}"]
