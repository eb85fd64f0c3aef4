"""A store's file as a whole: what is refused and never touched, who may have it open, how it is made."""

import hashlib
import os
import signal
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from store import (
    NotOurs,
    SchemaTooNew,
    StoreBusy,
    StoreDamaged,
    StoreDenied,
    StoreUnavailable,
    open_store,
)
from store.migrate import HEAD
from store.sqlite_copy import back_up
from store.sqlite_file import APPLICATION_ID
from tests.contracts.store_words import read, say
from tests.store.files import make_store, read_all, url
from tests.store.other_process import python, run_python

pytestmark = pytest.mark.anyio


def state(directory: Path) -> dict[str, tuple[str, int, int]]:
    """Everything that stands in a directory: names, contents, modes and times."""
    found = {}
    for path in sorted(directory.rglob("*")):
        about = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path)] = (content, about.st_mode, about.st_mtime_ns)
    return found


class TestNotOurs:
    """What is not ours is not touched: no byte of it, nothing beside it."""

    async def refused(self, path: Path, words: str) -> None:
        before = state(path.parent)
        with pytest.raises(NotOurs, match=words) as told:
            await open_store(url(path))
        assert path.name in str(told.value)
        assert state(path.parent) == before

    async def test_an_empty_file(self, path: Path) -> None:
        path.touch()
        await self.refused(path, "empty")

    @pytest.mark.parametrize("content", [b"Dear diary", b"x" * 5000, b"SQLite format 3\0", b"SQLite format 2\0" * 300])
    async def test_something_that_is_no_database(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        await self.refused(path, "not a Parley store")

    async def test_a_directory(self, path: Path) -> None:
        path.mkdir()
        (path / "inside.txt").write_text("x")
        await self.refused(path, "directory")

    async def test_another_programs_database(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE conversation (id INTEGER PRIMARY KEY)")
        await self.refused(path, "another program")

    async def test_another_programs_database_in_use_with_its_journal_beside_it(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("CREATE TABLE notes (text)")
            assert (path.parent / "parley.db-wal").stat().st_size
            await self.refused(path, "another program")
            assert db.execute("SELECT count(*) FROM notes").fetchone() == (0,)

    async def test_a_backup_of_another_program_is_not_ours_either(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as db:
            db.execute(f"PRAGMA application_id = {APPLICATION_ID + 1}")
            db.execute("CREATE TABLE alembic_version (version_num)")
        await self.refused(path, "another program")

    async def test_a_missing_directory_is_named_and_not_made(self, path: Path) -> None:
        with pytest.raises(StoreDenied, match="directory"):
            await open_store(url(path.parent / "missing" / "parley.db"))
        assert list(path.parent.iterdir()) == []

    async def test_a_file_where_a_directory_should_be(self, path: Path) -> None:
        path.write_text("x")
        with pytest.raises(StoreDenied):
            await open_store(url(path / "parley.db"))


class TestSchema:
    """A store of a newer Parley is left as it is."""

    async def test_a_newer_schema_is_refused_and_the_file_untouched(self, tmp_path: Path) -> None:
        path = tmp_path / "parley.db"
        await make_store(path, "hello")
        with closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE alembic_version SET version_num = '9001'")
            db.commit()
        before = state(tmp_path)
        with pytest.raises(SchemaTooNew, match=f"9001.*{HEAD}"):
            await open_store(url(path))
        assert state(tmp_path)[str(path)] == before[str(path)]
        assert set(state(tmp_path)) == set(before)

    async def test_a_newer_store_that_crashed_keeps_its_journal(self, tmp_path: Path) -> None:
        path = tmp_path / "parley.db"
        await make_store(path, "hello")
        with python(CRASHES_WITH_A_NEWER_SCHEMA, path):
            pass
        before = state(tmp_path)
        assert f"{path}-wal" in before
        with pytest.raises(SchemaTooNew):
            await open_store(url(path))
        after = state(tmp_path)
        assert [after[name] for name in (str(path), f"{path}-wal")] == [before[name] for name in (str(path), f"{path}-wal")]


CRASHES_WITH_A_NEWER_SCHEMA = """
import sqlite3
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA journal_mode = WAL")
db.execute("UPDATE alembic_version SET version_num = '9001'")
db.commit()
tell(done=True)
sys.stdin.read()
"""


class TestOneProcess:
    """A second process is refused by name."""

    async def test_a_second_process_is_told_who_holds_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "parley.db"
        with python(HOLDS, path) as (holder, _):
            with pytest.raises(StoreBusy, match=f"process {holder.pid}\\b"):
                await open_store(url(path))
            link = tmp_path / "link.db"
            link.symlink_to(path)
            with pytest.raises(StoreBusy, match=f"process {holder.pid}\\b"):
                await open_store(url(link))
        assert await read_all(path) == ["held"], "the lock ends with its process"

    async def test_a_second_store_in_one_process_is_refused_too(self, tmp_path: Path) -> None:
        store = await open_store(url(tmp_path / "parley.db"))
        with pytest.raises(StoreBusy, match=str(os.getpid())):
            await open_store(url(tmp_path / "parley.db"))
        await say(store, "goes on")
        await store.aclose()
        await (await open_store(url(tmp_path / "parley.db"))).aclose()

    async def test_another_programs_lock_is_waited_for_and_then_told(self, tmp_path: Path) -> None:
        path = tmp_path / "parley.db"
        store = await open_store(url(path))
        conversation_id = await say(store, "before")
        await store._writer.alone(lambda db: db.execute("PRAGMA busy_timeout = 20").fetchall())  # type: ignore[attr-defined]
        with python(LOCKS, path):
            with pytest.raises(StoreUnavailable, match="locked"):
                await say(store, "not now")
            with pytest.raises(StoreUnavailable):
                await store.check()
        await say(store, "works again")
        assert await read(store, conversation_id) == ["before", "works again"]
        await store.aclose()


HOLDS = """
import asyncio
from store import open_store
from tests.contracts.store_words import say
async def main():
    store = await open_store(f"sqlite:///{sys.argv[1]}")
    await say(store, "held")
    tell(ready=True)
    sys.stdin.read()
asyncio.run(main())
"""
LOCKS = """
import sqlite3
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
tell(ready=True)
sys.stdin.read()
"""


class TestRights:
    """Whose file it is, and what happens where nothing may be written."""

    async def test_only_its_owner_may_read_it(self, tmp_path: Path) -> None:
        store = await open_store(url(tmp_path / "parley.db"))
        await say(store, "a secret")
        back_up(tmp_path / "parley.db", tmp_path / "backup.db", lambda done, total: None)
        for path in tmp_path.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
        await store.aclose()

    @pytest.fixture
    def open_directory(self) -> Iterator[Path]:
        """A directory that anybody may enter, which pytest's own is not."""
        with tempfile.TemporaryDirectory(prefix="parley-") as name:
            Path(name).chmod(0o777)
            yield Path(name)

    async def test_a_read_only_file_is_denied(self, open_directory: Path) -> None:
        path = open_directory / "parley.db"
        await make_store(path, "hello")
        path.chmod(0o444)
        (open_directory / "parley.db.lock").unlink()
        before = state(open_directory)
        told = run_python(WITHOUT_RIGHTS, path)
        assert told["error"] == "StoreDenied"
        assert str(path) in told["message"]
        assert "permission" in told["message"]
        assert {**state(open_directory), **before} == state(open_directory), "the store itself is as it was"

    async def test_an_unreadable_file_is_denied(self, open_directory: Path) -> None:
        path = open_directory / "parley.db"
        await make_store(path, "hello")
        path.chmod(0)
        assert run_python(WITHOUT_RIGHTS, path)["error"] == "StoreDenied"

    @pytest.mark.parametrize("there", [True, False], ids=["a store in it", "no store in it"])
    async def test_a_read_only_directory_is_denied(self, open_directory: Path, there: bool) -> None:
        path = open_directory / "parley.db"
        if there:
            await make_store(path, "hello")
            path.chmod(0o666)
            (open_directory / "parley.db.lock").unlink()
        open_directory.chmod(0o555)
        before = state(open_directory)
        told = run_python(WITHOUT_RIGHTS, path)
        assert told["error"] == "StoreDenied"
        assert "directory" in told["message"]
        assert state(open_directory) == before


WITHOUT_RIGHTS = """
import asyncio, warnings
from store import StoreError, open_store
warnings.simplefilter("error")
async def everything_is_imported():
    await (await open_store("sqlite:///:memory:")).aclose()
asyncio.run(everything_is_imported())  # the interpreter itself may stand where only root may read
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
async def main():
    try:
        await (await open_store(f"sqlite:///{sys.argv[1]}")).aclose()
        tell(error="")
    except StoreError as exc:
        tell(error=type(exc).__name__, message=str(exc))
asyncio.run(main())
"""


class TestCreation:
    """A crash leaves either no file or a good one."""

    async def test_a_new_store_leaves_no_draft(self, tmp_path: Path) -> None:
        await make_store(tmp_path / "parley.db")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["parley.db", "parley.db.lock"]

    async def test_the_draft_of_a_crash_is_cleared_away(self, tmp_path: Path) -> None:
        for leftover in ("parley.db.new", "parley.db.new-journal"):
            (tmp_path / leftover).write_bytes(b"half a page")
        await make_store(tmp_path / "parley.db", "hello")
        assert await read_all(tmp_path / "parley.db") == ["hello"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["parley.db", "parley.db.lock"]

    @pytest.mark.parametrize("step", ["upgrade", "put_in_place", "fsync", "chmod", "replace"])
    async def test_killed_at_any_step_of_its_creation(self, tmp_path: Path, step: str) -> None:
        path = tmp_path / "parley.db"
        with python(DIES_WHILE_CREATING, path, step) as (process, _):
            assert process.wait(30) == -signal.SIGKILL
        assert not path.exists()
        await make_store(path, "hello")
        assert await read_all(path) == ["hello"]
        assert sorted(left.name for left in tmp_path.iterdir()) == ["parley.db", "parley.db.lock"]

    @pytest.mark.parametrize("name", ["with space", "50%", "a?b=c", "a#b", "%41", "dödel ☃", "a&mode=ro"])
    async def test_any_name_will_do(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name / f"{name}.db"
        path.parent.mkdir()
        await make_store(path, "hello")
        assert await read_all(path) == ["hello"]
        assert sorted(left.name for left in path.parent.iterdir()) == [path.name, f"{path.name}.lock"]

    async def test_an_opening_that_fails_lets_go_of_everything(self, tmp_path: Path) -> None:
        path = tmp_path / "parley.db"
        await make_store(path)
        whole = path.read_bytes()
        with closing(sqlite3.connect(path)) as db:
            pages = db.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = 'turn'").fetchall()
            (size,) = db.execute("PRAGMA page_size").fetchone()
        damaged = bytearray(whole)
        for (page,) in pages:
            damaged[(page - 1) * size : page * size] = b"\xff" * size
        path.write_bytes(damaged)
        with pytest.raises(StoreDamaged, match="restore"):
            await open_store(url(path))
        path.write_bytes(whole)
        await make_store(path, "hello")


DIES_WHILE_CREATING = """
import asyncio, signal, store.sqlite_file
from pathlib import Path
path, step = sys.argv[1:]
def die(*args, **kwargs):
    tell(died_at=step)
    os.kill(os.getpid(), signal.SIGKILL)
owner = {"fsync": os, "chmod": Path, "replace": Path}.get(step, store.sqlite_file)
if step == "upgrade":
    import sqlalchemy
    from sqlalchemy import event
    @event.listens_for(sqlalchemy.Engine, "commit")
    def before_commit(connection):
        die()
else:
    setattr(owner, step, die)
asyncio.run(store.open_store(f"sqlite:///{path}"))
"""
