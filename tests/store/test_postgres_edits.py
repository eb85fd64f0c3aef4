"""Edits and retractions on PostgreSQL while turns run in other processes: nothing is lost, and nobody waits in a circle."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import psycopg
import pytest

from store import ConversationKey, LeaseLost, Store, TurnState, open_store
from tests.contracts.store_words import MINUTE, PLATFORMS, message, named, reply, room
from tests.engines.postgres import PostgresServer

pytestmark = pytest.mark.anyio

ROOMS = [room(f"C{n}") for n in range(3)]
INCONSISTENT = """
SELECT t.id FROM turn t LEFT JOIN LATERAL (SELECT count(*) AS said, min(position) AS since, max(position) AS until
  FROM message m WHERE m.conversation_id = t.conversation_id AND m.role = 0 AND m.turn_id = t.id) m ON true
LEFT JOIN LATERAL (SELECT count(*) AS answers, max(position) AS at
  FROM message a WHERE a.conversation_id = t.conversation_id AND a.role = 1 AND a.turn_id = t.id) a ON true
WHERE t.settled_at IS NULL OR t.messages <> m.said OR (m.said > 0 AND (t.since, t.until) <> (m.since, m.until))
  OR a.answers <> CASE WHEN m.said > 0 THEN 1 ELSE 0 END OR (a.answers = 1 AND (a.at, t.answered) <> (t.until, t.until))"""


@pytest.fixture
async def replicas(postgres: PostgresServer, postgres_template: str) -> AsyncIterator[list[Store]]:
    """Several stores on one database, each with connections of its own."""
    url = postgres.database(like=postgres_template)
    async with AsyncExitStack() as stores:
        opened = []
        for _ in range(3):
            opened.append(await open_store(url))
            stores.push_async_callback(opened[-1].aclose)
        yield opened
    with psycopg.connect(url) as db:
        assert db.execute(INCONSISTENT).fetchall() == []
        assert db.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone() == (0,)


class Talk:
    """People who say, edit and take back, and what must be left of it."""

    def __init__(self, stores: list[Store], seed: int, *, retracting: bool) -> None:
        self._stores = stores
        self._retracting = retracting
        self._chance = random.Random(seed)
        self.said: dict[tuple[ConversationKey, str], str] = {}
        self._ended = False

    @property
    def _store(self) -> Store:
        return self._chance.choice(self._stores)

    async def talk(self) -> None:
        """Say some things one after the other; a part of them is edited and taken back by others meanwhile."""
        async with asyncio.TaskGroup() as others:
            for n in range(40):
                key = self._chance.choice(ROOMS)
                given = message(f"{n}", key=key, message_id=f"M{n}", position=n + 1)
                assert await self._store.accept(given) is not None
                self.said[key, given.message_id] = given.text
                others.create_task(self._change(key, given.message_id))

    async def _change(self, key: ConversationKey, message_id: str) -> None:
        for n in range(self._chance.randrange(5)):
            await asyncio.sleep(self._chance.random() * 0.02)
            text = f"{message_id} edited {n}"
            assert await self._store.revise(named(message_id, key=key), text) is not None
            self.said[key, message_id] = text
        if self._retracting and self._chance.random() < 0.4:
            names = [named(message_id, key=other) for other in self._chance.sample(ROOMS, len(ROOMS))]
            await asyncio.gather(*(self._store.retract(names) for _ in range(2)))
            del self.said[key, message_id]

    async def work(self) -> None:
        """Carry out turns, slowly, until nothing is left; now and then hand one back."""
        while True:
            claim = await self._store.claim(lease=MINUTE, window=100, platforms=PLATFORMS)
            if claim is None:
                if self._ended:
                    return
                await asyncio.sleep(0.001)
                continue
            with suppress(LeaseLost):
                window = claim.window
                await asyncio.sleep(self._chance.random() * 0.01)
                if (absorbed := await self._store.absorb(claim.hold, window=100)) is not None:
                    window = absorbed.window
                await self._store.record_part(claim.hold, 0, f"P{claim.turn.id}")
                if claim.turn.error:
                    await self._store.settle(claim.hold, TurnState.CANCELLED)
                elif self._chance.random() < 0.1:
                    await self._store.release(claim.hold)
                else:
                    await self._store.finish(claim.hold, reply(f"to {window[-1].text}" if window else "to nobody"))
                    await self._store.settle(claim.hold, TurnState.DONE)

    async def all(self) -> None:
        """Talk while turns are carried out, and carry out the rest."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(4):
                workers.create_task(self.work())
            await self.talk()
            self._ended = True


@pytest.mark.parametrize("retracting", [False, True])
@pytest.mark.parametrize("seed", range(2))
async def test_what_is_left_is_what_was_said_last_and_it_is_answered(
    replicas: list[Store], seed: int, retracting: bool
) -> None:
    talk = Talk(replicas, seed, retracting=retracting)
    await talk.all()
    for key in ROOMS:
        conversation = await replicas[0].find(key)
        assert conversation is not None
        left = await replicas[0].recent(conversation.id, 200)
        people = [message.text for message in left if message.role == "user"]
        assert people == [text for (where, _), text in talk.said.items() if where == key]
        if not retracting:  # else what was the last question when it was edited may be none by now, and the other way round
            assert left[-1].text == f"to {people[-1]}"
