"""The ledger of a SQLite store: its tombstones, in a file beside it and in its table `forgotten`.

The file is what stays when an older copy of the store is put in its place. A tombstone is on the disk before what it stands
for is erased, so that a crash between the two leaves an erasure that is carried out at the next opening, never one that is
known to nobody. One line is one tombstone, with a checksum: a line that a crash cut off is told from a whole one.
"""

import os
import sqlite3
from collections.abc import Collection, Iterable
from pathlib import Path
from zlib import crc32

from store.errors import StoreDenied, StoreUnavailable
from store.file_names import take_name
from store.forgetting import Bars
from store.tombstones import BARRED, ERASED, Kind, Tombstone, Tombstones, new_key

TOMBSTONES = "SELECT name, until, at FROM forgotten"
ENTER = """
INSERT INTO forgotten (name, until, at) VALUES (?, ?, ?)
ON CONFLICT (name) DO UPDATE SET until = excluded.until, at = excluded.at WHERE excluded.until > until"""
_DROP = "DELETE FROM forgotten WHERE at < ? AND substr(name, 1, 4) <> 'key '"

Erased = tuple[Kind, tuple[str, ...], int]
"""What is erased: its kind, the parts that it is named by, and until when what was said is gone."""


def beside(store: Path) -> Path:
    """Name the file of the ledger of the store at `store`."""
    return store.with_name(store.name + ".forgotten")


class Ledger(Bars):
    """The tombstones of one store; all but `read` run on the writing connection, inside a transaction."""

    def __init__(self, path: Path | None) -> None:
        """Keep the file at `path`; None is for a store in memory, of which nothing stays."""
        super().__init__()
        self._path = path

    def read(self) -> tuple[Tombstones, int]:
        """Read the file: its tombstones, and how many lines are damaged.

        Raises:
            StoreDenied: it is there and can't be read, so nobody knows what has to stay gone.
        """
        if self._path is None:
            return Tombstones(), 0
        return read(self._path)

    def write(self, db: sqlite3.Connection, at: int, erased: Collection[Erased]) -> list[Tombstone]:
        """Write tombstones of what is about to be erased in the file, and return them.

        Raises:
            StoreUnavailable: nothing was written, so nothing may be erased.
        """
        new: list[Tombstone] = []
        if not self._keys.keyed:
            new.append(new_key(at))
            self._keys.add(new[0])
        stones = [self.named(at, kind, parts, until) for kind, parts, until in erased]
        try:
            self._append(db, [*new, *stones])
        except BaseException:
            if new:
                self._keys = Tombstones()
            raise
        enter(db, new)
        return stones

    def named(self, at: int, kind: Kind, parts: tuple[str, ...], until: int) -> Tombstone:
        """Return the tombstone of something that `write` has written already."""
        return Tombstone(self._keys.name(kind, *parts), until, at)

    def _append(self, db: sqlite3.Connection, stones: Collection[Tombstone]) -> None:
        if self._path is None:
            return
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            known = entered(db)  # it is the first one, or somebody removed the file
            self.replace([*self._keys, *known.of(*ERASED), *stones])
            return
        except OSError as exc:
            raise _unwritable(self._path, exc) from exc
        end = os.fstat(file).st_size
        try:
            _write(file, stones)
        except OSError as exc:
            os.ftruncate(file, end)
            raise _unwritable(self._path, exc) from exc
        finally:
            os.close(file)

    def replace(self, stones: Iterable[Tombstone]) -> None:
        """Write the file anew.

        Raises:
            StoreUnavailable: the old one is still there.
        """
        if self._path is not None:
            replace(self._path, stones)


def read(path: Path) -> tuple[Tombstones, int]:
    """Read the file of a ledger, which need not be there: its tombstones, and how many lines are damaged.

    Raises:
        StoreDenied: it is there and can't be read.
    """
    stones, damaged = Tombstones(), 0
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return stones, 0
    except OSError as exc:
        raise StoreDenied(
            f"{path} can't be read ({exc.strerror}): it tells what must stay forgotten; give this user permission"
        ) from exc
    for line in lines[:-1]:
        stone = _parse(line)
        if stone is None:
            damaged += 1
        else:
            stones.add(stone)
    return stones, damaged + (lines[-1] != b"")


def replace(path: Path, stones: Iterable[Tombstone]) -> None:
    """Write the file of a ledger anew, whole or not at all.

    Raises:
        StoreUnavailable: the old one is still there.
    """
    draft = path.with_name(path.name + ".new")
    try:
        draft.unlink(missing_ok=True)
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write(file, Tombstones(stones))
        finally:
            os.close(file)
        take_name(draft, path)
    except OSError as exc:
        draft.unlink(missing_ok=True)
        raise _unwritable(path, exc) from exc


def entered(db: sqlite3.Connection) -> Tombstones:
    """Return the tombstones of the table, without those that are barred."""
    rows = db.execute(TOMBSTONES).fetchall()
    return Tombstones(Tombstone(*row) for row in rows if not row[0].startswith(BARRED))


def barred(db: sqlite3.Connection) -> Tombstones:
    """Return the tombstones that were new to this copy of the store."""
    rows = db.execute(TOMBSTONES).fetchall()
    return Tombstones(Tombstone(name.removeprefix(BARRED), until, at) for name, until, at in rows if name.startswith(BARRED))


def enter(db: sqlite3.Connection, stones: Iterable[Tombstone]) -> None:
    """Write tombstones into the table."""
    db.executemany(ENTER, [(stone.name, stone.until, stone.at) for stone in stones])


def bar(db: sqlite3.Connection, stones: Iterable[Tombstone]) -> None:
    """Note which tombstones were new to this copy of the store."""
    db.executemany(ENTER, [(BARRED + stone.name, stone.until, stone.at) for stone in stones])


def drop(db: sqlite3.Connection, before: int) -> int:
    """Drop tombstones that are older than any copy; keys stay."""
    return db.execute(_DROP, (before,)).rowcount


def _write(file: int, stones: Iterable[Tombstone]) -> None:
    data = b"".join(_line(stone) for stone in stones)
    while data:
        data = data[os.write(file, data) :]
    os.fsync(file)


def _line(stone: Tombstone) -> bytes:
    content = f"{stone.name} {stone.until} {stone.at}".encode()
    return b"%b %08x\n" % (content, crc32(content))


def _parse(line: bytes) -> Tombstone | None:
    content, _, checksum = line.rpartition(b" ")
    if b"%08x" % crc32(content) != checksum:
        return None
    kind, digest, until, at = content.decode().split(" ")
    return Tombstone(f"{kind} {digest}", int(until), int(at))


def _unwritable(path: Path, exc: OSError) -> StoreUnavailable:
    return StoreUnavailable(
        f"{path} can't be written ({exc.strerror}), so nothing was erased: free some space or give this user permission"
    )
