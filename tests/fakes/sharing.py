"""What replicas share, in memory and on a clock that a test moves: slots by the laws of the store, which may be away."""

from datetime import timedelta

from bot.clock import Clock
from store import Share, StoreUnavailable


class FakeSharing:
    """Keeps `Sharing`'s laws of slots for any number of pacers, and counts how many were taken."""

    def __init__(self, clock: Clock) -> None:
        self.latency = timedelta()
        """How long the store takes to answer."""
        self.away = False
        self.failure: Exception | None = None
        """What it fails with beside being away."""
        self.taken: list[timedelta] = []
        """When each slot that was given out is, in the order of asking."""
        self._clock = clock
        self._free_at: dict[str, timedelta] = {}

    async def slot(self, budget: str, *, pace: timedelta) -> timedelta:
        await self._travel()
        now = self._clock.monotonic()
        at = max(self._free_at.get(budget, now), now)
        self._free_at[budget] = at + pace
        self.taken.append(at)
        await self._travel()
        return max(timedelta(), at - now)

    async def hold_back(self, budget: str, *, lasting: timedelta) -> None:
        await self._travel()
        until = self._clock.monotonic() + lasting
        self._free_at[budget] = max(self._free_at.get(budget, until), until)
        await self._travel()

    async def share(self, name: str, **asked: object) -> Share:
        raise NotImplementedError("nothing here shares parts")

    async def leave(self, name: str, *, replica: str) -> None:
        raise NotImplementedError("nothing here shares parts")

    async def _travel(self) -> None:
        if self.latency:
            await self._clock.sleep(self.latency / 2)
        if self.away:
            raise StoreUnavailable("the store is away")
        if self.failure is not None:
            raise self.failure
