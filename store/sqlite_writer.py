"""One SQLite connection whose concurrent writes are committed in groups, one thread hop a group.

Work is a plain function on the connection. What gathers while a group is being committed makes up the next group: one
`BEGIN IMMEDIATE`, the functions in the order they came, one `COMMIT`, one fsync. There is no `await` between BEGIN and
COMMIT, so no cancelled task can leave a transaction open; a cancelled call that had not begun is left out, one that had is
carried out whole. Proved by `tests/store/test_sqlite_writer.py`.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import aiosqlite

from store.errors import StoreClosed, StoreDamaged, StoreDenied, StoreError, StoreUnavailable
from store.sqlite_seals import SealedConnection

NO_TEXT = "Could not decode"
"""What the driver says of a text that is no valid UTF-8."""

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

GROUP = 256
"""Functions committed together at most: beyond it a group only adds to the waiting of those in it (measured)."""
BUSY_TIMEOUT_MS = 5000
"""How long another program's lock on the file is waited for before the call is given up."""

PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # what was acknowledged survives a power cut; grouping makes it cheap
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",  # what people have forgotten is overwritten, not only unlinked
    # More makes turns hardly faster, and a checkpoint is the longest that a turn has to wait (docs/performance.md).
    "PRAGMA wal_autocheckpoint = 2000",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA cache_size = -64000",  # the pages of 1,000 conversations at once in a large store (docs/performance.md)
    "PRAGMA temp_store = MEMORY",
    "PRAGMA mmap_size = 0",
)


class SqliteWriter:
    """The one connection that writes to one file. Made by `open`, ended by `aclose`."""

    def __init__(self, connection: aiosqlite.Connection, place: str) -> None:
        self.place = place
        """What errors call it."""
        self._connection = connection
        self._waiting: list[tuple[Work[Any], asyncio.Future[Any]]] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._closed: asyncio.Task[None] | None = None
        self.groups = 0
        """Commits, and so thread hops, since the start: the bench divides them by turns."""
        self._task = asyncio.create_task(self._write(), name=f"writer of {place}")

    @classmethod
    async def open(cls, uri: str, *, place: str) -> "SqliteWriter":
        """Connect to `uri` and set the connection up; `place` names it in errors.

        Raises:
            StoreError: as SQLite says, translated.
        """
        try:
            connection = await aiosqlite.connect(
                uri, uri=True, isolation_level=None, cached_statements=256, factory=SealedConnection
            )
        except sqlite3.Error as exc:
            raise translated(exc, place) from exc
        try:
            for pragma in PRAGMAS:
                await connection.execute(pragma)
        except sqlite3.Error as exc:
            await connection.close()
            raise translated(exc, place) from exc
        except BaseException:
            await connection.close()
            raise
        return cls(connection, place)

    async def run(self, work: Work[T]) -> T:
        """Run `work` inside a transaction and return its result once that is committed.

        When it raises, nothing that it did is kept, and the others of its group are not touched by that.

        Raises:
            StoreClosed, StoreUnavailable, StoreDamaged: and whatever `work` raises.
        """
        self.require_open()
        outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, outcome))
        self._wake.set()
        return await outcome

    async def alone(self, work: Work[T]) -> T:
        """Run `work` outside a transaction, between two groups: for checkpoints and pragmas.

        Raises:
            StoreClosed, StoreUnavailable, StoreDamaged: and whatever `work` raises.
        """
        self.require_open()
        try:
            return await self._hop(work)
        except sqlite3.Error as exc:
            raise translated(exc, self.place) from exc

    def require_open(self) -> None:
        """Raise `StoreClosed` when nothing more is taken."""
        if self._closing:
            raise StoreClosed(f"{self.place} is closed")

    async def aclose(self, last: Work[None] | None = None) -> None:
        """Commit what was handed in, then close. Every caller waits for that, and it happens whoever gives up.

        `last` is run outside a transaction when everything else is done. The first caller's counts.
        """
        self._closing = True
        self._wake.set()
        if self._closed is None:
            self._closed = asyncio.create_task(self._close(last), name=f"closing of {self.place}")
        await asyncio.shield(self._closed)

    async def _close(self, last: Work[None] | None) -> None:
        await self._task
        try:
            await self._hop(lambda db: db.execute("PRAGMA optimize"))
            if last is not None:
                await self._hop(last)
        except sqlite3.Error:
            pass  # statistics only; a full disk must not keep the file from being closed
        finally:
            await self._connection.close()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                taken, self._waiting = self._waiting[:GROUP], self._waiting[GROUP:]
                group = [(work, outcome) for work, outcome in taken if not outcome.cancelled()]
                try:
                    results = await self._hop(partial(commit_together, [work for work, _ in group], self.place))
                except Exception as exc:  # noqa: BLE001 - an outermost loop: whatever it is, nobody may wait for ever
                    results = [exc] * len(group)
                self.groups += 1
                for (_, outcome), result in zip(group, results, strict=True):
                    if outcome.done():
                        continue
                    if isinstance(result, StopIteration):
                        outcome.set_exception(RuntimeError(f"{result!r} in the store"))  # no future takes it as it is
                    elif isinstance(result, BaseException):
                        outcome.set_exception(result)
                    else:
                        outcome.set_result(result)
            if self._closing:
                return

    async def _hop(self, work: Work[T]) -> T:
        # aiosqlite has no public way to run a function in the connection's thread; this is the one place that uses the
        # private one, within the version range of pyproject.toml and under a test.
        connection = self._connection
        return await connection._execute(work, connection._conn)  # type: ignore[no-any-return, no-untyped-call]


def commit_together(group: Sequence[Work[Any]], place: str, db: sqlite3.Connection) -> list[Any]:
    """Run a group in one transaction, or each function in one of its own when any of them fails.

    Returns each function's result, or the error to raise in its stead.
    """
    try:
        return _in_transaction(db, group)
    except Exception as exc:  # noqa: BLE001 - not swallowed: whoever fails alone gets the error
        if isinstance(exc, sqlite3.Error) and _code(exc) == sqlite3.SQLITE_BUSY:
            # The lock was waited for already; to wait once more for each would take the size of the group times as long.
            return [_caused(translated(exc, place), exc) for _ in group]
        return [_alone(db, work, place) for work in group]


def _in_transaction(db: sqlite3.Connection, group: Sequence[Work[Any]]) -> list[Any]:
    db.execute("BEGIN IMMEDIATE")
    try:
        results = [work(db) for work in group]
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return results


def _alone(db: sqlite3.Connection, work: Work[Any], place: str) -> Any:
    try:
        return _in_transaction(db, [work])[0]
    except sqlite3.Error as exc:
        return _caused(translated(exc, place), exc)
    except Exception as exc:  # noqa: BLE001 - the caller's own error, raised where it waits
        return exc


def _caused(error: StoreError, cause: Exception) -> StoreError:
    error.__cause__ = cause
    return error


def _code(exc: sqlite3.Error) -> int:
    # The low byte is the primary code; the rest tells where it happened.
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF


def translated(exc: sqlite3.Error, place: str) -> StoreError:
    """Turn what SQLite raised into the store's own error, with the path and the remedy."""
    match _code(exc):
        case sqlite3.SQLITE_FULL:
            return StoreUnavailable(f"the disk of {place} is full: free some space; nothing of this was kept")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreUnavailable(f"another program keeps {place} locked: close it; nothing of this was kept")
        case sqlite3.SQLITE_IOERR:
            return StoreUnavailable(f"{place} can't be read or written ({exc}): check the disk; nothing of this was kept")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return StoreDenied(f"{place} may not be written: give this user write permission on the file and its directory")
        case sqlite3.SQLITE_CANTOPEN:
            return StoreDenied(f"{place} can't be opened: check that its directory exists and may be written")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreDamaged(f"{place} is damaged: keep it, and put a copy back with `parley restore BACKUP`")
    if NO_TEXT in str(exc):  # the driver's own error, without a code; it quotes the text, so it is not quoted
        return StoreDamaged(f"{place} is damaged: a text is no valid UTF-8; put a copy back with `parley restore BACKUP`")
    return StoreUnavailable(f"{place} failed ({exc}); nothing of this was kept")
