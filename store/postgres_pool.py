"""The connections to PostgreSQL: a bounded pool, one round trip a call, and the server's failures as the store's own.

Every call is one statement in a transaction of its own, so nothing is held between two calls, a pooler in transaction mode
may stand in between, and a cancelled call did all or nothing. Nothing is prepared and nothing is set on a session.
"""

import asyncio
import contextlib
import os
import random
import socket
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextvars import Context, ContextVar
from typing import Any, cast
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from store.errors import StoreClosed, StoreDenied, StoreError, StoreUnavailable

CONNECTIONS = 20
"""Connections of one process at most. Each waits for the disk at every commit, and commits go there together: with 64
conversations at once, 20 reach twice as many turns a second as 10, and 32 hardly more. Four processes of 20 fit into the 100
that a server takes."""
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
        self._waiting: deque[_Call] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        # Workers that have nothing to do, and look once more before they give their connection back.
        self._lingering = 0
        # Calls that nobody waits for any more: they come to their end, which is soon; stopping one takes a new connection.
        self._abandoned: set[asyncio.Future[None]] = set()

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
            call = _Call(statement, parameters)
            self._enter(call)
            try:
                return await call.outcome
            except asyncio.CancelledError:
                if call.is_begun and not call.ended.done():
                    self._abandoned.add(call.ended)
                    call.ended.add_done_callback(self._abandoned.discard)
                raise

    def _enter(self, call: "_Call") -> None:
        loop = asyncio.get_running_loop()
        call.overdue = loop.call_later(PATIENCE, call.fail, translated(PoolTimeout(), self.place))
        self._waiting.append(call)
        if len(self._waiting) > self._lingering and len(self._workers) < self._pool.max_size:
            # With a context of its own: it goes on with other people's calls, and logs nothing in the name of this one.
            worker = loop.create_task(self._work(), context=Context())
            self._workers.add(worker)

    async def _work(self) -> None:
        """Take a connection and carry out calls until none waits: getting one takes longer than asking for a call."""
        try:
            while self._waiting:
                try:
                    async with self._connection() as connection:
                        while not connection.closed and (call := await self._next()) is not None:
                            await self._carry_out(call, connection)
                except PoolTimeout:
                    # Others may have connections, and each call knows by itself how long it waits; whoever was told that
                    # there is none waits no more, or we would try on for nobody, and could not be closed while the server
                    # is away.
                    self._drop_ended()
                except psycopg.Error as exc:
                    if (call := self._first()) is not None:
                        call.fail(_caused(translated(exc, self.place), exc))
        finally:
            # In the same moment in which none waits: a call that came after that would count on a worker that is gone.
            self._workers.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _next(self) -> "_Call | None":
        """Name the call that waits longest; None when there is none, also after whoever was answered just now had their
        turn."""
        if not self._waiting:
            self._lingering += 1
            try:
                await asyncio.sleep(0)
            finally:
                self._lingering -= 1
        return self._first()

    def _first(self) -> "_Call | None":
        self._drop_ended()
        return self._waiting.popleft() if self._waiting else None

    def _drop_ended(self) -> None:
        while self._waiting and self._waiting[0].outcome.done():  # cancelled, or told that there was no connection
            self._waiting.popleft().end()

    async def _carry_out(self, call: "_Call", connection: Connection) -> None:
        call.begin()
        loop = asyncio.get_running_loop()
        # The driver waits for the server even when it gives up, and a server that hangs would keep the caller for ever.
        cut = loop.call_later(2 * PATIENCE, _cut, connection)
        try:
            cursor = await connection.execute(call.statement, call.parameters, binary=True)
            rows = await cursor.fetchall() if cursor.description is not None else []
        except psycopg.Error as exc:
            if exc.sqlstate in GIVEN_UP and call.tries < TRIES:
                loop.call_later(random.uniform(0, 0.02 * 2**call.tries), self._enter, call)
            elif exc.sqlstate is not None and exc.sqlstate.startswith("PA"):
                call.fail(exc)
            else:
                call.fail(_caused(translated(exc, self.place), exc))
        except BaseException as exc:
            call.fail(exc)  # what can't be sent is its caller's to know, and nobody waits for a worker that is stopped
            if not isinstance(exc, Exception):
                raise
        else:
            call.succeed(rows)
        finally:
            cut.cancel()

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
        async with connected(self._url) as connection:
            yield connection

    async def aclose(self) -> None:
        """End what was begun and let go of the connections; may be called twice."""
        self._closed = True
        await self._idle.wait()
        for unfinished in (self._abandoned, self._workers):
            if unfinished:
                await asyncio.wait(unfinished)
        await self._pool.close()

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        connection = await self._pool.getconn()
        while not _is_alive(connection):
            await self._pool.putconn(connection)
            connection = await self._pool.getconn()
        try:
            yield connection
        finally:
            await self._pool.putconn(connection)


class _Call:
    """A statement that somebody waits for: `outcome` is theirs, and is cancelled with them; `ended` tells when nothing of it
    goes on any more."""

    __slots__ = ("ended", "is_begun", "outcome", "overdue", "parameters", "statement", "tries")

    def __init__(self, statement: bytes, parameters: Sequence[object]) -> None:
        loop = asyncio.get_running_loop()
        self.statement = statement
        self.parameters = parameters
        self.outcome: asyncio.Future[list[Row]] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.overdue: asyncio.TimerHandle | None = None
        self.is_begun = False
        self.tries = 0

    def begin(self) -> None:
        self.is_begun = True
        self.tries += 1
        if self.overdue is not None:
            self.overdue.cancel()

    def succeed(self, rows: list[Row]) -> None:
        if not self.outcome.done():
            self.outcome.set_result(rows)
        self.end()

    def fail(self, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError):
            self.outcome.cancel()
        elif not self.outcome.done():
            self.outcome.set_exception(error)
        self.end()

    def end(self) -> None:
        if self.overdue is not None:
            self.overdue.cancel()
        if not self.ended.done():
            self.ended.set_result(None)


def _caused(error: StoreError, cause: BaseException) -> StoreError:
    """Write down what an error comes of, where it is not raised but handed over."""
    error.__cause__ = cause
    return error


def place_of(url: str) -> str:
    """Name a database for people: where it is and what it is called, and neither user nor password.

    A primary and its standbys stand in one address, with commas between them.
    """
    try:
        parts = urlsplit(url)
        hosts = " or ".join(map(_host, parts.netloc.rpartition("@")[2].split(",")))
    except ValueError:
        raise StoreDenied(NO_ADDRESS) from None  # its words would quote the address
    return f"PostgreSQL at {hosts}{parts.path}"


def _host(named: str) -> str:
    parts = urlsplit(f"//{named}")
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.hostname or 'this machine'}{port}"


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
            async with connected(url, **options):
                return options
        except psycopg.Error as exc:
            if options is basic or "unsupported startup parameter" not in str(exc):
                raise translated(exc, place) from exc
    raise AssertionError("unreachable")


@contextlib.asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[Connection]:
    """Connect beside a pool for as long as the body lasts, with `options` beside the usual ones.

    Raises:
        psycopg.Error.
    """
    every = {**connection_options(url), "autocommit": True, "prepare_threshold": None, "row_factory": tuple_row, **options}
    connection = await Connection.connect(url, **every)
    try:
        yield connection
    finally:
        # The driver's own block commits before, which waits, and whoever is cancelled there leaves the connection open.
        await connection.close()


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
