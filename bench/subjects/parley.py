"""Parley's own store, on a file: 64 tasks, each accept and claim, finish, settle; `full` adds absorb and record_part.

With `full` it is all that a turn does to the store when it goes well. A turn's time is taken by
its conversation, from the call of accept to the end of settle: where two tasks meet in one, a turn may be the other's.
"""

import asyncio
import itertools
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.filling import PLATFORM, fill, key_of
from bench.workload import ANSWER, QUESTION, WINDOW, Job, Result, chosen, drive, result
from store.governing import Charge
from store.protocol import Store
from store.sqlite import SqliteStore
from store.values import Answer, ConversationKey, Ending, NewMessage, TurnState

LEASE = timedelta(seconds=60)
PLATFORMS = (PLATFORM,)


def prepare(job: Job) -> None:
    """Make the file and fill it."""
    fill(
        Path(job.place, "store.db"),
        conversations=job.conversations,
        messages=job.messages,
        half_stale=bool(job.options.get("half_stale")),
    )


def measure(job: Job) -> Result:
    """Time the turns of `workers` tasks."""
    return asyncio.run(_measure(job))


async def _measure(job: Job) -> Result:
    store = await SqliteStore.open(Path(job.place, "store.db"))
    try:
        turns = Turns(store, {number: key_of(number) for number in chosen(job)}, full=bool(job.options.get("full")))
        groups_before = 0

        def warmed() -> None:
            nonlocal groups_before
            turns.forget()
            groups_before = store.groups

        timing = await drive(turns.take, job, warmed=warmed)
        timing.latencies = turns.latencies
        commits = (store.groups - groups_before) / timing.turns
    finally:
        await store.aclose()
    return result(timing, hops=commits, commits=commits, setup="WAL, FULL, as shipped")


class Turns:
    """Carries out turns on a store, one call at a time, as `bot.chat` does around a model that answers at once."""

    def __init__(self, store: Store, keys: Mapping[int, ConversationKey], *, full: bool = False) -> None:
        self.latencies: list[float] = []
        self._store = store
        self._keys = keys
        self._full = full
        self._numbers = itertools.count(time.time_ns())
        self._begun: dict[str, float] = {}

    def forget(self) -> None:
        """Count from here on."""
        self.latencies.clear()

    async def take(self, conversation: int) -> None:
        """Put a question to the conversation, then carry out whichever turn is next."""
        store, key, name = self._store, self._keys[conversation], str(next(self._numbers))
        self._begun[name] = time.perf_counter()
        question = NewMessage(
            key=key,
            event_id=name,
            message_id=name,
            position=None,
            author_id=f"U{key.channel}",  # one person's turns would wait for each other at that person's account
            author_name="Mina 민아",
            text=QUESTION,
            address="address",
            at=datetime.now(UTC),
        )
        accepted = await store.accept_and_claim(question, lease=LEASE, window=WINDOW)
        assert accepted is not None
        # Another task may be in this conversation; then its turn waits, and whichever is next is carried out.
        claim = accepted.claim or await store.claim(lease=LEASE, window=WINDOW, platforms=PLATFORMS)
        if claim is None:
            return
        if self._full:
            assert await store.absorb(claim.hold, window=WINDOW) is None
            await store.record_part(claim.hold, 0, name)
        answer = Answer(text=ANSWER, ending=Ending.COMPLETE, model="model", prompt_tokens=100, completion_tokens=100)
        charge = Charge(author_id=f"U{claim.key.channel}", prompt_tokens=100, completion_tokens=100)
        await store.finish(claim.hold, answer, charge=charge)
        await store.settle(claim.hold, TurnState.DONE)
        # Two tasks may have asked in one conversation, which one turn answers: the first of them waited the longest.
        asked = min(self._begun.pop(message.platform_id) for message in claim.window if message.platform_id in self._begun)
        self.latencies.append(time.perf_counter() - asked)
