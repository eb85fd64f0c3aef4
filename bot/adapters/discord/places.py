"""Which place a Discord channel is: a direct message, a channel, or a thread and the channel around it.

Archived threads are not in the library's cache, so their parent is asked for once and remembered.
"""

from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta

import discord

from bot.adapters.discord.rest_errors import translated
from bot.adapters.where import Where
from bot.chat.protocol import Place
from bot.clock import Clock, time_limit

PLATFORM = "discord"
REMEMBERED = 10_000
"""Channels whose kind is remembered: more than people write in between two restarts, and 1 MB."""
PATIENCE = timedelta(seconds=10)
"""How long asking about a channel may take: what is said there waits for it."""


class Places:
    """Knows channels by themselves, by what it was told, and by asking Discord once."""

    def __init__(self, client: Callable[[], discord.Client], clock: Clock) -> None:
        """`client` returns one that is logged in now; it raises DeliveryDelayed while there is none."""
        self._client = client
        self._clock = clock
        self._parents: OrderedDict[int, int] = OrderedDict()
        """The parent of a channel that is not cached; 0 for one that is no thread."""

    def learn(self, thread: int, parent: int) -> None:
        """Remember the channel around a thread."""
        self._parents[thread] = parent
        self._parents.move_to_end(thread)
        while len(self._parents) > REMEMBERED:
            self._parents.popitem(last=False)

    async def of(self, channel: "discord.abc.MessageableChannel") -> Where:
        """Name a place.

        Raises:
            DeliveryError: it is not known and Discord does not tell.
        """
        workspace = workspace_of(channel)
        if not workspace:
            return Where(place=Place.DIRECT, workspace="", channel=str(channel.id))
        parent = known_parent(channel)
        if parent is None:
            parent = self._parents.get(channel.id)
        if parent is None:
            parent = await self._ask(channel.id)
            self.learn(channel.id, parent)
        if parent:
            return Where(place=Place.THREAD, workspace=workspace, channel=str(parent), thread=str(channel.id))
        return Where(place=Place.CHANNEL, workspace=workspace, channel=str(channel.id))

    async def _ask(self, channel_id: int) -> int:
        client = self._client()
        with translated(repeatable=True):
            async with time_limit(self._clock, PATIENCE):
                try:
                    channel = await client.fetch_channel(channel_id)
                except discord.InvalidData:  # of a kind that came after this version of the library
                    return 0
        return channel.parent_id if isinstance(channel, discord.Thread) else 0


def workspace_of(channel: object) -> str:
    """Return the guild that a channel is in, "" for direct messages."""
    guild = getattr(channel, "guild_id", None) or getattr(getattr(channel, "guild", None), "id", None)
    return str(guild) if guild is not None else ""


def category_of(where: Where, guild: discord.Guild | None) -> str:
    """Return the category that a place's channel stands under, "" for none or one that is not known."""
    category = getattr(guild.get_channel(int(where.channel)), "category_id", None) if guild is not None else None
    return str(category) if category is not None else ""


def known_parent(channel: object) -> int | None:
    """Return the id of the channel around a thread, 0 when the channel is no thread, None when the library does not know."""
    if isinstance(channel, discord.Thread):
        return channel.parent_id
    return None if isinstance(channel, discord.PartialMessageable) else 0
