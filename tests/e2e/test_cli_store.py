"""The store as an operator meets it: what is refused, what is busy, what is full; copies, and putting them back."""

import hashlib
import os
import sqlite3
from contextlib import closing

import pytest

from store.migrate import HEAD
from tests.e2e.ledger import read_ledger
from tests.e2e.shell import Shell, locked, unprivileged


def make_foreign(shell: Shell, kind: str) -> None:
    match kind:
        case "text":
            shell.store.write_text("dear diary\n" * 100)
        case "empty":
            shell.store.touch()
        case "database":
            with closing(sqlite3.connect(shell.store)) as db:
                db.execute("CREATE TABLE recipe (name)")
                db.commit()
        case "directory":
            shell.store.mkdir()


@pytest.mark.parametrize("command", ["chat", "migrate", "sweep", "backup copy.db"])
@pytest.mark.parametrize("kind", ["text", "empty", "database"])
def test_a_file_that_is_not_ours_is_refused_and_not_a_byte_changed(shell: Shell, kind: str, command: str) -> None:
    make_foreign(shell, kind)
    before = shell.contents()
    done = shell.run(*command.split(), stdin="hello\n")
    assert done.code == 65
    assert done.err.startswith(f"parley: {shell.store.name if 'backup' in command else shell.store}")
    assert len(done.err.splitlines()) == 1
    assert shell.contents() == before


def test_a_directory_in_the_stores_place_is_refused(shell: Shell) -> None:
    make_foreign(shell, "directory")
    done = shell.chat("hello")
    assert done.code == 65
    assert "is a directory" in done.err
    assert list(shell.home.iterdir()) == [shell.store]


def test_a_broken_store_is_refused_and_kept(shell: Shell) -> None:
    shell.chat(*map(str, range(50)))
    whole = shell.store.read_bytes()
    shell.store.write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))
    before = hashlib.sha256(shell.store.read_bytes()).hexdigest()
    done = shell.chat("hello")
    assert done.code == 65
    assert "parley restore" in done.err
    assert hashlib.sha256(shell.store.read_bytes()).hexdigest() == before


def test_a_store_of_a_newer_parley_is_left_alone(shell: Shell) -> None:
    shell.chat("hello")
    with closing(sqlite3.connect(shell.store)) as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
        db.commit()
    before = shell.contents()
    for command in ("chat", "migrate"):
        done = shell.run(command, stdin="hello again\n")
        assert done.code == 78
        assert "has schema 9999" in done.err
        assert shell.contents()["parley.db"] == before["parley.db"]


def test_a_second_parley_on_the_same_file_is_told_who_has_it(shell: Shell) -> None:
    first = shell.start("chat")
    first.say("hello")
    assert first.read_until(lambda life: life.text == "You said: hello\n")
    for command in ("chat", "migrate", "sweep"):
        done = shell.run(command)
        assert done.code == 75
        assert f"another Parley (process {first.pid})" in done.err
    assert first.ended() == 0
    assert shell.run("migrate").code == 0


def test_a_directory_that_does_not_exist_is_named(shell: Shell) -> None:
    done = shell.chat("hello", env={"DATABASE_URL": "sqlite:///nowhere/parley.db"})
    assert done.code == 78
    assert "does not exist" in done.err


def test_a_store_that_may_not_be_written_is_refused(shell: Shell) -> None:
    shell.chat("hello")
    shell.give_away()
    shell.store.chmod(0o444)
    before = shell.contents()
    done = shell.chat("hello again", uid=unprivileged())
    assert done.code == 78
    assert "may not be written" in done.err
    assert shell.contents()["parley.db"] == before["parley.db"]
    assert set(shell.contents()) == set(before)


def test_a_store_that_may_not_be_read_is_refused(shell: Shell) -> None:
    shell.chat("hello")
    shell.give_away()
    shell.store.chmod(0)
    done = shell.chat("hello again", uid=unprivileged())
    assert done.code == 78
    assert "can't be read" in done.err


@pytest.mark.parametrize("begun", [False, True])
def test_a_directory_that_may_not_be_written_is_refused(shell: Shell, begun: bool) -> None:
    if begun:
        shell.chat("hello")
        (shell.home / "parley.db.lock").unlink()
    shell.give_away()
    shell.home.chmod(0o555)
    before = shell.contents()
    done = shell.chat("hello again", uid=unprivileged())
    assert done.code == 78
    assert "can't be written" in done.err
    assert shell.contents() == before


def test_a_full_disk_is_told_and_what_was_taken_before_is_kept(shell: Shell) -> None:
    shell.chat("before")
    size = shell.store.stat().st_size
    lines = [f"{number} " + "x" * 15_000 for number in range(40)]
    done = shell.chat(*lines, file_bytes=size + 200_000)
    assert done.code == 75
    # The disk is full when a message is taken, or when its answer is to be kept.
    assert any(start in done.out for start in ("Your message was not taken: ", "Your message is kept, and answered when "))
    told = [line.removeprefix("You said: ") for line in done.out.splitlines() if line.startswith("You said: ")]
    stored = read_ledger(shell.store)
    assert stored.texts[0] == "before"
    assert 0 < len(told) <= len(stored.texts) - 1 < len(lines)
    assert stored.texts[1:] == lines[: len(stored.texts) - 1]

    assert shell.chat("after").code == 0
    ledger = read_ledger(shell.store)
    assert ledger.texts[-1] == "after"
    assert ledger.open == []
    assert all(len(said.answers) == 1 for said in ledger.said)


def test_a_disk_that_is_full_from_the_start_ends_with_75(shell: Shell) -> None:
    done = shell.chat("hello", file_bytes=20_000)
    assert done.code == 75
    assert done.err.startswith("parley: ")
    assert "parley.db" not in shell.contents()
    assert shell.chat("hello").out == "You said: hello\n"


def test_a_program_that_keeps_the_file_locked_is_named_as_the_reason(shell: Shell) -> None:
    shell.chat("before")
    with locked(shell.store):
        done = shell.chat("hello")
    assert done.code == 75
    assert "locked" in done.out + done.err
    assert read_ledger(shell.store).texts == ["before"]
    assert shell.chat("after").out == "You said: after\n"


def test_migrate_makes_the_store_and_doctor_finds_it_whole(shell: Shell) -> None:
    done = shell.run("doctor")
    assert done.code == 0
    assert "will be made at the first start" in done.out
    assert shell.contents() == {}
    for _ in range(2):
        done = shell.run("migrate")
        assert done.code == 0
        assert "is up to date (SQLite " in done.out
    shell.chat("hello")
    done = shell.run("doctor")
    assert f"parley.db: whole, 2 messages, schema {HEAD}" in done.out
    assert shell.store.stat().st_mode & 0o777 == 0o600


def test_doctor_says_what_is_wrong_and_ends_with_78(shell: Shell) -> None:
    make_foreign(shell, "text")
    before = shell.contents()
    done = shell.run("doctor", env={"DISCORD_TOKEN": "x.y.z"})
    assert done.code == 78
    assert "✗" in done.out
    assert "is not a Parley store" in " ".join(done.out.split())
    assert shell.contents() == before


def test_sweep_purges_what_is_due_and_nothing_else(shell: Shell) -> None:
    shell.chat("hello")
    assert shell.run("sweep").out == "0 conversations expired, 0 rows purged, 0 event ids dropped.\n"
    short = {"CONVERSATION_TTL": "1s", "PURGE_AFTER": "1s"}
    with closing(sqlite3.connect(shell.store)) as db:
        db.execute("UPDATE conversation SET active_at = active_at - 10000000")
        db.commit()
    assert shell.run("sweep", env=short).out.startswith("1 conversations expired, 0 rows")
    with closing(sqlite3.connect(shell.store)) as db:
        db.execute("UPDATE conversation SET expired_at = expired_at - 10000000")
        db.commit()
    assert "4 rows purged" in shell.run("sweep", env=short).out
    assert read_ledger(shell.store).texts == []


def test_a_backup_is_made_while_a_chat_goes_on_and_can_be_put_back(shell: Shell) -> None:
    life = shell.start("chat")
    life.say("one")
    assert life.read_until(lambda life: life.text == "You said: one\n")
    done = shell.run("backup", "copy.db")
    assert (done.code, done.out) == (0, "copy.db: 2 messages, checked.\n")
    assert shell.run("restore", "copy.db", "--yes").code == 75
    life.say("two")
    assert life.ended() == 0
    assert life.text == "You said: one\nYou said: two\n"

    assert shell.run("backup", "copy.db").code == 78
    done = shell.run("restore", "copy.db")
    assert done.code == 64
    assert "say --yes" in done.err
    assert read_ledger(shell.store).texts == ["one", "two"]
    done = shell.run("restore", "copy.db", "--yes")
    assert done.code == 0
    assert read_ledger(shell.store).texts == ["one"]
    (aside,) = shell.home.glob("parley.db.replaced-*")
    assert str(aside.name) in done.out
    assert read_ledger(aside).texts == ["one", "two"]
    assert shell.chat("/history").out.splitlines()[-2] == "Parley: You said: one"


def test_a_restore_of_what_is_no_backup_changes_nothing(shell: Shell) -> None:
    shell.chat("hello")
    (shell.home / "text.db").write_text("dear diary\n" * 100)
    before = shell.contents()
    assert shell.run("restore", "text.db", "--yes").code == 65
    assert shell.run("restore", "nowhere.db", "--yes").code == 78
    assert shell.contents() == before
