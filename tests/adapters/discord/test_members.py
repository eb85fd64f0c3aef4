"""Asking Discord what somebody is: only where it did not tell, once a minute at most, and never at the cost of a message."""

import asyncio
from datetime import timedelta

import discord
import pytest

from bot.adapters.discord import members
from bot.adapters.discord.members import FRESH
from bot.chat.callers import UNKNOWN, Kind, Standing
from bot.chat.protocol import DeliveryDelayed
from tests.adapters.discord.listening import Ear, a_store, listening
from tests.fakes.discord import FakeDiscord, Guild, Message, User

pytestmark = pytest.mark.anyio

MEMBERS = "/guilds/*/members/*"
KEPT_OUT = {"message": "403: Forbidden", "code": 0}
"""What something in front of Discord says, which is gone after a while."""


async def read_later(ear: Ear, message: Message) -> discord.Message:
    """Read a message as the catch-up does: without its author's membership."""
    channel = ear.clients[-1].get_channel(message.channel.id)
    assert isinstance(channel, discord.TextChannel)
    return await channel.fetch_message(message.id)


def asked(guild: Guild, user: User) -> int:
    """Count the questions about somebody."""
    return len(guild.discord.asked("GET", f"/guilds/{guild.id}/members/{user.id}"))


async def test_what_is_heard_live_is_known_without_a_question() -> None:
    async with FakeDiscord() as fake, a_store() as store, listening(fake, store) as ear:
        guild, alice = fake.guild("Home"), fake.user("alice")
        role = guild.role("cooks")
        guild.join(alice, [role])
        await ear.caught_up()
        general = guild.channel("general")
        await alice.say(general, f"{fake.bot.mention} hello")
        await ear.until(lambda: ear.heard)
        assert ear.heard[0].standing == Standing(kind=Kind.MEMBER, groups=frozenset({str(role.id)}))
        assert asked(guild, alice) == 0


async def test_everybody_whose_messages_were_missed_is_asked_for_once() -> None:
    async with FakeDiscord() as fake, a_store() as store:
        guild, people = fake.guild("Home"), [fake.user(f"user {number}") for number in range(6)]
        general, role = guild.channel("general"), guild.role("cooks")
        async with listening(fake, store) as ear:
            await ear.caught_up()
        for number in range(18):
            guild.join(people[number % 6], [role])
            await people[number % 6].say(general, f"{fake.bot.mention} {number}")
        async with listening(fake, store) as ear:
            await ear.until(lambda: len(ear.heard) == 18)
            assert {message.standing for message in ear.heard} == {
                Standing(kind=Kind.MEMBER, groups=frozenset({str(role.id)}))
            }
            assert [asked(guild, user) for user in people] == [1] * 6


async def test_who_asks_at_the_same_time_asks_one_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "AT_ONCE", 1)
    async with FakeDiscord() as fake, a_store() as store, listening(fake, store) as ear:
        guild, alice = fake.guild("Home"), fake.user("alice")
        said = await alice.say(guild.channel("general"), "hello")
        await ear.caught_up()
        message = await read_later(ear, said)
        told = await asyncio.gather(*(ear.members.standing(message) for _ in range(5)))
        assert {standing.kind for standing in told} == {Kind.MEMBER}
        assert asked(guild, alice) == 1


async def test_an_answer_is_good_for_a_minute() -> None:
    async with FakeDiscord() as fake, a_store() as store, listening(fake, store) as ear:
        guild, alice = fake.guild("Home"), fake.user("alice")
        said = await alice.say(guild.channel("general"), "hello")
        await ear.caught_up()
        message = await read_later(ear, said)
        assert (await ear.members.standing(message)).groups == frozenset()
        role = guild.role("cooks")
        guild.join(alice, [role])
        await ear.clock.advance(FRESH - timedelta(seconds=1))
        assert (await ear.members.standing(message)).groups == frozenset()
        await ear.clock.advance(timedelta(seconds=1))
        assert (await ear.members.standing(message)).groups == {str(role.id)}
        assert asked(guild, alice) == 2


async def test_only_so_many_people_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "REMEMBERED", 1)
    async with FakeDiscord() as fake, a_store() as store, listening(fake, store) as ear:
        guild, alice, bob = fake.guild("Home"), fake.user("alice"), fake.user("bob")
        general = guild.channel("general")
        said = [await user.say(general, "hello") for user in (alice, bob, alice)]
        await ear.caught_up()
        for message in said:
            await ear.members.standing(await read_later(ear, message))
        assert (asked(guild, alice), asked(guild, bob)) == (2, 1)


async def test_who_has_left_is_external() -> None:
    async with FakeDiscord() as fake, a_store() as store, listening(fake, store) as ear:
        guild, alice = fake.guild("Home"), fake.user("alice")
        said = await alice.say(guild.channel("general"), "hello")
        guild.part(alice)
        await ear.caught_up()
        assert await ear.members.standing(await read_later(ear, said)) == Standing(kind=Kind.EXTERNAL)


async def test_whom_discord_does_not_tell_of_is_unknown_and_not_waited_for() -> None:
    async with FakeDiscord() as fake, a_store() as store, listening(fake, store) as ear:
        said = await fake.user("alice").say(fake.guild("Home").channel("general"), "hello")
        await ear.caught_up()
        fake.fail("GET", MEMBERS, status=403, body={"message": "Missing Access", "code": 50001})
        assert await ear.members.standing(await read_later(ear, said)) == UNKNOWN


async def test_a_discord_that_does_not_answer_is_asked_again_and_not_waited_for_without_end() -> None:
    async with FakeDiscord() as fake, a_store() as store, listening(fake, store) as ear:
        said = await fake.user("alice").say(fake.guild("Home").channel("general"), "hello")
        await ear.caught_up()
        message = await read_later(ear, said)
        hanging = fake.hang("GET", MEMBERS)
        asking = asyncio.create_task(ear.members.standing(message))
        await fake.until(lambda: hanging.hits)
        await ear.clock.advance(members.PATIENCE)
        with pytest.raises(DeliveryDelayed):
            await asking
        hanging.release()
        assert (await ear.members.standing(message)).kind is Kind.MEMBER


async def test_a_lookup_that_fails_loses_nothing_and_holds_up_nothing_that_is_said_now() -> None:
    async with FakeDiscord() as fake, a_store() as store:
        guild, alice, bob = fake.guild("Home"), fake.user("alice"), fake.user("bob")
        general, us = guild.channel("general"), fake.bot.mention
        async with listening(fake, store) as ear:
            await ear.caught_up()
        await alice.say(general, f"{us} missed")
        fault = fake.fail("GET", f"/guilds/{guild.id}/members/{alice.id}", status=403, times=10_000, body=KEPT_OUT)
        async with listening(fake, store) as ear:
            await ear.until(lambda: fault.hits)
            await bob.say(general, f"{us} live")
            await ear.until(lambda: ear.texts == ["live"])
            await ear.until(lambda: fault.hits >= 2, step=timedelta(seconds=1))
            assert ear.texts == ["live"]
            assert ear.marks.held
            fault.times = 0
            await ear.until(lambda: ear.texts == ["live", "missed"], step=timedelta(seconds=1))
            await ear.caught_up()


async def test_a_message_tells_the_category_of_its_channel_also_from_a_thread() -> None:
    async with FakeDiscord() as fake, a_store() as store, listening(fake, store) as ear:
        guild, alice = fake.guild("Home"), fake.user("alice")
        kitchen = guild.channel("kitchen", kind="category")
        stove, hall = guild.channel("stove", category=kitchen), guild.channel("hall")
        thread = await stove.start_thread("bread")
        await ear.caught_up()
        for place in (stove, thread, hall, fake.dm(alice)):
            await alice.say(place, f"{fake.bot.mention} in {place.name}")
        await ear.until(lambda: len(ear.heard) == 4)
        told = {message.text: message.category for message in ear.heard}
        assert told == {"in stove": str(kitchen.id), "in bread": str(kitchen.id), "in hall": "", "in alice": ""}
