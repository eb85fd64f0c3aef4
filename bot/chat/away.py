"""While nothing can be kept: people are told once, and whatever waits for the store's return is told when it is back.

A message that can't be stored is not acknowledged, so nothing of it is lost, and nobody hears anything. People who wait for
an answer get one sentence in their channel, at most once in ten minutes, whichever replica says it and however often it is
started again. There is no store to agree in: whoever has something to say first looks whether it was said, and replicas that
have it to say at the same time speak one after another.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from bot.chat.protocol import Address, DeliveryError, OutcomeUnknown, Surface
from bot.chat.seldom import Seldom
from bot.chat.words import STORE_AWAY
from bot.clock import Clock, time_limit
from store import StoreClosed, StoreError

EVERY = timedelta(minutes=10)
BETWEEN = EVERY + timedelta(minutes=1)
"""The distance between two notices of ours: the look at the last ten minutes must not find the one before."""
PATIENCE = timedelta(seconds=5)
"""How long the store may be away before people hear of it, and how often it is asked whether it is back."""
STEP = timedelta(seconds=3)
"""The distance between two replicas that have something to say: a look sees what was posted so long ago."""
MOST_RANKS = 10
CHANNELS = 1000
"""Channels that wait to be told at most; the people of others find out by waiting."""

Channel = tuple[str, str, str]
"""Platform, workspace and channel."""

log = structlog.get_logger(__name__)


async def _nothing() -> None:
    return None


class Away:
    """Watches over the store from the first failure on until it is back."""

    def __init__(
        self,
        surface: Surface,
        clock: Clock,
        *,
        check: Callable[[], Awaitable[None]],
        since: Callable[[Address, datetime], Address],
        rank: Callable[[], int] = lambda: 0,
        back: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        """`check` is the store's; `since` returns the address at which `Surface.find` looks at all that was said after a
        moment; `rank` is our place among the replicas, as last known; `back` is called when the store is there again."""
        self._surface = surface
        self._clock = clock
        self._check = check
        self._since = since
        self._rank = rank
        self._back = back
        self._told = Seldom(clock, BETWEEN)
        self._waiting: dict[Channel, Address] = {}
        self._watch: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def failed(self, since: timedelta | None = None) -> None:
        """Note that the store failed a call that began at `since` on the stopwatch, or just now: from now on it is asked
        whether it is back."""
        if self._watch is None and not self._closed:
            began = self._clock.monotonic() if since is None else since
            self._watch = asyncio.create_task(self._until_back(began), name="away")
            self._tasks.add(self._watch)
            self._watch.add_done_callback(self._tasks.discard)

    def unkept(self, address: Address, since: timedelta) -> None:
        """Note that a message to us could not be kept, tried since `since` on the stopwatch; people are told at `address`,
        unless the store is back soon."""
        channel = (address.platform, address.workspace, address.channel)
        if channel not in self._waiting and len(self._waiting) < CHANNELS:
            self._waiting[channel] = address
        self.failed(since)

    async def close(self) -> None:
        """Tell nobody anything more."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _until_back(self, began: timedelta) -> None:
        await self._clock.sleep(began + PATIENCE - self._clock.monotonic())
        while await self._is_away():
            try:
                await self._tell()
            except Exception as exc:  # noqa: BLE001 - a notice is a courtesy; what waits for the store's return is not
                log.error("away.notice_failed", error=type(exc).__name__)
            await self._clock.sleep(PATIENCE)
        self._waiting.clear()
        self._watch = None  # what fails from now on is another time
        try:
            await self._back()
        except Exception as exc:  # noqa: BLE001 - nobody waits for this task
            log.error("away.return_failed", error=type(exc).__name__)

    async def _is_away(self) -> bool:
        try:
            async with time_limit(self._clock, PATIENCE):
                await self._check()
        except StoreClosed:
            return False
        except (StoreError, TimeoutError):
            return True
        return False

    async def _tell(self) -> None:
        """Tell those who wait, as many as there is time for until the store is asked again."""
        due = [channel for channel in self._waiting if self._told.due(channel)]
        if due and (rank := min(self._rank(), MOST_RANKS)):
            await self._clock.sleep(rank * STEP)
            if not await self._is_away():
                for channel in due:
                    self._told.take_back(channel)
                return
        began = self._clock.monotonic()
        for number, channel in enumerate(due):
            if number and self._clock.monotonic() - began >= PATIENCE:
                self._told.take_back(channel)
                continue
            address = self._waiting.pop(channel)
            try:
                await self._tell_at(address)
            except OutcomeUnknown as exc:
                log.info("away.perhaps_told", reason=str(exc))
            except DeliveryError as exc:
                log.info("away.not_told", platform=address.platform, reason=str(exc))
                self._told.take_back(channel)
                self._waiting.setdefault(channel, address)

    async def _tell_at(self, address: Address) -> None:
        # One nonce for a channel: Discord then takes what two replicas post at once for one message.
        nonce = f"a{address.channel}"[-25:]
        looked_at = self._since(address, self._clock.now() - EVERY)
        if await self._surface.find(looked_at, nonce=nonce, text=STORE_AWAY) is not None:
            return
        await self._surface.post(address, STORE_AWAY, nonce=nonce)
        log.info("away.told", platform=address.platform, channel=address.channel)
