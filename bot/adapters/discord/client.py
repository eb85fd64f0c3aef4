"""The client of discord.py as we set it up: what it asks to hear, what it may ping, and to whom it hands what it hears.

Its handlers only put things into queues, each in its first step: discord.py runs every handler as a task of its own, so the
first steps are in the order of the events, and nothing behind an `await` is.
"""

import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import discord
import structlog

from bot.adapters.discord.catch_up import CatchUp
from bot.adapters.discord.gate import Gate, our_id
from bot.adapters.discord.global_limit import limit_silence
from bot.adapters.discord.places import workspace_of
from bot.adapters.discord.refusals import refusals_counted
from bot.adapters.failures import describe
from bot.clock import Clock

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
LONGEST_RATE_LIMIT = 30.0
"""Seconds that discord.py waits inside a call; what takes longer comes back as a failure. It allows no less."""

Setup = Callable[["ParleyClient"], Awaitable[None]]
"""Something that is done once a client is logged in and before it is connected, such as registering commands."""


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


class ParleyClient(discord.AutoShardedClient):
    """One connection to Discord; it lasts until it fails for good or is closed, and is never used again."""

    def __init__(self, gate: Gate, catch_up: CatchUp, clock: Clock, *, content: bool, setup: Sequence[Setup] = ()) -> None:
        # We have no voice, and the library would tell so at each reconnection.
        discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
        super().__init__(
            intents=intents(content=content),
            max_messages=None,
            chunk_guilds_at_startup=False,
            member_cache_flags=discord.MemberCacheFlags.none(),
            # Without it, Discord takes every @ in a text at its word.
            allowed_mentions=discord.AllowedMentions(everyone=False, roles=False, users=False, replied_user=True),
            max_ratelimit_timeout=LONGEST_RATE_LIMIT,
            http_trace=refusals_counted(),
        )
        self._gate = gate
        self._catch_up = catch_up
        self._clock = clock
        self._setup = setup
        self._launched: set[int] = set()
        self._up: set[int] = set()
        self._identified: dict[int | None, tuple[int, timedelta]] = {}
        """How often each shard has identified in a series, and when it last did."""
        self._down: dict[int, timedelta] = {}
        """Since when each shard has been disconnected."""

    @property
    def up(self) -> bool:
        """Every shard is connected."""
        return self.shard_count is not None and len(self._up) == self.shard_count

    @property
    def down_for(self) -> timedelta:
        """How long the shard that was lost first has been away; zero when none is."""
        return self._clock.monotonic() - min(self._down.values()) if self._down else timedelta()

    # The connection

    async def setup_hook(self) -> None:
        limit_silence(self, LONGEST_RATE_LIMIT)
        for prepare in self._setup:
            await prepare(self)

    async def launch_shards(self) -> None:
        await self._require_identifies()
        await super().launch_shards()

    async def launch_shard(self, gateway: Any, shard_id: int, *, initial: bool = False) -> None:
        # The library would try again every 5 s for ever; our own loop does it with a growing pause.
        if shard_id in self._launched:
            raise FirstConnectFailed("the gateway can't be reached")
        self._launched.add(shard_id)
        await super().launch_shard(discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY, shard_id, initial=initial)

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        times, last = self._identified.get(shard_id, (0, timedelta()))
        if self._clock.monotonic() - last >= CALM:
            times = 0
        if not initial:
            doubled = BETWEEN_IDENTIFIES * (1 << min(max(times - 1, 0), 8))
            await self._clock.sleep(min(doubled, LONGEST_BETWEEN_IDENTIFIES))
            await self._require_identifies()
        self._identified[shard_id] = (times + 1, self._clock.monotonic())
        log.info("discord.identified", shard=shard_id)

    async def _require_identifies(self) -> None:
        limits = await self.fetch_session_start_limits()
        if limits.remaining < (self.shard_count or 1) + IDENTIFIES_KEPT:
            raise IdentifiesSpent(limits.remaining, timedelta(milliseconds=limits.reset_after))

    async def on_shard_connect(self, shard_id: int) -> None:
        self._catch_up.session_began(self, shard_id)
        self._came_up(shard_id)
        log.info("discord.connected", shard=shard_id)

    async def on_shard_resumed(self, shard_id: int) -> None:
        self._came_up(shard_id)
        log.info("discord.resumed", shard=shard_id)

    async def on_shard_disconnect(self, shard_id: int) -> None:
        self._up.discard(shard_id)
        self._down.setdefault(shard_id, self._clock.monotonic())
        log.info("discord.disconnected", shard=shard_id)

    def _came_up(self, shard_id: int) -> None:
        self._up.add(shard_id)
        self._down.pop(shard_id, None)

    async def on_error(self, event_method: str, /, *args: Any, **kwargs: Any) -> None:
        # The library would print a traceback with the event's content.
        failure = sys.exception()
        log.error("discord.handler_failed", handler=event_method, error=describe(failure) if failure else "")

    # What is heard

    async def on_message(self, message: discord.Message) -> None:
        if not self._gate.heard(message):
            self._catch_up.overflowed(workspace_of(message.channel))

    async def on_raw_message_edit(self, payload: discord.RawMessageUpdateEvent) -> None:
        self._gate.changed(payload.message, our_id(self))

    async def on_raw_message_delete(self, payload: discord.RawMessageDeleteEvent) -> None:
        self._gate.removed(_workspace(payload.guild_id), payload.channel_id, [payload.message_id])

    async def on_raw_bulk_message_delete(self, payload: discord.RawBulkMessageDeleteEvent) -> None:
        self._gate.removed(_workspace(payload.guild_id), payload.channel_id, payload.message_ids)

    async def on_thread_create(self, thread: discord.Thread) -> None:
        self._gate.opened(thread, our_id(self))

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
