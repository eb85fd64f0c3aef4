"""What is PostgreSQL's own about sharing: many connections and processes at once, a crash of the server, and copies."""

import asyncio
import json
import math
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from store import Store, open_store
from store.moving import move
from store.moving_open import source_at, target_at
from store.postgres_copy import back_up, examine, look_at, restore
from store.rows import MICROSECOND
from store.sharing import BUDGET_KEPT
from tests.contracts.store_laws_sharing import HOUR, SILENT, ask, has_all, settled
from tests.engines.postgres import PostgresServer, Shutdown, execute
from tests.store.files import make_store

pytestmark = pytest.mark.anyio

STORES = 4
WRITTEN = "SELECT number, xmin::text FROM share ORDER BY 1"


@pytest.fixture
async def stores(postgres_url: str) -> AsyncIterator[list[Store]]:
    """Several of one database, each with connections of its own."""
    async with AsyncExitStack() as stack:
        opened = [await open_store(postgres_url) for _ in range(STORES)]
        for store in opened:
            stack.push_async_callback(store.aclose)
        yield opened


@pytest.mark.parametrize("number", range(10))
async def test_replicas_that_ask_at_once_never_hold_the_same_part(stores: list[Store], number: int) -> None:
    """They come while one holds everything that falls silent then: all ask for the same free parts in the same moment."""
    name, replicas = f"shards {number}", [f"r{n}" for n in range(8)]
    await ask(stores[0], "first", parts=20, name=name)
    await asyncio.gather(*(ask(stores[n % STORES], replica, parts=20, name=name) for n, replica in enumerate(replicas)))
    await ask(stores[0], "first", parts=20, name=name, lasting=SILENT)
    told = await asyncio.gather(
        *(ask(stores[n % STORES], replica, parts=20, name=name) for n, replica in enumerate(replicas))
    )
    assert sorted(part for share in told for part in share.held) == list(range(20))
    assert sorted(len(share.held) for share in told) == [2] * 4 + [3] * 4
    assert sorted(share.rank for share in told) == list(range(8))


async def test_replicas_that_come_first_at_once_agree_on_the_number_of_parts(stores: list[Store]) -> None:
    told = await asyncio.gather(*(ask(stores[n % STORES], f"r{n}", parts=n + 1) for n in range(12)))
    (parts,) = {share.parts for share in told}
    assert sorted(part for share in told for part in share.held) == list(range(parts)), "the first one has them all"


PROCESS = """
import asyncio
from datetime import timedelta
from store import open_store
HOUR = timedelta(hours=1)
async def main(me, many):
    store = await open_store(sys.argv[1])
    print(flush=True)
    sys.stdin.readline()  # until all are here
    held, offered, counts = frozenset(), frozenset(), []
    for _ in range(60):
        told = await store.share("shards", replica=me, parts=16, ready=held | offered, leaving=False, lasting=HOUR)
        held, offered = told.held, told.offered
    waits = await asyncio.gather(*(store.slot("channel", pace=HOUR) for _ in range(many)))
    print(json.dumps({"waits": [wait / HOUR for wait in waits]}), flush=True)
    sys.stdin.readline()  # until all have come to rest
    told = await store.share("shards", replica=me, parts=16, ready=held | offered, leaving=False, lasting=HOUR)
    print(json.dumps({"held": sorted(told.held), "offered": len(told.offered), "others": told.others}), flush=True)
    await store.aclose()
asyncio.run(main(sys.argv[2], int(sys.argv[3])))
"""


def test_four_processes_share_parts_and_slots(postgres_url: str) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", "import json, sys" + PROCESS, postgres_url, f"p{n}", "200"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for n in range(4)
    ]

    def step() -> list[dict[str, list[float]]]:
        """Let all go on at once, and read what each says then."""
        for process in running:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        return [json.loads(line()) for line in lines]

    lines = [process.stdout.readline for process in running if process.stdout is not None]
    try:
        assert [line() for line in lines] == ["\n"] * 4
        waits = [wait for told in step() for wait in told["waits"]]
        assert sorted(math.ceil(wait) for wait in waits) == list(range(800)), "a pace apart, and none of them twice"
        told = step()
        assert sorted(part for one in told for part in one["held"]) == list(range(16))
        assert [(len(one["held"]), one["offered"], one["others"]) for one in told] == [(4, 0, 3)] * 4
    finally:
        for process in running:
            process.communicate(timeout=60)


async def test_budgets_that_nobody_uses_are_forgotten_when_a_new_one_comes(postgres_url: str, stores: list[Store]) -> None:
    for number in range(5):
        await stores[0].slot(f"channel {number}", pace=HOUR)
    long_ago = (BUDGET_KEPT + 2 * HOUR) // MICROSECOND
    execute(postgres_url, f"UPDATE budget SET free_at = free_at - {long_ago} WHERE name < 'channel 3'")  # noqa: S608
    await asyncio.gather(*(store.slot(f"new {n}", pace=HOUR) for n, store in enumerate(stores)))
    names = [str(name) for (name,) in execute(postgres_url, "SELECT name FROM budget ORDER BY 1")]
    assert names == ["channel 3", "channel 4", *[f"new {n}" for n in range(STORES)]]
    assert await stores[0].slot("channel 0", pace=HOUR) == 0 * HOUR


async def test_who_shares_on_does_not_fill_the_tables(postgres_url: str, stores: list[Store]) -> None:
    told = await settled(stores[0], "a", "b")
    before = execute(postgres_url, WRITTEN)
    for replica, share in told.items():
        assert await ask(stores[0], replica, ready=share.held) == share
    assert execute(postgres_url, WRITTEN) == before, "a row is written only when it changes"


async def test_after_a_crash_of_the_server_parts_have_their_holders_and_paces_begin_anew() -> None:
    with PostgresServer.made() as server:
        url = server.database()
        store = await open_store(url)
        told = await settled(store, "a", "b")
        await store.slot("channel", pace=HOUR)
        await store.aclose()
        server.stop(Shutdown.IMMEDIATE)
        server.start()
        store = await open_store(url)
        for replica, share in told.items():
            assert await ask(store, replica, ready=share.held) == share
        assert await store.slot("channel", pace=HOUR) == 0 * HOUR
        assert HOUR / 2 < await store.slot("channel", pace=HOUR) <= HOUR
        await store.aclose()


async def test_a_copy_holds_nothing_of_the_moment(
    own_url: str, postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{postgres.bin}:{os.environ['PATH']}")
    store = await open_store(own_url)
    await has_all(store, "a")
    await store.slot("channel", pace=HOUR)
    await store.aclose()
    assert not look_at(own_url).holds_something, "nobody said anything yet"
    back_up(own_url, tmp_path / "copy.dump", lambda done, size: None)
    for target in (own_url, postgres.database()):
        restore(examine(tmp_path / "copy.dump"), target, lambda done, size: None)
        store = await open_store(target)
        assert (await ask(store, "b")).others == 0
        assert await store.slot("channel", pace=HOUR) == 0 * HOUR
        await store.aclose()
    ((kept,),) = execute(own_url, "SELECT relpersistence FROM pg_class WHERE relname = 'budget'")
    assert kept == "u", "it stays out of the server's journal"


async def test_a_store_that_was_only_shared_may_be_moved_to(own_url: str, tmp_path: Path) -> None:
    store = await open_store(own_url)
    await has_all(store, "a")
    await store.slot("channel", pace=HOUR)
    await store.aclose()
    path = tmp_path / "parley.db"
    await make_store(path, "hello")
    with closing(source_at(f"sqlite:///{path}")) as source, closing(target_at(own_url)) as target:
        assert all(table.equal for table in move(source, target, lambda done, total: None))
