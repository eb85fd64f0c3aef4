"""How a message of ours is found again once its id is lost."""

import pytest

from bot.adapters.discord.surface import DiscordSurface
from bot.chat.protocol import (
    Address,
)
from bot.clock import SystemClock
from tests.adapters.discord.showing import POSTS
from tests.adapters.growing import FINISHED, GROWING

pytestmark = pytest.mark.anyio


async def test_of_two_messages_with_one_text_the_buttons_tell_which_is_which(surface, address, general):
    ids = {nonce: await surface.post(address, "same", nonce=nonce, controls=GROWING) for nonce in ("n1", "n2")}
    assert {nonce: await surface.find(address, nonce=nonce, text="same") for nonce in ids} == ids


async def test_after_a_restart_a_message_without_buttons_is_found_by_what_it_shows(surface, client, address):
    message_id = await surface.post(address, "  part two\n", nonce="n2", first=False)
    restarted = DiscordSurface(client, SystemClock())
    assert await restarted.find(address, nonce="n2", text="  part two\n") == message_id
    assert await restarted.find(address, nonce="n2", text="part") is None


async def test_after_a_restart_a_message_is_found_by_its_buttons_whatever_it_shows(surface, client, address):
    message_id = await surface.post(address, "Hel", nonce="n1", controls=GROWING)
    await surface.edit(address, message_id, "Hello!", controls=FINISHED)
    restarted = DiscordSurface(client, SystemClock())
    assert await restarted.find(address, nonce="n1", text="something else") == message_id
    assert await restarted.find(address, nonce="n2", text="Hello!") is None


async def test_a_message_edited_by_another_process_is_still_found_by_what_it_shows(surface, client, address):
    message_id = await surface.post(address, "Hel", nonce="n1", controls=GROWING)
    for _ in range(2):
        restarted = DiscordSurface(client, SystemClock())
        await restarted.edit(address, message_id, "Hello!", controls=FINISHED)
    assert await restarted.find(address, nonce="n1", text="Hello!") == message_id


async def test_after_a_restart_a_file_is_found_by_its_size(surface, client, address):
    message_id = await surface.post_file(address, "answer.md", "größer", nonce="n9")
    restarted = DiscordSurface(client, SystemClock())
    assert await restarted.find(address, nonce="n9", text="größer") == message_id
    assert await restarted.find(address, nonce="n9", text="greater") is None


async def test_what_others_say_and_what_discord_says_is_not_ours(surface, address, fake, general, alice):
    await alice.say(general, "Hello!")
    await fake.bot.say(general, "Hello!", kind=18)
    assert await surface.find(address, nonce="n1", text="Hello!") is None


async def test_what_was_said_before_the_question_is_not_the_answer(surface, address, alice, general):
    await surface.post(address, "Hello!", nonce="n1")
    later = await alice.say(general, "And?")
    to_later = Address(platform="discord", workspace=address.workspace, channel=address.channel, reply_to=str(later.id))
    assert await surface.find(to_later, nonce="n2", text="Hello!") is None


async def test_an_answer_is_found_behind_a_hundred_messages_of_others(surface, address, alice, general):
    for number in range(101):
        await alice.say(general, f"chatter {number}")
    message_id = await surface.post(address, "Hello!", nonce="n1")
    assert await surface.find(address, nonce="n1", text="Hello!") == message_id


async def test_finding_takes_two_requests_at_most(surface, address, alice, general, fake):
    for number in range(250):
        await alice.say(general, f"chatter {number}")
    assert await surface.find(address, nonce="n1", text="Hello!") is None
    assert len(fake.asked("GET", POSTS)) == 2


async def test_without_a_question_the_newest_messages_are_looked_at(surface, address, alice, general):
    anywhere = Address(platform="discord", workspace=address.workspace, channel=address.channel)
    message_id = await surface.post(anywhere, "Hello!", nonce="n1")
    assert await surface.find(anywhere, nonce="n1", text="Hello!") == message_id
