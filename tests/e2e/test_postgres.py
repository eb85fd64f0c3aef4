"""The whole program on a real PostgreSQL, as an operator meets it: chats, kills, two at once, every command of the shell."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from store.migrate import HEAD
from tests.e2e.servers import Model
from tests.e2e.shell import Shell
from tests.engines.postgres import PostgresServer
from tests.engines.transaction_pooler import TransactionPooler

SAID = "SELECT text FROM message WHERE role = {role} ORDER BY id"
PASSWORD = "hunter2/%?"
DIRECTLY, POOLED = "directly", "through a pooler"
EITHER_WAY = pytest.mark.parametrize("address", [DIRECTLY, POOLED], indirect=True)
"""A pooler in transaction mode gives each transaction another connection, and nobody should notice."""


@pytest.fixture
def address(server: PostgresServer, database: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the program finds its database: at the server, unless a test goes `EITHER_WAY`."""
    if getattr(request, "param", DIRECTLY) == DIRECTLY:
        yield database
        return
    with TransactionPooler.before(server) as pooler:
        yield pooler.url(database)
        assert pooler.transactions["parley"], "it went by the pooler"


def on(shell: Shell, server: PostgresServer, address: str) -> Shell:
    """Set the database, by an address with a password, and PostgreSQL's programs."""
    named = address.replace("parley@", f"parley:{quote(PASSWORD, safe='')}@")
    shell.env |= {"DATABASE_URL": named, "PATH": f"{server.bin}:{os.environ['PATH']}"}
    return shell


@pytest.fixture
def shell(shell: Shell, server: PostgresServer, address: str) -> Shell:
    return on(shell, server, address)


@pytest.fixture
def talk(talk: Shell, server: PostgresServer, address: str) -> Shell:
    return on(talk, server, address)


def told(server: PostgresServer, database: str, *, role: int = 0) -> list[str]:
    """What stands in the store, by people (0) or by Parley (1)."""
    return [str(text) for (text,) in server.execute(SAID.format(role=role), database=database.rpartition("/")[2])]


def test_a_chat_in_a_pipe_goes_on_where_it_was_left(shell: Shell, server: PostgresServer, database: str) -> None:
    assert shell.chat("hello", "and again").out == "You said: hello\nYou said: and again\n"
    done = shell.run("run", stdin="/history\n")
    assert "Parley: You said: and again" in done.out
    assert f"kept in PostgreSQL at 127.0.0.1:{server.port}/{database.rpartition('/')[2]};" in done.err
    assert "hunter2" not in done.err + done.out
    assert "parley:" not in done.err
    assert told(server, database) == ["hello", "and again"]
    assert shell.contents() == {}


@EITHER_WAY
def test_a_chat_that_is_killed_goes_on_and_answers_once(
    talk: Shell, model: Model, server: PostgresServer, database: str
) -> None:
    model.plan({"say": ["half", " of"], "then": "stall"})
    life = talk.start("chat")
    life.say("are you there?")
    assert life.read_until(lambda life: "half" in life.text)
    os.kill(life.pid, signal.SIGKILL)
    life.ended()
    # As if the half minute had passed in which the dead process holds its turn.
    server.execute("UPDATE conversation SET lease_until = 0", database=database.rpartition("/")[2])
    done = talk.chat("and now?")
    assert done.out == "You asked: are you there?\nYou asked: and now?\n"
    assert told(server, database) == ["are you there?", "and now?"]
    assert told(server, database, role=1) == ["You asked: are you there?", "You asked: and now?"]


@EITHER_WAY
def test_two_processes_on_one_database_answer_each_line_once(shell: Shell, server: PostgresServer, database: str) -> None:
    lines = {name: [f"{name} {number}" for number in range(25)] for name in ("ann", "ben")}

    def talk(name: str) -> str:
        home = shell.home / name
        home.mkdir()
        own = Shell(shell._zygote, home, **shell.env)
        return own.chat(*lines[name], options=("--user", name)).out

    with ThreadPoolExecutor() as pool:
        answers = dict(zip(lines, pool.map(talk, lines), strict=True))
    for name, said in lines.items():
        assert answers[name].splitlines() == [f"You said: {line}" for line in said]
    stored = Counter(told(server, database, role=1))
    assert stored == Counter(f"You said: {line}" for said in lines.values() for line in said)


@EITHER_WAY
def test_every_command_of_the_shell_works_on_it(shell: Shell, address: str) -> None:
    place = f"PostgreSQL at {address.rpartition('@')[2]}"
    done = shell.run("doctor")
    assert done.code == 0
    seen = " ".join(done.out.split())
    assert f"{place}: PostgreSQL 18" in seen
    assert "the first start makes its tables, can be written" in seen
    assert "pg_dump, pg_restore and psql are there" in seen
    assert shell.run("migrate").out.startswith(f"{place} is up to date (PostgreSQL 18")
    shell.chat("hello", options=("--user", "ann"))
    assert f"2 messages, schema {HEAD}, can be written" in " ".join(shell.run("doctor").out.split())
    assert shell.run("sweep").out == "0 conversations expired, 0 rows purged, 0 event ids dropped.\n"
    assert "2 messages of 1 conversations" in shell.run("export", "console:ann", ".").out


def test_doctor_names_what_is_missing(shell: Shell, server: PostgresServer, database: str) -> None:
    (empty := shell.home / "bin").mkdir()
    done = shell.run("doctor", env={"PATH": str(empty)})
    assert done.code == 0
    assert "pg_dump, pg_restore, psql not found" in " ".join(done.out.split())
    server.execute("CREATE TABLE message (text text)", database=database.rpartition("/")[2])
    done = shell.run("doctor")
    assert done.code == 78
    assert "belongs to another program" in " ".join(done.out.split())
    server.execute("CREATE USER reader")
    done = shell.run("doctor", env={"DATABASE_URL": server.database().replace("parley@", "reader@")})
    assert done.code == 78
    assert "may make no tables" in " ".join(done.out.split())
    assert "reader" not in done.out
    gone = shell.run("doctor", env={"DATABASE_URL": server.url("nowhere")})
    assert gone.code == 78
    assert "createdb" in gone.out


def test_a_backup_is_made_while_a_chat_goes_on_and_can_be_put_back(
    shell: Shell, server: PostgresServer, database: str
) -> None:
    life = shell.start("chat")
    life.say("one")
    assert life.read_until(lambda life: life.text == "You said: one\n")
    done = shell.run("backup", "copy.dump")
    assert (done.code, done.out) == (0, "copy.dump: 2 messages, checked.\n")
    assert (shell.home / "copy.dump").stat().st_mode & 0o777 == 0o600
    done = shell.run("restore", "copy.dump", "--yes")
    assert done.code == 75
    assert "stop all that use it" in done.err
    life.say("two")
    assert life.ended() == 0

    assert shell.run("backup", "copy.dump").code == 78
    done = shell.run("restore", "copy.dump")
    assert done.code == 64
    assert "say --yes to erase what PostgreSQL at" in done.err
    assert told(server, database) == ["one", "two"]
    done = shell.run("restore", "copy.dump", "--yes")
    assert done.code == 0, done.err
    assert done.out == f"PostgreSQL at {database.rpartition('@')[2]}: 2 messages.\n"
    assert told(server, database) == ["one"]
    assert shell.chat("three").out == "You said: three\n"


def test_a_restore_of_what_is_no_backup_changes_nothing(shell: Shell, server: PostgresServer, database: str) -> None:
    shell.chat("hello")
    (shell.home / "text").write_text("dear diary\n" * 100)
    assert shell.run("restore", "text", "--yes").code == 65
    assert shell.run("restore", "nowhere", "--yes").code == 78
    assert told(server, database) == ["hello"]


def test_without_the_servers_programs_a_copy_is_refused_by_name(shell: Shell, tmp_path: Path) -> None:
    shell.chat("hello")
    for command in (("backup", "copy.dump"), ("restore", "copy.dump", "--yes")):
        done = shell.run(*command, env={"PATH": str(tmp_path)})
        assert done.code == 78
        assert done.err.startswith("parley: pg_dump, pg_restore, psql can't be found")
        assert len(done.err.splitlines()) == 1
    assert shell.contents() == {}


def test_no_password_is_in_any_output(shell: Shell, server: PostgresServer) -> None:
    shell.run("migrate")
    server.stop()
    try:
        for command in ("chat", "migrate", "sweep", "doctor", "backup copy", "restore copy"):
            done = shell.run(*command.split(), stdin="hello\n")
            assert done.code in (75, 78)
            assert "hunter2" not in done.out + done.err
            assert quote(PASSWORD, safe="") not in done.out + done.err
            assert "parley@" not in done.out + done.err
    finally:
        server.start()
