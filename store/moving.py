"""Moving all of a store into another one, whatever engines they are on.

Nothing but the target knows how far a move has come: it has a note of its source, and what it has of each table tells what
comes next. A move that was ended anywhere is taken up by doing it again. It is done when every table has as many rows, and
the same checksum, on both sides; then the note goes, and only then can the target be opened as a store. Ids, epochs,
positions and times stay what they are, and so does what is sealed, since seals are bound to ids.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

from store.errors import StoreDenied
from store.moving_tables import MARK, MARKED, MAY_BE_THERE, NOTE, TABLES, UNMARK, Table

Row = tuple[int | str | bytes | None, ...]
Progress = Callable[[int, int], None]
"""Is told how many rows are done, and of how many; each is copied once, and read once on both sides."""

_DIGEST = 16
_TOLD_EVERY = 2000


class Side(Protocol):
    """A store that is moved from or to. Nobody else uses it meanwhile.

    All raise `StoreUnavailable`, `StoreDenied` or `StoreDamaged` for what the engine says.
    """

    place: str

    def rows(self, statement: str) -> Iterator[Row]:
        """Read what a statement selects, piece by piece."""

    def write(self, table: Table, rows: Iterable[Row], *, first: str = "") -> None:
        """Write rows in one transaction, after another statement if there is one."""

    def last_number(self, table: Table) -> int:
        """Tell the last number that was given to a row, which may be there no more."""

    def go_on_behind(self, table: Table, number: int) -> None:
        """Give the next row a larger number than `number`."""

    def finish(self) -> None:
        """Do what a target needs beside its rows."""

    def close(self) -> None:
        """Let others use it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A table as it is on both sides: how many rows, and their checksum, which no order of them changes."""

    table: str
    rows: int
    checksum: str
    rows_there: int
    checksum_there: str

    @property
    def equal(self) -> bool:
        """Tell whether the target has what the source has."""
        return (self.rows, self.checksum) == (self.rows_there, self.checksum_there)


def move(source: Side, target: Side, progress: Progress) -> tuple[Compared, ...]:
    """Copy what the target does not have yet, compare all tables and return how they compare. Where one differs, the target
    keeps its note and can't be opened as a store.

    Raises:
        StoreDenied: the target holds something, and no such move is under way.
        StoreUnavailable, StoreDamaged: doing it again goes on.
    """
    _begin(source, target)
    done = _Count(progress, 3 * sum(_number(source, table.count()) for table in TABLES))
    for table in TABLES:
        _copy(source, target, table, done)
    compared = tuple(_compare(source, target, table, done) for table in TABLES)
    if all(table.equal for table in compared):
        for table in TABLES:
            if table.numbered:
                target.go_on_behind(table, max(source.last_number(table), target.last_number(table)))
        target.finish()
        target.write(NOTE, (), first=UNMARK)
    return compared


class _Count:
    """How far a move is."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def add(self, rows: int) -> None:
        self._done += rows
        self._progress(min(self._done, self._total), self._total)


def _begin(source: Side, target: Side) -> None:
    """Make sure that the target is this move's, and mark it as that."""
    marks = [str(text) for (text,) in target.rows(MARKED)]
    if marks == [source.place]:
        return
    if marks:
        raise StoreDenied(f"{target.place} is half moved from {marks[0]}: end that move, or name another target")
    held = [table.name for table in TABLES if table.name not in MAY_BE_THERE and _number(target, table.count())]
    if held:
        raise StoreDenied(f"{target.place} is not empty ({', '.join(held)}): name a target that is; nothing was changed")
    target.write(NOTE, [(MARK, source.place)])


def _copy(source: Side, target: Side, table: Table, done: _Count) -> None:
    if not table.by:
        target.write(table, source.rows(table.select()), first=table.clear())
        done.add(_number(target, table.count()))
        return
    after = _number(target, table.last())
    if after:
        done.add(_number(target, table.count()))
    while last := _number(source, table.end_of_page(after)):
        rows = list(source.rows(table.select(after, last)))
        target.write(table, rows)
        after = last
        done.add(len(rows))


def _compare(source: Side, target: Side, table: Table, done: _Count) -> Compared:
    rows, checksum = _sum(source, table, done)
    rows_there, checksum_there = _sum(target, table, done)
    return Compared(table=table.name, rows=rows, checksum=checksum, rows_there=rows_there, checksum_there=checksum_there)


def _sum(side: Side, table: Table, done: _Count) -> tuple[int, str]:
    # Engines sort texts each in its own way, so hashes of rows are added up.
    count = total = told = 0
    for row in side.rows(table.select()):
        total += int.from_bytes(blake2b(repr(row).encode(), digest_size=_DIGEST).digest())
        count += 1
        if count - told == _TOLD_EVERY:
            done.add(_TOLD_EVERY)
            told = count
    done.add(count - told)
    return count, f"{total % (1 << 8 * _DIGEST):0{2 * _DIGEST}x}"


def _number(side: Side, statement: str) -> int:
    ((number,),) = side.rows(statement)
    return int(number or 0)
