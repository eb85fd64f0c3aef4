"""`parley migrate-store` as an operator meets it."""

import contextlib
import sqlite3

from tests.e2e.shell import Shell


def test_a_conversation_goes_on_in_postgresql_and_back_in_a_file(shell: Shell, database: str) -> None:
    key = {"ENCRYPTION_KEY": "00112233445566778899aabbccddeeff" * 2}
    shell.chat("one", env=key)
    done = shell.run("migrate-store", "sqlite:///parley.db", database, env=key)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0].split() == ["table", "rows", "moved", "checksum"]
    assert done.out.splitlines()[3].split()[:3] == ["message", "2", "2"]
    assert shell.chat("two", env=key | {"DATABASE_URL": database}).code == 0
    assert shell.run("migrate-store", database, "sqlite:///back.db", env=key).code == 0
    told = shell.chat("/history", env=key | {"DATABASE_URL": "sqlite:///back.db"})
    assert [word in told.out for word in ("one", "two")] == [True, True]


def test_what_can_not_be_moved_is_told_in_one_line(shell: Shell, database: str) -> None:
    def refused(source: str, target: str) -> tuple[int, str]:
        done = shell.run("migrate-store", source, target)
        assert len(done.err.splitlines()) == 1
        return done.code, done.err

    assert refused("sqlite:///parley.db", database) == (
        78,
        "parley: parley.db does not exist: there is nothing to move\n",
    )
    assert not shell.store.exists()
    shell.chat("hello")
    code, said = refused("sqlite:///parley.db", "mysql://user:hunter2@host/name")
    assert code == 78
    assert "hunter2" not in said
    assert refused("sqlite:///parley.db", f"sqlite:///{shell.store}")[0] == 78
    shell.chat("hello", env={"DATABASE_URL": database})
    code, said = refused("sqlite:///parley.db", database)
    assert code == 78
    assert "is not empty" in said
    assert refused("sqlite:///parley.db", "postgresql://parley:hunter2@127.0.0.1:1/parley?connect_timeout=1")[0] == 75


def test_a_move_whose_end_differs_is_an_error_and_the_target_stays_refused(shell: Shell) -> None:
    shell.chat("hello")
    # A row that was moved and then lost stands for all that may go wrong.
    assert shell.run("migrate-store", "sqlite:///parley.db", "sqlite:///there.db").code == 0
    with contextlib.closing(sqlite3.connect(shell.home / "there.db")) as there:
        there.execute("INSERT INTO note (name, text) VALUES (char(31) || 'moving', ?)", (str(shell.store),))
        there.execute("DELETE FROM message WHERE id = 1")
        there.commit()
    done = shell.run("migrate-store", "sqlite:///parley.db", "sqlite:///there.db")
    assert done.code == 65
    assert done.err.startswith("parley: the tables differ")
    refused = shell.chat("hello", env={"DATABASE_URL": "sqlite:///there.db"})
    assert refused.code == 78
    assert "half moved" in refused.err
