"""The bot's ear alone: the real client on the fake Discord, the real Intake on a real store, and nobody who answers."""

import asyncio
import inspect
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import discord

from bot.adapters.discord.catch_up import CatchUp
from bot.adapters.discord.client import ParleyClient
from bot.adapters.discord.connection import stay_connected
from bot.adapters.discord.gate import Gate
from bot.adapters.discord.inbox import Inbox
from bot.adapters.discord.members import Members
from bot.adapters.discord.places import Places
from bot.adapters.discord.rest import LOGIN
from bot.adapters.discord.shard import Shard
from bot.adapters.discord.surface import DiscordSurface
from bot.adapters.discord.watermarks import Watermarks
from bot.chat.authority import Authority
from bot.chat.intake import Intake, Outcome
from bot.chat.policy import Rules
from bot.chat.protocol import DeliveryDelayed, IncomingMessage
from bot.chat.rules import Defaults, RuleBook
from bot.chat.unanswered import Unanswered
from store import NewMessage, Store, open_store
from tests.fakes.clock import FakeClock
from tests.fakes.discord import FakeDiscord, pointed_at

ONLY = Shard(0, 1)


@dataclass
class Ear:
    """What the bot has heard."""

    store: Store
    clock: FakeClock
    marks: Watermarks
    members: Members
    running: asyncio.Task[None]
    clients: list[ParleyClient]
    taken: list[NewMessage] = field(default_factory=list)
    """What was taken in, in that order, each once."""
    offered: list[NewMessage] = field(default_factory=list)
    """What was brought to the store, known or not."""
    failures: list[Exception] = field(default_factory=list)
    """How the store fails at the next messages."""
    edits: list[str] = field(default_factory=list)
    """The texts of edits that were brought to Intake."""
    heard: list[IncomingMessage] = field(default_factory=list)
    """What was brought to Intake, whatever became of it."""

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.taken]

    async def until(self, holds: Callable[[], object], *, step: timedelta = timedelta(milliseconds=100)) -> None:
        """Wait for something, which may have to be awaited itself, while time passes.

        It passes so slowly that a login of real time stays within its limit.
        """
        for _ in range(2000):
            held = holds()
            if await held if inspect.isawaitable(held) else held:
                return
            if self.running.done():
                self.running.result()
            await self.clock.advance(step)
            await asyncio.sleep(0.005)
        raise AssertionError(f"never came true: {holds}")

    async def connected(self) -> None:
        await self.until(lambda: self.clients and self.clients[-1].up)

    async def caught_up(self) -> None:
        """Wait until nothing is missed any more."""
        await self.connected()
        await self.until(lambda: not self.marks.held, step=timedelta(seconds=1))

    async def kept(self) -> dict[tuple[str, str, str], int]:
        """Return the marks that a restart would begin with."""
        await self.marks.write()
        kept = await self.store.watermarks("discord")
        return {(mark.workspace, mark.channel, mark.thread): mark.position for mark in kept}


@asynccontextmanager
async def listening(
    fake: FakeDiscord,
    store: Store,
    *,
    rules: Callable[[str, str], Rules] = lambda workspace, channel: Rules(),
    content: bool = True,
    inbox: Callable[[FakeClock], Inbox] = Inbox,
    token: str = "",
) -> AsyncIterator[Ear]:
    """Run the ear until the body ends, as one process would: connected, restored, and drained at the end."""
    clock = FakeClock(start=datetime.now(UTC))
    clients: list[ParleyClient] = []
    taken: list[NewMessage] = []
    offered: list[NewMessage] = []
    failures: list[Exception] = []

    async def accept(message: NewMessage) -> int | None:
        offered.append(message)
        if failures:
            raise failures.pop()
        conversation = await store.accept(message)
        if conversation is not None:
            taken.append(message)
        return conversation

    def client() -> discord.Client:
        if not clients or clients[-1].user is None or clients[-1].is_closed():
            raise DeliveryDelayed("not logged in", retry_after=LOGIN)
        return clients[-1]

    surface = DiscordSurface(None, clock, api_base_url=fake.api_url)
    edits: list[str] = []
    heard: list[IncomingMessage] = []

    class Noting(Intake):
        async def take(self, message: IncomingMessage) -> Outcome:
            heard.append(message)
            return await super().take(message)

        async def edited(self, message: IncomingMessage) -> Outcome:
            edits.append(message.text)
            return await super().edited(message)

    class Chosen(RuleBook):
        def of(self, platform: str, workspace: str, channel: str) -> Rules:
            return rules(workspace, channel)

    book = Chosen(store, Defaults(admit=frozenset({"external"})))
    intake = Noting(
        store,
        book,
        Authority(store, book, clock, operators=()),
        clock,
        characters=500,
        accept=accept,
        revised=lambda conversation: None,
        retracted=lambda conversations: None,
    )
    queue, marks = inbox(clock), Watermarks(store, clock)
    places, members = Places(client, clock), Members(client, clock)
    gate = Gate(intake, queue, marks, places, members, surface, clock, us=fake.bot.id, content=content)
    unanswered = Unanswered(surface, clock, once=lambda name: store.once(name, at=clock.now()))
    catch_up = CatchUp(
        gate, marks, clock, random.Random(1), us=fake.bot.id, rules=rules, unanswered=unanswered, content=content
    )

    async def turn() -> None:
        """Don't wait: that sessions begin one after another is another room's law."""

    def make_client() -> ParleyClient:
        clients.append(ParleyClient(ONLY, gate, catch_up, clock, content=content, turn=turn))
        surface.use(clients[-1])
        return clients[-1]

    await marks.take_over(ONLY)
    with pointed_at(fake):
        running = asyncio.create_task(stay_connected(token or fake.token, make_client, clock, random.Random(1)))
        writing = asyncio.create_task(marks.run())
        try:
            yield Ear(store, clock, marks, members, running, clients, taken, offered, failures, edits, heard)
        finally:
            for task in (running, writing):
                task.cancel()
            await asyncio.wait([running, writing])
            await catch_up.close()
            await queue.close()
            await marks.write()


@asynccontextmanager
async def a_store() -> AsyncIterator[Store]:
    store = await open_store("sqlite:///:memory:")
    try:
        yield store
    finally:
        await store.aclose()
