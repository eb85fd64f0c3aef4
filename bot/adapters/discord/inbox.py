"""The queue behind the gateway: what happens in one channel is handled in its order, channels beside each other.

discord.py starts a task for each event, and those end in any order; so its handlers do nothing but put work in here. Work
that can't be done now, because the store or Discord fails, is tried again until it is done: nothing is dropped. More than
the queue holds is refused: a message is left to the catch-up, while an edit or a deletion that is refused is lost, so there
is far more room for those.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

import structlog

from bot.adapters.failures import describe
from bot.chat.protocol import DeliveryDelayed
from bot.clock import Clock
from store import StoreClosed, StoreUnavailable

log = structlog.get_logger(__name__)

AT_ONCE = 16
"""Pieces of work under way: the store commits what is asked of it at the same time in one group."""
PER_CHANNEL = 500
"""Messages of one channel that wait at most."""
IN_ALL = 10_000
"""What waits at most: some 50 MB of messages at their longest, and far more than a healthy store ever lets wait."""
FIRST_RETRY = timedelta(milliseconds=500)
LONGEST_RETRY = timedelta(seconds=30)


class Room(Enum):
    """For what there is room as long as less than so many times `IN_ALL` waits."""

    MESSAGE = 1
    EDIT = 2
    REMOVAL = 10
    """Deletions, and places that went: a few numbers each."""


class Abandoned(Exception):
    """The inbox closed before the work was done."""


@dataclass(frozen=True, slots=True)
class _Piece:
    work: Callable[[], Awaitable[None]]
    handled: asyncio.Future[None]


class Inbox:
    """Carries out work channel by channel."""

    def __init__(
        self, clock: Clock, *, at_once: int = AT_ONCE, per_channel: int = PER_CHANNEL, in_all: int = IN_ALL
    ) -> None:
        self._clock = clock
        self._slots = asyncio.Semaphore(at_once)
        self._per_channel = per_channel
        self._in_all = in_all
        self._waiting = 0
        self._queues: dict[int, deque[_Piece]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    def put(
        self, channel: int, work: Callable[[], Awaitable[None]], *, room: Room = Room.MESSAGE
    ) -> asyncio.Future[None] | None:
        """Queue work behind all other of its channel; None when there is no room for it, or the inbox is closed.

        The future is done when the work was carried out, whatever came of it, and cancelled when it was abandoned.
        """
        queue = self._queues.get(channel)
        full = self._waiting >= self._in_all * room.value
        if room is Room.MESSAGE and queue is not None:
            full = full or len(queue) >= self._per_channel
        if full or self._closing.is_set():
            return None
        handled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting += 1
        if queue is None:
            queue = self._queues[channel] = deque()
            task = asyncio.create_task(self._serve(channel, queue), name=f"discord.inbox.{channel}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        queue.append(_Piece(work, handled))
        return handled

    @property
    def closing(self) -> bool:
        """Nothing is taken any more."""
        return self._closing.is_set()

    async def close(self) -> None:
        """Take nothing more, and return when what waits was handled; what fails now is abandoned."""
        self._closing.set()
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    async def _serve(self, channel: int, queue: deque[_Piece]) -> None:
        while queue:
            piece = queue[0]
            try:
                await self._carry_out(channel, piece.work)
            except Abandoned:
                piece.handled.cancel()
            except Exception as exc:  # noqa: BLE001 - one message that can't be handled must not hold up its channel
                log.error("discord.not_handled", channel=channel, error=describe(exc))
                _done(piece)
            else:
                _done(piece)
            queue.popleft()
            self._waiting -= 1
        del self._queues[channel]

    async def _carry_out(self, channel: int, work: Callable[[], Awaitable[None]]) -> None:
        pause = FIRST_RETRY
        while True:
            try:
                async with self._slots:
                    return await work()
            except StoreClosed as exc:
                raise Abandoned from exc
            except (StoreUnavailable, DeliveryDelayed) as exc:
                wait = max(pause, exc.retry_after) if isinstance(exc, DeliveryDelayed) else pause
                log.warning("discord.waiting", channel=channel, seconds=wait.total_seconds(), reason=str(exc))
                pause = min(pause * 2, LONGEST_RETRY)
            if await self._closed_within(wait):
                raise Abandoned

    async def _closed_within(self, wait: timedelta) -> bool:
        closing = asyncio.create_task(self._closing.wait())
        waiting = asyncio.create_task(self._clock.sleep(wait))
        try:
            await asyncio.wait((closing, waiting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            closing.cancel()
            waiting.cancel()
        return self._closing.is_set()


def _done(piece: _Piece) -> None:
    if not piece.handled.done():  # whoever waited for it may have been cancelled
        piece.handled.set_result(None)
