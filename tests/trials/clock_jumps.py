"""Clocks that jump while people talk: by the true time nothing goes within its TTL, and all is answered once."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bot.chat.policy import Rules
from bot.chat.protocol import Address
from bot.chat.rules import Defaults, RuleBook
from bot.chat.sweeper import Sweeper
from store import ConversationKey, Store, open_store
from tests.chat.chatting import PLATFORM, Chat, chatting, until
from tests.fakes.clock import START, FakeClock
from tests.fakes.surface import FakeSurface
from tests.trials.tally import Tally
from tests.trials.trial import Figure

TTL = timedelta(days=30)
INTERVAL = timedelta(hours=3)
SLACK = timedelta(days=3)
"""How much later than its time a conversation may go: sweeps wait for a message when the clock is in doubt."""
JUMPS = [timedelta(days=30), timedelta(days=31), timedelta(hours=-1), timedelta(days=-30), timedelta(days=400)]
PEOPLE = 12
DAYS = 90
APART = timedelta(minutes=5)


@dataclass
class Jumps(Tally):
    """What was seen."""

    jumps: int = 0
    looks: int = 0
    deleted_in_use: int = 0
    never_deleted: int = 0
    ill_answered: int = 0
    turns: int = 0

    def figures(self) -> list[Figure]:
        return [
            Figure(name="jumps of the clock", value=self.jumps, at_least=1),
            Figure(name="conversations deleted within their time", value=self.deleted_in_use, at_most=0, of=self.looks),
            Figure(name="conversations kept for ever", value=self.never_deleted, at_most=0, of=self.looks),
            Figure(name="turns with jumps not answered once", value=self.ill_answered, at_most=0, of=self.turns),
        ]


class _Walk:
    """Three months of an installation on SQLite, in which its clock is set and it is restarted."""

    def __init__(self, store: Store, clock: FakeClock, rng: random.Random, jumps: Jumps) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng
        self._jumps = jumps
        self._used: dict[ConversationKey, datetime] = {}
        self._error = timedelta()
        self._set_at = START
        self._task: asyncio.Task[None] | None = None
        self._sweeper = self._made()

    @property
    def true(self) -> datetime:
        """The time by the platform's clock, which is right."""
        return START + self._clock.monotonic()

    def _made(self) -> Sweeper:
        rules = RuleBook(self._store, Defaults(rules=Rules(ttl=TTL)))
        day = timedelta(days=1)
        return Sweeper(
            self._store, self._clock, self._rng, rules, purge_after=day, interval=INTERVAL, audit_ttl=timedelta(days=365)
        )

    async def run(self) -> None:
        await self._restart()
        for _ in range(DAYS * 4):
            if self._rng.random() < 0.03:
                await self._set_clock()
            if self._rng.random() < 0.02:
                await self._restart()
            if self._rng.random() < 0.7:
                await self._say()
            await self._pass(timedelta(hours=6))
            await self._look()
        await self._end()

    async def _set_clock(self) -> None:
        # Mostly a clock that was wrong is set right again at once, as time services do.
        by = -self._error if self._error and self._rng.random() < 0.7 else self._rng.choice(JUMPS)
        self._error += by
        self._set_at = self.true
        self._clock.set_wall_clock(by)
        self._jumps.jumps += 1

    async def _restart(self) -> None:
        await self._end()
        self._sweeper = self._made()
        self._task = asyncio.create_task(self._sweeper.run())

    async def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _say(self) -> None:
        person = f"u{min(self._rng.randrange(PEOPLE), self._rng.randrange(PEOPLE))}"  # some hardly ever say something
        key = ConversationKey(platform="p", workspace="w", channel="c", user=person)
        await self._store.get_or_create(key, at=self.true)
        conversation = await self._store.find(key)
        assert conversation is not None
        await self._store.extend(conversation.id, at=self.true)
        self._used[key] = self.true
        self._sweeper.heard(self.true)

    async def _pass(self, by: timedelta) -> None:
        for _ in range(by // INTERVAL * 2):
            await self._clock.advance(INTERVAL / 2)
            await asyncio.sleep(0.001)

    async def _look(self) -> None:
        for key, used in list(self._used.items()):
            self._jumps.looks += 1
            idle, kept = self.true - used, await self._store.find(key) is not None
            if not kept and idle <= TTL:
                self._jumps.wrong("deleted_in_use", f"{key.user} was deleted {idle} after it was used")
            if not kept:
                del self._used[key]
            elif not self._error and min(idle - TTL, self.true - self._set_at) > SLACK:
                self._jumps.wrong("never_deleted", f"{key.user} is kept {idle} after it was used")


async def jump_about(rng: random.Random, jumps: Jumps) -> None:
    """Live through one such time."""
    clock = FakeClock()
    store = await open_store("sqlite:///:memory:", clock=clock.now)
    try:
        await _Walk(store, clock, rng, jumps).run()
    finally:
        await store.aclose()


async def jump_during_turns(jumps: Jumps) -> None:
    """Set the clock in the middle of an answer, where posting twice makes two messages."""
    for by in JUMPS:
        clock, go_on = FakeClock(), asyncio.Event()
        surface = FakeSurface(clock=clock, nonces=False)
        async with chatting(["Half", go_on, " whole."], *["Half whole."] * 3, clock=clock, surface=surface) as chat:
            await chat.say("Question")
            await until(lambda chat=chat: _shown(chat) == ["Half"])  # type: ignore[misc]
            clock.set_wall_clock(by)
            jumps.jumps += 1
            await clock.advance(timedelta(seconds=3))
            await until(lambda chat=chat: chat.model.open_streams <= 1)  # type: ignore[misc]
            go_on.set()
            await _check_answered(chat, jumps, f"a jump by {by}")


async def two_replicas_apart(url: str, jumps: Jumps) -> None:
    """Run two processes on one PostgreSQL: their clocks are `APART`, and then one is set by 30 days."""
    clocks = [FakeClock(datetime.now(UTC) + by) for by in (APART, -APART)]
    async with _replica(url, clocks[0]) as ahead, _replica(url, clocks[1]) as behind:
        for number, chat in enumerate((ahead, behind)):
            chat.count = 1000 * number  # no message of the other is delivered again
            await chat.say("Question", channel=f"c{number}")
        for number, chat in enumerate((ahead, behind)):
            await _settle(ahead, behind)
            jumps.turns += 1
            said = [shown for other in (ahead, behind) for shown in _shown(other, f"c{number}")]
            if said != ["Half whole."] or [text for _, text in await chat.history(channel=f"c{number}")] != [
                "Question",
                *said,
            ]:
                jumps.wrong("ill_answered", f"replicas {APART} apart: {said}")
        now = datetime.now(UTC)
        young = ConversationKey(platform=PLATFORM, workspace="w", channel="young")
        old = ConversationKey(platform=PLATFORM, workspace="w", channel="old")
        for chat in (behind, ahead):
            await chat.store.get_or_create(young, at=now - TTL + timedelta(minutes=2))
            await chat.store.get_or_create(old, at=now - TTL - timedelta(minutes=2))
            await _sweep(chat)
            clocks[0].set_wall_clock(timedelta(days=30))
            jumps.jumps += 1
            await _sweep(ahead)
            jumps.looks += 2
            if await chat.store.find(young) is None:
                jumps.wrong("deleted_in_use", "a replica with a clock ahead deleted what had its time yet")
            if await chat.store.find(old) is not None:
                jumps.wrong("never_deleted", "a replica with a clock behind does not delete")


@asynccontextmanager
async def _replica(url: str, clock: FakeClock) -> AsyncIterator[Chat]:
    store = await open_store(url, clock=clock.now)
    try:
        surface = FakeSurface(clock=clock, nonces=False)
        async with chatting(*["Half whole."] * 4, store=store, clock=clock, surface=surface) as chat:
            yield chat
    finally:
        await store.aclose()


async def _settle(*chats: Chat) -> None:
    for _ in range(3):
        for chat in chats:
            await chat.quiet()


async def _sweep(chat: Chat) -> None:
    rules = RuleBook(chat.store, Defaults(rules=Rules(ttl=TTL)))
    day = timedelta(days=1)
    sweeper = Sweeper(
        chat.store, chat.clock, random.Random(1), rules, purge_after=day, interval=INTERVAL, audit_ttl=timedelta(days=365)
    )
    task = asyncio.create_task(sweeper.sweep())
    while not task.done():
        await chat.clock.advance(timedelta(milliseconds=10))
        await asyncio.sleep(0.001)
    await task


def _shown(chat: Chat, channel: str = "kitchen") -> list[str]:
    return chat.surface.texts(Address(platform=PLATFORM, workspace="w", channel=channel))


async def _check_answered(chat: Chat, jumps: Jumps, what: str) -> None:
    await chat.quiet()
    jumps.turns += 1
    history = await chat.history()
    if _shown(chat) != ["Half whole."] or history != [("user", "Question"), ("assistant", "Half whole.")]:
        jumps.wrong("ill_answered", f"{what}: shown {_shown(chat)}, kept {history}")
