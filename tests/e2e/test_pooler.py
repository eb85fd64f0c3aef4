"""The whole program on PostgreSQL behind a pooler in transaction mode, which gives each transaction another connection."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.servers import Model
from tests.e2e.shell import Shell
from tests.engines.postgres import PostgresServer
from tests.engines.transaction_pooler import TransactionPooler

SAID = "SELECT text FROM message WHERE role = {role} ORDER BY id"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer.made(options={"fsync": "off"}) as made:
        yield made


@pytest.fixture(scope="module")
def pooler(server: PostgresServer) -> Iterator[TransactionPooler]:
    with TransactionPooler.before(server) as made:
        yield made


@pytest.fixture
def database(server: PostgresServer) -> str:
    return server.database()


def told(server: PostgresServer, database: str, *, role: int) -> list[str]:
    """What stands in the store, by people (0) or by Parley (1)."""
    return [str(text) for (text,) in server.execute(SAID.format(role=role), database=database.rpartition("/")[2])]


def test_two_processes_behind_a_pooler_answer_each_line_once(
    shell: Shell, server: PostgresServer, pooler: TransactionPooler, database: str
) -> None:
    shell.env |= {"DATABASE_URL": pooler.url(database)}
    lines = {name: [f"{name} {number}" for number in range(10)] for name in ("ann", "ben")}

    def talk(name: str) -> str:
        home = shell.home / name
        home.mkdir()
        return Shell(shell._zygote, home, **shell.env).chat(*lines[name], options=("--user", name)).out

    with ThreadPoolExecutor() as pool:
        answers = dict(zip(lines, pool.map(talk, lines), strict=True))
    for name, said in lines.items():
        assert answers[name].splitlines() == [f"You said: {line}" for line in said]
    expected = Counter(f"You said: {line}" for said in lines.values() for line in said)
    assert Counter(told(server, database, role=1)) == expected
    assert pooler.transactions["parley"] > 40, "they went by the pooler"


def test_a_chat_behind_a_pooler_that_is_killed_goes_on_and_answers_once(
    talk: Shell, model: Model, server: PostgresServer, pooler: TransactionPooler, database: str
) -> None:
    talk.env |= {"DATABASE_URL": pooler.url(database)}
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
    assert told(server, database, role=1) == ["You asked: are you there?", "You asked: and now?"]


def test_doctor_finds_nothing_wrong_behind_a_pooler(shell: Shell, pooler: TransactionPooler, database: str) -> None:
    shell.env |= {"DATABASE_URL": pooler.url(database)}
    assert shell.run("migrate").code == 0
    done = shell.run("doctor")
    assert done.code == 0, done.out
    assert "can be written" in " ".join(done.out.split())
