"""`parley migrate-store`: all of one store into another, proved by counts and checksums."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing

from rich.table import Table

from bot.app_governing import keys_of
from bot.clock import SystemClock
from bot.config import Settings
from store import open_store
from store.moving import Compared, move
from store.moving_open import refuse_in_use, refuse_nothing, refuse_same, source_at, target_at


def move_store(settings: Settings, source: str, target: str, show: Callable[[int, int], None]) -> tuple[Compared, ...]:
    """Move the store at `source`, whose keys the settings give, into an empty one at `target`, or go on with that; return
    how their tables compare. Where one differs, the target can't be opened.

    Raises:
        StoreRefused, StoreUnavailable.
    """
    refuse_same(source, target)
    refuse_nothing(source)
    refuse_in_use(source)
    refuse_in_use(target)
    keys = keys_of(settings)
    # That it opens proves the keys, brings it to this schema and carries out what was to be erased from it.
    asyncio.run(_open_once(source, keys))
    with closing(source_at(source)) as taken, closing(target_at(target)) as given:
        compared = move(taken, given, show)
    if all(table.equal for table in compared):
        asyncio.run(_open_once(target, keys))
    return compared


def comparison(compared: Sequence[Compared]) -> Table:
    """Show how the tables compare."""
    table = Table("table", "rows", "moved", "checksum", box=None, pad_edge=False)
    for column in table.columns[1:3]:
        column.justify = "right"
    for one in compared:
        checksum = one.checksum[:12] if one.equal else f"{one.checksum[:12]}, there {one.checksum_there[:12]}"
        table.add_row(one.table, f"{one.rows:,}", f"{one.rows_there:,}", checksum)
    return table


async def _open_once(url: str, keys: Sequence[bytes]) -> None:
    await (await open_store(url, clock=SystemClock().now, keys=keys)).aclose()
