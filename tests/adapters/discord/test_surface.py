"""The Discord surface against a Discord on the wire: what people see, and what they do not."""

import discord
import pytest

from bot.chat.protocol import (
    Address,
    FileOffer,
    Surface,
)
from tests.adapters.discord.showing import EVERYONE, answers, offer
from tests.adapters.growing import FINISHED, GROWING
from tests.contracts.surface_laws import SurfaceLaws
from tests.fakes.discord import Channel, File, Message, User

pytestmark = pytest.mark.anyio


class TestLaws(SurfaceLaws):
    @pytest.fixture
    def address(self, address: Address) -> Address:
        return address

    async def see(self, surface: Surface, address: Address) -> list[str]:
        return [message.text for message in self.answers if not message.attachments]

    async def see_files(self, surface: Surface, address: Address) -> list[str]:
        return [file.data.decode() for message in self.answers for file in message.attachments]

    async def send_file(self, surface: Surface, address: Address, data: bytes) -> tuple[str, FileOffer]:
        message = await self.alice.say(self.general, "look", attachments=[File("notes.txt", data)])
        return str(message.id), offer(message)

    def lost_file(self, surface: Surface) -> FileOffer:
        url = f"{self.general.discord.cdn_url}/attachments/{self.general.id}/1/notes.txt"
        return FileOffer(name="notes.txt", media_type="text/plain", size=9, url=url)

    @pytest.fixture(autouse=True)
    async def _place(self, general: Channel, alice: User) -> None:
        self.general, self.alice = general, alice

    @property
    def answers(self) -> list[Message]:
        return answers(self.general)


# Who is notified


async def test_the_first_message_is_a_reply_that_notifies_its_asker_alone(surface, address, fake, general, question, alice):
    await surface.post(address, "Hello!", nonce="n1")
    [message] = answers(general)
    assert message.reference is question
    assert not message.silent
    assert [ping.user for ping in fake.pings] == [alice]


async def test_further_messages_make_no_sound_and_notify_nobody(surface, address, fake, general):
    await surface.post(address, "and more", nonce="n2", first=False)
    await surface.post_file(address, "answer.md", "all of it", nonce="n3")
    assert fake.pings == []
    assert [(message.silent, message.reference) for message in answers(general)] == [(True, None)] * 2


async def test_nothing_that_a_model_writes_pings_anybody(surface, address, fake, guild, general, alice):
    role, bob = guild.role("crew", mentionable=True), fake.user("bob")
    guild.join(bob, [role])
    text = EVERYONE.format(role=role.id, bob=bob.id)
    message_id = await surface.post(address, text, nonce="n1")
    await surface.post(address, f"> {text}", nonce="n2", first=False)
    await surface.edit(address, message_id, f"{text}!")
    await surface.post_file(address, f"{text}.md", text, nonce="n3")
    assert answers(general)[0].text == f"{text}!"
    assert {ping.user for ping in fake.pings} == {alice}  # whom the first message answers
    for message in answers(general):
        assert not message.mentions.everyone
        assert not message.mentions.roles
        assert bob not in message.mentions.users


async def test_an_edited_answer_stays_marked_as_one_to_the_asker(surface, address, fake, general, alice):
    await surface.edit(address, await surface.post(address, "Hel", nonce="n1"), "Hello!")
    assert answers(general)[0].mentions.users == (alice,)
    assert len(fake.pings) == 1


async def test_links_do_not_unfold(surface, address, general):
    await surface.post(address, "https://example.com", nonce="n1")
    await surface.post(address, "https://example.com", nonce="n2", first=False)
    await surface.post_file(address, "answer.md", "text", nonce="n3")
    assert all(discord.MessageFlags._from_value(message.flags).suppress_embeds for message in answers(general))


# What can be replied to


async def test_the_answer_to_a_message_that_was_deleted_is_no_reply(surface, address, general, alice, question):
    await alice.delete(question)
    await surface.post(address, "Hello!", nonce="n1")
    assert [message.reference for message in answers(general)] == [None]


async def test_a_system_message_is_answered_without_a_reply(surface, address, fake, general, alice):
    joined = await alice.say(general, "", kind=7)
    to_joined = Address(platform="discord", workspace=address.workspace, channel=address.channel, reply_to=str(joined.id))
    await surface.post(to_joined, "Welcome!", nonce="n1")
    [message] = answers(general)
    assert (message.text, message.nonce, message.reference) == ("Welcome!", "n1", None)


async def test_where_the_history_is_closed_the_answer_is_no_reply(surface, address, general):
    general.deny("READ_MESSAGE_HISTORY")
    await surface.post(address, "Hello!", nonce="n1")
    [message] = answers(general)
    assert (message.text, message.reference) == ("Hello!", None)


# Buttons


async def test_buttons_stand_under_the_answer_and_go(surface, address, general):
    message_id = await surface.post(address, "Hel", nonce="n1", controls=GROWING)
    [message] = answers(general)
    assert message.labels == ["Stop"]
    await surface.edit(address, message_id, "Hello!", controls=FINISHED)
    assert message.labels == ["Regenerate", "Continue"]
    await surface.edit(address, message_id, "Hello!")
    assert message.labels == []


async def test_a_button_tells_the_turn_and_the_nonce(surface, address, general):
    await surface.post(address, "Hel", nonce="n1", controls=GROWING)
    await surface.post_file(address, "answer.md", "all of it", nonce="n2", controls=FINISHED)
    ids = [button["custom_id"] for message in answers(general) for button in message.buttons]
    assert ids == ["parley:stop:7:n1", "parley:retry:7:n2", "parley:continue:7:n2"]


async def test_buttons_are_not_kept_in_memory(surface, client, address):
    await surface.post(address, "Hel", nonce="n1", controls=GROWING)
    assert list(client.persistent_views) == []
