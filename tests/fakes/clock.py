"""Clocks for tests: one that stands still until a test moves it, and one that hurries."""

import asyncio
import heapq
import itertools
import time
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """Time passes only by `advance`; sleepers wake in the order of their deadlines."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._passed = timedelta()
        self._wall_error = timedelta()
        self._sleepers: list[tuple[timedelta, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def now(self) -> datetime:
        return self._start + self._passed + self._wall_error

    def monotonic(self) -> timedelta:
        return self._passed

    async def sleep(self, delay: timedelta) -> None:
        if delay <= timedelta():
            await asyncio.sleep(0)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._passed + delay, next(self._numbers), waiter))
        await waiter

    @property
    def sleeping(self) -> int:
        """How many wait for this clock now."""
        return sum(not waiter.done() for _, _, waiter in self._sleepers)

    def set_wall_clock(self, by: timedelta) -> None:
        """Set the time of day forward or back, as an operator or NTP may do; the stopwatch does not notice."""
        self._wall_error += by

    async def advance(self, by: timedelta) -> None:
        """Let `by` pass, waking every sleeper at its time and letting it run until it waits again."""
        end = self._passed + by
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, waiter = heapq.heappop(self._sleepers)
            self._passed = max(self._passed, due)
            if not waiter.done():
                waiter.set_result(None)
                await self._settle()
        self._passed = end
        await self._settle()

    @staticmethod
    async def _settle() -> None:
        for _ in range(20):  # long enough for the chains of tasks that one waking sets off
            await asyncio.sleep(0)


class QuickClock:
    """A real clock on which time passes several times as fast, for tests with sockets: proportions stay as they are."""

    def __init__(self, times: int) -> None:
        self.times = times

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> timedelta:
        return timedelta(seconds=time.monotonic() * self.times)

    async def sleep(self, delay: timedelta) -> None:
        await asyncio.sleep(max(0.0, delay.total_seconds() / self.times))
