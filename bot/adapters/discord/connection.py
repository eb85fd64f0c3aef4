"""Connections to Discord, held up for ever: a new client after each failure, with growing pauses; refusals end it.

discord.py resumes and reconnects by itself as long as a client lives. What it can't do is outlive a first connection that
fails (Rapptz/discord.py#10520) and save IDENTIFYs, of which a day has 1000; that is done here.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import discord
import structlog

from bot.adapters.discord.client import FirstConnectFailed, IdentifiesSpent, ParleyClient, RestClient
from bot.adapters.discord.rest_errors import Code
from bot.adapters.protocol import PlatformRefused
from bot.clock import Clock, time_limit

log = structlog.get_logger(__name__)

FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=5)
WATCH = timedelta(seconds=30)
LOGIN_LIMIT = timedelta(minutes=1)
"""discord.py would wait 5 minutes for an answer, and then try again."""
LONGEST_REST = timedelta(hours=1)
"""The wait until Discord is asked anew whether it grants sessions again, whatever it said."""
STEADY = timedelta(minutes=10)
"""A connection that held so long is no part of a series of failures."""

_PORTAL = "https://discord.com/developers/applications"
_BAD_TOKEN = f"Discord does not accept DISCORD_TOKEN: copy the bot's token anew from {_PORTAL} (Bot > Reset Token)"
_REFUSALS = {
    4004: _BAD_TOKEN,
    4010: "Discord refuses our shard number (4010): this is a fault of Parley's, please report it",
    4011: (
        "Discord wants this bot in more shards (4011): stop all its replicas, then start Parley again, which asks for their "
        "number"
    ),
    4012: "Discord no longer speaks this version of its gateway (4012): update Parley",
    4013: "Discord does not know an intent that we ask for (4013): update Parley",
    4014: (
        "Discord does not grant this bot the Message Content Intent: switch it on under Bot > Privileged Gateway Intents > "
        f"Message Content Intent on {_PORTAL}, or set DISCORD_MESSAGE_CONTENT=off to answer mentions, replies, direct "
        "messages and commands only"
    ),
}
_PRIVILEGED = 4014

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Login:
    """A client that is logged in, its user and its application."""

    client: RestClient
    user: int
    application: int


async def log_in(token: str, clock: Clock, rng: random.Random) -> Login:
    """Log a client in that has no session, as soon as Discord lets one in; the caller closes it.

    Raises:
        PlatformRefused: the token; the message says what to do.
    """

    async def attempt() -> Login:
        client = RestClient()
        try:
            async with time_limit(clock, LOGIN_LIMIT):
                await client.login(token)
                who = await client.application_info()
        except BaseException:
            await client.close()
            raise
        return Login(client, client.user.id if client.user is not None else who.id, who.id)

    return await persist(attempt, clock, rng)


async def persist(attempt: Callable[[], Awaitable[_T]], clock: Clock, rng: random.Random) -> _T:
    """Ask something of Discord until it does not fail, with growing pauses.

    Raises:
        PlatformRefused: trying again would not help.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            return await attempt()
        except Exception as exc:
            if refusal := refusal_of(exc):
                raise PlatformRefused(refusal) from exc
            await _wait(describe_failure(exc), pause, clock, rng)
        pause = min(pause * 2, LONGEST_PAUSE)


async def stay_connected(token: str, make_client: Callable[[], ParleyClient], clock: Clock, rng: random.Random) -> None:
    """Be connected until cancelled; the client that was made last is closed at the end.

    Raises:
        PlatformRefused: the token or an intent; the message says what to do.
    """
    pause = FIRST_PAUSE
    while True:
        began = clock.monotonic()
        try:
            async with make_client() as client:
                async with time_limit(clock, LOGIN_LIMIT):
                    await client.login(token)
                reason = await _connect(client, clock)
        except IdentifiesSpent as exc:
            log.error("discord.sessions_spent", reason=str(exc), minutes=round(exc.reset_after.total_seconds() / 60))
            await clock.sleep(min(exc.reset_after, LONGEST_REST))
            continue
        except Exception as exc:
            if refusal := refusal_of(exc):
                raise PlatformRefused(refusal) from exc
            reason = describe_failure(exc)
        if clock.monotonic() - began >= STEADY:
            pause = FIRST_PAUSE
        await _wait(reason, pause, clock, rng)
        pause = min(pause * 2, LONGEST_PAUSE)


async def _wait(reason: str, pause: timedelta, clock: Clock, rng: random.Random) -> None:
    wait = pause * rng.uniform(0.8, 1.2)
    log.warning("discord.reconnecting", reason=reason, seconds=round(wait.total_seconds(), 1))
    await clock.sleep(wait)


async def _connect(client: ParleyClient, clock: Clock) -> str:
    """Be connected until that ends; return why it ended."""
    connected = asyncio.create_task(client.connect(), name="discord.connection")
    watching = asyncio.create_task(_lost_for_long(client, clock), name="discord.watch")
    try:
        await asyncio.wait((connected, watching), return_when=asyncio.FIRST_COMPLETED)
        if connected.done():
            await connected
            return "the connection was closed"
        return "a shard did not come back"
    finally:
        for task in (connected, watching):
            task.cancel()
        await asyncio.wait((connected, watching))


async def _lost_for_long(client: ParleyClient, clock: Clock) -> None:
    """Return when a shard has been away for `LONGEST_PAUSE`; the library's own pauses grow to 17 minutes."""
    while client.down_for < LONGEST_PAUSE:
        await clock.sleep(WATCH)


def refusal_of(failure: BaseException) -> str | None:
    """Return what the operator has to do about a failure; None when trying again may help."""
    match failure:
        case discord.LoginFailure():
            return _BAD_TOKEN
        case discord.PrivilegedIntentsRequired():
            return _REFUSALS[_PRIVILEGED]
        case discord.ConnectionClosed(code=code):
            return _REFUSALS.get(code)
    return None


def describe_failure(failure: BaseException) -> str:
    """Say in one line what went wrong, without what Discord repeats of ours."""
    match failure:
        case discord.HTTPException(status=status, code=code):
            return f"HTTP {status}, code {code}"
        case discord.ConnectionClosed(code=code):
            return f"close code {code}"
        case FirstConnectFailed() | discord.GatewayNotFound():
            return "the gateway can't be reached"
    return type(failure).__name__


class OneLine(logging.Filter):
    """Cuts the tracebacks off discord.py's records: it logs one for each try while Discord is away.

    Suggestions that another process made first are none of its failures: both are asked while two hear one shard.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        failure = record.exc_info[1] if record.exc_info else None
        if isinstance(failure, discord.HTTPException) and failure.code == Code.ALREADY_ANSWERED:
            return False
        if failure is not None:
            record.msg = f"{record.getMessage()} ({describe_failure(failure)})"
            record.args = ()
            record.exc_info = None
        return True


def calm_library_log() -> None:
    """Let discord.py log in single lines, and nothing below WARNING: it would show payloads, tokens of interactions too."""
    for name in ("app_commands.tree", "client", "gateway", "http", "shard", "state"):
        logger = logging.getLogger(f"discord.{name}")
        if not any(isinstance(known, OneLine) for known in logger.filters):
            logger.addFilter(OneLine())
    logging.getLogger("discord").setLevel(max(logging.WARNING, logging.getLogger().level))
    # We have no voice, and the library would tell so with each client.
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
