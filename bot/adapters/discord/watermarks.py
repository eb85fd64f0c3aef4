"""How far each place was read: the point from which the catch-up goes on after a restart.

Two kinds of mark, both a message's id. A guild's says that nothing said in it up to there is still in hand; the search for
mentions begins behind it. A place's (a direct message, a thread, a channel where every message counts) is the last message
handled there; its history is read from behind it. While a workspace is held, between a new session and the end of its
catch-up, its marks stay where they are: what is heard live lies behind a gap.

Only marks of shards that this process hears are kept here. Two that hear one shard for a while may both write its marks:
what either has handled is in the store that they share, and a mark never goes back there.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from bot.adapters.discord.places import PLATFORM
from bot.adapters.discord.shard import Shard
from bot.adapters.where import Where
from bot.chat.protocol import Place
from bot.clock import Clock, time_limit
from store import Store, StoreError, Watermark

log = structlog.get_logger(__name__)

INTERVAL = timedelta(seconds=5)
"""A crash makes the catch-up read so much again; the store knows those messages already."""

OVERLAP = 5_000 << 22
"""A guild's mark stays so many snowflakes, 5 s, behind what was handled: what is said in two channels may come in another
order than its ids. The first mark does not: what was said before it is not ours to answer."""


@dataclass(slots=True)
class _Mark:
    position: int
    """What the catch-up goes on from."""
    handled: int = 0
    """The furthest message handled; beyond `position` only while something before it is not."""
    kept: int = 0
    """What the store has."""


@dataclass(slots=True)
class _Guild:
    mark: _Mark | None = None
    in_hand: set[int] = field(default_factory=set)


class Watermarks:
    """Keeps the marks in memory and writes them, all that moved in one transaction."""

    def __init__(self, store: Store, clock: Clock, *, overlap: int = OVERLAP) -> None:
        self._store = store
        self._clock = clock
        self._overlap = overlap
        self._guilds: dict[str, _Guild] = {}
        self._places: dict[int, tuple[Where, _Mark]] = {}
        """By the id of the channel or thread in which messages arrive."""
        self._held: set[str] = set()
        self._shards: set[Shard] = set()
        self._new = asyncio.Event()

    async def take_over(self, shard: Shard) -> None:
        """Keep a shard's marks from now on: what the store has of them, all held until they are released.

        Done again, it learns what another process has begun to follow meanwhile, and leaves alone what is known here.

        Raises:
            StoreUnavailable.
        """
        kept = [stored for stored in await self._store.watermarks(PLATFORM) if shard.hears(stored.workspace)]
        if shard not in self._shards:
            # What is still in hand here from an earlier time says nothing of what another process has heard since.
            self._held |= {stored.workspace for stored in kept}
            self._shards.add(shard)
        for stored in kept:
            mark = _Mark(stored.position, kept=stored.position)
            if stored.channel:
                place = Place.THREAD if stored.thread else Place.CHANNEL if stored.workspace else Place.DIRECT
                where = Where(place=place, workspace=stored.workspace, channel=stored.channel, thread=stored.thread)
                self._places.setdefault(_number(where), (where, mark))
            elif self._guild(stored.workspace).mark is None:
                self._guild(stored.workspace).mark = mark

    async def let_go(self, shard: Shard) -> None:
        """Write a shard's marks once more, and forget them here: another process goes on with them."""
        await self.write()
        self._shards.discard(shard)
        self._guilds = {workspace: guild for workspace, guild in self._guilds.items() if self._ours(workspace)}
        self._places = {number: place for number, place in self._places.items() if self._ours(place[0].workspace)}
        self._held = {workspace for workspace in self._held if self._ours(workspace)}

    def guilds(self) -> list[str]:
        """Name the guilds that have a mark."""
        return [name for name, guild in self._guilds.items() if guild.mark is not None]

    def of_guild(self, workspace: str) -> int | None:
        """Return a guild's mark; None when it was never read, and so nothing of it was missed."""
        mark = self._guild(workspace).mark
        return mark.position if mark is not None else None

    def of_places(self, workspace: str) -> list[tuple[Where, int]]:
        """Return the marks of a workspace's places, the furthest first."""
        found = [(where, mark.position) for where, mark in self._places.values() if where.workspace == workspace]
        return sorted(found, key=lambda place: -place[1])

    def hold(self, workspace: str) -> None:
        """Keep the marks of a workspace where they are: something may have been missed."""
        if self._ours(workspace):
            self._held.add(workspace)

    @property
    def held(self) -> frozenset[str]:
        """The workspaces of which something may have been missed."""
        return frozenset(self._held)

    def release(self, workspace: str) -> None:
        """Let them go on: what was missed has been read."""
        self._held.discard(workspace)

    def reached(self, workspace: str, position: int, places: Mapping[Where, int]) -> None:
        """Note that a guild was read up to `position` and its places each as far as that, though it stays held; written at
        once: who dies before it is released need not read all of it again."""
        guild = self._guild(workspace)
        if guild.mark is not None:
            guild.mark.position = max(guild.mark.position, min([position, *(waits - 1 for waits in guild.in_hand)]))
        for where, read in places.items():
            if _number(where) in self._places:
                mark = self._places[_number(where)][1]
                mark.position = max(mark.position, read)
        self._new.set()

    def begin(self, workspace: str, position: int) -> None:
        """Give a guild that has none a mark, written at once: what was said up to there is not looked for.

        A process that dies before its first mark is written takes its next start for the first.
        """
        if self._ours(workspace) and self._guild(workspace).mark is None:
            self._guild(workspace).mark = _Mark(position)
            self._new.set()

    def arrived(self, workspace: str, position: int) -> None:
        """Note that a message is in hand."""
        if workspace and self._ours(workspace):
            self._guild(workspace).in_hand.add(position)

    def handled(self, workspace: str, channel: int, position: int) -> None:
        """Note that a message was handled, and so was all that had arrived in its channel before it."""
        if workspace and self._ours(workspace):
            guild = self._guild(workspace)
            guild.in_hand.discard(position)
            if guild.mark is not None:
                guild.mark.handled = max(guild.mark.handled, position)
        if channel in self._places:
            mark = self._places[channel][1]
            mark.handled = max(mark.handled, position)

    def follow(self, where: Where, position: int) -> None:
        """Keep a mark for a place from now on, written at once, beginning at a message of it that is handled."""
        if self._ours(where.workspace) and _number(where) not in self._places:
            self._places[_number(where)] = (where, _Mark(position))
            self._new.set()

    def follows(self, where: Where) -> bool:
        """Tell whether a thread or a direct message has a mark here: we take part in it."""
        return _number(where) in self._places

    def forget(self, workspace: str, channel: str = "", thread: str = "") -> None:
        """Drop the marks of a workspace, a channel with its threads, or a thread: it is gone."""
        if not channel:
            self._guilds.pop(workspace, None)
            self._held.discard(workspace)
        for key, (where, _) in list(self._places.items()):
            if where.workspace == workspace and channel in ("", where.channel) and thread in ("", where.thread):
                del self._places[key]

    async def drop(self, where: Where) -> None:
        """Read a place no longer, here and after a restart: it is not for us any more."""
        self.forget(where.workspace, where.channel, where.thread)
        try:
            await self._store.unmark(PLATFORM, where.workspace, where.channel, where.thread)
        except StoreError as exc:
            log.warning("discord.marks_not_kept", reason=str(exc))

    async def run(self) -> None:
        """Write what moved, every `INTERVAL` and when there is a new mark, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with time_limit(self._clock, INTERVAL):
                    await self._new.wait()
            self._new.clear()
            await self.write()

    async def write(self) -> None:
        """Write what moved. What can't be written now is written later."""
        moved = self._moved()
        if not moved:
            return
        try:
            await self._store.mark(PLATFORM, [mark for mark, _ in moved], at=self._clock.now())
        except StoreError as exc:
            log.warning("discord.marks_not_kept", reason=str(exc))
            return
        for written, mark in moved:
            mark.kept = max(mark.kept, written.position)

    def _moved(self) -> list[tuple[Watermark, _Mark]]:
        moved = []
        for workspace, guild in self._guilds.items():
            if guild.mark is not None:
                if workspace not in self._held:
                    before = min(guild.in_hand, default=guild.mark.handled + 1) - 1
                    guild.mark.position = max(guild.mark.position, min(before, guild.mark.handled) - self._overlap)
                moved.append(
                    (Watermark(workspace=workspace, channel="", thread="", position=guild.mark.position), guild.mark)
                )
        for where, mark in self._places.values():
            if where.workspace not in self._held:
                mark.position = max(mark.position, mark.handled)
            place = Watermark(workspace=where.workspace, channel=where.channel, thread=where.thread, position=mark.position)
            moved.append((place, mark))
        return [(written, mark) for written, mark in moved if written.position > mark.kept]

    def _ours(self, workspace: str) -> bool:
        return any(shard.hears(workspace) for shard in self._shards)

    def _guild(self, workspace: str) -> _Guild:
        return self._guilds.setdefault(workspace, _Guild())


def _number(where: Where) -> int:
    return int(where.thread or where.channel)
