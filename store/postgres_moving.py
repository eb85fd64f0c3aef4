"""A PostgreSQL database that a store is moved from or to (`store.moving`)."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from store.errors import StoreBusy, StoreDenied
from store.migrate import HEAD
from store.moving import Row
from store.moving_tables import TABLES, Table
from store.postgres_in_use import GOING_SECONDS, LOOK_EVERY_SECONDS, connected_as, refuse_connected, refuse_held
from store.postgres_pool import connection_options, place_of, translated
from store.postgres_setup import make_tables, revision_of

LOCK = 0x7061726C6579_01
"""The number of the advisory lock of whoever moves a store from or to a database: "parley" in ASCII, and 1."""
_READ_AT_ONCE = 500
_UNWATCHED = b"""
SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL lock_timeout = '5s'"""
_NAME = "parley move"


class PostgresSide:
    """A database on connections of its own, which no pooler's other clients feel: nothing is set beyond a transaction."""

    def __init__(self, url: str, *, source: bool) -> None:
        """Take the database at `url`. One that is moved from lets others only read until `close`; in one that is moved to,
        tables are made where there are none.

        Raises:
            StoreBusy: turns are under way there, or another move is.
            StoreDenied, NotOurs, StoreUnavailable.
        """
        self.place = place_of(url)
        self._connections: list[psycopg.Connection[Row]] = []
        try:
            with self._told():
                # What is locked stays so until the end of its transaction: rows are written on another connection.
                guard = self._connect(url, autocommit=False)
                self._db = guard if source else self._connect(url, autocommit=True)
                if not source:
                    self._make(url)
                self._take(guard, source=source)
        except BaseException:
            self.close()
            raise

    def _connect(self, url: str, *, autocommit: bool) -> psycopg.Connection[Row]:
        options = {**connection_options(url), "application_name": _NAME}
        self._connections.append(psycopg.connect(url, autocommit=autocommit, prepare_threshold=None, **options))
        return self._connections[-1]

    def _make(self, url: str) -> None:
        revision = revision_of(self._db, self.place)
        if revision is None:
            make_tables(url)
        elif revision != HEAD:
            raise StoreDenied(f"{self.place} has schema {revision}, this Parley has {HEAD}: name a new database")

    def _take(self, guard: psycopg.Connection[Row], *, source: bool) -> None:
        guard.execute(_UNWATCHED)
        until = time.monotonic() + GOING_SECONDS
        while guard.execute("SELECT pg_try_advisory_xact_lock(%s)", (LOCK,)).fetchall() != [(True,)]:
            if time.monotonic() > until:
                raise StoreBusy(f"another `parley migrate-store` is at work in {self.place}: wait for it")
            time.sleep(LOOK_EVERY_SECONDS)
        if not source:
            return
        try:
            names = sql.SQL(", ").join(sql.Identifier(table.name) for table in TABLES)
            guard.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(names))
        except psycopg.errors.LockNotAvailable as exc:
            raise StoreBusy(f"{self.place} is being written to: stop every Parley that uses it") from exc
        refuse_held(guard, self.place)

    def rows(self, statement: str) -> Iterator[Row]:
        with self._begun(), self._db.cursor("rows", binary=True) as cursor:
            cursor.itersize = _READ_AT_ONCE
            cursor.execute(statement.encode())
            yield from cursor

    def write(self, table: Table, rows: Iterable[Row], *, first: str = "") -> None:
        names = sql.SQL(", ").join(map(sql.Identifier, table.columns))
        copy = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table.name), names)
        with self._begun():
            if first:
                self._db.execute(first.encode())
            with self._db.cursor() as cursor, cursor.copy(copy) as copied:
                for row in rows:
                    copied.write_row(row)

    def last_number(self, table: Table) -> int:
        numbers = [*self.rows(table.last()), *self.rows(f"SELECT pg_sequence_last_value({_sequence(table)})")]
        return max(int(number or 0) for (number,) in numbers)

    def go_on_behind(self, table: Table, number: int) -> None:
        if number:
            with self._begun():
                self._db.execute(f"SELECT setval({_sequence(table)}, {number:d})".encode())

    def finish(self) -> None:
        """Let the server look at what it has, so that it finds its ways from the first turn on."""
        with self._begun():
            for table in TABLES:
                self._db.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table.name)))

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    @contextmanager
    def _begun(self) -> Iterator[None]:
        with self._told(), self._db.transaction():
            self._db.execute(_UNWATCHED)
            yield

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as exc:
            raise translated(exc, self.place) from exc


def refuse_in_use(url: str) -> None:
    """Make sure that no Parley is connected to the database at `url`; who has just gone is waited for.

    Raises:
        StoreBusy: one is.
        StoreDenied, StoreUnavailable.
    """
    with connected_as(_NAME, url) as (db, place):
        refuse_connected(db, url, place)


def is_made(url: str) -> bool:
    """Tell whether a store's tables are in the database at `url`.

    Raises:
        StoreDenied, NotOurs, StoreUnavailable.
    """
    with connected_as(_NAME, url) as (db, place):
        return revision_of(db, place) is not None


def _sequence(table: Table) -> str:
    return f"pg_get_serial_sequence('{table.name}', 'id')::regclass"
