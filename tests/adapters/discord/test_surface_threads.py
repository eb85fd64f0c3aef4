"""Answers in threads that begin at a question: when there is one, when there can be none, and who is told."""

from dataclasses import replace

import pytest

from bot.adapters.discord.surface import DiscordSurface
from bot.chat.protocol import (
    Address,
    DeliveryError,
    Unreachable,
    Write,
)
from bot.clock import SystemClock
from tests.adapters.discord.showing import answers
from tests.adapters.growing import FINISHED, GROWING
from tests.fakes.discord import Message, Thread

pytestmark = pytest.mark.anyio


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


async def test_a_thread_that_people_made_is_used(surface, in_thread, general, question, alice):
    thread = await general.thread_from(question, "monads")
    await surface.post(in_thread, "A burrito.", nonce="n1")
    assert [message.text for message in answers(thread)] == [f"{alice.mention} A burrito."]
    assert thread.name == "monads"


async def test_a_thread_that_people_make_at_the_same_moment_is_used(surface, in_thread, general, question, fake, alice):
    fake.fail("POST", "/channels/*/messages/*/threads", status=400, after=True, body={"message": "", "code": 160004})
    await surface.post(in_thread, "A burrito.", nonce="n1")
    assert [message.text for message in answers(thread_at(question))] == [f"{alice.mention} A burrito."]


async def test_who_asked_is_told_of_the_answer_in_the_thread_once(surface, in_thread, fake, alice, question):
    await surface.post(in_thread, "A burr", nonce="n1", controls=GROWING)
    message_id = await surface.post(in_thread, "A burr", nonce="n1", controls=GROWING)  # its answer was lost
    await surface.edit(in_thread, message_id, "A burrito.", controls=FINISHED)
    await surface.post(in_thread, "With beans.", nonce="n2", first=False)
    assert [message.text for message in answers(thread_at(question))] == ["A burrito.", "With beans."]
    assert [(message.id, user) for message, user in fake.pings] == [(int(message_id), alice)]


async def test_the_longest_first_message_has_room_for_whom_it_is_for(surface, in_thread, fake, alice, question):
    longest = "x" * surface.limits.part
    await surface.post(in_thread, longest, nonce="n1")
    assert [message.text for message in answers(thread_at(question))] == [f"{alice.mention} {longest}"]
    assert [ping.user for ping in fake.pings] == [alice]


async def test_nobody_is_mentioned_whose_message_somebody_else_asks_about(surface, in_thread, fake, question):
    await surface.post(replace(in_thread, notify=False), "A burrito.", nonce="n1")
    assert [message.text for message in answers(thread_at(question))] == ["A burrito."]
    assert fake.pings == []


async def test_a_thread_whose_question_was_deleted_goes_on(surface, in_thread, general, alice, question):
    thread = await general.thread_from(question, "monads")
    await alice.delete(question)
    await surface.post(in_thread, "A burrito.", nonce="n1")
    assert [message.text for message in answers(thread)] == ["A burrito."]


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
