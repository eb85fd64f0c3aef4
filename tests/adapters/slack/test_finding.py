"""Files, and messages whose id was lost: they are recognised among all that is said, in few requests."""

import asyncio
from datetime import timedelta

import pytest

from bot.chat.protocol import (
    Address,
    DeliveryDelayed,
    OutcomeUnknown,
)
from tests.adapters.growing import GROWING
from tests.adapters.slack.showing import answers, below, surface_on
from tests.fakes.clock import FakeClock
from tests.fakes.slack import FakeSlack

pytestmark = pytest.mark.anyio


# Finding


async def test_after_a_restart_a_message_is_found_whatever_it_shows(slack, surface, address):
    ids = {nonce: await surface.post(address, "same", nonce=nonce) for nonce in ("n1", "n2")}
    async with surface_on(slack) as restarted:
        found = {nonce: await restarted.find(address, nonce=nonce, text="another text") for nonce in ids}
    assert found == ids


async def test_without_metadata_the_buttons_or_the_words_tell(slack, surface, general, address):
    first = await surface.post(address, "same", nonce="n1", controls=GROWING)
    second = await surface.post(address, "**other** words & <b>", nonce="n2")
    for message in answers(general):
        message.metadata = None
    async with surface_on(slack) as restarted:
        assert await restarted.find(address, nonce="n1", text="a later text") == first
        assert await restarted.find(address, nonce="n2", text="**other** words & <b>") == second
        assert await restarted.find(address, nonce="n3", text="same") is None


async def test_what_people_and_other_bots_write_is_not_ours(slack, surface, ada, general, question, address):
    other = slack.workspace.user("helper", bot=True)
    for user in (ada, other):
        (await user.say(general, "Hello!", thread=question)).metadata = {
            "event_type": "parley_part",
            "event_payload": {"nonce": "n1"},
        }
    assert await surface.find(address, nonce="n1", text="Hello!") is None


@pytest.mark.parametrize("thread", [True, False])
async def test_a_message_is_found_behind_a_long_conversation(slack, surface, ada, general, thread):
    first = await ada.say(general, "let's talk")
    for number in range(250):
        await ada.say(general, f"{number}", thread=first if thread else None, heard=False)
    question = await ada.say(general, "hello", thread=first if thread else None)
    address = below(question, thread=thread)
    message_id = await surface.post(address, "Hello!", nonce="n1")
    for number in range(250):
        await ada.say(general, f"{number}", thread=first if thread else None, heard=False)
    async with surface_on(slack) as restarted:
        assert await restarted.find(address, nonce="n1", text="") == message_id
    assert len(slack.asked("conversations.*")) <= 2


@pytest.mark.parametrize("thread", [True, False])
async def test_an_app_that_sees_fifteen_messages_a_minute_goes_on_where_it_was(thread):
    clock = FakeClock()
    async with FakeSlack(distributed=True, clock=clock) as slack, surface_on(slack, clock) as surface:
        ada = slack.workspace.user("Ada")
        question = await ada.say(ada.dm, "hello")
        address = below(question, thread=thread)
        others = 14 if thread else 0  # the thread is listed from its beginning, the rest from its end
        for number in range(others):
            await ada.say(ada.dm, f"{number}", thread=question)
        message_id = await surface.post(address, "Hello!", nonce="n1")
        for number in range(14 - others + 1):
            await ada.say(ada.dm, f"{number}", thread=question if thread else None)
        async with surface_on(slack, clock) as restarted:
            with pytest.raises(DeliveryDelayed) as delayed:
                await restarted.find(address, nonce="n1", text="")
            await clock.advance(delayed.value.retry_after)
            assert await restarted.find(address, nonce="n1", text="") == message_id


async def test_what_stands_before_the_question_is_not_its_answer(slack, surface, ada, general):
    await surface.post(below(await ada.say(general, "hello"), thread=False), "Hello!", nonce="n1")
    [greeting] = answers(general)
    greeting.metadata = None  # such as a message of another version
    question = await ada.say(general, "hello again", thread=greeting)
    async with surface_on(slack) as restarted:
        assert await restarted.find(below(question), nonce="n2", text="Hello!") is None


async def test_where_the_thread_is_gone_there_is_nothing_of_ours(slack, surface, ada, general, question, address):
    await ada.delete(question)
    assert await surface.find(address, nonce="n1", text="Hello!") is None


async def test_a_question_that_was_pressed_and_not_written_bounds_no_look(surface, slack, address):
    pressed = Address(platform="slack", workspace=address.workspace, channel=address.channel, reply_to="123.456.abc")
    message_id = await surface.post(pressed, "Hello!", nonce="n1")
    assert await surface.find(pressed, nonce="n1", text="Hello!") == message_id
    assert "oldest" not in slack.asked("conversations.history")[0].body


# Files


async def test_a_file_stands_in_the_thread_under_its_own_name(surface, general, question, address):
    message_id = await surface.post_file(address, "answer.md", "größer", nonce="n1")
    [message] = answers(general)
    assert (message.ts, message.thread_ts, message.files[0].title) == (message_id, question.ts, "answer.md")


async def test_a_file_whose_message_is_not_known_yet_is_looked_for_again(slack, general, address):
    clock = FakeClock()
    async with surface_on(slack, clock) as surface:
        slack.fail("files.info", status=429, times=1)
        posting = asyncio.create_task(surface.post_file(address, "answer.md", "text", nonce="n1"))
        await slack.until(lambda: clock.sleeping)
        await slack.until(lambda: len(slack.asked("files.info")) == 1)
        while not posting.done():
            await asyncio.sleep(0.01)
            await clock.advance(timedelta(seconds=1))
        assert await posting == answers(general)[0].ts


async def test_a_file_whose_message_stays_unknown_is_found_by_its_name(slack, general, address):
    clock = FakeClock()
    async with surface_on(slack, clock) as surface:
        slack.fail("files.info", error="missing_scope", times=99)
        posting = asyncio.create_task(surface.post_file(address, "answer.md", "text", nonce="n1"))
        while not posting.done():
            await asyncio.sleep(0.01)
            await clock.advance(timedelta(seconds=1))
        with pytest.raises(OutcomeUnknown):
            await posting
        assert await surface.find(address, nonce="n2", text="text") is None
        assert await surface.find(address, nonce="n1", text="text") == answers(general)[0].ts


async def test_a_share_whose_answer_is_lost_leaves_one_file(slack, surface, general, address):
    slack.fail("files.completeUploadExternal", after_effect=True, cut=True)
    with pytest.raises(OutcomeUnknown):
        await surface.post_file(address, "answer.md", "text", nonce="n1")
    assert await surface.find(address, nonce="n1", text="text") == answers(general)[0].ts


async def test_an_upload_that_fails_shows_nothing_and_may_be_repeated(slack, surface, general, address):
    slack.fail("files.getUploadURLExternal", cut=True)
    with pytest.raises(DeliveryDelayed):
        await surface.post_file(address, "answer.md", "text", nonce="n1")
    await surface.post_file(address, "answer.md", "text", nonce="n1")
    assert [message.files[0].data for message in answers(general)] == [b"text"]
