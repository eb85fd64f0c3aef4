"""A store of one bot on either engine, as a trial sees it: what is in it, and how time goes on for it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from store.rows import MICROSECOND
from tests.e2e.ledger import Ledger, read_database, read_ledger
from tests.engines.postgres import PostgresServer
from tests.trials.waiting import wait_for

OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'parley' AND datname = current_database()"
LATER = "UPDATE budget SET free_at = 0"
HEARD_EARLIER = "UPDATE seen SET at = at - {microseconds}"


class Kept(Protocol):
    """A store that a bot has for itself."""

    name: str
    url: str
    """What the bot is told to use."""

    @property
    def ledger(self) -> Ledger:
        """What is in it; nobody may be writing to it."""

    @property
    def now(self) -> Ledger:
        """What is in it at this moment, whoever is writing to it on PostgreSQL, nobody on SQLite."""

    @property
    def bytes(self) -> int:
        """What it takes on the disk, without a journal."""

    def outlast(self) -> None:
        """Let time go on until the platform lets the next process begin a session: nobody restarts a bot twice a second."""

    def age(self, time: timedelta) -> None:
        """Let everything that was heard be so much older; nobody may be writing to it."""

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows, whoever is writing to it on PostgreSQL, nobody on SQLite."""


class SqliteFile:
    """A file, which one process has at a time."""

    name = "SQLite"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.url = f"sqlite:///{path}"

    @property
    def ledger(self) -> Ledger:
        return read_ledger(self._path)

    now = ledger

    @property
    def bytes(self) -> int:
        return self._path.stat().st_size if self._path.exists() else 0

    def outlast(self) -> None:
        """Nothing has to pass: a file's process keeps the pace of its own sessions."""

    def age(self, time: timedelta) -> None:
        self.execute(HEARD_EARLIER.format(microseconds=time // MICROSECOND))

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._path)) as db, db:
            return db.execute(statement).fetchall()


class PostgresDatabase:
    """A database of a server."""

    name = "PostgreSQL"

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        """The one that is written to; another one after a promotion."""
        self.url = server.database()
        self.database = self.url.rpartition("/")[2]

    @property
    def ledger(self) -> Ledger:
        self._until_nobody_writes()
        return self.now

    @property
    def now(self) -> Ledger:
        return read_database(self.server.url(self.database))

    @property
    def bytes(self) -> int:
        ((size,),) = self.execute("SELECT pg_database_size(current_database())")
        return int(size)

    def outlast(self) -> None:
        """As if the server's clock had gone on by a few seconds."""
        self._until_nobody_writes()
        self.execute(LATER)

    def age(self, time: timedelta) -> None:
        self._until_nobody_writes()
        self.execute(HEARD_EARLIER.format(microseconds=time // MICROSECOND))

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        return self.server.execute(statement, database=self.database)

    def _until_nobody_writes(self) -> None:
        """The server goes on for a moment with what a killed process has sent it."""
        wait_for(lambda: self.execute(OURS) == [(0,)], pause=0.005, told=lambda: "connections of a process that is dead")


@contextmanager
def kept_in(engine: str, directory: Path) -> Iterator[Kept]:
    """Make an empty store on "SQLite" or "PostgreSQL"."""
    if engine == SqliteFile.name:
        yield SqliteFile(directory / "parley.db")
    else:
        with PostgresServer.made() as server:
            yield PostgresDatabase(server)


ENGINES = (SqliteFile.name, PostgresDatabase.name)
