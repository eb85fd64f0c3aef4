"""Backing up a store that is in use, examining a copy, and putting one back without losing what it replaces."""

import asyncio
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from store import NotOurs, SchemaTooNew, StoreBusy, StoreDamaged, StoreDenied, open_store
from store.sqlite_copy import back_up, examine, restore
from tests.contracts.store_words import AT, ROOM, read, say
from tests.store.files import make_store, read_all, url

pytestmark = pytest.mark.anyio


def quiet(done: int, size: int) -> None:
    assert 0 <= done <= size


async def test_a_store_in_use_is_backed_up_whole(path: Path, tmp_path: Path) -> None:
    store = await open_store(url(path))
    conversation_id = await say(store, *[f"{n}" for n in range(30)])
    backup = tmp_path / "backup.db"

    async def go_on() -> None:
        for n in range(30, 60):
            await say(store, f"{n}")

    messages, _ = await asyncio.gather(asyncio.to_thread(back_up, path, backup, quiet), go_on())
    everything = await read(store, conversation_id)
    await store.aclose()
    assert messages == examine(backup) >= 30
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert await read_all(backup) == everything[:messages]
    assert not (tmp_path / "backup.db.part").exists()


async def test_a_backup_takes_no_files_place(path: Path, tmp_path: Path) -> None:
    await make_store(path, "hello")
    (tmp_path / "backup.db").write_text("mine")
    with pytest.raises(StoreDenied, match="exists"):
        back_up(path, tmp_path / "backup.db", quiet)
    assert (tmp_path / "backup.db").read_text() == "mine"
    with pytest.raises(StoreDenied):
        back_up(path, tmp_path / "missing" / "backup.db", quiet)
    with pytest.raises(StoreDenied, match="nothing to back up"):
        back_up(tmp_path / "other.db", tmp_path / "new.db", quiet)


async def test_a_restore_sets_aside_what_it_replaces(path: Path, tmp_path: Path) -> None:
    await make_store(path, "one")
    back_up(path, tmp_path / "backup.db", quiet)
    await make_store(path, "two")
    aside = restore(tmp_path / "backup.db", path, at=AT, progress=quiet)
    assert await read_all(path) == ["one"]
    assert aside is not None
    assert await read_all(aside) == ["one", "two"]
    assert await read_all(tmp_path / "backup.db") == ["one"]


async def test_a_restore_to_an_empty_place_makes_the_store(path: Path, tmp_path: Path) -> None:
    await make_store(tmp_path / "backup.db", "one")
    assert restore(tmp_path / "backup.db", path, at=AT, progress=quiet) is None
    assert await read_all(path) == ["one"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_store_in_use_is_not_replaced_by_any_of_its_names(path: Path, tmp_path: Path) -> None:
    await make_store(tmp_path / "backup.db", "one")
    (tmp_path / "link.db").symlink_to(path)
    store = await open_store(url(path))
    for name in (path, tmp_path / "link.db"):
        with pytest.raises(StoreBusy):
            restore(tmp_path / "backup.db", name, at=AT, progress=quiet)
    await say(store, "goes on")
    assert await store.find(ROOM)
    await store.aclose()


async def test_a_damaged_backup_replaces_nothing(path: Path, tmp_path: Path) -> None:
    await make_store(path, "kept")
    backup = tmp_path / "backup.db"
    await make_store(backup, *["x" * 3000] * 20)
    whole = backup.read_bytes()
    backup.write_bytes(whole[:8192] + b"\xff" * 8192 + whole[16384:])
    with pytest.raises(StoreDamaged):
        restore(backup, path, at=AT, progress=quiet)
    assert await read_all(path) == ["kept"]


async def test_what_is_not_ours_is_neither_restored_nor_replaced(path: Path, tmp_path: Path) -> None:
    backup, other = tmp_path / "backup.db", tmp_path / "other.db"
    await make_store(backup, "one")
    with closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE mine (x)")
    before = other.read_bytes()
    with pytest.raises(NotOurs):
        restore(other, path, at=AT, progress=quiet)
    with pytest.raises(NotOurs):
        restore(backup, other, at=AT, progress=quiet)
    with pytest.raises(NotOurs):
        examine(other)
    assert other.read_bytes() == before
    assert not path.exists()


async def test_a_backup_of_a_newer_parley_is_refused(path: Path, tmp_path: Path) -> None:
    await make_store(tmp_path / "backup.db")
    with closing(sqlite3.connect(tmp_path / "backup.db")) as db:
        db.execute("UPDATE alembic_version SET version_num = '9001'")
        db.commit()
    with pytest.raises(SchemaTooNew):
        restore(tmp_path / "backup.db", path, at=AT, progress=quiet)
    assert not path.exists()
