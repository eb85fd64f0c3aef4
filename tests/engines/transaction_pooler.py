"""A connection pooler in transaction mode before a real PostgreSQL, speaking its protocol (version 3) as PgBouncer does.

    with TransactionPooler.before(server) as pooler:
        url = pooler.url(database)           # the same database, through the pooler

Each transaction goes to a connection of the server that this client did not have last, so whatever somebody leaves in a
session is not there for the next transaction, and is there for somebody else: a PgBouncer deals out the same way by chance.
As with PgBouncer before 1.21, names of prepared statements are not looked after; `options` are refused at connecting, or
taken and not passed on; a client's `application_name` is set on each connection that it gets; and nothing is reset.

Passwords, TLS and protocol versions beyond 3.0 are not spoken.
"""

import asyncio
import contextlib
import itertools
import random
import struct
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.engines.postgres import PostgresServer

VERSION_3 = 196608
CANCEL, TLS, GSS = 80877102, 80877103, 80877104
KNOWN = frozenset(
    ("user", "database", "application_name", "client_encoding", "datestyle", "timezone", "standard_conforming_strings")
)
"""What a client may ask for at connecting; PgBouncer refuses the rest, unless it is told to ignore it."""
ANSWERED = frozenset(b"QSF")
"""Query, Sync and FunctionCall: each is answered by one ReadyForQuery."""
PROTOCOL_VIOLATION = "08P01"
AWAY = "server login has been failing, try again later (server_login_retry)"


@dataclass(eq=False, kw_only=True)
class _Line:
    """One end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def message(self) -> tuple[int, bytes]:
        """Read one message: its type and what is in it."""
        kind, length = struct.unpack("!BI", await self.reader.readexactly(5))
        return kind, await self.reader.readexactly(length - 4)

    def send(self, kind: int, payload: bytes = b"") -> None:
        self.writer.write(struct.pack("!BI", kind, len(payload) + 4) + payload)

    def close(self) -> None:
        self.writer.close()


@dataclass(eq=False, kw_only=True)
class _Backend(_Line):
    """A connection to the server, and what it said of itself."""

    database: str
    statuses: list[bytes] = field(default_factory=list)
    key: bytes = b""
    application_name: str = ""


@dataclass(eq=False, kw_only=True)
class _Client(_Line):
    """A connection of somebody who believes to speak to the server."""

    database: str
    application_name: str
    key: bytes
    backend: _Backend | None = None
    last: _Backend | None = None
    unanswered: int = 0


class TransactionPooler:
    """Made by `before`. It runs on a thread of its own."""

    def __init__(self, server: PostgresServer, *, backends: int, ignores: frozenset[str], seed: int) -> None:
        self.port = 0
        self.transactions: Counter[str] = Counter()
        """How many it has passed on, by the clients' `application_name`."""
        self._server = server
        self._backends = backends
        self._ignores = ignores
        self._chance = random.Random(seed)
        self._keys = itertools.count(1)
        self._clients: dict[bytes, _Client] = {}
        self._all: set[_Backend] = set()
        self._free: list[_Backend] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pooler", daemon=True)
        self._listening: asyncio.Server | None = None

    @classmethod
    @contextmanager
    def before(
        cls, server: PostgresServer, *, backends: int = 3, ignores: frozenset[str] = frozenset(), seed: int = 1
    ) -> "Iterator[TransactionPooler]":
        """Run a pooler with so many connections to a server's databases, and end it with all its connections."""
        pooler = cls(server, backends=backends, ignores=ignores, seed=seed)
        pooler._thread.start()
        try:
            pooler.start()
            yield pooler
        finally:
            pooler.stop()
            pooler._loop.call_soon_threadsafe(pooler._loop.stop)
            pooler._thread.join()
            pooler._loop.close()

    def url(self, database: str) -> str:
        """Name a database of the server as `DATABASE_URL` does, by way of the pooler."""
        return database.replace(f":{urlsplit(database).port}/", f":{self.port}/")

    def start(self) -> None:
        """Listen, after a `stop` at the same port."""
        self._do(self._start())

    def stop(self) -> None:
        """Stop listening and end all connections, as a pooler that is killed does."""
        self._do(self._stop())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _start(self) -> None:
        self._changed = asyncio.Condition()
        self._listening = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for line in [*self._clients.values(), *self._all]:
            line.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        self._clients.clear()
        self._all.clear()
        self._free.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                client = await self._welcome(reader, writer)
                if client is not None:
                    await self._listen(client)
            finally:
                writer.close()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Client | None:
        while True:
            length, code = struct.unpack("!II", await reader.readexactly(8))
            rest = await reader.readexactly(length - 8)
            if code == CANCEL:
                await self._cancel(rest)
                return None
            if code not in (TLS, GSS):
                break
            writer.write(b"N")
        assert code == VERSION_3, "psycopg speaks 3.0 unless told otherwise"
        asked = _parameters(rest)
        client = _Client(
            reader=reader,
            writer=writer,
            database=asked.get("database", asked["user"]),
            application_name=asked.get("application_name", ""),
            key=struct.pack("!II", next(self._keys), self._chance.getrandbits(32)),
        )
        if refused := asked.keys() - KNOWN - self._ignores:
            _fail(client, f"unsupported startup parameter: {min(refused)}")
            return None
        try:
            # What the server says of itself is told before anything is asked.
            backend = await self._lend(client)
        except OSError:
            _fail(client, AWAY)
            return None
        await self._give_back(backend)
        client.send(ord("R"), struct.pack("!I", 0))
        for status in backend.statuses:
            client.send(ord("S"), status)
        client.send(ord("K"), client.key)
        client.send(ord("Z"), b"I")
        self._clients[client.key] = client
        return client

    async def _listen(self, client: _Client) -> None:
        """Pass on what a client says, and have the answers passed back, until it goes."""
        answering: asyncio.Task[None] | None = None
        try:
            while True:
                kind, payload = await client.message()
                if kind == ord("X"):
                    return
                if client.backend is None:
                    try:
                        backend = await self._lend(client)
                    except OSError:
                        _fail(client, AWAY)
                        return
                    client.backend = client.last = backend
                    answering = asyncio.create_task(self._answer(client, backend))
                client.unanswered += kind in ANSWERED
                client.backend.send(kind, payload)
        finally:
            del self._clients[client.key]
            if answering is not None:
                answering.cancel()
            if client.backend is not None:  # in the middle of something: nobody else may get that connection
                await self._drop(client.backend)

    async def _answer(self, client: _Client, backend: _Backend) -> None:
        """Pass back what the server says until a transaction is at its end."""
        try:
            while True:
                kind, payload = await backend.message()
                if kind == ord("Z"):
                    client.unanswered -= 1
                    if payload == b"I" and not client.unanswered:
                        client.backend = None
                        client.send(kind, payload)
                        self.transactions[client.application_name] += 1
                        await self._give_back(backend)
                        return
                client.send(kind, payload)
        except (ConnectionError, asyncio.IncompleteReadError):
            client.backend = None
            await self._drop(backend)
            _fail(client, "server conn crashed?")

    async def _lend(self, client: _Client) -> _Backend:
        """Get a connection to the client's database, another than it had last where there is one."""
        async with self._changed:
            while True:
                self._free = [one for one in self._free if not self._hung_up(one)]
                ours = [one for one in self._free if one.database == client.database]
                others = [one for one in ours if one is not client.last]
                there = sum(one.database == client.database for one in self._all)
                if others or (ours and there >= self._backends):
                    backend = self._chance.choice(others or ours)
                    self._free.remove(backend)
                    break
                if there < self._backends:
                    backend = await self._connect(client.database)
                    break
                await self._changed.wait()
        if backend.application_name != client.application_name:
            backend.application_name = client.application_name
            name = client.application_name.replace("'", "''")
            backend.send(ord("Q"), f"SET application_name = '{name}'".encode() + b"\0")
            while (await backend.message())[0] != ord("Z"):
                pass
        return backend

    async def _connect(self, database: str) -> _Backend:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        backend = _Backend(reader=reader, writer=writer, database=database)
        asked = f"user\0{urlsplit(self._server.url()).username}\0database\0{database}\0\0".encode()
        writer.write(struct.pack("!II", len(asked) + 8, VERSION_3) + asked)
        while True:
            try:
                kind, payload = await backend.message()
            except asyncio.IncompleteReadError as exc:
                raise ConnectionError("the server hung up") from exc
            match chr(kind):
                case "S":
                    backend.statuses.append(payload)
                case "K":
                    backend.key = payload
                case "E":
                    writer.close()
                    raise ConnectionRefusedError("the server does not take us")
                case "Z":
                    self._all.add(backend)
                    return backend

    async def _give_back(self, backend: _Backend) -> None:
        async with self._changed:
            self._free.append(backend)
            self._changed.notify_all()

    async def _drop(self, backend: _Backend) -> None:
        backend.close()
        async with self._changed:
            self._all.discard(backend)
            self._changed.notify_all()

    def _hung_up(self, backend: _Backend) -> bool:
        """Tell whether the server has ended a connection that nobody uses; then it is none any more."""
        # A server that goes says why first: whatever it says unasked is its farewell.
        gone = backend.reader.at_eof() or bool(backend.reader._buffer)
        if gone:
            backend.close()
            self._all.discard(backend)
        return gone

    async def _cancel(self, key: bytes) -> None:
        client = self._clients.get(key)
        if client is not None and client.backend is not None:
            _, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
            writer.write(struct.pack("!II", 8 + len(client.backend.key), CANCEL) + client.backend.key)
            await writer.drain()
            writer.close()


def _parameters(written: bytes) -> Mapping[str, str]:
    words = written.decode().rstrip("\0").split("\0")
    return dict(zip(words[0::2], words[1::2], strict=False))


def _fail(client: _Client, words: str) -> None:
    """Say what PgBouncer says, and hang up."""
    fields = f"SFATAL\0C{PROTOCOL_VIOLATION}\0M{words}\0\0"
    client.send(ord("E"), fields.encode())
    client.close()
