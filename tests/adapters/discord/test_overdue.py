"""What was said to the bot too long ago to be answered: people are told of it once, where it was said."""

import pytest
from discord.utils import time_snowflake

from bot.adapters.discord import catch_up
from bot.chat.words import unanswered
from tests.adapters.discord.listening import a_store, listening
from tests.adapters.discord.test_catch_up import SEARCH, ago, read_up_to
from tests.fakes.discord import FakeDiscord

pytestmark = pytest.mark.anyio


async def test_what_was_said_to_us_before_that_is_told_of_in_one_line_a_place_over_restarts() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        guild, alice, bob = discord.guild("Home"), discord.user("alice"), discord.user("bob")
        general, kitchen, us = guild.channel("general"), guild.channel("kitchen"), discord.bot.mention
        direct, other = discord.dm(alice), discord.dm(bob)
        async with listening(discord, store) as ear:
            await ear.caught_up()
            await alice.say(direct, "first", sent_at=ago(200))
            await bob.say(other, "first", sent_at=ago(9))
            await ear.until(lambda: len(ear.taken) == 2)
        await store.unmark("discord", str(guild.id))
        await read_up_to(store, guild.id, ago(200))
        await alice.say(direct, "last week", sent_at=ago(170))
        await alice.say(direct, "yesterday", sent_at=ago(20))
        await alice.say(direct, "yesterday, too", sent_at=ago(19))
        await alice.say(direct, "lately", sent_at=ago(5))
        await bob.say(general, "talk of others", sent_at=ago(12))
        await bob.say(general, f"{us} still up?", sent_at=ago(11))
        await bob.say(kitchen, f"{us} and you?", sent_at=ago(5))
        for expected in (["and you?", "lately"], [], []):
            async with listening(discord, store) as ear:
                await ear.caught_up()
                assert sorted(ear.texts) == expected
        places = (direct, other, general, kitchen)
        assert [[message.text for message in place.messages if message.author is discord.bot] for place in places] == [
            [unanswered(2, older_than=catch_up.OLDEST)],
            [],
            [unanswered(1, older_than=catch_up.OLDEST)],
            [],
        ]
        assert discord.pings == []


async def test_nobody_is_told_of_an_old_message_that_was_taken_in_in_its_time() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        general, alice, us = discord.guild("Home").channel("general"), discord.user("alice"), discord.bot.mention
        await alice.say(general, "long ago", sent_at=ago(9))
        async with listening(discord, store) as ear:
            await ear.caught_up()
            await alice.say(general, f"{us} one", sent_at=ago(8))
            await ear.until(lambda: ear.taken)
        async with listening(discord, store) as ear:
            await ear.caught_up()
        assert discord.asked("GET", SEARCH), "what lies shortly before a mark is read once more"
        assert general.texts == ["long ago", f"{us} one"]


async def test_one_place_is_told_before_the_next_is_read_so_that_memory_holds_the_old_messages_of_one() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        people = [discord.user(name) for name in ("alice", "bob", "carol")]
        rooms = [discord.dm(user) for user in people]
        async with listening(discord, store) as ear:
            await ear.caught_up()
            for user, room in zip(people, rooms, strict=True):
                await user.say(room, "first", sent_at=ago(20))
            await ear.until(lambda: len(ear.taken) == 3)
        for user, room in zip(people, rooms, strict=True):
            await user.say(room, "yesterday", sent_at=ago(19))
        begun = len(discord.requests)
        async with listening(discord, store) as ear:
            await ear.caught_up()
        steps = [
            (request.method, request.path)
            for request in discord.requests[begun:]
            if request.method == "POST" or int(request.query.get("after", "0")) in range(1, time_snowflake(ago(19.5)))
        ]
        assert [method for method, _ in steps] == ["GET", "POST"] * 3
        assert [read for _, read in steps[::2]] == [told for _, told in steps[1::2]]
