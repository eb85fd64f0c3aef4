"""Discord, put together: the connection, what it hears, what was missed, the commands, and the surface."""

import asyncio
import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import discord
import structlog

from bot.adapters.discord.catch_up import CatchUp
from bot.adapters.discord.client import ParleyClient
from bot.adapters.discord.connection import Login, calm_library_log, log_in, persist
from bot.adapters.discord.endpoints import API_BASE_URL, GATEWAY_URL, point_at
from bot.adapters.discord.gate import Gate
from bot.adapters.discord.inbox import Inbox
from bot.adapters.discord.members import Members
from bot.adapters.discord.places import PLATFORM, Places
from bot.adapters.discord.registration import install, register
from bot.adapters.discord.session_starts import session_starts
from bot.adapters.discord.shard import Shard
from bot.adapters.discord.shards import Shards
from bot.adapters.discord.surface import DiscordSurface
from bot.adapters.discord.watermarks import Watermarks
from bot.adapters.protocol import Inside, Mount
from bot.chat.away import Away
from bot.chat.policy import Rules
from bot.chat.protocol import Address
from bot.chat.unanswered import Unanswered
from bot.clock import Clock

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Intake:
    """What takes in, and stops before the rest does."""

    inbox: Inbox
    marks: Watermarks
    catch_up: CatchUp
    away: Away

    async def stop(self) -> None:
        await self.away.close()
        await self.catch_up.close()
        await self.inbox.close()
        await self.marks.write()


class DiscordAdapter:
    """Implements `Adapter` on discord.py."""

    platform = PLATFORM
    mounts: Sequence[Mount] = ()

    def __init__(
        self,
        token: str,
        *,
        clock: Clock,
        rng: random.Random,
        api_base_url: str = API_BASE_URL,
        gateway_url: str = GATEWAY_URL,
        message_content: bool = True,
    ) -> None:
        """Without `message_content` only mentions, replies that ping, direct messages and commands reach us."""
        self._token = token
        self._clock = clock
        self._rng = rng
        self._api_base_url = api_base_url
        self._gateway_url = gateway_url
        self._content = message_content
        self._shards: Shards | None = None
        self._intake: _Intake | None = None
        self.surface = DiscordSurface(None, clock, api_base_url=api_base_url)

    async def run(self, inside: Inside) -> None:
        point_at(self._api_base_url, self._gateway_url)
        calm_library_log()
        if not self._content:
            log.warning(
                "discord.degraded",
                reason="DISCORD_MESSAGE_CONTENT is off: mentions, replies that ping, direct messages and commands only",
            )

        login = await log_in(self._token, self._clock, self._rng)
        async with login.client as rest:
            self.surface.use(rest)
            await register(install(rest, inside, self._clock), inside.store, self._clock)
            await self._hear(inside, login)

    async def _hear(self, inside: Inside, login: Login) -> None:
        """Hear our share of what is said until cancelled."""
        rest, us = login.client, login.user

        def rules(workspace: str, channel: str) -> Rules:
            return inside.rules.of(PLATFORM, workspace, channel)

        def make_client(shard: Shard, came_up: Callable[[], None]) -> ParleyClient:
            client = ParleyClient(
                shard, gate, catch_up, self._clock, content=self._content, turn=starts.acquire, came_up=came_up
            )
            install(client, inside, self._clock)
            return client

        inbox, marks = Inbox(self._clock), Watermarks(inside.store, self._clock)
        places, members = Places(lambda: rest, self._clock), Members(lambda: rest, self._clock)
        away = Away(self.surface, self._clock, check=inside.store.check, since=_said_since)
        gate = Gate(
            inside.intake,
            inbox,
            marks,
            places,
            members,
            self.surface,
            self._clock,
            us=us,
            content=self._content,
            unkept=away.unkept,
        )
        unanswered = Unanswered(self.surface, self._clock, once=lambda name: inside.store.once(name, at=self._clock.now()))
        catch_up = CatchUp(
            gate, marks, self._clock, self._rng, us=us, rules=rules, unanswered=unanswered, content=self._content
        )
        starts = session_starts(inside.store, self._clock, application=login.application)
        shards = Shards(
            inside.store,
            marks,
            catch_up,
            make_client,
            self._clock,
            self._rng,
            token=self._token,
            name=f"discord.{login.application}",
            replica=uuid.uuid4().hex,
            parts=await persist(rest.shards_wanted, self._clock, self._rng),
        )
        self._shards, self._intake = shards, _Intake(inbox, marks, catch_up, away)
        writing = asyncio.create_task(marks.run(), name="discord.marks")
        try:
            await shards.run()
        finally:
            writing.cancel()
            await asyncio.wait([writing])
            await self.stop_intake()

    @property
    def shared(self) -> bool:
        return self._shards is not None and self._shards.shared

    async def hand_over(self) -> None:
        if self._shards is not None:
            await self._shards.hand_over()

    async def stop_intake(self) -> None:
        if self._intake is not None:
            await self._intake.stop()
        if self._shards is not None:
            await self._shards.leave()

    @property
    def ready(self) -> bool:
        return self._shards is not None and self._shards.ready

    def describe(self) -> str:
        if self._shards is None or not self._shards.ready:
            return f"{PLATFORM} (not connected)"
        if not self._shards.held:
            return f"{PLATFORM} (standing by)"
        servers = self._shards.guilds
        return f"{PLATFORM} ({servers} {'server' if servers == 1 else 'servers'})"


def _said_since(address: Address, moment: datetime) -> Address:
    return replace(address, reply_to=str(discord.utils.time_snowflake(moment)))
