"""Discord, put together: the connection, what it hears, what was missed, the commands, and the surface."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import discord
import structlog

from bot.adapters.discord.catch_up import CatchUp
from bot.adapters.discord.client import ParleyClient
from bot.adapters.discord.connection import calm_library_log, stay_connected
from bot.adapters.discord.endpoints import API_BASE_URL, GATEWAY_URL, point_at
from bot.adapters.discord.gate import LOGIN, Gate
from bot.adapters.discord.inbox import Inbox
from bot.adapters.discord.members import Members
from bot.adapters.discord.places import PLATFORM, Places
from bot.adapters.discord.registration import install
from bot.adapters.discord.surface import DiscordSurface
from bot.adapters.discord.watermarks import Watermarks
from bot.adapters.protocol import Inside, Mount
from bot.chat.policy import Rules
from bot.chat.protocol import DeliveryDelayed
from bot.clock import Clock
from store import StoreUnavailable

log = structlog.get_logger(__name__)

STORE_PAUSE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class _Intake:
    """What takes in, and stops before the rest does."""

    inbox: Inbox
    marks: Watermarks
    catch_up: CatchUp

    async def stop(self) -> None:
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
        self._client: ParleyClient | None = None
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

        def rules(workspace: str, channel: str) -> Rules:
            return inside.rules.of(PLATFORM, workspace, channel)

        inbox, marks = Inbox(self._clock), Watermarks(inside.store, self._clock)
        gate = Gate(
            inside.intake,
            inbox,
            marks,
            Places(self._logged_in, self._clock),
            Members(self._logged_in, self._clock),
            self._logged_in,
            self.surface,
            self._clock,
            content=self._content,
        )
        catch_up = CatchUp(gate, marks, self._clock, self._rng, self._logged_in, rules=rules, content=self._content)

        async def offer_commands(client: ParleyClient) -> None:
            await install(
                client,
                commands=inside.commands,
                presses=inside.presses,
                intake=inside.intake,
                authority=inside.authority,
                store=inside.store,
                rules=inside.rules,
                clock=self._clock,
            )

        def make_client() -> ParleyClient:
            self._client = ParleyClient(gate, catch_up, self._clock, content=self._content, setup=[offer_commands])
            self.surface.use(self._client)
            return self._client

        await self._restore(marks)
        self._intake = _Intake(inbox, marks, catch_up)
        writing = asyncio.create_task(marks.run(), name="discord.marks")
        try:
            await stay_connected(self._token, make_client, self._clock, self._rng)
        finally:
            writing.cancel()
            await asyncio.wait([writing])
            await self._intake.stop()

    async def stop_intake(self) -> None:
        if self._intake is not None:
            await self._intake.stop()

    @property
    def ready(self) -> bool:
        return self._client is not None and self._client.up

    def describe(self) -> str:
        if self._client is None or not self._client.up:
            return f"{PLATFORM} (not connected)"
        servers = len(self._client.guilds)
        return f"{PLATFORM} ({servers} {'server' if servers == 1 else 'servers'})"

    async def _restore(self, marks: Watermarks) -> None:
        while True:
            try:
                return await marks.restore()
            except StoreUnavailable as exc:
                log.warning("discord.waiting", reason=str(exc), seconds=STORE_PAUSE.total_seconds())
                await self._clock.sleep(STORE_PAUSE)

    def _logged_in(self) -> discord.Client:
        if self._client is None or self._client.user is None or self._client.is_closed():
            raise DeliveryDelayed("the bot is not logged in to Discord", retry_after=LOGIN)
        return self._client
