"""Scripted faults of REST: errors, lost answers, hanging calls."""

import asyncio
from datetime import timedelta

import aiohttp
import discord as library
import pytest

from tests.fakes.discord import FakeDiscord
from tests.fakes_discord.clients import logged_in

pytestmark = pytest.mark.anyio


async def test_a_lost_answer_leaves_the_message_and_a_nonce_finds_it() -> None:
    async with FakeDiscord() as discord, logged_in(discord) as client:
        general = discord.guild("Home").channel("general")
        channel = client.get_partial_messageable(general.id)
        discord.fail("POST", "/channels/*/messages", status=None, after=True)
        with pytest.raises(aiohttp.ClientError):
            await channel.send("once", nonce="n")
        assert general.texts == ["once"]
        assert discord.requests[-1].status == 0
        again = await channel.send("once", nonce="n")
        assert [message.id for message in general.messages] == [again.id]


async def test_a_cut_before_the_effect_leaves_nothing() -> None:
    async with FakeDiscord() as discord, logged_in(discord) as client:
        general = discord.guild("Home").channel("general")
        fault = discord.fail("POST", "/channels/*/messages", status=None)
        with pytest.raises(aiohttp.ClientError):
            await client.get_partial_messageable(general.id).send("x")
        assert (general.messages, fault.hits) == ([], 1)


async def test_discord_py_raises_at_503_and_tries_again_at_502_with_the_same_nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeDiscord() as discord, logged_in(discord) as client:
        general = discord.guild("Home").channel("general")
        channel = client.get_partial_messageable(general.id)
        discord.fail("POST", "/channels/*/messages", status=503)
        with pytest.raises(library.DiscordServerError):
            await channel.send("x")
        discord.fail("POST", "/channels/*/messages", status=502, after=True)
        sleep = asyncio.sleep
        monkeypatch.setattr("discord.http.asyncio.sleep", lambda seconds: sleep(min(seconds, 0.01)))
        await channel.send("once")
        assert general.texts == ["once"]
        first, second = discord.asked("POST", "/channels/*/messages")[-2:]
        assert (first.status, second.status) == (502, 200)
        assert first.body["nonce"] == second.body["nonce"]


async def test_a_hanging_call_goes_on_when_it_is_released() -> None:
    async with FakeDiscord() as discord, logged_in(discord) as client:
        general = discord.guild("Home").channel("general")
        fault = discord.hang("POST", "/channels/*/messages")
        sending = asyncio.create_task(client.get_partial_messageable(general.id).send("late"))
        await discord.until(lambda: fault.hits)
        assert general.messages == []
        fault.release()
        await sending
        assert general.texts == ["late"]


async def test_a_delay_only_delays_and_patterns_match_whole_parts_of_a_path() -> None:
    async with FakeDiscord() as discord, logged_in(discord) as client:
        general = discord.guild("Home").channel("general")
        untouched = discord.fail("PATCH", "/channels/*", times=9)
        slow = discord.fail("PATCH", "/channels/**", status=0, delay=timedelta(milliseconds=30))
        sent = await client.get_partial_messageable(general.id).send("x")
        await sent.edit(content="y")
        assert (untouched.hits, slow.hits, general.texts) == (0, 1, ["y"])


async def test_a_body_can_be_scripted() -> None:
    async with FakeDiscord() as discord, logged_in(discord) as client:
        general = discord.guild("Home").channel("general")
        discord.fail("POST", "/channels/*/messages", status=400, body={"code": 30046, "message": "Too many edits"})
        with pytest.raises(library.HTTPException) as refused:
            await client.get_partial_messageable(general.id).send("x")
        assert refused.value.code == 30046


async def test_closing_the_fake_frees_what_hangs() -> None:
    async with FakeDiscord() as discord, logged_in(discord) as client:
        discord.hang("GET", "/gateway")
        call = asyncio.create_task(client.http.request(library.http.Route("GET", "/gateway")))
        await discord.until(lambda: discord.asked("GET", "/gateway"))
    await asyncio.gather(call, return_exceptions=True)
    assert call.done()
