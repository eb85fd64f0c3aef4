"""A write that waits inside discord.py is not sent once the turn is somebody else's."""

import pytest

from bot.adapters.discord.client import RestClient
from bot.adapters.discord.surface import DiscordSurface
from bot.chat.fence import fenced
from bot.clock import SystemClock
from store import LeaseLost
from tests.adapters.discord.showing import ONE, POSTS, answers

pytestmark = pytest.mark.anyio


async def test_what_was_refused_and_waits_is_not_repeated_when_the_lease_is_over(fake, address, general):
    client = RestClient()
    async with client:
        await client.login(fake.token)
        surface = DiscordSurface(client, SystemClock(), api_base_url=fake.api_url)
        message_id = await surface.post(address, "Half", nonce="n1")
        fake.fail("PATCH", ONE, status=429)

        def still_ours() -> None:
            if fake.asked("PATCH", ONE):
                raise LeaseLost("somebody else's by now")

        with fenced(still_ours), pytest.raises(LeaseLost):
            await surface.edit(address, message_id, "Half of it")
        assert [message.text for message in answers(general)] == ["Half"]
        assert len(fake.asked("PATCH", ONE)) == 1
        await surface.edit(address, message_id, "The whole")  # and nothing is left closed behind it
        assert [message.text for message in answers(general)] == ["The whole"]
        assert len(fake.asked("POST", POSTS)) == 1
