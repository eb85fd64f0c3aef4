"""Trial 10: calls of the store and whole turns are cancelled at random, many at once; what follows is not touched by it."""

import asyncio
import itertools
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from bot.chat.protocol import Address
from bot.chat.run import LEASE as RUN_LEASE
from store import ConversationKey, Role, Store, StoreError, open_store
from tests.chat.chatting import PLATFORM, Chat, cancelled, chatting, until
from tests.contracts.store_laws_texts import CALLS
from tests.contracts.store_words import AT, FENCED, LEASE, answer, message, room
from tests.engines.postgres import PostgresServer
from tests.fakes.clock import FakeClock
from tests.fakes.surface import FakeSurface
from tests.trials.awaits import TURN_TASKS, at_await
from tests.trials.tally import Tally
from tests.trials.trial import Figure, Ground, Trial

KEPT = ConversationKey(platform="kept", workspace="K1", channel="C1")
"""What is written after each batch stands here; no other call touches it."""
ASKED = "asked"
"""The platform of what is taken in by calls that are cancelled, to be looked at afterwards."""
ERASED = "T9"
"""A workspace that is filled and erased again."""
ERASING = ("delete", "purge_workspace")
"""They would leave nothing for the other calls of `CALLS`, which are about the first conversation of a store."""
TOGETHER = 12
"""Calls at once, at most: more than a pool has connections."""
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
IN_TRANSACTION = """
SELECT count(*) FROM pg_stat_activity WHERE application_name = 'parley' AND state LIKE 'idle in transaction%'
AND clock_timestamp() - state_change > interval '2 seconds'"""
"""Whoever scrubs has transactions too, but says the next thing in them at once."""
SETTLED_SECONDS = 2.5
"""After it, what was left in a transaction is seen as such."""
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'parley'"

EVERYTHING = 100_000
"""Messages: more than any conversation of the trial has."""

Probe = Callable[[], int]


@dataclass
class Counts(Tally):
    """What was seen on all engines."""

    cancellations: int = 0
    turns: int = 0
    batches: int = 0
    in_transaction: int = 0
    lost_later: int = 0
    halves: int = 0
    ill_answered: int = 0
    leaked: int = 0
    tasks_left: int = 0


class Calls:
    """Every call of a store, cancelled at random, and writes that are not."""

    def __init__(self, store: Store, rng: random.Random, counts: Counts, in_transaction: Probe) -> None:
        self._store = store
        self._rng = rng
        self._counts = counts
        self._in_transaction = in_transaction
        self._acknowledged: list[str] = []
        self._asked: list[Any] = []
        self._numbers = itertools.count(1)

    async def run(self, number: int, done: Callable[[int], None]) -> None:
        """Cancel at least `number` calls, and look at what became of it."""
        counts, first = self._counts, self._counts.cancellations
        await self._store.accept(message(message_id="1"))  # what `CALLS` are about
        kept = await self._store.get_or_create(KEPT, at=AT)
        while counts.cancellations - first < number:
            await self._batch()
            counts.batches += 1
            await self._write(kept.id)
            if self._in_transaction():
                counts.wrong("in_transaction", f"a transaction is open after batch {counts.batches}")
            done(min(counts.cancellations - first, number))
        await self._check(kept.id)

    async def _batch(self) -> None:
        tasks = [asyncio.create_task(self._any_call()) for _ in range(self._rng.randint(1, TOGETHER))]
        for _ in range(3):
            await self._wait()
            for task in tasks:
                if self._rng.random() < 0.5 and task.cancel():
                    self._counts.cancellations += 1
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, StoreError | AssertionError):
                raise outcome

    async def _wait(self) -> None:
        if self._rng.random() < 0.3:
            await asyncio.sleep(self._rng.uniform(0, 0.005))
        else:
            for _ in range(self._rng.choice((0, 1, 2, 3, 5, 8, 13, 21, 50))):
                await asyncio.sleep(0)

    async def _any_call(self) -> None:
        chance = self._rng.random()
        if chance < 0.25:
            await self._ask()
        elif chance < 0.4:
            await self._carry_out()
        elif chance < 0.5:
            await self._erase()
        else:
            await CALLS[self._rng.choice([name for name in CALLS if name not in ERASING])](self._store)

    async def _ask(self) -> None:
        number = next(self._numbers)
        key = room(f"C{number % 5}", platform=ASKED)
        asked = message(f"{number}", key=key, event_id=f"asked {number}", message_id=f"asked {number}", position=number)
        self._asked.append(asked)
        if self._rng.random() < 0.5:
            await self._store.accept(asked)
        else:
            await self._store.accept_and_claim(asked, lease=LEASE, window=5)

    async def _carry_out(self) -> None:
        """Carry out a turn, or do with it what its holder may do otherwise."""
        await self._store.accept(message("hello", key=room(f"C{self._rng.randrange(5)}")))
        if self._rng.random() < 0.5:
            await answer(self._store, "hi", post="p1")
            return
        claim = await self._store.claim(lease=LEASE, window=5, platforms=["slack"])
        if claim is not None:
            await self._rng.choice(list(FENCED.values()))(self._store, claim.hold)

    async def _erase(self) -> None:
        conversation_id = await self._store.accept(message("x" * 1000, key=room("C1", workspace=ERASED)))
        match self._rng.randrange(3):
            case 0 if conversation_id is not None:
                await self._store.delete(conversation_id)
            case 1:
                await self._store.purge_workspace("slack", ERASED)
            case _:
                await self._store.forget_person("slack", ERASED, "U-Ann", at=AT)

    async def _write(self, conversation_id: int) -> None:
        text = f"kept {len(self._acknowledged)}"
        async with asyncio.timeout(60):
            await self._store.append(conversation_id, Role.USER, text, at=AT)
        self._acknowledged.append(text)

    async def _check(self, conversation_id: int) -> None:
        there = [message.text for message in await self._store.recent(conversation_id, EVERYTHING)]
        if there != self._acknowledged:
            self._counts.wrong("lost_later", f"{len(self._acknowledged)} writes were acknowledged, {len(there)} are there")
        kept: dict[ConversationKey, set[str]] = {}
        for number in range(5):
            key = room(f"C{number}", platform=ASKED)
            found = await self._store.find(key)
            if found is None:
                kept[key] = set()
                continue
            messages = await self._store.recent(found.id, EVERYTHING)
            kept[key] = {message.text for message in messages}
            if len(messages) != len(kept[key]):
                self._counts.wrong("halves", f"{key.channel}: {len(messages) - len(kept[key])} messages twice")
            if messages and not await self._store.busy(found.id):
                self._counts.wrong("halves", f"{key.channel}: messages without a turn that answers them")
        for asked in self._asked:
            known = await self._store.accept(asked) is None
            if known != (asked.text in kept[asked.key]):
                self._counts.wrong("halves", f"message {asked.text}: known {known}, kept {asked.text in kept[asked.key]}")


async def _cancel_turns(store: Store, rng: random.Random, number: int, counts: Counts, done: Callable[[int], None]) -> None:
    """Cancel a worker, or who brings a message, at any await of a turn; the next worker brings it to its end."""
    for tried in range(number):
        clock, channel = FakeClock(), f"c{tried}"
        surface = FakeSurface(clock=clock)
        async with chatting(*[["Hel", "lo ", "there."]] * 4, store=store, clock=clock, surface=surface) as chat:
            chat.count = 1000 * (tried + 1)
            await until(lambda clock=clock: clock.sleeping > 0)  # type: ignore[misc]
            said = chat.message("Question", channel=channel)
            await _cancel_one(chat, said, rng, counts)
            chat.task = asyncio.create_task(chat.turns.run())
            await _settled(chat)
            known = await chat.intake.take(said)  # as a platform that was not acknowledged, it delivers again
            await _settled(chat)
            shown = surface.texts(Address(platform=PLATFORM, workspace="w", channel=channel))
            history = await chat.history(channel=channel)
            if shown != ["Hello there."] or history != [("user", "Question"), ("assistant", "Hello there.")]:
                counts.wrong("ill_answered", f"turn {tried} ({known.verdict}): shown {shown}, kept {history}")
        counts.turns += 1
        done(tried + 1)


async def _settled(chat: Chat) -> None:
    """Wait until every turn is settled: on PostgreSQL for as long as a lease lasts, where a claim itself was cancelled."""
    limit = time.monotonic() + 3 * RUN_LEASE.total_seconds()
    while (status := await chat.store.status()).queued or status.running or chat.turns.running:
        assert time.monotonic() < limit, "the turns never settled"
        await chat.clock.advance(timedelta(milliseconds=100))
        await asyncio.sleep(0.001)


async def _cancel_one(chat: Chat, said: Any, rng: random.Random, counts: Counts) -> None:
    assert chat.task is not None
    worker = chat.task
    due: list[asyncio.Task[Any]] = []

    async def cancel() -> None:
        counts.cancellations += sum(task.cancel() for task in due)

    whom = rng.random()
    with at_await(rng.randint(1, 60), of=TURN_TASKS, do=cancel):
        taking = asyncio.create_task(chat.intake.take(said))
        due += [worker] if whom < 0.4 else [taking] if whom < 0.7 else [worker, taking]
        await asyncio.wait({taking})
        if worker in due:
            for _ in range(200):
                if worker.done() or chat.turns.running == 0:
                    break
                await chat.clock.advance(timedelta(milliseconds=100))
                await asyncio.sleep(0.001)
        await cancelled(worker, chat.clock)


@asynccontextmanager
async def _opened(url: str, counts: Counts) -> AsyncIterator[Store]:
    before = asyncio.all_tasks()
    store = await open_store(url)
    try:
        yield store
    finally:
        await store.aclose()
        for _ in range(3):
            await asyncio.sleep(0)
        if left := asyncio.all_tasks() - before:
            counts.wrong("tasks_left", f"still there: {sorted(task.get_name() for task in left)}")


async def _on(
    urls: tuple[str, str],
    ground: Ground,
    calls: int,
    turns: int,
    counts: Counts,
    in_transaction: Probe,
    done: Callable[[int], None],
) -> None:
    """Cancel calls on the first store, turns on the second."""
    url, other = urls
    rng = ground.rng(url.partition(":")[0])
    async with _opened(url, counts) as store:
        await Calls(store, rng, counts, in_transaction).run(calls, done)
        await _all_at_once(store, counts)
        await asyncio.sleep(SETTLED_SECONDS)
        if in_transaction():
            counts.wrong("in_transaction", "a transaction is open after the calls")
    async with _opened(other, counts) as store:
        await _cancel_turns(store, rng, turns, counts, lambda number: done(calls + number))
        await _all_at_once(store, counts)
        await asyncio.sleep(SETTLED_SECONDS)
        if in_transaction():
            counts.wrong("in_transaction", "a transaction is open after the turns")
    await _cancel_openings(url, rng, turns // 2, counts)
    async with _opened(url, counts) as store:
        await _kept_in_order(store, counts)


async def _cancel_openings(url: str, rng: random.Random, number: int, counts: Counts) -> None:
    """Cancel the opening itself; the next one finds nothing taken."""
    for _ in range(number):
        opening = asyncio.create_task(open_store(url))
        await asyncio.sleep(rng.uniform(0, 0.03))
        counts.cancellations += opening.cancel()
        (outcome,) = await asyncio.gather(opening, return_exceptions=True)
        if isinstance(outcome, StoreError):
            counts.wrong("leaked", f"after an opening that was cancelled: {outcome}")
        elif isinstance(outcome, Exception):
            raise outcome
        elif not isinstance(outcome, BaseException):
            await outcome.aclose()


async def _kept_in_order(store: Store, counts: Counts) -> None:
    found = await store.find(KEPT)
    texts = [] if found is None else [message.text for message in await store.recent(found.id, EVERYTHING)]
    if texts != [f"kept {number}" for number in range(len(texts))]:
        counts.wrong("lost_later", "after opening again, later writes are not all there")


async def _all_at_once(store: Store, counts: Counts) -> None:
    """Use every connection that a pool has: a leaked one would be missed for ever."""
    calls: Sequence[Awaitable[object]] = [store.status() for _ in range(3 * TOGETHER)]
    try:
        async with asyncio.timeout(60):
            await asyncio.gather(*calls)
    except (TimeoutError, StoreError) as exc:
        counts.wrong("leaked", f"not all calls come through any more: {exc}")


def _is_held(path: Path) -> bool:
    """Tell whether somebody's transaction keeps the file locked."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as db:
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        db.execute("ROLLBACK")
    return False


def run(ground: Ground) -> list[Figure]:
    """Half on each engine."""
    calls, turns = (5000, 500) if ground.long else (130, 25)
    counts = Counts()
    total = 2 * (calls + turns)
    paths = [ground.directory / "calls.db", ground.directory / "turns.db"]
    urls = (f"sqlite:///{paths[0]}", f"sqlite:///{paths[1]}")

    def held() -> int:
        return sum(_is_held(path) for path in paths if path.exists())

    asyncio.run(_on(urls, ground, calls, turns, counts, held, lambda number: ground.progress(number, total)))
    with PostgresServer.made(options=FAST) as server:
        urls = (server.database(), server.database())

        def count(query: str) -> int:
            return int(str(server.execute(query)[0][0]))

        half = total // 2
        asyncio.run(
            _on(
                urls,
                ground,
                calls,
                turns,
                counts,
                lambda: count(IN_TRANSACTION),
                lambda number: ground.progress(half + number, total),
            )
        )
        if left := count(CONNECTIONS):
            counts.wrong("leaked", f"{left} connections are left after closing")
    for words in counts.seen:
        print(words)  # noqa: T201 - what a run that did not hold has to say
    return [
        Figure(name="cancellations", value=counts.cancellations, at_least=2 * calls),
        Figure(name="turns cancelled or brought by who was", value=counts.turns),
        Figure(name="times a transaction was left open", value=counts.in_transaction, at_most=0, of=counts.batches),
        Figure(name="later writes lost", value=counts.lost_later, at_most=0, of=counts.batches),
        Figure(name="calls that did something by halves", value=counts.halves, at_most=0, of=counts.cancellations),
        Figure(name="turns not answered exactly once", value=counts.ill_answered, at_most=0, of=counts.turns),
        Figure(name="connections and locks leaked", value=counts.leaked, at_most=0, of=counts.cancellations),
        Figure(name="tasks left", value=counts.tasks_left, at_most=0, of=counts.cancellations),
    ]


TRIAL = Trial(
    number=10,
    name="cancellation",
    what="Calls of the store of every kind, and whole turns, are cancelled at random, up to 12 at once, on both engines.",
    run=run,
)
