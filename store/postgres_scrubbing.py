"""Makes sure that what was erased is gone from the files of a PostgreSQL store's tables, as far as its user may.

A row that is erased stays in its table's file, and VACUUM only gives its room to others: after it, 1,389 of 4,859 erased
texts stood in the file, and all of 108 long ones, which PostgreSQL keeps apart. They go when the table is written anew, but
nobody can use it meanwhile. So a small table is written anew, and a large one is vacuumed, which disturbs nobody. The
server's journal (WAL) is its own: what stands there is overwritten or removed when the server is done with it.
"""

import asyncio
import logging
from contextvars import Context
from datetime import timedelta

import psycopg
from psycopg import sql

from store.errors import StoreClosed, StoreError, StoreUnavailable
from store.postgres_pool import Connection, PostgresPool, Row, translated

log = logging.getLogger(__name__)

SCRUB_AFTER = timedelta(seconds=20)
"""How long after an erasure the store begins to scrub: many erasures are scrubbed at once, and 60 s are promised."""
SCRUB_AGAIN = timedelta(seconds=5)
"""When it is tried again while somebody, such as `parley backup`, reads an older state."""
READERS = timedelta(seconds=2)
"""How long whoever reads an older state is waited for."""
LOOKING = timedelta(milliseconds=50)
"""How often it is looked whether somebody still does."""
CLOSING = timedelta(seconds=5)
"""How long closing waits for what was erased last to be scrubbed; the server's own VACUUM comes to it later."""
REWRITTEN = 16 << 20
"""Bytes of a table, with its indexes, that is written anew: a fifth of a second in which nobody reads or writes it."""
LOCKING = "100ms"
"""How long a rewrite waits for the table: whoever comes behind it waits, too."""

TABLES = (
    "message",
    "attachment",
    "conversation",
    "participant",
    "turn",
    "part",
    "feedback",
    "account",
    "setting",
    "audit",
    "watermark",
    "note",
    "installation",
)
"""Tables from which something is erased."""

_SIZES = """
SELECT c.relname, x.relname, pg_total_relation_size(c.oid) FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid
JOIN pg_class x ON x.oid = i.indexrelid
WHERE i.indisprimary AND c.relname = ANY (%s) AND c.relnamespace = quote_ident(current_schema())::regnamespace"""
_BEFORE = "SELECT pg_snapshot_xmax(pg_current_snapshot())::xid::text"
# Those of other users can't be seen. An erasure is younger than all that began before it, and older than `before`.
_OLDER = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
AND backend_xmin IS NOT NULL AND age(backend_xmin) > age(%s::xid)"""


class Scrubber:
    """Scrubs one store in time; `stop` ends it."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool
        self._due = False
        self._ending = False
        self._task: asyncio.Task[None] | None = None

    def mark(self) -> None:
        """Note that something was erased, and see to it that it is scrubbed in time."""
        self._due = True
        if not self._ending and (self._task is None or self._task.done()):
            # Not in the context of a call: what the pool notes of that would go on for as long as the task.
            work = self._in_time()
            self._task = asyncio.create_task(work, name=f"scrubber of {self._pool.place}", context=Context())

    async def scrub(self) -> None:
        """Scrub the whole store.

        Raises:
            StoreClosed.
            StoreUnavailable: somebody reads an older state, or a table was in use all the time.
            StoreDenied: the tables are another user's.
        """
        with self._pool.begun():
            self._due = False
            try:
                await self._scrub()
            except BaseException:
                self._due = True
                raise

    async def stop(self) -> None:
        """Scrub what is due, and begin nothing more; may be called twice."""
        if self._ending:
            return
        self._ending = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._due:
            try:
                async with asyncio.timeout(CLOSING.total_seconds()):
                    await self.scrub()
            except (StoreError, TimeoutError) as exc:
                log.warning("what was erased last may stay in the files of %s for a time: %s", self._pool.place, exc)

    async def _in_time(self) -> None:
        await asyncio.sleep(SCRUB_AFTER.total_seconds())
        while self._due:
            try:
                await self.scrub()
            except StoreClosed:
                return
            except StoreError as exc:
                log.warning("what was erased is not yet gone from the files of %s: %s", self._pool.place, exc)
                await asyncio.sleep(SCRUB_AGAIN.total_seconds())

    async def _scrub(self) -> None:
        try:
            async with self._pool.apart() as db:
                await scrub_tables(db, self._pool.place)
        except psycopg.Error as exc:
            raise translated(exc, self._pool.place) from exc


async def scrub_tables(db: Connection, place: str, *, however_large: bool = False) -> None:
    """Scrub all tables; those of more than `REWRITTEN` bytes are only vacuumed, unless they are written anew as well.

    Raises:
        StoreUnavailable: somebody reads an older state, or a table was in use all the time.
        psycopg.Error.
    """
    await await_older(db, place, READERS)
    cursor = await db.execute(_SIZES.encode(), (list(TABLES),))
    in_use = [
        table
        for table, key, size in await cursor.fetchall()
        if not await (_rewritten(db, table, key) if however_large or size <= REWRITTEN else _vacuumed(db, table))
    ]
    if in_use:
        raise StoreUnavailable(f"{place} has tables in use ({', '.join(in_use)}): they are tried again")


async def await_older(db: Connection, place: str, patience: timedelta) -> None:
    """Wait until nobody reads a state older than now: for them, what was erased is still there and can't go.

    Raises:
        StoreUnavailable: somebody does for longer than `patience`.
        psycopg.Error.
    """
    (before,) = await _first(db, _BEFORE)
    for _ in range(patience // LOOKING + 1):
        if not (await _first(db, _OLDER, (before,)))[0]:
            return
        await asyncio.sleep(LOOKING.total_seconds())
    raise StoreUnavailable(f"an older state of {place} is being read: it is tried again")


async def _rewritten(db: Connection, table: str, key: str) -> bool:
    """Write a table anew with its indexes; False when it could not be had."""
    try:
        # In a transaction, so that a pooler lends one connection to it all, and gets it back as it was.
        async with db.transaction():
            await db.execute(f"SET LOCAL lock_timeout = '{LOCKING}'".encode())
            await db.execute("SET LOCAL statement_timeout = 0")
            await db.execute(sql.SQL("CLUSTER {} USING {}").format(sql.Identifier(table), sql.Identifier(key)))
    except psycopg.errors.LockNotAvailable:
        return False
    return True


async def _vacuumed(db: Connection, table: str) -> bool:
    # Else the indexes are left for later where little was erased.
    await db.execute(sql.SQL("VACUUM (INDEX_CLEANUP ON) {}").format(sql.Identifier(table)))
    return True


async def _first(db: Connection, statement: str, parameters: tuple[object, ...] = ()) -> Row:
    cursor = await db.execute(statement.encode(), parameters)
    return (await cursor.fetchall())[0]
