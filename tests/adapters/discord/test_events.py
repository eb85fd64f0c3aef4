"""What the bot hears while it is connected, by the real gateway protocol."""

from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from bot.adapters.discord.client import intents
from bot.adapters.discord.inbox import Inbox
from bot.chat.policy import Rules, Trigger
from store import StoreUnavailable, Watermark
from tests.adapters.discord.listening import a_store, listening
from tests.fakes.discord import FakeDiscord

pytestmark = pytest.mark.anyio


def test_we_ask_for_servers_their_messages_direct_messages_and_content_and_for_nothing_else() -> None:
    assert intents(content=True).value == 37377
    assert intents(content=False).value == 37377 - (1 << 15)


async def test_a_mention_is_taken_and_the_talk_of_others_is_not() -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        guild = discord.guild("Home")
        general, alice = guild.channel("general"), discord.user("alice")
        await ear.connected()
        await alice.say(general, "lovely weather")
        await alice.say(general, f"{discord.bot.mention} hello")
        await ear.until(lambda: ear.texts)
        assert ear.texts == ["hello"]
        assert ear.taken[0].key.user == str(alice.id)
        assert discord.identifies[0]["intents"] == 37377


async def test_a_burst_is_taken_in_the_order_in_which_it_was_said() -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        guild = discord.guild("Home")
        alice = discord.user("alice")
        channels = [guild.channel(f"room-{number}") for number in range(3)]
        await ear.connected()
        for number in range(30):
            for channel in channels:
                await alice.say(channel, f"{discord.bot.mention} {number}")
        await ear.until(lambda: len(ear.taken) == 90)
        for channel in channels:
            heard = [message.text for message in ear.taken if message.key.channel == str(channel.id)]
            assert heard == [str(number) for number in range(30)]


async def test_what_is_delivered_twice_is_taken_once() -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        guild = discord.guild("Home")
        general, alice = guild.channel("general"), discord.user("alice")
        await ear.connected()
        discord.send_twice = True
        await alice.say(general, f"{discord.bot.mention} hello")
        await ear.until(lambda: len(ear.offered) == 2)
        await ear.until(lambda: ear.texts)
        assert ear.texts == ["hello"]


async def test_a_thread_is_listened_to_once_the_bot_takes_part_in_it() -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        guild = discord.guild("Home")
        general, alice, bob = guild.channel("general"), discord.user("alice"), discord.user("bob")
        thread = await general.start_thread("bread")
        await ear.connected()
        await alice.say(thread, "not for you")
        await alice.say(thread, f"{discord.bot.mention} for you")
        await bob.say(thread, "and this too")
        await ear.until(lambda: len(ear.taken) == 2)
        assert ear.texts == ["for you", "and this too"]
        assert {message.key.thread for message in ear.taken} == {str(thread.id)}
        assert {message.key.channel for message in ear.taken} == {str(general.id)}


async def test_an_archived_thread_is_known_by_its_channel_although_it_is_not_cached() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        guild = discord.guild("Home")
        general, alice = guild.channel("general"), discord.user("alice")
        thread = await general.start_thread("bread")
        thread.archived = True
        async with listening(discord, store) as ear:
            await ear.connected()
            await ear.until(lambda: ear.clients[0].guilds)
            thread.archived = False  # and nothing tells the library, as when it was not in the thread
            for _ in range(2):
                await alice.say(thread, f"{discord.bot.mention} hello")
            await ear.until(lambda: len(ear.taken) == 2)
            assert {message.key.thread for message in ear.taken} == {str(thread.id)}
            assert len(discord.asked("GET", f"/channels/{thread.id}")) == 1


async def test_a_channel_of_a_kind_that_the_library_does_not_know_is_a_channel() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        general.kind = 99
        async with listening(discord, store) as ear:
            await ear.connected()
            await alice.say(general, f"{discord.bot.mention} hello")
            await ear.until(lambda: ear.taken)
            assert (ear.taken[0].key.channel, ear.taken[0].key.thread) == (str(general.id), "")


async def test_a_discord_that_does_not_say_what_a_channel_is_is_asked_again() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        general.kind = 99
        hanging = discord.hang("GET", f"/channels/{general.id}")
        async with listening(discord, store) as ear:
            await ear.connected()
            await alice.say(general, f"{discord.bot.mention} hello")
            await ear.until(lambda: ear.taken, step=timedelta(seconds=1))
        assert hanging.hits == 1


async def test_an_edit_is_taken_in_and_a_link_preview_is_none() -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        guild = discord.guild("Home")
        general, alice = guild.channel("general"), discord.user("alice")
        await ear.connected()
        message = await alice.say(general, f"{discord.bot.mention} see https://example.com")
        await ear.until(lambda: ear.taken)
        await discord.unfurl(message)
        await alice.edit(message, f"{discord.bot.mention} see https://example.org")
        conversation = await store.find(ear.taken[0].key)
        assert conversation is not None

        async def revised() -> bool:
            return (await store.recent(conversation.id, 1))[0].text == "see https://example.org"

        await ear.until(revised)
        assert len(ear.taken) == 1
        await discord.unfurl(message, "https://example.org")
        await alice.say(general, f"{discord.bot.mention} next")
        await ear.until(lambda: len(ear.taken) == 2)
        assert ear.edits == ["see https://example.org"]


async def test_an_edit_that_begins_to_speak_to_us_is_taken() -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        await ear.connected()
        message = await alice.say(general, "hello")
        await discord.unfurl(message)
        await alice.edit(message, f"{discord.bot.mention} hello")
        await ear.until(lambda: ear.taken)
        assert ear.texts == ["hello"]


async def test_what_else_happens_to_a_message_that_was_edited_long_ago_is_no_edit() -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        old = await alice.say(general, f"{discord.bot.mention} is anybody there?")
        old.edited_at = datetime.now(UTC) - timedelta(hours=2)
        await ear.connected()
        general.tell_of(old, "MESSAGE_UPDATE")  # somebody pins it
        await alice.say(general, f"{discord.bot.mention} hello")
        await ear.until(lambda: ear.taken)
        assert (ear.texts, ear.edits) == (["hello"], [])


async def test_deleted_messages_are_erased_one_by_one_and_in_bulk() -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        guild = discord.guild("Home")
        general, alice = guild.channel("general"), discord.user("alice")
        await ear.connected()
        said = [await alice.say(general, f"{discord.bot.mention} {number}") for number in range(4)]
        await ear.until(lambda: len(ear.taken) == 4)
        conversation = await store.find(ear.taken[0].key)
        assert conversation is not None

        async def left_are(*texts: str) -> bool:
            recent = await store.recent(conversation.id, 9)
            return tuple(message.text for message in recent) == texts

        await alice.delete(said[0])
        await ear.until(lambda: left_are("1", "2", "3"))
        await discord.bulk_delete(general, said[1:3])
        await ear.until(lambda: left_are("3"))


async def test_conversations_of_a_deleted_thread_channel_and_server_are_closed() -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        alice = discord.user("alice")
        here, there = discord.guild("Here"), discord.guild("There")
        general, hall, far = here.channel("general"), here.channel("hall"), there.channel("far")
        thread = await general.start_thread("bread")
        await ear.connected()
        for place in (general, thread, hall, far):
            await alice.say(place, f"{discord.bot.mention} in {place.name}")
        await ear.until(lambda: len(ear.taken) == 4)
        keys = {message.text: message.key for message in ear.taken}

        async def closed(*names: str) -> bool:
            ended = {name for name, key in keys.items() if await store.find(key) is None}
            return ended == {f"in {name}" for name in names}

        await thread.delete()
        await ear.until(lambda: closed("bread"))
        await hall.delete()
        await ear.until(lambda: closed("bread", "hall"))
        await there.leave()
        await ear.until(lambda: closed("bread", "hall", "far"))
        assert (str(there.id), "", "") not in await ear.kept()


async def test_an_outage_of_a_server_closes_nothing() -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        guild = discord.guild("Home")
        general, alice = guild.channel("general"), discord.user("alice")
        await ear.caught_up()
        await alice.say(general, f"{discord.bot.mention} before")
        await ear.until(lambda: ear.taken)
        await guild.outage()
        await ear.until(lambda: ear.clients[0].get_guild(guild.id).unavailable)  # type: ignore[union-attr]
        await guild.recover()
        await alice.say(general, f"{discord.bot.mention} after")
        await ear.until(lambda: len(ear.taken) == 2)
        assert await store.find(ear.taken[0].key) is not None


async def test_without_the_content_intent_mentions_and_direct_messages_are_taken() -> None:
    async with (
        FakeDiscord(message_content=False) as discord,
        a_store() as store,
        listening(discord, store, content=False) as ear,
    ):
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        await ear.connected()
        await alice.say(general, "between us")
        await alice.say(general, f"{discord.bot.mention} for you")
        await alice.say(discord.dm(alice), "and directly")
        await ear.until(lambda: len(ear.taken) == 2)
        assert sorted(ear.texts) == ["and directly", "for you"]
        assert general.texts == ["between us", f"{discord.bot.mention} for you"]  # nobody is told that we can't read


async def test_who_says_too_much_is_told_once() -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        await ear.connected()
        discord.send_twice = True
        message = await alice.say(general, f"{discord.bot.mention} {'a' * 501}")
        await ear.until(lambda: len(discord.asked("POST", "/channels/*/messages")) == 2)
        await ear.until(lambda: len(general.messages) == 2)
        assert general.messages[-1].reference is message
        assert [ping.user for ping in discord.pings] == [alice]


async def test_who_was_told_why_is_not_told_again_after_a_restart() -> None:
    async with FakeDiscord(nonce_memory=timedelta()) as discord, a_store() as store:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        direct = discord.dm(alice)
        async with listening(discord, store) as ear:
            await ear.caught_up()
            await alice.say(direct, "hello")
            for place in (general, direct):
                await alice.say(place, f"{discord.bot.mention} {'a' * 501}")
            await ear.until(lambda: len(general.messages) == 2 and len(direct.messages) == 3)
        await store.unmark("discord", "", str(direct.id))
        mark = Watermark(workspace="", channel=str(direct.id), thread="", position=direct.messages[0].id)
        await store.mark("discord", [mark], at=datetime.now(UTC))  # as if it had died before it wrote that down
        async with listening(discord, store) as ear:
            await ear.caught_up()
        assert (len(general.messages), len(direct.messages)) == (2, 3)


async def test_where_the_bot_may_not_write_nobody_is_heard() -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        guild = discord.guild("Home")
        news, hall, alice = guild.channel("news"), guild.channel("hall"), discord.user("alice")
        thread = await hall.start_thread("bread")
        news.deny("SEND_MESSAGES", "CREATE_PUBLIC_THREADS")
        hall.deny("SEND_MESSAGES_IN_THREADS")
        await ear.connected()
        with capture_logs() as logs:
            for place in (news, thread, hall):
                await alice.say(place, f"{discord.bot.mention} in {place.name}")
            await ear.until(lambda: ear.taken)
            await ear.until(lambda: len([entry for entry in logs if entry["event"] == "discord.may_not_answer"]) == 2)
        assert ear.texts == ["in hall"]


async def test_who_writes_for_the_first_time_when_there_is_no_room_is_answered_later() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        alice, bob = discord.user("alice"), discord.user("bob")
        for user in (alice, bob):
            discord.dm(user)
        async with listening(discord, store, inbox=lambda clock: Inbox(clock, at_once=1, in_all=1)) as ear:
            await ear.caught_up()
            ear.failures[:] = [StoreUnavailable("full")] * 3
            await alice.say(discord.dm(alice), "first")
            await ear.until(lambda: ear.offered)
            await bob.say(discord.dm(bob), "too much")
            await ear.until(lambda: sorted(ear.texts) == ["first", "too much"])


async def test_a_flood_loses_no_deletion_and_no_edit() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        async with listening(discord, store, inbox=lambda clock: Inbox(clock, per_channel=1)) as ear:
            await ear.caught_up()
            erased = await alice.say(general, f"{discord.bot.mention} secret")
            edited = await alice.say(discord.dm(alice), "before")
            await ear.until(lambda: len(ear.taken) == 2)
            keys = {message.text: message.key for message in ear.taken}
            ear.failures[:] = [StoreUnavailable("full")] * 5
            for number in range(3):
                await alice.say(general, f"{discord.bot.mention} {number}")
            await alice.delete(erased)
            await alice.edit(edited, "after")

            async def applied() -> bool:
                talk, direct = [await store.find(keys[text]) for text in ("secret", "before")]
                assert talk is not None
                assert direct is not None
                said = [message.text for at in (talk, direct) for message in await store.recent(at.id, 9)]
                return "secret" not in said and "after" in said

            await ear.until(applied)
            await ear.until(lambda: len(ear.taken) == 5)


async def test_every_message_of_a_channel_counts_where_operators_chose_so() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        guild = discord.guild("Home")
        office, alice = guild.channel("office"), discord.user("alice")
        rules = {str(office.id): Rules(trigger=Trigger.LISTEN)}
        async with listening(discord, store, rules=lambda workspace, channel: rules.get(channel, Rules())) as ear:
            await ear.connected()
            await alice.say(office, "hello")
            await ear.until(lambda: ear.taken)


async def test_a_thread_that_we_begin_is_followed_from_its_first_message() -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        guild = discord.guild("Home")
        general, alice = guild.channel("general"), discord.user("alice")
        await ear.connected()
        message = await alice.say(general, f"{discord.bot.mention} hello")
        general.open_thread("hello", owner=discord.bot, message=message)
        general.open_thread("of others", owner=alice)

        async def followed() -> bool:
            places = [mark for mark in await ear.kept() if mark[1]]
            return places == [(str(guild.id), str(general.id), str(message.id))]

        await ear.until(followed)


async def test_while_the_store_fails_nothing_is_lost() -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        await ear.connected()
        ear.failures[:] = [StoreUnavailable("full")] * 5
        for number in range(10):
            await alice.say(general, f"{discord.bot.mention} {number}")
        await ear.until(lambda: len(ear.taken) == 10)
        assert ear.texts == [str(number) for number in range(10)]
        assert len(ear.offered) == 15


async def test_what_could_not_be_stored_before_the_end_is_taken_at_the_next_start() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        async with listening(discord, store) as ear:
            await ear.caught_up()
            ear.failures[:] = [StoreUnavailable("full")] * 1000
            waiting = await alice.say(general, f"{discord.bot.mention} kept waiting")
            await alice.say(general, "talk of others")
            await ear.until(lambda: ear.offered)
        assert ear.taken == []
        assert [mark.position < waiting.id for mark in await store.watermarks("discord")] == [True]
        async with listening(discord, store) as ear:
            await ear.until(lambda: ear.texts == ["kept waiting"])


async def test_what_the_client_sends_may_ping_whom_it_replies_to_and_nobody_else() -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        await ear.connected()
        assert ear.clients[0].allowed_mentions is not None
        assert ear.clients[0].allowed_mentions.to_dict() == {"parse": [], "replied_user": True}
