"""Two replicas stream into one channel: with the slots of one store Discord never has to say no, without them it does."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from bot.adapters.discord.surface import DiscordSurface
from bot.chat.delivery import Reply
from bot.chat.pacing import Pacers
from bot.chat.protocol import Address, Control, Controls
from tests.adapters.discord.pointing import logged_in
from tests.fakes.clock import QuickClock
from tests.fakes.discord import FakeDiscord, pointed_at
from tests.fakes.sharing import FakeSharing

pytestmark = pytest.mark.anyio
TIMES = 3
SECOND = timedelta(seconds=1)
WRITES = 6
"""One more in five seconds than the pace makes: what a busy machine may delay a write by is not what is tried here."""
WORDS = [f"word{number}" for number in range(20)]
GROWING = Controls(turn_id=7, offered=(Control.STOP,))


async def answer(surface: DiscordSurface, address: Address, number: int, pacers: Pacers, clock: QuickClock) -> None:
    """Let an answer grow by a word a second, and finish it."""

    async def record(part: int, platform_id: str) -> None:
        del part, platform_id

    async with Reply(
        surface,
        address,
        nonce=lambda part: f"n{number}x{part}",
        parts={},
        reconcile=False,
        pacers=pacers,
        clock=clock,
        record=record,
        guard=lambda: None,
        controls=GROWING,
    ) as reply:
        for end in range(1, len(WORDS) + 1):
            reply.show(" ".join(WORDS[:end]))
            await clock.sleep(SECOND)
        await reply.complete(" ".join(WORDS))


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
            answering.append(answer(surface, address, number, pacers, clock))
        await asyncio.gather(*answering)
        answers = [message for message in general.messages if message.author.id == fake.bot.id]
        assert [message.content for message in answers] == [" ".join(WORDS)] * 4
        assert (fake.refused == []) is shared
