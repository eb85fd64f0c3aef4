"""What a bot may read without the message_content intent."""

import discord as library
import pytest

from tests.fakes.discord import FakeDiscord, File, pointed_at
from tests.fakes_discord.clients import UNPRIVILEGED, Listener, running

pytestmark = pytest.mark.anyio


async def test_without_the_intent_only_mentions_direct_messages_and_own_words_can_be_read() -> None:
    async with FakeDiscord(message_content=False) as discord:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        async with running(discord, intents=UNPRIVILEGED) as client:
            hidden = await alice.say(general, "secret", attachments=[File("a.txt", b"a")])
            await alice.say(general, f"{discord.bot.mention} open")
            await alice.say(discord.dm(alice), "direct")
            await discord.until(lambda: len(client.heard) == 3)
            assert client.heard_texts == ["", f"{discord.bot.mention} open", "direct"]
            assert client.heard[0].attachments == []
            own = await client.get_partial_messageable(general.id).send("mine", reference=client.heard[0])
            assert own.content == "mine"
            fetched = await client.get_partial_messageable(general.id).fetch_message(hidden.id)
            assert fetched.content == ""


async def test_asking_for_what_was_not_granted_closes_the_gateway() -> None:
    async with FakeDiscord(message_content=False) as discord:
        client = Listener()
        with pointed_at(discord), pytest.raises(library.PrivilegedIntentsRequired):
            await client.start(discord.token)
        await client.close()


async def test_the_managed_role_of_the_bot_is_no_mention_of_the_bot() -> None:
    async with FakeDiscord() as discord:
        guild, alice = discord.guild("Home"), discord.user("alice")
        async with running(discord) as client:
            await alice.say(guild.channel("general"), f"{guild.bot_role.mention} hello")
            await discord.until(lambda: client.heard)
            (message,) = client.heard
            assert message.raw_role_mentions == [guild.bot_role.id]
            assert not client.user.mentioned_in(message) or message.role_mentions
            assert message.mentions == []


async def test_without_view_channel_the_bot_hears_nothing() -> None:
    async with FakeDiscord() as discord:
        guild, alice = discord.guild("Home"), discord.user("alice")
        hidden, general = guild.channel("hidden"), guild.channel("general")
        hidden.deny("VIEW_CHANNEL")
        async with running(discord) as client:
            await alice.say(hidden, "unheard")
            await alice.say(general, "heard")
            await discord.until(lambda: client.heard)
            assert client.heard_texts == ["heard"]
