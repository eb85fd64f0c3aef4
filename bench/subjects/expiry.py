"""Expiring and purging half of a large store while 8 paced writers do turns: how long does the longest turn stand still?

The sweeper calls `expire`, then `purge`, in batches with a short pause between them. The batch sizes are the options
`expire` and `purge`; with `share` only so many of the stale conversations go, the longest idle ones.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.filling import STALE_DAYS, key_of
from bench.subjects.parley import Turns
from bench.workload import Job, Result, Timing, chosen, result
from store.sqlite import SqliteStore

WRITERS = 8
PACE = 0.025
"""Seconds that a writer rests between two turns, on average."""
PAUSE = 0.005
"""Seconds between two batches."""
QUIET = 2.0
"""Seconds of turns without a sweep: what the longest turn is on this machine anyway."""


@dataclass
class Batches:
    """What one kind of batch did."""

    count: int = 0
    rows: int = 0
    seconds: float = 0.0
    longest: float = 0.0


def measure(job: Job) -> Result:
    """Sweep while the writers write."""
    return asyncio.run(_measure(job))


async def _measure(job: Job) -> Result:
    store = await SqliteStore.open(Path(job.place, "store.db"))
    try:
        turns = Turns(store, {number: key_of(number) for number in chosen(job)})
        writers = _Writers(turns, chosen(job), job.seed)
        quiet = await writers.during(asyncio.sleep(job.options.get("quiet", QUIET)))
        now = datetime.now(UTC)
        stale = now - timedelta(days=STALE_DAYS / 2)
        if "share" in job.options:
            # The stale ones, every second conversation, were last active one microsecond after the other (`bench.filling`).
            stale = await _oldest(store) + timedelta(microseconds=2 * job.options["share"])
        expired, purged = Batches(), Batches()
        expiring = await writers.during(
            _sweep(expired, int(job.options["expire"]), lambda limit: store.expire(before=stale, at=now, limit=limit))
        )
        after = now + timedelta(microseconds=1)
        purging = await writers.during(
            _sweep(purged, int(job.options["purge"]), lambda limit: store.purge(before=after, limit=limit))
        )
    finally:
        await store.aclose()
    more = {
        "expired": expired.rows,
        "purged": purged.rows,
        "expire_seconds": expired.seconds,
        "purge_seconds": purged.seconds,
        "expire_batch_ms": expired.longest * 1e3,
        "purge_batch_ms": purged.longest * 1e3,
        "quiet_longest_ms": max(quiet.latencies) * 1e3,
        "quiet_p99_ms": result(quiet).p99_ms,
        "expire_longest_ms": max(expiring.latencies, default=0.0) * 1e3,
        "purge_longest_ms": max(purging.latencies, default=0.0) * 1e3,
        "purge_p99_ms": result(purging).p99_ms,
    }
    both = Timing(
        turns=expiring.turns + purging.turns,
        seconds=expiring.seconds + purging.seconds,
        cpu=expiring.cpu + purging.cpu,
        latencies=expiring.latencies + purging.latencies,
    )
    return result(both, setup="WAL, FULL, as shipped", more=more)


class _Writers:
    """People who write now and then."""

    def __init__(self, turns: Turns, conversations: list[int], seed: int) -> None:
        self._turns = turns
        self._conversations = conversations
        self._random = random.Random(seed)

    async def during(self, work: Awaitable[None]) -> Timing:
        """Let the writers take turns until `work` is done, and at least one each."""
        self._turns.forget()
        done = asyncio.Event()
        cpu, start = time.process_time(), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(WRITERS):
                group.create_task(self._write(self._conversations[number::WRITERS], done))
            await work
            done.set()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        latencies = list(self._turns.latencies)
        return Timing(turns=len(latencies), seconds=seconds, cpu=cpu, latencies=latencies)

    async def _write(self, conversations: list[int], done: asyncio.Event) -> None:
        number = 0
        while number == 0 or not done.is_set():
            await self._turns.take(conversations[number % len(conversations)])
            number += 1
            await asyncio.sleep(self._random.uniform(0.5, 1.5) * PACE)


async def _sweep(batches: Batches, limit: int, batch: Callable[[int], Awaitable[int]]) -> None:
    begun = time.perf_counter()
    while True:
        start = time.perf_counter()
        rows = await batch(limit)
        batches.longest = max(batches.longest, time.perf_counter() - start)
        if rows == 0:
            break
        batches.count += 1
        batches.rows += rows
        await asyncio.sleep(PAUSE)
    batches.seconds = time.perf_counter() - begun


async def _oldest(store: SqliteStore) -> datetime:
    row = await store._writer.run(
        lambda db: db.execute("SELECT min(active_at) FROM conversation WHERE expired_at IS NULL").fetchone()
    )
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=row[0])
