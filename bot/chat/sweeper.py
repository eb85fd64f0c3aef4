"""The sweep: conversations whose time is up expire, expired ones are purged, and what is only kept for a while is dropped.

Everything goes in bounded batches through the store's writer, so no turn waits long for it; the store never expires a
conversation with an unfinished turn. Expiry can be undone until the purge.
"""

import random
from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import structlog

from bot.chat.rules import RuleBook
from bot.chat.time_of_day import TimeOfDay
from bot.clock import Clock
from store import USAGE_DAYS, Spot, Store, StoreError

LARGEST_BATCH = 500
"""Rows of a batch at most: from 1,000 on turns were seen to wait for the batch itself (docs/performance.md)."""
SMALLEST_BATCH = 20
BATCH_TIME = timedelta(milliseconds=10)
"""A batch that took longer is followed by one of half its size: turns wait behind it, and a disk is slow when it likes."""
PAUSE = timedelta(milliseconds=5)
"""What lies between two batches, so that turns get their share of the writer."""
SEEN_FOR = timedelta(days=7)
"""How long ids of deliveries are kept: Slack retries for an hour, catch-up reads six; a week covers restored replays."""
USED_FOR = timedelta(days=USAGE_DAYS)
SPREAD = 0.1
"""The share of the interval by which a sweep comes earlier or later, so that replicas do not all sweep at once."""
NOTE = "sweep"
"""The name of the note of when it was swept last."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep did: conversations expired, rows purged; ids of deliveries, entries of the audit log and accounts of
    usage dropped."""

    expired: int
    purged: int
    events: int
    audit: int
    usage: int


class Sweeper:
    """Sweeps a store every `interval`, or when asked to."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        rng: random.Random,
        rules: RuleBook,
        *,
        purge_after: timedelta,
        interval: timedelta,
        audit_ttl: timedelta,
    ) -> None:
        """`rules` say how long conversations are kept: they must know every platform that is in the store, or its channels
        are swept by the default. `rng` spreads the sweeps of several replicas."""
        self._store = store
        self._clock = clock
        self._rng = rng
        self._rules = rules
        self._purge_after = purge_after
        self._interval = interval
        self._audit_ttl = audit_ttl
        self._time = TimeOfDay(clock)

    def heard(self, sent_at: datetime) -> None:
        """Take note of the time of day that a message which arrived just now was sent at, by its platform's clock."""
        self._time.heard(sent_at)

    async def run(self) -> None:
        """Sweep for ever, unless the time of day is in doubt.

        An outermost loop: a failing store is logged, and the next sweep tries again.
        """
        while True:
            await self._clock.sleep(self._interval * self._rng.uniform(1 - SPREAD, 1 + SPREAD))
            try:
                if not await self._in_doubt():
                    await self.sweep()
            except StoreError as exc:
                log.error("sweep.failed", reason=str(exc))

    async def sweep(self, progress: Callable[[int], None] = lambda done: None) -> Swept:
        """Do all that is due now, by the clock of the store's server where there is one, whatever speaks against that time.

        `progress` is told how many rows each batch did.

        Raises:
            StoreUnavailable: what was done until then stays done.
        """
        began = self._clock.monotonic()
        now = await self._now()
        store = self._store
        swept = Swept(
            expired=await self._expire_all(now, progress),
            purged=await self._repeat(lambda rows: store.purge(before=now - self._purge_after, limit=rows), progress),
            events=await self._repeat(lambda rows: store.forget_events(before=now - SEEN_FOR, limit=rows), progress),
            audit=await self._repeat(lambda rows: store.forget_audit(before=now - self._audit_ttl, limit=rows), progress),
            usage=await self._repeat(lambda rows: store.forget_usage(before=now - USED_FOR, limit=rows), progress),
        )
        await store.remember(NOTE, now.isoformat())
        seconds = round((self._clock.monotonic() - began).total_seconds(), 3)
        log.info("sweep.finished", **asdict(swept), seconds=seconds)
        return swept

    async def _expire_all(self, now: datetime, progress: Callable[[int], None]) -> int:
        """Expire each spot by its own time: a channel by its own choice, else by its workspace's, else by the default."""
        chosen = self._rules.ttl_spots()
        expired = 0
        for spot, ttl in chosen:
            if ttl is not None:
                within = [other for other, _ in chosen if other != spot and _is_within(other, spot)]
                expired += await self._expire(now, ttl, progress, within=spot, but=within)
        if (default := self._rules.defaults.rules.ttl) is not None:
            expired += await self._expire(now, default, progress, within=None, but=[spot for spot, _ in chosen])
        return expired

    async def _expire(
        self,
        now: datetime,
        ttl: timedelta,
        progress: Callable[[int], None],
        *,
        within: Spot | None,
        but: Collection[Spot],
    ) -> int:
        expired, since = 0, None

        async def batch(rows: int) -> int:
            nonlocal expired, since
            done = await self._store.expire(before=now - ttl, at=now, limit=rows, within=within, but=but, since=since)
            expired, since = expired + done.expired, done.next
            if done.expired:
                progress(done.expired)
            return 0 if since is None else max(done.looked_at, 1)

        await self._repeat(batch, lambda looked_at: None)
        return expired

    async def _repeat(self, batch: Callable[[int], Awaitable[int]], progress: Callable[[int], None]) -> int:
        """Run batches, as large as their time allows, until one finds nothing to do."""
        total, rows = 0, SMALLEST_BATCH
        while True:
            began = self._clock.monotonic()
            done = await batch(rows)
            if done == 0:
                return total
            total += done
            progress(done)
            took = self._clock.monotonic() - began
            rows = max(rows // 2, SMALLEST_BATCH) if took > BATCH_TIME else min(rows * 2, LARGEST_BATCH)
            await self._clock.sleep(PAUSE)

    async def _now(self) -> datetime:
        # Replicas whose clocks differ go by one, and by the one that conversations are locked and leased by.
        return await self._store.server_time() or self._clock.now()

    async def _in_doubt(self) -> bool:
        note = await self._store.recall(NOTE)
        doubt = self._time.doubt(
            await self._now(),
            trusted=datetime.fromisoformat(note) if note else None,
            within=self._interval * (1 + SPREAD),
        )
        if doubt is None:
            return False
        tell = log.error if doubt.alarming else log.info
        tell("sweep.skipped", reason=doubt.reason)
        return True


def _is_within(spot: Spot, other: Spot) -> bool:
    return (spot.platform, spot.workspace) == (other.platform, other.workspace) and other.channel in ("", spot.channel)
