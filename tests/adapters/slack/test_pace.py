"""Many answers at once in one workspace: Slack never has to say no, and every answer ends whole."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from bot.chat.pacing import Pacers
from bot.chat.protocol import Address
from tests.adapters.growing import FINISHED, grow
from tests.adapters.slack.showing import answers, below, surface_on, text_of
from tests.fakes.clock import FakeClock
from tests.fakes.sharing import FakeSharing
from tests.fakes.slack import FakeSlack

pytestmark = pytest.mark.anyio

WORDS = [f"word{number}" for number in range(60)]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def run(clock: FakeClock, slack: FakeSlack, addresses: list[Address], *, replicas: int = 1) -> None:
    """Let all of them be answered at once, each replica its share, while time passes no faster than Slack answers."""
    sharing = FakeSharing(clock) if replicas > 1 else None
    pacers = [Pacers(clock, sharing) for _ in range(replicas)]
    async with AsyncExitStack() as stack:
        surfaces = [
            await stack.enter_async_context(surface_on(slack, clock, replicas=lambda: replicas)) for _ in range(replicas)
        ]
        everything = asyncio.gather(
            *(
                grow(
                    surfaces[number % replicas],
                    address,
                    WORDS,
                    number=number,
                    pacers=pacers[number % replicas],
                    clock=clock,
                    finished=FINISHED,
                )
                for number, address in enumerate(addresses)
            )
        )
        while not everything.done():
            await clock.advance(timedelta(milliseconds=200))
            await slack.until(lambda: all(request.status for request in slack.requests[-100:]))
            await asyncio.sleep(0.001)
        await everything


async def test_twenty_answers_in_channels_keep_within_fifty_updates_a_minute(slack, clock):
    ada = slack.workspace.user("Ada")
    channels = [slack.workspace.channel(f"room{number}", ada) for number in range(20)]
    await run(clock, slack, [below(await ada.say(channel, "hello")) for channel in channels])
    assert slack.refused == []
    assert [[text_of(message) for message in answers(channel)] for channel in channels] == [[" ".join(WORDS)]] * 20


async def test_twenty_five_answers_in_direct_messages_keep_within_every_limit(slack, clock):
    people = [slack.workspace.user(f"user{number}") for number in range(25)]
    await run(clock, slack, [below(await person.say(person.dm, "hello")) for person in people])
    assert slack.refused == []
    assert [[text_of(message) for message in answers(person.dm)] for person in people] == [[" ".join(WORDS)]] * 25
    assert len(slack.asked("chat.startStream")) == 20
    assert {session.status for session in slack.sessions.values()} == {"active"}


async def test_two_replicas_in_one_workspace_keep_within_the_same_fifty_updates_a_minute(slack, clock):
    ada = slack.workspace.user("Ada")
    channels = [slack.workspace.channel(f"room{number}", ada) for number in range(10)]
    await run(clock, slack, [below(await ada.say(channel, "hello")) for channel in channels], replicas=2)
    assert slack.refused == []
    assert [[text_of(message) for message in answers(channel)] for channel in channels] == [[" ".join(WORDS)]] * 10


async def test_two_replicas_share_the_streams_of_a_minute(slack, clock):
    people = [slack.workspace.user(f"user{number}") for number in range(30)]
    await run(clock, slack, [below(await person.say(person.dm, "hello")) for person in people], replicas=2)
    assert slack.refused == []
    assert [[text_of(message) for message in answers(person.dm)] for person in people] == [[" ".join(WORDS)]] * 30
    assert len(slack.asked("chat.startStream")) == 20
