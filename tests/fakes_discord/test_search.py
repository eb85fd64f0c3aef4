"""The search over a guild."""

from typing import Any

import discord as library
import pytest

from tests.fakes.discord import FakeDiscord, Guild
from tests.fakes_discord.clients import logged_in
from tests.fakes_discord.test_sending import code_of

pytestmark = pytest.mark.anyio


async def search(client: library.Client, guild: Guild, **params: Any) -> Any:
    route = library.http.Route("GET", "/guilds/{guild_id}/messages/search", guild_id=guild.id)
    return await client.http.request(route, params={name: str(value) for name, value in params.items()})


async def test_mentions_are_found_by_pages_newest_first_where_the_bot_may_read() -> None:
    async with FakeDiscord() as discord, logged_in(discord) as client:
        guild, alice = discord.guild("Home"), discord.user("alice")
        general, hidden = guild.channel("general"), guild.channel("hidden")
        hidden.deny("VIEW_CHANNEL")
        before = await alice.say(general, f"{discord.bot.mention} before")
        for number in range(30):
            await alice.say(general, f"{discord.bot.mention} {number}")
            await alice.say(general, "other")
        await alice.say(hidden, f"{discord.bot.mention} hidden")
        wanted = {"mentions": discord.bot.id, "min_id": before.id}
        first = await search(client, guild, **wanted)
        rest = await search(client, guild, offset=25, **wanted)
        assert first["total_results"] == 30
        found = [message["content"].split()[1] for group in first["messages"] + rest["messages"] for message in group]
        assert found == [str(number) for number in reversed(range(30))]


async def test_replies_to_the_bot_are_found_in_threads_too() -> None:
    async with FakeDiscord() as discord, logged_in(discord) as client:
        guild, alice = discord.guild("Home"), discord.user("alice")
        thread = await guild.channel("general").start_thread("aside")
        await client.get_partial_messageable(thread.id).send("I said")
        answer = await alice.say(thread, "really?", reply_to=thread.messages[-1], ping_reply=False)
        found = await search(client, guild, replied_to_user_id=discord.bot.id)
        assert [[message["id"] for message in group] for group in found["messages"]] == [[str(answer.id)]]
        assert [seen["id"] for seen in found["threads"]] == [str(thread.id)]


async def test_an_index_that_is_not_ready_answers_202_which_discord_py_takes_for_success() -> None:
    async with FakeDiscord() as discord, logged_in(discord) as client:
        guild = discord.guild("Home")
        discord.indexing = 1
        assert (await search(client, guild))["code"] == 110000
        assert discord.requests[-1].status == 202
        assert (await search(client, guild))["messages"] == []


async def test_search_needs_the_intent_and_the_feature() -> None:
    async with FakeDiscord(message_content=False) as discord, logged_in(discord) as client:
        assert await code_of(search(client, discord.guild("Home"))) == (403, 50001)
        discord.search = False
        assert await code_of(search(client, discord.guild("Home"))) == (404, 0)
