"""Threads as the bot opens, fills and loses them."""

import discord as library
import pytest

from tests.fakes.discord import FakeDiscord
from tests.fakes_discord.clients import logged_in, running
from tests.fakes_discord.test_sending import code_of

pytestmark = pytest.mark.anyio


async def test_the_bot_opens_one_thread_on_a_message_and_no_second() -> None:
    async with FakeDiscord() as discord:
        guild, alice = discord.guild("Home"), discord.user("alice")
        general = guild.channel("general")
        said, other = await alice.say(general, "hello"), await alice.say(general, "again")
        async with running(discord) as client:
            message = await client.get_channel(general.id).fetch_message(said.id)
            thread = await message.create_thread(name="about it")
            await thread.send("inside")
            assert said.thread.texts[-1] == "inside"
            assert thread.id == said.id
            again = client.get_partial_messageable(general.id, guild_id=guild.id).get_partial_message(said.id)
            assert await code_of(again.create_thread(name="x")) == (400, 160004)
            second = await client.get_channel(general.id).fetch_message(other.id)
            assert await code_of(second.create_thread(name="x" * 101)) == (400, 50035)
            guild.threads_full = True
            assert await code_of(second.create_thread(name="x")) == (400, 160006)


async def test_writing_unarchives_a_thread_unless_it_is_locked_and_editing_does_not() -> None:
    async with FakeDiscord() as discord, logged_in(discord) as client:
        general = discord.guild("Home").channel("general")
        thread = await general.start_thread("aside")
        channel = client.get_partial_messageable(thread.id)
        sent = await channel.send("one")
        await thread.archive()
        assert await code_of(sent.edit(content="x")) == (400, 50083)
        await channel.send("two")
        assert not thread.archived
        await thread.archive(locked=True)
        assert await code_of(channel.send("three")) == (400, 160005)
        await thread.delete()
        assert await code_of(channel.send("four")) == (404, 10003)


async def test_active_threads_are_listed_and_threads_need_their_own_permission() -> None:
    async with FakeDiscord() as discord:
        guild = discord.guild("Home")
        general = guild.channel("general")
        thread, old = await general.start_thread("aside"), await general.start_thread("old")
        await old.archive()
        async with running(discord) as client:
            seen = client.get_guild(guild.id)
            assert [found.id for found in await seen.active_threads()] == [thread.id]
            assert [found.id async for found in seen.get_channel(general.id).archived_threads()] == [old.id]
            general.deny("SEND_MESSAGES_IN_THREADS")
            assert await code_of(client.get_partial_messageable(thread.id).send("x")) == (403, 50013)
            general.deny("CREATE_PUBLIC_THREADS")
            await discord.until(lambda: not seen.get_channel(general.id).permissions_for(seen.me).create_public_threads)
            assert await code_of(seen.get_channel(general.id).create_thread(name="x", type=PUBLIC)) == (403, 50013)


PUBLIC = library.ChannelType.public_thread
