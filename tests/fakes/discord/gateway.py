"""The gateway: sessions, shards, what a session missed, and the ways a connection dies."""

import asyncio
import contextlib
import itertools
import json
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

if TYPE_CHECKING:
    from tests.fakes.discord.guilds import Guild
    from tests.fakes.discord.server import FakeDiscord

Json = Any
Seen = Callable[[bool], Json]
"""An event's data, for a session that may read content and for one that may not."""

GUILDS, GUILD_MEMBERS, PRESENCES, GUILD_MESSAGES = 1 << 0, 1 << 1, 1 << 8, 1 << 9
DIRECT_MESSAGES, MESSAGE_CONTENT = 1 << 12, 1 << 15
KNOWN_INTENTS = sum(1 << place for place in (*range(17), 20, 21, 24, 25))
SESSIONS_KEPT = 20
"""Sessions without a connection that can still be resumed."""
DISPATCH, HEARTBEAT, IDENTIFY, RESUME, RECONNECT, INVALID_SESSION, HELLO, HEARTBEAT_ACK = 0, 1, 2, 6, 7, 9, 10, 11


@dataclass(eq=False, slots=True)
class Session:
    """What IDENTIFY began; it outlives its connection until it is ended."""

    id: str
    shard: tuple[int, int]
    intents: int
    sent: list[str] = field(default_factory=list, repr=False)
    """Every event so far, as frames; the first has sequence number 1."""
    written: int = 0
    """How many of them the present connection has been given."""
    socket: web.WebSocketResponse | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def push(self, event: str, data: Json) -> None:
        self.sent.append(json.dumps({"op": DISPATCH, "t": event, "s": len(self.sent) + 1, "d": data}))
        self.news.set()

    def hears_of(self, guild: "Guild | None") -> bool:
        number, count = self.shard
        return number == (0 if guild is None else (guild.id >> 22) % count)


class Gateway:
    """The websocket side of the fake."""

    def __init__(self, discord: "FakeDiscord", *, heartbeat_seconds: float) -> None:
        self._discord = discord
        self._heartbeat = heartbeat_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._numbers = itertools.count(1)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.sessions: dict[str, Session] = {}
        self.sockets: set[web.WebSocketResponse] = set()
        self.identifies: list[Json] = []
        self.identify_every = 0.0
        """Seconds from one IDENTIFY to the next; one that comes earlier is refused."""
        self.hasty = 0
        """How many came too early."""
        self._identified_at = -math.inf
        self.resumes: list[Json] = []
        self.connections = 0
        self.refusals_left = 0
        self.copies = 1
        """How often every event is delivered."""

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    @property
    def connected(self) -> list[Session]:
        return [session for session in list(self.sessions.values()) if session.socket is not None]

    @property
    def reads_content(self) -> bool:
        """Whether the bot gets what others wrote: it must be granted and, once it is connected, asked for."""
        asked = not self.identifies or bool(self.identifies[-1].get("intents", 0) & MESSAGE_CONTENT)
        return self._discord.message_content and asked

    # What tests do

    def dispatch(self, event: str, data: Json | Seen, *, guild: "Guild | None", needs: int) -> None:
        """Send an event to every session that hears of it; safe from any thread."""
        if self._loop is not None and threading.get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self._push, event, data, guild, needs)
        else:
            self._push(event, data, guild, needs)

    def _push(self, event: str, data: Json | Seen, guild: "Guild | None", needs: int) -> None:
        for session in self.sessions.values():
            if session.hears_of(guild) and session.intents & needs == needs:
                readable = bool(session.intents & MESSAGE_CONTENT) and self._discord.message_content
                for _ in range(self.copies):
                    session.push(event, data(readable) if callable(data) else data)

    async def drop(self, code: int | None = 4000) -> None:
        """Close every connection with `code`, or cut it when that is None; sessions live on."""
        for socket in list(self.sockets):
            self._detach(socket)
            if code is None:
                _abort(socket)
            else:
                await socket.close(code=code)

    async def invalidate(self, *, resumable: bool = False) -> None:
        """Tell every connection that its session is no good; unless resumable, that is the truth."""
        if not resumable:
            for session in self.sessions.values():
                session.sent.clear()
            self.sessions.clear()
        await self._tell_all({"op": INVALID_SESSION, "d": resumable})

    async def reconnect(self) -> None:
        """Ask every connection to come again (op 7)."""
        await self._tell_all({"op": RECONNECT, "d": None})

    def pause(self) -> None:
        self._flowing.clear()

    def unpause(self) -> None:
        self._flowing.set()

    async def close(self) -> None:
        self._flowing.set()
        for socket in list(self.sockets):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(socket.close(code=1001), 0.2)
            _abort(socket)

    # What clients do

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.connections += 1
        if self.refusals_left > 0:
            self.refusals_left -= 1
            return web.Response(status=503, text="no gateway")
        socket = web.WebSocketResponse(autoping=True, timeout=0.5)
        await socket.prepare(request)
        self.sockets.add(socket)
        try:
            code = await self._converse(socket)
            if code in (1000, 1001):
                self._end_session(socket)
        finally:
            self.sockets.discard(socket)
            self._detach(socket)
        return socket

    async def _converse(self, socket: web.WebSocketResponse) -> int | None:
        """Talk until one side leaves; return the code with which the client did."""
        await self._send(socket, {"op": HELLO, "d": {"heartbeat_interval": int(self._heartbeat * 1000)}})
        writer: asyncio.Task[None] | None = None
        try:
            while (frame := await socket.receive()).type in (WSMsgType.TEXT, WSMsgType.BINARY):
                message = json.loads(frame.data)
                if message["op"] == HEARTBEAT:
                    await self._send(socket, {"op": HEARTBEAT_ACK})
                elif message["op"] in (IDENTIFY, RESUME) and writer is None:
                    begin = self._identify if message["op"] == IDENTIFY else self._resume
                    session = await begin(socket, message["d"])
                    if session is not None:
                        writer = asyncio.create_task(self._write(session, socket))
            return int(frame.data) if frame.type is WSMsgType.CLOSE else None
        finally:
            if writer is not None:
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)

    async def _identify(self, socket: web.WebSocketResponse, data: Json) -> Session | None:
        """Begin a session, or close the connection for a reason."""
        self.identifies.append(data)
        intents = data.get("intents", 0)
        shard = tuple(data.get("shard") or (0, 1))
        granted = KNOWN_INTENTS & ~(GUILD_MEMBERS | PRESENCES)
        if not self._discord.message_content:
            granted &= ~MESSAGE_CONTENT
        if data.get("token") != self._discord.token:
            return await self._refuse(socket, 4004, "Authentication failed.")
        if intents & ~KNOWN_INTENTS:
            return await self._refuse(socket, 4013, "Invalid intent(s).")
        if intents & ~granted:
            return await self._refuse(socket, 4014, "Disallowed intent(s).")
        if len(shard) != 2 or not 0 <= shard[0] < shard[1]:
            return await self._refuse(socket, 4010, "Invalid shard.")
        now, before = asyncio.get_running_loop().time(), self._identified_at
        self._identified_at = now
        if now - before < self.identify_every:
            self.hasty += 1
            await self._send(socket, {"op": INVALID_SESSION, "d": False})
            return None
        session = Session(f"session-{next(self._numbers)}", shard, intents, socket=socket)
        guilds = [guild for guild in self._discord.guilds.values() if session.hears_of(guild)]
        ready = {
            "v": 10,
            "user": self._discord.bot.json() | {"email": None, "verified": True, "mfa_enabled": True},
            "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
            "session_id": session.id,
            "session_type": "normal",
            "resume_gateway_url": self._discord.gateway_url,
            "application": {"id": str(self._discord.application_id), "flags": self._discord.application_flags},
            "user_settings": {},
            "private_channels": [],
            "relationships": [],
        }
        session.push("READY", ready | ({"shard": list(shard)} if data.get("shard") else {}))
        if intents & GUILDS:
            for guild in guilds:
                if not guild.unavailable:
                    session.push("GUILD_CREATE", guild.json())
        self.sessions[session.id] = session
        self._forget_sessions()
        return session

    def _forget_sessions(self) -> None:
        """Drop those that were left long ago, as Discord does after some minutes: each goes on collecting what it misses."""
        left = [session.id for session in self.sessions.values() if session.socket is None]
        for number in left[:-SESSIONS_KEPT]:
            del self.sessions[number]

    async def _resume(self, socket: web.WebSocketResponse, data: Json) -> Session | None:
        self.resumes.append(data)
        if data.get("token") != self._discord.token:
            return await self._refuse(socket, 4004, "Authentication failed.")
        session = self.sessions.get(data.get("session_id"))
        if session is None:
            await self._send(socket, {"op": INVALID_SESSION, "d": False})
            return None
        if data["seq"] > len(session.sent):
            return await self._refuse(socket, 4007, "Invalid seq.")
        if session.socket is not None:
            _abort(session.socket)
        session.socket = socket
        session.written = data["seq"]
        session.push("RESUMED", {})
        return session

    async def _write(self, session: Session, socket: web.WebSocketResponse) -> None:
        """Send what the session has, then what comes."""
        with contextlib.suppress(OSError):
            while session.socket is socket:
                while session.written < len(session.sent):
                    await self._flowing.wait()
                    session.written += 1
                    await socket.send_str(session.sent[session.written - 1])
                session.news.clear()
                await session.news.wait()

    async def _tell_all(self, message: Json) -> None:
        for socket in list(self.sockets):
            await self._send(socket, message)

    @staticmethod
    async def _send(socket: web.WebSocketResponse, message: Json) -> None:
        with contextlib.suppress(OSError):  # a client may be gone at any time
            await socket.send_str(json.dumps(message))

    @staticmethod
    async def _refuse(socket: web.WebSocketResponse, code: int, words: str) -> Session | None:
        await socket.close(code=code, message=words.encode())
        return None

    def _detach(self, socket: web.WebSocketResponse) -> None:
        for session in self.sessions.values():
            if session.socket is socket:
                session.socket = None

    def _end_session(self, socket: web.WebSocketResponse) -> None:
        self.sessions = {name: session for name, session in self.sessions.items() if session.socket is not socket}


def _abort(socket: web.WebSocketResponse) -> None:
    request = socket._req
    if request is not None and request.transport is not None:
        request.transport.abort()
