"""Opening a SQLite store that may be an older copy of itself: what was erased since is erased from it before it is served.

The ledger's file knows what the copy does not. Conversations and messages are looked through in portions, and nothing is
looked for that no tombstone of the file could stand for.
"""

import logging
import sqlite3
from collections.abc import Callable
from functools import partial

import store.sqlite_sql_keeping as sql
from store import sqlite_ledger as ledgers
from store.forgetting import Person
from store.rows import MICROSECOND
from store.sqlite_conversations import delete
from store.sqlite_edits import take_out
from store.sqlite_ledger import Ledger
from store.sqlite_writer import SqliteWriter
from store.tombstones import KEPT, Kind, Tombstones

log = logging.getLogger(__name__)

PORTION = 5000
"""Rows that are looked through in one transaction."""

Clock = Callable[[], int]
"""Tells the time in microseconds."""


async def know(writer: SqliteWriter, ledger: Ledger, clock: Clock) -> Tombstones:
    """Bring the ledger's file and its table together; return those that are new to this store, which `done` will enter.

    Raises:
        StoreDenied: the file can't be read.
        StoreUnavailable: it can't be written.
    """
    written, damaged = ledger.read()
    entered = await writer.alone(ledgers.entered)
    if damaged:
        log.warning("%d lines of the ledger of %s are damaged; what they stood for may come back", damaged, writer.place)
    new = Tombstones(written.beyond(entered))
    everything = Tombstones([*written, *entered])
    before = clock() - KEPT // MICROSECOND
    kept = [stone for stone in everything if stone.kind is Kind.KEY or stone.at >= before]
    if kept and (damaged or entered.beyond(written) or len(kept) < len(everything)):
        ledger.replace(kept)
    if len(kept) < len(everything):
        await writer.run(partial(ledgers.drop, before=before))
    ledger.know(everything.of(Kind.KEY), await writer.alone(ledgers.barred))
    # New ones are named by any key, and so all keys come along.
    return Tombstones([*everything.of(Kind.KEY), *new])


async def erase_conversations(writer: SqliteWriter, new: Tombstones) -> int:
    """Erase the conversations that the tombstones stand for; return how many."""
    gone, after = 0, 0
    while new.of(Kind.CONVERSATION):
        erased, last = await writer.run(partial(_erase_conversations, new, after))
        gone += erased
        if last is None:
            break
        after = last
    return gone


async def erase_messages(writer: SqliteWriter, new: Tombstones, clock: Clock) -> int:
    """Erase the messages that the tombstones stand for; return how many, with their answers."""
    gone, after = 0, 0
    while new.of(Kind.MESSAGE):
        erased, last = await writer.run(partial(_erase_messages, new, after, clock()))
        gone += erased
        if last is None:
            break
        after = last
    return gone


async def people(writer: SqliteWriter, new: Tombstones) -> tuple[Person, ...]:
    """Tell who of those in the store are to be forgotten."""
    if not new.of(Kind.PERSON):
        return ()
    everybody = await writer.run(lambda db: db.execute(sql.EVERYBODY).fetchall())
    return tuple(
        Person(platform, workspace, author, until)
        for platform, workspace, author in everybody
        if (until := new.until(Kind.PERSON, platform, workspace, author)) is not None
    )


async def done(writer: SqliteWriter, ledger: Ledger, new: Tombstones) -> None:
    """Enter tombstones when all that they stand for is erased; what is delivered of that again is refused from now on."""
    await writer.run(partial(_enter, new))
    ledger.know(new.of(Kind.KEY), await writer.alone(ledgers.barred))


def _enter(new: Tombstones, db: sqlite3.Connection) -> None:
    ledgers.enter(db, new)
    ledgers.bar(db, new.of(Kind.PERSON, Kind.PLACE, Kind.MESSAGE))


def _erase_conversations(new: Tombstones, after: int, db: sqlite3.Connection) -> tuple[int, int | None]:
    rows = db.execute(sql.CONVERSATIONS_AFTER, (after, PORTION)).fetchall()
    gone = 0
    for id_, *key, created_at in rows:
        if new.until(Kind.CONVERSATION, *key, str(id_), str(created_at)) is not None:
            delete(db, id_)
            gone += 1
    return gone, rows[-1][0] if len(rows) == PORTION else None


def _erase_messages(new: Tombstones, after: int, now: int, db: sqlite3.Connection) -> tuple[int, int | None]:
    rows = db.execute(sql.MESSAGES_AFTER, (after, PORTION)).fetchall()
    found = [row[:3] for row in rows if row[6] and row[7] == 0 and new.until(Kind.MESSAGE, *row[3:7]) is not None]
    return take_out(db, now, found), rows[-1][0] if len(rows) == PORTION else None
