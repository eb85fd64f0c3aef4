"""What was said while we were away: read on every fresh session, and brought through the same gate as what is heard live.

A guild's mentions and replies to us are found by Discord's search; direct messages, threads in which we take part and
channels in which every message counts are read by their history. At most 6 hours back and 200 messages of a channel. Older
messages that were edited or deleted while we were away stay as they were: Discord does not tell of it.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import discord
import structlog
from discord.http import Route

from bot.adapters.discord.gate import Gate, our_id
from bot.adapters.discord.rest_errors import Code, translated
from bot.adapters.discord.watermarks import Watermarks
from bot.adapters.failures import describe
from bot.adapters.where import Where
from bot.chat.policy import Rules, Trigger
from bot.chat.protocol import DeliveryDelayed, DeliveryError, Place, Unreachable
from bot.clock import Clock

log = structlog.get_logger(__name__)

OLDEST = timedelta(hours=6)
MESSAGES = 200
"""Messages of one channel that are read. Who wrote more than that does not wait for an answer to each."""
PLACES = 1000
"""Histories that are read of one guild, or of direct messages, the ones last used first: 20 s at 50 requests a second."""
AT_ONCE = 4
"""Requests in flight, so that answers to people who write now find their way."""
PAGE = 25
PAGES = 40
INDEXING = 110000
INDEX_LAG = timedelta(seconds=30)
"""The search may not know yet what was said last, so it is asked once more."""
OVERFLOW = timedelta(seconds=30)
"""The wait before what there was no room for is read."""
FIRST_RETRY = timedelta(seconds=2)
LONGEST_RETRY = timedelta(minutes=5)

Json = Any


@dataclass(slots=True)
class _Tally:
    seen: set[int] = field(default_factory=set)
    """The messages that were read, by whichever way they were found."""
    cut: int = 0
    """Places with more than was read of them."""
    unread: int = 0
    """Places that can't be read."""


class CatchUp:
    """Reads what was missed, one task for each guild and one for direct messages."""

    def __init__(
        self,
        gate: Gate,
        marks: Watermarks,
        clock: Clock,
        rng: random.Random,
        client: Callable[[], discord.Client],
        *,
        rules: Callable[[str, str], Rules],
        content: bool,
        at_once: int = AT_ONCE,
    ) -> None:
        """`client` returns the one that is logged in, or raises DeliveryDelayed.

        `content`: we have the message-content intent, without which Discord does not let us search.
        """
        self._gate = gate
        self._marks = marks
        self._clock = clock
        self._rng = rng
        self._client = client
        self._rules = rules
        self._content = content
        self._slots = asyncio.Semaphore(at_once)
        self._overflowed: set[str] = set()
        """Workspaces that are read later because there was no room."""
        self._closed = False
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def session_began(self, client: discord.AutoShardedClient, shard: int) -> None:
        """Hold the marks of all that a shard hears of, before it hears the first of it; direct messages are read at once."""
        present = {str(guild.id) for guild in client.guilds}
        count = client.shard_count or 1
        for workspace in {*present, *self._marks.guilds()}:
            if (int(workspace) >> 22) % count == shard:
                self._marks.hold(workspace)
                if workspace not in present:
                    self._gate.gone(workspace)
        if shard == 0:  # Discord sends direct messages to the first shard only
            self._marks.hold("")
            self._begin("")

    def guild_lost(self, guild: discord.Guild) -> None:
        """Hold the marks of a guild that Discord itself has lost sight of."""
        self._marks.hold(str(guild.id))

    def guild_ready(self, guild: discord.Guild) -> None:
        """Read what was missed in a guild."""
        self._begin(str(guild.id))

    def overflowed(self, workspace: str) -> None:
        """Read later what there was no room for."""
        self._marks.hold(workspace)
        if workspace not in self._overflowed:
            log.warning("discord.too_much", workspace=workspace)
            self._overflowed.add(workspace)
            self._begin(workspace, after=OVERFLOW)

    async def close(self) -> None:
        """Stop reading; the marks of what was not read stay held."""
        self._closed = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _begin(self, workspace: str, *, after: timedelta = timedelta()) -> None:
        if self._closed:
            return
        former = self._tasks.get(workspace)
        if former is not None:
            former.cancel()
        task = asyncio.create_task(self._until_read(workspace, after), name=f"catch-up {workspace}")
        self._tasks[workspace] = task
        task.add_done_callback(lambda done: self._tasks.pop(workspace) if self._tasks.get(workspace) is done else None)

    async def _until_read(self, workspace: str, wait: timedelta) -> None:
        pause = FIRST_RETRY
        while True:
            await self._clock.sleep(wait)
            self._overflowed.discard(workspace)
            try:
                await (self._read_guild(workspace) if workspace else self._read_direct_messages())
            except DeliveryError as exc:
                wait = max(pause, exc.retry_after) if isinstance(exc, DeliveryDelayed) else pause
                log.warning("discord.catch_up_failed", workspace=workspace, reason=str(exc), seconds=wait.total_seconds())
            except Exception as exc:  # noqa: BLE001 - what one guild does must not end its catch-up for good
                wait = LONGEST_RETRY
                log.error("discord.catch_up_failed", workspace=workspace, reason=describe(exc))
            else:
                self._marks.release(workspace)
                return
            wait *= self._rng.uniform(0.8, 1.2)
            pause = min(pause * 2, LONGEST_RETRY)

    async def _read_direct_messages(self) -> None:
        tally = _Tally()
        places = self._marks.of_places("")
        await self._read_places(self._client(), places, tally)
        self._report("", tally, left=len(places) - PLACES)

    async def _read_guild(self, workspace: str) -> None:
        client = self._client()
        guild = client.get_guild(int(workspace))
        if guild is None or guild.unavailable:
            raise DeliveryDelayed("the server is not there now", retry_after=LONGEST_RETRY)
        mark = self._marks.of_guild(workspace)
        if mark is None:
            self._marks.begin(workspace, newest(guild))
            return
        tally = _Tally()
        places = [
            (where, seen) for where, seen in self._places(guild, mark, our_id(client)) if self._has_more(guild, where, seen)
        ]
        await self._read_places(client, places, tally)
        if self._content:
            await self._search(client, guild, mark, tally)
        self._report(workspace, tally, left=len(places) - PLACES)
        if self._content:
            await self._clock.sleep(INDEX_LAG)
            await self._search(client, guild, mark, tally)

    def _places(self, guild: discord.Guild, mark: int, us: int) -> Iterable[tuple[Where, int]]:
        """Yield what is read by history, and how far it was read: our threads, and where every message counts."""
        followed = self._marks.of_places(str(guild.id))
        yield from followed
        known = {where.thread for where, _ in followed}
        for channel in (*guild.channels, *guild.threads):
            parent, thread = str(channel.id), ""
            if isinstance(channel, discord.Thread):
                parent, thread = str(channel.parent_id), str(channel.id)
            elif not isinstance(channel, discord.abc.Messageable):
                continue
            ours = isinstance(channel, discord.Thread) and channel.owner_id == us
            if thread not in known and (ours or self._rules(str(guild.id), parent).trigger is Trigger.LISTEN):
                place = Place.THREAD if thread else Place.CHANNEL
                yield Where(place=place, workspace=str(guild.id), channel=parent, thread=thread), mark

    @staticmethod
    def _has_more(guild: discord.Guild, where: Where, seen: int) -> bool:
        channel = guild.get_channel_or_thread(int(where.thread or where.channel))
        newest_there = getattr(channel, "last_message_id", None)
        # An archived thread is not cached: somebody may have written in it, and it was archived again.
        return channel is None or (newest_there is not None and newest_there > seen)

    async def _read_places(self, client: discord.Client, places: Sequence[tuple[Where, int]], tally: _Tally) -> None:
        """Read what can be read, and then raise what could not."""
        reading = (self._read_place(client, where, seen, tally) for where, seen in places[:PLACES])
        for outcome in await asyncio.gather(*reading, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _read_place(self, client: discord.Client, where: Where, seen: int, tally: _Tally) -> None:
        number, guild = int(where.thread or where.channel), int(where.workspace or 0)
        if where.thread:
            self._gate.learn(number, int(where.channel))
        cached = client.get_channel(number)
        partial = client.get_partial_messageable(number, guild_id=guild or None)
        channel = cached if isinstance(cached, discord.abc.Messageable) else partial
        after = discord.Object(self._from(seen))
        try:
            async with self._slots:
                with translated(repeatable=True):
                    found = [message async for message in channel.history(limit=MESSAGES, after=after, oldest_first=True)]
        except Unreachable as exc:
            tally.unread += 1
            gone = isinstance(exc.__cause__, discord.HTTPException) and exc.__cause__.code == Code.UNKNOWN_CHANNEL
            if gone:
                self._gate.gone(where.workspace, int(where.channel), int(where.thread or 0))
            else:
                await self._marks.drop(where)
            return
        tally.cut += len(found) == MESSAGES
        await self._bring(found, tally)

    async def _search(self, client: discord.Client, guild: discord.Guild, mark: int, tally: _Tally) -> None:
        us = our_id(client)
        criteria: list[Json] = [{"mentions": us}, {"replied_to_user_id": us}]
        if guild.self_role is not None:
            criteria.append({"mentions_role_id": guild.self_role.id})
        found: dict[int, discord.Message] = {}
        for criterion in criteria:
            found |= await self._pages(client, guild, criterion, self._from(mark))
        read: Counter[int] = Counter()
        for message in sorted(found.values(), key=lambda message: message.id):
            read[message.channel.id] += 1
            if read[message.channel.id] <= MESSAGES:
                await self._bring([message], tally)
        tally.cut += sum(count > MESSAGES for count in read.values())

    async def _pages(
        self, client: discord.Client, guild: discord.Guild, criterion: Json, after: int
    ) -> dict[int, discord.Message]:
        """Find what meets a criterion behind `after`: the oldest `PAGES` pages of it, nothing where we may not search."""
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
        """Ask for the oldest messages that meet `criteria`; discord.py has no method for it.

        Raises:
            DeliveryDelayed: Discord has not indexed the guild yet, which it says with a success (202).
        """
        route = Route("GET", "/guilds/{guild_id}/messages/search", guild_id=guild.id)
        ordered = {"sort_by": "timestamp", "sort_order": "asc", "limit": PAGE}
        async with self._slots:
            with translated(repeatable=True):
                answer = await client.http.request(route, params=criteria | ordered)
        if answer.get("code") == INDEXING:
            raise DeliveryDelayed("Discord has yet to index the server", retry_after=_seconds(answer.get("retry_after")))
        for thread in answer.get("threads", ()):
            self._gate.learn(int(thread["id"]), int(thread["parent_id"]))
        raw = [message for group in answer["messages"] for message in group]
        return [_message(client, guild, data) for data in sorted(raw, key=lambda data: int(data["id"]))]

    async def _bring(self, messages: Iterable[discord.Message], tally: _Tally) -> None:
        for message in messages:
            if message.id not in tally.seen:
                await self._gate.reread(message)
                tally.seen.add(message.id)

    def _from(self, seen: int) -> int:
        return max(seen, discord.utils.time_snowflake(self._clock.now() - OLDEST))

    def _report(self, workspace: str, tally: _Tally, *, left: int) -> None:
        log.info(
            "discord.caught_up",
            workspace=workspace,
            messages=len(tally.seen),
            places_cut=tally.cut,
            places_unreadable=tally.unread,
            places_left=max(left, 0),
        )


def newest(guild: discord.Guild) -> int:
    """Return the id of the newest message that a guild is known to have: its present, by Discord's own clock."""
    places = (*guild.channels, *guild.threads)
    return max((getattr(place, "last_message_id", None) or 0 for place in places), default=0) or guild.id


def _message(client: discord.Client, guild: discord.Guild, data: Json) -> discord.Message:
    number = int(data["channel_id"])
    channel = guild.get_channel_or_thread(number) or client.get_partial_messageable(number, guild_id=guild.id)
    # discord.py makes messages only of what it asked for itself, with its own state.
    return discord.Message(state=client._connection, channel=channel, data=data)  # type: ignore[arg-type]


def _seconds(told: object) -> timedelta:
    seconds = told if isinstance(told, int | float) else 0
    return timedelta(seconds=min(max(seconds, FIRST_RETRY.total_seconds()), LONGEST_RETRY.total_seconds()))
