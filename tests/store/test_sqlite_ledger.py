"""The ledger beside a SQLite store: what it tells, and what the store does when it is damaged, lost or can't be written."""

import random
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

import store.sqlite_ledger as ledgers
from store import StoreDenied, StoreUnavailable, open_store
from store.sqlite_ledger import beside
from store.tombstones import KEPT, Kind, Tombstone, new_key
from tests.contracts.store_words import AT, MINUTE, message, named, read, room, say
from tests.fakes.clock import FakeClock
from tests.store.files import opened, url

pytestmark = pytest.mark.anyio

NOW = AT + 1000 * MINUTE


async def test_it_tells_nothing_and_is_for_its_owner_alone(path: Path) -> None:
    store = await opened(path)
    assert not beside(path).exists(), "nothing was erased yet"
    await say(store, "wombat", key=room("C1", user="U-Ann"))
    await store.accept(message("wombat", key=room("C2"), message_id="M-777"))
    await store.forget_person("slack", "T1", "U-Ann", at=NOW)
    await store.retract([named("M-777", key=room("C2"))])
    await store.delete(await say(store, "wombat", key=room("C3"), at=AT))
    text = beside(path).read_text()
    for told in ("wombat", "Ann", "T1", "C1", "C2", "M-777", "slack"):
        assert told not in text
    assert stat.S_IMODE(beside(path).stat().st_mode) == 0o600
    await store.aclose()


async def test_an_erasure_is_refused_where_it_can_not_be_written(path: Path) -> None:
    store = await opened(path)
    conversation_id = await store.accept(message("kept", message_id="M-1"))
    assert conversation_id is not None
    beside(path).mkdir()  # stands for whatever keeps it from being written, whoever runs the tests
    for erase in (
        lambda: store.delete(conversation_id),
        lambda: store.retract([named("M-1")]),
        lambda: store.forget_person("slack", "T1", "U-Ann", at=NOW),
    ):
        with pytest.raises(StoreUnavailable, match="nothing was erased"):
            await erase()
    assert await read(store, conversation_id) == ["kept"]
    beside(path).rmdir()
    assert await store.delete(conversation_id) == 1
    await store.aclose()


async def test_a_line_that_was_cut_off_keeps_nothing_from_being_read(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = await opened(path)
    ids = [await say(store, "wombat", key=room(f"C{n}")) for n in range(3)]
    await store.aclose()
    shutil.copy(path, tmp_path / "backup.db")
    store = await opened(path)
    for id_ in ids[:2]:
        await store.delete(id_)
    await store.aclose()
    whole = beside(path).read_bytes()
    beside(path).write_bytes(whole + whole.splitlines(keepends=True)[-1][:20])
    shutil.copy(tmp_path / "backup.db", path)
    store = await opened(path)
    assert [await store.record("slack", "T1", id_) is None for id_ in ids] == [True, True, False]
    assert "1 lines of the ledger" in caplog.text
    await store.delete(ids[2])
    await store.aclose()
    assert ledgers.read(beside(path))[1] == 0, "it was written anew"
    shutil.copy(tmp_path / "backup.db", path)
    store = await opened(path)
    assert [await store.record("slack", "T1", id_) is None for id_ in ids] == [True, True, True]
    await store.aclose()


@pytest.mark.parametrize("seed", range(20))
def test_any_damage_costs_only_the_lines_that_it_hits(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path / "ledger"
    stones = [new_key(1), *(Tombstone(f"{Kind.PERSON} {n:032x}", n, 1) for n in range(50))]
    ledgers.replace(path, stones)
    damaged = bytearray(path.read_bytes())
    for _ in range(3):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    path.write_bytes(damaged[: chance.randrange(len(damaged))] if chance.random() < 0.3 else damaged)
    known, _ = ledgers.read(path)
    assert set(known) <= set(stones)
    assert len(known) >= damaged.count(b"\n", 0, path.stat().st_size) - 4


async def test_a_lost_ledger_is_written_anew_from_the_store(path: Path, tmp_path: Path) -> None:
    store = await opened(path)
    ids = [await say(store, "wombat", key=room(f"C{n}")) for n in range(3)]
    await store.aclose()
    shutil.copy(path, tmp_path / "backup.db")
    store = await opened(path)
    await store.delete(ids[0])
    beside(path).unlink()
    await store.delete(ids[1])
    await store.aclose()
    whole, _ = ledgers.read(beside(path))
    assert len(whole.of(Kind.CONVERSATION)) == 2
    beside(path).unlink()
    store = await opened(path)
    await store.aclose()
    assert set(ledgers.read(beside(path))[0]) == set(whole)


async def test_a_ledger_that_can_not_be_read_keeps_the_store_closed(path: Path) -> None:
    store = await opened(path)
    await store.aclose()
    beside(path).mkdir()
    with pytest.raises(StoreDenied, match="must stay forgotten"):
        await opened(path)
    beside(path).rmdir()
    store = await opened(path)
    await store.aclose()


async def test_what_is_older_than_any_copy_is_dropped(path: Path) -> None:
    clock = FakeClock()
    store = await open_store(url(path), clock=clock.now)
    await store.delete(await say(store, "old"))
    await store.aclose()
    clock.set_wall_clock(KEPT)
    store = await open_store(url(path), clock=clock.now)
    await store.delete(await say(store, "new"))
    await store.aclose()
    assert len(ledgers.read(beside(path))[0].of(Kind.CONVERSATION)) == 2
    clock.set_wall_clock(MINUTE)
    store = await open_store(url(path), clock=clock.now)
    await store.aclose()
    kept, _ = ledgers.read(beside(path))
    assert len(kept.of(Kind.CONVERSATION)) == 1
    assert kept.keyed
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM forgotten WHERE name LIKE 'conversation%'").fetchone() == (1,)


async def test_a_store_in_memory_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = await open_store("sqlite:///:memory:")
    await store.delete(await say(store, "hello"))
    await store.forget_person("slack", "T1", "U-Ann", at=NOW)
    await store.scrub()
    await store.aclose()
    assert list(tmp_path.iterdir()) == []
