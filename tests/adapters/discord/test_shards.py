"""Replicas share what there is to hear: whoever comes and goes, nothing is missed and nothing is answered twice."""

import asyncio
import itertools
from datetime import timedelta

import pytest
import structlog

from bot.adapters.discord import shards
from tests.adapters.discord.pointing import QUICK
from tests.adapters.discord.replicas import Crowd, crowd
from tests.fakes.discord import Channel, FakeDiscord

pytestmark = pytest.mark.anyio

SECOND = timedelta(seconds=1)


def rooms(discord: FakeDiscord) -> list[Channel]:
    """Invite the bot to one server on each shard, which has one channel."""
    return [discord.guild(f"Server {n}", id=(n + discord.shards) << 22).channel("general") for n in range(discord.shards)]


async def test_one_replica_hears_every_shard_and_direct_messages() -> None:
    async with FakeDiscord(window=QUICK, shards=2) as discord, crowd(discord) as people:
        places = [*rooms(discord), discord.dm(discord.user("alice"))]
        one = await people.start()
        await people.until(lambda: one.adapter.ready)
        assert one.adapter.describe() == "discord (2 servers)"
        for place in places[:2]:
            await people.ask(place)
        await places[2].user.say(places[2], "hello")
        await people.answered()
        await people.until(lambda: places[2].texts[-1] == "An answer.")
        assert sorted(identify["shard"] for identify in discord.identifies) == [[0, 2], [1, 2]]
        assert not one.adapter.shared
        await people.stop(one)


async def test_shards_are_spread_evenly_as_replicas_come_and_go() -> None:
    async with FakeDiscord(window=QUICK, shards=4) as discord, crowd(discord) as people:
        places = rooms(discord)
        one = await people.start()
        await people.spread(4)
        await people.start()
        await people.spread(2, 2)
        await people.start()
        await people.spread(1, 1, 2)
        for place in places:
            await people.ask(place)
        await people.answered()
        await people.stop(one)
        await people.spread(2, 2)
        for place in places:
            await people.ask(place)
        await people.answered()


async def test_a_replica_with_nothing_to_hear_stands_by_and_is_ready() -> None:
    async with FakeDiscord(window=QUICK) as discord, crowd(discord) as people:
        (general,) = rooms(discord)
        one = await people.start()
        await people.spread(1)
        other = await people.start()
        await people.until(lambda: other.adapter.ready)
        assert other.adapter.describe() == "discord (standing by)"
        await people.until(lambda: one.adapter.shared)
        await people.ask(general)
        await people.answered()
        await people.spread(0, 1)
        assert len(discord.identifies) == 1


async def test_who_stands_by_answers_what_another_heard() -> None:
    async with FakeDiscord(window=QUICK) as discord, crowd(discord) as people:
        (general,) = rooms(discord)
        hearing = await people.start()
        await people.spread(1)
        standing_by = await people.start()
        await people.until(lambda: standing_by.adapter.ready)
        await hearing.inside.turns.drain(timedelta())
        await people.ask(general)
        await people.answered()
        assert len(standing_by.model.prompts) == 1


async def test_nothing_said_while_a_replica_hands_over_is_lost_or_answered_twice(
    monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    monkeypatch.setattr(shards, "HURRY", 3 * SECOND)  # it hears on for a while after another one does
    async with FakeDiscord(window=QUICK, shards=2) as discord, crowd(discord, database) as people:
        places = rooms(discord)
        old = await people.start()
        await people.spread(2)
        new = await people.start()
        await people.spread(1, 1)
        stopping = old.stop()
        heard_by_both = False
        for place in itertools.cycle(places):
            assert {session.shard[0] for session in discord.gateway.connected} == {0, 1}, "a shard has no session"
            await people.ask(place)
            for _ in range(5):
                heard_by_both = heard_by_both or len(discord.gateway.connected) > len(places)
                await people.pass_time()
            if stopping.done():
                break
        await stopping
        assert heard_by_both
        assert new.sessions == {0, 1}
        for place in places:
            await people.ask(place)
        await people.answered()
        assert len(people.asked) > 10


async def test_what_was_said_while_nobody_heard_is_answered_by_whoever_takes_over() -> None:
    async with FakeDiscord(window=QUICK, shards=2) as discord, crowd(discord) as people:
        places = rooms(discord)
        one = await people.start()
        await people.start()
        await people.spread(1, 1)
        for place in places:
            await people.ask(place)
        await people.answered()
        await settled_marks(people)
        await one.die()
        for place in places:
            await people.ask(place)
        await people.spread(2)
        await people.answered()


async def settled_marks(people: Crowd) -> None:
    """Wait until every server that is heard has a mark: what is said before its first one is looked for by nobody."""
    servers = {str(guild.id) for guild in people.discord.guilds.values()}

    async def kept() -> bool:
        return servers <= {mark.workspace for mark in await people.store.watermarks("discord") if not mark.channel}

    await people.until(kept)


async def test_a_replica_that_was_cut_off_past_its_lease_lets_go_and_gets_a_new_share() -> None:
    async with FakeDiscord(window=QUICK, shards=2) as discord, crowd(discord) as people:
        places = rooms(discord)
        one, other = await people.start(), await people.start()
        await people.spread(1, 1)
        await settled_marks(people)
        one.line.cut = True
        await people.until(lambda: other.sessions == {0, 1})
        assert one.sessions, "what is heard meanwhile waits for the store"
        for place in places:
            await people.ask(place)
        one.line.cut = False
        await people.answered()
        await people.spread(1, 1)
        await people.ask(places[0])
        await people.answered()


async def test_what_a_replica_cannot_hear_for_long_is_heard_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "DEAF", 10 * SECOND)
    async with FakeDiscord(window=QUICK, shards=2) as discord, crowd(discord) as people:
        places = rooms(discord)
        one, other = await people.start(), await people.start()
        await people.spread(1, 1)
        await settled_marks(people)
        plug_in = await one.unplug()
        assert not one.adapter.ready
        for place in places:
            await people.ask(place)
        await people.until(lambda: other.sessions == {0, 1})
        await people.answered()
        plug_in()
        await people.spread(1, 1)
        for place in places:
            await people.ask(place)
        await people.answered()


async def test_where_nobody_hears_everybody_keeps_what_they_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "DEAF", SECOND)
    async with FakeDiscord(window=QUICK, shards=2) as discord, crowd(discord) as people:
        places = rooms(discord)
        replicas = [await people.start(), await people.start()]
        await people.spread(1, 1)
        before = [replica.shards for replica in replicas]
        plug_in = [await replica.unplug() for replica in replicas]
        await people.until(lambda: all(replica.adapter._shards._deaf for replica in replicas))  # type: ignore[union-attr]
        for _ in range(100):
            await people.clock.advance(timedelta(milliseconds=100))
            await asyncio.sleep(0.002)
        assert [replica.shards for replica in replicas] == before
        for plug in plug_in:
            plug()
        await people.spread(1, 1)
        for place in places:
            await people.ask(place)
        await people.answered()


async def test_who_was_cut_off_from_everything_has_time_to_hear_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "DEAF", SECOND)
    async with FakeDiscord(window=QUICK) as discord, crowd(discord) as people:
        (general,) = rooms(discord)
        replicas = [await people.start(), await people.start()]
        await people.spread(0, 1)
        await settled_marks(people)
        plug_in = [await replica.unplug() for replica in replicas]
        for replica in replicas:
            replica.line.cut = True
        with structlog.testing.capture_logs() as logs:
            for _ in range(600):
                await people.clock.advance(timedelta(milliseconds=100))
                await asyncio.sleep(0.001)
            for replica, plug in zip(replicas, plug_in, strict=True):
                replica.line.cut = False
                plug()
            await people.until(lambda: any(replica.shards for replica in replicas))
        assert "discord.reconnecting" in [line["event"] for line in logs]
        assert "discord.deaf" not in [line["event"] for line in logs]
        await people.spread(0, 1)
        await people.ask(general)
        await people.answered()


async def test_who_hears_nothing_any_more_hands_nothing_over() -> None:
    async with FakeDiscord(window=QUICK, shards=2) as discord, crowd(discord) as people:
        rooms(discord)
        one = await people.start()
        await people.start()
        await people.spread(1, 1)
        await people.until(lambda: one.adapter.shared)
        one.serving.cancel()
        await people.until(one.serving.done)
        handing_over = asyncio.create_task(one.adapter.hand_over())
        await people.until(handing_over.done)
        await handing_over


async def test_the_first_replica_s_number_of_shards_holds_until_all_are_gone() -> None:
    async with FakeDiscord(window=QUICK, shards=2) as discord, crowd(discord) as people:
        rooms(discord)
        one = await people.start()
        await people.spread(2)
        discord.shards = 3
        other = await people.start()
        await people.spread(1, 1)
        assert {tuple(identify["shard"]) for identify in discord.identifies} == {(0, 2), (1, 2)}
        await people.stop(one)
        await people.spread(2)
        await people.stop(other)
        await people.start()
        await people.spread(3)
        assert {tuple(identify["shard"]) for identify in discord.identifies[-3:]} == {(0, 3), (1, 3), (2, 3)}


async def test_a_store_that_is_away_ends_no_session_and_what_is_heard_waits_for_it() -> None:
    async with FakeDiscord(window=QUICK) as discord, crowd(discord) as people:
        (general,) = rooms(discord)
        one = await people.start()
        await people.spread(1)
        one.line.cut = True
        await people.ask(general)
        await people.clock.advance(timedelta(minutes=2))
        assert one.sessions == {0}
        await discord.invalidate()
        await people.until(lambda: len(discord.identifies) == 2 and one.sessions == {0})
        one.line.cut = False
        await people.answered()
        assert len(discord.identifies) == 2


async def test_sessions_begin_one_after_another_over_all_replicas() -> None:
    # Time passes at most 50 times as fast as real time, so 5.5 s of it last at least so long.
    async with (
        FakeDiscord(window=QUICK, shards=4, identify_every=timedelta(milliseconds=100)) as discord,
        crowd(discord) as people,
    ):
        rooms(discord)
        await people.start()
        await people.start()
        await people.spread(2, 2)
        assert discord.gateway.hasty == 0
        assert len(discord.identifies) >= 4
