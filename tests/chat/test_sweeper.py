"""The sweep takes what is due, nothing that is in use, and survives a failing store and a clock that jumps."""

import asyncio
import random
from datetime import timedelta

import pytest

from bot.chat.sweeper import JUMP, Sweeper, Swept
from store import NewMessage, Store, StoreUnavailable, TurnState, open_store
from store.values import ConversationKey
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.anyio

TTL = timedelta(days=30)
INTERVAL = timedelta(minutes=5)


@pytest.fixture
async def clock():
    return FakeClock()


@pytest.fixture
async def store(clock):
    store = await open_store("sqlite:///:memory:", clock=clock.now)
    yield store
    await store.aclose()


def sweeper(store: Store, clock: FakeClock, ttl: timedelta | None = TTL) -> Sweeper:
    return Sweeper(store, clock, random.Random(1), ttl=ttl, purge_after=timedelta(hours=24), interval=INTERVAL)


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


async def swept(store: Store, clock: FakeClock, ttl: timedelta | None = TTL) -> Swept:
    task = asyncio.create_task(sweeper(store, clock, ttl).sweep())
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
    assert (await swept(store, clock, ttl=None)).expired == 0


async def test_more_than_a_batch_is_done_in_batches(store, clock) -> None:
    for number in range(1100):
        await store.get_or_create(key(f"c{number}"), at=clock.now())
    await clock.advance(TTL + timedelta(days=1))
    assert (await swept(store, clock)).expired == 1100


async def test_a_slow_disk_gets_smaller_batches_and_a_fast_one_larger(store, clock, monkeypatch) -> None:
    took, asked = iter([1, 1, 20, 20, 1, 1, 1, 1, 1, 1]), []

    async def expire(*, before, at, limit):
        asked.append(limit)
        clock._passed += timedelta(milliseconds=next(took))
        return limit if len(asked) < 10 else 0

    monkeypatch.setattr(store, "expire", expire)
    await swept(store, clock)
    assert asked == [20, 40, 80, 40, 20, 40, 80, 160, 320, 500]


async def test_a_failing_store_does_not_end_the_sweeping(store, clock, monkeypatch) -> None:
    await store.get_or_create(key("old"), at=clock.now() - 2 * TTL)
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


async def test_a_clock_that_jumped_stops_the_sweep_until_it_was_steady_for_an_hour(store, clock) -> None:
    await store.get_or_create(key("in use"), at=clock.now())
    task = asyncio.create_task(sweeper(store, clock).run())
    await clock.advance(INTERVAL * 2)
    clock.set_wall_clock(2 * TTL)
    for _ in range(5):
        await clock.advance(INTERVAL)
        await asyncio.sleep(0.005)
    assert await store.find(key("in use")) is not None
    await clock.advance(JUMP)
    for _ in range(400):
        await clock.advance(INTERVAL)
        await asyncio.sleep(0.001)
        if await store.find(key("in use")) is None:
            break
    assert await store.find(key("in use")) is None
    task.cancel()
    await asyncio.wait({task})
