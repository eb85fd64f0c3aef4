"""When sessions may begin: one after another at Discord's pace, for all replicas together, and also without the store."""

import asyncio
import itertools
from datetime import timedelta

import pytest

from bot.adapters.discord.session_starts import PACE, session_starts
from bot.chat.pacing import Pacer
from store import StoreUnavailable, open_store
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.anyio

DISCORDS = timedelta(seconds=5)
PAUSE = 0.01
"""Real seconds for each tenth of a second that passes: the store is waited for two seconds, and has a thread of its own."""


async def begun(clock: FakeClock, *starts: Pacer, times: int) -> list[timedelta]:
    """Let each begin so many sessions at once, and return when all of them began, in order."""
    at: list[timedelta] = []

    async def begin(one: Pacer) -> None:
        await one.acquire()
        at.append(clock.monotonic())

    tasks = [asyncio.create_task(begin(one)) for one in starts for _ in range(times)]
    while not all(task.done() for task in tasks):
        await clock.advance(timedelta(milliseconds=100))
        await asyncio.sleep(PAUSE)
    for task in tasks:
        task.result()
    return sorted(at)


async def test_the_first_begins_at_once_and_all_replicas_keep_one_pace() -> None:
    clock = FakeClock()
    store = await open_store("sqlite:///:memory:", clock=clock.now)
    one, other = (session_starts(store, clock, application=1) for _ in range(2))
    at = await begun(clock, one, other, times=3)
    assert at[0] < timedelta(seconds=1)
    assert all(DISCORDS <= later - earlier <= 2 * PACE for earlier, later in itertools.pairwise(at))
    await store.aclose()


async def test_a_replica_that_dies_takes_no_more_than_one_turn_along() -> None:
    clock = FakeClock()
    store = await open_store("sqlite:///:memory:", clock=clock.now)
    dying, other = (session_starts(store, clock, application=1) for _ in range(2))
    waiting = [asyncio.create_task(dying.acquire()) for _ in range(10)]
    while not waiting[0].done():
        await clock.advance(timedelta(milliseconds=100))
        await asyncio.sleep(PAUSE)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    died = clock.monotonic()
    (began,) = await begun(clock, other, times=1)
    assert began - died <= 2 * PACE
    await store.aclose()


async def test_two_bots_do_not_wait_for_each_other() -> None:
    clock = FakeClock()
    store = await open_store("sqlite:///:memory:", clock=clock.now)
    at = await begun(clock, *(session_starts(store, clock, application=number) for number in (1, 2)), times=1)
    assert at[1] < timedelta(seconds=1)
    await store.aclose()


async def test_while_the_store_is_away_a_process_keeps_the_pace_by_itself() -> None:
    class Away:
        async def slot(self, budget: str, *, pace: timedelta) -> timedelta:
            raise StoreUnavailable("away")

    clock = FakeClock()
    at = await begun(clock, session_starts(Away(), clock, application=1), times=3)
    assert all(later - earlier >= DISCORDS for earlier, later in itertools.pairwise(at))
