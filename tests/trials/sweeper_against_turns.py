"""Trial 9: the sweep is due at every await of a running turn, and clocks jump while people talk."""

import asyncio
import itertools
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from bot.chat.policy import Rules
from bot.chat.protocol import Address
from bot.chat.rules import Defaults, RuleBook
from bot.chat.sweeper import Sweeper
from store import ConversationKey, ConversationNotFound, Role, Store, open_store
from tests.chat.chatting import PLATFORM, Chat, chatting, until
from tests.engines.postgres import PostgresServer
from tests.fakes.clock import START, FakeClock
from tests.fakes.surface import FakeSurface
from tests.trials.awaits import TURN_TASKS, at_await
from tests.trials.clock_jumps import Jumps, jump_about, jump_during_turns, two_replicas_apart
from tests.trials.tally import Tally
from tests.trials.trial import Figure, Ground, Trial

TTL = timedelta(days=30)
LATER = START + TTL + timedelta(days=1)
"""What the sweep's clock shows: all that turns say is long due by then."""
OLD_MESSAGES = 7
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""No figure hangs on a power cut."""

Script = Callable[[Chat, str], Awaitable[None]]
_numbers = itertools.count(1)


@dataclass
class Counts(Tally):
    """What was seen in all interleavings."""

    interleavings: int = 0
    open_deleted: int = 0
    newer_deleted: int = 0
    halves: int = 0
    unanswered: int = 0
    kept: int = 0
    """Old conversations that a sweep left, though nothing spoke for them."""
    stray_rows: int = 0


class AheadClock:
    """The clock of a sweep that is always due: it stands `LATER`, and nobody waits for it."""

    def __init__(self) -> None:
        self._passed = timedelta()

    def now(self) -> datetime:
        return LATER + self._passed

    def monotonic(self) -> timedelta:
        return self._passed

    async def sleep(self, delay: timedelta) -> None:
        self._passed += delay
        await asyncio.sleep(0)

    def advance(self, by: timedelta) -> None:
        self._passed += by


class _OwnTime:
    """A store as a sweeper sees it that goes by its own process's clock: the server's can't be set by a trial."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def server_time(self) -> None:
        return None


async def _answer(chat: Chat, channel: str) -> None:
    chat.model.add(["Hel", "lo ", "there."])
    await chat.say("Question", channel=channel)
    await chat.quiet()


async def _burst(chat: Chat, channel: str) -> None:
    chat.model.add(*["Hello there."] * 3)  # one, two or three turns, as it comes
    await asyncio.gather(*(chat.say("Question", channel=channel) for _ in range(3)))
    await chat.quiet()


async def _long(chat: Chat, channel: str) -> None:
    chat.model.add(["word " * 700, "and " * 300, "out."])
    await chat.say("Question", channel=channel)
    await chat.quiet()


async def _again(chat: Chat, channel: str) -> None:
    chat.model.add("Hello there.", "Hello again.")
    outcome = await chat.say("Question", channel=channel)
    await chat.quiet()
    if outcome.conversation_id is not None:
        await chat.turns.retry(outcome.conversation_id)
    await chat.quiet()


SCRIPTS: tuple[Script, ...] = (_answer, _burst, _long, _again)


@dataclass
class Interleaving:
    """One turn with a sweep at one of its awaits, beside a conversation that is old and one that is in use."""

    store: Store
    sweeping: Store
    """By which the sweep is done: the same, or another process's."""
    script: Script
    at: int
    beside: bool
    """The sweep begins at the await and goes on beside the turn, which is not kept waiting."""
    counts: Counts

    def __post_init__(self) -> None:
        self.channel = f"c{next(_numbers)}"
        self._clock = AheadClock()
        self._tasks: list[asyncio.Task[None]] = []
        self._swept = False

    def key(self, kind: str) -> ConversationKey:
        return ConversationKey(platform=PLATFORM, workspace="w", channel=f"{kind} {self.channel}")

    @property
    def question(self) -> ConversationKey:
        return ConversationKey(platform=PLATFORM, workspace="w", channel=self.channel, user="ada")

    async def run(self) -> int:
        """Play it; return how many awaits there were."""
        store = self.store
        old = await store.get_or_create(self.key("old"), at=START)
        for number in range(OLD_MESSAGES):
            await store.append(old.id, Role.USER, f"{number}", at=START)
        newer = await store.get_or_create(self.key("newer"), at=LATER)
        await store.append(newer.id, Role.USER, "in use", at=LATER)
        clock = FakeClock()
        async with chatting(store=store, clock=clock, surface=FakeSurface(clock=clock)) as chat:
            chat.count = 1000 * next(_numbers)  # no message of another interleaving is delivered again
            await until(lambda: clock.sleeping > 0)
            with at_await(self.at, of=TURN_TASKS, do=self._due) as awaits:
                await self.script(chat, self.channel)
                await asyncio.gather(*self._tasks)
            self._check_shown(chat)
        self.counts.interleavings += awaits.reached
        await self._check_old(old.id)
        if await self._texts(newer.id) != ["in use"] or await store.find(self.key("newer")) is None:
            self._wrong("newer_deleted", "a conversation in use was deleted")
        await store.delete(newer.id)
        if (asked := await store.find(self.question)) is not None:
            await store.delete(asked.id)
        return awaits.seen

    async def _due(self) -> None:
        if self.beside:
            self._tasks.append(asyncio.create_task(self._sweep(), name="sweep"))
        else:
            await self._sweep()

    async def _sweep(self) -> None:
        rules = RuleBook(self.store, Defaults(rules=Rules(ttl=TTL)))
        day = timedelta(days=1)
        sweeping: Store = _OwnTime(self.sweeping)  # type: ignore[assignment]
        sweeper = Sweeper(
            sweeping, self._clock, random.Random(1), rules, purge_after=timedelta(hours=1), interval=day, audit_ttl=TTL
        )
        before = await self._open()
        for _ in range(2):  # the second purges what the first has found
            await sweeper.sweep()
            self._clock.advance(timedelta(hours=2))
        self._swept = True
        # What was open all the while may not have gone; what ended meanwhile was long due.
        after = await self._open()
        if before is not None and await self.store.busy(before) and after != before:
            self._wrong("open_deleted", f"conversation {before} had an open turn, and is not current any more")
        if after is not None and "Question" not in await self._texts(after):
            self._wrong("open_deleted", f"conversation {after} has an open turn, and its question is gone")

    async def _open(self) -> int | None:
        found = await self.store.find(self.question)
        return found.id if found is not None and await self.store.busy(found.id) else None

    def _check_shown(self, chat: Chat) -> None:
        shown = chat.surface.texts(Address(platform=PLATFORM, workspace="w", channel=self.channel))
        whole = {
            _answer: [["Hello there."]],
            _burst: [["Hello there."] * n for n in (1, 2, 3)],
            # Retried where the sweep has taken the whole conversation, nothing is left to be asked again.
            _again: [["Hello again."], ["Hello there."]],
        }.get(self.script)
        good = shown in whole if whole else "".join(shown).split() == ["word"] * 700 + ["and"] * 300 + ["out."]
        if not good:
            self._wrong("unanswered", f"what was answered: {shown}")

    async def _check_old(self, conversation_id: int) -> None:
        texts = await self._texts(conversation_id)
        if texts == [str(number) for number in range(OLD_MESSAGES)]:
            if self._swept:
                self._wrong("kept", "an old conversation was left")
            await self.store.delete(conversation_id)
        elif texts:
            self._wrong("halves", f"of an old conversation {len(texts)} messages are left")

    async def _texts(self, conversation_id: int) -> list[str]:
        try:
            return [message.text for message in await self.store.recent(conversation_id, 100)]
        except ConversationNotFound:
            return []

    def _wrong(self, count: str, words: str) -> None:
        mode = "beside" if self.beside else "held"
        self.counts.wrong(count, f"{self.script.__name__} at await {self.at}, {mode}: {words}")


@asynccontextmanager
async def _opened(*urls: str) -> AsyncIterator[list[Store]]:
    stores = [await open_store(url, clock=FakeClock().now) for url in urls]
    try:
        yield stores
    finally:
        for store in stores:
            await store.aclose()


async def _interleave(
    stores: Sequence[Store], number: int, rng: random.Random, counts: Counts, done: Callable[[], None]
) -> None:
    """Play `number` interleavings, as many of each script, at awaits that are spread over the whole turn."""
    store, other = stores[0], stores[-1]
    awaits = {script: await Interleaving(store, store, script, 1, False, Counts()).run() for script in SCRIPTS}
    reached = counts.interleavings
    turns = itertools.cycle(SCRIPTS)
    places = {script: _spread(awaits[script], rng) for script in SCRIPTS}
    for tries in itertools.count():
        if counts.interleavings - reached >= number:
            return
        assert tries < 4 * number + 40, "the awaits of a turn are hardly ever reached"
        script = next(turns)
        sweeping = rng.choice((store, other))
        before = counts.interleavings
        await Interleaving(store, sweeping, script, next(places[script]), rng.random() < 0.5, counts).run()
        if counts.interleavings > before:
            done()


def _spread(number: int, rng: random.Random) -> "itertools.cycle[int]":
    places = list(range(1, number + 1))
    rng.shuffle(places)
    return itertools.cycle(places)


def _strays_in_file(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return sum(db.execute(query).fetchone()[0] for query in STRAYS)


STRAYS = (
    "SELECT count(*) FROM message WHERE conversation_id NOT IN (SELECT id FROM conversation)",
    "SELECT count(*) FROM turn WHERE conversation_id NOT IN (SELECT id FROM conversation)",
    "SELECT count(*) FROM part WHERE turn_id NOT IN (SELECT id FROM turn)",
)
"""Rows that were left behind by what they belong to."""


def run(ground: Ground) -> list[Figure]:
    """Half of the interleavings on each engine; then the jumps."""
    number, walks, rounds = (500, 60, 20) if ground.long else (30, 1, 1)
    total = 2 * number + walks + 2 * rounds
    steps = itertools.count(1)

    def done() -> None:
        ground.progress(next(steps), total)

    counts, jumps = Counts(), Jumps()

    async def on_file(path: Path) -> None:
        async with _opened(f"sqlite:///{path}") as stores:
            await _interleave(stores, number, ground.rng("file"), counts, done)
        for walk in range(walks):
            await jump_about(ground.rng("walk", walk), jumps)
            done()
        for _ in range(rounds):
            await jump_during_turns(jumps)
            done()

    async def on_server(url: str, apart: str) -> None:
        async with _opened(url, url) as stores:
            await _interleave(stores, number, ground.rng("server"), counts, done)
        for _ in range(rounds):
            await two_replicas_apart(apart, jumps)
            done()

    path = ground.directory / "parley.db"
    asyncio.run(on_file(path))
    counts.stray_rows += _strays_in_file(path)
    with PostgresServer.made(options=FAST) as server:
        url = server.database()
        asyncio.run(on_server(url, server.database()))
        name = url.rpartition("/")[2]
        counts.stray_rows += sum(int(str(server.execute(query, database=name)[0][0])) for query in STRAYS)
    for words in counts.seen + jumps.seen:
        print(words)  # noqa: T201 - what a run that did not hold has to say
    of = counts.interleavings
    return [
        Figure(name="interleavings", value=of, at_least=2 * number),
        Figure(name="conversations with an open turn deleted", value=counts.open_deleted, at_most=0, of=of),
        Figure(name="newer conversations deleted", value=counts.newer_deleted, at_most=0, of=of),
        Figure(name="old conversations deleted in part", value=counts.halves, at_most=0, of=of),
        Figure(name="old conversations that a sweep left", value=counts.kept, at_most=0, of=of),
        Figure(name="rows without what they belong to", value=counts.stray_rows, at_most=0, of=of),
        Figure(name="turns not answered exactly once", value=counts.unanswered, at_most=0, of=of),
        *jumps.figures(),
    ]


TRIAL = Trial(
    number=9,
    name="sweeper_against_turns",
    what="The sweep is due at every await of a running turn, on SQLite and PostgreSQL; clocks jump by +30 days, -1 hour and "
    "more, and two replicas are 5 minutes apart.",
    run=run,
)
