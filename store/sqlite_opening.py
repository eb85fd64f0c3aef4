"""What happens to a store's file before it is opened: it is locked, looked at, and brought to this program's schema."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from store import sqlite_file as files
from store.moving_tables import refuse_half_moved
from store.seals import prove

if TYPE_CHECKING:
    from store.sealing import Seal


def lock_of(path: Path) -> files.FileLock:
    """Take the lock of the store at `path`, or of the place where one can be made.

    Raises:
        StoreRefused: and no lock file is laid beside what is not ours.
    """
    files.look(path)
    return files.FileLock(path)


def prepare(path: Path, seals: Sequence["Seal"]) -> None:
    """Make the file at `path`, or bring it to this program's schema when it is whole and `seals` open it.

    Raises:
        StoreRefused, StoreUnavailable: and not one byte of it was changed.
    """
    if files.look(path) is files.Found.OURS:
        files.refuse_damaged(path)
        refuse_half_moved(files.marks_of(path), str(path))
        prove(files.proofs_of(path), seals, place=str(path))
    files.prepare(path)


async def to_the_end(work: Callable[..., None], *args: object) -> None:
    """Do something in a thread. Nobody can stop that, so who gives up waits for it, and nothing goes on without the lock."""
    doing = asyncio.create_task(asyncio.to_thread(work, *args))
    try:
        await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait({doing})
        doing.exception()  # nobody is there to be told
        raise
