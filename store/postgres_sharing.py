"""Sharing on the PostgreSQL engine: what any number of replicas divide among them, by the server's clock.

The SQL is in `store/postgres_functions/sharing.sql`.
"""

from collections.abc import Collection
from datetime import timedelta

from store.arguments import require_budget, require_hold_back, require_leave, require_share
from store.postgres_calls import PostgresCalls
from store.rows import MICROSECOND
from store.sharing import LONGEST, Share


class PostgresSharing(PostgresCalls):
    """The laws of `Sharing` on PostgreSQL."""

    async def share(
        self, name: str, *, replica: str, parts: int, ready: Collection[int], leaving: bool, lasting: timedelta
    ) -> Share:
        require_share(name, replica, parts, ready, lasting)
        row = await self._one("share", name, replica, parts, list(ready), leaving, lasting // MICROSECOND, self._process)
        many, held, offered, others, rank = row
        return Share(parts=many, held=frozenset(held or ()), offered=frozenset(offered or ()), others=others, rank=rank)

    async def leave(self, name: str, *, replica: str) -> None:
        require_leave(name, replica)
        await self._one("leave", name, replica)

    async def slot(self, budget: str, *, pace: timedelta) -> timedelta:
        require_budget(budget, pace)
        (until,) = await self._one("slot", budget, pace // MICROSECOND)
        return int(until) * MICROSECOND

    async def hold_back(self, budget: str, *, lasting: timedelta) -> None:
        require_hold_back(budget, lasting)
        await self._one("hold_back", budget, min(lasting, LONGEST) // MICROSECOND)
