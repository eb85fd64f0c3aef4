"""A SQLite file that a store is moved from or to (`store.moving`)."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from store import sqlite_ledger as ledgers
from store.errors import StoreDenied
from store.migrate import HEAD
from store.moving import Row
from store.moving_tables import Table
from store.sqlite_file import FileLock, Found, look, prepare, revision_of, uri_of
from store.sqlite_writer import PRAGMAS, translated

_READ_AT_ONCE = 500


class SqliteSide:
    """A file, locked until `close`; its place is its path."""

    def __init__(self, path: Path) -> None:
        """Take the store at `path`; where nothing is, an empty one is made.

        Raises:
            StoreBusy, StoreDenied, NotOurs, StoreUnavailable, StoreDamaged.
        """
        path = path.resolve()  # a link to it is the same store, with the same lock
        found = look(path)
        self.place = str(path)
        self._path = path
        self._lock = FileLock(path)
        try:
            if found is Found.NOTHING:
                prepare(path)
            _refuse_other_schema(path)
            with self._told():
                self._db = sqlite3.connect(f"{uri_of(path)}?mode=rw", uri=True, isolation_level=None)
        except BaseException:
            self._lock.release()
            raise
        try:
            with self._told():
                for pragma in PRAGMAS:
                    self._db.execute(pragma)
        except BaseException:
            self.close()
            raise

    def rows(self, statement: str) -> Iterator[Row]:
        with self._told():
            cursor = self._db.execute(statement)
        while True:
            with self._told():
                rows = cursor.fetchmany(_READ_AT_ONCE)
            if not rows:
                return
            yield from rows

    def write(self, table: Table, rows: Iterable[Row], *, first: str = "") -> None:
        names = ", ".join(f'"{name}"' for name in table.columns)
        places = ", ".join("?" for _ in table.columns)
        insert = f'INSERT INTO "{table.name}" ({names}) VALUES ({places})'  # noqa: S608 - names of ours
        with self._begun():
            if first:
                self._db.execute(first)
            self._db.executemany(insert, rows)

    def last_number(self, table: Table) -> int:
        given = self.rows(f"SELECT seq FROM sqlite_sequence WHERE name = '{table.name}'")  # noqa: S608 - a name of ours
        return max(int(number or 0) for (number,) in (*given, *self.rows(table.last())))

    def go_on_behind(self, table: Table, number: int) -> None:
        # Tables whose numbers may be used again have no row there, and go on behind the largest by themselves.
        with self._begun():
            self._db.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (number, table.name))
            self._db.execute(
                "INSERT INTO sqlite_sequence (name, seq) SELECT name, ? FROM sqlite_schema WHERE name = ? "
                "AND sql LIKE '%AUTOINCREMENT%' AND name NOT IN (SELECT name FROM sqlite_sequence)",
                (number, table.name),
            )

    def finish(self) -> None:
        """Let the ledger beside the file know what was erased; one that is there already stays in force."""
        with self._told():
            entered = ledgers.entered(self._db)
        written, _ = ledgers.read(ledgers.beside(self._path))
        if entered.beyond(written):
            ledgers.replace(ledgers.beside(self._path), [*written, *entered])

    def close(self) -> None:
        self._db.close()
        self._lock.release()

    @contextmanager
    def _begun(self) -> Iterator[None]:
        with self._told():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise translated(exc, self.place) from exc


def _refuse_other_schema(path: Path) -> None:
    revision = revision_of(path)
    if revision != HEAD:
        raise StoreDenied(f"{path} has schema {revision}, this Parley has {HEAD}: name a new file")
