"""A real PostgreSQL is stopped under the whole bot on Discord: one word in the channel, then every answer, each once."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

from bot.chat.words import STORE_AWAY
from tests.adapters.discord.answering import parley
from tests.engines.postgres import PostgresServer, Shutdown
from tests.fakes.discord import Channel

pytestmark = pytest.mark.anyio


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A server that may be stopped."""
    with PostgresServer.made(options={"fsync": "off"}) as server:
        yield server


def said(channel: Channel) -> list[str]:
    return [message.content for message in channel.messages]


async def test_people_hear_once_of_an_outage_and_get_every_answer_when_it_is_over(postgres: PostgresServer) -> None:
    answers = ["First answer.", "Second answer."]
    async with parley(*answers, times=1, DATABASE_URL=postgres.database()) as bot:
        guild = bot.discord.guild("Home")
        ada, bob = bot.discord.user("ada"), bot.discord.user("bob")
        guild.join(ada)
        guild.join(bob)
        general = guild.channel("general")

        await asyncio.to_thread(postgres.stop, Shutdown.IMMEDIATE)
        await ada.say(general, f"{bot.me} first")
        await bob.say(general, "nothing to do with you")
        await bot.until(lambda: STORE_AWAY in said(general))
        await bob.say(general, f"{bot.me} second")

        await asyncio.to_thread(postgres.start)
        await bot.discord.until(lambda: set(answers) <= set(said(general)), within=timedelta(minutes=1))
        assert [message.content for message in bot.answers(general)].count(STORE_AWAY) == 1
        assert sorted(prompt[-1].text for prompt in bot.model.prompts) == ["first", "second"]
