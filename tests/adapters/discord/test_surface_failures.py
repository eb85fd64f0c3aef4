"""What the surface makes of a Discord that refuses, fails, or is not there."""

import asyncio
from datetime import timedelta

import discord
import pytest

from bot.adapters.discord.surface import DiscordSurface
from bot.chat.protocol import (
    Address,
    DeliveryDelayed,
    DeliveryError,
    MessageGone,
    OutcomeUnknown,
    Unreachable,
)
from bot.chat.words import FORBIDDEN_BY_RULES
from bot.clock import SystemClock
from tests.adapters.discord.showing import ONE, POSTS, answers
from tests.adapters.growing import GROWING

pytestmark = pytest.mark.anyio


async def test_a_channel_that_is_closed_to_the_bot_is_out_of_reach(surface, address, general):
    general.deny("SEND_MESSAGES")
    with pytest.raises(Unreachable, match="permission"):
        await surface.post(address, "Hello!", nonce="n1")
    general.deny("VIEW_CHANNEL")
    with pytest.raises(Unreachable, match="View Channels"):
        await surface.post(address, "Hello!", nonce="n1")


async def test_a_deleted_channel_is_out_of_reach_and_what_stood_there_is_deleted(surface, address, general):
    await general.delete()
    with pytest.raises(Unreachable, match="not there any more"):
        await surface.post(address, "Hello!", nonce="n1")
    await surface.delete(address, "1")


async def test_who_takes_no_direct_messages_is_out_of_reach(surface, fake):
    bob = fake.user("bob")
    dm = Address(platform="discord", workspace="", channel=str(fake.dm(bob).id))
    await surface.post(dm, "Hello!", nonce="n1")
    bob.takes_dms = False
    with pytest.raises(Unreachable, match="direct messages"):
        await surface.post(dm, "Hello?", nonce="n2")


async def test_a_file_needs_a_permission_that_the_error_names(surface, address, general):
    general.deny("ATTACH_FILES")
    with pytest.raises(Unreachable, match="Attach Files"):
        await surface.post_file(address, "answer.md", "long", nonce="n1")


async def test_a_file_beyond_discords_limit_is_not_sent(surface, address, fake):
    with pytest.raises(DeliveryError, match="bytes"):
        await surface.post_file(address, "answer.md", "x" * (10 * 1024 * 1024 + 1), nonce="n1")
    assert fake.asked("POST", POSTS) == []


async def test_a_text_that_automod_blocks_becomes_a_sentence_that_says_so(surface, address, guild, general):
    guild.automod.append("burrito")
    with pytest.raises(Unreachable, match="AutoMod"):
        await surface.post(address, "A burrito.", nonce="n1")
    assert [message.text for message in answers(general)] == [FORBIDDEN_BY_RULES]


async def test_an_answer_that_grows_into_what_automod_blocks_is_replaced(surface, address, guild, general):
    guild.automod.append("burrito")
    message_id = await surface.post(address, "A ", nonce="n1", controls=GROWING)
    with pytest.raises(Unreachable, match="AutoMod"):
        await surface.edit(address, message_id, "A burrito.", controls=GROWING)
    assert [(message.text, message.labels) for message in answers(general)] == [(FORBIDDEN_BY_RULES, [])]


async def test_a_moderators_deletion_is_told_from_a_deleted_channel(surface, address, general):
    message_id = await surface.post(address, "Hello!", nonce="n1")
    general.remove(answers(general)[0])
    with pytest.raises(MessageGone):
        await surface.edit(address, message_id, "Hello, all!")
    await surface.delete(address, message_id)


async def test_a_page_of_cloudflares_in_place_of_an_answer_is_waited_out(surface, address, fake):
    fake.fail("POST", POSTS, status=403, via=False, body="<html>Sorry, you have been blocked</html>")
    with pytest.raises(DeliveryDelayed) as delayed:
        await surface.post(address, "Hello!", nonce="n1")
    assert delayed.value.retry_after == timedelta(seconds=60)


@pytest.mark.parametrize("status", [503, None])
async def test_an_edit_that_fails_is_tried_later(surface, address, fake, status):
    message_id = await surface.post(address, "Hello!", nonce="n1")
    fake.fail("PATCH", ONE, status=status)
    with pytest.raises(DeliveryDelayed):
        await surface.edit(address, message_id, "Hello, all!")


async def test_a_short_429_is_waited_out(surface, address, fake, general):
    fake.fail("POST", POSTS, status=429)
    await surface.post(address, "Hello!", nonce="n1")
    assert [message.text for message in answers(general)] == ["Hello!"]


async def test_a_long_429_is_handed_on(surface, address, fake):
    fake.fail("POST", POSTS, status=429, body={"message": "slow mode", "retry_after": 90.5, "global": False})
    with pytest.raises(DeliveryDelayed) as delayed:
        await surface.post(address, "Hello!", nonce="n1")
    assert delayed.value.retry_after == timedelta(seconds=90.5)


async def test_no_answer_makes_us_wait_for_days(surface, address, fake):
    fake.fail("POST", POSTS, status=429, body={"message": "slow mode", "retry_after": 1e300, "global": False})
    with pytest.raises(DeliveryDelayed) as delayed:
        await surface.post(address, "Hello!", nonce="n1")
    assert delayed.value.retry_after == timedelta(hours=1)


async def test_a_ban_by_cloudflare_is_respected_for_a_minute(surface, address, fake):
    fake.fail("POST", POSTS, status=429, via=False)
    with pytest.raises(DeliveryDelayed) as delayed:
        await surface.post(address, "Hello!", nonce="n1")
    assert delayed.value.retry_after == timedelta(seconds=60)


async def test_old_messages_whose_edits_are_used_up_are_edited_later(surface, address, fake):
    message_id = await surface.post(address, "Hello!", nonce="n1")
    used_up = {"message": "Maximum number of edits to messages older than 1 hour reached.", "code": 30046}
    fake.fail("PATCH", ONE, status=429, body=used_up | {"retry_after": 600.0})
    with pytest.raises(DeliveryDelayed) as delayed:
        await surface.edit(address, message_id, "Hello, all!")
    assert delayed.value.retry_after == timedelta(minutes=10)


@pytest.mark.parametrize("body", [{"message": "slow down"}, ["slow down"]], ids=str)
async def test_a_429_that_names_no_wait_is_no_crash(surface, address, fake, body):
    message_id = await surface.post(address, "Hello!", nonce="n1")
    fake.fail("POST", POSTS, status=429, body=body)
    with pytest.raises(OutcomeUnknown):
        await surface.post(address, "more", nonce="n2")
    fake.fail("PATCH", ONE, status=429, body=body)
    with pytest.raises(DeliveryDelayed):
        await surface.edit(address, message_id, "Hello, all!")


async def test_a_token_that_is_being_changed_delays(surface, address, fake):
    fake.token = "another"
    with pytest.raises(DeliveryDelayed, match="token"):
        await surface.post(address, "Hello!", nonce="n1")


async def test_a_refusal_that_is_our_fault_names_its_code_and_nothing_of_the_text(surface, address):
    with pytest.raises(DeliveryError, match="50035") as refused:
        await surface.post(address, "secret" * 400, nonce="n1")
    assert type(refused.value) is DeliveryError
    assert "secret" not in str(refused.value)


async def test_a_call_waits_for_a_login_that_is_under_way(client, address, general):
    surface = DiscordSurface(None, SystemClock())
    posting = asyncio.create_task(surface.post(address, "Hello!", nonce="n1"))
    await asyncio.sleep(0)
    assert not posting.done()
    surface.use(client)
    assert await posting == str(answers(general)[0].id)


async def test_between_two_connections_everything_is_delayed(client, address, fake, general, monkeypatch):
    monkeypatch.setattr("bot.adapters.discord.rest.LOGIN", timedelta(milliseconds=20))
    surface = DiscordSurface(None, SystemClock())
    with pytest.raises(DeliveryDelayed):
        await surface.post(address, "Hello!", nonce="n1")
    surface.use(discord.Client(intents=discord.Intents.none()))
    with pytest.raises(DeliveryDelayed):
        await surface.post(address, "Hello!", nonce="n1")
    surface.use(client)
    await surface.post(address, "Hello!", nonce="n1")
    await client.close()
    with pytest.raises(DeliveryDelayed):
        await surface.edit(address, str(answers(general)[0].id), "Hello, all!")
