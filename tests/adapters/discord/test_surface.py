"""The Discord surface against a Discord on the wire: what people see, and what they do not."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from types import SimpleNamespace

import discord
import pytest

from bot.adapters.discord.surface import DiscordSurface
from bot.chat.protocol import (
    Address,
    Control,
    Controls,
    DeliveryDelayed,
    DeliveryError,
    FileOffer,
    MessageGone,
    OutcomeUnknown,
    Surface,
    Unreachable,
    Write,
)
from bot.chat.words import FORBIDDEN_BY_RULES
from bot.clock import SystemClock
from tests.adapters.discord.pointing import fake_discord, logged_in
from tests.contracts.surface_laws import SurfaceLaws
from tests.fakes.clock import FakeClock
from tests.fakes.discord import Channel, FakeDiscord, File, Guild, Message, Thread, User, pointed_at

pytestmark = pytest.mark.anyio

POSTS = "/channels/*/messages"
ONE = "/channels/*/messages/*"
GROWING = Controls(turn_id=7, offered=(Control.STOP,))
FINISHED = Controls(turn_id=7, offered=(Control.RETRY, Control.CONTINUE))
EVERYONE = "@everyone @here <@&{role}> <@{bob}> hello"


@pytest.fixture
async def fake() -> AsyncIterator[FakeDiscord]:
    async with fake_discord() as fake:
        yield fake


@pytest.fixture
def guild(fake: FakeDiscord) -> Guild:
    return fake.guild("Home")


@pytest.fixture
def general(guild: Guild) -> Channel:
    return guild.channel("general")


@pytest.fixture
def alice(fake: FakeDiscord, guild: Guild) -> User:
    alice = fake.user("alice")
    guild.join(alice)
    return alice


@pytest.fixture
async def question(alice: User, general: Channel) -> Message:
    return await alice.say(general, "**What** is <@1234567890> a monad?")


@pytest.fixture
async def client(fake: FakeDiscord) -> AsyncIterator[discord.Client]:
    async with logged_in(fake) as client:
        yield client


@pytest.fixture
def surface(client: discord.Client, fake: FakeDiscord) -> DiscordSurface:
    return DiscordSurface(client, SystemClock(), api_base_url=fake.api_url)


@pytest.fixture
def address(guild: Guild, general: Channel, question: Message) -> Address:
    """The answer goes below the question."""
    return Address(platform="discord", workspace=str(guild.id), channel=str(general.id), reply_to=str(question.id))


@pytest.fixture
def in_thread(address: Address) -> Address:
    """The answer goes into a thread that begins at the question."""
    return Address(
        platform="discord",
        workspace=address.workspace,
        channel=address.channel,
        thread=address.reply_to,
        reply_to=address.reply_to,
    )


def answers(channel: Channel) -> list[Message]:
    """What the bot has written, as people see it now."""
    return [message for message in channel.messages if message.author is channel.discord.bot]


def offer(message: Message) -> FileOffer:
    """Write the message's one file as the adapter offers it."""
    [file] = message.attachments
    return FileOffer(name=file.name, media_type="text/plain", size=len(file.data), url=file.url)


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


# Once, and only once


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


# Finding


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


# Threads


def thread_at(question: Message) -> Thread:
    assert question.thread is not None
    return question.thread


async def test_a_thread_is_made_when_the_first_text_is_there(surface, in_thread, general, question):
    message_id = await surface.post(in_thread, "A burrito.", nonce="n1")
    thread = thread_at(question)
    assert (thread.id, thread.name, thread.minutes) == (question.id, "What is a monad?", 1440)
    assert [str(message.id) for message in answers(thread)] == [message_id]
    assert answers(general) == []
    await surface.edit(in_thread, message_id, "A monoid.")
    await surface.post(in_thread, "In the category of endofunctors.", nonce="n2", first=False)
    assert [message.text for message in answers(thread)] == ["A monoid.", "In the category of endofunctors."]


async def test_a_question_without_words_makes_a_thread_all_the_same(surface, in_thread, alice, question):
    await alice.edit(question, "<@1234567890>")
    await surface.post(in_thread, "Yes?", nonce="n1")
    assert thread_at(question).name == "Chat with parley"


async def test_a_question_that_it_may_not_read_again_makes_a_thread_all_the_same(surface, in_thread, general, question):
    general.deny("READ_MESSAGE_HISTORY")
    await surface.post(in_thread, "A burrito.", nonce="n1")
    assert [message.text for message in answers(thread_at(question))] == ["A burrito."]


async def test_a_thread_does_not_begin_at_a_question_that_was_deleted(surface, in_thread, general, alice, question):
    await alice.delete(question)
    with pytest.raises(DeliveryError):
        await surface.post(in_thread, "A burrito.", nonce="n1")
    assert answers(general) == []


async def test_a_thread_that_people_made_is_used(surface, in_thread, general, question):
    thread = await general.thread_from(question, "monads")
    await surface.post(in_thread, "A burrito.", nonce="n1")
    assert [message.text for message in answers(thread)] == ["A burrito."]
    assert thread.name == "monads"


async def test_a_thread_that_people_make_at_the_same_moment_is_used(surface, in_thread, general, question, fake):
    fake.fail("POST", "/channels/*/messages/*/threads", status=400, after=True, body={"message": "", "code": 160004})
    await surface.post(in_thread, "A burrito.", nonce="n1")
    assert [message.text for message in answers(thread_at(question))] == ["A burrito."]


async def test_with_too_many_threads_the_answer_stands_in_the_channel(surface, in_thread, fake, guild, general, question):
    guild.threads_full = True
    message_id = await surface.post(in_thread, "A burrito.", nonce="n1")
    await surface.edit(in_thread, message_id, "A monoid.")
    await surface.post(in_thread, "More.", nonce="n2", first=False)
    first, second = answers(general)
    assert (first.text, first.reference, second.text) == ("A monoid.", question, "More.")
    assert await surface.find(in_thread, nonce="n2", text="More.") == str(second.id)
    assert len(fake.asked("POST", "/channels/*/messages/*/threads")) == 1  # asked once, and remembered
    await surface.delete(in_thread, str(second.id))
    assert answers(general) == [first]


@pytest.mark.parametrize("permission", ["CREATE_PUBLIC_THREADS", "SEND_MESSAGES_IN_THREADS"])
async def test_where_it_may_not_use_threads_the_answer_stands_in_the_channel(surface, in_thread, general, permission):
    general.deny(permission)
    await surface.post(in_thread, "A burrito.", nonce="n1")
    assert [message.text for message in answers(general)] == ["A burrito."]


async def test_after_a_restart_an_answer_in_the_channel_is_gone_on_with(surface, client, in_thread, guild, general):
    guild.threads_full = True
    message_id = await surface.post(in_thread, "A burr", nonce="n1")
    restarted = DiscordSurface(client, SystemClock())
    assert await restarted.find(in_thread, nonce="n1", text="A burr") == message_id
    await restarted.edit(in_thread, message_id, "A burrito.")
    assert [message.text for message in answers(general)] == ["A burrito."]


async def test_typing_shows_in_the_channel_until_there_is_a_thread(surface, in_thread, general, question):
    await surface.working(in_thread)
    assert len(general.typing) == 1
    await surface.post(in_thread, "A burr", nonce="n1")
    await surface.working(in_thread)
    assert (len(general.typing), len(thread_at(question).typing)) == (1, 1)


async def test_a_thread_that_moderators_locked_is_not_answered_around(surface, in_thread, general, question):
    await (await general.thread_from(question, "monads")).archive(locked=True)
    with pytest.raises(Unreachable, match="locked"):
        await surface.post(in_thread, "A burrito.", nonce="n1")
    assert answers(general) == []


async def test_an_archived_thread_is_opened_for_an_edit(surface, in_thread, question):
    message_id = await surface.post(in_thread, "A burr", nonce="n1")
    thread = thread_at(question)
    await thread.archive()
    await surface.edit(in_thread, message_id, "A burrito.")
    assert [message.text for message in answers(thread)] == ["A burrito."]


async def test_a_locked_thread_is_out_of_reach(surface, in_thread, question):
    await surface.post(in_thread, "A burr", nonce="n1")
    await thread_at(question).archive(locked=True)
    with pytest.raises(Unreachable, match="locked"):
        await surface.post(in_thread, "more", nonce="n2", first=False)


async def test_a_question_whose_name_is_forbidden_makes_a_thread_with_another(surface, in_thread, fake, question):
    fake.fail("POST", "/channels/*/messages/*/threads", status=400, body={"message": "blocked", "code": 200001})
    await surface.post(in_thread, "A burrito.", nonce="n1")
    assert thread_at(question).name == "Chat with parley"


async def test_a_thread_that_was_deleted_is_not_reached_by_an_ordinary_answer(surface, address, general, question):
    thread = await general.start_thread("elsewhere")
    gone = Address(
        platform="discord",
        workspace=address.workspace,
        channel=address.channel,
        thread=str(thread.id),
        reply_to=str(question.id),
    )
    await thread.delete()
    for call in (
        surface.post(gone, "Hello!", nonce="n1"),
        surface.edit(gone, "1", "Hello!"),
        surface.find(gone, nonce="n1", text="Hello!"),
        surface.working(gone),
    ):
        with pytest.raises(Unreachable):
            await call
    assert answers(general) == []


async def test_the_budget_is_the_channels_or_the_threads(surface, address, in_thread):
    for write in Write:
        assert surface.budget(address, write).name == f"discord/{address.channel}"
        assert surface.budget(in_thread, write).name == f"discord/{in_thread.thread}"


# What goes wrong


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


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the waits of 1, 3, 5 ... seconds between two tries out of discord.py."""

    async def hardly_sleep(_: float) -> None:
        await asyncio.sleep(0.001)

    monkeypatch.setattr("discord.http.asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": hardly_sleep}))
