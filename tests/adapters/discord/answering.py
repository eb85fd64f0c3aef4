"""The whole bot on a fake Discord, in one process: what people do, and what they see of its answers."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.adapters.discord.adapter import DiscordAdapter
from bot.app import Parley
from bot.app import running as parley_running
from bot.chat.models import Models
from bot.config import load_settings
from bot.llm.scripted import ScriptedModel
from store import Setting
from tests.fakes.clock import QuickClock
from tests.fakes.discord import Channel, FakeDiscord, Message

TIMES = 10
SECOND = timedelta(seconds=1)
SPEECH = (0, 19)
"""A message and a reply, by Discord's numbers; others are system messages, such as one about a new thread."""


@dataclass
class Bot:
    discord: FakeDiscord
    model: ScriptedModel
    parley: Parley
    adapter: DiscordAdapter

    @property
    def me(self) -> str:
        return str(self.discord.bot.mention)

    async def until(self, holds: Callable[[], object]) -> None:
        await self.discord.until(holds, within=timedelta(seconds=20))

    async def quiet(self) -> None:
        """Wait until every turn is settled."""
        for _ in range(2000):
            status = await self.parley.store.status()
            if not status.queued and not status.running and not self.parley.turns.running:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the turns never settled")

    async def choose(self, channel: Channel, setting: str, value: str) -> None:
        """Set something for a channel, as an operator does."""
        chosen = Setting(
            platform="discord", workspace=str(channel.guild.id), channel=str(channel.id), name=setting, value=value
        )
        await self.parley.rules.set(chosen, author_id="1", action="test", at=datetime.now(UTC))

    def answers(self, channel: Channel) -> list[Message]:
        ours = [message for message in channel.messages if message.author.id == self.discord.bot.id]
        return [message for message in ours if message.kind in SPEECH]


@asynccontextmanager
async def parley(*steps: object, times: int = TIMES, **settings: str) -> AsyncIterator[Bot]:
    """Run the whole bot, so many times as fast as life, against a Discord whose limits are as much faster."""
    before = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    clock, rng = QuickClock(times), random.Random(1)
    async with FakeDiscord(window=5 * SECOND / times) as discord:
        read = load_settings({"DATABASE_URL": "sqlite:///:memory:", "LLM_PROVIDER": "echo", **settings}, None)
        adapter = DiscordAdapter(
            discord.token, clock=clock, rng=rng, api_base_url=discord.api_url, gateway_url=discord.gateway_url
        )
        model = ScriptedModel(steps, clock=clock)  # type: ignore[arg-type]
        async with parley_running(read, {"discord": adapter.surface}, Models(model), clock, rng) as whole:
            serving = asyncio.create_task(adapter.run(whole))
            try:
                await discord.until(lambda: adapter.ready)
                yield Bot(discord, model, whole, adapter)
            finally:
                await adapter.stop_intake()
                serving.cancel()
                await asyncio.wait([serving])
                Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = before
