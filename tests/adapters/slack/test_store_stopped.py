"""A real PostgreSQL is stopped under two replicas on Slack: one word in the channel, then every answer, each once."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prometheus_client import CollectorRegistry

from bot.chat.words import STORE_AWAY
from bot.web.server import WebSide
from store import open_store
from tests.adapters.slack.test_replicas import replicated
from tests.engines.postgres import PostgresServer, Shutdown
from tests.fakes.clock import FakeClock
from tests.fakes.slack import FakeSlack

pytestmark = pytest.mark.anyio
SECOND = timedelta(seconds=1)


class RealClock(FakeClock):
    """Time passes by itself, as it does for the server."""

    def monotonic(self) -> timedelta:
        return timedelta(seconds=time.monotonic())

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, delay: timedelta) -> None:
        await asyncio.sleep(max(0.0, delay.total_seconds()))

    async def advance(self, by: timedelta) -> None:
        await asyncio.sleep(by.total_seconds())


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A server that may be stopped."""
    with PostgresServer.made(options={"fsync": "off"}) as server:
        yield server


async def test_people_hear_once_of_an_outage_and_get_every_answer_when_it_is_over(postgres: PostgresServer) -> None:
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(FakeSlack(retry_after=[]))  # what is not acknowledged does not come again
        stores = [await open_store(url) for url in [postgres.database()] * 2]
        for store in stores:
            stack.push_async_callback(store.aclose)
        house = await stack.enter_async_context(replicated(slack, *stores, steps=["Answer."] * 10, clock=RealClock()))
        web = WebSide("127.0.0.1", 0, None, CollectorRegistry(), {"store": stores[0].check})
        await web.start()
        stack.push_async_callback(web.aclose)
        asking = await stack.enter_async_context(httpx.AsyncClient(base_url=f"http://127.0.0.1:{web.port}", timeout=30))
        ada = slack.workspace.user("Ada")
        general = slack.workspace.channel("general", ada)
        root = await ada.say(general, f"{slack.workspace.bot.mention} before")
        await house.until(lambda: len(general.thread(root)) == 2 and "Answer." in general.thread(root)[1].shown)
        await house.until(lambda: slack.quiet)

        await asyncio.to_thread(postgres.stop, Shutdown.IMMEDIATE)
        await ada.say(general, "one more thing", thread=root)
        await ada.say(general, "nothing to do with you")
        await house.until(lambda: STORE_AWAY in [message.shown for message in general.messages])
        told = await asking.get("/readyz")
        assert (told.status_code, told.json()["not_ready"]) == (503, ["store"])
        other = await ada.say(general, f"{slack.workspace.bot.mention} meanwhile")
        await house.until(lambda: slack.quiet)

        await asyncio.to_thread(postgres.start)
        await house.until(lambda: len(general.thread(other)) == 2 and "Answer." in general.thread(other)[1].shown)
        await house.until(lambda: sum("Answer." in message.shown for message in general.thread(root)) == 2)
        assert [message.shown for message in general.messages].count(STORE_AWAY) == 1
        assert sorted(house.prompts) == ["before", "meanwhile", "one more thing"]
        assert (await asking.get("/readyz")).status_code == 200
