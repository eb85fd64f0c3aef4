"""Socket Mode: websockets that the app opens, over which it gets envelopes and acknowledges them."""

import asyncio
import contextlib
import itertools
import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from tests.fakes.slack.dispatch import EVENTS, Attempt
from tests.fakes.slack.refusals import Refusal

if TYPE_CHECKING:
    from tests.fakes.slack.server import FakeSlack

Json = Any

MOST = 10
"""How many sockets an app may have."""


@dataclass(eq=False, slots=True)
class Socket:
    """One connection of the app."""

    ws: web.WebSocketResponse
    number: int
    waiting: dict[str, "asyncio.Future[Json]"] = field(default_factory=dict)
    silent: bool = False
    """Whether it takes everything and gives nothing, not even a pong."""
    retiring: bool = False
    """Whether it was told to come again, and gets nothing more."""
    received: int = 0


class SocketMode:
    """All connections of the app; each envelope goes to one of them, in turn."""

    def __init__(self, slack: "FakeSlack") -> None:
        self._slack = slack
        self._tickets: set[str] = set()
        self._numbers = itertools.count(1)
        self._turn = itertools.count()
        self._arrived = asyncio.Event()
        self.sockets: list[Socket] = []
        self.connections = 0
        self.refusals_left = 0

    def ticket(self) -> str:
        """Give an address that is good for one connection."""
        if self.refusals_left > 0:
            self.refusals_left -= 1
            raise Refusal("internal_error")
        ticket = uuid.uuid4().hex
        self._tickets.add(ticket)
        return f"ws://127.0.0.1:{self._slack.port}/link/?ticket={ticket}&app_id={self._slack.app_id}"

    # What tests do

    async def drop(self) -> None:
        """Cut every connection without a word."""
        for socket in list(self.sockets):
            self._forget(socket)
            _abort(socket.ws)

    async def disconnect(self, reason: str) -> None:
        """Tell every connection that it ends ("refresh_requested", "link_disabled") or soon will ("warning")."""
        for socket in list(self.sockets):
            socket.retiring = reason != "warning"
            await self._say_goodbye(socket, reason)

    def silence(self) -> None:
        for socket in self.sockets:
            socket.silent = True

    async def close(self) -> None:
        for socket in list(self.sockets):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(socket.ws.close(code=1001), 0.1)
            _abort(socket.ws)

    # What clients do

    async def serve(self, request: web.Request) -> web.StreamResponse:
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            return web.Response(status=403, text="no such ticket")
        self._tickets.discard(ticket)
        ws = web.WebSocketResponse(autoping=False, timeout=0.5)
        await ws.prepare(request)
        self.connections += 1
        socket = Socket(ws, next(self._numbers))
        if len(self.sockets) >= MOST:
            await self._say_goodbye(socket, "too_many_websockets")
            await ws.close()
            return ws
        self.sockets.append(socket)
        try:
            await self._greet(socket)
            self._arrived.set()
            await self._listen(socket)
        finally:
            self._forget(socket)
        return ws

    async def _greet(self, socket: Socket) -> None:
        debug = {"host": "applink-fake", "build_number": 1, "approximate_connection_time": 18060}
        about = {"connection_info": {"app_id": self._slack.app_id}, "num_connections": len(self.sockets)}
        await self._send(socket, {"type": "hello", "debug_info": debug} | about)

    async def _say_goodbye(self, socket: Socket, reason: str) -> None:
        await self._send(socket, {"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-fake"}})

    async def _listen(self, socket: Socket) -> None:
        async for frame in socket.ws:
            if socket.silent:
                continue
            if frame.type == WSMsgType.PING:
                await socket.ws.pong(frame.data)
            elif frame.type == WSMsgType.TEXT:
                message = json.loads(frame.data)
                waiter = socket.waiting.pop(message.get("envelope_id", ""), None)
                if waiter is not None and not waiter.done():
                    waiter.set_result(message.get("payload"))

    def _forget(self, socket: Socket) -> None:
        if socket in self.sockets:
            self.sockets.remove(socket)
        if not self.sockets:
            self._arrived.clear()
        for waiter in socket.waiting.values():
            if not waiter.done():
                waiter.set_exception(ConnectionError("the socket is gone"))
        socket.waiting.clear()

    # What goes out

    async def carry(self, attempt: Attempt) -> None:
        limit, clock = self._slack.ack_limit.total_seconds(), self._slack.clock
        waiter: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        envelope_id = str(uuid.uuid4())
        socket: Socket | None = None
        try:
            async with asyncio.timeout(limit):
                socket = await self._choose()
                socket.waiting[envelope_id] = waiter
                socket.received += 1
                attempt.sent_at = clock.monotonic()
                await self._send(socket, self._envelope(attempt, envelope_id))
                attempt.answer = await waiter
                attempt.acked_after = clock.monotonic() - attempt.sent_at
        except TimeoutError:
            attempt.failure = "timeout"
        except ConnectionError:
            attempt.failure = "connection_closed"
        finally:
            if socket is not None:
                socket.waiting.pop(envelope_id, None)

    async def _choose(self) -> Socket:
        while True:
            able = [socket for socket in self.sockets if not socket.retiring]
            if able:
                return able[next(self._turn) % len(able)]
            self._arrived.clear()
            await self._arrived.wait()

    @staticmethod
    def _envelope(attempt: Attempt, envelope_id: str) -> Json:
        kind = attempt.delivery.kind
        envelope = {"envelope_id": envelope_id, "payload": attempt.delivery.payload, "type": kind}
        if kind == EVENTS:
            retry = {"retry_attempt": attempt.number, "retry_reason": attempt.reason}
            return envelope | {"accepts_response_payload": False} | retry
        return envelope | {"accepts_response_payload": True}

    @staticmethod
    async def _send(socket: Socket, message: Json) -> None:
        if not socket.silent:
            with contextlib.suppress(OSError):  # a client may be gone at any time
                await socket.ws.send_str(json.dumps(message))


def _abort(ws: web.WebSocketResponse) -> None:
    request = ws._req
    if request is not None and request.transport is not None:
        request.transport.abort()
