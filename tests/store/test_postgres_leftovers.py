"""What a killed process had in its hands is free for the next one of its machine, and nothing else is."""

import os
import re
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from store import open_store
from store.process_names import is_dead, machine, this_process
from tests.contracts.store_words import nothing_to_do, say, take
from tests.engines.postgres import PostgresServer
from tests.store.other_process import python

pytestmark = pytest.mark.anyio

SHARD = "shards of 1"
LASTING = timedelta(minutes=1)

HOLDS = f"""
import asyncio
from datetime import timedelta
from store import open_store
from tests.contracts.store_words import room, say, take

async def hold():
    store = await open_store(sys.argv[1])
    await say(store, "mine", key=room("C2"))
    claim = await take(store)
    share = await store.share(
        "{SHARD}", replica="first", parts=1, ready=[], leaving=False, lasting=timedelta(minutes=1))
    tell(turn=claim.hold.turn_id, held=sorted(share.held))
    sys.stdin.read()

asyncio.run(hold())
"""


@pytest.fixture
def database(postgres: PostgresServer, postgres_template: str) -> Iterator[str]:
    url = postgres.database(like=postgres_template)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.getcwd())
        yield url


async def share(url: str) -> frozenset[int]:
    store = await open_store(url)
    try:
        told = await store.share(SHARD, replica="next", parts=1, ready=[0], leaving=False, lasting=LASTING)
        return told.held
    finally:
        await store.leave(SHARD, replica="next")
        await store.aclose()


async def test_the_turn_and_the_shards_of_a_killed_process_are_taken_up_at_once(database: str) -> None:
    with python(HOLDS, database) as (process, told):
        assert told["held"] == [0]
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert await share(database) == {0}
        store = await open_store(database)
        claim = await take(store)
        assert claim.hold.turn_id == told["turn"]
        assert claim.recovered
        await store.aclose()


async def test_a_process_that_is_only_stopped_keeps_all_that_it_holds(database: str) -> None:
    with python(HOLDS, database) as (process, told):
        assert told["held"] == [0]
        process.send_signal(signal.SIGSTOP)
        assert await share(database) == set()
        store = await open_store(database)
        assert await nothing_to_do(store)
        await store.aclose()


@pytest.mark.parametrize("name", ["", "0123456789abcdef-1-1", "{here}-x-1", "{here}-1"])
async def test_what_another_machine_or_an_older_program_holds_waits_for_its_lease(
    postgres: PostgresServer, database: str, name: str
) -> None:
    store = await open_store(database)
    await say(store, "hello")
    await take(store)
    holder = name.format(here=machine())
    postgres.execute(f"UPDATE conversation SET holder = '{holder}'", database=database.rpartition("/")[2])  # noqa: S608
    await store.aclose()
    store = await open_store(database)
    assert await nothing_to_do(store)
    await store.aclose()


def test_a_process_knows_itself_and_who_had_its_number_before() -> None:
    name = this_process()
    assert re.fullmatch(r"[0-9a-f]{16}-\d+-\d+", name)
    assert not is_dead(name)
    assert is_dead(name.rpartition("-")[0] + "-1"), "the number is the same, the moment it began is another one"


def test_where_the_system_tells_nothing_nobody_is_dead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = this_process()
    monkeypatch.setattr("store.process_names._BOOT", tmp_path / "boot_id")
    assert machine() == this_process() == ""
    assert not is_dead(name.rpartition("-")[0] + "-1")
