"""Rate limits, as headers and as 429."""

import asyncio
import time
from datetime import timedelta
from types import SimpleNamespace

import aiohttp
import discord as library
import pytest

from tests.fakes.discord import FakeDiscord
from tests.fakes_discord.clients import logged_in

pytestmark = pytest.mark.anyio


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long discord.py slept, each time that it did."""
    sleeps: list[float] = []

    async def noting(seconds: float) -> None:
        if seconds > 0:
            sleeps.append(seconds)
        await asyncio.sleep(seconds)

    monkeypatch.setattr("discord.http.asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": noting}))
    return sleeps


async def test_discord_py_sleeps_in_the_call_that_empties_the_bucket_and_meets_no_429(slept: list[float]) -> None:
    async with FakeDiscord(window=timedelta(seconds=2)) as discord, logged_in(discord) as client:
        general = discord.guild("Home").channel("general")
        message = await client.get_partial_messageable(general.id).send("0")
        began, sleeps = time.monotonic(), []
        for number in range(7):
            await message.edit(content=f"edit {number}")
            sleeps.append(len(slept))
        assert sleeps == [0, 0, 0, 0, 1, 1, 1]
        assert slept[0] <= 2
        assert time.monotonic() - began > 1.9, "to the end of the window"
        assert discord.refused == []
        assert general.messages[0].history[-1] == "edit 5"


async def test_edits_in_one_channel_share_a_bucket_and_other_channels_have_their_own(slept: list[float]) -> None:
    async with FakeDiscord(window=timedelta(seconds=2), writes=2) as discord, logged_in(discord) as client:
        guild = discord.guild("Home")
        places = [guild.channel("one"), guild.channel("two")]
        for place in places:
            await client.get_partial_messageable(place.id).send("0")
        one, two = (client.get_partial_messageable(p.id).get_partial_message(p.messages[0].id) for p in places)
        began = time.monotonic()
        await asyncio.gather(*(one.edit(content=str(n)) for n in range(3)))
        assert len(slept) == 1
        assert time.monotonic() - began > 1.9
        await two.edit(content="free")
        assert len(slept) == 1


async def test_too_many_writes_are_refused_with_a_time_to_wait() -> None:
    async with FakeDiscord(window=timedelta(seconds=30), writes=2) as discord, aiohttp.ClientSession() as session:
        general = discord.guild("Home").channel("general")
        url, headers = f"{discord.api_url}/channels/{general.id}/messages", {"Authorization": f"Bot {discord.token}"}
        began = time.monotonic()
        for remaining in ("1", "0"):
            async with session.post(url, headers=headers, json={"content": "x"}) as response:
                assert response.headers["X-RateLimit-Remaining"] == remaining
                assert response.headers["X-RateLimit-Limit"] == "2"
                assert response.headers["Content-Type"] == "application/json"
        async with session.post(url, headers=headers, json={"content": "x"}) as response:
            assert response.status == 429
            assert response.headers["Via"]
            body = await response.json()
            assert 29.9 - (time.monotonic() - began) < body["retry_after"] <= 30.1
            assert body["global"] is False
        assert [request.path for request in discord.refused] == [f"/channels/{general.id}/messages"]


async def test_there_is_a_limit_for_everything_together() -> None:
    async with FakeDiscord(window=timedelta(seconds=100)) as discord, aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bot {discord.token}"}
        statuses = []
        for _ in range(60):
            async with session.get(f"{discord.api_url}/users/@me", headers=headers) as response:
                statuses.append(response.status)
        assert 429 in statuses
        assert statuses.index(429) == 50


async def test_a_429_without_via_is_taken_for_a_ban_by_discord_py() -> None:
    async with FakeDiscord() as discord, logged_in(discord) as client:
        general = discord.guild("Home").channel("general")
        discord.fail("POST", "/channels/*/messages", status=429, via=False)
        with pytest.raises(library.HTTPException) as refused:
            await client.get_partial_messageable(general.id).send("x")
        assert refused.value.status == 429
        discord.fail("POST", "/channels/*/messages", status=429)
        await client.get_partial_messageable(general.id).send("x")
        assert general.texts == ["x"]
