"""What was said while we were away: read on every fresh session, and brought through the same gate as what is heard live.

A guild's mentions and replies to us are found by Discord's search; direct messages, threads in which we take part and
channels in which every message counts are read by their history. At most 6 hours back and 200 messages of a channel. What
was said to us before that is told of in one line where it was said. Messages of before we went that were edited or deleted
meanwhile stay as they were: Discord does not tell of it.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import discord
import structlog

from bot.adapters.discord.gate import Gate
from bot.adapters.discord.mentions_search import MentionsSearch
from bot.adapters.discord.rest_errors import Code, translated
from bot.adapters.discord.shard import Shard
from bot.adapters.discord.watermarks import Watermarks
from bot.adapters.failures import describe
from bot.adapters.where import Where
from bot.chat.policy import Rules, Trigger
from bot.chat.protocol import DeliveryDelayed, DeliveryError, Place, Unreachable
from bot.chat.unanswered import Unanswered
from bot.clock import Clock
from store import StoreUnavailable

log = structlog.get_logger(__name__)

OLDEST = timedelta(hours=6)
FORGOTTEN = timedelta(days=7)
"""Who has waited for longer hears nothing of it: the search for them would be long, and the line a surprise."""
MESSAGES = 200
"""Messages of one channel that are read. Who wrote more than that does not wait for an answer to each."""
PLACES = 1000
"""Histories that are read of one guild, or of direct messages, the ones last used first: 20 s at 50 requests a second."""
AT_ONCE = 4
"""Requests in flight, so that answers to people who write now find their way."""
INDEX_LAG = timedelta(seconds=30)
"""The search may not know yet what was said last, so it is asked once more."""
OVERFLOW = timedelta(seconds=30)
"""The wait before what there was no room for is read."""
NEW_SESSION = timedelta(seconds=5)
"""The wait for a session in place of one that ended."""
FIRST_RETRY = timedelta(seconds=2)
LONGEST_RETRY = timedelta(minutes=5)


@dataclass(slots=True)
class _Tally:
    seen: set[int] = field(default_factory=set)
    """The messages that were read, by whichever way they were found."""
    cut: int = 0
    """Places with more than was read of them."""
    unread: int = 0
    """Places that can't be read."""
    reached: dict[Where, int] = field(default_factory=dict)
    """How far places were read."""
    told: set[int] = field(default_factory=set)
    """The channels that were told of what came too long ago to be answered."""


class CatchUp:
    """Reads what was missed, one task for each guild and one for direct messages."""

    def __init__(
        self,
        gate: Gate,
        marks: Watermarks,
        clock: Clock,
        rng: random.Random,
        *,
        us: int,
        rules: Callable[[str, str], Rules],
        unanswered: Unanswered,
        content: bool,
        at_once: int = AT_ONCE,
    ) -> None:
        """`us` is our own user's id; `content`: we have the message-content intent, without which Discord does not let us
        search."""
        self._gate = gate
        self._marks = marks
        self._clock = clock
        self._rng = rng
        self._us = us
        self._rules = rules
        self._unanswered = unanswered
        self._content = content
        self._slots = asyncio.Semaphore(at_once)
        self._search = MentionsSearch(self._slots, us=us, learn=gate.learn)
        self._telling = asyncio.Lock()
        """One place at a time is read and told of what is too old: memory has no room for what stands in a thousand."""
        self._overflowed: set[str] = set()
        """Workspaces that are read later because there was no room."""
        self._closed = False
        self._clients: dict[Shard, discord.Client] = {}
        """By each shard, the client that has the session on it."""
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def session_began(self, client: discord.Client, shard: Shard) -> None:
        """Hold the marks of all that a shard hears of, before it hears the first of it; direct messages are read at once."""
        self._clients[shard] = client
        present = {str(guild.id) for guild in client.guilds}
        for workspace in {*present, *self._marks.guilds()}:
            if shard.hears(workspace):
                self._marks.hold(workspace)
                if workspace not in present:
                    self._gate.gone(workspace)
        if shard.hears(""):
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

    async def let_go(self, shard: Shard) -> None:
        """Stop reading what a shard hears of: another process does."""
        self._clients.pop(shard, None)
        await self._stop(workspace for workspace in self._tasks if shard.hears(workspace))

    async def close(self) -> None:
        """Stop reading; the marks of what was not read stay held."""
        self._closed = True
        await self._stop(self._tasks)

    async def _stop(self, workspaces: Iterable[str]) -> None:
        tasks = [self._tasks[workspace] for workspace in workspaces]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _client(self, workspace: str) -> discord.Client | None:
        return next((client for shard, client in self._clients.items() if shard.hears(workspace)), None)

    def _begin(self, workspace: str, *, after: timedelta = timedelta()) -> None:
        if self._closed or self._client(workspace) is None:
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
            except (DeliveryError, StoreUnavailable) as exc:
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

    def _connected(self, workspace: str) -> discord.Client:
        client = self._client(workspace)
        if client is None or client.is_closed():
            raise DeliveryDelayed("there is no session to read with", retry_after=NEW_SESSION)
        return client

    async def _read_direct_messages(self) -> None:
        tally = _Tally()
        places = self._marks.of_places("")
        await self._read_places(self._connected(""), places, tally)
        self._report("", tally, left=len(places) - PLACES)

    async def _read_guild(self, workspace: str) -> None:
        client = self._connected(workspace)
        guild = client.get_guild(int(workspace))
        if guild is None or guild.unavailable:
            raise DeliveryDelayed("the server is not there now", retry_after=LONGEST_RETRY)
        mark = self._marks.of_guild(workspace) or await self._mark_of_another(workspace)
        if mark is None:
            self._marks.begin(workspace, newest(guild))
            return
        tally = _Tally()
        places = [(where, seen) for where, seen in self._places(guild, mark) if self._has_more(guild, where, seen)]
        await self._read_places(client, places, tally)
        if self._content:
            await self._read_mentions(client, guild, mark, tally)
            await self._tell_of_older_mentions(client, guild, mark, tally)
        self._report(workspace, tally, left=len(places) - PLACES)
        if tally.seen:  # of what is that much older than the newest that was read, the search knew all
            self._marks.reached(workspace, max(tally.seen) - _ids(INDEX_LAG), tally.reached)
        if self._content:
            await self._clock.sleep(INDEX_LAG)
            await self._read_mentions(client, guild, mark, tally)

    async def _mark_of_another(self, workspace: str) -> int | None:
        """Ask the store for a guild's mark: who heard the shard when it was offered to us may have begun the guild since,
        and have died before we heard it."""
        try:
            for shard in [shard for shard in self._clients if shard.hears(workspace)]:
                await self._marks.take_over(shard)
        except StoreUnavailable as exc:
            raise DeliveryDelayed("the store does not tell how far the server was read", retry_after=FIRST_RETRY) from exc
        return self._marks.of_guild(workspace)

    def _places(self, guild: discord.Guild, mark: int) -> Iterable[tuple[Where, int]]:
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
            ours = isinstance(channel, discord.Thread) and channel.owner_id == self._us
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
        oldest = self._back(OLDEST)
        try:
            found = await self._history(channel, after=max(seen, oldest))
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
        if found:
            tally.reached[where] = found[-1].id
        if seen < oldest:
            async with self._telling:
                older = await self._history(channel, after=max(seen, self._back(FORGOTTEN)), before=oldest)
                await self._tell_of_older(where.workspace, number, older)
            tally.told.add(number)

    async def _history(self, channel: discord.abc.Messageable, *, after: int, before: int = 0) -> list[discord.Message]:
        """Return the oldest `MESSAGES` messages of a channel between two ids, or behind one, oldest first."""
        span = {"after": discord.Object(after), "before": discord.Object(before) if before else None}
        async with self._slots:
            with translated(repeatable=True):
                return [message async for message in channel.history(limit=MESSAGES, oldest_first=True, **span)]

    async def _read_mentions(self, client: discord.Client, guild: discord.Guild, mark: int, tally: _Tally) -> None:
        read: Counter[int] = Counter()
        for message in await self._search.found(client, guild, max(mark, self._back(OLDEST))):
            read[message.channel.id] += 1
            if read[message.channel.id] <= MESSAGES:
                await self._bring([message], tally)
        tally.cut += sum(count > MESSAGES for count in read.values())

    async def _tell_of_older_mentions(self, client: discord.Client, guild: discord.Guild, mark: int, tally: _Tally) -> None:
        oldest = self._back(OLDEST)
        if mark >= oldest:
            return
        older: dict[int, list[discord.Message]] = {}
        for message in await self._search.found(client, guild, max(mark, self._back(FORGOTTEN)), before=oldest):
            older.setdefault(message.channel.id, []).append(message)
        for channel, messages in older.items():
            if channel not in tally.told:
                await self._tell_of_older(str(guild.id), channel, messages[:MESSAGES])

    async def _tell_of_older(self, workspace: str, channel: int, messages: Sequence[discord.Message]) -> None:
        """Say in a channel once how much said there to us, oldest first, gets no answer; it is not looked for again."""
        overdue = [said for message in messages if (said := await self._gate.overdue(message)) is not None]
        await self._unanswered.tell(overdue, older_than=OLDEST, more=len(messages) == MESSAGES)
        if messages:
            self._marks.handled(workspace, channel, messages[-1].id)

    async def _bring(self, messages: Iterable[discord.Message], tally: _Tally) -> None:
        for message in messages:
            if message.id not in tally.seen:
                await self._gate.reread(message)
                tally.seen.add(message.id)

    def _back(self, age: timedelta) -> int:
        """Return the id that a message of this age has."""
        return discord.utils.time_snowflake(self._clock.now() - age)

    def _report(self, workspace: str, tally: _Tally, *, left: int) -> None:
        log.info(
            "discord.caught_up",
            workspace=workspace,
            messages=len(tally.seen),
            places_cut=tally.cut,
            places_unreadable=tally.unread,
            places_left=max(left, 0),
        )


def _ids(time: timedelta) -> int:
    """Return how far apart two ids are whose messages were said so long after each other."""
    return (time // timedelta(milliseconds=1)) << 22


def newest(guild: discord.Guild) -> int:
    """Return the id of the newest message that a guild is known to have: its present, by Discord's own clock."""
    places = (*guild.channels, *guild.threads)
    return max((getattr(place, "last_message_id", None) or 0 for place in places), default=0) or guild.id
