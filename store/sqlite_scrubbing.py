"""Makes sure that what was erased is gone from the bytes of a SQLite store's files, and not only from its tables.

SQLite's `secure_delete` overwrites a row where it stands, but not the copies of it that were left when rows were moved from
page to page; of 20,000 messages that came and went in any order some dozens stayed readable. They lie between a page's list
of its rows and the rows themselves, in bytes that mean nothing to SQLite, and are overwritten here, right in the file. The
write-ahead log has older copies of whole pages: it is emptied first, so nothing but the file is left.
"""

import asyncio
import contextlib
import logging
import os
import sqlite3
from datetime import timedelta
from functools import partial
from pathlib import Path

from store.errors import StoreClosed, StoreError, StoreUnavailable
from store.sqlite_writer import BUSY_TIMEOUT_MS, SqliteWriter

log = logging.getLogger(__name__)

SCRUB_AFTER = timedelta(seconds=20)
"""How long after an erasure the store begins to scrub: many erasures are scrubbed at once, and 60 s are promised."""
SCRUB_AGAIN = timedelta(seconds=5)
"""When it is tried again while somebody, such as `parley backup`, reads an older state."""
SLICE = 8 << 20
"""Bytes that are scrubbed while nobody else is served: some 5 ms."""
PIECE = 1 << 16
"""Bytes that are in memory at a time: the largest page there is, and 16 of the usual ones."""

_TREE_PAGES = frozenset((2, 5, 10, 13))
_LEAF = 10
_FIRST_PAGE_AT = 100
_PAGES = 2 << 24
"""A file of so many pages, 137 GB, is left alone: in it the first byte of an overflow page, which is the number of the next
one, may look like that of a page of a tree."""


class Scrubber:
    """Scrubs one store's files in time. Made with the store; `last` and `release` end it."""

    def __init__(self, writer: SqliteWriter, path: Path | None) -> None:
        self._writer = writer
        self._path = path
        self._file: int | None = None
        self._due = False
        self._ending = False
        self._task: asyncio.Task[None] | None = None

    def mark(self) -> None:
        """Note that something is being erased; on any thread."""
        self._due = True

    def wake(self) -> None:
        """See to it that what was marked is scrubbed in time."""
        if self._due and self._path is not None and not self._ending and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._in_time(), name=f"scrubber of {self._path}")

    async def empty_journal(self) -> None:
        """Empty the write-ahead log, if nobody reads it just now."""
        with contextlib.suppress(StoreError):
            await self._writer.alone(_empty_journal)

    async def scrub(self) -> None:
        """Scrub the whole store, in slices between which others are served.

        Raises:
            StoreClosed.
            StoreUnavailable: somebody reads an older state.
        """
        if self._path is None:
            await self._writer.alone(lambda db: None)  # what is in memory is gone with its row; a closed store says so
            return
        self._due = False
        at: int | None = 0
        try:
            while at is not None:
                at = await self._writer.alone(partial(self._scrub_slice, at))
        except BaseException:
            self._due = True
            raise

    async def stop(self) -> None:
        """Begin nothing more."""
        self._ending = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def last(self, db: sqlite3.Connection) -> None:
        """Scrub what is still due, before the connection is closed."""
        at: int | None = 0 if self._due and self._path is not None else None
        try:
            while at is not None:
                at = self._scrub_slice(at, db)
        except (StoreError, sqlite3.Error) as exc:
            log.warning("what was erased last may stay in the bytes of %s: %s", self._path, exc)

    def release(self) -> None:
        """Let go of the file, once the connection is closed."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    async def _in_time(self) -> None:
        await asyncio.sleep(SCRUB_AFTER.total_seconds())
        while self._due:
            try:
                await self.scrub()
            except StoreClosed:
                return
            except StoreError as exc:
                log.warning("what was erased is not yet gone from the bytes of %s: %s", self._path, exc)
                await asyncio.sleep(SCRUB_AGAIN.total_seconds())

    def _scrub_slice(self, at: int, db: sqlite3.Connection) -> int | None:
        """Scrub the pages from byte `at` on; return where the next slice begins, None when there is none."""
        # With every slice, since pages that were changed meanwhile stand in the journal alone.
        if not _empty_journal(db):
            raise StoreUnavailable(f"an older state of {self._path} is being read: it is tried again")
        try:
            cleared, after = self._clear(at)
        except OSError as exc:
            raise StoreUnavailable(f"{self._path} can't be scrubbed ({exc.strerror}): check the disk") from exc
        if cleared:
            db.execute("PRAGMA shrink_memory")  # SQLite would write its own copies of the pages back one day
        return after

    def _clear(self, at: int) -> tuple[int, int | None]:
        if self._path is None:
            return 0, None
        if self._file is None:
            # It stays open as long as the connection: to close it would take SQLite's own locks on the file away.
            self._file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        size = int.from_bytes(os.pread(self._file, 2, 16)) or 1
        size = 65536 if size == 1 else size
        if os.fstat(self._file).st_size // size >= _PAGES:
            return 0, None
        cleared, pages = 0, b""
        for piece in range(at, at + SLICE, PIECE):
            pages = os.pread(self._file, PIECE, piece)
            for page in range(0, len(pages) - size + 1, size):
                start, end = _gap(pages, page, page + (_FIRST_PAGE_AT if piece + page == 0 else 0), size)
                if start < end and pages.count(0, start, end) != end - start:
                    os.pwrite(self._file, bytes(end - start), piece + start)
                    cleared += 1
            if len(pages) < PIECE:
                break
        if cleared:
            os.fsync(self._file)
        return cleared, at + SLICE if len(pages) == PIECE else None


def _gap(pages: bytes, page: int, header: int, size: int) -> tuple[int, int]:
    """Tell where the bytes begin and end that a page of a tree does not use; of any other page, none."""
    kind = pages[header]
    if kind not in _TREE_PAGES:
        return 0, 0
    rows = int.from_bytes(pages[header + 3 : header + 5])
    content = int.from_bytes(pages[header + 5 : header + 7]) or 65536
    start = header + (8 if kind >= _LEAF else 12) + 2 * rows
    return (start, page + content) if content <= size else (0, 0)


def _empty_journal(db: sqlite3.Connection) -> bool:
    """Empty the write-ahead log; False when somebody reads an older state. Nobody is kept waiting for them."""
    db.execute("PRAGMA busy_timeout = 0")
    try:
        busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy
    finally:
        db.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
