"""The connections to PostgreSQL: a bounded pool, one round trip a call, and the server's failures as the store's own.

Every call is one statement in a transaction of its own, so nothing is held between two calls, a pooler in transaction mode
may stand in between, and a cancelled call did all or nothing. Nothing is prepared and nothing is set on a session.
"""

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from store.errors import StoreClosed, StoreDenied, StoreError, StoreUnavailable

CONNECTIONS = 10
"""Connections of one process at most: a call takes a millisecond or two, so ten carry some thousands of calls a second."""
PATIENCE = 5.0
"""Seconds to wait for a connection, and for the server's answer: people are told that the store is away after that."""
RECONNECTING = 3.0
"""Seconds in which a lost connection is tried for again by itself, at longer and longer distances; the next call tries anew.
So after an outage of any length somebody tries within two seconds."""
TRIES = 5
"""Times that a call is carried out which the server gave up for the sake of another: a deadlock, a serialisation failure."""
GIVEN_UP = ("40001", "40P01", "55P03")
"""Serialisation failure, deadlock, a lock that was not to be had in time: nothing was done, and trying again helps."""
GUARDS = "-c statement_timeout=5s -c lock_timeout=4s -c idle_in_transaction_session_timeout=10s -c client_min_messages=error"
"""What the server is asked to watch over. A pooler may refuse to pass it on; then only our own patience is left."""

Row = tuple[Any, ...]
Connection = psycopg.AsyncConnection[Row]

_begun: ContextVar[bool] = ContextVar("begun", default=False)


class PostgresPool:
    """Runs statements on the server. Made by `open`."""

    def __init__(self, pool: AsyncConnectionPool[Connection], url: str, place: str) -> None:
        self.place = place
        self._url = url
        self._pool = pool
        self._closed = False
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        # Calls that nobody waits for any more: they come to their end, which is soon; stopping one takes a new connection.
        self._abandoned: set[asyncio.Task[list[Row]]] = set()

    @classmethod
    async def open(cls, url: str, *, connections: int = CONNECTIONS) -> "PostgresPool":
        """Connect to the database at `url`.

        Raises:
            StoreDenied: the address, the user or the password is not accepted.
            StoreUnavailable: the server can't be reached.
        """
        place = place_of(url)
        options = await _accepted_options(url, place)
        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=connections,
            timeout=PATIENCE,
            max_idle=60.0,
            reconnect_timeout=RECONNECTING,
            open=False,
            name="parley",
            kwargs={"autocommit": True, "prepare_threshold": None, "row_factory": tuple_row, **options},
            connection_class=Connection,
        )
        await pool.open()
        return cls(pool, url, place)

    async def all(self, statement: bytes, parameters: Sequence[object] = ()) -> list[Row]:
        """Run a statement and return its rows.

        Raises:
            StoreClosed, StoreUnavailable: nothing of it was kept, unless the connection broke in the very moment of the
                answer; calls are made so that doing them again does no harm.
            psycopg.Error: what a function of ours raises (`PA...`).
        """
        with self.begun():
            if self._abandoned:  # what was cancelled comes before what follows it, or not at all
                await asyncio.wait(self._abandoned)
            call = asyncio.create_task(self._carry_out(statement, parameters))
            try:
                return await asyncio.shield(call)
            except asyncio.CancelledError:
                if not call.done():
                    self._abandoned.add(call)
                    call.add_done_callback(self._forget)
                raise

    async def _carry_out(self, statement: bytes, parameters: Sequence[object]) -> list[Row]:
        for attempt in range(1, TRIES + 1):
            try:
                async with self._connection() as connection:
                    if asyncio.current_task() in self._abandoned:
                        return []
                    cursor = await connection.execute(statement, parameters, binary=True)
                    return await cursor.fetchall() if cursor.description is not None else []
            except psycopg.Error as exc:
                if exc.sqlstate in GIVEN_UP and attempt < TRIES:
                    await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))
                    continue
                if exc.sqlstate is not None and exc.sqlstate.startswith("PA"):
                    raise
                raise translated(exc, self.place) from exc
        raise AssertionError("unreachable")

    def _forget(self, call: asyncio.Task[list[Row]]) -> None:
        self._abandoned.discard(call)
        if not call.cancelled():
            call.exception()  # nobody is there to be told

    @contextlib.contextmanager
    def begun(self) -> Iterator[None]:
        """Let what is done within come to its end when the pool is closed meanwhile.

        Raises:
            StoreClosed: it is closed already.
        """
        if _begun.get():
            yield
            return
        if self._closed:
            raise StoreClosed(f"{self.place} is closed")
        self._running += 1
        self._idle.clear()
        token = _begun.set(True)
        try:
            yield
        finally:
            _begun.reset(token)
            self._running -= 1
            if not self._running:
                self._idle.set()

    @contextlib.asynccontextmanager
    async def apart(self) -> AsyncIterator[Connection]:
        """Connect once more, for what takes its time: nothing watches over how long it takes.

        Raises:
            psycopg.Error.
        """
        options = {**connection_options(self._url), "autocommit": True, "prepare_threshold": None, "row_factory": tuple_row}
        async with await Connection.connect(self._url, **options) as connection:
            yield connection

    async def aclose(self) -> None:
        """End what was begun and let go of the connections; may be called twice."""
        self._closed = True
        await self._idle.wait()
        if self._abandoned:
            await asyncio.wait(self._abandoned)
        await self._pool.close()

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        connection = await self._pool.getconn()
        while not _is_alive(connection):
            await self._pool.putconn(connection)
            connection = await self._pool.getconn()
        # The driver waits for the server even when it gives up, and a server that hangs would keep the caller for ever.
        cut = asyncio.get_running_loop().call_later(2 * PATIENCE, _cut, connection)
        try:
            yield connection
        finally:
            cut.cancel()
            await self._pool.putconn(connection)


def place_of(url: str) -> str:
    """Name a database for people: where it is and what it is called, and neither user nor password."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        raise StoreDenied(NO_ADDRESS) from None  # its words would quote the address
    return f"PostgreSQL at {parts.hostname or 'this machine'}{port}{parts.path}"


NO_ADDRESS = "DATABASE_URL is not an address of PostgreSQL: use postgresql://user:password@host/name"


def translated(exc: psycopg.Error, place: str) -> StoreError:
    """Turn what the driver raised into the store's own error, with the remedy, and without the address."""
    if isinstance(exc, PoolTimeout):
        return StoreUnavailable(f"{place} has no connection free, or can't be reached: check the server and the network")
    state = exc.sqlstate or _said(exc)
    match state[:2]:
        case "28":
            return StoreDenied(f"{place} does not accept the user or the password: check DATABASE_URL")
        case "3D":
            return StoreDenied(f"{place} does not exist: make it with `createdb`, or name another in DATABASE_URL")
        case "42" if state == "42501":
            return StoreDenied(f"{place} may not be written: let its user make and change tables in it")
        case "42" if state == "42883":
            return StoreUnavailable(f"{place} has lost functions of this Parley: start it again, and it makes them anew")
        case "53":
            return StoreUnavailable(f"{place} has run out of room or connections ({state}): nothing of this was kept")
        case "57" if state == "57014":
            return StoreUnavailable(f"{place} took longer than {PATIENCE:.0f} s: nothing of this was kept")
        case "57" | "08" | "":
            return StoreUnavailable(f"{place} can't be reached: check the server and the network")
    return StoreUnavailable(f"{place} failed ({state}); nothing of this was kept")


def _said(exc: psycopg.Error) -> str:
    # While connecting, the driver tells no code, and the server's words are in its own language: only these are known.
    said = str(exc)
    if "authentication failed" in said or "no password supplied" in said or "no pg_hba.conf entry" in said:
        return "28000"
    if "does not exist" in said and 'role "' not in said:
        return "3D000"
    return "28000" if "does not exist" in said else ""


def connection_options(url: str) -> dict[str, Any]:
    """Return what every connection is asked for beside its address, which may say otherwise.

    Raises:
        StoreDenied: it is no address.
    """
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise StoreDenied(NO_ADDRESS) from None  # its words would quote the address
    basic = {"connect_timeout": int(PATIENCE), "application_name": "parley", "tcp_user_timeout": 10_000}
    return {name: value for name, value in basic.items() if name not in given}


async def _accepted_options(url: str, place: str) -> dict[str, Any]:
    """Connect once, and tell with which options the server, or the pooler before it, takes us."""
    basic = connection_options(url)
    guarded = {**basic, "options": f"{GUARDS} {conninfo_to_dict(url).get('options') or ''}".strip()}
    for options in (guarded, basic):
        try:
            async with await psycopg.AsyncConnection.connect(url, **options):
                return options
        except psycopg.Error as exc:
            if options is basic or "unsupported startup parameter" not in str(exc):
                raise translated(exc, place) from exc
    raise AssertionError("unreachable")


def _is_alive(connection: Connection) -> bool:
    """Tell whether the server has not hung up on an idle connection, without asking it."""
    try:
        # What a server says as it goes is read first, and that it is gone after that.
        connection.pgconn.consume_input()
        connection.pgconn.consume_input()
    except psycopg.OperationalError:
        return False
    return not connection.closed


def _cut(connection: Connection) -> None:
    with contextlib.suppress(OSError, psycopg.OperationalError), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)
