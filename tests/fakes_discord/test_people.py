"""What people do reaches the bot as Discord would tell it."""

import asyncio

import pytest

from tests.fakes.discord import FakeDiscord
from tests.fakes_discord.clients import running

pytestmark = pytest.mark.anyio


async def test_an_edit_is_told_from_an_unfurled_link_by_its_time() -> None:
    async with FakeDiscord() as discord:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        said = await alice.say(general, "https://example.com")
        async with running(discord) as client:
            await discord.unfurl(said)
            await alice.edit(said, "never mind")
            await discord.until(lambda: len(client.edits) == 2)
            unfurled, edited = (event.message for event in client.edits)
            assert (unfurled.content, unfurled.edited_at, len(unfurled.embeds)) == ("https://example.com", None, 1)
            assert (edited.content, edited.edited_at is None) == ("never mind", False)
            assert said.history == ["https://example.com"]


async def test_deleting_tells_of_one_message_or_of_many() -> None:
    async with FakeDiscord() as discord:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        messages = [await alice.say(general, str(number)) for number in range(3)]
        async with running(discord) as client:
            await alice.delete(messages[0])
            await discord.bulk_delete(general, messages[1:])
            await discord.until(lambda: "raw_bulk_message_delete" in client.events)
            assert "raw_message_delete" in client.events
            assert general.messages == []


async def test_replies_forwards_and_webhooks_look_as_they_do_on_discord() -> None:
    async with FakeDiscord() as discord:
        general, alice, bob = discord.guild("Home").channel("general"), discord.user("alice"), discord.user("bob")
        async with running(discord) as client:
            bots = await client.get_partial_messageable(general.id).send("I said")
            own = general.messages[-1]
            quiet = await alice.say(general, "no ping", reply_to=own, ping_reply=False)
            await alice.say(general, "ping", reply_to=own)
            await bob.say(general, forward=quiet)
            await bob.say(general, "from a hook", webhook=True)
            await alice.delete(own)
            await alice.say(general, "to nothing", reply_to=own)
            await discord.until(lambda: len(client.heard) == 5)
            silent, pinging, forwarded, hook, orphan = client.heard
            assert silent.reference.resolved.id == bots.id
            assert [client.user in message.mentions for message in (silent, pinging)] == [False, True]
            assert (forwarded.content, forwarded.message_snapshots[0].content) == ("", "no ping")
            assert hook.webhook_id == bob.id
            assert orphan.reference.resolved.id == bots.id
            assert not hasattr(orphan.reference.resolved, "content")


async def test_a_thread_on_a_message_updates_it_and_begins_with_a_system_message() -> None:
    async with FakeDiscord() as discord:
        guild, alice = discord.guild("Home"), discord.user("alice")
        general, forum = guild.channel("general"), guild.channel("ideas", kind="forum")
        said = await alice.say(general, "hello")
        async with running(discord) as client:
            thread = await general.thread_from(said, "about it")
            await alice.say(thread, "inside")
            opened = await alice.post(forum, "An idea", "listen")
            await discord.until(lambda: len(client.heard) == 3)
            assert [message.type.name for message in client.heard] == ["thread_starter_message", "default", "default"]
            assert thread.id == said.id
            assert client.heard[1].channel.parent_id == general.id
            assert client.heard[2].id == opened.id
            assert [event.message.flags.has_thread for event in client.edits] == [True]


async def test_typing_and_reactions_are_written_down() -> None:
    async with FakeDiscord() as discord:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        said = await alice.say(general, "hello")
        async with running(discord) as client:
            channel = client.get_partial_messageable(general.id)
            async with channel.typing():
                await asyncio.sleep(0)
            await channel.get_partial_message(said.id).add_reaction("👀")
        assert len(general.typing) == 1
        assert said.reactions == ["👀"]
