"""Socket Mode, held up for ever: a new connection after each that ends, with growing pauses; refusals end it.

slack_sdk's client would keep trying an address that is good once, log each try, and close a socket before it has the next
one. Here a connection lives once and is replaced: by a planned `disconnect` after the next one is open, so that there is no
gap between them, otherwise as soon as it is known to be lost.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from datetime import timedelta
from time import time
from typing import Any

import structlog
from slack_bolt.adapter.socket_mode.async_internals import send_async_response
from slack_bolt.adapter.socket_mode.internals import build_headers
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.web.async_client import AsyncWebClient

from bot.adapters.failures import describe
from bot.adapters.protocol import PlatformRefused
from bot.adapters.slack.api_errors import translated
from bot.adapters.slack.door import Door
from bot.adapters.slack.log_lines import bolt_log
from bot.chat.protocol import DeliveryDelayed, DeliveryError
from bot.clock import Clock, time_limit

log = structlog.get_logger(__name__)

FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=1)
STEADY = timedelta(minutes=5)
"""A connection that held so long is no part of a series of failures."""
LOOK = timedelta(seconds=1)
SILENCE = timedelta(seconds=60)
"""A socket that has said nothing for so long, not even a pong, is dead: Slack's answer to a ping takes a second."""
CONNECT_LIMIT = timedelta(seconds=10)
CLOSE_LIMIT = timedelta(seconds=2)
PING_SECONDS = 10.0
SHORT_LIFE = timedelta(seconds=10)
SHORT_GAP = timedelta(seconds=30)
"""What Slack sent into a shorter gap it sends again at once or a minute later; after a longer one we look ourselves."""

REFUSALS = frozenset(
    {"account_inactive", "invalid_auth", "missing_scope", "not_allowed_token_type", "not_authed", "token_expired"}
    | {"token_revoked", "forbidden_team", "socket_mode_not_enabled"}
)
_NOT_ACCEPTED = (
    "Slack does not accept SLACK_APP_TOKEN ({}): make an app-level token (xapp-...) with the scope connections:write under "
    "Basic Information > App-Level Tokens on https://api.slack.com/apps, and switch Socket Mode on"
)


class Connection(SocketModeClient):
    """One socket; it is opened once, and when it ends or is asked to end, `over` is set."""

    def __init__(self, app_token: str, web: AsyncWebClient, door: Door, *, ping_seconds: float) -> None:
        super().__init__(app_token, bolt_log(), web, auto_reconnect_enabled=False, ping_interval=ping_seconds)
        self._door = door
        self.over = asyncio.Event()
        self.asked_to_end = False
        self.told: Callable[[dict[str, Any]], None] = lambda message: None
        self._handling: set[asyncio.Task[None]] = set()
        self.socket_mode_request_listeners.append(self._take)

    async def connect_to_new_endpoint(self, force: bool = False) -> None:
        """Note that Slack asks for a new connection; whoever holds this one makes it."""
        self.asked_to_end = True
        self.over.set()

    async def run_message_listeners(self, message: dict[str, Any], raw_message: str) -> None:
        task = asyncio.current_task()
        if task is not None:  # the SDK keeps no reference, and a task that nobody holds may vanish
            self._handling.add(task)
            task.add_done_callback(self._handling.discard)
        self.told(message)
        await super().run_message_listeners(message, raw_message)

    @property
    def lost(self) -> bool:
        """Nothing comes through it any more."""
        return self.current_session is None or self.current_session.closed

    async def hang_up(self, clock: Clock) -> None:
        """Wait for what is in hand, which is acknowledged through this socket, and close it."""
        with contextlib.suppress(TimeoutError):
            async with time_limit(clock, CLOSE_LIMIT):
                if not self.lost and self._handling:
                    await asyncio.wait(set(self._handling))
                await self.disconnect()  # type: ignore[no-untyped-call]
        self.closed = True
        tasks = [task for task in (self.message_processor, self.current_session_monitor, self.message_receiver) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.aiohttp_client_session.close()

    async def _take(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        started = time()
        bolt_request = AsyncBoltRequest(mode="socket_mode", body=request.payload, headers=build_headers(request))
        response = await self._door.dispatch(bolt_request)
        await send_async_response(self, request, response, started)


class SocketMode:
    """Holds the connection. `missed` is called when events may have been lost while there was none."""

    def __init__(
        self,
        app_token: str,
        web: Callable[[], AsyncWebClient],
        door: Door,
        clock: Clock,
        rng: random.Random,
        *,
        missed: Callable[[], None],
        replicas: Callable[[], int] = lambda: 1,
        ping_seconds: float = PING_SECONDS,
    ) -> None:
        """`web` returns a client without a token, made when it is needed: its session belongs to the event loop. `replicas`
        tells how many of us there are: what else is connected with our token works on another store."""
        self._app_token = app_token
        self._web = web
        self._door = door
        self._clock = clock
        self._rng = rng
        self._missed = missed
        self._replicas = replicas
        self._ping_seconds = ping_seconds
        self._connection: Connection | None = None
        self._heard: timedelta | None = None
        """When something came through a socket last; None before the first."""
        self._asked_to_wait = timedelta()
        self._open = 0
        self._retiring: set[asyncio.Task[None]] = set()
        self._stopped = False

    @property
    def up(self) -> bool:
        """There is a connection, as far as is known."""
        return self._connection is not None and not self._connection.lost and not self._stopped

    async def run(self) -> None:
        """Be connected until cancelled or closed.

        Raises:
            PlatformRefused: the token; the message says what to do.
        """
        pause = FIRST_PAUSE
        try:
            while not self._stopped:
                began = self._clock.monotonic()
                reason = await self._live()
                if self._stopped:
                    return
                if reason is None:
                    pause = FIRST_PAUSE
                    continue
                if self._clock.monotonic() - began >= STEADY:
                    pause = FIRST_PAUSE
                wait = max(pause * self._rng.uniform(0.8, 1.2), self._asked_to_wait)
                self._asked_to_wait = timedelta()
                log.warning("slack.reconnecting", reason=reason, seconds=round(wait.total_seconds(), 1))
                await self._clock.sleep(wait)
                pause = min(pause * 2, LONGEST_PAUSE)
        finally:
            await self.close()

    async def close(self) -> None:
        """Close every socket, once what came through it is acknowledged; may be called twice."""
        self._stopped = True
        self._retire()
        if self._retiring:
            await asyncio.wait(list(self._retiring))

    async def _live(self) -> str | None:
        """Open a connection and stay with it; return why it failed, None when Slack asked for another one."""
        try:
            connection = await self._connect()
        except PlatformRefused:
            raise
        except DeliveryError as exc:
            self._asked_to_wait = exc.retry_after if isinstance(exc, DeliveryDelayed) else timedelta()
            return str(exc)
        except TimeoutError:
            return "Slack's socket can't be opened"
        except Exception as exc:  # noqa: BLE001 - whatever an SDK raises, the next try may work
            return describe(exc)
        return await self._watch(connection)

    async def _connect(self) -> Connection:
        moving = self._connection is not None and not self._connection.lost
        connection = Connection(self._app_token, self._web(), self._door, ping_seconds=self._ping_seconds)
        connection.told = self._hear
        try:
            connection.wss_uri = await self._ask_for_address()
            async with time_limit(self._clock, CONNECT_LIMIT):
                await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await connection.hang_up(self._clock)
            raise
        self._open += 1
        self._retire()
        self._connection = connection
        now = self._clock.monotonic()
        heard, self._heard = self._heard, now
        log.info("slack.connected")
        if not moving and (heard is None or now - heard > SHORT_GAP):
            self._missed()
        return connection

    async def _ask_for_address(self) -> str:
        try:
            with translated(repeatable=True):
                answer = await self._web().apps_connections_open(app_token=self._app_token)
                return str(answer["url"])
        except DeliveryError as exc:
            cause = exc.__cause__
            code = str(cause.response.get("error")) if isinstance(cause, SlackApiError) else ""
            if code in REFUSALS:
                raise PlatformRefused(_NOT_ACCEPTED.format(code)) from exc
            raise

    async def _watch(self, connection: Connection) -> str | None:
        began = heard = self._clock.monotonic()
        pong = connection.last_ping_pong_time
        while not self._stopped:
            await self._over_within(connection, LOOK)
            if connection.asked_to_end:
                log.info("slack.moving")
                # Slack also ends the eleventh socket like this, and those of an app whose Socket Mode is off: at once.
                return None if self._clock.monotonic() - began >= SHORT_LIFE else "Slack ended the socket at once"
            if connection.lost:
                self._retire()
                return "the socket was closed"
            if connection.last_ping_pong_time != pong:
                pong, self._heard = connection.last_ping_pong_time, self._clock.monotonic()
            heard = max(heard, self._heard or heard)
            if self._clock.monotonic() - heard >= SILENCE:
                self._retire()
                return "the socket has gone silent"
        return "closed"

    async def _over_within(self, connection: Connection, wait: timedelta) -> None:
        with contextlib.suppress(TimeoutError):
            async with time_limit(self._clock, wait):
                await connection.over.wait()

    def _hear(self, message: dict[str, Any]) -> None:
        self._heard = self._clock.monotonic()
        if message.get("type") == "hello":
            connections = message.get("num_connections")
            others = connections - self._open - (self._replicas() - 1) if isinstance(connections, int) else 0
            if others > 0:
                log.warning(
                    "slack.other_instances", connections=others, remedy="one token is for one installation of Parley"
                )

    def _retire(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return

        async def hang_up() -> None:
            await connection.hang_up(self._clock)
            self._open -= 1

        task = asyncio.create_task(hang_up(), name="slack.hang_up")
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)
