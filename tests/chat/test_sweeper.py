"""The sweep takes what is due, nothing that is in use, and survives a failing store and a clock that jumps."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from bot.chat.policy import Rules
from bot.chat.rules import Defaults, RuleBook
from bot.chat.sweeper import USED_FOR, Sweeper, Swept
from bot.chat.time_of_day import SILENCE
from store import AuditEntry, Expired, NewMessage, Setting, Store, StoreUnavailable, TurnState, open_store
from store.values import ConversationKey
from tests.fakes.clock import START, FakeClock

pytestmark = pytest.mark.anyio

TTL = timedelta(days=30)
INTERVAL = timedelta(minutes=5)
HOURLY = timedelta(hours=1)
AUDIT_TTL = timedelta(days=365)


@pytest.fixture
async def clock():
    return FakeClock()


@pytest.fixture
async def store(clock):
    store = await open_store("sqlite:///:memory:", clock=clock.now)
    yield store
    await store.aclose()


def book(store: Store, ttl: timedelta | None = TTL) -> RuleBook:
    return RuleBook(store, Defaults(rules=Rules(ttl=ttl)))


def sweeper(store: Store, clock: FakeClock, rules: RuleBook | None = None, *, interval: timedelta = INTERVAL) -> Sweeper:
    return Sweeper(
        store,
        clock,
        random.Random(1),
        rules or book(store),
        purge_after=timedelta(hours=24),
        interval=interval,
        audit_ttl=AUDIT_TTL,
    )


def key(channel: str) -> ConversationKey:
    return ConversationKey(platform="p", workspace="w", channel=channel)


async def say(store: Store, clock: FakeClock, channel: str) -> None:
    message = NewMessage(
        key=key(channel),
        event_id="",
        message_id=f"{channel}/{clock.now().isoformat()}",
        position=None,
        author_id="u",
        author_name="",
        text="hi",
        address="",
        at=clock.now(),
    )
    await store.accept(message)
    claim = await store.claim(lease=timedelta(seconds=30), window=1, platforms=("p",))
    assert claim is not None
    await store.settle(claim.hold, TurnState.CANCELLED)


async def swept(store: Store, clock: FakeClock, rules: RuleBook | None = None) -> Swept:
    task = asyncio.create_task(sweeper(store, clock, rules).sweep())
    while not task.done():
        await asyncio.sleep(0.001)
        await clock.advance(timedelta(milliseconds=10))
    return task.result()


async def test_a_conversation_expires_after_its_ttl_and_goes_for_good_after_the_grace(store, clock) -> None:
    await say(store, clock, "old")
    await clock.advance(TTL - timedelta(hours=1))
    await say(store, clock, "young")
    assert (await swept(store, clock)).expired == 0
    await clock.advance(timedelta(hours=2))
    assert (await swept(store, clock)).expired == 1
    assert await store.find(key("old")) is None
    assert await store.find(key("young")) is not None
    assert (await swept(store, clock)).purged == 0
    await clock.advance(timedelta(hours=25))
    assert (await swept(store, clock)).purged == 3  # its message, its turn, itself
    assert await store.find(key("young")) is not None


async def test_without_a_ttl_nothing_ever_expires(store, clock) -> None:
    await say(store, clock, "old")
    await clock.advance(timedelta(days=36500))
    assert (await swept(store, clock, book(store, None))).expired == 0


async def choose(rules: RuleBook, ttl: str, channel: str, workspace: str = "w") -> None:
    setting = Setting(platform="p", workspace=workspace, channel=channel, name="ttl", value=ttl)
    await rules.set(setting, author_id="olga", action="channel", at=START)


async def left(store: Store) -> set[tuple[str, str, str]]:
    """Which conversations are still current, by workspace, channel and thread."""
    found = set()
    for place in PLACES:
        if await store.find(ConversationKey(platform="p", workspace=place[0], channel=place[1], thread=place[2])):
            found.add(place)
    return found


PLACES = [
    ("w", "archive", ""),
    ("w", "archive", "thread"),
    ("w", "chatter", ""),
    ("w", "chatter", "thread"),
    ("w", "kitchen", ""),
    ("v", "chatter", ""),
    ("v", "kitchen", ""),
    ("", "dm", ""),
    ("u", "kitchen", ""),
]


async def test_each_place_is_kept_for_its_own_time(store, clock) -> None:
    rules = book(store)
    await choose(rules, "off", "archive")
    await choose(rules, "1h", "chatter")
    await choose(rules, "2d", "")
    await choose(rules, "10d", "", workspace="")
    await choose(rules, "off", "", workspace="u")
    for workspace, channel, thread in PLACES:
        key = ConversationKey(platform="p", workspace=workspace, channel=channel, thread=thread)
        await store.get_or_create(key, at=clock.now())
    kept, gone = set(PLACES), set()
    for after, going in (
        (timedelta(hours=2), {("w", "chatter", ""), ("w", "chatter", "thread")}),
        (timedelta(days=3), {("w", "kitchen", "")}),
        (timedelta(days=8), {("", "dm", "")}),
        (timedelta(days=20), {("v", "chatter", ""), ("v", "kitchen", "")}),
        (timedelta(days=36500), set()),
    ):
        await clock.advance(after)
        assert (await swept(store, clock, rules)).expired == len(going)
        gone |= going
        assert await left(store) == kept - gone


async def test_a_workspace_may_keep_for_longer_than_the_default(store, clock) -> None:
    rules = book(store, timedelta(days=1))
    await choose(rules, "100d", "")
    await store.get_or_create(key("kitchen"), at=clock.now())
    await clock.advance(timedelta(days=99))
    assert (await swept(store, clock, rules)).expired == 0
    await choose(rules, "default", "")
    assert (await swept(store, clock, rules)).expired == 1


async def test_the_log_of_governing_and_old_accounts_go_after_their_time(store, clock) -> None:
    entry = AuditEntry(platform="p", workspace="w", channel="", author_id="u", action="status", at=clock.now())
    for _ in range(30):
        await store.audit(entry)
    assert await swept(store, clock) == Swept(expired=0, purged=0, events=0, audit=0, usage=0)
    await clock.advance(AUDIT_TTL + timedelta(days=1))
    assert (await swept(store, clock)).audit == 30
    assert await store.audit_log("p", "w", limit=10) == ()


async def test_accounts_are_dropped_in_batches_once_their_year_is_over(store, clock, monkeypatch) -> None:
    asked = []

    async def forget_usage(*, before, limit):
        asked.append((before, limit))
        return limit if len(asked) < 3 else 0

    monkeypatch.setattr(store, "forget_usage", forget_usage)
    assert (await swept(store, clock)).usage == sum(limit for _, limit in asked[:2])
    assert {clock.now() - before >= USED_FOR for before, _ in asked} == {True}


async def test_more_than_a_batch_is_done_in_batches(store, clock) -> None:
    for number in range(1100):
        await store.get_or_create(key(f"c{number}"), at=clock.now())
    await clock.advance(TTL + timedelta(days=1))
    assert (await swept(store, clock)).expired == 1100


async def test_a_slow_disk_gets_smaller_batches_and_a_fast_one_larger(store, clock, monkeypatch) -> None:
    took, asked = iter([1, 1, 20, 20, 1, 1, 1, 1, 1, 1]), []

    async def expire(*, limit, **parts):
        asked.append(limit)
        clock._passed += timedelta(milliseconds=next(took))
        return Expired(expired=limit, looked_at=limit, next="more" if len(asked) < 10 else None)

    monkeypatch.setattr(store, "expire", expire)
    await swept(store, clock)
    assert asked == [20, 40, 80, 40, 20, 40, 80, 160, 320, 500]


async def test_a_failing_store_does_not_end_the_sweeping(store, clock, monkeypatch) -> None:
    await store.get_or_create(key("old"), at=clock.now() - 2 * TTL)
    await swept(store, clock, book(store, None))  # so that the time is not in doubt
    calls = []
    real = store.expire

    async def expire(**arguments):
        calls.append(1)
        if len(calls) == 1:
            raise StoreUnavailable("the disk is full")
        return await real(**arguments)

    monkeypatch.setattr(store, "expire", expire)
    task = asyncio.create_task(sweeper(store, clock).run())
    while await store.find(key("old")) is not None:
        await clock.advance(INTERVAL / 2)
        await asyncio.sleep(0.001)
    assert len(calls) >= 2
    task.cancel()
    await asyncio.wait({task})


@contextlib.asynccontextmanager
async def sweeping(store: Store, clock: FakeClock) -> AsyncIterator[Sweeper]:
    running = sweeper(store, clock, interval=HOURLY)
    task = asyncio.create_task(running.run())
    try:
        yield running
    finally:
        task.cancel()
        await asyncio.wait({task})


async def pass_time(clock: FakeClock, by: timedelta) -> None:
    """Let sweeps come and end."""
    for _ in range(int(by / (HOURLY / 2)) + 1):
        await clock.advance(HOURLY / 2)
        await rested(clock)
    for _ in range(20):  # the last sweep may rest between two of its batches
        await clock.advance(timedelta(milliseconds=10))
        await rested(clock)


async def rested(clock: FakeClock) -> None:
    """Wait until the sweeper does: no time passes while it works, however busy the machine is."""
    while not clock.sleeping:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.001)


class TestTimeInDoubt:
    """A clock that is wrong deletes nothing that is in use, and a right one is believed again."""

    @pytest.fixture(autouse=True)
    async def _swept_lately(self, store, clock) -> None:
        await store.get_or_create(key("in use"), at=clock.now())
        await swept(store, clock)

    async def test_a_clock_that_was_set_forward_deletes_nothing_whatever_is_said(self, store, clock) -> None:
        async with sweeping(store, clock) as running:
            await pass_time(clock, 2 * HOURLY)
            true = clock.now() - clock.monotonic()
            clock.set_wall_clock(2 * TTL)
            for _ in range(30):
                await pass_time(clock, timedelta(hours=1))
                running.heard(true + clock.monotonic())
        assert await store.find(key("in use")) is not None

    async def test_it_goes_on_once_a_message_agrees_with_the_clock(self, store, clock) -> None:
        async with sweeping(store, clock) as running:
            await pass_time(clock, 2 * HOURLY)
            clock.set_wall_clock(2 * TTL)  # as when a laptop is opened again after two months
            await pass_time(clock, timedelta(hours=2))
            assert await store.find(key("in use")) is not None
            running.heard(clock.now() - timedelta(hours=6))  # what was missed is delivered late
            await pass_time(clock, timedelta(hours=2))
            assert await store.find(key("in use")) is not None
            running.heard(clock.now() - timedelta(seconds=2))
            await pass_time(clock, 2 * HOURLY)
            assert await store.find(key("in use")) is None

    async def test_it_goes_on_after_a_week_without_any_message(self, store, clock) -> None:
        async with sweeping(store, clock):
            await pass_time(clock, 2 * HOURLY)
            clock.set_wall_clock(2 * TTL)
            await pass_time(clock, SILENCE - timedelta(hours=1))
            assert await store.find(key("in use")) is not None
            await pass_time(clock, timedelta(hours=4))  # the week begins and ends with a sweep that was due
            assert await store.find(key("in use")) is None

    async def test_a_late_message_does_not_show_that_the_clock_is_wrong_for_good(self, store, clock) -> None:
        await store.get_or_create(key("old"), at=clock.now() - 2 * TTL)
        async with sweeping(store, clock) as running:
            running.heard(clock.now() - timedelta(hours=5))
            await pass_time(clock, 2 * HOURLY)
            assert await store.find(key("old")) is not None
            running.heard(clock.now())
            await pass_time(clock, 2 * HOURLY)
        assert await store.find(key("old")) is None
        assert await store.find(key("in use")) is not None

    async def test_a_clock_that_was_trusted_is_doubted_when_messages_contradict_it(self, store, clock) -> None:
        async with sweeping(store, clock) as running:
            await pass_time(clock, 2 * HOURLY)
            true = clock.now() - clock.monotonic()
            clock.set_wall_clock(TTL / 2)
            await pass_time(clock, SILENCE)
            for _ in range(20):
                running.heard(true + clock.monotonic())
                await pass_time(clock, timedelta(hours=6))
            clock.set_wall_clock(TTL / 2)
            await pass_time(clock, timedelta(hours=6))
        assert await store.find(key("in use")) is not None

    async def test_a_machine_that_starts_with_a_wrong_clock_deletes_nothing(self, store, clock) -> None:
        clock.set_wall_clock(2 * TTL)
        async with sweeping(store, clock):
            await pass_time(clock, timedelta(hours=2))
        assert await store.find(key("in use")) is not None

    async def test_a_restart_is_no_reason_to_doubt(self, store, clock) -> None:
        await store.get_or_create(key("old"), at=clock.now() - 2 * TTL)
        await clock.advance(timedelta(minutes=10))
        async with sweeping(store, clock):
            await pass_time(clock, 2 * HOURLY)
        assert await store.find(key("old")) is None
        assert await store.find(key("in use")) is not None

    async def test_a_clock_that_was_set_back_deletes_no_more_and_goes_on(self, store, clock) -> None:
        await store.get_or_create(key("old"), at=clock.now() - TTL)
        async with sweeping(store, clock) as running:
            await pass_time(clock, 2 * HOURLY)
            running.heard(clock.now())
            clock.set_wall_clock(-timedelta(hours=2))
            await store.get_or_create(key("due soon"), at=clock.now() - TTL + timedelta(hours=1))
            await pass_time(clock, timedelta(hours=2))
            assert await store.find(key("due soon")) is None
            assert await store.find(key("in use")) is not None

    async def test_where_the_store_has_a_server_its_clock_counts(self, store, clock, monkeypatch) -> None:
        true = clock.now()

        async def server_time():
            return true

        monkeypatch.setattr(store, "server_time", server_time)
        clock.set_wall_clock(2 * TTL)
        await swept(store, clock)
        assert await store.find(key("in use")) is not None
