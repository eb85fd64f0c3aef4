"""Erasing so that it stays gone, on the PostgreSQL engine: the base of the classes that erase.

What is erased is written down in the table `forgotten`, in the transaction that erases it. No file of ours stands beside a
server, so whoever puts an older copy of the database in its place carries the tombstones over: `tombstones` before it,
`put_back` after it. What they stand for is due then, and is erased at the next opening before anybody is served; so is what
a process that ended in the middle left to be erased. In the table, names of what is due or barred begin so.
"""

from collections.abc import Collection, Iterable

from store.forgetting import Bars, Name
from store.postgres_calls import PostgresCalls
from store.postgres_pool import PostgresPool
from store.postgres_scrubbing import Scrubber
from store.seals import Values
from store.tombstones import BARRED, DUE, ERASED, Kind, Tombstone, Tombstones, new_key


class PostgresErasing(PostgresCalls):
    """What classes that erase have in common: names of what was erased, and the scrubber."""

    def __init__(self, pool: PostgresPool, version: str, values: Values) -> None:
        super().__init__(pool, version, values)
        self._keys = Tombstones()
        self._bars = Bars()
        self._scrubber = Scrubber(pool)

    async def tombstones(self) -> Tombstones:
        """Return what an older copy of this store has to be told with `put_back`."""
        stones = await self._stones()
        plain = [stone for stone in stones if not stone.name.startswith((DUE, BARRED))]
        return Tombstones([*plain, *_without(DUE, stones)])

    async def put_back(self, stones: Iterable[Tombstone]) -> None:
        """Tell this store, which was put in another one's place, what was erased from that; then open it anew."""
        kept = list(stones)
        await self._one(
            "put_back", [stone.name for stone in kept], [stone.until for stone in kept], [stone.at for stone in kept]
        )

    async def _stones(self) -> list[Tombstone]:
        return [Tombstone(*row) for row in await self._all("tombstones")]

    async def _know(self) -> Tombstones:
        """Learn what is barred; return what is due, with all keys, since any may have named it."""
        stones = await self._stones()
        keys = [stone for stone in stones if stone.name.startswith("key ")]
        self._bars.know(keys, _without(BARRED, stones))
        return Tombstones([*keys, *_without(DUE, stones)])

    async def _done(self, due: Tombstones) -> None:
        """Enter what was due and is erased; what is delivered of it again is barred."""
        stones = due.of(*ERASED)
        bars = [stone.kind is not Kind.CONVERSATION for stone in stones]
        await self._one("done", [stone.name for stone in stones], [stone.until for stone in stones], bars)

    async def _names(self, named: Collection[Name]) -> list[str]:
        """Make the names of tombstones."""
        if not self._keys.keyed:
            rows = await self._all("tombstone_keys", new_key(0).name)
            self._keys = Tombstones(Tombstone(*row) for row in rows)
        return [self._keys.name(kind, *parts) for kind, parts in named]


def _without(prefix: str, stones: Iterable[Tombstone]) -> list[Tombstone]:
    """Find those whose names begin so, and name them without it."""
    begun = (stone for stone in stones if stone.name.startswith(prefix))
    return [Tombstone(stone.name.removeprefix(prefix), stone.until, stone.at) for stone in begun]
