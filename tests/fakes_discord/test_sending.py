"""What Discord takes, what it refuses, and what it makes of a nonce."""

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta

import discord as library
import pytest

from tests.fakes.discord import Channel, FakeDiscord
from tests.fakes.discord.snowflakes import time_of
from tests.fakes_discord.clients import logged_in

pytestmark = pytest.mark.anyio


async def code_of(call: Awaitable[object]) -> tuple[int, int]:
    """Give the status and the code with which a call is refused."""
    with pytest.raises(library.HTTPException) as refused:
        await call
    return refused.value.status, refused.value.code


def body_of(**fields: object) -> dict[str, object]:
    return fields


def post(client: library.Client, channel: Channel, **body: object) -> Awaitable[object]:
    route = library.http.Route("POST", "/channels/{channel_id}/messages", channel_id=channel.id)
    return client.http.request(route, json=body)


def button(custom_id: str, label: str = "Go") -> dict[str, object]:
    return {"type": 2, "style": 1, "custom_id": custom_id, "label": label}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (body_of(content="x" * 2001), 50035),
        (body_of(content=""), 50006),
        (body_of(content=" \n "), 50006),
        (body_of(content="x", nonce="n" * 26), 50035),
        (body_of(embeds=[{"description": "x" * 4097}]), 50035),
        (body_of(embeds=[{"description": "x" * 3001}, {"description": "x" * 3000}]), 50035),
        (body_of(content="x", embeds=[{"title": "x"}] * 11), 50035),
        (body_of(content="x", flags=64 | 128), 50035),
        (body_of(content="x", flags=1 << 15, components=[{"type": 10, "content": "x"}]), 50035),
        (body_of(flags=1 << 15, components=[{"type": 10, "content": "x" * 4001}]), 50035),
        (body_of(content="x", components=[{"type": 10, "content": "x"}]), 50035),
        (body_of(content="x", components=[{"type": 1, "components": [button("a"), button("a")]}]), 50035),
        (body_of(content="x", components=[{"type": 1, "components": [button("a" * 101)]}]), 50035),
        (body_of(content="x", message_reference={"message_id": "1"}), 50035),
    ],
)
async def test_discord_refuses_a_bad_body(body: dict[str, object], code: int) -> None:
    async with FakeDiscord() as discord, logged_in(discord) as client:
        general = discord.guild("Home").channel("general")
        assert await code_of(post(client, general, **body)) == (400, code)
        assert general.messages == []


async def test_discord_takes_what_just_fits_and_trims_white_space() -> None:
    async with FakeDiscord() as discord, logged_in(discord) as client:
        general = discord.guild("Home").channel("general")
        await post(client, general, content="😀" * 2000)
        await post(client, general, content="\n  indented \n")
        gone = {"message_id": "1", "fail_if_not_exists": False}
        await post(client, general, content="to nobody", message_reference=gone)
        assert general.texts[1:] == ["indented", "to nobody"]
        assert general.messages[-1].reference is None


async def test_a_nonce_gives_back_the_message_as_it_is_now_and_nothing_when_it_was_deleted() -> None:
    async with FakeDiscord() as discord, logged_in(discord) as client:
        general = discord.guild("Home").channel("general")
        channel = client.get_partial_messageable(general.id)
        first = await channel.send("one", nonce="n-1")
        await first.edit(content="two")
        again = await channel.send("one", nonce="n-1")
        assert (again.id, again.content, again.nonce) == (first.id, "two", "n-1")
        assert general.texts == ["two"]
        assert general.messages[0].history == ["one"]
        assert (await channel.fetch_message(first.id)).nonce is None
        await first.delete()
        assert (await channel.send("one", nonce="n-1")).id != first.id


async def test_a_nonce_is_forgotten_after_a_while_and_belongs_to_its_channel() -> None:
    async with FakeDiscord(nonce_memory=timedelta()) as discord, logged_in(discord) as client:
        general = discord.guild("Home").channel("general")
        channel = client.get_partial_messageable(general.id)
        await channel.send("one", nonce="n-1")
        await discord.until(lambda: datetime.now(UTC) - general.messages[0].sent_at > timedelta(milliseconds=5))
        await channel.send("one", nonce="n-1")
        assert general.texts == ["one", "one"]


async def test_what_is_not_there_or_not_allowed_has_its_code() -> None:
    async with FakeDiscord(writes=40) as discord, logged_in(discord) as client:
        guild, alice = discord.guild("Home"), discord.user("alice")
        general, hidden = guild.channel("general"), guild.channel("hidden")
        said, joined = await alice.say(general, "hello"), await alice.say(general, kind=7)
        channel = client.get_partial_messageable(general.id)
        partial = channel.get_partial_message(said.id)
        assert await code_of(channel.fetch_message(1)) == (404, 10008)
        assert await code_of(client.get_partial_messageable(1).send("x")) == (404, 10003)
        assert await code_of(partial.edit(content="x")) == (403, 50005)
        assert await code_of(partial.delete()) == (403, 50013)
        assert await code_of(channel.get_partial_message(joined.id).reply("x")) == (400, 50035)
        hidden.deny("VIEW_CHANNEL")
        assert await code_of(client.get_partial_messageable(hidden.id).send("x")) == (403, 50001)
        general.deny("READ_MESSAGE_HISTORY")
        assert await code_of(partial.reply("x")) == (403, 160002)
        assert [message async for message in channel.history()] == []
        general.deny("SEND_MESSAGES")
        assert await code_of(channel.send("x")) == (403, 50013)
        general.allow("SEND_MESSAGES")
        await channel.send("x")
        guild.automod.append("darn")
        assert await code_of(channel.send("Darn it")) == (400, 200000)


async def test_a_closed_dm_cannot_be_written_to() -> None:
    async with FakeDiscord() as discord, logged_in(discord) as client:
        alice = discord.user("alice")
        dm = discord.dm(alice)
        await (await client.fetch_user(alice.id)).send("hi")
        alice.takes_dms = False
        assert await code_of(client.get_partial_messageable(dm.id).send("hi")) == (403, 50007)
        assert dm.texts == ["hi"]


async def test_history_is_paged_as_discord_pages_it() -> None:
    async with FakeDiscord() as discord, logged_in(discord) as client:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        long_ago = datetime(2024, 5, 1, 12, tzinfo=UTC)
        old = await alice.say(general, "old", sent_at=long_ago)
        assert time_of(old.id) == long_ago
        for number in range(150):
            await alice.say(general, str(number))
        channel = client.get_partial_messageable(general.id)
        assert [message.content async for message in channel.history(limit=2)] == ["149", "148"]
        everything = [message.content async for message in channel.history(limit=None, after=library.Object(old.id))]
        assert everything == [str(number) for number in range(150)]
        before = [
            message.content async for message in channel.history(limit=1, before=library.Object(general.messages[1].id))
        ]
        assert before == ["old"]
        around = [
            message.content async for message in channel.history(limit=3, around=library.Object(general.messages[5].id))
        ]
        assert sorted(around) == ["3", "4", "5"]
