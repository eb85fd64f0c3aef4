"""A message is posted once, whatever becomes of the request, and no request takes for ever."""

import asyncio
from datetime import timedelta

import pytest

from bot.adapters.discord.surface import DiscordSurface
from bot.chat.protocol import (
    Address,
    DeliveryDelayed,
    DeliveryError,
    OutcomeUnknown,
)
from bot.clock import SystemClock
from tests.adapters.discord.pointing import logged_in
from tests.adapters.discord.showing import ONE, POSTS, answers, hurry
from tests.adapters.growing import GROWING
from tests.fakes.clock import FakeClock
from tests.fakes.discord import FakeDiscord, pointed_at

pytestmark = pytest.mark.anyio


async def test_a_nonce_whose_message_was_deleted_is_used_up_and_the_next_one_is_tried(surface, address, fake, general):
    unknown = {"message": "Unknown Message", "code": 10008}
    fake.fail("POST", POSTS, status=404, body=unknown)  # as Discord does for a few minutes
    await surface.post(address, "again", nonce="n1")
    await surface.post(address, "again", nonce="n1")
    tried = [request.body["nonce"] for request in fake.asked("POST", POSTS)]
    assert tried[0] == tried[2] == "n1"
    assert tried[1] != "n1"
    assert len(tried[1]) <= 25


async def test_a_nonce_that_is_refused_for_ever_ends(surface, address, fake):
    fake.fail("POST", POSTS, status=404, times=99, body={"message": "Unknown Message", "code": 10008})
    with pytest.raises(DeliveryError):
        await surface.post(address, "again", nonce="n1")


@pytest.mark.parametrize("status", [502, None])
async def test_a_post_whose_answer_is_lost_may_be_there_and_is_found(surface, address, fake, general, status, monkeypatch):
    hurry(monkeypatch)
    fake.fail("POST", POSTS, status=status, times=5, after=True)
    with pytest.raises(OutcomeUnknown):
        await surface.post(address, "Hello!", nonce="n1", controls=GROWING)
    [message] = answers(general)
    assert await surface.find(address, nonce="n1", text="later text") == str(message.id)


async def test_a_503_in_answer_to_a_post_leaves_it_open_whether_it_is_there(surface, address, fake):
    fake.fail("POST", POSTS, status=503)
    with pytest.raises(OutcomeUnknown):
        await surface.post(address, "Hello!", nonce="n1")


async def test_an_answer_that_is_none_leaves_it_open_whether_the_message_is_there(surface, address, fake):
    fake.fail("POST", POSTS, status=200, body={"hello": "I am your hotel's login page"})
    with pytest.raises(OutcomeUnknown):
        await surface.post(address, "Hello!", nonce="n1")


async def test_a_502_is_tried_again_with_the_same_nonce(surface, address, fake, general, monkeypatch):
    hurry(monkeypatch)
    fake.fail("POST", POSTS, status=502, after=True)
    await surface.post(address, "Hello!", nonce="n1")
    assert [message.text for message in answers(general)] == ["Hello!"]


async def test_a_silent_discord_is_not_waited_for(surface, address, fake, monkeypatch):
    monkeypatch.setattr("bot.adapters.discord.rest.SILENCE", timedelta(milliseconds=50))
    message_id = await surface.post(address, "Hello!", nonce="n1")
    hanging = [fake.hang("POST", POSTS), fake.hang("PATCH", ONE)]
    with pytest.raises(OutcomeUnknown):
        await surface.post(address, "more", nonce="n2")
    with pytest.raises(DeliveryDelayed):
        await surface.edit(address, message_id, "Hello, all!")
    for fault in hanging:
        fault.release()


async def test_a_post_that_uses_up_the_budget_succeeds_though_discord_py_sleeps_in_it():
    async with FakeDiscord(window=timedelta(milliseconds=200), writes=1) as fake:
        with pointed_at(fake):
            general = fake.guild("Home").channel("general")
            place = Address(platform="discord", workspace="", channel=str(general.id))
            async with logged_in(fake) as client:
                surface = DiscordSurface(client, SystemClock())
                for number in range(3):
                    await surface.post(place, f"text {number}", nonce=f"n{number}")
            assert general.texts == ["text 0", "text 1", "text 2"]
            assert fake.refused == []


async def test_no_call_takes_longer_than_its_limit(client, address, fake):
    clock = FakeClock()
    surface = DiscordSurface(client, clock)
    hanging = fake.hang("POST", POSTS)
    posting = asyncio.create_task(surface.post(address, "Hello!", nonce="n1"))
    await fake.until(lambda: hanging.hits)
    await clock.advance(timedelta(seconds=39))
    assert not posting.done()
    await clock.advance(timedelta(seconds=1))
    with pytest.raises(OutcomeUnknown):
        await posting


async def test_a_sign_of_work_is_given_up_soon(client, address, fake):
    clock = FakeClock()
    surface = DiscordSurface(client, clock)
    hanging = fake.hang("POST", "/channels/*/typing")
    working = asyncio.create_task(surface.working(address))
    await fake.until(lambda: hanging.hits)
    await clock.advance(timedelta(seconds=5))
    with pytest.raises(DeliveryDelayed):
        await working
