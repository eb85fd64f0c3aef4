"""Who may write next: one line of waiting writes for every rate budget, so that a platform never has to say no.

A platform limits writes per channel (Discord) or per workspace (Slack), not per reply; `Surface.budget` names that limit,
and all replies that share the name share one `Pacer` (DESIGN §8). Replicas share the limit too: then whoever is to write
takes the slot from the store, and each replica has its own line for the slots that it takes.
"""

import asyncio
import heapq
import itertools
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import structlog

from bot.chat.protocol import Budget
from bot.clock import Clock, time_limit
from store import StoreError
from store.protocol_sharing import Sharing

PATIENCE = timedelta(seconds=2)
"""How long a write waits for the store to give it a slot."""
ALONE = timedelta(seconds=10)
"""How long a store that gave none is not asked again: every process keeps the pace by itself meanwhile."""

_T = TypeVar("_T")

log = structlog.get_logger(__name__)


class SharedSlots:
    """The slots that all replicas share, as long as the store gives them out."""

    def __init__(self, sharing: Sharing, clock: Clock) -> None:
        self._sharing = sharing
        self._clock = clock
        self._away_until = clock.monotonic()
        self._failing = False

    @property
    def away(self) -> bool:
        """The store gives out none for now."""
        return self._clock.monotonic() < self._away_until

    async def take(self, budget: Budget) -> timedelta | None:
        """Take the next slot and return how long it is until then; None when the store gives none."""
        return await self._asked(self._sharing.slot(budget.name, pace=budget.pace))

    async def hold_back(self, budget: Budget, lasting: timedelta) -> None:
        """Let no replica take a slot before `lasting` is over, if the store can be told."""
        await self._asked(self._sharing.hold_back(budget.name, lasting=lasting))

    async def _asked(self, call: Awaitable[_T]) -> _T | None:
        try:
            async with time_limit(self._clock, PATIENCE):
                answer = await call
        except Exception as exc:  # noqa: BLE001 - whatever ended the line here would keep all that is to be written for good
            if not self._failing:  # once an outage, not once a write
                reason = str(exc) if isinstance(exc, StoreError) else type(exc).__name__
                log.warning("pacing.alone", reason=reason)
            self._failing, self._away_until = True, self._clock.monotonic() + ALONE
            return None
        self._failing = False
        return answer


@dataclass(order=True, slots=True)
class _Waiter:
    """A place in the line; places compare by who goes first."""

    ordinary: bool
    number: int
    served: asyncio.Future[None] = field(compare=False)


class Pacer:
    """One budget's line: at most one slot per pace, urgent waiters first, and each kind first come first served.

    A slot of the store is taken only when somebody waits here, one at a time, and given to whoever is first in line when its
    time comes: not to who was first when it was taken.
    """

    def __init__(self, clock: Clock, budget: Budget, shared: SharedSlots | None = None) -> None:
        """Without `shared`, no other process writes on the budget."""
        self._clock = clock
        self._budget = budget
        self._shared = shared if budget.shared and budget.pace > timedelta() else None
        self._free_at = self._held_until = clock.monotonic()
        self._slot_at: timedelta | None = None
        """The slot that we have from the store and gave to nobody yet."""
        self._untold = False
        """The store is to be told how long the platform wants no write."""
        self._line: list[_Waiter] = []
        self._numbers = itertools.count()
        self._usher: asyncio.Task[None] | None = None
        self._resting = False
        """The usher waits for time to pass, and may be sent away; it is not when it takes a slot, which would be lost."""

    @property
    def idle(self) -> bool:
        """Nobody waits and a slot is free: a new pacer in its place would do the same."""
        return not self._line and self._usher is None and self._wait <= timedelta()

    async def acquire(self, *, urgent: bool = False) -> None:
        """Wait for the next slot and take it; a caller that is cancelled takes none."""
        if not self._line and self._slot_at is not None and self._slot_at < self._clock.monotonic():
            self._slot_at = None  # its time passed while nobody was there: the next replica's may begin any moment
        waiter = _Waiter(ordinary=not urgent, number=next(self._numbers), served=asyncio.get_running_loop().create_future())
        heapq.heappush(self._line, waiter)
        self._serve()
        self._call_usher()
        try:
            await waiter.served
        except asyncio.CancelledError:
            self._leave(waiter)
            raise

    def penalize(self, retry_after: timedelta) -> None:
        """Give out no slot before `retry_after` has passed, to anyone: the platform asked for it."""
        self._held_until = max(self._held_until, self._clock.monotonic() + retry_after)
        if self._shared is None:
            return
        self._untold = True
        if self._slot_at is not None and self._slot_at < self._held_until:
            self._slot_at = None  # used at the end of the penalty, it would be one more beside the one that is due then
        self._dismiss_usher()
        self._call_usher()

    @property
    def _wait(self) -> timedelta:
        return max(self._free_at, self._held_until, self._slot_at or timedelta.min) - self._clock.monotonic()

    @property
    def _needs_slot(self) -> bool:
        """The next in line can't be served by our own pace alone."""
        return self._shared is not None and self._slot_at is None and not self._shared.away

    def _serve(self) -> None:
        """Give out the slots that are free now."""
        while self._line and not self._needs_slot and self._wait <= timedelta():
            waiter = heapq.heappop(self._line)
            if waiter.served.cancelled():  # together with others, as in a drain: it is about to leave by itself
                continue
            self._slot_at = None
            self._free_at = self._clock.monotonic() + self._budget.pace
            waiter.served.set_result(None)

    def _call_usher(self) -> None:
        """Leave the slots to come to an usher, who exists only while somebody waits or the store is to be told."""
        if self._usher is None and (self._line or self._untold):
            self._usher = asyncio.create_task(self._usher_in(), name="pacer")

    def _dismiss_usher(self) -> None:
        if self._usher is not None and self._resting:
            self._usher.cancel()
            self._usher, self._resting = None, False

    async def _usher_in(self) -> None:
        while self._line or self._untold:
            if self._shared is not None:
                await self._agree(self._shared)
            self._serve()
            if self._line and not self._untold and not self._needs_slot:
                self._resting = True
                await self._clock.sleep(self._wait)
                self._resting = False
                self._serve()
        self._usher = None

    async def _agree(self, shared: SharedSlots) -> None:
        """Tell the store what the platform asked for, and take the next slot from it, if somebody is there for it."""
        if self._untold:
            self._untold = False
            lasting = self._held_until - self._clock.monotonic()
            if lasting > timedelta() and not shared.away:
                await shared.hold_back(self._budget, lasting)
        if self._line and self._needs_slot and not self._untold:
            wait = await shared.take(self._budget)
            if wait is not None and not self._untold:
                self._slot_at = self._clock.monotonic() + wait

    def _leave(self, waiter: _Waiter) -> None:
        if waiter in self._line:
            self._line.remove(waiter)
            heapq.heapify(self._line)
        elif not waiter.served.cancelled():
            # Served in the same breath as it was cancelled: the slot goes to the next in line.
            self._free_at -= self._budget.pace
            if self._shared is not None and not self._shared.away:
                self._slot_at = self._clock.monotonic()
        self._dismiss_usher()  # it may sleep for too long now, or for nobody
        self._serve()
        self._call_usher()


class Pacers:
    """The pacers of all budgets. Only those in use are kept, whatever the number of channels."""

    def __init__(self, clock: Clock, sharing: Sharing | None = None) -> None:
        """`sharing` is the store of several replicas; left out, this process is the only one."""
        self._clock = clock
        self._shared = SharedSlots(sharing, clock) if sharing is not None else None
        self._pacers: dict[str, Pacer] = {}

    def __len__(self) -> int:
        return len(self._pacers)

    def of(self, budget: Budget) -> Pacer:
        """Return the budget's pacer. Ask anew for each write: one that is idle is dropped from here."""
        pacer = self._pacers.pop(budget.name, None)
        while self._pacers and next(iter(self._pacers.values())).idle:
            del self._pacers[next(iter(self._pacers))]
        self._pacers[budget.name] = pacer or Pacer(self._clock, budget, self._shared)  # last in the dict: the latest used
        return self._pacers[budget.name]
