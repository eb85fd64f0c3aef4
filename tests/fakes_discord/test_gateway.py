"""Sessions: what is replayed, what is lost, and how discord.py comes back."""

import asyncio
import json

import aiohttp
import discord as library
import pytest

from tests.fakes.discord import FakeDiscord, pointed_at
from tests.fakes_discord.clients import INTENTS, UNPRIVILEGED, Listener, running

pytestmark = pytest.mark.anyio


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let discord.py not wait before it connects or identifies again."""

    async def at_once(*_: object, **__: object) -> None:
        return None

    monkeypatch.setattr(library.Client, "before_identify_hook", at_once)
    monkeypatch.setattr("discord.client.ExponentialBackoff.delay", lambda _: 0.01)


async def identify(socket: aiohttp.ClientWebSocketResponse, discord: FakeDiscord, **change: object) -> None:
    """Identify without a library."""
    assert json.loads((await socket.receive()).data)["op"] == 10
    good = {"token": discord.token, "intents": UNPRIVILEGED.value, "properties": {}}
    await socket.send_json({"op": 2, "d": good | change})


async def test_the_guilds_come_after_ready_with_their_channels_and_active_threads() -> None:
    async with FakeDiscord() as discord:
        guild = discord.guild("Home")
        general, alice = guild.channel("general"), discord.user("alice")
        said = await alice.say(general, "hello")
        thread = await general.thread_from(said, "about it")
        put_away = await general.start_thread("old")
        await put_away.archive()
        async with running(discord) as client:
            seen = client.get_guild(guild.id)
            assert seen.get_channel(general.id).last_message_id == said.id
            assert [known.id for known in seen.threads] == [thread.id] == [said.id]
            assert seen.self_role.id == guild.bot_role.id
            assert seen.me.guild_permissions.mention_everyone


@pytest.mark.parametrize("code", [4000, 1001, None])
async def test_a_resumed_session_gets_what_it_missed_once_and_in_order(quick: None, code: int | None) -> None:
    async with FakeDiscord() as discord:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        async with running(discord) as client:
            await discord.drop(code)
            for number in range(3):
                await alice.say(general, f"missed {number}")
            await discord.until(lambda: len(client.heard) == 3)
            assert client.heard_texts == ["missed 0", "missed 1", "missed 2"]
            assert (len(discord.resumes), len(discord.identifies)) == (1, 1)
            await discord.until(lambda: "resumed" in client.events)
            assert client.events.count("ready") == 1


async def test_an_invalid_session_identifies_anew_and_what_it_missed_is_lost(quick: None) -> None:
    async with FakeDiscord() as discord:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        async with running(discord) as client:
            await discord.invalidate()
            await alice.say(general, "missed")
            await discord.until(lambda: client.events.count("ready") == 2)
            await alice.say(general, "heard")
            await discord.until(lambda: client.heard)
            assert client.heard_texts == ["heard"]
            assert (len(discord.resumes), len(discord.identifies)) == (0, 2)


async def test_opcode_7_and_a_resumable_opcode_9_lead_to_a_resume(quick: None) -> None:
    async with FakeDiscord() as discord, running(discord) as client:
        await discord.reconnect()
        await discord.until(lambda: client.events.count("resumed") == 1)
        await discord.invalidate(resumable=True)
        await discord.until(lambda: client.events.count("resumed") == 2)
        assert len(discord.identifies) == 1


@pytest.mark.parametrize(("code", "left"), [(1000, 0), (1001, 0), (4000, 1)])
async def test_a_client_that_closes_with_1000_ends_its_session(code: int, left: int) -> None:
    async with FakeDiscord() as discord, aiohttp.ClientSession() as session:
        async with session.ws_connect(discord.gateway_url) as socket:
            await identify(socket, discord)
            await discord.until(lambda: discord.gateway.connected)
            await socket.close(code=code)
        await discord.until(lambda: not discord.gateway.connected)
        assert len(discord.gateway.sessions) == left


async def test_discord_py_says_4000_when_it_is_closed_so_that_its_session_lingers() -> None:
    async with FakeDiscord() as discord:
        async with running(discord):
            assert len(discord.gateway.connected) == 1
        await discord.until(lambda: not discord.gateway.connected)
        assert len(discord.gateway.sessions) == 1


async def test_two_sessions_of_one_bot_both_hear_everything() -> None:
    async with FakeDiscord() as discord:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        async with running(discord) as one, running(discord) as two:
            await alice.say(general, "hello")
            await discord.until(lambda: one.heard and two.heard)


async def test_held_events_come_later_and_doubled_ones_twice() -> None:
    async with FakeDiscord() as discord:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        async with running(discord) as client:
            await discord.pause_events()
            discord.send_twice = True
            await alice.say(general, "hello")
            await asyncio.sleep(0.05)
            assert client.heard == []
            await discord.resume_events()
            await discord.until(lambda: client.heard_texts == ["hello", "hello"])


async def test_a_dead_first_connect_kills_discord_py(quick: None) -> None:
    async with FakeDiscord() as discord, running(discord):
        discord.refuse_gateway()
        client = Listener()
        with pointed_at(discord), pytest.raises(AttributeError, match="sequence"):
            await client.start(discord.token)
        await client.close()


async def test_shards_hear_of_their_own_guilds_and_the_first_of_direct_messages(quick: None) -> None:
    async with FakeDiscord(shards=2) as discord:
        alice = discord.user("alice")
        guilds = [discord.guild(f"guild {number}", id=number << 22) for number in (8, 9)]
        channels = [guild.channel("general") for guild in guilds]
        client = library.AutoShardedClient(intents=INTENTS, guild_ready_timeout=0.02, max_messages=None)
        async with running(discord, client):
            assert sorted(identify["shard"] for identify in discord.identifies) == [[0, 2], [1, 2]]
            assert [client.get_guild(guild.id).shard_id for guild in guilds] == [0, 1]
            for place in (*channels, discord.dm(alice)):
                await alice.say(place, "hello")
            sessions = sorted(discord.gateway.sessions.values(), key=lambda session: session.shard)
            heard = [sum("MESSAGE_CREATE" in frame for frame in session.sent) for session in sessions]
            assert heard == [2, 1]


@pytest.mark.parametrize(
    ("change", "code"),
    [({"token": "wrong"}, 4004), ({"intents": 1 << 40}, 4013), ({"intents": 1 << 1}, 4014), ({"shard": [2, 2]}, 4010)],
)
async def test_a_bad_identify_is_answered_by_a_close_code(change: dict[str, object], code: int) -> None:
    async with (
        FakeDiscord() as discord,
        aiohttp.ClientSession() as session,
        session.ws_connect(discord.gateway_url) as socket,
    ):
        await identify(socket, discord, **change)
        await socket.receive()
        assert socket.close_code == code


async def test_guilds_and_channels_come_and_go() -> None:
    async with FakeDiscord() as discord, running(discord) as client:
        guild = discord.guild("Later")
        general = guild.channel("general")
        await discord.until(lambda: client.get_channel(general.id))
        await guild.outage()
        await discord.until(lambda: client.get_guild(guild.id).unavailable)
        await guild.recover()
        await discord.until(lambda: not client.get_guild(guild.id).unavailable)
        thread = await general.start_thread("aside")
        await discord.until(lambda: client.get_channel(thread.id))
        await thread.delete()
        await discord.until(lambda: not client.get_channel(thread.id))
        await general.delete()
        await discord.until(lambda: not client.get_channel(general.id))
        await guild.leave()
        await discord.until(lambda: not client.get_guild(guild.id))
