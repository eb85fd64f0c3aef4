"""The sweep: conversations whose time is up expire, expired ones are purged, and old ids of deliveries are dropped.

Everything goes in bounded batches through the store's writer, so no turn waits long for it; the store never expires a
conversation with an unfinished turn. Expiry can be undone until the purge.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from bot.clock import Clock
from store import Store, StoreError

EXPIRE_BATCH = 500
PURGE_BATCH = 500
PAUSE = timedelta(milliseconds=5)
"""What lies between two batches, so that turns get their share of the writer."""
SEEN_FOR = timedelta(days=7)
"""How long ids of deliveries are kept: Slack retries for an hour, catch-up reads six; a week covers restored replays."""
JUMP = timedelta(hours=1)
"""A wall clock that leaves the stopwatch by more than this was set; nothing is swept until it has been steady that long."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep did: conversations expired, rows purged, ids dropped."""

    expired: int
    purged: int
    events: int


class Sweeper:
    """Sweeps a store every `interval`, or when asked to."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        rng: random.Random,
        *,
        ttl: timedelta | None,
        purge_after: timedelta,
        interval: timedelta,
    ) -> None:
        """`ttl` None keeps conversations for ever; `rng` spreads the sweeps of several replicas."""
        self._store = store
        self._clock = clock
        self._rng = rng
        self._ttl = ttl
        self._purge_after = purge_after
        self._interval = interval
        self._wall, self._stopwatch = clock.now(), clock.monotonic()
        self._steady_since = self._stopwatch - JUMP

    async def run(self) -> None:
        """Sweep for ever. An outermost loop: a failing store is logged, and the next sweep tries again."""
        while True:
            await self._clock.sleep(self._interval * self._rng.uniform(0.9, 1.1))
            if not self._clock_is_steady():
                log.error(
                    "sweep.skipped", reason="the system clock was set; sweeping goes on when it has been steady for 1 h"
                )
                continue
            try:
                await self.sweep()
            except StoreError as exc:
                log.error("sweep.failed", reason=str(exc))

    async def sweep(self, progress: Callable[[int], None] = lambda done: None) -> Swept:
        """Do all that is due now; `progress` is told how many rows each batch did.

        Raises:
            StoreUnavailable: what was done until then stays done.
        """
        began = self._clock.monotonic()
        now = self._clock.now()
        expired = 0 if self._ttl is None else await self._expire(now, now - self._ttl, progress)
        purged = await self._repeat(
            lambda: self._store.purge(before=now - self._purge_after, limit=PURGE_BATCH), 1, progress
        )
        events = await self._repeat(
            lambda: self._store.forget_events(before=now - SEEN_FOR, limit=PURGE_BATCH), PURGE_BATCH, progress
        )
        seconds = round((self._clock.monotonic() - began).total_seconds(), 3)
        log.info("sweep.finished", expired=expired, purged=purged, events=events, seconds=seconds)
        return Swept(expired=expired, purged=purged, events=events)

    async def _expire(self, now: datetime, cut: datetime, progress: Callable[[int], None]) -> int:
        return await self._repeat(lambda: self._store.expire(before=cut, at=now, limit=EXPIRE_BATCH), EXPIRE_BATCH, progress)

    async def _repeat(self, batch: Callable[[], Awaitable[int]], enough: int, progress: Callable[[int], None]) -> int:
        """Run batches until one does less than `enough`."""
        total = 0
        while True:
            done = await batch()
            total += done
            progress(done)
            if done < enough:
                return total
            await self._clock.sleep(PAUSE)

    def _clock_is_steady(self) -> bool:
        wall, stopwatch = self._clock.now(), self._clock.monotonic()
        if abs((wall - self._wall) - (stopwatch - self._stopwatch)) > JUMP:
            self._steady_since = stopwatch
        self._wall, self._stopwatch = wall, stopwatch
        return stopwatch - self._steady_since >= JUMP
