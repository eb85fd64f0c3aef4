"""Expiring and purging half of a large store while 8 paced writers do turns: how long does the longest turn stand still?

The sweeper is Parley's own, as it runs every few minutes: the first sweep expires what is stale, the second purges it.
"""

import asyncio
import random
import time
from collections.abc import Awaitable
from datetime import timedelta
from pathlib import Path

from bench.filling import STALE_DAYS, key_of
from bench.subjects.parley import Turns
from bench.workload import Job, Result, Timing, chosen, result
from bot.chat.policy import Rules
from bot.chat.rules import Defaults, RuleBook
from bot.chat.sweeper import Sweeper, Swept
from bot.clock import SystemClock
from store.sqlite import SqliteStore

WRITERS = 8
PACE = 0.025
"""Seconds that a writer rests between two turns, on average."""
QUIET = 2.0
"""Seconds of turns without a sweep: what the longest turn is on this machine anyway."""


def measure(job: Job) -> Result:
    """Sweep while the writers write."""
    return asyncio.run(_measure(job))


async def _measure(job: Job) -> Result:
    store = await SqliteStore.open(Path(job.place, "store.db"))
    try:
        turns = Turns(store, {number: key_of(number) for number in chosen(job)})
        writers = _Writers(turns, chosen(job), job.seed)
        quiet = await writers.during(asyncio.sleep(job.options.get("quiet", QUIET)))
        sweeper = Sweeper(
            store,
            SystemClock(),
            random.Random(job.seed),
            RuleBook(store, Defaults(rules=Rules(ttl=timedelta(days=STALE_DAYS / 2)))),
            purge_after=timedelta(),
            interval=timedelta(hours=1),
            audit_ttl=timedelta(days=365),
        )
        found: list[Swept] = []

        async def sweep() -> None:
            found.append(await sweeper.sweep())

        expiring = await writers.during(sweep())
        purging = await writers.during(sweep())
    finally:
        await store.aclose()
    more = {
        "expired": found[0].expired,
        "purged": found[1].purged,
        "expire_seconds": expiring.seconds,
        "purge_seconds": purging.seconds,
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
