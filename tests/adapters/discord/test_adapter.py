"""Discord, put together, with a whole chat behind it: what is said comes in, and the answer is posted."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.adapters.discord.adapter import DiscordAdapter
from bot.adapters.protocol import PlatformRefused
from bot.llm.scripted import ScriptedModel
from store import open_store
from tests.adapters.discord.interactive import built
from tests.chat.chatting import cancelled
from tests.fakes.clock import FakeClock
from tests.fakes.discord import FakeDiscord

pytestmark = pytest.mark.anyio


@dataclass
class Running:
    adapter: DiscordAdapter
    model: ScriptedModel
    clock: FakeClock
    task: asyncio.Task[None]

    async def until(self, holds: Callable[[], object]) -> None:
        for _ in range(2000):
            if holds():
                return
            await self.clock.advance(timedelta(milliseconds=100))
            await asyncio.sleep(0.005)
        raise AssertionError(f"never came true: {holds}")


@asynccontextmanager
async def running(discord: FakeDiscord, *steps: str, token: str = "") -> AsyncIterator[Running]:
    """Run the adapter against the fake, pointed at it by its settings alone."""
    clock = FakeClock(start=datetime.now(UTC))
    before = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    adapter = DiscordAdapter(
        token or discord.token,
        clock=clock,
        rng=random.Random(1),
        api_base_url=discord.api_url,
        gateway_url=discord.gateway_url,
    )
    store = await open_store("sqlite:///:memory:", clock=clock.now)
    model = ScriptedModel(steps, clock=clock)
    inside = await built(store, adapter.surface, model, clock)
    working = asyncio.create_task(inside.turns.run())
    serving = asyncio.create_task(adapter.run(inside))
    try:
        yield Running(adapter, model, clock, serving)
    finally:
        await cancelled(working, clock)
        serving.cancel()
        await asyncio.wait([serving])
        await store.aclose()
        Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = before


async def test_what_is_said_is_answered_with_a_reply_that_notifies_the_asker_once() -> None:
    async with FakeDiscord() as discord:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        async with running(discord, "Hello to you, @everyone.") as bot:
            await bot.until(lambda: bot.adapter.ready)
            question = await alice.say(general, f"{discord.bot.mention} hello")
            await bot.until(lambda: general.texts[-1] == "Hello to you, @everyone.")
            assert general.messages[-1].reference is question
            assert [ping.user for ping in discord.pings] == [alice]


async def test_commands_are_registered() -> None:
    async with FakeDiscord() as discord, running(discord) as bot:
        await bot.until(lambda: bot.adapter.ready)
        assert {command["name"] for command in discord.commands} >= {"chat", "parley"}


async def test_a_new_session_registers_nothing_again() -> None:
    async with FakeDiscord() as discord, running(discord) as bot:
        await bot.until(lambda: bot.adapter.ready)
        await discord.invalidate()
        await bot.until(lambda: len(discord.identifies) == 2 and bot.adapter.ready)
        assert discord.command_puts == 1


async def test_it_says_how_it_is_doing() -> None:
    async with FakeDiscord() as discord:
        discord.guild("Home")
        async with running(discord) as bot:
            assert not bot.adapter.ready
            assert bot.adapter.describe() == "discord (not connected)"
            await bot.until(lambda: bot.adapter.ready)
            assert bot.adapter.describe() == "discord (1 server)"
            discord.guild("Other")
            await bot.until(lambda: bot.adapter.describe() == "discord (2 servers)")


async def test_once_intake_has_stopped_nothing_is_taken_and_answers_still_go_out() -> None:
    async with FakeDiscord() as discord:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        async with running(discord, "The answer.") as bot:
            await bot.until(lambda: bot.adapter.ready)
            await alice.say(general, f"{discord.bot.mention} taken")
            await bot.until(lambda: general.typing)
            await bot.adapter.stop_intake()
            await alice.say(general, f"{discord.bot.mention} not taken")
            await bot.until(lambda: "The answer." in general.texts)
            await bot.until(lambda: discord.gateway.connected[0].written == len(discord.gateway.connected[0].sent))
            await bot.clock.advance(timedelta(minutes=1))
            assert [message.author for message in general.messages].count(discord.bot) == 1
            assert len(bot.model.prompts) == 1


async def test_a_refusal_comes_out() -> None:
    async with FakeDiscord() as discord, running(discord, token="wrong") as bot:
        await bot.until(bot.task.done)
        with pytest.raises(PlatformRefused, match="DISCORD_TOKEN"):
            await bot.task
