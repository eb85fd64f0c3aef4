"""A client of the real discord.py that talks to the fake and keeps what it hears."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import discord as library
from discord import app_commands

from tests.fakes.discord import FakeDiscord, pointed_at

INTENTS = library.Intents(guilds=True, guild_messages=True, dm_messages=True, message_content=True)
UNPRIVILEGED = library.Intents(guilds=True, guild_messages=True, dm_messages=True)

Answer = Callable[[library.Message], Coroutine[Any, Any, Any]]


class Listener(library.Client):
    """Hears everything; `answer` does what the test wants done with each message of others."""

    def __init__(self, *, intents: library.Intents = INTENTS, answer: Answer | None = None, **options: Any) -> None:
        super().__init__(intents=intents, guild_ready_timeout=0.02, max_messages=None, **options)
        self.answer = answer
        self.tree = app_commands.CommandTree(self)
        self.heard: list[library.Message] = []
        self.edits: list[library.RawMessageUpdateEvent] = []
        self.events: list[str] = []

    async def setup_hook(self) -> None:
        if self.tree.get_commands() or self.tree.get_commands(type=library.AppCommandType.message):
            await self.tree.sync()

    def dispatch(self, event: str, /, *arguments: Any, **named: Any) -> None:
        self.events.append(event)
        super().dispatch(event, *arguments, **named)

    async def on_message(self, message: library.Message) -> None:
        if message.author == self.user:
            return
        self.heard.append(message)
        if self.answer is not None:
            await self.answer(message)

    async def on_raw_message_edit(self, event: library.RawMessageUpdateEvent) -> None:
        self.edits.append(event)

    @property
    def heard_texts(self) -> list[str]:
        return [message.content for message in self.heard]


@contextlib.asynccontextmanager
async def running(fake: FakeDiscord, client: library.Client | None = None, **options: Any) -> AsyncIterator[Any]:
    """Run a client until the block ends; it begins when the client is ready."""
    with pointed_at(fake):
        client = client or Listener(**options)
        task = asyncio.create_task(client.start(fake.token))
        try:
            await fake.until(lambda: client.is_ready() or task.done())
            if task.done():
                await task
            yield client
        finally:
            await client.close()
            await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def logged_in(fake: FakeDiscord) -> AsyncIterator[library.Client]:
    """Give a client that only calls REST."""
    with pointed_at(fake):
        client = Listener()
        await client.login(fake.token)
        try:
            yield client
        finally:
            await client.close()
