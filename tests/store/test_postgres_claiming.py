"""Claims on PostgreSQL where replicas of two versions share a queue, and where a conversation has several turns open."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from store import WORKSPACE_RUNNING, Setting, Store, TurnState, open_store
from store.rows import FIRST_ONES
from store.values import TURN_MESSAGES
from tests.contracts.store_laws_queue import FREE, flood, pause, rooms
from tests.contracts.store_words import (
    AT,
    LEASE,
    MINUTE,
    OVER,
    PLATFORMS,
    answer,
    ask,
    named,
    nothing_to_do,
    room,
    say,
    take,
)
from tests.engines.postgres import PostgresServer

pytestmark = pytest.mark.anyio


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A store, and the database behind it for what only an older program would do."""

    store: Store
    server: PostgresServer
    database: str

    def run(self, statement: str) -> list[tuple[object, ...]]:
        return self.server.execute(statement, database=self.database)


@pytest.fixture
async def replica(postgres: PostgresServer, postgres_template: str) -> AsyncIterator[Replica]:
    url = postgres.database(like=postgres_template)
    store = await open_store(url)
    try:
        yield Replica(store=store, server=postgres, database=url.rpartition("/")[2])
    finally:
        await store.aclose()


def waiting(replica: Replica) -> list[object]:
    """Tell where turns are queued by what stands beside them."""
    queued = "SELECT queued_workspace || ' ' || queued_channel FROM turn WHERE state = 'queued' ORDER BY 1"
    return [place for (place,) in replica.run(queued)]


async def test_a_turn_that_an_older_program_queued_is_found_behind_many_that_wait(replica: Replica) -> None:
    """It does not know the columns that say where a turn is queued."""
    await flood(replica.store, *rooms())
    await pause(replica.store)
    await say(replica.store, "hello", key=FREE)
    await say(replica.store, "hello", key=rooms("T2")[5])
    replica.run("UPDATE turn SET queued_platform = NULL, queued_workspace = NULL, queued_channel = NULL")
    assert [(await take(replica.store)).key for _ in range(2)] == [FREE, rooms("T2")[5]]
    assert await nothing_to_do(replica.store)


async def test_where_turns_wait_is_known_of_each_that_is_queued(replica: Replica) -> None:
    """By a message, by what was too much for one turn, by another try, and by an edit."""
    store = replica.store
    tried = await say(store, "hello", key=room("C1"))
    await ask(store, "what?", "M1", key=room("C2"))
    for _ in range(2):
        await answer(store)
    assert await store.retry(tried)
    await store.revise(named("M1", key=room("C2")), "what then?")
    await say(store, "hello", key=room("C3"))
    await say(store, *map(str, range(TURN_MESSAGES + 1)), key=FREE)
    assert waiting(replica) == ["T1 C1", "T1 C2", "T1 C3", "T2 C1"]
    for _ in range(4):
        await answer(store)
    assert waiting(replica) == ["T2 C1"], "the rest"


async def test_a_full_workspace_with_a_turn_that_is_to_be_taken_back_keeps_nobody_waiting(replica: Replica) -> None:
    """In one conversation wait, from the older to the newer, a question and a reply that is to be taken back."""
    store = replica.store
    await ask(store, "first", "M1")
    await answer(store)
    await ask(store, "second", "M2")
    await answer(store, post="P2")
    await store.retract([named("M2")])
    await store.revise(named("M1"), "first of all")
    await store.put_setting(
        Setting(platform="slack", workspace="T1", name=WORKSPACE_RUNNING, value="0"), author_id="U", at=AT
    )
    taken = await store.claim(lease=LEASE, window=1, platforms=PLATFORMS)
    assert taken is not None
    assert (taken.turn.state, taken.recovered) == (TurnState.DELIVERING, True)
    await store.settle(taken.hold, TurnState.CANCELLED)
    assert await nothing_to_do(store), "the workspace is full"


async def test_of_two_open_turns_of_a_conversation_the_one_that_was_begun_goes_first(replica: Replica) -> None:
    store = replica.store
    await say(store, "one", key=FREE)
    lost = await take(store, lease=OVER)
    await say(store, "two", key=FREE)
    await flood(store, *rooms()[: FIRST_ONES // 2])
    again = await take(store)
    assert again.turn.id == lost.turn.id
    await store.settle(again.hold, TurnState.DONE)
    assert (await take(store, lease=timedelta(minutes=1) + MINUTE)).key == FREE
