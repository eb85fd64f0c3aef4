"""How the calls of the SQLite store reach its one writing connection: the base of the classes that have them."""

import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Concatenate, ParamSpec, TypeVar

from store.errors import StoreError
from store.rows import us_of
from store.sqlite_ledger import Ledger
from store.sqlite_scrubbing import Scrubber
from store.sqlite_writer import SqliteWriter

P = ParamSpec("P")
T = TypeVar("T")


class SqliteCalls:
    """Runs functions on the connection, each as one transaction."""

    def __init__(self, writer: SqliteWriter, clock: Callable[[], datetime], ledger: Ledger, scrubber: Scrubber) -> None:
        self._writer = writer
        self._clock = clock
        self._ledger = ledger
        self._scrubber = scrubber

    def _run(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return self._writer.run(lambda db: work(db, *args, **kwargs))

    def _run_now(
        self, work: Callable[Concatenate[sqlite3.Connection, int, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[T]:
        """Run what measures leases: the clock is read when its turn has come, not when it was asked for."""
        return self._writer.run(lambda db: work(db, us_of(self._clock()), *args, **kwargs))

    async def _erase(
        self, work: Callable[Concatenate[sqlite3.Connection, int, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run what erases something, unless it returns nothing; it is scrubbed in time, also when the caller gives up."""

        def erase(db: sqlite3.Connection) -> T:
            erased = work(db, us_of(self._clock()), *args, **kwargs)
            if erased:
                self._scrubber.mark()
            return erased

        try:
            return await self._writer.run(erase)
        finally:
            self._scrubber.wake()

    async def _scrub_at_once(self) -> None:
        """Scrub before it is said that something is gone; while somebody reads an older state it is done later."""
        with contextlib.suppress(StoreError):
            await self._scrubber.scrub()
