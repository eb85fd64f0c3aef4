"""Signs of work on Slack: status lines that go again, and sessions of an agent that end."""

from datetime import timedelta

import pytest

from bot.adapters.slack.surface import LIMITS
from bot.chat.protocol import (
    Unreachable,
)
from tests.adapters.growing import FINISHED, GROWING
from tests.adapters.slack.showing import answers, below, surface_on, text_of
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.anyio


async def test_a_status_stands_in_the_thread_until_the_answer(slack, surface, general, question, address):
    await surface.working(address)
    assert general.status(question) == "is thinking…"
    await surface.post(address, "Hello!", nonce="n1")
    assert general.status(question) == ""


async def test_beside_the_question_the_status_is_taken_away(slack, surface, ada):
    question = await ada.say(ada.dm, "hello")
    address = below(question, thread=False)
    await surface.working(address)
    assert ada.dm.status(question) == "is thinking…"
    await surface.post(address, "Hello!", nonce="n1")
    assert ada.dm.status(question) == ""
    await surface.post(address, "more", nonce="n2")
    assert len(slack.statuses) == 2


async def test_a_workspace_that_refuses_a_status_is_left_alone_for_a_while(slack, address):
    clock = FakeClock()
    async with surface_on(slack, clock) as surface:
        slack.workspace.scopes -= {"assistant:write", "chat:write"}
        with pytest.raises(Unreachable):
            await surface.working(address)
        await surface.working(address)
        assert len(slack.asked("assistant.threads.setStatus")) == 1
        slack.workspace.scopes.add("chat:write")
        await clock.advance(timedelta(minutes=10))
        await surface.working(address)
        assert len(slack.statuses) == 1


def test_a_status_is_refreshed_before_slack_takes_it_away():
    assert LIMITS.status < timedelta(minutes=2)


async def test_an_agent_is_at_work_until_its_last_write(slack, surface, ada):
    question = await ada.say(ada.dm, "hello")
    address = below(question)

    def session() -> str:
        return slack.sessions[ada.dm.id, question.ts].status

    await surface.working(address)
    assert session() == "processing"
    first = await surface.post(address, "one", nonce="n1", controls=GROWING)
    await surface.edit(address, first, "one two")
    assert session() == "active"
    second = await surface.post(address, "three", nonce="n2", controls=GROWING)
    assert session() == "processing"
    await surface.edit(address, second, "another three", controls=FINISHED)
    assert session() == "active"


async def test_an_answer_that_is_finished_by_another_process_ends_the_session(slack, surface, ada):
    question = await ada.say(ada.dm, "hello")
    address = below(question)
    message_id = await surface.post(address, "one", nonce="n1", controls=GROWING)
    async with surface_on(slack) as restarted:
        await restarted.edit(address, message_id, "one two", controls=FINISHED)
    assert slack.sessions[ada.dm.id, question.ts].status == "active"


async def test_an_app_that_is_no_agent_is_not_asked_to_be_one_again(slack, surface, ada):
    slack.workspace.agent = False
    address = below(await ada.say(ada.dm, "hello"))
    for number in range(3):
        await surface.working(address)
        message_id = await surface.post(address, "one", nonce=f"n{number}", controls=GROWING)
        await surface.edit(address, message_id, "one two", controls=FINISHED)
    assert len(slack.asked("agents.sessions.setStatus")) == 1
    assert [text_of(message) for message in answers(ada.dm)] == ["one two"] * 3


async def test_no_more_sessions_are_begun_than_can_be_ended(slack, surface, ada):
    for number in range(30):
        address = below(await ada.say(ada.dm, f"{number}"))
        await surface.working(address)
        message_id = await surface.post(address, "one", nonce=f"n{number}", controls=GROWING)
        await surface.edit(address, message_id, "one two", controls=FINISHED)
    assert len(slack.asked("agents.sessions.setStatus")) <= 40
    assert {session.status for session in slack.sessions.values()} == {"active"}
    assert [text_of(message) for message in answers(ada.dm)] == ["one two"] * 30


async def test_in_channels_there_are_no_sessions(slack, surface, address):
    await surface.working(address)
    await surface.post(address, "Hello!", nonce="n1")
    assert slack.asked("agents.*") == []
