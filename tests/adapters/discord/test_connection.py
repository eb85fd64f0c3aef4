"""How the connection is begun, kept and given up."""

import asyncio
import itertools
import logging
from contextlib import suppress
from datetime import timedelta

import pytest
from discord import HTTPException
from discord.http import Route
from structlog.testing import capture_logs

from bot.adapters.discord import client as client_module
from bot.adapters.discord.connection import OneLine
from bot.adapters.protocol import PlatformRefused
from tests.adapters.discord.listening import a_store, listening
from tests.fakes.discord import FakeDiscord

pytestmark = pytest.mark.anyio


async def test_a_dropped_connection_is_resumed_and_loses_and_doubles_nothing() -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        await ear.connected()
        await alice.say(general, f"{discord.bot.mention} before")
        await discord.drop(4000)
        await alice.say(general, f"{discord.bot.mention} meanwhile")
        await ear.until(lambda: discord.resumes)
        await alice.say(general, f"{discord.bot.mention} after")
        await ear.until(lambda: len(ear.taken) == 3)
        assert ear.texts == ["before", "meanwhile", "after"]
        assert len(discord.identifies) == 1
        assert len(ear.clients) == 1


async def test_a_gateway_that_was_away_for_long_is_tried_again_twice_a_minute() -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        await ear.connected()
        lost = ear.clients[0].get_shard(0)
        assert lost is not None
        pauses = [lost._parent._backoff.delay() for _ in range(100)]  # what the library would wait, try after try
        assert 16 < max(pauses) < 33


async def test_an_invalid_session_begins_anew_and_what_was_missed_is_read() -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        await ear.caught_up()
        await alice.say(general, f"{discord.bot.mention} before")
        await ear.until(lambda: ear.taken)
        await discord.invalidate()
        await alice.say(general, f"{discord.bot.mention} meanwhile")  # no session hears it
        await ear.until(lambda: len(discord.identifies) == 2)
        await alice.say(general, f"{discord.bot.mention} after")
        await ear.until(lambda: len(ear.taken) == 3)
        assert sorted(ear.texts) == ["after", "before", "meanwhile"]
        assert len(ear.offered) >= 3
        await ear.caught_up()
        assert len(ear.taken) == 3
        assert len(ear.clients) == 1


async def test_the_first_connection_may_fail() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        discord.refuse_gateway(1)
        async with listening(discord, store) as ear:
            await ear.until(lambda: len(ear.clients) == 2)
            assert ear.clients[0].is_closed()
            await ear.connected()
            await alice.say(general, f"{discord.bot.mention} hello")
            await ear.until(lambda: ear.taken)
            assert len(discord.identifies) == 1


async def test_a_login_that_fails_is_tried_again_with_growing_pauses() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        discord.fail("GET", "/users/@me", status=403, times=4)
        with capture_logs() as logs:
            async with listening(discord, store) as ear:
                await ear.connected()
        pauses = [entry["seconds"] for entry in logs if entry["event"] == "discord.reconnecting"]
        assert len(pauses) == 4
        assert all(later > 1.3 * earlier for earlier, later in itertools.pairwise(pauses))
        assert all(client.is_closed() for client in ear.clients)


async def test_a_gateway_that_discord_does_not_name_is_asked_for_again() -> None:
    async with FakeDiscord() as discord, a_store() as store:
        discord.fail("GET", "/gateway/bot", status=403)
        async with listening(discord, store) as ear:
            await ear.connected()
            assert len(ear.clients) == 2


async def test_a_wrong_token_is_refused_with_its_name_and_what_to_do() -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store, token="wrong") as ear:
        with pytest.raises(PlatformRefused, match=r"DISCORD_TOKEN.*Reset Token"):
            await ear.until(lambda: False)


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (4004, "DISCORD_TOKEN"),
        (4010, "report"),
        (4011, "start Parley again"),
        (4012, "update Parley"),
        (4013, "update Parley"),
        (4014, "Message Content Intent"),
    ],
)
async def test_a_connection_that_is_closed_for_good_ends_with_what_to_do(code: int, remedy: str) -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        await ear.connected()
        await discord.drop(code)
        with pytest.raises(PlatformRefused, match=remedy):
            await ear.until(lambda: False)
        assert len(discord.identifies) == 1


async def test_an_intent_that_is_not_granted_is_named_with_where_to_switch_it_on() -> None:
    async with FakeDiscord(message_content=False) as discord, a_store() as store, listening(discord, store) as ear:
        with pytest.raises(PlatformRefused, match=r"Privileged Gateway Intents.*DISCORD_MESSAGE_CONTENT=off"):
            await ear.until(lambda: False)


async def test_the_last_session_starts_of_the_day_are_left_alone() -> None:
    async with FakeDiscord(identify_quota=5) as discord, a_store() as store:
        with capture_logs() as logs:
            async with listening(discord, store) as ear:
                await ear.until(lambda: any(entry["event"] == "discord.sessions_spent" for entry in logs))
                assert discord.identifies == []
                discord.identify_quota = 1000
                await ear.clock.advance(timedelta(days=1))
                await ear.connected()
        assert len(discord.identifies) == 1
        assert [entry["event"] for entry in logs].count("discord.identified") == 1


async def test_sessions_that_are_refused_one_after_another_are_begun_more_and_more_slowly() -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        begun = []
        for times in range(1, 7):
            await ear.until(lambda times=times: len(discord.identifies) == times and discord.gateway.connected)
            begun.append(ear.clock.monotonic().total_seconds())
            await discord.invalidate()
        pauses = [later - earlier for earlier, later in itertools.pairwise(begun)]
        assert [round(pause / 5) for pause in pauses] == [1, 2, 4, 6, 6]
        assert len(ear.clients) == 1


async def test_refusals_of_every_kind_are_counted() -> None:
    async with FakeDiscord(window=timedelta(milliseconds=50)) as discord, a_store() as store:
        with capture_logs() as logs:
            async with listening(discord, store) as ear:
                await ear.connected()
                client = ear.clients[0]
                for status in (401, 403, 404, 429):
                    discord.fail("GET", "/users/@me", status=status)
                    with suppress(HTTPException):
                        await client.http.request(Route("GET", "/users/@me"))
        assert [entry["status"] for entry in logs if entry["event"] == "discord.refused"] == ["401", "403", "429"]


async def test_a_global_limit_is_over_even_when_nobody_waited_for_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "LONGEST_RATE_LIMIT", 1.0)
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        await ear.connected()
        me = Route("GET", "/users/@me")
        discord.fail("GET", "/users/@me", status=429, body={"message": "too much", "retry_after": 5.0, "global": True})
        cancelled = asyncio.create_task(ear.clients[0].http.request(me))
        await discord.until(lambda: not ear.clients[0].http._global_over.is_set())
        cancelled.cancel()
        await asyncio.wait([cancelled])
        assert (await asyncio.wait_for(ear.clients[0].http.request(me), 30))["id"] == str(discord.bot.id)


async def test_a_shard_that_does_not_come_back_is_replaced_after_five_minutes() -> None:
    async with FakeDiscord() as discord, a_store() as store, listening(discord, store) as ear:
        general, alice = discord.guild("Home").channel("general"), discord.user("alice")
        await ear.connected()
        discord.refuse_gateway(100)  # the library's first pause is anything from 0 to 2 s, in real time
        await discord.drop(4000)
        await ear.until(lambda: ear.clients[0].down_for)
        await ear.clock.advance(timedelta(minutes=6))
        await ear.until(lambda: len(ear.clients) >= 2)
        assert ear.clients[0].is_closed()
        discord.refuse_gateway(0)
        await ear.connected()
        await alice.say(general, f"{discord.bot.mention} hello")
        await ear.until(lambda: ear.taken)


async def test_the_library_s_tracebacks_become_one_line() -> None:
    record = logging.LogRecord("discord.shard", logging.ERROR, "", 0, "Attempting a reconnect in %.2fs", (1.5,), None)
    record.exc_info = (ConnectionResetError, ConnectionResetError("secret"), None)
    assert OneLine().filter(record)
    assert record.getMessage() == "Attempting a reconnect in 1.50s (ConnectionResetError)"
    assert record.exc_info is None
