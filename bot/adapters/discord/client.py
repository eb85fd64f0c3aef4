"""The clients of discord.py as we set them up: what one asks to hear, what it may ping, and to whom it hands what it hears.

Each shard has a client of its own, and one more has no session at all: it writes, and asks, also where no shard is ours.
Its handlers only put things into queues, each in its first step: discord.py runs every handler as a task of its own, so the
first steps are in the order of the events, and nothing behind an `await` is.
"""

import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import discord
import structlog

from bot.adapters.discord.catch_up import CatchUp
from bot.adapters.discord.gate import Gate
from bot.adapters.discord.global_limit import limit_silence
from bot.adapters.discord.places import workspace_of
from bot.adapters.discord.refusals import refusals_counted
from bot.adapters.discord.shard import Shard
from bot.adapters.failures import describe
from bot.adapters.fencing import fencing
from bot.clock import Clock, time_limit

log = structlog.get_logger(__name__)

BETWEEN_IDENTIFIES = timedelta(seconds=5)
"""Discord takes one IDENTIFY in 5 s."""
LONGEST_BETWEEN_IDENTIFIES = timedelta(seconds=30)
"""What that grows to while sessions are refused one after another: at the library's own pace a day's would be gone in 80
minutes. The library gives a whole connection 60 s."""
CALM = timedelta(minutes=10)
"""A session that lasted so long is no part of such a series."""
IDENTIFIES_KEPT = 5
"""Of the 1000 a day, so many are left for a restart by hand: whoever uses the last one has the token reset."""
LONGEST_TURN = timedelta(seconds=25)
"""What a session that is begun anew waits for its turn, its socket open meanwhile: with the longest pause less than the
library's 60 s. When so many are lost at once that it does not suffice, some begin too early and are refused once more."""
RECONNECT_DOUBLINGS = 5
"""How often the library doubles its pause while the gateway is away: up to 32 s. With its own ten we may be deaf for another
17 minutes once the gateway is back."""
LONGEST_RATE_LIMIT = 30.0
"""Seconds that discord.py waits inside a call; what takes longer comes back as a failure. It allows no less."""

Turn = Callable[[], Awaitable[None]]
"""Waits until a session may begin, by the one pace of all."""


class FirstConnectFailed(Exception):
    """The gateway could not be reached."""


class IdentifiesSpent(Exception):
    """Too few IDENTIFYs are left for today."""

    def __init__(self, remaining: int, reset_after: timedelta) -> None:
        super().__init__(f"{remaining} session starts are left until Discord grants new ones")
        self.reset_after = reset_after


def intents(*, content: bool) -> discord.Intents:
    """Say what we ask to hear, and nothing more; `content` is the privileged one."""
    asked = discord.Intents.none()
    asked.guilds = asked.guild_messages = asked.dm_messages = True
    asked.message_content = content
    return asked


class RestClient(discord.Client):
    """A client without a session, for what is asked and written."""

    def __init__(self) -> None:
        super().__init__(
            intents=discord.Intents(guilds=True),  # asked of nobody; without it the library would warn
            max_messages=None,
            allowed_mentions=discord.AllowedMentions.none(),
            max_ratelimit_timeout=LONGEST_RATE_LIMIT,
            http_trace=fencing(refusals_counted()),
        )

    async def setup_hook(self) -> None:
        limit_silence(self, LONGEST_RATE_LIMIT)

    async def shards_wanted(self) -> int:
        """Ask Discord in how many shards it wants this bot.

        Raises:
            discord.DiscordException, aiohttp.ClientError, OSError.
        """
        shards, _, _ = await self.http.get_bot_gateway()
        return shards


class ParleyClient(discord.AutoShardedClient):
    """The session on one shard; it lasts until it fails for good or is closed, and is never used again."""

    def __init__(
        self,
        shard: Shard,
        gate: Gate,
        catch_up: CatchUp,
        clock: Clock,
        *,
        content: bool,
        turn: Turn,
        came_up: Callable[[], None] = lambda: None,
    ) -> None:
        """`turn` is waited for before each IDENTIFY, `came_up` called when the session hears."""
        super().__init__(
            intents=intents(content=content),
            shard_ids=[shard.number],
            shard_count=shard.count,
            max_messages=None,
            chunk_guilds_at_startup=False,
            member_cache_flags=discord.MemberCacheFlags.none(),
            # Without it, Discord takes every @ in a text at its word.
            allowed_mentions=discord.AllowedMentions(everyone=False, roles=False, users=False, replied_user=True),
            max_ratelimit_timeout=LONGEST_RATE_LIMIT,
            http_trace=fencing(refusals_counted()),
        )
        self._shard = shard
        self._gate = gate
        self._catch_up = catch_up
        self._clock = clock
        self._turn = turn
        self._tell = came_up
        self._launched = False
        self._identified: tuple[int, timedelta] = (0, timedelta())
        """How often it has identified in a series, and when it last did."""
        self._down: timedelta | None = None
        """Since when it has been disconnected, after it was connected."""
        self.up = False
        """The session hears what happens."""

    @property
    def down_for(self) -> timedelta:
        """How long a session that was lost has been away; zero when none is."""
        return self._clock.monotonic() - self._down if self._down is not None else timedelta()

    # The connection

    async def setup_hook(self) -> None:
        limit_silence(self, LONGEST_RATE_LIMIT)

    async def launch_shards(self) -> None:
        await self._require_identifies()
        await self._turn()  # here, before there is a socket: many shards wait for minutes
        await super().launch_shards()

    async def launch_shard(self, gateway: Any, shard_id: int, *, initial: bool = False) -> None:
        # The library would try again every 5 s for ever; our own loop does it with a growing pause.
        if self._launched:
            raise FirstConnectFailed("the gateway can't be reached")
        self._launched = True
        await super().launch_shard(discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY, shard_id, initial=initial)
        if (launched := self.get_shard(shard_id)) is not None:
            launched._parent._backoff._max = RECONNECT_DOUBLINGS

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        times, last = self._identified
        if self._clock.monotonic() - last >= CALM:
            times = 0
        if not initial:
            doubled = BETWEEN_IDENTIFIES * (1 << min(max(times - 1, 0), 8))
            await self._clock.sleep(min(doubled, LONGEST_BETWEEN_IDENTIFIES))
            with suppress(TimeoutError):
                async with time_limit(self._clock, LONGEST_TURN):
                    await self._turn()
            await self._require_identifies()
        self._identified = (times + 1, self._clock.monotonic())
        log.info("discord.identified", shard=shard_id)

    async def _require_identifies(self) -> None:
        limits = await self.fetch_session_start_limits()
        if limits.remaining <= IDENTIFIES_KEPT:
            raise IdentifiesSpent(limits.remaining, timedelta(milliseconds=limits.reset_after))

    async def on_shard_connect(self, shard_id: int) -> None:
        self._catch_up.session_began(self, self._shard)
        self._came_up()
        log.info("discord.connected", shard=shard_id)

    async def on_shard_resumed(self, shard_id: int) -> None:
        self._came_up()
        log.info("discord.resumed", shard=shard_id)

    async def on_shard_disconnect(self, shard_id: int) -> None:
        self.up = False
        if self._down is None:
            self._down = self._clock.monotonic()
        log.info("discord.disconnected", shard=shard_id)

    def _came_up(self) -> None:
        self.up, self._down = True, None
        self._tell()

    async def on_error(self, event_method: str, /, *args: Any, **kwargs: Any) -> None:
        # The library would print a traceback with the event's content.
        failure = sys.exception()
        log.error("discord.handler_failed", handler=event_method, error=describe(failure) if failure else "")

    # What is heard

    async def on_message(self, message: discord.Message) -> None:
        if not self._gate.heard(message):
            self._catch_up.overflowed(workspace_of(message.channel))

    async def on_raw_message_edit(self, payload: discord.RawMessageUpdateEvent) -> None:
        self._gate.changed(payload.message)

    async def on_raw_message_delete(self, payload: discord.RawMessageDeleteEvent) -> None:
        self._gate.removed(_workspace(payload.guild_id), payload.channel_id, [payload.message_id])

    async def on_raw_bulk_message_delete(self, payload: discord.RawBulkMessageDeleteEvent) -> None:
        self._gate.removed(_workspace(payload.guild_id), payload.channel_id, payload.message_ids)

    async def on_thread_create(self, thread: discord.Thread) -> None:
        self._gate.opened(thread)

    async def on_raw_thread_delete(self, payload: discord.RawThreadDeleteEvent) -> None:
        self._gate.gone(str(payload.guild_id), payload.parent_id, payload.thread_id)

    async def on_guild_channel_delete(self, channel: discord.abc.GuildChannel) -> None:
        self._gate.gone(str(channel.guild.id), channel.id)

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        self._gate.gone(str(guild.id))

    async def on_guild_unavailable(self, guild: discord.Guild) -> None:
        self._catch_up.guild_lost(guild)

    async def on_guild_available(self, guild: discord.Guild) -> None:
        self._catch_up.guild_ready(guild)

    async def on_guild_join(self, guild: discord.Guild) -> None:
        self._catch_up.guild_ready(guild)


def _workspace(guild_id: int | None) -> str:
    return str(guild_id) if guild_id is not None else ""
