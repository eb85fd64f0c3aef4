"""What most tests of the surface begin with: a Slack, somebody in a channel, a question, and the surface that answers it."""

from collections.abc import AsyncIterator

import pytest

from bot.adapters.slack.surface import SlackSurface
from bot.chat.protocol import Address
from bot.clock import Clock, SystemClock
from tests.adapters.slack.showing import below, surface_on
from tests.fakes.slack import Channel, FakeSlack, Message, User


@pytest.fixture
def clock() -> Clock:
    """What time it is for Slack and for us; a file may have time that it sets itself."""
    return SystemClock()


@pytest.fixture
async def slack(clock: Clock) -> AsyncIterator[FakeSlack]:
    async with FakeSlack(clock=clock) as slack:
        yield slack


@pytest.fixture
def ada(slack: FakeSlack) -> User:
    return slack.workspace.user("Ada")


@pytest.fixture
def general(slack: FakeSlack, ada: User) -> Channel:
    return slack.workspace.channel("general", ada)


@pytest.fixture
async def question(ada: User, general: Channel) -> Message:
    return await ada.say(general, "hello")


@pytest.fixture
def address(question: Message) -> Address:
    return below(question)


@pytest.fixture
async def surface(slack: FakeSlack, clock: Clock) -> AsyncIterator[SlackSurface]:
    async with surface_on(slack, clock) as surface:
        yield surface
