"""How far each place was read: the point from which what was missed is read after a gap.

A mark says that everything said in a place up to there was handled. Places are those where the bot takes part: direct
messages, threads, and channels where somebody spoke to it. While a workspace is held, from the beginning of a gap until it
was read, its marks stay where they are: what is heard live lies behind the gap.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from bot.adapters.slack.inbound import PLATFORM
from bot.adapters.where import Where
from bot.chat.protocol import Place
from bot.clock import Clock
from store import Store, StoreClosed, StoreUnavailable, Watermark

log = structlog.get_logger(__name__)

MICROSECOND = timedelta(microseconds=1)
INTERVAL = timedelta(seconds=5)
"""A crash makes the next life read so much again; the store knows those messages already."""
REDELIVERY = timedelta(minutes=6)
"""How long Slack tries to deliver a message. Who has handled one knows nothing of those that another replica has in hand:
where all are stopped before Slack has brought them to one of us, they stand so much before it. A place's first mark lies
where it began: what was said before that is not ours to answer."""
AWAY = timedelta(minutes=4)
"""Slack's last try comes five minutes after the first. Where the store was away for nearly as long, another replica may have
in its memory alone what Slack has given up, and takes it along when it dies."""
PLACES = 10_000
"""Places whose marks are in memory, the ones followed last: some 5 MB. The store keeps the others."""


@dataclass(slots=True)
class _Mark:
    position: int
    """What is read from after a gap."""
    handled: int = 0
    """The furthest message handled; beyond `position` only while something before it is not, or a gap is."""
    kept: int = 0
    """What the store has."""
    in_hand: set[int] = field(default_factory=set)


class Watermarks:
    """Keeps the marks in memory and writes them, all that moved in one transaction."""

    def __init__(
        self, store: Store, clock: Clock, *, replicated: bool = False, missed: Callable[[], None] = lambda: None
    ) -> None:
        """`replicated`: others hear the same places, so a mark stays `REDELIVERY` behind what was handled here, and `missed`
        is called when the store is back after more than `AWAY`: it holds the marks until all is read."""
        self._store = store
        self._clock = clock
        self._replicated = replicated
        self._missed = missed
        self._there_at = clock.monotonic()
        """When the store was there last, by the stopwatch."""
        self._back = REDELIVERY // MICROSECOND if replicated else 0
        self._marks: dict[Where, _Mark] = {}
        self._held: set[str] = set()

    async def restore(self) -> None:
        """Begin with what the store keeps; later on, learn which places other replicas have followed, and how far.

        Raises:
            StoreUnavailable.
        """
        stored = await self._store.watermarks(PLATFORM)
        for kept in reversed(stored[:PLACES]):
            mark = self._marks.setdefault(_where(kept), _Mark(kept.position))
            mark.kept = max(mark.kept, kept.position)
            if not mark.in_hand:
                mark.position = max(mark.position, kept.position)
        self._forget_oldest()

    def workspaces(self) -> list[str]:
        """Name the workspaces that have marks."""
        return sorted({where.workspace for where in self._marks})

    def places(self, workspace: str) -> list[tuple[Where, int]]:
        """Return the marks of a workspace's places, the furthest first."""
        found = [(where, mark.position) for where, mark in self._marks.items() if where.workspace == workspace]
        return sorted(found, key=lambda place: -place[1])

    def hold(self, workspace: str) -> None:
        """Keep the marks of a workspace where they are: something may have been missed."""
        self._held.add(workspace)

    @property
    def held(self) -> frozenset[str]:
        """The workspaces of which something may have been missed."""
        return frozenset(self._held)

    def release(self, workspace: str) -> None:
        """Let them go on: what was missed has been read."""
        self._held.discard(workspace)

    @contextmanager
    def handling(self, where: Where, position: int) -> Iterator[None]:
        """Note that a message is in hand inside; it was handled when that ends without an error.

        One that was not stays in hand: Slack delivers it again, and if not, the mark stays before it.
        """
        mark = self._marks.get(where)
        if mark is not None:
            mark.in_hand.add(position)
        yield
        mark = self._marks.get(where)
        if mark is not None:
            mark.in_hand.discard(position)
            mark.handled = max(mark.handled, position)

    def follow(self, where: Where, position: int) -> None:
        """Keep a mark for a place from now on, beginning at a message of it that is handled."""
        if where in self._marks:
            return
        self._marks[where] = _Mark(position)
        self._forget_oldest()

    def follows(self, where: Where) -> bool:
        """Tell whether a place has a mark here: we take part in it."""
        return where in self._marks

    def forget(self, workspace: str, channel: str = "", thread: str = "") -> None:
        """Drop the marks of a workspace, a channel with its threads, or a thread: it is gone."""
        for where in list(self._marks):
            if where.workspace == workspace and channel in ("", where.channel) and thread in ("", where.thread):
                del self._marks[where]

    async def drop(self, where: Where) -> None:
        """Read a place no longer, here and after a restart: it is not for us any more."""
        self._marks.pop(where, None)
        try:
            await self._store.unmark(PLATFORM, where.workspace, where.channel, where.thread)
        except (StoreUnavailable, StoreClosed) as exc:
            log.warning("slack.marks_not_kept", reason=str(exc))

    async def run(self) -> None:
        """Write what moved, every `INTERVAL`, until cancelled."""
        while True:
            await self._clock.sleep(INTERVAL)
            await self.write()

    async def write(self) -> None:
        """Write what moved. What can't be written now is written later.

        Replicas look first whether the store was away: from a mark that has moved on, nothing is read that was missed.
        """
        if self._replicated and not await self._is_there():
            return
        moved = self._moved()
        if not moved:
            return
        try:
            await self._store.mark(PLATFORM, [written for written, _ in moved], at=self._clock.now())
        except (StoreUnavailable, StoreClosed) as exc:
            log.warning("slack.marks_not_kept", reason=str(exc))
            return
        for written, mark in moved:
            mark.kept = max(mark.kept, written.position)

    async def _is_there(self) -> bool:
        try:
            await self._store.check()
        except (StoreUnavailable, StoreClosed) as exc:
            log.warning("slack.marks_not_kept", reason=str(exc))
            return False
        now = self._clock.monotonic()
        if now - self._there_at > AWAY:
            self._missed()
        self._there_at = now
        return True

    def _forget_oldest(self) -> None:
        while len(self._marks) > PLACES:
            del self._marks[next(iter(self._marks))]

    def _moved(self) -> list[tuple[Watermark, _Mark]]:
        moved = []
        for where, mark in self._marks.items():
            if where.workspace not in self._held:
                before = min(mark.in_hand, default=mark.handled + 1) - 1
                mark.position = max(mark.position, min(before, mark.handled) - self._back)
            if mark.position > mark.kept:
                written = Watermark(
                    workspace=where.workspace, channel=where.channel, thread=where.thread, position=mark.position
                )
                moved.append((written, mark))
        return moved


def _where(mark: Watermark) -> Where:
    place = Place.DIRECT if mark.channel.startswith("D") else Place.THREAD if mark.thread else Place.CHANNEL
    return Where(place=place, workspace=mark.workspace, channel=mark.channel, thread=mark.thread)
