"""Who may write next: one line of waiting writes for every rate budget, so that a platform never has to say no.

A platform limits writes per channel (Discord) or per workspace (Slack), not per reply; `Surface.budget` names that limit,
and all replies that share the name share one `Pacer` (DESIGN §8).
"""

import asyncio
import heapq
import itertools
from dataclasses import dataclass, field
from datetime import timedelta

from bot.chat.protocol import Budget
from bot.clock import Clock


@dataclass(order=True, slots=True)
class _Waiter:
    """A place in the line; places compare by who goes first."""

    ordinary: bool
    number: int
    served: asyncio.Future[None] = field(compare=False)


class Pacer:
    """One budget's line: at most one slot per `pace`, urgent waiters first, and each kind first come first served."""

    def __init__(self, clock: Clock, pace: timedelta) -> None:
        self._clock = clock
        self._pace = pace
        self._slot_at = self._held_until = clock.monotonic()
        self._line: list[_Waiter] = []
        self._numbers = itertools.count()
        self._usher: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Nobody waits and a slot is free: a new pacer in its place would do the same."""
        return not self._line and self._wait <= timedelta()

    async def acquire(self, *, urgent: bool = False) -> None:
        """Wait for the next slot and take it; a caller that is cancelled takes none."""
        waiter = _Waiter(ordinary=not urgent, number=next(self._numbers), served=asyncio.get_running_loop().create_future())
        heapq.heappush(self._line, waiter)
        self._serve()
        try:
            await waiter.served
        except asyncio.CancelledError:
            self._leave(waiter)
            raise

    def penalize(self, retry_after: timedelta) -> None:
        """Give out no slot before `retry_after` has passed, to anyone: the platform asked for it."""
        self._held_until = max(self._held_until, self._clock.monotonic() + retry_after)

    @property
    def _wait(self) -> timedelta:
        return max(self._slot_at, self._held_until) - self._clock.monotonic()

    def _serve(self) -> None:
        """Give out the slots that are free now; leave the rest to an usher, who exists only while somebody waits."""
        while self._line and self._wait <= timedelta():
            self._slot_at = self._clock.monotonic() + self._pace
            heapq.heappop(self._line).served.set_result(None)
        if self._line and self._usher is None:
            self._usher = asyncio.create_task(self._usher_in(), name="pacer")

    async def _usher_in(self) -> None:
        while self._line:
            await self._clock.sleep(self._wait)
            self._serve()
        self._usher = None

    def _leave(self, waiter: _Waiter) -> None:
        if waiter in self._line:
            self._line.remove(waiter)
            heapq.heapify(self._line)
        else:  # served in the same breath as it was cancelled: the slot goes to the next in line
            self._slot_at -= self._pace
        if self._usher is not None:  # it may sleep for too long now, or for nobody
            self._usher.cancel()
            self._usher = None
        self._serve()


class Pacers:
    """The pacers of all budgets. Only those in use are kept, whatever the number of channels."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pacers: dict[str, Pacer] = {}

    def __len__(self) -> int:
        return len(self._pacers)

    def of(self, budget: Budget) -> Pacer:
        """Return the budget's pacer. Ask anew for each write: one that is idle is dropped from here."""
        pacer = self._pacers.pop(budget.name, None)
        while self._pacers and next(iter(self._pacers.values())).idle:
            del self._pacers[next(iter(self._pacers))]
        self._pacers[budget.name] = pacer or Pacer(self._clock, budget.pace)  # last in the dict: the latest used
        return self._pacers[budget.name]
