"""Two replicas stream into one channel: with the slots of one store Discord never has to say no, without them it does."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from bot.adapters.discord.surface import DiscordSurface
from bot.chat.pacing import Pacers
from bot.chat.protocol import Address
from tests.adapters.discord.pointing import logged_in
from tests.adapters.growing import SECOND, grow
from tests.fakes.clock import QuickClock
from tests.fakes.discord import FakeDiscord, pointed_at
from tests.fakes.sharing import FakeSharing

pytestmark = pytest.mark.anyio
TIMES = 3
WRITES = 6
"""One more in five seconds than the pace makes: what a busy machine may delay a write by is not what is tried here."""
WORDS = [f"word{number}" for number in range(20)]


@pytest.mark.parametrize("shared", [True, False])
async def test_two_replicas_in_one_channel_keep_the_one_budget(shared: bool) -> None:
    clock = QuickClock(TIMES)
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(FakeDiscord(writes=WRITES, window=5 * SECOND / TIMES))
        stack.enter_context(pointed_at(fake))
        guild = fake.guild("Home")
        general, alice = guild.channel("general"), fake.user("alice")
        guild.join(alice)
        store = FakeSharing(clock)
        answering = []
        for number in range(4):
            question = await alice.say(general, f"question {number}")
            address = Address(
                platform="discord", workspace=str(guild.id), channel=str(general.id), reply_to=str(question.id)
            )
            client = await stack.enter_async_context(logged_in(fake))
            surface = DiscordSurface(client, clock, api_base_url=fake.api_url)
            pacers = Pacers(clock, store if shared else None)
            answering.append(grow(surface, address, WORDS, number=number, pacers=pacers, clock=clock))
        await asyncio.gather(*answering)
        answers = [message for message in general.messages if message.author.id == fake.bot.id]
        assert [message.content for message in answers] == [" ".join(WORDS)] * 4
        assert (fake.refused == []) is shared
