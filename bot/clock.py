"""The time that Parley waits by: handed in everywhere, so that tests move it by hand and never sleep.

`Clock.sleep` is the only way to wait for time to pass in `bot`. `SystemClock` is the real one; `tests/fakes/clock.py` has
the one that a test moves. What is stored never takes its order from here (DESIGN §4).
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """A wall clock, a stopwatch and a way to wait, which agree with each other."""

    def now(self) -> datetime:
        """Tell the time of day: aware, UTC."""

    def monotonic(self) -> timedelta:
        """Tell the time since an arbitrary start: it never goes back and no one can set it."""

    async def sleep(self, delay: timedelta) -> None:
        """Wait for `delay` on the stopwatch; not at all when it is zero or less."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> timedelta:
        return timedelta(seconds=time.monotonic())

    async def sleep(self, delay: timedelta) -> None:
        await asyncio.sleep(max(0.0, delay.total_seconds()))


@asynccontextmanager
async def time_limit(clock: Clock, limit: timedelta) -> AsyncIterator[None]:
    """Raise `TimeoutError` in the body once `limit` has passed on `clock`.

    asyncio's own timeout reads the event loop's clock, which a test can't move.
    """
    async with asyncio.timeout(None) as scope:

        async def ring() -> None:
            await clock.sleep(limit)
            scope.reschedule(asyncio.get_running_loop().time())

        bell = asyncio.create_task(ring(), name="time_limit")
        try:
            yield
        finally:
            bell.cancel()
