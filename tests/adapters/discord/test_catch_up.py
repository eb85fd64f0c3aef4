"""What was said while the bot was away, and how it is read: the bot is started, stopped and started again on one store."""

from datetime import UTC, datetime, timedelta

import pytest
from discord.utils import time_snowflake
from structlog.testing import capture_logs

from bot.adapters.discord import catch_up
from bot.adapters.discord.inbox import Inbox
from bot.chat.policy import Placement, Rules, Trigger
from store import Store, Watermark
from tests.adapters.discord.listening import a_store, listening
from tests.fakes.discord import FakeDiscord

OVERLAP = timedelta(seconds=5)
"""What a guild's mark stays behind."""

pytestmark = pytest.mark.anyio
SEARCH = "/guilds/*/messages/search"


def ago(hours: float) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)


async def test_a_fresh_install_replays_nothing() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        await alice.say(general, f"{discord.bot.mention} is anybody there?")
        async with listening(discord, store) as ear:
            await ear.caught_up()
            await alice.say(general, f"{discord.bot.mention} hello")
            await ear.until(lambda: ear.taken)
            assert ear.texts == ["hello"]
            assert discord.asked("GET", SEARCH) == []


async def test_a_server_that_is_newly_joined_is_not_read_back() -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        await ear.connected()
        general = discord.guild("Home").channel("general")
        await discord.user("alice").say(general, f"{discord.bot.mention} hello")
        await ear.until(lambda: ear.taken)
        assert discord.asked("GET", SEARCH) == []


async def test_what_was_said_between_stop_and_start_is_answered_once_each() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        guild = discord.guild("Home")
        guild.bot_role.mentionable = True
        alice, bob = discord.user("alice"), discord.user("bob")
        general, us = guild.channel("general"), discord.bot.mention
        direct = discord.dm(alice)
        thread = await general.start_thread("bread")
        async with listening(discord, store) as ear:
            await ear.caught_up()
            for place in (general, thread, direct):
                await alice.say(place, f"{us} before in {place.name}")
            await ear.until(lambda: len(ear.taken) == 3)
            ours = await discord.bot.say(general, "an answer")
        await bob.say(general, f"{us} a mention")
        await bob.say(general, "a reply", reply_to=ours, ping_reply=False)
        await bob.say(general, f"{guild.bot_role.mention} a role")
        await bob.say(general, "talk of others")
        await bob.say(thread, "in the thread")
        await alice.say(direct, "directly")
        async with listening(discord, store) as ear:
            await ear.caught_up()
            assert len(ear.taken) == 5
            missed = {"a mention", "a role", "in the thread", "directly"}
            assert missed < set(ear.texts)
            assert any("a reply" in text for text in ear.texts)
        async with listening(discord, store) as ear:
            await ear.caught_up()
            assert ear.texts == []


async def test_what_was_missed_is_read_in_its_order() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        discord.guild("Home")
        alice = discord.user("alice")
        direct = discord.dm(alice)
        async with listening(discord, store) as ear:
            await ear.connected()
            await alice.say(direct, "first")
            await ear.until(lambda: ear.taken)
        for number in range(120):  # more than a page
            await alice.say(direct, str(number))
        async with listening(discord, store) as ear:
            await ear.caught_up()
            assert ear.texts == [str(number) for number in range(120)]


async def test_what_is_older_than_six_hours_is_left() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        guild, alice = discord.guild("Home"), discord.user("alice")
        general, direct, us = guild.channel("general"), discord.dm(alice), discord.bot.mention
        async with listening(discord, store) as ear:
            await ear.caught_up()
            await alice.say(direct, "first", sent_at=ago(9))
            await ear.until(lambda: ear.taken)
        await alice.say(direct, "long ago", sent_at=ago(7))
        await alice.say(direct, "lately", sent_at=ago(5))
        await store.unmark("discord", str(guild.id))
        await read_up_to(store, guild.id, ago(9))
        await alice.say(general, f"{us} long ago here", sent_at=ago(7))
        await alice.say(general, f"{us} lately here", sent_at=ago(5))
        async with listening(discord, store) as ear:
            await ear.caught_up()
            assert sorted(ear.texts) == ["lately", "lately here"]


async def test_of_one_channel_so_many_messages_are_read_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catch_up, "MESSAGES", 10)
    async with FakeDiscord() as discord, a_store() as store:
        guild, alice = discord.guild("Home"), discord.user("alice")
        general, direct = guild.channel("general"), discord.dm(alice)
        async with listening(discord, store) as ear:
            await ear.caught_up()
            await alice.say(direct, "first")
            await ear.until(lambda: ear.taken)
        for number in range(12):
            await alice.say(direct, f"direct {number}")
            await alice.say(general, f"{discord.bot.mention} general {number}")
        with capture_logs() as logs:
            async with listening(discord, store) as ear:
                await ear.caught_up()
        assert len([text for text in ear.texts if text.startswith("direct")]) == 10
        assert len([text for text in ear.texts if text.startswith("general")]) == 10
        assert [entry["places_cut"] for entry in logs if entry["event"] == "discord.caught_up"] == [1, 1]


async def test_many_mentions_are_found_page_by_page() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        guild, alice = discord.guild("Home"), discord.user("alice")
        general = guild.channel("general")
        async with listening(discord, store) as ear:
            await ear.caught_up()
        for number in range(60):
            await alice.say(general, f"{discord.bot.mention} {number}")
        async with listening(discord, store) as ear:
            await ear.caught_up()
            assert ear.texts == [str(number) for number in range(60)]


async def test_who_dies_soon_after_a_start_need_not_read_all_of_it_again() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        guild, alice = discord.guild("Home"), discord.user("alice")
        general, thread = guild.channel("general"), await guild.channel("kitchen").start_thread("bread")
        async with listening(discord, store) as ear:
            await ear.caught_up()
            await alice.say(thread, f"{discord.bot.mention} in the thread")
            await ear.until(lambda: ear.taken)
        first = await alice.say(general, f"{discord.bot.mention} one", sent_at=datetime.now(UTC) + timedelta(minutes=1))
        last = await alice.say(general, f"{discord.bot.mention} two", sent_at=datetime.now(UTC) + timedelta(minutes=2))
        ours = await alice.say(thread, "three", sent_at=datetime.now(UTC) + timedelta(minutes=2))
        async with listening(discord, store) as ear:
            await ear.until(lambda: len(ear.taken) == 3)
            assert ear.marks.held, "the search may not know all of it yet"

            async def kept() -> dict[str, int]:
                return {mark.thread: mark.position for mark in await store.watermarks("discord")}

            async def is_kept() -> bool:
                return (await kept())[str(thread.id)] == ours.id

            await ear.until(is_kept)
            assert ear.marks.held, "it had not to wait for that"
            assert first.id < (await kept())[""] < last.id, "what was said shortly before is looked for once more"


async def test_a_search_that_is_not_indexed_yet_is_asked_again() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        async with listening(discord, store) as ear:
            await ear.caught_up()
        discord.indexing = 3
        await alice.say(general, f"{discord.bot.mention} hello")
        async with listening(discord, store) as ear:
            await ear.until(lambda: ear.texts == ["hello"])
            assert discord.indexing == 0


async def test_a_server_without_search_is_read_as_far_as_it_goes() -> None:
    async with FakeDiscord(search=False) as discord, a_store() as store:
        guild, alice = discord.guild("Home"), discord.user("alice")
        thread = await guild.channel("general").start_thread("bread")
        async with listening(discord, store) as ear:
            await ear.caught_up()
            await alice.say(thread, f"{discord.bot.mention} hello")
            await ear.until(lambda: ear.taken)
        await alice.say(thread, "missed")
        async with listening(discord, store) as ear:
            await ear.until(lambda: ear.texts == ["missed"])


async def test_an_archived_thread_is_read_too() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        guild, alice = discord.guild("Home"), discord.user("alice")
        thread = await guild.channel("general").start_thread("bread")
        async with listening(discord, store) as ear:
            await ear.caught_up()
            await alice.say(thread, f"{discord.bot.mention} hello")
            await ear.until(lambda: ear.taken)
        await alice.say(thread, "missed")
        await thread.archive()
        async with listening(discord, store) as ear:
            await ear.until(lambda: ear.texts == ["missed"])
            assert ear.taken[0].key.thread == str(thread.id)


async def test_a_thread_that_we_began_is_read_although_nobody_had_written_in_it() -> None:
    def rules(workspace: str, channel: str) -> Rules:
        return Rules(placement=Placement.THREAD)

    async with FakeDiscord() as discord, a_store() as store:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        async with listening(discord, store, rules=rules) as ear:
            await ear.caught_up()
            message = await alice.say(general, f"{discord.bot.mention} hello")
            await ear.until(lambda: ear.taken)
        thread = general.open_thread("hello", owner=discord.bot, message=message)
        await alice.say(thread, "missed")
        async with listening(discord, store, rules=rules) as ear:
            await ear.caught_up()
            assert ear.texts == ["missed"]


async def test_every_message_of_a_channel_that_listens_is_read() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        guild, alice = discord.guild("Home"), discord.user("alice")
        office, hall = guild.channel("office"), guild.channel("hall")
        thread = await office.start_thread("bread")
        rules = {str(office.id): Rules(trigger=Trigger.LISTEN)}
        async with listening(discord, store) as ear:
            await ear.caught_up()
        for place in (office, hall, thread):
            await alice.say(place, f"said in {place.name}")
        async with listening(discord, store, rules=lambda workspace, channel: rules.get(channel, Rules())) as ear:
            await ear.caught_up()
            assert sorted(ear.texts) == ["said in bread", "said in office"]


async def test_what_can_t_be_read_now_keeps_its_mark_and_is_read_later() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        guild, alice = discord.guild("Home"), discord.user("alice")
        general, us = guild.channel("general"), discord.bot.mention
        async with listening(discord, store) as ear:
            await ear.caught_up()
            await alice.say(general, f"{us} before")
            await ear.until(lambda: ear.taken)
            mark = (await ear.kept())[str(guild.id), "", ""]
        await alice.say(general, f"{us} missed")
        fault = discord.fail("GET", SEARCH, status=503, times=10_000)
        async with listening(discord, store) as ear:
            await ear.connected()
            await alice.say(general, f"{us} live")
            await ear.until(lambda: ear.texts == ["live"])
            await ear.until(lambda: fault.hits >= 2)
            await alice.say(general, f"{us} later", sent_at=datetime.now(UTC) + 2 * OVERLAP)
            await ear.until(lambda: ear.texts == ["live", "later"])
            assert (await ear.kept())[str(guild.id), "", ""] == mark
        fault.times = 0
        async with listening(discord, store) as ear:
            await ear.until(lambda: ear.texts == ["missed"])
            await ear.caught_up()
            await alice.say(general, f"{us} last", sent_at=datetime.now(UTC) + 3 * OVERLAP)
            await ear.until(lambda: ear.texts == ["missed", "last"])
            assert (await ear.kept())[str(guild.id), "", ""] > mark


async def test_a_channel_that_went_meanwhile_is_closed_and_not_read_again() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        guild, alice = discord.guild("Home"), discord.user("alice")
        thread = await guild.channel("general").start_thread("bread")
        async with listening(discord, store) as ear:
            await ear.caught_up()
            await alice.say(thread, f"{discord.bot.mention} hello")
            await ear.until(lambda: ear.taken)
            key = ear.taken[0].key
            assert len(await ear.kept()) == 2
        await thread.delete()
        async with listening(discord, store) as ear:
            await ear.caught_up()

            async def closed() -> bool:
                return await store.find(key) is None

            await ear.until(closed)
            assert list(await ear.kept()) == [(str(guild.id), "", "")]


async def test_a_channel_that_we_may_not_see_any_more_is_not_read_again_but_stays_open() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        guild, alice = discord.guild("Home"), discord.user("alice")
        general = guild.channel("general")
        thread = await general.start_thread("bread")
        async with listening(discord, store) as ear:
            await ear.caught_up()
            await alice.say(thread, f"{discord.bot.mention} hello")
            await ear.until(lambda: ear.taken)
            key = ear.taken[0].key
        await alice.say(thread, "missed")
        general.deny("VIEW_CHANNEL")
        async with listening(discord, store) as ear:
            await ear.caught_up()
            assert ear.texts == []
            assert list(await ear.kept()) == [(str(guild.id), "", "")]
            assert await store.find(key) is not None


async def test_a_server_that_we_left_meanwhile_is_closed() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        guild, alice = discord.guild("Home"), discord.user("alice")
        discord.guild("Other")
        async with listening(discord, store) as ear:
            await ear.caught_up()
            await alice.say(guild.channel("general"), f"{discord.bot.mention} hello")
            await ear.until(lambda: ear.taken)
            key = ear.taken[0].key
        await guild.leave()
        async with listening(discord, store) as ear:

            async def closed() -> bool:
                return await store.find(key) is None

            await ear.until(closed)


async def test_without_the_content_intent_threads_are_read_and_nothing_is_searched() -> None:
    async with FakeDiscord(message_content=False) as discord, a_store() as store:
        discord.guild("Home")
        alice = discord.user("alice")
        direct = discord.dm(alice)
        async with listening(discord, store, content=False) as ear:
            await ear.connected()
            await alice.say(direct, "before")
            await ear.until(lambda: ear.taken)
        await alice.say(direct, "missed")
        async with listening(discord, store, content=False) as ear:
            await ear.until(lambda: ear.texts == ["missed"])
        assert discord.asked("GET", SEARCH) == []


async def test_a_flood_beyond_what_is_kept_in_hand_is_read_afterwards() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        async with listening(discord, store, inbox=lambda clock: Inbox(clock, at_once=1, per_channel=3)) as ear:
            await ear.caught_up()
            for number in range(20):
                await alice.say(general, f"{discord.bot.mention} {number}")
            await ear.until(lambda: len(ear.taken) == 20)
            assert len({message.message_id for message in ear.taken}) == 20


async def test_two_processes_at_once_take_each_message_once() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        async with listening(discord, store) as old, listening(discord, store) as new:
            await old.caught_up()
            await new.caught_up()
            for number in range(10):
                await alice.say(general, f"{discord.bot.mention} {number}")
            await old.until(lambda: len(old.offered) == len(new.offered) == 10)
            await old.until(lambda: len(old.taken) + len(new.taken) >= 10)
            assert len(old.taken) + len(new.taken) == 10


async def read_up_to(store: Store, guild: int, at: datetime) -> None:
    mark = Watermark(workspace=str(guild), channel="", thread="", position=time_snowflake(at))
    await store.mark("discord", [mark], at=datetime.now(UTC))
