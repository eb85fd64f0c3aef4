"""Backing up a PostgreSQL store that is in use, examining a copy, and restoring one in place of what is there."""

import asyncio
import os
import stat
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from store import NotOurs, SchemaTooNew, StoreBusy, StoreDamaged, StoreDenied, open_store
from store.errors import StoreError
from store.postgres_copy import back_up, examine, look_at, restore
from store.sealing import key_of
from tests.contracts.store_words import AT, message, read, say
from tests.engines.postgres import PostgresServer
from tests.store.files import make_store, read_all

pytestmark = pytest.mark.anyio

KEY = key_of("11" * 32)


def quiet(done: int, size: int) -> None:
    assert done >= 0


@pytest.fixture(autouse=True)
def programs(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{postgres.bin}:{os.environ['PATH']}")


@pytest.fixture
def url(postgres: PostgresServer, postgres_template: str) -> str:
    """A store of its own: a restore drops its tables, with what the next test would need."""
    return postgres.database(like=postgres_template)


async def test_a_store_in_use_is_backed_up_whole(url: str, postgres: PostgresServer, tmp_path: Path) -> None:
    store = await open_store(url)
    conversation_id = await say(store, *[f"{n}" for n in range(30)])
    backup = tmp_path / "copy.dump"

    async def go_on() -> None:
        for n in range(30, 60):
            await say(store, f"{n}")

    messages, _ = await asyncio.gather(asyncio.to_thread(back_up, url, backup, quiet), go_on())
    everything = await read(store, conversation_id)
    await store.aclose()
    assert messages == examine(backup).messages >= 30
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["copy.dump"]
    fresh = postgres.database()
    assert not look_at(fresh).holds_something
    restore(examine(backup), fresh, quiet)
    assert look_at(fresh).holds_something
    assert await read_all(fresh) == everything[:messages]
    await make_store(fresh, "and on")
    assert (await read_all(fresh))[-1] == "and on"


async def test_a_restore_replaces_all_that_is_there(url: str, tmp_path: Path) -> None:
    await make_store(url, "one")
    back_up(url, tmp_path / "copy.dump", quiet)
    await make_store(url, "two")
    assert await read_all(url) == ["one", "two"]
    for _ in range(2):
        restore(examine(tmp_path / "copy.dump"), url, quiet)
        assert await read_all(url) == ["one"]


async def test_what_is_sealed_is_copied_sealed_and_without_the_key(
    url: str, postgres: PostgresServer, tmp_path: Path
) -> None:
    store = await open_store(url, keys=(KEY,))
    await store.accept(message("the word is walrus", address="there"))
    await store.aclose()
    back_up(url, tmp_path / "copy.dump", quiet)
    fresh = postgres.database()
    restore(examine(tmp_path / "copy.dump"), fresh, quiet)
    plain = subprocess.run(["pg_restore", "--file=-", tmp_path / "copy.dump"], capture_output=True, check=True).stdout
    assert b"walrus" not in plain
    assert await read_all(fresh, keys=[KEY]) == ["the word is walrus"]


async def test_what_was_erased_since_stays_gone(url: str, tmp_path: Path) -> None:
    await make_store(url, "forget me")
    back_up(url, tmp_path / "copy.dump", quiet)
    store = await open_store(url)
    await store.forget_person("slack", "T1", "U-Ann", at=AT + timedelta(days=1))
    await store.aclose()
    for _ in range(2):  # the second time by what the first one put back
        restore(examine(tmp_path / "copy.dump"), url, quiet)
        assert look_at(url).holds_something
    assert await read_all(url) == []
    restore(examine(tmp_path / "copy.dump"), url, quiet)
    assert await read_all(url) == []


async def test_a_restore_waits_for_nobody_who_uses_the_store(url: str, tmp_path: Path) -> None:
    await make_store(url, "one")
    back_up(url, tmp_path / "copy.dump", quiet)
    dump = examine(tmp_path / "copy.dump")
    store = await open_store(url)
    await say(store, "two")
    with pytest.raises(StoreBusy, match="running Parley"):
        restore(dump, url, quiet)
    claim = await store.claim(lease=timedelta(minutes=1), window=10, platforms=("slack",))
    assert claim is not None
    await store.aclose()
    with pytest.raises(StoreBusy, match="holds"):
        restore(dump, url, quiet)
    assert await read_all(url) == ["one", "two"]


async def test_a_backup_takes_no_files_place(url: str, tmp_path: Path, postgres: PostgresServer) -> None:
    (tmp_path / "copy.dump").write_text("mine")
    with pytest.raises(StoreDenied, match="exists"):
        back_up(url, tmp_path / "copy.dump", quiet)
    assert (tmp_path / "copy.dump").read_text() == "mine"
    with pytest.raises(StoreDenied, match="directory"):
        back_up(url, tmp_path / "missing" / "copy.dump", quiet)
    with pytest.raises(StoreDenied, match="nothing to back up"):
        back_up(postgres.database(), tmp_path / "new.dump", quiet)
    assert not (tmp_path / "new.dump").exists()


async def test_what_is_no_copy_of_a_store_is_refused(url: str, tmp_path: Path, postgres: PostgresServer) -> None:
    (tmp_path / "text").write_text("dear diary\n" * 100)
    (tmp_path / "empty").touch()
    other = postgres.database()
    postgres.execute("CREATE TABLE recipe (name text)", database=other.rpartition("/")[2])
    subprocess.run(["pg_dump", "--format=custom", f"--file={tmp_path / 'recipes'}", other], check=True)
    for name, refusal in {"text": NotOurs, "empty": NotOurs, "recipes": NotOurs, "": NotOurs, "gone": StoreDenied}.items():
        with pytest.raises(refusal):
            examine(tmp_path / name)


@pytest.mark.parametrize("cut", [0.3, 0.9])
async def test_a_damaged_copy_is_refused_and_nothing_changed(url: str, tmp_path: Path, cut: float) -> None:
    await make_store(url, *(os.urandom(400).hex() for _ in range(100)))
    back_up(url, tmp_path / "copy.dump", quiet)
    dump = examine(tmp_path / "copy.dump")
    whole = dump.path.read_bytes()
    dump.path.write_bytes(whole[: int(len(whole) * cut)])
    with pytest.raises(StoreDamaged):
        examine(dump.path)
    before = await read_all(url)
    with pytest.raises(StoreError):
        restore(dump, url, quiet)  # it was whole when it was looked at
    assert await read_all(url) == before


async def test_a_copy_of_a_newer_parley_is_refused(url: str, tmp_path: Path, postgres: PostgresServer) -> None:
    await make_store(url, "one")
    back_up(url, tmp_path / "old.dump", quiet)
    name = url.rpartition("/")[2]
    postgres.execute("UPDATE alembic_version SET version_num = '9999'", database=name)
    tables = ("--table=alembic_version", "--table=conversation", "--table=message")
    subprocess.run(["pg_dump", "--format=custom", f"--file={tmp_path / 'new.dump'}", *tables, url], check=True)
    with pytest.raises(SchemaTooNew):
        examine(tmp_path / "new.dump")
    with pytest.raises(SchemaTooNew):
        back_up(url, tmp_path / "newer.dump", quiet)
    with pytest.raises(SchemaTooNew):
        look_at(url)
    with pytest.raises(SchemaTooNew):
        restore(examine(tmp_path / "old.dump"), url, quiet)


async def test_another_programs_database_is_left_alone(url: str, tmp_path: Path, postgres: PostgresServer) -> None:
    back_up(url, tmp_path / "copy.dump", quiet)
    other = postgres.database()
    postgres.execute("CREATE TABLE message (text text)", database=other.rpartition("/")[2])
    with pytest.raises(NotOurs):
        restore(examine(tmp_path / "copy.dump"), other, quiet)
    with pytest.raises(NotOurs):
        back_up(other, tmp_path / "other.dump", quiet)


async def test_views_of_others_on_the_tables_are_kept_and_named(url: str, tmp_path: Path, postgres: PostgresServer) -> None:
    await make_store(url, "one")
    back_up(url, tmp_path / "copy.dump", quiet)
    name = url.rpartition("/")[2]
    postgres.execute("CREATE VIEW statistics AS SELECT count(*) AS messages FROM message", database=name)
    with pytest.raises(StoreDenied, match="views"):
        restore(examine(tmp_path / "copy.dump"), url, quiet)
    assert postgres.execute("SELECT messages FROM statistics", database=name) == [(1,)]
    assert await read_all(url) == ["one"]


async def test_a_store_in_a_schema_of_its_own_is_copied_without_its_neighbours(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    shared = postgres.database()
    name = shared.rpartition("/")[2]
    for statement in ("CREATE SCHEMA bots", "CREATE TABLE public.message (text text)"):
        postgres.execute(statement, database=name)
    ours = f"{shared}?options=-csearch_path%3Dbots"
    await make_store(ours, "one")
    assert back_up(ours, tmp_path / "copy.dump", quiet) == 1
    await make_store(ours, "two")
    restore(examine(tmp_path / "copy.dump"), ours, quiet)
    assert await read_all(ours) == ["one"]
    assert postgres.execute("SELECT count(*) FROM public.message", database=name) == [(0,)]
    with pytest.raises(StoreDenied, match="search_path"):
        restore(examine(tmp_path / "copy.dump"), postgres.database(), quiet)


@pytest.mark.parametrize("missing", ["pg_dump", "pg_restore", "psql"])
async def test_without_the_servers_programs_the_remedy_is_named(
    url: str, tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    (tmp_path / "bin").mkdir()
    for name in {"pg_dump", "pg_restore", "psql"} - {missing}:
        (tmp_path / "bin" / name).symlink_to(postgres.bin / name)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(StoreDenied, match=f"{missing} can't be found.*postgresql-client"):
        back_up(url, tmp_path / "copy.dump", quiet)
    with pytest.raises(StoreDenied, match=missing):
        examine(tmp_path / "copy.dump")


async def test_a_pg_dump_older_than_the_server_is_named(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pg_dump").write_text("#!/bin/sh\necho 'aborting because of server version mismatch' >&2\nexit 1\n")
    (tmp_path / "pg_dump").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(StoreDenied, match="older than the server"):
        back_up(url, tmp_path / "copy.dump", quiet)


async def test_no_password_stands_in_a_command_line(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "hunter3")
    for name in ("pg_dump", "pg_restore", "psql"):
        real = subprocess.run(["which", name], capture_output=True, text=True, check=True).stdout.strip()
        (tmp_path / name).write_text(
            f'#!/bin/sh\necho "$0 $@" >> {tmp_path}/typed\nenv >> {tmp_path}/$(basename $0).env\nexec {real} "$@"\n'
        )
    for name in ("pg_dump", "pg_restore", "psql"):
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    secret = url.replace("parley@", "parley:hunter2%3F@") + "?password=hunter2%3F"
    await make_store(url, "one")
    back_up(secret, tmp_path / "copy.dump", quiet)
    restore(examine(tmp_path / "copy.dump"), secret, quiet)
    typed = (tmp_path / "typed").read_text()
    assert {"pg_dump", "pg_restore", "psql"} <= {Path(line.split()[0]).name for line in typed.splitlines()}
    assert "hunter" not in typed
    assert "PGPASSWORD=hunter2?" in (tmp_path / "psql.env").read_text()
    assert "hunter3" not in "".join(file.read_text() for file in tmp_path.glob("*.env"))
    with pytest.raises(StoreDenied, match="sslpassword"):
        back_up(f"{url}?sslpassword=hunter2", tmp_path / "other.dump", quiet)
