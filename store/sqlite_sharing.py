"""Sharing on the SQLite engine: in memory, since one process holds the file, and whatever shares is inside it.

The rule by which parts are spread is told once more in SQL (`store/postgres_functions/sharing.sql`);
`tests/store/test_sharing.py` proves that both give the same answers.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from store.arguments import require_budget, require_hold_back, require_leave, require_share
from store.rows import MICROSECOND, us_of
from store.sharing import BUDGET_KEPT, LONGEST, Share
from store.sqlite_calls import SqliteCalls
from store.sqlite_ledger import Ledger
from store.sqlite_scrubbing import Scrubber
from store.sqlite_writer import SqliteWriter


class SqliteSharing(SqliteCalls):
    """The laws of `Sharing` for the one process that holds the file."""

    def __init__(self, writer: SqliteWriter, clock: Callable[[], datetime], ledger: Ledger, scrubber: Scrubber) -> None:
        super().__init__(writer, clock, ledger, scrubber)
        self._shared: dict[str, Parts] = {}
        # When the next slot of each is free, the one used last behind the others.
        self._free_at: dict[str, int] = {}
        self._last = 0
        self._set_back = 0

    async def share(
        self, name: str, *, replica: str, parts: int, ready: Collection[int], leaving: bool, lasting: timedelta
    ) -> Share:
        require_share(name, replica, parts, ready, lasting)
        now = self._going()
        shared = self._shared.setdefault(name, Parts())
        until = now + lasting // MICROSECOND
        return shared.share(replica, parts=parts, ready=frozenset(ready), leaving=leaving, now=now, until=until)

    async def leave(self, name: str, *, replica: str) -> None:
        require_leave(name, replica)
        self._going()
        if (shared := self._shared.get(name)) is not None:
            shared.part_with([replica])
            if shared.deserted:
                del self._shared[name]

    async def slot(self, budget: str, *, pace: timedelta) -> timedelta:
        require_budget(budget, pace)
        now = self._going()
        at = max(self._free_at.pop(budget, now), now)
        self._keep(budget, at + pace // MICROSECOND, now)
        return (at - now) * MICROSECOND

    async def hold_back(self, budget: str, *, lasting: timedelta) -> None:
        require_hold_back(budget, lasting)
        now = self._going()
        until = now + min(lasting, LONGEST) // MICROSECOND
        self._keep(budget, max(self._free_at.pop(budget, now), until), now)

    def _keep(self, budget: str, free_at: int, now: int) -> None:
        self._free_at[budget] = free_at
        while self._free_at[unused := next(iter(self._free_at))] < now - BUDGET_KEPT // MICROSECOND:
            del self._free_at[unused]

    def _going(self) -> int:
        """Read the clock as one that is never set back: an hour less would let everybody wait for an hour.

        Raises:
            StoreClosed.
        """
        self._writer.require_open()
        now = us_of(self._clock())
        self._set_back += max(0, self._last - now)
        self._last = now
        return now + self._set_back


@dataclass(slots=True)
class _Replica:
    until: int
    leaving: bool


class Parts:
    """The parts of one name, and the replicas that they are spread among; times are in microseconds."""

    def __init__(self) -> None:
        self._replicas: dict[str, _Replica] = {}  # in the order in which they came
        self._holders: list[str | None] = []
        self._offers: list[str | None] = []

    @property
    def deserted(self) -> bool:
        """Tell whether no replica is there."""
        return not self._replicas

    def share(self, replica: str, *, parts: int, ready: frozenset[int], leaving: bool, now: int, until: int) -> Share:
        """Do as `Sharing.share`."""
        self.part_with([name for name, one in self._replicas.items() if one.until <= now])
        if self.deserted:
            self._holders = [None] * parts
            self._offers = [None] * parts
        if (before := self._replicas.get(replica)) is not None and before.leaving and not leaving:
            del self._replicas[replica]  # it comes behind the others
        self._replicas[replica] = _Replica(until=until, leaving=leaving)
        self._take_free(replica, ready)
        self._renew_offers(replica, ready)
        ranks = sorted(self._replicas, key=lambda name: self._replicas[name].leaving)
        return Share(
            parts=len(self._holders),
            held=frozenset(self._numbers(self._holders, replica)),
            offered=frozenset(self._numbers(self._offers, replica)),
            others=sum(not one.leaving for name, one in self._replicas.items() if name != replica),
            rank=ranks.index(replica),
        )

    def part_with(self, gone: Collection[str]) -> None:
        """Take replicas out, with what they hold and were offered."""
        for name in gone:
            self._replicas.pop(name, None)
        self._holders = [None if holder in gone else holder for holder in self._holders]
        self._offers = [None if successor in gone else successor for successor in self._offers]

    def _take_free(self, replica: str, ready: frozenset[int]) -> None:
        free = sorted(
            self._numbers(self._holders, None),
            key=lambda n: (self._offers[n] != replica, n not in ready, self._offers[n] is not None, n),
        )
        for number in free[: self._room(replica)]:
            self._holders[number], self._offers[number] = replica, None

    def _renew_offers(self, replica: str, ready: frozenset[int]) -> None:
        """Withdraw what would not be offered any more, let what the replica is ready for change hands, and offer more."""
        mine = set(self._numbers(self._offers, replica))
        for number in mine:
            self._offers[number] = None
        quotas = self._quotas()
        to_give: list[int] = []
        for holder in self._replicas:
            if holder != replica:
                held = self._numbers(self._holders, holder)
                rest = [number for number in held if self._offers[number] is None]
                rest.sort(key=lambda n: (n not in mine, n not in ready, -n))
                to_give += rest[: max(0, len(rest) - quotas[holder])]
        # Of those who give up all they have first: they want to go.
        to_give.sort(key=lambda n: (n not in mine, n not in ready, quotas[self._holders[n] or ""] > 0, -n))
        for number in to_give[: self._room(replica)]:
            if number in mine and number in ready:
                self._holders[number] = replica
            else:
                self._offers[number] = replica

    def _room(self, replica: str) -> int:
        return max(0, self._quotas()[replica] - len(self._numbers(self._holders, replica)))

    def _quotas(self) -> dict[str, int]:
        taking = [name for name, one in self._replicas.items() if not one.leaving]
        each, more = divmod(len(self._holders), len(taking) or 1)
        return dict.fromkeys(self._replicas, 0) | {name: each + (rank < more) for rank, name in enumerate(taking)}

    @staticmethod
    def _numbers(of: list[str | None], name: str | None) -> list[int]:
        return [number for number, one in enumerate(of) if one == name]
