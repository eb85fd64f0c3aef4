"""The real discord.py logs in, hears and speaks."""

import asyncio
from datetime import timedelta

import discord as library
import pytest

from tests.fakes.discord import FakeDiscord, FakeDiscordThread, pointed_at
from tests.fakes_discord.clients import INTENTS, Listener, running

pytestmark = pytest.mark.anyio


async def test_a_client_logs_in_hears_a_message_and_answers_it() -> None:
    async with FakeDiscord() as discord:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice", display_name="Alice")

        async def answer(message: library.Message) -> None:
            await message.reply(f"you said: {message.content}")

        async with running(discord, answer=answer) as client:
            said = await alice.say(general, "hello")
            await discord.until(lambda: len(general.messages) == 2)
            reply = general.messages[-1]
            assert (reply.text, reply.author, reply.reference) == ("you said: hello", discord.bot, said)
            assert discord.pings == [(reply, alice)]
            assert client.heard[0].author.display_name == "Alice"
            assert client.get_guild(general.guild.id).me.id == discord.bot.id
            await discord.until(lambda: discord.requests[-1].status == 200)
        assert [identify["intents"] for identify in discord.identifies] == [INTENTS.value]
        assert INTENTS.value == 37377


async def test_a_wrong_token_is_refused() -> None:
    async with FakeDiscord() as discord:
        client = Listener()
        with pointed_at(discord), pytest.raises(library.LoginFailure):
            await client.start("another")
        await client.close()
        assert discord.requests[-1].status == 401


def test_the_fake_serves_from_a_thread_of_its_own() -> None:
    with FakeDiscordThread(window=timedelta(seconds=1)) as discord:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        discord.send_twice = True
        assert discord.fake.send_twice

        async def bot() -> None:
            async def answer(message: library.Message) -> None:
                await message.channel.send("hi")

            async with running(discord.fake, answer=answer):
                await asyncio.to_thread(discord.do, alice.say, general, "hello")
                await asyncio.to_thread(discord.until, lambda: general.texts == ["hello", "hi", "hi"])

        asyncio.run(bot())
