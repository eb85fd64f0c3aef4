"""Who is notified by what the bot says."""

import discord as library
import pytest

from tests.fakes.discord import FakeDiscord
from tests.fakes_discord.clients import logged_in

pytestmark = pytest.mark.anyio

NOBODY = library.AllowedMentions.none()
Allowed = library.AllowedMentions


@pytest.mark.parametrize(
    ("text", "options", "pinged"),
    [
        ("{alice}", {}, "alice"),
        ("{alice} {bob}", {"allowed_mentions": NOBODY}, ""),
        ("{alice} {bob}", {"allowed_mentions": Allowed(users=[library.Object(0)], everyone=False, roles=False)}, ""),
        ("@everyone", {}, "alice bob carol owner"),
        ("@here", {}, "alice bob carol owner"),
        ("@everyone", {"allowed_mentions": NOBODY}, ""),
        ("@everyone", {"allowed_mentions": Allowed(everyone=False)}, ""),
        ("{helpers}", {}, "carol"),
        ("{helpers}", {"allowed_mentions": Allowed(roles=False)}, ""),
        ("`@everyone {alice}` and ```\n{bob}\n```", {}, ""),
        ("```open {alice}", {}, "alice"),
        ("@everyone", {"mention_author": False}, "alice bob carol owner"),
        ("plain", {"mention_author": True}, "alice"),
        ("plain", {"mention_author": False}, ""),
        ("plain", {}, "alice"),
        ("plain", {"allowed_mentions": NOBODY}, ""),
        ("plain", {"allowed_mentions": Allowed(users=False, roles=False, everyone=False, replied_user=True)}, "alice"),
    ],
)
async def test_a_message_pings_whom_discord_would_ping(text: str, options: dict[str, object], pinged: str) -> None:
    async with FakeDiscord() as discord:
        guild = discord.guild("Home", owner=discord.user("owner"))
        general = guild.channel("general")
        alice, bob, carol = (discord.user(name) for name in ("alice", "bob", "carol"))
        helpers = guild.role("helpers")
        guild.join(bob)
        guild.join(carol, [helpers])
        asked = await alice.say(general, "hello")
        async with logged_in(discord) as client:
            channel = client.get_partial_messageable(general.id, guild_id=guild.id)
            is_reply = text == "plain" or "mention_author" in options
            reference = library.MessageReference(message_id=asked.id, channel_id=general.id) if is_reply else None
            written = text.format(alice=alice.mention, bob=bob.mention, helpers=helpers.mention)
            await channel.send(written, reference=reference, **options)
        assert sorted(ping.user.name for ping in discord.pings) == pinged.split()


async def test_the_bot_needs_permission_to_ping_everyone_or_a_closed_role() -> None:
    async with FakeDiscord() as discord:
        guild = discord.guild("Home")
        general = guild.channel("general")
        closed, open_role = guild.role("closed"), guild.role("open", mentionable=True)
        guild.join(discord.user("alice"), [closed])
        guild.join(discord.user("bob"), [open_role])
        general.deny("MENTION_EVERYONE")
        async with logged_in(discord) as client:
            await client.get_partial_messageable(general.id).send(f"@everyone {closed.mention} {open_role.mention}")
        assert [ping.user.name for ping in discord.pings] == ["bob"]


async def test_edits_notify_nobody_and_a_silent_message_says_that_it_was() -> None:
    async with FakeDiscord() as discord:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        await alice.say(general, "hello")
        async with logged_in(discord) as client:
            sent = await client.get_partial_messageable(general.id).send("thinking", silent=True)
            await sent.edit(content=f"{alice.mention} done")
            assert discord.pings == []
            await client.get_partial_messageable(general.id).send(alice.mention, silent=True)
        assert [(ping.user, ping.message.silent) for ping in discord.pings] == [(alice, True)]


async def test_parse_and_a_list_of_the_same_kind_exclude_each_other() -> None:
    async with FakeDiscord() as discord:
        general = discord.guild("Home").channel("general")
        async with logged_in(discord) as client:
            route = library.http.Route("POST", "/channels/{channel_id}/messages", channel_id=general.id)
            body = {"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}}
            with pytest.raises(library.HTTPException, match="exclusive"):
                await client.http.request(route, json=body)
