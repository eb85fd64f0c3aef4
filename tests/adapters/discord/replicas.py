"""Several replicas of the whole bot in one process: each with its own connection and worker, on one store and one Discord.

A test takes each of them down as it wants: in good order, as the composition root does it, or by cutting it off from all it
has. Time passes by `until` alone, some 20 times as fast as real time.
"""

import asyncio
import inspect
import itertools
import random
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot import app_serve
from bot.adapters.discord.adapter import DiscordAdapter
from bot.adapters.discord.client import FirstConnectFailed, ParleyClient
from bot.adapters.discord.shard import Shard
from bot.app import Parley
from bot.llm.protocol import Delta, PromptMessage
from bot.llm.scripted import ScriptedModel
from store import Share, Store, StoreUnavailable, open_store
from tests.adapters.discord.interactive import built
from tests.fakes.clock import FakeClock
from tests.fakes.discord import Channel, FakeDiscord, Message, User

MEMORY = "sqlite:///:memory:"
DRAIN = timedelta(seconds=25)


class Chatty(ScriptedModel):
    """A model that has an answer to everything."""

    def stream(self, prompt: Sequence[PromptMessage]) -> AbstractAsyncContextManager[AsyncIterator[Delta]]:
        self.add("An answer.")
        return super().stream(prompt)


class Line:
    """A replica's line to the store, which can be cut."""

    def __init__(self, store: Store, told: Share | None) -> None:
        self._store = store
        self._told = told
        self.cut = False
        self.under_way = 0
        """Calls that the store has not answered yet."""

    async def share(self, *args: Any, **kwargs: Any) -> Share:
        return self._told or await self.__getattr__("share")(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*args: Any, **kwargs: Any) -> Any:
            if self.cut:
                raise StoreUnavailable("the line is cut")
            self.under_way += 1
            try:
                return await method(*args, **kwargs)
            finally:
                self.under_way -= 1

        return call


@dataclass
class Replica:
    adapter: DiscordAdapter
    inside: Parley
    line: Line
    clock: FakeClock
    model: Chatty
    serving: asyncio.Task[None]
    working: asyncio.Task[None]

    @property
    def shards(self) -> set[int]:
        """The shards that are its own by what it knows."""
        shards = self.adapter._shards
        return set(shards._share.held) if shards is not None and shards._share is not None else set()

    @property
    def sessions(self) -> set[int]:
        """The shards on which it has a session that hears."""
        shards = self.adapter._shards
        return {shard.number for shard, session in shards._sessions.items() if session.up} if shards is not None else set()

    async def unplug(self) -> Callable[[], None]:
        """Let it reach Discord's gateway no more, and return what lets it do so again."""
        shards = self.adapter._shards
        assert shards is not None
        make = shards._make_client

        def unplugged(shard: Shard, came_up: Callable[[], None]) -> ParleyClient:
            client = make(shard, came_up)

            async def launch_shards() -> None:
                raise FirstConnectFailed("unplugged")

            client.launch_shards = launch_shards  # type: ignore[method-assign]
            return client

        shards._make_client = unplugged
        for session in list(shards._sessions.values()):
            if session.client is not None:
                await session.client.close()

        def plug_in() -> None:
            shards._make_client = make

        return plug_in

    def stop(self) -> asyncio.Task[None]:
        """Begin to take it down as SIGTERM does."""
        return asyncio.create_task(self._wind_down())

    async def die(self) -> None:
        """Take it down so that it can say nothing any more to the store."""
        self.line.cut = True
        ending = asyncio.create_task(self._end())
        while not ending.done():
            await self.clock.advance(timedelta(milliseconds=100))
            await asyncio.sleep(0.001)

    async def _wind_down(self) -> None:
        await app_serve._wind_down(DRAIN, self.inside, [self.adapter], self.clock)
        await self._end()

    async def _end(self) -> None:
        for task in (self.serving, self.working):
            task.cancel()
        await asyncio.wait((self.serving, self.working))


@dataclass
class Crowd:
    """The replicas, and those who talk to them."""

    discord: FakeDiscord
    store: Store
    url: str
    clock: FakeClock
    stack: AsyncExitStack
    replicas: list[Replica] = field(default_factory=list)
    asked: list[Message] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def start(self, *, told: Share | None = None) -> Replica:
        """Start one more; it takes what it is `told` for its share, if anything, whatever the store says."""
        line = Line(await self._a_store(), told)
        adapter = DiscordAdapter(
            self.discord.token,
            clock=self.clock,
            rng=random.Random(1),
            api_base_url=self.discord.api_url,
            gateway_url=self.discord.gateway_url,
        )
        model = Chatty(clock=self.clock)
        inside = await built(line, adapter.surface, model, self.clock)  # type: ignore[arg-type]
        working = asyncio.create_task(inside.turns.run())
        serving = asyncio.create_task(adapter.run(inside))
        replica = Replica(adapter, inside, line, self.clock, model, serving, working)
        self.replicas.append(replica)
        return replica

    async def _a_store(self) -> Store:
        """Return the one store of SQLite, or one more on a server."""
        if self.url == MEMORY:
            return self.store
        store = await open_store(self.url, clock=self.clock.now)
        self.stack.push_async_callback(store.aclose)
        return store

    async def until(self, holds: Callable[[], object]) -> None:
        for _ in range(6000):
            held = holds()
            if await held if inspect.isawaitable(held) else held:
                return
            for replica in self.replicas:
                if replica.serving.done() and not replica.serving.cancelled():
                    replica.serving.result()
            await self.pass_time()
        raise AssertionError(f"never came true: {inspect.getsource(holds).strip()}")

    async def pass_time(self) -> None:
        """Let a tenth of a second pass, but none while a store has still to answer: a busy machine may need many of them."""
        for _ in range(400):
            if not any(replica.line.under_way for replica in self.replicas):
                break
            await asyncio.sleep(0.005)
        await self.clock.advance(timedelta(milliseconds=100))
        await asyncio.sleep(0.005)

    async def stop(self, replica: Replica) -> None:
        """Take one down in good order."""
        stopping = replica.stop()
        await self.until(stopping.done)
        await stopping

    async def spread(self, *shares: int) -> None:
        """Wait until the replicas that run have so many shards each, and sessions on just those."""
        living = [replica for replica in self.replicas if not replica.serving.done()]
        await self.until(
            lambda: (
                sorted(len(replica.shards) for replica in living) == sorted(shares)
                and all(replica.shards == replica.sessions for replica in living)
            )
        )

    async def ask(self, channel: Channel, text: str = "hello") -> Message:
        """Let somebody new say something to the bot."""
        asker: User = self.discord.user(f"user {next(self._numbers)}")
        if channel.guild is not None:
            channel.guild.join(asker)
        said = await asker.say(channel, f"{self.discord.bot.mention} {text}")
        self.asked.append(said)
        return said

    def answers(self, question: Message) -> list[Message]:
        """What the bot has replied to a question."""
        return [message for message in question.channel.messages if message.reference is question]

    async def answered(self, questions: Collection[Message] | None = None) -> None:
        """Wait until every question has an answer and nothing is under way, and require that none has two."""
        questions = self.asked if questions is None else questions
        await self.until(lambda: all(self.answers(question) for question in questions))
        await self.until(self.quiet)
        assert {question.text: len(self.answers(question)) for question in questions} == {
            question.text: 1 for question in questions
        }

    async def quiet(self) -> bool:
        status = await self.store.status()
        return not status.queued and not status.running


@asynccontextmanager
async def crowd(discord: FakeDiscord, url: str = MEMORY) -> AsyncIterator[Crowd]:
    """Open a store for replicas, and take down at the end those that still run.

    On PostgreSQL leases last by the server's clock, for which no test waits.
    """
    clock = FakeClock(start=datetime.now(UTC))
    before = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    async with AsyncExitStack() as stack:
        store = await open_store(url, clock=clock.now)
        stack.push_async_callback(store.aclose)
        people = Crowd(discord, store, url, clock, stack)
        try:
            yield people
        finally:
            for replica in people.replicas:
                await replica.die()
            Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = before
