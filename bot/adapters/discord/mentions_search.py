"""Discord's search for what was said to us in a guild: messages that mention us or our role, and replies to ours."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import discord
import structlog
from discord.http import Route

from bot.adapters.discord.rest_errors import translated
from bot.chat.protocol import DeliveryDelayed, Unreachable

log = structlog.get_logger(__name__)

PAGE = 25
PAGES = 40
INDEXING = 110000
SHORTEST_WAIT = timedelta(seconds=2)
LONGEST_WAIT = timedelta(minutes=5)
"""How long a guild that is not indexed yet is left alone, whatever Discord says."""

Json = Any


class MentionsSearch:
    """Finds messages page by page; without the message-content intent Discord lets nobody search."""

    def __init__(self, slots: asyncio.Semaphore, *, us: int, learn: Callable[[int, int], None]) -> None:
        """`slots` are the requests that may be in flight, `us` is our own user's id, and `learn` is told of each thread that
        is found, and of the channel around it."""
        self._slots = slots
        self._us = us
        self._learn = learn

    async def found(
        self, client: discord.Client, guild: discord.Guild, after: int, *, before: int = 0
    ) -> list[discord.Message]:
        """Return what was said to us in a guild between two ids, or behind one, oldest first.

        Of each kind the oldest `PAGES` pages are found, and nothing where we may not search.

        Raises:
            DeliveryDelayed: Discord has not indexed the guild yet.
            DeliveryError: the search failed.
        """
        criteria: list[Json] = [{"mentions": self._us}, {"replied_to_user_id": self._us}]
        if guild.self_role is not None:
            criteria.append({"mentions_role_id": guild.self_role.id})
        until: Json = {"max_id": before} if before else {}
        found: dict[int, discord.Message] = {}
        for criterion in criteria:
            found |= await self._pages(client, guild, criterion | until, after)
        return [found[number] for number in sorted(found)]

    async def _pages(
        self, client: discord.Client, guild: discord.Guild, criterion: Json, after: int
    ) -> dict[int, discord.Message]:
        found: dict[int, discord.Message] = {}
        for _ in range(PAGES):
            try:
                page = await self._page(client, guild, criterion | {"min_id": after})
            except Unreachable as exc:
                log.warning("discord.search_refused", workspace=str(guild.id), reason=str(exc))
                return found
            fresh = {message.id: message for message in page if message.id > after}
            if not fresh:
                return found
            found |= fresh
            after = max(fresh)
        log.warning("discord.search_cut", workspace=str(guild.id), messages=len(found))
        return found

    async def _page(self, client: discord.Client, guild: discord.Guild, criteria: Json) -> list[discord.Message]:
        # discord.py has no method for it.
        route = Route("GET", "/guilds/{guild_id}/messages/search", guild_id=guild.id)
        ordered = {"sort_by": "timestamp", "sort_order": "asc", "limit": PAGE}
        async with self._slots:
            with translated(repeatable=True):
                answer = await client.http.request(route, params=criteria | ordered)
        if answer.get("code") == INDEXING:  # which comes with a success (202)
            raise DeliveryDelayed("Discord has yet to index the server", retry_after=_wait(answer.get("retry_after")))
        for thread in answer.get("threads", ()):
            self._learn(int(thread["id"]), int(thread["parent_id"]))
        raw = [message for group in answer["messages"] for message in group]
        return [_message(client, guild, data) for data in sorted(raw, key=lambda data: int(data["id"]))]


def _message(client: discord.Client, guild: discord.Guild, data: Json) -> discord.Message:
    number = int(data["channel_id"])
    channel = guild.get_channel_or_thread(number) or client.get_partial_messageable(number, guild_id=guild.id)
    # discord.py makes messages only of what it asked for itself, with its own state.
    return discord.Message(state=client._connection, channel=channel, data=data)  # type: ignore[arg-type]


def _wait(told: object) -> timedelta:
    seconds = told if isinstance(told, int | float) else 0
    return timedelta(seconds=min(max(seconds, SHORTEST_WAIT.total_seconds()), LONGEST_WAIT.total_seconds()))
