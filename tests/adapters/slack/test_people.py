"""People's names: asked once, kept for an hour, and nobody waits long for them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from bot.adapters.slack.clients import SlackClients
from bot.adapters.slack.people import KEPT, PATIENCE, UNKNOWN_KEPT, People
from tests.fakes.clock import FakeClock
from tests.fakes.slack import FakeSlack

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def people_of(slack: FakeSlack) -> AsyncIterator[tuple[People, FakeClock]]:
    clock = FakeClock()
    clients = SlackClients(clock, base_url=slack.api_url, token=slack.bot_token)
    people = People(clients, clock)
    try:
        yield people, clock
    finally:
        await people.close()
        await clients.close()


async def test_a_name_is_asked_once_however_many_want_it_and_again_after_an_hour() -> None:
    async with FakeSlack() as slack, people_of(slack) as (people, clock):
        home, ada = slack.workspace, slack.workspace.user("Ada Lovelace", display_name="ada")
        found = await asyncio.gather(*(people.name(home.id, ada.id) for _ in range(20)))
        assert set(found) == {"ada"}
        assert len(slack.asked("users.info")) == 1
        ada.display_name = "Countess"
        assert await people.name(home.id, ada.id) == "ada"
        await clock.advance(KEPT)
        assert await people.name(home.id, ada.id) == "Countess"
        assert len(slack.asked("users.info")) == 2


async def test_who_has_no_display_name_goes_by_their_own() -> None:
    async with FakeSlack() as slack, people_of(slack) as (people, _):
        bob = slack.workspace.user("Bob")
        assert (await people.names(slack.workspace.id, [bob.id])).get(bob.id) == "Bob"


async def test_a_name_that_slack_does_not_tell_is_asked_again_a_minute_later() -> None:
    async with FakeSlack() as slack, people_of(slack) as (people, clock):
        home, bob = slack.workspace, slack.workspace.user("Bob")
        slack.fail("users.info", error="internal_error")
        assert (await people.names(home.id, [bob.id])).get(bob.id) == "someone"
        assert await people.name(home.id, bob.id) == bob.id
        assert len(slack.asked("users.info")) == 1
        await clock.advance(UNKNOWN_KEPT)
        assert await people.name(home.id, bob.id) == "Bob"


async def test_an_old_name_is_better_than_none() -> None:
    async with FakeSlack() as slack, people_of(slack) as (people, clock):
        home, bob = slack.workspace, slack.workspace.user("Bob")
        await people.name(home.id, bob.id)
        await clock.advance(KEPT)
        slack.fail("users.info", status=429, retry_after=60)
        assert await people.name(home.id, bob.id) == "Bob"


async def test_a_name_that_takes_long_is_there_for_the_next_message() -> None:
    async with FakeSlack() as slack, people_of(slack) as (people, clock):
        home, bob = slack.workspace, slack.workspace.user("Bob")
        hung = slack.hang("users.info")
        waiting = asyncio.create_task(people.name(home.id, bob.id))
        await slack.until(lambda: slack.asked("users.info"))
        await clock.advance(PATIENCE)
        assert await waiting == bob.id
        hung.release()
        assert await people.name(home.id, bob.id) == "Bob"
        assert len(slack.asked("users.info")) == 1


async def test_a_name_in_several_lines_that_would_ping_is_one_that_does_not() -> None:
    async with FakeSlack() as slack, people_of(slack) as (people, clock):
        eve = slack.workspace.user("Eve", display_name="Eve\n<!channel> @here")
        name = await people.name(slack.workspace.id, eve.id)
        assert "<!" not in name
        assert "@here" not in name
        assert "\n" not in name
        await clock.advance(timedelta(seconds=1))
